// The time of day where the user is. C++20 libraries that know the zones are asked; else the C library is told the zone
// by the variable TZ, and whether it knows the zone is found out first, because it takes UTC for those that it does
// not.
#include <cstdlib>
#include <ctime>

#include "tool.hpp"

namespace tool {

namespace {

#if defined(__cpp_lib_chrono) && __cpp_lib_chrono >= 201907L
#define TOOL_ASKS_CHRONO
#endif

// What keeps MEMORIA_TZ from being the zone; empty: nothing.
std::string take_zone(const std::string& zone) {
#if defined(TOOL_ASKS_CHRONO)
  try {
    return std::chrono::locate_zone(zone) == nullptr ? "there is no zone" : "";
  } catch (const std::exception&) {
    return "there is no zone";
  }
#elif defined(_WIN32)
  return "this program was built with a library that has no zones, so it does not know";
#else
  const std::string named = environment("TZDIR");
  const memoria::path zones = named.empty() ? "/usr/share/zoneinfo" : named;
  std::error_code ec;
  // UTC needs no file, and machines without zone files run on it.
  const bool outside = zone[0] == '/' || zone.find("..") != std::string::npos;
  if (zone != "UTC" && (outside || memoria::read_text(zones / zone, ec).substr(0, 4) != "TZif")) {
    return "this system has no file for a zone";
  }
  set_environment("TZ", zone == "UTC" ? "UTC0" : zone);
  ::tzset();
  return "";
#endif
}

std::int64_t local_offset(std::int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  const std::tm utc = *std::gmtime(&time), local = *std::localtime(&time);  // one thread
  const int year = local.tm_year - utc.tm_year;
  const int days = year != 0 ? year : local.tm_yday - utc.tm_yday;
  return ((days * 24 + local.tm_hour - utc.tm_hour) * 60 + local.tm_min - utc.tm_min) * 60;
}

// From UTC, in seconds.
std::int64_t offset_at(std::int64_t seconds) {
  static const std::string zone = environment("MEMORIA_TZ");
  static const std::string problem = zone.empty() ? "" : take_zone(zone);
  static const bool said =
      problem.empty() ||
      (warn("MEMORIA_TZ: " + problem + " \"" + printable(zone) + "\"; taking the system's local time"), true);
  static_cast<void>(said);
#ifdef TOOL_ASKS_CHRONO
  if (!zone.empty() && problem.empty()) {
    const std::chrono::sys_seconds when{std::chrono::seconds(seconds)};
    return std::chrono::locate_zone(zone)->get_info(when).offset.count();
  }
#endif
  return local_offset(seconds);
}

}  // namespace

moment moment_at(std::int64_t seconds) {
  const std::int64_t minutes = offset_at(seconds) / 60;
  const auto shifted = static_cast<std::time_t>(seconds + minutes * 60);
  char text[64];
  const std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", std::gmtime(&shifted));
  const std::string iso(text, size);
  const auto distance = static_cast<int>(minutes < 0 ? -minutes : minutes);
  std::snprintf(text, sizeof text, "%c%02d:%02d", minutes < 0 ? '-' : '+', distance / 60, distance % 60);
  return {seconds, iso.substr(0, 10), iso.substr(11, 5), iso + text};
}

moment now() {
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  return moment_at(std::chrono::duration_cast<std::chrono::seconds>(since_1970).count());
}

}  // namespace tool
