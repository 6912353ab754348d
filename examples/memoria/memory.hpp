// The directory that holds an agent's memory, and what flush, hook, compile, log and doctor do to it.
#ifndef MEMORY_HPP
#define MEMORY_HPP

#include "tool.hpp"

namespace tool {

struct memory {
  explicit memory(const std::string& directory);  // "": here

  memoria::path directory;
  memoria::path daily;      // daily/2026-11-25.md: the logs
  memoria::path knowledge;  // knowledge/: the notes
  memoria::path own;        // .memoria/: the rest
  memoria::path contexts;   // .memoria/contexts/: conversations on their way into a log
  memoria::path state;      // .memoria/state.json: which sessions are in the logs, which logs in the notes
};
memory existing_memory(const invocation& call);  // of the argument DIR, which has to be there

// Appends "### TITLE (14:03)" and the text to today's log, whole and durable; gives the log's path. The heading of a
// new log is there before its first entry, once, however many come at the same moment. `marker` becomes the last line.
memoria::path append_entry(const memory& m, const std::string& title, const std::string& text,
                           const std::string& marker = "");

json load_state(const memory& m);

template <class F>
void update_state(const memory& m, F&& change) try {
  memoria::update_json(m.state, json::object(), change);
} catch (const memoria::json_error& e) {
  throw failure{utf8_name(m.state) + " is not what this program writes there (" + e.what() + "); move it away"};
}

// For a lock that is not waited for if somebody holds it, on a file that is there.
constexpr memoria::lock_options at_once{memoria::lock_mode::exclusive, std::chrono::milliseconds(0), false};

// Creates a file; false: it is there already.
bool write_new(const memoria::path& file, const std::string& text);

std::string sha256(std::string_view bytes);  // sha256.cpp; as 64 hexadecimal digits

std::vector<memoria::path> files_in(const memoria::path& directory);  // *.md, sorted

struct answer {
  std::string text, problem;  // problem: why there is no text, in words
};

// Asks the command that the user named, a language model or any other: prompt on standard input, answer on standard
// output.
answer ask(const std::string& command_line, const std::string& prompt, std::chrono::seconds limit,
           const std::string& what);

// Starts `memoria compile --if-due` on its own if a log has changed and the last compile is long enough ago.
void compile_if_due(const invocation& call, const memory& m);

}  // namespace tool

#endif
