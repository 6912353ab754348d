#include <cstdio>
#include <filesystem>

int first(const std::filesystem::path&);
int second(const std::filesystem::path&);

int main() {
  const std::filesystem::path directory = "two_units_files";
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  const int failed = first(directory) + second(directory);
  std::filesystem::remove_all(directory);
  std::printf("%d expectations failed\n", failed);
  return failed;
}
