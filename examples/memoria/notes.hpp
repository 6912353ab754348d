// What check, links, rename and graph share: a directory of notes, and how it is shown.
#ifndef NOTES_HPP
#define NOTES_HPP

#include "tool.hpp"

namespace tool {

using memoria::graph_link;
using memoria::graph_note;
using memoria::link_graph;
using memoria::link_status;

constexpr option resolve_option = {"--resolve", "HOW",
                                   "name (default): as Obsidian does, by path or name,\n"
                                   "letter case folded, aliases considered; path: exactly\n"
                                   "DIR/<target>.md, as the Python original does"};
constexpr option code_option = {"--include-code", nullptr, "links in code, comments and math count, too"};
constexpr option hidden_option = {"--hidden", nullptr, "also files and folders that begin with a dot"};

memoria::link_resolution resolution_of(const invocation& call);
link_graph read_notes(const invocation& call);

// The path of a note as the user would write it from where he is, so that editors can jump to it.
std::string shown_path(const invocation& call, std::string_view name);
std::string shown_position(const invocation& call, const link_graph& graph, const graph_link& link);
std::string shown_link(const graph_link& link);

// The name in DIR of a file given by its path from where the user is, which is what shells complete; empty: not in DIR.
std::string name_inside(const invocation& call, const std::string& file);
std::string_view stem(std::string_view name);                              // without folders and ".md"
std::string name_in_links(const invocation& call, std::string_view name);  // if nothing stands against it
// The number of the note that the user named as a link would, or by its path from where he is.
std::size_t find_note(const invocation& call, const link_graph& graph, const std::string& name);

json json_note(const graph_note& note);
json json_link(const link_graph& graph, const graph_link& link);
json json_failure(const memoria::graph_failure& f);

}  // namespace tool

#endif
