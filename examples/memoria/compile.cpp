// memoria compile: daily logs become notes. Each log is recorded when its notes are written, so that a crash repeats no
// more than one.
#include <algorithm>

#include "memory.hpp"

namespace tool {

namespace {

constexpr std::size_t notes_shown = 100000;  // bytes of existing notes in a prompt; beyond, names only

std::vector<memoria::path> changed_logs(const memory& m, const json& state) {
  std::vector<memoria::path> changed;
  for (const memoria::path& log : files_in(m.daily)) {
    const json& known = state["logs"][utf8_name(log.filename())]["sha256"];
    if (known != json(sha256(memoria::read_text(log)))) changed.push_back(log);
  }
  return changed;
}

bool is_due(const memory& m, const json& state) {
  const std::string text = environment("MEMORIA_COMPILE_INTERVAL_MIN");
  const std::optional<int> minutes = number_in(text);
  if (!minutes && !text.empty()) {
    warn("MEMORIA_COMPILE_INTERVAL_MIN is not a number of minutes: \"" + printable(text) + "\"; taking 60");
  }
  const std::int64_t since = now().seconds - state.value("last_compile", std::int64_t{0});
  return (since < 0 || since >= minutes.value_or(60) * 60) && !changed_logs(m, state).empty();
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
  const bool visible = name[0] != '.' && name.find("/.") == std::string::npos;
  if (visible && memoria::path(name).extension() == ".md") {
    create_directories(m.knowledge);
    memoria::confined_dir(m.knowledge).atomic_write_text(name, text, ec);
  }
  if (ec && ec != memoria::errc::unsafe_path) throw std::system_error(ec, "cannot write the note " + name);
  ++(ec ? done.refused : done.notes);
  if (ec) warn("refused a note \"" + printable(name) + "\": not a name inside knowledge/ that ends in .md");
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
    const std::string_view with_end = text.substr(0, std::min(text.size() - 1, text.find('\n')) + 1);
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

}  // namespace

int compile(const invocation& call) {
  set_environment("MEMORIA_INVOKED_BY", "compile");
  const memory m = existing_memory(call);
  set_environment("MEMORIA_DIR", utf8_name(absolute(m.directory)));  // a command with tools may write notes itself
  const std::string compiler = call.need("--compiler");
  create_directories(m.own);
  std::error_code ec;
  const memoria::file_lock lock(m.own / "compile.lock", {memoria::lock_mode::exclusive, std::chrono::milliseconds(0)},
                                ec);
  if (ec == memoria::errc::lock_timeout) {
    warn("another compile is at work in " + call.directory());
    return call.has("--if-due") ? exit_clean : exit_findings;
  }
  if (ec) throw std::system_error(ec, utf8_name(m.own / "compile.lock"));
  if (call.has("--if-due") && !is_due(m, load_state(m))) return exit_clean;
  // Begun: one that fails is not repeated at once.
  update_state(m, [&](json& state) { state["last_compile"] = now().seconds; });

  json list = json::array();
  std::size_t refused = 0;
  std::string problem;
  const std::vector<memoria::path> logs = changed_logs(m, load_state(m));
  for (std::size_t i = 0; i < logs.size(); ++i) {
    const std::string name = utf8_name(logs[i].filename()), log = memoria::read_text(logs[i]);
    const auto start = std::chrono::steady_clock::now();
    const answer a =
        ask(compiler, prompt_for(m, name, utf8_text(log)), call.seconds("--timeout", 1800),
            "compiling " + name + " (" + std::to_string(i + 1) + " of " + std::to_string(logs.size()) + ")");
    if (!a.problem.empty()) {
      problem = "the compiler " + a.problem + " on " + name + "; " + counted(logs.size() - i, "log") +
                " left for the next time";
      warn(printable(problem));
      break;
    }
    const written done = write_notes(m, a.text);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    update_state(m, [&](json& state) {
      state["logs"][name] = json::object({{"sha256", sha256(log)},
                                          {"compiled_at", now().utc},
                                          {"seconds", seconds},
                                          {"cost_usd", done.cost},
                                          {"notes", done.notes}});
      state["total_cost_usd"] = state.value("total_cost_usd", 0.0) + done.cost;
    });
    refused += done.refused;
    list.push_back(json::object(
        {{"log", json_text(name)}, {"notes", done.notes}, {"refused", done.refused}, {"cost_usd", done.cost}}));
    const bool none = done.notes + done.refused == 0;
    const std::string said = none ? "no note in the answer; one begins with a line === NAME.md ==="
                                  : counted(done.notes, "note") + " written";
    if (!call.has("--json")) cout << name << ": " << said << "\n";
  }
  const std::size_t left = logs.size() - list.size();
  call.report(json::object({{"compiled", list}, {"left", left}, {"problem", left ? json_text(problem) : json()}}), [&] {
    if (logs.empty()) cout << "no log has changed since the last compile\n";
  });
  return left == 0 && refused == 0 ? exit_clean : exit_findings;
}

void compile_if_due(const invocation& call, const memory& m) {
  const std::string compiler = call.get("--compiler");
  if (compiler.empty() || !is_due(m, load_state(m))) return;
  start_detached({call.program, "compile", "--if-due", "--compiler", compiler, "--", utf8_name(m.directory)},
                 m.own / "compile.log");
}

}  // namespace tool
