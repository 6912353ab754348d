#include "memory.hpp"

#include <algorithm>

namespace tool {

memory::memory(const std::string& where)
    : directory(native_path(where.empty() ? "." : where)),
      daily(directory / "daily"),
      knowledge(directory / "knowledge"),
      own(directory / ".memoria"),
      contexts(own / "contexts"),
      state(own / "state.json") {}

memory existing_memory(const invocation& call) {
  memory m(call.directory());
  if (!is_directory(m.directory)) throw failure{"there is no directory " + call.directory()};
  return m;
}

memoria::path append_entry(const memory& m, const std::string& title, const std::string& text,
                           const std::string& marker) {
  const moment when = now();
  const memoria::path log = m.daily / (when.date + ".md");
  write_new(log, "# Daily log: " + when.date + "\n\n");
  memoria::append_options lines;
  lines.whole_lines = true;  // a crashed writer may have left half a line behind; our entry begins on its own
  std::string body = utf8_text(text);
  body.erase(body.find_last_not_of(" \t\r\n") + 1);
  memoria::locked_append_text(log, "### " + title + " (" + when.time + ")\n\n" + body + "\n\n" + marker, lines);
  return log;
}

json load_state(const memory& m) { return memoria::load_json_with_recovery(m.state, json::object()); }

bool write_new(const memoria::path& file, const std::string& text) {
  memoria::write_options options;
  options.overwrite = false;
  std::error_code ec;
  memoria::atomic_write_text(file, text, options, ec);
  if (ec && ec != std::errc::file_exists) throw std::system_error(ec, "cannot create " + utf8_name(file));
  return !ec;
}

std::vector<memoria::path> files_in(const memoria::path& directory) {
  std::vector<memoria::path> files;
  if (!exists(directory)) return files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().extension() == ".md" && utf8_name(entry.path().filename())[0] != '.') files.push_back(entry);
  }
  std::sort(files.begin(), files.end());
  return files;
}

answer ask(const std::string& command_line, const std::string& prompt, std::chrono::seconds limit,
           const std::string& what) {
  outcome done = run_shell(command_line, prompt, limit, what);
  if (done.timed_out) return {"", "gave no answer within " + std::to_string(limit.count()) + " s and was stopped"};
  if (done.status != 0) return {"", "ended with exit status " + std::to_string(done.status)};
  if (is_blank(done.output)) return {"", "answered nothing"};
  return {std::move(done.output), ""};
}

}  // namespace tool
