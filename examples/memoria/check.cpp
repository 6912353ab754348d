// memoria check: what is wrong between the notes of a directory.
#include <algorithm>

#include "notes.hpp"

namespace tool {
namespace {

// What was found in a directory, sorted by kind.
struct report {
  explicit report(link_graph&& of) : graph(std::move(of)) {
    for (const graph_link link : graph.links()) {
      if (link.status != link_status::ok) links[static_cast<std::size_t>(link.status)].push_back(link);
    }
  }

  const std::vector<graph_link>& with(link_status status) const { return links[static_cast<std::size_t>(status)]; }

  // A note that could not be read may hold anything: a directory with one is not clean.
  std::size_t errors() const {
    return with(link_status::broken).size() + with(link_status::unsafe).size() + with(link_status::no_anchor).size() +
           graph.failures().size();
  }
  std::size_t warnings() const { return with(link_status::ambiguous).size() + graph.orphans().size(); }

  link_graph graph;
  std::vector<graph_link> links[5];  // by status
};

// Writes one list of findings, or its first entries unless --all is given: nobody reads 6,000 lines, and a script that
// needs them has --json.
class list_writer {
 public:
  static constexpr std::size_t shown_by_default = 40;

  list_writer(output& out, bool everything) : out_(out), everything_(everything) {}

  // print(item) writes one line without its end.
  template <class Range, class Print>
  void write(const Range& items, const char* noun, Print&& print) {
    const std::size_t all = items.size();
    if (all == 0) return;
    const std::size_t shown = everything_ || all <= shown_by_default + 1 ? all : shown_by_default;
    for (std::size_t i = 0; i < shown; ++i) {
      print(items[i]);
      out_ << "\n";
    }
    if (shown < all) {
      out_.write(style::faint, "... and " + counted(all - shown, std::string("more ") + noun) + ": --all shows them");
      out_ << "\n";
    }
    out_ << "\n";
  }

  void label(bool error) { error ? out_.write(style::error, "error: ") : out_.write(style::warning, "warning: "); }

