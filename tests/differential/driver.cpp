// The C++ side of differential.py:  driver SUBJECT [BASE] < questions > answers
// A question is a length (4 bytes, little-endian) and so many bytes; an answer is a number of strings, then each as length
// and bytes. One process answers hundreds of thousands of them.
#include <cstdint>
#include <cstdio>
#include <memoria_fs.hpp>

namespace {

bool get_number(std::uint32_t& number) {
  unsigned char bytes[4];
  if (std::fread(bytes, 1, 4, stdin) != 4) return false;
  number = bytes[0] | std::uint32_t{bytes[1]} << 8 | std::uint32_t{bytes[2]} << 16 | std::uint32_t{bytes[3]} << 24;
  return true;
}

void put_number(std::size_t number) {
  for (unsigned shift = 0; shift < 32; shift += 8) std::putchar(static_cast<int>(number >> shift & 0xFF));
}

// All that the seed's reading of a directory knows: links as "note, target, status", then notes as "note, inbound".
std::vector<std::string> graph(const std::string& directory) {
  memoria::graph_options options;
  options.resolve = memoria::link_resolution::exact;
  options.include_code = true;
  const memoria::link_graph g(directory, options);
  std::vector<std::string> lines;
  for (const memoria::graph_link& link : g.links()) {
    const char* status = link.status == memoria::link_status::ok       ? "ok"
                         : link.status == memoria::link_status::unsafe ? "unsafe"
                                                                       : "broken";
    lines.push_back(std::string(g.notes()[link.source].name) + "\t" + std::string(link.target) + "\t" + status);
  }
  for (const memoria::graph_note& note : g.notes())
    lines.push_back(std::string(note.name) + "\t" + std::to_string(note.inbound));
  return lines;
}

std::vector<std::string> answer(std::string_view subject, const std::string& question, const memoria::path& base) {
  if (subject == "extract_wikilinks") return memoria::extract_wikilinks(question);
  if (subject == "parse_wikilink") return {std::string(memoria::parse_wikilink(question))};
  if (subject == "safe_article_path") {
    const auto found = memoria::safe_article_path(question, base);
    return found ? std::vector<std::string>{found->string()} : std::vector<std::string>{};
  }
  if (subject == "link_graph") return graph(question);
  if (subject == "count_inbound_links") return {std::to_string(memoria::count_inbound_links(question, base))};
  // save_json(load_json_with_recovery(f)): nothing if the file was found corrupt, else what it holds afterwards.
  memoria::recovery_options quiet;
  bool corrupt = false;
  quiet.reporter = [&](const memoria::recovery_report&) { corrupt = true; };
  const memoria::path file = base / "state.json";
  memoria::write_options fast;
  fast.durable = memoria::durability::none;
  memoria::atomic_write_text(file, question, fast);
  const memoria::json value = memoria::load_json_with_recovery(file, nullptr, quiet);
  if (corrupt) return {};
  memoria::save_options options;
  options.durable = memoria::durability::none;
  memoria::save_json(file, value, options);
  return {memoria::read_text(file)};
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view subject = argc > 1 ? argv[1] : "";
  const memoria::path base = argc > 2 ? argv[2] : "";
  std::uint32_t length;
  while (get_number(length)) {
    std::string question(length, '\0');
    if (std::fread(question.data(), 1, length, stdin) != length) return 2;
    const std::vector<std::string> strings = answer(subject, question, base);
    put_number(strings.size());
    for (const std::string& s : strings) {
      put_number(s.size());
      std::fwrite(s.data(), 1, s.size(), stdout);
    }
  }
  return 0;
}
