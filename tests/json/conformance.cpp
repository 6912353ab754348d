// Proves: JSONTestSuite (github.com/nst/JSONTestSuite) in full, in both dialects: every y_ text is accepted, every n_ text refused
// with a position inside it, and each of the 35 i_ texts, which RFC 8259 leaves open, is treated as the table below says.
// What is accepted is written and read again and comes out equal.
//
// Run: conformance   with the corpus in $MEMORIA_FS_CORPORA/JSONTestSuite or ../shared/corpora/JSONTestSuite; exit status
// 77 and one line where it is not there.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "memoria_fs.hpp"

namespace fs = std::filesystem;
using memoria::json;
using memoria::json_dialect;

// What the python dialect accepts and strict refuses. Everything else that is i_ is treated alike in both.
const char* const python_only[] = {
    "number_huge_exp", "number_neg_int_huge_exp", "number_pos_double_huge_exp", "number_real_neg_overflow",
    "number_real_pos_overflow", "object_key_lone_2nd_surrogate", "string_1st_surrogate_but_2nd_missing",
    "string_1st_valid_surrogate_2nd_invalid", "string_incomplete_surrogate_and_escape_valid",
    "string_incomplete_surrogate_pair", "string_incomplete_surrogates_escape_valid", "string_invalid_lonely_surrogate",
    "string_invalid_surrogate", "string_inverted_surrogates_U+1D11E", "string_lone_second_surrogate",
    "structure_UTF-8_BOM_empty_object"};
const char* const both[] = {"number_double_huge_neg_exp",   "number_real_underflow",
                            "number_too_big_neg_int",       "number_too_big_pos_int",
                            "number_very_big_negative_int", "structure_500_nested_arrays"};
// Refused in both: the rest, texts that are not UTF-8.

template <std::size_t N>
bool listed(const char* const (&names)[N], const std::string& name) {
  for (const char* n : names) {
    if (name == n) return true;
  }
  return false;
}

// NaN, Infinity and a bare -Infinity are n_ texts that Python reads.
bool python_extension(const std::string& name) {
  return name == "number_NaN" || name == "number_infinity" || name == "number_minus_infinity";
}

int failures = 0;

void check(bool good, const std::string& file, const char* what) {
  if (good) return;
  ++failures;
  std::printf("FAILED %s: %s\n", file.c_str(), what);
}

void run(const std::string& file, const std::string& text, bool accepted, json_dialect dialect) {
  memoria::json_problem problem;
  const json value = json::parse(text, {dialect}, problem);
  check(!problem == accepted, file, accepted ? problem.message().c_str() : "was accepted");
  check(json::accept(text, {dialect}) == accepted, file, "accept() disagrees with parse()");
  if (problem) {
    check(problem.offset <= text.size() && problem.line >= 1 && problem.column >= 1 && !problem.reason.empty(), file,
          "has no position");
    return;
  }
  for (const int indent : {-1, 2}) {
    for (const bool ascii : {false, true}) {
      std::error_code ec;
      const std::string written = value.dump({indent, ascii, dialect}, ec);
      check(!ec && json::parse(written, {dialect}, ec).dump({indent, ascii, dialect}, ec) == written && !ec, file,
            "did not survive being written");
    }
  }
}

int main() {
  const char* const set = std::getenv("MEMORIA_FS_CORPORA");
  const fs::path corpus = fs::path(set ? set : "../shared/corpora") / "JSONTestSuite" / "test_parsing";
  if (!fs::is_directory(corpus)) {
    std::printf("skipped: no corpus at %s\n", corpus.string().c_str());
    return 77;
  }
  int count[3] = {};
  for (const auto& entry : fs::directory_iterator(corpus)) {
    std::string name = entry.path().stem().string();
    if (entry.path().extension() != ".json") continue;
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    const char kind = name[0];
    name.erase(0, 2);
    ++count[kind == 'y' ? 0 : kind == 'n' ? 1 : 2];
    const bool alike = kind == 'y' || (kind == 'i' && listed(both, name));
    run(entry.path().string(), text, alike, json_dialect::strict);
    run(entry.path().string(), text, alike || (kind == 'i' && listed(python_only, name)) || python_extension(name),
        json_dialect::python);
  }
  check(count[0] == 95 && count[1] == 188 && count[2] == 35, corpus.string(),
        "is not the suite of 95 + 188 + 35 texts");
  std::printf("%d y_, %d n_, %d i_ texts, %d failures\n", count[0], count[1], count[2], failures);
  return failures == 0 ? 0 : 1;
}
