// Files beyond 2 GiB (sparse, so they take no room). A 32-bit program whose off_t has 32 bits cannot open them: it is told
// so, and the files stay as they are. With -D_FILE_OFFSET_BITS=64, and on every 64-bit system, they are files as any other.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <sys/types.h>
#include <unistd.h>

#include <cstdlib>
#include <memoria_fs.hpp>

namespace {

namespace fs = std::filesystem;
using memoria::path;

constexpr std::uintmax_t two_gib = std::uintmax_t{1} << 31;
constexpr bool small_offsets = sizeof(off_t) == 4;

bool as_promised(const std::error_code& ec) { return small_offsets ? ec == std::errc::value_too_large : !ec; }

struct directory {
  directory() { fs::create_directories(at); }
  ~directory() { fs::remove_all(at); }
  path operator/(const char* name) const { return at / name; }
  path at = fs::temp_directory_path() / ("memoria_fs-big-" + std::to_string(::getpid()));
};

std::uintmax_t size_of(const path& file) {  // by another program, whose offsets have 64 bits
  const path list = file.parent_path() / "sizes";
  REQUIRE(std::system(("stat -c %s '" + file.string() + "' > '" + list.string() + "'").c_str()) == 0);
  return std::stoull(memoria::read_text(list));
}

void make(const path& file, std::uintmax_t size) {
  REQUIRE(std::system(("truncate -s " + std::to_string(size) + " '" + file.string() + "'").c_str()) == 0);
}

std::string end_of(const path& file, std::size_t n) {
  const path list = file.parent_path() / "end";
  const std::string tail = "tail -c " + std::to_string(n) + " '" + file.string() + "' > '" + list.string() + "'";
  REQUIRE(std::system(tail.c_str()) == 0);
  return memoria::read_text(list);
}

}  // namespace

TEST_CASE("an entry goes to the end of a log of 3 GiB, or the error says why not") {
  const directory d;
  const path log = d / "log";
  const std::uintmax_t size = 3 * (two_gib / 2);
  make(log, size);
  std::error_code ec;
  memoria::append_options whole;
  whole.whole_lines = true;  // looks at the last byte
  memoria::locked_append_text(log, "entry\n", ec);
  CHECK(as_promised(ec));
  memoria::locked_append_text(log, "another", whole, ec);
  CHECK(as_promised(ec));
  CHECK(size_of(log) == (small_offsets ? size : size + 14));
  if (!small_offsets) CHECK(end_of(log, 15) == std::string(1, '\0') + "entry\nanother\n");

  memoria::confined_dir confined(d.at);
  confined.locked_append_text("log", "third\n", ec);
  CHECK(as_promised(ec));
  CHECK(confined.exists("log"));
}

TEST_CASE("an entry that would cross 2 GiB is there whole or not at all") {
  const directory d;
  const path log = d / "log";
  make(log, two_gib - 10);
  std::error_code ec;
  memoria::locked_append_text(log, "an entry of 24 characters", ec);
  if (small_offsets) {
    CHECK(ec == std::errc::file_too_large);
    CHECK(size_of(log) == two_gib - 10);
  } else {
    CHECK(!ec);
    CHECK(size_of(log) == two_gib + 15);
    CHECK(end_of(log, 25) == "an entry of 24 characters");
  }
}

TEST_CASE("a file of 3 GiB is replaced by a small one, or stays") {
  const directory d;
  const path file = d / "file";
  make(file, 3 * (two_gib / 2));
  std::error_code ec;
  memoria::atomic_write_text(file, "small", ec);
  CHECK(as_promised(ec));
  CHECK(size_of(file) == (small_offsets ? 3 * (two_gib / 2) : 5));
  CHECK(std::distance(fs::directory_iterator(d.at), fs::directory_iterator()) == 2);  // and no temporary file
}

TEST_CASE("what does not fit into memory is an error") {
  if (sizeof(void*) > 4) return;
  const directory d;
  make(d / "state.json", 3 * (two_gib / 2));
  std::error_code ec;
  const std::string text = memoria::read_text(d / "state.json", ec);
  CHECK(text.empty());
  CHECK(ec == (small_offsets ? std::errc::value_too_large : std::errc::file_too_large));
  memoria::load_json_with_recovery(d / "state.json", nullptr, ec);
  CHECK(ec == (small_offsets ? std::errc::value_too_large : std::errc::file_too_large));
  CHECK(size_of(d / "state.json") == 3 * (two_gib / 2));  // not taken for corrupt
}
