// A unit of a large project: it pays for the interface only. Every template of the interface is used, with a callback
// of its own type, since these are all that is compiled here and not in the implementation's unit.
#define MEMORIA_FS_DECLARATIONS_ONLY
#include <memoria_fs.hpp>

int expectations_failed(const std::filesystem::path& directory) {
  int failed = 0;
  const auto expect = [&](bool holds) { failed += holds ? 0 : 1; };
  const auto note = directory / "note.md", state = directory / "state.json";

  memoria::atomic_write_text(note, "[[old|shown]] and [[other]]");
  const std::string text = memoria::read_text(note);
  expect(memoria::extract_wikilinks(text).at(1) == "other");
  std::size_t links = 0;
  for (const memoria::wikilink& link : memoria::wikilinks(text)) links += link.note().size();
  expect(links == 8);
  const auto rename = [](const memoria::wikilink& link) -> std::optional<std::string> {
    if (link.note() != "old") return std::nullopt;
    return "new";
  };
  expect(memoria::replace_wikilinks(text, rename) == "[[new|shown]] and [[other]]");

  memoria::update_json(state, memoria::json::object(), [&](memoria::json& j) { j["runs"] = j.value("runs", 0) + 1; });
  memoria::update_json(state, nullptr, [](memoria::json&) { return false; });
  const memoria::json value = memoria::load_json(state);
  expect(value["runs"].get<int>() == 1 && value.at("runs").get<std::uint8_t>() == 1);
  for (const auto& [key, member] : value.items()) expect(key == "runs" && member.is_number());
  expect(memoria::json(std::vector<std::string>{"a"}).get<std::vector<std::string>>().size() == 1);

  memoria::atomic_write_text(state, "{");
  int reports = 0;
  memoria::recovery_options recovery;
  recovery.reporter = [&](const memoria::recovery_report&) { ++reports; };
  expect(memoria::load_json_with_recovery(state, 7, recovery) == 7 && reports == 1);

  std::error_code ec;
  std::size_t seen = 0;
  const memoria::link_graph graph(directory, {}, [&](std::size_t done, std::size_t) { seen = done; }, ec);
  expect(!ec && seen == 1 && graph.count(memoria::link_status::broken) == 2);
  try {
    memoria::require_article_path("../note", directory);
    expect(false);
  } catch (const memoria::unsafe_path_error& e) {
    expect(e.code() == memoria::errc::unsafe_path);
  }
  return failed;
}
