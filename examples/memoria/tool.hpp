// What the commands share. `memoria --help` says what the program can do.
#ifndef TOOL_HPP
#define TOOL_HPP

#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#define MEMORIA_FS_DECLARATIONS_ONLY  // the definitions are compiled once, in library.cpp
#include "memoria_fs.hpp"

namespace tool {

using memoria::json;
using std::cout;

// To an agent whose hook we are, exit_failed would mean "stop what you are doing": there it is exit_findings instead.
constexpr int exit_clean = 0, exit_findings = 1, exit_failed = 2;

// Ends the program with a message and exit_failed.
struct failure {
  std::string message;
};

// ---- system.cpp: what differs between platforms ---------------------------------------------------------------------

std::vector<std::string> utf8_arguments(int argc, char** argv);  // the program's name first
memoria::path native_path(const std::string& utf8);
std::string utf8_name(const memoria::path& p);
bool is_terminal(std::FILE* stream);
bool wants_colours();                                              // on standard output
std::string environment(const char* name);                         // empty: not set
void set_environment(const char* name, const std::string& value);  // for this program and those that it starts
void set_up_console();                                             // bytes as given, shown as UTF-8

struct moment {
  std::int64_t seconds;  // since 1970
  std::string date;      // 2026-11-25
  std::string time;      // 14:03
  std::string utc;       // 2026-11-25T13:03:22Z
};
// Date and time are those of the zone that MEMORIA_TZ names (an IANA name); of the system's if it is not set, or, with
// a warning, if there is no such zone. In clock.cpp.
moment now();

// ---- text.cpp -------------------------------------------------------------------------------------------------------

void warn(const std::string& message);  // one line on standard error
std::string read_all(std::FILE* stream);
std::string printable(std::string_view text);  // control characters must not reach the terminal
std::string utf8_text(std::string_view text);  // what is not UTF-8 becomes U+FFFD
inline json json_text(std::string_view text) { return json(utf8_text(text)); }
bool is_blank(std::string_view text);
std::optional<int> number_in(std::string_view text);          // from 0 to a million
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

std::string styled(style how, const std::string& text);  // for standard output: plain where that wants no colours

// "WHAT DONE of TOTAL", on standard error while this lives, if that is a terminal and the work takes longer than half a
// second. Call it as often as you like.
class progress_line {
 public:
  explicit progress_line(std::string what) : what_(std::move(what)) {}
  progress_line(const progress_line&) = delete;
  progress_line& operator=(const progress_line&) = delete;
  ~progress_line();
  void operator()(std::size_t done, std::size_t total);

 private:
  std::string what_;
  bool terminal_ = is_terminal(stderr), shown_ = false;
  std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
};

// ---- process.cpp ----------------------------------------------------------------------------------------------------

struct outcome {
  int status = 0;          // what it exited with; 128 + N: killed by the signal N
  bool timed_out = false;  // it and what it had started were killed
  std::string output;
};

// Runs a command line with the system's shell (/bin/sh -c, cmd /c) and waits; `what` we wait for is shown meanwhile.
// `input` is its standard input, standard error is ours. When we are killed it is killed, too, as far as the system
// can: with all that it started by Ctrl-C, by SIGTERM and on Windows; by SIGKILL on Linux only the shell itself. Throws
// std::system_error if it cannot be started.
outcome run_shell(const std::string& line, std::string_view input, std::chrono::seconds limit, const std::string& what);

// Starts a program on its own: in a new session (POSIX), as a detached process (Windows), so that it outlives us and
// the terminal. What it writes, or why it cannot be started, is appended to `log`. Throws std::system_error.
void start_detached(const std::vector<std::string>& words, const memoria::path& log);

// ---- main.cpp, commands.cpp -----------------------------------------------------------------------------------------

struct option {
  const char* name;
  const char* value;  // what its value is called; null: it has none
  const char* help;
  const char* variable = nullptr;  // of the environment: where the value comes from if the option is not given
};

struct command {
  const char* name;
  int (*run)(const struct invocation&);
  std::vector<const char*> arguments;  // "[POINTER]": may be left out
  const char* summary;
  std::vector<option> options;     // besides --json, which all have
  const char* more;                // the end of its help: formats, examples
  const char* status_1 = nullptr;  // what the exit status 1 means, if it occurs
};

extern const std::vector<command> commands;
int check(const invocation&), links(const invocation&), rename(const invocation&), graph(const invocation&),
    flush(const invocation&), hook(const invocation&), compile(const invocation&), log(const invocation&),
    state(const invocation&), doctor(const invocation&);

// One call of one command.
struct invocation {
  command what;
  std::string program;  // this one, as it was called
  std::vector<std::string> arguments;
  std::map<std::string, std::string> options;  // those of the environment, too

  bool has(const std::string& name) const { return options.count(name) > 0; }
  std::string get(const std::string& name) const { return has(name) ? options.at(name) : ""; }
  std::string need(const std::string& name) const;                            // misused() if it is not there
  std::chrono::seconds seconds(const std::string& name, int fallback) const;  // misused() if it is no such number
  std::string directory() const { return arguments[0]; }
  [[noreturn]] void misused(const std::string& message) const;  // ends the program, with the command's usage

  // The end of a command: writes an object with these members if --json is given, else the text.
  template <class Text>
  void report(const json& members, Text&& text) const {
    if (!has("--json")) return text();
    json all = json::object({{"format", std::string("memoria ") + what.name + " 1"}});
    for (const auto& [key, value] : members.items()) all[key] = value;
    cout << all.dump(2) << "\n";
  }
};

}  // namespace tool

#endif
