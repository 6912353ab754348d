// Every operation with every system call failing, one at a time, all of one kind, or all from some call on: what is
// there afterwards is the state before or after, file by file and whole, nothing else lies about, and "no error" means
// done. The calls are made to fail by the seam of detail::os, as the header's own test cases do. Then the rare ways
// that need more than one failure, or a neighbour between two calls, one by one. POSIX only.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#define MEMORIA_FS_TESTS
#include <atomic>
#include <csignal>
#include <ctime>
#include <functional>
#include <map>
#include <memoria_fs.hpp>
#include <new>
#include <optional>

namespace {

std::atomic<std::size_t> allocations = 0;

}  // namespace

// Not inlined, or g++ takes free() for a mistake.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace {

// Before anything else has asked for the category.
const std::size_t allocated_for_a_code = [] {
  const std::size_t before = allocations;
  static_cast<void>(memoria::make_error_code(memoria::errc::not_durable));
  static_cast<void>(memoria::link_graph().failures());
  return allocations - before;
}();

namespace fs = std::filesystem;
using memoria::json;
using memoria::path;
namespace os = memoria::detail::os;
using memoria::tests::list;
using memoria::tests::put;
using memoria::tests::scratch;

// ---- what fails

enum class way {
  one,      // only the n-th call
  kind,     // the n-th call and every later one of the same name: the file system has no such call
  onwards,  // the n-th call and all that follow: the device is gone
};

struct plan {
  long at = -1;
  int error = 0;
  way how = way::one;
  std::size_t at_most = SIZE_MAX;
};
plan now;
long seen = 0;
bool unlink_struck = false;
std::string struck;

// A system that lacks a call: what is done instead can fail, too.
struct lack {
  const char* call;
  int error;
};
const lack lacks[] = {{"", 0}, {"openat2", EPERM}, {"link", EPERM}};
lack missing = lacks[0];
bool missed = false;

os::verdict judge(const os::event& e) {
  if (std::string_view(e.call) == missing.call) return missed = true, os::verdict{missing.error, SIZE_MAX};
  const long number = seen++;
  if (now.at_most != SIZE_MAX) return {0, now.at_most};
  if (number == now.at) struck = e.call;
  const bool hit = number == now.at || (number > now.at && now.at >= 0 &&
                                        (now.how == way::onwards || (now.how == way::kind && struck == e.call)));
  if (!hit) return {};
  if (std::string_view(e.call) == "unlink" || std::string_view(e.call) == "rmdir") unlink_struck = true;
  return {now.error, SIZE_MAX};
}

// ---- what is tried

const json state = json::object({{"n", 1}, {"text", "state"}});

memoria::write_options with_generations() {
  memoria::write_options options;
  options.generations = 2;
  return options;
}

struct operation {
  const char* name;
  void (*prepare)(const path& dir);
  std::string (*run)(const path& dir, std::error_code& ec);  // gives what it read
  bool undone = true;    // a failure leaves everything as it was; false: each file is old or new
  bool complete = true;  // no error means that all was done; false: what cannot be looked at is left alone
};

void nothing(const path&) {}
void a_file(const path& dir) { put(dir / "f", "old"); }
void two_generations(const path& dir) {
  put(dir / "f", "old");
  put(dir / "f.gen-1", "older");
  put(dir / "f.gen-2", "oldest");
}
void two_equal_generations(const path& dir) {  // as where a writer has failed after keeping one
  put(dir / "f", "old");
  put(dir / "f.gen-1", "old");
  put(dir / "f.gen-2", "oldest");
}
void an_empty_file(const path& dir) { put(dir / "f", ""); }
void a_linked_file(const path& dir) {
  fs::create_directory(dir / "real");
  put(dir / "real" / "f", "old");
  fs::create_symlink("real/f", dir / "f");
}
void a_directory(const path& dir) {
  fs::create_directory(dir / "d");
  put(dir / "d" / "f", "old");
  fs::create_symlink("d", dir / "link");
}
void a_state(const path& dir) { put(dir / "s.json", state.dump(2)); }
void a_corrupt_state(const path& dir) { put(dir / "s.json", "{\"n\": 1, "); }
void a_corrupt_state_with_generations(const path& dir) {
  put(dir / "s.json", "{");
  put(dir / "s.json.gen-1", "[");
  put(dir / "s.json.gen-2", state.dump(2));
}
void a_vault(const path& dir) {
  fs::create_directory(dir / "sub");
  put(dir / "a.md", "# A\n[[b]] and [[sub/c#x|see]]\n");
  put(dir / "b.md", "[[a]] [[missing]] `[[a]]`\n");
  put(dir / "sub" / "c.md", "---\naliases: [sea]\n---\n[[../b]] ![[a]]\n");
  put(dir / "sub" / "picture.png", "png");
}
void litter(const path& dir) {
  put(dir / "f", "kept");
  put(dir / ".memoria-0123456789abcdef.tmp", "left by somebody who was killed");
}

const json fallback = json("fallback");
memoria::recovery_options quiet() {
  memoria::recovery_options options;
  options.reporter = [](const memoria::recovery_report&) {};
  return options;
}
const auto count_up = [](json& s) { s["n"] = s.value("n", 0) + 1; };
memoria::update_options quiet_update() {
  memoria::update_options options;
  options.recovery = quiet();
  return options;
}

const operation operations[] = {
    {"read_text", a_file, [](const path& d, std::error_code& ec) { return memoria::read_text(d / "f", ec); }},
    {"atomic_write_text, new", nothing,
     [](const path& d, std::error_code& ec) { return memoria::atomic_write_text(d / "f", "new", ec), std::string(); }},
    {"atomic_write_text, existing", a_file,
     [](const path& d, std::error_code& ec) { return memoria::atomic_write_text(d / "f", "new", ec), std::string(); }},
    {"atomic_write_text, in new directories", nothing,
     [](const path& d, std::error_code& ec) {
       return memoria::atomic_write_text(d / "x" / "y" / "f", "new", ec), std::string();
     }},
    {"atomic_write_text, through a link", a_linked_file,
     [](const path& d, std::error_code& ec) { return memoria::atomic_write_text(d / "f", "new", ec), std::string(); }},
    {"atomic_write_text, generations", two_generations,
     [](const path& d, std::error_code& ec) {
       return memoria::atomic_write_text(d / "f", "new", with_generations(), ec), std::string();
     },
     false},
    {"atomic_write_text, generation kept already", two_equal_generations,
     [](const path& d, std::error_code& ec) {
       return memoria::atomic_write_text(d / "f", "new", with_generations(), ec), std::string();
     },
     false, false},  // what cannot be compared is kept once more
    {"atomic_write_text, not over another", nothing,
     [](const path& d, std::error_code& ec) {
       memoria::write_options options;
       options.overwrite = false;
       return memoria::atomic_write_text(d / "f", "new", options, ec), std::string();
     }},
    {"atomic_write_text, data only, mode given", a_file,
     [](const path& d, std::error_code& ec) {
       memoria::write_options options;
       options.durable = memoria::durability::data;
       options.permissions = fs::perms(0600);
       return memoria::atomic_write_text(d / "f", "new", options, ec), std::string();
     }},
    {"atomic_file", a_file,
     [](const path& d, std::error_code& ec) {
       memoria::atomic_file out(d / "f", ec);
       for (int i = 0; i < 3 && !ec; ++i) out.write("new ", ec);
       if (!ec) out.commit(ec);
       DOCTEST_CHECK(!out.is_open());
       return std::string();
     }},
    {"write_batch", a_directory,
     [](const path& d, std::error_code& ec) {
       memoria::write_batch batch;
       for (const char* name : {"d/f", "g", "x/h"}) {
         if (!ec) batch.add(d / name, "new", ec);
       }
       if (!ec) batch.commit(ec);
       return std::string();
     },
     false},
    {"remove_stale_temporaries", litter,
     [](const path& d, std::error_code& ec) { return memoria::remove_stale_temporaries(d, ec), std::string(); }, false,
     false},
    {"file_lock", nothing,
     [](const path& d, std::error_code& ec) {
       const memoria::file_lock lock(d / "l", ec);
       DOCTEST_CHECK((lock.owns_lock() == !ec || now.error == EAGAIN));
       return std::string();
     },
     false},
    {"file_lock, shared, with a deadline", a_file,
     [](const path& d, std::error_code& ec) {
       memoria::lock_options options;
       options.mode = memoria::lock_mode::shared;
       options.timeout = std::chrono::milliseconds(1);
       options.create = false;
       const memoria::file_lock lock(d / "f", options, ec);
       DOCTEST_CHECK((lock.owns_lock() == !ec || now.error == EAGAIN));
       return std::string();
     }},
    {"locked_append_text, new", nothing,
     [](const path& d, std::error_code& ec) {
       return memoria::locked_append_text(d / "log", "entry\n", ec), std::string();
     }},
    {"locked_append_text, in a new directory", nothing,
     [](const path& d, std::error_code& ec) {
       return memoria::locked_append_text(d / "x" / "log", "entry\n", ec), std::string();
     }},
    {"locked_append_text, existing", a_file,
     [](const path& d, std::error_code& ec) {
       return memoria::locked_append_text(d / "f", "entry\n", ec), std::string();
     }},
    {"locked_append_text, empty", an_empty_file,
     [](const path& d, std::error_code& ec) {
       return memoria::locked_append_text(d / "f", "entry\n", ec), std::string();
     }},
    {"locked_append_text, whole lines", a_file,
     [](const path& d, std::error_code& ec) {
       memoria::append_options options;
       options.whole_lines = true;
       options.timeout = std::chrono::seconds(1);
       return memoria::locked_append_text(d / "f", "entry", options, ec), std::string();
     }},
    {"confined read_text", a_directory,
     [](const path& d, std::error_code& ec) {
       const memoria::confined_dir root(d, ec);
       return ec ? std::string() : root.read_text("link/f", ec);
     }},
    {"confined atomic_write_text", a_directory,
     [](const path& d, std::error_code& ec) {
       const memoria::confined_dir root(d, ec);
       if (!ec) root.atomic_write_text("link/f", "new", ec);
       return std::string();
     }},
    {"confined atomic_write_text, in new directories", nothing,
     [](const path& d, std::error_code& ec) {
       const memoria::confined_dir root(d, ec);
       if (!ec) root.atomic_write_text("x/y/f", "new", ec);
       return std::string();
     }},
    {"confined locked_append_text", a_directory,
     [](const path& d, std::error_code& ec) {
       const memoria::confined_dir root(d, ec);
       if (!ec) root.locked_append_text("link/f", "entry\n", ec);
       return std::string();
     }},
    {"confined locked_append_text, in a new directory", nothing,
     [](const path& d, std::error_code& ec) {
       const memoria::confined_dir root(d, ec);
       if (!ec) root.locked_append_text("x/log", "entry\n", ec);
       return std::string();
     }},
    {"confined exists and list", a_directory,
     [](const path& d, std::error_code& ec) {
       const memoria::confined_dir root(d, ec);
       std::string found;
       if (!ec) found = root.exists("link/f", ec) ? "there" : "missing";
       if (!ec) {
         for (const std::string& name : root.list("link", ec)) found += " " + name;
       }
       return ec ? std::string() : found;
     }},
    {"confined remove", a_directory,
     [](const path& d, std::error_code& ec) {
       const memoria::confined_dir root(d, ec);
       if (!ec) root.remove("link/f", ec);
       return std::string();
     }},
    {"safe_article_path", a_vault,
     [](const path& d, std::error_code& ec) {
       const path p = memoria::require_article_path("sub/../a", d, ec);
       return ec ? std::string() : p.filename().string();
     }},
    {"load_json", a_state,
     [](const path& d, std::error_code& ec) { return memoria::load_json(d / "s.json", ec).dump(); }},
    {"load_json_with_recovery", a_state,
     [](const path& d, std::error_code& ec) {
       return memoria::load_json_with_recovery(d / "s.json", fallback, quiet(), ec).dump();
     }},
    {"load_json_with_recovery, corrupt", a_corrupt_state,
     [](const path& d, std::error_code& ec) {
       memoria::recovery_options options = quiet();
       options.max_backups = 1;
       return memoria::load_json_with_recovery(d / "s.json", fallback, options, ec).dump();
     },
     false},
    {"load_json_with_recovery, corrupt, with generations", a_corrupt_state_with_generations,
     [](const path& d, std::error_code& ec) {
       return memoria::load_json_with_recovery(d / "s.json", fallback, quiet(), ec).dump();
     },
     false},
    {"save_json", a_state,
     [](const path& d, std::error_code& ec) {
       return memoria::save_json(d / "s.json", json("new"), ec), std::string();
     }},
    {"update_json", a_state,
     [](const path& d, std::error_code& ec) {
       return memoria::update_json(d / "s.json", json::object(), count_up, quiet_update(), ec), std::string();
     }},
    {"update_json, new", nothing,
     [](const path& d, std::error_code& ec) {
       return memoria::update_json(d / "s.json", json::object(), count_up, quiet_update(), ec), std::string();
     }},
    {"update_json, corrupt", a_corrupt_state_with_generations,
     [](const path& d, std::error_code& ec) {
       return memoria::update_json(d / "s.json", json::object(), count_up, quiet_update(), ec), std::string();
     },
     false},
    {"snapshot and save_json_if_unchanged", a_state,
     [](const path& d, std::error_code& ec) {
       memoria::json_snapshot snapshot = memoria::load_json_snapshot(d / "s.json", fallback, quiet(), ec);
       if (!ec)
         DOCTEST_CHECK(
             (memoria::save_json_if_unchanged(d / "s.json", snapshot, json("new"), ec) || ec || struck != ""));
       return std::string();
     },
     false},
    {"link_graph", a_vault,
     [](const path& d, std::error_code& ec) {
       memoria::graph_options options;
       options.check_anchors = true;
       const memoria::link_graph graph(d, options, ec);
       if (!graph.failures().empty()) ec = graph.failures().front().code;  // a note is missing in it
       return ec ? std::string()
                 : std::to_string(graph.notes().size()) + " notes, " + std::to_string(graph.links().size()) +
                       " links, broken " + std::to_string(graph.count(memoria::link_status::broken));
     }},
    {"count_inbound_links", a_vault,
     [](const path& d, std::error_code& ec) {
       return std::to_string(memoria::count_inbound_links("a", d, d / "sub" / "c.md", ec));
     }},
    {"rename_article", a_vault,
     [](const path& d, std::error_code& ec) { return memoria::rename_article(d, "a", "sub/new", ec), std::string(); },
     false},
    {"rename_article, letters only", a_vault,
     [](const path& d, std::error_code& ec) { return memoria::rename_article(d, "a", "A", ec), std::string(); }, false},
};

