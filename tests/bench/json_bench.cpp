// Measures: memoria::json against the JSON libraries that Debian packages (nlohmann-json3-dev, rapidjson-dev, libboost-json1.81-dev,
// libsimdjson-dev) and yyjson where its header is found, on the usual texts, in one interleaved run: parse into an owned
// tree and destroy it; dump; dump(2); and the cycle parse, change one key, dump(2), destroy. Then the memory of a tree and an
// object of a million keys.
//
// Build: c++ -std=c++17 -O3 -DNDEBUG -I. tests/bench/json_bench.cpp -lboost_json -lsimdjson -lyyjson -o json_bench
//        (leave out what is not there: only headers that are found are used)
// Run:   json_bench [SECONDS PER FILE] [FILE...]   with $MEMORIA_FS_CORPORA/json or ../shared/corpora/json; exit status 77 and one
//        line where it is not there. MB/s are input bytes a second, of thread CPU time, the median of the rounds.
// The lines that begin with "ratio" are for run.py: operation, library, its time over ours (median, quartiles), rounds.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "memoria_fs.hpp"

#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>
#define HAVE_NLOHMANN
#endif
#if __has_include(<rapidjson/document.h>)
#include <rapidjson/document.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>
#define HAVE_RAPIDJSON
#endif
#if __has_include(<boost/json.hpp>) && !defined(NO_BOOST)
#include <boost/json.hpp>
#define HAVE_BOOST
#endif
#if __has_include(<simdjson.h>) && !defined(NO_SIMDJSON)
#include <simdjson.h>
#define HAVE_SIMDJSON
#endif
#if __has_include(<yyjson.h>)
#include <yyjson.h>
#define HAVE_YYJSON
#endif
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace fs = std::filesystem;

static std::size_t sink;  // keeps the work from being optimised away

static double now() {
#ifdef CLOCK_THREAD_CPUTIME_ID
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
#else
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
#endif
}

static double in_use() {
#if defined(__GLIBC__)
  const auto info = mallinfo2();
  return double(info.uordblks + info.hblkhd);
#else
  return 0;
#endif
}

struct work {
  std::function<void()> parse, dump, pretty, cycle;  // empty: this library cannot
  std::function<double()> memory;
};
struct library {
  const char* name;
  std::function<work(const std::string&)> prepare;
};

static work memoria_work(const std::string& text) {
  using memoria::json;
  auto tree = std::make_shared<json>(json::parse(text));
  return {[&text] { sink += json::parse(text).size(); }, [tree] { sink += tree->dump().size(); },
          [tree] { sink += tree->dump(2).size(); },
          [&text] {
            json j = json::parse(text);
            if (j.is_object())
              j["changed"] = 42;
            else
              j[std::size_t{0}] = 42;
            sink += j.dump(2).size();
          },
          [&text] {
            const double before = in_use();
            const json j = json::parse(text);
            return in_use() - before;
          }};
}

#ifdef HAVE_NLOHMANN
template <class Json>
static work nlohmann_work(const std::string& text) {
  auto tree = std::make_shared<Json>(Json::parse(text));
  return {[&text] { sink += Json::parse(text).size(); }, [tree] { sink += tree->dump().size(); },
          [tree] { sink += tree->dump(2).size(); },
          [&text] {
            Json j = Json::parse(text);
            if (j.is_object())
              j["changed"] = 42;
            else
              j[0] = 42;
            sink += j.dump(2).size();
          },
          [&text] {
            const double before = in_use();
            const Json j = Json::parse(text);
            return in_use() - before;
          }};
}
#endif

