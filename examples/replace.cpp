// [replace] Files replaced whole: a reader, and whoever looks after a crash, sees the old text or the new.
#include <iostream>

#include "memoria_fs.hpp"

int main() {
  // Durable when it returns; two previous versions are kept beside it.
  memoria::write_options options;
  options.generations = 2;
  for (const char* text : {"one", "two", "three"}) memoria::atomic_write_text("note.txt", text, options);
  std::cout << memoria::read_text("note.txt") << ' ' << memoria::read_text("note.txt.gen-1") << '\n';

  // Larger than memory: written piece by piece, there when it is committed.
  memoria::atomic_file big("big.txt");
  for (int i = 0; i < 1000; ++i) big.write("a line\n");
  std::cout << "before commit: " << std::filesystem::exists("big.txt") << '\n';
  big.commit();
  std::cout << "after commit: " << std::filesystem::file_size("big.txt") << '\n';

  // Many files for little more than the price of one sync. Each is old or new; the batch is no transaction.
  memoria::write_batch batch;
  for (const char* name : {"a.txt", "b.txt", "c.txt"}) batch.add(name, "text");
  batch.commit();
  std::cout << batch.committed() << " files\n";

  std::cout << memoria::remove_stale_temporaries(".") << " left behind by killed writers\n";
}

// Output:
// three two
// before commit: 0
// after commit: 7000
// 3 files
// 0 left behind by killed writers