// ---- what is looked at

using tree = std::map<std::string, std::string>;

// Everything below `dir` but lock files, which stay. Backups go by the time of day: here by "bak".
tree look(const path& dir) {
  tree all;
  for (const auto& entry : fs::recursive_directory_iterator(dir)) {
    std::string name = entry.path().lexically_relative(dir).string();
    const std::string leaf = entry.path().filename().string();
    if (leaf.front() == '.' && entry.path().extension() == ".lock") continue;
    if (const std::size_t bak = name.find(".bak-"); bak != std::string::npos) name.resize(bak + 5);
    all[name] = entry.is_symlink()     ? "-> " + fs::read_symlink(entry.path()).string()
                : entry.is_directory() ? "/"
                                       : memoria::tests::contents(entry.path());
  }
  return all;
}

std::string shown(const tree& t) {
  std::string text;
  for (const auto& entry : t) text += "\n    " + entry.first + ": " + entry.second;
  return text;
}

path place() {
  const path fast = fs::exists("/dev/shm") ? path("/dev/shm") : fs::temp_directory_path();
  return (std::getenv("TMPDIR") ? fs::temp_directory_path() : fast) /
         ("memoria-failures-" + std::to_string(::getpid()));
}

struct outcome {
  std::string value;
  std::error_code ec;
  tree after;
};

outcome attempt(const operation& o, const path& dir, const plan& p) {
  fs::remove_all(dir);
  fs::create_directories(dir);
  o.prepare(dir);
  ::alarm(60);
  now = p, seen = 0, unlink_struck = false, struck.clear();
  os::seam() = judge;
  outcome out;
  out.value = o.run(dir, out.ec);
  os::seam() = nullptr;
  ::alarm(0);
#ifdef __linux__
  os::openat2_missing() = false;  // what was pretended is not to be remembered
#endif
  out.after = look(dir);
  return out;
}

// "What is there is never half of something": nothing when all is well, else what is wrong.
std::string verdict_on(const operation& o, const tree& before, const outcome& good, const outcome& got, const plan& p,
                       bool honest) {
  const bool applied = got.ec == memoria::errc::not_durable;
  if (p.how != way::onwards && honest && !got.ec) {
    if (o.complete && !unlink_struck && got.after != good.after) return "no error, but not done";
    if (got.value != good.value) return "no error, but another value: " + got.value;
  }
  if (honest && applied && o.undone && got.after != good.after) return "not_durable, but not applied";
  if (p.how == way::one && honest && got.ec && !applied && o.undone && !unlink_struck && got.after != before) {
    return "an error, and something was changed";
  }
  for (const auto& [name, content] : got.after) {
    bool whole = false;  // the content of some file before or after: generations, backups and notes change their names
    for (const tree* t : {&before, &good.after}) {
      for (const auto& entry : *t) whole = whole || entry.second == content;
    }
    const bool known = before.count(name) + good.after.count(name) != 0 || name.find(".gen-") != std::string::npos ||
                       name.find(".bak-") != std::string::npos;
    if (!known && p.how == way::one && !unlink_struck) return "left behind: " + name;
    if (known && honest && !whole && !content.empty()) return "torn: " + name;
  }
  for (const auto& [name, content] : before) {
    bool kept = good.after.count(name) == 0;
    for (const auto& entry : got.after)
      kept = kept || entry.first == name || (!content.empty() && entry.second == content);
    if (!kept) return "lost: " + name;
  }
  return "";
}

struct fault_kind {
  int error;
  bool honest;  // false: an answer that means something else ("it is not there"), which the operation has to believe
};
const fault_kind kinds[] = {{EIO, true},     {ENOSPC, true},  {EINTR, true},   {ENOSYS, true},  {EINVAL, true},
                            {ENOTSUP, true}, {EPERM, true},   {EACCES, true},  {EXDEV, true},   {EROFS, true},
                            {EBUSY, true},   {EMFILE, true},  {EAGAIN, false}, {ENOENT, false}, {EEXIST, false},
                            {ELOOP, false},  {ENOTDIR, false}};

void fail_each_call(const std::vector<way>& ways, const std::vector<fault_kind>& faults) {
  const path dir = place();
  for (const lack& without : lacks) {
    for (const operation& o : operations) {
      fs::remove_all(dir);
      fs::create_directories(dir);
      o.prepare(dir);
      const tree before = look(dir);
      missing = without, missed = false;
      const outcome good = attempt(o, dir, {});
      const long calls = seen;
      if (*without.call != '\0' && !missed) continue;
      DOCTEST_INFO(std::string(o.name) << " without " << std::string(without.call));
      DOCTEST_REQUIRE(!good.ec);
      DOCTEST_CHECK(calls > 0);
      std::size_t wrong = 0;
      for (const way how : ways) {
        for (const fault_kind& kind : faults) {
          // For ever interrupted, for ever locked by others, for ever without the file that was just made: no end is
          // right.
          if (how != way::one && (kind.error == EINTR || kind.error == EAGAIN || kind.error == ENOENT)) continue;
          for (long n = 0; n < calls; ++n) {
            const plan p = {n, kind.error, how, SIZE_MAX};
            const outcome got = attempt(o, dir, p);
            const std::string problem = verdict_on(o, before, good, got, p, kind.honest);
            if (problem.empty() || ++wrong > 3) continue;
            const std::string fault = std::error_code(kind.error, std::generic_category()).message();
            DOCTEST_FAIL_CHECK("call " << n << " (" << struck << ") " << fault << ", way " << static_cast<int>(how)
                                       << ": " << problem << "; error: " << got.ec.message()
                                       << "\n  before:" << shown(before) << "\n  complete:" << shown(good.after)
                                       << "\n  got:" << shown(got.after));
          }
        }
      }
    }
  }
  missing = lacks[0];
  fs::remove_all(dir);
}

}  // namespace

extern "C" void hangs(int) {
  std::fprintf(stderr, "does not end after 60 s: %s failing %s\n", struck.c_str(), std::strerror(now.error));
  std::_Exit(1);
}

DOCTEST_TEST_SUITE_BEGIN("failures");

DOCTEST_TEST_CASE("each call of each operation fails, and all that follow, or finds nothing") {
  fail_each_call({way::one, way::onwards}, {{EIO, true}});
  fail_each_call({way::one}, {{ENOENT, false}});
}

DOCTEST_TEST_CASE("each call of each operation fails in every way" * doctest::test_suite("slow")) {
  fail_each_call({way::one, way::kind, way::onwards}, {std::begin(kinds), std::end(kinds)});
}

DOCTEST_TEST_CASE("transfers of one byte at a time change nothing") {
  const path dir = place();
  for (const operation& o : operations) {
    const outcome good = attempt(o, dir, {});
    const outcome slow = attempt(o, dir, {-1, 0, way::one, 1});
    DOCTEST_INFO(std::string(o.name));
    DOCTEST_CHECK(!slow.ec);
    DOCTEST_CHECK(slow.value == good.value);
    DOCTEST_CHECK(slow.after == good.after);
  }
  fs::remove_all(dir);
}

DOCTEST_TEST_CASE("what is moved from is closed, what is moved to goes on") {
  const path dir = place();
  fs::create_directories(dir);
  std::error_code ec;
  memoria::atomic_file one(dir / "one", ec), two(dir / "two", ec);
  one.write("1", ec);
  two = std::move(one);  // what two had begun is dropped
  two.commit(ec);
  DOCTEST_CHECK(!ec);
  memoria::atomic_file dropped(dir / "dropped", ec);
  dropped.discard();
  DOCTEST_CHECK(!dropped.is_open());
  memoria::write_batch first, second;
  first.add(dir / "three", "3", ec);
  second.add(dir / "four", "4", ec);
  second = std::move(first);
  second.commit(ec);
  DOCTEST_CHECK(!ec);
  memoria::confined_dir root, other(dir, ec);
  root = std::move(other);
  DOCTEST_CHECK(root.list(ec) == std::vector<std::string>{"one", "three"});
  fs::remove_all(dir);
}

DOCTEST_TEST_CASE("a graph of thousands of different targets counts them all") {
  const path dir = place();
  fs::create_directories(dir);
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "[[t" + std::to_string(i) + "]] [[t" + std::to_string(i / 2) + "]]\n";
  put(dir / "a.md", text);
  put(dir / "t4999.md", "");
  std::error_code ec;
  memoria::link_graph read(dir, ec);
  DOCTEST_CHECK(!ec);
  const memoria::link_graph graph(std::move(read));
  DOCTEST_CHECK(graph.links().size() == 10000);
  DOCTEST_CHECK(graph.count(memoria::link_status::broken) == 9999);
  fs::remove_all(dir);
}

DOCTEST_TEST_CASE("JSON's const and error_code forms say what the others say") {
  std::error_code ec;
  json a = json::array({1, 2, 3}), b = json::object({{"k", "v"}});
  const json& ca = a;
  DOCTEST_CHECK(ca.front() == json(1));
  DOCTEST_CHECK(ca.back() == json(3));
  DOCTEST_CHECK(a.front() == json(1));
  DOCTEST_CHECK(ca.cend() == ca.end());
  DOCTEST_CHECK(ca.begin()->is_number());
  DOCTEST_CHECK(a.begin()->is_number());
  const json& cb = b;
  DOCTEST_CHECK((cb.find("k") != cb.end() && cb.find("x") == cb.end()));
  DOCTEST_CHECK(a.dump(ec) == "[1,2,3]");
  DOCTEST_CHECK(b.dump(1, ec) == "{\n \"k\": \"v\"\n}");
  swap(a, b);
  DOCTEST_CHECK((a.is_object() && b.is_array()));
  try {
    json::parse("[1,");
    DOCTEST_FAIL("accepted");
  } catch (const memoria::json_error& e) {
    DOCTEST_CHECK(e.reason() == e.problem().reason);
    DOCTEST_CHECK(e.problem().offset == 3);
  }
}

