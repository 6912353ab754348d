// Sequences of (create, link, rename, remove, write, open) in a scratch tree: wherever a name leads, the walk of our own and
// the kernel's openat2 say the same (the same file, or the same error), and nothing outside changes. Linux only.
// As a libFuzzer target run.sh runs it. With -DSTANDALONE a program of its own:  confine_fuzz [SEQUENCES, default 1000 or SEQUENCES of the environment] [FIRST]
#include <cstdio>
#include <cstdlib>
#include <memoria_fs.hpp>

#ifndef __linux__
int main() {
  std::puts("skipped: needs Linux's openat2");
  return 77;
}
#else

namespace {

namespace fs = std::filesystem;
namespace detail = memoria::detail;
using memoria::path;

struct scratch {
  path top = fs::temp_directory_path() / ("memoria-fuzz-" + std::to_string(::getpid()));
  scratch() {
    clear();
    fs::create_directories(top / "out" / "a");
    for (const char* file : {"out/b", "out/a/b"}) write(top / file);
  }
  ~scratch() {
    std::error_code ignored;
    fs::remove_all(top, ignored);
  }
  static void write(const path& file) {
    if (std::FILE* f = std::fopen(file.c_str(), "w")) {
      std::fputs("secret", f);
      std::fclose(f);
    }
  }
  void clear() const {
    fs::remove_all(top / "in");
    fs::create_directories(top / "in");
  }
};

const scratch& place() {
  static const scratch s;
  return s;
}

// Bytes become numbers, names and targets of links: few and short names, so that they meet.
struct source {
  const std::uint8_t* data;
  std::size_t size;

  unsigned number(unsigned below) {
    if (size == 0) return 0;
    --size;
    return *data++ % below;
  }
  std::string name() {
    static const char* const parts[] = {"a", "b",   "c",      "a",  "b",   "c",  "..",    "..", ".",
                                        "",  "a/b", "b/../a", "in", "out", "a/", "../in", "/"};
    std::string text;
    for (unsigned n = 1 + number(5); n > 0; --n) {
      text += parts[number(std::size(parts))];
      if (n > 1 || number(6) == 0) text += '/';
    }
    return text;
  }
  // A name that no step leads out of, for what the plain system calls do to the tree.
  std::string inner() {
    static const char* const parts[] = {"a", "b", "c", "a/a", "a/b", "b/a", "b/c", "a/b/c", "c/c", "c/a/b"};
    return parts[number(std::size(parts))];
  }
  std::string target() {
    const unsigned kind = number(12);
    const std::string text = name();
    if (kind == 0) return (place().top / "in").string() + "/" + text;
    return kind == 1 ? "/" + text : text.empty() ? "." : text;
  }
};

struct finding {
  std::uint64_t device = 0, inode = 0;
  std::string problem;
  bool operator==(const finding& o) const { return device == o.device && inode == o.inode && problem == o.problem; }
};

finding describe(const detail::status& s, const detail::os::info& i) {
  if (s.failed()) return {0, 0, s.code.message()};
  if (i.type == detail::os::kind::none)
    return {0, 0, std::make_error_code(std::errc::no_such_file_or_directory).message()};
  return {i.device, i.inode, ""};
}

finding by_kernel(const detail::confined_root& root, const std::string& name) {
  detail::status s;
  detail::os::handle h;
  detail::os::info i;
  if (!detail::os::open_beneath(root.top, name.c_str(), detail::os::opening::nothing, h, s)) std::exit(77);
  if (h) detail::os::get_info(h, i, s);
  return describe(s, i);
}

finding by_walk(const detail::confined_root& root, const std::string& name) {
  detail::status s;
  detail::place p;
  detail::confined_walk(root, name, {}).run(p, s);
  return describe(s, p.existing);
}

void check(bool holds, const char* what, const std::string& name, const finding& a = {}, const finding& b = {}) {
  if (holds) return;
  std::fprintf(stderr, "%s: \"%s\"\n  %llu %s\n  %llu %s\n", what, name.c_str(),
               static_cast<unsigned long long>(a.inode), a.problem.c_str(), static_cast<unsigned long long>(b.inode),
               b.problem.c_str());
  std::system(("find " + place().top.string() + " -printf '%i %P -> %l\\n' | sort -k2 >&2").c_str());
  std::abort();
}

std::string outside() {
  std::string all;
  for (const char* file : {"out/b", "out/a/b"}) all += memoria::read_text(place().top / file) + " ";
  return all + std::to_string(std::distance(fs::recursive_directory_iterator(place().top / "out"),
                                            fs::recursive_directory_iterator()));
}

void run_one(source bytes) {
  const path in = place().top / "in";
  place().clear();
  std::error_code ec;
  detail::status s;
  const auto root = detail::open_root(in, s);
  const memoria::confined_dir d(in, ec);
  static const std::string before = outside();
  memoria::write_options fast;
  fast.durable = memoria::durability::none;
  while (bytes.size > 0) {
    const unsigned what = bytes.number(12);
    detail::os::openat2_missing() = false;
    // The plain calls below follow links wherever they lead, so they are made where the parent is known to be inside.
    const auto parent_inside = [&](const std::string& name) { return d.exists(path(name).parent_path().string(), ec); };
    if (what == 0) {
      const std::string name = bytes.inner();
      if (parent_inside(name)) fs::create_directory(in / name, ec);
    } else if (what == 1) {
      d.atomic_write_text(bytes.inner(), "x", fast, ec);
    } else if (what < 5) {
      const std::string target = bytes.target(), name = bytes.inner();
      if (parent_inside(name)) fs::create_symlink(target, in / name, ec);
    } else if (what == 5) {
      const std::string from = bytes.inner(), to = bytes.inner();
      if (parent_inside(from) && parent_inside(to)) fs::rename(in / from, in / to, ec);
    } else if (what < 8) {  // what writes, through either back end
      const std::string name = bytes.name();
      detail::os::openat2_missing() = bytes.number(2) == 0;
      switch (bytes.number(3)) {
        case 0: d.atomic_write_text(name, "x", fast, ec); break;
        case 1: d.remove(name, ec); break;
        default: d.read_text(name, ec);
      }
      detail::os::openat2_missing() = false;
    } else {
      const std::string name = bytes.name();
      if (name.empty() || name[0] == '/') continue;
      const finding kernel = by_kernel(*root, name), walk = by_walk(*root, name);
      check(kernel == walk, "kernel and walk differ", name, kernel, walk);
    }
  }
  check(outside() == before, "the outside has changed", "");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  run_one({data, size});
  return 0;
}

#ifdef STANDALONE
int main(int argc, char** argv) {
  const char* const wanted = argc > 1 ? argv[1] : std::getenv("SEQUENCES");
  const unsigned long sequences = wanted != nullptr ? std::strtoul(wanted, nullptr, 10) : 1000,
                      first = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 0;
  for (unsigned long n = first; n < first + sequences; ++n) {
    std::uint64_t state = (n + 1) * 0x9E3779B97F4A7C15u;
    std::uint8_t bytes[400];
    for (std::uint8_t& b : bytes) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      b = static_cast<std::uint8_t>(state >> 32);
    }
    run_one({bytes, sizeof bytes});
  }
  std::printf("%lu sequences, kernel and walk agree\n", sequences);
  return 0;
}
#endif
#endif
