// libFuzzer target: notes of any bytes under names of any letters. The graph is consistent in itself and the same each time,
// a name is found however its letters are written, and after a rename no link that led somewhere leads nowhere.
#include <memoria_fs.hpp>

#include "common.hpp"

namespace {

namespace fs = std::filesystem;
using memoria::path;

const path& place() {
  static const path dir = place_for("vault");
  return dir;
}

struct totals {
  std::size_t notes, links, broken, ambiguous, inbound;
  bool operator==(const totals& o) const {
    return notes == o.notes && links == o.links && broken == o.broken && ambiguous == o.ambiguous &&
           inbound == o.inbound;
  }
};

totals checked(const memoria::link_graph& graph) {
  totals t = {graph.notes().size(), graph.links().size(), 0, 0, 0};
  std::size_t outbound = 0, backlinks = 0;
  for (const memoria::graph_note note : graph.notes()) {
    outbound += note.outbound, t.inbound += note.inbound;
    require(graph.links_of(note.index).size() == note.outbound, "a note's links are counted");
    backlinks += graph.backlinks(note.index).size();
    require((graph.backlinks(note.index).size() == 0) == (note.inbound == 0), "backlinks and inbound counts agree");
  }
  require(outbound == t.links && backlinks >= t.inbound, "every link stands in one note");
  for (const memoria::graph_link link : graph.links()) {
    require(link.source < t.notes && (link.destination == link.none || link.destination < t.notes),
            "links lead to notes");
    t.broken += link.status == memoria::link_status::broken;
    if (link.status != memoria::link_status::ambiguous) continue;
    ++t.ambiguous;
    require(graph.candidates(link.index).size() > 1, "an ambiguous link has candidates");
  }
  require(t.broken == graph.count(memoria::link_status::broken), "statuses are counted");
  return t;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  fs::remove_all(place());
  fs::create_directories(place() / "dir");
  // The first line is the name of the note that has the rest as its text; a second note links to it by that name.
  const std::size_t end = text.find('\n');
  const std::string name(text.substr(0, end < 60 ? end : 60));
  std::error_code ec;
  const std::optional<path> article = memoria::safe_article_path(name, place());
  const bool usable = article && article->parent_path() == fs::canonical(place()) && name[0] != '.' &&
                      name.find_first_of("[]|#^\r\n") == std::string::npos && name.size() < 50;
  if (usable) put(*article, text);
  put(place() / "dir" / "fixed.md", text);
  put(place() / "links.md", "[[" + name + "]] ![[fixed]] [[dir/fixed#x]]\n");

  memoria::graph_options options;
  options.check_anchors = size % 2 == 0;
  options.include_code = size % 3 == 0;
  const memoria::link_graph graph(place(), options, ec);
  require(!ec, "the directory can be read");
  const totals first = checked(graph);
  require(first == checked(memoria::link_graph(place(), options, ec)), "the same directory gives the same graph");
  if (!graph.failures().empty()) return 0;
  const totals before = checked(memoria::link_graph(place(), ec));
  memoria::rename_article(place(), "dir/fixed", "moved", ec);
  if (!ec) require(checked(memoria::link_graph(place(), ec)).broken <= before.broken, "a rename breaks no link");
  return 0;
}

struct cleaner {
  ~cleaner() {
    std::error_code ignored;
    fs::remove_all(place(), ignored);
  }
};
static const cleaner at_exit;
