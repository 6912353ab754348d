// memoria doctor: what crashes and time have left in a directory, who holds its locks, what its file system cannot do.
#include "memory.hpp"

#include <cerrno>

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

  void found(const memoria::path& file, const std::string& what) {
    findings.push_back(json::object({{"file", json_text(utf8_name(file))}, {"what", json_text(what)}}));
  }
};

#ifdef __linux__

void find_locks(const memoria::path& file, health& h) {
  static const std::string table = "\n" + memoria::read_text("/proc/locks");
  if (h.locks.is_null()) h.locks = json::array();
  struct ::stat facts;
  if (::lstat(file.c_str(), &facts) != 0) return;
  const std::string inode =
      ":" + std::to_string(facts.st_ino) + " ";  // 1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF
  for (std::size_t at = table.find(inode); at != std::string::npos; at = table.find(inode, at + 1)) {
    char mode[16];
    int pid = 0;
    const char* const line = table.c_str() + table.rfind('\n', at);
    if (std::sscanf(line, "%*d: %*s %*s %15s %d", mode, &pid) != 2) continue;  // one that is waited for: "1: -> FLOCK"
    std::error_code ec;                                                        // it may have ended
    const std::string process = std::to_string(pid), name = memoria::read_text("/proc/" + process + "/comm", ec);
    h.locks.push_back(json::object(
        {{"file", json_text(utf8_name(file))},
         {"mode", mode == std::string_view("WRITE") ? "exclusive" : "shared"},
         {"holder", json_text("process " + process + (ec ? "" : " (" + name.substr(0, name.find('\n')) + ")"))}}));
  }
}

#else

void find_locks(const memoria::path&, health&) {}

#endif

// A living writer holds a lock on its temporary file.
bool is_stale(const memoria::path& temporary) {
  std::error_code ec;
  return memoria::file_lock(temporary, at_once, ec).owns_lock();
}

// Gives how many stale temporary files were removed.
std::size_t look_at_files(const memory& m, bool fix, health& h) {
  std::map<memoria::path, std::size_t> backups, stale;  // of which file, in which directory: how many
  const auto skip = std::filesystem::directory_options::skip_permission_denied;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(m.directory, skip)) {
    std::error_code ec;
    if (!entry.is_regular_file(ec) || entry.is_symlink(ec)) continue;
    const memoria::path& file = entry.path();
    const std::string name = utf8_name(file.filename());
    const std::size_t backup = name.find(".bak-2");
    if (backup != std::string::npos) ++backups[file.parent_path() / native_path(name.substr(0, backup))];
    if (name.compare(0, 9, ".memoria-") == 0 && file.extension() == ".tmp" && is_stale(file)) {
      ++stale[file.parent_path()];
    }
    find_locks(file, h);
  }
  std::size_t removed = 0;
  for (const auto& [directory, count] : stale) {
    if (fix) removed += memoria::remove_stale_temporaries(directory);
    if (!fix) h.found(directory, counted(count, "stale temporary file") + " of killed writers; --fix removes them");
  }
  for (const auto& [file, count] : backups) {
    if (count > 3) h.found(file, counted(count, "backup") + " of versions that were not JSON have piled up");
  }
  return removed;
}

void look_at_memory(const memory& m, health& h) {
  std::error_code ec;
  static_cast<void>(memoria::load_json(m.state, ec));
  if (ec && ec != std::errc::no_such_file_or_directory) {
    h.found(m.state, "cannot be used: " + ec.message() + "; the next flush or compile sets it aside");
  }
  const std::size_t waiting = files_in(m.contexts).size();
  if (waiting > 0) h.found(m.contexts, counted(waiting, "conversation") + " waiting to be flushed; see flush.log");
}

// Tries it out: locks that exclude, files that are replaced and synced.
void look_at_file_system(const memory& m, health& h) {
  const auto ticks = std::chrono::steady_clock::now().time_since_epoch().count();
  const memoria::path probe = m.directory / (".memoria-probe-" + std::to_string(ticks));
  std::error_code ec, second;
  memoria::file_lock first(probe, ec);
  if (ec) h.found(m.directory, "cannot be locked in: " + ec.message());
  if (!ec && memoria::file_lock(probe, at_once, second)) {
    h.found(m.directory, "locks exclude nobody on this file system");
  }
  first.unlock();
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

}  // namespace

int doctor(const invocation& call) {
  const memory m = existing_memory(call);
  health h;
  const std::size_t removed = look_at_files(m, call.has("--fix"), h);
  look_at_memory(m, h);
  look_at_file_system(m, h);
  call.report(json::object({{"findings", h.findings}, {"locks", h.locks}, {"removed", removed}}), [&] {
    const auto text = [](const json& from, const char* member) { return printable(from[member].get<std::string>()); };
    for (const json& l : h.locks)
      cout << text(l, "file") << ": locked (" << text(l, "mode") << ") by " << text(l, "holder") << "\n";
    for (const json& f : h.findings)
      cout << text(f, "file") << ": " << styled(style::warning, "warning: ") << text(f, "what") << "\n";
    if (removed > 0) cout << "removed " << counted(removed, "stale temporary file") << "\n";
    cout << styled(style::bold, h.findings.empty() ? "healthy" : counted(h.findings.size(), "finding"))
         << (h.locks.is_null() ? " (this system does not say who holds locks)" : "") << "\n";
  });
  return h.findings.empty() ? exit_clean : exit_findings;
}

}  // namespace tool
