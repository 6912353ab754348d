// Proves, on whatever bytes libFuzzer finds: memoria::json never crashes, hangs, leaks or reads beyond a text, and
//   what parses is written as a text that parses to the same value, in every form, and written again is the same text
//   what strict accepts, python accepts, with the same value
//   what is refused has a reason and a position inside the text
//   a copy equals its original, and looking up, erasing and setting by key keeps an object consistent
//
// Each run tries one form of writing, chosen by the input's length, so that millions of runs take minutes.
//
// Run:  clang++ -std=c++17 -g -O2 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -I. tests/fuzz/json.cpp -o fuzz_json
//       ./fuzz_json -max_len=256 -runs=20000000 NEW_CORPUS tests/json/corpus
// Also with -DMEMORIA_FS_PORTABLE, for the path without SIMD.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common.hpp"
#include "memoria_fs.hpp"

using memoria::json;
using memoria::json_dialect;

static std::string dumped(const json& j, const memoria::json_dump_options& options) {
  std::error_code ec;
  std::string text = j.dump(options, ec);
  require(!ec, "what was parsed can be written");
  return text;
}

// A copy on the heap without a byte to spare, so that the sanitizer sees every read beyond the text.
static json parsed(const std::string& text, json_dialect dialect, memoria::json_problem& problem) {
  const std::unique_ptr<char[]> exact(new char[text.size()]);
  for (std::size_t i = 0; i < text.size(); ++i) exact[i] = text[i];
  json j = json::parse({exact.get(), text.size()}, {dialect, 200}, problem);
  if (problem) {
    require(problem.offset <= text.size() && problem.line >= 1 && problem.column >= 1,
            "an error has a position in the text");
    require(!problem.reason.empty() && problem.excerpt.size() <= 60, "an error has a reason and a short excerpt");
    require(j.is_null(), "a refused text gives null");
  }
  return j;
}

static void edit(json& j) {
  if (j.is_object()) {
    const json original = j;
    std::vector<std::string> keys;
    for (auto [key, value] : original.items()) keys.emplace_back(key);
    for (std::size_t i = 0; i < keys.size(); i += 2)
      require(j.erase(keys[i]) == 1 && !j.contains(keys[i]), "an erased key is gone");
    for (std::size_t i = 1; i < keys.size(); i += 2)
      require(j[keys[i]] == original[keys[i]] ||
                  dumped(original, {-1, true, json_dialect::python}).find("NaN") != std::string::npos,
              "the others stay");
    for (std::size_t i = 0; i < keys.size(); i += 2) j[keys[i]] = original[keys[i]];
    require(j.size() == original.size(), "and it can be put back");
    for (const std::string& key : keys) require(j.contains(key), "and be found");
    for (int i = 0; i < 3; ++i) j["added key number " + std::to_string(i)] = i;
  } else if (j.is_array()) {
    while (j.size() > 3) j.erase(j.size() / 2);
    j.push_back(j);
  }
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const memoria::json_dump_options forms[] = {{-1, false, json_dialect::python}, {-1, true, json_dialect::python},
                                              {2, false, json_dialect::python},  {2, true, json_dialect::python},
                                              {0, false, json_dialect::python},  {-1, false, json_dialect::strict}};
  const memoria::json_dump_options& form = forms[size % 6];
  memoria::json_problem strict_problem, problem;
  const json strict = parsed(text, json_dialect::strict, strict_problem);
  json j = parsed(text, json_dialect::python, problem);
  require(!problem || strict_problem, "what python refuses, strict refuses");
  if (problem || (form.dialect == json_dialect::strict && strict_problem)) return 0;
  const std::string written = dumped(j, form);
  const bool nan = written.find("NaN") != std::string::npos;
  if (!strict_problem) require(dumped(strict, form) == written && (strict == j || nan), "the dialects agree");
  const json again = parsed(written, form.dialect, problem);
  require(!problem, "what was written parses");
  require(dumped(again, form) == written && (again == j || nan), "and is the same");
  json copy = j;
  require(dumped(copy, form) == written, "a copy is the same");
  edit(copy);
  std::error_code ec;
  copy.dump(form, ec);
  if (size % 4 == 0) {
    j.set_pointer(text.substr(0, 20), 1, ec);
    require(!ec || dumped(j, form) == written, "a pointer that fails changes nothing");
  }
  return 0;
}
