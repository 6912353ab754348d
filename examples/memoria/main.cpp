// memoria: keeps the memory of an agent, looks after a directory of linked Markdown notes. `memoria --help` says more.
//
//   c++ -std=c++17 -O2 -I. examples/memoria/*.cpp -o memoria
//
// commands.cpp lists the commands. check, links, rename and graph are in notes.cpp, flush and hook in flush.cpp, log and
// state in state.cpp, compile and doctor in files of their names.
#include <algorithm>
#include <cerrno>

#include "tool.hpp"

namespace tool {
namespace {

std::string usage(const command& c) {
  std::string line = std::string("memoria ") + c.name;
  for (const char* argument : c.arguments) line += std::string(" ") + argument;
  return line;
}

// Two columns; the second may have several lines.
void write_row(std::string row, std::size_t width, std::string_view second) {
  row = "  " + row + "  ";
  if (row.size() > width) cout << std::exchange(row, "") << "\n";
  row.resize(width, ' ');
  for (const char c : second) row.append(1, c).append(c == '\n' ? width : 0, ' ');
  cout << row << "\n";
}

void write_help() {
  cout << R"(memoria keeps the memory of an agent in plain files: conversations become entries
of a daily log, logs become Markdown notes, and the [[links]] between the notes
are looked after.

)";
  for (const command& c : commands) write_row(usage(c), 42, c.summary);
  cout << R"(
Examples
  memoria log memory "chose SQLite"        into today's log
  memoria compile memory --compiler CMD    turn logs into notes
  memoria check memory/knowledge           what is wrong with the links in there
  memoria rename notes fsync durability    give a note another name, everywhere

`memoria COMMAND --help` explains a command and its options.
`memoria --version` says which version this is. Exit status: 0 fine, 1 something
was found or left undone, 2 it could not run. Variables of the environment:
MEMORIA_DIR, MEMORIA_SUMMARIZER, MEMORIA_COMPILER (instead of options),
MEMORIA_COMPILE_INTERVAL_MIN, MEMORIA_TZ (Europe/Berlin), NO_COLOR.
)";
}

std::vector<option> options_of(const command& c) {
  std::vector<option> options = c.options;
  options.push_back({"--json", nullptr, "write JSON: see examples/memoria/README.md"});
  options.push_back({"--help", nullptr, "show this"});
  return options;
}

void write_help(const command& c) {
  cout << "usage: " << usage(c) << " [OPTIONS]\n\nmemoria " << c.name << ": " << c.summary << ".\n\n";
  for (const option& o : options_of(c)) write_row(o.value ? std::string(o.name) + " " + o.value : o.name, 24, o.help);
  cout << c.more << "\nExit status\n";
  write_row("0", 5, "done");
  if (c.status_1) write_row("1", 5, c.status_1);
  if (c.run != hook) write_row("2", 5, "it could not run");
}

// The one of that name, or null and what may have been meant.
template <class Item>
const Item* find(const std::vector<Item>& items, const std::string& name, std::string& meant) {
  std::vector<std::string> names;
  for (const Item& item : items) {
    if (name == item.name) return &item;
    names.emplace_back(item.name);
  }
  meant = did_you_mean(name, names);
  return nullptr;
}

const command& find_command(const std::string& name) {
  std::string meant;
  if (const command* found = find(commands, name, meant)) return *found;
  std::error_code ignored;
  if (is_directory(native_path(name), ignored)) throw failure{"which command? For example: memoria check " + name};
  throw failure{"no such command: " + name + (meant.empty() ? "; `memoria --help` lists them" : meant)};
}

// Options may stand anywhere; behind "--" everything is an argument.
void parse(invocation& call, const std::vector<std::string>& words) {
  const std::vector<option> options = options_of(call.what);
  bool only_arguments = false;
  for (std::size_t i = 2; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (only_arguments || word.size() < 2 || word[0] != '-' || (word[1] >= '0' && word[1] <= '9')) {
      call.arguments.push_back(word);
    } else if (word == "--") {
      only_arguments = true;
    } else {
      const std::size_t equals = word.find('=');
      const std::string name = word == "-h" ? "--help" : word.substr(0, equals);
      std::string meant;
      const option* const o = find(options, name, meant);
      if (o == nullptr) call.misused(meant.insert(0, "no such option: " + name));
      const bool has_value = equals != std::string::npos;
      if (!o->value && has_value) call.misused(name + " takes no value");
      if (o->value && !has_value && i + 1 == words.size()) call.misused(name + " needs a value: " + o->value);
      call.options[name] = !o->value ? "" : has_value ? word.substr(equals + 1) : words[++i];
    }
  }
  for (const option& o : options) {
    if (o.variable && !environment(o.variable).empty()) call.options.emplace(o.name, environment(o.variable));
  }
}

void check_arguments(const invocation& call) {
  const auto& names = call.what.arguments;
  for (std::size_t i = 0; i < names.size() && names[i][0] != '['; ++i) {
    if (i == call.arguments.size()) call.misused(std::string("missing: ") + names[i]);
    if (call.arguments[i].empty()) call.misused(std::string(names[i]) + " is empty");  // a forgotten variable
  }
  if (call.arguments.size() > names.size()) call.misused("one argument too many: " + call.arguments.back());
}

int run(const std::vector<std::string>& words) {
  if (words.size() < 2) throw failure{"which command? `memoria --help` lists them"};
  if (words[1] == "--version") {
    constexpr int version = MEMORIA_FS_VERSION;
    cout << "memoria " << version / 10000 << "." << version / 100 % 100 << "." << version % 100 << "\n";
  } else if (words[1] == "--help" || words[1] == "-h" || words[1] == "help") {
    words.size() > 2 ? write_help(find_command(words[2])) : write_help();
  } else {
    invocation call{find_command(words[1]), words[0], {}, {}};
    parse(call, words);
    if (!call.has("--help")) return check_arguments(call), call.what.run(call);
    write_help(call.what);
  }
  return exit_clean;
}

}  // namespace

void invocation::misused(const std::string& message) const {
  throw failure{message + "\nusage: " + usage(what) + " [OPTIONS]\n`memoria " + what.name + " --help` says more"};
}

std::string invocation::need(const std::string& name) const {
  for (const option& o : what.options) {
    if (name == o.name && get(name).empty()) misused("missing: " + name + " " + o.value + ", or $" + o.variable);
  }
  return get(name);
}

std::chrono::seconds invocation::seconds(const std::string& name, int fallback) const {
  const std::string text = get(name);
  const auto number = number_in(text);
  if (!number && !text.empty()) misused(name + " is a number of seconds, not \"" + text + "\"");
  return std::chrono::seconds(number.value_or(fallback));
}

}  // namespace tool

int main(int argc, char** argv) {
  using namespace tool;
  set_up_console();
  const std::vector<std::string> words = utf8_arguments(argc, argv);
  try {
    cout.exceptions(std::ios::badbit);
    const int status = run(words);
    cout.flush();
    return status;
  } catch (const failure& f) {
    warn(f.message);
  } catch (const std::ios::failure&) {
    const int error = errno;  // a pipe that somebody closed who has seen enough needs no message
    if (error != EPIPE) warn("cannot write to standard output: " + std::generic_category().message(error));
  } catch (const std::exception& e) {  // memoria::error says operation, path and reason
    warn(printable(e.what()));
  }
  return words.size() > 1 && words[1] == "hook" ? exit_findings : exit_failed;
}
