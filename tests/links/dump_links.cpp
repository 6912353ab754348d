// Answers for the differential tests: records in, records out, so that one process serves a million inputs.
//   dump_links MODE < records > records      a record is a 32-bit little-endian length and that many bytes
// Modes: extract (targets of extract_wikilinks), range (of wikilinks with include_code), reader (of wikilinks as
// OFFSET:LENGTH:NOTE, shared with hand-checked lists), parse (parse_wikilink), fold (a name as names are compared). Each
// answer is a count, then the strings.
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "memoria_fs.hpp"

namespace {

bool read_record(std::string& out) {
  unsigned char size[4];
  if (std::fread(size, 1, 4, stdin) != 4) return false;
  out.resize(size[0] | size[1] << 8u | size[2] << 16u | static_cast<std::size_t>(size[3]) << 24u);
  return std::fread(&out[0], 1, out.size(), stdin) == out.size();
}

void write_number(std::size_t n) {
  for (int i = 0; i < 4; ++i) std::putchar(static_cast<int>(n >> (8 * i) & 0xFF));
}

std::vector<std::string> answer(const std::string& mode, const std::string& text) {
  if (mode == "extract") return memoria::extract_wikilinks(text);
  if (mode == "parse") return {std::string(memoria::parse_wikilink(text))};
  if (mode == "fold") {
    std::string folded;
    memoria::detail::append_folded(folded, text);
    return {folded};
  }
  std::vector<std::string> out;
  memoria::wikilink_options options;
  options.include_code = mode == "range";
  for (const memoria::wikilink& link : memoria::wikilinks(text, options)) {
    if (options.include_code) {
      out.emplace_back(link.target);
    } else {
      out.push_back(std::to_string(link.offset) + ":" + std::to_string(link.length) + ":" + std::string(link.note()));
    }
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "extract";
  std::string text;
  while (read_record(text)) {
    const std::vector<std::string> strings = answer(mode, text);
    write_number(strings.size());
    for (const std::string& s : strings) {
      write_number(s.size());
      std::fwrite(s.data(), 1, s.size(), stdout);
    }
  }
}
