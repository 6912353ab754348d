// Speed of the link scanner, against PCRE2 with JIT where it is there (-DWITH_PCRE2 -lpcre2-8), on files joined into one
// buffer, on made-up prose and dense links, and on hostile texts.
//   bench_links DIRECTORY...     one buffer for each directory: all its .md files
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "memoria_fs.hpp"

#ifdef WITH_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#endif

namespace {

template <class F>
double best_seconds(F&& f) {
  using clock = std::chrono::steady_clock;
  double best = 1e9;
  double total = 0;
  for (int round = 0; round < 200 && (round < 7 || total < 0.5); ++round) {
    const auto start = clock::now();
    f();
    const double s = std::chrono::duration<double>(clock::now() - start).count();
    total += s;
    if (s < best) best = s;
  }
  return best;
}

#ifdef WITH_PCRE2
class pcre2_jit {
 public:
  pcre2_jit() {
    int error = 0;
    PCRE2_SIZE where = 0;
    const char* pattern = R"(\[\[([^\]|]+)(?:\|[^\]]*)?\]\])";
    code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED, 0, &error, &where, nullptr);
    pcre2_jit_compile(code_, PCRE2_JIT_COMPLETE);
    data_ = pcre2_match_data_create_from_pattern(code_, nullptr);
  }
  template <class F>
  void each(const std::string& text, F&& f) {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    for (PCRE2_SIZE at = 0; pcre2_jit_match(code_, subject, text.size(), at, 0, data_, nullptr) > 0;) {
      const PCRE2_SIZE* v = pcre2_get_ovector_pointer(data_);
      f(text.data() + v[2], v[3] - v[2]);
      at = v[1];
    }
  }

 private:
  pcre2_code* code_;
  pcre2_match_data* data_;
};
#endif

std::size_t count_links(const std::string& text, bool include_code) {
  memoria::wikilink_options options;
  options.include_code = include_code;
  std::size_t n = 0;
  for (const memoria::wikilink& link : memoria::wikilinks(text, options)) n += link.length != 0;
  return n;
}

void measure(const std::string& name, const std::string& text) {
  const double size = static_cast<double>(text.size()) / 1e9;
  volatile std::size_t sink = 0;
  const double extract = best_seconds([&] { sink = memoria::extract_wikilinks(text).size(); });
  const double lazy = best_seconds([&] { sink = count_links(text, true); });
  const double reader = best_seconds([&] { sink = count_links(text, false); });
  std::printf("%-22s %10zu bytes %8zu links  extract %6.2f  lazy %6.2f  reader %6.2f GB/s", name.c_str(), text.size(),
              count_links(text, true), size / extract, size / lazy, size / reader);
#ifdef WITH_PCRE2
  pcre2_jit jit;
  const double fill = best_seconds([&] {
    std::vector<std::string> out;
    jit.each(text, [&](const char* p, std::size_t n) { out.emplace_back(p, n); });
    sink = out.size();
  });
  const double count = best_seconds([&] {
    std::size_t n = 0;
    jit.each(text, [&](const char*, std::size_t) { ++n; });
    sink = n;
  });
  std::printf("  | pcre2: fill %6.2f count %6.2f | x%.2f x%.2f", size / fill, size / count, fill / extract, count / lazy);
#endif
  std::printf("\n");
  std::fflush(stdout);
}

void hostile(const std::string& part, const std::string& name) {
  std::string text;
  while (text.size() < (1u << 20)) text += part;
  volatile std::size_t sink = 0;
  const double extract = best_seconds([&] { sink = memoria::extract_wikilinks(text).size(); });
  const double lazy = best_seconds([&] { sink = count_links(text, true); });
  const double reader = best_seconds([&] { sink = count_links(text, false); });
  std::printf("1 MiB of %-12s extract %7.3f ms  lazy %7.3f ms  reader %7.3f ms\n", name.c_str(), extract * 1e3, lazy * 1e3,
              reader * 1e3);
}

}  // namespace

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  for (int i = 1; i < argc; ++i) {
    std::string text;
    for (const auto& entry : fs::recursive_directory_iterator(argv[i])) {
      if (entry.path().extension() != ".md" || !entry.is_regular_file()) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      text.append(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    }
    measure(fs::path(argv[i]).filename().u8string(), text);
  }
  std::string prose, single, dense_short, dense;
  while (prose.size() < (16u << 20)) prose += "The quick brown fox jumps over the lazy dog, as it has done in every test since 1885.\n";
  for (std::size_t i = 0; single.size() < (16u << 20); ++i) {
    single += "Text with a [reference](http://example.org) and more text after it, then a new line comes.\n";
  }
  for (std::size_t i = 0; dense_short.size() < (16u << 20); ++i) dense_short += "x [[note " + std::to_string(i % 1000000) + "]] y z a\n";
  for (std::size_t i = 0; dense.size() < (16u << 20); ++i) {
    dense += "- [[dir/some note " + std::to_string(i % 1000) + "#part|display]] and [[other]]\n";
  }
  measure("prose", prose);
  measure("prose, single brackets", single);
  measure("dense short links", dense_short);
  measure("dense links", dense);
  for (const char* part : {"[", "]", "[[a", "[[a|", "[[|", "[[a|b] ", "[[a] ", "[[a|b]] ", "`", "` `` ``` ", "$a ", "%%", "<!-- ",
                           "- ", "> ", "\\", "\n", "#", "\t"}) {
    std::string name;
    for (const char* p = part; *p != '\0'; ++p) name += *p == '\n' ? std::string("\\n") : *p == '\t' ? std::string("\\t") : std::string(1, *p);
    hostile(part, "\"" + name + "\"");
  }
  return 0;
}
