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

#include <unistd.h>
#endif

namespace tool {

#ifdef _WIN32

namespace {

std::string narrow(const wchar_t* text) {
  const int size = ::WideCharToMultiByte(CP_UTF8, 0, text, -1, nullptr, 0, nullptr, nullptr);
  std::string out(static_cast<std::size_t>(size > 0 ? size : 1), '\0');
  ::WideCharToMultiByte(CP_UTF8, 0, text, -1, out.data(), size, nullptr, nullptr);
  out.pop_back();  // the final NUL
  return out;
}

}  // namespace

// main's argv went through the ANSI code page and has lost what that does not have; the command line itself has not.
std::vector<std::string> utf8_arguments(int, char**) {
  int count = 0;
  wchar_t** wide = ::CommandLineToArgvW(::GetCommandLineW(), &count);
  std::vector<std::string> out;
  for (int i = 1; i < count; ++i) out.push_back(narrow(wide[i]));
  ::LocalFree(wide);
  return out;
}

memoria::path native_path(const std::string& utf8) {
  const int size = ::MultiByteToWideChar(CP_UTF8, 0, utf8.data(), static_cast<int>(utf8.size()), nullptr, 0);
  std::wstring wide(static_cast<std::size_t>(size), L'\0');
  ::MultiByteToWideChar(CP_UTF8, 0, utf8.data(), static_cast<int>(utf8.size()), wide.data(), size);
  return memoria::path(wide);
}

std::string utf8_name(const memoria::path& p) { return narrow(p.generic_wstring().c_str()); }

bool is_terminal(std::FILE* stream) { return ::_isatty(::_fileno(stream)) != 0; }

bool understands_colours() {
  const HANDLE console = ::GetStdHandle(STD_OUTPUT_HANDLE);
  DWORD mode = 0;
  return ::GetConsoleMode(console, &mode) && ::SetConsoleMode(console, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
}

std::string environment(const char* name) {
  const wchar_t* value = ::_wgetenv(native_path(name).c_str());
  return value == nullptr ? "" : narrow(value);
}

void set_environment(const char* name, const std::string& value) {
  ::_wputenv_s(native_path(name).c_str(), native_path(value).c_str());
}

console_setup::console_setup() : code_page_before(::GetConsoleOutputCP()) {
  for (std::FILE* stream : {stdin, stdout}) ::_setmode(::_fileno(stream), _O_BINARY);
  ::SetConsoleOutputCP(CP_UTF8);
}
console_setup::~console_setup() { ::SetConsoleOutputCP(code_page_before); }

#else

std::vector<std::string> utf8_arguments(int argc, char** argv) { return {argv + (argc > 0 ? 1 : 0), argv + argc}; }

memoria::path native_path(const std::string& utf8) { return memoria::path(utf8); }

std::string utf8_name(const memoria::path& p) { return p.generic_string(); }

bool is_terminal(std::FILE* stream) { return ::isatty(::fileno(stream)) == 1; }

bool understands_colours() {
  const std::string terminal = environment("TERM");
  return !terminal.empty() && terminal != "dumb";
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

void set_environment(const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); }

console_setup::console_setup() : code_page_before(0) { std::signal(SIGPIPE, SIG_IGN); }
console_setup::~console_setup() = default;

#endif

}  // namespace tool
