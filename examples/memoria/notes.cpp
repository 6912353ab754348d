// memoria check, links, rename and graph: a directory of linked notes.
#include <algorithm>
#include <cmath>
#include <iomanip>

#include "tool.hpp"

namespace tool {
namespace {

using memoria::graph_link;
using memoria::graph_note;
using memoria::link_graph;
using memoria::link_status;

template <class Options>  // of a graph or of a renaming
Options options_of(const invocation& call) {
  Options options;
  const std::string how = call.get("--resolve");
  if (how == "path") options.resolve = memoria::link_resolution::exact;
  if (how != "path" && how != "name" && !how.empty()) call.misused("--resolve is name or path, not \"" + how + "\"");
  options.include_code = call.has("--include-code");
  options.include_hidden = call.has("--hidden");
  return options;
}

link_graph read_notes(const invocation& call) {
  auto options = options_of<memoria::graph_options>(call);
  options.check_anchors = call.has("--anchors");
  if (options.check_anchors && options.resolve == memoria::link_resolution::exact) {
    call.misused("--anchors needs --resolve name: a path to the letter knows no headings");
  }
  std::error_code ec;
  progress_line progress("reading notes:");
  link_graph graph(native_path(call.directory()), options, progress, ec);
  if (ec) throw failure{"cannot read the directory " + call.directory() + ": " + ec.message()};
  if (graph.notes().empty()) warn("there is no note (a file named *.md) in " + call.directory());
  return graph;
}

// The path of a note as the user would write it from where he is, so that editors can jump to it.
std::string shown_path(const invocation& call, std::string_view name) {
  const memoria::path directory = native_path(call.directory());
  return printable((directory == "." ? "" : utf8_name(directory / "")) + std::string(name));
}

std::string shown_place(const invocation& call, std::string_view name, const memoria::text_position& position) {
  return shown_path(call, name) + ":" + std::to_string(position.line) + ":" + std::to_string(position.column) + ": ";
}

std::string shown_target(const graph_link& link) { return (link.embed ? "![[" : "[[") + printable(link.target) + "]]"; }

// The name in DIR of a file given by its path from where the user is, which is what shells complete; empty: not in DIR.
std::string name_inside(const invocation& call, const std::string& file) {
  std::error_code ec;
  const memoria::path directory = absolute(native_path(call.directory()) / "", ec).lexically_normal();
  const memoria::path named = ec ? memoria::path() : absolute(native_path(file), ec).lexically_normal();
  const std::string inside = ec ? "" : utf8_name(named.lexically_relative(directory));
  return inside.compare(0, 2, "..") == 0 || inside == "." ? "" : inside;
}

// Without ".md", and without folders if links may leave them out.
std::string name_in_links(const invocation& call, std::string_view name) {
  if (call.get("--resolve") != "path") name.remove_prefix(name.rfind('/') + 1);  // npos + 1 is 0
  return std::string(name.substr(0, name.size() - 3));
}

std::vector<std::string> names_in_links(const invocation& call, const link_graph& graph) {
  std::vector<std::string> names;
  for (const graph_note note : graph.notes()) names.push_back(name_in_links(call, note.name));
  return names;
}

json json_note(const graph_note& note) {
  return json::object({{"name", json_text(note.name)}, {"inbound", note.inbound}, {"outbound", note.outbound}});
}

json json_link(const link_graph& graph, const graph_link& link) {
  const bool to_note = link.destination != graph_link::none;
  return json::object({{"note", json_text(graph.notes()[link.source].name)},
                       {"line", link.position.line},
                       {"column", link.position.column},
                       {"target", json_text(link.target)},
                       {"destination", to_note ? json_text(graph.notes()[link.destination].name) : json()},
                       {"embed", link.embed},
                       {"frontmatter", link.frontmatter}});
}

json json_failure(const memoria::graph_failure& f) {
  return json::object({{"name", json_text(f.name)}, {"reason", json_text(f.code.message())}});
}

// ---- check ----------------------------------------------------------------------------------------------------------

std::vector<graph_link> links_with(const link_graph& graph, link_status status) {
  std::vector<graph_link> found;
  for (const graph_link link : graph.links()) {
    if (link.status == status) found.push_back(link);
  }
  return found;
}

// One list of findings, or its first entries: nobody reads 6,000 lines, and a script that needs them has --json.
template <class Range, class Line>
void write_list(const Range& items, const char* noun, bool everything, Line&& line) {
  constexpr std::size_t shown_by_default = 40;
  const std::size_t all = items.size(), shown = everything || all <= shown_by_default + 1 ? all : shown_by_default;
  for (std::size_t i = 0; i < shown; ++i) cout << line(items[i]) << "\n";
  if (shown < all) {
    cout << styled(style::faint,
                   "... and " + counted(all - shown, std::string("more ") + noun) + ": --all shows them\n");
  }
  if (all > 0) cout << "\n";
}

// As compilers write it. What matters most comes last, where a terminal shows it.
void write_report(const invocation& call, const link_graph& graph) {
  const bool all = call.has("--all");
  const std::string error = styled(style::error, "error: "),
                    warning = call.has("--strict") ? error : styled(style::warning, "warning: ");
  const auto write_links = [&](link_status status, const char* noun, const std::string& how_bad, auto&& what) {
    write_list(links_with(graph, status), noun, all, [&](const graph_link& link) {
      return shown_place(call, graph.notes()[link.source].name, link.position) + how_bad + what(link);
    });
  };

  std::vector<graph_note> notes;
  for (const graph_note note : graph.notes()) notes.push_back(note);
  std::stable_sort(notes.begin(), notes.end(), [](auto& a, auto& b) { return a.inbound > b.inbound; });
  if (!notes.empty()) cout << "inbound links: how many other notes link to each\n";
  write_list(notes, "note", all || call.has("--inbound"), [&](const graph_note& note) {
    cout << std::setw(6) << note.inbound << "  ";
    return printable(note.name);
  });
  write_list(graph.orphans(), "orphan", all, [&](const graph_note& note) {
    return shown_path(call, note.name) + ": " + warning + "orphan, no other note links here";
  });
  write_links(link_status::ambiguous, "ambiguous link", warning, [&](const graph_link& link) {
    std::string names;
    for (const graph_note note : graph.candidates(link.index)) {
      names += (names.empty() ? ": " : " or ") + printable(note.name);
    }
    return "ambiguous link " + shown_target(link) + names;
  });
  write_list(graph.failures(), "unreadable note", all, [&](const memoria::graph_failure& f) {
    return shown_path(call, f.name) + ": " + error + "cannot be read: " + f.code.message();
  });
  write_links(link_status::unsafe, "unsafe link", error,
              [&](const graph_link& link) { return "link " + shown_target(link) + " leads out of the directory"; });
  write_links(link_status::no_anchor, "missing anchor", error, [&](const graph_link& link) {
    const bool block = link.target.find("#^") != std::string_view::npos;
    return "link " + shown_target(link) + ": " + printable(graph.notes()[link.destination].name) +
           (block ? " has no such block" : " has no such heading");
  });
  write_links(link_status::broken, "broken link", error, [&, names = names_in_links(call, graph)](auto& link) {
    const std::string_view name = link.target.substr(0, link.target.find('#'));
    return "broken link " + shown_target(link) + did_you_mean(name, names, "[[", "]]");
  });

  cout << styled(style::bold, counted(notes.size(), "note") + ", " + counted(graph.links().size(), "link")) << ": "
       << graph.count(link_status::broken) << " broken, " << graph.count(link_status::unsafe) << " unsafe, "
       << graph.count(link_status::ambiguous) << " ambiguous, " << counted(graph.orphans().size(), "orphan");
  if (call.has("--anchors")) cout << ", " << counted(graph.count(link_status::no_anchor), "missing anchor");
  if (!graph.failures().empty()) cout << ", " << graph.failures().size() << " unreadable";
  cout << "\n";
}

json json_report(const invocation& call, const link_graph& graph, bool clean) {
  json out = json::object({{"directory", json_text(call.directory())},
                           {"clean", clean},
                           {"summary", json::object({{"links", graph.links().size()}})}});
  const auto add = [&](const char* kind, json list) {
    out["summary"][kind] = list.size();
    out[kind] = std::move(list);
  };
  const auto name = [](const graph_note& note) { return json_text(note.name); };
  const auto links = [&](link_status status) {
    return json_array(links_with(graph, status), [&](const graph_link& link) {
      json item = json_link(graph, link);
      if (status == link_status::ambiguous) item["candidates"] = json_array(graph.candidates(link.index), name);
      return item;
    });
  };
  add("broken", links(link_status::broken));
  add("unsafe", links(link_status::unsafe));
  add("missing_anchors", links(link_status::no_anchor));
  add("unreadable", json_array(graph.failures(), json_failure));
  add("ambiguous", links(link_status::ambiguous));
  add("orphans", json_array(graph.orphans(), name));
  add("notes", json_array(graph.notes(), json_note));
  return out;
}

}  // namespace

int check(const invocation& call) {
  const link_graph graph = read_notes(call);
  // A note that could not be read may hold anything: a directory with one is not clean.
  bool clean = graph.count(link_status::broken) + graph.count(link_status::unsafe) +
                   graph.count(link_status::no_anchor) + graph.failures().size() ==
               0;
  if (call.has("--strict")) clean = clean && graph.count(link_status::ambiguous) + graph.orphans().size() == 0;
  call.report(call.has("--json") ? json_report(call, graph, clean) : json(), [&] { write_report(call, graph); });
  return clean ? exit_clean : exit_findings;
}

// ---- links ----------------------------------------------------------------------------------------------------------

int links(const invocation& call) {
  const link_graph graph = read_notes(call);
  const std::string& name = call.arguments[1];  // as in a link, or the path from where the user is
  auto found = graph.find(name);
  for (const graph_note note : graph.notes()) {
    if (!found && note.name == name_inside(call, name)) found = note.index;
  }
  if (!found) {
    throw failure{"there is no note \"" + name + "\" in " + call.directory() +
                  did_you_mean(name, names_in_links(call, graph), "\"", "\"")};
  }
  const graph_note note = graph.notes()[*found];
  const auto backlinks = graph.backlinks(note.index);
  const auto status_of = [](const graph_link& link) {
    const char* const names[] = {"ok", "broken", "ambiguous", "unsafe", "missing anchor"};  // as link_status has them
    return names[static_cast<std::size_t>(link.status)];
  };
  const auto as_json = [&](const graph_link& link) { return json_link(graph, link); };
  const auto with_status = [&](const graph_link& link) {
    json item = json_link(graph, link);
    item["status"] = status_of(link);
    return item;
  };
  const auto shown = [&](const graph_link& link) {
    return shown_place(call, graph.notes()[link.source].name, link.position) + shown_target(link);
  };
  const json members = json::object({{"directory", json_text(call.directory())},
                                     {"note", json_note(note)},
                                     {"links", json_array(graph.links_of(note.index), with_status)},
                                     {"backlinks", json_array(backlinks, as_json)}});
  call.report(members, [&] {
    for (const graph_link link : graph.links_of(note.index)) {
      const bool fine = link.status == link_status::ok, to_note = link.destination != graph_link::none;
      cout << shown(link) << styled(style::faint, " -> ");
      if (to_note) cout << printable(graph.notes()[link.destination].name) << (fine ? "" : ", ");
      if (fine && !to_note) cout << "a file that is no note";
      if (!fine) cout << styled(to_note ? style::warning : style::error, status_of(link));
      cout << "\n";
    }
    if (note.outbound > 0) cout << "\n";
    for (const graph_link link : backlinks) cout << shown(link) << "\n";
    if (!backlinks.empty()) cout << "\n";
    cout << styled(style::bold, printable(note.name)) << ": " << counted(note.outbound, "link") << " in it, "
         << counted(backlinks.size(), "link") << " to it from " << counted(note.inbound, "other note") << "\n";
  });
  return exit_clean;
}

// ---- rename ---------------------------------------------------------------------------------------------------------

int rename(const invocation& call) {
  auto options = options_of<memoria::rename_options>(call);
  options.dry_run = call.has("--dry-run");
  const memoria::path directory = native_path(call.directory());
  const auto is_note = [&](const std::string& name) {
    std::error_code ignored;
    const memoria::path file = native_path(name);
    return file.is_relative() && (exists(directory / file, ignored) || exists((directory / file) += ".md", ignored));
  };
  // FROM and TO are paths from DIR. If there is no such FROM, both may be paths from where the user is.
  std::string from = call.arguments[1], to = call.arguments[2];
  if (!is_note(from)) {
    for (std::string* name : {&from, &to}) {
      if (const std::string inside = name_inside(call, *name); !inside.empty()) *name = inside;
    }
  }
  if (!to.empty() && to.back() == '/') to += from.substr(from.rfind('/') + 1);  // into that folder

  std::error_code ec;
  const memoria::rename_report done = memoria::rename_article(directory, from, to, options, ec);
  if (!done.failures.empty()) {  // a link in a note that cannot be read would be left dead
    const memoria::graph_failure& f = done.failures[0];
    throw failure{shown_path(call, f.name) + " cannot be read: " + f.code.message() + "; nothing was changed"};
  }
  if (ec == std::errc::no_such_file_or_directory && !is_note(from))
    throw failure{"there is no note " + from + " in " + call.directory()};
  if (ec == std::errc::file_exists) throw failure{to + " exists already; nothing was changed"};
  if (ec == memoria::errc::unsafe_path) {
    throw failure{"\"" + from + "\" or \"" + to + "\" cannot be a note's name here: it has to stay in " +
                  call.directory() +
                  ", not to begin with a dot, and not to hold []|#^ or line breaks; nothing was changed"};
  }
  if (ec) throw failure{"renaming " + from + " to " + to + ": " + ec.message() + "; the same command again finishes"};

  const auto json_change = [](const memoria::link_change& change) {
    return json::object({{"note", json_text(change.note)},
                         {"line", change.position.line},
                         {"column", change.position.column},
                         {"before", json_text(change.before)},
                         {"after", json_text(change.after)}});
  };
  const json members = json::object({{"directory", json_text(call.directory())},
                                     {"from", json_text(from)},
                                     {"to", json_text(to)},
                                     {"dry_run", options.dry_run},
                                     {"moved", done.moved},
                                     {"changes", json_array(done.changes, json_change)}});
  call.report(members, [&] {
    for (const memoria::link_change& change : done.changes) {
      cout << shown_place(call, change.note, change.position) << "[[" << printable(change.before) << "]]"
           << styled(style::faint, " -> ") << "[[" << printable(change.after) << "]]\n";
    }
    if (!done.changes.empty()) cout << "\n";
    if (done.moved || options.dry_run) {
      cout << printable(from) << (options.dry_run ? " would become " : " is now ") << printable(to) << ", ";
    } else {
      cout << "there is no note " << printable(from) << ", but there is " << printable(to) << ": moved already; ";
    }
    cout << counted(done.changes.size(), "link") << (options.dry_run ? " would be rewritten\n" : " rewritten\n");
  });
  return exit_clean;
}

// ---- graph ----------------------------------------------------------------------------------------------------------

namespace {

std::string dot_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : printable(text)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

using edges = std::map<std::pair<std::size_t, std::size_t>, std::size_t>;      // (from, to): how many links
using dead_ends = std::map<std::pair<std::size_t, std::string>, std::size_t>;  // (from, target): how many

// In the language of Graphviz.
void write_dot(const invocation& call, const link_graph& graph, const edges& lines, const dead_ends& dead) {
  cout << "// " << counted(graph.notes().size(), "note") << ", " << counted(lines.size(), "edge") << ", "
       << counted(dead.size(), "dead end") << R"(. Draw it with: sfdp -Tsvg
digraph notes {
  graph [overlap=prism outputorder=edgesfirst];
  node [shape=circle style=filled fillcolor="#bcd3ea" color="#5b7fa6" fontname="sans-serif" fixedsize=shape];
  edge [color="#00000040" arrowsize=0.4];
)";
  for (const graph_note note : graph.notes()) {
    const double weight = std::sqrt(static_cast<double>(note.inbound));  // the area, not the width, shows the number
    cout << "  n" << note.index << " [label=" << dot_quoted(name_in_links(call, note.name))
         << " tooltip=" << dot_quoted(note.name) << " width=" << 0.12 + 0.14 * weight << " fontsize=" << 8 + 2 * weight
         << (note.inbound == 0 ? " fillcolor=\"#f2d9a0\"" : "") << "];\n";
  }
  for (const auto& [ends, count] : lines) {
    cout << "  n" << ends.first << " -> n" << ends.second << " [tooltip=\"" << counted(count, "link") << "\"];\n";
  }
  std::map<std::string, std::size_t> numbers;
  for (const auto& [ends, count] : dead) {
    const auto [place, is_new] = numbers.emplace(ends.second, numbers.size());
    if (is_new) {
      cout << "  b" << place->second << " [label=" << dot_quoted(ends.second) << " shape=plaintext style=solid "
           << "fontcolor=\"#c0392b\" fontsize=8 fixedsize=false margin=0.02 width=0 height=0];\n";
    }
    cout << "  n" << ends.first << " -> b" << place->second << " [color=\"#c0392b\" style=dashed];\n";
  }
  cout << "}\n";
}

}  // namespace

int graph(const invocation& call) {
  const link_graph graph = read_notes(call);
  edges lines;  // not those of a note to itself, and to files that are no notes
  dead_ends dead;
  for (const graph_link link : graph.links()) {
    if (link.status == link_status::broken || link.status == link_status::unsafe) {
      ++dead[{link.source, std::string(link.target)}];
    } else if (link.destination != graph_link::none && link.destination != link.source) {
      ++lines[{link.source, link.destination}];
    }
  }
  const auto name = [&](std::size_t note) { return json_text(graph.notes()[note].name); };
  const auto edge = [&](const auto& line) {
    const auto& [ends, count] = line;
    return json::object({{"from", name(ends.first)}, {"to", name(ends.second)}, {"links", count}});
  };
  const auto dead_end = [&](const auto& line) {
    const auto& [ends, count] = line;
    return json::object({{"from", name(ends.first)}, {"target", json_text(ends.second)}, {"links", count}});
  };
  const json members = json::object({{"directory", json_text(call.directory())},
                                     {"notes", json_array(graph.notes(), json_note)},
                                     {"edges", json_array(lines, edge)},
                                     {"dead_ends", json_array(dead, dead_end)}});
  call.report(members, [&] { write_dot(call, graph, lines, dead); });
  return exit_clean;
}

}  // namespace tool
