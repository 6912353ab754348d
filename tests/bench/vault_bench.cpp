// The vault job (walk, read, all links, inbound counts, broken list) against a walk that only opens and reads the same
// files, in turns, warm: the best of ROUNDS each, and the memory the graph keeps. Two such walks: the barest that POSIX
// allows, and the library's own (sorted, names in UTF-8). Ratios are of the best rounds.
//   bench_vault ROUNDS DIRECTORY...
//   bench_vault generate NOTES DIRECTORY     makes a vault to measure: folders of 100 notes, ten links in each
#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
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

double
now() {  // of this process, user and system: everything is in memory, and other work on the machine does not count
  timespec t = {};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

template <class F>
double seconds(F&& f) {
  const double start = now();
  f();
  return now() - start;
}

void read_as_library(const char* directory, totals& t) {
  namespace detail = memoria::detail;
  detail::vault_walk walk;
  detail::status s;
  detail::list_vault(directory, false, walk, s);
  detail::read_notes(walk, {}, [&](std::uint32_t, std::string_view text, bool) { t.bytes += text.size(); });
}

int generate(std::size_t notes, const std::string& directory) {
  for (std::size_t i = 0; i < notes; ++i) {
    const std::string folder = directory + "/folder " + std::to_string(i / 100);
    if (i % 100 == 0) std::filesystem::create_directories(folder);
    std::string text = "# Note " + std::to_string(i) + "\n\n";
    for (std::size_t k = 1; k <= 10; ++k) {  // one in eleven is broken
      text +=
          "Some words before [[note " + std::to_string((i * 31 + k * k * 7919) % (notes + notes / 10)) + "|a link]].\n";
    }
    std::ofstream(folder + "/note " + std::to_string(i) + ".md") << text;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && std::strcmp(argv[1], "generate") == 0) return generate(std::strtoul(argv[2], nullptr, 10), argv[3]);
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 10;
  std::vector<char> buffer(1 << 20);
  for (int i = 2; i < argc; ++i) {
    double read_best = 1e9, own_best = 1e9, best[3] = {1e9, 1e9, 1e9};
    totals t;
    std::size_t links = 0, link_bytes = 0, kept = 0;
    for (int round = 0; round < rounds; ++round) {
      t = {};
      const double r = seconds([&] { read_all(::open(argv[i], O_RDONLY | O_DIRECTORY), buffer, t, 0); });
      if (r < read_best) read_best = r;
      totals again;
      const double own = seconds([&] { read_as_library(argv[i], again); });
      if (own < own_best) own_best = own;
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
    std::printf("  open and read: bare %.3f ms, the library's walk %.3f ms\n", read_best * 1e3, own_best * 1e3);
    const char* const names[] = {"exact, with code", "by name, with code", "by name"};
    for (int mode = 0; mode < 3; ++mode) {
      std::printf("  %-20s %.3f ms: x%.2f, x%.2f; %.2f us a note\n", names[mode], best[mode] * 1e3,
                  best[mode] / read_best, best[mode] / own_best, best[mode] * 1e6 / static_cast<double>(t.files));
    }
    std::printf("  kept: %zu bytes; links and names: %zu bytes (x%.2f)\n", kept, link_bytes + t.name_bytes,
                static_cast<double>(kept) / static_cast<double>(link_bytes + t.name_bytes));
  }
  return 0;
}
