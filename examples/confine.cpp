// [confine] Names that a model or a stranger chose. None leads out of the directory, whoever changes it meanwhile.
#include <iostream>

#include "memoria_fs.hpp"

int main() {
  std::filesystem::create_directories("wiki");
  const memoria::confined_dir wiki("wiki");  // held open: links and renames under it lead nowhere else
  for (const char* name : {"concepts/fsync.md", "../passwd", "/etc/passwd", "concepts/../../passwd"}) {
    std::error_code ec;
    wiki.atomic_write_text(name, "text", ec);
    std::cout << name << ": " << (ec ? ec.message() : "written") << '\n';
  }
  for (const std::string& name : wiki.list("concepts")) std::cout << name << '\n';

  // For one moment, as a path: where a [[link]] leads, or nothing.
  std::cout << memoria::safe_article_path("concepts/fsync|shown", "wiki")->filename() << '\n';
  std::cout << memoria::safe_article_path("../../etc/passwd", "wiki").has_value() << '\n';
}

// Output:
// concepts/fsync.md: written
// ../passwd: name leads out of its directory
// /etc/passwd: name leads out of its directory
// concepts/../../passwd: name leads out of its directory
// fsync.md
// "fsync.md"
// 0
