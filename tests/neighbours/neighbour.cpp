// One of the processes that neighbours.py lets loose on the same files. Every subcommand prints a line for each thing
// that was acknowledged, at once, so that the script knows what a killed process had been promised.
//   count FILE N [THREADS]      N times update_json: count += 1                 prints the new value
//   append LOG NAME N [lines]   N entries "NAME number length payload end"      prints the number
//   hold LOCK MARK N            N times: take LOCK, MARK must not be there, make it, remove it
//   snapshot FILE N             N times load_json_snapshot, save_json_if_unchanged until it is accepted; prints "saved"
//   fill DIR                    writes to DIR by every way until the disk is full; see fill()
//   sweep DIR                   remove_stale_temporaries; prints how many went
#include <cstdio>
#include <cstdlib>
#include <memoria_fs.hpp>
#include <thread>

namespace {

using memoria::json;
using memoria::path;

void acknowledge(const std::string& line) {
  std::fwrite((line + "\n").data(), 1, line.size() + 1, stdout);
  std::fflush(stdout);
}

int fail(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  return 1;
}

void count(const path& file, int n) {
  for (int i = 0; i < n; ++i) {
    const json after =
        memoria::update_json(file, json::object(), [](json& j) { j["count"] = j.value("count", 0) + 1; });
    acknowledge(std::to_string(after["count"].get<int>()));
  }
}

std::string entry(const std::string& name, int number) {
  const std::size_t length = static_cast<std::size_t>(number) * 7919 % 900;
  return name + " " + std::to_string(number) + " " + std::to_string(length) + " " + std::string(length, 'x') + " end\n";
}

void append(const path& log, const std::string& name, int n, bool whole_lines) {
  memoria::append_options options;
  options.whole_lines = whole_lines;
  for (int i = 0; i < n; ++i) {
    memoria::locked_append_text(log, entry(name, i), options);
    acknowledge(std::to_string(i));
  }
}

int hold(const path& lock_file, const path& mark, int n) {
  for (int i = 0; i < n; ++i) {
    const memoria::file_lock lock(lock_file);
    if (!std::filesystem::create_directory(mark)) return fail("two holders of one lock");
    std::filesystem::remove(mark);
  }
  return 0;
}

void snapshot(const path& file, int n) {
  for (int saved = 0; saved < n;) {
    memoria::json_snapshot seen = memoria::load_json_snapshot(file, json::object());
    json changed = seen.value;
    changed["count"] = changed.value("count", 0) + 1;
    if (!memoria::save_json_if_unchanged(file, seen, changed)) continue;
    ++saved;
    acknowledge("saved");
  }
}

// Fills the disk that `directory` is on. After each call that fails: the right error, and what was there is still there.
int fill(const path& directory) {
  const path text = directory / "text", state = directory / "state.json", log = directory / "log",
             big = directory / "big";
  const std::string old_text = "the old text";
  std::error_code ec;
  memoria::atomic_write_text(text, old_text);
  memoria::save_json(state, json::object({{"old", true}}));
  const std::string old_state = memoria::read_text(state);

  int entries = 0;
  for (;; ++entries) {
    memoria::locked_append_text(log, entry("fill", entries), ec);
    if (ec) break;
  }
  if (ec != std::errc::no_space_on_device) return fail("append: " + ec.message());
  std::string expected;
  for (int i = 0; i < entries; ++i) expected += entry("fill", i);
  if (entries < 100 || memoria::read_text(log) != expected) return fail("the full log is not what was acknowledged");

  const std::string much(std::size_t{1} << 20, 'm');
  const auto full = [&](const char* what) {
    if (ec != std::errc::no_space_on_device) return fail(std::string(what) + " on a full disk: " + ec.message());
    if (memoria::read_text(text) != old_text) return fail(std::string(what) + " changed the text");
    if (memoria::read_text(state) != old_state) return fail(std::string(what) + " changed the state");
    if (memoria::read_text(log) != expected) return fail(std::string(what) + " changed the log");
    return 0;
  };
  int failed = 0;
  memoria::atomic_write_text(text, much, ec);
  failed += full("atomic_write_text");
  memoria::save_json(state, json(much), ec);
  failed += full("save_json");
  memoria::update_json(state, json::object(), [&](json& j) { j["much"] = much; }, ec);
  failed += full("update_json");
  memoria::atomic_file file(text, ec);
  while (!ec) file.write(much, ec);
  failed += full("atomic_file::write");
  memoria::write_batch batch;
  batch.add(text, "new", ec);
  batch.add(big, much, ec);
  failed += full("write_batch::add");
  memoria::locked_append_text(log, much, ec);
  failed += full("locked_append_text");
  batch = memoria::write_batch();
  for (const auto& left : std::filesystem::directory_iterator(directory)) acknowledge(left.path().filename().string());
  return failed;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const auto argument = [&](int i) { return std::string(i < argc ? argv[i] : ""); };
  const auto number = [&](int i) { return std::atoi(argument(i).c_str()); };
  try {
    if (what == "count") {
      std::vector<std::thread> threads;
      for (int i = 1; i < number(4); ++i) threads.emplace_back([&] { count(argv[2], number(3)); });
      count(argv[2], number(3));
      for (std::thread& t : threads) t.join();
    } else if (what == "append") {
      append(argv[2], argument(3), number(4), argument(5) == "lines");
    } else if (what == "hold") {
      return hold(argv[2], argument(3), number(4));
    } else if (what == "snapshot") {
      snapshot(argv[2], number(3));
    } else if (what == "fill") {
      return fill(argv[2]);
    } else if (what == "sweep") {
      acknowledge(std::to_string(memoria::remove_stale_temporaries(argv[2])));
    } else {
      return fail("no such subcommand: " + what);
    }
  } catch (const std::exception& e) {
    return fail(e.what());
  }
  return 0;
}
