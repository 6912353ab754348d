// The vault job (walk, read, all links, inbound counts, broken list) against a walk that only opens and reads the same
// files, in turns, warm: the best of ROUNDS each, and the memory the graph keeps.
//   bench_vault ROUNDS DIRECTORY...
#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "memoria_fs.hpp"

namespace {

struct totals {
  std::size_t files = 0, bytes = 0, name_bytes = 0;
};

void read_all(int directory, std::vector<char>& buffer, totals& t, std::size_t prefix) {
  DIR* const stream = ::fdopendir(directory);
  std::vector<std::string> folders;
  while (const dirent* entry = ::readdir(stream)) {
    const std::size_t length = std::strlen(entry->d_name);
    if (entry->d_name[0] == '.') continue;
    if (entry->d_type == DT_DIR) {
      folders.emplace_back(entry->d_name);
    } else if (length > 3 && std::strcmp(entry->d_name + length - 3, ".md") == 0) {
      const int file = ::openat(directory, entry->d_name, O_RDONLY | O_CLOEXEC);
      for (ssize_t n; (n = ::read(file, buffer.data(), buffer.size())) > 0;) t.bytes += static_cast<std::size_t>(n);
      ::close(file);
      ++t.files;
      t.name_bytes += prefix + length;
    }
  }
  for (const std::string& name : folders) {
    const int inner = ::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (inner >= 0) read_all(inner, buffer, t, prefix + name.size() + 1);
  }
  ::closedir(stream);
}

template <class F>
double seconds(F&& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 10;
  std::vector<char> buffer(1 << 20);
  for (int i = 2; i < argc; ++i) {
    double read_best = 1e9, best[3] = {1e9, 1e9, 1e9};
    totals t;
    std::size_t links = 0, link_bytes = 0, kept = 0;
    for (int round = 0; round < rounds; ++round) {
      t = {};
      const double r = seconds([&] { read_all(::open(argv[i], O_RDONLY | O_DIRECTORY), buffer, t, 0); });
      if (r < read_best) read_best = r;
      for (int mode = 0; mode < 3; ++mode) {  // exact path with code; by name with code; by name without
        memoria::graph_options options;
        options.resolve = mode == 0 ? memoria::link_resolution::exact : memoria::link_resolution::name;
        options.include_code = mode != 2;
        std::error_code ec;
        const std::size_t before = mallinfo2().uordblks;
        memoria::link_graph graph;
        const double s = seconds([&] { graph = memoria::link_graph(argv[i], options, ec); });
        if (s < best[mode]) best[mode] = s;
        if (mode != 1 || round != 0) continue;
        kept = mallinfo2().uordblks - before;
        links = graph.links().size();
        for (const memoria::graph_link link : graph.links()) link_bytes += link.target.size();
      }
    }
    std::printf("%s: %zu notes, %zu bytes, %zu links\n", argv[i], t.files, t.bytes, links);
    std::printf("  open and read %.3f ms; exact %.3f ms (x%.2f); by name %.3f ms (x%.2f); by name, code skipped %.3f ms (x%.2f)\n",
                read_best * 1e3, best[0] * 1e3, best[0] / read_best, best[1] * 1e3, best[1] / read_best, best[2] * 1e3,
                best[2] / read_best);
    std::printf("  kept: %zu bytes; links and names: %zu bytes (x%.2f)\n", kept, link_bytes + t.name_bytes,
                static_cast<double>(kept) / static_cast<double>(link_bytes + t.name_bytes));
  }
  return 0;
}
