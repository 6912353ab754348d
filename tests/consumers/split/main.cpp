// Declarations only, as well: what is inline in the interface is linked twice.
#define MEMORIA_FS_DECLARATIONS_ONLY
#include <memoria_fs.hpp>

#include <cstdio>

int expectations_failed(const std::filesystem::path& directory);

int main() {
  const std::filesystem::path directory = "split_files";
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  memoria::locked_append_text(directory / "log", "entry\n");
  const int failed = expectations_failed(directory) + (memoria::read_text(directory / "log") == "entry\n" ? 0 : 1);
  std::printf("%d expectations failed\n", failed);
  return failed;
}
