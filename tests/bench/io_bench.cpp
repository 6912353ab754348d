// Durable writes against bare system calls, interleaved in one run so that a noisy machine hurts both alike.
//
//   c++ -std=c++17 -O2 -I../.. io_bench.cpp -o io_bench && ./io_bench DIR [rounds [directory of fs_utils.py]]
//
// DIR has to be on a disk (on tmpfs a sync costs nothing). Prints medians in microseconds and the median of the ratios of
// neighbouring runs, with its quartiles. The bare side makes the same system calls as the promise needs: open O_EXCL,
// write, fsync, rename, fsync directory; for an append: open, flock, write, unlock, fdatasync (the best of the variants:
// syncs of waiting writers overlap). Appends are also compared with the Python original, in processes that wait until
// they are told to begin.

#include "memoria_fs.hpp"

#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>

namespace fs = std::filesystem;
using clock_type = std::chrono::steady_clock;

static double seconds(const std::function<void()>& work) {
  const auto start = clock_type::now();
  work();
  return std::chrono::duration<double>(clock_type::now() - start).count();
}

static double quantile(std::vector<double> v, double q) {
  std::sort(v.begin(), v.end());
  return v[static_cast<std::size_t>(q * static_cast<double>(v.size() - 1))];
}

static void compare(const char* what, int rounds, const std::function<void()>& bare, const std::function<void()>& ours,
                    const std::function<void()>& python = {}) {
  std::vector<double> a, b, ratio, slower;
  for (int i = -3; i < rounds; ++i) {
    const bool bare_first = i % 2 == 0;
    double x = 0, y = 0;
    if (bare_first) x = seconds(bare);
    y = seconds(ours);
    if (!bare_first) x = seconds(bare);
    const double z = python ? seconds(python) : 0;
    if (i < 0) continue;  // warm-up
    slower.push_back(z / y);
    a.push_back(x), b.push_back(y), ratio.push_back(y / x);
  }
  std::printf("%-34s bare %9.1f us  memoria %9.1f us  ratio of medians %.3f  median ratio %.3f [%.3f, %.3f]\n", what,
              1e6 * quantile(a, .5), 1e6 * quantile(b, .5), quantile(b, .5) / quantile(a, .5), quantile(ratio, .5),
              quantile(ratio, .25), quantile(ratio, .75));
  if (python) {
    std::printf("%-34s fs_utils.py takes %.2f times as long as memoria [%.2f, %.2f]\n", "", quantile(slower, .5),
                quantile(slower, .25), quantile(slower, .75));
  }
  std::fflush(stdout);
}

static void check(bool ok, const char* what) {
  if (ok) return;
  std::perror(what);
  std::exit(1);
}

static void bare_replace(const fs::path& dir, const char* name, const std::string& content) {
  const int d = open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const int f = openat(d, ".bare.tmp", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  check(f >= 0, "open");
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = write(f, content.data() + done, content.size() - done);
    check(n > 0, "write");
    done += static_cast<std::size_t>(n);
  }
  check(fsync(f) == 0, "fsync");
  close(f);
  check(renameat(d, ".bare.tmp", d, name) == 0, "rename");
  check(fsync(d) == 0, "fsync directory");
  close(d);
}

