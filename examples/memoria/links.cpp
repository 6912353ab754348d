// memoria links and memoria rename: one note and the links to it.
#include "notes.hpp"

namespace tool {
namespace {

const char* status_name(link_status status) {
  const char* const names[] = {"ok", "broken", "ambiguous", "unsafe", "missing anchor"};  // in the order of link_status
  return names[static_cast<std::size_t>(status)];
}

json json_links_of(const invocation& call, const link_graph& graph, const graph_note& note) {
  const auto with_status = [&](const graph_link& link) {
    json item = json_link(graph, link);
    item["status"] = status_name(link.status);
    return item;
  };
  const auto plain = [&](const graph_link& link) { return json_link(graph, link); };
  return json::object({{"format", "memoria links 1"},
                       {"directory", json_text(call.directory())},
                       {"note", json_note(note)},
                       {"links", json_array(graph.links_of(note.index), with_status)},
                       {"backlinks", json_array(graph.backlinks(note.index), plain)}});
}

void write_links_of(output& out, const invocation& call, const link_graph& graph, const graph_note& note) {
  for (const graph_link link : graph.links_of(note.index)) {
    out << shown_position(call, graph, link) << shown_link(link);
    out.write(style::faint, " -> ");
    if (link.destination != graph_link::none) out << printable(graph.notes()[link.destination].name);
    if (link.destination == graph_link::none && link.status == link_status::ok) out << "a file that is no note";
    if (link.status != link_status::ok) {
      if (link.destination != graph_link::none) out << ", ";
      out.write(link.status == link_status::ambiguous ? style::warning : style::error, status_name(link.status));
    }
    out << "\n";
  }
  if (note.outbound > 0) out << "\n";
  for (const graph_link link : graph.backlinks(note.index)) {
    out << shown_position(call, graph, link) << shown_link(link) << "\n";
  }
  if (!graph.backlinks(note.index).empty()) out << "\n";
  out.write(style::bold, printable(note.name));
  out << ": " << counted(note.outbound, "link") << " in it, " << counted(graph.backlinks(note.index).size(), "link")
      << " to it from " << counted(note.inbound, "other note") << "\n";
}

int links(const invocation& call, output& out) {
  const link_graph graph = read_notes(call);
  const graph_note note = graph.notes()[find_note(call, graph, call.arguments[1])];
  if (call.has("--json")) {
    out.write_json(json_links_of(call, graph, note));
  } else {
    write_links_of(out, call, graph, note);
  }
  return exit_clean;
}

// ---- memoria rename -------------------------------------------------------------------------------------------------

json json_change(const memoria::link_change& change) {
  return json::object({{"note", json_text(change.note)},
                       {"line", change.position.line},
                       {"column", change.position.column},
                       {"before", json_text(change.before)},
                       {"after", json_text(change.after)}});
}

json json_rename(const memoria::rename_report& done, const invocation& call, const std::string& from,
                 const std::string& to) {
  return json::object({{"format", "memoria rename 1"},
                       {"directory", json_text(call.directory())},
                       {"from", json_text(from)},
                       {"to", json_text(to)},
                       {"dry_run", call.has("--dry-run")},
                       {"moved", done.moved},
                       {"changes", json_array(done.changes, json_change)},
                       {"unreadable", json_array(done.failures, json_failure)}});
}

void write_rename(output& out, const memoria::rename_report& done, const invocation& call, const std::string& from,
                  const std::string& to) {
  for (const memoria::link_change& change : done.changes) {
    out << shown_path(call, change.note) << ":" << change.position.line << ":" << change.position.column << ": [["
        << printable(change.before) << "]]";
    out.write(style::faint, " -> ") << "[[" << printable(change.after) << "]]\n";
  }
  if (!done.changes.empty()) out << "\n";
  const bool dry = call.has("--dry-run");
  const std::string rewritten = counted(done.changes.size(), "link") + (dry ? " would be rewritten" : " rewritten");
  if (!done.moved && !dry) {
    out << "there is no note " << printable(from) << ", but there is " << printable(to) << ": moved already; "
        << rewritten << "\n";
  } else {
    out << printable(from) << (dry ? " would become " : " is now ") << printable(to) << ", " << rewritten << "\n";
  }
  for (const memoria::graph_failure& f : done.failures) {
    warn(shown_path(call, f.name) + " could not be read, so links in it were not looked at: " + f.code.message());
  }
}

bool is_note_in(const memoria::path& directory, const std::string& name) {
  std::error_code ignored;
  const memoria::path file = native_path(name);
  return file.is_relative() && (exists(directory / file, ignored) || exists((directory / file) += ".md", ignored));
}

// FROM and TO are paths from DIR. If there is no such FROM, both may be paths from where the user is.
void find_names(const invocation& call, std::string& from, std::string& to) {
  if (!is_note_in(native_path(call.directory()), from)) {
    for (std::string* name : {&from, &to}) {
      if (const std::string inside = name_inside(call, *name); !inside.empty()) *name = inside;
    }
  }
  if (!to.empty() && to.back() == '/') to += from.substr(from.rfind('/') + 1);  // into that folder
}

memoria::rename_report rename_or_explain(const invocation& call, const std::string& from, const std::string& to,
                                         const memoria::rename_options& options) {
  try {
    return memoria::rename_article(native_path(call.directory()), from, to, options);
  } catch (const memoria::error& e) {
    if (e.code() == std::errc::no_such_file_or_directory && !is_note_in(native_path(call.directory()), from)) {
      throw failure{"there is no note " + from + " in " + call.directory()};
    }
    if (e.code() == std::errc::file_exists) throw failure{to + " exists already; nothing was changed"};
    if (e.code() == memoria::errc::unsafe_path) {
      throw failure{"\"" + from + "\" or \"" + to + "\" cannot be a note's name here: it has to stay in " +
                    call.directory() +
                    ", not to begin with a dot, and not to hold []|#^ or line breaks; nothing was changed"};
    }
    throw;
  }
}

int rename(const invocation& call, output& out) {
  std::string from = call.arguments[1], to = call.arguments[2];
  find_names(call, from, to);
  memoria::rename_options options;
  options.dry_run = call.has("--dry-run");
  options.resolve = resolution_of(call);
  options.include_code = call.has("--include-code");
  options.include_hidden = call.has("--hidden");
  const memoria::rename_report done = rename_or_explain(call, from, to, options);
  if (call.has("--json")) {
    out.write_json(json_rename(done, call, from, to));
  } else {
    write_rename(out, done, call, from, to);
  }
  return done.failures.empty() ? exit_clean : exit_findings;
}

}  // namespace

// clang-format off
const command links_command = {
    "links", {"DIR", "NOTE"}, "show the links of a note, and to it",
    {json_option, resolve_option, code_option, hidden_option},
    R"(
First the links in the note and where they lead, then the links to it from
other notes. NOTE is what a link would say (a name, a path, an alias), or the
path of the file.

Examples
  memoria links notes fsync
  memoria links notes "notes/locking/lock file.md" --json

Exit status: 0, or 2 if it could not run (also if there is no such note).
)",
    links};

const command rename_command = {
    "rename", {"DIR", "FROM", "TO"}, "move a note and rewrite every link to it",
    {{"--dry-run", nullptr, "change nothing, only say what would change"},
     json_option, resolve_option, code_option, hidden_option},
    R"(
FROM and TO are paths from DIR; ".md" may be left out. A TO that ends in "/" is
a folder. A link keeps the style it was written in, its heading, its display
text and every other byte around it. Nothing is overwritten: if TO is there,
nothing happens. Killed in the middle, it leaves no dead link, and the same
command again finishes. A file .memoria.lock stays in DIR: two renames at a time
wait for each other.

Examples
  memoria rename notes fsync "sync to disk" --dry-run     what would change
  memoria rename notes fsync "sync to disk"
  memoria rename notes inbox archive/

Exit status: 0 done; 1 done, but some notes could not be read, and links in them
may be dead now; 2 it could not run.
)",
    rename};

}  // namespace tool
