// An attacker who swaps things for symbolic links to the outside, against readers, writers and appenders:
//   confine_races kernel|walk|weak threads|steps [ATTEMPTS, default 20000 or RACES of the environment]
// kernel and walk: the two back ends of confined_dir; not one attempt may touch the outside. weak: what is usually done
// (resolve the path, see that it is inside, open it by its name); it must be caught, or this test proves nothing.
// threads: the attacker is a thread and swaps as fast as it can. steps: the attacker is in the seam of the library and
// swaps right before the n-th system call, for every n, and back before one of the next, so that no window is too small.
// Linux only: elsewhere nothing swaps two names in one step.
#define DOCTEST_CONFIG_DISABLE  // the seam is wanted, the cases are not
#include <doctest/doctest.h>
#define MEMORIA_FS_TESTS
#include <memoria_fs.hpp>

#ifndef __linux__
int main() {
  std::puts("skipped: needs Linux's RENAME_EXCHANGE");
  return 77;
}
#else
#include <atomic>
#include <map>

namespace {

using memoria::path;
namespace fs = std::filesystem;

void put(const path& file, std::string_view text) { memoria::tests::put(file, text); }
std::string get(const path& file) { return memoria::tests::contents(file); }

// The outside has the names of the inside, and every file in it says "secret".
struct scene {
  path top = fs::canonical(fs::temp_directory_path()) / ("memoria-races-" + std::to_string(::getpid()));
  path inside = top / "inside", outside = top / "outside";
  std::vector<std::string> before;

  scene() {
    for (const path& p : {inside / "swap", inside / "a" / "b", outside / "a" / "b"}) fs::create_directories(p);
    for (const path& p :
         {outside / "note", outside / "log", outside / "only_outside", outside / "a" / "note", top / "note"})
      put(p, "secret");
    for (const path& p : {inside / "swap" / "note", inside / "swap" / "log", inside / "file", inside / "log",
                          inside / "a" / "note", inside / "note"})
      put(p, "inside");
    fs::create_symlink("../outside", inside / "swap_link");
    fs::create_symlink("../outside/note", inside / "file_link");
    fs::create_symlink("../outside/log", inside / "log_link");
    fs::create_symlink("swap", inside / "via");
    before = snapshot();
  }
  ~scene() {
    std::error_code ignored;
    fs::remove_all(top, ignored);
  }
  std::vector<std::string> snapshot() const {  // what is outside, but for the directory that is moved there and back
    std::vector<std::string> all;
    for (const auto& e : fs::recursive_directory_iterator(outside)) {
      const std::string name = e.path().lexically_relative(outside).string();
      if (name.compare(0, 5, "moved") == 0) continue;
      all.push_back(name + "=" + (e.is_regular_file() ? get(e.path()) : ""));
    }
    std::sort(all.begin(), all.end());
    all.push_back(get(top / "note"));
    return all;
  }
};

void exchange(const path& a, const path& b) { ::syscall(SYS_renameat2, AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), 2u); }

constexpr unsigned swaps = 5;

// Swaps in one step, and in the old way (away, then the other in its place); moves a directory out and back again.
void swap(const scene& s, unsigned which, bool back) {
  const path &in = s.inside, b = in / "a" / "b", moved = s.outside / "moved";
  switch (which) {
    case 0: return exchange(in / "swap", in / "swap_link");
    case 1: return exchange(in / "file", in / "file_link");
    case 2: return exchange(in / "log", in / "log_link");
    case 3: ::rename((back ? moved : b).c_str(), (back ? b : moved).c_str()); return;
    default:
      ::rename((in / (back ? "swap" : "swap_link")).c_str(), (in / (back ? "swap_link" : "away_link")).c_str());
      ::rename((in / (back ? "away" : "swap")).c_str(), (in / (back ? "swap" : "away")).c_str());
      if (!back) ::rename((in / "away_link").c_str(), (in / "swap").c_str());
  }
}

// A write whose target becomes a link at the last moment replaces the link, which is right; the attacker makes a new one.
void repair(const scene& s) {
  for (const char* name : {"file", "log"}) {
    const path file = s.inside / name, link = s.inside / (std::string(name) + "_link");
    if (fs::is_symlink(fs::symlink_status(link))) continue;
    fs::remove(link);
    fs::create_symlink(std::string("../outside/") + (name[0] == 'f' ? "note" : "log"), link);
    if (!fs::is_regular_file(fs::symlink_status(file))) {
      fs::remove(file);
      put(file, "inside");
    }
  }
}

void attack(const scene& s, const std::atomic<bool>& stop) {
  for (unsigned n = 0; !stop; ++n) {
    const unsigned which = n / 64 % swaps;  // one for a while: the quicker, the more windows are met
    if (n % 64 == 0) repair(s);
    swap(s, which, false);
    swap(s, which, true);
  }
}

const char* const names[] = {"swap/note",   "file",       "via/note", "swap/../swap/note", "a/b/../../note",
                             "a/b/../note", "swap/./log", "log",      "./swap//note"};

struct tally {
  long leaks = 0;
  std::map<std::string, long> outcomes;
  void leak(const char* what, const std::string& name) {
    if (++leaks <= 3) std::printf("LEAK: %s %s\n", what, name.c_str());
  }
  void outcome(char operation, const std::error_code& ec) {
    ++outcomes[std::string(1, operation) + " " + (ec ? ec.message() : "done")];
  }
};

