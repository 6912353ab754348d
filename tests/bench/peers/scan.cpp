// All link targets of one text, by the library and by what others offer: each engine fills a vector of strings with the
// pattern of the Python original. memchr (for a byte that is not there) and memcpy are limits: they find nothing.
//   scan DIR ENGINE     operation: scan FILE
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <regex>
#include <vector>

#include "memoria_fs.hpp"
#include "peer.hpp"

#if __has_include(<pcre2.h>) && !defined(NO_PCRE2)
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#define HAVE_PCRE2
#endif
#if __has_include(<re2/re2.h>) && !defined(NO_RE2)
#include <re2/re2.h>
#define HAVE_RE2
#endif
#if __has_include(<hs/hs.h>) && !defined(NO_HYPERSCAN)
#include <hs/hs.h>
#define HAVE_HYPERSCAN
#endif
#if __has_include(<md4c.h>) && !defined(NO_MD4C)
#include <md4c.h>
#define HAVE_MD4C
#endif

namespace {

using targets = std::vector<std::string>;
constexpr const char* pattern = R"(\[\[([^\]|]+)(?:\|[^\]]*)?\]\])";
std::size_t sink = 0;

std::string read(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
}

#ifdef HAVE_MD4C
struct md4c_state {
  targets out;
};
int md4c_enter_span(MD_SPANTYPE type, void* detail, void* data) {
  if (type == MD_SPAN_WIKILINK) {
    const auto* link = static_cast<MD_SPAN_WIKILINK_DETAIL*>(detail);
    static_cast<md4c_state*>(data)->out.emplace_back(link->target.text, link->target.size);
  }
  return 0;
}
#endif

}  // namespace

int main(int argc, char** argv) {
  const std::string engine = argc > 2 ? argv[2] : "memoria";
  std::string text, copy;
  targets expected;
  return serve([&](const std::string& operation, const std::string& file) -> std::function<void()> {
    if (operation != "scan") return {};
    text = read(file);
    expected = memoria::extract_wikilinks(text);
    const auto same = [&](const targets& found) {
      if (found.size() == expected.size() && found == expected) return;
      std::fprintf(stderr, "%s: not the same links\n", engine.c_str());
      std::exit(4);
    };
    static_cast<void>(same);
    if (engine == "memoria") return [&] { sink += memoria::extract_wikilinks(text).size(); };
    if (engine == "memchr") return [&] { sink += std::memchr(text.data(), '\x01', text.size()) != nullptr; };
    if (engine == "memcpy") {
      copy.resize(text.size());
      return [&] {
        std::memcpy(copy.data(), text.data(), text.size());
        sink += static_cast<unsigned char>(copy[copy.size() / 2]);
      };
    }
    if (engine == "std::regex") {
      auto expression = std::make_shared<std::regex>(pattern, std::regex::ECMAScript | std::regex::optimize);
      const auto run = [&, expression] {
        targets out;
        for (std::cregex_iterator at(text.data(), text.data() + text.size(), *expression), end; at != end; ++at) out.push_back((*at)[1]);
        return out;
      };
      same(run());
      return [run] { sink += run().size(); };
    }
#ifdef HAVE_PCRE2
    if (engine == "PCRE2-JIT") {
      int error = 0;
      PCRE2_SIZE where = 0;
      pcre2_code* const code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED, 0, &error, &where, nullptr);
      pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
      pcre2_match_data* const data = pcre2_match_data_create_from_pattern(code, nullptr);
      const auto run = [&, code, data] {
        targets out;
        const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
        for (PCRE2_SIZE at = 0; pcre2_jit_match(code, subject, text.size(), at, 0, data, nullptr) > 0;) {
          const PCRE2_SIZE* v = pcre2_get_ovector_pointer(data);
          out.emplace_back(text.data() + v[2], v[3] - v[2]);
          at = v[1];
        }
        return out;
      };
      same(run());
      return [run] { sink += run().size(); };
    }
#endif
#ifdef HAVE_RE2
    if (engine == "RE2") {
      RE2::Options options;
      options.set_encoding(RE2::Options::EncodingLatin1);  // bytes, as the others
      auto expression = std::make_shared<RE2>(pattern, options);
      const auto run = [&, expression] {
        targets out;
        re2::StringPiece rest(text), target;
        while (RE2::FindAndConsume(&rest, *expression, &target)) out.emplace_back(target.data(), target.size());
        return out;
      };
      same(run());
      return [run] { sink += run().size(); };
    }
#endif
#ifdef HAVE_HYPERSCAN
    if (engine == "Hyperscan") {  // finds where matches begin and end; the target is cut out afterwards
      hs_database_t* database = nullptr;
      hs_compile_error_t* error = nullptr;
      check(hs_compile(pattern, HS_FLAG_SOM_LEFTMOST, HS_MODE_BLOCK, nullptr, &database, &error) == HS_SUCCESS, "hs_compile");
      hs_scratch_t* scratch = nullptr;
      check(hs_alloc_scratch(database, &scratch) == HS_SUCCESS, "hs_alloc_scratch");
      struct found {
        const std::string* text;
        targets out;
        unsigned long long end = 0;
      };
      const auto run = [&, database, scratch] {
        found f{&text, {}, 0};
        const auto each = [](unsigned, unsigned long long from, unsigned long long to, unsigned, void* data) {
          auto& f = *static_cast<found*>(data);
          if (from < f.end) return 0;  // it reports overlapping matches, too
          const std::string_view inside(f.text->data() + from + 2, to - from - 4);
          f.out.emplace_back(inside.substr(0, inside.find('|')));
          f.end = to;
          return 0;
        };
        hs_scan(database, text.data(), static_cast<unsigned>(text.size()), 0, scratch, each, &f);
        return std::move(f.out);
      };
      same(run());
      return [run] { sink += run().size(); };
    }
#endif
#ifdef HAVE_MD4C
    if (engine == "md4c") {  // a whole Markdown parser: links in code are none to it
      return [&] {
        md4c_state state;
        MD_PARSER parser = {};
        parser.flags = MD_FLAG_WIKILINKS;
        parser.enter_block = parser.leave_block = [](MD_BLOCKTYPE, void*, void*) { return 0; };
        parser.enter_span = md4c_enter_span;
        parser.leave_span = [](MD_SPANTYPE, void*, void*) { return 0; };
        parser.text = [](MD_TEXTTYPE, const MD_CHAR*, MD_SIZE, void*) { return 0; };
        md_parse(text.data(), static_cast<MD_SIZE>(text.size()), &parser, &state);
        sink += state.out.size();
      };
    }
#endif
    return {};
  });
}
