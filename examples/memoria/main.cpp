// memoria: keeps the memory of an agent, looks after a directory of linked Markdown notes. `memoria --help` says more.
//
//   c++ -std=c++17 -O2 -I. examples/memoria/*.cpp -o memoria
//
// One file for each family of commands: check, links (and rename), graph, flush (and hook), compile, state (and log),
// doctor. What they share is declared in tool.hpp, notes.hpp, memory.hpp.
#include <algorithm>
#include <charconv>

#include "tool.hpp"

namespace tool {
namespace {

const command* const commands[] = {&check_command, &links_command,   &rename_command, &graph_command, &flush_command,
                                   &hook_command,  &compile_command, &log_command,    &state_command, &doctor_command};

std::string usage(const command& c) {
  std::string line = std::string("memoria ") + c.name;
  for (const char* argument : c.arguments) line += std::string(" ") + argument;
  return line;
}

void write_help(output& out) {
  out << "memoria keeps the memory of an agent in plain files: conversations become entries\n"
         "of a daily log, logs become Markdown notes, and the [[links]] between the notes\n"
         "are looked after.\n\n";
  for (const command* c : commands) {
    const std::string line = usage(*c);
    out << "  " << line << std::string(line.size() < 40 ? 40 - line.size() : 1, ' ') << c->summary << "\n";
  }
  out << "\nExamples\n"
         "  memoria log memory \"chose SQLite\"       into today's log\n"
         "  memoria compile memory --compiler CMD    turn logs into notes\n"
         "  memoria check memory/knowledge           what is wrong with the links in there\n"
         "  memoria rename notes fsync durability    give a note another name, everywhere\n\n"
         "`memoria COMMAND --help` explains a command and its options.\n"
         "`memoria --version` says which version this is. Exit status: 0 fine, 1 something\n"
         "was found or left undone, 2 it could not run. Variables of the environment:\n"
         "MEMORIA_DIR, MEMORIA_SUMMARIZER, MEMORIA_COMPILER (instead of options),\n"
         "MEMORIA_COMPILE_INTERVAL_MIN, MEMORIA_TZ (Europe/Berlin), NO_COLOR.\n";
}

void write_help(output& out, const command& c) {
  out << "usage: " << usage(c) << " [OPTIONS]\n\nmemoria " << c.name << ": " << c.summary << ".\n\n";
  for (const option& o : c.options) {
    std::string name = std::string("  ") + o.name + (o.value ? std::string(" ") + o.value : "");
    name.resize(std::max<std::size_t>(name.size() + 2, 24), ' ');
    for (const char* at = o.help; *at != '\0'; ++at) name.append(1, *at).append(*at == '\n' ? 24 : 0, ' ');
    out << name << "\n";
  }
  out << c.more << "\nexamples/memoria/README.md says what is in the object that --json writes.\n";
}

const command& find_command(const std::string& name) {
  std::vector<std::string> names;
  for (const command* c : commands) {
    if (name == c->name) return *c;
    names.emplace_back(c->name);
  }
  std::error_code ignored;
  if (is_directory(native_path(name), ignored)) throw failure{"which command? For example: memoria check " + name};
  const std::string meant = did_you_mean(name, names);
  throw failure{"no such command: " + name + (meant.empty() ? "; `memoria --help` lists them" : meant)};
}

const option& find_option(const command& c, const std::string& name) {
  std::vector<std::string> names;
  for (const option& o : c.options) {
    if (name == o.name) return o;
    names.push_back(o.name);
  }
  misused(c, "no such option: " + name + did_you_mean(name, names));
}

// Options may stand anywhere; behind "--" everything is an argument.
invocation parse(const command& c, const std::vector<std::string>& words) {
  invocation call;
  call.what = &c;
  bool only_arguments = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (only_arguments || word.size() < 2 || word[0] != '-' || (word[1] >= '0' && word[1] <= '9')) {
      call.arguments.push_back(word);
    } else if (word == "--") {
      only_arguments = true;
    } else {
      const std::size_t equals = word.find('=');
      const option& o = find_option(c, word.substr(0, equals));
      const bool has_value = equals != std::string::npos;
      if (o.value == nullptr && has_value) misused(c, std::string(o.name) + " takes no value");
      if (o.value != nullptr && !has_value && i + 1 == words.size()) misused(c, word + " needs a value: " + o.value);
      call.options[o.name] = o.value == nullptr ? "" : has_value ? word.substr(equals + 1) : words[++i];
    }
  }
  for (std::size_t i = 0; i < c.arguments.size() && c.arguments[i][0] != '['; ++i) {
    if (i == call.arguments.size()) misused(c, std::string("missing: ") + c.arguments[i]);
    if (call.arguments[i].empty()) misused(c, std::string(c.arguments[i]) + " is empty");  // a forgotten variable
  }
  if (call.arguments.size() > c.arguments.size()) misused(c, "one argument too many: " + call.arguments.back());
  return call;
}

bool asks_for_help(const std::string& word) { return word == "--help" || word == "-h"; }

int run(const std::vector<std::string>& words, output& out) {
  if (words.empty()) throw failure{"which command? `memoria --help` lists them"};
  if (words[0] == "--version") {
    constexpr std::size_t version = MEMORIA_FS_VERSION;
    out << "memoria " << version / 10000 << "." << version / 100 % 100 << "." << version % 100 << "\n";
    return exit_clean;
  }
  if (asks_for_help(words[0]) || words[0] == "help") {
    words.size() > 1 ? write_help(out, find_command(words[1])) : write_help(out);
    return exit_clean;
  }
  const command& c = find_command(words[0]);
  const std::vector<std::string> rest(words.begin() + 1, words.end());
  const auto end_of_options = std::find(rest.begin(), rest.end(), "--");
  if (std::any_of(rest.begin(), end_of_options, asks_for_help)) {
    write_help(out, c);
    return exit_clean;
  }
  return c.run(parse(c, rest), out);
}

}  // namespace

void misused(const command& c, const std::string& message) {
  throw failure{message + "\nusage: " + usage(c) + " [OPTIONS]\n`memoria " + c.name + " --help` says more"};
}

long long invocation::number(const char* name, long long fallback) const {
  if (!has(name)) return fallback;
  const std::string text = get(name);
  long long value = -1;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ptr != text.data() + text.size() || read.ec != std::errc() || value < 0 || value > 1000000) {
    misused(*what, std::string(name) + " is a number of seconds, not \"" + text + "\"");
  }
  return value;
}

}  // namespace tool

int main(int argc, char** argv) {
  using namespace tool;
  const console_setup setup;
  remember_program(argc > 0 ? argv[0] : "memoria");
  const std::vector<std::string> words = utf8_arguments(argc, argv);
  try {
    output out;
    const int status = run(words, out);
    out.close();
    return status;
  } catch (const failure& f) {
    if (!f.message.empty()) warn(f.message);
  } catch (const std::exception& e) {  // memoria::error says operation, path and reason
    warn(printable(e.what()));
  }
  return !words.empty() && words[0] == hook_command.name ? exit_failed_softly : exit_failed;
}
