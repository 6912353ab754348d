// [append] A log that many write. Entries never mix, and each is on disk when the call returns.
#include <iostream>
#include <thread>
#include <vector>

#include "memoria_fs.hpp"

int main() {
  std::vector<std::thread> writers;
  for (char name = 'a'; name < 'e'; ++name) {
    writers.emplace_back([name] {
      for (int i = 0; i < 10; ++i) memoria::locked_append_text("log.txt", std::string(99, name) + "\n");
    });
  }
  for (std::thread& writer : writers) writer.join();
  const std::string log = memoria::read_text("log.txt");
  bool whole = true;
  for (std::size_t at = 0; at < log.size(); at += 100) {
    whole = whole && log.compare(at, 100, std::string(99, log[at]) + "\n") == 0;
  }
  std::cout << log.size() / 100 << " entries, " << (whole ? "all whole" : "some torn") << '\n';

  // Somebody without manners was killed in the middle of a line: the next entry begins on its own all the same.
  memoria::atomic_write_text("torn.txt", "half a li");
  memoria::append_options lines;
  lines.whole_lines = true;
  memoria::locked_append_text("torn.txt", "a whole line", lines);
  std::cout << memoria::read_text("torn.txt");
}

// Output:
// 40 entries, all whole
// half a li
// a whole line