#ifdef HAVE_RAPIDJSON
static work rapidjson_work(const std::string& text) {  // set to what we do: UTF-8 validated, numbers exact
  namespace rj = rapidjson;
  const auto parse = [&text](rj::Document& d) {
    d.Parse<rj::kParseValidateEncodingFlag | rj::kParseFullPrecisionFlag>(text.data(), text.size());
  };
  const auto pretty = [](const rj::Document& d) {
    rj::StringBuffer buffer;
    rj::PrettyWriter<rj::StringBuffer> writer(buffer);
    writer.SetIndent(' ', 2);
    d.Accept(writer);
    sink += buffer.GetSize();
  };
  auto tree = std::make_shared<rj::Document>();
  parse(*tree);
  return {[=] {
            rj::Document d;
            parse(d);
            sink += d.IsObject();
          },
          [tree] {
            rj::StringBuffer buffer;
            rj::Writer<rj::StringBuffer> writer(buffer);
            tree->Accept(writer);
            sink += buffer.GetSize();
          },
          [=] { pretty(*tree); },
          [=] {
            rj::Document d;
            parse(d);
            if (d.IsObject())
              d.AddMember("changed", 42, d.GetAllocator());
            else
              d[0] = 42;
            pretty(d);
          },
          [=] {
            const double before = in_use();
            rj::Document d;
            parse(d);
            return in_use() - before;
          }};
}
#endif

#ifdef HAVE_BOOST
static void boost_pretty(std::string& out, const boost::json::value& v,
                         std::size_t depth) {  // after its documentation: it has none
  const auto line = [&](std::size_t n) { out += '\n', out.append(2 * n, ' '); };
  if (v.is_object() && !v.get_object().empty()) {
    char before = '{';
    for (const auto& member : v.get_object()) {
      out += before, before = ',';
      line(depth + 1);
      out += boost::json::serialize(member.key());
      out += ": ";
      boost_pretty(out, member.value(), depth + 1);
    }
    line(depth);
    out += '}';
  } else if (v.is_array() && !v.get_array().empty()) {
    char before = '[';
    for (const auto& element : v.get_array()) {
      out += before, before = ',';
      line(depth + 1);
      boost_pretty(out, element, depth + 1);
    }
    line(depth);
    out += ']';
  } else {
    out += boost::json::serialize(v);
  }
}

static work boost_work(const std::string& text) {
  namespace bj = boost::json;
  auto resource = std::make_shared<bj::monotonic_resource>();
  auto tree = std::make_shared<bj::value>(bj::parse(text, resource.get()));
  return {[&text] {
            bj::monotonic_resource r;
            sink += bj::parse(text, &r).is_object();
          },
          [tree] { sink += bj::serialize(*tree).size(); },
          [tree, resource] {
            std::string out;
            boost_pretty(out, *tree, 0);
            sink += out.size();
          },
          [&text] {
            bj::monotonic_resource r;
            bj::value v = bj::parse(text, &r);
            if (v.is_object())
              v.get_object()["changed"] = 42;
            else
              v.get_array()[0] = 42;
            std::string out;
            boost_pretty(out, v, 0);
            sink += out.size();
          },
          [&text] {
            const double before = in_use();
            bj::monotonic_resource r;
            const bj::value v = bj::parse(text, &r);
            return in_use() - before;
          }};
}
#endif

#ifdef HAVE_SIMDJSON
static work simdjson_work(const std::string& text) {  // read-only, so no cycle
  auto parser = std::make_shared<simdjson::dom::parser>();
  auto tree = std::make_shared<simdjson::dom::element>(parser->parse(text).value());
  return {[&text] {
            simdjson::dom::parser p;
            sink += p.parse(text).value().is_object();
          },
          [=] {
            static_cast<void>(parser);
            sink += simdjson::minify(*tree).size();
          },
          {},
          {},
          [&text] {
            const double before = in_use();
            simdjson::dom::parser p;
            sink += p.parse(text).value().is_object();
            return in_use() - before;
          }};
}
#endif