DOCTEST_TEST_CASE("a newest generation that is the file already becomes no second one") {
  const path dir = place();
  fs::create_directories(dir);
  put(dir / "f", "old");
  fs::create_hard_link(dir / "f", dir / "f.gen-1");
  std::error_code ec;
  memoria::atomic_write_text(dir / "f", "new", with_generations(), ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(look(dir) == tree{{"f", "new"}, {"f.gen-1", "old"}});
  fs::remove_all(dir);
}

DOCTEST_TEST_CASE("every kind of JSON value has its type") {
  using type = json::value_t;
  DOCTEST_CHECK(json().type() == type::null);
  DOCTEST_CHECK(json(true).type() == type::boolean);
  DOCTEST_CHECK(json(1.5).type() == type::number_float);
  DOCTEST_CHECK(json(1).type() == type::number_integer);
  DOCTEST_CHECK(json("s").type() == type::string);
  DOCTEST_CHECK(json::array().type() == type::array);
  DOCTEST_CHECK(json::object().type() == type::object);
  DOCTEST_CHECK(json::parse("[1]") == json::array({1}));
}

DOCTEST_TEST_CASE("a base directory by way of one link twice, or of a link that leads to itself") {
  const path dir = place();
  fs::create_directories(dir / "d");
  fs::create_directory_symlink("d", dir / "s");
  fs::create_symlink("loop", dir / "loop");
  const auto found = memoria::safe_article_path("n", dir / "s" / ".." / "s");
  DOCTEST_REQUIRE(found.has_value());
  DOCTEST_CHECK(*found == fs::canonical(dir) / "d" / "n.md");
  DOCTEST_CHECK(!memoria::safe_article_path("n", dir / "loop").has_value());
  fs::remove_all(dir);
}

DOCTEST_TEST_CASE(
    "a note larger than what the graph reads at once, links by their exact path, a directory that is gone") {
  const path dir = place();
  fs::create_directories(dir / "sub");
  put(dir / "big.md", std::string(600000, 'x') + "\n[[sub/c]] [[c]] [[Sub/c]]");
  put(dir / "sub" / "c.md", "");
  memoria::graph_options options;
  options.resolve = memoria::link_resolution::exact;
  std::error_code ec;
  const memoria::link_graph graph(dir, options, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_REQUIRE(graph.links().size() == 3);
  DOCTEST_CHECK(graph.links()[0].status == memoria::link_status::ok);
  DOCTEST_CHECK(graph.links()[0].position.line == 2);
  DOCTEST_CHECK(graph.links()[1].status == memoria::link_status::broken);
  DOCTEST_CHECK(graph.links()[2].status == memoria::link_status::broken);
  DOCTEST_CHECK(memoria::count_inbound_links("sub/c", dir, {}, ec) == 1);
  fs::remove_all(dir);
  DOCTEST_CHECK(memoria::count_inbound_links("a", dir, {}, ec) == 0);
  DOCTEST_CHECK(ec == std::errc::no_such_file_or_directory);
}

// ---- rare ways, each on its own

// Calls `judge` before each system call, as long as it lives.
class hook {
 public:
  explicit hook(std::function<os::verdict(const os::event&)> judge) {
    current() = std::move(judge);
    os::seam() = [](const os::event& e) { return current()(e); };
  }
  hook(const hook&) = delete;
  hook& operator=(const hook&) = delete;
  ~hook() { os::seam() = nullptr; }

 private:
  static std::function<os::verdict(const os::event&)>& current() {
    static std::function<os::verdict(const os::event&)> judge;
    return judge;
  }
};
bool is(const os::event& e, const char* call) { return std::string_view(e.call) == call; }
bool is(const os::event& e, const char* call, std::string_view name) {
  return is(e, call) && e.first != nullptr && e.first == name;
}
bool opens_temporary(const os::event& e) {
  return is(e, "open") && std::string_view(e.first).find(".tmp") != std::string_view::npos;
}
os::verdict failing(int code) { return {code, SIZE_MAX}; }

// Works in a directory, and comes back.
struct working_directory {
  path before = fs::current_path();
  explicit working_directory(const path& d) { fs::current_path(d); }
  working_directory(const working_directory&) = delete;
  working_directory& operator=(const working_directory&) = delete;
  ~working_directory() { fs::current_path(before); }
};

// Standard streams that are closed, for a while.
class closed_streams {
 public:
  explicit closed_streams(std::initializer_list<int> numbers) {
    for (const int n : numbers) {
      kept_.emplace_back(n, ::fcntl(n, F_DUPFD_CLOEXEC, 10));
      ::close(n);
    }
  }
  closed_streams(const closed_streams&) = delete;
  closed_streams& operator=(const closed_streams&) = delete;
  ~closed_streams() {
    for (const auto& [n, copy] : kept_) {
      ::dup2(copy, n);
      ::close(copy);
    }
  }

 private:
  std::vector<std::pair<int, int>> kept_;
};

DOCTEST_TEST_CASE("a file never takes the number of a standard stream that is closed") {
  const scratch here;
  for (const auto& numbers : {std::initializer_list<int>{0}, {0, 2}, {2}}) {
    memoria::write_options options;
    options.durable = memoria::durability::none;  // asks close()
    std::error_code ec;
    bool taken = false;
    {
      const closed_streams closed(numbers);
      const hook watch([&](const os::event& e) {
        taken = taken || (e.handle >= 0 && e.handle <= 2 && !is(e, "fcntl"));
        return os::verdict();
      });
      memoria::atomic_write_text(here / "f", "x", options, ec);
      const memoria::file_lock lock(here / "l", ec);
      for (const int n : numbers) taken = taken || ::fcntl(n, F_GETFD) != -1;
    }
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(!taken);
  }
}

DOCTEST_TEST_CASE("what is closed is closed once") {
  const scratch here;
  os::handle h(::open(here.dir.c_str(), O_RDONLY | O_CLOEXEC));
  DOCTEST_REQUIRE(h);
  h.close();
  DOCTEST_CHECK(!h);
  DOCTEST_CHECK(h.release() == -1);
}

DOCTEST_TEST_CASE("a new file that gets no number above the standard ones goes again") {
  const scratch here;
  put(here / "g", "x");
  std::error_code write, read;
  {
    const closed_streams closed({0});
    const hook none_left([](const os::event& e) { return failing(is(e, "fcntl") ? EMFILE : 0); });
    memoria::atomic_write_text(here / "f", "x", write);
    memoria::read_text(here / "g", read);
  }
  DOCTEST_CHECK(write == std::errc::too_many_files_open);
  DOCTEST_CHECK(read == std::errc::too_many_files_open);
  DOCTEST_CHECK(here.names() == list({"g"}));
}

DOCTEST_TEST_CASE("a temporary file made with a number that is not above the standard ones goes again") {
  const scratch here;
  std::error_code ec;
  {
    std::optional<closed_streams> closed;
    const hook none_left([&](const os::event& e) {
      if (opens_temporary(e)) closed.emplace(std::initializer_list<int>{0});
      return failing(is(e, "fcntl") ? EMFILE : 0);
    });
    memoria::atomic_write_text(here / "f", "x", ec);
    DOCTEST_CHECK(closed);
  }
  DOCTEST_CHECK(ec == std::errc::too_many_files_open);
  DOCTEST_CHECK(here.names().empty());
}

DOCTEST_TEST_CASE("a file system without a sync for directories is no failure, a failed sync is") {
  for (const int code : {EINVAL, ENOTSUP, EOPNOTSUPP, EBADF, EIO}) {
    const scratch here;
    std::error_code ec;
    const hook answer([&](const os::event& e) { return failing(is(e, "fsync directory") ? code : 0); });
    memoria::atomic_write_text(here / "f", "x", ec);
    DOCTEST_CHECK((code == EIO ? ec == memoria::errc::not_durable : !ec));
  }
}

DOCTEST_TEST_CASE("no file or directory is inherited by a child, and new directories are synced in their parents") {
  const scratch here;
  std::error_code ec;
  int inherited = 0, seen_open = 0, synced = 0;
  {
    const hook watch([&](const os::event& e) {
      const int flags = e.handle > 2 ? ::fcntl(static_cast<int>(e.handle), F_GETFD) : -1;
      if (flags != -1) ++seen_open;
      if (flags != -1 && (flags & FD_CLOEXEC) == 0) ++inherited;
      synced += is(e, "fsync directory") ? 1 : 0;
      return os::verdict();
    });
    memoria::atomic_write_text(here / "p" / "q" / "f", "x", ec);
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(synced == 3);  // of what holds p, of p, of q
    memoria::locked_append_text(here / "log", "x", ec);
    memoria::save_json(here / "s.json", json(1), ec);
    const memoria::confined_dir dir(here.dir, ec);
    dir.atomic_write_text("r/f", "x", ec);
    dir.list("r", ec);
  }
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(seen_open > 10);
  DOCTEST_CHECK(inherited == 0);
}

DOCTEST_TEST_CASE("what only close reports is reported") {
  const scratch here;
  memoria::write_options options;
  options.durable = memoria::durability::none;
  std::error_code ec;
  {
    const hook closed_already([](const os::event& e) {
      if (is(e, "close")) ::close(static_cast<int>(e.handle));
      return os::verdict();
    });
    memoria::atomic_write_text(here / "f", "x", options, ec);
  }
  DOCTEST_CHECK(ec == std::errc::bad_file_descriptor);
  DOCTEST_CHECK(here.names().empty());
}

DOCTEST_TEST_CASE("an owner or a group alone is kept as far as it can be") {
  if (::geteuid() != 0) {
    DOCTEST_MESSAGE("skipped: needs root to make a file of another owner");
    return;
  }
  const struct {
    unsigned user, group;
    int refusals;  // of fchown
    unsigned user_after, group_after;
    std::vector<std::string> lost;
  } cases[] = {{0, 65534, 0, 0, 65534, {}},
               {0, 65534, 1, 0, 65534, {}},
               {0, 65534, 2, 0, 0, {"group"}},
               {65534, 0, 0, 65534, 0, {}},
               {65534, 0, 9, 0, 0, {"owner"}}};
  for (const auto& c : cases) {
    const scratch here;
    put(here / "f", "old");
    DOCTEST_REQUIRE(::chown((here / "f").c_str(), c.user, c.group) == 0);
    DOCTEST_REQUIRE(::chmod((here / "f").c_str(), 0675) == 0);
    int asked = 0;
    const hook refuse([&](const os::event& e) {
      return failing(is(e, "fchown") && ++asked <= c.refusals ? EPERM : 0);
    });
    const memoria::write_report report = memoria::tests::report_of_writing(here / "f", os::seam());
    struct ::stat st = {};
    DOCTEST_REQUIRE(::stat((here / "f").c_str(), &st) == 0);
    DOCTEST_CHECK(st.st_uid == c.user_after);
    DOCTEST_CHECK(st.st_gid == c.group_after);
    DOCTEST_CHECK((st.st_mode & 0777u) == (st.st_gid == c.group ? 0675 : 0655));
    std::vector<std::string> lost;
    for (const auto& loss : report.not_kept) lost.push_back(loss.what);
    DOCTEST_CHECK(lost == c.lost);
  }
}

#ifdef __linux__
DOCTEST_TEST_CASE("an attribute that grows while it is read is read whole, hashes of the content are left behind") {
  using memoria::tests::attribute;
  using memoria::tests::report_of_writing;
  using memoria::tests::set_attribute;
  const scratch here;
  const path file = here / "f";
  put(file, "old");
  if (!set_attribute(file, "user.a", "short")) {
    DOCTEST_MESSAGE("skipped: no extended attributes here");
    return;
  }
  const bool hashed = set_attribute(file, "security.ima", "1") && set_attribute(file, "security.evm", "1");
  memoria::write_report report;
  int asked = 0;
  {
    const hook grow([&](const os::event& e) {
      if (is(e, "lgetxattr") && ++asked == 2) set_attribute(file, "user.a", std::string(100, 'l'));
      return os::verdict();
    });
    report = report_of_writing(file, os::seam());
  }
  DOCTEST_CHECK(attribute(file, "user.a") == std::string(100, 'l'));
  DOCTEST_CHECK(report.not_kept.empty());
  if (hashed) DOCTEST_CHECK((!attribute(file, "security.ima") && !attribute(file, "security.evm")));
  const auto report_where_made_with_another_value = [&](int refusal) {
    const hook other([refusal](const os::event& e) {
      const bool set = is(e, "fsetxattr");
      if (set) DOCTEST_CHECK(::fsetxattr(static_cast<int>(e.handle), "user.a", "other", 5, 0) == 0);
      return failing(set ? refusal : 0);
    });
    return report_of_writing(file, os::seam());
  };
  report = report_where_made_with_another_value(0);
  DOCTEST_CHECK(report.not_kept.empty());
  DOCTEST_CHECK(attribute(file, "user.a") == std::string(100, 'l'));
  report = report_where_made_with_another_value(EPERM);
  DOCTEST_REQUIRE(report.not_kept.size() == 1);
  DOCTEST_CHECK(report.not_kept[0].what == "user.a");
  DOCTEST_CHECK(attribute(file, "user.a") == "other");
}

DOCTEST_TEST_CASE("an attribute that the system itself refuses is reported as what it refuses") {
  using memoria::tests::set_attribute;
  const scratch here;
  const path file = here / "f";
  put(file, "old");
  if (!set_attribute(file, "user.a", "x")) {
    DOCTEST_MESSAGE("skipped: no extended attributes here");
    return;
  }
  int kept = -1;
  const hook instead([&](const os::event& e) {  // for one call, the number is that of a pipe, which has no attributes
    const int number = static_cast<int>(e.handle);
    if (kept != -1) {
      DOCTEST_CHECK(::dup2(kept, number) == number);
      ::close(std::exchange(kept, -1));
    } else if (is(e, "fsetxattr")) {
      int pipe[2];
      DOCTEST_REQUIRE(::pipe(pipe) == 0);
      kept = ::fcntl(number, F_DUPFD_CLOEXEC, 3);
      ::dup2(pipe[0], number);
      for (const int end : pipe) ::close(end);
    }
    return os::verdict();
  });
  const memoria::write_report report = memoria::tests::report_of_writing(file, os::seam());
  DOCTEST_REQUIRE(report.not_kept.size() == 1);
  DOCTEST_CHECK(report.not_kept[0].what == "user.a");
  DOCTEST_CHECK(static_cast<bool>(report.not_kept[0].why));
  DOCTEST_CHECK(memoria::tests::contents(file) == "new");
}

DOCTEST_TEST_CASE("a file's own access list takes the place of the one that its directory passes on") {
  using namespace memoria::tests;
  const scratch here;
  put(here / "f", "old");
  if (!set_attribute(here / "f", acl, access_list(6, 0, 6)) ||
      !set_attribute(here.dir, default_acl, access_list(7, 7, 7))) {
    DOCTEST_MESSAGE("skipped: no access lists here");
    return;
  }
  DOCTEST_CHECK(report_of_writing(here / "f", nullptr).not_kept.empty());
  DOCTEST_CHECK(attribute(here / "f", acl) == access_list(6, 0, 6));
}

DOCTEST_TEST_CASE("an access list keeps its mask, one that is taken away meanwhile does not leave it to the group") {
  using memoria::tests::acl;
  const scratch here;
  const path file = here / "f";
  for (const bool taken_away : {false, true}) {
    put(file, "old");
    if (!memoria::tests::set_attribute(file, acl, memoria::tests::access_list(7, 0, 7))) {
      DOCTEST_MESSAGE("skipped: no access lists here");
      return;
    }
    const hook neighbour([&](const os::event& e) {
      if (is(e, "lgetxattr") && taken_away) ::removexattr(file.c_str(), acl);
      return os::verdict();
    });
    const memoria::write_report report = memoria::tests::report_of_writing(file, os::seam());
    DOCTEST_CHECK(report.not_kept.empty());
    struct ::stat st = {};
    DOCTEST_REQUIRE(::stat(file.c_str(), &st) == 0);
    DOCTEST_CHECK((st.st_mode & 07777u) == (taken_away ? 0600 : 0670));
  }
}
#endif

std::atomic<int> alarms = 0;
extern "C" void count_alarm(int) { ++alarms; }

DOCTEST_TEST_CASE("a pause goes on after a signal") {
  struct ::sigaction now_counted = {}, before = {};
  now_counted.sa_handler = count_alarm;
  ::sigaction(SIGPROF, &now_counted, &before);
  alarms = 0;
  while (alarms == 0) {
    const auto begin = std::chrono::steady_clock::now();
    std::thread sender([self = ::pthread_self()] {
      os::sleep_for(5);
      ::pthread_kill(self, SIGPROF);
    });
    os::sleep_for(1020);
    DOCTEST_CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(1020));
    sender.join();
  }
  ::sigaction(SIGPROF, &before, nullptr);
}

DOCTEST_TEST_CASE("pauses double up to a limit, end in time, and no wait is too long for the clock") {
  memoria::detail::pauses pauses(memoria::detail::deadline_in(std::chrono::milliseconds(150)));
  const auto begin = std::chrono::steady_clock::now();
  int count = 0;
  while (pauses.pause()) ++count;
  DOCTEST_CHECK(count > 0);
  DOCTEST_CHECK(count <= 10);  // 1, 2, 4, 8, 16, 32, 32, 32, ... ms
  DOCTEST_CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(150));
  DOCTEST_CHECK(memoria::detail::deadline_in(std::chrono::hours(24 * 36524)) > os::nanoseconds());
  DOCTEST_CHECK(memoria::detail::deadline_in(std::chrono::milliseconds::max()) == INT64_MAX);
  const memoria::detail::deadline long_ago = memoria::detail::deadline_in(std::chrono::milliseconds::min());
  DOCTEST_CHECK(long_ago <= os::nanoseconds());
}

