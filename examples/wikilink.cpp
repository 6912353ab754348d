// [wikilink] Links between notes, found in text and rewritten. No file is touched.
#include <iostream>

#include "memoria_fs.hpp"

int main() {
  const std::string note =
      "See [[fsync|how to sync]] and ![[disk.png]],\n"
      "then [[rename#on Windows]]; `[[not this]]` is code.\n";

  for (const memoria::wikilink& link : memoria::wikilinks(note)) {  // one by one, nothing is allocated
    const auto at = memoria::position_of(note, link.offset);
    std::cout << at.line << ':' << at.column << ' ' << link.target << (link.embed ? " embedded" : "") << '\n';
  }

  // Every other byte stays: display text, heading, white space.
  std::cout << memoria::replace_wikilinks(note, [](const memoria::wikilink& link) -> std::optional<std::string> {
    if (link.note() != "rename") return std::nullopt;
    return "rename(2)";
  });

  // What the Python original's regular expression finds: code counts, too.
  std::cout << memoria::extract_wikilinks(note).size() << " by the old rules\n";
}

// Output:
// 1:5 fsync
// 1:31 disk.png embedded
// 2:6 rename#on Windows
// See [[fsync|how to sync]] and ![[disk.png]],
// then [[rename(2)#on Windows]]; `[[not this]]` is code.
// 4 by the old rules
