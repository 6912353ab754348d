// [vault] A directory of notes: what is broken between them, and a note renamed with every link to it.
#include <iostream>

#include "memoria_fs.hpp"

int main() {
  memoria::atomic_write_text("wiki/index.md", "[[fsync]], [[rename]] and [[gone]]\n");
  memoria::atomic_write_text("wiki/fsync.md", "Before [[rename|renaming]].\n");
  memoria::atomic_write_text("wiki/rename.md", "After [[fsync]].\n");

  const memoria::link_graph graph("wiki");  // reads each note once
  for (const memoria::graph_note note : graph.notes())
    std::cout << note.name << ": " << note.inbound << " linking here\n";
  for (const memoria::graph_link link : graph.links()) {
    if (link.status == memoria::link_status::broken) std::cout << "broken: " << link.target << '\n';
  }

  // Every link resolves at every moment, also if this is killed in the middle.
  const memoria::rename_report done = memoria::rename_article("wiki", "rename", "rename(2)");
  std::cout << done.changes.size() << " links rewritten\n" << memoria::read_text("wiki/fsync.md");
}

// Output:
// fsync.md: 2 linking here
// index.md: 0 linking here
// rename.md: 2 linking here
// broken: gone
// 2 links rewritten
// Before [[rename(2)|renaming]].
