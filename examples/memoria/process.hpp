// Programs that this one starts.
#ifndef PROCESS_HPP
#define PROCESS_HPP

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace tool {

struct outcome {
  int status = 0;          // what it exited with; 128 + N: killed by the signal N
  bool timed_out = false;  // it and what it had started were killed
  std::string output;
};

// Runs a command line with the system's shell (/bin/sh -c, cmd /c) and waits, calling `meanwhile` several times a
// second. `input` is its standard input, standard error is ours. When we are killed it is killed, too, as far as the
// system can: with all that it started by Ctrl-C, by SIGTERM and on Windows; by SIGKILL on Linux only the shell itself.
// Throws std::system_error if it cannot be started.
outcome run_shell(const std::string& line, std::string_view input, std::chrono::seconds limit, void (*meanwhile)(void*),
                  void* context);

template <class F>
outcome run_shell(const std::string& line, std::string_view input, std::chrono::seconds limit, F& meanwhile) {
  return run_shell(
      line, input, limit, [](void* f) { (*static_cast<F*>(f))(); }, &meanwhile);
}

// Starts this program once more, with these arguments, on its own: in a new session (POSIX), as a detached process
// (Windows), so that it outlives us and the terminal. What it writes is appended to `log`. Throws std::system_error.
void start_detached(const std::vector<std::string>& arguments, const std::filesystem::path& log);

void remember_program(const char* argv0);  // first thing in main, for start_detached

}  // namespace tool

#endif
