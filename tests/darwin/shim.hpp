// Runs the header's branch for macOS on Linux: included before everything else, it brings in the system's headers, puts
// something in the place of what only macOS has, and then claims to be macOS. What the real system does it cannot show.
//   SHIM_NO_FULLFSYNC   F_FULLFSYNC fails with ENOTSUP, as on volumes that do not have it
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define F_FULLFSYNC 51

inline int full_syncs = 0;  // how often F_FULLFSYNC was asked for

inline int shim_fcntl(int fd, int command) {
  if (command != F_FULLFSYNC) return ::fcntl(fd, command);
  ++full_syncs;
#ifdef SHIM_NO_FULLFSYNC
  errno = ENOTSUP;
  return -1;
#else
  return ::fsync(fd);
#endif
}
inline int shim_fcntl(int fd, int command, int argument) { return ::fcntl(fd, command, argument); }
#define fcntl shim_fcntl

inline int renameatx_np(int from_fd, const char* from, int to_fd, const char* to, unsigned flags) {
  const unsigned exclusive = 4, swap = 2;  // RENAME_EXCL, RENAME_SWAP
  const unsigned linux_flags = (flags & exclusive ? 1u : 0u) | (flags & swap ? 2u : 0u);
  return static_cast<int>(::syscall(SYS_renameat2, from_fd, from, to_fd, to, linux_flags));
}

DOCTEST_TEST_CASE("the shim: F_FULLFSYNC was asked for whenever a file was synced" * doctest::test_suite("~last")) {
  DOCTEST_CHECK(full_syncs > 0);
}

#undef __linux__
#define __APPLE__ 1