 private:
  output& out_;
  bool everything_;
};

std::vector<graph_note> by_inbound(const link_graph& graph) {
  std::vector<graph_note> notes;
  for (const graph_note note : graph.notes()) notes.push_back(note);
  std::stable_sort(notes.begin(), notes.end(),
                   [](const graph_note& a, const graph_note& b) { return a.inbound > b.inbound; });
  return notes;
}

void write_inbound(output& out, const invocation& call, const link_graph& graph) {
  if (graph.notes().empty()) return;
  out << "inbound links: how many other notes link to each\n";
  list_writer list(out, call.has("--all") || call.has("--inbound"));
  list.write(by_inbound(graph), "note", [&](const graph_note& note) {
    const std::string number = std::to_string(note.inbound);
    out << std::string(number.size() < 6 ? 6 - number.size() : 0, ' ') << number << "  " << printable(note.name);
  });
}

void write_warnings(output& out, const invocation& call, const report& found) {
  const link_graph& graph = found.graph;
  const bool strict = call.has("--strict");
  list_writer list(out, call.has("--all"));
  list.write(graph.orphans(), "orphan", [&](const graph_note& note) {
    out << shown_path(call, note.name) << ": ";
    list.label(strict);
    out << "orphan, no other note links here";
  });
  list.write(found.with(link_status::ambiguous), "ambiguous link", [&](const graph_link& link) {
    out << shown_position(call, graph, link);
    list.label(strict);
    out << "ambiguous link " << shown_link(link) << ":";
    const char* between = " ";
    for (const graph_note candidate : graph.candidates(link.index)) {
      out << between << printable(candidate.name);
      between = " or ";
    }
  });
}

void write_errors(output& out, const invocation& call, const report& found) {
  const link_graph& graph = found.graph;
  list_writer list(out, call.has("--all"));
  list.write(graph.failures(), "unreadable note", [&](const memoria::graph_failure& f) {
    out << shown_path(call, f.name) << ": ";
    list.label(true);
    out << "cannot be read: " << f.code.message();
  });
  list.write(found.with(link_status::unsafe), "unsafe link", [&](const graph_link& link) {
    out << shown_position(call, graph, link);
    list.label(true);
    out << "link " << shown_link(link) << " leads out of the directory";
  });
  list.write(found.with(link_status::no_anchor), "missing anchor", [&](const graph_link& link) {
    const bool block = link.target.find("#^") != std::string_view::npos;
    out << shown_position(call, graph, link);
    list.label(true);
    out << "link " << shown_link(link) << ": " << printable(graph.notes()[link.destination].name)
        << (block ? " has no such block" : " has no such heading");
  });
  std::vector<std::string> names;
  for (const graph_note note : graph.notes()) names.push_back(name_in_links(call, note.name));
  list.write(found.with(link_status::broken), "broken link", [&](const graph_link& link) {
    out << shown_position(call, graph, link);
    list.label(true);
    out << "broken link " << shown_link(link);
    const std::string meant = closest(link.target.substr(0, link.target.find('#')), names);
    if (!meant.empty()) out << "; did you mean [[" << printable(meant) << "]]?";
  });
}

void write_summary(output& out, const invocation& call, const report& found) {
  const link_graph& graph = found.graph;
  out.write(style::bold, counted(graph.notes().size(), "note") + ", " + counted(graph.links().size(), "link"));
  out << ": " << found.with(link_status::broken).size() << " broken, " << found.with(link_status::unsafe).size()
      << " unsafe, " << found.with(link_status::ambiguous).size() << " ambiguous, "
      << counted(graph.orphans().size(), "orphan");
  if (call.has("--anchors")) out << ", " << counted(found.with(link_status::no_anchor).size(), "missing anchor");
  if (!graph.failures().empty()) out << ", " << graph.failures().size() << " unreadable";
  out << "\n";
}

json json_links(const link_graph& graph, const std::vector<graph_link>& links) {
  return json_array(links, [&](const graph_link& link) {
    json item = json_link(graph, link);
    if (link.status == link_status::ambiguous) {
      item["candidates"] =
          json_array(graph.candidates(link.index), [](const graph_note& note) { return json_text(note.name); });
    }
    return item;
  });
}

json json_summary(const report& found) {
  return json::object({{"notes", found.graph.notes().size()},
                       {"links", found.graph.links().size()},
                       {"broken", found.with(link_status::broken).size()},
                       {"unsafe", found.with(link_status::unsafe).size()},
                       {"missing_anchors", found.with(link_status::no_anchor).size()},
                       {"unreadable", found.graph.failures().size()},
                       {"ambiguous", found.with(link_status::ambiguous).size()},
                       {"orphans", found.graph.orphans().size()}});
}

json json_report(const invocation& call, const report& found, bool clean) {
  const link_graph& graph = found.graph;
  return json::object({{"format", "memoria check 1"},
                       {"directory", json_text(call.directory())},
                       {"clean", clean},
                       {"summary", json_summary(found)},
                       {"broken", json_links(graph, found.with(link_status::broken))},
                       {"unsafe", json_links(graph, found.with(link_status::unsafe))},
                       {"missing_anchors", json_links(graph, found.with(link_status::no_anchor))},
                       {"unreadable", json_array(graph.failures(), json_failure)},
                       {"ambiguous", json_links(graph, found.with(link_status::ambiguous))},
                       {"orphans", json_array(graph.orphans(), [](const graph_note& n) { return json_text(n.name); })},
                       {"notes", json_array(graph.notes(), json_note)}});
}

int check(const invocation& call, output& out) {
  const report found(read_notes(call));
  const bool clean = found.errors() == 0 && (!call.has("--strict") || found.warnings() == 0);
  if (call.has("--json")) {
    out.write_json(json_report(call, found, clean));
  } else {
    // What matters most comes last, where a terminal shows it.
    write_inbound(out, call, found.graph);
    write_warnings(out, call, found);
    write_errors(out, call, found);
    write_summary(out, call, found);
  }
  return clean ? exit_clean : exit_findings;
}

}  // namespace

// clang-format off
const command check_command = {
    "check", {"DIR"}, "find broken and unsafe links, and orphans",
    {{"--strict", nullptr, "orphans and ambiguous links are errors, too"},
     {"--anchors", nullptr, "check that headings and ^blocks exist"},
     {"--inbound", nullptr, "show the inbound count of every note"},
     {"--all", nullptr, "show every entry of every list"},
     json_option, resolve_option, code_option, hidden_option},
    R"(
What it finds, written as compilers write it, FILE:LINE:COLUMN: error: ...
  errors    broken links, links that leave the directory, notes that cannot be
            read; with --anchors also headings and blocks that are not there
  warnings  orphans (no other note links to them), ambiguous links (several
            notes have the name)
Before them comes how many other notes link to each note, the last line sums
up. Each list shows its first 40 entries. Lines and columns count from 1,
columns in bytes.

Examples
  memoria check notes                     what is wrong in notes/
  memoria check notes --anchors           also [[note#heading]], [[note#^block]]
  memoria check notes --all | grep orphan
  memoria check notes --strict --json     for a program: warnings count, too

Exit status: 0 no errors (with --strict no warnings either), 1 something was
found, 2 it could not run.

--json writes one object, always complete. Names are relative to DIR, with "/"
on every system.
  format      "memoria check 1"; the number changes when a member's meaning does
  directory   DIR
  clean       true if the exit status is 0
  summary     numbers: notes, links, broken, unsafe, missing_anchors,
              unreadable, ambiguous, orphans
  broken, unsafe, missing_anchors, ambiguous
              arrays of links: note (where it stands), line, column, target (as
              written, without the display text), destination (the note it leads
              to, or null), embed, frontmatter (true or false); ambiguous ones
              also candidates, the best first
  unreadable  array of objects: name, reason
  orphans     array of names
  notes       array of objects: name, inbound (other notes that link here),
              outbound (links in it)
)",
    check};

}  // namespace tool
