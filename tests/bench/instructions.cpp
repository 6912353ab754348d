// The core paths on generated inputs, for instructions.py: under callgrind each path's user-space instructions are dumped
// under its name. Without valgrind it only runs them once.
//   instructions DIR
#include <valgrind/callgrind.h>

#include <cstdio>
#include <string>

#include "memoria_fs.hpp"

namespace {

using memoria::json;

std::size_t sink = 0;  // what came out is printed, so that nothing is optimised away

template <class F>
void path(const char* name, int times, F&& f) {
  f();  // what is done once in a process is not counted
  CALLGRIND_ZERO_STATS;
  CALLGRIND_TOGGLE_COLLECT;
  for (int i = 0; i < times; ++i) f();
  CALLGRIND_TOGGLE_COLLECT;
  CALLGRIND_DUMP_STATS_AT(name);
}

// 400 records with what state files have: nested objects, short and long strings, escapes, integers, fractions, flags.
std::string document() {
  std::string text = "{\"version\": 3, \"records\": [";
  for (int i = 0; i < 400; ++i) {
    const std::string n = std::to_string(i);
    if (i != 0) text += ", ";
    text += "{\"id\": " + std::to_string(i * 7919) + ", \"name\": \"record " + n +
            "\", \"score\": " + std::to_string(i % 97) + "." + n;
    text += ", \"done\": " + std::string(i % 3 == 0 ? "true" : "false") + ", \"parent\": null, \"tags\": [\"a\", \"b" +
            n + "\"], ";
    text += "\"note\": \"line one\\nline two \\u00e4 \xC3\xA9 with a quote \\\" and " +
            std::string(static_cast<std::size_t>(i % 60), 'x');
    text += "\", \"where\": {\"x\": -" + n + ", \"y\": 1e" + std::to_string(i % 20) + "}}";
  }
  return text + "]}";
}

// 300 paragraphs as notes have them: prose, lists, code, comments, plain links, links with alias, heading and block.
std::string note() {
  std::string text = "---\nup: \"[[index]]\"\n---\n# Title\n";
  for (int i = 0; i < 300; ++i) {
    const std::string n = std::to_string(i);
    text += "A paragraph of plain prose that goes on for a while [1], as they do (see below), number " + n + ".\n";
    if (i % 2 == 0)
      text += "- see [[note " + n + "]] and [[folder/note#Part " + n + "|the other]], ![[image " + n + ".png]]\n";
    if (i % 7 == 0) text += "\n```sh\nif [[ -f x ]]; then echo `date`; fi\n```\n\n";
    if (i % 11 == 0) text += "Some `[[code]]`, a %%[[comment]]%% and $[[math]]$, then [[note#^block" + n + "]].\n\n";
  }
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: instructions DIR\n"), 2;
  const memoria::path directory = argv[1];
  const std::string text = document(), links = note(), content(4096, 'x'), entry(300, 'e');
  const json tree = json::parse(text);
  path("json::parse", 5, [&] { sink += json::parse(text).size(); });
  path("json::dump(2)", 5, [&] { sink += tree.dump(2).size(); });
  path("parse, change, dump(2)", 5, [&] {
    json j = json::parse(text);
    j["changed"] = 42;
    sink += j.dump(2).size();
  });
  path("extract_wikilinks", 20, [&] { sink += memoria::extract_wikilinks(links).size(); });
  path("wikilinks", 20, [&] {
    for (const memoria::wikilink& link : memoria::wikilinks(links)) sink += link.target.size();
  });
  std::filesystem::create_directories(directory / "vault" / "folder");
  memoria::atomic_write_text(directory / "vault" / "folder" / "note.md", links);
  path("safe_article_path", 200,
       [&] { sink += memoria::safe_article_path("folder/note", directory / "vault").has_value(); });
  for (int i = 0; i < 50; ++i)
    memoria::atomic_write_text(directory / "vault" / ("note " + std::to_string(i) + ".md"), links);
  path("link_graph", 2, [&] { sink += memoria::link_graph(directory / "vault").links().size(); });
  path("atomic_write_text", 50, [&] { memoria::atomic_write_text(directory / "text", content); });
  memoria::save_json(directory / "state.json",
                     json::object({{"count", 0}, {"name", "a state"}, {"list", json::array({1, 2, 3})}}));
  path("update_json", 50, [&] {
    memoria::update_json(directory / "state.json", nullptr, [](json& j) { j["count"] = j.value("count", 0) % 9 + 1; });
  });
  path("locked_append_text", 50, [&] { memoria::locked_append_text(directory / "log", entry); });
  std::printf("%zu\n", sink);
  return 0;
}
