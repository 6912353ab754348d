// One library call on a prepared directory, for the scripts beside this file: they trace it, make its system calls fail,
// kill it, and look at what a crash leaves. Nothing is printed about success before the call has returned it:
//   "ready"          before the call; everything after it is the library's
//   "acknowledged"   the call succeeded, exit status 0 (`load` adds the value)
//   "not_durable"    applied, but not proven durable, exit status 3
//   "failed"         and the error on standard error, exit status 1 (a file that was not to be overwritten: 4)
// The `bare_` commands are what programs do that do not use this library. The rigs must find them out.

#include "memoria_fs.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

namespace {

void say(const std::string& line) {
  const std::string text = line + "\n";
  if (::write(1, text.data(), text.size()) < 0 && errno != EBADF) std::exit(2);
}

std::string content(const std::string& tag, std::size_t size) {
  std::string text;
  for (unsigned line = 0; text.size() < size; ++line) text += tag + " " + std::to_string(line) + "\n";
  text.resize(size);
  return text;
}

memoria::json document(const std::string& tag, std::size_t size) {
  memoria::json value = memoria::json::object();
  value["tag"] = tag;
  value["text"] = content(tag, size);
  return value;
}

void count_up(memoria::json& state) {
  state["count"] = (state.contains("count") ? state.at("count").get<int>() : 0) + 1;
}

// Writes a temporary file and renames it, with or without the syncs.
bool bare_rename(const std::string& file, const std::string& text, bool sync) {
  const std::string beside = ".memoria-0000000000000000.tmp";
  const int fd = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644);
  bool ok = fd != -1 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ok = ok && (!sync || ::fsync(fd) == 0);
  if (fd != -1) ::close(fd);
  return ok && ::rename(beside.c_str(), file.c_str()) == 0;
}

bool bare_in_place(const std::string& file, const std::string& text) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  const bool ok = fd != -1 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (fd != -1) ::close(fd);
  return ok;
}

// Writes without end, and says what has been acknowledged (power_cut.py). `bare`: without syncs.
[[noreturn]] void work(bool bare) {
  memoria::write_options options;
  memoria::append_options appending;
  memoria::update_options updating;
  if (bare) options.durable = appending.durable = updating.durable = memoria::durability::none;
  for (unsigned i = 1;; ++i) {
    const std::string number = " " + std::to_string(i);
    memoria::atomic_write_text("file", content("file" + number, 9000), options);
    say("file" + number);
    memoria::update_json("state", memoria::json::object(), [](memoria::json& state) { count_up(state); }, updating);
    say("count" + number);
    memoria::locked_append_text("log", content("log" + number, 299) + "\n", appending);
    say("log" + number);
    memoria::write_batch batch(options);
    for (const char* name : {"batch0", "batch1", "batch2", "batch3", "batch4"})
      batch.add(name, content("batch" + number, 3000));
    batch.commit();
    say("batch" + number);
    memoria::atomic_write_text("dir" + std::to_string(i) + "/below/file", content("dir" + number, 100), options);
    say("dir" + number);
  }
}

