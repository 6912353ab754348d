// What confinement costs, against the least that could be done:  confine_speed [ROUNDS, default 200]
//   safe_article_path on an existing note / std::filesystem::weakly_canonical of the same path   at most 0.5
//   confined_dir::exists / a bare openat2 and close                                              at most 1.3
// Medians of rounds that take turns, one thread. Prints the figures; exit status 1 if one is above its limit and LIMITS
// is set in the environment (a busy machine fails nobody's build).
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memoria_fs.hpp>

namespace {

using memoria::path;

#ifdef __linux__
bool bare_openat2(int directory, const char* name) {
  struct {
    std::uint64_t flags, mode, resolve;
  } how = {O_PATH | O_CLOEXEC, 0, 0x08 | 0x02};  // BENEATH, NO_MAGICLINKS
  const long opened = ::syscall(437, directory, name, &how, sizeof how);
  if (opened == -1) return false;
  ::close(static_cast<int>(opened));
  return true;
}
#endif

constexpr int calls_in_a_round = 2000;

template <class F>
double microseconds(F&& f) {
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < calls_in_a_round; ++i) {
    if (!f()) std::exit(2);
  }
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count() / calls_in_a_round;
}

struct ratio {
  double ours, theirs;
};

template <class F, class G>
ratio compare(int rounds, F&& ours, G&& theirs) {
  std::vector<double> a, b;
  for (int i = 0; i < rounds; ++i) {
    a.push_back(microseconds(ours));
    b.push_back(microseconds(theirs));
  }
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return {a[a.size() / 2], b[b.size() / 2]};
}

int failed = 0;

void report(const char* what, const ratio& r, double limit) {
  std::printf("%-62s %7.2f us / %7.2f us = %.2f", what, r.ours, r.theirs, r.ours / r.theirs);
  if (limit > 0) std::printf("  (limit %.1f)%s", limit, r.ours / r.theirs > limit ? "  ABOVE" : "");
  std::printf("\n");
  if (limit > 0 && r.ours / r.theirs > limit) failed = 1;
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 200;
  const path top = std::filesystem::canonical(std::filesystem::temp_directory_path()) /
                   ("memoria-speed-" + std::to_string(std::time(nullptr)));
  const path vault = top / "vault";
  std::filesystem::create_directories(vault / "folder");
  std::ofstream(vault / "folder" / "note.md") << "x";
  std::filesystem::create_symlink("vault", top / "linked");
  std::filesystem::create_symlink("folder", vault / "to_folder");
  const auto article = [&](const char* link, const path& directory, const char* file) {
    return compare(rounds, [&] { return memoria::safe_article_path(link, directory).has_value(); },
                   [&] { return !std::filesystem::weakly_canonical(directory / file).empty(); });
  };
  report("safe_article_path, existing note / weakly_canonical", article("folder/note", vault, "folder/note.md"), 0.5);
  report("safe_article_path, missing note / weakly_canonical", article("folder/new", vault, "folder/new.md"), 0);
  report("safe_article_path, a link in the name / weakly_canonical",
         article("to_folder/note", vault, "to_folder/note.md"), 0);
  report("safe_article_path, a link in the directory / weakly_canonical",
         article("folder/note", top / "linked", "folder/note.md"), 0);
  std::filesystem::current_path(top);
  report("safe_article_path, relative directory / weakly_canonical", article("folder/note", "vault", "folder/note.md"),
         0);
#ifdef __linux__
  const memoria::confined_dir d(vault);
  const int fd = ::open(vault.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const auto exists = [&](const char* name) {
    return compare(rounds, [&] { return d.exists(name); }, [&] { return bare_openat2(fd, name); });
  };
  report("confined_dir::exists / bare openat2", exists("folder/note.md"), 1.3);
  memoria::detail::os::openat2_missing() = true;
  report("confined_dir::exists, walked / bare openat2", exists("folder/note.md"), 0);
  ::close(fd);
#endif
  std::filesystem::current_path("/");
  std::filesystem::remove_all(top);
  return failed != 0 && std::getenv("LIMITS") != nullptr ? 1 : 0;
}
