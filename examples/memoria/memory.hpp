// The directory that holds an agent's memory, and what flush, hook, compile, log and doctor do to it.
#ifndef MEMORY_HPP
#define MEMORY_HPP

#include "tool.hpp"

namespace tool {

struct memory {
  explicit memory(const std::string& directory);
  explicit memory(const invocation& call);  // of --dir or $MEMORIA_DIR, else here

  memoria::path directory;
  memoria::path daily;      // daily/2026-11-25.md: the logs
  memoria::path knowledge;  // knowledge/: the notes
  memoria::path own;        // .memoria/: the rest
  memoria::path contexts;   // .memoria/contexts/: conversations on their way into a log
  memoria::path state;      // .memoria/state.json: which sessions are in the logs, which logs in the notes
};

// Appends "### TITLE (14:03)" and the text to today's log, whole and durable; gives the log's path. The heading of a
// new log is there before its first entry, once, however many come at the same moment. `marker` becomes the last line.
memoria::path append_entry(const memory& m, const moment& when, const std::string& title, const std::string& text,
                           const std::string& marker = "");

memoria::recovery_options recovery();  // reports as the tool does
json load_state(const memory& m);

// update_json on the state; what it says of a corrupt state goes to standard error in our words.
template <class F>
void update_state(const memory& m, F&& change) {
  memoria::update_options options;
  options.recovery = recovery();
  try {
    memoria::update_json(m.state, json::object(), change, options);
  } catch (const memoria::json_error& e) {
    throw failure{utf8_name(m.state) + " is not what this program writes there (" + e.what() + "); move it away"};
  }
}

memoria::lock_options at_once(bool create = true);  // a lock that somebody holds is not waited for

// Creates a file that must not be there yet.
void write_new(const memoria::path& file, const std::string& text, std::error_code& ec);

std::string sha256(std::string_view bytes);  // sha256.cpp; as 64 hexadecimal digits

// The value of an option, or of the variable that stands for it. misused() if there is neither and it is needed.
std::string setting(const invocation& call, const char* option_name, bool needed = true);

std::vector<memoria::path> files_in(const memoria::path& directory, const std::string& extension);  // sorted

struct answer {
  bool usable = false;
  std::string text, problem;  // problem: why it is not usable, in words
};

// Asks the command that the user named, a language model or any other: prompt on standard input, answer on standard
// output.
answer ask(const std::string& command_line, const std::string& prompt, std::chrono::seconds limit,
           const std::string& what);

// Starts `memoria compile --if-due` on its own if a log has changed and the last compile is long enough ago.
void compile_if_due(const memory& m, const std::string& compiler);
bool is_due(const memory& m, const json& state);

constexpr option dir_option = {"--dir", "DIR", "the memory; by default $MEMORIA_DIR, else here", "MEMORIA_DIR"};
constexpr option compiler_option = {
    "--compiler", "CMD", "the command that turns a log into notes; by\ndefault $MEMORIA_COMPILER", "MEMORIA_COMPILER"};

}  // namespace tool

#endif
