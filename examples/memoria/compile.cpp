// memoria compile: daily logs become notes. Each log is recorded when its notes are written, so that a crash repeats no
// more than one.
#include <charconv>

#include "memory.hpp"

namespace tool {

namespace {

constexpr std::size_t notes_shown = 100000;  // bytes of existing notes in a prompt; beyond, names only

std::vector<memoria::path> changed_logs(const memory& m, const json& state) {
  std::vector<memoria::path> changed;
  for (const memoria::path& log : files_in(m.daily, ".md")) {
    const json& known = state["logs"][utf8_name(log.filename())]["sha256"];
    if (known != json(sha256(memoria::read_text(log)))) changed.push_back(log);
  }
  return changed;
}

std::int64_t interval() {
  const std::string text = environment("MEMORIA_COMPILE_INTERVAL_MIN");
  std::int64_t minutes = 60;
  const char* const end = text.data() + text.size();
  if (const auto read = std::from_chars(text.data(), end, minutes);
      !text.empty() && (read.ptr != end || minutes < 0 || minutes > 1000000)) {
    warn("MEMORIA_COMPILE_INTERVAL_MIN is not a number of minutes: \"" + printable(text) + "\"; taking 60");
    minutes = 60;
  }
  return minutes * 60;
}

constexpr const char* instructions = R"(Below is the log of one day of an agent's work, after the notes that are
there already. Turn what is worth keeping into notes: one for each concept, in
Markdown, with [[wikilinks]] between them by path without ".md". Answer with the
notes that are new or changed, each whole, each begun by a line with its path:

=== concepts/name.md ===
# Name
...

Before the first you may write a line "cost_usd: 0.01" with what this cost.
)";

std::string prompt_for(const memory& m, const std::string& log_name, const std::string& log) {
  std::string prompt = instructions;
  std::error_code ec;
  const memoria::link_graph notes(m.knowledge, {}, ec);
  if (!ec) {
    const memoria::confined_dir directory(m.knowledge);
    for (const memoria::graph_note note : notes.notes()) {
      const std::string text = directory.read_text(note.name, ec);
      prompt += "\n=== " + std::string(note.name) + " ===\n";
      if (prompt.size() + text.size() < notes_shown) prompt += text;
    }
  }
  return prompt + "\n--- the log " + log_name + " ---\n\n" + log;
}

struct written {
  std::size_t notes = 0, refused = 0;
  double cost = 0;
};

// A model's names: what would lead out of the directory, or hide in it, is refused.
void write_note(const memory& m, const std::string& name, const std::string& text, written& done) {
  std::error_code ec = make_error_code(memoria::errc::unsafe_path);
  const bool visible =
      name[0] != '.' && name.find("/.") == std::string::npos && memoria::path(name).extension() == ".md";
  if (visible) {
    create_directories(m.knowledge);
    memoria::confined_dir(m.knowledge).atomic_write_text(name, text, ec);
  }
  if (ec == memoria::errc::unsafe_path) {
    warn("refused a note that is to be called \"" + printable(name) +
         "\": not a name inside knowledge/ that ends in .md");
    ++done.refused;
  } else if (ec) {
    throw std::system_error(ec, "cannot write the note " + name);
  } else {
    ++done.notes;
  }
}

// Takes an answer apart into notes and writes them.
written write_notes(const memory& m, std::string_view text) {
  written done;
  std::string name, note;
  const auto finish = [&] {
    if (!name.empty()) write_note(m, name, note, done);
    note.clear();
  };
  while (!text.empty()) {
    const std::string_view with_end = text.substr(0, text.find('\n') + 1 > 0 ? text.find('\n') + 1 : text.size());
    const std::string_view line = with_end.substr(0, with_end.find_last_not_of(" \t\r\n") + 1);
    text.remove_prefix(with_end.size());
    if (line.size() > 8 && line.substr(0, 4) == "=== " && line.substr(line.size() - 4) == " ===") {
      finish();
      name = line.substr(4, line.size() - 8);
    } else if (!name.empty()) {
      note += with_end;
    } else if (line.substr(0, 9) == "cost_usd:") {
      std::error_code ec;
      done.cost = json::parse(line.substr(9), ec).get_if<double>().value_or(0);
    }
  }
  finish();
  return done;
}

void record(const memory& m, const std::string& name, const std::string& hash, double seconds, const written& done) {
  update_state(m, [&](json& state) {
    state["logs"][name] = json::object({{"sha256", hash},
                                        {"compiled_at", now().iso},
                                        {"seconds", seconds},
                                        {"cost_usd", done.cost},
                                        {"notes", done.notes}});
    state["total_cost_usd"] = state.value("total_cost_usd", 0.0) + done.cost;
  });
}

int compile(const invocation& call, output& out) {
  set_environment("MEMORIA_INVOKED_BY", "compile");
  const memory m(call.directory());
  if (!is_directory(m.directory)) throw failure{"there is no directory " + call.directory()};
  set_environment("MEMORIA_DIR", utf8_name(absolute(m.directory)));  // a command with tools may write notes itself
  const std::string compiler = setting(call, "--compiler");
  create_directories(m.own);
  std::error_code ec;
  const memoria::file_lock lock(m.own / "compile.lock", at_once(), ec);
  if (ec == memoria::errc::lock_timeout) {
    warn("another compile is at work in " + call.directory());
    return call.has("--if-due") ? exit_clean : exit_findings;
  }
  if (ec) throw std::system_error(ec, utf8_name(m.own / "compile.lock"));
  if (call.has("--if-due") && !is_due(m, load_state(m))) return exit_clean;
  update_state(
      m, [&](json& state) { state["last_compile"] = now().seconds; });  // begun: one that fails is not repeated at once

  json list = json::array();
  std::size_t refused = 0;
  std::string problem;
  const std::vector<memoria::path> logs = changed_logs(m, load_state(m));
  for (std::size_t i = 0; i < logs.size() && problem.empty(); ++i) {
    const std::string name = utf8_name(logs[i].filename()), log = memoria::read_text(logs[i]);
    const std::chrono::seconds limit(call.number("--timeout", 1800));
    const auto start = std::chrono::steady_clock::now();
    const std::string what =
        "compiling " + name + " (" + std::to_string(i + 1) + " of " + std::to_string(logs.size()) + ")";
    const answer a = ask(compiler, prompt_for(m, name, utf8_text(log)), limit, what);
    if (!a.usable) {
      problem = "the compiler " + a.problem + " on " + name + "; " + counted(logs.size() - i, "log") +
                " left for the next time";
      break;
    }
    const written done = write_notes(m, a.text);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    record(m, name, sha256(log), seconds, done);
    refused += done.refused;
    list.push_back(json::object(
        {{"log", json_text(name)}, {"notes", done.notes}, {"refused", done.refused}, {"cost_usd", done.cost}}));
    if (!call.has("--json")) out << name << ": " << counted(done.notes, "note") << " written\n";
  }
  if (!problem.empty()) warn(printable(problem));
  if (call.has("--json")) {
    out.write_json(json::object({{"format", "memoria compile 1"},
                                 {"compiled", list},
                                 {"left", logs.size() - list.size()},
                                 {"problem", problem.empty() ? json() : json_text(problem)}}));
  } else if (logs.empty()) {
    out << "no log has changed since the last compile\n";
  }
  return problem.empty() && refused == 0 ? exit_clean : exit_findings;
}

}  // namespace

