// libFuzzer target for everything that reads text: any bytes, no crash, no sanitizer report, and what must hold of every
// input holds. run.sh runs it; matrix.sh for FUZZ_SECONDS (default 20) over all targets, long.sh for longer.
#include <memoria_fs.hpp>

#include "common.hpp"

namespace {

// The seed's pattern, \[\[([^\]|]+)(?:\|[^\]]*)?\]\], read naively.
std::vector<std::string> reference(std::string_view text) {
  std::vector<std::string> found;
  for (std::size_t at = 0; at + 4 < text.size();) {
    if (text.compare(at, 2, "[[") == 0) {
      const std::size_t end = text.find_first_of("|]", at + 2), close = text.find(']', at + 2);
      if (close == std::string_view::npos) break;
      if (end > at + 2 && text.compare(close, 2, "]]") == 0) {
        found.emplace_back(text.substr(at + 2, end - at - 2));
        at = close + 2;
        continue;
      }
    }
    ++at;
  }
  return found;
}

void check_links(std::string_view text, bool include_code) {
  const memoria::wikilink_options options{include_code};
  std::size_t last = 0, count = 0;
  for (const memoria::wikilink& link : memoria::wikilinks(text, options)) {
    require(link.offset >= last && link.length >= 5 && link.offset + link.length <= text.size(),
            "links in order, within the text");
    last = link.offset + link.length;
    link.note();
    link.heading();
    link.block();
    ++count;
  }
  if (include_code) require(count == memoria::extract_wikilinks(text).size(), "the same links in both forms");
  if (include_code && text.size() < 2000)
    require(memoria::extract_wikilinks(text) == reference(text), "the seed's links");
  const auto keep = [](const memoria::wikilink&) { return std::optional<std::string>(); };
  require(memoria::replace_wikilinks(text, keep, options) == text, "nothing renamed, nothing changed");
}

void check_json(std::string_view text, memoria::json_dialect dialect) {
  memoria::json_parse_options options;
  options.dialect = dialect;
  memoria::json_problem problem;
  const memoria::json value = memoria::json::parse(text, options, problem);
  require(memoria::json::accept(text, options) == !problem, "accept says what parse does");
  if (problem) {
    require(value.is_null() && problem.offset <= text.size() && problem.line > 0, "a refusal says where");
    return;
  }
  std::error_code ec;
  const std::string once = value.dump(memoria::json_dump_options{2, true, dialect}, ec);
  require(!ec, "what was parsed can be written");
  const memoria::json again = memoria::json::parse(once, options, problem);
  require(!problem && again.dump(memoria::json_dump_options{2, true, dialect}, ec) == once,
          "written, read and written: the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  require(text.find(memoria::parse_wikilink(text)) != std::string_view::npos, "a slug is part of its link");
  check_links(text, false);
  check_links(text, true);
  check_json(text, memoria::json_dialect::strict);
  check_json(text, memoria::json_dialect::python);
  const auto article = memoria::safe_article_path(text, "/tmp");
  require(!article || article->native().compare(0, 5, "/tmp/") == 0, "an article is inside its directory");
  return 0;
}
