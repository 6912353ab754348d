// Every public function on input that cannot be right: an error that names operation, path and reason, and a tree that is
// byte for byte what it was. Cases called "no permission" need a user who has not all permissions: run as root they are
// left out here, and `neighbours.py no_permission` runs them as nobody.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <fstream>
#include <functional>
#include <map>
#include <memoria_fs.hpp>
#include <random>
#ifndef _WIN32
#include <unistd.h>
#endif

namespace fs = std::filesystem;
using memoria::json;
using memoria::path;

namespace {

bool has_all_permissions() {
#ifdef _WIN32
  return true;  // permission bits mean something else there
#else
  return ::geteuid() == 0;
#endif
}

void write(const path& file, std::string_view content) { std::ofstream(file, std::ios::binary) << content; }

// A directory with something of every kind in it, and what it looked like.
class sandbox {
 public:
  sandbox() {
    static std::random_device random;
    root = fs::temp_directory_path() / ("memoria-bad-input-" + std::to_string(random()));
    fs::create_directories(root / "dir" / "inner");
    write(root / "file", "plain bytes");
    write(root / "state.json", "{\"a\": 1}");
    write(root / "dir" / "note.md", "[[other]]");
    before = look();
  }
  ~sandbox() {
    std::error_code ignored;
    for (const char* name : {"dir", "dir/inner", "file", "state.json"}) {
      fs::permissions(root / name, fs::perms::owner_all, ignored);
    }
    fs::remove_all(root, ignored);
  }
  std::map<std::string, std::string> look() const {
    std::map<std::string, std::string> seen;
    for (const auto& entry : fs::recursive_directory_iterator(root, fs::directory_options::skip_permission_denied)) {
      std::ifstream in(entry.path(), std::ios::binary);
      seen[entry.path().string()] =
          entry.is_directory() ? "a directory" : std::string(std::istreambuf_iterator<char>(in), {});
    }
    return seen;
  }
  void is_unchanged() const {
    const auto now = look();
    for (const auto& entry : now) {
      DOCTEST_CAPTURE(entry.first);
      DOCTEST_CHECK(before.count(entry.first) == 1);
    }
    DOCTEST_CHECK(now == before);
  }