bool run(const std::string& command, const std::vector<std::string>& arg, std::string& result) {
  const auto size = [&](std::size_t i) {
    return static_cast<std::size_t>(std::strtoul(arg.at(i).c_str(), nullptr, 10));
  };
  memoria::write_options options;
  if (command == "replace") {  // FILE TAG SIZE
    memoria::atomic_write_text(arg.at(0), content(arg.at(1), size(2)), options);
  } else if (command == "replace_data" || command == "replace_none") {
    options.durable = command == "replace_data" ? memoria::durability::data : memoria::durability::none;
    memoria::atomic_write_text(arg.at(0), content(arg.at(1), size(2)), options);
  } else if (command == "generations") {  // FILE TAG SIZE NUMBER
    options.generations = static_cast<unsigned>(size(3));
    memoria::atomic_write_text(arg.at(0), content(arg.at(1), size(2)), options);
  } else if (command == "create") {
    options.overwrite = false;
    memoria::atomic_write_text(arg.at(0), content(arg.at(1), size(2)), options);
  } else if (command == "stream") {  // FILE TAG SIZE PIECES
    memoria::atomic_file out(arg.at(0), options);
    const std::string text = content(arg.at(1), size(2));
    for (std::size_t i = 0, n = size(3); i < n; ++i) {
      const std::size_t from = text.size() * i / n, to = text.size() * (i + 1) / n;
      out.write(std::string_view(text).substr(from, to - from));
    }
    out.commit();
  } else if (command == "batch") {  // TAG SIZE FILE...
    memoria::write_batch batch(options);
    for (std::size_t i = 2; i < arg.size(); ++i) batch.add(arg[i], content(arg[0] + arg[i].back(), size(1)));
    batch.commit();
  } else if (command == "append" || command == "append_lines") {  // FILE TAG SIZE
    memoria::append_options how;
    how.whole_lines = command == "append_lines";
    memoria::locked_append_text(arg.at(0), content(arg.at(1), size(2)), how);
  } else if (command == "confined_replace") {  // FILE TAG SIZE
    memoria::confined_dir(".").atomic_write_text(arg.at(0), content(arg.at(1), size(2)));
  } else if (command == "confined_append") {
    memoria::confined_dir(".").locked_append_text(arg.at(0), content(arg.at(1), size(2)));
  } else if (command == "update") {  // FILE [GENERATIONS]: counts
    memoria::update_options how;
    if (arg.size() > 1) how.generations = static_cast<unsigned>(size(1));
    memoria::update_json(arg.at(0), memoria::json::object(), [](memoria::json& state) { count_up(state); }, how);
  } else if (command == "save") {  // FILE TAG SIZE
    memoria::save_json(arg.at(0), document(arg.at(1), size(2)));
  } else if (command == "load") {  // FILE
    result = memoria::load_json_with_recovery(arg.at(0), memoria::json("fallback")).dump();
  } else if (command == "read") {  // FILE
    result = std::to_string(memoria::read_text(arg.at(0)).size());
  } else if (command == "sweep") {  // DIRECTORY
    result = std::to_string(memoria::remove_stale_temporaries(arg.at(0)));
  } else if (command == "many") {  // NUMBER: a batch of so many files in three directories
    memoria::write_batch batch;
    for (std::size_t i = 0; i < size(0); ++i) {
      batch.add("many" + std::to_string(i % 3) + "/" + std::to_string(i), content(std::to_string(i), 100));
    }
    batch.commit();
  } else if (command == "report") {  // FILE TAG SIZE: what could not be kept
    memoria::write_report report;
    options.report = &report;
    memoria::atomic_write_text(arg.at(0), content(arg.at(1), size(2)), options);
    for (const auto& loss : report.not_kept) result += (result.empty() ? "" : ",") + loss.what;
  } else if (command == "work") {  // [bare]
    work(!arg.empty() && arg[0] == "bare");
  } else if (command == "bare_no_sync" || command == "bare_file_sync") {
    return bare_rename(arg.at(0), content(arg.at(1), size(2)), command == "bare_file_sync");
  } else if (command == "bare_in_place") {
    return bare_in_place(arg.at(0), content(arg.at(1), size(2)));
  } else {
    return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  ::umask(022);
  const std::vector<std::string> arg(argv + 2, argv + argc);
  say("ready");
  try {
    std::string result;
    if (!run(argv[1], arg, result)) return 2;
    say(result.empty() ? "acknowledged" : "acknowledged " + result);
    return 0;
  } catch (const memoria::error& e) {
    const bool applied = e.code() == memoria::errc::not_durable;
    say(applied ? "not_durable" : "failed");
    std::fprintf(stderr, "%s\n", e.what());
    return applied ? 3 : e.code() == std::errc::file_exists ? 4 : 1;
  } catch (const std::exception& e) {
    say("failed");
    std::fprintf(stderr, "not a memoria::error: %s\n", e.what());
    return 5;
  }
}