bool is_due(const memory& m, const json& state) {
  const std::int64_t since = now().seconds - state.value("last_compile", std::int64_t{0});
  return (since < 0 || since >= interval()) && !changed_logs(m, state).empty();
}

void compile_if_due(const memory& m, const std::string& compiler) {
  if (!is_due(m, load_state(m))) return;
  start_detached({"compile", "--if-due", "--compiler", compiler, "--", utf8_name(m.directory)}, m.own / "compile.log");
}

// clang-format off
const command compile_command = {
    "compile", {"DIR"}, "turn the logs that have changed into notes",
    {compiler_option,
     {"--if-due", nullptr, "only if the last compile is\n$MEMORIA_COMPILE_INTERVAL_MIN minutes ago (60)"},
     {"--timeout", "SECONDS", "for each log (1800)"},
     json_option},
    R"(
CMD is a command line for the shell, and nothing is added to it. For each log in
DIR/daily that is not what was compiled last, it reads a prompt, the notes and
the log on standard input, and answers with notes:
  cost_usd: 0.01                 optional: what this log cost
  === concepts/fsync.md ===      the path of a note in DIR/knowledge,
  # fsync                        and its text up to the next such line
A command that can write files may write them itself ($MEMORIA_DIR is DIR).
Names that lead out of DIR/knowledge are refused. What was done is recorded in
DIR/.memoria/state.json after each log: killed in the middle, the next compile
repeats only what was not recorded. Never two at once.

Examples
  memoria compile memory --compiler "claude -p"
  memoria compile memory --compiler ./compile.sh --json

Exit status: 0 done; 1 a log was not compiled, a note was refused, or another
compile is at work; 2 it could not run.
)",
    compile};

}  // namespace tool
