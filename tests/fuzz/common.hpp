// What the fuzz targets share.
#ifndef MEMORIA_FS_TESTS_FUZZ_COMMON_HPP
#define MEMORIA_FS_TESTS_FUZZ_COMMON_HPP

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <unistd.h>

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

inline void put(const std::filesystem::path& file, std::string_view text) {
  if (std::FILE* f = std::fopen(file.c_str(), "wb")) {
    std::fwrite(text.data(), 1, text.size(), f);
    std::fclose(f);
  }
}

// A directory of this process, in memory where there is one.
inline std::filesystem::path place_for(const char* target) {
  namespace fs = std::filesystem;
  const fs::path top = fs::exists("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path();
  return top / ("memoria-fuzz-" + std::string(target) + "-" + std::to_string(::getpid()));
}

#endif
