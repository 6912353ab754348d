// One translation unit that uses every part. run.sh compiles it twice, under two names and with different switches, and
// links both into one program. Returns how many of its expectations failed.
#include <memoria_fs.hpp>
#ifdef UNIT_NAMESPACE
namespace fs = UNIT_NAMESPACE;
#else
namespace fs = memoria;
#endif

int UNIT(const std::filesystem::path& directory) {
  int failed = 0;
  std::error_code ec;
  const auto expect = [&](bool holds) { failed += holds && !ec ? 0 : 1; };

  const fs::path note = directory / "note.md", log = directory / "log", state = directory / "state.json";
  fs::atomic_write_text(note, "[[note|itself]]", ec);
  expect(fs::read_text(note, ec) == "[[note|itself]]");

  fs::file_lock lock(directory / "lock", ec);
  expect(lock.owns_lock());
  lock.unlock();

  fs::locked_append_text(log, "entry\n", ec);
  expect(!fs::read_text(log, ec).empty());

  expect(fs::extract_wikilinks("[[a|b]]").at(0) == "a");
  expect(fs::safe_article_path("note", directory).has_value());
  expect(fs::confined_dir(directory, ec).exists("note.md", ec));

  fs::update_json(
      state, fs::json::object(), [](fs::json& j) { j["runs"] = j["runs"].get_if<int>().value_or(0) + 1; }, ec);
  expect(fs::load_json_with_recovery(state, nullptr, ec)["runs"].is_number());
  expect(fs::json::parse("[1, 2.5]", ec).dump(ec) == "[1,2.5]");

  expect(fs::count_inbound_links("note", directory, {}, ec) == 1);

#ifdef __cpp_exceptions
  try {
    fs::read_text(directory / "missing");
    ++failed;
  } catch (const std::exception& e) {
#ifdef __cpp_rtti
    expect(dynamic_cast<const fs::error*>(&e) != nullptr);
#else
    expect(e.what() != nullptr);
#endif
  }
#endif
  return failed;
}
