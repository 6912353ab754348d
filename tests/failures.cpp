// Every operation with every system call failing, one at a time, all of one kind, or all from some call on: what is
// there afterwards is the state before or after, file by file and whole, nothing else lies about, and "no error" means
// done. The calls are made to fail by the seam of detail::os, as the header's own test cases do. POSIX only.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#define MEMORIA_FS_TESTS
#include <atomic>
#include <csignal>
#include <map>
#include <memoria_fs.hpp>
#include <new>

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
using memoria::tests::put;

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

os::verdict judge(const os::event& e) {
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

}  // namespace

extern "C" void hangs(int) {
  std::fprintf(stderr, "does not end after 60 s: %s failing %s\n", struck.c_str(), std::strerror(now.error));
  std::_Exit(1);
}

DOCTEST_TEST_SUITE_BEGIN("failures");

DOCTEST_TEST_CASE("each call of each operation fails in every way") {
  const path dir = place();
  for (const bool walk : {false, true}) {  // both back ends of confined_dir
    for (const operation& o : operations) {
      const bool confined = std::string_view(o.name).substr(0, 8) == "confined";
      if (walk && !confined) continue;
      fs::remove_all(dir);
      fs::create_directories(dir);
      o.prepare(dir);
      const tree before = look(dir);
      const outcome good = attempt(o, dir, {});
      const long calls = seen;
      DOCTEST_INFO(std::string(o.name));
      DOCTEST_REQUIRE(!good.ec);
      DOCTEST_CHECK(calls > 0);
      std::size_t wrong = 0;
      for (const way how : {way::one, way::kind, way::onwards}) {
        for (const fault_kind& kind : kinds) {
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
  fs::remove_all(dir);
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

DOCTEST_TEST_CASE("a file never takes the number of a standard stream that is closed") {
  const path dir = place();
  fs::create_directories(dir);
  const int kept = ::fcntl(0, F_DUPFD_CLOEXEC, 10);
  ::close(0);
  std::error_code ec;
  memoria::atomic_write_text(dir / "f", "x", ec);
  const memoria::file_lock lock(dir / "l", ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(::fcntl(0, F_GETFD) == -1);  // still free
  if (kept != -1) {
    ::dup2(kept, 0);
    ::close(kept);
  }
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
  const memoria::link_graph graph(dir, ec);
  DOCTEST_CHECK(!ec);
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

DOCTEST_TEST_CASE("what is noexcept and made on first use does not allocate") {
  DOCTEST_CHECK(allocated_for_a_code == 0);
}

DOCTEST_TEST_SUITE_END();

int main(int argc, char** argv) {
  std::signal(SIGALRM, hangs);
  doctest::Context context;
  context.addFilter("test-suite", "failures");  // not the header's own
  context.applyCommandLine(argc, argv);
  return context.run();
}