DOCTEST_TEST_CASE("transfers stay below what systems refuse") {
  DOCTEST_CHECK(os::one_transfer(std::size_t(1) << 31) == std::size_t(1) << 30);
  DOCTEST_CHECK(os::one_transfer(std::size_t(1) << 30) == std::size_t(1) << 30);
  DOCTEST_CHECK(os::one_transfer(5) == 5);
}

DOCTEST_TEST_CASE("files of no known size, or of too much, are read or refused") {
  std::error_code ec;
#ifdef __linux__
  DOCTEST_CHECK(memoria::read_text("/proc/self/status", ec).find("Name:") == 0);
  DOCTEST_CHECK(!ec);
#endif
  {
    const scratch here;
    put(here / "f", "12");
    int reads = 0;
    const hook writer([&](const os::event& e) {  // it grows while it is read
      if (is(e, "read") && ++reads == 2) put(here / "f", "12" + std::string(100000, 'x'));
      return os::verdict();
    });
    DOCTEST_CHECK(memoria::read_text(here / "f", ec).size() == 100002);
  }
  {
    const scratch here;
    put(here / "f", "12");
    int reads = 0;
    const hook failing_disk([&](const os::event& e) { return failing(is(e, "read") && ++reads == 2 ? EIO : 0); });
    DOCTEST_CHECK(memoria::read_text(here / "f", ec).empty());
    DOCTEST_CHECK(ec == std::errc::io_error);
  }
  const path dir = place();
  fs::create_directories(dir);
  put(dir / "f", "");
  if (sizeof(::off_t) == 8 && ::truncate((dir / "f").c_str(), static_cast<::off_t>(INT64_MAX / 2 + 1)) == 0) {
    memoria::read_text(dir / "f", ec);
    DOCTEST_CHECK(ec == std::errc::file_too_large);
  }
  fs::remove_all(dir);
}

DOCTEST_TEST_CASE("articles below the root directory, by a thousand links, and from a directory that is gone") {
  const scratch here;
  fs::create_directory_symlink("/", here / "root");
  put(here / "note.md", "");
  memoria::tests::with_both_back_ends([&] {
    const auto at_root = [](const path& base, const char* link = "no-such-note") {
      return memoria::safe_article_path(link, base).value_or(path()).native();
    };
    DOCTEST_CHECK(at_root("/") == "/no-such-note.md");
    DOCTEST_CHECK(at_root("/..") == "/no-such-note.md");
    DOCTEST_CHECK(at_root(here / "root") == "/no-such-note.md");
    DOCTEST_CHECK(at_root("/", "dev/null/../../no-such-note") == "/no-such-note.md");
    const std::string base = fs::canonical(here.dir).native();
    DOCTEST_CHECK(at_root("/" + base, "note") == base + "/note.md");
  });
  put(here / "l0.md", "");
  for (int i = 1; i <= 1001; ++i) {
    fs::create_symlink("l" + std::to_string(i - 1) + ".md", here.dir / ("l" + std::to_string(i) + ".md"));
  }
  DOCTEST_CHECK(memoria::safe_article_path("l1000", here.dir) == fs::canonical(here.dir) / "l0.md");
  DOCTEST_CHECK(!memoria::safe_article_path("l1001", here.dir));
  fs::create_directory(here / "gone");
  const working_directory inside(here / "gone");
  fs::remove(here / "gone");
  DOCTEST_CHECK(!memoria::safe_article_path("n", "relative"));
  std::error_code ec;
  memoria::atomic_write_text("new/f", "x", ec);
  DOCTEST_CHECK(ec == std::errc::no_such_file_or_directory);
}

DOCTEST_TEST_CASE("a directory whose entries cannot be read is an error, and not an empty one") {
  const scratch here;
  for (const char* name : {"a", "b", "c"}) put(here / name, "");
  std::error_code ec;
  const memoria::confined_dir dir(here.dir, ec);
  for (const char* call : {"opendir", "readdir"}) {
    for (const int at : {0, 2}) {
      int calls = 0;
      const hook answer([&](const os::event& e) { return failing(is(e, call) && calls++ == at ? EIO : 0); });
      const std::size_t found = dir.list(ec).size();
      DOCTEST_CHECK(found == (calls > at ? 0u : 3u));
      DOCTEST_CHECK((ec == std::errc::io_error) == (calls > at));
    }
  }
  const hook swap([&](const os::event& e) {  // the system's own error, not the seam's
    if (is(e, "readdir")) {
      const int file = ::open((here / "a").c_str(), O_RDONLY | O_CLOEXEC);
      DOCTEST_CHECK(::dup2(file, static_cast<int>(e.handle)) != -1);
      ::close(file);
    }
    return os::verdict();
  });
  DOCTEST_CHECK(dir.list(ec).empty());
  DOCTEST_CHECK(ec == std::errc::not_a_directory);
}

// ---- [replace]

DOCTEST_TEST_CASE("a rename that is refused for the moment is tried until the time is up") {
  for (const int refusals : {3, 1000000}) {
    const scratch here;
    put(here / "f", "old");
    memoria::write_options options;
    options.retry_for = std::chrono::milliseconds(refusals == 3 ? 60000 : 20);
    std::error_code ec;
    int left = refusals;
    {
      const hook leased([&](const os::event& e) { return failing(is(e, "rename") && left-- > 0 ? EWOULDBLOCK : 0); });
      memoria::atomic_write_text(here / "f", "new", options, ec);
    }
    DOCTEST_CHECK((refusals == 3 ? !ec : ec == std::errc::resource_unavailable_try_again));
    DOCTEST_CHECK(memoria::tests::contents(here / "f") == (refusals == 3 ? "new" : "old"));
    DOCTEST_CHECK(here.names() == list({"f"}));
    DOCTEST_CHECK(refusals - left > 1);
  }
}

DOCTEST_TEST_CASE("each way to replace a file syncs content, then name") {
  const scratch here;
  const auto calls_of = [](auto&& work) {
    std::string calls;
    std::error_code ec;
    const hook watch([&](const os::event& e) {
      for (const char* call : {"fsync", "rename", "fsync directory", "unlink"}) {
        if (is(e, call)) calls.append(call) += ", ";
      }
      return os::verdict();
    });
    work(ec);
    DOCTEST_CHECK(!ec);
    return calls;
  };
  const std::string one = "fsync, rename, fsync directory, ";
  DOCTEST_CHECK(calls_of([&](std::error_code& ec) { memoria::atomic_write_text(here / "f", "x", ec); }) == one);
  DOCTEST_CHECK(calls_of([&](std::error_code& ec) { memoria::save_json(here / "f", json(1), ec); }) == one);
  DOCTEST_CHECK(calls_of([&](std::error_code& ec) {
    memoria::atomic_file file(here / "f", ec);
    file.write("x", ec);
    file.commit(ec);
  }) == one);
  DOCTEST_CHECK(calls_of([&](std::error_code& ec) {
    memoria::write_batch batch;
    for (const char* name : {"f", "g"}) batch.add(here / name, "x", ec);
    batch.commit(ec);
  }) == "fsync, fsync, rename, rename, fsync directory, ");
}

DOCTEST_TEST_CASE("the mode that was asked for is the file's, bit by bit") {
  const scratch here;
  memoria::write_options options;
  std::error_code ec;
  for (unsigned bit = 1; bit <= 0777; bit *= 2) {
    options.permissions = fs::perms(0600 | bit);
    memoria::atomic_write_text(here / "f", "x", options, ec);
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(static_cast<unsigned>(fs::status(here / "f").permissions()) == (0600u | bit));
  }
}

