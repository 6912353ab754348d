// What differs between platforms, but for starting processes (process.cpp).
#include "tool.hpp"

#include <cstdlib>

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
// After windows.h, on which they depend.
#include <fcntl.h>
#include <io.h>
#include <shellapi.h>
#ifdef _MSC_VER
#pragma comment(lib, "shell32")
#endif
#else
#include <csignal>

#include <fcntl.h>
#include <unistd.h>
#endif

namespace tool {

memoria::path native_path(const std::string& utf8) {
#ifdef __cpp_char8_t
  return std::u8string(utf8.begin(), utf8.end());
#else
  return std::filesystem::u8path(utf8);
#endif
}

std::string utf8_name(const memoria::path& p) {
  const auto name = p.generic_u8string();  // of char, or of char8_t
  return {name.begin(), name.end()};
}

bool wants_colours() {
  if (!environment("NO_COLOR").empty() || !is_terminal(stdout)) return false;  // https://no-color.org
#ifdef _WIN32
  const HANDLE console = ::GetStdHandle(STD_OUTPUT_HANDLE);
  DWORD mode = 0;
  return ::GetConsoleMode(console, &mode) && ::SetConsoleMode(console, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
#else
  const std::string terminal = environment("TERM");
  return !terminal.empty() && terminal != "dumb";
#endif
}

#ifdef _WIN32

namespace {

std::string narrow(const wchar_t* text) {
  const auto utf8 = memoria::path(text).u8string();
  return {utf8.begin(), utf8.end()};
}

}  // namespace

// main's argv went through the ANSI code page and has lost what that does not have; the command line itself has not.
std::vector<std::string> utf8_arguments(int, char**) {
  int count = 0;
  wchar_t** wide = ::CommandLineToArgvW(::GetCommandLineW(), &count);
  std::vector<std::string> out;
  for (int i = 0; i < count; ++i) out.push_back(narrow(wide[i]));
  ::LocalFree(wide);
  return out;
}

bool is_terminal(std::FILE* stream) { return ::_isatty(::_fileno(stream)) != 0; }

std::string environment(const char* name) {
  const wchar_t* value = ::_wgetenv(native_path(name).c_str());
  return value == nullptr ? "" : narrow(value);
}

void set_environment(const char* name, const std::string& value) {
  ::_wputenv_s(native_path(name).c_str(), native_path(value).c_str());
}

void set_up_console() {
  for (std::FILE* stream : {stdin, stdout}) ::_setmode(::_fileno(stream), _O_BINARY);
  static const UINT before = ::GetConsoleOutputCP();
  ::SetConsoleOutputCP(CP_UTF8);
  std::atexit([] { ::SetConsoleOutputCP(before); });
}

#else

std::vector<std::string> utf8_arguments(int argc, char** argv) { return {argv, argv + argc}; }

bool is_terminal(std::FILE* stream) { return ::isatty(::fileno(stream)) == 1; }

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

void set_environment(const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); }

void set_up_console() {
  std::signal(SIGPIPE, SIG_IGN);  // a reader that has gone away is an error of writing, not a signal that kills us
  int opened;                     // a closed standard stream keeps its number: what got it would be written to
  while ((opened = ::open("/dev/null", O_RDONLY)) >= 0 && opened <= 2) {
  }
  ::close(opened);
}

#endif

}  // namespace tool
