// What the commands share: the system, output, arguments. `memoria --help` says what the program can do.
#ifndef TOOL_HPP
#define TOOL_HPP

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#define MEMORIA_FS_DECLARATIONS_ONLY  // the definitions are compiled once, in library.cpp
#include "memoria_fs.hpp"

namespace tool {

using memoria::json;

// failed_softly is what `memoria hook` ends with instead of failed: to an agent, 2 means "stop what you are doing".
constexpr int exit_clean = 0, exit_findings = 1, exit_failed = 2, exit_failed_softly = 1;

// Ends the program with a message and exit_failed.
struct failure {
  std::string message;
};

// ---- system.cpp: what differs between platforms ---------------------------------------------------------------------

std::vector<std::string> utf8_arguments(int argc, char** argv);
memoria::path native_path(const std::string& utf8);
std::string utf8_name(const memoria::path& p);
bool is_terminal(std::FILE* stream);
bool understands_colours();                                        // standard output, which is a terminal
std::string environment(const char* name);                         // empty: not set
void set_environment(const char* name, const std::string& value);  // for this program and those that it starts

// Bytes as given, shown as UTF-8, for as long as this lives. A reader that has gone away (`memoria check notes | head`)
// is an error of writing, not a signal that kills us.
struct console_setup {
  console_setup();
  console_setup(const console_setup&) = delete;
  console_setup& operator=(const console_setup&) = delete;
  ~console_setup();
  const unsigned code_page_before;
};

// ---- clock.cpp ------------------------------------------------------------------------------------------------------

struct moment {
  std::int64_t seconds;  // since 1970
  std::string date;      // 2026-11-25
  std::string time;      // 14:03
  std::string iso;       // 2026-11-25T14:03:22+01:00
};

// On the clock of the zone that MEMORIA_TZ names (an IANA name); the system's if it is not set, or, with a warning, if
// there is no such zone.
moment moment_at(std::int64_t seconds_since_1970);
moment now();

// ---- text.cpp -------------------------------------------------------------------------------------------------------

void warn(const std::string& message);         // one line on standard error
std::string standard_input();                  // all of it
std::string printable(std::string_view text);  // control characters must not reach the terminal
std::string utf8_text(std::string_view text);  // what is not UTF-8 becomes U+FFFD
inline json json_text(std::string_view text) { return json(utf8_text(text)); }
std::string counted(std::size_t n, const std::string& noun);  // "1 note", "2 notes"
// "; did you mean WORD?" with the candidate that differs least, by two letters at most; or nothing.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates, const char* before = "",
                         const char* after = "");

template <class Range, class F>
json json_array(const Range& items, F&& each) {
  json out = json::array();
  for (const auto& item : items) out.push_back(each(item));
  return out;
}

enum class style { bold, error, warning, faint };

// Standard output. close() says whether everything arrived.
class output {
 public:
  output();
  output& operator<<(std::string_view text);
  output& operator<<(std::size_t number) { return *this << std::to_string(number); }
  output& write(style how, std::string_view text);
  void write_json(const json& value) { *this << value.dump(2) << "\n"; }
  void close();

 private:
  bool colours_;
  int error_ = 0;  // the first
};

// One line on standard error that says how far the work is, if that is a terminal and the work takes longer than half a
// second. Call it as often as you like.
class progress_line {
 public:
  explicit progress_line(std::string what) : what_(std::move(what)) {}
  progress_line(const progress_line&) = delete;
  progress_line& operator=(const progress_line&) = delete;
  ~progress_line();
  void operator()(std::size_t done, std::size_t total) {
    show(" " + std::to_string(done) + " of " + std::to_string(total));
  }
  void operator()();  // with the time that has passed

 private:
  void show(const std::string& how_far);

  using clock = std::chrono::steady_clock;
  std::string what_;
  bool terminal_ = is_terminal(stderr);
  bool shown_ = false;
  clock::time_point start_ = clock::now(), next_ = start_ + std::chrono::milliseconds(500);
};

// ---- process.cpp ----------------------------------------------------------------------------------------------------

struct outcome {
  int status = 0;          // what it exited with; 128 + N: killed by the signal N
  bool timed_out = false;  // it and what it had started were killed
  std::string output;
};

// Runs a command line with the system's shell (/bin/sh -c, cmd /c) and waits, calling `progress` several times a
// second. `input` is its standard input, standard error is ours. When we are killed it is killed, too, as far as the
// system can: with all that it started by Ctrl-C, by SIGTERM and on Windows; by SIGKILL on Linux only the shell itself.
// Throws std::system_error if it cannot be started.
outcome run_shell(const std::string& line, std::string_view input, std::chrono::seconds limit, progress_line& progress);

// Starts this program once more, with these arguments, on its own: in a new session (POSIX), as a detached process
// (Windows), so that it outlives us and the terminal. What it writes is appended to `log`. Throws std::system_error.
void start_detached(const std::vector<std::string>& arguments, const memoria::path& log);

void remember_program(const char* argv0);  // first thing in main, for start_detached

// ---- main.cpp -------------------------------------------------------------------------------------------------------

struct option {
  const char* name;
  const char* value;  // what its value is called; null: it has none
  const char* help;
  const char* variable = nullptr;  // of the environment: where the value comes from if the option is not given
};

struct invocation;

struct command {
  const char* name;
  std::vector<const char*> arguments;  // "[POINTER]": may be left out
  const char* summary;
  std::vector<option> options;
  const char* more;  // the end of its help: examples, exit status
  int (*run)(const invocation&, output&);
};

// One call of one command.
struct invocation {
  const command* what = nullptr;
  std::vector<std::string> arguments;
  std::map<std::string, std::string> options;

  bool has(const char* name) const { return options.count(name) > 0; }
  std::string get(const char* name) const { return has(name) ? options.at(name) : ""; }
  long long number(const char* name, long long fallback) const;  // misused() if it is none, or negative
  std::string directory() const { return arguments[0]; }
};

[[noreturn]] void misused(const command& c, const std::string& message);

constexpr option json_option = {"--json", nullptr, "write JSON"};

// Each in the file of its name, `rename` in links.cpp, `hook` in flush.cpp, `log` in state.cpp.
extern const command check_command, links_command, rename_command, graph_command, flush_command, hook_command,
    compile_command, log_command, state_command, doctor_command;

}  // namespace tool

#endif
