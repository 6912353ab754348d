// The time of day where the user is. C++20 libraries that know the zones are asked; else the C library is told the zone
// by the variable TZ, and whether it knows the zone is found out first, because it takes UTC for those that it does not.
#include <cstdlib>
#include <ctime>

#include "tool.hpp"

namespace tool {

namespace {

void warn_of_zone(const std::string& zone, const char* reason) {
  warn("MEMORIA_TZ: " + std::string(reason) + " \"" + printable(zone) + "\"; taking the system's local time");
}

#if defined(__cpp_lib_chrono) && __cpp_lib_chrono >= 201907L

// The offset from UTC in seconds, or nothing: local time is to be taken.
std::optional<std::int64_t> offset_at(std::int64_t seconds) {
  static const std::chrono::time_zone* const zone = []() -> const std::chrono::time_zone* {
    const std::string name = environment("MEMORIA_TZ");
    if (name.empty()) return nullptr;
    try {
      return std::chrono::locate_zone(name);
    } catch (const std::exception&) {
      warn_of_zone(name, "there is no time zone");
      return nullptr;
    }
  }();
  if (zone == nullptr) return std::nullopt;
  return zone->get_info(std::chrono::sys_seconds(std::chrono::seconds(seconds))).offset.count();
}

#else

#ifndef _WIN32
bool zone_exists(const std::string& name) {
  if (name == "UTC") return true;  // needs no file, and machines without zone files run on it
  if (name[0] == '/' || name.find("..") != std::string::npos) return false;
  const std::string named = environment("TZDIR");
  std::error_code ec;
  return memoria::read_text(memoria::path(named.empty() ? "/usr/share/zoneinfo" : named) / name, ec).substr(0, 4) == "TZif";
}
#endif

std::optional<std::int64_t> offset_at(std::int64_t) {
  static const bool once = [] {
    const std::string name = environment("MEMORIA_TZ");
    if (name.empty()) return true;
#ifdef _WIN32
    warn_of_zone(name, "built with a C++ library that has no time zones, this program does not know");
#else
    if (zone_exists(name)) {
      set_environment("TZ", name == "UTC" ? "UTC0" : name);
      ::tzset();
    } else {
      warn_of_zone(name, "this system has no file for a time zone");
    }
#endif
    return true;
  }();
  static_cast<void>(once);
  return std::nullopt;
}

#endif

}  // namespace

moment moment_at(std::int64_t seconds) {
  const std::optional<std::int64_t> offset = offset_at(seconds);
  const auto shifted = static_cast<std::time_t>(seconds + offset.value_or(0));
  const std::tm* const parts = offset ? std::gmtime(&shifted) : std::localtime(&shifted);  // one thread
  const auto format = [&](const char* how) {
    char text[64];
    return std::string(text, std::strftime(text, sizeof text, how, parts));
  };
  if (!offset) return {seconds, format("%Y-%m-%d"), format("%H:%M"), format("%Y-%m-%dT%H:%M:%S%z")};
  const auto minutes = static_cast<int>(*offset / 60);
  char zone[16];
  std::snprintf(zone, sizeof zone, "%c%02d%02d", minutes < 0 ? '-' : '+', std::abs(minutes) / 60, std::abs(minutes) % 60);
  return {seconds, format("%Y-%m-%d"), format("%H:%M"), format("%Y-%m-%dT%H:%M:%S") + zone};
}

moment now() {
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  return moment_at(std::chrono::duration_cast<std::chrono::seconds>(since_1970).count());
}

}  // namespace tool
