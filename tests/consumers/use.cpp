// The program of every consumer: what a project's first use might look like.
#include <cstdio>
#include <memoria_fs.hpp>

int main() {
  memoria::atomic_write_text("consumer.txt", "[[note]]");
  const auto links = memoria::extract_wikilinks(memoria::read_text("consumer.txt"));
  std::printf("%s\n", links.at(0).c_str());
  return links.at(0) == "note" ? 0 : 1;
}
