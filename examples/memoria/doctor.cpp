// memoria doctor: what crashes and time have left in a directory, who holds its locks, what its file system cannot do.
#include "memory.hpp"

#include <cerrno>
#include <cinttypes>

#ifndef _WIN32
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace tool {
namespace {

struct health {
  json findings = json::array();  // of objects: file, what
  json locks;                     // of objects: file, mode, holder; null: the system does not say
  std::size_t removed = 0;

  void found(const memoria::path& file, const std::string& what) {
    findings.push_back(json::object({{"file", json_text(utf8_name(file))}, {"what", json_text(what)}}));
  }
};

#ifdef __linux__

struct held_lock {
  std::string mode, holder;
};

// By inode: who holds which lock, as /proc/locks has it ("1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF").
std::multimap<std::uintmax_t, held_lock> system_locks() {
  std::multimap<std::uintmax_t, held_lock> locks;
  std::FILE* const table = std::fopen("/proc/locks", "r");
  if (table == nullptr) return locks;
  char line[256], mode[16];
  int pid = 0;
  std::uintmax_t inode = 0;
  while (std::fgets(line, sizeof line, table) != nullptr) {  // one that is waited for ("1: -> FLOCK") does not match
    if (std::sscanf(line, "%*d: %*s %*s %15s %d %*x:%*x:%" SCNuMAX, mode, &pid, &inode) != 3) continue;
    const std::string process = std::to_string(pid);
    std::error_code ec;  // it may have ended
    const std::string name = memoria::read_text("/proc/" + process + "/comm", ec);
    const std::string holder = "process " + process + (ec ? "" : " (" + name.substr(0, name.find('\n')) + ")");
    locks.insert({inode, {mode == std::string_view("WRITE") ? "exclusive" : "shared", holder}});
  }
  std::fclose(table);
  return locks;
}

void find_locks(const memoria::path& file, health& h) {
  static const std::multimap<std::uintmax_t, held_lock> locks = system_locks();
  if (h.locks.is_null()) h.locks = json::array();
  struct ::stat facts;
  if (locks.empty() || ::lstat(file.c_str(), &facts) != 0) return;
  const auto [first, last] = locks.equal_range(facts.st_ino);
  for (auto at = first; at != last; ++at) {
    h.locks.push_back(json::object(
        {{"file", json_text(utf8_name(file))}, {"mode", at->second.mode}, {"holder", json_text(at->second.holder)}}));
  }
}

#else

void find_locks(const memoria::path&, health&) {}

#endif

// A living writer holds a lock on its temporary file.
bool is_stale(const memoria::path& temporary) {
  std::error_code ec;
  return memoria::file_lock(temporary, at_once(false), ec).owns_lock();
}

void look_at_files(const memory& m, bool fix, health& h) {
  std::map<std::string, std::size_t> backups, stale;
  const auto skip = std::filesystem::directory_options::skip_permission_denied;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(m.directory, skip)) {
    std::error_code ec;
    if (!entry.is_regular_file(ec) || entry.is_symlink(ec)) continue;
    const std::string file = utf8_name(entry.path()), name = utf8_name(entry.path().filename());
    const std::size_t backup = name.find(".bak-2");
    if (backup != std::string::npos) ++backups[file.substr(0, file.size() - name.size() + backup)];
    if (name.compare(0, 9, ".memoria-") == 0 && entry.path().extension() == ".tmp" && is_stale(entry.path())) {
      ++stale[utf8_name(entry.path().parent_path())];
    }
    find_locks(entry.path(), h);
  }
  for (const auto& [directory, count] : stale) {
    if (fix) {
      h.removed += memoria::remove_stale_temporaries(native_path(directory));
    } else {
      h.found(native_path(directory),
              counted(count, "stale temporary file") + " of killed writers; --fix removes them");
    }
  }
  for (const auto& [file, count] : backups) {
    if (count > 3)
      h.found(native_path(file), counted(count, "backup") + " of versions that were not JSON have piled up");
  }
}

void look_at_memory(const memory& m, health& h) {
  std::error_code ec;
  static_cast<void>(memoria::load_json(m.state, ec));
  if (ec && ec != std::errc::no_such_file_or_directory) {
    h.found(m.state, "cannot be used: " + ec.message() + "; the next flush or compile sets it aside");
  }
  const std::size_t waiting = files_in(m.contexts, ".md").size();
  if (waiting > 0) h.found(m.contexts, counted(waiting, "conversation") + " waiting to be flushed; see flush.log");
}

// Tries it out: locks that exclude, files that are replaced and synced.
void look_at_file_system(const memory& m, health& h) {
  const memoria::path probe =
      m.directory / (".memoria-probe-" + std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()));
  std::error_code ec;
  memoria::file_lock first(probe, ec);
  if (ec) {
    h.found(m.directory, "cannot be locked in: " + ec.message());
  } else {
    std::error_code second;
    if (memoria::file_lock(probe, at_once(), second)) h.found(m.directory, "locks exclude nobody on this file system");
    first.unlock();
  }
  memoria::atomic_write_text(probe, "probe", ec);
  if (ec) h.found(m.directory, "files cannot be replaced durably: " + ec.message());
#ifndef _WIN32
  const int descriptor = ::open(m.directory.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor >= 0 && ::fsync(descriptor) != 0) {
    h.found(m.directory, "directories cannot be synced: " + std::generic_category().message(errno));
  }
  if (descriptor >= 0) ::close(descriptor);
#endif
  std::filesystem::remove(probe, ec);
}

int doctor(const invocation& call, output& out) {
  const memory m(call.directory());
  if (!is_directory(m.directory)) throw failure{"there is no directory " + call.directory()};
  health h;
  look_at_files(m, call.has("--fix"), h);
  look_at_memory(m, h);
  look_at_file_system(m, h);
  if (call.has("--json")) {
    out.write_json(json::object(
        {{"format", "memoria doctor 1"}, {"findings", h.findings}, {"locks", h.locks}, {"removed", h.removed}}));
    return h.findings.empty() ? exit_clean : exit_findings;
  }
  const auto text = [](const json& from, const char* member) { return printable(from[member].get<std::string>()); };
  for (const json& l : h.locks)
    out << text(l, "file") << ": locked (" << text(l, "mode") << ") by " << text(l, "holder") << "\n";
  for (const json& f : h.findings)
    (out << text(f, "file") << ": ").write(style::warning, "warning: ") << text(f, "what") << "\n";
  if (h.removed > 0) out << "removed " << counted(h.removed, "stale temporary file") << "\n";
  out.write(style::bold, h.findings.empty() ? "healthy" : counted(h.findings.size(), "finding"));
  out << (h.locks.is_null() ? " (this system does not say who holds locks)" : "") << "\n";
  return h.findings.empty() ? exit_clean : exit_findings;
}

}  // namespace

// clang-format off
const command doctor_command = {
    "doctor", {"DIR"}, "look for what crashes left, and for what DIR cannot do",
    {{"--fix", nullptr, "remove stale temporary files"}, json_option},
    R"(
Looks in DIR and below for temporary files of killed writers and backups piled
up (NAME.bak-*), for conversations that wait to be flushed, for a state that is
not JSON; says which locks are held and by whom (Linux); tries whether the file
system locks and syncs, for which it writes and removes one small file.

Examples
  memoria doctor memory
  memoria doctor memory --fix --json

Exit status: 0 healthy, 1 something was found, 2 it could not run.
)",
    doctor};

}  // namespace tool
