// Speed of the link scanner, against PCRE2 with JIT where it is there (-DWITH_PCRE2 -lpcre2-8), on files joined into one
// buffer, on made-up prose and dense links, and on hostile texts. All contenders take turns in each round, each for a
// few milliseconds of processor time; speeds are of the best round, ratios the median of those of the rounds, so that
// what else the machine does falls on all alike. links_python.py compares with Python's re in the same way.
//   c++ -std=c++17 -O2 -I. -DWITH_PCRE2 tests/bench/links_bench.cpp -o links_bench -lpcre2-8
//   links_bench [ROUNDS] DIRECTORY...     one buffer for each directory: all its .md files
#include <time.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "memoria_fs.hpp"

#ifdef WITH_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#endif

namespace {

int rounds = 31;

double now() {  // of this process: other work on the machine does not count
  timespec t = {};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

struct contender {
  std::function<std::size_t()> run;
  std::size_t repeats = 1;
  std::vector<double> seconds = {};  // of one run, in each round
  std::size_t links = 0;

  void measure() {
    const double start = now();
    for (std::size_t i = 0; i < repeats; ++i) links += run();
    seconds.push_back((now() - start) / static_cast<double>(repeats));
  }
  double best() const { return *std::min_element(seconds.begin(), seconds.end()); }
};

void compete(std::vector<contender>& all) {
  for (contender& c : all) {
    c.measure();
    c.measure();
    c.repeats = static_cast<std::size_t>(0.003 / c.best()) + 1;
    c.seconds.clear();
  }
  for (int round = 0; round < rounds; ++round) {
    for (contender& c : all) c.measure();
  }
}

double median_ratio(const contender& slow, const contender& fast) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < slow.seconds.size(); ++i) ratios.push_back(slow.seconds[i] / fast.seconds[i]);
  std::nth_element(ratios.begin(), ratios.begin() + static_cast<std::ptrdiff_t>(ratios.size() / 2), ratios.end());
  return ratios[ratios.size() / 2];
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
  std::vector<contender> all = {{[&] { return memoria::extract_wikilinks(text).size(); }},
                                {[&] { return count_links(text, true); }},
                                {[&] { return count_links(text, false); }}};
#ifdef WITH_PCRE2
  pcre2_jit jit;
  all.push_back({[&] {
    std::vector<std::string> out;
    jit.each(text, [&](const char* p, std::size_t n) { out.emplace_back(p, n); });
    return out.size();
  }});
  all.push_back({[&] {
    std::size_t n = 0;
    jit.each(text, [&](const char*, std::size_t) { ++n; });
    return n;
  }});
#endif
  compete(all);
  std::vector<double> speed;
  for (const contender& c : all) speed.push_back(static_cast<double>(text.size()) / 1e9 / c.best());
  std::printf("%-22s %9zu bytes %7zu links  extract %5.2f  lazy %5.2f  reader %5.2f GB/s", name.c_str(), text.size(),
              count_links(text, true), speed[0], speed[1], speed[2]);
#ifdef WITH_PCRE2
  std::printf("  | pcre2: fill %5.2f count %5.2f | extract x%.2f lazy x%.2f", speed[3], speed[4],
              median_ratio(all[3], all[0]), median_ratio(all[4], all[1]));
#endif
  std::printf("\n");
  std::fflush(stdout);
}

void hostile(const std::string& part, const std::string& name) {
  std::string text;
  while (text.size() < (1u << 20)) text += part;
  std::vector<contender> all = {{[&] { return memoria::extract_wikilinks(text).size(); }},
                                {[&] { return count_links(text, true); }},
                                {[&] { return count_links(text, false); }}};
  compete(all);
  std::printf("1 MiB of %-12s extract %7.3f ms  lazy %7.3f ms  reader %7.3f ms\n", name.c_str(), all[0].best() * 1e3,
              all[1].best() * 1e3, all[2].best() * 1e3);
}

}  // namespace

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  for (int i = 1; i < argc; ++i) {
    if (std::isdigit(static_cast<unsigned char>(*argv[i]))) {
      rounds = std::atoi(argv[i]);
      continue;
    }
    std::string text;
    for (const auto& entry : fs::recursive_directory_iterator(argv[i])) {
      if (entry.path().extension() != ".md" || !entry.is_regular_file()) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      text.append(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    }
    measure(fs::path(argv[i]).filename().u8string(), text);
  }
  std::string prose, single, dense_short, dense;
  while (prose.size() < (16u << 20))
    prose += "The quick brown fox jumps over the lazy dog, as it has done in every test since 1885.\n";
  for (std::size_t i = 0; single.size() < (16u << 20); ++i) {
    single += "Text with a [reference](http://example.org) and more text after it, then a new line comes.\n";
  }
  for (std::size_t i = 0; dense_short.size() < (16u << 20); ++i)
    dense_short += "x [[note " + std::to_string(i % 1000000) + "]] y z a\n";
  for (std::size_t i = 0; dense.size() < (16u << 20); ++i) {
    dense += "- [[dir/some note " + std::to_string(i % 1000) + "#part|display]] and [[other]]\n";
  }
  measure("prose", prose);
  measure("prose, single brackets", single);
  measure("dense short links", dense_short);
  measure("dense links", dense);
  for (const char* part : {"[", "]", "[[a", "[[a|", "[[|", "[[a|b] ", "[[a] ", "[[a|b]] ", "`", "` `` ``` ", "$a ",
                           "%%", "<!-- ", "- ", "> ", "\\", "\n", "#", "\t"}) {
    std::string name;
    for (const char* p = part; *p != '\0'; ++p)
      name += *p == '\n' ? std::string("\\n") : *p == '\t' ? std::string("\\t") : std::string(1, *p);
    hostile(part, "\"" + name + "\"");
  }
  return 0;
}
