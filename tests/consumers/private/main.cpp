// A program that uses both libraries, and the header under its own name besides.
#include <cstdio>
#include <memoria_fs.hpp>

std::size_t links_by_first(const std::filesystem::path& note);
std::size_t links_by_second(const std::filesystem::path& note);

int main() {
  memoria::atomic_write_text("private.md", "[[a]]");
  const std::size_t first = links_by_first("private.md"), second = links_by_second("private.md");
  std::printf("%zu and %zu links\n", first, second);
  return first == 2 && second == 3 ? 0 : 1;
}
