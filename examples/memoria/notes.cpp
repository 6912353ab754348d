#include "notes.hpp"

namespace tool {

memoria::link_resolution resolution_of(const invocation& call) {
  if (!call.has("--resolve")) return memoria::link_resolution::name;
  const std::string& how = call.options.at("--resolve");
  if (how == "name") return memoria::link_resolution::name;
  if (how == "path") return memoria::link_resolution::exact;
  misused(*call.what, "--resolve is name or path, not \"" + how + "\"");
}

namespace {

memoria::graph_options graph_options_of(const invocation& call) {
  memoria::graph_options options;
  options.resolve = resolution_of(call);
  options.include_code = call.has("--include-code");
  options.include_hidden = call.has("--hidden");
  options.check_anchors = call.has("--anchors");
  if (options.check_anchors && options.resolve == memoria::link_resolution::exact) {
    misused(*call.what, "--anchors needs --resolve name: a path to the letter knows no headings");
  }
  return options;
}

}  // namespace

link_graph read_notes(const invocation& call) {
  std::error_code ec;
  progress_line progress("reading notes:");
  link_graph graph(native_path(call.directory()), graph_options_of(call), progress, ec);
  if (ec) throw failure{"cannot read the directory " + call.directory() + ": " + ec.message()};
  if (graph.notes().empty()) warn("there is no note (a file named *.md) in " + call.directory());
  return graph;
}

std::string shown_path(const invocation& call, std::string_view name) {
  const memoria::path directory = native_path(call.directory());
  const std::string shown = directory == "." ? "" : utf8_name(directory / "");
  return printable(shown + std::string(name));
}

std::string name_inside(const invocation& call, const std::string& file) {
  std::error_code ec;
  const memoria::path directory = absolute(native_path(call.directory()) / "", ec).lexically_normal();
  const memoria::path named = ec ? memoria::path() : absolute(native_path(file), ec).lexically_normal();
  const std::string inside = ec ? "" : utf8_name(named.lexically_relative(directory));
  return inside.compare(0, 2, "..") == 0 || inside == "." ? "" : inside;
}

std::string shown_position(const invocation& call, const link_graph& graph, const graph_link& link) {
  return shown_path(call, graph.notes()[link.source].name) + ":" + std::to_string(link.position.line) + ":" +
         std::to_string(link.position.column) + ": ";
}

std::string shown_link(const graph_link& link) { return (link.embed ? "![[" : "[[") + printable(link.target) + "]]"; }

std::string_view stem(std::string_view name) {
  name.remove_prefix(name.rfind('/') + 1);  // npos + 1 is 0
  return name.substr(0, name.size() - 3);   // every note ends in ".md"
}

std::string name_in_links(const invocation& call, std::string_view name) {
  const bool by_path = resolution_of(call) == memoria::link_resolution::exact;
  return std::string(by_path ? name.substr(0, name.size() - 3) : stem(name));
}

std::size_t find_note(const invocation& call, const link_graph& graph, const std::string& name) {
  if (const auto found = graph.find(name)) return *found;
  const std::string inside = name_inside(call, name);
  std::vector<std::string> names;
  for (const graph_note note : graph.notes()) {
    if (note.name == inside) return note.index;
    names.push_back(name_in_links(call, note.name));
  }
  throw failure{"there is no note \"" + name + "\" in " + call.directory() + did_you_mean(name, names, "\"", "\"")};
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

}  // namespace tool
