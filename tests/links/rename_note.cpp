// rename_note DIRECTORY FROM TO: rename_article, for rename_crash.py. Exit status 0, or 1 and the reason.
#include <cstdio>

#include "memoria_fs.hpp"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  std::error_code ec;
  const memoria::rename_report report = memoria::rename_article(argv[1], argv[2], argv[3], ec);
  std::printf("%s, %zu links: %s\n", report.moved ? "moved" : "not moved", report.changes.size(), ec.message().c_str());
  return ec ? 1 : 0;
}