DOCTEST_TEST_CASE("a file is written through forty links, and no more") {
  const scratch here;
  put(here / "l0", "old");
  for (int i = 1; i <= 41; ++i) fs::create_symlink("l" + std::to_string(i - 1), here.dir / ("l" + std::to_string(i)));
  std::error_code ec;
  memoria::atomic_write_text(here / "l41", "too far", ec);
  DOCTEST_CHECK(ec == std::errc::too_many_symbolic_link_levels);
  memoria::atomic_write_text(here / "l40", "new", ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(memoria::tests::contents(here / "l0") == "new");
}

DOCTEST_TEST_CASE("names that only begin or end as . and .. do are names") {
  const scratch here;
  std::error_code ec;
  const memoria::confined_dir dir(here.dir, ec);
  const std::vector<std::string> names = list({"...", "..a", ".a", "a.", "a.."});
  for (const std::string& name : names) {
    memoria::atomic_write_text(here / name.c_str(), "1", ec);
    DOCTEST_CHECK(!ec);
    dir.locked_append_text(name, "2", ec);
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(memoria::read_text(here / name.c_str(), ec) == "12");
    DOCTEST_CHECK(memoria::safe_article_path(name, here.dir) == fs::canonical(here.dir) / (name + ".md"));
  }
  DOCTEST_CHECK(here.names() == names);
}

DOCTEST_TEST_CASE("directories that are made are synced only where that was asked for, and why they are not is told") {
  for (const int code : {0, ENOSPC}) {
    const scratch here;
    memoria::write_options options;
    options.durable = memoria::durability::none;
    std::error_code ec;
    bool synced = false;
    {
      const hook watch([&](const os::event& e) {
        synced = synced || is(e, "fsync directory");
        return failing(is(e, "mkdir") ? code : 0);
      });
      memoria::atomic_write_text(here / "p" / "q" / "f", "x", options, ec);
      memoria::append_options quick;
      quick.durable = memoria::durability::none;
      std::error_code append;
      memoria::locked_append_text(here / "r" / "q" / "f", "x", quick, append);
      DOCTEST_CHECK(append == ec);
    }
    DOCTEST_CHECK(ec.value() == code);
    DOCTEST_CHECK(!synced);
    for (const char* name : {"p/q/f", "r/q/f"}) DOCTEST_CHECK(fs::exists(here / name) == (code == 0));
  }
}

DOCTEST_TEST_CASE("a new file by way of a hard link is as durable as by a rename, and a refused link is an error") {
  const int cases[][2] = {{EINVAL, 0}, {ENOSYS, 0}, {ENOTSUP, 0}, {EINVAL, EACCES}};
  for (const auto& answers : cases) {
    const int no_rename = answers[0], no_link = answers[1];
    const scratch here;
    memoria::write_options options;
    options.overwrite = false;
    std::error_code ec;
    int synced = 0;
    {
      const hook old_kernel([&](const os::event& e) {
        synced += is(e, "fsync directory") ? 1 : 0;
        return failing(is(e, "rename") ? no_rename : is(e, "link") ? no_link : 0);
      });
      memoria::atomic_write_text(here / "f", "x", options, ec);
    }
    DOCTEST_CHECK(ec.value() == no_link);
    DOCTEST_CHECK(synced == (no_link == 0 ? 1 : 0));
    DOCTEST_CHECK(here.names() == (no_link == 0 ? list({"f"}) : list({})));
  }
}

DOCTEST_TEST_CASE("a mount point says that it is one, other failures do not") {
  for (const int code : {EBUSY, EACCES}) {
    for (const unsigned generations : {0u, 1u}) {
      const scratch here;
      put(here / "f", "old");
      memoria::write_options options;
      options.generations = generations;
      memoria::detail::status s;
      const hook answer([&](const os::event& e) {
        if (generations != 0) return failing(!is(e, "link") ? 0 : code == EBUSY ? EXDEV : code);
        return failing(is(e, "rename") ? code : 0);
      });
      const bool done = memoria::detail::replace_file(here / "f", "new", options, s);
      DOCTEST_CHECK(done == (generations != 0 && code == EACCES));  // then the generation is a copy
      DOCTEST_CHECK((std::string_view(s.note) == memoria::detail::mount_point_note) == (code == EBUSY));
      if (!done) DOCTEST_CHECK(s.code.value() == code);
      DOCTEST_CHECK(memoria::tests::contents(here / "f") == (done ? "new" : "old"));
    }
  }
}

DOCTEST_TEST_CASE("a newest generation that is a link to the file is none yet") {
  const scratch here;
  put(here / "f", "old");
  fs::create_symlink("f", here / "f.gen-1");
  std::error_code ec;
  memoria::atomic_write_text(here / "f", "new", with_generations(), ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(!fs::is_symlink(here / "f.gen-1"));
  DOCTEST_CHECK(memoria::tests::contents(here / "f.gen-1") == "old");
}

DOCTEST_TEST_CASE("without links a generation is kept once, whatever is there") {
  const struct {
    std::string newest;
    bool moves;
  } cases[] = {{"old", false}, {"odd", true}, {"cld", true}, {"ol", true}, {"older", true}, {"", true},
               {std::string(70000, 'x') + "y", true}};
  for (const auto& c : cases) {
    const scratch here;
    put(here / "f", c.newest.size() > 9 ? std::string(70000, 'x') + "z" : "old");
    put(here / "f.gen-1", c.newest);
    memoria::write_options options = with_generations();
    std::error_code ec;
    const hook no_links([](const os::event& e) { return failing(is(e, "link") ? EPERM : 0); });
    memoria::atomic_write_text(here / "f", "new", options, ec);
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(fs::exists(here / "f.gen-2") == c.moves);
    if (c.moves) DOCTEST_CHECK(memoria::tests::contents(here / "f.gen-2") == c.newest);
  }
}

DOCTEST_TEST_CASE("without links a generation is copied from the file alone, whole or not at all") {
  for (const char* what : {"a link to the file is there", "the file becomes a link", "the file cannot be read"}) {
    const scratch here;
    put(here / "f", "old");
    put(here / "secret", "secret");
    const std::string_view trouble(what);
    if (trouble == "a link to the file is there") fs::create_symlink("f", here / "f.gen-1");
    std::error_code ec;
    {
      const hook no_links([&](const os::event& e) {
        if (is(e, "link") && trouble == "the file becomes a link") {
          fs::remove(here / "f");
          fs::create_symlink("secret", here / "f");
        }
        return failing(is(e, "link") ? EPERM : is(e, "read") && trouble == "the file cannot be read" ? EIO : 0);
      });
      memoria::atomic_write_text(here / "f", "new", with_generations(), ec);
    }
    DOCTEST_CAPTURE(what);
    tree after = look(here.dir);
    if (trouble == "a link to the file is there") {
      DOCTEST_CHECK(!ec);
      DOCTEST_CHECK(after["f.gen-1"] == "old");
    } else {
      DOCTEST_CHECK((ec == std::errc::too_many_symbolic_link_levels || ec == std::errc::io_error));
      DOCTEST_CHECK(after.size() == 2);
      DOCTEST_CHECK(after["f"] != "new");
    }
  }
}

DOCTEST_TEST_CASE("a second name that is swept before it is the newest generation is made again") {
  const scratch here;
  put(here / "f", "old");
  put(here / "f.gen-1", "older");
  std::error_code ec;
  bool swept = false;
  {
    const hook sweeper([&](const os::event& e) {
      if (is(e, "rename") && std::string_view(e.second) == "f.gen-1") swept = fs::remove(here / e.first);
      return os::verdict();
    });
    memoria::atomic_write_text(here / "f", "new", with_generations(), ec);
  }
  DOCTEST_CHECK(swept);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(look(here.dir) == tree{{"f", "new"}, {"f.gen-1", "old"}, {"f.gen-2", "older"}});
}

DOCTEST_TEST_CASE("long names that differ only in their ends have companions of different names") {
  std::vector<path::string_type> locks;
  for (char a = 'a'; a <= 'z'; ++a) {
    for (char b = 'a'; b <= 'z'; ++b) {
      locks.push_back(memoria::detail::lock_name(path::string_type(253, 'n') + a + b));
    }
  }
  std::sort(locks.begin(), locks.end());
  DOCTEST_CHECK(std::unique(locks.begin(), locks.end()) == locks.end());
}

DOCTEST_TEST_CASE("names of bytes that are no characters are cut, too") {
  const path::string_type name(250, '\x80');
  const path::string_type lock = memoria::detail::lock_name(name);
  DOCTEST_CHECK(lock.size() <= 255);
  DOCTEST_CHECK(lock != memoria::detail::lock_name(path::string_type(251, '\x80')));
}

DOCTEST_TEST_CASE("a temporary name that somebody has is left to him") {
  const scratch here;
  std::string theirs;
  std::error_code ec;
  {
    const hook neighbour([&](const os::event& e) {
      if (theirs.empty() && opens_temporary(e)) {
        theirs = e.first;
        put(here / e.first, "theirs");
      }
      return os::verdict();
    });
    memoria::atomic_write_text(here / "f", "x", ec);
  }
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(here.names() == std::vector<std::string>{theirs, "f"});
  DOCTEST_CHECK(memoria::tests::contents(here / theirs.c_str()) == "theirs");
}

DOCTEST_TEST_CASE("where every temporary name is taken, the search ends") {
  const scratch here;
  int opens = 0;
  std::error_code ec;
  const hook full([&](const os::event& e) { return failing(opens_temporary(e) && ++opens > 0 ? EEXIST : 0); });
  memoria::atomic_write_text(here / "f", "x", ec);
  DOCTEST_CHECK(ec == std::errc::file_exists);
  DOCTEST_CHECK(opens == 100);
}

DOCTEST_TEST_CASE("a batch stops at the first file that cannot be renamed, and says so") {
  const scratch here;
  memoria::write_batch batch;
  std::error_code ec;
  for (const char* name : {"a", "b", "c"}) {
    put(here / name, "old");
    batch.add(here / name, "new", ec);
  }
  int renames = 0;
  {
    const hook refuse([&](const os::event& e) { return failing(is(e, "rename") && ++renames == 2 ? EACCES : 0); });
    batch.commit(ec);
  }
  DOCTEST_CHECK(ec == std::errc::permission_denied);
  DOCTEST_CHECK(batch.committed() == 1);
  DOCTEST_CHECK(look(here.dir) == tree{{"a", "new"}, {"b", "old"}, {"c", "old"}});
}

DOCTEST_TEST_CASE("a batch names the file that could not be synced, or renamed") {
  for (const char* call : {"fsync", "rename"}) {
    const scratch here;
    memoria::write_batch batch;
    for (const char* name : {"a", "b"}) batch.add(here / name, "new");
    int calls = 0;
    const hook refuse([&](const os::event& e) { return failing(is(e, call) && ++calls == 2 ? EIO : 0); });
    try {
      batch.commit();
      DOCTEST_FAIL_CHECK("an error expected");
    } catch (const memoria::error& e) {
      DOCTEST_CHECK(e.code() == std::errc::io_error);
      DOCTEST_CHECK(e.path1() == here / "b");
    }
  }
}

DOCTEST_TEST_CASE("what was made on the way and is in use is not tried to be removed") {
  const scratch here;
  std::error_code ec;
  const memoria::confined_dir dir(here.dir, ec);
  bool tried = false;
  const hook watch([&](const os::event& e) {
    tried = tried || is(e, "rmdir");
    return os::verdict();
  });
  memoria::atomic_write_text(here / "a" / "f", "x", ec);
  memoria::locked_append_text(here / "b" / "f", "x", ec);
  dir.atomic_write_text("c/f", "x", ec);
  dir.locked_append_text("d/f", "x", ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(!tried);
}

DOCTEST_TEST_CASE("a temporary file that became a link while it was looked at is not swept") {
  const scratch here;
  const char* const name = ".memoria-0123456789abcdef.tmp";
  put(here / name, "");
  std::error_code ec;
  {
    const hook neighbour([&](const os::event& e) {
      if (is(e, "stat", name)) {
        fs::rename(here / name, here / "elsewhere");
        fs::create_symlink("elsewhere", here / name);
      }
      return os::verdict();
    });
    DOCTEST_CHECK(memoria::remove_stale_temporaries(here.dir, ec) == 0);
  }
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(here.names() == list({name, "elsewhere"}));
}

DOCTEST_TEST_CASE("only names exactly as temporary files have them are swept") {
  const scratch here;
  const char* const others[] = {".memoria-0123456789abcdef.tmp~", ".memoria-0123456789abcdef.tmq",
                                ".memoria-0123456789abcdef",      ".memoria-0123456789abcde.tmp",
                                ".memoria-0123456789abcdef0.tmp", "xmemoria-0123456789abcdef.tmp"};
  for (const char* name : others) put(here / name, "");
  put(here / ".memoria-0123456789abcdef.tmp", "");
  DOCTEST_REQUIRE(::mkfifo((here / ".memoria-0123456789abcde0.tmp").c_str(), 0600) == 0);
  std::error_code ec;
  DOCTEST_CHECK(memoria::remove_stale_temporaries(here.dir, ec) == 1);
  DOCTEST_CHECK(here.names().size() == std::size(others) + 1);
  DOCTEST_CHECK(memoria::remove_stale_temporaries(path(), ec) == 0);
  DOCTEST_CHECK(ec == std::errc::invalid_argument);
}

DOCTEST_TEST_CASE("where neither of two versions can be put back, both are still there and the error says where") {
  for (int failure = 0; failure < 3; ++failure) {  // the look before the exchange, the exchange, the look after it
    const scratch here;
    put(here / "s.json", "corrupt");
    put(here / "s.json.gen-1", "{\"n\": 1}");
    int exchanges = 0, looks = 0;
    std::error_code ec;
    std::string what;
    {
      const hook other_writer([&](const os::event& e) {
        const bool exchange = is(e, "rename") && e.second != nullptr && std::string_view(e.second) == "s.json";
        if (exchange && ++exchanges == 1) {
          put(here / "new", "{\"n\": 2}");
          fs::rename(here / "new", here / "s.json");
        }
        const bool look = exchanges > 0 && is(e, "stat");
        if (look) ++looks;
        const bool fails = failure == 1 ? exchange && exchanges == 2 : look && looks == 1 + failure / 2;
        return failing(fails ? EIO : 0);
      });
      try {
        memoria::load_json_with_recovery(here / "s.json", fallback, quiet());
      } catch (const memoria::error& e) {
        ec = e.code(), what = e.what();
      }
    }
    DOCTEST_CAPTURE(failure);
    DOCTEST_CHECK(ec == std::errc::io_error);
    DOCTEST_CHECK(what.find("the other version is in .memoria-") != std::string::npos);
    std::string all;
    for (const std::string& name : here.names()) all += memoria::tests::contents(here / name.c_str()) + "|";
    DOCTEST_CHECK(all.find("corrupt|") != std::string::npos);
    DOCTEST_CHECK(all.find("{\"n\": 2}|") != std::string::npos);
  }
}

DOCTEST_TEST_CASE("a batch out of descriptors closes what it has, once; other failures are not retried") {
  const scratch here;
  memoria::write_batch batch;
  std::error_code ec;
  batch.add(here / "a", "a", ec);
  int left = 1, code = EIO, opens = 0;
  const hook answer([&](const os::event& e) {
    const bool temporary = opens_temporary(e);
    if (temporary) ++opens;
    return failing(temporary && left-- > 0 ? code : 0);
  });
  batch.add(here / "b", "b", ec);
  DOCTEST_CHECK(ec == std::errc::io_error);
  DOCTEST_CHECK(opens == 1);
  left = 1, code = ENFILE, opens = 0;
  batch.add(here / "b", "b", ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(opens == 2);
  left = 1 << 30, opens = 0;
  batch.add(here / "c", "c", ec);  // closes b
  DOCTEST_CHECK(ec == std::errc::too_many_files_open_in_system);
  DOCTEST_CHECK(opens == 2);
  batch.add(here / "c", "c", ec);  // nothing left to close
  DOCTEST_CHECK(ec == std::errc::too_many_files_open_in_system);
  DOCTEST_CHECK(opens == 3);
  left = 0;
  batch.commit(ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(here.names() == list({"a", "b"}));
}

DOCTEST_TEST_CASE("a batch that could not be settled names the file") {
  const scratch here;
  memoria::write_batch batch;
  batch.add(here / "a", "x");
  {
    const hook answer([](const os::event& e) {
      return failing(opens_temporary(e) ? EMFILE : is(e, "fsync") ? EIO : 0);
    });
    DOCTEST_CHECK_THROWS_AS(batch.add(here / "b", "x"), memoria::error);
  }
  try {
    batch.commit();
    DOCTEST_FAIL_CHECK("an error expected");
  } catch (const memoria::error& e) {
    DOCTEST_CHECK(e.path1() == here / "a");
  }
}

DOCTEST_TEST_CASE("new files have the mode that the umask leaves, a lock file that of the file it guards") {
  const scratch here;
  put(here / "s.json", "{}");
  ::chmod((here / "s.json").c_str(), 0666);
  std::error_code ec;
  const ::mode_t before = ::umask(0);
  memoria::atomic_write_text(here / "f", "x", ec);
  memoria::locked_append_text(here / "log", "x", ec);
  const memoria::file_lock lock(here / "l", ec);
  memoria::atomic_write_text(here / "d" / "f", "x", ec);
  ::umask(077);
  memoria::save_json(here / "s.json", json(1), ec);
  ::umask(before);
  DOCTEST_CHECK(static_cast<unsigned>(fs::status(here / "d").permissions()) == 0777u);
  for (const char* name : {"f", "log", "l", "s.json", ".s.json.lock"}) {
    DOCTEST_CHECK(static_cast<unsigned>(fs::status(here / name).permissions()) == 0666u);
  }
}

DOCTEST_TEST_CASE("a lock file is of the owner and for the readers of the file it guards, and runs for nobody") {
  const scratch here;
  put(here / "s.json", "{}");
  ::chmod((here / "s.json").c_str(), 0777);
  const bool other_owner = ::chown((here / "s.json").c_str(), 65534, 65534) == 0;  // as root
  std::error_code ec;
  memoria::save_json(here / "s.json", json(1), ec);
  struct ::stat st = {};
  DOCTEST_REQUIRE(::stat((here / ".s.json.lock").c_str(), &st) == 0);
  DOCTEST_CHECK((st.st_mode & 07777u) == 0666);
  if (other_owner) DOCTEST_CHECK((st.st_uid == 65534 && st.st_gid == 65534));
}

DOCTEST_TEST_CASE("a lock file that may only be read is not reached through a link either") {
  const scratch here;
  put(here / "elsewhere", "");
  fs::create_symlink("elsewhere", here / "l");
  int opens = 0;
  std::error_code ec;
  const hook read_only([&](const os::event& e) { return failing(is(e, "open", "l") && ++opens == 1 ? EACCES : 0); });
  const memoria::file_lock lock(here / "l", ec);
  DOCTEST_CHECK(opens == 2);
  DOCTEST_CHECK(ec == std::errc::too_many_symbolic_link_levels);
}

DOCTEST_TEST_CASE("a lock file that became a link while it was waited for is not held") {
  const scratch here;
  std::error_code ec;
  const hook neighbour([&](const os::event& e) {
    if (is(e, "flock")) {
      fs::rename(here / "l", here / "elsewhere");
      fs::create_symlink("elsewhere", here / "l");
    }
    return os::verdict();
  });
  const memoria::file_lock lock(here / "l", ec);
  DOCTEST_CHECK(ec == std::errc::too_many_symbolic_link_levels);
  DOCTEST_CHECK(!lock.owns_lock());
}

DOCTEST_TEST_CASE("a lock file that others make at the same moment is theirs, a link or a failure is an error") {
  for (const int code : {0, ELOOP, ENOSPC}) {
    const scratch here;
    put(here / "elsewhere", "");
    int opens = 0;
    std::error_code ec;
    const hook neighbour([&](const os::event& e) {
      const bool making = is(e, "open", "l") && ++opens == 2;
      if (making && code == 0) put(here / "l", "theirs");
      if (making && code == ELOOP) fs::create_symlink("elsewhere", here / "l");
      return failing(making && code == ENOSPC ? code : 0);
    });
    const memoria::file_lock lock(here / "l", ec);
    DOCTEST_CHECK(ec.value() == code);
    DOCTEST_CHECK(lock.owns_lock() == (code == 0));
    if (code == 0) DOCTEST_CHECK(memoria::tests::contents(here / "l") == "theirs");
  }
}

DOCTEST_TEST_CASE("each answer of a system that cannot lock is told from a failure, and nothing is held") {
  const scratch here;
  for (const int code : {ENOLCK, ENOTSUP, ENOSYS, EINVAL, EIO}) {
    std::error_code ec;
    const hook answer([&](const os::event& e) { return failing(is(e, "flock") ? code : 0); });
    const memoria::file_lock lock(here / "l", ec);
    DOCTEST_CHECK((code == EIO ? ec == std::errc::io_error : ec == memoria::errc::lock_unsupported));
    DOCTEST_CHECK(!lock.owns_lock());
  }
  std::error_code ec;
  DOCTEST_CHECK(!memoria::file_lock(path(), ec).owns_lock());
  DOCTEST_CHECK(!memoria::file_lock(here / "absent" / "l", ec).owns_lock());
}

DOCTEST_TEST_CASE("what was moved from or closed is empty, and says so") {
  const scratch here;
  std::error_code ec;
  memoria::write_batch batch, taken(std::move(batch));
  DOCTEST_CHECK(batch.size() + batch.committed() == 0);
  batch.commit(ec);
  DOCTEST_CHECK(!ec);
  memoria::atomic_file closed;
  DOCTEST_CHECK_THROWS_AS(closed.write("x"), memoria::error);
  DOCTEST_CHECK_THROWS_AS(closed.commit(), memoria::error);
  const memoria::confined_dir none;
  DOCTEST_CHECK_THROWS_AS(none.read_text("x"), memoria::error);
  memoria::confined_dir first(here.dir), second(std::move(first));
  second.atomic_write_text("f", "x");
  DOCTEST_CHECK_THROWS_AS(first.read_text("f"), memoria::error);

  memoria::file_lock lock(here / "l", ec), other;
  memoria::file_lock& same = lock;
  lock = std::move(same);
  DOCTEST_CHECK(lock.owns_lock());
  other = std::move(lock);
  DOCTEST_CHECK(other.owns_lock());
  DOCTEST_CHECK(!lock.owns_lock());
  other.unlock();
  DOCTEST_CHECK(!other.owns_lock());
}

DOCTEST_TEST_CASE("a batch of relative names says which directory could not be synced") {
  const scratch here;
  const working_directory inside(here.dir);
  memoria::write_batch batch;
  batch.add("f", "x");
  const hook answer([](const os::event& e) { return failing(is(e, "fsync directory") ? EIO : 0); });
  try {
    batch.commit();
    DOCTEST_FAIL_CHECK("not_durable expected");
  } catch (const memoria::error& e) {
    DOCTEST_CHECK(e.code() == memoria::errc::not_durable);
    DOCTEST_CHECK(e.path1() == path("."));
  }
  DOCTEST_CHECK(memoria::tests::contents(here / "f") == "x");
}

// ---- [append]

DOCTEST_TEST_CASE("an empty entry is an empty line where lines are whole") {
  const scratch here;
  memoria::append_options options;
  options.whole_lines = true;
  std::error_code ec;
  put(here / "log", "1");  // the smallest log that lacks a newline
  for (const char* entry : {"a", "", "b\n"}) memoria::locked_append_text(here / "log", entry, options, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(memoria::tests::contents(here / "log") == "1\na\n\nb\n");
  put(here / "log", "1");
  const memoria::confined_dir dir(here.dir, ec);
  for (const char* entry : {"a", "", "b\n"}) dir.locked_append_text("log", entry, options, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(memoria::tests::contents(here / "log") == "1\na\n\nb\n");
}

DOCTEST_TEST_CASE("a log that is emptied while its last byte is looked at gets the entry all the same") {
  const scratch here;
  put(here / "log", "1");
  memoria::append_options options;
  options.whole_lines = true;
  std::error_code ec;
  {
    const hook rotation([&](const os::event& e) {
      if (is(e, "pread")) put(here / "log", "");
      return os::verdict();
    });
    memoria::locked_append_text(here / "log", "2", options, ec);
  }
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(memoria::tests::contents(here / "log") == "2\n");
}

DOCTEST_TEST_CASE("a torn entry of any length is cut off, where nothing was written nothing is touched") {
  for (const std::size_t torn : {0u, 1u, 2u}) {
    const scratch here;
    put(here / "log", "old\n");
    int writes = 0, cuts = 0;
    std::error_code ec;
    {
      const hook full([&](const os::event& e) {
        cuts += is(e, "ftruncate") ? 1 : 0;
        if (!is(e, "write")) return os::verdict();
        return ++writes == 1 && torn > 0 ? os::verdict{0, torn} : failing(ENOSPC);
      });
      memoria::locked_append_text(here / "log", "entry\n", ec);
    }
    DOCTEST_CHECK(ec == std::errc::no_space_on_device);
    DOCTEST_CHECK(cuts == (torn > 0 ? 1 : 0));
    DOCTEST_CHECK(memoria::tests::contents(here / "log") == "old\n");
  }
}

DOCTEST_TEST_CASE("a torn entry is not cut off where nobody can tell whose the end of the log is") {
  const scratch here;
  put(here / "log", "old\n");
  int writes = 0;
  std::error_code ec;
  {
    const hook full([&](const os::event& e) {
      if (is(e, "write")) return ++writes == 1 ? os::verdict{0, 2} : failing(ENOSPC);
      return failing(writes > 0 && is(e, "fstat") ? EIO : 0);
    });
    memoria::locked_append_text(here / "log", "entry\n", ec);
  }
  DOCTEST_CHECK(ec == std::errc::no_space_on_device);
  DOCTEST_CHECK(memoria::tests::contents(here / "log") == "old\nen");
}

DOCTEST_TEST_CASE("a log that comes and goes between every two calls is an error in the end") {
  const scratch here;
  std::error_code ec;
  const memoria::confined_dir dir(here.dir, ec);
  int opens = 0;
  const hook opponent([&](const os::event& e) {
    if (is(e, "open", "log") && ++opens % 2 == 0) put(here / "log", "");
    if (is(e, "open", "log") && opens % 2 != 0) fs::remove(here / "log");
    return os::verdict();
  });
  dir.locked_append_text("log", "x", ec);
  DOCTEST_CHECK(ec == memoria::errc::changed_meanwhile);
  DOCTEST_CHECK(opens == 200);
}

DOCTEST_TEST_CASE("a log that may not be opened says why") {
  const scratch here;
  put(here / "log", "old");
  std::error_code ec;
  const memoria::confined_dir dir(here.dir, ec);
  int opens = 0;
  {
    const hook refuse([&](const os::event& e) { return failing(is(e, "open") && ++opens > 0 ? EACCES : 0); });
    memoria::locked_append_text(here / "log", "x", ec);
    DOCTEST_CHECK(ec == std::errc::permission_denied);
    dir.locked_append_text("log", "x", ec);
    DOCTEST_CHECK(ec == std::errc::permission_denied);
    DOCTEST_CHECK(opens == 2);
  }
  opens = 0;
  const hook refuse_new([&](const os::event& e) {  // it is looked for, and then made
    return failing(is(e, "open", "new") && ++opens == 2 ? EACCES : 0);
  });
  memoria::locked_append_text(here / "new", "x", ec);
  DOCTEST_CHECK(ec == std::errc::permission_denied);
  DOCTEST_CHECK(opens == 2);
}

DOCTEST_TEST_CASE("a FIFO is no log, also where it can be opened or not be locked") {
  const scratch here;
  DOCTEST_REQUIRE(::mkfifo((here / "fifo").c_str(), 0600) == 0);
  memoria::append_options options;
  options.whole_lines = true;  // opens for reading, too, which a FIFO allows
  for (const int code : {0, ENOLCK}) {
    std::error_code ec;
    const hook answer([&](const os::event& e) { return failing(is(e, "flock") ? code : 0); });
    memoria::locked_append_text(here / "fifo", "x", options, ec);
    DOCTEST_CHECK(ec == memoria::errc::not_regular);
  }
}

DOCTEST_TEST_CASE("a new log whose first entry failed stays if it is not empty or not ours any more") {
  for (const char* call : {"flock", "stat"}) {
    const scratch here;
    int writes = 0;
    std::error_code ec;
    {
      const hook other_writer([&](const os::event& e) {
        if (is(e, "write")) ++writes;
        if (writes > 0 && is(e, call)) {
          put(here / "new", std::string(call) == "stat" ? "" : "theirs");
          if (std::string(call) == "stat") fs::rename(here / "new", here / "log");
          if (std::string(call) == "flock") put(here / "log", "theirs");
        }
        return failing(is(e, "write") ? ENOSPC : 0);
      });
      memoria::locked_append_text(here / "log", "x", ec);
    }
    DOCTEST_CHECK(writes == 1);
    DOCTEST_CHECK(ec == std::errc::no_space_on_device);
    DOCTEST_CHECK(fs::exists(here / "log"));
  }
}

DOCTEST_TEST_CASE("a new log whose first entry failed stays where somebody reads it locked, or it became a link") {
  for (const bool linked : {false, true}) {
    const scratch here;
    bool failed = false;
    os::handle reader;
    std::error_code ec;
    {
      const hook neighbour([&](const os::event& e) {
        failed = failed || is(e, "write");
        if (failed && !linked && is(e, "flock") && !reader) {
          reader = os::handle(::open((here / "log").c_str(), O_RDONLY | O_CLOEXEC));
          DOCTEST_CHECK(::flock(os::fd(reader), LOCK_SH | LOCK_NB) == 0);
        }
        if (failed && linked && is(e, "stat")) {
          fs::rename(here / "log", here / "elsewhere");
          fs::create_symlink("elsewhere", here / "log");
        }
        return failing(is(e, "write") ? ENOSPC : 0);
      });
      memoria::locked_append_text(here / "log", "x", ec);
    }
    DOCTEST_CHECK(failed);
    DOCTEST_CHECK(ec == std::errc::no_space_on_device);
    DOCTEST_CHECK(here.names() == (linked ? list({"elsewhere", "log"}) : list({"log"})));
  }
}

// ---- [confine]

DOCTEST_TEST_CASE("a walk meets a system with an errno of its own, a directory that became a link, one that is gone") {
  const scratch here;
  fs::create_directories(here / "d");
  put(here / "d" / "f", "x");
  put(here / "file", "");
  fs::create_directory_symlink("d", here / "link");
  std::error_code ec;
  const memoria::confined_dir dir(here.dir, ec);
  {
    const hook freebsd([](const os::event& e) {
      return failing(is(e, "openat2") ? EPERM : is(e, "open", "link") ? EMLINK : 0);
    });
    DOCTEST_CHECK(dir.read_text("link/f", ec) == "x");
  }
  {
    const hook changing([&](const os::event& e) {
      if (is(e, "stat", "file")) {
        fs::remove(here / "file");
        fs::create_directory_symlink("d", here / "file");
      }
      return failing(is(e, "openat2") ? EPERM : 0);
    });
    DOCTEST_CHECK(dir.read_text("file/f", ec) == "x");
    DOCTEST_CHECK(!ec);
  }
  fs::remove(here / "file");
  put(here / "file", "");
  {
    const hook leading_out([&](const os::event& e) {
      if (is(e, "stat", "file")) {
        fs::remove(here / "file");
        fs::create_symlink(fs::canonical(here.dir) / "d" / "f", here / "file");
      }
      return failing(is(e, "openat2") ? EPERM : 0);
    });
    dir.read_text("file/f", ec);
    DOCTEST_CHECK(ec == memoria::errc::unsafe_path);
  }
  fs::remove(here / "file");
  put(here / "file", "");
  const hook failing_look([](const os::event& e) {
    return failing(is(e, "openat2") ? EPERM : is(e, "stat", "file") ? EIO : 0);
  });
  dir.read_text("file/f", ec);
  DOCTEST_CHECK(ec == std::errc::io_error);
}

DOCTEST_TEST_CASE("parents are made where the caller wrote them, not where a link leads or a name is missing") {
  const scratch here;
  fs::create_directory_symlink("absent", here / "a link with a long name");
  std::error_code ec;
  const memoria::confined_dir dir(here.dir, ec);
  for (const int code : {0, EPERM}) {
    int made = 0;
    const hook watch([&](const os::event& e) {
      made += is(e, "mkdir") ? 1 : 0;
      return failing(is(e, "openat2") ? code : 0);
    });
    for (const char* name : {"a link with a long name/f", "new/", "new/.", "new/./"}) {
      dir.atomic_write_text(name, "x", ec);
      DOCTEST_CHECK(ec);
    }
    DOCTEST_CHECK(made == 0);
    dir.atomic_write_text("a//b/./c/f", "x", ec);
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(made == 3);
    fs::remove_all(here / "a");
  }
}

DOCTEST_TEST_CASE("a parent that others make at the same moment is theirs, but not for ever") {
  const scratch here;
  std::error_code ec;
  const memoria::confined_dir dir(here.dir, ec);
  {
    const hook neighbour([&](const os::event& e) {
      if (is(e, "mkdir")) fs::create_directory(here / "d");
      return os::verdict();
    });
    dir.atomic_write_text("d/f", "x", ec);
  }
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(memoria::tests::contents(here / "d" / "f") == "x");
  const hook opponent([](const os::event& e) { return failing(is(e, "mkdir") ? EEXIST : 0); });
  dir.atomic_write_text("e/f", "x", ec);
  DOCTEST_CHECK(ec == std::errc::file_exists);
}

DOCTEST_TEST_CASE("removing what is not there is no error") {
  const scratch here;
  std::error_code ec = std::make_error_code(std::errc::io_error);
  const memoria::confined_dir dir(here.dir, ec);
  for (const char* name : {"f", "absent/f"}) {
    DOCTEST_CHECK(!dir.remove(name, ec));
    DOCTEST_CHECK(!ec);
  }
}

DOCTEST_TEST_CASE("a file that is a link whenever it is opened is an error in the end") {
  const scratch here;
  std::error_code ec;
  const memoria::confined_dir dir(here.dir, ec);
  int opens = 0;
  const hook opponent([&](const os::event& e) {
    const bool open = is(e, "open", "f");
    if (open || is(e, "stat", "f")) fs::remove(here / "f");
    if (open) fs::create_symlink("elsewhere", here / "f");
    if (is(e, "stat", "f")) put(here / "f", "x");
    opens += open ? 1 : 0;
    return failing(is(e, "openat2") ? EPERM : 0);
  });
  DOCTEST_CHECK(dir.read_text("f", ec).empty());
  DOCTEST_CHECK(ec == memoria::errc::changed_meanwhile);
  DOCTEST_CHECK(opens == memoria::detail::symlink_limit + 1);
}

DOCTEST_TEST_CASE("a log that is a link whenever it is opened is an error in the end") {
  const scratch here;
  std::error_code ec;
  const memoria::confined_dir dir(here.dir, ec);
  int opens = 0;
  const hook opponent([&](const os::event& e) {
    const bool open = is(e, "open", "log");
    if (open || is(e, "stat", "log")) fs::remove(here / "log");
    if (open) fs::create_symlink("elsewhere", here / "log");
    if (is(e, "stat", "log")) put(here / "log", "x");
    opens += open ? 1 : 0;
    return os::verdict();
  });
  dir.locked_append_text("log", "x", ec);
  DOCTEST_CHECK(ec == std::errc::too_many_symbolic_link_levels);
  DOCTEST_CHECK(opens == memoria::detail::symlink_limit + 1);
  DOCTEST_CHECK(!fs::exists(here / "elsewhere"));
}

DOCTEST_TEST_CASE("a confined log that is gone when it is locked is made again, one that cannot be looked at is left") {
  const struct {
    const char* removed;
    int code;
  } cases[] = {{"d/log", 0}, {"d", 0}, {"", EIO}};
  for (const auto& c : cases) {
    const scratch here;
    fs::create_directory(here / "d");
    put(here / "d/log", "old");
    std::error_code ec;
    const memoria::confined_dir dir(here.dir, ec);
    bool locked = false;
    {
      const hook neighbour([&](const os::event& e) {
        if (is(e, "flock") && !std::exchange(locked, true) && *c.removed != '\0') fs::remove_all(here / c.removed);
        return failing(locked && is(e, "stat", "log") ? c.code : 0);
      });
      dir.locked_append_text("d/log", "x", ec);
    }
    DOCTEST_CAPTURE(c.removed);
    DOCTEST_CHECK(ec.value() == c.code);
    DOCTEST_CHECK(memoria::tests::contents(here / "d/log") == (c.code == 0 ? "x" : "old"));
  }
}

#ifdef __linux__
DOCTEST_TEST_CASE("where the kernel confines lookups, a way of plain directories is one call") {
  const scratch here;
  fs::create_directories(here / "a" / "b" / "c");
  put(here / "a" / "b" / "c" / "f.md", "old");
  std::error_code ec;
  const memoria::confined_dir dir(here.dir, ec);
  static int lookups, opens;
  const auto calls_of = [&](auto&& work) {
    lookups = opens = 0;
    const hook count([](const os::event& e) {
      lookups += is(e, "openat2") ? 1 : 0;
      opens += is(e, "open") && !opens_temporary(e) ? 1 : 0;
      return os::verdict();
    });
    work();
    DOCTEST_CHECK(!ec);
    return std::pair(lookups, opens);
  };
  if (calls_of([&] { dir.exists("a", ec); }).second != 0) {
    DOCTEST_MESSAGE("skipped: no openat2 here");
    return;
  }
  const std::pair once(1, 0);
  DOCTEST_CHECK(calls_of([&] { dir.atomic_write_text("a/b/c/f.md", "new", ec); }) == once);
  DOCTEST_CHECK(calls_of([&] { dir.atomic_write_text("a/b/c/g.md", "new", ec); }) == once);
  DOCTEST_CHECK(calls_of([&] { dir.remove("a/b/c/g.md", ec); }) == once);
  DOCTEST_CHECK(calls_of([&] { dir.read_text("a/b/c/f.md", ec); }) == once);
  const path base = fs::canonical(here.dir);
  DOCTEST_CHECK(calls_of([&] { memoria::require_article_path("a/b/c/f", base, ec); }) == once);
}
#endif

DOCTEST_TEST_CASE("a confined append need not make directories, and the longest name is 4095 bytes") {
  const scratch here;
  std::error_code ec;
  put(here / "f", "x");
  const memoria::confined_dir dir(here.dir, ec);
  memoria::append_options options;
  options.create_parents = false;
  dir.locked_append_text("new/log", "x", options, ec);
  DOCTEST_CHECK(ec == std::errc::no_such_file_or_directory);
  DOCTEST_CHECK(here.names() == list({"f"}));
  std::string name;
  for (int i = 0; i < 2047; ++i) name += "./";
  DOCTEST_CHECK(dir.exists(name + "f", ec));
  DOCTEST_CHECK(!ec);
  const hook walk([](const os::event& e) { return failing(is(e, "openat2") ? EPERM : 0); });
  DOCTEST_CHECK(dir.exists(name + "f", ec));
  DOCTEST_CHECK(!dir.exists("./" + name + "f", ec));
  DOCTEST_CHECK(ec == std::errc::filename_too_long);
}

// ---- [state]

DOCTEST_TEST_CASE("backups carry the date in UTC, and only such names are taken for them") {
  using std::chrono::seconds;
  for (std::time_t day = 0; day < 140 * 366; ++day) {  // to 2110
    const std::time_t when = day * 86400 + day * 7919 % 86400;  // at every hour, minute and second
    struct ::tm utc = {};
    char text[40];
    std::strftime(text, sizeof text, ".bak-%Y%m%dT%H%M%SZ", ::gmtime_r(&when, &utc));
    DOCTEST_REQUIRE(memoria::detail::backup_stamp(std::chrono::system_clock::duration(seconds(when))) == text);
  }
  DOCTEST_CHECK(memoria::detail::is_backup_stamp("20250101T000000Z"));
  DOCTEST_CHECK(memoria::detail::is_backup_stamp("20250101T000000Z-1"));
  DOCTEST_CHECK(memoria::detail::is_backup_stamp("20250101T000000Z-9999"));
  for (const char* name : {"", "20250101T000000", "2025010/T000000Z", "2025010:T000000Z", "20250101t000000Z",
                           "20250101T00000/Z", "20250101T00000:Z", "20250101Tx00000Z", "20250101T000000z",
                           "20250101T000000Z-", "20250101T000000Z1", "20250101T000000Z-x", "20250101T000000Z-1x",
                           "x0250101T000000Z"}) {
    DOCTEST_CAPTURE(name);
    DOCTEST_CHECK(!memoria::detail::is_backup_stamp(name));
  }
}

DOCTEST_TEST_CASE("max_backups = 0 keeps all, 1 the newest") {
  for (const unsigned most : {0u, 1u}) {
    const scratch here;
    put(here / "s.json", "corrupt");
    for (const char* old : {"s.json.bak-20200101T000000Z", "s.json.bak-20210101T000000Z"}) put(here / old, "");
    memoria::recovery_options options = quiet();
    options.max_backups = most;
    std::error_code ec;
    memoria::load_json_with_recovery(here / "s.json", fallback, options, ec);
    const std::vector<std::string> names = here.names();
    DOCTEST_REQUIRE(names.size() == (most == 0 ? 4u : 2u));  // and the lock
    DOCTEST_CHECK(names.back().back() == 'Z');  // the first within its second has no number
    DOCTEST_CHECK(memoria::tests::contents(here / names.back().c_str()) == "corrupt");
  }
}

DOCTEST_TEST_CASE("a corrupt file that was mended while it was set aside is a backup where there is a newer one") {
  const scratch here;
  put(here / "s.json", "corrupt");
  int renames = 0;
  std::error_code ec;
  json value;
  {
    const hook writers([&](const os::event& e) {
      if (is(e, "rename") && ++renames == 1) put(here / "s.json", "5");  // the same inode
      if (is(e, "rename") && renames == 2) put(here / "s.json", "6");
      return os::verdict();
    });
    value = memoria::load_json_with_recovery(here / "s.json", fallback, quiet(), ec);
  }
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(value == json(6));
  DOCTEST_CHECK(here.names().size() == 3);
}

DOCTEST_TEST_CASE("what takes the place of a corrupt file that was private is private") {
  for (const bool with_generation : {false, true}) {
    const scratch here;
    put(here / "s.json", "corrupt");
    put(here / "s.json.gen-1", with_generation ? "{}" : "corrupt, too");
    bool owned = true;
    for (const char* name : {"s.json", "s.json.gen-1"}) {
      DOCTEST_REQUIRE(::chmod((here / name).c_str(), 0600) == 0);
      owned = ::chown((here / name).c_str(), 65534, 65534) == 0 && owned;  // as root
    }
#ifdef __linux__
    const bool listed = memoria::tests::set_attribute(here / "s.json", "user.origin", "somewhere") && !with_generation;
#endif
    std::error_code ec;
    memoria::update_json(here / "s.json", json::object(), count_up, quiet_update(), ec);
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(memoria::load_json(here / "s.json") == json::object({{"n", 1}}));
    struct ::stat st = {};
    DOCTEST_REQUIRE(::stat((here / "s.json").c_str(), &st) == 0);
    DOCTEST_CHECK((st.st_mode & 07777u) == 0600);
    if (owned) DOCTEST_CHECK((st.st_uid == 65534 && st.st_gid == 65534));
#ifdef __linux__
    if (listed) DOCTEST_CHECK(memoria::tests::attribute(here / "s.json", "user.origin") == "somewhere");
#endif
  }
}

DOCTEST_TEST_CASE("a corrupt file that somebody makes private while it is set aside has a private backup") {
  const scratch here;
  put(here / "s.json", "corrupt");
  put(here / "s.json.gen-1", "1");
  put(here / "new", "corrupt");  // the same bytes
  DOCTEST_REQUIRE(::chmod((here / "new").c_str(), 0600) == 0);
  std::error_code ec, gone;
  {
    const hook neighbour([&](const os::event& e) {
      if (is(e, "rename") && std::string_view(e.second) == "s.json") fs::rename(here / "new", here / "s.json", gone);
      return os::verdict();
    });
    memoria::load_json_with_recovery(here / "s.json", fallback, quiet(), ec);
  }
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(!fs::exists(here / "new"));
  int backups = 0;
  for (const std::string& name : here.names()) {
    if (name.find(".bak-") == std::string::npos) continue;
    ++backups;
    DOCTEST_CHECK(static_cast<unsigned>(fs::status(here / name.c_str()).permissions()) == 0600u);
  }
  DOCTEST_CHECK(backups == 1);
}

DOCTEST_TEST_CASE("a corrupt file that is removed before it is set aside, or replaced, is gone: no error, no copy") {
  for (const bool with_generation : {false, true}) {
    const scratch here;
    put(here / "s.json", "corrupt");
    if (with_generation) put(here / "s.json.gen-1", "1");
    std::error_code ec;
    json value;
    {
      const hook neighbour([&](const os::event& e) {
        if (is(e, "rename", "s.json") || (is(e, "rename") && std::string_view(e.second) == "s.json")) {
          fs::remove(here / "s.json");
        }
        return os::verdict();
      });
      value = memoria::load_json_with_recovery(here / "s.json", fallback, quiet(), ec);
    }
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(value == fallback);
    DOCTEST_CHECK(look(here.dir) == (with_generation ? tree{{"s.json.gen-1", "1"}} : tree{}));
  }
}

DOCTEST_TEST_CASE("the oldest generation that is looked at is used, and no backup replaces another") {
  const scratch here;
  memoria::recovery_options options = quiet();
  options.generations = 2;
  put(here / "s.json.gen-1", "corrupt, too");
  put(here / "s.json.gen-2", "2");
  std::error_code ec;
  for (std::size_t round = 1; round <= 3; ++round) {  // within one second, as a rule
    put(here / "s.json", "corrupt " + std::to_string(round));
    DOCTEST_CHECK(memoria::load_json_with_recovery(here / "s.json", fallback, options, ec) == json(2));
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(here.names().size() == 4 + round);  // the state, two generations, the lock
  }
}

DOCTEST_TEST_CASE("a generation in its place, and the copy of what it displaces, are durable and as they were") {
  const scratch here;
  put(here / "s.json", "corrupt");
  put(here / "s.json.gen-1", "1");
  ::chmod((here / "s.json").c_str(), 0640);
  ::chmod((here / "s.json.gen-1").c_str(), 0604);
  std::string calls;
  std::error_code ec;
  {
    const hook watch([&](const os::event& e) {
      const bool exchange = is(e, "rename") && std::string_view(e.second) == "s.json";
      if (is(e, "fsync") || is(e, "fsync directory")) calls.append(e.call) += ", ";
      if (exchange) calls += "exchange, ";
      return os::verdict();
    });
    memoria::load_json_with_recovery(here / "s.json", fallback, quiet(), ec);
  }
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(calls == "fsync, fsync, fsync directory, exchange, fsync directory, ");
  for (const std::string& name : here.names()) {
    const bool kept = name.find(".bak-") != std::string::npos, lock = name.front() == '.';
    const auto mode = static_cast<unsigned>(fs::status(here / name.c_str()).permissions());
    DOCTEST_CHECK(mode == (kept || lock ? 0640 : 0604));
  }
}

DOCTEST_TEST_CASE("a generation that cannot take its place because that is a mount point says so") {
  const scratch here;
  put(here / "s.json", "corrupt");
  put(here / "s.json.gen-1", "1");
  const hook mounted([](const os::event& e) {
    return failing(is(e, "rename") && std::string_view(e.second) == "s.json" ? EBUSY : 0);
  });
  try {
    memoria::load_json_with_recovery(here / "s.json", fallback, quiet());
    DOCTEST_FAIL_CHECK("an error expected");
  } catch (const memoria::state_corruption_error& e) {
    DOCTEST_CHECK(std::string_view(e.what()).find(memoria::detail::mount_point_note) != std::string_view::npos);
    DOCTEST_CHECK(e.backup_path().empty());
  }
  DOCTEST_CHECK(look(here.dir) == tree{{"s.json", "corrupt"}, {"s.json.gen-1", "1"}});
}

DOCTEST_TEST_CASE("a backup that became a link before it is synced is not durable") {
  const scratch here;
  put(here / "s.json", "corrupt");
  std::error_code ec;
  int opens = 0;
  {
    const hook neighbour([&](const os::event& e) {
      const std::string_view name(e.first == nullptr ? "" : e.first);
      const bool backup = is(e, "open") && name.find(".bak-") != std::string_view::npos;
      if (!backup || ++opens != 2) return os::verdict();  // the first was to look at it
      fs::rename(here / e.first, here / "elsewhere");
      fs::create_symlink("elsewhere", here / e.first);
      return failing(EACCES);
    });
    memoria::load_json_with_recovery(here / "s.json", fallback, quiet(), ec);
  }
  DOCTEST_CHECK(opens == 3);
  DOCTEST_CHECK(ec == memoria::errc::not_durable);
}

DOCTEST_TEST_CASE("an update frees its lock also where a forked child still has the descriptor") {
  const scratch here;
  memoria::update_options options = quiet_update();
  options.timeout = std::chrono::milliseconds(0);
  std::error_code ec;
  os::handle child_has;
  memoria::update_json(here / "s.json", json::object(), [&](json&) {
    struct ::stat lock = {}, open = {};
    DOCTEST_REQUIRE(::stat((here / ".s.json.lock").c_str(), &lock) == 0);
    for (int fd = 3; fd < 64 && !child_has; ++fd) {
      if (::fstat(fd, &open) == 0 && open.st_ino == lock.st_ino) child_has = os::handle(::dup(fd));
    }
  }, options, ec);
  DOCTEST_REQUIRE(child_has);
  memoria::update_json(here / "s.json", json::object(), count_up, options, ec);
  DOCTEST_CHECK(!ec);
}

DOCTEST_TEST_CASE("a corrupt state behind a link that is to be replaced stays, as the link does") {
  for (const bool with_generation : {false, true}) {
    const scratch here;
    put(here / "real", "corrupt");
    fs::create_symlink("real", here / "s.json");
    if (with_generation) put(here / "s.json.gen-1", "1");
    memoria::update_options options = quiet_update();
    options.symlinks = memoria::symlink_policy::replace;
    const tree before = look(here.dir);
    try {
      memoria::update_json(here / "s.json", json::object(), count_up, options);
      DOCTEST_FAIL_CHECK("an error expected");
    } catch (const memoria::state_corruption_error& e) {
      DOCTEST_CHECK(e.code() == std::errc::too_many_symbolic_link_levels);
      DOCTEST_CHECK(e.backup_path().empty());
    }
    DOCTEST_CHECK(look(here.dir) == before);
  }
}

DOCTEST_TEST_CASE("an update that cannot be written has no value") {
  const scratch here;
  put(here / "s.json", "{}");
  std::error_code ec;
  const hook full([](const os::event& e) { return failing(is(e, "write") ? ENOSPC : 0); });
  DOCTEST_CHECK(memoria::update_json(here / "s.json", json::object(), count_up, quiet_update(), ec).is_null());
  DOCTEST_CHECK(ec == std::errc::no_space_on_device);
}

DOCTEST_TEST_CASE("a state is replaced as it is once the lock is ours, not as it was before") {
  const scratch here;
  put(here / "s.json", "1");
  std::error_code ec;
  memoria::json_snapshot missing = memoria::load_json_snapshot(here / "t.json", fallback, ec);
  const hook neighbour([&](const os::event& e) {  // who was quicker
    if (is(e, "flock")) {
      for (const char* name : {"s.json", "t.json"}) {
        put(here / name, "2");
        ::chmod((here / name).c_str(), 0600);
      }
    }
    return os::verdict();
  });
  memoria::save_json(here / "s.json", json(3), ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(memoria::tests::contents(here / "s.json") == "3");
  DOCTEST_CHECK(static_cast<unsigned>(fs::status(here / "s.json").permissions()) == 0600u);
  fs::remove(here / "t.json");
  DOCTEST_CHECK(!memoria::save_json_if_unchanged(here / "t.json", missing, json(3), ec));
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(memoria::tests::contents(here / "t.json") == "2");
}

DOCTEST_TEST_CASE("where the last generation is corrupt, too, the fallback is used") {
  const scratch here;
  put(here / "s.json", "corrupt");
  put(here / "s.json.gen-1", "corrupt, too");
  memoria::recovery_options options = quiet();
  options.generations = 1;
  std::error_code ec;
  DOCTEST_CHECK(memoria::load_json_with_recovery(here / "s.json", fallback, options, ec) == fallback);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(!fs::exists(here / "s.json"));
  DOCTEST_CHECK(memoria::tests::contents(here / "s.json.gen-1") == "corrupt, too");
}

DOCTEST_TEST_CASE("saving another file inside an update, again and again, is no nesting") {
  const scratch here;
  std::error_code ec, other;
  memoria::update_json(here / "s.json", json::object(), [&](json& s) {
    for (int i = 0; i < 2 && !other; ++i) memoria::save_json(here / "t.json", json(i), other);
    s["n"] = 1;
  }, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(!other);
  DOCTEST_CHECK(memoria::load_json(here / "t.json") == json(1));
}

DOCTEST_TEST_CASE("a lock file that is a link to another's is not taken for that one") {
  const scratch here;
  std::error_code ec, other;
  fs::create_symlink(".s.json.lock", here / ".t.json.lock");
  memoria::update_json(here / "s.json", json::object(), [&](json&) {
    memoria::save_json(here / "t.json", json(1), other);
  }, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(other == std::errc::too_many_symbolic_link_levels);  // not: nested
}

DOCTEST_TEST_CASE("a FIFO is no state, and gets no lock file") {
  const scratch here;
  DOCTEST_REQUIRE(::mkfifo((here / "s.json").c_str(), 0600) == 0);
  std::error_code ec;
  memoria::save_json(here / "s.json", json(1), ec);
  DOCTEST_CHECK(ec == memoria::errc::not_regular);
  DOCTEST_CHECK(here.names() == list({"s.json"}));
}

DOCTEST_TEST_CASE("a link pointed to a file of the same name elsewhere while the lock is waited for") {
  const scratch here;
  for (const char* d : {"a", "b"}) {
    fs::create_directory(here / d);
    put(here / d / "x.json", std::string("{\"from\": \"") + d + "\"}");
  }
  fs::create_symlink("a/x.json", here / "s.json");
  bool moved = false;
  std::error_code ec;
  json value;
  {
    const hook repoint([&](const os::event& e) {
      if (is(e, "flock") && !std::exchange(moved, true)) {
        fs::remove(here / "s.json");
        fs::create_symlink("b/x.json", here / "s.json");
      }
      return os::verdict();
    });
    value = memoria::update_json(here / "s.json", json::object(), [](json& s) { s["n"] = 1; }, ec);
  }
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(value == json::object({{"from", "b"}, {"n", 1}}));
  DOCTEST_CHECK(memoria::load_json(here / "a" / "x.json") == json::object({{"from", "a"}}));
  memoria::save_json(here / "a" / "x.json", json(2), ec);  // whose lock we have left
  DOCTEST_CHECK(!ec);
}

DOCTEST_TEST_CASE("a corrupt file that its writer mends in place while it is set aside is put back and read") {
  for (const bool with_generation : {false, true}) {
    const scratch here;
    put(here / "s.json", "{\"n\": ");
    if (with_generation) put(here / "s.json.gen-1", "{\"n\": 1}");
    bool mended = false;
    std::error_code ec;
    json value;
    {
      const hook writer([&](const os::event& e) {
        const bool at = is(e, "rename") && (is(e, "rename", "s.json") || std::string_view(e.second) == "s.json");
        if (at && !std::exchange(mended, true)) put(here / "s.json", "{\"n\": 5}");  // the same inode
        return os::verdict();
      });
      value = memoria::load_json_with_recovery(here / "s.json", fallback, quiet(), ec);
    }
    DOCTEST_CHECK(mended);
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(value == json::object({{"n", 5}}));
    DOCTEST_CHECK(memoria::tests::contents(here / "s.json") == "{\"n\": 5}");
  }
}

DOCTEST_TEST_CASE("a corrupt file that may only be read is set aside durably all the same") {
  const scratch here;
  put(here / "s.json", "corrupt");
  bool renamed = false;
  int refused = 0, synced = 0;
  std::error_code ec;
  {
    const hook read_only([&](const os::event& e) {
      renamed = renamed || is(e, "rename");
      // The backup is opened to look at it, to sync it, and without writing to sync it.
      const bool backup = renamed && is(e, "open") && std::string_view(e.first).find(".bak-") != std::string_view::npos;
      synced += renamed && is(e, "fsync") ? 1 : 0;
      return failing(backup && ++refused == 2 ? EACCES : 0);
    });
    memoria::load_json_with_recovery(here / "s.json", fallback, quiet(), ec);
  }
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(refused == 3);
  DOCTEST_CHECK(synced == 1);
}

DOCTEST_TEST_CASE("a snapshot is not saved where the value is no text, or over a link that is to be replaced") {
  const scratch here;
  put(here / "real", "1");
  fs::create_symlink("real", here / "s.json");
  std::error_code ec;
  memoria::json_snapshot snapshot = memoria::load_json_snapshot(here / "s.json", fallback, ec);
  DOCTEST_CHECK(!memoria::save_json_if_unchanged(here / "s.json", snapshot, json("\xFF"), ec));
  DOCTEST_CHECK(ec == memoria::errc::json_type);
  memoria::save_options options;
  options.symlinks = memoria::symlink_policy::replace;
  DOCTEST_CHECK(!memoria::save_json_if_unchanged(here / "s.json", snapshot, json(2), options, ec));
  DOCTEST_CHECK(ec == memoria::errc::not_regular);
  DOCTEST_CHECK(memoria::tests::contents(here / "real") == "1");
}

DOCTEST_TEST_CASE("a report says what was found, and what is there is returned by the throwing form, too") {
  using damage = memoria::recovery_report::damage;
  const std::pair<damage, const char*> cases[] = {{damage::empty, "is empty"}, {damage::zeros, "NUL bytes"},
                                                  {damage::truncated, "too early"}, {damage::syntax, "is not JSON"}};
  for (const auto& [found, text] : cases) {
    memoria::recovery_report report;
    report.found = found;
    DOCTEST_CHECK(report.message().find(text) != std::string::npos);
  }
  const scratch here;
  put(here / "s.json", "3");
  DOCTEST_CHECK(memoria::load_json_with_recovery(here / "s.json", fallback) == json(3));
  put(here / "s.json", "corrupt");
  DOCTEST_CHECK(memoria::load_json_with_recovery(here / "s.json", fallback, quiet()) == fallback);
  try {
    memoria::load_json(here / "s.json");  // set aside: missing, which is no corruption
    DOCTEST_FAIL_CHECK("an error expected");
  } catch (const memoria::state_corruption_error&) {
    DOCTEST_FAIL_CHECK("nothing is corrupt");
  } catch (const memoria::error& e) {
    DOCTEST_CHECK(e.code() == std::errc::no_such_file_or_directory);
  }
}

DOCTEST_TEST_CASE("a file that is wrong up to its last character does not end too early") {
  for (const char* text : {"x", "[1, x", "[1, x\n"}) {
    const scratch here;
    put(here / "s.json", text);
    memoria::recovery_report::damage found = memoria::recovery_report::damage::empty;
    memoria::recovery_options options;
    options.reporter = [&](const memoria::recovery_report& report) { found = report.found; };
    std::error_code ec;
    memoria::load_json_with_recovery(here / "s.json", fallback, options, ec);
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(found == memoria::recovery_report::damage::syntax);
  }
}

DOCTEST_TEST_CASE("what is noexcept and made on first use does not allocate") {
  DOCTEST_CHECK(allocated_for_a_code == 0);
}

DOCTEST_TEST_SUITE_END();

int main(int argc, char** argv) {
  std::signal(SIGALRM, hangs);
  doctest::Context context;
  for (const char* suite : {"failures", "slow"}) context.addFilter("test-suite", suite);  // not the header's own
  context.applyCommandLine(argc, argv);
  return context.run();
}