  path root;
  std::map<std::string, std::string> before;
};

// One function in both forms.
struct operation {
  std::string name;  // as error::operation() gives it
  std::function<void(const path&, std::error_code&)> with_code;
  std::function<void(const path&)> throwing;
};

const json some_json = json::object({{"k", 1}});
const auto change = [](json& j) { j["changed"] = true; };

memoria::json_snapshot no_snapshot() { return {}; }

const std::vector<operation> writers = {
    {"atomic_write_text", [](const path& p, std::error_code& ec) { memoria::atomic_write_text(p, "new", ec); },
     [](const path& p) { memoria::atomic_write_text(p, "new"); }},
    {"atomic_file",
     [](const path& p, std::error_code& ec) {
       memoria::atomic_file f(p, ec);
       if (!ec) f.write("new", ec);
       if (!ec) f.commit(ec);
     },
     [](const path& p) {
       memoria::atomic_file f(p);
       f.write("new");
       f.commit();
     }},
    {"write_batch",
     [](const path& p, std::error_code& ec) {
       memoria::write_batch b;
       b.add(p, "new", ec);
       if (!ec) b.commit(ec);
     },
     [](const path& p) {
       memoria::write_batch b;
       b.add(p, "new");
       b.commit();
     }},
    {"locked_append_text", [](const path& p, std::error_code& ec) { memoria::locked_append_text(p, "new", ec); },
     [](const path& p) { memoria::locked_append_text(p, "new"); }},
    {"save_json", [](const path& p, std::error_code& ec) { memoria::save_json(p, some_json, ec); },
     [](const path& p) { memoria::save_json(p, some_json); }},
    {"update_json", [](const path& p, std::error_code& ec) { memoria::update_json(p, some_json, change, ec); },
     [](const path& p) { memoria::update_json(p, some_json, change); }},
    {"save_json_if_unchanged",
     [](const path& p, std::error_code& ec) {
       auto s = no_snapshot();
       memoria::save_json_if_unchanged(p, s, some_json, ec);
     },
     [](const path& p) {
       auto s = no_snapshot();
       memoria::save_json_if_unchanged(p, s, some_json);
     }},
    {"file_lock", [](const path& p, std::error_code& ec) { DOCTEST_CHECK(!memoria::file_lock(p, ec).owns_lock()); },
     [](const path& p) { memoria::file_lock lock(p); }},
};

const std::vector<operation> readers = {
    {"read_text", [](const path& p, std::error_code& ec) { DOCTEST_CHECK(memoria::read_text(p, ec).empty()); },
     [](const path& p) { memoria::read_text(p); }},
    {"load_json", [](const path& p, std::error_code& ec) { DOCTEST_CHECK(memoria::load_json(p, ec).is_null()); },
     [](const path& p) { memoria::load_json(p); }},
};

// A file that is not there is no error for these.
const std::vector<operation> recovering_readers = {
    {"load_json_with_recovery",
     [](const path& p, std::error_code& ec) {
       DOCTEST_CHECK(memoria::load_json_with_recovery(p, some_json, ec).is_null());
     },
     [](const path& p) { memoria::load_json_with_recovery(p, some_json); }},
    {"load_json_snapshot",
     [](const path& p, std::error_code& ec) {
       DOCTEST_CHECK(memoria::load_json_snapshot(p, some_json, ec).value.is_null());
     },
     [](const path& p) { memoria::load_json_snapshot(p, some_json); }},
};

const std::vector<operation> directory_users = {
    {"remove_stale_temporaries",
     [](const path& p, std::error_code& ec) { DOCTEST_CHECK(memoria::remove_stale_temporaries(p, ec) == 0); },
     [](const path& p) { memoria::remove_stale_temporaries(p); }},
    {"confined_dir", [](const path& p, std::error_code& ec) { memoria::confined_dir d(p, ec); },
     [](const path& p) { memoria::confined_dir d(p); }},
    {"count_inbound_links",
     [](const path& p, std::error_code& ec) { DOCTEST_CHECK(memoria::count_inbound_links("other", p, ec) == 0); },
     [](const path& p) { memoria::count_inbound_links("other", p); }},
    {"link_graph",
     [](const path& p, std::error_code& ec) { DOCTEST_CHECK(memoria::link_graph(p, ec).notes().empty()); },
     [](const path& p) { memoria::link_graph g(p); }},
    {"rename_article",
     [](const path& p, std::error_code& ec) { DOCTEST_CHECK(!memoria::rename_article(p, "note", "new", ec).moved); },
     [](const path& p) { memoria::rename_article(p, "note", "new"); }},
};

// Both forms fail on `bad`, alike, and say what, where and why.
void fails(const operation& op, const path& bad, std::error_condition expected = {}) {
  DOCTEST_CAPTURE(op.name);
  DOCTEST_CAPTURE(bad.string().substr(0, 80));
  std::error_code ec;
  op.with_code(bad, ec);
  DOCTEST_CHECK(ec);
  if (expected) DOCTEST_CHECK(ec == expected);
  try {
    op.throwing(bad);
    DOCTEST_FAIL_CHECK("does not throw");
  } catch (const memoria::error& e) {
    const std::string what = e.what();
    DOCTEST_CAPTURE(what);
    DOCTEST_CHECK(e.operation().find(op.name) == 0);
    DOCTEST_CHECK(what.find(op.name) == 0);
    DOCTEST_CHECK(e.path1() == bad);
    DOCTEST_CHECK(what.find(bad.string().c_str()) != std::string::npos);  // as far as a NUL in it
    DOCTEST_CHECK(what.find(e.code().message()) != std::string::npos);
    DOCTEST_CHECK(e.code() == ec);
  }
}

template <class... Lists>
std::vector<operation> all(const Lists&... lists) {
  std::vector<operation> joined;
  (joined.insert(joined.end(), lists.begin(), lists.end()), ...);
  return joined;
}

const std::string long_name(300, 'n');
path long_path() {
  std::string text = "p";
  while (text.size() < 70'000) text += "/p";  // beyond what Windows takes, too
  return text;
}

DOCTEST_TEST_CASE("an empty path") {
  const sandbox s;
  for (const operation& op : all(writers, readers, recovering_readers, directory_users)) fails(op, path());
  s.is_unchanged();
}

DOCTEST_TEST_CASE("a NUL byte in a path, which must not cut it short") {
  const sandbox s;
  for (const operation& op : all(writers, readers, recovering_readers)) {
    fails(op, s.root / std::string("file\0.json", 10));
    fails(op, s.root / std::string("new\0.json", 9));
  }
  for (const operation& op : directory_users) fails(op, s.root / std::string("dir\0x", 5));
  s.is_unchanged();
}

DOCTEST_TEST_CASE("a directory where a file should be") {
  const sandbox s;
  for (const operation& op : all(writers, readers, recovering_readers)) fails(op, s.root / "dir");
  s.is_unchanged();
}

DOCTEST_TEST_CASE("a file where a directory should be") {
  const sandbox s;
  for (const operation& op : directory_users) fails(op, s.root / "file");
  for (const operation& op : all(writers, readers)) fails(op, s.root / "file" / "below");
  s.is_unchanged();
}

DOCTEST_TEST_CASE("what is not there") {
  const sandbox s;
  for (const operation& op : readers)
    fails(op, s.root / "missing", make_error_condition(std::errc::no_such_file_or_directory));
  for (const operation& op : directory_users) fails(op, s.root / "missing");
  s.is_unchanged();
}

DOCTEST_TEST_CASE("names longer than the system allows") {
  const sandbox s;
  for (const operation& op : all(writers, readers, directory_users)) {
    fails(op, s.root / long_name);
    fails(op, s.root / long_name / "x");
    fails(op, s.root / long_path());
  }
  s.is_unchanged();
}

DOCTEST_TEST_CASE("names that are not UTF-8 are names where the system says so, and an error elsewhere") {
  const sandbox s;
  for (const char* bytes : {"\xFF\xFE", "a\x80", "\xC0\xAF"}) {
    std::error_code ec;
    const auto article = memoria::safe_article_path(bytes, s.root);
    const memoria::confined_dir d(s.root);
    d.atomic_write_text(bytes, "content", {}, ec);
    if (article) {
      DOCTEST_CHECK(!ec);
      DOCTEST_CHECK(d.read_text(bytes) == "content");
      DOCTEST_CHECK(d.remove(bytes));
    } else {
      DOCTEST_CHECK(ec);
    }
  }
  s.is_unchanged();
}

DOCTEST_TEST_CASE("names that no confined directory and no article can have") {
  const sandbox s;
  const memoria::confined_dir d(s.root);
  for (const std::string& name : {std::string(".."), std::string("/"), std::string("/etc/passwd"),
                                  std::string("dir/../.."), std::string("dir/\0x", 6), std::string("file\0", 5),
                                  std::string("../") + s.root.filename().string() + "/file"}) {
    DOCTEST_CAPTURE(name);
    std::error_code ec;
    DOCTEST_CHECK(d.read_text(name, ec).empty());
    DOCTEST_CHECK(ec);
    d.atomic_write_text(name, "new", {}, ec);
    DOCTEST_CHECK(ec);
    d.locked_append_text(name, "new", {}, ec);
    DOCTEST_CHECK(ec);
    DOCTEST_CHECK(!d.exists(name, ec));
    DOCTEST_CHECK(ec);
    DOCTEST_CHECK(!d.remove(name, ec));
    DOCTEST_CHECK(ec);
    DOCTEST_CHECK(d.list(name, ec).empty());
    DOCTEST_CHECK(ec);
    DOCTEST_CHECK_THROWS_AS(d.read_text(name), memoria::error);
    DOCTEST_CHECK_THROWS_AS(d.atomic_write_text(name, "new"), memoria::error);
    DOCTEST_CHECK_THROWS_AS(d.locked_append_text(name, "new"), memoria::error);
    DOCTEST_CHECK_THROWS_AS(d.exists(name), memoria::error);
    DOCTEST_CHECK_THROWS_AS(d.remove(name), memoria::error);
    DOCTEST_CHECK_THROWS_AS(d.list(name), memoria::error);
  }
  for (const std::string& link : {std::string(), std::string(" "), std::string("|alias"), std::string("/etc/passwd"),
                                  std::string("a\0b", 3), std::string("../file")}) {
    DOCTEST_CAPTURE(link);
    std::error_code ec;
    DOCTEST_CHECK(!memoria::safe_article_path(link, s.root));
    DOCTEST_CHECK(!memoria::wiki_article_exists(link, s.root));
    DOCTEST_CHECK(memoria::require_article_path(link, s.root, ec).empty());
    DOCTEST_CHECK(ec == memoria::errc::unsafe_path);
    DOCTEST_CHECK_THROWS_AS(memoria::require_article_path(link, s.root), memoria::unsafe_path_error);
  }
  s.is_unchanged();
}

DOCTEST_TEST_CASE("articles that cannot be renamed") {
  const sandbox s;
  for (const std::string& name :
       {std::string(), std::string(".."), std::string("../x"), std::string("/x"), std::string("a\0b", 3),
        std::string("a|b"), std::string("a]]b"), std::string("a\nb"), long_name}) {
    DOCTEST_CAPTURE(name);
    std::error_code ec;
    memoria::rename_article(s.root / "dir", "note", name, ec);
    DOCTEST_CHECK(ec);
    memoria::rename_article(s.root / "dir", name, "new", ec);
    DOCTEST_CHECK(ec);
    DOCTEST_CHECK_THROWS_AS(memoria::rename_article(s.root / "dir", "note", name), memoria::error);
  }
  auto seen = s.look();
  seen.erase((s.root / "dir" / ".memoria.lock").string());  // the lock file of renames stays
  DOCTEST_CHECK(seen == s.before);
}

DOCTEST_TEST_CASE("JSON that cannot be written changes nothing") {
  const sandbox s;
  const path file = s.root / "state.json";
  for (const std::string& text : {std::string("\xFF"), std::string("\xC3"), std::string("\xF4\x90\x80\x80")}) {
    std::error_code ec;
    memoria::save_json(file, json(text), ec);
    DOCTEST_CHECK(ec == memoria::errc::json_type);
    memoria::update_json(file, nullptr, [&](json& j) { j["bad"] = text; }, ec);
    DOCTEST_CHECK(ec == memoria::errc::json_type);
    DOCTEST_CHECK_THROWS_AS(memoria::save_json(file, json(text)), memoria::error);
  }
  fs::remove(memoria::lock_path(file));
  s.is_unchanged();
}

DOCTEST_TEST_CASE("any bytes at all are text for the functions that only read text") {
  std::mt19937 random(1);
  const std::string alphabet = std::string("[]|#^`$%-!\\\n {}\":,0e.a\xE2\x80\xA8\xFF") + '\0';
  for (int round = 0; round < 20'000; ++round) {
    std::string text(random() % 40, '\0');
    for (char& c : text) c = alphabet[random() % alphabet.size()];
    DOCTEST_CAPTURE(text);

    const std::string_view slug = memoria::parse_wikilink(text);
    DOCTEST_REQUIRE(text.find(slug) != std::string::npos);
    for (const std::string& target : memoria::extract_wikilinks(text)) DOCTEST_REQUIRE(!target.empty());
    for (const bool include_code : {false, true}) {
      for (const memoria::wikilink& link : memoria::wikilinks(text, {include_code})) {
        DOCTEST_REQUIRE(link.offset + link.length <= text.size());
        DOCTEST_REQUIRE(!link.target.empty());
      }
    }
    const auto keep = [](const memoria::wikilink&) { return std::optional<std::string>(); };
    DOCTEST_REQUIRE(memoria::replace_wikilinks(text, keep) == text);
    const memoria::text_position end = memoria::position_of(text, text.size() + 9);
    DOCTEST_REQUIRE(end.line >= 1);
    DOCTEST_REQUIRE(end.column >= 1);

    std::error_code ec;
    json::parse(text, ec);
    DOCTEST_REQUIRE(json::accept(text) == !ec);
    json(text).find_pointer(text);
  }
}

DOCTEST_TEST_CASE("no permission to read a file: an error, and the file stays" * doctest::skip(has_all_permissions())) {
  const sandbox s;
  const path file = s.root / "state.json";
  fs::permissions(file, fs::perms::none);
  const auto denied = make_error_condition(std::errc::permission_denied);
  for (const operation& op : all(readers, recovering_readers)) fails(op, file, denied);
  for (const operation& op : writers) {
    if (op.name == "update_json" || op.name == "save_json_if_unchanged") fails(op, file, denied);
  }
  fs::permissions(file, fs::perms::owner_all);
  fs::remove(memoria::lock_path(file));
  s.is_unchanged();
}

DOCTEST_TEST_CASE("no permission to write to a directory: an error, and nothing in it" *
                  doctest::skip(has_all_permissions())) {
  const sandbox s;
  fs::permissions(s.root / "dir", fs::perms::owner_read | fs::perms::owner_exec);
  const auto denied = make_error_condition(std::errc::permission_denied);
  for (const operation& op : writers) {
    fails(op, s.root / "dir" / "new", denied);
    if (op.name != "file_lock") fails(op, s.root / "dir" / "more" / "new", denied);  // that makes no directories
  }
  std::error_code ec;
  memoria::rename_article(s.root / "dir", "note", "new", ec);
  DOCTEST_CHECK(ec == denied);
  s.is_unchanged();
}

DOCTEST_TEST_CASE("no permission to enter a directory: an error" * doctest::skip(has_all_permissions())) {
  const sandbox s;
  fs::permissions(s.root / "dir", fs::perms::none);
  const auto denied = make_error_condition(std::errc::permission_denied);
  for (const operation& op : all(writers, readers, recovering_readers)) fails(op, s.root / "dir" / "note.md", denied);
  for (const operation& op : directory_users) fails(op, s.root / "dir", denied);
  fs::permissions(s.root / "dir", fs::perms::owner_all);
  s.is_unchanged();
}

DOCTEST_TEST_CASE("no permission to read one note: the graph lists it and goes on" *
                  doctest::skip(has_all_permissions())) {
  const sandbox s;
  write(s.root / "dir" / "secret.md", "[[note]]");
  fs::permissions(s.root / "dir" / "secret.md", fs::perms::none);
  const memoria::link_graph graph(s.root / "dir");
  DOCTEST_CHECK(graph.notes().size() == 2);
  DOCTEST_REQUIRE(graph.failures().size() == 1);
  DOCTEST_CHECK(graph.failures()[0].name == "secret.md");
  std::error_code ec;
  memoria::count_inbound_links("note", s.root / "dir", ec);
  DOCTEST_CHECK(ec == make_error_condition(std::errc::permission_denied));
}

DOCTEST_TEST_CASE("no permission to read a log is needed to append to it" * doctest::skip(has_all_permissions())) {
  const sandbox s;
  const path log = s.root / "file";
  fs::permissions(log, fs::perms::owner_write);
  memoria::locked_append_text(log, " and more");
  std::error_code ec;
  memoria::append_options whole;
  whole.whole_lines = true;
  memoria::locked_append_text(log, "never", whole, ec);
  DOCTEST_CHECK(ec == make_error_condition(std::errc::permission_denied));
  fs::permissions(log, fs::perms::owner_read);
  memoria::locked_append_text(log, "never", ec);
  DOCTEST_CHECK(ec == make_error_condition(std::errc::permission_denied));
  DOCTEST_CHECK(memoria::read_text(log) == "plain bytes and more");
}

}  // namespace