// One attempt with the functions under test.
void attempt(const memoria::confined_dir& d, unsigned long n, tally& t) {
  static const memoria::write_options write = [] {
    memoria::write_options o;
    o.durable = memoria::durability::none;
    return o;
  }();
  static const memoria::append_options append = [] {
    memoria::append_options o;
    o.durable = memoria::durability::none;
    return o;
  }();
  const std::string name = names[n / 8 % std::size(names)];
  std::error_code ec;
  switch (n % 8) {
    case 0:
    case 1:
    case 2:
      if (d.read_text(name, ec) == "secret") t.leak("read", name);
      return t.outcome('r', ec);
    case 3: d.atomic_write_text(name, "inside", write, ec); return t.outcome('w', ec);
    case 4: d.locked_append_text(name, "!", append, ec); return t.outcome('a', ec);
    case 5:
      if (d.exists("swap/only_outside", ec)) t.leak("exists", name);
      return t.outcome('e', ec);
    case 6:
      for (const std::string& found : d.list(n % 16 == 6 ? "swap" : "via/", ec)) {
        if (found == "only_outside") t.leak("list", name);
      }
      return t.outcome('l', ec);
    default: d.remove("swap/only_outside", ec); return t.outcome('d', ec);
  }
}

// The same with what is usually done.
void weak_attempt(const path& inside, unsigned long n, tally& t) {
  const std::string name = names[n / 8 % std::size(names)];
  std::error_code ec;
  std::string checked;
  const std::string prefix = inside.string() + "/";
  memoria::detail::os::resolve(checked, (inside / name).native());
  if (checked.compare(0, prefix.size(), prefix) != 0) return t.outcome('-', ec);
  if (memoria::read_text(inside / name, ec) == "secret") t.leak("read", name);
  t.outcome('r', ec);
}

// The attacker in the seam: before call number `first` it swaps, before call number `second` it swaps back.
struct step_attack {
  const scene* s;
  unsigned which, first, second, calls = 0;
  bool swapped = false;
};
step_attack current;

memoria::detail::os::verdict step(const memoria::detail::os::event&) {
  const unsigned call = current.calls++;
  if (call == current.first) swap(*current.s, current.which, false), current.swapped = true;
  if (call == current.second && current.swapped) swap(*current.s, current.which, true), current.swapped = false;
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view way = argc > 1 ? argv[1] : "kernel", how = argc > 2 ? argv[2] : "threads";
  const char* const wanted = argc > 3 ? argv[3] : std::getenv("RACES");
  unsigned long attempts = wanted != nullptr ? std::strtoul(wanted, nullptr, 10) : 20000;
  if (way == "weak" && how == "threads") attempts *= 100;  // ends with the first leak, which luck may delay
  const scene s;
  if (way != "kernel") memoria::detail::os::openat2_missing() = true;
  const memoria::confined_dir d(s.inside);
  const auto once = [&](unsigned long n, tally& t) { way == "weak" ? weak_attempt(s.inside, n, t) : attempt(d, n, t); };
  tally tallies[2];
  if (how == "steps") {
    unsigned long n = 0;
    for (unsigned long done = 0; done < attempts; ++n) {  // for each operation, name and swap, every pair of calls
      for (unsigned first = 0, most = 1; first < most && done < attempts; ++first) {
        for (unsigned second = first + 1; second <= most && done < attempts; ++second, ++done) {
          current = {&s, static_cast<unsigned>(n / (8 * std::size(names)) % swaps), first, second};
          memoria::detail::os::seam() = step;
          once(n, tallies[0]);
          memoria::detail::os::seam() = nullptr;
          if (current.swapped) swap(s, current.which, true);
          repair(s);
          if (current.calls > most) most = current.calls;
        }
      }
    }
    std::printf("%lu of %lu combinations\n", n, 8ul * std::size(names) * swaps);
  } else {
    std::atomic<bool> stop{false};
    std::thread attacker([&] { attack(s, stop); });
    std::vector<std::thread> workers;
    for (unsigned long w = 0; w < 2; ++w) {
      workers.emplace_back([&, w] {
        for (unsigned long n = w; n < attempts && (way != "weak" || tallies[w].leaks == 0); n += 2) {
          once(n / 2 + (n / 2 / 8) % 8, tallies[w]);  // so that each thread does everything
        }
      });
    }
    for (std::thread& w : workers) w.join();
    stop = true;
    attacker.join();
  }
  const bool changed = s.snapshot() != s.before;
  if (changed) std::puts("LEAK: the outside has changed");
  tally all = tallies[0];
  all.leaks += tallies[1].leaks;
  for (const auto& [what, count] : tallies[1].outcomes) all.outcomes[what] += count;
  std::printf("%.*s: %lu attempts, %ld leaks\n", static_cast<int>(way.size()), way.data(), attempts, all.leaks);
  for (const auto& [what, count] : all.outcomes) std::printf("  %8ld  %s\n", count, what.c_str());
  const bool leaked = all.leaks > 0 || changed;
  return leaked == (way == "weak") ? 0 : 1;
}
#endif
