// memoria graph: the notes as a drawing, in the language of Graphviz.
#include <cmath>

#include "notes.hpp"

namespace tool {
namespace {

// The notes and what is between them: links from one note to another become one edge with their number, links of a note
// to itself and to files that are no notes are left out.
struct drawing {
  explicit drawing(const link_graph& graph) {
    for (const graph_link link : graph.links()) {
      const bool dead = link.status == link_status::broken || link.status == link_status::unsafe;
      if (dead) ++dead_ends[{link.source, std::string(link.target)}];
      if (!dead && link.destination != graph_link::none && link.destination != link.source) {
        ++edges[{link.source, link.destination}];
      }
    }
  }

  std::map<std::pair<std::size_t, std::size_t>, std::size_t> edges;      // (from, to): how many links
  std::map<std::pair<std::size_t, std::string>, std::size_t> dead_ends;  // (from, target): how many
};

std::string dot_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : printable(text)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string decimal(double value) {  // with a point whatever the locale, which a DOT file does not know
  const auto hundredths = static_cast<std::size_t>(value * 100 + 0.5);
  const std::string tail = std::to_string(hundredths % 100);
  return std::to_string(hundredths / 100) + (tail.size() == 1 ? ".0" : ".") + tail;
}

void write_dot_notes(output& out, const link_graph& graph) {
  for (const graph_note note : graph.notes()) {
    const double weight = std::sqrt(static_cast<double>(note.inbound));  // the area, not the width, shows the number
    out << "  n" << note.index << " [label=" << dot_quoted(stem(note.name)) << " tooltip=" << dot_quoted(note.name)
        << " width=" << decimal(0.12 + 0.14 * weight) << " fontsize=" << decimal(8 + 2 * weight)
        << (note.inbound == 0 ? " fillcolor=\"#f2d9a0\"" : "") << "];\n";
  }
}

void write_dot_edges(output& out, const drawing& lines) {
  for (const auto& [ends, count] : lines.edges) {
    out << "  n" << ends.first << " -> n" << ends.second;
    if (count > 1) out << " [tooltip=\"" << count << " links\"]";
    out << ";\n";
  }
  std::map<std::string, std::size_t> numbers;
  for (const auto& [ends, count] : lines.dead_ends) {
    const auto [place, is_new] = numbers.emplace(ends.second, numbers.size());
    if (is_new) {
      out << "  b" << place->second << " [label=" << dot_quoted(ends.second)
          << " shape=plaintext style=solid fontcolor=\"#c0392b\" fontsize=8 fixedsize=false margin=0.02 width=0 "
             "height=0];\n";
    }
    out << "  n" << ends.first << " -> b" << place->second << " [color=\"#c0392b\" style=dashed];\n";
  }
}

void write_dot(output& out, const link_graph& graph, const drawing& lines) {
  out << "// " << counted(graph.notes().size(), "note") << ", " << counted(lines.edges.size(), "edge") << ", "
      << counted(lines.dead_ends.size(), "dead end") << ". Draw it with: sfdp -Tsvg\n"
      << "digraph notes {\n"
      << "  graph [overlap=prism outputorder=edgesfirst];\n"
      << "  node [shape=circle style=filled fillcolor=\"#bcd3ea\" color=\"#5b7fa6\" fontname=\"sans-serif\""
      << " fixedsize=shape];\n"
      << "  edge [color=\"#00000040\" arrowsize=0.4];\n";
  write_dot_notes(out, graph);
  write_dot_edges(out, lines);
  out << "}\n";
}

json json_graph(const link_graph& graph, const drawing& lines, const std::string& directory) {
  const auto name = [&](std::size_t note) { return json_text(graph.notes()[note].name); };
  return json::object({{"format", "memoria graph 1"},
                       {"directory", json_text(directory)},
                       {"notes", json_array(graph.notes(), json_note)},
                       {"edges", json_array(lines.edges,
                                            [&](const auto& edge) {
                                              return json::object({{"from", name(edge.first.first)},
                                                                   {"to", name(edge.first.second)},
                                                                   {"links", edge.second}});
                                            })},
                       {"dead_ends", json_array(lines.dead_ends, [&](const auto& end) {
                          return json::object({{"from", name(end.first.first)},
                                               {"target", json_text(end.first.second)},
                                               {"links", end.second}});
                        })}});
}

int graph(const invocation& call, output& out) {
  const link_graph all = read_notes(call);
  const drawing lines(all);
  if (call.has("--json")) {
    out.write_json(json_graph(all, lines, call.directory()));
  } else {
    write_dot(out, all, lines);
  }
  return exit_clean;
}

}  // namespace

// clang-format off
const command graph_command = {
    "graph", {"DIR"}, "draw the notes, for Graphviz",
    {json_option, resolve_option, code_option, hidden_option},
    R"(
A note is a circle, the larger the more notes link to it; orphans are yellow;
broken and unsafe links are dashed and red. Several links from one note to
another are one edge; links of a note to itself are left out.

Examples
  memoria graph notes | sfdp -Tsvg > notes.svg
  memoria graph notes --json

Exit status: 0, or 2 if it could not run.
)",
    graph};

}  // namespace tool
