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

memory::memory(const invocation& call) : memory(setting(call, "--dir", false)) {}

memoria::path append_entry(const memory& m, const moment& when, const std::string& title, const std::string& text,
                           const std::string& marker) {
  const memoria::path log = m.daily / (when.date + ".md");
  std::error_code ec;
  write_new(log, "# Daily log: " + when.date + "\n\n", ec);
  if (ec && ec != std::errc::file_exists) throw std::system_error(ec, "cannot create " + utf8_name(log));
  memoria::append_options lines;
  lines.whole_lines = true;  // a crashed writer may have left half a line behind; our entry begins on its own
  std::string body = utf8_text(text);
  body.erase(body.find_last_not_of(" \t\r\n") + 1);
  memoria::locked_append_text(log, "### " + title + " (" + when.time + ")\n\n" + body + "\n\n" + marker, lines);
  return log;
}

memoria::recovery_options recovery() {
  memoria::recovery_options options;
  options.reporter = [](const memoria::recovery_report& r) { warn(printable(r.message())); };
  return options;
}

json load_state(const memory& m) { return memoria::load_json_with_recovery(m.state, json::object(), recovery()); }

memoria::lock_options at_once(bool create) {
  memoria::lock_options options;
  options.timeout = std::chrono::milliseconds(0);
  options.create = create;
  return options;
}

void write_new(const memoria::path& file, const std::string& text, std::error_code& ec) {
  memoria::write_options options;
  options.overwrite = false;
  memoria::atomic_write_text(file, text, options, ec);
}

std::string setting(const invocation& call, const char* option_name, bool needed) {
  const auto is_it = [&](const option& o) { return std::string_view(o.name) == option_name; };
  const option& o = *std::find_if(call.what->options.begin(), call.what->options.end(), is_it);
  const std::string value = call.has(option_name) ? call.get(option_name) : environment(o.variable);
  if (value.empty() && needed)
    misused(*call.what, std::string("missing: ") + o.name + " " + o.value + ", or $" + o.variable);
  return value;
}

std::vector<memoria::path> files_in(const memoria::path& directory, const std::string& extension) {
  std::vector<memoria::path> files;
  std::error_code ec;  // a directory that is not there has no files
  for (std::filesystem::directory_iterator at(directory, ec), end; !ec && at != end; at.increment(ec)) {
    if (at->path().extension() == extension && utf8_name(at->path().filename())[0] != '.') files.push_back(at->path());
  }
  if (ec && ec != std::errc::no_such_file_or_directory) throw std::system_error(ec, utf8_name(directory));
  std::sort(files.begin(), files.end());
  return files;
}

answer ask(const std::string& command_line, const std::string& prompt, std::chrono::seconds limit,
           const std::string& what) {
  progress_line progress(what);
  outcome done = run_shell(command_line, prompt, limit, progress);
  if (done.timed_out)
    return {false, "", "gave no answer within " + std::to_string(limit.count()) + " s and was stopped"};
  if (done.status != 0) return {false, "", "ended with exit status " + std::to_string(done.status)};
  if (done.output.find_first_not_of(" \t\r\n") == std::string::npos) return {false, "", "answered nothing"};
  return {true, std::move(done.output), ""};
}

}  // namespace tool