#ifdef HAVE_YYJSON
static work yyjson_work(const std::string& text) {  // its mutable document
  const auto parse = [&text] {
    yyjson_doc* d = yyjson_read(text.data(), text.size(), 0);
    yyjson_mut_doc* m = yyjson_doc_mut_copy(d, nullptr);
    yyjson_doc_free(d);
    return m;
  };
  const auto write = [](yyjson_mut_doc* m, yyjson_write_flag flags) {
    std::size_t size = 0;
    std::free(yyjson_mut_write(m, flags, &size));
    sink += size;
  };
  std::shared_ptr<yyjson_mut_doc> tree(parse(), yyjson_mut_doc_free);
  return {[=] { yyjson_mut_doc_free(parse()); }, [=] { write(tree.get(), 0); },
          [=] { write(tree.get(), YYJSON_WRITE_PRETTY_TWO_SPACES); },
          [=] {
            yyjson_mut_doc* m = parse();
            yyjson_mut_val* root = yyjson_mut_doc_get_root(m);
            if (yyjson_mut_is_obj(root))
              yyjson_mut_obj_add_int(m, root, "changed", 42);
            else
              yyjson_mut_arr_replace(root, 0, yyjson_mut_int(m, 42));
            write(m, YYJSON_WRITE_PRETTY_TWO_SPACES);
            yyjson_mut_doc_free(m);
          },
          [=] {
            const double before = in_use();
            yyjson_mut_doc* m = parse();
            const double used = in_use() - before;
            yyjson_mut_doc_free(m);
            return used;
          }};
}
#endif

static double seconds_each(const std::function<void()>& f) {  // at least 2 ms of it
  for (std::size_t n = 1;; n *= 4) {
    const double start = now();
    for (std::size_t i = 0; i < n; ++i) f();
    const double spent = now() - start;
    if (spent > 2e-3) return spent / double(n);
  }
}

static double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v.empty() ? 0 : v[v.size() / 2];
}

static std::string read(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
}