static void bare_append(const fs::path& log, const std::string& entry) {
  const int f = open(log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  check(f >= 0 && flock(f, LOCK_EX) == 0, "flock");
  check(write(f, entry.data(), entry.size()) == static_cast<ssize_t>(entry.size()), "write");
  flock(f, LOCK_UN);
  check(fdatasync(f) == 0, "fdatasync");
  close(f);
}

static void in_processes(int count, const std::function<void()>& work) {
  for (int i = 0; i < count; ++i) {
    if (fork() == 0) {
      work();
      _exit(0);
    }
  }
  for (int i = 0; i < count; ++i) {
    int status = 0;
    wait(&status);
    check(status == 0, "worker");
  }
}

// Processes that append with the Python original whenever they are told to.
class python_writers {
 public:
  python_writers(int count, const char* module, const fs::path& log, std::size_t size) {
    static const char* const program =
        "import sys, os\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import fs_utils\n"
        "log, entry = Path(sys.argv[2]), 'e' * int(sys.argv[3])\n"
        "os.write(1, b'.')\n"
        "for n in sys.stdin:\n"
        "    for _ in range(int(n)):\n"
        "        fs_utils.locked_append_text(log, entry)\n"
        "    os.write(1, b'.')\n";
    for (int i = 0; i < count; ++i) {
      int in[2], out[2];
      check(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0, "pipe");
      if (fork() == 0) {
        dup2(in[0], 0), dup2(out[1], 1);
        execlp("python3", "python3", "-B", "-u", "-c", program, module, log.c_str(), std::to_string(size).c_str(),
               nullptr);
        _exit(1);
      }
      close(in[0]), close(out[1]);
      pipes_.push_back({in[1], out[0]});
    }
    wait_for_all();
  }
  ~python_writers() {
    for (const auto& p : pipes_) close(p.first), close(p.second);
    for (std::size_t i = 0; i < pipes_.size(); ++i) wait(nullptr);
  }
  void append(int entries) {
    const std::string order = std::to_string(entries) + "\n";
    for (const auto& p : pipes_) check(write(p.first, order.data(), order.size()) > 0, "python3");
    wait_for_all();
  }

 private:
  void wait_for_all() {
    char done;
    for (const auto& p : pipes_) check(read(p.second, &done, 1) == 1, "python3 with fs_utils.py");
  }
  std::vector<std::pair<int, int>> pipes_;
};

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: io_bench DIR [rounds]\n"), 2;
  const fs::path dir = fs::path(argv[1]) / "memoria-io-bench";
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 300;
  fs::create_directories(dir);
  const std::string small(4096, 'x'), large(1 << 20, 'y');

  compare("replace 4 KiB", rounds, [&] { bare_replace(dir, "a", small); },
          [&] { memoria::atomic_write_text(dir / "b", small); });
  compare("replace 1 MiB", rounds, [&] { bare_replace(dir, "a", large); },
          [&] { memoria::atomic_write_text(dir / "b", large); });

  std::string state = "{";
  for (int i = 0; i < 60; ++i)
    state += (i ? ", \"key-" : "\"key-") + std::to_string(i) + "\": \"some value of a state\"";
  state += "}";
  memoria::save_json(dir / "s.json", memoria::json::parse(state));
  const std::string state_text = memoria::read_text(dir / "s.json");
  compare("update_json of 2 KiB", rounds, [&] { bare_replace(dir, "a", state_text); },
          [&] { memoria::update_json(dir / "s.json", nullptr, [](memoria::json& j) { j["key-7"] = "changed"; }); });

  const int batches = std::max(5, rounds / 30);
  compare("100 files of 4 KiB: batch / singles", batches,
          [&] { for (int i = 0; i < 100; ++i) memoria::atomic_write_text(dir / ("f" + std::to_string(i)), small); },
          [&] {
            memoria::write_batch batch;
            for (int i = 0; i < 100; ++i) batch.add(dir / ("f" + std::to_string(i)), small);
            batch.commit();
          });

  const std::string entry(300, 'e');
  std::unique_ptr<python_writers> one, eight;
  if (argc > 3) {
    one = std::make_unique<python_writers>(1, argv[3], dir / "log-c", entry.size());
    eight = std::make_unique<python_writers>(8, argv[3], dir / "log-c", entry.size());
  }
  const auto of = [&](python_writers* writers, int entries) {
    return writers ? std::function<void()>([=] { writers->append(entries); }) : std::function<void()>();
  };
  compare("append 300 B, one process", rounds, [&] { bare_append(dir / "log-a", entry); },
          [&] { memoria::locked_append_text(dir / "log-b", entry); }, of(one.get(), 1));
  compare(
      "append 300 B x 200 x 8 processes", std::max(5, rounds / 30),
      [&] {
        in_processes(8, [&] {
          for (int i = 0; i < 200; ++i) bare_append(dir / "log-a", entry);
        });
      },
      [&] {
        in_processes(8, [&] {
          for (int i = 0; i < 200; ++i) memoria::locked_append_text(dir / "log-b", entry);
        });
      },
      of(eight.get(), 200));
  fs::remove_all(dir);
}
