// The figures of seed_counts.py, from link_graph; and the time it takes.
//   dump_graph [--name] [--reader] [--anchors] [--full] [--repeat N] DIRECTORY...
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "memoria_fs.hpp"

namespace {

const char* const status_names[] = {"ok", "broken", "ambiguous", "unsafe", "no_anchor"};

void print(const std::string& directory, const memoria::link_graph& graph, bool full) {
  std::size_t inbound = 0;
  for (const memoria::graph_note note : graph.notes()) inbound += note.inbound;
  std::printf("%s: %zu notes, %zu links", std::filesystem::path(directory).filename().u8string().c_str(),
              graph.notes().size(), graph.links().size());
  for (int i = 0; i < 5; ++i) {
    const std::size_t n = graph.count(static_cast<memoria::link_status>(i));
    if (n != 0 || i == 0 || i == 1 || i == 3) std::printf(", %zu %s", n, status_names[i]);
  }
  std::printf(", %zu orphans, %zu inbound\n", graph.orphans().size(), inbound);
  for (const memoria::graph_failure& f : graph.failures()) {
    std::printf("failure\t%s\t%s\n", f.name.c_str(), f.code.message().c_str());
  }
  if (!full) return;
  for (const memoria::graph_note note : graph.notes()) {
    std::printf("note\t%s\t%zu\n", std::string(note.name).c_str(), note.inbound);
  }
  for (const memoria::graph_link link : graph.links()) {
    const std::string source(graph.notes()[link.source].name);
    const std::string to(link.destination == link.none ? "" : graph.notes()[link.destination].name);
    std::printf("link\t%s\t%zu:%zu\t%s\t%s\t%s\n", source.c_str(), link.position.line, link.position.column,
                status_names[static_cast<int>(link.status)], std::string(link.target).c_str(), to.c_str());
  }
}

}  // namespace

int main(int argc, char** argv) {
  memoria::graph_options options;
  options.resolve = memoria::link_resolution::exact;
  options.include_code = true;
  bool full = false;
  int repeat = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--name") {
      options.resolve = memoria::link_resolution::name;
    } else if (argument == "--reader") {
      options.include_code = false;
    } else if (argument == "--anchors") {
      options.check_anchors = true;
    } else if (argument == "--full") {
      full = true;
    } else if (argument == "--repeat" && i + 1 < argc) {
      repeat = std::atoi(argv[++i]);
    } else {
      double best = 1e9;
      for (int round = 0; round < repeat; ++round) {
        const auto start = std::chrono::steady_clock::now();
        const memoria::link_graph graph(argument, options);
        const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        if (s < best) best = s;
      }
      if (repeat != 0) std::printf("%8.3f ms  ", best * 1e3);
      print(argument, memoria::link_graph(argument, options), full);
    }
  }
  return 0;
}
