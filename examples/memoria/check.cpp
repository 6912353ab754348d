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

std::vector<graph_note> by_inbound(const link_graph& graph) {
  std::vector<graph_note> notes;
  for (const graph_note note : graph.notes()) notes.push_back(note);
  std::stable_sort(notes.begin(), notes.end(),
                   [](const graph_note& a, const graph_note& b) { return a.inbound > b.inbound; });
  return notes;
}

// Text, as compilers write it.
class text_report {
 public:
  text_report(output& out, const invocation& call, const report& found)
      : out_(out), call_(call), found_(found), graph_(found.graph), all_(call.has("--all")) {}

  // What matters most comes last, where a terminal shows it.
  void write() {
    inbound();
    warnings();
    errors();
    summary();
  }

 private:
  // One list of findings, or its first entries unless --all is given: nobody reads 6,000 lines, and a script that needs
  // them has --json. print(item) writes one line without its end.
  template <class Range, class Print>
  void list(const Range& items, const char* noun, bool everything, Print&& print) {
    constexpr std::size_t shown_by_default = 40;
    const std::size_t all = items.size(), shown = everything || all <= shown_by_default + 1 ? all : shown_by_default;
    for (std::size_t i = 0; i < shown; ++i) {
      print(items[i]);
      out_ << "\n";
    }
    if (shown < all) {
      out_.write(style::faint, "... and " + counted(all - shown, std::string("more ") + noun) + ": --all shows them");
      out_ << "\n";
    }
    if (all > 0) out_ << "\n";
  }

  output& finding(const std::string& where, bool error) {
    out_ << where;
    return error ? out_.write(style::error, "error: ") : out_.write(style::warning, "warning: ");
  }

  template <class Print>
  void links(link_status status, const char* noun, bool error, Print&& print) {
    list(found_.with(status), noun, all_, [&](const graph_link& link) {
      finding(shown_position(call_, graph_, link), error);
      print(link);
    });
  }

  void inbound() {
    if (!graph_.notes().empty()) out_ << "inbound links: how many other notes link to each\n";
    list(by_inbound(graph_), "note", all_ || call_.has("--inbound"), [&](const graph_note& note) {
      const std::string number = std::to_string(note.inbound);
      out_ << std::string(number.size() < 6 ? 6 - number.size() : 0, ' ') << number << "  " << printable(note.name);
    });
  }

  void warnings() {
    const bool strict = call_.has("--strict");
    list(graph_.orphans(), "orphan", all_, [&](const graph_note& note) {
      finding(shown_path(call_, note.name) + ": ", strict) << "orphan, no other note links here";
    });
    links(link_status::ambiguous, "ambiguous link", strict, [&](const graph_link& link) {
      out_ << "ambiguous link " << shown_link(link) << ":";
      const char* between = " ";
      for (const graph_note candidate : graph_.candidates(link.index)) {
        out_ << std::exchange(between, " or ") << printable(candidate.name);
      }
    });
  }

  void errors() {
    list(graph_.failures(), "unreadable note", all_, [&](const memoria::graph_failure& f) {
      finding(shown_path(call_, f.name) + ": ", true) << "cannot be read: " << f.code.message();
    });
    links(link_status::unsafe, "unsafe link", true,
          [&](const graph_link& link) { out_ << "link " << shown_link(link) << " leads out of the directory"; });
    links(link_status::no_anchor, "missing anchor", true, [&](const graph_link& link) {
      const bool block = link.target.find("#^") != std::string_view::npos;
      out_ << "link " << shown_link(link) << ": " << printable(graph_.notes()[link.destination].name)
           << (block ? " has no such block" : " has no such heading");
    });
    std::vector<std::string> names;
    for (const graph_note note : graph_.notes()) names.push_back(name_in_links(call_, note.name));
    links(link_status::broken, "broken link", true, [&](const graph_link& link) {
      const std::string_view name = link.target.substr(0, link.target.find('#'));
      out_ << "broken link " << shown_link(link) << did_you_mean(name, names, "[[", "]]");
    });
  }

  void summary() {
    const auto number = [&](link_status status) { return found_.with(status).size(); };
    out_.write(style::bold, counted(graph_.notes().size(), "note") + ", " + counted(graph_.links().size(), "link"));
    out_ << ": " << number(link_status::broken) << " broken, " << number(link_status::unsafe) << " unsafe, "
         << number(link_status::ambiguous) << " ambiguous, " << counted(graph_.orphans().size(), "orphan");
    if (call_.has("--anchors")) out_ << ", " << counted(number(link_status::no_anchor), "missing anchor");
    if (!graph_.failures().empty()) out_ << ", " << graph_.failures().size() << " unreadable";
    out_ << "\n";
  }

  output& out_;
  const invocation& call_;
  const report& found_;
  const link_graph& graph_;
  const bool all_;
};

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

json json_report(const invocation& call, const report& found, bool clean) {
  const link_graph& graph = found.graph;
  json out = json::object({{"format", "memoria check 1"},
                           {"directory", json_text(call.directory())},
                           {"clean", clean},
                           {"summary", json::object({{"links", graph.links().size()}})}});
  const auto add = [&](const char* kind, json list) {
    out["summary"][kind] = list.size();
    out[kind] = std::move(list);
  };
  add("broken", json_links(graph, found.with(link_status::broken)));
  add("unsafe", json_links(graph, found.with(link_status::unsafe)));
  add("missing_anchors", json_links(graph, found.with(link_status::no_anchor)));
  add("unreadable", json_array(graph.failures(), json_failure));
  add("ambiguous", json_links(graph, found.with(link_status::ambiguous)));
  add("orphans", json_array(graph.orphans(), [](const graph_note& n) { return json_text(n.name); }));
  add("notes", json_array(graph.notes(), json_note));
  return out;
}

int check(const invocation& call, output& out) {
  const report found(read_notes(call));
  const bool clean = found.errors() == 0 && (!call.has("--strict") || found.warnings() == 0);
  if (call.has("--json")) {
    out.write_json(json_report(call, found, clean));
  } else {
    text_report(out, call, found).write();
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
)",
    check};

}  // namespace tool
