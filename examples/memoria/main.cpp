// memoria: keeps the memory of an agent, looks after a directory of linked Markdown notes. `memoria --help` says more.
//
//   c++ -std=c++17 -O2 -I. examples/memoria/*.cpp -o memoria
//
// One file for each family of commands: check, links (and rename), graph, flush (and hook), compile, state (and log),
// doctor. What they share is declared in tool.hpp, notes.hpp, memory.hpp, process.hpp.
#include <algorithm>

#include "process.hpp"
#include "tool.hpp"

namespace tool {
namespace {

const command* const commands[] = {&check_command, &links_command,   &rename_command, &graph_command, &flush_command,
                                   &hook_command,  &compile_command, &log_command,    &state_command, &doctor_command};

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
         "`memoria COMMAND --help` explains a command, its options and what --json writes.\n"
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
  out << c.more;
}

const command& find_command(const std::string& name) {
  std::vector<std::string> names;
  for (const command* c : commands) {
    if (name == c->name) return *c;
    names.emplace_back(c->name);
  }
  std::error_code ignored;
  if (is_directory(native_path(name), ignored)) throw failure{"which command? For example: memoria check " + name};
  const std::string meant = closest(name, names);
  throw failure{"no such command: " + name +
                (meant.empty() ? "; `memoria --help` lists them" : "; did you mean " + meant + "?")};
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
