// The C++ side of confine.py:  confine_driver BASE kernel|walk
// A question is an operation (1 byte), a length (4 bytes, little-endian) and so many bytes of name; its answer comes at
// once: a number of strings, each as length and bytes. The first is "ok", "unsafe" or the error's name, the others are
// what was found. Small letters ask the confined functions, capitals the plain system or the plain functions.
#include <cstdint>
#include <cstdio>
#include <memoria_fs.hpp>
#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif

namespace {

using memoria::path;
namespace fs = std::filesystem;

bool get_number(std::uint32_t& number) {
  unsigned char bytes[4];
  if (std::fread(bytes, 1, 4, stdin) != 4) return false;
  number = bytes[0] | std::uint32_t{bytes[1]} << 8 | std::uint32_t{bytes[2]} << 16 | std::uint32_t{bytes[3]} << 24;
  return true;
}

void put_number(std::size_t number) {
  for (unsigned shift = 0; shift < 32; shift += 8) std::putchar(static_cast<int>(number >> shift & 0xFF));
}

std::string name_of(const std::error_code& ec) {
  if (!ec) return "ok";
  if (ec == memoria::errc::unsafe_path) return "unsafe";
  return ec.default_error_condition().message();
}

using answer = std::vector<std::string>;

answer confined(char operation, const std::string& name, const memoria::confined_dir& d) {
  std::error_code ec;
  answer found = {""};
  memoria::write_options fast;
  fast.durable = memoria::durability::none;
  memoria::append_options fast_append;
  fast_append.durable = memoria::durability::none;
  switch (operation) {
    case 'r': found.push_back(d.read_text(name, ec)); break;
    case 'e': found.push_back(d.exists(name, ec) ? "yes" : "no"); break;
    case 'd': found.push_back(d.remove(name, ec) ? "yes" : "no"); break;
    case 'w': d.atomic_write_text(name, "written", fast, ec); break;
    case 'a': d.locked_append_text(name, "appended", fast_append, ec); break;
    case 'l':
      for (std::string& n : d.list(name, ec)) found.push_back(std::move(n));
      break;
    default: std::exit(2);
  }
  found.front() = name_of(ec);
  return found;
}

answer plain(char operation, const path& file) {
  std::error_code ec;
  answer found = {""};
  memoria::write_options fast;
  fast.durable = memoria::durability::none;
  memoria::append_options fast_append;
  fast_append.durable = memoria::durability::none;
  switch (operation) {
    case 'R': found.push_back(memoria::read_text(file, ec)); break;
    case 'E':
      found.push_back(fs::exists(file, ec) ? "yes" : "no");
      break;
    case 'D': found.push_back(fs::remove(file, ec) ? "yes" : "no"); break;
    case 'W': memoria::atomic_write_text(file, "written", fast, ec); break;
    case 'A': memoria::locked_append_text(file, "appended", fast_append, ec); break;
    case 'L':
      for (fs::directory_iterator i(file, ec), end; !ec && i != end; i.increment(ec))
        found.push_back(i->path().filename().string());
      break;
    default: std::exit(2);
  }
  found.front() = name_of(ec);
  return found;
}

answer ask(char operation, const std::string& name, const path& base, const memoria::confined_dir& d) {
  if (operation == 'p') {
    std::error_code ec;
    const path found = memoria::require_article_path(name, base, ec);
    return {name_of(ec), found.u8string().c_str()};
  }
  if (operation >= 'a') return confined(operation, name, d);
  return plain(operation, base / name);
}

}  // namespace

int main(int argc, char** argv) {
  const path base = argc > 1 ? argv[1] : ".";
  std::error_code ec;
  const memoria::confined_dir d(base, ec);
  if (ec) {
    std::fprintf(stderr, "%s: %s\n", argv[1], ec.message().c_str());
    return 2;
  }
#ifdef _WIN32
  ::_setmode(0, _O_BINARY);
  ::_setmode(1, _O_BINARY);
#elif defined(__linux__)
  if (argc > 2 && std::string_view(argv[2]) == "walk") memoria::detail::os::openat2_missing() = true;
#endif
  for (int operation; (operation = std::getchar()) != EOF;) {
    std::uint32_t length;
    if (!get_number(length)) return 2;
    std::string name(length, '\0');
    if (std::fread(name.data(), 1, length, stdin) != length) return 2;
    const answer found = ask(static_cast<char>(operation), name, base, d);
    put_number(found.size());
    for (const std::string& s : found) {
      put_number(s.size());
      std::fwrite(s.data(), 1, s.size(), stdout);
    }
    std::fflush(stdout);
  }
  return 0;
}