int main(int argc, char** argv) {
  const char* const set = std::getenv("MEMORIA_FS_CORPORA");
  const fs::path corpus = fs::path(set ? set : "../shared/corpora") / "json";
  if (!fs::is_directory(corpus)) {
    std::printf("skipped: no corpus at %s\n", corpus.string().c_str());
    return 77;
  }
  const double seconds = argc > 1 ? std::atof(argv[1]) : 4;
  std::vector<std::string> files(argv + std::min(argc, 2), argv + argc);
  if (files.empty())
    files = {"twitter", "canada", "citm_catalog", "gsoc-2018", "twitterescaped", "numbers", "state-big", "state2k"};
  const std::vector<library> libraries = {
      {"memoria", memoria_work},
#ifdef HAVE_YYJSON
      {"yyjson mut", yyjson_work},
#endif
#ifdef HAVE_RAPIDJSON
      {"rapidjson", rapidjson_work},
#endif
#ifdef HAVE_BOOST
      {"boost mono", boost_work},
#endif
#ifdef HAVE_NLOHMANN
      {"nlohmann", nlohmann_work<nlohmann::json>},
      {"nl ordered", nlohmann_work<nlohmann::ordered_json>},
#endif
#ifdef HAVE_SIMDJSON
      {"simdjson", simdjson_work},
#endif
  };
#ifndef HAVE_YYJSON
  std::printf("yyjson: not here\n");
#endif
#ifndef HAVE_RAPIDJSON
  std::printf("RapidJSON: not here\n");
#endif
#ifndef HAVE_BOOST
  std::printf("Boost.JSON: not here\n");
#endif
#ifndef HAVE_NLOHMANN
  std::printf("nlohmann/json: not here\n");
#endif
#ifndef HAVE_SIMDJSON
  std::printf("simdjson: not here\n");
#endif
  const char* const operations[] = {"parse+destroy", "dump", "dump(2)", "cycle"};
  std::vector<std::vector<double>> product(4, std::vector<double>(libraries.size(), 0));
  std::vector<std::vector<std::vector<double>>> by_round(
      4, std::vector<std::vector<double>>(libraries.size()));  // sums of logarithms
  std::size_t counted = 0;
  for (const std::string& file : files) {
    const std::string text = read(corpus / (file + ".json"));
    std::vector<work> works;
    for (const library& l : libraries) works.push_back(l.prepare(text));
    std::vector<std::vector<std::vector<double>>> times(4, std::vector<std::vector<double>>(libraries.size()));
    const double end = now() + seconds;
    std::size_t rounds = 0;
    do {
      for (std::size_t l = 0; l < works.size(); ++l) {
        const std::function<void()>* const functions[] = {&works[l].parse, &works[l].dump, &works[l].pretty,
                                                          &works[l].cycle};
        for (int o = 0; o < 4; ++o) {
          if (*functions[o]) times[std::size_t(o)][l].push_back(seconds_each(*functions[o]));
        }
      }
    } while (++rounds < 3 || now() < end);
    const bool small = text.size() < 10000;
    if (!small) {
      if (counted++ == 0) {
        for (auto& operation : by_round) for (auto& rounds : operation) rounds.assign(1000, 0);
      }
      for (std::size_t o = 0; o < 4; ++o) {
        for (std::size_t l = 0; l < works.size(); ++l) {
          by_round[o][l].resize(std::min(by_round[o][l].size(), times[o][l].size()));
          for (std::size_t r = 0; r < by_round[o][l].size(); ++r)
            by_round[o][l][r] += std::log(times[o][l][r] / times[o][0][r]);
        }
      }
    }
    std::printf("%-16s %9zu bytes ", file.c_str(), text.size());
    for (const library& l : libraries) std::printf(" %10s", l.name);
    std::printf("\n");
    for (std::size_t o = 0; o < 4; ++o) {
      std::printf("  %-14s %14s ", operations[o], small ? "microseconds" : "MB/s");
      for (std::size_t l = 0; l < works.size(); ++l) {
        const double t = median(times[o][l]);
        std::printf(" %10.*f", small ? 2 : 0, t == 0 ? 0.0 : small ? t * 1e6 : double(text.size()) / t * 1e-6);
        if (!small) product[o][l] += t == 0 ? 0 : std::log(double(text.size()) / t * 1e-6);
      }
      std::printf("\n");
    }
    std::printf("  %-14s %14s ", "memory", "bytes/byte");
    for (work& w : works) std::printf(" %10.2f", w.memory() / double(text.size()));
    std::printf("\n");
  }
  if (counted != 0) {
    std::printf("geometric mean of %zu texts\n", counted);
    for (std::size_t o = 0; o < 4; ++o) {
      std::printf("  %-14s %14s ", operations[o], "MB/s");
      for (double p : product[o]) std::printf(" %10.0f", p == 0 ? 0.0 : std::exp(p / double(counted)));
      std::printf("\n  %-14s %14s ", "", "memoria is x");
      for (double p : product[o])
        std::printf(" %10.2f", p == 0 ? 0.0 : std::exp((product[o][0] - p) / double(counted)));
      std::printf("\n");
      for (std::size_t l = 1; l < libraries.size(); ++l) {  // for run.py: quartiles over the rounds
        std::vector<double>& rounds = by_round[o][l];
        std::sort(rounds.begin(), rounds.end());
        const auto at = [&](double q) {
          return std::exp(rounds[std::size_t(q * double(rounds.size() - 1))] / double(counted));
        };
        if (!rounds.empty())
          std::printf("ratio\t%s\t%s\t%.4f\t%.4f\t%.4f\t%zu\n", operations[o], libraries[l].name, at(.5), at(.25),
                      at(.75), rounds.size());
      }
    }
  }
  for (const std::size_t n : {10u, 1000u, 30000u, 1000000u}) {
    std::string text = "{";
    for (std::size_t i = 0; i < n; ++i)
      text += (i ? ",\"key" : "\"key") + std::to_string(i * 7919 % 1000003) + "\":" + std::to_string(i);
    text += "}";
    std::vector<double> parse, find;
    for (int round = 0; round < 5; ++round) {
      parse.push_back(seconds_each([&] { sink += memoria::json::parse(text).size(); }));
      const memoria::json j = memoria::json::parse(text);
      find.push_back(seconds_each([&] {
        for (std::size_t i = 0; i < n; i += 1 + n / 1000)
          sink += j["key" + std::to_string(i * 7919 % 1000003)].is_null();
      }));
    }
    std::printf("object of %7zu keys: parse+destroy %.0f ns a key, find %.0f ns\n", n, median(parse) / double(n) * 1e9,
                median(find) / double((n + n / 1000) / (1 + n / 1000)) * 1e9);
  }
  return sink == 1;
}
