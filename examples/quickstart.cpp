#include <iostream>

#include "memoria_fs.hpp"

int main() {
  // Replaced whole: a reader sees the old text or the new one, also after a power cut.
  memoria::atomic_write_text("wiki/fsync.md", "# fsync\n\nSee [[rename]] and [[../../etc/passwd]].\n");
  // Entries of many processes never mix, and are on disk when the call returns.
  memoria::locked_append_text("daily.log", "wrote wiki/fsync.md\n");
  // No other update, in any process, comes between reading and writing.
  const memoria::json state = memoria::update_json(
      "state.json", memoria::json::object(), [](memoria::json& s) { s["runs"] = s.value("runs", 0) + 1; });

  const std::string note = memoria::read_text("wiki/fsync.md");
  for (const memoria::wikilink& link : memoria::wikilinks(note)) {
    const auto article = memoria::safe_article_path(link.target, "wiki");  // nothing if it leads out of wiki/
    std::cout << link.target << (!article ? ": refused" : exists(*article) ? ": there" : ": missing") << '\n';
  }
  std::cout << "run number " << state["runs"].dump() << '\n';
}
