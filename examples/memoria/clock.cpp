// The time of day where the user is. C++20 libraries that know the zones are asked; else the C library is told the zone
// by the variable TZ, and whether it knows the zone is found out first, because it takes UTC for those that it does
// not.
#include <ctime>

#include "tool.hpp"

namespace tool {

namespace {

#if defined(__cpp_lib_chrono) && __cpp_lib_chrono >= 201907L

const std::chrono::time_zone* zone = nullptr;  // null: the system's

bool take_zone(const std::string& name) try {
  zone = std::chrono::locate_zone(name);
  return true;
} catch (const std::exception&) {
  return false;
}

std::tm local_time(std::time_t time) {
  if (zone == nullptr) return *std::localtime(&time);
  time += zone->get_info(std::chrono::sys_seconds(std::chrono::seconds(time))).offset.count();
  return *std::gmtime(&time);
}

#else

bool take_zone([[maybe_unused]] const std::string& name) {
#ifdef _WIN32
  return false;
#else
  const std::string named = environment("TZDIR");
  const memoria::path zones = named.empty() ? "/usr/share/zoneinfo" : named;
  std::error_code ec;
  // UTC needs no file, and machines without zone files run on it.
  const bool outside = name[0] == '/' || name.find("..") != std::string::npos;
  if (name != "UTC" && (outside || memoria::read_text(zones / name, ec).substr(0, 4) != "TZif")) return false;
  set_environment("TZ", name == "UTC" ? "UTC0" : name);
  ::tzset();
  return true;
#endif
}

std::tm local_time(std::time_t time) { return *std::localtime(&time); }

#endif

std::string formatted(const std::tm& time, const char* format) {
  char text[32];
  return {text, std::strftime(text, sizeof text, format, &time)};
}

}  // namespace

moment now() {
  static bool zone_is_set = false;
  const std::string name = environment("MEMORIA_TZ");
  if (!std::exchange(zone_is_set, true) && !name.empty() && !take_zone(name)) {
    warn("MEMORIA_TZ: no zone \"" + printable(name) + "\" is known here; taking the system's local time");
  }
  const std::time_t time = std::time(nullptr);
  const std::tm local = local_time(time);  // one thread
  return {time, formatted(local, "%Y-%m-%d"), formatted(local, "%H:%M"),
          formatted(*std::gmtime(&time), "%Y-%m-%dT%H:%M:%SZ")};
}

}  // namespace tool
