// memoria_fs: state, logs and linked notes in plain files that several processes touch, kept safe. One C++17 header,
// standard library only. Linux, macOS, Windows. MIT licence, at the end of this file.
//
//   #include <iostream>
//
//   #include "memoria_fs.hpp"
//
//   int main() {
//     // Replaced whole: a reader sees the old text or the new one, also after a power cut.
//     memoria::atomic_write_text("wiki/fsync.md", "# fsync\n\nSee [[rename]] and [[../../etc/passwd]].\n");
//     // Entries of many processes never mix, and are on disk when the call returns.
//     memoria::locked_append_text("daily.log", "wrote wiki/fsync.md\n");
//     // No other update, in any process, comes between reading and writing.
//     const memoria::json state = memoria::update_json(
//         "state.json", memoria::json::object(), [](memoria::json& s) { s["runs"] = s.value("runs", 0) + 1; });
//
//     const std::string note = memoria::read_text("wiki/fsync.md");
//     for (const memoria::wikilink& link : memoria::wikilinks(note)) {
//       const auto article = memoria::safe_article_path(link.target, "wiki");  // nothing if it leads out of wiki/
//       std::cout << link.target << (!article ? ": refused" : exists(*article) ? ": there" : ": missing") << '\n';
//     }
//     std::cout << "run number " << state["runs"].dump() << '\n';
//   }
//
// To use it, copy this file. To try it on your machine and on the file system that you will use (TMPDIR chooses which):
//   c++ -std=c++17 -DMEMORIA_FS_TESTS -DDOCTEST_CONFIG_IMPLEMENT_WITH_MAIN -include doctest/doctest.h -x c++ memoria_fs.hpp -o selftest
//
// What it does not do
//   No transaction over several files: write_batch shares the cost of syncing, and a crash may leave some files new.
//   No database: a save writes the whole file, a JSON value is whole in memory.
//   No protection from writers that do not ask for the lock: locks are advisory, as everywhere on POSIX.
//   No promise beyond the system's: drives that lie about their cache, network file systems (README: what was tried).
//   No proof on Windows and macOS that a directory entry survives a power cut; what was tried where: README, "Limits".
//   A replaced file is a new one: other hard links to it keep the old content.
//
// Contents: search for a tag. It opens the part's interface, its definitions and its tests.
//   [errors]    error, errc: every function that fails comes throwing and with std::error_code
//   [replace]   atomic_write_text, read_text, atomic_file, write_batch, remove_stale_temporaries
//   [lock]      file_lock, lock_path
//   [append]    locked_append_text
//   [wikilink]  parse_wikilink, extract_wikilinks, wikilinks, position_of, replace_wikilinks
//   [confine]   safe_article_path, require_article_path, confined_dir
//   [json]      json, json_error: parse, change, dump
//   [state]     load_json_with_recovery, load_json, save_json, update_json, load_json_snapshot, save_json_if_unchanged
//   [vault]     link_graph, rename_article, wiki_article_exists, count_inbound_links
// Interface first, then detail::os (the only part that knows the system), definitions, tests.
//
// Guarantees, with the default options. "Serial": one after the other, between threads and between processes.
// Every function may be called from any number of threads; an object is for one thread at a time.
//
//   function                   atomic              durable on return     several writers     left behind by a crash
//   atomic_write_text,         yes                 content, name, new    blind: the last     the old file or the new;
//   atomic_file                                    parent directories    one wins, whole     one temporary file
//   write_batch                each file           as above              as above            some files new, others
//                                                                                            old; temporary files
//   read_text                  sees one version    -                     needs no lock       nothing
//                              of a file replaced
//                              whole
//   remove_stale_temporaries   each file           -                     leaves living       nothing new
//                                                                        writers' alone
//   locked_append_text         among those that    the entry; a new      serial              parts of unacknowledged
//                              take the lock       log's name                                entries, at the end
//   file_lock                  -                   -                     excludes            the lock is released; its
//                                                                                            file stays, as always
//   save_json, update_json,    yes                 as atomic_write_text  serial              as atomic_write_text; the
//   save_json_if_unchanged                                                                   lock file
//   load_json                  as read_text        -                     needs no lock       nothing
//   load_json_with_recovery,   as read_text;       the backup, before    serial where it     a corrupt file under its
//   load_json_snapshot         setting a corrupt   the fallback is       moves a file        own or its backup's name;
//                              file aside: yes     returned                                  temporary files
//   confined_dir's members     as the functions    the same              the same; no race   the same
//                              of the same names                         leads outside
//   safe_article_path,         -                   -                     true at the moment  nothing
//   require_article_path,                                                of the call
//   wiki_article_exists
//   link_graph,                each note, not the  -                     needs no lock       nothing
//   count_inbound_links        directory
//   rename_article             each note           each note             serial with itself  both notes, every link
//                                                                                            alive; the same call again
//                                                                                            finishes
//   everything else: text and  touches no file     -                     -                   -
//   JSON in memory
//
// With write_options::generations a crash may leave a gap in their numbers. On network file systems replacing is as
// atomic as the server's rename, locks exclude as far as server and mount options let them (README: what was tried),
// and a reader on another machine may see the old version until it opens the file anew.

#if defined(MEMORIA_FS_VERSION) && MEMORIA_FS_VERSION != 100
#error "memoria_fs.hpp: two versions of this header in one translation unit"
#endif
#define MEMORIA_FS_VERSION 100  // major * 10000 + minor * 100 + patch

// ---- Configuration: define before the include, the same in every unit of a program ----------------------------------
//
// MEMORIA_FS_NAMESPACE   the namespace everything lives in (default: memoria); two private copies under two names may
//                        meet in one program
// MEMORIA_FS_TESTS       compile the test cases at the end of this file and the fault seam in detail::os; include
//                        doctest first
// MEMORIA_FS_PORTABLE    no vector instructions, plain C++ only: what other processors run, to be tried on this one
//
// For large projects, whose units shall pay for the interface only:
//
// MEMORIA_FS_DECLARATIONS_ONLY   stop after the interface
// MEMORIA_FS_IMPLEMENTATION      in one unit, before its include: the definitions for all the others. It wins over
//                                MEMORIA_FS_DECLARATIONS_ONLY, which may thus be set for the whole project
//
// None changes the layout of a class. Other versions, units without exceptions, without RTTI, with tests or portable get
// inline namespaces of their own and can be linked into one program; what one of them throws the others catch as
// std::filesystem::filesystem_error.

#ifndef MEMORIA_FS_NAMESPACE
#define MEMORIA_FS_NAMESPACE memoria
#define MEMORIA_FS_DEFAULT_NAMESPACE
#endif

#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define MEMORIA_FS_EXCEPTIONS 1
#define MEMORIA_FS_ABI_EXCEPTIONS
#else
#define MEMORIA_FS_EXCEPTIONS 0
#define MEMORIA_FS_ABI_EXCEPTIONS _noexcept
#endif
#if defined(__cpp_rtti) || defined(_CPPRTTI)  // a virtual table without RTTI crashes who asks for it
#define MEMORIA_FS_ABI_RTTI
#else
#define MEMORIA_FS_ABI_RTTI _nortti
#endif
#ifdef MEMORIA_FS_TESTS
#define MEMORIA_FS_ABI_TESTS _tests
#else
#define MEMORIA_FS_ABI_TESTS
#endif
#ifdef MEMORIA_FS_PORTABLE
#define MEMORIA_FS_ABI_PORTABLE _portable
#else
#define MEMORIA_FS_ABI_PORTABLE
#endif
#define MEMORIA_FS_JOIN_(a, b, c, d, e) v##a##b##c##d##e
#define MEMORIA_FS_JOIN(a, b, c, d, e) MEMORIA_FS_JOIN_(a, b, c, d, e)
#define MEMORIA_FS_ABI                                                                                      \
  MEMORIA_FS_JOIN(MEMORIA_FS_VERSION, MEMORIA_FS_ABI_EXCEPTIONS, MEMORIA_FS_ABI_RTTI, MEMORIA_FS_ABI_TESTS, \
                  MEMORIA_FS_ABI_PORTABLE)

#ifdef MEMORIA_FS_IMPLEMENTATION
#define MEMORIA_FS_INLINE
#else
#define MEMORIA_FS_INLINE inline
#endif

// <windows.h> and many a C header define these as function-like macros; the header must not notice.
#pragma push_macro("min")
#pragma push_macro("max")
#undef min
#undef max

// What runs seldom is [[gnu::cold]]: compilers spend less on it, and what room for inlining they have goes to the rest.
#ifdef _MSC_VER
#pragma warning(push)
#pragma warning(disable : 5030)  // it does not know the attribute
#endif

#ifndef MEMORIA_FS_HPP
#define MEMORIA_FS_HPP

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace MEMORIA_FS_NAMESPACE {
inline namespace MEMORIA_FS_ABI {

using path = std::filesystem::path;

// ---- [errors] -------------------------------------------------------------------------------------------------------
//
// Every function that can fail comes twice, as in std::filesystem: f(args...) throws memoria::error (or a class derived
// from it), f(args..., std::error_code&) throws nothing but std::bad_alloc and clears or sets its last argument. What
// the operating system reported keeps its own code (std::errc::no_space_on_device, ...); errc below is for what it has
// no word for. Nothing in this file aborts, exits, or asserts on data; nothing but load_json_with_recovery without a
// reporter prints.

enum class errc {
  lock_timeout = 1,   // somebody else held the lock until the deadline                         == std::errc::timed_out
  lock_unsupported,   // this file system, or the system, refuses to lock                    == std::errc::not_supported
  lock_nested,        // this thread is inside an update of this file      == std::errc::resource_deadlock_would_occur
  not_durable,        // applied and visible, but not proven to survive a power cut: do not repeat an append
  unsafe_path,        // the name leads out of its directory, or could     == std::errc::operation_not_permitted
  not_regular,        // a directory, FIFO, socket or device, and no plain file        == std::errc::invalid_argument
  is_symlink,         // symlink_policy::refuse met a symbolic link       == std::errc::too_many_symbolic_link_levels
  changed_meanwhile,  // another writer kept changing the file under the operation; nothing was applied
  size_mismatch,      // the system stored fewer bytes than it acknowledged; nothing was applied == std::errc::io_error
  corrupt_json,       // the bytes were read and are not JSON                       == std::errc::illegal_byte_sequence
  json_limit,         // valid as far as read, but deeper than the limit allows           == std::errc::value_too_large
  json_type,          // a JSON value of another type, or a number out of range    == std::errc::argument_out_of_domain
  json_missing,       // no such key, index or pointer target                 == std::errc::result_out_of_range
};

const std::error_category& error_category() noexcept;
std::error_code make_error_code(errc e) noexcept;

// Each copy of this header in a program (hidden in a shared library, without exceptions, under another name) has a
// category of its own. Codes compare equal all the same, by the category's name.
namespace detail {
bool is(const std::error_code& code, errc e) noexcept;
}
inline bool operator==(const std::error_code& code, errc e) noexcept { return detail::is(code, e); }
inline bool operator==(errc e, const std::error_code& code) noexcept { return detail::is(code, e); }
inline bool operator!=(const std::error_code& code, errc e) noexcept { return !detail::is(code, e); }
inline bool operator!=(errc e, const std::error_code& code) noexcept { return !detail::is(code, e); }

namespace detail {
struct status;
struct replacement;
struct staged_batch;
struct confined_root;

// std::exchange, without the proof that it throws nothing: compilers spend more on that than on all the rest of it.
template <class T>
T exchange(T& object, std::remove_reference_t<T> value) {  // which says nothing of what T is
  T old = std::move(object);
  object = std::move(value);
  return old;
}

// Owns an object that only the definitions know. <memory> and its unique_ptr would make up half of what including the
// interface costs.
template <class T>
class owner {
 public:
  owner(T* object = nullptr) noexcept : object_(object) {}
  owner(owner&& other) noexcept : object_(detail::exchange(other.object_, nullptr)) {}
  owner& operator=(owner&& other) noexcept {
    delete detail::exchange(object_, detail::exchange(other.object_, nullptr));
    return *this;
  }
  ~owner() { delete object_; }

  T* get() const noexcept { return object_; }
  T* release() noexcept { return detail::exchange(object_, nullptr); }
  T& operator*() const noexcept { return *object_; }
  T* operator->() const noexcept { return object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }

 private:
  T* object_;
};

// What the copies of an exception share, because copying one must not throw. <filesystem>'s own exception holds a
// std::shared_ptr, too; with one kind of it for every T an include costs less than with one for each.
template <class T>
class shared {
 public:
  shared(T* object = nullptr) : object_(object) {}
  const T& operator*() const noexcept { return *static_cast<const T*>(object_.get()); }
  const T* operator->() const noexcept { return &**this; }

 private:
  std::shared_ptr<void> object_;
};

// A callable by its address, and back. A function's is no void*, but for a cast.
template <class F>
void* callable_address(F& f) noexcept {
  if constexpr (std::is_function_v<F>) {
    return reinterpret_cast<void*>(&f);
  } else {
    return const_cast<void*>(static_cast<const void*>(std::addressof(f)));
  }
}
template <class F>
F& callable_at(void* address) noexcept {
  return *reinterpret_cast<F*>(address);
}
}  // namespace detail

// Thrown by every throwing form for a failed file operation. Existing handlers for std::filesystem::filesystem_error
// keep working. what() reads  OPERATION "PATH": STEP: REASON  and is UTF-8, for example
//   atomic_write_text "/home/a/state.json": fsync: No space left on device
class error : public std::filesystem::filesystem_error {
 public:
  error(std::string operation, const path& file, const detail::status& why);

  const std::string& operation() const noexcept { return text_->operation; }  // "atomic_write_text"
  const std::string& step() const noexcept { return text_->step; }  // "fsync": the call that failed, if one did
  const char* what() const noexcept override { return text_->what.c_str(); }

 private:
  struct texts {
    std::string operation, step, what;
  };
  detail::shared<texts> text_;
};

// ---- [replace] ------------------------------------------------------------------------------------------------------
//
// Whole-file replacement: a reader sees the old content or the new, never a mixture, and after a crash one of the two
// is there. The protocol: a temporary file of a unique name in the target's directory, written, given the target's
// owner, extended attributes, access list and mode, its size checked, synced, renamed over the target, the directory
// synced. Everything happens relative to one directory handle opened first, so that a directory renamed meanwhile
// changes nothing.
//
// Plain replacement is blind: of several writers the last one wins, whole. For read-modify-write see update_json.

enum class durability {
  none,  // still atomic for other processes; a power cut may bring back the old file, on some systems an empty one
  data,  // the content is synced before the rename, the directory is not: old or new after a power cut, never torn
  full,  // when the call returns the new content survives a power cut: file, directory entry, every created parent
};

enum class symlink_policy {
  follow,   // the link stays, the file it leads to is replaced; lock, temporary file and backups live beside that file
  replace,  // the link itself is replaced by a file, as rename(2) and the seed do
  refuse,   // errc::is_symlink
};

// What a replaced file had and the new one has not, because the system refused it.
struct write_report {
  struct loss {
    path file;
    std::string what;  // "owner", "group", "set-id bits", or an extended attribute's name: "user.origin",
                       // "system.posix_acl_access" (the access list), "security.selinux" (the label)
    std::error_code why;
  };
  std::vector<loss> not_kept;
};

struct write_options {
  durability durable = durability::full;
  symlink_policy symlinks = symlink_policy::follow;
  bool create_parents = true;  // a failed call removes the ones it made
  bool overwrite = true;       // false: std::errc::file_exists, and never clobbers a file that appears meanwhile
  unsigned generations = 0;    // keep so many previous versions as NAME.gen-1 (newest), NAME.gen-2, ... (hard links)
  // Mode of the file. By default an existing file keeps its mode and, where the system allows, its owner (set-id bits
  // and capabilities go where the owner could not be kept, and where its group could not, what others may not),
  // extended attributes and access list (where the group could not be kept, a list's entry for the group means the new
  // one); a new one gets what the umask leaves of 0666. Windows: the access list is what the directory passes on;
  // attributes and streams are not kept.
  std::filesystem::perms permissions = std::filesystem::perms::unknown;
  write_report* report = nullptr;  // is told what could not be kept; has to live until the replacement is committed
  // Windows only: how long to try again when a virus scanner or a reader holds the target open.
  std::chrono::milliseconds retry_for{2000};
};

// Replaces the content of `file` (creating it if need be) with `content`, bytes as given.
// Errors: the system's own; errc::not_durable (the new content is in place, a sync failed after the rename);
// errc::not_regular (a directory gives std::errc::is_a_directory); errc::size_mismatch. On every other error but
// not_durable the old file is untouched and no temporary file stays. A target that is itself a mount point (a
// bind-mounted file) cannot be replaced: std::errc::device_or_resource_busy. Other hard links keep the old content.
// Thread- and process-safe. A killed writer leaves at most one temporary file (see remove_stale_temporaries).
void atomic_write_text(const path& file, std::string_view content, const write_options& options, std::error_code& ec);
inline void atomic_write_text(const path& file, std::string_view content, std::error_code& ec) {
  atomic_write_text(file, content, {}, ec);
}

// The whole content of a regular file. Files that grow while they are read are read to their end; a FIFO or a device is
// refused (errc::not_regular), so that nothing hangs. On Windows a reader that meets someone's replacement tries again.
std::string read_text(const path& file, std::error_code& ec);

// Streaming replacement in constant memory: write() as often as you like, then commit(). Destroyed uncommitted, nothing
// has happened. An object is for one thread at a time. After a failed write() or commit() the replacement is abandoned
// and its temporary file removed (a failed fsync is final: the pages may already be marked clean).
class atomic_file {
 public:
  atomic_file() noexcept;  // not open
  atomic_file(const path& file, const write_options& options, std::error_code& ec);
  atomic_file(const path& file, std::error_code& ec) : atomic_file(file, {}, ec) {}
#if MEMORIA_FS_EXCEPTIONS
  explicit atomic_file(const path& file, const write_options& options = {});
  void write(std::string_view bytes);
  void commit();
#endif
  atomic_file(atomic_file&&) noexcept;
  atomic_file& operator=(atomic_file&&) noexcept;
  ~atomic_file();

  void write(std::string_view bytes, std::error_code& ec);
  void commit(std::error_code& ec);
  void discard() noexcept;          // as destruction does
  bool is_open() const noexcept;    // true until commit, discard or a failure

 private:
  detail::owner<detail::replacement> work_;
};

// Many files replaced for little more than the price of one sync pass: add() stages a file beside its target and starts
// its write-back, commit() syncs all, then renames all, then syncs each directory once. Each file is old or new
// whatever happens; the batch as a whole is not one transaction: a crash during commit may leave some files new and
// some old. If commit() fails before the first rename, nothing is applied. Two entries for one file: the later one
// wins. Holds one descriptor for each directory until commit, and one for each staged file while there are enough: then
// add() syncs and closes what is staged, and while this batch lives nobody sweeps its directories. One thread at a
// time.
class write_batch {
 public:
  explicit write_batch(const write_options& options = {});
  write_batch(write_batch&&) noexcept;
  write_batch& operator=(write_batch&&) noexcept;
  ~write_batch();  // discards what was not committed

#if MEMORIA_FS_EXCEPTIONS
  void add(const path& file, std::string_view content);
  void commit();
#endif
  void add(const path& file, std::string_view content, std::error_code& ec);  // on failure this file is not part of it
  // After an error committed() tells how many files, in the order of add(), were replaced.
  void commit(std::error_code& ec);
  std::size_t size() const noexcept;       // staged and not yet committed
  std::size_t committed() const noexcept;  // replaced by the last commit()

 private:
  detail::owner<detail::staged_batch> work_;
};

// Removes from `directory` (not below it) the temporary files whose writer is dead: a living writer holds a lock on its
// own, which the kernel drops when it dies. Returns how many went. Never touches the temporaries of other libraries.
// On a file system that cannot lock nothing is removed.
std::size_t remove_stale_temporaries(const path& directory, std::error_code& ec);

#if MEMORIA_FS_EXCEPTIONS
void atomic_write_text(const path& file, std::string_view content, const write_options& options = {});
std::string read_text(const path& file);
std::size_t remove_stale_temporaries(const path& directory);
#endif

// ---- [lock] ---------------------------------------------------------------------------------------------------------
//
// Advisory locks between threads and processes (flock on POSIX, a byte far past the end on Windows), released by the
// kernel when the holder dies. Never lock a file that is replaced by rename: the waiter would wake up with a lock on
// the dead file. lock_path() names the file to lock instead.

enum class lock_mode { exclusive, shared };

inline constexpr std::chrono::milliseconds forever = std::chrono::milliseconds::max();

struct lock_options {
  lock_mode mode = lock_mode::exclusive;
  std::chrono::milliseconds timeout = forever;  // zero: try once. Past it: errc::lock_timeout
  bool create = true;  // create the lock file if it is missing; readers that must leave no trace set false
};

// RAII. Movable; unlock() or destruction releases. The lock file is opened without following a symlink and is never
// removed by this library, because removing it would let two holders in. No fairness is promised. A child made by
// fork() inherits the lock and holds it until it, too, closes the descriptor or execs. On NFS even a try may wait for
// the server. Errors: errc::lock_timeout, errc::lock_unsupported, the system's own.
class file_lock {
 public:
  file_lock() noexcept = default;
  file_lock(const path& lock_file, const lock_options& options, std::error_code& ec);
  file_lock(const path& lock_file, std::error_code& ec) : file_lock(lock_file, {}, ec) {}
#if MEMORIA_FS_EXCEPTIONS
  explicit file_lock(const path& lock_file, const lock_options& options = {});
#endif
  file_lock(file_lock&& other) noexcept : handle_(detail::exchange(other.handle_, -1)) {}
  file_lock& operator=(file_lock&& other) noexcept;
  ~file_lock() { unlock(); }

  bool owns_lock() const noexcept { return handle_ != -1; }
  explicit operator bool() const noexcept { return owns_lock(); }
  void unlock() noexcept;

 private:
  std::intptr_t handle_ = -1;  // a descriptor or a HANDLE: the same type everywhere
};

// The lock that the [state] functions take for `file`: `.NAME.lock` beside the file that `file` leads to when symbolic
// links are followed. A name too long for that is shortened and told apart by a hash.
path lock_path(const path& file, std::error_code& ec);
#if MEMORIA_FS_EXCEPTIONS
path lock_path(const path& file);
#endif

// ---- [append] -------------------------------------------------------------------------------------------------------

struct append_options {
  durability durable = durability::full;  // full also syncs the directory of a log that is still empty
  // Keep the log a sequence of whole lines: a newline that a crashed writer left out is supplied before the entry, and
  // so is a missing one at its end. Needs permission to read the log.
  bool whole_lines = false;
  bool create_parents = true;
  std::chrono::milliseconds timeout = forever;  // for the lock
};

// Reading a log of lines: a last line without its newline is one that nobody acknowledged, or that is being written; a
// line that ends and is not what it should be is damage.
//
// Appends `content` to `file`, whole, under an exclusive lock on the log itself (which excludes the Python original's
// writers too, on POSIX). Entries of different callers never mix; readers may see an entry a moment before it is
// synced. Returns when this entry is durable. The sync happens after the lock is released, so that waiting writers'
// syncs overlap. A log that is renamed away or replaced while we wait, here or on another NFS host, is noticed,
// and the entry goes to the living one.
// Errors: the system's own; if the write fails (disk full) the log is cut back to its old length, unless others have
// appended behind us meanwhile without a lock. errc::not_durable: the entry is in the log, but the sync failed:
// appending it again would write it twice. errc::lock_timeout, errc::lock_unsupported, errc::not_regular: nothing was
// written.
void locked_append_text(const path& file, std::string_view content, const append_options& options, std::error_code& ec);
inline void locked_append_text(const path& file, std::string_view content, std::error_code& ec) {
  locked_append_text(file, content, {}, ec);
}
#if MEMORIA_FS_EXCEPTIONS
void locked_append_text(const path& file, std::string_view content, const append_options& options = {});
#endif

// ---- [wikilink] -----------------------------------------------------------------------------------------------------
//
// Links between notes, [[target|display]], found in text. Pure functions: no file is touched, nothing is remembered,
// any bytes are accepted, and the time is linear in their number.
//
// Two readings of one text:
// - The seed's: every match of \[\[([^\]|]+)(?:\|[^\]]*)?\]\], from left to right, wherever it stands. So
//   read extract_wikilinks, and wikilinks() with include_code. The same bytes as Python's re.findall, on every input.
// - A reader's, wikilinks() by default: what a person looking at the rendered note would call a link. The rules, with
//   where they come from (CM = CommonMark 0.31, OH = Obsidian Help):
//     The innermost opening brackets begin the link: [[a [[b]] and [[[b]]] are links to b (as md4c and pulldown-cmark
//     read). A link stays within one paragraph (blocks end inline text, CM 6). A blank target is none.
//     A backslash before the brackets makes them text (CM 2.4); the one before the pipe of [[a\|b]] in a table belongs
//     to the table (OH, "Advanced formatting syntax").
//     Skipped: fenced code (CM 4.5) and indented code (CM 4.4), also inside lists and quotes (CM 5), but a list marker
//     begins an item at any indent, as outliners write; code spans (CM 6.1: closed by as many backticks as opened it,
//     up to 63, in the same paragraph); HTML comments (CM 4.6, 6.6); %%comments%% of one or many lines (OH, "Basic
//     formatting syntax"); math, $$...$$ of one or many lines and $...$ as Pandoc reads it (tex_math_dollars: no space
//     inside the dollars, no digit after them, so that $5 and $6 are prices).
//     What is opened and never closed is text, but a fence and an HTML comment that begins its line run to the end
//     (CM 4.5, 4.6).
//     Frontmatter (from --- on the first line to the next --- or ...) is read, its links are marked as such.
//   A link that begins in text is read to its end, so the display may hold code: [[note|`f()`]]. Raw HTML is read.

// "a|b" is "a", a link without a pipe is itself; white space stripped at both ends, all of what Python's str.strip
// takes away (Unicode white space and the separators 1C to 1F; bytes that are not UTF-8 are no white space). A view
// into `raw`.
std::string_view parse_wikilink(std::string_view raw);

// The targets of all links, as written between "[[" and the pipe or "]]": code and comments are not skipped, nothing is
// stripped.
std::vector<std::string> extract_wikilinks(std::string_view content);

// One link: views into the content it was found in, valid as long as that is.
struct wikilink {
  std::string_view target;   // between "[[" and the pipe or "]]", byte for byte: "note#heading", " padded "
  std::string_view display;  // after the first pipe; empty without one
  std::size_t offset = 0;    // of "[[" in the content, or of the "!" of an embed; see position_of
  std::size_t length = 0;    // up to and with "]]"
  bool embed = false;        // ![[...]]
  bool piped = false;        // there is a pipe, be it before nothing: [[a|]]
  bool frontmatter = false;  // stands in the properties at the top of the note

  // The parts of the target, white space stripped, computed when asked. "dir/note#One#Two": note "dir/note", heading
  // "One#Two". "note#^id": block "id". "#here": note "". The backslash that escapes the pipe in a table is left out.
  std::string_view note() const;
  std::string_view heading() const;
  std::string_view block() const;
};

struct wikilink_options {
  bool include_code = false;  // the seed's reading: in code, comments and math too
};

namespace detail {

// Where a scan stands. Plain data of fixed size, so that scanning allocates nothing.
struct wikilink_scan {
  static constexpr unsigned max_depth = 12;  // nested list items told apart; deeper ones count as the twelfth

  std::string_view text;
  std::size_t at = 0;                // everything before is done
  std::size_t close = 0;             // a "]" found further on
  std::size_t frontmatter_end = 0;
  std::size_t paragraph_end = 0;     // valid while `at` is before it
  std::size_t block_start = 0;       // the first byte of the content of this line
  std::size_t fence_length = 0;
  std::size_t seen_end = 0;          // of the block that `seen` is about
  std::uint64_t seen = 0;            // where bytes are that may begin something
  std::uint64_t unclosed_code = 0;   // bit n: no run of n backticks ahead in this paragraph
  unsigned fence_base = 0;           // column of the content of the container that holds the fence
  unsigned fence_quotes = 0;
  unsigned quotes = 0;               // how deep this line is in block quotes
  unsigned depth = 0;                // open list items, and the column at which the content of each begins
  unsigned columns[max_depth] = {};
  unsigned item_quotes[max_depth] = {};  // and in how many block quotes each lies
  char fence = 0;                    // inside fenced code: its character
  bool unclosed_math = false;        // no dollar ahead in this paragraph that could close
  bool no_block_math = false;        // no "$$" ahead
  bool no_percent = false;           // no "%%" ahead
  bool no_comment_end = false;       // no "-->" ahead
  bool include_code = false;
  bool line_start = true;            // `at` is where a line begins
  bool single_line = false;          // this line is a block of its own: a heading, a table row, a property
  bool in_paragraph = false;         // the line before was text: what is indented here is no code
  bool indented_code = false;        // the line before was indented code
  bool empty_item = false;           // the line before was the marker of a list item and nothing else
};

}  // namespace detail

// All links of a text in their order, found one by one as the loop asks: for (const wikilink& link : wikilinks(text)).
// A single pass with fixed state and no allocation; begin() starts again. Copies of an iterator are independent.
class wikilink_range {
 public:
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = wikilink;
    using difference_type = std::ptrdiff_t;
    using pointer = const wikilink*;
    using reference = const wikilink&;

    iterator() noexcept = default;  // the end
    reference operator*() const noexcept { return link_; }
    pointer operator->() const noexcept { return &link_; }
    iterator& operator++();
    iterator operator++(int);
    friend bool operator==(const iterator& a, const iterator& b) noexcept {
      return a.link_.target.data() == b.link_.target.data();
    }
    friend bool operator!=(const iterator& a, const iterator& b) noexcept { return !(a == b); }

   private:
    friend class wikilink_range;
    wikilink link_;  // a target of null: the end
    detail::wikilink_scan scan_;
  };

  wikilink_range() noexcept = default;
  wikilink_range(std::string_view content, const wikilink_options& options) : content_(content), options_(options) {}
  iterator begin() const;
  iterator end() const noexcept { return {}; }

 private:
  std::string_view content_;
  wikilink_options options_;
};

wikilink_range wikilinks(std::string_view content, const wikilink_options& options = {});

// The views would dangle: give the string a name first.
template <class String, class = std::enable_if_t<std::is_same_v<std::remove_const_t<String>, std::string>>>
wikilink_range wikilinks(String&& temporary, const wikilink_options& options = {}) = delete;

struct text_position {
  std::size_t line = 1;    // 1-based; a line ends with "\n"
  std::size_t column = 1;  // 1-based, in bytes
};

// Line and column of a byte. Linear in `offset`: lines are not counted until somebody asks. Past the end: the end.
text_position position_of(std::string_view content, std::size_t offset);

// The content with the note part of some links replaced: rename(const wikilink&) gives the new note, or an empty
// optional to leave the link alone (anything like std::optional<std::string>). Embed mark, heading, block, display,
// spacing and every other byte stay. For [[#here]] the new note is put before the "#".
template <class F>
std::string replace_wikilinks(std::string_view content, F&& rename, const wikilink_options& options = {}) {
  std::string out;
  std::size_t done = 0;
  for (const wikilink& link : wikilinks(content, options)) {
    const auto replacement = rename(link);
    if (!replacement) continue;
    const std::string_view old = link.note();
    const auto at = static_cast<std::size_t>(old.data() - content.data());
    out.append(content.substr(done, at - done)).append(*replacement);
    done = at + old.size();
  }
  return out.append(content.substr(done));
}

// ---- [confine] ------------------------------------------------------------------------------------------------------
//
// Names written by a model or a stranger. Two tools: safe_article_path checks a link at one moment and gives a path, as
// the seed does; confined_dir holds a directory open and lets no name out of it, also while somebody changes the tree.
//
// Threat model of confined_dir. The attacker chooses every name, and may at any moment create, replace, exchange and
// remove files, directories and symbolic links inside the directory. What the attacker cannot do: have a file outside
// read, written, created, removed or listed, learn whether it exists, or make a call hang on a FIFO. What the attacker
// can do: have calls fail (errc::unsafe_path, errc::changed_meanwhile, the system's own), and have them work on another
// file inside than the one the name led to a moment ago; whoever may write inside may do that anyway.
// Not defended against, because the file system itself says that these are inside:
// - mount points and bind mounts below the directory (to make one takes root, and then names are the least worry);
// - hard links: a file that is also named inside is inside. Keep directories that strangers write to on a file system
//   of their own, or set fs.protected_hardlinks (the default on Linux), which lets nobody link a file not theirs;
// - the directory itself, or one inside that is just being walked, moved elsewhere: what was opened stays open, as with
//   any handle.
// Linux: openat2 with RESOLVE_BENEATH and RESOLVE_NO_MAGICLINKS; what it refuses is refused, its EAGAIN is tried again
// 128 times (then errc::changed_meanwhile). Elsewhere, on kernels before 5.6 and where seccomp forbids the call: one
// directory at a time, never through a link, with a stack of handles, so that ".." is never asked of the system (a name
// of a thousand levels needs a thousand handles). Windows: walked, too, but by path, each directory held open unshared
// for deletion, so that none can be renamed meanwhile; every reparse point (symbolic link, junction) is refused.
// Unproven there under races.

// Resolves a link to the path of an article in `knowledge_dir`: strips an alias ("a|b" is a) and white space, appends
// ".md", follows symbolic links, and gives the absolute path if it is inside `knowledge_dir`, nullopt if not; nullopt
// also for an empty or absolute link, a NUL, a symbolic link that leads to itself or through more than 1000 others. The
// article need not exist: what is missing is taken as it is written. Bytes that are not UTF-8 are a name as any other.
// Windows refuses besides: what is not UTF-8, drive letters, "\\server", "a:stream", names of devices whatever their
// extension (CON, NUL, COM1.txt), names ending in a dot or space, wildcards; "\" separates like "/".
// Holds for the moment of the call only; for use under attack see confined_dir.
std::optional<path> safe_article_path(std::string_view link, const path& knowledge_dir);

// A name led, or would lead, out of its directory. code() is errc::unsafe_path; what() names the component that leaves.
class unsafe_path_error : public error {
 public:
  using error::error;
};

// safe_article_path that reports errc::unsafe_path instead of nullopt.
path require_article_path(std::string_view link, const path& knowledge_dir, std::error_code& ec);
#if MEMORIA_FS_EXCEPTIONS
path require_article_path(std::string_view link, const path& knowledge_dir);  // throws unsafe_path_error
#endif

// An opened directory that no name, symlink or race leads out of; see the threat model above. Const members may be
// called from many threads at once.
//
// Names are UTF-8 and relative, "/" between components (Windows: or "\"). "" and "." are the directory itself. A
// symbolic link is followed wherever it leads inside, and ".." after it goes up from where it led, as the system does
// it. Refused with errc::unsafe_path, for every operation, exists() too: an absolute name, a NUL, a ".." above the top,
// a link that is absolute (even to a place inside: it leads through "/") or climbs out; Windows: names as above.
// Names of 4096 bytes or more are std::errc::filename_too_long, more than 40 links too_many_symbolic_link_levels.
class confined_dir {
 public:
  confined_dir() noexcept;  // not open: every call fails with std::errc::bad_file_descriptor
  confined_dir(const path& directory, std::error_code& ec);
#if MEMORIA_FS_EXCEPTIONS
  explicit confined_dir(const path& directory);
  std::string read_text(std::string_view name) const;
  void atomic_write_text(std::string_view name, std::string_view content, const write_options& options = {}) const;
  void locked_append_text(std::string_view name, std::string_view content, const append_options& options = {}) const;
  bool exists(std::string_view name) const;
  bool remove(std::string_view name) const;
  std::vector<std::string> list(std::string_view name = ".") const;
#endif
  confined_dir(confined_dir&&) noexcept;
  confined_dir& operator=(confined_dir&&) noexcept;
  ~confined_dir();

  // As the functions of the same name: only regular files, the same atomicity, locks, durability and errors. Writing
  // through a link replaces the file that it leads to; symlink_policy says otherwise. Parents are made inside only.
  std::string read_text(std::string_view name, std::error_code& ec) const;
  void atomic_write_text(std::string_view name, std::string_view content, const write_options& options,
                         std::error_code& ec) const;
  void atomic_write_text(std::string_view name, std::string_view content, std::error_code& ec) const {
    atomic_write_text(name, content, {}, ec);
  }
  void locked_append_text(std::string_view name, std::string_view content, const append_options& options,
                          std::error_code& ec) const;
  void locked_append_text(std::string_view name, std::string_view content, std::error_code& ec) const {
    locked_append_text(name, content, {}, ec);
  }

  // Whether the name leads to anything. False for what is missing and for a link that leads to nothing inside.
  bool exists(std::string_view name, std::error_code& ec) const;
  // Removes a file, an empty directory, or a link itself. False: there was nothing. Durable when it returns; if that
  // cannot be proven, errc::not_durable.
  bool remove(std::string_view name, std::error_code& ec) const;
  // The names in a directory, without "." and "..", in byte order.
  std::vector<std::string> list(std::string_view name, std::error_code& ec) const;
  std::vector<std::string> list(std::error_code& ec) const;

 private:
  detail::owner<detail::confined_root> root_;
};

// ---- [json] ---------------------------------------------------------------------------------------------------------
//
// JSON texts as values: read, changed in one place, written back with nothing else moved. Objects keep the order of
// their keys, integers of any size keep their digits, doubles are written with the shortest digits that read back the
// same. Member names are nlohmann/json's for what both have; what differs is said where it does:
//   no constructor takes a brace list (json{j} copies j); json::object({{"k", 1}}) and json::array({1, 2}) build
//   no implicit conversion out of a json; get<T>() checks type and range, and never rounds towards an integer
//   a missing key through a const operator[] is null; an index may append, but not skip
//
// A json behaves like an int between threads: any number may read it, one may change it while nobody reads. Nothing
// here recurses by the depth of a document: parsing, copying, comparing, dumping and destroying a tree a million levels
// deep need no deep stack.

// strict: RFC 8259. Refused: NaN and Infinity, unpaired surrogate escapes (they name no character), a byte order mark,
//   numbers beyond the largest double (integers are never too large). Tiny numbers become zero. `-0` is the integer 0.
// python: what CPython 3.11's json.loads(str) accepts: NaN, Infinity and -Infinity, unpaired surrogates (kept as
//   WTF-8), 1e400 is infinity; and a leading byte order mark. Integers of more than 4,300 digits, which CPython refuses
//   since 3.11 to save itself quadratic work, are accepted too.
// In both the bytes have to be UTF-8 and the last of several equal keys wins, in the place of the first.
enum class json_dialect { strict, python };

struct json_parse_options {
  json_dialect dialect = json_dialect::strict;
  std::size_t max_depth = 1024;  // arrays and objects around a value; deeper is errc::json_limit, not corruption
};

// dump({2}) writes what Python's json.dumps(x, indent=2, ensure_ascii=False) writes, {2, true} what json.dumps(x,
// indent=2) does, {} like nlohmann the shortest form: no white space at all.
struct json_dump_options {
  int indent = -1;                              // spaces a level; 0: line breaks only; negative: everything on one line
  bool ensure_ascii = false;                    // everything but ' ' to '~' as \uXXXX
  json_dialect dialect = json_dialect::strict;  // python: NaN and infinities may be written
};

// Why a text was refused. line and column count from 1, in bytes; all three positions are 0 where there is no text
// (get, at, dump).
struct json_problem {
  std::error_code code;  // corrupt_json, json_limit, json_type (a strict number too large), json_missing; 0: no problem
  std::string reason;    // expected ',' or '}' after a member, found '"'
  std::size_t offset = 0, line = 0, column = 0;
  std::string excerpt;  // the line around the place, at most 60 bytes, cut at characters, control characters as '?'

  explicit operator bool() const noexcept { return static_cast<bool>(code); }
  // 14:7: expected ',' or '}' after a member, found '"'   and with a file name   state.json:14:7: expected ...
  std::string message(std::string_view file = {}) const;
};

// Thrown by every throwing form of this part. what() is problem().message().
class json_error : public std::system_error {
 public:
  explicit json_error(json_problem problem);

  const json_problem& problem() const noexcept { return *problem_; }
  const std::string& reason() const noexcept { return problem_->reason; }
  std::size_t offset() const noexcept { return problem_->offset; }
  std::size_t line() const noexcept { return problem_->line; }
  std::size_t column() const noexcept { return problem_->column; }
  std::string message(std::string_view file) const { return problem_->message(file); }
  const char* what() const noexcept override { return what_->c_str(); }

 private:
  detail::shared<json_problem> problem_;
  detail::shared<std::string> what_;
};

class json;

namespace detail {

// tiny: a string that lies in the first 14 bytes of its cell, padded with zeros; natural: an integer beyond the largest
// std::int64_t; big: one beyond 64 bits, as text. From big on a value owns memory.
enum class json_kind : std::uint64_t { null, boolean, tiny, real, integer, natural, big, text, array, object };
struct json_cell {
  union {
    std::uint64_t payload;
    double real;
    char* memory;  // of a string, array or object
  };
  std::uint64_t length : 48;  // of a longer string in bytes; members
  std::uint64_t info : 8;     // flags of a string; the length of a tiny one
  json_kind kind : 8;
};
static_assert(sizeof(json_cell) == 16, "the bytes of a tiny string lie before its info and kind");
inline std::size_t length_of(const json_cell& c) noexcept { return static_cast<std::size_t>(c.length); }
void destroy(const json_cell& root) noexcept;
void copy_cell(const json_cell& root, json_cell& copy);
bool equal_cells(const json_cell& left, const json_cell& right);
std::string_view string_of(const json_cell& c) noexcept;
double number_of(const json_cell& c);  // which is a number
json_cell whole_of(const json_cell& c);  // a double whose value is an integer of 64 bits as that integer

struct json_member;  // what the brace list of json::object holds

template <class T, class Plain = std::decay_t<T>>  // what json::value returns for a fallback of this type
using value_of = std::conditional_t<std::is_convertible_v<Plain, const char*>, std::string, Plain>;

template <class T>
inline constexpr bool is_character =
    std::is_same_v<T, char> || std::is_same_v<T, wchar_t> || std::is_same_v<T, char16_t> || std::is_same_v<T, char32_t>;

// Over the values of an array or object. A key stands right before its value, hence the step of two.
template <class Json>
class json_iterator {
 public:
  using iterator_category = std::random_access_iterator_tag;
  using value_type = json;
  using difference_type = std::ptrdiff_t;
  using pointer = Json*;
  using reference = Json&;

  json_iterator() noexcept = default;
  json_iterator(Json* at, std::ptrdiff_t step) noexcept : at_(at), step_(step) {}
  operator json_iterator<const Json>() const noexcept { return {at_, step_}; }

  reference operator*() const noexcept { return *at_; }
  pointer operator->() const noexcept { return at_; }
  reference operator[](difference_type n) const noexcept { return at_[n * step_]; }
  // Of an object's member; empty in an array.
  std::string_view key() const noexcept { return step_ == 2 ? string_of(at_[-1].cell_) : std::string_view(); }
  reference value() const noexcept { return *at_; }

  json_iterator& operator+=(difference_type n) noexcept { return at_ += n * step_, *this; }
  json_iterator& operator-=(difference_type n) noexcept { return *this += -n; }
  json_iterator& operator++() noexcept { return *this += 1; }
  json_iterator& operator--() noexcept { return *this += -1; }
  json_iterator operator++(int) noexcept { return json_iterator(detail::exchange(at_, at_ + step_), step_); }
  json_iterator operator--(int) noexcept { return json_iterator(detail::exchange(at_, at_ - step_), step_); }
  friend json_iterator operator+(json_iterator i, difference_type n) noexcept { return i += n; }
  friend json_iterator operator+(difference_type n, json_iterator i) noexcept { return i += n; }
  friend json_iterator operator-(json_iterator i, difference_type n) noexcept { return i -= n; }
  friend difference_type operator-(json_iterator a, json_iterator b) noexcept { return (a.at_ - b.at_) / a.step_; }
  friend bool operator==(json_iterator a, json_iterator b) noexcept { return a.at_ == b.at_; }
  friend bool operator!=(json_iterator a, json_iterator b) noexcept { return a.at_ != b.at_; }
  friend bool operator<(json_iterator a, json_iterator b) noexcept { return a.at_ < b.at_; }
  friend bool operator>(json_iterator a, json_iterator b) noexcept { return b < a; }
  friend bool operator<=(json_iterator a, json_iterator b) noexcept { return !(b < a); }
  friend bool operator>=(json_iterator a, json_iterator b) noexcept { return !(a < b); }

 private:
  Json* at_ = nullptr;
  std::ptrdiff_t step_ = 1;
};

// for (auto& [key, value] : j.items()), and item.key(), item.value() as well
template <class Json>
struct json_items {
  struct item : std::pair<std::string_view, Json&> {
    std::string_view key() const noexcept { return this->first; }
    Json& value() const noexcept { return this->second; }
  };
  struct iterator : json_iterator<Json> {
    item& operator*() const noexcept { return slot.emplace(item{{this->key(), this->value()}}); }
    mutable std::optional<item> slot;  // so that `auto&` binds, as it does to nlohmann's
  };
  iterator begin() const noexcept { return {of.begin(), {}}; }
  iterator end() const noexcept { return {of.end(), {}}; }

  Json& of;
};

}  // namespace detail

// One JSON value in 16 bytes. Short strings and numbers live in it; longer strings, arrays and objects own one block
// of memory each. Values moved out of a parsed document keep up to 32 KiB of it in memory; copies do not. Moving is a
// copy of 16 bytes and leaves null behind. References and views into a value stay good until the value around them is
// changed, as with std::vector and std::string.
class json {
 public:
  using value_type = json;
  using iterator = detail::json_iterator<json>;
  using const_iterator = detail::json_iterator<const json>;
  enum class value_t { null, boolean, number_integer, number_float, string, array, object };

  json() noexcept : cell_{} {}
  json(std::nullptr_t) noexcept : json() {}
  // A template, or pointers would become true; 'x' is no number and no string.
  template <class T, std::enable_if_t<std::is_arithmetic_v<T> && !detail::is_character<T>, int> = 0>
  json(T value) noexcept : json() {
    if constexpr (std::is_floating_point_v<T>) {
      cell_.real = static_cast<double>(value);
      cell_.kind = kind::real;
    } else {
      cell_.payload = static_cast<std::uint64_t>(value);
      const bool natural = std::is_unsigned_v<T> && cell_.payload >> 63;
      cell_.kind = std::is_same_v<T, bool> ? kind::boolean : natural ? kind::natural : kind::integer;
    }
  }
  // UTF-8. Bytes that are not are kept as they are, and refused by dump.
  json(std::string_view text);
  json(const std::string& text) : json(std::string_view(text)) {}
  json(const char* text) : json(text ? json(std::string_view(text)) : json()) {}
  template <class T>
  json(const std::vector<T>& values) : json(array()) {
    for (const auto& value : values) push_back(json(static_cast<const T&>(value)));
  }
  json(const json& other) : json() { detail::copy_cell(other.cell_, cell_); }
  json(json&& other) noexcept : cell_(detail::exchange(other.cell_, detail::json_cell{})) {}
  json& operator=(json other) noexcept { swap(other); return *this; }  // by value: it may have lived inside *this
  ~json() {
    if (cell_.kind >= kind::big) detail::destroy(cell_);
  }
  void swap(json& other) noexcept { other.cell_ = detail::exchange(cell_, other.cell_); }
  friend void swap(json& a, json& b) noexcept { a.swap(b); }

  static json array() { return json(kind::array); }
  static json array(std::initializer_list<json> values) {
    json j = array();
    for (const json& value : values) j.push_back(value);
    return j;
  }
  static json object() { return json(kind::object); }
  static json object(std::initializer_list<detail::json_member> members);  // the last of several equal keys wins

  // The whole text has to be one value with white space around it. The forms without exceptions return null for a text
  // that is refused; json_problem says why and where.
  static json parse(std::string_view text, std::error_code& ec) { return parse(text, {}, ec); }
  static json parse(std::string_view text, const json_parse_options& options, std::error_code& ec) {
    json_problem problem;
    json result = parse(text, options, problem);
    ec = problem.code;
    return result;
  }
  static json parse(std::string_view text, json_problem& problem) { return parse(text, {}, problem); }
  static json parse(std::string_view text, const json_parse_options& options, json_problem& problem);
  static bool accept(std::string_view text, const json_parse_options& options = {}) {
    std::error_code ec;
    parse(text, options, ec);
    return !ec;
  }
#if MEMORIA_FS_EXCEPTIONS
  static json parse(std::string_view text, const json_parse_options& options = {});

  // Errors, all errc::json_type: a NaN or an infinity in the strict dialect, a string that is not UTF-8. Unpaired
  // surrogates are written as \udXXX in either dialect. Doubles look as Python's repr shows them: 1e+16, 1e-05, 2.0.
  std::string dump(int indent = -1) const { return dump(json_dump_options{indent}); }
  std::string dump(const json_dump_options& options) const;
#endif
  std::string dump(std::error_code& ec) const { return dump(json_dump_options{}, ec); }
  std::string dump(int indent, std::error_code& ec) const { return dump(json_dump_options{indent}, ec); }
  std::string dump(const json_dump_options& options, std::error_code& ec) const;

  value_t type() const noexcept;
  const char* type_name() const noexcept;  // "null", "boolean", "number", "string", "array", "object"
  bool is_null() const noexcept { return cell_.kind == kind::null; }
  bool is_boolean() const noexcept { return cell_.kind == kind::boolean; }
  bool is_number() const noexcept { return cell_.kind >= kind::real && cell_.kind <= kind::big; }
  bool is_number_integer() const noexcept { return is_number() && !is_number_float(); }  // of any size
  bool is_number_unsigned() const noexcept {  // an integer, and not negative: a matter of the value, not of its origin
    if (cell_.kind == kind::big) return detail::string_of(cell_)[0] != '-';
    return cell_.kind == kind::natural || (cell_.kind == kind::integer && cell_.payload >> 63 == 0);
  }
  bool is_number_float() const noexcept { return cell_.kind == kind::real; }
  bool is_string() const noexcept { return cell_.kind == kind::tiny || cell_.kind == kind::text; }
  bool is_array() const noexcept { return cell_.kind == kind::array; }
  bool is_object() const noexcept { return cell_.kind == kind::object; }
  bool is_structured() const noexcept { return is_array() || is_object(); }
  bool is_primitive() const noexcept { return !is_structured(); }

  // T is bool, an integer or floating-point type, std::string, std::string_view (into this value), json, or a
  // std::vector of one of these. Integers are had from every number whose value is one and fits (2.0, not 2.5);
  // floating point from every number, rounded to nearest, if its size fits. get(ec) returns T() on failure; get_if
  // nothing.
  template <class T>
  std::optional<T> get_if() const {
    T value{};
    return read_into(value) ? std::optional<T>(std::move(value)) : std::nullopt;
  }
  template <class T>
  T get(std::error_code& ec) const {
    T value{};
    ec = read_into(value) ? std::error_code() : make_error_code(errc::json_type);
    return ec ? T() : std::move(value);
  }

  // The member as a T, or the fallback where there is none (also in null). A member of another type, or a value that is
  // no object, is an error: a fallback would hide it, and the next save would make it final.
  template <class T, class Value = detail::value_of<T>>
  Value value(std::string_view key, T&& fallback, std::error_code& ec) const {
    const json* member = find_member(key);
    ec = is_null() || is_object() ? std::error_code() : make_error_code(errc::json_type);
    if (member) return member->get<Value>(ec);
    return ec ? Value() : Value(std::forward<T>(fallback));
  }

  // Errors: json_missing for no such key or index, json_type where this is no object or array. The forms without
  // exceptions give a null then, which belongs to nobody.
  const json& at(std::string_view key, std::error_code& ec) const { return found(find_member(key), is_object(), ec); }
  const json& at(std::size_t index, std::error_code& ec) const { return found(find_element(index), is_array(), ec); }

#if MEMORIA_FS_EXCEPTIONS
  template <class T>
  T get() const {
    T value{};
    if (!read_into(value)) misused(kind_of<T>);
    return value;
  }
  template <class T, class Value = detail::value_of<T>>
  Value value(std::string_view key, T&& fallback) const {
    if (!is_null() && !is_object()) misused("an object");
    const json* member = find_member(key);
    return member ? member->get<Value>() : Value(std::forward<T>(fallback));
  }
  const json& at(std::string_view key) const { return member(key); }
  const json& at(std::size_t index) const { return element(index); }
  json& at(std::string_view key) { return member(key); }
  json& at(std::size_t index) { return element(index); }
#endif

  // Members of an array or object; 1 for another value, 0 for null: what begin() to end() walks over.
  std::size_t size() const noexcept { return is_structured() ? detail::length_of(cell_) : is_null() ? 0 : 1; }
  bool empty() const noexcept { return size() == 0; }
  iterator begin() noexcept { return {first(), step()}; }
  iterator end() noexcept { return begin() + static_cast<std::ptrdiff_t>(size()); }
  const_iterator begin() const noexcept { return {first(), step()}; }
  const_iterator end() const noexcept { return begin() + static_cast<std::ptrdiff_t>(size()); }
  const_iterator cbegin() const noexcept { return begin(); }
  const_iterator cend() const noexcept { return end(); }
  detail::json_items<json> items() & noexcept { return {*this}; }
  detail::json_items<const json> items() const& noexcept { return {*this}; }
  detail::json_items<const json> items() const&& = delete;  // the range would outlive the value

  // Look-up: in constant time however large the object is, also against keys chosen to collide. In a value that is no
  // object, find gives end(), contains false.
  iterator find(std::string_view key) noexcept {
    json* const member = find_member(key);
    return member ? iterator(member, 2) : end();
  }
  const_iterator find(std::string_view key) const noexcept { return const_cast<json*>(this)->find(key); }
  bool contains(std::string_view key) const noexcept { return find_member(key) != nullptr; }

  // Reading: null for what is not there. Writing: null becomes an object or array; a missing key is added at the end;
  // the index one past the end appends a null. What cannot be (a key in a string, an index beyond) throws json_error;
  // in a program without exceptions it gives a value that is thrown away, so check is_object() first.
  const json& operator[](std::string_view key) const noexcept { return or_null(find_member(key)); }
  const json& operator[](std::size_t index) const noexcept { return or_null(find_element(index)); }
  json& operator[](std::string_view key);
  json& operator[](std::size_t index);

  // null becomes an array; anything else but an array fails like operator[].
  void push_back(json value);
  json& back() noexcept { return end()[-1]; }  // of a value that is not empty()
  const json& back() const noexcept { return end()[-1]; }
  json& front() noexcept { return *begin(); }
  const json& front() const noexcept { return *begin(); }
  // The others keep their order, so the time is linear in their number. Returns how many went: 0 or 1.
  std::size_t erase(std::string_view key) noexcept { return erase_found(find_member(key)); }
  std::size_t erase(std::size_t index) noexcept { return erase_found(find_element(index)); }
  iterator erase(const_iterator position) noexcept;  // the one after it
  // An array or object stays one; anything else becomes null.
  void clear() noexcept { *this = is_structured() ? json(cell_.kind) : json(); }
  void reserve(std::size_t members);  // of an array or object

  // JSON Pointer (RFC 6901): "" is this value, "/users/0/name", with ~1 for '/' and ~0 for '~' in a key. find_pointer:
  // nullptr for what is not there or is no pointer. set_pointer replaces or adds a value and returns it where it now
  // is; members missing on the way become objects; in an array "-", or its size, appends. On an error nothing is
  // changed.
  const json* find_pointer(std::string_view pointer) const;
  json* find_pointer(std::string_view pointer) { return const_cast<json*>(std::as_const(*this).find_pointer(pointer)); }
#if MEMORIA_FS_EXCEPTIONS
  const json& at_pointer(std::string_view pointer) const;
  json& at_pointer(std::string_view pointer) { return const_cast<json&>(std::as_const(*this).at_pointer(pointer)); }
  json& set_pointer(std::string_view pointer, json value);
#endif
  json* set_pointer(std::string_view pointer, json value, std::error_code& ec);  // nullptr on failure

  // As in Python: members in any order, numbers by their exact value (1 == 1.0), NaN equals nothing. Integers beyond 64
  // bits equal only themselves.
  friend bool operator==(const json& a, const json& b) { return detail::equal_cells(a.cell_, b.cell_); }
  friend bool operator!=(const json& a, const json& b) { return !(a == b); }

 private:
  template <class Json>
  friend class detail::json_iterator;

  using kind = detail::json_kind;

  explicit json(kind k) noexcept : json() { cell_.kind = k; }
  template <class T>
  bool read_into(T& value) const {
    if constexpr (std::is_same_v<T, json>) {
      return value = *this, true;
    } else if constexpr (std::is_same_v<T, bool>) {
      return value = cell_.payload != 0, is_boolean();
    } else if constexpr (std::is_integral_v<T>) {
      const detail::json_cell whole = detail::whole_of(cell_);
      value = static_cast<T>(whole.payload);
      const json same = +value;  // if the value fits
      return same.cell_.kind == whole.kind && same.cell_.payload == whole.payload;
    } else if constexpr (std::is_floating_point_v<T>) {
      if (!is_number()) return false;
      const double number = detail::number_of(cell_), highest = static_cast<double>(std::numeric_limits<T>::max());
      const bool special = is_number_float() && !(number - number == 0);  // NaN and infinities are had in every type
      if (!special && !(number >= -highest && number <= highest)) return false;
      return value = static_cast<T>(number), true;
    } else if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, std::string_view>) {
      if (is_string()) value = detail::string_of(cell_);
      return is_string();
    } else {
      static_assert(std::is_same_v<T, std::vector<typename T::value_type>>, "json holds no such type");
      if (!is_array()) return false;
      value.reserve(size());
      for (const json& element : *this) {
        typename T::value_type one{};
        if (!element.read_into(one)) return false;
        value.push_back(std::move(one));
      }
      return true;
    }
  }
  json* first() const noexcept;
  std::ptrdiff_t step() const noexcept { return is_object() ? 2 : 1; }
  json* find_member(std::string_view key) const noexcept;
  json* find_element(std::size_t i) const noexcept { return is_array() && i < size() ? first() + i : nullptr; }
  json* find_token(const std::string& token) const noexcept;
  json& member(std::string_view key) const;
  json& element(std::size_t index) const;
  static const json& or_null(const json* found) noexcept;
  static const json& found(const json* value, bool right_type, std::error_code& ec) noexcept;
  std::size_t erase_found(const json* value) noexcept;
  json& misused(const char* wanted) const;
  static json& failed(errc code, std::string reason);
  template <class T>
  static constexpr const char* kind_of = std::is_same_v<T, bool>                      ? "a boolean"
                                         : std::is_integral_v<T>                      ? "an integer that fits"
                                         : std::is_floating_point_v<T>                ? "a number that fits"
                                         : std::is_convertible_v<T, std::string_view> ? "a string"
                                                                                      : "an array of one type";

  detail::json_cell cell_;
};

namespace detail {

struct json_member {
  std::string_view key;
  mutable json value;  // the elements of a brace list are const; moving out of one saves copying whole trees
};

}  // namespace detail

// ---- [state] --------------------------------------------------------------------------------------------------------
//
// JSON state files shared by several processes, some of them Python: written byte for byte as json.dumps(value,
// indent=2) writes (no final newline), read as CPython 3.11's json.loads reads, with a byte-order mark allowed. Load,
// then save, changes no byte of a file that Python wrote. All writers here are serial: they hold the lock that
// lock_path() names, which is never removed. Readers take no lock and leave no trace.

// Why and how a state file was recovered.
struct recovery_report {
  enum class source {
    fallback,    // the caller's default
    generation,  // a previous version that was kept (write_options::generations); it is the current version again
  };
  enum class damage {
    syntax,     // something is there, but no JSON
    empty,      // no bytes at all
    zeros,      // NUL bytes up to the end: what a power cut leaves of a file that was not synced
    truncated,  // JSON as far as it goes
  };
  path file;             // the state file, symbolic links followed
  source used = source::fallback;
  damage found = damage::syntax;
  path generation;       // with source::generation: the copy that was used
  path backup;           // where the bytes that are not JSON are kept now
  json_problem problem;  // what is wrong with them, and where
  std::string message() const;  // one line, as it goes to standard error when nobody asked for the report
};

// Holds any callable that takes a const recovery_report&.
class recovery_reporter {
 public:
  recovery_reporter() noexcept = default;
  template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, recovery_reporter>>>
  recovery_reporter(F&& f)
      : target_(std::make_shared<std::decay_t<F>>(std::forward<F>(f))),
        call_([](void* target, const recovery_report& r) { (*static_cast<std::decay_t<F>*>(target))(r); }) {}
  explicit operator bool() const noexcept { return call_ != nullptr; }
  void operator()(const recovery_report& report) const { call_(target_.get(), report); }

 private:
  std::shared_ptr<void> target_;
  void (*call_)(void*, const recovery_report&) = nullptr;
};

enum class corruption_policy { use_default, raise };

struct recovery_options {
  recovery_reporter reporter;  // none: one line to standard error. Recovery is never silent
  corruption_policy on_corruption = corruption_policy::use_default;  // raise: set aside all the same, then an error
  unsigned generations = 9;   // look for a good previous version in NAME.gen-1 to NAME.gen-N
  unsigned max_backups = 0;   // keep only so many of the newest backups (by the names they are given); 0: all
  std::size_t max_depth = 1024;  // deeper is an error (errc::json_limit), not corruption
  std::chrono::milliseconds timeout = forever;  // for the lock, which is needed only to set a file aside
};

struct save_options : write_options {
  int indent = 2;
  bool ensure_ascii = true;
  std::chrono::milliseconds timeout = forever;  // for the lock
};

struct update_options : save_options {
  recovery_options recovery;
};

// The state file's bytes were read and are not JSON.
class state_corruption_error : public error {
 public:
  state_corruption_error(const char* operation, const path& file, const detail::status& why, const path& backup,
                         json default_value, json_problem problem);

  const path& backup_path() const noexcept { return facts_->backup; }           // empty: nothing was moved
  const json& default_value() const noexcept { return facts_->default_value; }  // what the caller gave as fallback
  const json_problem& problem() const noexcept { return facts_->problem; }      // reason, line and column

 private:
  struct facts {
    path backup;
    json default_value;
    json_problem problem;
  };
  detail::shared<facts> facts_;
};

// The value in `file`; `fallback` if there is no such file. A file that was read and is not JSON (also an empty one) is
// set aside under a unique name, NAME.bak-YYYYMMDDTHHMMSSZ[-N], durably, and the newest good generation or `fallback`
// is returned. That happens under the file's lock and is checked: a file that another process repaired meanwhile is
// read instead. A file that cannot be read (permission, I/O error, a directory) is an error and stays where it is.
// Errors: the system's own; errc::json_limit; state_corruption_error (errc::corrupt_json, or why the file could not be
// moved) with corruption_policy::raise or when setting aside fails: then the file is still in its place.
json load_json_with_recovery(const path& file, json fallback, const recovery_options& options, std::error_code& ec);
inline json load_json_with_recovery(const path& file, json fallback, std::error_code& ec) {
  return load_json_with_recovery(file, std::move(fallback), {}, ec);
}

// The value in `file`, which must be there. Moves nothing: state_corruption_error (errc::corrupt_json) if it is not
// JSON.
json load_json(const path& file, std::error_code& ec);

// Replaces `file` durably, under its lock. See atomic_write_text for errors, and errc::lock_timeout,
// errc::lock_unsupported, errc::lock_nested.
void save_json(const path& file, const json& value, const save_options& options, std::error_code& ec);
inline void save_json(const path& file, const json& value, std::error_code& ec) { save_json(file, value, {}, ec); }

// What load_json_snapshot saw, for a change that takes minutes and must not hold a lock meanwhile.
struct json_snapshot {
  json value;
  bool existed = false;
  std::string text;  // the file's bytes
};
json_snapshot load_json_snapshot(const path& file, json fallback, const recovery_options& options, std::error_code& ec);
inline json_snapshot load_json_snapshot(const path& file, json fallback, std::error_code& ec) {
  return load_json_snapshot(file, std::move(fallback), {}, ec);
}

// Saves `value` if the file still has the bytes of the snapshot (or is still missing), and makes the snapshot that of
// the new state. False without an error: somebody changed the file meanwhile, nothing was written; load again.
bool save_json_if_unchanged(const path& file, json_snapshot& snapshot, const json& value, const save_options& options,
                            std::error_code& ec);
inline bool save_json_if_unchanged(const path& file, json_snapshot& snapshot, const json& value, std::error_code& ec) {
  return save_json_if_unchanged(file, snapshot, value, {}, ec);
}

namespace detail {
struct json_change {
  void* object;
  bool (*call)(void* object, json& value);
};
template <class F>
json_change change_with(F& change) {
  return {callable_address(change), [](void* object, json& value) {
            if constexpr (std::is_void_v<std::invoke_result_t<F&, json&>>) {
              callable_at<F>(object)(value);
              return true;
            } else {
              return static_cast<bool>(callable_at<F>(object)(value));
            }
          }};
}
json update_state(const path& file, json fallback, json_change change, const update_options& options,
                  std::error_code& ec);
#if MEMORIA_FS_EXCEPTIONS
json update_state(const path& file, json fallback, json_change change, const update_options& options);
#endif
}  // namespace detail

// Read, change, write, as one step that no other writer can come into: `change(json&)` gets the current value
// (recovered as by load_json_with_recovery, `fallback` if there is no file) and edits it; if it returns false or
// throws, nothing is written. Returns the value as `change` left it. Waits for ever unless options.timeout is set.
// What takes the place of a corrupt file keeps its mode, owner and access list, as any replacement does. `change` runs
// with the file locked: updating or saving the same file inside it is errc::lock_nested (where a shared library does it
// with a hidden copy of this header, it waits like another program).
template <class F>
json update_json(const path& file, json fallback, F&& change, const update_options& options, std::error_code& ec) {
  return detail::update_state(file, std::move(fallback), detail::change_with(change), options, ec);
}
template <class F>
json update_json(const path& file, json fallback, F&& change, std::error_code& ec) {
  return update_json(file, std::move(fallback), change, update_options{}, ec);
}

#if MEMORIA_FS_EXCEPTIONS
json load_json_with_recovery(const path& file, json fallback, const recovery_options& options = {});
json load_json(const path& file);
void save_json(const path& file, const json& value, const save_options& options = {});
json_snapshot load_json_snapshot(const path& file, json fallback = {}, const recovery_options& options = {});
bool save_json_if_unchanged(const path& file, json_snapshot& snapshot, const json& value,
                            const save_options& options = {});
template <class F>
json update_json(const path& file, json fallback, F&& change, const update_options& options = {}) {
  return detail::update_state(file, std::move(fallback), detail::change_with(change), options);
}
#endif

// ---- [vault] --------------------------------------------------------------------------------------------------------
//
// A directory of notes: the files whose name ends in ".md", at any depth. Directories and files that begin with a dot
// (.git, .obsidian) are left out unless asked for, symbolic links to directories are not followed. Names of notes are
// UTF-8, relative to the directory, with "/" on every system. Nothing here locks: a note that changes while it is read
// is seen as it was or as it is. An object is for one thread at a time unless all only read it.

// Whether safe_article_path(link, knowledge_dir) leads to something that exists: the seed's question, exact to the byte
// on file systems that are. A link that leaves the directory does not exist.
bool wiki_article_exists(std::string_view link, const path& knowledge_dir);

// How many notes link to `target`: a note counts once, if parse_wikilink of one of its extract_wikilinks equals
// `target` byte for byte (so [[target|display]] counts, [[target#heading]] does not, and code counts). `exclude` leaves
// out one note, absolute or relative to the current directory. Reads every note: for more than one target use
// link_graph. A note that vanishes meanwhile links to nothing. Errors: a directory or note that cannot be read.
std::size_t count_inbound_links(std::string_view target, const path& knowledge_dir, const path& exclude,
                                std::error_code& ec);
std::size_t count_inbound_links(std::string_view target, const path& knowledge_dir, std::error_code& ec);
#if MEMORIA_FS_EXCEPTIONS
std::size_t count_inbound_links(std::string_view target, const path& knowledge_dir, const path& exclude = {});
#endif

// How a link finds its file.
enum class link_resolution {
  // As Obsidian: the exact path from the root of the vault; else relative to the note, if it begins with ./ or ../;
  // else any note whose path ends so ("note" or "dir/note"); else a note whose frontmatter lists it under alias or
  // aliases. ".md" may be written or not; another extension names a file of any kind (an image); /x is x from the root.
  // Letters match without regard to case and to how they are composed (NFC, NFD), in the scripts where that takes
  // little: case by Unicode's simple lower case in U+0041-005A, 00C0-012F, 0132-017E (Latin), 0386-03AB and the final
  // sigma (Greek), 0400-052F (Cyrillic), 0531-0556 (Armenian), 1E00-1E95 and 1EA0-1EFF (Latin, Vietnamese); composition
  // by its canonical decompositions in U+00C0-017F, 0386-03CE, 0400-045F, 1EA0-1EF9 and AC00-D7A3 (Hangul). All else,
  // and what is not UTF-8, is compared byte for byte. If several fit equally, the link is ambiguous and leads to one of
  // them: that in the folder of the note, else that with the shortest path, else the first in order.
  name,
  // As the seed: exactly <root>/<target>.md, where target is parse_wikilink of the link and may hold a "#".
  exact,
};

enum class link_status : unsigned char {
  ok,
  broken,      // leads to nothing
  ambiguous,   // by name: several notes fit; link_graph::candidates
  unsafe,      // leads out of the directory
  no_anchor,   // check_anchors: the note is there, the heading or block is not
};

struct graph_options {
  link_resolution resolve = link_resolution::name;
  bool include_code = false;    // links in code, comments and math count too: the seed's reading of a note
  bool include_hidden = false;  // also what begins with a dot
  bool check_anchors = false;   // headings and ^blocks of links are looked for (by name only)
};

struct graph_note {
  std::string_view name;     // "dir/note.md"
  std::size_t index = 0;     // its place in link_graph::notes()
  std::size_t inbound = 0;   // other notes that link to it, each once
  std::size_t outbound = 0;  // links in it, of any status
  bool readable = true;
};

struct graph_link {
  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  std::string_view target;         // as written, parse_wikilink'ed: "note#heading"
  std::size_t index = 0;           // its place in link_graph::links()
  std::size_t source = 0;          // the note it stands in, an index into notes()
  std::size_t destination = none;  // the note it leads to; none: broken, unsafe or a file that is not a note
  text_position position;          // of the "[[" or "![["
  link_status status = link_status::ok;
  bool embed = false;
  bool frontmatter = false;
};

struct graph_failure {
  std::string name;  // the note or directory, relative
  std::error_code code;
};

namespace detail {

struct vault_index;
graph_note item_at(const vault_index& index, std::size_t number, const graph_note* tag);
graph_link item_at(const vault_index& index, std::size_t number, const graph_link* tag);

// Items made when asked for, by their number or through a list of numbers.
template <class Item>
class graph_range {
 public:
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Item;
    using difference_type = std::ptrdiff_t;
    using pointer = const Item*;
    using reference = Item;

    iterator(const graph_range* range, std::size_t at) noexcept : range_(range), at_(at) {}
    Item operator*() const { return (*range_)[at_]; }
    iterator& operator++() noexcept { return ++at_, *this; }
    friend bool operator==(const iterator& a, const iterator& b) noexcept { return a.at_ == b.at_; }
    friend bool operator!=(const iterator& a, const iterator& b) noexcept { return a.at_ != b.at_; }

   private:
    const graph_range* range_;
    std::size_t at_;
  };

  graph_range(const vault_index* index, std::size_t first, std::size_t count, const std::uint32_t* numbers) noexcept
      : index_(index), first_(first), count_(count), numbers_(numbers) {}
  iterator begin() const noexcept { return {this, 0}; }
  iterator end() const noexcept { return {this, count_}; }
  std::size_t size() const noexcept { return count_; }
  bool empty() const noexcept { return count_ == 0; }
  Item operator[](std::size_t i) const {  // i < size()
    return item_at(*index_, numbers_ == nullptr ? first_ + i : numbers_[i], static_cast<const Item*>(nullptr));
  }

 private:
  const vault_index* index_;
  std::size_t first_;
  std::size_t count_;
  const std::uint32_t* numbers_;
};

// A callable by reference: void(done, total).
struct progress_call {
  void* object = nullptr;
  void (*call)(void* object, std::size_t done, std::size_t total) = nullptr;
};

template <class F>
progress_call progress_of(F& f) {
  return {callable_address(f),
          [](void* object, std::size_t done, std::size_t total) { callable_at<F>(object)(done, total); }};
}

}  // namespace detail

// All notes of a directory and all links between them, from one pass that opens and reads each note once and keeps
// names and links only. Notes are in byte order of their names, links in the order of their notes and of their place in
// them: the same directory gives the same graph. A note that cannot be read is listed in failures() and is no reason to
// stop; links to it are not broken. Limits: 4 GiB of different targets, 4 Gi links (what is beyond is a failure of its
// note), 4 GiB and 2^29 of names (else std::errc::value_too_large); columns count up to 2^27. Views in graph_note and
// graph_link live as long as the graph, ranges as long as it is not moved. Errors of the constructors: the directory
// itself cannot be opened or listed.
class link_graph {
 public:
  link_graph() noexcept;  // empty
  link_graph(const path& directory, const graph_options& options, std::error_code& ec)
      : link_graph(directory, options, detail::progress_call(), ec) {}
  link_graph(const path& directory, std::error_code& ec) : link_graph(directory, graph_options(), ec) {}
  // progress(done, total) is called after each note.
  template <class F>
  link_graph(const path& directory, const graph_options& options, F&& progress, std::error_code& ec)
      : link_graph(directory, options, detail::progress_of(progress), ec) {}
#if MEMORIA_FS_EXCEPTIONS
  explicit link_graph(const path& directory, const graph_options& options = {});
#endif
  link_graph(link_graph&&) noexcept;
  link_graph& operator=(link_graph&&) noexcept;
  ~link_graph();

  detail::graph_range<graph_note> notes() const;
  detail::graph_range<graph_link> links() const;
  detail::graph_range<graph_link> links_of(std::size_t note) const;       // that stand in the note
  detail::graph_range<graph_link> backlinks(std::size_t note) const;      // that lead to it from other notes, in order
  detail::graph_range<graph_note> orphans() const;                        // that no other note links to
  std::vector<graph_note> candidates(std::size_t link) const;             // what an ambiguous link may mean, best first
  std::size_t count(link_status status) const noexcept;                   // links of this status
  const std::vector<graph_failure>& failures() const noexcept;

  // The number of the note that `link` ("note", "dir/note.md", an alias) would lead to from the root of the vault.
  std::optional<std::size_t> find(std::string_view link) const;

 private:
  link_graph(const path& directory, const graph_options& options, detail::progress_call progress, std::error_code& ec);

  detail::owner<detail::vault_index> index_;
};

struct rename_options {
  bool dry_run = false;  // change nothing, only report what would change
  link_resolution resolve = link_resolution::name;
  bool include_code = false;
  bool include_hidden = false;
  bool skip_unreadable = false;  // go on although notes or folders cannot be read, whose links then stay as they are
  write_options write;   // how notes are written; overwrite, generations and symlinks are not used
};

struct link_change {
  std::string note;        // where the link stands, after the move: "dir/note.md"
  text_position position;  // before the change
  std::string before;      // the note part: "old", "dir/old.md"
  std::string after;
};

struct rename_report {
  bool moved = false;  // false: FROM is gone and TO is there, as after a call that was killed at its very end
  std::vector<link_change> changes;
  std::vector<graph_failure> failures;  // notes and folders that could not be read; an error unless skip_unreadable
};

// Moves the note `from` to `to` (paths from `directory`, "/" between folders, ".md" may be left out) and rewrites every
// link that led to it, in its own text too: [[old]] to [[new]], [[dir/old.md#h|text]] to [[dir/new.md#h|text]]. A link
// keeps the style it was written in, a bare name or a path, unless the bare name would be ambiguous; everything else in
// it and around it keeps its bytes. A link to another note that the new name would turn away from it is given that
// note's path; relative links in a note that changes its folder are adapted.
//
// Order: the new note is written, then each note that links, the old one is removed last. So every link leads somewhere
// at every moment, a kill or a power cut leaves both notes at worst, and the same call again finishes: a new note that
// holds what it would write is taken for its own. Each note is replaced atomically and keeps mode and owner. What
// others write meanwhile: on Linux the rewritten note is exchanged with the old one in a single step and what comes out
// is compared with what was read; if it differs, it goes back and the rewrite begins again with the new text. On other
// systems a note saved between our reading and our renaming (well under a millisecond) is overwritten. An edit
// displaced at the very moment of a kill lies beside the note in a temporary file (.memoria-*.tmp). Two renames in one
// directory at a time exclude each other by a lock (.memoria.lock in `directory`).
//
// Errors: std::errc::file_exists (`to` is there and differs: nothing is clobbered), no_such_file_or_directory,
// errc::unsafe_path (a name that leaves the directory, is absolute, hidden, not UTF-8, or holds what a link cannot:
// []|#^ and line breaks), errc::changed_meanwhile (a note kept changing; the old note is still there, call again),
// errc::lock_unsupported (two renames could not be kept apart; a dry run takes no lock), the system's own. After an
// error every link still leads somewhere, and the same call again finishes.
rename_report rename_article(const path& directory, std::string_view from, std::string_view to,
                             const rename_options& options, std::error_code& ec);
rename_report rename_article(const path& directory, std::string_view from, std::string_view to, std::error_code& ec);
#if MEMORIA_FS_EXCEPTIONS
rename_report rename_article(const path& directory, std::string_view from, std::string_view to,
                             const rename_options& options = {});
#endif

}  // inline namespace MEMORIA_FS_ABI
}  // namespace MEMORIA_FS_NAMESPACE

template <>
struct std::is_error_code_enum<MEMORIA_FS_NAMESPACE::errc> : std::true_type {};

#endif  // MEMORIA_FS_HPP: end of the interface

#if !defined(MEMORIA_FS_DEFINED) && (defined(MEMORIA_FS_IMPLEMENTATION) || !defined(MEMORIA_FS_DECLARATIONS_ONLY))
#define MEMORIA_FS_DEFINED

// ---- What the definitions include -----------------------------------------------------------------------------------
//
// A port is these includes and prototypes, detail::lanes and detail::os, further down: nothing else knows the system.

#if !defined(__GNUC__) && !defined(__clang__)
#include <atomic>  // 1,400 lines; the others have a builtin, see detail::fetch_subtract
#endif
#include <cfloat>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#ifndef _WIN32
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#ifdef __linux__
#include <sys/syscall.h>
#include <sys/xattr.h>
#endif
#ifdef __APPLE__
#include <copyfile.h>
#include <sys/random.h>
#endif
#else
// Prototypes with the exact types of <windows.h>, which may be included before or after this header and is not needed.
// What takes a type that cannot be declared without it (enumerations) is looked up at run time.
struct _OVERLAPPED;
struct _SECURITY_ATTRIBUTES;
struct _BY_HANDLE_FILE_INFORMATION;
struct _WIN32_FIND_DATAW;
struct HINSTANCE__;
extern "C" {
__declspec(dllimport) unsigned long __stdcall GetLastError(void);
__declspec(dllimport) void __stdcall SetLastError(unsigned long);
__declspec(dllimport) int __stdcall CloseHandle(void*);
__declspec(dllimport) void* __stdcall CreateFileW(const wchar_t*, unsigned long, unsigned long, _SECURITY_ATTRIBUTES*,
                                                  unsigned long, unsigned long, void*);
__declspec(dllimport) int __stdcall ReadFile(void*, void*, unsigned long, unsigned long*, _OVERLAPPED*);
__declspec(dllimport) int __stdcall WriteFile(void*, const void*, unsigned long, unsigned long*, _OVERLAPPED*);
__declspec(dllimport) int __stdcall FlushFileBuffers(void*);
__declspec(dllimport) unsigned long __stdcall SetFilePointer(void*, long, long*, unsigned long);
__declspec(dllimport) int __stdcall SetEndOfFile(void*);
__declspec(dllimport) int __stdcall LockFileEx(void*, unsigned long, unsigned long, unsigned long, unsigned long,
                                               _OVERLAPPED*);
__declspec(dllimport) int __stdcall UnlockFileEx(void*, unsigned long, unsigned long, unsigned long, _OVERLAPPED*);
__declspec(dllimport) int __stdcall GetFileInformationByHandle(void*, _BY_HANDLE_FILE_INFORMATION*);
__declspec(dllimport) unsigned long __stdcall GetFileAttributesW(const wchar_t*);
__declspec(dllimport) int __stdcall SetFileAttributesW(const wchar_t*, unsigned long);
__declspec(dllimport) int __stdcall MoveFileExW(const wchar_t*, const wchar_t*, unsigned long);
__declspec(dllimport) int __stdcall DeleteFileW(const wchar_t*);
__declspec(dllimport) int __stdcall RemoveDirectoryW(const wchar_t*);
__declspec(dllimport) int __stdcall CreateDirectoryW(const wchar_t*, _SECURITY_ATTRIBUTES*);
__declspec(dllimport) int __stdcall CreateHardLinkW(const wchar_t*, const wchar_t*, _SECURITY_ATTRIBUTES*);
__declspec(dllimport) void* __stdcall FindFirstFileW(const wchar_t*, _WIN32_FIND_DATAW*);
__declspec(dllimport) int __stdcall FindNextFileW(void*, _WIN32_FIND_DATAW*);
__declspec(dllimport) int __stdcall FindClose(void*);
__declspec(dllimport) unsigned long __stdcall GetFinalPathNameByHandleW(void*, wchar_t*, unsigned long, unsigned long);
__declspec(dllimport) unsigned long __stdcall GetFullPathNameW(const wchar_t*, unsigned long, wchar_t*, wchar_t**);
__declspec(dllimport) HINSTANCE__* __stdcall GetModuleHandleW(const wchar_t*);
__declspec(dllimport) std::intptr_t(__stdcall* __stdcall GetProcAddress(HINSTANCE__*, const char*))();
__declspec(dllimport) unsigned long __stdcall GetCurrentProcessId(void);
__declspec(dllimport) unsigned long __stdcall GetCurrentThreadId(void);
__declspec(dllimport) void __stdcall Sleep(unsigned long);
}
#endif

namespace MEMORIA_FS_NAMESPACE {
inline namespace MEMORIA_FS_ABI {

// ---- bytes: UTF-8, and a sort ---------------------------------------------------------------------------------------

namespace detail {

struct decoded {
  char32_t code;
  unsigned length;  // 0: not a valid sequence here
};

// One code point of UTF-8 at `at`; surrogates pass (WTF-8), overlong forms and values above 10FFFF do not.
inline decoded decode_utf8(std::string_view text, std::size_t at) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(at);
  if (lead < 0x80) return {lead, 1};
  const unsigned length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() - at < length) return {0, 0};
  if (lead >= 0xE1 && lead <= 0xEC && (byte(at + 1) & 0xC0u) == 0x80 && (byte(at + 2) & 0xC0u) == 0x80)  // most scripts
    return {(lead & 0xFu) << 12 | (byte(at + 1) & 0x3Fu) << 6 | (byte(at + 2) & 0x3Fu), 3};
  char32_t code = lead & (0xFFu >> (length + 1));
  for (unsigned i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0u) != 0x80) return {0, 0};
    code = (code << 6) | (byte(at + i) & 0x3Fu);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  if (overlong || code > 0x10FFFF) return {0, 0};
  return {code, length};
}

inline bool is_surrogate(char32_t c) noexcept { return c >= 0xD800 && c < 0xE000; }

inline char* write_utf8(char* out, char32_t c) noexcept {  // up to 4 bytes; returns their end
  const auto put = [&](char32_t byte) { *out++ = static_cast<char>(static_cast<unsigned char>(byte)); };
  const auto put_rest = [&](unsigned shift) { put(0x80 | ((c >> shift) & 0x3F)); };
  if (c < 0x80) return put(c), out;
  if (c < 0x800) return put(0xC0 | (c >> 6)), put_rest(0), out;
  if (c < 0x10000) return put(0xE0 | (c >> 12)), put_rest(6), put_rest(0), out;
  return put(0xF0 | (c >> 18)), put_rest(12), put_rest(6), put_rest(0), out;
}

inline void append_utf8(std::string& out, char32_t c) {
  char bytes[4];
  out.append(bytes, static_cast<std::size_t>(write_utf8(bytes, c) - bytes));
}

// The longest beginning of up to `size` bytes that does not end inside a character.
template <class Text>
std::size_t whole_characters(const Text& text, std::size_t size) noexcept {
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0u) == 0x80) --size;
  return size;
}

inline std::string concat(std::initializer_list<std::string_view> parts) {
  std::string out;
  for (const std::string_view part : parts) out.append(part.data(), part.size());
  return out;
}

// Moves what a plain_vector holds into larger, or smaller, memory.
inline void* moved(void* from, std::size_t used, std::size_t bytes) {
  void* const to = ::operator new(bytes);
  if (used != 0) std::memcpy(to, from, used);
  ::operator delete(from);
  return to;
}

// A vector of plain data. Of the dozen types that are kept in one, std::vector would be a dozen times compiled, by
// everybody who includes this file: a tenth of what that costs.
template <class T>
class plain_vector {
 public:
  plain_vector() noexcept = default;
  explicit plain_vector(std::size_t size, T value = T()) { resize(size, value); }
  plain_vector(plain_vector&& other) noexcept { swap(other); }
  plain_vector& operator=(plain_vector&& other) noexcept { swap(other); return *this; }
  ~plain_vector() { ::operator delete(begin_); }

  T* data() const noexcept { return begin_; }
  T* begin() const noexcept { return begin_; }
  T* end() const noexcept { return end_; }
  T& back() const noexcept { return end_[-1]; }
  T& operator[](std::size_t i) const noexcept { return begin_[i]; }
  std::size_t size() const noexcept { return static_cast<std::size_t>(end_ - begin_); }
  bool empty() const noexcept { return begin_ == end_; }

  void push_back(const T& value) {  // none of its own
    if (end_ == limit_) set_capacity(2 * size() + 2);
    *end_++ = value;
  }
  void pop_back() noexcept { --end_; }
  void resize(std::size_t size, T value = T()) {
    reserve(size);
    T* const end = begin_ + size;
    while (end_ < end) *end_++ = value;
    end_ = end;
  }
  void reserve(std::size_t capacity) {
    if (capacity > static_cast<std::size_t>(limit_ - begin_)) set_capacity(capacity);
  }
  void shrink_to_fit() { set_capacity(size()); }
  void swap(plain_vector& other) noexcept {
    begin_ = detail::exchange(other.begin_, begin_);
    end_ = detail::exchange(other.end_, end_);
    limit_ = detail::exchange(other.limit_, limit_);
  }

 private:
  static_assert(std::is_trivially_copyable_v<T>);
  [[gnu::noinline]] void set_capacity(std::size_t capacity) {
    const std::size_t kept = size(), most = std::numeric_limits<std::size_t>::max();
    const std::size_t bytes = capacity > most / sizeof(T) ? most : capacity * sizeof(T);  // too many: std::bad_alloc
    begin_ = static_cast<T*>(moved(begin_, kept * sizeof(T), bytes));
    end_ = begin_ + kept;
    limit_ = begin_ + capacity;
  }

  T *begin_ = nullptr, *end_ = nullptr, *limit_ = nullptr;
};

// Merge sort: <algorithm> alone would cost every user more than this file.
template <class Items, class Less>
void sort_by_merging(Items& items, Less less) {
  Items merged(items.size());
  for (std::size_t width = 1; width < items.size(); width *= 2) {
    for (std::size_t begin = 0; begin < items.size(); begin += 2 * width) {
      const auto bound = [&](std::size_t at) { return at < items.size() ? at : items.size(); };
      const std::size_t middle = bound(begin + width), end = bound(begin + 2 * width);
      for (std::size_t left = begin, right = middle, to = begin; to < end; ++to) {
        const bool take_right = left == middle || (right < end && less(items[right], items[left]));
        merged[to] = std::move(items[take_right ? right++ : left++]);
      }
    }
    items.swap(merged);
  }
}

template <class Items>
void sort_by_merging(Items& items) {
  sort_by_merging(items, [](const auto& a, const auto& b) { return a < b; });
}

}  // namespace detail

// ---- [errors] definitions -------------------------------------------------------------------------------------------

namespace detail {

// What went wrong, carried outward until the public function decides to throw or to report. `step` is the system call
// or the check that failed; `note` is a hint for the human ("a mount point cannot be replaced"), cut where it is long.
// Plain data: nearly every function has one, and a destructor would double what compiling them costs.
struct status {
  std::error_code code;
  const char* step = "";
  char note[320];

  status() noexcept { note[0] = '\0'; }
  bool failed() const noexcept { return static_cast<bool>(code); }
  bool missing() const noexcept { return code == std::errc::no_such_file_or_directory; }
  // Records the first failure only: later ones are consequences. Returns false, so that `return s.fail(...)` reads
  // well.
  bool fail(const char* failed_step, std::error_code why, std::string_view hint = {}) noexcept;
  bool fail(const char* failed_step, std::errc why, std::string_view hint = {}) noexcept {
    return fail(failed_step, std::make_error_code(why), hint);
  }
  bool fail(const char* failed_step, errc why, std::string_view hint = {}) noexcept {
    return fail(failed_step, make_error_code(why), hint);
  }
  bool fail(const status& cause) noexcept { return fail(cause.step, cause.code, cause.note); }
  void explain(std::string_view hint) noexcept;
};

// One object for ever: never destroyed, because what it is asked for may outlive main, and made without allocating.
template <class T>
const T& immortal() noexcept {
  alignas(T) static unsigned char storage[sizeof(T)];
  static const T& object = *::new (static_cast<void*>(storage)) T;
  return object;
}

class memoria_category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "memoria"; }
  std::string message(int value) const override;
  std::error_condition default_error_condition(int value) const noexcept override;
};

// std::filesystem::path to UTF-8 and back, one helper each way. path::string() is the ANSI code page on Windows and can
// throw; u8path is deprecated in C++20. Unpaired UTF-16 surrogates, legal in NTFS names, travel as WTF-8.
std::string to_utf8(const path& p);
std::optional<path> from_utf8(std::string_view text);  // nullopt: not UTF-8, where the system's names are UTF-16

// A path for a message: a NUL would end what(), a newline would forge another line in somebody's log.
std::string printable(std::string_view text);

// The two forms of a public function. What it does is `work(arguments..., status&)`; one form hands the code to the
// caller, the other throws. A public definition is a call of one of them and nothing else.
template <class F, class... A>
auto report_to(std::error_code& ec, F&& work, A&&... arguments) {
  status s;
  auto result = work(std::forward<A>(arguments)..., s);
  ec = s.code;
  return result;
}
#if MEMORIA_FS_EXCEPTIONS
inline void throw_if_failed(const char* operation, const path& file, const status& s) {
  if (s.failed()) throw error(operation, file, s);
}
template <class F, class... A>
auto or_throw(const char* operation, const path& file, F&& work, A&&... arguments) {
  status s;
  auto result = work(std::forward<A>(arguments)..., s);
  throw_if_failed(operation, file, s);
  return result;
}
#endif

struct meaning {
  errc value;
  std::errc like;  // errc(): no std::errc says this, and a near miss would be acted upon
  const char* text;
};
inline const meaning* meaning_of(int value) noexcept {
  static constexpr meaning all[] = {
      {errc::lock_timeout, std::errc::timed_out, "lock is held by another process or thread, deadline passed"},
      {errc::lock_unsupported, std::errc::not_supported, "file locking is not supported here"},
      {errc::lock_nested, std::errc::resource_deadlock_would_occur, "this thread is already updating this file"},
      {errc::not_durable, std::errc(), "written, but not proven to survive a power failure"},
      {errc::unsafe_path, std::errc::operation_not_permitted, "name leads out of its directory"},
      {errc::not_regular, std::errc::invalid_argument, "not a regular file"},
      {errc::is_symlink, std::errc::too_many_symbolic_link_levels, "is a symbolic link, which was to be refused"},
      {errc::changed_meanwhile, std::errc(), "file was changed by another writer meanwhile"},
      {errc::size_mismatch, std::errc::io_error, "the system stored fewer bytes than it accepted"},
      {errc::corrupt_json, std::errc::illegal_byte_sequence, "not valid JSON"},
      {errc::json_limit, std::errc::value_too_large, "JSON is nested deeper than the limit"},
      {errc::json_type, std::errc::argument_out_of_domain, "JSON value has another type or is out of range"},
      {errc::json_missing, std::errc::result_out_of_range, "no such JSON key, index or pointer target"},
  };
  for (const meaning& m : all) {
    if (static_cast<int>(m.value) == value) return &m;
  }
  return nullptr;
}

[[gnu::cold]] MEMORIA_FS_INLINE bool status::fail(const char* failed_step, std::error_code why,
                                                  std::string_view hint) noexcept {
  if (failed()) return false;
  code = why;
  step = failed_step;
  explain(hint);
  return false;
}

[[gnu::cold]] MEMORIA_FS_INLINE void status::explain(std::string_view hint) noexcept {
  std::size_t size = hint.size();
  if (size >= sizeof note) size = whole_characters(hint, sizeof note - 4);
  hint.copy(note, size);
  std::memcpy(note + size, size < hint.size() ? "..." : "", size < hint.size() ? 4 : 1);
}

[[gnu::cold]] MEMORIA_FS_INLINE std::string memoria_category::message(int value) const {
  const meaning* m = meaning_of(value);
  return m != nullptr ? m->text : "unknown memoria error";
}

[[gnu::cold]] MEMORIA_FS_INLINE std::error_condition
memoria_category::default_error_condition(int value) const noexcept {
  const meaning* m = meaning_of(value);
  const bool alike = m != nullptr && m->like != std::errc();
  return alike ? std::make_error_condition(m->like) : std::error_condition(value, *this);
}

MEMORIA_FS_INLINE std::string to_utf8(const path& p) {
  const auto& units = p.native();
  if constexpr (sizeof(path::value_type) == 1) {
    return std::string(units.begin(), units.end());
  } else {
    std::string out;
    for (std::size_t i = 0; i < units.size(); ++i) {
      char32_t c = static_cast<char16_t>(units[i]);
      if (c >= 0xD800 && c < 0xDC00 && i + 1 < units.size()) {
        const char32_t low = static_cast<char16_t>(units[i + 1]);
        if (low >= 0xDC00 && low < 0xE000) {
          c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
          ++i;
        }
      }
      append_utf8(out, c);
    }
    return out;
  }
}

MEMORIA_FS_INLINE std::optional<path> from_utf8(std::string_view text) {
  if constexpr (sizeof(path::value_type) == 1) {
    return path(std::string(text));
  } else {
    path::string_type units;
    for (std::size_t i = 0; i < text.size();) {
      const decoded d = decode_utf8(text, i);
      if (d.length == 0) return std::nullopt;
      i += d.length;
      if (d.code >= 0x10000) {
        units += static_cast<path::value_type>(0xD800 + ((d.code - 0x10000) >> 10));
        units += static_cast<path::value_type>(0xDC00 + ((d.code - 0x10000) & 0x3FF));
      } else {
        units += static_cast<path::value_type>(d.code);
      }
    }
    return path(std::move(units));
  }
}

[[gnu::cold]] MEMORIA_FS_INLINE std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7F) {
      out += c;
    } else {
      out.append("\\x").append(1, "0123456789ABCDEF"[byte >> 4]).append(1, "0123456789ABCDEF"[byte & 15]);
    }
  }
  return out;
}

}  // namespace detail

MEMORIA_FS_INLINE const std::error_category& error_category() noexcept {
  return detail::immortal<detail::memoria_category>();
}

MEMORIA_FS_INLINE std::error_code make_error_code(errc e) noexcept { return {static_cast<int>(e), error_category()}; }

MEMORIA_FS_INLINE bool detail::is(const std::error_code& code, errc e) noexcept {
  return code.value() == static_cast<int>(e) && std::strcmp(code.category().name(), error_category().name()) == 0;
}

[[gnu::cold]] MEMORIA_FS_INLINE error::error(std::string operation, const path& file, const detail::status& why)
    : std::filesystem::filesystem_error(operation, file, why.code) {
  const bool stepped = *why.step != '\0', noted = why.note[0] != '\0';
  std::string what = detail::concat({operation, " \"", detail::printable(detail::to_utf8(file)), "\": ", why.step,
                                   stepped ? ": " : "", why.code.message(), noted ? " (" : "",
                                   detail::printable(why.note), noted ? ")" : ""});
  text_ = new texts{std::move(operation), why.step, std::move(what)};
}

// ---- detail::lanes: several bytes compared at once, with what the compiler has on by default ------------------------

namespace detail {

// One name for SSE2 (x86-64), NEON (AArch64) and plain 64-bit arithmetic (everywhere else, any byte order). A mask has
// `bits` bits for each byte, the first byte lowest, of which only the lowest is set. Written with the vector extensions
// of g++ and clang, because <emmintrin.h> costs every user 3,600 lines.
#if !defined(MEMORIA_FS_PORTABLE) && defined(__GNUC__) && \
    (defined(__SSE2__) || (defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__))
struct lanes {
  typedef unsigned char bytes __attribute__((vector_size(16)));
  using mask = std::uint64_t;
  static constexpr std::size_t width = 16;

  bytes v;

  static lanes load(const char* p) noexcept {
    lanes l;
    std::memcpy(&l.v, p, width);
    return l;
  }
  void store(char* p) const noexcept { std::memcpy(p, &v, width); }
  mask equal(char c) const noexcept { return to_mask(v == every(static_cast<unsigned char>(c))); }
  mask high() const noexcept { return to_mask(v >= every(0x80)); }
  mask below(unsigned char limit) const noexcept { return to_mask(v < every(limit)); }
  // A verdict for each byte: several of them are joined before the mask is asked for, which costs more.
  lanes is(char c) const noexcept { return {reinterpret_cast<bytes>(v == every(static_cast<unsigned char>(c)))}; }
  lanes operator&(lanes o) const noexcept { return {v & o.v}; }
  lanes operator|(lanes o) const noexcept { return {v | o.v}; }
  mask verdict() const noexcept { return to_mask(v); }
  lanes add_verdict(lanes o) const noexcept { return {v - o.v}; }  // counts in each byte, up to 255
  static bytes every(unsigned char c) noexcept { return c - bytes{}; }

#ifdef __SSE2__
  static constexpr unsigned bits = 1;
  static constexpr mask all = 0xFFFF;
  template <class Verdict>
  static mask to_mask(Verdict verdict) noexcept {
    typedef char chars __attribute__((vector_size(16)));
    chars signs;
    std::memcpy(&signs, &verdict, width);
    return static_cast<unsigned>(__builtin_ia32_pmovmskb128(signs));
  }
#else
  static constexpr unsigned bits = 4;
  static constexpr mask all = 0x1111111111111111u;
  template <class Verdict>
  static mask to_mask(Verdict verdict) noexcept {  // a narrowing shift leaves four bits of each byte's verdict
    typedef unsigned short pairs __attribute__((vector_size(16)));
    typedef unsigned char nibbles __attribute__((vector_size(8)));
    pairs p;
    std::memcpy(&p, &verdict, width);
    const nibbles narrowed = __builtin_convertvector(p >> 4, nibbles);
    mask m;
    std::memcpy(&m, &narrowed, sizeof m);
    return m & all;
  }
#endif
};
#else
struct lanes {
  using mask = std::uint64_t;
  static constexpr std::size_t width = 8;
  static constexpr unsigned bits = 8;
  static constexpr mask all = 0x0101010101010101u;

  std::uint64_t v;

  static constexpr std::uint64_t every(unsigned byte) noexcept { return 0x0101010101010101u * byte; }
  static lanes load(const char* p) noexcept {  // first byte lowest, whatever the byte order: compilers see one load
    std::uint64_t x = 0;
    for (unsigned i = 0; i < 8; ++i) x |= std::uint64_t{static_cast<unsigned char>(p[i])} << (8 * i);
    return {x};
  }
  void store(char* p) const noexcept {
    for (unsigned i = 0; i < 8; ++i) p[i] = static_cast<char>(static_cast<unsigned char>(v >> (8 * i)));
  }
  lanes is(char c) const noexcept { return {equal(c)}; }
  lanes operator&(lanes o) const noexcept { return {v & o.v}; }
  lanes operator|(lanes o) const noexcept { return {v | o.v}; }
  mask verdict() const noexcept { return v; }
  lanes add_verdict(lanes o) const noexcept { return {v + o.v}; }
  mask equal(char c) const noexcept { return lanes{v ^ every(static_cast<unsigned char>(c))}.below(1); }
  mask high() const noexcept { return (v >> 7) & every(1); }
  // Exact for each byte, limit <= 128: no carry crosses a byte border.
  mask below(unsigned char limit) const noexcept {
    const std::uint64_t not_less = ((v & every(0x7F)) + every(128u - limit)) | v;
    return (~not_less >> 7) & every(1);
  }
};
#endif

inline unsigned trailing_zeros(std::uint64_t x) noexcept {  // x != 0
#if defined(__GNUC__) || defined(__clang__)
  return static_cast<unsigned>(__builtin_ctzll(x));
#else
  unsigned n = 0;
  for (; (x & 0xFF) == 0; x >>= 8) n += 8;
  for (; (x & 1) == 0; x >>= 1) ++n;
  return n;
#endif
}

// A hint that what lies there is wanted soon. Where each step waits for the one before, the processor does not run
// ahead itself.
inline void prefetch([[maybe_unused]] const void* p) noexcept {
#ifdef __GNUC__
  __builtin_prefetch(p);
#endif
}

inline std::size_t first_lane(lanes::mask m) noexcept { return trailing_zeros(m) / lanes::bits; }  // m != 0

inline unsigned leading_zeros(std::uint64_t x) noexcept {  // x != 0
#if defined(__GNUC__) || defined(__clang__)
  return static_cast<unsigned>(__builtin_clzll(x));
#else
  unsigned n = 0;
  for (; (x >> 63) == 0; x <<= 1) ++n;
  return n;
#endif
}

inline std::size_t count_bits(std::uint64_t x) noexcept {  // pairs, fours, bytes, and all bytes into the highest
  x -= x >> 1 & 0x5555555555555555;
  x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
  return static_cast<std::size_t>(((x + (x >> 4)) & 0x0F0F0F0F0F0F0F0F) * 0x0101010101010101 >> 56);
}

// From a counter that threads share; returns what it was.
inline std::size_t fetch_subtract(std::size_t& counter, std::size_t n) noexcept {
#if defined(__GNUC__) || defined(__clang__)
  return __atomic_fetch_sub(&counter, n, __ATOMIC_ACQ_REL);
#else
  return reinterpret_cast<std::atomic<std::size_t>&>(counter).fetch_sub(n, std::memory_order_acq_rel);
#endif
}

// Without a locale and correctly rounded; false: out of range, or the standard library cannot (libc++ before 20).
inline bool read_double([[maybe_unused]] std::string_view number, [[maybe_unused]] double& value) noexcept {
#ifdef __cpp_lib_to_chars
  return std::from_chars(number.data(), number.data() + number.size(), value).ec == std::errc();
#else
  return false;
#endif
}

struct wide {
  std::uint64_t high, low;
};

inline wide multiply(std::uint64_t a, std::uint64_t b) noexcept {
#ifdef __SIZEOF_INT128__
  __extension__ using uint128 = unsigned __int128;
  const uint128 product = static_cast<uint128>(a) * b;
  return {static_cast<std::uint64_t>(product >> 64), static_cast<std::uint64_t>(product)};
#else
  const std::uint64_t a0 = a & 0xFFFFFFFF, a1 = a >> 32, b0 = b & 0xFFFFFFFF, b1 = b >> 32;
  const std::uint64_t low = a0 * b0, cross = a1 * b0 + (low >> 32), middle = a0 * b1 + (cross & 0xFFFFFFFF);
  return {a1 * b1 + (cross >> 32) + (middle >> 32), (middle << 32) | (low & 0xFFFFFFFF)};
#endif
}

// Eight bytes as a number, first byte lowest, whatever the byte order: compilers see one load, one store.
inline std::uint64_t load_first_lowest(const char* p) noexcept {  // written out: g++ 12 -O2 leaves the loop
  const auto byte = [p](unsigned i) { return std::uint64_t{static_cast<unsigned char>(p[i])} << (8 * i); };
  return byte(0) | byte(1) | byte(2) | byte(3) | byte(4) | byte(5) | byte(6) | byte(7);
}
inline std::uint64_t load_four(const char* p) noexcept {
  const auto byte = [p](unsigned i) { return std::uint32_t{static_cast<unsigned char>(p[i])} << (8 * i); };
  return byte(0) | byte(1) | byte(2) | byte(3);
}

// A hash that nobody who writes keys or notes can aim at: both factors of every product are salted.
inline std::uint64_t salted_hash(std::string_view text, const std::uint64_t (&salt)[2]) noexcept {
  std::uint64_t hash = salt[0] ^ text.size();
  const auto mix = [&](std::uint64_t a, std::uint64_t b) {
    const wide product = multiply(a ^ hash, b ^ salt[1]);
    hash = product.high ^ product.low ^ salt[0];
  };
  const char* p = text.data();
  std::size_t n = text.size();
  for (; n > 16; n -= 16, p += 16) mix(load_first_lowest(p), load_first_lowest(p + 8));
  if (n >= 8) {
    mix(load_first_lowest(p), load_first_lowest(p + n - 8));
  } else if (n >= 4) {
    mix(load_four(p), load_four(p + n - 4));
  } else {
    const auto byte = [p](std::size_t i) { return std::uint64_t{static_cast<unsigned char>(p[i])}; };
    mix(n == 0 ? 0 : byte(0) | byte(n / 2) << 8 | byte(n - 1) << 16, 0);
  }
  return hash;
}

}  // namespace detail

// ---- detail::os: files and directories, the same on every system ----------------------------------------------------

namespace detail {
namespace os {

using unit = path::value_type;  // char, on Windows wchar_t
using name = const unit*;       // one component, relative to a directory handle

enum class kind { none, regular, directory, symlink, other };

struct info {
  kind type = kind::none;
  std::uint64_t size = 0, device = 0, inode = 0, links = 0;
  unsigned mode = 0;  // permission bits; on Windows 0444 for a read-only file, else 0666
  unsigned user = 0, group = 0;

  bool same_file(const info& other) const noexcept { return device == other.device && inode == other.inode; }
};

// How a file is opened. Never inherited by a child process, never waiting (a FIFO), never a controlling terminal.
enum open_flags : unsigned {
  read_only = 1,
  write_only = 2,
  read_write = 3,
  append = 4,  // with write_only or read_write: every write goes to the end
  create = 8,  // fails if it is there
  no_follow = 16,
};

enum class rename_mode { replace, keep, exchange };  // keep: fail with file_exists

// ---- the seam: under MEMORIA_FS_TESTS a test sees every call before it is made, and may fail or shorten it

struct event {
  const char* call;
  std::intptr_t handle = -1;
  name first = nullptr, second = nullptr;
  std::size_t size = 0;
};

#ifdef MEMORIA_FS_TESTS
struct verdict {
  int error = 0;                     // not 0: the call is not made, this is its errno (Windows: GetLastError)
  std::size_t at_most = SIZE_MAX;    // reads and writes: transfer no more than this
};
inline verdict (*&seam() noexcept)(const event&) {
  static verdict (*hook)(const event&) = nullptr;
  return hook;
}
#endif

inline int last_error() noexcept;
inline void set_last_error(int code) noexcept;
inline bool interrupted(int code) noexcept;
inline std::error_code make_code(int native) noexcept;  // as std::errc can be compared with

// Whether the call may be made, and for how many bytes.
inline bool permitted([[maybe_unused]] const event& e, [[maybe_unused]] std::size_t& size) {
#ifdef MEMORIA_FS_TESTS
  const verdict v = seam() ? seam()(e) : verdict{};
  if (size > v.at_most) size = v.at_most;
  if (v.error != 0) set_last_error(v.error);
  return v.error == 0;
#else
  return true;
#endif
}

// After a call that failed: true if only a signal interrupted it; else the failure is recorded.
[[gnu::cold]] inline bool to_be_repeated(const event& e, status& s) noexcept {
  const int code = last_error();
  return interrupted(code) || s.fail(e.call, make_code(code));
}

// Makes one system call: again if a signal interrupted it, -1 and a failed status if it fails.
template <class F>
auto call(const event& e, status& s, F&& system_call) {
  for (;;) {
    std::size_t size = e.size;
    const auto result = permitted(e, size) ? system_call(size) : -1;
    if (result != -1 || !to_be_repeated(e, s)) return result;
  }
}

// The same for a call that tells no more than whether it succeeded.
template <class F>
bool done(const event& e, status& s, F&& succeeds) {
  for (std::size_t size = 0;;) {
    if (permitted(e, size) && succeeds()) return true;
    if (!to_be_repeated(e, s)) return false;
  }
}

// An open file or directory.
class handle {
 public:
  handle() noexcept = default;
  explicit handle(std::intptr_t value) noexcept : value_(value) {}
  handle(handle&& other) noexcept : value_(detail::exchange(other.value_, -1)) {}
  handle& operator=(handle&& other) noexcept {
    const handle old(detail::exchange(value_, other.release()));
    return *this;
  }
  ~handle() { close(); }

  std::intptr_t get() const noexcept { return value_; }
  explicit operator bool() const noexcept { return value_ != -1; }
  std::intptr_t release() noexcept { return detail::exchange(value_, -1); }
  void close() noexcept;

 private:
  std::intptr_t value_ = -1;
};

// A directory everything else is relative to. `full` is its path: for messages, and on Windows for the calls, too.
// Without a handle: the working directory.
struct directory {
  handle h;
  path full;
};

// Every call would take the path up to the NUL for the whole.
inline bool without_nul(const path& p, status& s) {
  return p.native().find(unit{}) == path::string_type::npos ||
         s.fail("", std::errc::invalid_argument, "the path contains a NUL");
}

// ---- what a port provides

directory open_directory(const path& p, status& s);
handle open_at(const directory& d, name n, unsigned flags, status& s, unsigned mode = 0);  // of what it creates
bool transient(const std::error_code& code) noexcept;  // worth trying again soon: somebody holds the file
bool stale(const std::error_code& code) noexcept;      // worth opening again: another host has replaced the file (NFS)
bool get_info(const handle& h, info& out, status& s);
bool get_info_at(const directory& d, name n, bool follow, info& out, status& s);
constexpr std::uint64_t here = UINT64_MAX;  // where the last read ended. To read 0 bytes is to be at the end
std::ptrdiff_t read_some(const handle& h, char* to, std::size_t size, status& s, std::uint64_t from = here);
std::ptrdiff_t write_some(const handle& h, const char* from, std::size_t size, bool at_end, status& s);
bool resize(const handle& h, std::uint64_t size, status& s);
bool sync_file(const handle& h, bool data_only, status& s);
bool sync_directory(const directory& d, status& s);
void start_writeback(const handle& h) noexcept;  // a hint
bool report_close_errors(const handle& h, status& s);
bool set_mode(const handle& h, unsigned mode, status& s);
// Where it is noted what a new version of `file` could not keep, if anybody wants to know.
struct losses {
  write_report* report;
  path file;
  void add(const char* what, const std::error_code& why) const {
    if (report != nullptr) report->not_kept.push_back({file, what, why});
  }
};
// The next two give the file `h` what another has, as far as the system allows, and note in `lost` what it refuses.
// They return which bits of the mode may stay, and what became of an access list, whose mask the group's bits are.
unsigned copy_owner(const handle& h, const info& now, const info& from, const losses& lost);
enum class access_list { none, kept, lost };
access_list copy_attributes(const handle& h, const directory& d, name from, bool owner_kept, const losses& lost);
bool rename_at(const directory& d, name from, const directory& to_dir, name to, rename_mode how, status& s);
bool link_at(const directory& d, name from, name to, status& s);
bool unlink_at(const directory& d, name n, status& s);
bool read_link_at(const directory& d, name n, path& target, status& s);
bool make_directory_at(const directory& d, name n, status& s);
bool remove_directory_at(const directory& d, name n, status& s);
bool lock(const handle& h, bool shared, bool wait, status& s);  // false with s clear: held by somebody else
bool lock_directory(const directory& d, bool shared, bool wait, status& s);
void unlock(const handle& h) noexcept;
void sleep_for(unsigned milliseconds) noexcept;
std::uint64_t random_bits() noexcept;
template <class F>  // visit(name, kind) -> bool, false to stop; kind::none where the system does not say
bool list(const directory& d, F&& visit, status& s);
template <class F>  // a directory below `d`; a symbolic link there is an error
bool list_at(const directory& d, name n, F&& visit, status& s);

// for [confine] besides

using view = std::basic_string_view<unit>;
enum class opening { nothing, file, directory };  // nothing: to know that it is there

bool is_separator(unit c) noexcept;
bool safe_component(view c) noexcept;  // false: the system takes it for a device, a stream or another name
// Opens `n`, a relative name of any number of components, in one call that never leaves `d`: errc::unsafe_path if it
// would. False: this system has no such call, walk.
bool open_beneath(const directory& d, name n, opening what, handle& out, status& s);
bool free_of_links(const path::string_type& p) noexcept;  // it is there, and no component is a link; false: not known
directory open_root(const path& p, status& s);           // a directory that must stay where it is while it is open
directory enter(const directory& d, name n, status& s);  // opens a real directory, to go on from there
directory syncable(const directory& d, status& s);       // the same directory, for sync_directory
// Appends `more` to `at`, which is absolute and holds no link or is empty: `at` will be absolute again, symbolic links
// followed, what is missing kept as it is written. False: a loop.
bool resolve(path::string_type& at, const path::string_type& more);

// Of a clock that nobody sets.
inline std::int64_t nanoseconds() noexcept {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

// Some systems refuse transfers of 2 GiB and more in one call.
constexpr std::size_t one_transfer(std::size_t size) noexcept { return size < (1u << 30) ? size : 1u << 30; }

// ---- POSIX

#ifndef _WIN32

inline int last_error() noexcept { return errno; }
inline void set_last_error(int code) noexcept { errno = code; }
inline bool interrupted(int code) noexcept { return code == EINTR; }
inline std::error_code make_code(int native) noexcept { return {native, std::system_category()}; }
inline int fd(const handle& h) noexcept { return static_cast<int>(h.get()); }
inline int fd(const directory& d) noexcept { return d.h ? fd(d.h) : AT_FDCWD; }

inline void handle::close() noexcept {
  if (value_ != -1) ::close(static_cast<int>(detail::exchange(value_, -1)));
}

// A program may run with descriptors 0 to 2 closed; a file that took one of those would receive what it prints.
inline handle above_standard(int opened, status& s) {
  if (opened > 2 || opened == -1) return handle(opened);
  const int moved = call({"fcntl", opened}, s, [&](std::size_t) { return ::fcntl(opened, F_DUPFD_CLOEXEC, 3); });
  ::close(opened);
  return handle(moved);
}

inline handle open_any(int at, name n, int flags, status& s, unsigned mode = 0) {
  const int opened = call({"open", at, n}, s, [&](std::size_t) {
    return ::openat(at, n, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, static_cast<mode_t>(mode));
  });
  handle h = above_standard(opened, s);
  if (!h && opened != -1 && (flags & O_EXCL) != 0) ::unlinkat(at, n, 0);  // it was made, but no number above 2 is left
  return h;
}

inline directory open_directory(const path& p, status& s) {
  const path full = p.empty() ? path(".") : p;
  if (!without_nul(p, s)) return {};
  return {open_any(AT_FDCWD, full.c_str(), O_RDONLY | O_DIRECTORY, s), full};
}

inline int native_flags(unsigned flags) noexcept {
  int native = (flags & read_write) == read_write ? O_RDWR : (flags & write_only) != 0 ? O_WRONLY : O_RDONLY;
  if ((flags & append) != 0) native |= O_APPEND;
  if ((flags & create) != 0) native |= O_CREAT | O_EXCL;
  if ((flags & no_follow) != 0) native |= O_NOFOLLOW;
  return native;
}

inline handle open_at(const directory& d, name n, unsigned flags, status& s, unsigned mode) {
  return open_any(fd(d), n, native_flags(flags), s, mode);
}

inline bool transient(const std::error_code& code) noexcept { return code == make_code(EWOULDBLOCK); }  // has a lease
inline bool stale(const std::error_code& code) noexcept { return code == make_code(ESTALE); }

inline info to_info(const struct ::stat& st) noexcept {
  info i;
  i.type = S_ISREG(st.st_mode)   ? kind::regular
           : S_ISDIR(st.st_mode) ? kind::directory
           : S_ISLNK(st.st_mode) ? kind::symlink
                                 : kind::other;
  i.size = static_cast<std::uint64_t>(st.st_size);
  i.device = static_cast<std::uint64_t>(st.st_dev);
  i.inode = static_cast<std::uint64_t>(st.st_ino);
  i.links = static_cast<std::uint64_t>(st.st_nlink);
  i.mode = st.st_mode & 07777u;
  i.user = st.st_uid;
  i.group = st.st_gid;
  return i;
}

inline bool get_info(const handle& h, info& out, status& s) {
  struct ::stat st = {};
  if (!done({"fstat", h.get()}, s, [&] { return ::fstat(fd(h), &st) == 0; })) return false;
  out = to_info(st);
  return true;
}

inline bool get_info_at(const directory& d, name n, bool follow, info& out, status& s) {
  struct ::stat st = {};
  const int flags = follow ? 0 : AT_SYMLINK_NOFOLLOW;
  if (!done({"stat", d.h.get(), n}, s, [&] { return ::fstatat(fd(d), n, &st, flags) == 0; })) return false;
  out = to_info(st);
  return true;
}

inline std::ptrdiff_t read_some(const handle& h, char* to, std::size_t size, status& s, std::uint64_t from) {
  return call({from == here ? "read" : "pread", h.get(), nullptr, nullptr, one_transfer(size)}, s, [&](std::size_t n) {
    return from == here ? ::read(fd(h), to, n) : ::pread(fd(h), to, n, static_cast<off_t>(from));
  });
}

inline std::ptrdiff_t write_some(const handle& h, const char* from, std::size_t size, bool, status& s) {
  return call({"write", h.get(), nullptr, nullptr, one_transfer(size)}, s,
              [&](std::size_t n) { return ::write(fd(h), from, n); });
}

inline bool resize(const handle& h, std::uint64_t size, status& s) {
  return done({"ftruncate", h.get()}, s, [&] { return ::ftruncate(fd(h), static_cast<off_t>(size)) == 0; });
}

// The file system has no such sync, as opposed to one that failed.
inline bool cannot_sync(int code) { return code == EINVAL || code == ENOTSUP || code == EOPNOTSUPP || code == EBADF; }

inline bool sync_file(const handle& h, bool data_only, status& s) {
#ifdef __APPLE__
  // fsync on macOS only hands the data to the drive; F_FULLFSYNC makes the drive write it, where the volume can.
  // F_BARRIERFSYNC, which only keeps the order of writes, would be no promise when the call returns.
  static_cast<void>(data_only);
  return done({"fsync", h.get()}, s, [&] {
    return ::fcntl(fd(h), F_FULLFSYNC) != -1 || (cannot_sync(errno) && ::fsync(fd(h)) == 0);
  });
#else
  if (data_only) return done({"fdatasync", h.get()}, s, [&] { return ::fdatasync(fd(h)) == 0; });
  return done({"fsync", h.get()}, s, [&] { return ::fsync(fd(h)) == 0; });
#endif
}

// Some file systems cannot sync a directory and say so; that is not a failure. An I/O error is.
inline bool sync_directory(const directory& d, status& s) {
  status own;
  if (done({"fsync directory", d.h.get()}, own, [&] { return ::fsync(fd(d)) == 0; })) return true;
  if (cannot_sync(own.code.value())) return true;
  return s.fail(own);
}

inline void start_writeback(const handle& h) noexcept {
#ifdef __linux__
  ::sync_file_range(fd(h), 0, 0, SYNC_FILE_RANGE_WRITE);
#else
  static_cast<void>(h);
#endif
}

// NFS and quotas may report a failed write only on close. Closing a duplicate asks without giving up the lock on `h`.
inline bool report_close_errors(const handle& h, status& s) {
  status own;
  const int copy = call({"fcntl", h.get()}, own, [&](std::size_t) { return ::fcntl(fd(h), F_DUPFD_CLOEXEC, 3); });
  if (copy == -1) return sync_file(h, true, s);  // no descriptor left: this asks, too
  // EINTR is not to be repeated: the descriptor is gone.
  return done({"close", copy}, s, [&] { return ::close(copy) == 0 || errno == EINTR; });
}

inline bool set_mode(const handle& h, unsigned mode, status& s) {
  return done({"fchmod", h.get()}, s, [&] { return ::fchmod(fd(h), static_cast<mode_t>(mode)) == 0; });
}

inline unsigned copy_owner(const handle& h, const info& now, const info& from, const losses& lost) {
  const auto change = [&](unsigned user, status& own) {
    return done({"fchown", h.get()}, own, [&] { return ::fchown(fd(h), user, from.group) == 0; });
  };
  if (now.user == from.user && now.group == from.group) return 07777;
  status refused, group_refused;
  if (change(from.user, refused)) return 07777;
  if (now.user != from.user) lost.add("owner", refused.code);
  // A group that we belong to can be kept without root.
  if (now.group == from.group || change(static_cast<uid_t>(-1), group_refused)) return 0777;
  lost.add("group", group_refused.code);
  return 0707 | ((from.mode & 07u) << 3);  // another group: it may do what all others may
}

#if defined(__linux__)
// An attribute or, without a name, the names of all: of `file`, or where that is null of `h`.
inline bool read_attribute(const event& e, const handle& h, const char* file, const char* attribute, std::string& out,
                           status& s) {
  const auto ask = [&](std::size_t) {  // without room it tells how much there is
    char* const to = out.data();
    if (attribute != nullptr) {
      return file != nullptr ? ::lgetxattr(file, attribute, to, out.size())
                             : ::fgetxattr(fd(h), attribute, to, out.size());
    }
    return file != nullptr ? ::llistxattr(file, to, out.size()) : ::flistxattr(fd(h), to, out.size());
  };
  for (out.clear();;) {
    status own;
    const auto n = call(e, own, ask);
    if (n == -1 && own.code.value() != ERANGE) return s.fail(own);
    const bool fits = n != -1 && static_cast<std::size_t>(n) <= out.size();
    out.resize(n == -1 ? 0 : static_cast<std::size_t>(n));  // -1: it has grown meanwhile
    if (fits) return true;
  }
}

// `file` is a path to read from. False: not kept. One that was set already (a label that the file was made with) is;
// one that is gone meanwhile is not, but no loss either.
inline bool copy_attribute(const handle& h, const char* file, const char* attribute, const losses& lost) {
  std::string value, present;
  status own, unset;
  const auto set = [&] { return ::fsetxattr(fd(h), attribute, value.data(), value.size(), 0) == 0; };
  if (read_attribute({"lgetxattr"}, h, file, attribute, value, own)) {
    if (done({"fsetxattr", h.get()}, own, set)) return true;
    if (read_attribute({"fgetxattr", h.get()}, h, nullptr, attribute, present, unset) && present == value) return true;
  }
  if (own.code.value() != ENODATA) lost.add(attribute, own.code);
  return false;
}

// Access lists and security labels are attributes, too. By name, because the file may not be ours to open; the name
// goes through the directory's descriptor, because its path may lead elsewhere by now.
inline access_list copy_attributes(const handle& h, const directory& d, name from, bool owner_kept,
                                   const losses& lost) {
  const std::string file = concat({"/proc/self/fd/", std::to_string(fd(d)), "/", from});
  std::string names;  // each with a NUL behind it
  status own;
  if (!read_attribute({"llistxattr", -1, from}, h, file.c_str(), nullptr, names, own)) {
    if (own.code.value() == ENOTSUP) return access_list::none;
    lost.add("extended attributes", own.code);
  }
  constexpr std::string_view list_name = "system.posix_acl_access", nul("\0", 1);
  access_list list = access_list::none;
  for (std::size_t at = 0; at < names.size(); at = names.find('\0', at) + 1) {
    const char* attribute = names.c_str() + at;
    const std::string_view called = attribute;
    if (called == "security.ima" || called == "security.evm") continue;  // hashes of the old content
    if (called == "security.capability" && !owner_kept) {                // as the set-id bits
      lost.add(attribute, make_code(EPERM));
      continue;
    }
    const bool kept = copy_attribute(h, file.c_str(), attribute, lost);
    if (called == list_name) list = kept ? access_list::kept : access_list::lost;
  }
  // A list that the directory passes on would let in those whom the old file kept out.
  if (list == access_list::none && read_attribute({"flistxattr", h.get()}, h, nullptr, nullptr, names, own) &&
      concat({nul, names}).find(concat({nul, list_name, nul})) != std::string::npos) {
    done({"fremovexattr", h.get()}, own, [&] { return ::fremovexattr(fd(h), list_name.data()) == 0; });
  }
  return list;
}
#elif defined(__APPLE__)
inline access_list copy_attributes(const handle& h, const directory& d, name from, bool, const losses& lost) {
  status own;
  const handle old = open_any(fd(d), from, O_RDONLY | O_NOFOLLOW, own);
  if (old && done({"fcopyfile", h.get()}, own, [&] {
        return ::fcopyfile(fd(old), fd(h), nullptr, COPYFILE_XATTR | COPYFILE_ACL) == 0;
      })) {
    return access_list::none;
  }
  lost.add("extended attributes and access list", own.code);
  return access_list::none;  // the mode's bits are nobody's mask here
}
#else
inline access_list copy_attributes(const handle&, const directory&, name, bool, const losses&) {
  return access_list::none;
}
#endif

// What a file system or kernel answers EINVAL or ENOSYS to is told apart by the caller.
inline bool rename_at(const directory& d, name from, const directory& to_dir, name to, rename_mode how, status& s) {
  return done({"rename", d.h.get(), from, to}, s, [&] {
    if (how == rename_mode::replace) return ::renameat(fd(d), from, fd(to_dir), to) == 0;
    [[maybe_unused]] const bool keep = how == rename_mode::keep;
#if defined(__linux__) && defined(SYS_renameat2)
    const unsigned flags = keep ? 1u : 2u;  // RENAME_NOREPLACE, RENAME_EXCHANGE
    return ::syscall(SYS_renameat2, fd(d), from, fd(to_dir), to, flags) == 0;
#elif defined(__APPLE__)
    return ::renameatx_np(fd(d), from, fd(to_dir), to, keep ? 4u : 2u) == 0;  // RENAME_EXCL, RENAME_SWAP
#else
    return set_last_error(ENOSYS), false;
#endif
  });
}

inline bool link_at(const directory& d, name from, name to, status& s) {
  return done({"link", d.h.get(), from, to}, s, [&] { return ::linkat(fd(d), from, fd(d), to, 0) == 0; });
}

inline bool unlink_at(const directory& d, name n, status& s) {
  return done({"unlink", d.h.get(), n}, s, [&] { return ::unlinkat(fd(d), n, 0) == 0; });
}

inline bool read_link_at(const directory& d, name n, path& target, status& s) {
  char text[4096];  // no system makes longer ones
  const auto got = call({"readlink", d.h.get(), n}, s,
                        [&](std::size_t) { return ::readlinkat(fd(d), n, text, sizeof text); });
  if (got >= 0) target = std::string(text, static_cast<std::size_t>(got));
  return got >= 0;
}

inline bool make_directory_at(const directory& d, name n, status& s) {
  return done({"mkdir", d.h.get(), n}, s, [&] { return ::mkdirat(fd(d), n, 0777) == 0; });
}

inline bool remove_directory_at(const directory& d, name n, status& s) {
  return done({"rmdir", d.h.get(), n}, s, [&] { return ::unlinkat(fd(d), n, AT_REMOVEDIR) == 0; });
}

inline bool lock(const handle& h, bool shared, bool wait, status& s) {
  const int operation = (shared ? LOCK_SH : LOCK_EX) | (wait ? 0 : LOCK_NB);
  status own;
  if (done({"flock", h.get()}, own, [&] { return ::flock(fd(h), operation) == 0; })) return true;
  const int code = own.code.value();
  if (code == EWOULDBLOCK && !wait) return false;
  const bool refused = code == ENOLCK || code == ENOTSUP || code == EOPNOTSUPP || code == ENOSYS || code == EINVAL;
  return s.fail(own.step, refused ? make_error_code(errc::lock_unsupported) : own.code);
}

inline bool lock_directory(const directory& d, bool shared, bool wait, status& s) { return lock(d.h, shared, wait, s); }

inline void unlock(const handle& h) noexcept { ::flock(fd(h), LOCK_UN); }

inline void sleep_for(unsigned milliseconds) noexcept {
  ::timespec left = {static_cast<time_t>(milliseconds / 1000), static_cast<long>(milliseconds % 1000) * 1'000'000};
  while (::nanosleep(&left, &left) == -1 && errno == EINTR) {
  }
}

inline std::uint64_t random_bits() noexcept {
  std::uint64_t bits = 0;
  if (::getentropy(&bits, sizeof bits) != 0) {  // an old kernel: nanoseconds will do, O_EXCL does the rest
    bits = static_cast<std::uint64_t>(nanoseconds());
  }
  return bits;
}

template <class F>
bool list_at(const directory& d, name n, F&& visit, status& s) {
  handle own = open_any(fd(d), n, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, s);
  if (!own) return false;
  ::DIR* stream = nullptr;
  if (!done({"opendir", own.get()}, s, [&] { return (stream = ::fdopendir(fd(own))) != nullptr; })) return false;
  const event reading = {"readdir", own.release()};
  const ::dirent* entry = nullptr;
  const auto next = [&] {
    errno = 0;
    entry = ::readdir(stream);
    return entry != nullptr || errno == 0;
  };
  while (done(reading, s, next) && entry != nullptr) {
    const std::string_view found = entry->d_name;
    if (found == "." || found == "..") continue;
    const kind type = entry->d_type == DT_REG   ? kind::regular
                      : entry->d_type == DT_DIR ? kind::directory
                      : entry->d_type == DT_LNK ? kind::symlink
                      : entry->d_type == DT_UNKNOWN ? kind::none
                                                    : kind::other;
    if (!visit(static_cast<name>(entry->d_name), type)) break;
  }
  ::closedir(stream);
  return !s.failed();
}

// By a second descriptor, because reading a directory moves the position of its descriptor.
template <class F>
bool list(const directory& d, F&& visit, status& s) {
  return list_at(d, ".", visit, s);
}

inline bool is_separator(unit c) noexcept { return c == '/'; }
inline bool safe_component(view) noexcept { return true; }
constexpr bool walks_links = true;  // the confined walk follows symbolic links that stay inside

#ifdef __linux__
constexpr std::uint64_t no_magic_links = 2, no_links = 4, beneath = 8;  // RESOLVE_*

// The one thing remembered per process: that the kernel (before 5.6) lacks the call. Not that it refused it (seccomp).
inline bool& openat2_missing() noexcept {
  static bool missing = false;
  return missing;
}

// -1 with a clear status: no such call here.
inline int openat2(int at, name n, int flags, std::uint64_t resolve, status& s) {
  struct {
    std::uint64_t flags, mode, resolve;
  } how = {static_cast<std::uint64_t>(flags | O_CLOEXEC), 0, resolve};
  constexpr long number = 437;  // on every architecture; the headers may be older than the kernel
  if (__atomic_load_n(&openat2_missing(), __ATOMIC_RELAXED)) return -1;
  // Any rename on the machine makes a walk through ".." uncertain, and the kernel says so; under attack 128 suffice.
  for (int attempt = 0; attempt < 128; ++attempt) {
    status own;
    const long opened =
        call({"openat2", at, n}, own, [&](std::size_t) { return ::syscall(number, at, n, &how, sizeof how); });
    if (opened != -1) return static_cast<int>(opened);
    const int code = own.code.value();
    if (code == EAGAIN) continue;
    if (code == ENOSYS) __atomic_store_n(&openat2_missing(), true, __ATOMIC_RELAXED);
    if (code != ENOSYS && code != EPERM) s.fail(own);
    return -1;
  }
  s.fail("openat2", errc::changed_meanwhile);
  return -1;
}

inline bool open_beneath(const directory& d, name n, opening what, handle& out, status& s) {
  const int flags = what == opening::nothing ? O_PATH
                    : what == opening::file  ? O_RDONLY | O_NONBLOCK | O_NOCTTY | O_LARGEFILE
                                             : O_RDONLY | O_DIRECTORY;
  status own;
  out = above_standard(openat2(fd(d), n, flags, beneath | no_magic_links, own), own);
  if (own.code.value() == EXDEV) own.code = make_error_code(errc::unsafe_path);
  if (own.failed()) return s.fail(own), true;
  return static_cast<bool>(out);
}

inline bool free_of_links(const path::string_type& p) noexcept {
  status ignored;
  return static_cast<bool>(handle(openat2(AT_FDCWD, p.c_str(), O_PATH, no_links, ignored)));
}

// O_PATH needs no permission to read the directory, only to pass through it.
constexpr int enter_flags = O_PATH | O_DIRECTORY | O_NOFOLLOW;
#else
inline bool open_beneath(const directory&, name, opening, handle&, status&) { return false; }
inline bool free_of_links(const path::string_type&) noexcept { return false; }
constexpr int enter_flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
#endif

inline directory open_root(const path& p, status& s) { return open_directory(p, s); }

inline directory enter(const directory& d, name n, status& s) {
  return {open_any(fd(d), n, enter_flags, s), d.full / n};
}

inline directory syncable(const directory& d, status& s) {
  return {open_any(fd(d), ".", O_RDONLY, s), d.full};
}

inline bool resolve(path::string_type& at, const path::string_type& more) {
  struct piece {  // of `characters`
    std::size_t at, size;
  };
  struct text_to_follow {  // `more`, then one for each link: what that at `place` holds, and once it is done leads to
    piece place, text;
    std::size_t next, back;  // `back`: the one that it was met in
    bool done;
  };
  constexpr std::size_t none = std::string::npos, most_links = 1000;  // about Python's limit of recursion
  std::string characters;
  const auto text_of = [&](piece p) { return std::string_view(characters).substr(p.at, p.size); };
  const auto keep = [&](const std::string& text) {
    characters += text;
    return piece{characters.size() - text.size(), text.size()};
  };
  if (at == "/") at.clear();
  plain_vector<text_to_follow> texts;
  texts.push_back({{}, keep(more), 0, none, false});
  path target;
  std::size_t dead = none;  // length of the first path that is not there
  for (std::size_t current = 0; current != none;) {
    text_to_follow& now = texts[current];
    const std::string_view text = text_of(now.text);
    const std::size_t begin = text.find_first_not_of('/', now.next);
    if (begin == none) {
      if (current != 0) now.text = keep(at);
      now.done = true;
      current = now.back;
      continue;
    }
    const std::size_t parent = at.size(), slash = text.find('/', begin);
    now.next = slash == none ? text.size() : slash;
    const std::string_view component = text.substr(begin, now.next - begin);
    if (component == ".") continue;
    if (component == "..") {
      at.resize(at.empty() ? 0 : at.rfind('/'));
      if (at.size() < dead) dead = none;
      continue;
    }
    at.append(1, '/').append(component);
    if (dead != none) continue;
    status own;
    if (!read_link_at(directory(), at.c_str(), target, own)) {
      if (own.code.value() != EINVAL) dead = at.size();  // EINVAL: it is there, and no link
      continue;
    }
    std::size_t link = 1;
    while (link < texts.size() && text_of(texts[link].place) != at) ++link;
    if (link < texts.size()) {
      if (!texts[link].done) return false;
      at = text_of(texts[link].text);
      continue;
    }
    if (link > most_links) return false;
    texts.push_back({keep(at), keep(target.native()), 0, current, false});
    at.resize(target.is_absolute() ? 0 : parent);
    current = link;
  }
  if (at.empty()) at = "/";
  return true;
}

// ---- Windows

#else

inline int last_error() noexcept { return static_cast<int>(::GetLastError()); }
inline void set_last_error(int code) noexcept { ::SetLastError(static_cast<unsigned long>(code)); }
inline bool interrupted(int) noexcept { return false; }

// The error numbers users ask about, as std::errc; the rest keep their number.
inline std::error_code make_code(int native) noexcept {
  constexpr struct {
    int native;
    std::errc meaning;
  } known[] = {
      {1, std::errc::not_supported},          {2, std::errc::no_such_file_or_directory},
      {3, std::errc::no_such_file_or_directory}, {4, std::errc::too_many_files_open},
      {5, std::errc::permission_denied},      {17, std::errc::cross_device_link},
      {19, std::errc::read_only_file_system}, {32, std::errc::device_or_resource_busy},
      {33, std::errc::device_or_resource_busy}, {38, std::errc::no_such_file_or_directory},
      {39, std::errc::no_space_on_device},    {50, std::errc::not_supported},
      {80, std::errc::file_exists},           {87, std::errc::invalid_argument},
      {112, std::errc::no_space_on_device},   {123, std::errc::invalid_argument},
      {145, std::errc::directory_not_empty},  {161, std::errc::invalid_argument},
      {183, std::errc::file_exists},          {206, std::errc::filename_too_long},
      {267, std::errc::not_a_directory},
  };
  for (const auto& k : known) {
    if (k.native == native) return std::make_error_code(k.meaning);
  }
  return {native, std::system_category()};
}

// The structures of <windows.h> that these calls fill, laid out alike.
struct overlapped {
  std::uintptr_t internal[2] = {0, 0};
  unsigned long offset_low = 0, offset_high = 0;
  void* signal = nullptr;
  ::_OVERLAPPED* native() noexcept { return reinterpret_cast<::_OVERLAPPED*>(this); }
};
struct file_information {
  unsigned long attributes, times[6], volume, size_high, size_low, links, index_high, index_low;
};
struct find_data {
  unsigned long attributes, times[6], size[2], reserved[2];
  wchar_t file_name[260], short_name[14];
};

constexpr unsigned long attribute_readonly = 0x1, attribute_directory = 0x10, attribute_reparse = 0x400,
                        no_attributes = 0xFFFFFFFF;

inline void* native(const handle& h) noexcept { return reinterpret_cast<void*>(h.get()); }

inline void handle::close() noexcept {
  if (value_ != -1) ::CloseHandle(reinterpret_cast<void*>(detail::exchange(value_, -1)));
}

// Absolute, with the prefix that lifts the limit of 260 characters and keeps the system from editing the name.
inline std::wstring extended(const path& p) {
  const std::wstring& given = p.native();
  if (given.compare(0, 4, L"\\\\?\\") == 0) return given;
  std::wstring full(given.size() + 300, L'\0');
  for (;;) {
    const unsigned long n =
        ::GetFullPathNameW(given.c_str(), static_cast<unsigned long>(full.size()), full.data(), nullptr);
    if (n == 0) return given;
    const bool fits = n < full.size();
    full.resize(n);
    if (fits) break;
  }
  if (full.compare(0, 4, L"\\\\.\\") == 0) return full;
  if (full.compare(0, 2, L"\\\\") == 0) return L"\\\\?\\UNC" + full.substr(1);
  return L"\\\\?\\" + full;
}

// The prefixed form takes every character literally: no "." and no doubled separator.
inline std::wstring join(const directory& d, name n) {
  const std::wstring& full = d.full.native();
  if (full.empty()) return extended(n);
  if (n[0] == L'.' && n[1] == 0) return full;
  return !full.empty() && full.back() == L'\\' ? full + n : full + L'\\' + n;
}

inline handle open_any(const std::wstring& p, unsigned long access, unsigned long share, unsigned long disposition,
                       unsigned long flags, status& s) {
  const auto opened = call({"CreateFile", -1, p.c_str()}, s, [&](std::size_t) {
    return reinterpret_cast<std::intptr_t>(
        ::CreateFileW(p.c_str(), access, share, nullptr, disposition, flags, nullptr));
  });
  return handle(opened);
}

constexpr unsigned long share_all = 7, share_no_delete = 3, open_existing = 3, backup_semantics = 0x02000000,
                        open_reparse_point = 0x00200000;

inline directory open_sharing(path full, unsigned long share, unsigned long flags, status& s) {
  handle h = open_any(full.native(), 0x81, share, open_existing, backup_semantics | flags, s);
  info i;
  if (!h || !get_info(h, i, s)) return {};
  if (i.type == kind::directory) return {std::move(h), std::move(full)};
  s.fail("CreateFile", std::make_error_code(i.type == kind::symlink ? std::errc::too_many_symbolic_link_levels
                                                                    : std::errc::not_a_directory));
  return {};
}

inline directory open_directory(const path& p, status& s) {
  return without_nul(p, s) ? open_sharing(extended(p.empty() ? path(L".") : p), share_all, 0, s) : directory{};
}

// Without the right to delete shared, nobody can rename the directory while the confined walk holds it.
inline directory open_unmovable(path full, unsigned long flags, status& s) {
  return open_sharing(std::move(full), share_no_delete, flags, s);
}

inline handle open_at(const directory& d, name n, unsigned flags, status& s, unsigned) {
  unsigned long access = 0x80100000;  // GENERIC_READ | SYNCHRONIZE
  if ((flags & write_only) != 0) access |= 0x40000000;  // GENERIC_WRITE
  const unsigned long disposition = (flags & create) != 0 ? 1 : open_existing;
  const unsigned long how = 0x80 | backup_semantics | ((flags & no_follow) != 0 ? open_reparse_point : 0);
  return open_any(join(d, n), access, share_all, disposition, how, s);
}

inline bool transient(const std::error_code& code) noexcept {
  return code == std::errc::device_or_resource_busy || code == std::errc::permission_denied;
}
inline bool stale(const std::error_code&) noexcept { return false; }

inline bool get_info(const handle& h, info& out, status& s) {
  file_information f = {};
  if (!done({"GetFileInformationByHandle", h.get()}, s, [&] {
        return ::GetFileInformationByHandle(native(h), reinterpret_cast<::_BY_HANDLE_FILE_INFORMATION*>(&f)) != 0;
      })) {
    return false;
  }
  out = {};
  out.type = (f.attributes & attribute_reparse) != 0     ? kind::symlink
             : (f.attributes & attribute_directory) != 0 ? kind::directory
                                                         : kind::regular;
  out.size = (std::uint64_t{f.size_high} << 32) | f.size_low;
  out.device = f.volume;
  out.inode = (std::uint64_t{f.index_high} << 32) | f.index_low;
  out.links = f.links;
  out.mode = (f.attributes & attribute_readonly) != 0 ? 0444 : 0666;
  return true;
}

inline bool get_info_at(const directory& d, name n, bool follow, info& out, status& s) {
  const handle h = open_any(join(d, n), 0x80, share_all, open_existing,
                            backup_semantics | (follow ? 0 : open_reparse_point), s);
  return h && get_info(h, out, s);
}

inline std::ptrdiff_t read_some(const handle& h, char* to, std::size_t size, status& s, std::uint64_t from) {
  return call({"ReadFile", h.get(), nullptr, nullptr, one_transfer(size)}, s, [&](std::size_t n) {
    overlapped at;
    at.offset_low = static_cast<unsigned long>(from & 0xFFFFFFFF);
    at.offset_high = static_cast<unsigned long>(from >> 32);
    unsigned long got = 0;
    const int ok = ::ReadFile(native(h), to, static_cast<unsigned long>(n), &got, from == here ? nullptr : at.native());
    return ok || last_error() == 38 ? static_cast<std::ptrdiff_t>(got) : std::ptrdiff_t{-1};  // 38: the end
  });
}

inline std::ptrdiff_t write_some(const handle& h, const char* from, std::size_t size, bool at_end, status& s) {
  return call({"WriteFile", h.get(), nullptr, nullptr, one_transfer(size)}, s, [&](std::size_t n) {
    overlapped end;
    end.offset_low = end.offset_high = 0xFFFFFFFF;  // "at the end of the file"
    unsigned long put = 0;
    const int ok = ::WriteFile(native(h), from, static_cast<unsigned long>(n), &put, at_end ? end.native() : nullptr);
    return ok ? static_cast<std::ptrdiff_t>(put) : std::ptrdiff_t{-1};
  });
}

inline bool resize(const handle& h, std::uint64_t size, status& s) {
  return done({"SetEndOfFile", h.get()}, s, [&] {
    long high = static_cast<long>(size >> 32);
    ::SetLastError(0);
    const unsigned long low = ::SetFilePointer(native(h), static_cast<long>(size & 0xFFFFFFFF), &high, 0);
    return (low != 0xFFFFFFFF || ::GetLastError() == 0) && ::SetEndOfFile(native(h)) != 0;
  });
}

inline bool sync_file(const handle& h, bool, status& s) {
  return done({"FlushFileBuffers", h.get()}, s, [&] { return ::FlushFileBuffers(native(h)) != 0; });
}

// NTFS journals directory entries itself and offers no documented way to wait for them: unproven, and the README says
// so.
inline bool sync_directory(const directory&, status&) { return true; }
inline void start_writeback(const handle&) noexcept {}
inline bool report_close_errors(const handle&, status&) { return true; }
inline bool set_mode(const handle&, unsigned, status&) { return true; }
inline unsigned copy_owner(const handle&, const info&, const info&, const losses&) { return 07777; }
inline access_list copy_attributes(const handle&, const directory&, name, bool, const losses&) {
  return access_list::none;
}

// Replaces even a target that others hold open (Windows 10 on NTFS); elsewhere the older way, tried for each call.
inline bool rename_posix_semantics(const handle& h, const std::wstring& to) {
  using setter = int(__stdcall*)(void*, int, void*, unsigned long);
  ::HINSTANCE__* kernel = ::GetModuleHandleW(L"kernel32.dll");
  if (kernel == nullptr) return false;
  void (*found)() = reinterpret_cast<void (*)()>(::GetProcAddress(kernel, "SetFileInformationByHandle"));
  if (found == nullptr) return false;
  struct rename_header {
    unsigned long flags;
    void* root;
    unsigned long length;
    wchar_t text[1];
  };
  const std::size_t bytes = sizeof(rename_header) + to.size() * sizeof(wchar_t);
  plain_vector<std::uint64_t> buffer(bytes / 8 + 1);
  auto* request = reinterpret_cast<rename_header*>(buffer.data());
  request->flags = 0x1 | 0x2 | 0x40;  // REPLACE_IF_EXISTS | POSIX_SEMANTICS | IGNORE_READONLY_ATTRIBUTE
  request->length = static_cast<unsigned long>(to.size() * sizeof(wchar_t));
  std::memcpy(request->text, to.c_str(), request->length);
  constexpr int file_rename_info_ex = 22;
  return reinterpret_cast<setter>(found)(native(h), file_rename_info_ex, request, static_cast<unsigned long>(bytes)) !=
         0;
}

inline bool move_file(const std::wstring& from, const std::wstring& to, bool replace) {
  if (replace) {
    status ignored;
    const handle h = open_any(from, 0x10000, share_all, open_existing, backup_semantics | open_reparse_point, ignored);
    if (h && rename_posix_semantics(h, to)) return true;
  }
  if (::MoveFileExW(from.c_str(), to.c_str(), 0x8u | (replace ? 0x1u : 0x0u))) return true;  // WRITE_THROUGH
  const unsigned long code = ::GetLastError();
  const unsigned long attributes = ::GetFileAttributesW(to.c_str());
  const bool read_only_target = attributes != no_attributes && (attributes & attribute_readonly) != 0;
  if (replace && code == 5 && read_only_target && ::SetFileAttributesW(to.c_str(), attributes & ~attribute_readonly)) {
    if (::MoveFileExW(from.c_str(), to.c_str(), 0x9)) return true;
    ::SetFileAttributesW(to.c_str(), attributes);
  }
  ::SetLastError(code);
  return false;
}

inline bool rename_at(const directory& d, name from, const directory& to_dir, name to, rename_mode how, status& s) {
  if (how == rename_mode::exchange) return s.fail("rename", std::errc::function_not_supported);
  return done({"rename", d.h.get(), from, to}, s,
              [&] { return move_file(join(d, from), join(to_dir, to), how == rename_mode::replace); });
}

inline bool link_at(const directory& d, name from, name to, status& s) {
  return done({"CreateHardLink", d.h.get(), from, to}, s,
              [&] { return ::CreateHardLinkW(join(d, to).c_str(), join(d, from).c_str(), nullptr) != 0; });
}

inline bool unlink_at(const directory& d, name n, status& s) {
  return done({"DeleteFile", d.h.get(), n}, s, [&] { return ::DeleteFileW(join(d, n).c_str()) != 0; });
}

inline bool read_link_at(const directory& d, name n, path& target, status& s) {
  std::error_code ec;
  target = std::filesystem::read_symlink(path(join(d, n)), ec);
  return !ec || s.fail("readlink", ec);
}

inline bool make_directory_at(const directory& d, name n, status& s) {
  return done({"CreateDirectory", d.h.get(), n}, s,
              [&] { return ::CreateDirectoryW(join(d, n).c_str(), nullptr) != 0; });
}

inline bool remove_directory_at(const directory& d, name n, status& s) {
  return done({"RemoveDirectory", d.h.get(), n}, s, [&] { return ::RemoveDirectoryW(join(d, n).c_str()) != 0; });
}

// Windows locks are mandatory for the bytes they cover, so they cover one that no file has.
constexpr unsigned long lock_offset_high = 0x7FFFFFFF;

inline bool lock(const handle& h, bool shared, bool wait, status& s) {
  status own;
  if (done({"LockFileEx", h.get()}, own, [&] {
        overlapped at;
        at.offset_high = lock_offset_high;
        const unsigned long flags = (shared ? 0u : 2u) | (wait ? 0u : 1u);
        return ::LockFileEx(native(h), flags, 0, 1, 0, at.native()) != 0;
      })) {
    return true;
  }
  if (!wait && (last_error() == 33 || last_error() == 997)) return false;  // LOCK_VIOLATION, IO_PENDING
  const bool refused = own.code == std::errc::not_supported;
  return s.fail(own.step, refused ? make_error_code(errc::lock_unsupported) : own.code);
}

// A directory cannot be locked here, and handles do not run out.
inline bool lock_directory(const directory&, bool, bool, status&) { return true; }

inline void unlock(const handle& h) noexcept {
  overlapped at;
  at.offset_high = lock_offset_high;
  ::UnlockFileEx(native(h), 0, 1, 0, at.native());
}

inline void sleep_for(unsigned milliseconds) noexcept { ::Sleep(milliseconds); }

inline std::uint64_t random_bits() noexcept {  // unique is enough, exclusive creation does the rest
  auto x = static_cast<std::uint64_t>(nanoseconds());
  x ^= (std::uint64_t{::GetCurrentProcessId()} << 40) ^ (std::uint64_t{::GetCurrentThreadId()} << 20);
  x ^= reinterpret_cast<std::uintptr_t>(&x);
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

template <class F>
bool list(const directory& d, F&& visit, status& s) {
  find_data found = {};
  auto* data = reinterpret_cast<::_WIN32_FIND_DATAW*>(&found);
  void* search = ::FindFirstFileW(join(d, L"*").c_str(), data);
  if (reinterpret_cast<std::intptr_t>(search) == -1) {
    return last_error() == 2 || s.fail("FindFirstFile", make_code(last_error()));
  }
  int code = 0;
  for (;;) {
    const std::wstring_view n = found.file_name;
    const kind type = (found.attributes & attribute_reparse) != 0     ? kind::symlink
                      : (found.attributes & attribute_directory) != 0 ? kind::directory
                                                                      : kind::regular;
    if (n != L"." && n != L".." && !visit(static_cast<name>(found.file_name), type)) break;
    if (!::FindNextFileW(search, data)) {
      code = last_error() == 18 ? 0 : last_error();  // 18: NO_MORE_FILES
      break;
    }
  }
  ::FindClose(search);
  return code == 0 || s.fail("FindNextFile", make_code(code));
}

template <class F>
bool list_at(const directory& d, name n, F&& visit, status& s) {
  const directory inner = open_unmovable(join(d, n), open_reparse_point, s);
  return inner.h && list(inner, visit, s);
}

inline bool is_separator(unit c) noexcept { return c == L'/' || c == L'\\'; }

// What Windows takes for a device whatever its extension (superscript digits count), a stream, or another name.
inline bool safe_component(view c) noexcept {
  if (c.empty() || c == L"." || c == L"..") return true;
  if (c.back() == L'.' || c.back() == L' ') return false;
  for (const unit u : c) {
    if (u < 32 || view(L"<>:\"|?*/\\").find(u) != view::npos) return false;
  }
  view base = c.substr(0, c.find(L'.'));
  while (!base.empty() && base.back() == L' ') base.remove_suffix(1);
  const auto is = [&](view reserved, std::size_t length) {
    if (base.size() != length) return false;
    for (std::size_t i = 0; i < reserved.size(); ++i) {
      const unit upper = base[i] >= L'a' && base[i] <= L'z' ? static_cast<unit>(base[i] - 32) : base[i];
      if (upper != reserved[i]) return false;
    }
    return true;
  };
  for (const view device :
       {view(L"CON"), view(L"PRN"), view(L"AUX"), view(L"NUL"), view(L"CONIN$"), view(L"CONOUT$")}) {
    if (is(device, device.size())) return false;
  }
  const bool port = is(L"COM", 4) || is(L"LPT", 4);
  return !port || view(L"0123456789\u00B9\u00B2\u00B3").find(base[3]) == view::npos;
}

constexpr bool walks_links = false;  // reparse points are refused: where one leads cannot be pinned before it is opened

inline bool open_beneath(const directory&, name, opening, handle&, status&) { return false; }
inline bool free_of_links(const path::string_type&) noexcept { return false; }

inline std::wstring final_path(const handle& h) {
  std::wstring text(32768, L'\0');
  text.resize(::GetFinalPathNameByHandleW(native(h), text.data(), 32768, 0));
  return text;
}

// By its final path: a junction on the way to it might lead elsewhere tomorrow.
inline directory open_root(const path& p, status& s) {
  directory d = open_unmovable(extended(p), 0, s);
  if (d.h) d.full = final_path(d.h);
  if (d.h && d.full.empty()) s.fail("GetFinalPathNameByHandle", make_code(last_error()));
  return d.full.empty() ? directory{} : std::move(d);
}

inline directory enter(const directory& d, name n, status& s) {
  return open_unmovable(join(d, n), open_reparse_point, s);
}
inline directory syncable(const directory& d, status& s) { return open_unmovable(d.full, open_reparse_point, s); }

// As Windows does: ".." first, then the links of the longest part that exists.
inline bool resolve(path::string_type& at, const path::string_type& more) {
  const path full = extended(path(at.empty() ? more : at + L'\\' + more));
  path rest;
  for (path p = full; p.has_relative_path(); p = p.parent_path()) {
    status ignored;
    const handle h = open_any(p.native(), 0, share_all, open_existing, backup_semantics, ignored);
    if (h) {
      at = final_path(h);
      if (at.compare(0, 8, L"\\\\?\\UNC\\") == 0) at.replace(0, 8, L"\\\\");
      if (at.compare(0, 4, L"\\\\?\\") == 0) at.erase(0, 4);
      if (!rest.empty()) at = (path(at) / rest).native();
      return !at.empty();
    }
    const unsigned long attributes = ::GetFileAttributesW(p.c_str());
    const bool link_to_nowhere = attributes != no_attributes && (attributes & attribute_reparse) != 0;
    if (link_to_nowhere) return false;
    rest = rest.empty() ? p.filename() : p.filename() / rest;
  }
  at = full.native();
  return true;
}

#endif

// ---- built on the above, the same everywhere

inline bool get_info_path(const path& p, info& out, status& s) {
  return get_info_at(directory(), p.c_str(), true, out, s);  // follows symbolic links
}

// Owner, attributes, mode, in this order: a new owner clears the set-id bits, and where there is an access list the
// group bits of the mode are its mask; without the list they would let the whole group in. `now`: `h` as it was made.
inline bool copy_metadata(const handle& h, const info& now, const directory& d, name like, const info& from,
                          const losses& lost, status& s) {
  const unsigned may_stay = copy_owner(h, now, from, lost);
  const bool owner_kept = may_stay == 07777;
  const access_list list = copy_attributes(h, d, like, owner_kept, lost);
  if (!owner_kept && (from.mode & ~0777u) != 0) {
    lost.add("set-id bits", std::make_error_code(std::errc::operation_not_permitted));
  }
  const unsigned group = list == access_list::kept ? 0070 : list == access_list::lost ? 0 : may_stay & 0070u;
  return set_mode(h, from.mode & ((may_stay & ~0070u) | group), s);
}

inline bool write_all(const handle& h, std::string_view bytes, bool at_end, std::size_t& written, status& s) {
  written = 0;
  while (written < bytes.size()) {
    const auto n = write_some(h, bytes.data() + written, bytes.size() - written, at_end, s);
    if (n < 0) return false;
    if (n == 0) return s.fail("write", errc::size_mismatch, "the system accepted no bytes");
    written += static_cast<std::size_t>(n);
  }
  return true;
}

// Everything up to the end of the file, also where the size is not known (0 in /proc) or grows meanwhile.
inline bool read_all(const handle& h, std::uint64_t expected, std::string& out, status& s) {
  if (expected >= out.max_size() / 2) return s.fail("read", std::errc::file_too_large);
  out.resize(static_cast<std::size_t>(expected) + 1);  // one more, so that the end is seen without a second buffer
  std::size_t have = 0;
  for (;;) {
    if (have == out.size()) out.resize(out.size() * 2 + 4096);
    const auto n = read_some(h, out.data() + have, out.size() - have, s);
    if (n <= 0) {
      out.resize(n < 0 ? 0 : have);
      return n == 0;
    }
    have += static_cast<std::size_t>(n);
  }
}

inline std::error_code wrong_kind(kind k) {
  return k == kind::directory ? std::make_error_code(std::errc::is_a_directory) : make_error_code(errc::not_regular);
}

}  // namespace os
}  // namespace detail

// ---- [replace] definitions ------------------------------------------------------------------------------------------

namespace detail {

// ---- waiting

// A moment of os::nanoseconds(); INT64_MAX: never.
using deadline = std::int64_t;

inline deadline deadline_in(std::chrono::milliseconds wait) noexcept {
  const std::int64_t now = os::nanoseconds();
  if (wait.count() <= 0) return now;
  return wait.count() > (INT64_MAX - now) / 1'000'000 ? INT64_MAX : now + wait.count() * 1'000'000;
}

// Pauses that double from 1 to 32 ms; some jitter keeps those who wait for the same thing from coming back together.
class pauses {
 public:
  explicit pauses(deadline until) noexcept : until_(until) {}
  bool pause() noexcept {  // false: the time is up
    const std::int64_t left = until_ - os::nanoseconds();
    if (left <= 0) return false;
    const auto wanted = next_ + static_cast<unsigned>(os::random_bits() % 4);
    os::sleep_for(wanted * std::int64_t{1'000'000} < left ? wanted : static_cast<unsigned>(left / 1'000'000 + 1));
    if (next_ < 32) next_ *= 2;
    return true;
  }

 private:
  deadline until_;
  unsigned next_ = 1;
};

// Tries again while somebody else holds the file: on Windows a virus scanner or a reader, on Linux who has a lease.
class patience {
 public:
  explicit patience(std::chrono::milliseconds budget) noexcept : pauses_(deadline_in(budget)) {}
  // After a failed attempt. False: it failed for good, as `s` says. What stood in the way first is the reason; later
  // ones may only say that the file is going away.
  bool again(const status& attempt, status& s) noexcept {
    if (!os::transient(attempt.code)) return s.fail(attempt);
    first_.fail(attempt);
    return pauses_.pause() || s.fail(first_);
  }

 private:
  pauses pauses_;
  status first_;
};

inline bool not_durable(status& s, const status& cause) {
  return s.fail(cause.step, errc::not_durable, cause.code.message());
}

// ---- where a file is, and the directories on the way

// Parent directories made on the way; those still empty go again unless they are kept.
class made_directories {
 public:
  made_directories() noexcept = default;
  made_directories(const made_directories&) = delete;
  made_directories& operator=(const made_directories&) = delete;
  ~made_directories() {
    for (status ignored; last_; last_ = std::move(last_->before)) {
      os::remove_directory_at(last_->above, last_->name.c_str(), ignored);
    }
  }
  void add(os::directory above, path::string_type name) {
    last_ = new made_directory{std::move(above), std::move(name), std::move(last_)};
  }
  void keep() noexcept {
    while (last_) last_ = std::move(last_->before);
  }

 private:
  struct made_directory {
    os::directory above;
    path::string_type name;
    owner<made_directory> before;
  };
  owner<made_directory> last_;
};

// What the files of a batch share: the directories that are open, by the path they were asked for with, and those made.
struct open_directories {
  struct entry {
    os::directory dir;
    path folder;
    owner<entry> next;
  };
  made_directories made;  // first: removed after the handles are closed
  owner<entry> first;

  open_directories() noexcept = default;
  open_directories(const open_directories&) = delete;
  open_directories& operator=(const open_directories&) = delete;
  ~open_directories() { close(); }
  void close() noexcept {
    while (first) first = std::move(first->next);
  }
};

// Where a file lives, once symbolic links are dealt with: a directory handle, opened before the work, and a name in it.
struct target {
  made_directories made;  // first: removed after the directory handle is closed
  os::directory opened;
  const os::directory* dir = nullptr;  // `opened`, or another that outlives this
  path folder;                         // the same directory as a path, as the caller and the symbolic links wrote it
  path::string_type name;
  os::info existing;  // kind::none: there is nothing yet

  target() = default;
  target(const target& beside, path::string_type other_name, const os::info& there = {})  // another name beside it
      : dir(beside.dir), folder(beside.folder), name(std::move(other_name)), existing(there) {}
  bool exists() const noexcept { return existing.type != os::kind::none; }
  path in_folder(const path::string_type& other_name) const { return folder / other_name; }
};

inline bool is_dot(os::view c) { return c.size() == 1 && c[0] == '.'; }
inline bool is_dot_dot(os::view c) { return c.size() == 2 && c[0] == '.' && c[1] == '.'; }

// Splits into parent and name; refuses what no file can be called.
inline bool split_name(const path& file, path& parent, path::string_type& name, status& s) {
  if (file.empty()) return s.fail("", std::errc::invalid_argument, "the path is empty");
  if (!os::without_nul(file, s)) return false;
  parent = file.parent_path();
  name = file.filename().native();
  return !(name.empty() || is_dot(name) || is_dot_dot(name)) || s.fail("", std::errc::is_a_directory);
}

// With `durable` the entry of the new directory is synced in its parent.
[[gnu::cold]] inline bool make_one_directory(const path& p, bool durable, made_directories& made, status& s) {
  if (!os::make_directory_at(os::directory(), p.c_str(), s)) return false;
  std::error_code nowhere;
  const path full = std::filesystem::absolute(p, nowhere);  // the program may change its directory before we are done
  made.add({}, full.native());
  if (!durable) return true;
  const os::directory above = os::open_directory(p.parent_path(), s);
  return above.h && os::sync_directory(above, s);
}

// Makes `dir` and what is missing above it. One that another process makes at the same moment is not ours to sync.
[[gnu::cold]] inline bool make_parents(const path& dir, bool durable, made_directories& made, status& s) {
  const auto make = [&](status& own) {
    return make_one_directory(dir, durable, made, own) || own.code == std::errc::file_exists;
  };
  status own;
  if (make(own)) return true;
  const path above = dir.parent_path();
  if (!own.missing() || above.empty() || above == dir) return s.fail(own);
  return make_parents(above, durable, made, s) && (make(own = {}) || s.fail(own));
}

// Opens the directory of `t`, or finds it among those of a batch.
inline bool open_folder(target& t, const path& folder, const write_options& options, open_directories* shared,
                        status& s) {
  t.folder = folder;
  for (auto* entry = shared != nullptr ? shared->first.get() : nullptr; entry != nullptr; entry = entry->next.get()) {
    if (entry->folder == folder) return t.dir = &entry->dir, true;
  }
  status own;
  t.opened = os::open_directory(folder, own);
  if (!t.opened.h && options.create_parents && own.missing()) {
    own = {};
    made_directories& made = shared != nullptr ? shared->made : t.made;
    if (make_parents(folder, options.durable == durability::full, made, own)) {
      t.opened = os::open_directory(folder, own);
    }
  }
  if (!t.opened.h) return s.fail(own);
  t.dir = &t.opened;
  if (shared != nullptr) {
    shared->first = new open_directories::entry{std::move(t.opened), folder, std::move(shared->first)};
    t.dir = &shared->first->dir;
  }
  return true;
}

constexpr int symlink_limit = 40;  // as Linux does

inline bool locate(path file, const write_options& options, target& t, status& s, open_directories* shared = nullptr) {
  for (int links = 0; links <= symlink_limit; ++links) {
    path parent;
    if (!split_name(file, parent, t.name, s) || !open_folder(t, parent, options, shared, s)) return false;
    status own;
    if (!os::get_info_at(*t.dir, t.name.c_str(), false, t.existing, own)) {
      t.existing = {};
      return own.missing() || s.fail(own);
    }
    if (t.existing.type != os::kind::symlink || options.symlinks == symlink_policy::replace) return true;
    if (options.symlinks == symlink_policy::refuse) return s.fail("", errc::is_symlink);
    path leads_to;
    if (!os::read_link_at(*t.dir, t.name.c_str(), leads_to, s)) return false;
    file = parent / leads_to;  // an absolute target replaces the parent
  }
  return s.fail("", std::errc::too_many_symbolic_link_levels);
}

inline write_options where_it_is() {
  write_options options;
  options.create_parents = false;
  return options;
}

// ---- names of companions

constexpr std::string_view temporary_prefix = ".memoria-", temporary_suffix = ".tmp";

constexpr std::string_view hex_digits = "0123456789abcdef";

inline path::string_type widen(std::string_view ascii) { return {ascii.begin(), ascii.end()}; }

inline std::string hex(std::uint64_t bits) {
  std::string text;
  for (unsigned shift = 64; shift > 0; shift -= 4) text += hex_digits[(bits >> (shift - 4)) & 15];
  return text;
}

// The name of a companion of `name`: lock, generation, backup. Where that would be longer than names may be, `name` is
// cut and a hash of it tells it from others with the same beginning. `room`: the longest suffix of this family.
inline path::string_type sibling_name(std::string_view prefix, const path::string_type& name, std::string_view suffix,
                                      std::size_t room = 0) {
  constexpr std::size_t longest = 255;  // bytes, on Windows UTF-16 units
  room = prefix.size() + (room > suffix.size() ? room : suffix.size());
  path::string_type out(prefix.begin(), prefix.end());
  if (name.size() + room <= longest) {
    out += name;
  } else {
    std::uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a
    for (const auto unit : name) hash = (hash ^ static_cast<std::uint64_t>(unit)) * 0x100000001B3u;
    std::size_t cut = longest - room - 17;
    if constexpr (sizeof(path::value_type) == 1) cut = whole_characters(name, cut);
    out.append(name, 0, cut).append(widen("-" + hex(hash)));
  }
  return out.append(suffix.begin(), suffix.end());
}

inline path::string_type temporary_name() {
  return widen(concat({temporary_prefix, hex(os::random_bits()), temporary_suffix}));
}

inline bool is_temporary_name(const path::string_type& name) {
  const std::size_t digits = temporary_prefix.size(), end = digits + 16;
  return name.compare(0, digits, widen(temporary_prefix)) == 0 &&
         name.find_first_not_of(widen(hex_digits), digits) == end &&
         name.compare(end, path::string_type::npos, widen(temporary_suffix)) == 0;
}

// ---- one replacement, step by step

// One replacement on its way: a temporary file beside the target.
struct replacement {
  target t;
  write_options options;
  const target* like = nullptr;  // whose owner, mode and attributes the new version gets, if not those of `t`
  os::handle file;               // closed after sealing where a batch ran out of descriptors
  path::string_type name;        // empty: nothing to clean up
  os::info made;                 // the temporary file as it was made
  std::uint64_t written = 0;

  explicit replacement(const write_options& how) : options(how) {}  // `t` is for locate()
  replacement(const target& beside, const path::string_type& other_name, const write_options& how, const target* as)
      : t(beside, other_name), options(how), like(as) {}
  replacement(const replacement&) = delete;
  replacement& operator=(const replacement&) = delete;
  ~replacement() { discard(); }

  const target& model() const noexcept { return like != nullptr ? *like : t; }
  path shown() const { return t.in_folder(t.name); }
  void discard() noexcept {
    if (name.empty()) return;
    status ignored;
    os::unlink_at(*t.dir, name.c_str(), ignored);  // while we hold its lock
    file.close();
  }
};

// Creates the temporary file and takes the lock on it that proves, to a sweeper, that its writer lives.
inline bool create_temporary(replacement& r, status& s) {
  const bool private_until_mode_is_set = r.model().existing.type == os::kind::regular ||
                                         r.options.permissions != std::filesystem::perms::unknown;
  for (int attempt = 0; attempt < 100; ++attempt) {
    const path::string_type name = temporary_name();
    status own;
    r.file = os::open_at(*r.t.dir, name.c_str(), os::write_only | os::create | os::no_follow, own,
                         private_until_mode_is_set ? 0600 : 0666);
    if (!r.file && own.code == std::errc::file_exists) continue;
    if (!r.file) return s.fail(own);
    r.name = name;
    status cannot_lock;  // then no sweeper can lock it either, and leaves it alone
    const bool locked = os::lock(r.file, false, false, cannot_lock) || cannot_lock.failed();
    if (!os::get_info(r.file, r.made, s)) return false;
    if (locked && r.made.links > 0) return true;
    r.discard();  // a sweeper came between creation and lock
  }
  return s.fail("open", std::errc::file_exists, "no free temporary name in 100 attempts");
}

inline bool begin(replacement& r, status& s) {
  const os::kind there = r.t.existing.type;
  if (there != os::kind::none && !r.options.overwrite) return s.fail("", std::errc::file_exists);
  const bool replaceable = there == os::kind::none || there == os::kind::regular || there == os::kind::symlink;
  if (!replaceable) return s.fail("", os::wrong_kind(there));
  return create_temporary(r, s);
}

inline bool write(replacement& r, std::string_view bytes, status& s) {
  std::size_t written = 0;
  const bool ok = os::write_all(r.file, bytes, false, written, s);
  r.written += written;
  return ok;
}

// Metadata, size check, sync: after this the temporary file is the new version in all but its name.
inline bool seal(replacement& r, status& s) {
  const target& like = r.model();
  if (like.existing.type == os::kind::regular) {
    const os::losses lost = {r.options.report, r.options.report != nullptr ? r.shown() : path()};
    os::copy_metadata(r.file, r.made, *like.dir, like.name.c_str(), like.existing, lost, s);
  }
  if (r.options.permissions != std::filesystem::perms::unknown && !s.failed()) {
    os::set_mode(r.file, static_cast<unsigned>(r.options.permissions) & 07777u, s);
  }
  os::info now;
  if (s.failed() || !os::get_info(r.file, now, s)) return false;
  if (now.size != r.written) return s.fail("fstat", errc::size_mismatch);
  if (r.options.durable == durability::none) return os::report_close_errors(r.file, s);
  return os::sync_file(r.file, false, s);  // a new file's mode and owner belong to the version, too
}

// This kernel or this file system has no such rename or link. Never remembered: the next file may be on another.
inline bool no_such_call(const std::error_code& code) {
  return code == std::errc::invalid_argument || code == std::errc::function_not_supported ||
         code == std::errc::not_supported || code == std::errc::operation_not_supported;
}

inline bool rename_over(const os::directory& d, const path::string_type& from, const path::string_type& to, status& s) {
  return os::rename_at(d, from.c_str(), d, to.c_str(), os::rename_mode::replace, s);
}

inline bool rename_without_clobber(const os::directory& d, const path::string_type& from, const path::string_type& to,
                                   status& s) {
  status own;
  if (os::rename_at(d, from.c_str(), d, to.c_str(), os::rename_mode::keep, own)) return true;
  if (!no_such_call(own.code)) return s.fail(own);
  if (!os::link_at(d, from.c_str(), to.c_str(), s)) return false;  // does not clobber either
  status ignored;
  os::unlink_at(d, from.c_str(), ignored);
  return true;
}

// ---- generations

inline path::string_type generation_name(const path::string_type& name, unsigned n) {
  return sibling_name("", name, ".gen-" + std::to_string(n));
}

[[gnu::cold]] inline bool same_bytes(const os::directory& d, const path::string_type& a, const path::string_type& b) {
  status s;
  const os::handle first = os::open_at(d, a.c_str(), os::read_only | os::no_follow, s);
  const os::handle second = os::open_at(d, b.c_str(), os::read_only | os::no_follow, s);
  std::string left(65536, '\0'), right = left;
  std::uint64_t at = 0;
  for (std::ptrdiff_t n = 1; n > 0; at += static_cast<std::uint64_t>(n)) {
    n = os::read_some(first, left.data(), left.size(), s, at);
    const auto m = os::read_some(second, right.data(), right.size(), s, at);
    if (s.failed() || m != n || std::memcmp(left.data(), right.data(), static_cast<std::size_t>(n)) != 0) return false;
  }
  return true;
}

constexpr const char* mount_point_note = "a mount point (a bind-mounted file) cannot be replaced";

[[gnu::cold]] inline bool copy_file(const os::directory& d, const path::string_type& from, const path::string_type& to,
                                    const replacement& like, status& s) {
  const os::handle source = os::open_at(d, from.c_str(), os::read_only | os::no_follow, s);
  if (!source) return false;
  replacement copy(like.t, to, like.options, &like.t);
  if (!create_temporary(copy, s)) return false;
  std::string buffer(65536, '\0');
  for (;;) {
    const auto n = os::read_some(source, buffer.data(), buffer.size(), s);
    if (n < 0) return false;
    if (n == 0) break;
    if (!write(copy, {buffer.data(), static_cast<std::size_t>(n)}, s)) return false;
  }
  return seal(copy, s) && rename_over(d, copy.name, to, s);
}

// NAME becomes NAME.gen-1, and what was there moves on. The current version stays in its place all the time. It gets
// its second name before anything moves, so that what cannot be kept leaves the generations alone; and it is not kept
// twice where a writer failed, or died, between this and its rename.
[[gnu::cold]] inline bool keep_generations(const replacement& r, status& s) {
  const os::directory& d = *r.t.dir;
  const auto newest = generation_name(r.t.name, 1);
  os::info current, kept;
  status own;
  if (os::get_info_at(d, r.t.name.c_str(), false, current, own) &&
      os::get_info_at(d, newest.c_str(), false, kept, own) && kept.same_file(current)) {
    return true;
  }
  const path::string_type spare = temporary_name();
  own = {};
  if (!os::link_at(d, r.t.name.c_str(), spare.c_str(), own)) {
    if (own.missing()) return true;
    // Two names in one directory are on one device, unless one of them is a mount point.
    if (own.code == std::errc::cross_device_link) {
      return s.fail("link", std::errc::device_or_resource_busy, mount_point_note);
    }
    if (same_bytes(d, r.t.name, newest)) return true;
    if (!copy_file(d, r.t.name, spare, r, s)) return false;  // no links here
  }
  bool moved = true;
  for (unsigned n = r.options.generations; n > 0 && moved; --n) {
    const auto newer = n > 1 ? generation_name(r.t.name, n - 1) : spare, older = generation_name(r.t.name, n);
    moved = rename_over(d, newer, older, own = {}) || (n > 1 && own.missing());
  }
  status ignored;  // also after success: renaming one name of a file to another of its names leaves both
  os::unlink_at(d, spare.c_str(), ignored);
  if (moved) return true;
  if (!own.missing()) return s.fail(own);
  return os::link_at(d, r.t.name.c_str(), newest.c_str(), s);  // a sweeper was quicker
}

// ---- reading

inline bool read_regular(const os::handle& h, os::info& i, std::string& out, status& s) {
  if (!os::get_info(h, i, s)) return false;
  if (i.type != os::kind::regular) return s.fail("", os::wrong_kind(i.type));
  return os::read_all(h, i.size, out, s);
}
inline bool read_regular(const os::handle& h, std::string& out, status& s) {
  os::info unused;
  return read_regular(h, unused, out, s);
}

inline bool check_path(const path& p, status& s) {
  path parent;
  path::string_type name;
  return split_name(p, parent, name, s);
}

constexpr std::chrono::milliseconds read_patience{500};

inline bool read_named(const os::directory& d, os::name name, os::info& i, std::string& out, status& s) {
  int stale = 0;
  for (patience waiting(read_patience);;) {
    status own;
    const os::handle h = os::open_at(d, name, os::read_only, own);
    if (h && read_regular(h, i, out, own)) return true;
    if (os::stale(own.code) && ++stale < 2) continue;
    if (!waiting.again(own, s)) return false;
  }
}

inline bool read_file(const path& file, std::string& out, status& s) {
  os::info unused;
  return check_path(file, s) && read_named(os::directory(), file.c_str(), unused, out, s);
}

inline std::string text_of(const path& file, status& s) {
  std::string text;
  read_file(file, text, s);
  return text;
}

// ---- publishing

// The new version is in its place.
inline void published(replacement& r) {
  r.name.clear();
  r.file.close();
  r.t.made.keep();
}

// The rename. From here on the new version is visible.
inline bool publish(replacement& r, status& s) {
  const os::directory& d = *r.t.dir;
  if (r.options.generations > 0 && r.t.existing.type == os::kind::regular && !keep_generations(r, s)) return false;
  for (patience waiting(r.options.retry_for);;) {
    status own;
    const auto rename = r.options.overwrite ? rename_over : rename_without_clobber;
    if (rename(d, r.name, r.t.name, own)) return published(r), true;
    if (own.code == std::errc::device_or_resource_busy) own.explain(mount_point_note);
    if (!waiting.again(own, s)) return false;
  }
}

// Puts what an exchange displaced back in its place. Who replaces the file meanwhile wins: then his version is what the
// next exchange displaces, and goes back in turn.
[[gnu::cold]] inline bool put_back(replacement& r, status& s) {
  const os::directory& d = *r.t.dir;
  for (os::info in_place = r.made, going_back, out;; in_place = going_back) {
    status unseen;
    os::get_info_at(d, r.name.c_str(), false, going_back, unseen);
    if (os::rename_at(d, r.name.c_str(), d, r.t.name.c_str(), os::rename_mode::exchange, s) && !unseen.failed() &&
        os::get_info_at(d, r.name.c_str(), false, out, unseen)) {
      if (out.same_file(in_place)) return true;
      continue;
    }
    s.fail(unseen);
    s.explain("the other version is in " + to_utf8(r.name));
    r.name.clear();  // it may not be ours to remove
    return false;
  }
}

// Whether a file reads `text`; with `as`, whether it is that one besides.
inline bool holds(const os::directory& d, const path::string_type& name, std::string_view text, const os::info* as,
                  status& s) {
  const os::handle h = os::open_at(d, name.c_str(), os::read_only | os::no_follow, s);
  os::info i;
  std::string now;
  return h && os::get_info(h, i, s) && (as == nullptr || i.same_file(*as)) && read_regular(h, i, now, s) && now == text;
}

// Publishes only over the file that the caller knows: it holds `expected`. Where the system can exchange two names, the
// one that was displaced is looked at, so that no other writer falls in between; elsewhere it is the file as it is just
// before the rename. `conflict`, with `s` clear: it is another one, and stays.
[[gnu::cold]] inline bool publish_over(replacement& r, bool& conflict, std::string_view expected, const os::info* as,
                                       status& s) {
  const os::directory& d = *r.t.dir;
  status own;
  if (!os::rename_at(d, r.name.c_str(), d, r.t.name.c_str(), os::rename_mode::exchange, own)) {
    conflict = own.missing();
    if (conflict) return false;
    if (own.code == std::errc::device_or_resource_busy) own.explain(mount_point_note);
    if (!no_such_call(own.code)) return s.fail(own);
    conflict = !holds(d, r.t.name, expected, as, s);
    return !s.failed() && !conflict && publish(r, s);
  }
  if (!holds(d, r.name, expected, as, s)) {
    status astray;
    conflict = put_back(r, astray);
    if (!conflict) s = astray;
    return false;
  }
  r.discard();  // the old version
  published(r);
  return true;
}

inline bool sync_after_rename(const replacement& r, status& s) {
  status own;
  return r.options.durable != durability::full || os::sync_directory(*r.t.dir, own) || not_durable(s, own);
}

// The whole protocol for a target that has been located; also what confined_dir uses.
inline bool replace(replacement& r, std::string_view content, status& s) {
  return begin(r, s) && write(r, content, s) && seal(r, s) && publish(r, s) && sync_after_rename(r, s);
}

inline bool replace_file(const path& file, std::string_view content, const write_options& options, status& s) {
  replacement r(options);
  return locate(file, options, r.t, s) && replace(r, content, s);
}

// ---- many files at once, and what crashed writers left

struct staged_batch {
  write_options options;
  open_directories shared;
  std::vector<owner<replacement>> files;
  std::size_t committed = 0;
  path failed;    // what the last commit() failed at
  status doomed;  // a staged file that could not be synced: commit() will say so
};

// Frees the descriptors of what is staged. The lock on an open temporary file is what tells a sweeper that its writer
// lives; for those that are closed, a shared lock on their directory does.
[[gnu::cold]] inline bool settle(staged_batch& batch, status& s) {
  for (const auto* entry = batch.shared.first.get(); entry != nullptr; entry = entry->next.get()) {
    status cannot_lock;  // then no sweeper can either
    os::lock_directory(entry->dir, true, true, cannot_lock);
  }
  for (const auto& r : batch.files) {
    if (r->file && !seal(*r, s)) {
      batch.doomed = s;
      batch.failed = r->shown();
      return false;
    }
    r->file.close();
  }
  return true;
}

inline bool stage_once(staged_batch& batch, const path& file, std::string_view content, status& s) {
  owner<replacement> r(new replacement(batch.options));
  if (!locate(file, batch.options, r->t, s, &batch.shared) || !begin(*r, s) || !write(*r, content, s)) return false;
  os::start_writeback(r->file);
  batch.files.push_back(std::move(r));
  return true;
}

inline bool stage(staged_batch& batch, const path& file, std::string_view content, status& s) {
  status own;
  if (stage_once(batch, file, content, own)) return true;
  const bool exhausted =
      own.code == std::errc::too_many_files_open || own.code == std::errc::too_many_files_open_in_system;
  if (!exhausted || batch.files.empty() || !batch.files.back()->file) return s.fail(own);
  return settle(batch, s) && stage_once(batch, file, content, s);
}

inline bool publish_all(staged_batch& batch, status& s) {
  batch.committed = 0;
  s = detail::exchange(batch.doomed, {});
  if (s.failed()) return false;
  for (const auto& r : batch.files) {
    if (!r->file || seal(*r, s)) continue;
    batch.failed = r->shown();
    return false;
  }
  for (const auto& r : batch.files) {
    if (!publish(*r, s)) {
      batch.failed = r->shown();
      break;
    }
    ++batch.committed;
    batch.shared.made.keep();
  }
  if (batch.committed == 0 || batch.options.durable != durability::full) return !s.failed();
  for (const auto* entry = batch.shared.first.get(); entry != nullptr; entry = entry->next.get()) {
    status own;
    if (os::sync_directory(entry->dir, own)) continue;
    if (!s.failed()) batch.failed = entry->folder.empty() ? path(".") : entry->folder;
    not_durable(s, own);
  }
  return !s.failed();
}

inline bool commit(staged_batch& batch, status& s) {
  const bool done = publish_all(batch, s);
  batch.files.clear();
  batch.shared.close();
  return done;
}

[[gnu::cold]] inline bool remove_if_stale(const os::directory& d, os::name n) {
  status ignored;
  os::handle h = os::open_at(d, n, os::read_write | os::no_follow, ignored);
  if (!h) h = os::open_at(d, n, os::read_only | os::no_follow, ignored);
  os::info opened, named;
  if (!h || !os::get_info(h, opened, ignored) || opened.type != os::kind::regular) return false;
  if (!os::lock(h, false, false, ignored)) return false;  // its writer lives, or nothing can be locked here
  return os::get_info_at(d, n, false, named, ignored) && named.same_file(opened) && os::unlink_at(d, n, ignored);
}

[[gnu::cold]] inline std::size_t sweep(const path& directory, status& s) {
  if (directory.empty()) s.fail("", std::errc::invalid_argument, "the path is empty");
  const os::directory d = s.failed() ? os::directory() : os::open_directory(directory, s);
  std::vector<path::string_type> names;  // removing while listing may skip entries
  status held;  // by a batch that has closed its temporary files
  if (!d.h || !os::lock_directory(d, false, false, held) || !os::list(d, [&](os::name n, os::kind) {
        if (is_temporary_name(n)) names.push_back(n);
        return true;
      }, s)) {
    return 0;
  }
  std::size_t removed = 0;
  for (const auto& n : names) removed += remove_if_stale(d, n.c_str()) ? 1u : 0u;
  return removed;
}

}  // namespace detail

MEMORIA_FS_INLINE void atomic_write_text(const path& file, std::string_view content, const write_options& options,
                                         std::error_code& ec) {
  detail::report_to(ec, detail::replace_file, file, content, options);
}

MEMORIA_FS_INLINE std::string read_text(const path& file, std::error_code& ec) {
  return detail::report_to(ec, detail::text_of, file);
}

MEMORIA_FS_INLINE std::size_t remove_stale_temporaries(const path& directory, std::error_code& ec) {
  return detail::report_to(ec, detail::sweep, directory);
}

MEMORIA_FS_INLINE atomic_file::atomic_file() noexcept = default;
MEMORIA_FS_INLINE atomic_file::atomic_file(atomic_file&&) noexcept = default;
MEMORIA_FS_INLINE atomic_file& atomic_file::operator=(atomic_file&&) noexcept = default;
MEMORIA_FS_INLINE atomic_file::~atomic_file() = default;
MEMORIA_FS_INLINE void atomic_file::discard() noexcept { work_ = nullptr; }
MEMORIA_FS_INLINE bool atomic_file::is_open() const noexcept { return static_cast<bool>(work_); }

namespace detail {

inline owner<replacement> open_replacement(const path& file, const write_options& options, status& s) {
  owner<replacement> work(new replacement(options));
  if (!locate(file, options, work->t, s) || !begin(*work, s)) work = nullptr;
  return work;
}

// Each step abandons the replacement when it fails: a file of which a part is missing must never be committed.
inline bool write_step(owner<replacement>& work, std::string_view bytes, status& s) {
  if (!work) return s.fail("write", std::errc::bad_file_descriptor, "not open");
  if (write(*work, bytes, s)) return true;
  work = nullptr;
  return false;
}

inline bool commit_step(owner<replacement>& work, status& s) {
  if (!work) return s.fail("commit", std::errc::bad_file_descriptor, "not open");
  const bool done = seal(*work, s) && publish(*work, s) && sync_after_rename(*work, s);
  work = nullptr;
  return done;
}

inline bool stage_step(owner<staged_batch>& work, const path& file, std::string_view content, status& s) {
  if (!work) work = new staged_batch;
  return stage(*work, file, content, s);
}

inline bool commit_batch(owner<staged_batch>& work, status& s) { return !work || commit(*work, s); }

}  // namespace detail

MEMORIA_FS_INLINE atomic_file::atomic_file(const path& file, const write_options& options, std::error_code& ec)
    : work_(detail::report_to(ec, detail::open_replacement, file, options)) {}

MEMORIA_FS_INLINE void atomic_file::write(std::string_view bytes, std::error_code& ec) {
  detail::report_to(ec, detail::write_step, work_, bytes);
}

MEMORIA_FS_INLINE void atomic_file::commit(std::error_code& ec) { detail::report_to(ec, detail::commit_step, work_); }

MEMORIA_FS_INLINE write_batch::write_batch(const write_options& options)
    : work_(new detail::staged_batch) {
  work_->options = options;
}
MEMORIA_FS_INLINE write_batch::write_batch(write_batch&&) noexcept = default;
MEMORIA_FS_INLINE write_batch& write_batch::operator=(write_batch&&) noexcept = default;
MEMORIA_FS_INLINE write_batch::~write_batch() = default;

MEMORIA_FS_INLINE void write_batch::add(const path& file, std::string_view content, std::error_code& ec) {
  detail::report_to(ec, detail::stage_step, work_, file, content);
}

MEMORIA_FS_INLINE void write_batch::commit(std::error_code& ec) { detail::report_to(ec, detail::commit_batch, work_); }

MEMORIA_FS_INLINE std::size_t write_batch::size() const noexcept { return work_ ? work_->files.size() : 0; }
MEMORIA_FS_INLINE std::size_t write_batch::committed() const noexcept { return work_ ? work_->committed : 0; }

#if MEMORIA_FS_EXCEPTIONS
MEMORIA_FS_INLINE void atomic_write_text(const path& file, std::string_view content, const write_options& options) {
  detail::or_throw("atomic_write_text", file, detail::replace_file, file, content, options);
}

MEMORIA_FS_INLINE std::string read_text(const path& file) {
  return detail::or_throw("read_text", file, detail::text_of, file);
}

MEMORIA_FS_INLINE std::size_t remove_stale_temporaries(const path& directory) {
  return detail::or_throw("remove_stale_temporaries", directory, detail::sweep, directory);
}

MEMORIA_FS_INLINE atomic_file::atomic_file(const path& file, const write_options& options)
    : work_(detail::or_throw("atomic_file", file, detail::open_replacement, file, options)) {}

MEMORIA_FS_INLINE void atomic_file::write(std::string_view bytes) {
  const path shown = work_ ? work_->shown() : path();
  detail::or_throw("atomic_file::write", shown, detail::write_step, work_, bytes);
}

MEMORIA_FS_INLINE void atomic_file::commit() {
  const path shown = work_ ? work_->shown() : path();
  detail::or_throw("atomic_file::commit", shown, detail::commit_step, work_);
}

MEMORIA_FS_INLINE void write_batch::add(const path& file, std::string_view content) {
  detail::or_throw("write_batch::add", file, detail::stage_step, work_, file, content);
}

MEMORIA_FS_INLINE void write_batch::commit() {
  detail::status s;
  if (!detail::commit_batch(work_, s)) throw error("write_batch::commit", work_->failed, s);
}
#endif

// ---- [lock] definitions ---------------------------------------------------------------------------------------------

namespace detail {

// Waits in the kernel without a deadline; with one it polls, because flock has none.
inline bool wait_for_lock(const os::handle& h, lock_mode mode, deadline until, status& s) {
  const bool shared = mode == lock_mode::shared;
  if (until == INT64_MAX) return os::lock(h, shared, true, s);
  for (pauses waits(until);;) {
    if (os::lock(h, shared, false, s)) return true;
    if (s.failed()) return false;
    if (!waits.pause()) return s.fail("flock", errc::lock_timeout);
  }
}

// Opens read-write where possible (NFS wants a writable descriptor for an exclusive lock), never through a symlink,
// never truncating. A lock file that is missing gets the owner and mode of the file it guards.
inline os::handle open_lock_file(const os::directory& d, os::name name, bool create, const os::info& guarded,
                                 status& s) {
  status own;
  os::handle h = os::open_at(d, name, os::read_write | os::no_follow, own);
  if (h) return h;
  const bool not_writable =
      own.code == std::errc::permission_denied || own.code == std::errc::read_only_file_system;
  if (not_writable) return os::open_at(d, name, os::read_only | os::no_follow, s);
  if (!own.missing() || !create) return s.fail(own), os::handle();
  own = {};
  h = os::open_at(d, name, os::read_write | os::no_follow | os::create, own, 0666);
  if (h && guarded.type == os::kind::regular) {
    os::info made;
    status best_effort;
    if (os::get_info(h, made, best_effort)) os::copy_owner(h, made, guarded, {nullptr, {}});
    os::set_mode(h, guarded.mode & 0666u, best_effort);
  }
  if (h) return h;
  if (own.code != std::errc::file_exists) return s.fail(own), os::handle();
  return os::open_at(d, name, os::read_write | os::no_follow, s);  // others were quicker
}

// Takes the lock and makes sure that its file still has its name: a lock on a deleted file excludes nobody.
inline os::handle lock_named(const os::directory& d, os::name name, const lock_options& options, deadline until,
                             const os::info& guarded, status& s) {
  for (;;) {
    os::handle h = open_lock_file(d, name, options.create, guarded, s);
    os::info opened, named;
    if (!h || !os::get_info(h, opened, s)) return {};
    if (opened.type != os::kind::regular) return s.fail("", os::wrong_kind(opened.type)), os::handle();
    if (!wait_for_lock(h, options.mode, until, s)) return {};
    status gone;
    if (os::get_info_at(d, name, false, named, gone) && named.same_file(opened)) return h;
    if (gone.failed() && !gone.missing()) return s.fail(gone), os::handle();
  }
}

inline std::intptr_t lock_file(const path& file, const lock_options& options, status& s) {
  path parent;
  path::string_type name;
  if (!split_name(file, parent, name, s)) return -1;
  const os::directory d = os::open_directory(parent, s);
  if (!d.h) return -1;
  return lock_named(d, name.c_str(), options, deadline_in(options.timeout), os::info{}, s).release();
}

inline path::string_type lock_name(const path::string_type& name) {
  return sibling_name(".", name, ".lock");
}

inline path lock_path_of(const path& file, status& s) {
  target t;
  if (!locate(file, where_it_is(), t, s)) return {};
  return t.in_folder(lock_name(t.name));
}

}  // namespace detail

MEMORIA_FS_INLINE file_lock::file_lock(const path& lock_file, const lock_options& options, std::error_code& ec)
    : handle_(detail::report_to(ec, detail::lock_file, lock_file, options)) {}

MEMORIA_FS_INLINE file_lock& file_lock::operator=(file_lock&& other) noexcept {
  if (this != &other) {
    unlock();
    handle_ = detail::exchange(other.handle_, -1);
  }
  return *this;
}

// Unlocking first matters where a forked child still holds the descriptor: closing ours would not free the lock. If the
// system should refuse to unlock, closing does it.
MEMORIA_FS_INLINE void file_lock::unlock() noexcept {
  const detail::os::handle h(detail::exchange(handle_, -1));
  if (h) detail::os::unlock(h);
}

MEMORIA_FS_INLINE path lock_path(const path& file, std::error_code& ec) {
  return detail::report_to(ec, detail::lock_path_of, file);
}

#if MEMORIA_FS_EXCEPTIONS
MEMORIA_FS_INLINE file_lock::file_lock(const path& lock_file, const lock_options& options)
    : handle_(detail::or_throw("file_lock", lock_file, detail::lock_file, lock_file, options)) {}

MEMORIA_FS_INLINE path lock_path(const path& file) {
  return detail::or_throw("lock_path", file, detail::lock_path_of, file);
}
#endif

// ---- [append] definitions -------------------------------------------------------------------------------------------

namespace detail {

// `whole_lines`: what has to be written so that the log stays a sequence of lines.
inline bool complete_lines(const os::handle& h, std::uint64_t size, std::string_view content, std::string& out,
                           status& s) {
  char last = '\n';
  if (size > 0) {
    if (os::read_some(h, &last, sizeof last, s, size - 1) < 0) return false;
  }
  if (last != '\n') out += '\n';
  out += content;
  if (content.empty() || content.back() != '\n') out += '\n';
  return true;
}

// Writes one entry to the end of a locked log. If that fails, the log goes back to its old length, but only if nobody
// has appended behind us without a lock.
inline bool append_entry(const os::handle& h, std::uint64_t size, std::string_view entry, status& s) {
  std::size_t written = 0;
  if (os::write_all(h, entry, true, written, s)) return true;
  os::info now;
  status ignored;
  if (written > 0 && os::get_info(h, now, ignored) && now.size == size + written) os::resize(h, size, ignored);
  return false;
}

// Opens the log, or creates it: then `created` is set.
inline os::handle open_log(const os::directory& d, os::name name, bool readable, bool& created, status& s) {
  const unsigned flags = (readable ? os::read_write : os::write_only) | os::append | os::no_follow;
  for (int attempt = 0; attempt < 100; ++attempt) {
    status own;
    os::handle h = os::open_at(d, name, flags, own);
    created = !h && own.missing();
    if (created) {
      own = {};
      h = os::open_at(d, name, flags | os::create, own, 0666);
    }
    if (h) return h;
    if (!created || own.code != std::errc::file_exists) return s.fail(own), os::handle();
  }
  return s.fail("open", errc::changed_meanwhile), os::handle();
}

// The entry itself, under the lock. `still_named(info)` says whether the log's name leads to the file we have locked;
// if not, `moved` is set and the caller looks for the log again. `sync_name` syncs its directory.
template <class Named, class Sync>
bool append_locked(const os::handle& h, std::string_view content, const append_options& options, deadline until,
                   bool& moved, Named&& still_named, Sync&& sync_name, status& s) {
  os::info log;
  status own;
  if (!wait_for_lock(h, lock_mode::exclusive, until, own)) {
    status ignored;
    const bool odd = os::get_info(h, log, ignored) && log.type != os::kind::regular;  // Windows opens directories, too
    return s.fail(own.step, odd ? os::wrong_kind(log.type) : own.code, own.note);
  }
  if (!os::get_info(h, log, s)) return false;
  if (log.type != os::kind::regular) return s.fail("", os::wrong_kind(log.type));
  if (!still_named(log, s)) {
    moved = !s.failed();
    return false;
  }
  // The directory of an empty log is synced before the first entry: a second writer, who finds the log not empty, could
  // otherwise acknowledge an entry whose file only the first would have made durable.
  if (log.size == 0 && options.durable == durability::full && !sync_name(s)) return false;
  std::string lines;
  if (options.whole_lines && !complete_lines(h, log.size, content, lines, s)) return false;
  return append_entry(h, log.size, options.whole_lines ? std::string_view(lines) : content, s);
}

// Waiting writers go on while we sync.
inline bool unlock_and_sync(const os::handle& h, const append_options& options, status& s) {
  os::unlock(h);
  status unsynced;
  return options.durable == durability::none || os::sync_file(h, true, unsynced) || not_durable(s, unsynced);
}

// Takes away the empty log that a failed first entry leaves. Locked, because another writer may count on it already.
[[gnu::cold]] inline void remove_empty_log(const os::directory& d, os::name name, const os::handle& h) {
  os::info now, named;
  status ignored;
  os::unlock(h);
  const bool ours = os::lock(h, false, false, ignored) && os::get_info(h, now, ignored) && now.size == 0;
  if (ours && os::get_info_at(d, name, false, named, ignored) && named.same_file(now)) os::unlink_at(d, name, ignored);
}

// Appends to `name` in `d`, which is made if it is missing.
template <class Named>
bool append_once(const os::directory& d, os::name name, std::string_view content, const append_options& options,
                 deadline until, bool& moved, Named&& still_named, status& s) {
  bool created = false;
  const os::handle h = open_log(d, name, options.whole_lines, created, s);
  if (!h) return false;
  const auto sync_name = [&](status& own) { return os::sync_directory(d, own); };
  if (append_locked(h, content, options, until, moved, still_named, sync_name, s))
    return unlock_and_sync(h, options, s);
  if (created && !moved) remove_empty_log(d, name, h);
  return false;
}

// Makes the log, where its symbolic links lead.
template <class Named>
bool append_to_new(const path& file, std::string_view content, const append_options& options, deadline until,
                   bool& moved, Named&& still_named, status& s) {
  write_options where;
  where.create_parents = options.create_parents;
  where.durable = options.durable;
  target t;
  if (!locate(file, where, t, s)) return false;
  const bool done = append_once(*t.dir, t.name.c_str(), content, options, until, moved, still_named, s);
  if (done || s.code == errc::not_durable) t.made.keep();
  return done;
}

inline bool append_file(const path& file, std::string_view content, const append_options& options, status& s) {
  if (!check_path(file, s)) return false;
  const deadline until = deadline_in(options.timeout);
  const auto still_named = [&](const os::info& log, status& failure) {
    os::info named;
    status own;
    if (os::get_info_path(file, named, own)) return named.same_file(log);
    return !own.missing() && failure.fail(own);
  };
  const auto sync_name = [&](status& own) {
    target t;
    return locate(file, where_it_is(), t, own) && os::sync_directory(*t.dir, own);
  };
  for (int stale = 0;;) {
    bool moved = false;
    status own;
    const unsigned access = options.whole_lines ? os::read_write : os::write_only;
    const os::handle h = os::open_at(os::directory(), file.c_str(), access | os::append, own);
    if (h) {
      if (append_locked(h, content, options, until, moved, still_named, sync_name, own))
        return unlock_and_sync(h, options, s);
    } else if (own.missing()) {
      if (append_to_new(file, content, options, until, moved, still_named, own = {})) return true;
    } else {
      os::info there;  // a FIFO without a reader answers "no such device"
      status ignored;
      if (os::get_info_path(file, there, ignored) && there.type != os::kind::regular) {
        own.code = os::wrong_kind(there.type);
      }
    }
    moved = moved || (os::stale(own.code) && ++stale < 100);
    if (!moved) return s.fail(own);
  }
}

}  // namespace detail

MEMORIA_FS_INLINE void locked_append_text(const path& file, std::string_view content, const append_options& options,
                                          std::error_code& ec) {
  detail::report_to(ec, detail::append_file, file, content, options);
}

#if MEMORIA_FS_EXCEPTIONS
MEMORIA_FS_INLINE void locked_append_text(const path& file, std::string_view content, const append_options& options) {
  detail::or_throw("locked_append_text", file, detail::append_file, file, content, options);
}
#endif

// ---- [wikilink] definitions -----------------------------------------------------------------------------------------

namespace detail {

// The first `c` in text[from, to), else `to`.
inline std::size_t find_byte(std::string_view text, char c, std::size_t from, std::size_t to) noexcept {
  if (from >= to) return to;
  const void* found = std::memchr(text.data() + from, c, to - from);
  return found == nullptr ? to : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

// The verdicts on as many bytes as a mask holds; a verdict takes the address of `lanes::width` of them.
constexpr std::size_t window = 64 / lanes::bits;

template <class Verdict>
std::uint64_t marks_of(const char* p, Verdict verdict) noexcept {
  if constexpr (window == lanes::width) {
    return verdict(p).verdict();
  } else {
    const lanes a = verdict(p), b = verdict(p + 16), c = verdict(p + 32), d = verdict(p + 48);
    if (((a | b) | (c | d)).verdict() == 0) return 0;  // most often so, and cheaper to ask for
    return (a.verdict() | b.verdict() << 16) | (c.verdict() << 32 | d.verdict() << 48);
  }
}

// From text[at] on; where the text ends before, on a copy filled up with zeros, which nothing looks for.
template <class Verdict>
std::uint64_t marks_at(std::string_view text, std::size_t at, Verdict verdict) noexcept {
  const std::size_t left = text.size() - at;
  if (left >= window) return marks_of(text.data() + at, verdict);
  char rest[window];
  std::memset(rest, 0, window);
  std::memcpy(rest, text.data() + at, left);
  return marks_of(rest, verdict);
}

// The first byte at or after `at` that the verdict holds for, else the end.
template <class Verdict>
std::size_t find_where(std::string_view text, std::size_t at, Verdict verdict) noexcept {
  for (; at < text.size(); at += window) {
    const std::uint64_t marks = marks_at(text, at, verdict);
    if (marks != 0) return at + first_lane(marks);
  }
  return text.size();
}

inline std::size_t sum_of(lanes counts) noexcept {
  constexpr std::uint64_t pairs = 0x00FF00FF00FF00FF;
  char bytes[lanes::width];
  counts.store(bytes);
  std::size_t sum = 0;
  for (std::size_t i = 0; i < lanes::width; i += 8) {
    const std::uint64_t eight = load_first_lowest(bytes + i);
    sum += static_cast<std::size_t>(((eight & pairs) + (eight >> 8 & pairs)) * 0x0001000100010001 >> 48);
  }
  return sum;
}

// Lines counted up to `at`.
struct line_count {
  std::size_t at = 0, line = 1, line_begin = 0;

  void go_on(std::string_view text, std::size_t to) noexcept {
    const auto newline = [](const char* p) { return lanes::load(p).is('\n'); };
    const std::size_t line_before = line;
    while (to - at >= window) {
      const std::size_t windows = (to - at) / window, end = at + (windows < 60 ? windows : 60) * window;
      lanes sums = {};
      for (; at < end; at += lanes::width) sums = sums.add_verdict(newline(text.data() + at));
      line += sum_of(sums);
    }
    std::uint64_t last = marks_at(text, at, newline) & ~(~std::uint64_t{0} << ((to - at) * lanes::bits));
    line += count_bits(last);
    for (; last == 0 && line != line_before; last = marks_at(text, at, newline)) at -= window;
    if (last != 0) line_begin = at + (63 - leading_zeros(last)) / lanes::bits + 1;
    at = to;
  }
};

inline bool has_at(std::string_view text, std::size_t at, char c) noexcept { return at < text.size() && text[at] == c; }

inline std::size_t run_end(std::string_view text, std::size_t at) noexcept {  // past all bytes equal to the one at `at`
  const char c = text[at];
  while (has_at(text, at, c)) ++at;
  return at;
}

inline bool is_blank(char c) noexcept { return c == ' ' || c == '\t' || c == '\r'; }

inline std::size_t skip_blanks(std::string_view text, std::size_t at) noexcept {
  while (at < text.size() && is_blank(text[at])) ++at;
  return at;
}

inline bool rest_is_blank(std::string_view text, std::size_t at) noexcept {
  at = skip_blanks(text, at);
  return at == text.size() || text[at] == '\n';
}

// ---- white space as Python's str.strip knows it: what str.isspace says, which is more than Unicode White_Space

inline bool is_python_space(char32_t c) noexcept {
  return c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

inline std::string_view strip(std::string_view s) noexcept {
  const auto visible = [](char c) { return c > 0x20 && c < 0x7F; };
  if (!s.empty() && visible(s.front()) && visible(s.back())) return s;
  while (!s.empty()) {
    const decoded first = decode_utf8(s, 0);
    if (first.length == 0 || !is_python_space(first.code)) break;
    s.remove_prefix(first.length);
  }
  while (!s.empty()) {
    std::size_t n = 1;
    while (n < 3 && n < s.size() && (static_cast<unsigned char>(s[s.size() - n]) & 0xC0u) == 0x80) ++n;
    const decoded last = decode_utf8(s, s.size() - n);
    if (last.length != n || !is_python_space(last.code)) break;
    s.remove_suffix(n);
  }
  return s;
}

// ---- the seed's reading

// The next "[[", else the end. After a stretch without, single brackets are looked for, which the C library finds
// several times faster.
inline std::size_t find_brackets(std::string_view text, std::size_t at) noexcept {
  const auto pair = [](const char* p) { return lanes::load(p).is('[') & lanes::load(p + 1).is('['); };
  const char* const p = text.data();
  if (text.size() - at > lanes::width) {  // dense links: the next one is here
    const lanes::mask nearby = pair(p + at).verdict();
    if (nearby != 0) return at + first_lane(nearby);
    at += lanes::width;
  }
  for (std::size_t n = 1; text.size() - at > window; ++n) {
    const std::uint64_t pairs = marks_of(p + at, pair);
    if (pairs != 0) return at + first_lane(pairs);
    at += window;
    if (n % (1024 / window) == 0) at = find_byte(text, '[', at, text.size());
  }
  for (; at + 1 < text.size(); ++at) {
    if (p[at] == '[' && p[at + 1] == '[') return at;
  }
  return text.size();
}

struct bracketed {
  std::size_t open;   // of "[["
  std::size_t pipe;   // where the target ends: the first pipe, else the same as close
  std::size_t close;  // of "]]"
};

// From text[from] to the first "]": sets pipe and close, both to the end if there is none.
inline void find_close(std::string_view text, std::size_t from, bracketed& found) noexcept {
  found.pipe = text.size();
  std::size_t at = from;
  for (; text.size() - at >= lanes::width; at += lanes::width) {
    const lanes block = lanes::load(text.data() + at);
    const lanes::mask closing = block.equal(']'), pipes = block.equal('|');
    if (pipes != 0 && found.pipe == text.size()) found.pipe = at + first_lane(pipes);
    if (closing == 0) continue;
    found.close = at + first_lane(closing);
    if (found.pipe > found.close) found.pipe = found.close;
    return;
  }
  found.close = find_byte(text, ']', at, text.size());
  found.pipe = find_byte(text, '|', from, found.close);
}

// The next match of \[\[([^\]|]+)(?:\|[^\]]*)?\]\] at or after `at`, which moves past it. Linear: all "[[" before one
// "]" share that "]", and if no second one follows it, none of them begins a match.
inline bool next_match(wikilink_scan& s, bracketed& found) noexcept {
  const std::string_view text = s.text;
  for (;;) {
    if (s.at + 1024 < text.size()) prefetch(text.data() + s.at + 1024);
    found.open = find_brackets(text, s.at);
    const std::size_t begin = found.open + 2;
    if (begin >= text.size()) break;
    if (s.close < begin) {
      find_close(text, begin, found);
    } else {
      found.close = s.close;
      found.pipe = find_byte(text, '|', begin, text[begin] == '|' ? begin + 1 : s.close);
    }
    if (found.close == text.size()) break;
    if (!has_at(text, found.close + 1, ']') || found.close == begin) {
      s.at = found.close + 1;
    } else if (found.pipe == begin) {  // an empty target; another may begin before this "]"
      s.close = found.close;
      s.at = found.open + 1;
    } else {
      s.at = found.close + 2;
      return true;
    }
  }
  s.at = text.size();
  return false;
}

// ---- the reader's

inline std::size_t line_end(std::string_view text, std::size_t at) noexcept {
  return find_byte(text, '\n', at, text.size());
}

inline bool is_escaped(std::string_view text, std::size_t at) noexcept {
  std::size_t first = at;
  while (first > 0 && text[first - 1] == '\\') --first;
  return (at - first) % 2 == 1;
}

// Where the closing line of the frontmatter ends; 0 if there is none.
inline std::size_t find_frontmatter_end(std::string_view text) noexcept {
  std::size_t at = text.substr(0, 3) == "\xEF\xBB\xBF" ? 3 : 0;
  if (text.compare(at, 3, "---") != 0 || !rest_is_blank(text, at + 3)) at = text.size();
  for (at = line_end(text, at); at < text.size(); at = line_end(text, at)) {
    const std::string_view mark = text.substr(++at, 3);
    if ((mark == "---" || mark == "...") && rest_is_blank(text, at + 3)) return line_end(text, at);
  }
  return 0;
}

// "-", "+", "*" or up to nine digits and "." or ")", then a blank or the end of the line (CM 5.2).
inline std::size_t list_marker_length(std::string_view text, std::size_t at) noexcept {
  std::size_t end = at;
  if (text[at] == '-' || text[at] == '+' || text[at] == '*') {
    ++end;
  } else {
    while (end < text.size() && end - at < 9 && text[end] >= '0' && text[end] <= '9') ++end;
    if (end == at || end == text.size() || (text[end] != '.' && text[end] != ')')) return 0;
    ++end;
  }
  return end == text.size() || text[end] == '\n' || is_blank(text[end]) ? end - at : 0;
}

inline bool is_fence(std::string_view text, std::size_t at) noexcept {
  if (text[at] != '`' && text[at] != '~') return false;
  const std::size_t end = run_end(text, at);
  if (end - at < 3) return false;
  const std::size_t eol = line_end(text, end);
  return text[at] == '~' || find_byte(text, '`', end, eol) == eol;
}

inline bool is_heading(std::string_view text, std::size_t at) noexcept {
  if (text[at] != '#') return false;
  const std::size_t end = run_end(text, at);
  return end - at <= 6 && (end == text.size() || text[end] == '\n' || is_blank(text[end]));
}

// Whether the line at `at` cannot belong to the paragraph of a line before it that is `quotes` deep in block quotes.
inline bool ends_paragraph(std::string_view text, std::size_t at, unsigned quotes) noexcept {
  unsigned own_quotes = 0;
  for (at = skip_blanks(text, at); has_at(text, at, '>'); at = skip_blanks(text, at + 1)) ++own_quotes;
  if (at == text.size() || text[at] == '\n' || own_quotes > quotes) return true;
  const char c = text[at];
  if (c == '|' || is_heading(text, at) || is_fence(text, at) || list_marker_length(text, at) != 0) return true;
  return (c == '-' || c == '=' || c == '*' || c == '_') && rest_is_blank(text, run_end(text, at));  // underline, rule
}

inline std::size_t paragraph_end(wikilink_scan& s, std::size_t at) noexcept {
  if (at < s.paragraph_end) return s.paragraph_end;
  s.unclosed_code = 0;
  s.unclosed_math = false;
  do {
    at = line_end(s.text, at);
    if (at < s.text.size()) ++at;
  } while (at < s.text.size() && !s.single_line && !ends_paragraph(s.text, at, s.quotes));
  return s.paragraph_end = at;
}

// What stands before the content of a line: where its containers (CM 5: quotes and list items) leave off.
struct line_prefix {
  std::size_t at;       // the first byte that is not blank
  unsigned column = 0;  // its column; a tab leads to the next multiple of four
  unsigned base = 0;    // the column at which the innermost container's content begins
  unsigned quotes = 0;
  unsigned items = 0;   // open list items that the line is indented enough to belong to
};

inline void skip_indent(std::string_view text, line_prefix& p) noexcept {
  for (; p.at < text.size() && is_blank(text[p.at]); ++p.at) p.column += text[p.at] == '\t' ? 4 - p.column % 4 : 1;
}

inline void enter_containers(const wikilink_scan& s, line_prefix& p) noexcept {
  for (;;) {
    skip_indent(s.text, p);
    while (p.items < s.depth && p.quotes == s.item_quotes[p.items] && p.column >= s.columns[p.items]) {
      p.base = s.columns[p.items++];
    }
    const bool quote =
        has_at(s.text, p.at, '>') && p.column < p.base + 4 && (s.fence == 0 || p.quotes < s.fence_quotes);
    if (!quote) return;
    ++p.quotes;
    ++p.at;
    p.base = ++p.column;
    if (has_at(s.text, p.at, ' ') || has_at(s.text, p.at, '\t')) ++p.base;
  }
}

// A line inside fenced code: true if it belongs to the code (or closes it).
inline bool continue_fence(wikilink_scan& s, const line_prefix& p, bool blank) noexcept {
  if (blank && p.quotes == s.fence_quotes) return true;
  if (p.quotes < s.fence_quotes || (p.column < s.fence_base && s.fence_quotes == 0)) {
    s.fence = 0;  // its container has ended
    return false;
  }
  if (p.column < s.fence_base + 4 && s.text[p.at] == s.fence) {
    const std::size_t end = run_end(s.text, p.at);
    if (end - p.at >= s.fence_length && rest_is_blank(s.text, end)) s.fence = 0;
  }
  return true;
}

// List items that begin on this line, each of which may hold the next: "- 1. > - text". At any indent, unless it goes
// on with indented code: outliners indent the first item under a heading.
inline void enter_items(wikilink_scan& s, line_prefix& p) noexcept {
  while (p.at < s.text.size() && (p.column < p.base + 4 || !s.indented_code)) {
    const std::size_t length = list_marker_length(s.text, p.at);
    if (length == 0) return;
    const std::size_t marker = p.at;
    p.at += length;
    const unsigned after = p.column + static_cast<unsigned>(length);
    p.column = after;
    skip_indent(s.text, p);
    const bool text_follows = p.at < s.text.size() && s.text[p.at] != '\n';
    if (!text_follows && s.in_paragraph && p.items == s.depth) {  // an empty item does not interrupt a paragraph
      p.at = marker;
      return;
    }
    const unsigned content = text_follows && p.column <= after + 4 ? p.column : after + 1;
    s.depth = p.items < wikilink_scan::max_depth ? p.items + 1 : p.items;
    s.columns[s.depth - 1] = content;
    s.item_quotes[s.depth - 1] = p.quotes;
    p.items = s.depth;
    p.base = content;
    s.in_paragraph = false;
    s.empty_item = !text_follows;
    enter_containers(s, p);
  }
}

// At the beginning of a line: skips it if it is code or blank, else moves to its content.
inline void begin_line(wikilink_scan& s) noexcept {
  const std::string_view text = s.text;
  const unsigned empty_items = detail::exchange(s.empty_item, false) ? 1 : 0;  // a blank line ends it (CM 5.2)
  if (text[s.at] == '\n' && s.quotes == 0) {
    s.depth -= empty_items;
    s.in_paragraph = false;
    ++s.at;
    return;
  }
  s.single_line = s.at < s.frontmatter_end;
  s.line_start = false;
  const auto first = static_cast<unsigned char>(text[s.at]);
  const bool plain = first >= 0x80 || (first >= 'A' && first <= 'Z') || (first >= 'a' && first <= 'z');
  if ((plain && s.fence == 0) || s.single_line) {  // nothing but a paragraph begins with a letter
    if (!s.in_paragraph) s.depth = s.quotes = 0;  // else a lazy continuation line
    s.in_paragraph = !s.single_line;
    return;
  }
  line_prefix p{s.at};
  enter_containers(s, p);
  bool blank = p.at == text.size() || text[p.at] == '\n';
  bool code = s.fence != 0 && continue_fence(s, p, blank);
  if (!code && !blank) {
    enter_items(s, p);
    blank = p.at == text.size() || text[p.at] == '\n';
    const bool indented = p.column >= p.base + 4;
    const bool fence = !blank && !indented && is_fence(text, p.at);
    const bool heading = !blank && !indented && is_heading(text, p.at);
    if (!s.in_paragraph || fence || heading) s.depth = p.items;  // else a lazy continuation line, whatever its indent
    if (fence) {
      s.fence = text[p.at];
      s.fence_length = run_end(text, p.at) - p.at;
      s.fence_base = p.base;
      s.fence_quotes = p.quotes;
    }
    s.indented_code = indented && !s.in_paragraph && !blank;
    code = fence || s.indented_code;
    s.single_line = heading || (!blank && text[p.at] == '|');
    s.in_paragraph = !blank && !code && !heading;
  } else {
    if (blank && p.items < s.depth) s.depth = p.quotes == s.item_quotes[p.items] ? s.depth - empty_items : p.items;
    s.in_paragraph = false;
  }
  s.quotes = p.quotes;
  s.block_start = s.at = p.at;
  if (code || blank) {
    if (!blank) s.at = line_end(text, p.at);
    if (s.at < text.size()) ++s.at;
    s.line_start = true;
  }
}

inline std::size_t find_backtick_or_newline(std::string_view text, std::size_t at) noexcept {
  return find_where(text, at, [](const char* p) { return lanes::load(p).is('`') | lanes::load(p).is('\n'); });
}

inline std::size_t after_code_span(wikilink_scan& s, std::size_t at) noexcept {
  const std::size_t opened = run_end(s.text, at), length = opened - at;
  if (length >= 64 || (at < s.paragraph_end && (s.unclosed_code >> length & 1) != 0)) return opened;
  std::size_t end = s.text.size();  // where the paragraph ends is looked up only by a span that leaves its line
  for (std::size_t i = find_backtick_or_newline(s.text, opened); i < end; i = find_backtick_or_newline(s.text, i)) {
    const std::size_t run = i;
    if (s.text[run] == '\n') {
      end = paragraph_end(s, at);
      ++i;
      continue;
    }
    i = run_end(s.text, run);
    if (i - run == length) return i;
  }
  paragraph_end(s, at);
  s.unclosed_code |= std::uint64_t{1} << length;
  return opened;
}

// Past the next `mark` at or after `from`, or `otherwise` if there is none, which is remembered.
inline std::size_t after_mark(std::string_view text, std::string_view mark, std::size_t from, bool& none,
                              std::size_t otherwise) noexcept {
  const std::size_t found = none ? std::string_view::npos : text.find(mark, from);
  none = found == std::string_view::npos;
  return none ? otherwise : found + mark.size();
}

inline std::size_t after_math(wikilink_scan& s, std::size_t at) noexcept {
  const std::string_view text = s.text;
  if (has_at(text, at + 1, '$')) return after_mark(text, "$$", at + 2, s.no_block_math, at + 2);
  const std::size_t end = paragraph_end(s, at);
  const auto space = [&](std::size_t i) { return text[i] == '\n' || is_blank(text[i]); };
  if (s.unclosed_math || at + 1 >= end || space(at + 1)) return at + 1;
  for (std::size_t i = find_byte(text, '$', at + 1, end); i < end; i = find_byte(text, '$', i + 1, end)) {
    const bool digit = i + 1 < text.size() && text[i + 1] >= '0' && text[i + 1] <= '9';
    if (!space(i - 1) && !digit && !is_escaped(text, i)) return i + 1;
  }
  s.unclosed_math = true;
  return at + 1;
}

inline std::size_t after_comment(wikilink_scan& s, std::size_t at) noexcept {
  if (s.text[at] == '%') return after_mark(s.text, "%%", at + 2, s.no_percent, at + 2);
  const std::size_t unclosed = at == s.block_start ? s.text.size() : at + 4;
  return after_mark(s.text, "-->", at + 2, s.no_comment_end, unclosed);  // at + 2, because <!--> is a comment (CM 6.6)
}

// The next newline or byte that may begin something, else the end. What was seen of a window is kept, because the next
// question is most often about the same one.
inline std::size_t find_special(wikilink_scan& s, std::size_t at) noexcept {
  for (; at < s.text.size(); at = s.seen_end) {
    if (at >= s.seen_end) {
      if (at + 1024 < s.text.size()) prefetch(s.text.data() + at + 1024);
      s.seen = marks_at(s.text, at, [](const char* p) {
        const lanes b = lanes::load(p);
        return ((b.is('\n') | b.is('`')) | (b.is('$') | b.is('%'))) | (b.is('<') | b.is('['));
      });
      s.seen_end = at + window;
    }
    const std::uint64_t ahead = s.seen >> ((at + window - s.seen_end) * lanes::bits);
    if (ahead != 0) return at + first_lane(ahead);
  }
  return s.text.size();
}

// At "[[", the innermost of its run. Every try ends at the next "[[", so that no byte is looked at by two of them.
inline bool match_link(wikilink_scan& s, bracketed& found) noexcept {
  const std::string_view text = s.text;
  const std::size_t begin = found.open + 2;
  found.pipe = text.size();
  std::size_t paragraph = 0;
  for (std::size_t at = begin; at < text.size(); at += window) {
    std::uint64_t marks = marks_at(text, at, [](const char* p) {
      const lanes b = lanes::load(p);
      return (b.is('[') | b.is(']')) | (b.is('|') | b.is('\n'));
    });
    for (; marks != 0; marks &= marks - 1) {
      const std::size_t i = at + first_lane(marks);
      if (text[i] == ']') {
        if (!has_at(text, i + 1, ']')) return false;
        found.close = i;
        if (found.pipe > i) found.pipe = i;
        return !strip(text.substr(begin, found.pipe - begin)).empty();
      }
      if (text[i] == '[' && has_at(text, i + 1, '[')) return false;
      if (text[i] == '|' && found.pipe == text.size()) found.pipe = i;
      if (text[i] == '\n') {
        if (paragraph == 0) paragraph = paragraph_end(s, found.open);
        if (i + 1 >= paragraph) return false;
      }
    }
  }
  return false;
}

inline bool next_in_text(wikilink_scan& s, bracketed& found) noexcept {
  const std::string_view text = s.text;
  if (find_brackets(text, s.at) == text.size()) s.at = text.size();  // the rest of most notes: cheap to know
  while (s.at < text.size()) {
    if (s.line_start) {
      begin_line(s);
      continue;
    }
    const std::size_t i = find_special(s, s.at);
    s.at = i + 1;
    if (i == text.size()) break;
    if (text[i] == '\n') {
      s.line_start = true;
      continue;
    }
    if (text[i] == '[') {
      if (!has_at(text, i + 1, '[') || is_escaped(text, i)) continue;
      found.open = run_end(text, i) - 2;
      if (match_link(s, found)) {
        s.at = found.close + 2;
        return true;
      }
      s.at = found.open + 2;
      if (s.close < s.at) s.close = find_byte(text, ']', s.at, text.size());
      if (s.close == text.size()) break;  // nothing can end a link any more
      continue;
    }
    const bool starts = text[i] == '`' || text[i] == '$' || (text[i] == '%' && has_at(text, i + 1, '%')) ||
                        text.compare(i, 4, "<!--") == 0;
    if (!starts || i < s.frontmatter_end || is_escaped(text, i)) continue;
    s.at = text[i] == '`' ? after_code_span(s, i) : text[i] == '$' ? after_math(s, i) : after_comment(s, i);
    if (i == s.block_start && rest_is_blank(text, s.at)) s.in_paragraph = false;
  }
  s.at = text.size();
  return false;
}

constexpr std::size_t unknown = std::string_view::npos;  // until a link asks for it

inline wikilink_scan start_scan(std::string_view text, bool include_code) noexcept {
  wikilink_scan s;
  s.text = text;
  s.include_code = include_code;
  s.frontmatter_end = include_code ? unknown : find_frontmatter_end(text);
  return s;
}

inline bool next_link(wikilink_scan& s, wikilink& link) noexcept {
  bracketed found;
  if (!(s.include_code ? next_match(s, found) : next_in_text(s, found))) return false;
  const char* const p = s.text.data();
  link.target = {p + found.open + 2, found.pipe - found.open - 2};
  link.piped = found.pipe < found.close;
  link.display = link.piped ? std::string_view(p + found.pipe + 1, found.close - found.pipe - 1) : std::string_view();
  link.embed = found.open > 0 && p[found.open - 1] == '!' && (s.include_code || !is_escaped(s.text, found.open - 1));
  link.offset = found.open - (link.embed ? 1 : 0);
  link.length = found.close + 2 - link.offset;
  if (s.frontmatter_end == unknown) s.frontmatter_end = find_frontmatter_end(s.text);
  link.frontmatter = found.open < s.frontmatter_end;
  return true;
}

}  // namespace detail

MEMORIA_FS_INLINE std::string_view parse_wikilink(std::string_view raw) {
  return detail::strip(raw.substr(0, raw.find('|')));
}

MEMORIA_FS_INLINE std::vector<std::string> extract_wikilinks(std::string_view content) {
  std::vector<std::string> targets;
  detail::bracketed found;
  for (detail::wikilink_scan s = detail::start_scan(content, true); detail::next_match(s, found);) {
    if (targets.size() == targets.capacity()) {  // room for the rest, if links go on as they have come
      const std::size_t n = targets.size(), expected = n * (content.size() / s.at + 1);
      targets.reserve(n == 0 ? 16 : expected < 8 * n ? expected + 1 : 8 * n);
    }
    targets.emplace_back(content.data() + found.open + 2, found.pipe - found.open - 2);
  }
  return targets;
}

MEMORIA_FS_INLINE std::string_view wikilink::note() const {
  std::string_view name = target.substr(0, target.find('#'));
  if (piped && name.size() == target.size() && !name.empty() && name.back() == '\\') name.remove_suffix(1);
  return detail::strip(name);
}

namespace detail {

struct anchor {
  std::string_view heading, block;
};

inline anchor anchor_of(const wikilink& link) {
  const std::size_t first = link.target.find('#');
  if (first == std::string_view::npos) return {};
  std::string_view rest = link.target.substr(first + 1);
  if (link.piped && !rest.empty() && rest.back() == '\\') rest.remove_suffix(1);
  const std::size_t last = rest.rfind('#');
  const std::string_view tail = strip(last == std::string_view::npos ? rest : rest.substr(last + 1));
  if (tail.empty() || tail.front() != '^') return {strip(rest), {}};
  return {last == std::string_view::npos ? std::string_view() : strip(rest.substr(0, last)), strip(tail.substr(1))};
}

}  // namespace detail

MEMORIA_FS_INLINE std::string_view wikilink::heading() const { return detail::anchor_of(*this).heading; }

MEMORIA_FS_INLINE std::string_view wikilink::block() const { return detail::anchor_of(*this).block; }

MEMORIA_FS_INLINE wikilink_range::iterator& wikilink_range::iterator::operator++() {
  if (!detail::next_link(scan_, link_)) link_ = {};
  return *this;
}

MEMORIA_FS_INLINE wikilink_range::iterator wikilink_range::iterator::operator++(int) {
  iterator before = *this;
  ++*this;
  return before;
}

MEMORIA_FS_INLINE wikilink_range::iterator wikilink_range::begin() const {
  iterator first;
  first.scan_ = detail::start_scan(content_, options_.include_code);
  return ++first;
}

MEMORIA_FS_INLINE wikilink_range wikilinks(std::string_view content, const wikilink_options& options) {
  return {content, options};
}

MEMORIA_FS_INLINE text_position position_of(std::string_view content, std::size_t offset) {
  const std::size_t end = offset < content.size() ? offset : content.size();
  detail::line_count lines;
  lines.go_on(content, end);
  text_position position;
  position.line = lines.line;
  position.column = end - lines.line_begin + 1;
  return position;
}

// ---- [confine] definitions ------------------------------------------------------------------------------------------

namespace detail {

// ---- paths as text, and safe_article_path

// No component is empty, and none begins with a dot: then lexically() has nothing to do.
inline bool is_plain(const path::string_type& p) {
  for (std::size_t i = 0; i + 1 < p.size(); ++i) {
    if (p[i] == '/' && (p[i + 1] == '/' || p[i + 1] == '.')) return false;
  }
  return true;
}

// The component at `at`, which moves behind it and one separator; empty between two separators.
inline os::view next_component(const path::string_type& p, std::size_t& at) {
  const std::size_t begin = at;
  while (at < p.size() && !os::is_separator(p[at])) ++at;
  return os::view(p).substr(begin, at++ - begin);
}

// `p`, absolute, without empty components, "." and "..": the right answer only where no component is a link.
inline path::string_type lexically(const path::string_type& p) {
  path::string_type out;
  for (std::size_t at = 0; at < p.size();) {
    const os::view component = next_component(p, at);
    if (component.empty() || is_dot(component)) continue;
    if (is_dot_dot(component)) {
      out.resize(out.empty() ? 0 : out.rfind('/'));
    } else {
      out.append(1, '/').append(component);
    }
  }
  return out.empty() ? path::string_type(1, '/') : out;
}

inline bool is_inside(const path::string_type& base, const path::string_type& p) {
  if (p.compare(0, base.size(), base) != 0) return false;
  return p.size() == base.size() || os::is_separator(base.back()) || os::is_separator(p[base.size()]);
}

inline bool has_safe_components(const path::string_type& name) {
  for (std::size_t at = 0; at <= name.size();) {
    if (!os::safe_component(next_component(name, at))) return false;
  }
  return true;
}

// UTF-8 to the system's units, without the cost of a path.
inline bool append_native(path::string_type& out, std::string_view text) {
  if constexpr (sizeof(path::value_type) == 1) {
    out.append(text.begin(), text.end());
    return true;
  } else {
    const std::optional<path> p = from_utf8(text);
    if (p) out += p->native();
    return p.has_value();
  }
}

inline std::optional<path> article_path(std::string_view link, const path& directory) {
  const std::string_view slug = parse_wikilink(link);
  if (slug.empty() || slug.find('\0') != std::string_view::npos) return std::nullopt;
  path::string_type article;
  if (!append_native(article, slug)) return std::nullopt;
  article.append({'.', 'm', 'd'});
  if (os::is_separator(article.front()) || !has_safe_components(article)) return std::nullopt;
  if (directory.native().find(path::value_type{}) != path::string_type::npos) return std::nullopt;
  std::error_code ec;
  path::string_type base;
  if (directory.is_absolute()) {
    base = directory.native();
  } else {
    base = std::filesystem::absolute(directory.empty() ? path(".") : directory, ec).native();
    if (ec) return std::nullopt;
  }
  path::string_type found = base + path::value_type('/') + article;
  // The common case, decided by one system call: the article is there, and no link is on the way to it.
  if (os::free_of_links(found)) {
    if (is_plain(found)) return path(std::move(found));
    found = lexically(found);
    return is_inside(lexically(base), found) ? std::optional<path>(std::move(found)) : std::nullopt;
  }
  path::string_type resolved;
  if (os::free_of_links(base)) {
    resolved = lexically(base);
  } else if (!os::resolve(resolved, base)) {
    return std::nullopt;
  }
  found = resolved;
  if (!os::resolve(found, article) || !is_inside(resolved, found)) return std::nullopt;
  return path(std::move(found));
}

// ---- the walk

struct confined_root {
  os::directory top;
};

// Where a name leads: something in a directory inside that is held open.
struct place {
  const os::directory& dir() const noexcept { return below.h ? below : *top; }

  const os::directory* top = nullptr;
  os::directory below;     // open if it is not the top itself
  path::string_type name;  // a single component; empty: the directory itself
  os::info existing;       // kind::none: nothing yet
};

struct walk_options {
  bool follow_last = true;       // a link at the end of the name
  made_directories* made = nullptr;  // create missing parents, and note them here
  bool durable = false;          // sync what was created
};

// Finds where a name leads without letting the system take any step that could leave: one component at a time, never
// through a link; the text of a link is put before what remains of the name, and ".." goes back to a handle we hold.
class confined_walk {
 public:
  confined_walk(const confined_root& root, path::string_type name, const walk_options& options)
      : top_(root.top), rest_(std::move(name)), typed_(rest_.size()), options_(options) {}
  ~confined_walk() {
    while (entered_) go_back();  // one by one: there may be more than a recursion could
  }

  bool run(place& out, status& s) {
    for (;;) {
      skip_to_component();
      if (at_ == rest_.size()) {
        give(out, {});
        return os::get_info(out.dir().h, out.existing, s);
      }
      std::size_t end = at_;
      while (end < rest_.size() && !os::is_separator(rest_[end])) ++end;
      const path::string_type component = rest_.substr(at_, end - at_);
      const bool typed = rest_.size() - at_ <= typed_;
      at_ = end;
      const bool ends_here = end == rest_.size();
      skip_to_component();
      if (!os::safe_component(component)) return leave("\"" + to_utf8(component) + "\"", s);
      if (is_dot_dot(component)) {
        if (!entered_) return leave("\"..\" above the top", s);
        go_back();
      } else if (ends_here) {
        bool again = false;
        if (!finish(component, out, again, s)) return false;
        if (!again) return true;
      } else if (!descend(component, typed && at_ < rest_.size(), s)) {
        return false;
      }
    }
  }

 private:
  struct level {
    os::directory dir;
    owner<level> outer;
  };

  const os::directory& here() const { return entered_ ? entered_->dir : top_; }
  void go_back() noexcept { entered_ = entered_->outer.release(); }
  void give(place& out, const path::string_type& name) {
    out.top = &top_;
    out.below = entered_ ? std::move(entered_->dir) : os::directory();
    out.name = name;
  }

  // Past separators and "."; a name that ends in one means a directory, which descend() then asks for.
  void skip_to_component() {
    while (at_ < rest_.size()) {
      const bool dot = rest_[at_] == '.' && (at_ + 1 == rest_.size() || os::is_separator(rest_[at_ + 1]));
      if (!dot && !os::is_separator(rest_[at_])) return;
      ++at_;
    }
  }

  static bool leave(std::string_view note, status& s) { return s.fail("", errc::unsafe_path, note); }

  // The last component: looked at, followed only if it is a link.
  bool finish(const path::string_type& component, place& out, bool& again, status& s) {
    out.existing = {};
    status own;
    if (!os::get_info_at(here(), component.c_str(), false, out.existing, own) && !own.missing()) return s.fail(own);
    again = out.existing.type == os::kind::symlink && options_.follow_last;
    if (!again) return give(out, component), true;
    if (!os::walks_links) return leave("\"" + to_utf8(component) + "\" is a link", s);
    if (!follow(component, {}, s)) return false;
    typed_ = rest_.size();  // as in writing through a link elsewhere: missing parents of the place it leads to are made
    return true;
  }

  bool descend(const path::string_type& component, bool may_create, status& s) {
    status own;
    os::directory next = os::enter(here(), component.c_str(), own);
    if (next.h) {
      owner<level> inner(new level{std::move(next), nullptr});
      inner->outer = entered_.release();
      entered_ = std::move(inner);
      return true;
    }
    const path::string_type remaining = path::value_type('/') + rest_.substr(at_);
    const bool is_link = own.code == std::errc::too_many_symbolic_link_levels || own.code == std::errc::too_many_links;
    if (is_link && !os::walks_links) return leave("\"" + to_utf8(component) + "\" is a link", s);
    const bool may_be_link = is_link || own.code == std::errc::not_a_directory;  // systems differ
    if (may_be_link && os::walks_links) return follow(component, remaining, s);
    const bool create = may_create && options_.made != nullptr && own.missing();
    if (!create) return s.fail(own);
    own = {};
    os::directory same = os::syncable(here(), own);
    if (same.h && os::make_directory_at(here(), component.c_str(), own)) {
      const bool synced = !options_.durable || os::sync_directory(same, s);
      options_.made->add(std::move(same), component);
      if (!synced) return false;
    } else if (own.code != std::errc::file_exists || ++links_ > symlink_limit) {  // others may be quicker, not for ever
      return s.fail(own);
    }
    return continue_with(component + remaining);
  }

  // Puts the text of a link in the place of its name. `remaining` begins with a separator if the link must lead to a
  // directory, so that "link/" is never taken for the link itself.
  bool follow(const path::string_type& component, const path::string_type& remaining, status& s) {
    if (++links_ > symlink_limit) return s.fail("", std::errc::too_many_symbolic_link_levels);
    path target;
    status own;
    if (!os::read_link_at(here(), component.c_str(), target, own)) {
      if (own.code != std::errc::invalid_argument) return s.fail(own);
      os::info now;  // no link: never was, or no longer is
      if (!os::get_info_at(here(), component.c_str(), false, now, s)) return false;
      const bool changed = now.type == os::kind::directory || now.type == os::kind::symlink || remaining.empty();
      return changed ? continue_with(component + remaining)
                     : s.fail("open", std::errc::not_a_directory);
    }
    if (target.is_absolute()) {
      return leave("\"" + to_utf8(component) + "\" leads to \"" + to_utf8(target) + "\"", s);
    }
    if (typed_ > remaining.size()) typed_ = remaining.size();
    return continue_with(target.native() + remaining);
  }

  bool continue_with(path::string_type rest) {
    rest_ = std::move(rest);
    at_ = 0;
    return true;
  }

  const os::directory& top_;
  owner<level> entered_;  // the innermost
  path::string_type rest_;
  std::size_t at_ = 0;
  std::size_t typed_;  // so much of the end of rest_ was written by the caller and not brought in by a link
  int links_ = 0;
  walk_options options_;
};

// ---- the operations

// The system's form of a name; what no system call should ever see is refused here.
inline bool confined_name(const confined_root* root, std::string_view name, path::string_type& out, status& s) {
  constexpr std::size_t longest = 4095;  // Linux's PATH_MAX, here on every system
  const auto unsafe = [&](const char* why) { return s.fail("", errc::unsafe_path, why); };
  if (root == nullptr) return s.fail("", std::errc::bad_file_descriptor, "not open");
  if (name.size() > longest) return s.fail("", std::errc::filename_too_long);
  if (name.find('\0') != std::string_view::npos) return unsafe("a NUL");
  if (!append_native(out, name)) return unsafe("not UTF-8");
  if (out.empty()) out = path::string_type(1, '.');
  return !os::is_separator(out.front()) || unsafe("an absolute name");
}

// One call of the system's, if it has one: what it refuses stays refused; only the reason is looked for by a walk.
inline bool open_in_one_step(const confined_root& root, const path::string_type& name, os::opening what,
                             os::handle& out, status& s) {
  if (!os::open_beneath(root.top, name.c_str(), what, out, s)) return false;
  if (s.code == errc::unsafe_path) {
    place ignored;
    status why;
    confined_walk(root, name, {}).run(ignored, why);
    if (why.code == errc::unsafe_path) s.explain(why.note);
  }
  return true;
}

inline bool read_once(const confined_root& root, const path::string_type& name, std::string& out, status& s) {
  os::handle h;
  if (open_in_one_step(root, name, os::opening::file, h, s)) return h && read_regular(h, out, s);
  for (int attempt = 0; attempt <= symlink_limit; ++attempt) {
    place p;
    if (!confined_walk(root, name, {}).run(p, s)) return false;
    if (p.name.empty()) return s.fail("", os::wrong_kind(os::kind::directory));
    status own;
    h = os::open_at(p.dir(), p.name.c_str(), os::read_only | os::no_follow, own);
    if (h) return read_regular(h, out, s);
    if (own.code != std::errc::too_many_symbolic_link_levels) return s.fail(own);
  }
  return s.fail("open", errc::changed_meanwhile);  // a link each time, just after it was none
}

inline std::string read_beneath(const confined_root* root, std::string_view name, status& s) {
  path::string_type native;
  std::string content;
  if (!confined_name(root, name, native, s)) return content;
  for (patience waiting(read_patience);;) {
    status own;
    if (read_once(*root, native, content, own) || !waiting.again(own, s)) return content;
  }
}

inline bool exists_beneath(const confined_root* root, std::string_view name, status& s) {
  path::string_type native;
  if (!confined_name(root, name, native, s)) return false;
  status own;
  os::handle h;
  place p;
  bool found = false;
  if (open_in_one_step(*root, native, os::opening::nothing, h, own)) {
    found = static_cast<bool>(h);
  } else if (confined_walk(*root, native, {}).run(p, own)) {
    found = p.existing.type != os::kind::none;
  }
  const bool nothing = own.missing() || own.code == std::errc::not_a_directory;
  if (own.failed() && !nothing) s.fail(own);
  return found;
}

// The directory and the name in it that an operation works on. The system opens the directory in one step; what it has
// no step for (a link at the end, parents to be made) is walked.
inline bool find_beneath(const confined_root& root, const path::string_type& name, const walk_options& options,
                         place& out, status& s) {
  std::size_t leaf = name.size();
  while (leaf > 0 && !os::is_separator(name[leaf - 1])) --leaf;
  const path::string_type parent = name.substr(0, leaf);
  out = {&root.top, {}, name.substr(leaf), {}};
  const path::string_type dot(1, '.');
  const bool simple = !out.name.empty() && !is_dot(out.name) && !is_dot_dot(out.name);
  status own;
  os::handle h;
  const bool stepped = simple && open_in_one_step(root, parent.empty() ? dot : parent, os::opening::directory, h, own);
  const bool missing_parent = own.missing() && options.made != nullptr;
  if (stepped && own.failed() && !missing_parent) return s.fail(own);
  if (stepped && h) {
    out.below = {std::move(h), root.top.full / parent};
    status absent;
    if (!os::get_info_at(out.dir(), out.name.c_str(), false, out.existing, absent)) {
      return absent.missing() || s.fail(absent);
    }
    if (out.existing.type != os::kind::symlink || !options.follow_last) return true;
  }
  if (!confined_walk(root, name, options).run(out, s)) return false;
  if (out.name.empty()) return s.fail("", os::wrong_kind(os::kind::directory));
  os::directory same = os::syncable(out.dir(), s);
  if (!same.h) return false;
  out.below = std::move(same);
  return true;
}

inline bool write_beneath(const confined_root* root, std::string_view name, std::string_view content,
                          const write_options& options, status& s) {
  path::string_type native;
  if (!confined_name(root, name, native, s)) return false;
  made_directories made;
  walk_options how;
  how.follow_last = options.symlinks == symlink_policy::follow;
  how.made = options.create_parents ? &made : nullptr;
  how.durable = options.durable == durability::full;
  place p;
  if (!find_beneath(*root, native, how, p, s)) return false;
  const bool is_link = p.existing.type == os::kind::symlink;
  if (is_link && options.symlinks == symlink_policy::refuse) return s.fail("", errc::is_symlink);
  replacement r(options);
  r.t.dir = &p.dir();
  r.t.name = std::move(p.name);
  r.t.existing = p.existing;
  const bool done = replace(r, content, s);
  if (done || s.code == errc::not_durable) made.keep();
  return done;
}

inline bool append_beneath(const confined_root* root, std::string_view name, std::string_view content,
                           const append_options& options, status& s) {
  path::string_type native;
  if (!confined_name(root, name, native, s)) return false;
  const deadline until = deadline_in(options.timeout);
  for (int changes = 0;;) {  // of the log into a link, or by another host
    made_directories made;
    place p;
    const walk_options how = {true, options.create_parents ? &made : nullptr, options.durable == durability::full};
    if (!find_beneath(*root, native, how, p, s)) return false;
    const bool is_log = p.existing.type == os::kind::none || p.existing.type == os::kind::regular;
    if (!is_log) return s.fail("", os::wrong_kind(p.existing.type));
    bool moved = false;
    status own;
    const auto still_named = [&](const os::info& opened, status& failure) {
      status gone;
      place now;
      if (find_beneath(*root, native, {}, now, gone)) return now.existing.same_file(opened);
      return !gone.missing() && failure.fail(gone);
    };
    const bool done = append_once(p.dir(), p.name.c_str(), content, options, until, moved, still_named, own);
    if (done || own.code == errc::not_durable) made.keep();
    if (done) return true;
    const bool changed = own.code == std::errc::too_many_symbolic_link_levels || os::stale(own.code);
    moved = moved || (changed && ++changes <= symlink_limit);
    if (!moved) return s.fail(own);
  }
}

inline bool remove_beneath(const confined_root* root, std::string_view name, status& s) {
  path::string_type native;
  if (!confined_name(root, name, native, s)) return false;
  const bool directory_only = os::is_separator(native.back());  // "x/" is never the link that x may be
  while (os::is_separator(native.back())) native.pop_back();    // ends: a name does not begin with one
  walk_options how;
  how.follow_last = false;
  place p;
  status own;
  bool removed = find_beneath(*root, native, how, p, own) && p.existing.type != os::kind::none;
  if (removed) {
    const bool as_directory = directory_only || p.existing.type == os::kind::directory;
    removed = as_directory ? os::remove_directory_at(p.dir(), p.name.c_str(), own)
                           : os::unlink_at(p.dir(), p.name.c_str(), own);
  }
  if (own.failed() && !own.missing()) s.fail(own);
  status unsynced;
  if (removed && !os::sync_directory(p.dir(), unsynced)) not_durable(s, unsynced);
  return removed;
}

inline std::vector<std::string> list_beneath(const confined_root* root, std::string_view name, status& s) {
  path::string_type native;
  std::vector<std::string> names;
  if (!confined_name(root, name, native, s)) return names;
  os::directory d;
  place p;
  const os::directory* listed = &d;
  if (!open_in_one_step(*root, native, os::opening::directory, d.h, s)) {
    if (confined_walk(*root, native + path::value_type('/'), {}).run(p, s)) listed = &p.dir();
  }
  const auto take = [&](os::name n, os::kind) {
    names.push_back(to_utf8(path(n)));
    return true;
  };
  if (s.failed() || !os::list(*listed, take, s)) return {};
  sort_by_merging(names);
  return names;
}

inline owner<confined_root> open_root(const path& directory, status& s) {
  if (directory.empty()) return s.fail("", std::errc::invalid_argument, "the path is empty"), nullptr;
  if (!os::without_nul(directory, s)) return nullptr;
  os::directory d = os::open_root(directory, s);
  if (!d.h) return nullptr;
  return new confined_root{std::move(d)};
}

}  // namespace detail

MEMORIA_FS_INLINE std::optional<path> safe_article_path(std::string_view link, const path& knowledge_dir) {
  return detail::article_path(link, knowledge_dir);
}

MEMORIA_FS_INLINE path require_article_path(std::string_view link, const path& knowledge_dir, std::error_code& ec) {
  const std::optional<path> found = detail::article_path(link, knowledge_dir);
  ec = found ? std::error_code() : make_error_code(errc::unsafe_path);
  return found ? *found : path();
}

MEMORIA_FS_INLINE confined_dir::confined_dir() noexcept = default;
MEMORIA_FS_INLINE confined_dir::confined_dir(confined_dir&&) noexcept = default;
MEMORIA_FS_INLINE confined_dir& confined_dir::operator=(confined_dir&&) noexcept = default;
MEMORIA_FS_INLINE confined_dir::~confined_dir() = default;

MEMORIA_FS_INLINE confined_dir::confined_dir(const path& directory, std::error_code& ec)
    : root_(detail::report_to(ec, detail::open_root, directory)) {}

MEMORIA_FS_INLINE std::string confined_dir::read_text(std::string_view name, std::error_code& ec) const {
  return detail::report_to(ec, detail::read_beneath, root_.get(), name);
}

MEMORIA_FS_INLINE void confined_dir::atomic_write_text(std::string_view name, std::string_view content,
                                                       const write_options& options, std::error_code& ec) const {
  detail::report_to(ec, detail::write_beneath, root_.get(), name, content, options);
}

MEMORIA_FS_INLINE void confined_dir::locked_append_text(std::string_view name, std::string_view content,
                                                        const append_options& options, std::error_code& ec) const {
  detail::report_to(ec, detail::append_beneath, root_.get(), name, content, options);
}

MEMORIA_FS_INLINE bool confined_dir::exists(std::string_view name, std::error_code& ec) const {
  return detail::report_to(ec, detail::exists_beneath, root_.get(), name);
}

MEMORIA_FS_INLINE bool confined_dir::remove(std::string_view name, std::error_code& ec) const {
  return detail::report_to(ec, detail::remove_beneath, root_.get(), name);
}

MEMORIA_FS_INLINE std::vector<std::string> confined_dir::list(std::string_view name, std::error_code& ec) const {
  return detail::report_to(ec, detail::list_beneath, root_.get(), name);
}
MEMORIA_FS_INLINE std::vector<std::string> confined_dir::list(std::error_code& ec) const { return list(".", ec); }

#if MEMORIA_FS_EXCEPTIONS
namespace detail {

// The path as it was asked for: an absolute name replaces the directory, which is what made it unsafe.
inline void throw_confined(const char* operation, const path& directory, std::string_view name, const status& s) {
  if (!s.failed()) return;
  const path shown = directory / from_utf8(name).value_or(path());
  if (s.code == errc::unsafe_path) throw unsafe_path_error(operation, shown, s);
  throw error(operation, shown, s);
}

template <class F, class... A>
auto confined_or_throw(const char* operation, F&& work, const confined_root* root, std::string_view name, A&&... more) {
  status s;
  auto result = work(root, name, std::forward<A>(more)..., s);
  throw_confined(operation, root == nullptr ? path() : root->top.full, name, s);
  return result;
}

}  // namespace detail

MEMORIA_FS_INLINE path require_article_path(std::string_view link, const path& knowledge_dir) {
  detail::status s;
  path found = require_article_path(link, knowledge_dir, s.code);
  detail::throw_confined("require_article_path", knowledge_dir, link, s);
  return found;
}

MEMORIA_FS_INLINE confined_dir::confined_dir(const path& directory)
    : root_(detail::or_throw("confined_dir", directory, detail::open_root, directory)) {}

MEMORIA_FS_INLINE std::string confined_dir::read_text(std::string_view name) const {
  return detail::confined_or_throw("confined_dir::read_text", detail::read_beneath, root_.get(), name);
}

MEMORIA_FS_INLINE void confined_dir::atomic_write_text(std::string_view name, std::string_view content,
                                                       const write_options& options) const {
  detail::confined_or_throw("confined_dir::atomic_write_text", detail::write_beneath, root_.get(), name, content,
                            options);
}

MEMORIA_FS_INLINE void confined_dir::locked_append_text(std::string_view name, std::string_view content,
                                                        const append_options& options) const {
  detail::confined_or_throw("confined_dir::locked_append_text", detail::append_beneath, root_.get(), name, content,
                            options);
}

MEMORIA_FS_INLINE bool confined_dir::exists(std::string_view name) const {
  return detail::confined_or_throw("confined_dir::exists", detail::exists_beneath, root_.get(), name);
}

MEMORIA_FS_INLINE bool confined_dir::remove(std::string_view name) const {
  return detail::confined_or_throw("confined_dir::remove", detail::remove_beneath, root_.get(), name);
}

MEMORIA_FS_INLINE std::vector<std::string> confined_dir::list(std::string_view name) const {
  return detail::confined_or_throw("confined_dir::list", detail::list_beneath, root_.get(), name);
}
#endif

// ---- [json] definitions ---------------------------------------------------------------------------------------------

namespace detail {

// -- Numbers. The standard library's shortest digits are Python's; only where the point goes is decided here.

inline constexpr std::uint64_t sign_bit = std::uint64_t{1} << 63, infinity_bits = std::uint64_t{0x7FF} << 52;
inline constexpr double ten_to[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

inline bool is_digit(char c) noexcept { return static_cast<unsigned char>(c - '0') < 10; }

// The double nearest to a JSON number of any length and size; `mantissa` of its characters come before the exponent.
// Without std::from_chars (libc++ before 20), and where that only says "out of range", strtod reads it: exactly, and
// alike in every locale, since all it gets to see are digits and an exponent. The numbers half-way between two doubles
// have up to 767 digits, so of those behind the 800th nothing matters but whether one is not zero.
inline double read_real(std::string_view number, std::size_t mantissa, std::int64_t exponent) {
  double value;
  if (read_double(number, value)) return value;
  std::string digits(number.substr(0, mantissa));
  const std::size_t point = digits.find('.'), most = 800;
  if (point != std::string::npos) {
    digits.erase(point, 1);
    exponent -= static_cast<std::int64_t>(digits.size() - point);
  }
  digits.erase(0, digits.find_first_of("123456789"));
  if (digits.size() > most) {
    exponent += static_cast<std::int64_t>(digits.size() - most);
    if (digits.find_first_not_of('0', most) != std::string::npos) digits[most - 1] = '1';
    digits.resize(most);
  }
  const double size = std::strtod((digits + 'e' + std::to_string(exponent)).c_str(), nullptr);
  return number[0] == '-' ? -size : size;
}

// As Python's repr does: 0.0001, 1e-05, 1e+16, 9007199254740992.0. Not NaN, not infinite. Touches 48 bytes.
inline char* write_real(char* out, double value) noexcept {
  const double size = value < 0 ? -value : value;
  if (FLT_EVAL_METHOD == 0 && size >= 1e-4 && size < 1e9) {
    const std::uint64_t millionths = static_cast<std::uint64_t>(size * 1e6 + 0.5), million = 1'000'000;
    if (static_cast<double>(millionths) / 1e6 == size) {  // of exact numbers, so rounded once: up to 15 digits are it
      if (value < 0) *out++ = '-';
      char* const point = std::to_chars(out, out + 32, millionths / million).ptr;
      char* p = std::to_chars(point, point + 32, million + millionths % million).ptr;
      for (*point = '.'; p[-1] == '0' && p != point + 2;) --p;
      return p;
    }
  }
  const bool scientific = size != 0 && (size < 1e-4 || size >= 1e16);
  const std::chars_format format = scientific ? std::chars_format::scientific : std::chars_format::fixed;
  char* p = std::to_chars(out, out + 48, value, format).ptr;
  if (!scientific && !std::memchr(out, '.', static_cast<std::size_t>(p - out))) *p++ = '.', *p++ = '0';
  return p;
}

// -- Cells and their memory. A value's block begins with its capacity and how many words lie between it and the slab it
// was cut from, if it was; `memory` points behind that: to the bytes of a string, the cells of an array, or of an
// object, key and value in turn, and then, from a capacity of more than linear_max on, an index. Cells are moved by
// copying them.
//
// All smaller blocks of a parsed text are cut from slabs, which costs a few instructions and no bookkeeping. A slab
// lives as long as one of its blocks, so a value moved out of a parsed document keeps up to 32 KiB alive with it; a
// copy does not.

inline constexpr std::size_t tiny_max = 14, linear_max = 64, no_position = ~std::size_t{0};
inline constexpr std::uint8_t json_plain = 0x10, tiny_length = 0x0F;  // plain: UTF-8 that needs no backslash

inline json_cell* cells_of(const json_cell& c) noexcept { return reinterpret_cast<json_cell*>(c.memory); }
inline void set_length(json_cell& c, std::size_t n) noexcept { c.length = n & 0xFFFFFFFFFFFF; }
// Cells a member.
inline std::size_t width_of(const json_cell& c) noexcept { return c.kind == json_kind::object ? 2 : 1; }
inline std::size_t count_of(const json_cell& c) noexcept { return length_of(c) * width_of(c); }  // cells
inline std::uint64_t& header_of(char* memory) noexcept { return reinterpret_cast<std::uint64_t*>(memory)[-1]; }
inline std::size_t capacity_of(const json_cell& c) noexcept {
  return c.memory ? static_cast<std::size_t>(header_of(c.memory) & 0xFFFFFFFFFFFF) : 0;
}
inline const char* bytes_of(const json_cell& c) noexcept { return reinterpret_cast<const char*>(&c); }
MEMORIA_FS_INLINE std::string_view string_of(const json_cell& c) noexcept {
  if (c.kind != json_kind::tiny) return {c.memory, length_of(c)};
  return {bytes_of(c), static_cast<std::size_t>(c.info & tiny_length)};
}

using json_slab = std::size_t;  // begins with how many use it: the blocks cut from it, and the arena that still cuts

inline void leave_slab(json_slab* slab, std::size_t users) noexcept {
  if (slab && fetch_subtract(*slab, users) == users) ::operator delete(slab);
}

class json_arena {  // passed as an rvalue, so that one that never has slabs can be a default argument
 public:
  explicit json_arena(std::size_t size = 0) noexcept : size_((size < 32768 ? size : 32768) & ~std::size_t{7}) {}
  json_arena(json_arena&&) = delete;
  ~json_arena() { leave_slab(slab_, 1); }
  char* allocate(std::size_t bytes, std::size_t capacity = 0) {
    std::uint64_t distance = 0;
    char* block = nullptr;
    if (bytes >= size_ / 8) {  // is better not cut from a slab
      block = static_cast<char*>(::operator new(bytes + 8));
    } else {
      const std::size_t whole = (bytes + 15) & ~std::size_t{7};
      if (size_ - used_ < whole) add_slab();
      ++*slab_;  // nobody else knows this slab yet
      distance = used_ / 8;
      block = reinterpret_cast<char*>(slab_) + detail::exchange(used_, used_ + whole);
    }
    header_of(block + 8) = capacity | distance << 48;
    return block + 8;
  }

 private:
  [[gnu::cold]] void add_slab() {
    leave_slab(detail::exchange(slab_, ::new (::operator new(size_)) json_slab{1}), 1);
    used_ = 8;
  }

  std::size_t size_, used_ = size_;  // bytes of a slab
  json_slab* slab_ = nullptr;
};

// Gives blocks back, those of one slab together.
struct json_recycler {
  json_slab* slab = nullptr;
  std::size_t blocks = 0;

  ~json_recycler() { leave_slab(slab, blocks); }
  void take(char* memory) noexcept {
    const std::uint64_t distance = header_of(memory) >> 48;
    if (distance == 0) return ::operator delete(memory - 8);
    json_slab* const from = reinterpret_cast<json_slab*>(memory - 8 - 8 * distance);
    if (from != slab) leave_slab(detail::exchange(slab, from), detail::exchange(blocks, 0));
    ++blocks;
  }
};

// Goes down without a stack: the first cell of a block is dealt with first, and then holds which block is around this
// one and how many cells are left there. The others follow from the last to the second.
MEMORIA_FS_INLINE void destroy(const json_cell& root) noexcept {
  json_recycler garbage;
  json_cell c = root, *block = nullptr;
  for (std::size_t left = 0;;) {  // cells of the block, with c
    if (c.kind >= json_kind::array && length_of(c) != 0) {
      json_cell* const inner = cells_of(c);
      const std::size_t count = count_of(c);
      c = *inner;
      inner->memory = reinterpret_cast<char*>(detail::exchange(block, inner));
      set_length(*inner, detail::exchange(left, count));
      continue;
    }
    if (c.kind >= json_kind::big && c.memory) garbage.take(c.memory);
    while (block && --left == 0) {
      left = length_of(*block);
      garbage.take(reinterpret_cast<char*>(detail::exchange(block, cells_of(*block))));
    }
    if (!block) return;
    c = block[left];
  }
}

// A string that is only looked at: the bytes of a longer one stay where they are.
inline json_cell view_cell(std::string_view s, std::uint8_t flags = 0) noexcept {
  json_cell c = {};
  if (s.size() <= tiny_max) {
    c.kind = json_kind::tiny;
    c.info = static_cast<std::uint8_t>(flags | s.size());
    if (!s.empty()) std::memcpy(&c, s.data(), s.size());
  } else {
    c.kind = json_kind::text;
    c.info = flags;
    c.memory = const_cast<char*>(s.data());
    set_length(c, s.size());
  }
  return c;
}
// The same with memory of its own, if it is a longer string or an integer that is text.
inline json_cell own_text(json_cell c, json_arena&& arena = json_arena()) {
  if (c.kind < json_kind::big) return c;
  const char* const bytes = detail::exchange(c.memory, arena.allocate(length_of(c)));
  std::memcpy(c.memory, bytes, length_of(c));
  return c;
}
inline bool same_bytes(const json_cell& a, const json_cell& b) noexcept {  // of strings, or of two of one kind
  if (a.kind < json_kind::big || b.kind < json_kind::big) {  // all of them is the same but for the flags
    const std::uint64_t difference = load_first_lowest(bytes_of(a) + 8) ^ load_first_lowest(bytes_of(b) + 8);
    return a.payload == b.payload && (difference & ~(std::uint64_t{0xFF & ~tiny_length} << 48)) == 0;
  }
  return length_of(a) == length_of(b) && std::memcmp(a.memory, b.memory, length_of(a)) == 0;
}

// -- Members, and the index of a large object: slots, each the position of a member, counted from 1, or 0 where it is
// free. At most every other is taken.

inline bool is_indexed(const json_cell& c) noexcept { return width_of(c) == 2 && capacity_of(c) > linear_max; }
inline std::size_t slots_for(std::size_t capacity) noexcept { return std::size_t{2} << (64 - leading_zeros(capacity)); }
inline std::uint32_t* index_of(const json_cell& object) noexcept {
  return reinterpret_cast<std::uint32_t*>(cells_of(object) + 2 * capacity_of(object));
}

inline std::uint64_t hash_key(const json_cell& object, const json_cell& key) noexcept {
  static const std::uint64_t secret[2] = {os::random_bits(), os::random_bits()};  // unknown to whoever chooses the keys
  return salted_hash(string_of(key), {secret[0] ^ object.payload, secret[1]});
}

// Where the index begins to look for this hash.
inline std::uint32_t* first_slot(const json_cell& object, std::uint64_t hash) noexcept {
  return index_of(object) + (hash & (slots_for(capacity_of(object)) - 1));
}

// Where the index has this key, or would have it.
inline std::uint32_t& slot_of(const json_cell& object, const json_cell& key) noexcept {
  for (std::uint64_t hash = hash_key(object, key);; ++hash) {
    std::uint32_t& slot = *first_slot(object, hash);
    if (slot == 0 || same_bytes(cells_of(object)[2 * (slot - std::size_t{1})], key)) return slot;
  }
}

inline std::size_t find_key(const json_cell& object, const json_cell& key) noexcept {
  if (is_indexed(object)) return slot_of(object, key) - std::size_t{1};  // no_position where it is free
  const json_cell* const cells = cells_of(object);
  for (std::size_t i = 0, n = length_of(object); i < n; ++i) {
    if (same_bytes(cells[2 * i], key)) return i;
  }
  return no_position;
}

inline void rebuild_index(const json_cell& object) noexcept {
  std::memset(index_of(object), 0, slots_for(capacity_of(object)) * sizeof(std::uint32_t));
  for (std::uint32_t i = 0; i < length_of(object); ++i) slot_of(object, cells_of(object)[std::size_t{2} * i]) = i + 1;
}

// Gives an array or object that has no block one. Its length stays, an index is not made yet.
inline void allocate_members(json_cell& c, std::size_t capacity, json_arena&& arena = json_arena()) {
  c.memory = nullptr;
  if (capacity == 0) return;
  const bool possible = capacity <= (no_position >> 7) && capacity >> 31 == 0;
  const std::size_t cells = possible ? capacity * width_of(c) * sizeof(json_cell) : (no_position >> 1) - 64;
  const std::size_t index = possible && c.kind == json_kind::object && capacity > linear_max ? slots_for(capacity) : 0;
  c.memory = arena.allocate(cells + index * sizeof(std::uint32_t), capacity);
}

[[gnu::cold]] inline void grow_members(json_cell& c, std::size_t capacity) {
  json_cell fresh = c;
  allocate_members(fresh, capacity);
  if (c.memory) {
    std::memcpy(fresh.memory, c.memory, count_of(c) * sizeof(json_cell));
    json_recycler().take(c.memory);
  }
  c = fresh;
  if (is_indexed(c)) rebuild_index(c);
}

// Room for one more member at the end, where null stands.
inline json_cell* append_member(json_cell& c) {
  const std::size_t n = length_of(c);
  if (n == capacity_of(c)) grow_members(c, n < 4 ? 4 : 2 * n);
  json_cell* const place = cells_of(c) + count_of(c);
  for (std::size_t i = 0; i < width_of(c); ++i) place[i] = json_cell{};
  set_length(c, n + 1);
  return place;
}

inline void remove_member(json_cell& c, std::size_t position) noexcept {
  const std::size_t width = width_of(c), rest = (length_of(c) - position - 1) * width;
  json_cell* const gone = cells_of(c) + position * width;
  for (std::size_t i = 0; i < width; ++i) destroy(gone[i]);
  std::memmove(gone, gone + width, rest * sizeof(json_cell));
  set_length(c, length_of(c) - 1);
  if (is_indexed(c)) rebuild_index(c);
}

struct cell_pair {
  const json_cell* from;
  json_cell* to;
};

MEMORIA_FS_INLINE void copy_cell(const json_cell& root, json_cell& copy) {
  plain_vector<cell_pair> open;
  const auto begin_copy = [&open](const json_cell& from, json_cell& to) {
    if (from.kind < json_kind::array) return static_cast<void>(to = own_text(from));
    to.kind = from.kind;
    open.push_back({&from, &to});
  };
  begin_copy(root, copy);
  while (!open.empty()) {
    const auto [from, to] = open.back();
    open.pop_back();
    allocate_members(*to, length_of(*from));
    for (std::size_t i = 0, n = count_of(*from), width = width_of(*from); i < n; i += width) {
      json_cell* const place = append_member(*to);
      for (std::size_t k = 0; k < width; ++k) begin_copy(cells_of(*from)[i + k], place[k]);
    }
    if (is_indexed(*to)) rebuild_index(*to);
  }
}

MEMORIA_FS_INLINE double number_of(const json_cell& c) {
  if (c.kind == json_kind::real) return c.real;
  if (c.kind == json_kind::big) return read_real(string_of(c), length_of(c), 0);
  const double whole = static_cast<double>(static_cast<std::int64_t>(c.payload));
  return c.kind == json_kind::natural ? static_cast<double>(c.payload) : whole;
}

MEMORIA_FS_INLINE json_cell whole_of(const json_cell& c) {
  if (c.kind != json_kind::real || !(c.real >= -9223372036854775808.0 && c.real < 18446744073709551616.0)) return c;
  json_cell whole = {};
  whole.kind = c.real >= 9223372036854775808.0 ? json_kind::natural : json_kind::integer;
  whole.payload = whole.kind == json_kind::natural ? static_cast<std::uint64_t>(c.real)
                                                   : static_cast<std::uint64_t>(static_cast<std::int64_t>(c.real));
  return number_of(whole) == c.real ? whole : c;
}

MEMORIA_FS_INLINE bool equal_cells(const json_cell& left, const json_cell& right) {
  plain_vector<cell_pair> open;
  open.push_back({&left, const_cast<json_cell*>(&right)});  // which is only read
  while (!open.empty()) {
    const json_cell a = whole_of(*open.back().from), b = whole_of(*open.back().to);
    open.pop_back();
    if (a.kind != b.kind) return false;
    if (a.kind < json_kind::array) {
      if (a.kind == json_kind::real ? a.real != b.real : !same_bytes(a, b)) return false;
      continue;
    }
    const std::size_t n = length_of(a), width = width_of(a);
    if (n != length_of(b)) return false;
    for (std::size_t i = 0; i < n; ++i) {
      const json_cell &key = cells_of(a)[i * width], &key_there = cells_of(b)[i * width];
      const std::size_t twin = width == 1 || same_bytes(key, key_there) ? i : find_key(b, key);
      if (twin == no_position) return false;
      open.push_back({&cells_of(a)[i * width + width - 1], &cells_of(b)[twin * width + width - 1]});
    }
  }
  return true;
}

// -- Strings of a text

// Skips what may stand in a string as it is, up to a quote, backslash, control character or what is no UTF-8; if
// `ascii`, up to whatever is beyond '~'.
inline const char* skip_text(const char* p, const char* end, bool ascii = false) noexcept {
  for (;;) {
    if (static_cast<std::size_t>(end - p) >= lanes::width) {
      const lanes v = lanes::load(p);
      const lanes::mask stop = v.equal('"') | v.equal('\\') | v.below(0x20) | v.high() | (ascii ? v.equal('\x7F') : 0);
      p += stop == 0 ? lanes::width : first_lane(stop);
      if (stop == 0) continue;
    }
    const auto byte = [&] { return static_cast<unsigned char>(*p); };
    if (p == end || *p == '"' || *p == '\\' || byte() < 0x20 || (ascii && byte() >= 0x7F)) return p;
    do {
      const decoded d = decode_utf8({p, static_cast<std::size_t>(end - p)}, 0);
      if (d.length == 0 || is_surrogate(d.code)) return p;
      p += d.length;
    } while (!ascii && p != end && byte() >= 0x80);
  }
}

// -- Parsing: values are pushed on one stack of cells; an array or object lies there behind a marker until it is
// closed, and then moves into a block of just its size. Functions take the place to read at and return the place behind
// what they read, or nullptr.

class json_parser {
 public:
  json_parser(std::string_view text, const json_parse_options& options)
      : text_(text), options_(options), python_(options.dialect == json_dialect::python), arena_(text.size()) {}
  ~json_parser() {
    for (const json_cell& c : stack_) destroy(c);
  }

  // The last byte of a text ends every loop over digits, letters or white space, so that none of them has to ask for
  // the end: a closing bracket, which most texts end in, or else the zero behind a copy.
  json_problem run(json_cell& result) {
    stack_.reserve(64);
    const std::size_t size = text_.find_last_not_of(" \n\r\t") + 1;
    begin_ = text_.data();
    if (size == 0 || (text_[size - 1] != '}' && text_[size - 1] != ']')) begin_ = copy_.assign(text_, 0, size).data();
    end_ = begin_ + size;
    const bool mark = python_ && text_.substr(0, 3) == "\xEF\xBB\xBF";
    const char* p = document(begin_ + (mark ? 3 : 0));
    if (p && p != end_) p = fail(p, "expected the end of the text");
    if (p) result = detail::exchange(stack_.back(), json_cell{});
    return std::move(problem_);
  }

 private:
  [[gnu::cold]] const char* fail(const char* at, const char* reason, errc code = errc::corrupt_json, bool tell = true) {
    const unsigned char byte = at == end_ ? 0 : static_cast<unsigned char>(*at);
    std::string found = "the end of the text";
    if (at != end_) found = std::string("byte 0x") + "0123456789ABCDEF"[byte >> 4] + "0123456789ABCDEF"[byte & 15];
    if (byte > 0x20 && byte < 0x7F) found = {'\'', *at, '\''};
    const std::size_t offset = static_cast<std::size_t>(at - begin_);
    const auto [line, column] = position_of(text_, offset);
    problem_ = {make_error_code(code), tell ? reason + (", found " + found) : reason, offset, line, column, {}};
    std::size_t i = offset - (column > 30 ? 30 : column - 1);
    while (i < offset && (static_cast<unsigned char>(text_[i]) & 0xC0) == 0x80) ++i;
    for (std::size_t length = 0; i < text_.size() && text_[i] != '\n'; i += length) {
      const decoded d = decode_utf8(text_, i);
      length = d.length != 0 ? d.length : 1;
      if (problem_.excerpt.size() + length > 60) break;
      const bool shown = d.length != 0 && d.code >= 0x20 && d.code != 0x7F && !is_surrogate(d.code);
      problem_.excerpt.append(shown ? text_.substr(i, length) : "?");
    }
    return nullptr;
  }

  const char* document(const char* p) {
  value:
    p = skip_space(p);
    if (*p == '{' || *p == '[') {
      if (options_.max_depth == 0) return fail(p, "nested too deeply", errc::json_limit, false);
      --options_.max_depth;
      const bool object = *p == '{';
      push(json_kind::null, open_).info = object;
      open_ = stack_.size();
      p = skip_space(p + 1);
      if (*p == (object ? '}' : ']')) goto close;
      if (object) goto key;
      goto value;
    }
    p = scalar(p);
    if (!p) return nullptr;
  after:
    if (open_ == 0) return p;
    if (p != end_) p = skip_space(p);
    if (p == end_ || (*p != ',' && *p != (in_object() ? '}' : ']')))
      return fail(p, in_object() ? "expected ',' or '}' after a member" : "expected ',' or ']' after a value");
    if (*p != ',') goto close;
    p = skip_space(p + 1);
    if (!in_object()) goto value;
  key:
    if (*p != '"') return fail(p, "expected a key in quotes");
    p = string(p + 1);
    if (!p) return nullptr;
    p = skip_space(p);
    if (*p != ':') return fail(p, "expected ':' after a key");
    ++p;
    goto value;
  close:
    close();
    ++p;
    goto after;
  }

  const char* skip_space(const char* p) const noexcept {
    if (static_cast<unsigned char>(*p) > ' ') return p;
    if (*p == ' ' && static_cast<unsigned char>(p[1]) > ' ') return p + 1;
    while (static_cast<std::size_t>(end_ - p) >= lanes::width) {
      const lanes v = lanes::load(p);
      const lanes::mask other = lanes::all ^ (v.equal(' ') | v.equal('\n') | v.equal('\r') | v.equal('\t'));
      if (other != 0) return p + first_lane(other);
      p += lanes::width;
    }
    while (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t') ++p;
    return p;
  }

  bool in_object() const noexcept { return stack_[open_ - 1].info != 0; }

  // The last of several equal keys wins, in the place of the first. A filter finds nearly all keys of a small object
  // new at a glance; a large one has its index.
  void close() {
    json_cell* const first = stack_.data() + open_;
    json_cell& made = first[-1];
    const std::size_t cells = stack_.size() - open_;
    const bool object = in_object();
    open_ = static_cast<std::size_t>(made.payload);
    ++options_.max_depth;
    made = json_cell{};
    made.kind = object ? json_kind::object : json_kind::array;
    allocate_members(made, cells / width_of(made), std::move(arena_));
    json_cell* place = cells_of(made);
    if (!object && cells != 0) std::memcpy(place, first, cells * sizeof(json_cell));
    if (!object) set_length(made, cells);
    const bool indexed = is_indexed(made);
    if (indexed) rebuild_index(made);
    std::uint64_t filter[8] = {};
    for (json_cell* member = first; object && member != first + cells; member += 2) {
      std::memcpy(place, member, 2 * sizeof(json_cell));
      std::size_t twin = no_position;
      if (indexed) {
        if (first + cells - member > 32) prefetch(first_slot(made, hash_key(made, member[32])));
        std::uint32_t& slot = slot_of(made, *place);
        twin = slot - std::size_t{1};
        if (slot == 0) slot = static_cast<std::uint32_t>(length_of(made) + 1);
      } else {
        const std::uint64_t hash = quick_hash(*member), bit = std::uint64_t{1} << (hash % 64);
        if ((filter[hash / 64] & bit) != 0) twin = find_key(made, *member);
        filter[hash / 64] |= bit;
      }
      if (twin == no_position) {
        place += 2;
        set_length(made, length_of(made) + 1);
      } else {
        destroy(place[0]);
        destroy(detail::exchange(cells_of(made)[2 * twin + 1], place[1]));
      }
    }
    stack_.resize(static_cast<std::size_t>(first - stack_.data()));
  }
  static std::uint64_t quick_hash(const json_cell& key) noexcept {  // 9 bits
    const char* const bytes = key.kind == json_kind::text ? key.memory : bytes_of(key);
    const char* const last = bytes + (key.kind == json_kind::text ? length_of(key) - 8 : 6);
    return ((load_first_lowest(bytes) ^ load_first_lowest(last) << 5) * 0x9E3779B97F4A7C15u) >> 55;
  }

  const char* scalar(const char* p) {
    switch (*p) {
      case '"': return string(p + 1);
      case 't': return word(p, "true", json_kind::boolean, 1);
      case 'f': return word(p, "false", json_kind::boolean, 0);
      case 'n': return word(p, "null", json_kind::null, 0);
      case 'N': return word(p, "NaN", json_kind::real, infinity_bits | infinity_bits >> 1, python_);
      case 'I': return word(p, "Infinity", json_kind::real, infinity_bits, python_);
      default: return is_digit(*p) || *p == '-' ? number(p) : fail(p, "expected a value");
    }
  }
  const char* word(const char* p, std::string_view name, json_kind kind, std::uint64_t payload, bool allowed = true) {
    const std::string_view rest(p, static_cast<std::size_t>(end_ - p));
    if (!allowed || rest.substr(0, name.size()) != name) return fail(p, "expected a value");
    push(kind, payload);
    return p + name.size();
  }

  static const char* take_digits(const char* p, std::uint64_t& value) noexcept {
    for (; is_digit(*p); ++p) value = value * 10 + static_cast<unsigned>(*p - '0');
    return p;
  }

  const char* number(const char* const start) {
    const bool negative = *start == '-';
    const char* const first = start + (negative ? 1 : 0);
    if (*first == 'I' && python_) return word(first, "Infinity", json_kind::real, infinity_bits | sign_bit);
    if (!is_digit(*first)) return fail(first, "expected a digit");
    std::uint64_t digits = 0;
    const char* p = take_digits(first, digits);
    std::size_t count = static_cast<std::size_t>(p - first);
    const bool leading_zero = *first == '0' && count > 1;
    if (leading_zero) return fail(first + 1, "a number does not start with 0, unless 0 is all before the point");
    if (*p != '.' && (*p | 0x20) != 'e') {
      const bool fits = count < 20 || (count == 20 && *first == '1' && digits >= 10'000'000'000'000'000'000u);
      if (fits && (!negative || digits <= sign_bit)) {
        const bool natural = !negative && digits >= sign_bit;
        push(natural ? json_kind::natural : json_kind::integer, negative ? 0 - digits : digits);
      } else {
        push_text({start, static_cast<std::size_t>(p - start)}, 0).kind = json_kind::big;
      }
      return p;
    }
    std::int64_t exponent = 0, written = 0;
    if (*p == '.') {
      const char* const fraction = p + 1;
      p = take_digits(fraction, digits);
      if (p == fraction) return fail(p, "expected a digit after the point");
      exponent = fraction - p;
      count += static_cast<std::size_t>(p - fraction);
    }
    const std::size_t mantissa = static_cast<std::size_t>(p - start);
    if ((*p | 0x20) == 'e') {
      const bool minus = *++p == '-';
      if (minus || *p == '+') ++p;
      if (!is_digit(*p)) return fail(p, "expected a digit in the exponent");
      for (; is_digit(*p); ++p) {
        if (written < 1'000'000'000'000) written = written * 10 + (*p - '0');
      }
      if (minus) written = -written;
      exponent += written;
    }
    double value = static_cast<double>(digits);
    if (FLT_EVAL_METHOD == 0 && count < 20 && digits >> 53 == 0 && exponent >= -22 && exponent <= 22) {
      value = exponent < 0 ? value / ten_to[-exponent] : value * ten_to[exponent];  // of exact numbers, so rounded once
      if (negative) value = -value;
    } else {
      value = read_real({start, static_cast<std::size_t>(p - start)}, mantissa, written);
      const bool fits = value - value == 0 || python_;
      if (!fits) return fail(start, "number is too large for a double", errc::json_type, false);
    }
    push(json_kind::real).real = value;
    return p;
  }

  // Written where it lies: a copy would have to wait for its parts.
  json_cell& push(json_kind kind, std::uint64_t payload = 0) {
    stack_.push_back({});
    json_cell& c = stack_.back();
    c.payload = payload;
    c.kind = kind;
    return c;
  }
  json_cell& push_text(std::string_view s, std::uint8_t flags) {
    stack_.push_back({});
    return stack_.back() = own_text(view_cell(s, flags), std::move(arena_));
  }

  // p is behind the opening quote.
  const char* string(const char* p) {
    std::uint8_t flags = json_plain;
    const char* start = p;
    unescaped_.clear();
    while ((p = skip_text(p, end_)) != end_ && *p == '\\') {
      unescaped_.append(start, p);
      p = start = escape(p, flags);
      if (!p) return nullptr;
    }
    if (p == end_) return fail(p, "expected '\"' to close a string");
    if (static_cast<unsigned char>(*p) < 0x20) return fail(p, "expected an escape sequence for a control character");
    if (*p != '"') return fail(p, "string is not valid UTF-8");
    const std::string_view rest(start, static_cast<std::size_t>(p - start));
    push_text(unescaped_.empty() ? rest : unescaped_.append(rest), flags);
    return p + 1;
  }

  // p is at the backslash.
  const char* escape(const char* p, std::uint8_t& flags) {
    const char* const at = p++;
    if (*p != 'u') {
      const std::size_t name = std::string_view("\"\\/bfnrt").find(*p);
      if (name == std::string_view::npos) return fail(p, "expected one of \"\\/bfnrtu after a backslash");
      unescaped_ += "\"\\/\b\f\n\r\t"[name];
      if (*p != '/') flags = 0;
      return p + 1;
    }
    std::uint32_t code = 0, low = 0;
    p = hexadecimal(p + 1, code);
    if (!p) return nullptr;
    if (code < 0x20 || code == '"' || code == '\\') flags = 0;
    if (is_surrogate(code)) {
      const char* next = p;
      if (code < 0xDC00 && p[0] == '\\' && p[1] == 'u') next = hexadecimal(p + 2, low);
      if (!next) return nullptr;
      if (low >= 0xDC00 && is_surrogate(low)) {
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        p = next;
      } else if (!python_) {
        return fail(at, "unpaired surrogate: no such character", errc::corrupt_json, false);
      } else {
        flags = 0;
      }
    }
    append_utf8(unescaped_, code);
    return p;
  }
  const char* hexadecimal(const char* p, std::uint32_t& code) {
    const char* const read = std::from_chars(p, end_ - p < 4 ? end_ : p + 4, code, 16).ptr;
    return read == p + 4 ? read : fail(read, "expected four hexadecimal digits after \\u");
  }

  std::string_view text_;
  json_parse_options options_;  // max_depth is what is left of it
  bool python_;
  std::size_t open_ = 0;  // where the members of the innermost open array or object begin; 0: none is open
  json_arena arena_;
  std::string copy_, unescaped_;
  const char *begin_ = nullptr, *end_ = nullptr;
  plain_vector<json_cell> stack_;
  json_problem problem_;
};

// -- Writing. Functions take the place to write at and return the place behind what they wrote; it stays in a register
// that way. At each of them there is room for one more token, unless that is long.

class json_writer {
 public:
  explicit json_writer(const json_dump_options& options) noexcept : options_(options) {}

  const char* why = nullptr;  // it could not be written
  std::string write(const json_cell& root) {
    const bool pretty = options_.indent >= 0;
    char* p = grow(&out_[0], 4096);
    for (const json_cell* value = &root;;) {
      const bool object = value->kind == json_kind::object;
      if (value->kind >= json_kind::array && length_of(*value) != 0) {
        *p++ = object ? '{' : '[';
        open_.push_back({cells_of(*value), cells_of(*value) + count_of(*value), count_of(*value), object});
      } else {
        p = scalar(p, *value);
        while (!open_.empty() && open_.back().at == open_.back().end) {
          const char bracket = open_.back().object ? '}' : ']';
          open_.pop_back();
          p = pretty ? new_line(p) : room(p, reserve);
          *p++ = bracket;
        }
        if (open_.empty()) break;
        *p++ = ',';
      }
      p = pretty ? new_line(p) : room(p, reserve);
      level& here = open_.back();
      if (here.object) {
        p = string(p, *here.at++);
        *p++ = ':';
        if (pretty) *p++ = ' ';
      }
      value = here.at++;
    }
    out_.resize(static_cast<std::size_t>(p - &out_[0]));
    if (out_.capacity() / 2 > out_.size()) out_.shrink_to_fit();
    return std::move(out_);
  }

 private:
  struct level {
    const json_cell *at, *end;
    std::size_t count;
    bool object;
  };
  static constexpr std::size_t reserve = 64;

  char* room(char* p, std::size_t bytes) { return static_cast<std::size_t>(end_ - p) < bytes ? grow(p, bytes) : p; }
  // As much as the whole will need, if the rest of the tree is like what was written.
  [[gnu::noinline]] char* grow(char* p, std::size_t bytes) {
    const std::size_t used = static_cast<std::size_t>(p - &out_[0]);
    double done = 0;  // of each value the part that is written
    for (std::size_t i = open_.size(); i-- > 0;) {
      done = 1 - (static_cast<double>(open_[i].end - open_[i].at) + 1 - done) / static_cast<double>(open_[i].count);
    }
    const double factor = done > 0.7 ? 1.5 : done > 0.0625 ? 1.05 / done : 16;
    out_.resize(bytes + static_cast<std::size_t>(factor * static_cast<double>(used)));
    end_ = &out_[0] + out_.size();
    return &out_[used];
  }
  char* put(char* p, std::string_view s) {
    p = room(p, s.size() + reserve);
    std::memcpy(p, s.data(), s.size());
    return p + s.size();
  }
  char* new_line(char* p) {
    const std::size_t spaces = open_.size() * static_cast<std::size_t>(options_.indent);
    p = room(p, spaces + reserve);
    *p++ = '\n';
    std::memset(p, ' ', 32);  // a length known beforehand takes two instructions
    if (spaces > 32) std::memset(p + 32, ' ', spaces - 32);
    return p + spaces;
  }

  char* scalar(char* p, const json_cell& c) {
    char* const limit = p + reserve;
    switch (c.kind) {
      case json_kind::null: return put(p, "null");
      case json_kind::boolean: return put(p, c.payload ? "true" : "false");
      case json_kind::integer: return std::to_chars(p, limit, static_cast<std::int64_t>(c.payload)).ptr;
      case json_kind::natural: return std::to_chars(p, limit, c.payload).ptr;
      case json_kind::big: return put(p, string_of(c));
      case json_kind::array: return put(p, "[]");
      case json_kind::object: return put(p, "{}");
      case json_kind::tiny:
      case json_kind::text: return string(p, c);
      case json_kind::real: break;
    }
    if (c.real - c.real == 0) return write_real(p, c.real);
    if (options_.dialect == json_dialect::strict) why = "JSON has no NaN and no infinity";
    return put(p, c.real != c.real ? "NaN" : c.real < 0 ? "-Infinity" : "Infinity");
  }

  char* string(char* p, const json_cell& c) {
    const bool plain = (c.info & json_plain) != 0 && !options_.ensure_ascii;
    *p++ = '"';
    p = plain ? put(p, string_of(c)) : escaped(p, string_of(c));
    *p++ = '"';
    return p;
  }

  [[gnu::noinline]] char* escaped(char* p, std::string_view s) {
    const char *at = s.data(), *const end = at + s.size();
    for (;;) {
      const char* const stop = skip_text(at, end, options_.ensure_ascii);
      p = put(p, {at, static_cast<std::size_t>(stop - at)});
      if (stop == end) return p;
      const std::size_t name = std::string_view("\"\\\b\f\n\r\t").find(*stop);
      const decoded d = decode_utf8({stop, static_cast<std::size_t>(end - stop)}, 0);
      if (d.length == 0) why = "a string is not UTF-8";
      at = stop + (d.length != 0 ? d.length : 1);
      if (name != std::string_view::npos) {
        *p++ = '\\';
        *p++ = "\"\\bfnrt"[name];
      } else {
        p = unicode_escape(p, d.code);
      }
    }
  }
  static char* unicode_escape(char* p, char32_t code) noexcept {
    if (code >= 0x10000) return unicode_escape(unicode_escape(p, 0xD7C0 + (code >> 10)), 0xDC00 + (code & 0x3FF));
    *p++ = '\\';
    *p++ = 'u';
    for (int shift = 12; shift >= 0; shift -= 4) *p++ = "0123456789abcdef"[(code >> shift) & 15];
    return p;
  }

  json_dump_options options_;
  plain_vector<level> open_;
  std::string out_;
  char* end_ = nullptr;
};

// -- JSON Pointer

inline bool split_pointer(std::string_view pointer, std::vector<std::string>& tokens) {  // false: not a JSON Pointer
  for (std::size_t i = 0; i < pointer.size(); ++i) {
    if (pointer[i] == '/') {
      tokens.push_back({});
      continue;
    }
    const bool escaped = pointer[i] == '~';
    const char c = !escaped ? pointer[i] : ++i == pointer.size() ? '?' : pointer[i];
    if (tokens.empty() || (escaped && c != '0' && c != '1')) return false;
    tokens.back() += !escaped ? c : c == '0' ? '~' : '/';
  }
  return true;
}

// An array index as RFC 6901 writes it; no_position for anything else.
inline std::size_t pointer_index(std::string_view token) noexcept {
  std::size_t index = no_position;
  std::from_chars(token.data(), token.data() + token.size(), index);
  return std::to_string(index) == token ? index : no_position;
}

}  // namespace detail

[[gnu::cold]] MEMORIA_FS_INLINE std::string json_problem::message(std::string_view file) const {
  std::string text(file);
  if (!file.empty()) text += ':';
  if (line != 0) text += std::to_string(line) + ":" + std::to_string(column) + ":";
  if (!text.empty()) text += ' ';
  return text += reason;
}

[[gnu::cold]] MEMORIA_FS_INLINE json_error::json_error(json_problem problem) : std::system_error(problem.code) {
  what_ = new std::string(problem.message());
  problem_ = new json_problem(std::move(problem));
}

MEMORIA_FS_INLINE json::json(std::string_view text) : json() {
  const char* const end = text.data() + text.size();
  const bool plain = detail::skip_text(text.data(), end) == end;
  cell_ = detail::own_text(detail::view_cell(text, plain ? detail::json_plain : 0));
}

MEMORIA_FS_INLINE json json::object(std::initializer_list<detail::json_member> members) {
  json j = object();
  for (const detail::json_member& member : members) j[member.key] = std::move(member.value);
  return j;
}

MEMORIA_FS_INLINE json json::parse(std::string_view text, const json_parse_options& options, json_problem& problem) {
  json result;
  problem = detail::json_parser(text, options).run(result.cell_);
  return result;
}

MEMORIA_FS_INLINE std::string json::dump(const json_dump_options& options, std::error_code& ec) const {
  detail::json_writer writer(options);
  std::string text = writer.write(cell_);
  ec = writer.why ? make_error_code(errc::json_type) : std::error_code();
  return ec ? std::string() : text;
}

#if MEMORIA_FS_EXCEPTIONS
MEMORIA_FS_INLINE json json::parse(std::string_view text, const json_parse_options& options) {
  json_problem problem;
  json result = parse(text, options, problem);
  if (problem) throw json_error(std::move(problem));
  return result;
}

MEMORIA_FS_INLINE std::string json::dump(const json_dump_options& options) const {
  detail::json_writer writer(options);
  std::string text = writer.write(cell_);
  if (writer.why) failed(errc::json_type, writer.why);
  return text;
}

MEMORIA_FS_INLINE const json& json::at_pointer(std::string_view pointer) const {
  const json* const there = find_pointer(pointer);
  return there ? *there : failed(errc::json_missing, "nothing at " + std::string(pointer));
}

MEMORIA_FS_INLINE json& json::set_pointer(std::string_view pointer, json value) {
  std::error_code ec;
  json* const place = set_pointer(pointer, std::move(value), ec);
  return place ? *place : failed(static_cast<errc>(ec.value()), "cannot set " + std::string(pointer));
}
#endif

[[gnu::cold]] MEMORIA_FS_INLINE json& json::failed([[maybe_unused]] errc code, [[maybe_unused]] std::string reason) {
#if MEMORIA_FS_EXCEPTIONS
  throw json_error({make_error_code(code), std::move(reason), 0, 0, 0, {}});
#else
  static thread_local json thrown_away;
  return thrown_away = json();
#endif
}

[[gnu::cold]] MEMORIA_FS_INLINE json& json::misused(const char* wanted) const {
  std::error_code ec;
  std::string found = is_string() ? "a string" : std::string("an ") + type_name();
  if (is_primitive() && !is_string()) found = dump({-1, false, json_dialect::python}, ec);
  return failed(errc::json_type, std::string("expected ") + wanted + ", found " + found);
}

MEMORIA_FS_INLINE json::value_t json::type() const noexcept {
  if (is_structured()) return is_array() ? value_t::array : value_t::object;
  if (is_number()) return is_number_float() ? value_t::number_float : value_t::number_integer;
  return is_null() ? value_t::null : is_boolean() ? value_t::boolean : value_t::string;
}

MEMORIA_FS_INLINE const char* json::type_name() const noexcept {
  constexpr const char* names[] = {"null", "boolean", "number", "number", "string", "array", "object"};
  return names[static_cast<unsigned>(type())];
}

MEMORIA_FS_INLINE json* json::first() const noexcept {
  if (!is_structured()) return const_cast<json*>(this);
  return cell_.memory ? reinterpret_cast<json*>(detail::cells_of(cell_)) + (step() - 1) : nullptr;
}

MEMORIA_FS_INLINE json* json::find_member(std::string_view key) const noexcept {
  if (!is_object() || size() == 0) return nullptr;
  const std::size_t position = detail::find_key(cell_, detail::view_cell(key));
  return position == detail::no_position ? nullptr : first() + 2 * position;
}

MEMORIA_FS_INLINE json& json::member(std::string_view key) const {
  if (json* const found = find_member(key)) return *found;
  if (!is_object()) return misused("an object");
  return failed(errc::json_missing, "no key '" + std::string(key) + "'");
}

MEMORIA_FS_INLINE json& json::element(std::size_t index) const {
  if (json* const found = find_element(index)) return *found;
  if (!is_array()) return misused("an array");
  return failed(errc::json_missing, "no index " + std::to_string(index) + " in an array of " + std::to_string(size()));
}

MEMORIA_FS_INLINE const json& json::or_null(const json* found) noexcept {
  static constexpr detail::json_cell null = {};
  return found ? *found : reinterpret_cast<const json&>(null);
}

MEMORIA_FS_INLINE const json& json::found(const json* value, bool right_type, std::error_code& ec) noexcept {
  ec = value ? std::error_code() : make_error_code(right_type ? errc::json_missing : errc::json_type);
  return or_null(value);
}

MEMORIA_FS_INLINE json& json::operator[](std::string_view key) {
  if (is_null()) *this = object();
  if (!is_object()) return misused("an object");
  if (json* member = find_member(key)) return *member;
  json name(key);
  detail::json_cell* const place = detail::append_member(cell_);
  *place = detail::exchange(name.cell_, detail::json_cell{});
  if (detail::is_indexed(cell_)) detail::slot_of(cell_, *place) = static_cast<std::uint32_t>(size());
  return back();
}

MEMORIA_FS_INLINE json& json::operator[](std::size_t index) {
  if (is_null()) *this = array();
  if (is_array() && index == size()) push_back(json());
  return element(index);
}

MEMORIA_FS_INLINE void json::push_back(json value) {
  if (is_null()) *this = array();
  if (!is_array()) return static_cast<void>(misused("an array"));
  *detail::append_member(cell_) = detail::exchange(value.cell_, detail::json_cell{});
}

MEMORIA_FS_INLINE std::size_t json::erase_found(const json* value) noexcept {
  if (value) erase(const_iterator(value, step()));
  return value ? 1 : 0;
}

MEMORIA_FS_INLINE json::iterator json::erase(const_iterator position) noexcept {
  const std::ptrdiff_t index = position - cbegin();
  if (!is_structured() || static_cast<std::size_t>(index) >= size()) return end();
  detail::remove_member(cell_, static_cast<std::size_t>(index));
  return begin() + index;
}

MEMORIA_FS_INLINE void json::reserve(std::size_t members) {
  if (is_structured() && members > detail::capacity_of(cell_)) detail::grow_members(cell_, members);
}

MEMORIA_FS_INLINE json* json::find_token(const std::string& token) const noexcept {
  return is_array() ? find_element(detail::pointer_index(token)) : find_member(token);
}

MEMORIA_FS_INLINE const json* json::find_pointer(std::string_view pointer) const {
  std::vector<std::string> tokens;
  const json* here = detail::split_pointer(pointer, tokens) ? this : nullptr;
  for (std::size_t i = 0; here && i < tokens.size(); ++i) here = here->find_token(tokens[i]);
  return here;
}

MEMORIA_FS_INLINE json* json::set_pointer(std::string_view pointer, json value, std::error_code& ec) {
  std::vector<std::string> tokens;
  ec = detail::split_pointer(pointer, tokens) ? std::error_code() : make_error_code(errc::json_missing);
  json* here = this;
  std::size_t known = 0;
  for (json* next; !ec && known < tokens.size() && (next = here->find_token(tokens[known])); ++known) here = next;
  if (known < tokens.size()) {
    const bool appends = tokens[known] == "-" || detail::pointer_index(tokens[known]) == here->size();
    if (here->is_array() && !appends) ec = make_error_code(errc::json_missing);
    if (here->is_primitive() && !here->is_null()) ec = make_error_code(errc::json_type);
  }
  if (ec) return nullptr;
  for (; known < tokens.size(); ++known) here = here->is_array() ? &(*here)[here->size()] : &(*here)[tokens[known]];
  return &(*here = std::move(value));
}

// ---- [state] definitions --------------------------------------------------------------------------------------------

namespace detail {

// ---- the lock of a state file

// The state locks that this thread holds, so that nesting is an error and not a hang.
struct held_lock {
  os::info file;
  held_lock* next = nullptr;
};
inline held_lock*& held_by_this_thread() noexcept {
  thread_local held_lock* first = nullptr;
  return first;
}

// The lock of one state file, for the time of one operation in one thread.
class state_lock {
 public:
  state_lock() = default;
  state_lock(const state_lock&) = delete;
  state_lock& operator=(const state_lock&) = delete;
  ~state_lock() { release(); }

  bool acquire(const target& t, deadline until, status& s) {
    const path::string_type name = lock_name(t.name);
    status missing;
    if (os::get_info_at(*t.dir, name.c_str(), false, node_.file, missing)) {
      for (const held_lock* held = held_by_this_thread(); held != nullptr; held = held->next) {
        if (held->file.same_file(node_.file)) return s.fail("", errc::lock_nested);
      }
    }
    os::handle h = lock_named(*t.dir, name.c_str(), lock_options{}, until, t.existing, s);
    if (!h || !os::get_info(h, node_.file, s)) return false;
    handle_ = std::move(h);
    node_.next = detail::exchange(held_by_this_thread(), &node_);
    return true;
  }

  void release() noexcept {
    if (!handle_) return;
    held_by_this_thread() = node_.next;  // scopes nest, so ours is the first
    os::unlock(handle_);
    handle_.close();
  }

 private:
  os::handle handle_;
  held_lock node_;  // in the list while handle_ is open
};

// Finds the target and takes its lock, again if a symbolic link was pointed elsewhere while we waited.
inline bool lock_state(const path& file, const write_options& options, deadline until, target& t,
                       state_lock& lock, status& s) {
  for (;;) {
    if (!locate(file, options, t, s)) return false;
    const os::kind there = t.existing.type;  // asked before the lock file is made beside it
    if (there == os::kind::directory || there == os::kind::other) return s.fail("", os::wrong_kind(there));
    if (!lock.acquire(t, until, s)) return false;
    target now;
    os::info before, after;
    if (!locate(file, options, now, s) || !os::get_info(t.dir->h, before, s) || !os::get_info(now.dir->h, after, s))
      return false;
    t.existing = now.existing;
    if (now.name == t.name && before.same_file(after)) return true;
    lock.release();
  }
}

// ---- reading

// What a state file holds.
struct loaded {
  json value;
  bool existed = false;
  std::string text;
  os::info file;         // the one that was set aside, where nothing has taken its place
  bool corrupt = false;  // bytes were read that are not JSON; `value` may come from a generation all the same
  json_problem problem;  // what is wrong with them
  path backup;           // where they are now
};

// Reads and parses. A missing file is not a failure; nor are bytes that are not JSON: they set `corrupt`.
inline bool load_from(const os::directory& d, os::name name, std::size_t max_depth, loaded& out, status& s) {
  status own;
  out = {};
  if (!read_named(d, name, out.file, out.text, own)) return own.missing() || s.fail(own);
  out.existed = true;
  out.value = json::parse(out.text, json_parse_options{json_dialect::python, max_depth}, out.problem);
  out.corrupt = out.problem.code == errc::corrupt_json;
  return !out.problem || out.corrupt || s.fail("", out.problem.code, out.problem.message());
}

// ---- setting aside and recovering

// `now`: since 1970.
[[gnu::cold]] inline std::string backup_stamp(std::chrono::system_clock::duration now) {
  // Civil date from days since 1970 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"): gmtime is not
  // thread-safe, and its safe variants read the time zone's file first.
  const long long seconds = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  const long long days = seconds / 86400 + 719468, of_day = seconds % 86400;
  const long long era = days / 146097, of_era = days % 146097;
  const long long year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  const long long of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const long long from_march = (5 * of_year + 2) / 153, month = from_march < 10 ? from_march + 3 : from_march - 9;
  char text[160];
  std::snprintf(text, sizeof text, ".bak-%04lld%02lld%02lldT%02lld%02lld%02lldZ",
                year_of_era + era * 400 + (month <= 2 ? 1 : 0), month, of_year - (153 * from_march + 2) / 5 + 1,
                of_day / 3600, of_day / 60 % 60, of_day % 60);
  return text;
}

inline path::string_type backup_name(const target& t, std::string_view suffix) {
  constexpr std::size_t room = 26;  // .bak-YYYYMMDDTHHMMSSZ-NNNN
  return sibling_name("", t.name, suffix, room);
}

// Keeps the corrupt file under a backup name that nobody has, or there a durable copy of the bytes that were judged.
// Only when that is done, the name is in `backup`.
[[gnu::cold]] inline bool back_up(const target& t, const loaded* copied, path::string_type& backup, status& s) {
  const target like(t, t.name, copied != nullptr ? copied->file : t.existing);
  const std::string stamp = backup_stamp(std::chrono::system_clock::now().time_since_epoch());
  for (unsigned n = 0; n < 10000; ++n) {
    path::string_type name = backup_name(t, n == 0 ? stamp : stamp + "-" + std::to_string(n));
    status own;
    if (copied != nullptr) {
      write_options options;
      options.overwrite = false;
      replacement copy(t, name, options, &like);
      replace(copy, copied->text, own);
    } else {
      rename_without_clobber(*t.dir, t.name, name, own);
    }
    if (!own.failed()) return backup = std::move(name), true;
    if (own.code != std::errc::file_exists) return s.fail(own);
  }
  return s.fail("rename", std::errc::file_exists, "no free backup name");
}

// YYYYMMDDTHHMMSSZ, or that and -N: what back_up puts behind ".bak-". Other names with that are the user's own.
[[gnu::cold]] inline bool is_backup_stamp(const path::string_type& text) {
  const auto digits = [&](std::size_t from, std::size_t to) {
    while (from < to && text[from] >= '0' && text[from] <= '9') ++from;
    return from == to;
  };
  const std::size_t size = text.size();
  if (size < 16 || !digits(0, 8) || text[8] != 'T' || !digits(9, 15) || text[15] != 'Z') return false;
  return size == 16 || (text[16] == '-' && size > 17 && digits(17, size));
}

// Keeps the newest `keep` backups: by the second in their names, within one second by the number behind it, of which
// the longer is the greater.
[[gnu::cold]] inline void prune_backups(const target& t, unsigned keep) {
  if (keep == 0) return;
  const path::string_type prefix = backup_name(t, ".bak-");
  const std::size_t second = prefix.size() + 16;
  std::vector<path::string_type> backups;  // the size of the name behind the second puts them in order
  status ignored;
  os::list(*t.dir, [&](os::name n, os::kind) {
    path::string_type name = n;
    if (name.compare(0, prefix.size(), prefix) == 0 && is_backup_stamp(name.substr(prefix.size())))
      backups.push_back(name.insert(second, 1, static_cast<path::value_type>(name.size())));
    return true;
  }, ignored);
  sort_by_merging(backups);
  for (std::size_t i = 0; i + keep < backups.size(); ++i)
    os::unlink_at(*t.dir, backups[i].erase(second, 1).c_str(), ignored);
}

// The newest generation that is good: `previous.existed` is false if there is none. One that cannot be read is an
// error, as it is for the state itself: it may be the good one.
[[gnu::cold]] inline bool find_generation(const target& t, const recovery_options& options, loaded& previous,
                                          path::string_type& name, status& s) {
  for (unsigned n = 1; n <= options.generations; ++n) {
    name = generation_name(t.name, n);
    if (!load_from(*t.dir, name.c_str(), options.max_depth, previous, s)) return false;
    if (previous.existed && !previous.corrupt) return true;
  }
  previous = {};
  return true;
}

// The good generation becomes the current version again, in one step: at no moment is there no state, which the next
// reader would take for a new beginning. `moved`: somebody has replaced the corrupt file meanwhile; his is to be read.
[[gnu::cold]] inline void restore_generation(const target& t, const loaded& judged, const loaded& previous,
                                             const target& generation, path::string_type& backup, bool& moved,
                                             status& s) {
  replacement r(t, t.name, write_options(), &generation);
  if (!begin(r, s) || !write(r, previous.text, s) || !seal(r, s) || !back_up(t, &judged, backup, s)) return;
  if (publish_over(r, moved, judged.text, &judged.file, s)) {
    sync_after_rename(r, s);
  } else if (!r.name.empty()) {
    status ignored;  // the copy goes, unless nobody knows whether the corrupt file is in its place or was replaced
    os::unlink_at(*t.dir, detail::exchange(backup, {}).c_str(), ignored);
  }
}

// No generation: the file itself goes. Its bytes may never have been synced by who wrote them. `moved`: as above.
[[gnu::cold]] inline void set_aside(const target& t, const loaded& judged, path::string_type& backup, bool& moved,
                                    status& s) {
  status own;
  moved = !back_up(t, nullptr, backup, own);
  if (!moved && !holds(*t.dir, backup, judged.text, &judged.file, own)) {
    // Another file: a writer without our lock was quicker. It is put back; where the name is taken, it is a backup now,
    // and there is a newer one to read.
    moved = true;
    status taken;
    if (rename_without_clobber(*t.dir, backup, t.name, taken)) {
      backup.clear();
    } else if (taken.code != std::errc::file_exists) {
      own.fail(taken);
    }
  }
  if (moved) {
    if (own.failed() && !own.missing()) s.fail(own);  // missing: somebody has removed it
    return;
  }
  os::handle h = os::open_at(*t.dir, backup.c_str(), os::read_write | os::no_follow, own);
  if (!h) h = os::open_at(*t.dir, backup.c_str(), os::read_only | os::no_follow, own = {});
  if (!h || !os::sync_file(h, false, own) || !os::sync_directory(*t.dir, own)) not_durable(s, own);
}

[[gnu::cold]] inline void deliver(const recovery_report& report, const recovery_reporter& reporter) {
  if (reporter) {
    reporter(report);
  } else {
    std::fputs((report.message() + '\n').c_str(), stderr);
  }
}

[[gnu::cold]] inline recovery_report::damage damage_of(const loaded& judged) {
  using damage = recovery_report::damage;
  if (judged.text.empty()) return damage::empty;
  if (judged.text.back() == '\0') return damage::zeros;
  return judged.problem.offset > judged.text.find_last_not_of(" \t\r\n") ? damage::truncated : damage::syntax;
}

// With the lock held: reads; if the bytes are not JSON, sets the file aside and comes back with a good generation or
// with `existed` false.
inline bool load_or_quarantine(const target& t, const recovery_options& options, loaded& out, status& s) {
  for (;;) {
    if (!load_from(*t.dir, t.name.c_str(), options.max_depth, out, s)) return false;
    if (!out.corrupt) return true;
    loaded previous;
    path::string_type backup, generation;
    bool moved = false;
    if (!find_generation(t, options, previous, generation, s)) return false;
    const target good(t, generation, previous.file);
    if (previous.existed) {
      restore_generation(t, out, previous, good, backup, moved, s);
    } else {
      set_aside(t, out, backup, moved, s);
    }
    if (!backup.empty()) out.backup = t.in_folder(backup);
    if (s.failed()) return false;
    if (moved) continue;
    recovery_report report;
    report.file = t.in_folder(t.name);
    report.found = damage_of(out);
    report.backup = previous.backup = out.backup;
    report.problem = previous.problem = out.problem;
    if (previous.existed) {
      report.used = recovery_report::source::generation;
      report.generation = t.in_folder(generation);
    } else {
      previous.file = out.file;
    }
    out = std::move(previous);
    out.corrupt = true;
    prune_backups(t, options.max_backups);
    deliver(report, options.reporter);
    if (options.on_corruption == corruption_policy::use_default) return true;
    return s.fail("", errc::corrupt_json, out.problem.message());
  }
}

// ---- the operations

// Loads without a lock; only a corrupt file makes it take the lock and look again.
inline bool load_state(const path& file, const recovery_options& options, loaded& out, status& s) {
  target t;
  status own;
  if (!locate(file, where_it_is(), t, own)) return own.missing() || s.fail(own);
  if (!load_from(*t.dir, t.name.c_str(), options.max_depth, out, s)) return false;
  if (!out.corrupt) return true;
  state_lock lock;
  target locked;
  return lock_state(file, where_it_is(), deadline_in(options.timeout), locked, lock, s) &&
         load_or_quarantine(locked, options, out, s);
}

inline bool load_strictly(const path& file, loaded& out, status& s) {
  target t;
  if (!locate(file, where_it_is(), t, s)) return false;
  if (!load_from(*t.dir, t.name.c_str(), recovery_options{}.max_depth, out, s)) return false;
  if (!out.existed) return s.fail("open", std::errc::no_such_file_or_directory);
  return !out.corrupt || s.fail("", out.problem.code, out.problem.message());
}

inline bool to_text(const json& value, const save_options& options, std::string& text, status& s) {
  std::error_code ec;
  text = value.dump(json_dump_options{options.indent, options.ensure_ascii, json_dialect::python}, ec);
  return !ec || s.fail("dump", ec);
}

inline bool save_state(const path& file, const json& value, const save_options& options, status& s) {
  std::string text;
  state_lock lock;
  replacement r(options);
  return to_text(value, options, text, s) && lock_state(file, options, deadline_in(options.timeout), r.t, lock, s) &&
         replace(r, text, s);
}

inline bool save_unchanged(const path& file, json_snapshot& snapshot, const json& value, const save_options& options,
                           status& s) {
  std::string text, current;
  state_lock lock;
  replacement r(options);
  target& t = r.t;
  if (!to_text(value, options, text, s) || !lock_state(file, options, deadline_in(options.timeout), t, lock, s))
    return false;
  if (t.exists() && t.existing.type != os::kind::regular) return s.fail("", os::wrong_kind(t.existing.type));
  if (t.exists() != snapshot.existed) return false;
  if (t.exists() && !read_named(*t.dir, t.name.c_str(), t.existing, current, s)) return false;
  if (current != snapshot.text) return false;
  if (!replace(r, text, s) && s.code != errc::not_durable) return false;
  snapshot = {value, true, std::move(text)};
  return true;
}

inline bool change_state(const path& file, const json& fallback, json_change change, const update_options& options,
                         loaded& current, status& s) {
  state_lock lock;
  replacement r(options);
  if (!lock_state(file, options, deadline_in(options.timeout), r.t, lock, s)) return false;
  if (!load_or_quarantine(r.t, options.recovery, current, s)) return false;
  const target aside(r.t, current.backup.filename().native(), current.file);
  r.t.existing = current.existed ? current.file : os::info{};
  if (!current.existed) {
    current.value = fallback;
    r.like = &aside;  // a private file's successor is private
  }
  if (!change.call(change.object, current.value)) return true;
  std::string text;
  return to_text(current.value, options, text, s) && replace(r, text, s);
}

// As report_to and or_throw, for functions that may find the file corrupt: `work(arguments..., loaded&, status&)`. What
// was loaded is empty after a failure.
template <class F, class... A>
loaded report_loading_to(std::error_code& ec, F&& work, A&&... arguments) {
  loaded found;
  status s;
  if (!work(std::forward<A>(arguments)..., found, s)) found = {};
  ec = s.code;
  return found;
}
#if MEMORIA_FS_EXCEPTIONS
template <class F, class... A>
loaded load_or_throw(const char* operation, const path& file, const json& fallback, F&& work, A&&... arguments) {
  loaded found;
  status s;
  work(file, std::forward<A>(arguments)..., found, s);
  if (s.failed() && found.corrupt) {
    throw state_corruption_error(operation, file, s, found.backup, fallback, found.problem);
  }
  throw_if_failed(operation, file, s);
  return found;
}
#endif

inline json_snapshot snapshot_of(loaded&& found, json&& fallback) {
  return {std::move(found.existed ? found.value : fallback), found.existed, std::move(found.text)};
}

MEMORIA_FS_INLINE json update_state(const path& file, json fallback, json_change change, const update_options& options,
                                    std::error_code& ec) {
  return report_loading_to(ec, change_state, file, fallback, change, options).value;
}
#if MEMORIA_FS_EXCEPTIONS
MEMORIA_FS_INLINE json update_state(const path& file, json fallback, json_change change,
                                    const update_options& options) {
  return load_or_throw("update_json", file, fallback, change_state, fallback, change, options).value;
}
#endif

}  // namespace detail

[[gnu::cold]] MEMORIA_FS_INLINE std::string recovery_report::message() const {
  const char* what = found == damage::empty       ? "the file is empty"
                     : found == damage::zeros     ? "it ends in NUL bytes, as after a power cut"
                     : found == damage::truncated ? "it ends too early"
                                                  : "it is not JSON";
  const auto shown = [](const path& p) { return detail::printable(detail::to_utf8(p)); };
  return detail::concat({"State file corruption at ", shown(file), ": ", what, " (", problem.message(), "). Moved to ",
                         shown(backup), "; using ", used == source::fallback ? "default" : shown(generation), "."});
}

[[gnu::cold]] MEMORIA_FS_INLINE state_corruption_error::state_corruption_error(const char* operation, const path& file,
                                                                 const detail::status& why, const path& backup,
                                                                 json default_value, json_problem problem)
    : error(operation, file, why),
      facts_(new facts{backup, std::move(default_value), std::move(problem)}) {}

MEMORIA_FS_INLINE json_snapshot load_json_snapshot(const path& file, json fallback, const recovery_options& options,
                                                   std::error_code& ec) {
  detail::loaded found = detail::report_loading_to(ec, detail::load_state, file, options);
  return ec ? json_snapshot() : detail::snapshot_of(std::move(found), std::move(fallback));
}

MEMORIA_FS_INLINE json load_json_with_recovery(const path& file, json fallback, const recovery_options& options,
                                               std::error_code& ec) {
  return load_json_snapshot(file, std::move(fallback), options, ec).value;
}

MEMORIA_FS_INLINE json load_json(const path& file, std::error_code& ec) {
  return detail::report_loading_to(ec, detail::load_strictly, file).value;
}

MEMORIA_FS_INLINE void save_json(const path& file, const json& value, const save_options& options,
                                 std::error_code& ec) {
  detail::report_to(ec, detail::save_state, file, value, options);
}

MEMORIA_FS_INLINE bool save_json_if_unchanged(const path& file, json_snapshot& snapshot, const json& value,
                                              const save_options& options, std::error_code& ec) {
  return detail::report_to(ec, detail::save_unchanged, file, snapshot, value, options);
}

#if MEMORIA_FS_EXCEPTIONS
MEMORIA_FS_INLINE json load_json_with_recovery(const path& file, json fallback, const recovery_options& options) {
  using namespace detail;
  loaded found = load_or_throw("load_json_with_recovery", file, fallback, load_state, options);
  return std::move(found.existed ? found.value : fallback);
}

MEMORIA_FS_INLINE json load_json(const path& file) {
  return detail::load_or_throw("load_json", file, json(), detail::load_strictly).value;
}

MEMORIA_FS_INLINE void save_json(const path& file, const json& value, const save_options& options) {
  detail::or_throw("save_json", file, detail::save_state, file, value, options);
}

MEMORIA_FS_INLINE json_snapshot load_json_snapshot(const path& file, json fallback, const recovery_options& options) {
  using namespace detail;
  return snapshot_of(load_or_throw("load_json_snapshot", file, fallback, load_state, options), std::move(fallback));
}

MEMORIA_FS_INLINE bool save_json_if_unchanged(const path& file, json_snapshot& snapshot, const json& value,
                                              const save_options& options) {
  return detail::or_throw("save_json_if_unchanged", file, detail::save_unchanged, file, snapshot, value, options);
}
#endif

// ---- [vault] definitions --------------------------------------------------------------------------------------------

namespace detail {

// ---- names, compared without regard to case and to how an accent is written

// Simple case folding: each range goes to the lower case by `step`, or is of pairs whose lower case is the odd (1) or
// the even (-1) one.
constexpr struct {
  char16_t first, last;
  int step;
} case_ranges[] = {
    {'A', 'Z', 32},      {0xC0, 0xD6, 32},   {0xD8, 0xDE, 32},     {0x100, 0x12F, 1},  {0x132, 0x137, 1},
    {0x139, 0x148, -1},  {0x14A, 0x177, 1},  {0x178, 0x178, -121}, {0x179, 0x17E, -1}, {0x386, 0x386, 38},
    {0x388, 0x38A, 37},  {0x38C, 0x38C, 64}, {0x38E, 0x38F, 63},   {0x391, 0x3A1, 32}, {0x3A3, 0x3AB, 32},
    {0x3C2, 0x3C2, 1},   {0x400, 0x40F, 80}, {0x410, 0x42F, 32},   {0x460, 0x481, 1},  {0x48A, 0x4BF, 1},
    {0x4C0, 0x4C0, 15},  {0x4C1, 0x4CE, -1}, {0x4D0, 0x52F, 1},    {0x531, 0x556, 48}, {0x1E00, 0x1E95, 1},
    {0x1EA0, 0x1EFF, 1},
};

inline char32_t fold_case(char32_t c) noexcept {
  for (const auto& r : case_ranges) {
    if (c < r.first || c > r.last) continue;
    const bool lower_of_pair = (r.step == 1 && (c & 1) == 1) || (r.step == -1 && (c & 1) == 0);
    return lower_of_pair ? c : static_cast<char32_t>(static_cast<int>(c) + (r.step == -1 ? 1 : r.step));
  }
  return c;
}

// Unicode's canonical decompositions. Latin: base letter and accents (letters: their places in `accents`), "." where
// there is none; of U+00C0 to U+017F, and of every second one from U+1EA1 to U+1EF9.
constexpr std::string_view latin_letters =
    "AaAbAcAdAhAi..ClEaEbEcEhIaIbIcIh..NdOaObOcOdOh....UaUbUcUhYb....aaabacadahai..cleaebecehiaibicih"
    "..ndoaobocodoh....uaubucuhyb..yhAeaeAfafAmamCbcbCcccCgcgCkckDkdk....EeeeEfefEgegEmemEkekGcgcGfgf"
    "GgggGlglHchc....IdidIeieIfifImimIg......JcjcKlkl..LblbLlllLklk........NbnbNlnlNknk......OeoeOfof"
    "Ojoj....RbrbRlrlRkrkSbsbScscSlslSkskTltlTktk....UdudUeueUfufUiuiUjujUmumWcwcYcycYhZbzbZgzgZkzk..";
constexpr std::string_view vietnamese_letters =
    "ap.an.acbacaacnacdapcafbafaafnafdapfep.en.ed.ecbecaecnecdepcin.ip.op.on.ocbocaocnocdopcoobooaoonoodoopup.un.uob"
    "uoauonuoduopya.yp.yn.yd.";
constexpr char16_t accents[] = {0x300, 0x301, 0x302, 0x303, 0x304, 0x306, 0x307, 0x308,
                                0x30A, 0x30B, 0x30C, 0x327, 0x328, 0x309, 0x31B, 0x323};
constexpr char16_t other_letters[][3] = {
    {0x390, 0x3CA, 0x301}, {0x3AC, 0x3B1, 0x301}, {0x3AD, 0x3B5, 0x301}, {0x3AE, 0x3B7, 0x301}, {0x3AF, 0x3B9, 0x301},
    {0x3B0, 0x3CB, 0x301}, {0x3CA, 0x3B9, 0x308}, {0x3CB, 0x3C5, 0x308}, {0x3CC, 0x3BF, 0x301}, {0x3CD, 0x3C5, 0x301},
    {0x3CE, 0x3C9, 0x301}, {0x439, 0x438, 0x306}, {0x450, 0x435, 0x300}, {0x451, 0x435, 0x308}, {0x453, 0x433, 0x301},
    {0x457, 0x456, 0x308}, {0x45C, 0x43A, 0x301}, {0x45D, 0x438, 0x300}, {0x45E, 0x443, 0x306},
};

inline void append_decomposed(std::string& out, char32_t c) {  // a lower case letter, where there is one
  const bool vietnamese = c >= 0x1EA1 && c <= 0x1EF9;
  if ((c >= 0xC0 && c <= 0x17F) || vietnamese) {
    const std::size_t at = vietnamese ? (c - 0x1EA1) / 2 * 3 : (c - 0xC0) * 2;
    const std::string_view letters = vietnamese ? vietnamese_letters.substr(at, 3) : latin_letters.substr(at, 2);
    if (letters[0] == '.') return append_utf8(out, c);
    out += letters[0];
    for (const char mark : letters.substr(1)) {
      if (mark != '.') append_utf8(out, accents[mark - 'a']);
    }
    return;
  }
  for (const auto& letter : other_letters) {
    if (letter[0] == c) return append_decomposed(out, letter[1]), append_utf8(out, letter[2]);
  }
  const char32_t hangul = c - 0xAC00;  // a syllable: 19 * 21 * 28 of them, composed by arithmetic
  if (hangul >= 11172) return append_utf8(out, c);
  append_utf8(out, 0x1100 + hangul / 588);
  append_utf8(out, 0x1161 + hangul % 588 / 28);
  if (hangul % 28 != 0) append_utf8(out, 0x11A7 + hangul % 28);
}

inline char fold_ascii(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

inline void append_folded(std::string& out, std::string_view name) {
  for (std::size_t i = 0; i < name.size();) {
    const std::size_t begin = i;
    while (i < name.size() && static_cast<unsigned char>(name[i]) < 0x80) ++i;
    out.append(name, begin, i - begin);
    for (std::size_t at = out.size() - (i - begin); at < out.size(); ++at) out[at] = fold_ascii(out[at]);
    if (i == name.size()) return;
    const decoded d = decode_utf8(name, i);
    if (d.length == 0) {  // not UTF-8: compared as it is
      out += name[i++];
    } else {
      append_decomposed(out, fold_case(d.code));
      i += d.length;
    }
  }
}

// The first of [low, high) that `before` does not hold for.
template <class Before>
std::size_t partition_point(std::size_t low, std::size_t high, Before before) {
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    if (before(middle)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

inline bool ends_with(std::string_view text, std::string_view end) noexcept {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// `name` without empty components, "." and ".."; false if it leads above where it began.
inline bool normalize_name(std::string_view name, std::string& out) {
  out.clear();
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t end = find_byte(name, '/', at, name.size());
    const std::string_view part = name.substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (out.empty()) return false;
      const std::size_t cut = out.rfind('/');
      out.resize(cut == std::string::npos ? 0 : cut);
    } else {
      out.append(out.empty() ? "" : "/").append(part);
    }
  }
  return true;
}

// All names a link can mean, and the table that finds them: by path, and by every end of a path that begins at a
// folder.
class vault_names {
 public:
  static constexpr std::uint32_t none = 0x1FFFFFFF;  // numbers have 29 bits, so that three are left beside them
  enum class sort_of { note, file, alias };

  bool exact = false;            // what ends in ".md" by its path, byte for byte; else all of it folded
  std::uint32_t hidden = none;   // an item that is as good as not there

  vault_names() : salt_{os::random_bits(), os::random_bits()} {}
  std::uint32_t size() const noexcept { return static_cast<std::uint32_t>(ends_.size()); }
  std::uint32_t notes() const noexcept { return notes_; }
  sort_of sort(std::uint32_t i) const noexcept {
    return i < notes_ ? sort_of::note : i < files_ ? sort_of::file : sort_of::alias;
  }
  std::string_view name(std::uint32_t i) const {  // a zero follows
    const std::size_t begin = i == 0 ? 0 : ends_[i - 1] + std::size_t{1};
    return std::string_view(text_).substr(begin, ends_[i] - begin);
  }
  std::string_view folder(std::uint32_t i) const {  // with its "/"
    const std::string_view n = name(i);
    return n.substr(0, n.rfind('/') + 1);
  }
  std::uint32_t leads_to(std::uint32_t i) const noexcept {  // an alias to its note, others to themselves
    return i < files_ ? i : aliased_[i - files_];
  }
  std::uint64_t hash(std::string_view key) const noexcept { return salted_hash(key, salt_); }

  // In this order: notes, files, aliases. False: there are too many.
  bool add(std::string_view name, sort_of s, std::uint32_t note = none) {
    if (text_.size() + name.size() >= 0xFFFFFFFF || ends_.size() >= none) return false;
    text_.append(name);
    ends_.push_back(static_cast<std::uint32_t>(text_.size()));
    text_ += '\0';
    if (s == sort_of::alias) return aliased_.push_back(note), true;
    if (s == sort_of::note) notes_ = size();
    files_ = size();
    return true;
  }

  void build() {
    plain_vector<std::uint64_t> order;  // the best first: a note before a file before an alias, then the shortest path
    for (std::uint32_t i = 0; i < size(); ++i) {
      if (i == hidden) continue;
      const std::uint64_t length = name(i).size() < 0xFFFF ? name(i).size() : 0xFFFF;
      order.push_back(std::uint64_t(sort(i)) << 48 | length << 32 | i);
    }
    if (!exact) sort_by_merging(order);
    plain_vector<found_key> found;
    found.reserve(order.size());
    std::string key;
    for (const std::uint64_t ranked : order) each_key(static_cast<std::uint32_t>(ranked), key, found);
    std::size_t buckets = 1;
    while (buckets * 4 < found.size()) buckets *= 2;
    first_ = plain_vector<std::uint32_t>(buckets + 1);
    for (const found_key& k : found) ++first_[bucket_of(k.hash)];
    for (std::size_t b = 1; b <= buckets; ++b) first_[b] += first_[b - 1];
    entries_.resize(found.size());
    entries_.shrink_to_fit();
    for (std::size_t i = found.size(); i-- > 0;) {  // from the last, so that the best of a bucket comes first
      entries_[--first_[bucket_of(found[i].hash)]] = (found[i].hash & ~none) | found[i].item;
    }
    ends_.shrink_to_fit();
    text_.shrink_to_fit();
  }

  // The first entry, from `e` on, whose item has this key: the best one, if `e` is 0. None: there is none.
  std::uint32_t find(std::string_view key, std::uint32_t e = 0) const {
    const auto hashed = static_cast<std::uint32_t>(hash(key));
    const std::size_t bucket = bucket_of(hashed);
    for (e = e < first_[bucket] ? first_[bucket] : e; e < first_[bucket + 1]; ++e) {
      if ((entries_[e] ^ hashed) <= none && has_key(item_of(e), key)) return e;
    }
    return none;
  }
  std::uint32_t next_of(std::uint32_t e, std::string_view key) const {  // of another item: one may be there twice
    const std::uint32_t item = item_of(e);
    do e = find(key, e + 1);
    while (e != none && item_of(e) == item);
    return e;
  }
  std::uint32_t item_of(std::uint32_t e) const noexcept { return entries_[e] & none; }
  // Whether something else of the same sort has the key, too.
  bool has_rival(std::uint32_t e, std::string_view key) const {
    const std::uint32_t best = item_of(e);
    for (e = next_of(e, key); e != none && sort(item_of(e)) == sort(best); e = next_of(e, key)) {
      if (leads_to(item_of(e)) != leads_to(best)) return true;
    }
    return false;
  }
  // Whether `key` is all of the item's name, not only its end.
  bool is_whole(std::uint32_t i, std::string_view key) const { return has_key(i, key, true); }

 private:
  struct found_key {
    std::uint32_t hash, item;
  };

  std::string_view stem(std::uint32_t i) const {
    const std::string_view n = name(i);
    return exact || sort(i) == sort_of::note ? n.substr(0, n.size() - 3) : n;
  }

  void each_key(std::uint32_t i, std::string& key, plain_vector<found_key>& found) const {
    if (exact) return found.push_back({static_cast<std::uint32_t>(hash(stem(i))), i});
    key.clear();
    append_folded(key, stem(i));
    std::string_view end = key;
    int longest_end = sort(i) == sort_of::alias ? 0 : 16;  // more folders are not worth their quadratic cost
    found.push_back({static_cast<std::uint32_t>(hash(end)), i});
    for (std::size_t slash = end.rfind('/'); slash != std::string::npos && longest_end-- > 0;
         slash = end.rfind('/', slash - 1)) {
      found.push_back({static_cast<std::uint32_t>(hash(end.substr(slash + 1))), i});
    }
  }

  // Whether the item's key or, unless all of it is meant, what follows a "/" in it is `key`. Seldom asked for anything
  // but ASCII.
  bool has_key(std::uint32_t i, std::string_view key, bool whole = false) const {
    const std::string_view n = stem(i);
    if (exact) return n == key;
    whole = whole || sort(i) == sort_of::alias;
    std::size_t at = key.size(), from = n.size();
    for (; at != 0 && from != 0 && static_cast<unsigned char>(n[from - 1]) < 0x80; --at, --from) {
      if (fold_ascii(n[from - 1]) != key[at - 1]) return false;
    }
    if (at == 0 || from == 0) return at == 0 && (from == 0 || (n[from - 1] == '/' && !whole));
    std::string own;
    append_folded(own, n);
    if (!ends_with(own, key)) return false;
    return own.size() == key.size() || (own[own.size() - key.size() - 1] == '/' && !whole);
  }

  std::size_t bucket_of(std::uint32_t hash) const noexcept { return hash & (first_.size() - 2); }

  std::string text_;
  plain_vector<std::uint32_t> ends_, aliased_, first_, entries_;  // an entry: an item, and three bits of its key's hash
  std::uint32_t notes_ = 0, files_ = 0;
  std::uint64_t salt_[2];
};

// ---- the walk

struct vault_walk {
  os::directory top;
  vault_names names;  // notes in byte order, then files
  std::vector<graph_failure> failures;
  bool symlinks = false;  // somewhere
};

// A name from the root as the system wants it; for names that a zero follows.
inline const char* native_name(std::string_view name, std::string&) { return name.data(); }
inline const wchar_t* native_name(std::string_view name, std::wstring& buffer) {
  buffer = from_utf8(name).value_or(path()).make_preferred().wstring();
  return buffer.c_str();
}
inline void append_native(std::string& text, const char* name) { text += name; }
inline void append_native(std::string& text, const wchar_t* name) { text += to_utf8(path(name)); }

struct found_name {
  std::size_t at, size;  // of the path from the root, in `vault_lister::text_`; a folder's with its "/"
};

// Lists a vault in the byte order of its paths: each folder's names are put in order, "/" at the end of a folder's, and
// what it holds comes in its place.
class vault_lister {
 public:
  vault_lister(vault_walk& v, bool include_hidden) : v_(v), include_hidden_(include_hidden) {}

  bool run(status& s) {
    for (todo_.push_back({0, 0}); !todo_.empty();) {
      const found_name f = todo_.back();
      todo_.pop_back();
      const bool folder = f.size == 0 || name(f).back() == '/', md = ends_with(name(f), folder ? ".md/" : ".md");
      if (folder && !list(f, s)) return false;
      if (md && !folder) {
        if (!v_.names.add(name(f), vault_names::sort_of::note)) return too_many(s);
      } else if (md || !(folder || v_.names.exact)) {  // a folder named so exists, too, which exact resolution asks
        files_.push_back({f.at, f.size - (folder ? 1 : 0)});
      }
    }
    for (const found_name& f : files_) {
      if (!v_.names.add(name(f), vault_names::sort_of::file)) return too_many(s);
    }
    return true;
  }

 private:
  static bool too_many(status& s) { return s.fail("", std::make_error_code(std::errc::value_too_large)); }

  std::string_view name(const found_name& f) const { return std::string_view(text_).substr(f.at, f.size); }

  bool list(const found_name& folder, status& s) {
    plain_vector<found_name> found;
    const std::string inside(name(folder));
    const std::string own = inside.empty() ? "." : inside.substr(0, inside.size() - 1);
    path::string_type buffer;
    status failed;
    os::list_at(v_.top, native_name(own, buffer), [&](os::name n, os::kind type) {
      if (include_hidden_ || *n != '.') add(inside, n, type, found);
      return true;
    }, failed);
    if (failed.failed() && inside.empty()) return s.fail(failed.step, failed.code);
    if (failed.failed()) v_.failures.push_back({own, failed.code});
    const auto own_name = [&](const found_name& f) {
      return std::string_view(text_.data() + f.at + inside.size(), f.size - inside.size());
    };
    sort_by_merging(found, [&](const found_name& a, const found_name& b) {
      return own_name(b) < own_name(a);  // the last is taken first
    });
    for (const found_name& f : found) todo_.push_back(f);
    return true;
  }

  void add(const std::string& inside, os::name n, os::kind type, plain_vector<found_name>& found) {
    const std::size_t at = text_.size();
    text_ += inside;
    append_native(text_, n);
    const auto kind_of = [&](bool follow) {
      os::info info;
      status gone;
      path::string_type buffer;
      os::get_info_at(v_.top, native_name(std::string_view(text_).substr(at), buffer), follow, info, gone);
      return info.type;
    };
    if (type == os::kind::none) type = kind_of(false);
    if (type == os::kind::symlink) {
      v_.symlinks = true;
      if (kind_of(true) == os::kind::regular) type = os::kind::regular;
    }
    const bool folder = type == os::kind::directory;
    if (!folder && type != os::kind::regular) return text_.resize(at);
    if (folder) text_ += '/';
    found.push_back({at, text_.size() - at});
  }

  vault_walk& v_;
  bool include_hidden_;
  std::string text_;
  plain_vector<found_name> todo_, files_;
};

inline bool list_vault(const path& directory, bool include_hidden, vault_walk& v, status& s) {
  if (directory.empty()) return s.fail("", std::make_error_code(std::errc::invalid_argument), "the path is empty");
  v.top = os::open_directory(directory, s);
  return v.top.h && vault_lister(v, include_hidden).run(s);
}

// visit(number, text) for each note in order, all read into one buffer; notes that cannot be read go to the failures.
template <class F>
void read_notes(vault_walk& v, progress_call progress, F&& visit) {
  std::string buffer(std::size_t{1} << 16, '\0');
  path::string_type native;
  for (std::uint32_t i = 0; i < v.names.notes(); ++i) {
    status s;
    const os::handle h = os::open_at(v.top, native_name(v.names.name(i), native), os::read_only, s);
    std::size_t size = 0;
    for (std::ptrdiff_t n = 1; n > 0 && !s.failed(); size += static_cast<std::size_t>(n > 0 ? n : 0)) {
      if (size == buffer.size()) buffer.resize(2 * size);
      n = os::read_some(h, buffer.data() + size, buffer.size() - size, s);
    }
    if (s.failed()) v.failures.push_back({std::string(v.names.name(i)), s.code});
    visit(i, s.failed() ? std::string_view() : std::string_view(buffer).substr(0, size), !s.failed());
    if (progress.call != nullptr) progress.call(progress.object, i + std::size_t{1}, v.names.notes());
  }
}

// ---- what notes say about themselves

inline std::string_view unquoted(std::string_view value) noexcept {
  value = strip(value);
  const bool quoted =
      value.size() >= 2 && (value.front() == '"' || value.front() == '\'') && value.back() == value.front();
  return quoted ? strip(value.substr(1, value.size() - 2)) : value;
}

// The values of "alias" and "aliases" in the frontmatter: a value, several with commas between them, in brackets or
// not, or one "- value" to a line.
template <class F>
void each_alias(std::string_view frontmatter, F&& alias) {
  bool in_list = false;
  for (std::size_t at = 0, end; at < frontmatter.size(); at = end + 1) {
    end = line_end(frontmatter, at);
    const std::string_view line = frontmatter.substr(at, end - at);
    std::string_view value = strip(line);
    const bool one = in_list && !value.empty() && value.front() == '-' && value != "---";
    if (one) {
      value.remove_prefix(1);
    } else {
      if (value.empty() || value.front() == '#') continue;
      const std::size_t colon = line.find(':');
      const std::string_view key = line.substr(0, colon);
      in_list = colon != std::string_view::npos && (key == "aliases" || key == "alias");
      if (!in_list) continue;
      value = strip(line.substr(colon + 1));
      if (value.size() >= 2 && value.front() == '[' && value.back() == ']') value = value.substr(1, value.size() - 2);
    }
    char quote = 0;
    std::size_t begin = 0;
    for (std::size_t i = 0; i <= value.size(); ++i) {
      const char c = i < value.size() ? value[i] : ',';
      if (i < value.size() && (one || quote != 0)) {
        if (c == quote) quote = 0;
      } else if (c == ',') {
        const std::string_view name = unquoted(value.substr(begin, i - begin));
        if (!name.empty()) alias(name);
        begin = i + 1;
      } else if ((c == '"' || c == '\'') && strip(value.substr(begin, i - begin)).empty()) {
        quote = c;
      }
    }
  }
}

// Headings and block names as a link writes them: folded, and punctuation that a link cannot hold made a space.
inline std::uint64_t anchor_hash(const vault_names& names, std::uint32_t note, std::string_view anchor, char sort) {
  std::string folded(1, sort), spaced;
  append_folded(folded, strip(anchor));
  for (const char c : folded) {
    const bool space = c == ' ' || c == '\t' || std::strchr("#|^:%[]\\", c) != nullptr;
    if (!space) spaced += c;
    if (space && spaced.back() != ' ') spaced += ' ';
  }
  while (spaced.back() == ' ') spaced.pop_back();
  return names.hash(spaced) + note * std::uint64_t{0x9E3779B97F4A7C15};
}

// Every heading (outside code) and every "^name" at the end of a line.
template <class F>
void each_anchor(std::string_view text, F&& found) {
  wikilink_scan s = start_scan(text, false);
  s.at = s.frontmatter_end;
  std::string_view above;
  while (s.at < text.size()) {
    begin_line(s);
    if (s.line_start) {
      above = {};
      continue;
    }
    const std::size_t end = line_end(text, s.at);
    std::string_view line = strip(text.substr(s.at, end - s.at));
    const bool underline =
        !line.empty() && (line.front() == '=' || line.front() == '-') && run_end(line, 0) == line.size();
    if (is_heading(text, s.at)) {
      line.remove_prefix(run_end(line, 0));
      while (!line.empty() && line.back() == '#') line.remove_suffix(1);
      found(line, 'h');
    } else if (underline && !above.empty()) {
      found(above, 'h');
    }
    const std::size_t mark = line.rfind('^');
    if (mark != std::string_view::npos && (mark == 0 || line[mark - 1] == ' ' || line[mark - 1] == '\t')) {
      found(line.substr(mark + 1), 'b');
      line = strip(line.substr(0, mark));
    }
    above = underline ? std::string_view() : line;
    s.at = end < text.size() ? end + 1 : end;
    s.line_start = true;
  }
}

// ---- resolution

struct resolution {
  std::uint32_t item : 29;
  std::uint32_t status : 3;

  resolution(link_status s, std::uint32_t leads_to = vault_names::none) noexcept
      : item(leads_to & vault_names::none), status(static_cast<std::uint32_t>(s) & 7) {}
  bool is(link_status s) const noexcept { return status == static_cast<std::uint32_t>(s); }
};

// What several places share while they resolve: memory that is not allocated for each link.
struct resolver {
  const vault_names& names;
  const path& directory;
  bool ask_system;  // exact: the table alone cannot say, because of symbolic links or how the system compares names
  std::string normal, key;
};

inline resolution resolve_exact(resolver& r, std::string_view slug) {
  if (slug.empty() || slug.front() == '/' || slug.find('\0') != std::string_view::npos) return {link_status::unsafe};
  bool plain = slug.front() != '.';  // no component is empty or begins with a dot
  for (std::size_t at = 0; plain && (at = find_byte(slug, '/', at, slug.size())) < slug.size(); ++at) {
    plain = at + 1 < slug.size() && slug[at + 1] != '/' && slug[at + 1] != '.';
  }
  const bool inside = plain || normalize_name(r.key.assign(slug).append(".md"), r.normal);
  const auto find = [&](std::string_view path) { return r.names.find(path.substr(0, path.size() - 3)); };
  const std::uint32_t entry = plain ? r.names.find(slug) : inside ? find(r.normal) : vault_names::none;
  const bool certain = inside && !r.ask_system;
  if (certain && entry != vault_names::none) return {link_status::ok, r.names.item_of(entry)};
  const bool hidden = !plain && (r.normal[0] == '.' || r.normal.find("/.") != std::string::npos);
  if (certain && !hidden) return {link_status::broken};
  const std::optional<path> article = article_path(slug, r.directory);
  if (!article) return {link_status::unsafe};
  std::error_code ec;
  if (!std::filesystem::exists(*article, ec)) return {link_status::broken};
  if (entry != vault_names::none) return {link_status::ok, r.names.item_of(entry)};
  const path root = std::filesystem::canonical(r.directory, ec);  // the link came in by another way
  std::string inner = to_utf8(article->lexically_relative(root).generic_string<path::value_type>());
  const std::uint32_t real = ec || !ends_with(inner, ".md") ? vault_names::none : find(inner);
  return {link_status::ok, real == vault_names::none ? real : r.names.item_of(real)};
}

// The entry a name leads to, `whole` if only a path from the root will do. Leaves what it was found by in r.key.
inline std::uint32_t find_name(resolver& r, bool whole) {
  r.key.clear();
  append_folded(r.key, r.normal);
  const bool md = ends_with(r.key, ".md");  // tried first without, of notes
  for (bool only_notes = md;; only_notes = false) {
    if (only_notes) r.key.resize(r.key.size() - 3);
    const std::uint32_t entry = r.names.find(r.key);
    const std::uint32_t item = entry == vault_names::none ? 0 : r.names.item_of(entry);
    const vault_names::sort_of sort = r.names.sort(item);
    const bool fits = entry != vault_names::none && (!only_notes || sort == vault_names::sort_of::note) &&
                      (!whole || (sort != vault_names::sort_of::alias && r.names.is_whole(item, r.key)));
    if (fits || !only_notes) return fits ? entry : vault_names::none;
    r.key += ".md";
  }
}

// Which of several that fit: the exact path, unless another differs from it in case only; else the one in the note's
// own folder; else the best.
inline resolution choose(resolver& r, std::uint32_t entry, std::uint32_t source) {
  const std::uint32_t best = r.names.item_of(entry);
  if (r.names.sort(best) == vault_names::sort_of::alias) return {link_status::ambiguous, r.names.leads_to(best)};
  if (r.names.is_whole(best, r.key)) {
    if (!r.names.is_whole(r.names.item_of(r.names.next_of(entry, r.key)), r.key)) return {link_status::ok, best};
    const bool note_like = r.names.sort(best) == vault_names::sort_of::note && !ends_with(r.normal, ".md");
    for (std::uint32_t e = entry; e != vault_names::none; e = r.names.next_of(e, r.key)) {
      if (r.names.name(r.names.item_of(e)) == r.normal + (note_like ? ".md" : ""))
        return {link_status::ok, r.names.item_of(e)};
    }
  } else if (source != vault_names::none) {
    std::string beside;
    append_folded(beside, r.names.folder(source));
    const std::uint32_t nearby = r.names.find(beside.append(r.key));
    if (nearby != vault_names::none && r.names.is_whole(r.names.item_of(nearby), beside)) {
      return {link_status::ambiguous, r.names.item_of(nearby)};
    }
  }
  return {link_status::ambiguous, best};
}

inline resolution resolve_name(resolver& r, std::string_view note, std::uint32_t source) {
  if (note.empty()) return {source == vault_names::none ? link_status::broken : link_status::ok, source};
  if (note.find('\0') != std::string_view::npos) return {link_status::unsafe};
  const bool rooted = note.front() == '/';
  const bool relative = note.substr(0, 2) == "./" || note.substr(0, 3) == "../";
  const bool from_folder = relative && source != vault_names::none;
  if (!normalize_name(from_folder ? std::string(r.names.folder(source)).append(note) : std::string(note), r.normal)) {
    return {link_status::unsafe};
  }
  const std::uint32_t entry = r.normal.empty() ? vault_names::none : find_name(r, rooted || relative);
  if (entry == vault_names::none) return {rooted ? link_status::unsafe : link_status::broken};
  if (r.names.has_rival(entry, r.key)) return choose(r, entry, source);
  return {link_status::ok, r.names.leads_to(r.names.item_of(entry))};
}

// ---- the graph

struct vault_link {  // 12 bytes, because there are many: the note it stands in follows from its place
  std::uint32_t target, line;
  std::uint32_t column : 27, status : 3, embed : 1, frontmatter : 1;
};
constexpr std::size_t longest_column = (1u << 27) - 1;

struct vault_index {
  path directory;
  graph_options options;
  vault_names names;
  bool symlinks = false;
  std::string target_text;
  plain_vector<std::uint32_t> target_ends;
  plain_vector<resolution> meanings;  // of each target; no_anchor: it depends on where the link stands
  plain_vector<vault_link> links;
  plain_vector<std::uint32_t> first_link, inbound, first_backlink, backlinks, orphans;
  plain_vector<bool> unreadable;
  std::size_t counts[5] = {};
  std::vector<graph_failure> failures;

  std::uint32_t source_of(std::size_t link) const {  // the last note whose first link is not behind it
    const auto not_behind = [&](std::size_t i) { return first_link[i] <= link; };
    return static_cast<std::uint32_t>(partition_point(0, first_link.size() - 1, not_behind) - 1);
  }
  std::string_view target(std::uint32_t i) const {
    const std::size_t begin = i == 0 ? 0 : target_ends[i - 1];
    return std::string_view(target_text).substr(begin, target_ends[i] - begin);
  }
  resolver make_resolver() const { return {names, directory, symlinks || sizeof(path::value_type) != 1, {}, {}}; }
};

inline resolution resolve(const vault_index& v, resolver& r, std::string_view target, std::uint32_t source) {
  if (v.names.exact) return resolve_exact(r, target);
  return resolve_name(r, strip(target.substr(0, target.find('#'))), source);
}

// Fills a vault_index: names, then links note by note, then what they lead to.
class vault_builder {
 public:
  explicit vault_builder(vault_index& v) : v_(v), slots_(1024) {}

  bool run(progress_call progress, status& s) {
    vault_walk walk;
    walk.names.exact = v_.options.resolve == link_resolution::exact;
    if (!list_vault(v_.directory, v_.options.include_hidden, walk, s)) return false;
    v_.first_link.reserve(walk.names.notes() + std::size_t{1});
    v_.unreadable.resize(walk.names.notes(), false);
    read_notes(walk, progress, [&](std::uint32_t i, std::string_view text, bool read) {
      v_.first_link.push_back(static_cast<std::uint32_t>(v_.links.size()));
      if (read && (v_.links.size() + text.size() / 5 >= limit || v_.target_text.size() + text.size() >= limit)) {
        walk.failures.push_back({std::string(walk.names.name(i)), std::make_error_code(std::errc::file_too_large)});
        read = false;
      }
      v_.unreadable[i] = !read;
      read_note(i, read ? text : std::string_view(), walk.names);
    });
    v_.first_link.push_back(static_cast<std::uint32_t>(v_.links.size()));
    v_.symlinks = walk.symlinks;
    v_.failures = std::move(walk.failures);
    v_.names = std::move(walk.names);
    std::size_t begin = 0;
    for (const auto& [end, note] : aliases_) {
      v_.names.add(std::string_view(alias_text_).substr(begin, end - begin), vault_names::sort_of::alias, note);
      begin = end;
    }
    finish();
    return true;
  }

 private:
  static constexpr std::uint32_t none = vault_names::none, limit = 0xFFFFFFFF;

  void read_note(std::uint32_t note, std::string_view text, const vault_names& names) {
    wikilink_scan s = start_scan(text, v_.options.include_code);
    line_count lines;
    for (wikilink link; next_link(s, link);) {
      lines.go_on(text, link.offset);
      const std::size_t column = link.offset - lines.line_begin + 1;
      std::string_view target = link.target;
      const bool for_table = link.piped && target.back() == '\\' && !(names.exact && v_.options.include_code);
      if (for_table) target.remove_suffix(1);
      vault_link found = {};
      found.target = intern(strip(target), names);
      found.line = static_cast<std::uint32_t>(lines.line);
      found.column = static_cast<unsigned>(column < longest_column ? column : longest_column) & longest_column;
      found.embed = link.embed;
      found.frontmatter = link.frontmatter;
      v_.links.push_back(found);
    }
    if (names.exact) return;
    each_alias(text.substr(0, s.frontmatter_end == unknown ? find_frontmatter_end(text) : s.frontmatter_end),
               [&](std::string_view alias) {
                 alias_text_ += alias;
                 aliases_.push_back({alias_text_.size(), note});
               });
    if (!v_.options.check_anchors) return;
    each_anchor(text, [&](std::string_view a, char sort) { anchors_.push_back(anchor_hash(names, note, a, sort)); });
  }

  std::uint32_t intern(std::string_view text, const vault_names& names) {
    if ((v_.target_ends.size() + 1) * 2 > slots_.size()) {
      plain_vector<std::uint64_t> old(slots_.size() * 2);
      old.swap(slots_);
      for (const std::uint64_t seen : old) {
        if (seen != 0) slot_of(seen >> 32, [](std::uint32_t) { return false; }) = seen;
      }
    }
    const std::uint64_t hash = names.hash(text) >> 32;
    std::uint64_t& slot = slot_of(hash, [&](std::uint32_t seen) { return v_.target(seen) == text; });
    if (slot == 0) {
      v_.target_text += text;
      v_.target_ends.push_back(static_cast<std::uint32_t>(v_.target_text.size()));
      slot = hash << 32 | v_.target_ends.size();
    }
    return static_cast<std::uint32_t>(slot) - 1;
  }

  // Of the target that is this one, else an empty slot for it. A slot: the upper half of the hash; number and one.
  template <class Is>
  std::uint64_t& slot_of(std::uint64_t hash, Is&& is) noexcept {
    const std::size_t last = slots_.size() - 1;
    for (std::size_t i = static_cast<std::size_t>(hash) & last;; i = (i + 1) & last) {
      const std::uint64_t seen = slots_[i];
      if (seen == 0 || (seen >> 32 == hash && is(static_cast<std::uint32_t>(seen) - 1))) return slots_[i];
    }
  }

  void finish() {
    slots_ = {};
    v_.links.shrink_to_fit();
    v_.target_ends.shrink_to_fit();
    v_.target_text.shrink_to_fit();
    v_.names.build();
    sort_by_merging(anchors_);
    resolve_all();
  }

  // Most targets mean the same wherever they stand: those are resolved once. Then inbound counts, orphans, backlinks.
  void resolve_all() {
    const std::uint32_t notes = v_.names.notes();
    resolver r = v_.make_resolver();
    v_.meanings.resize(v_.target_ends.size(), link_status::no_anchor);
    plain_vector<std::uint32_t> destinations, last_source(notes, none);
    destinations.reserve(v_.links.size());
    v_.inbound.resize(notes, 0);
    v_.first_backlink.resize(notes + std::size_t{1}, 0);
    for (std::uint32_t source = 0; source < notes; ++source) {
      for (std::uint32_t i = v_.first_link[source]; i < v_.first_link[source + std::size_t{1}]; ++i) {
        vault_link& link = v_.links[i];
        resolution now = v_.meanings[link.target];
        if (now.is(link_status::no_anchor)) {
          const std::string_view target = v_.target(link.target);
          now = resolve(v_, r, target, source);
          const char first = target.empty() ? '#' : target.front();
          const bool depends_on_source = now.is(link_status::ambiguous) || first == '.' || first == '#';
          if (!depends_on_source || v_.names.exact) v_.meanings[link.target] = now;
        }
        link.status = now.status;
        if (v_.options.check_anchors && now.is(link_status::ok) && now.item < notes) check_anchors(link, now.item);
        ++v_.counts[link.status];
        destinations.push_back(now.item < notes && now.item != source ? now.item : none);
        if (destinations.back() == none) continue;
        ++v_.first_backlink[now.item];
        if (detail::exchange(last_source[now.item], source) != source) ++v_.inbound[now.item];
      }
    }
    for (std::uint32_t i = 0; i < notes; ++i) {
      v_.first_backlink[i + std::size_t{1}] += v_.first_backlink[i];
      if (v_.inbound[i] == 0) v_.orphans.push_back(i);
    }
    v_.orphans.shrink_to_fit();
    v_.backlinks.resize(v_.first_backlink[notes]);
    for (std::size_t i = destinations.size(); i-- > 0;) {
      if (destinations[i] == none) continue;
      v_.backlinks[--v_.first_backlink[destinations[i]]] = static_cast<std::uint32_t>(i);
    }
  }

  void check_anchors(vault_link& link, std::uint32_t note) {
    if (v_.unreadable[note]) return;
    wikilink parts;
    parts.target = v_.target(link.target);
    const anchor a = anchor_of(parts);
    bool there = a.block.empty() || has_anchor(note, a.block, 'b');
    for (std::string_view rest = a.heading; !rest.empty() && there;) {
      const std::size_t cut = rest.find('#');
      const std::string_view one = strip(rest.substr(0, cut));
      there = one.empty() || has_anchor(note, one, 'h');
      rest = cut == std::string_view::npos ? std::string_view() : rest.substr(cut + 1);
    }
    if (!there) link.status = static_cast<unsigned>(link_status::no_anchor) & 7;
  }

  bool has_anchor(std::uint32_t note, std::string_view text, char sort) const {
    const std::uint64_t wanted = anchor_hash(v_.names, note, text, sort);
    const auto below = [&](std::size_t i) { return anchors_[i] < wanted; };
    const std::size_t found = partition_point(0, anchors_.size(), below);
    return found < anchors_.size() && anchors_[found] == wanted;
  }

  struct known_alias {
    std::size_t end;  // in alias_text_
    std::uint32_t note;
  };

  vault_index& v_;
  plain_vector<std::uint64_t> slots_, anchors_;
  std::string alias_text_;
  plain_vector<known_alias> aliases_;
};

MEMORIA_FS_INLINE graph_note item_at(const vault_index& v, std::size_t i, const graph_note*) {
  const auto n = static_cast<std::uint32_t>(i);
  return {v.names.name(n), i, v.inbound[i], v.first_link[i + 1] - v.first_link[i], !v.unreadable[i]};
}

MEMORIA_FS_INLINE graph_link item_at(const vault_index& v, std::size_t i, const graph_link*) {
  const vault_link& link = v.links[i];
  graph_link out;
  out.target = v.target(link.target);
  out.index = i;
  out.source = v.source_of(i);
  resolution meaning = v.meanings[link.target];
  if (meaning.is(link_status::no_anchor)) {
    resolver r = v.make_resolver();
    meaning = resolve(v, r, out.target, static_cast<std::uint32_t>(out.source));
  }
  if (meaning.item < v.names.notes()) out.destination = meaning.item;
  out.position.line = link.line;
  out.position.column = link.column;
  out.status = static_cast<link_status>(link.status);
  out.embed = link.embed != 0;
  out.frontmatter = link.frontmatter != 0;
  return out;
}

inline owner<vault_index> read_vault(const path& directory, const graph_options& options, progress_call progress,
                                     status& s) {
  owner<vault_index> index(new vault_index);
  index->directory = directory;
  index->options = options;
  if (!vault_builder(*index).run(progress, s)) index = nullptr;
  return index;
}

}  // namespace detail

MEMORIA_FS_INLINE link_graph::link_graph() noexcept = default;
MEMORIA_FS_INLINE link_graph::link_graph(link_graph&&) noexcept = default;
MEMORIA_FS_INLINE link_graph& link_graph::operator=(link_graph&&) noexcept = default;
MEMORIA_FS_INLINE link_graph::~link_graph() = default;

MEMORIA_FS_INLINE link_graph::link_graph(const path& directory, const graph_options& options,
                                         detail::progress_call progress, std::error_code& ec)
    : index_(detail::report_to(ec, detail::read_vault, directory, options, progress)) {}

MEMORIA_FS_INLINE detail::graph_range<graph_note> link_graph::notes() const {
  return {index_.get(), 0, index_ ? index_->names.notes() : 0, nullptr};
}

MEMORIA_FS_INLINE detail::graph_range<graph_link> link_graph::links() const {
  return {index_.get(), 0, index_ ? index_->links.size() : 0, nullptr};
}

MEMORIA_FS_INLINE detail::graph_range<graph_link> link_graph::links_of(std::size_t note) const {
  return {index_.get(), index_->first_link[note], index_->first_link[note + 1] - index_->first_link[note], nullptr};
}

MEMORIA_FS_INLINE detail::graph_range<graph_link> link_graph::backlinks(std::size_t note) const {
  const std::uint32_t first = index_->first_backlink[note];
  return {index_.get(), 0, index_->first_backlink[note + 1] - first, index_->backlinks.data() + first};
}

MEMORIA_FS_INLINE detail::graph_range<graph_note> link_graph::orphans() const {
  return {index_.get(), 0, index_ ? index_->orphans.size() : 0, index_ ? index_->orphans.data() : nullptr};
}

MEMORIA_FS_INLINE std::vector<graph_note> link_graph::candidates(std::size_t link) const {
  std::vector<graph_note> found;
  const graph_link which = links()[link];
  if (which.status != link_status::ambiguous) return found;
  const detail::vault_names& names = index_->names;
  detail::resolver r = index_->make_resolver();
  detail::resolve(*index_, r, which.target, static_cast<std::uint32_t>(which.source));
  const std::uint32_t best = names.find(r.key);
  for (std::uint32_t e = best; e != detail::vault_names::none; e = names.next_of(e, r.key)) {
    const std::uint32_t item = names.item_of(e), note = names.leads_to(item);
    if (names.sort(item) == names.sort(names.item_of(best)) && note < names.notes()) found.push_back(notes()[note]);
  }
  return found;
}

MEMORIA_FS_INLINE std::size_t link_graph::count(link_status status) const noexcept {
  return index_ ? index_->counts[static_cast<std::size_t>(status)] : 0;
}

MEMORIA_FS_INLINE const std::vector<graph_failure>& link_graph::failures() const noexcept {
  return index_ ? index_->failures : detail::immortal<std::vector<graph_failure>>();
}

MEMORIA_FS_INLINE std::optional<std::size_t> link_graph::find(std::string_view link) const {
  if (!index_) return std::nullopt;
  detail::resolver r = index_->make_resolver();
  const detail::resolution found = detail::resolve(*index_, r, parse_wikilink(link), detail::vault_names::none);
  if (found.item >= index_->names.notes()) return std::nullopt;
  return found.item;
}

MEMORIA_FS_INLINE bool wiki_article_exists(std::string_view link, const path& knowledge_dir) {
  const std::optional<path> article = detail::article_path(link, knowledge_dir);
  std::error_code ec;
  return article && std::filesystem::exists(*article, ec);
}

namespace detail {

inline std::size_t count_inbound(std::string_view target, const path& directory, const path& exclude, status& s) {
  vault_walk walk;
  os::info left_out, found;
  const auto gone = [](std::error_code code) {
    return code == std::errc::no_such_file_or_directory || code == std::errc::not_a_directory;
  };
  status own;
  if (!exclude.empty() && !os::get_info_path(exclude, left_out, own) && !gone(own.code)) return s.fail(own), 0;
  if (!list_vault(directory, false, walk, s)) return 0;
  std::size_t count = 0;
  path::string_type native;
  read_notes(walk, {}, [&](std::uint32_t i, std::string_view text, bool) {
    bool links_to = false;
    wikilink_scan scan = start_scan(text, true);
    for (wikilink link; !links_to && next_link(scan, link);) links_to = strip(link.target) == target;
    if (!links_to) return;
    status unstated;
    const bool excluded = left_out.type != os::kind::none &&
                          os::get_info_at(walk.top, native_name(walk.names.name(i), native), true, found, unstated) &&
                          found.same_file(left_out);
    if (unstated.failed() && !gone(unstated.code)) s.fail(unstated);
    if (!excluded) ++count;
  });
  for (const graph_failure& f : walk.failures) {
    if (!gone(f.code)) s.fail("read", f.code, f.name);
  }
  return s.failed() ? 0 : count;
}

}  // namespace detail

MEMORIA_FS_INLINE std::size_t count_inbound_links(std::string_view target, const path& knowledge_dir,
                                                  const path& exclude, std::error_code& ec) {
  return detail::report_to(ec, detail::count_inbound, target, knowledge_dir, exclude);
}

MEMORIA_FS_INLINE std::size_t count_inbound_links(std::string_view target, const path& knowledge_dir,
                                                  std::error_code& ec) {
  return count_inbound_links(target, knowledge_dir, path(), ec);
}

// ---- rename_article

namespace detail {

// Puts `content` in the place of a note that still reads `expected`; changed_meanwhile if it reads otherwise, and
// nothing is done.
inline bool swap_content(const path& file, std::string_view expected, std::string_view content,
                         const write_options& options, status& s) {
  replacement r(options);
  if (!locate(file, options, r.t, s) || !begin(r, s) || !write(r, content, s) || !seal(r, s)) return false;
  bool conflict = false;
  if (publish_over(r, conflict, expected, nullptr, s)) return sync_after_rename(r, s);
  return s.failed() ? false : s.fail("", errc::changed_meanwhile, to_utf8(file));
}

inline bool is_utf8(std::string_view text) noexcept {
  for (std::size_t at = 0; at < text.size();) {
    const decoded d = decode_utf8(text, at);
    if (d.length == 0 || (d.code >= 0xD800 && d.code < 0xE000)) return false;
    at += d.length;
  }
  return true;
}

// Why a path from the root cannot name a note for rename_article; nullptr if it can.
inline const char* unfit_name(std::string_view name) {
  if (name.find_first_of(std::string_view("[]|#^\r\n\0", 8)) != std::string_view::npos)
    return "a link cannot hold this name";
  if (!is_utf8(name)) return "not UTF-8";
  if (name.empty() || name.front() == '/') return "not a path from the directory";
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t end = find_byte(name, '/', at, name.size());
    if (end == at || name[at] == '.') return "an empty or hidden component";
    at = end + 1;
  }
  return strip(name).size() == name.size() ? nullptr : "white space at an end";
}

class article_rename {
 public:
  article_rename(const path& directory, const rename_options& options, rename_report& report)
      : directory_(directory), options_(options), report_(report) {
    options_.write.overwrite = true;
    options_.write.generations = 0;
    options_.write.symlinks = symlink_policy::follow;
  }

  bool run(std::string_view from, std::string_view to, status& s) {
    if (!accept(from, from_, s) || !accept(to, to_, s)) return false;
    if (from_ == to_) return s.fail("", std::make_error_code(std::errc::file_exists), "both names are the same");
    file_lock one_at_a_time;
    if (!options_.dry_run) {
      std::error_code ec;
      one_at_a_time = file_lock(directory_ / ".memoria.lock", ec);
      if (ec) return s.fail("lock", ec, ".memoria.lock");
    }
    graph_options how;
    how.resolve = options_.resolve;
    how.include_code = options_.include_code;
    how.include_hidden = options_.include_hidden;
    before_ = read_vault(directory_, how, {}, s);
    if (!before_) return false;
    report_.failures = std::move(before_->failures);
    if (!options_.skip_unreadable && !report_.failures.empty()) {
      return s.fail("read", report_.failures[0].code, report_.failures[0].name);
    }
    const std::uint32_t copy = note_named(to_);
    moved_ = note_named(from_);
    if (moved_ == none) {
      return copy != none || s.fail("", std::make_error_code(std::errc::no_such_file_or_directory), from_);
    }
    prepare_names(copy);
    return move(s);
  }

 private:
  static constexpr std::uint32_t none = vault_names::none;
  static constexpr int attempts = 16;

  bool accept(std::string_view name, std::string& full, status& s) const {
    if (ends_with(name, ".md")) name.remove_suffix(3);
    full = std::string(name) + ".md";
    const char* why = unfit_name(name);
    if (why == nullptr && !article_path(name, directory_)) why = "leads out of the directory";
    return why == nullptr || s.fail("", errc::unsafe_path, full + ": " + why);
  }

  path file(std::string_view name) const { return directory_ / from_utf8(name).value_or(path()); }

  std::uint32_t note_named(std::string_view name) const {
    const vault_names& names = before_->names;
    const auto before = [&](std::size_t i) { return names.name(static_cast<std::uint32_t>(i)) < name; };
    const auto found = static_cast<std::uint32_t>(partition_point(0, names.notes(), before));
    return found < names.notes() && names.name(found) == name ? found : none;
  }

  // The names as they are, and as they will be. A new note that a killed call left behind is in neither.
  void prepare_names(std::uint32_t copy) {
    vault_names& names = before_->names;
    names.hidden = after_.hidden = copy;
    if (copy != none) names.build();
    after_.exact = names.exact;
    for (std::uint32_t i = 0; i < names.size(); ++i) {
      after_.add(i == moved_ ? to_ : names.name(i), names.sort(i), names.leads_to(i));
    }
    after_.build();
  }

  bool move(status& s) {
    std::string old_text;
    if (!read_file(file(from_), old_text, s)) return false;
    std::string new_text = rewritten(moved_, old_text, &report_.changes);
    os::info old_info, new_info;
    status not_there;
    const bool there = os::get_info_path(file(to_), new_info, not_there);
    // One file under two names that differ in case only is one note; a hard link is another, which was listed, too.
    const bool one_note = there && before_->names.hidden == none;
    const bool same = one_note && os::get_info_path(file(from_), old_info, s) && old_info.same_file(new_info);
    if (there && !same) {  // ours, from a call that was killed?
      std::string found;
      if (new_info.type != os::kind::regular || !read_file(file(to_), found, s) || found != new_text) {
        return s.fail("", std::make_error_code(std::errc::file_exists), to_);
      }
    }
    report_.moved = true;
    if (options_.dry_run) return rewrite_others(s);
    if (!there && !create(new_text, s)) return false;
    if (same && new_text != old_text && !swap_content(file(from_), old_text, new_text, options_.write, s)) return false;
    if (!rewrite_others(s)) return false;
    if (same) return rename_in_place(s);
    return remove_old(old_text, new_text, s);
  }

  bool create(std::string_view text, status& s) const {
    target old;
    replacement r(options_.write);
    r.options.overwrite = false;
    r.like = &old;
    return locate(file(from_), where_it_is(), old, s) && locate(file(to_), options_.write, r.t, s) &&
           replace(r, text, s);
  }

  bool rename_in_place(status& s) const {
    target a, b;
    write_options as_is = where_it_is();
    as_is.symlinks = symlink_policy::replace;
    if (!locate(file(from_), as_is, a, s) || !locate(file(to_), as_is, b, s)) return false;
    return os::rename_at(*a.dir, a.name.c_str(), *b.dir, b.name.c_str(), os::rename_mode::replace, s) &&
           (options_.write.durable != durability::full || os::sync_directory(*b.dir, s));
  }

  // The old note is taken aside before it is removed, so that an edit of the last moment is seen.
  bool remove_old(std::string old_text, std::string new_text, status& s) const {
    target t;
    write_options as_is = where_it_is();
    as_is.symlinks = symlink_policy::replace;
    if (!locate(file(from_), as_is, t, s)) return false;
    for (int attempt = 0; attempt < attempts; ++attempt) {
      const path::string_type aside = temporary_name();
      if (!os::rename_at(*t.dir, t.name.c_str(), *t.dir, aside.c_str(), os::rename_mode::replace, s)) return false;
      std::string now;
      status unread;
      const os::handle h = os::open_at(*t.dir, aside.c_str(), os::read_only, unread);
      if (h && read_regular(h, now, unread) && now == old_text) {
        return os::unlink_at(*t.dir, aside.c_str(), s) &&
               (options_.write.durable != durability::full || os::sync_directory(*t.dir, s));
      }
      if (!rename_without_clobber(*t.dir, aside, t.name, s)) return false;
      if (unread.failed()) return s.fail(unread.step, unread.code, from_);
      std::string merged = rewritten(moved_, now, nullptr);
      if (!swap_content(file(to_), new_text, merged, options_.write, s)) return false;
      old_text = std::move(now);
      new_text = std::move(merged);
    }
    return s.fail("", errc::changed_meanwhile, from_);
  }

  bool rewrite_others(status& s) {
    const std::uint32_t notes = before_->names.notes();
    for (std::uint32_t i = 0; i < notes; ++i) {
      const bool other = i != moved_ && i != before_->names.hidden;
      if (other && needs_rewriting(i) && !rewrite_note(i, s)) return false;
    }
    return true;
  }

  bool needs_rewriting(std::uint32_t note) const {
    for (std::uint32_t i = before_->first_link[note]; i < before_->first_link[note + std::size_t{1}]; ++i) {
      const std::string_view target = before_->target(before_->links[i].target);
      if (new_note(note, strip(target.substr(0, target.find('#'))))) return true;
    }
    return false;
  }

  bool rewrite_note(std::uint32_t note, status& s) {
    const path where = file(before_->names.name(note));
    const std::size_t known_changes = report_.changes.size();
    for (int attempt = 1;; ++attempt) {
      std::string text;
      status own;
      if (!read_file(where, text, own)) return own.missing() || s.fail(own.step, own.code, to_utf8(where));
      while (report_.changes.size() > known_changes) report_.changes.pop_back();
      const std::string changed = rewritten(note, text, &report_.changes);
      if (options_.dry_run || changed == text) return true;
      if (swap_content(where, text, changed, options_.write, own)) return true;
      if (own.code != errc::changed_meanwhile || attempt == attempts) return s.fail(own);
    }
  }

  std::string rewritten(std::uint32_t note, std::string_view text, std::vector<link_change>* changes) const {
    wikilink_options how;
    how.include_code = options_.include_code;
    return replace_wikilinks(text, [&](const wikilink& link) {
      std::optional<std::string> to = new_note(note, link.note());
      if (to && changes != nullptr) {
        const std::string_view in = after_.name(note);
        changes->push_back({std::string(in), position_of(text, link.offset), std::string(link.note()), *to});
      }
      return to;
    }, how);
  }

  resolution resolve_in(const vault_names& names, std::uint32_t source, std::string_view note) const {
    resolver r{names, directory_, false, {}, {}};
    return names.exact ? resolve_exact(r, note) : resolve_name(r, note, source);
  }

  // What the note part of a link must become to lead where it led; nothing if it still does, or never did.
  std::optional<std::string> new_note(std::uint32_t source, std::string_view note) const {
    if (note.empty()) return std::nullopt;
    const resolution was = resolve_in(before_->names, source, note);
    if (was.item == none) return std::nullopt;
    const resolution now = resolve_in(after_, source, note);
    if (now.item == was.item && (now.status == was.status || now.is(link_status::ok))) return std::nullopt;
    std::string full(after_.name(was.item));
    if (full.find_first_of("[]|#^\r\n") != std::string::npos) return std::nullopt;
    const bool keep_md = ends_with(note, ".md") && !after_.exact;
    if (was.item < after_.notes() && !keep_md) full.resize(full.size() - 3);
    if (note.front() == '/') return "/" + full;
    std::size_t begin = full.size();
    bool path_from_root = note.front() == '.' || after_.exact;
    for (std::size_t at = 0; !path_from_root && at != std::string_view::npos; at = note.find('/', at + 1)) {
      begin = full.rfind('/', begin - 1);  // as many folders as were written
      if (begin == std::string::npos) path_from_root = true;
    }
    if (!path_from_root) {
      const std::string same_style = full.substr(begin + 1);
      const resolution short_one = resolve_in(after_, source, same_style);
      if (short_one.item == was.item && short_one.is(link_status::ok)) return same_style;
    }
    return full;
  }

  const path& directory_;
  rename_options options_;
  rename_report& report_;
  std::string from_, to_;
  owner<vault_index> before_;
  vault_names after_;
  std::uint32_t moved_ = none;
};

inline rename_report rename_note(const path& directory, std::string_view from, std::string_view to,
                                 const rename_options& options, status& s) {
  rename_report report;
  article_rename(directory, options, report).run(from, to, s);
  return report;
}

}  // namespace detail

MEMORIA_FS_INLINE rename_report rename_article(const path& directory, std::string_view from, std::string_view to,
                                               const rename_options& options, std::error_code& ec) {
  return detail::report_to(ec, detail::rename_note, directory, from, to, options);
}

MEMORIA_FS_INLINE rename_report rename_article(const path& directory, std::string_view from, std::string_view to,
                                               std::error_code& ec) {
  return rename_article(directory, from, to, rename_options(), ec);
}

#if MEMORIA_FS_EXCEPTIONS
MEMORIA_FS_INLINE std::size_t count_inbound_links(std::string_view target, const path& knowledge_dir,
                                                  const path& exclude) {
  return detail::or_throw("count_inbound_links", knowledge_dir, detail::count_inbound, target, knowledge_dir, exclude);
}

MEMORIA_FS_INLINE link_graph::link_graph(const path& directory, const graph_options& options)
    : index_(detail::or_throw("link_graph", directory, detail::read_vault, directory, options,
                              detail::progress_call())) {}

MEMORIA_FS_INLINE rename_report rename_article(const path& directory, std::string_view from, std::string_view to,
                                               const rename_options& options) {
  return detail::or_throw("rename_article", directory, detail::rename_note, directory, from, to, options);
}
#endif

}  // inline namespace MEMORIA_FS_ABI
}  // namespace MEMORIA_FS_NAMESPACE

// ---- Tests ----------------------------------------------------------------------------------------------------------
//
// This header is its own test program; the first screen has the command. TMPDIR names the file system it tries.

#ifdef MEMORIA_FS_TESTS

#include <algorithm>
#include <fstream>
#include <iterator>
#include <thread>
#ifndef _WIN32
#include <sys/resource.h>
#endif

namespace MEMORIA_FS_NAMESPACE {
inline namespace MEMORIA_FS_ABI {
namespace tests {

// A directory of its own for one test case.
struct scratch {
  path dir;
  scratch()
      : dir(std::filesystem::temp_directory_path() / ("memoria-test-" + std::to_string(detail::os::random_bits()))) {
    std::filesystem::create_directories(dir);
  }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  ~scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(dir, ignored);
  }
  path operator/(const char* name) const { return dir / name; }
  std::vector<std::string> names() const {  // what is directly in it, sorted
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(dir))
      out.push_back(detail::to_utf8(entry.path().filename()));
    std::sort(out.begin(), out.end());
    return out;
  }
};

// Written and read without the code under test.
inline void put(const path& file, std::string_view content) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out.write(content.data(), static_cast<std::streamsize>(content.size()));
}
inline std::string contents(const path& file) {
  std::ifstream in(file, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}
inline std::vector<std::string> list(std::initializer_list<const char*> names) { return {names.begin(), names.end()}; }

// Symbolic links need a right on Windows, and Wine does not show them as such.
inline bool can_symlink() {
  const scratch here;
  put(here / "a", "a");
  std::error_code ec;
  std::filesystem::create_symlink("a", here / "link", ec);
  return !ec && std::filesystem::is_symlink(here / "link", ec);
}

// The n-th system call of a run fails, or transfers less than it was asked to.
struct fault {
  static inline long countdown = -1;
  static inline int error = 0;
  static inline std::size_t at_most = SIZE_MAX;
  static inline std::string struck;  // the call that was hit

  static detail::os::verdict judge(const detail::os::event& e) {
    if (countdown < 0 || countdown-- != 0) return {};
    struck = e.call;
    return {error, at_most};
  }
  fault(long n, int code, std::size_t limit = SIZE_MAX) {
    countdown = n, error = code, at_most = limit;
    struck.clear();
    detail::os::seam() = judge;
  }
  fault(const fault&) = delete;
  fault& operator=(const fault&) = delete;
  ~fault() {
    detail::os::seam() = nullptr;
    countdown = -1;
  }
};

#ifdef __linux__
// An extended attribute; nothing if it is not there.
inline std::optional<std::string> attribute(const path& file, const char* name) {
  char value[256];
  const auto n = ::getxattr(file.c_str(), name, value, sizeof value);
  return n < 0 ? std::nullopt : std::optional<std::string>(std::string(value, static_cast<std::size_t>(n)));
}
inline bool set_attribute(const path& file, const char* name, const std::string& value) {
  return ::setxattr(file.c_str(), name, value.data(), value.size(), 0) == 0;
}

// An access list as the kernel keeps it: the owner may read and write, user 65534 and the mask as given, others
// nothing.
inline std::string access_list(unsigned user, unsigned group, unsigned mask) {
  std::string list("\2\0\0\0", 4);
  const auto entry = [&](unsigned tag, unsigned bits, std::uint32_t who) {
    for (const std::uint32_t half : {tag, bits}) list += {static_cast<char>(half), '\0'};
    for (unsigned shift = 0; shift < 32; shift += 8)
      list += static_cast<char>(static_cast<unsigned char>(who >> shift));
  };
  entry(0x01, 6, UINT32_MAX), entry(0x02, user, 65534), entry(0x04, group, UINT32_MAX);
  entry(0x10, mask, UINT32_MAX), entry(0x20, 0, UINT32_MAX);
  return list;
}
constexpr const char *acl = "system.posix_acl_access", *default_acl = "system.posix_acl_default";
#endif

#ifdef _WIN32
constexpr int io_error = 1117, disk_full = 112, no_entry = 2;
#else
constexpr int io_error = EIO, disk_full = ENOSPC, no_entry = ENOENT;
#endif

}  // namespace tests
}  // inline namespace MEMORIA_FS_ABI
}  // namespace MEMORIA_FS_NAMESPACE

namespace MEMORIA_FS_NAMESPACE {
inline namespace MEMORIA_FS_ABI {
namespace tests {

// Printed for whoever runs this on the file system that will be used; checked is what must never be a lie.
DOCTEST_TEST_CASE("what this file system can do") {
  using namespace detail;
  const scratch here;
  put(here / "a", "a");
  put(here / "b", "b");
  const path a("a"), b("b"), c("c");
  std::string report = to_utf8(here.dir.parent_path());
  const auto tell = [&](const char* feature, const status& s) {
    report.append("\n  ").append(feature).append(": ").append(s.failed() ? "no (" + s.code.message() + ")" : "yes");
  };
  status opened;
  const os::directory dir = os::open_directory(here.dir, opened);
  const os::handle first = os::open_at(dir, a.c_str(), os::read_write, opened);
  const os::handle second = os::open_at(dir, a.c_str(), os::read_write, opened);
  DOCTEST_REQUIRE(!opened.failed());

  status locks, held;
  if (os::lock(first, false, false, locks)) {
    DOCTEST_CHECK(!os::lock(second, false, false, held));  // or two processes would be let in
    os::unlock(first);
  }
  tell("locks", locks);

  status link, keep, exchange;
  os::link_at(dir, a.c_str(), c.c_str(), link);
  tell("hard links", link);
  os::rename_at(dir, a.c_str(), dir, b.c_str(), os::rename_mode::keep, keep);
  DOCTEST_CHECK(keep.failed());
  DOCTEST_CHECK(contents(here / "b") == "b");
  if (keep.code == std::errc::file_exists) keep = status();
  tell("rename that never clobbers", keep);
  os::rename_at(dir, a.c_str(), dir, b.c_str(), os::rename_mode::exchange, exchange);
  DOCTEST_CHECK(contents(here / "a") == (exchange.failed() ? "a" : "b"));
  tell("exchange of two files", exchange);

#ifndef _WIN32
  const auto result = [&](const char* feature, bool ok) {
    status s;
    if (!ok) s.fail("", os::make_code(errno));
    tell(feature, s);
  };
  result("sync of a directory", ::fsync(os::fd(dir)) == 0);
#endif
#ifdef __linux__
  result("O_TMPFILE", static_cast<bool>(os::handle(::openat(os::fd(dir), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600))));
  result("extended attributes", ::fsetxattr(os::fd(first), "user.memoria", "1", 1, 0) == 0);
  status beneath;
  os::handle found;
  errno = ENOSYS;
  result("openat2", os::open_beneath(dir, a.c_str(), os::opening::file, found, beneath));
#endif
  DOCTEST_MESSAGE(report);
}

DOCTEST_TEST_SUITE_BEGIN("[errors]");

DOCTEST_TEST_CASE("an error names operation, path, step and reason, and is a filesystem_error") {
  detail::status s;
  s.fail("fsync", std::make_error_code(std::errc::no_space_on_device), "hint");
  s.fail("close", std::make_error_code(std::errc::io_error));
  const error e("atomic_write_text", "dir/state.json", s);
  const std::string what = e.what();
  DOCTEST_CHECK(what.find("atomic_write_text \"dir/state.json\": fsync: ") == 0);
  DOCTEST_CHECK(what.find("(hint)") != std::string::npos);
  DOCTEST_CHECK(e.operation() == "atomic_write_text");
  DOCTEST_CHECK(e.step() == "fsync");
  DOCTEST_CHECK(e.path1() == path("dir/state.json"));
  const error forged("f", path(std::string("a\0b\nc\x1F \x7F~", 9)), s);
  DOCTEST_CHECK(std::string(forged.what()).find("f \"a\\x00b\\x0Ac\\x1F \\x7F~\": fsync") == 0);
  detail::status noted;
  noted.fail("", make_error_code(errc::unsafe_path), "\"a\nb\" leads out");
  DOCTEST_CHECK(std::string(error("f", "x", noted).what()).find("(\"a\\x0Ab\" leads out)") != std::string::npos);
  const std::filesystem::filesystem_error& base = e;
  DOCTEST_CHECK(base.code() == std::errc::no_space_on_device);
}

DOCTEST_TEST_CASE("a hint too long to keep is cut between characters, and says so") {
  for (const std::size_t size : {316u, 317u, 319u, 320u, 321u, 5000u, 5001u}) {
    std::string hint(size % 2, 'a');
    while (hint.size() < size) hint += "\xC3\xA9";
    detail::status s;
    s.fail("", errc::unsafe_path, hint);
    const std::string kept = s.note;
    if (size < sizeof s.note) {
      DOCTEST_CHECK(kept == hint);
    } else {
      DOCTEST_CHECK(kept == hint.substr(0, size % 2 + (sizeof s.note - 4 - size % 2) / 2 * 2) + "...");
    }
  }
  detail::status s;
  s.fail("", errc::unsafe_path);
  DOCTEST_CHECK(*s.note == '\0');
}

DOCTEST_TEST_CASE("every errc has a message of its own and the promised std::errc") {
  std::vector<std::string> messages;
  for (int i = static_cast<int>(errc::lock_timeout); i <= static_cast<int>(errc::json_missing); ++i) {
    messages.push_back(make_error_code(static_cast<errc>(i)).message());
  }
  std::sort(messages.begin(), messages.end());
  DOCTEST_CHECK(std::unique(messages.begin(), messages.end()) == messages.end());
  DOCTEST_CHECK(std::find(messages.begin(), messages.end(), error_category().message(0)) == messages.end());
  const auto is = [](errc e, std::errc c) { return make_error_code(e) == c; };
  DOCTEST_CHECK(is(errc::lock_timeout, std::errc::timed_out));
  DOCTEST_CHECK(is(errc::lock_unsupported, std::errc::not_supported));
  DOCTEST_CHECK(is(errc::lock_nested, std::errc::resource_deadlock_would_occur));
  DOCTEST_CHECK(is(errc::unsafe_path, std::errc::operation_not_permitted));
  DOCTEST_CHECK(is(errc::not_regular, std::errc::invalid_argument));
  DOCTEST_CHECK(is(errc::is_symlink, std::errc::too_many_symbolic_link_levels));
  DOCTEST_CHECK(is(errc::size_mismatch, std::errc::io_error));
  DOCTEST_CHECK(is(errc::corrupt_json, std::errc::illegal_byte_sequence));
  DOCTEST_CHECK(is(errc::json_limit, std::errc::value_too_large));
  DOCTEST_CHECK(is(errc::json_type, std::errc::argument_out_of_domain));
  DOCTEST_CHECK(is(errc::json_missing, std::errc::result_out_of_range));
  DOCTEST_CHECK(std::error_code(errc::not_durable) == errc::not_durable);
  DOCTEST_CHECK(std::string(error_category().name()) == "memoria");
  const std::error_code unknown(9999, error_category());
  DOCTEST_CHECK(unknown.message() == "unknown memoria error");
  DOCTEST_CHECK(unknown.default_error_condition() == std::error_condition(9999, error_category()));
}

DOCTEST_TEST_CASE("a code of another copy of this header is the same code") {
  struct category : std::error_category {
    const char* called;
    explicit category(const char* c) : called(c) {}
    const char* name() const noexcept override { return called; }
    std::string message(int) const override { return {}; }
  };
  const category copy("memoria"), other("disk");
  const std::error_code code(static_cast<int>(errc::not_durable), copy);
  DOCTEST_CHECK(code == errc::not_durable);
  DOCTEST_CHECK(errc::not_durable == code);
  DOCTEST_CHECK(!(code != errc::not_durable));
  DOCTEST_CHECK(!(errc::not_durable != code));
  DOCTEST_CHECK(code != errc::lock_timeout);
  DOCTEST_CHECK(errc::lock_timeout != code);
  DOCTEST_CHECK(std::error_code(code.value(), other) != errc::not_durable);
}

DOCTEST_TEST_CASE("UTF-8 and native paths convert without loss") {
  for (const char* text : {"", "a/b.md", "Ünïcode ☕.md", "\xF0\x9F\x98\x80", "\xED\xA0\x80"}) {
    const std::optional<path> p = detail::from_utf8(text);
    DOCTEST_REQUIRE(p.has_value());
    DOCTEST_CHECK(detail::to_utf8(*p) == text);
  }
  for (const char* text :
       {"\xFF", "\xC3", "\xC0\x80", "\xE0\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "a\x80"}) {
    const std::optional<path> p = detail::from_utf8(text);
    if (sizeof(path::value_type) == 1) {
      DOCTEST_CHECK(detail::to_utf8(p.value()) == text);  // bytes are bytes
    } else {
      DOCTEST_CHECK(!p.has_value());
    }
  }
}

DOCTEST_TEST_CASE("lanes find the same bytes as a loop, at every place") {
  using detail::lanes;
  char bytes[lanes::width];
  const auto check = [&](lanes::mask m, auto expected) {
    for (std::size_t i = 0; i < lanes::width; ++i) {
      const bool set = ((m >> (i * lanes::bits)) & 1) != 0;
      DOCTEST_REQUIRE(set == expected(static_cast<unsigned char>(bytes[i])));
    }
  };
  for (unsigned round = 0; round < 512; ++round) {
    for (std::size_t i = 0; i < lanes::width; ++i) {
      bytes[i] =
          static_cast<char>(static_cast<unsigned char>(round < 256 ? round + i : (round * 167 + i * 91) >> (i % 3)));
    }
    const lanes v = lanes::load(bytes);
    check(v.equal('['), [](unsigned c) { return c == '['; });
    check(v.below(0x20), [](unsigned c) { return c < 0x20; });
    check(v.high(), [](unsigned c) { return c >= 0x80; });
    char copy[lanes::width];
    v.store(copy);
    DOCTEST_REQUIRE(std::memcmp(bytes, copy, lanes::width) == 0);
  }
  DOCTEST_CHECK(detail::first_lane(lanes::mask{1} << (3 * lanes::bits)) == 3);
}

DOCTEST_TEST_SUITE_END();

}  // namespace tests
}  // inline namespace MEMORIA_FS_ABI
}  // namespace MEMORIA_FS_NAMESPACE

namespace MEMORIA_FS_NAMESPACE {
inline namespace MEMORIA_FS_ABI {
namespace tests {

DOCTEST_TEST_SUITE_BEGIN("[replace]");

DOCTEST_TEST_CASE("atomic_write_text creates, replaces, keeps every byte and leaves nothing else") {
  const scratch here;
  const std::string content("bytes \0\xFF\r\n\n", 11);
  std::error_code ec;
  atomic_write_text(here / "f", "old", ec);
  DOCTEST_REQUIRE(!ec);
  atomic_write_text(here / "f", content, ec);
  DOCTEST_REQUIRE(!ec);
  DOCTEST_CHECK(contents(here / "f") == content);
  DOCTEST_CHECK(read_text(here / "f", ec) == content);
  atomic_write_text(here / "f", "", ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(contents(here / "f").empty());
  DOCTEST_CHECK(here.names() == list({"f"}));
}

DOCTEST_TEST_CASE("every durability level replaces") {
  const scratch here;
  for (const durability level : {durability::none, durability::data, durability::full}) {
    write_options options;
    options.durable = level;
    std::error_code ec;
    atomic_write_text(here / "f", std::to_string(static_cast<int>(level)), options, ec);
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(contents(here / "f") == std::to_string(static_cast<int>(level)));
  }
}

DOCTEST_TEST_CASE("parents are made, and go again when the call fails") {
  const scratch here;
  std::error_code ec;
  atomic_write_text(here / "a" / "b" / "f", "x", ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(contents(here / "a" / "b" / "f") == "x");
  atomic_write_text(here / "c" / "d" / std::string(300, 'n'), "x", ec);
  DOCTEST_CHECK(ec);
  if (sizeof(path::value_type) == 1) DOCTEST_CHECK(ec == std::errc::filename_too_long);  // Windows and Wine disagree
  DOCTEST_CHECK(here.names() == list({"a"}));
  write_options options;
  options.create_parents = false;
  atomic_write_text(here / "e" / "f", "x", options, ec);
  DOCTEST_CHECK(ec == std::errc::no_such_file_or_directory);
  DOCTEST_CHECK(here.names() == list({"a"}));
}

DOCTEST_TEST_CASE("overwrite = false never clobbers") {
  const scratch here;
  write_options options;
  options.overwrite = false;
  std::error_code ec;
  atomic_write_text(here / "f", "first", options, ec);
  DOCTEST_CHECK(!ec);
  atomic_write_text(here / "f", "second", options, ec);
  DOCTEST_CHECK(ec == std::errc::file_exists);
  DOCTEST_CHECK(contents(here / "f") == "first");
  DOCTEST_CHECK(here.names() == list({"f"}));
  // Also where it appears between the look and the rename.
  atomic_file late(here / "g", options, ec);
  DOCTEST_REQUIRE(!ec);
  late.write("mine", ec);
  put(here / "g", "theirs");
  late.commit(ec);
  DOCTEST_CHECK(ec == std::errc::file_exists);
  DOCTEST_CHECK(contents(here / "g") == "theirs");
  DOCTEST_CHECK(here.names() == list({"f", "g"}));
}

DOCTEST_TEST_CASE("without a rename that spares, a hard link does not clobber either") {
  const scratch here;
  static bool refused;
  refused = false;
  detail::os::seam() = [](const detail::os::event& e) {
    if (std::string_view(e.call) != "rename" || refused) return detail::os::verdict{};
    refused = true;
#ifdef _WIN32
    return detail::os::verdict{50, SIZE_MAX};
#else
    return detail::os::verdict{EINVAL, SIZE_MAX};
#endif
  };
  write_options options;
  options.overwrite = false;
  std::error_code ec;
  atomic_write_text(here / "f", "x", options, ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(refused);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(here.names() == list({"f"}));
  DOCTEST_CHECK(contents(here / "f") == "x");
}

DOCTEST_TEST_CASE("generations keep the newest previous versions") {
  const scratch here;
  write_options options;
  options.generations = 2;
  std::error_code ec;
  for (const char* version : {"1", "2", "3", "4"}) {
    atomic_write_text(here / "f", version, options, ec);
    DOCTEST_REQUIRE(!ec);
  }
  DOCTEST_CHECK(contents(here / "f") == "4");
  DOCTEST_CHECK(contents(here / "f.gen-1") == "3");
  DOCTEST_CHECK(contents(here / "f.gen-2") == "2");
  DOCTEST_CHECK(here.names() == list({"f", "f.gen-1", "f.gen-2"}));
}

DOCTEST_TEST_CASE("generations are copied where there are no hard links") {
  const scratch here;
  put(here / "f", "old");
  detail::os::seam() = [](const detail::os::event& e) {
    const std::string_view call = e.call;
#ifdef _WIN32
    return detail::os::verdict{call == "CreateHardLink" ? 1 : 0, SIZE_MAX};
#else
    return detail::os::verdict{call == "link" ? EPERM : 0, SIZE_MAX};
#endif
  };
  write_options options;
  options.generations = 1;
  std::error_code ec;
  atomic_write_text(here / "f", "new", options, ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(contents(here / "f") == "new");
  DOCTEST_CHECK(contents(here / "f.gen-1") == "old");
  DOCTEST_CHECK(here.names() == list({"f", "f.gen-1"}));
}

#ifdef _WIN32
DOCTEST_TEST_CASE("while others hold the target it is tried again, and the first reason is the one reported") {
  const scratch here;
  put(here / "f", "old");
  static int refusals, left;
  detail::os::seam() = [](const detail::os::event& e) {
    if (std::string_view(e.call) != "rename" || left == 0) return detail::os::verdict{};
    --left;
    return detail::os::verdict{++refusals == 1 ? 32 : 5, SIZE_MAX};  // sharing violation, then access denied
  };
  write_options options;
  options.retry_for = std::chrono::milliseconds{100};
  std::error_code ec;
  refusals = 0, left = 3;
  atomic_write_text(here / "f", "new", options, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(contents(here / "f") == "new");
  refusals = 0, left = 1000000;
  atomic_write_text(here / "f", "newer", options, ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(refusals > 2);
  DOCTEST_CHECK(ec == std::errc::device_or_resource_busy);
  DOCTEST_CHECK(contents(here / "f") == "new");
  DOCTEST_CHECK(here.names() == list({"f"}));
}
#endif

#ifndef _WIN32
DOCTEST_TEST_CASE("an existing file keeps its mode, a new one obeys the umask, permissions are set before the rename") {
  const scratch here;
  const auto mode = [](const path& p) {
    return static_cast<unsigned>(std::filesystem::status(p).permissions()) & 07777u;
  };
  std::error_code ec;
  put(here / "f", "old");
  ::chmod((here / "f").c_str(), 0640);
  atomic_write_text(here / "f", "new", ec);
  DOCTEST_CHECK(mode(here / "f") == 0640);
  const ::mode_t before = ::umask(027);
  atomic_write_text(here / "g", "new", ec);
  ::umask(before);
  DOCTEST_CHECK(mode(here / "g") == 0640);
  write_options options;
  options.permissions = std::filesystem::perms(0604);
  atomic_write_text(here / "f", "new", options, ec);
  DOCTEST_CHECK(mode(here / "f") == 0604);
  ::chmod((here / "f").c_str(), 0444);  // read-only is no obstacle: the directory decides
  atomic_write_text(here / "f", "newer", ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(mode(here / "f") == 0444);
}

DOCTEST_TEST_CASE("an existing file's temporary is private until it has owner and mode, in that order") {
  const scratch here;
  put(here / "f", "old");
  ::chmod((here / "f").c_str(), 0666);
  static std::string seen;
  static path watched;
  seen.clear();
  watched = here.dir;
  detail::os::seam() = [](const detail::os::event& e) {
    const std::string_view call = e.call;
    if (call == "write" || call == "fchown" || call == "fchmod" || call == "fsync" || call == "rename")
      seen.append(call) += ' ';
    if (call == "write" || call == "fchmod") {
      struct ::stat st = {};
      DOCTEST_CHECK(::fstat(static_cast<int>(e.handle), &st) == 0);
      DOCTEST_CHECK((st.st_mode & 07777u) == 0600);
    }
    return detail::os::verdict{};
  };
  std::error_code ec;
  atomic_write_text(here / "f", "new", ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(seen == "write fchmod fsync rename ");
}

DOCTEST_TEST_CASE("set-id bits go where the owner cannot be kept, and what only the old group might where it cannot") {
  if (::geteuid() != 0) {
    DOCTEST_MESSAGE("skipped: needs root to make a file of another owner");
    return;
  }
  const scratch here;
  put(here / "f", "old");
  DOCTEST_REQUIRE(::chown((here / "f").c_str(), 65534, 65534) == 0);
  DOCTEST_REQUIRE(::chmod((here / "f").c_str(), 04755) == 0);
  struct ::stat st = {};
  std::error_code ec;
  atomic_write_text(here / "f", "kept", ec);
  DOCTEST_CHECK(::stat((here / "f").c_str(), &st) == 0);
  DOCTEST_CHECK(st.st_uid == 65534);
  DOCTEST_CHECK((st.st_mode & 07777u) == 04755);
  constexpr unsigned modes[][2] = {{04755, 0755}, {0660, 0600}, {0674, 0644}};  // before, after
  for (const auto& mode : modes) {
    DOCTEST_REQUIRE(::chown((here / "f").c_str(), 65534, 65534) == 0);
    DOCTEST_REQUIRE(::chmod((here / "f").c_str(), static_cast<::mode_t>(mode[0])) == 0);
    detail::os::seam() = [](const detail::os::event& e) {
      return detail::os::verdict{std::string_view(e.call) == "fchown" ? EPERM : 0, SIZE_MAX};
    };
    atomic_write_text(here / "f", "not kept", ec);
    detail::os::seam() = nullptr;
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(::stat((here / "f").c_str(), &st) == 0);
    DOCTEST_CHECK(st.st_uid == 0);
    DOCTEST_CHECK((st.st_mode & 07777u) == mode[1]);
  }
  DOCTEST_REQUIRE(::chown((here / "f").c_str(), 65534, 65534) == 0);
  DOCTEST_REQUIRE(::chmod((here / "f").c_str(), 04760) == 0);
  static int asked;
  asked = 0;
  detail::os::seam() = [](const detail::os::event& e) {  // the group alone can be kept
    return detail::os::verdict{std::string_view(e.call) == "fchown" && asked++ == 0 ? EPERM : 0, SIZE_MAX};
  };
  atomic_write_text(here / "f", "the group's", ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(::stat((here / "f").c_str(), &st) == 0);
  DOCTEST_CHECK(st.st_gid == 65534);
  DOCTEST_CHECK((st.st_mode & 07777u) == 0760);
}

// What a new version of `file` could not keep while `refuse` answers for the system.
inline write_report report_of_writing(const path& file, detail::os::verdict (*refuse)(const detail::os::event&)) {
  write_report report;
  write_options options;
  options.report = &report;
  std::error_code ec;
  detail::os::seam() = refuse;
  atomic_write_text(file, "new", options, ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(!ec);
  return report;
}

#ifdef __linux__
DOCTEST_TEST_CASE("a replaced file keeps its extended attributes and its access list") {
  const scratch here;
  const path file = here / "f";
  put(file, "old");
  if (!set_attribute(file, "user.origin", "somewhere") || !set_attribute(file, acl, access_list(6, 0, 6))) {
    DOCTEST_MESSAGE("skipped: no extended attributes or access lists here");
    return;
  }
  DOCTEST_REQUIRE(set_attribute(file, "user.empty", ""));
  DOCTEST_REQUIRE(set_attribute(file, "user.long", std::string(200, 'x')));
  write_report report;
  write_options options;
  options.report = &report;
  options.generations = 1;
  std::error_code ec;
  for (const char* text : {"new", "newer"}) {
    atomic_write_text(file, text, options, ec);
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(contents(file) == text);
    DOCTEST_CHECK(attribute(file, "user.origin") == "somewhere");
    DOCTEST_CHECK(attribute(file, "user.empty") == "");
    DOCTEST_CHECK(attribute(file, "user.long") == std::string(200, 'x'));
    DOCTEST_CHECK(attribute(file, acl) == access_list(6, 0, 6));
  }
  DOCTEST_CHECK(report.not_kept.empty());
  DOCTEST_CHECK(attribute(here / "f.gen-1", "user.origin") == "somewhere");
}

DOCTEST_TEST_CASE("what the system refuses to keep is reported, and a lost access list lets nobody in") {
  const scratch here;
  const path file = here / "f";
  put(file, "old");
  if (!set_attribute(file, "user.origin", "somewhere") || !set_attribute(file, acl, access_list(6, 0, 6))) {
    DOCTEST_MESSAGE("skipped: no extended attributes or access lists here");
    return;
  }
  write_report report;
  const auto lost = [&](const char* what, int code) {
    return std::count_if(report.not_kept.begin(), report.not_kept.end(), [&](const write_report::loss& loss) {
      return loss.what == what && loss.file == file && loss.why.value() == code;
    }) == 1;
  };
  report = report_of_writing(file, [](const detail::os::event& e) {
    return detail::os::verdict{std::string_view(e.call) == "llistxattr" ? EIO : 0, SIZE_MAX};
  });
  DOCTEST_CHECK(report.not_kept.size() == 1);
  DOCTEST_CHECK(lost("extended attributes", EIO));
  put(file, "old");
  DOCTEST_REQUIRE((set_attribute(file, "user.origin", "x") && set_attribute(file, acl, access_list(6, 0, 6))));
  report = report_of_writing(file, [](const detail::os::event& e) {
    return detail::os::verdict{std::string_view(e.call) == "fsetxattr" ? EPERM : 0, SIZE_MAX};
  });
  DOCTEST_CHECK(report.not_kept.size() == 2);
  DOCTEST_CHECK(lost("user.origin", EPERM));
  DOCTEST_CHECK(lost(acl, EPERM));
  DOCTEST_CHECK(!attribute(file, acl));
  struct ::stat st = {};
  DOCTEST_CHECK(::stat(file.c_str(), &st) == 0);
  DOCTEST_CHECK((st.st_mode & 07777u) == 0600);  // the group's bits were the mask of the list: 0660
  if (::geteuid() != 0) return;
  DOCTEST_REQUIRE(::chown(file.c_str(), 65534, 65534) == 0);
  DOCTEST_REQUIRE(::chmod(file.c_str(), 04755) == 0);
  report = report_of_writing(file, [](const detail::os::event& e) {
    return detail::os::verdict{std::string_view(e.call) == "fchown" ? EPERM : 0, SIZE_MAX};
  });
  DOCTEST_CHECK(report.not_kept.size() == 3);
  for (const char* what : {"owner", "group", "set-id bits"}) DOCTEST_CHECK(lost(what, EPERM));
}

DOCTEST_TEST_CASE("attributes that go by owner or content, vanish meanwhile or are there already") {
  const scratch here;
  const path file = here / "f";
  const std::string capability("\0\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);  // to bind low ports
  put(file, "old");
  if (::geteuid() != 0 || !set_attribute(file, "security.capability", capability) ||
      !set_attribute(here.dir, default_acl, access_list(6, 0, 6))) {
    DOCTEST_MESSAGE("skipped: not root, or no attributes here");
    return;
  }
  DOCTEST_REQUIRE(set_attribute(file, acl, access_list(6, 0, 0)));  // what the default makes of mode 0600
  write_report report;
  report = report_of_writing(file, nullptr);
  DOCTEST_CHECK(report.not_kept.empty());
  DOCTEST_CHECK(attribute(file, "security.capability") == capability);
  report = report_of_writing(file, [](const detail::os::event& e) {  // the same list comes from the directory
    return detail::os::verdict{std::string_view(e.call) == "fsetxattr" ? EPERM : 0, SIZE_MAX};
  });
  DOCTEST_CHECK(report.not_kept.size() == 1);
  DOCTEST_CHECK(report.not_kept[0].what == "security.capability");
  DOCTEST_CHECK(attribute(file, acl) == access_list(6, 0, 0));
  DOCTEST_REQUIRE(set_attribute(file, "security.capability", capability));
  report = report_of_writing(file, [](const detail::os::event& e) {
    return detail::os::verdict{std::string_view(e.call) == "lgetxattr" ? ENODATA : 0, SIZE_MAX};
  });
  DOCTEST_CHECK(report.not_kept.empty());
  DOCTEST_CHECK(!attribute(file, "security.capability"));
  DOCTEST_REQUIRE(set_attribute(file, "security.capability", capability));
  report = report_of_writing(file, [](const detail::os::event& e) {
    return detail::os::verdict{std::string_view(e.call) == "lgetxattr" ? EIO : 0, SIZE_MAX};
  });
  DOCTEST_CHECK(report.not_kept.size() == 2);
  // An owner that cannot be kept: his file's rights are not for another's.
  DOCTEST_REQUIRE(::chown(file.c_str(), 65534, 65534) == 0);
  DOCTEST_REQUIRE(set_attribute(file, "security.capability", capability));
  report = report_of_writing(file, [](const detail::os::event& e) {
    return detail::os::verdict{std::string_view(e.call) == "fchown" ? EPERM : 0, SIZE_MAX};
  });
  DOCTEST_CHECK(!attribute(file, "security.capability"));
  DOCTEST_CHECK(std::count_if(report.not_kept.begin(), report.not_kept.end(), [](const write_report::loss& loss) {
    return loss.what == "security.capability" && loss.why == std::errc::operation_not_permitted;
  }) == 1);
}

DOCTEST_TEST_CASE("set-id bits stay with the owner they were given by") {
  const scratch here;
  const path file = here / "f";
  std::error_code ec;
  for (const unsigned owner : {static_cast<unsigned>(::geteuid()), 65534u}) {
    put(file, "old");
    if (owner != ::geteuid() && ::chown(file.c_str(), owner, owner) != 0) continue;  // not root
    DOCTEST_REQUIRE(::chmod(file.c_str(), 04755) == 0);
    atomic_write_text(file, "new", ec);
    DOCTEST_CHECK(!ec);
    struct ::stat st = {};
    DOCTEST_CHECK(::stat(file.c_str(), &st) == 0);
    DOCTEST_CHECK(st.st_uid == owner);
    DOCTEST_CHECK((st.st_mode & 07777u) == 04755);
  }
}

DOCTEST_TEST_CASE("a file without an access list gets none from its directory when it is replaced") {
  const scratch here;
  put(here / "f", "old");
  ::chmod((here / "f").c_str(), 0640);
  if (!set_attribute(here.dir, default_acl, access_list(7, 7, 7))) {
    DOCTEST_MESSAGE("skipped: no access lists here");
    return;
  }
  std::error_code ec;
  atomic_write_text(here / "f", "new", ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(!attribute(here / "f", acl));
  struct ::stat st = {};
  DOCTEST_CHECK(::stat((here / "f").c_str(), &st) == 0);
  DOCTEST_CHECK((st.st_mode & 07777u) == 0640);
  atomic_write_text(here / "g", "new", ec);
  DOCTEST_CHECK(attribute(here / "g", acl).has_value());  // a new one has what the directory wants
}

DOCTEST_TEST_CASE("without attributes a replacement asks two questions more, and sets nothing") {
  const scratch here;
  put(here / "f", "old");
  static std::string asked;
  asked.clear();
  detail::os::seam() = [](const detail::os::event& e) {
    if (std::string_view(e.call).find("xattr") != std::string_view::npos) asked.append(e.call) += ' ';
    return detail::os::verdict{};
  };
  std::error_code ec;
  atomic_write_text(here / "f", "new", ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK((asked == "llistxattr flistxattr " || attribute(here / "f", "security.selinux")));
}
#endif

DOCTEST_TEST_CASE("a batch larger than the number of descriptors, and nobody sweeps it") {
  const scratch here;
  ::rlimit before = {};
  DOCTEST_REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  ::rlimit few = before;
  few.rlim_cur = 40;
  for (const durability level : {durability::full, durability::none}) {
    write_options options;
    options.durable = level;
    std::error_code ec;
    write_batch batch(options);
    DOCTEST_REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
    for (int i = 0; i < 150 && !ec; ++i) batch.add(here.dir / ("f" + std::to_string(i)), std::to_string(i), ec);
    ::setrlimit(RLIMIT_NOFILE, &before);
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(batch.size() == 150);
    DOCTEST_CHECK(remove_stale_temporaries(here.dir, ec) == 0);
    DOCTEST_REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
    batch.commit(ec);
    ::setrlimit(RLIMIT_NOFILE, &before);
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(batch.committed() == 150);
    DOCTEST_CHECK(here.names().size() == 150);
    for (int i = 0; i < 150; ++i) DOCTEST_CHECK(contents(here.dir / ("f" + std::to_string(i))) == std::to_string(i));
  }
}

DOCTEST_TEST_CASE("a staged file that cannot be synced when descriptors run out dooms its batch") {
  const scratch here;
  put(here / "f0", "old");
  std::error_code ec;
  write_batch batch;
  batch.add(here / "f0", "new", ec);
  DOCTEST_REQUIRE(!ec);
  static bool exhausted;
  exhausted = false;
  detail::os::seam() = [](const detail::os::event& e) {
    const std::string_view call = e.call;
    if (call == "open" && !exhausted) return exhausted = true, detail::os::verdict{EMFILE, SIZE_MAX};
    return detail::os::verdict{call == "fsync" ? EIO : 0, SIZE_MAX};
  };
  batch.add(here / "f1", "new", ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(ec == std::errc::io_error);
  DOCTEST_CHECK(batch.size() == 1);
  batch.commit(ec);  // a failed sync is final, whatever the next one says
  DOCTEST_CHECK(ec == std::errc::io_error);
  DOCTEST_CHECK(batch.committed() == 0);
  DOCTEST_CHECK(here.names() == list({"f0"}));
  DOCTEST_CHECK(contents(here / "f0") == "old");
}

DOCTEST_TEST_CASE("a change of the working directory while a stream is open changes nothing") {
  const scratch here;
  const path before = std::filesystem::current_path();
  std::filesystem::create_directories(here / "other" / "a" / "b");
  std::filesystem::current_path(here.dir);
  std::error_code ec;
  atomic_file dropped(path("a") / "b" / "f", ec), kept(path("c") / "f", ec);
  kept.write("x", ec);
  std::filesystem::current_path(here / "other");
  dropped.discard();
  kept.commit(ec);
  std::filesystem::current_path(before);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(std::filesystem::exists(here / "other" / "a" / "b"));
  DOCTEST_CHECK(!std::filesystem::exists(here / "a"));
  DOCTEST_CHECK(contents(here / "c" / "f") == "x");
}

DOCTEST_TEST_CASE("a file that lost bytes the system had accepted is not published") {
  const scratch here;
  put(here / "f", "old");
  detail::os::seam() = [](const detail::os::event& e) {
    struct ::stat st = {};
    const bool asked = std::string_view(e.call) == "fstat" && ::fstat(static_cast<int>(e.handle), &st) == 0;
    if (asked && st.st_size == 11) DOCTEST_CHECK(::ftruncate(static_cast<int>(e.handle), 7) == 0);
    return detail::os::verdict{};
  };
  std::error_code ec;
  atomic_write_text(here / "f", "new content", ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(ec == errc::size_mismatch);
  DOCTEST_CHECK(contents(here / "f") == "old");
  DOCTEST_CHECK(here.names() == list({"f"}));
}

DOCTEST_TEST_CASE("a writer whose temporary file is swept before it is locked takes another") {
  const scratch here;
  static path dir;
  static int swept;
  dir = here.dir, swept = 0;
  detail::os::seam() = [](const detail::os::event& e) {
    if (std::string_view(e.call) == "flock" && swept < 2) {
      for (const auto& entry : std::filesystem::directory_iterator(dir)) swept += std::filesystem::remove(entry.path());
    }
    return detail::os::verdict{};
  };
  std::error_code ec;
  atomic_write_text(here / "f", "new", ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(swept == 2);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(contents(here / "f") == "new");
  DOCTEST_CHECK(here.names() == list({"f"}));
}

DOCTEST_TEST_CASE("a file that takes the name of a dead temporary while it is looked at is not swept") {
  const scratch here;
  static path name;
  name = here / ".memoria-0123456789abcdef.tmp";
  put(name, "dead");
  put(here / "new", "living");
  detail::os::seam() = [](const detail::os::event& e) {
    const std::string_view call = e.call;
    std::error_code gone;
    if (call == "stat") std::filesystem::rename(name.parent_path() / "new", name, gone);
    return detail::os::verdict{};
  };
  std::error_code ec;
  DOCTEST_CHECK(remove_stale_temporaries(here.dir, ec) == 0);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(contents(name) == "living");
}

DOCTEST_TEST_CASE("renaming one name of a file to another of its names leaves no litter") {
  const scratch here;
  static path file, newest;
  static bool linked;
  file = here / "f", newest = here / "f.gen-1", linked = false;
  put(file, "old");
  detail::os::seam() = [](const detail::os::event& e) {
    if (std::string_view(e.call) == "rename" && !linked) {  // another writer keeps the same generation
      linked = true;
      std::filesystem::create_hard_link(file, newest);
    }
    return detail::os::verdict{};
  };
  write_options options;
  options.generations = 1;
  std::error_code ec;
  atomic_write_text(file, "new", options, ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(linked);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(here.names() == list({"f", "f.gen-1"}));
  DOCTEST_CHECK(contents(newest) == "old");
}

DOCTEST_TEST_CASE("a FIFO or a device is never replaced, read or waited for") {
  const scratch here;
  DOCTEST_REQUIRE(::mkfifo((here / "fifo").c_str(), 0600) == 0);
  std::error_code ec;
  atomic_write_text(here / "fifo", "x", ec);
  DOCTEST_CHECK(ec == errc::not_regular);
  read_text(here / "fifo", ec);
  DOCTEST_CHECK(ec == errc::not_regular);
  locked_append_text(here / "fifo", "x", ec);
  DOCTEST_CHECK(ec == errc::not_regular);
  DOCTEST_CHECK(here.names() == list({"fifo"}));
}

DOCTEST_TEST_CASE("a directory is listed with the kind of each entry, and not through a symbolic link") {
  const scratch here;
  std::filesystem::create_directories(here / "d/sub");
  put(here / "d/file", "");
  DOCTEST_REQUIRE(::mkfifo((here / "d/fifo").c_str(), 0600) == 0);
  std::filesystem::create_symlink("file", here / "d/link");
  std::filesystem::create_directory_symlink("d", here / "to-d");
  detail::status s;
  const detail::os::directory top = detail::os::open_directory(here.dir, s);
  using detail::os::kind;
  std::vector<std::pair<std::string, kind>> found;
  const auto note = [&](detail::os::name n, kind k) { return found.emplace_back(n, k), true; };
  DOCTEST_CHECK(detail::os::list_at(top, "d", note, s));
  std::sort(found.begin(), found.end());
  const std::vector<std::pair<std::string, kind>> expected = {
      {"fifo", kind::other}, {"file", kind::regular}, {"link", kind::symlink}, {"sub", kind::directory}};
  DOCTEST_CHECK(found == expected);
  for (const char* name : {"to-d", "d/file"}) {
    detail::status refused;
    DOCTEST_CHECK(!detail::os::list_at(top, name, note, refused));
    DOCTEST_CHECK(refused.code == std::errc::not_a_directory);
    DOCTEST_CHECK(refused.step == "open");
  }
  std::size_t seen = 0;
  DOCTEST_CHECK(detail::os::list_at(top, "d", [&](detail::os::name, kind) { return ++seen < 2; }, s));
  DOCTEST_CHECK(seen == 2);
}

DOCTEST_TEST_CASE("a temporary file that may only be read is swept all the same") {
  const scratch here;
  put(here / ".memoria-0123456789abcdef.tmp", "left");
  detail::os::seam() = [](const detail::os::event& e) {
    const bool it =
        std::string_view(e.call) == "open" && e.first && std::string_view(e.first).front() == '.' && e.first[1] == 'm';
    static int times;
    return detail::os::verdict{it && times++ == 0 ? EACCES : 0, SIZE_MAX};
  };
  std::error_code ec;
  DOCTEST_CHECK(remove_stale_temporaries(here.dir, ec) == 1);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(here.names().empty());
}
#endif

DOCTEST_TEST_CASE("symbolic links are followed, replaced or refused") {
  if (!can_symlink()) {
    DOCTEST_MESSAGE("skipped: no symbolic links here");
    return;
  }
  const scratch here;
  std::filesystem::create_directory(here / "real");
  put(here / "real" / "f", "old");
  std::filesystem::create_symlink(path("real") / "f", here / "link");
  std::error_code ec;
  atomic_write_text(here / "link", "new", ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(std::filesystem::is_symlink(here / "link"));
  DOCTEST_CHECK(contents(here / "real" / "f") == "new");
  write_options options;
  options.symlinks = symlink_policy::refuse;
  atomic_write_text(here / "link", "refused", options, ec);
  DOCTEST_CHECK(ec == errc::is_symlink);
  DOCTEST_CHECK(contents(here / "real" / "f") == "new");
  std::filesystem::create_symlink(path("real") / "not-yet", here / "dangling");
  atomic_write_text(here / "dangling", "made", ec);
  DOCTEST_CHECK(contents(here / "real" / "not-yet") == "made");
  options.symlinks = symlink_policy::replace;
  atomic_write_text(here / "link", "own", options, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(!std::filesystem::is_symlink(here / "link"));
  DOCTEST_CHECK(contents(here / "link") == "own");
  DOCTEST_CHECK(contents(here / "real" / "f") == "new");
  std::filesystem::create_symlink("loop", here / "loop");
  atomic_write_text(here / "loop", "x", ec);
  DOCTEST_CHECK(ec == std::errc::too_many_symbolic_link_levels);
}

DOCTEST_TEST_CASE("names that no file can have are refused, and nothing changes") {
  const scratch here;
  std::filesystem::create_directory(here / "dir");
  put(here / "file", "x");
  const auto fails = [&](const path& p) {
    std::error_code write, read, append, lock;
    atomic_write_text(p, "new", write);
    read_text(p, read);
    locked_append_text(p, "new", append);
    const file_lock l(p, lock);
    return write && read && append && lock;
  };
  DOCTEST_CHECK(fails(path()));
  DOCTEST_CHECK(fails(here / "dir"));
  DOCTEST_CHECK(fails(here.dir / "dir" / ""));
  DOCTEST_CHECK(fails(here.dir / "."));
  DOCTEST_CHECK(fails(here.dir / ".."));
  DOCTEST_CHECK(fails(here / "file" / "below"));
  DOCTEST_CHECK(fails(here.dir / std::string(256, 'n')));
  DOCTEST_CHECK(fails(here.dir / std::string("nul\0byte", 8)));
  DOCTEST_CHECK(contents(here / "file") == "x");
  DOCTEST_CHECK(here.names() == list({"dir", "file"}));
}

DOCTEST_TEST_CASE("a name of the greatest length can be written, locked and kept in generations") {
  const scratch here;
  const path longest = here.dir / std::string(255, 'n');
  write_options options;
  options.generations = 1;
  std::error_code ec;
  atomic_write_text(longest, "1", options, ec);
  atomic_write_text(longest, "2", options, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(contents(longest) == "2");
  DOCTEST_CHECK(here.names().size() == 2);
  const path lock_file = lock_path(longest, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(detail::to_utf8(lock_file.filename()).size() <= 255);
  DOCTEST_CHECK(lock_file != lock_path(here.dir / (std::string(254, 'n') + "m"), ec));
  DOCTEST_CHECK(detail::lock_name(detail::widen(std::string(249, 'n'))) ==
                detail::widen("." + std::string(249, 'n') + ".lock"));
  for (std::size_t lead = 0; lead < 3 && sizeof(path::value_type) == 1; ++lead) {  // never cut inside a character
    std::string name(lead, 'x');
    while (name.size() < 250) name += "\xE2\x98\x95";
    const std::string cut = detail::to_utf8(path(detail::lock_name(path(name).native())));
    for (std::size_t at = 0; at < cut.size();) {
      const detail::decoded d = detail::decode_utf8(cut, at);
      DOCTEST_REQUIRE(d.length > 0);
      at += d.length;
    }
  }
}

DOCTEST_TEST_CASE("atomic_file streams, commits once, and does nothing when it is dropped") {
  const scratch here;
  put(here / "f", "old");
  std::error_code ec;
  {
    atomic_file dropped(here / "f", ec);
    dropped.write("half", ec);
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(dropped.is_open());
  }
  DOCTEST_CHECK(contents(here / "f") == "old");
  DOCTEST_CHECK(here.names() == list({"f"}));
  atomic_file file(here / "f", ec);
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    const std::string part = std::to_string(i) + "\n";
    expected += part;
    file.write(part, ec);
  }
  atomic_file moved(std::move(file));
  moved.commit(ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(!moved.is_open());
  DOCTEST_CHECK(contents(here / "f") == expected);
  moved.commit(ec);
  DOCTEST_CHECK(ec == std::errc::bad_file_descriptor);
  moved.write("x", ec);
  DOCTEST_CHECK(ec == std::errc::bad_file_descriptor);
  DOCTEST_CHECK(here.names() == list({"f"}));
}

DOCTEST_TEST_CASE("a failed write abandons the file: what lacks a part is never committed") {
  const scratch here;
  put(here / "f", "old");
  std::error_code ec;
  atomic_file file(here / "f", ec);
  {
    const fault full(0, disk_full);
    file.write("first", ec);
  }
  DOCTEST_CHECK(ec == std::errc::no_space_on_device);
  DOCTEST_CHECK(!file.is_open());
  file.write("second", ec);
  DOCTEST_CHECK(ec);
  file.commit(ec);
  DOCTEST_CHECK(ec);
  DOCTEST_CHECK(contents(here / "f") == "old");
  DOCTEST_CHECK(here.names() == list({"f"}));
}

DOCTEST_TEST_CASE("write_batch replaces all, the later of two entries wins") {
  const scratch here;
  put(here / "a", "old");
  write_batch batch;
  std::error_code ec;
  batch.add(here / "a", "1", ec);
  batch.add(here / "sub" / "b", "2", ec);
  batch.add(here / "sub" / "c", "3", ec);
  batch.add(here / "a", "4", ec);
  DOCTEST_REQUIRE(!ec);
  DOCTEST_CHECK(batch.size() == 4);
  DOCTEST_CHECK(contents(here / "a") == "old");
  batch.add(here / "a" / "impossible", "5", ec);
  DOCTEST_CHECK(ec);
  DOCTEST_CHECK(batch.size() == 4);
  batch.commit(ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(batch.committed() == 4);
  DOCTEST_CHECK(batch.size() == 0);
  DOCTEST_CHECK(contents(here / "a") == "4");
  DOCTEST_CHECK(contents(here / "sub" / "b") == "2");
  DOCTEST_CHECK(contents(here / "sub" / "c") == "3");
  DOCTEST_CHECK(here.names() == list({"a", "sub"}));
  write_batch moved(std::move(batch));
  batch.add(here / "a", "5", ec);  // a batch that was moved from is an empty one
  batch.commit(ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(contents(here / "a") == "5");
}

DOCTEST_TEST_CASE("a batch that is dropped, or fails before its first rename, changes nothing") {
  const scratch here;
  std::error_code ec;
  {
    write_batch dropped;
    dropped.add(here / "new" / "dir" / "a", "1", ec);
    dropped.add(here / "b", "2", ec);
    DOCTEST_CHECK(!ec);
  }
  DOCTEST_CHECK(here.names().empty());
  write_batch batch;
  batch.add(here / "a", "1", ec);
  batch.add(here / "b", "2", ec);
  {
    const fault failing(3, io_error);  // the second file's fstat or sync
    batch.commit(ec);
  }
  DOCTEST_CHECK(ec);
  DOCTEST_CHECK(batch.committed() == 0);
  DOCTEST_CHECK(here.names().empty());
}

DOCTEST_TEST_CASE("only temporaries of dead writers are swept") {
  const scratch here;
  std::error_code ec;
  atomic_file living(here / "f", ec);
  living.write("x", ec);
  const std::string stale = ".memoria-0123456789abcdef.tmp";
  put(here.dir / stale, "stale");
  put(here / ".f.abcdefgh.tmp", "a living Python writer's");
  put(here / ".memoria-0123456789abcdeg.tmp", "not ours: no such digit");
  std::filesystem::create_directory(here / ".memoria-0123456789abcde0.tmp");
  DOCTEST_CHECK(remove_stale_temporaries(here.dir, ec) == 1);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(!std::filesystem::exists(here.dir / stale));
  DOCTEST_CHECK(here.names().size() == 4);
  living.commit(ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(contents(here / "f") == "x");
  DOCTEST_CHECK(remove_stale_temporaries(here / "missing", ec) == 0);
  DOCTEST_CHECK(ec == std::errc::no_such_file_or_directory);
  DOCTEST_CHECK(remove_stale_temporaries(here.dir / std::string("\0x", 2), ec) == 0);
  DOCTEST_CHECK(ec == std::errc::invalid_argument);
}

DOCTEST_TEST_CASE("every system call of a replacement may fail: old or new, no litter, and the error says which call") {
  for (const int code : {io_error, disk_full, no_entry}) {
    for (const durability level : {durability::full, durability::none}) {
      for (long n = 0;; ++n) {
        const scratch here;
        put(here / "f", "old");
        put(here / "f.gen-1", "older");
        write_options options;
        options.durable = level;
        options.generations = 2;
        options.retry_for = std::chrono::milliseconds{0};
        detail::status s;
        {
          const fault failing(n, code);
          detail::replace_file(here / "f", "new content", options, s);
        }
        if (fault::struck.empty()) {
          DOCTEST_CHECK(!s.failed());
          DOCTEST_CHECK(n > 5);
          break;
        }
        DOCTEST_CAPTURE(fault::struck);
        const std::string now = contents(here / "f");
        const bool applied = !s.failed() || s.code == errc::not_durable;
        DOCTEST_CHECK(now == (applied ? "new content" : "old"));
        if (s.failed()) DOCTEST_CHECK(fault::struck == s.step);
        for (const std::string& name : here.names()) {
          DOCTEST_CHECK((name == "f" || name == "f.gen-1" || name == "f.gen-2"));
        }
      }
    }
  }
}

DOCTEST_TEST_CASE("short writes are continued, a write that takes nothing is an error") {
  const scratch here;
  for (long n = 0; n < 30; ++n) {
    std::error_code ec;
    const fault stubborn(n, 0, 1);
    atomic_write_text(here / "f", "content", ec);
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(contents(here / "f") == "content");
  }
  detail::os::seam() = [](const detail::os::event&) { return detail::os::verdict{0, 0}; };
  std::error_code ec;
  atomic_write_text(here / "f", "never", ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(ec == errc::size_mismatch);
  DOCTEST_CHECK(contents(here / "f") == "content");
  DOCTEST_CHECK(here.names() == list({"f"}));
}

DOCTEST_TEST_CASE("a replacement that cannot be synced after the rename is not_durable, not failed") {
  const scratch here;
  put(here / "f", "old");
  detail::os::seam() = [](const detail::os::event& e) {
    return detail::os::verdict{std::string_view(e.call) == "fsync directory" ? io_error : 0, SIZE_MAX};
  };
  std::error_code ec;
  atomic_write_text(here / "f", "new", ec);
  detail::os::seam() = nullptr;
#ifndef _WIN32
  DOCTEST_CHECK(ec == errc::not_durable);
#endif
  DOCTEST_CHECK(contents(here / "f") == "new");
}

DOCTEST_TEST_CASE("read_text reads all bytes in pieces of any size") {
  const scratch here;
  std::string content;
  for (int i = 0; i < 5000; ++i) content += std::to_string(i);
  put(here / "f", content);
  detail::os::seam() = [](const detail::os::event&) { return detail::os::verdict{0, 7}; };
  std::error_code ec;
  const std::string read = read_text(here / "f", ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(read == content);
  DOCTEST_CHECK(read_text(here / "missing", ec).empty());
  DOCTEST_CHECK(ec == std::errc::no_such_file_or_directory);
}

#if MEMORIA_FS_EXCEPTIONS
DOCTEST_TEST_CASE("throwing forms throw memoria::error with the argument's path") {
  const scratch here;
  std::filesystem::create_directory(here / "dir");
  try {
    atomic_write_text(here / "dir", "x");
    DOCTEST_CHECK(false);
  } catch (const error& e) {
    DOCTEST_CHECK(e.operation() == "atomic_write_text");
    DOCTEST_CHECK(e.path1() == here / "dir");
    DOCTEST_CHECK(e.code() == std::errc::is_a_directory);
  }
  DOCTEST_CHECK_THROWS_AS(read_text(here / "missing"), error);
  DOCTEST_CHECK_THROWS_AS(atomic_file(here / "dir"), error);
  DOCTEST_CHECK_THROWS_AS(atomic_file().commit(), error);
  DOCTEST_CHECK_THROWS_AS(write_batch().add(here / "dir", "x"), error);
  DOCTEST_CHECK_THROWS_AS(remove_stale_temporaries(here / "missing"), error);
  atomic_file good(here / "f");
  good.write("a");
  good.commit();
  write_batch batch;
  batch.add(here / "g", "b");
  batch.commit();
  DOCTEST_CHECK(read_text(here / "f") + read_text(here / "g") == "ab");
}
#endif

DOCTEST_TEST_SUITE_END();

}  // namespace tests
}  // inline namespace MEMORIA_FS_ABI
}  // namespace MEMORIA_FS_NAMESPACE

namespace MEMORIA_FS_NAMESPACE {
inline namespace MEMORIA_FS_ABI {
namespace tests {

DOCTEST_TEST_SUITE_BEGIN("[lock]");

using std::chrono::milliseconds;

inline lock_options try_once(lock_mode mode = lock_mode::exclusive) {
  lock_options options;
  options.mode = mode;
  options.timeout = milliseconds{0};
  return options;
}

DOCTEST_TEST_CASE("an exclusive lock excludes, shared locks share, also between threads") {
  const scratch here;
  const path file = here / "l";
  std::error_code ec;
  file_lock first(file, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(first.owns_lock());
  std::error_code in_thread;
  std::thread([&] { const file_lock second(file, try_once(), in_thread); }).join();
  DOCTEST_CHECK(in_thread == errc::lock_timeout);
  const file_lock reader(file, try_once(lock_mode::shared), ec);
  DOCTEST_CHECK(ec == std::errc::timed_out);
  DOCTEST_CHECK(!reader.owns_lock());
  first.unlock();
  DOCTEST_CHECK(!first);
  const file_lock shared(file, try_once(lock_mode::shared), ec);
  DOCTEST_CHECK(!ec);
  const file_lock also_shared(file, try_once(lock_mode::shared), ec);
  DOCTEST_CHECK(!ec);
  const file_lock writer(file, try_once(), ec);
  DOCTEST_CHECK(ec == errc::lock_timeout);
  DOCTEST_CHECK(std::filesystem::exists(file));  // never removed
}

DOCTEST_TEST_CASE("a waiter gets the lock when the holder lets go, and moving moves it") {
  const scratch here;
  const path file = here / "l";
  std::error_code ec, waited;
  file_lock first(file, ec);
  bool got = false;
  std::thread waiter([&] {
    const file_lock second(file, waited);
    got = second.owns_lock();
  });
  file_lock moved(std::move(first));
  DOCTEST_CHECK(moved.owns_lock());
  moved = file_lock();
  waiter.join();
  DOCTEST_CHECK(!waited);
  DOCTEST_CHECK(got);
  lock_options patient;
  patient.timeout = milliseconds{60000};
  const file_lock again(file, patient, ec);
  DOCTEST_CHECK(!ec);
}

#ifndef _WIN32
DOCTEST_TEST_CASE("unlocking frees the lock also where a forked child still has the descriptor") {
  const scratch here;
  std::error_code ec;
  file_lock held(here / "lock", ec);
  DOCTEST_REQUIRE(!ec);
  int child_has = -1;
  for (int fd = 3; fd < 64; ++fd) {  // what a child that was forked now would have
    struct ::stat a = {}, b = {};
    const bool same = ::fstat(fd, &a) == 0 && ::stat((here / "lock").c_str(), &b) == 0 && a.st_ino == b.st_ino;
    if (same) child_has = ::dup(fd);
    if (same) break;
  }
  DOCTEST_REQUIRE(child_has != -1);
  lock_options now;
  now.timeout = std::chrono::milliseconds{0};
  DOCTEST_CHECK(!file_lock(here / "lock", now, ec));
  held.unlock();
  DOCTEST_CHECK(file_lock(here / "lock", now, ec).owns_lock());
  ::close(child_has);
}
#endif

DOCTEST_TEST_CASE("a deadline passes while somebody else holds the lock") {
  const scratch here;
  std::error_code ec;
  const file_lock first(here / "l", ec);
  lock_options soon;
  soon.timeout = milliseconds{20};
  const auto start = std::chrono::steady_clock::now();
  const file_lock second(here / "l", soon, ec);
  DOCTEST_CHECK(ec == errc::lock_timeout);
  DOCTEST_CHECK(std::chrono::steady_clock::now() - start >= milliseconds{20});
}

DOCTEST_TEST_CASE("readers need not create the lock file") {
  const scratch here;
  lock_options no_trace;
  no_trace.create = false;
  std::error_code ec;
  const file_lock l(here / "l", no_trace, ec);
  DOCTEST_CHECK(ec == std::errc::no_such_file_or_directory);
  DOCTEST_CHECK(here.names().empty());
}

DOCTEST_TEST_CASE("a lock on a file that was deleted, or replaced, meanwhile is not a lock") {
  for (const bool replaced : {false, true}) {
    const scratch here;
    const path file = here / "l";
    static path victim;
    static bool deleted, again;
    victim = file, deleted = false, again = replaced;
    std::error_code ec;
    put(file, "");
    detail::os::seam() = [](const detail::os::event& e) {
      const std::string_view call = e.call;
      if (!deleted && (call == "flock" || call == "LockFileEx")) {
        std::error_code ignored;
        std::filesystem::rename(victim, victim.parent_path() / "old",
                                ignored);  // keeps its inode from being used again
        deleted = !ignored;
        if (again && deleted) put(victim, "");
      }
      return detail::os::verdict{};
    };
    const file_lock l(file, ec);
    detail::os::seam() = nullptr;
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(l.owns_lock());
    if (deleted) {
      const file_lock second(file, try_once(), ec);
      DOCTEST_CHECK(ec == errc::lock_timeout);  // both know the same, living file
    }
  }
}

DOCTEST_TEST_CASE("where the system refuses to lock, that is an error") {
  const scratch here;
#ifdef _WIN32
  constexpr int refusal = 50;
#else
  constexpr int refusal = ENOLCK;
#endif
  static int code;
  code = refusal;
  detail::os::seam() = [](const detail::os::event& e) {
    const std::string_view call = e.call;
    return detail::os::verdict{call == "flock" || call == "LockFileEx" ? code : 0, SIZE_MAX};
  };
  std::error_code lock, append, write;
  const file_lock l(here / "l", lock);
  locked_append_text(here / "log", "x", append);
  atomic_write_text(here / "f", "x", write);  // needs no lock: only sweeping does
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(lock == errc::lock_unsupported);
  DOCTEST_CHECK(append == errc::lock_unsupported);
  DOCTEST_CHECK(!write);
  DOCTEST_CHECK(contents(here / "log").empty());
}

#ifndef _WIN32
DOCTEST_TEST_CASE("a lock that a file system does not wait for is not taken for granted") {
  const scratch here;
  put(here / "s.json", "{}");
  detail::os::seam() = [](const detail::os::event& e) {
    return detail::os::verdict{std::string_view(e.call) == "flock" ? EWOULDBLOCK : 0, SIZE_MAX};
  };
  std::error_code lock, append, save;
  const file_lock l(here / "l", lock);
  locked_append_text(here / "log", "x", append);
  save_json(here / "s.json", json(1), save);
  detail::os::seam() = nullptr;
  for (const std::error_code& ec : {lock, append, save}) {
    DOCTEST_CHECK(ec == std::errc::resource_unavailable_try_again);
  }
  DOCTEST_CHECK(contents(here / "s.json") == "{}");
}
#endif

#ifndef _WIN32
DOCTEST_TEST_CASE("a lock file is not followed, not truncated, and may be read-only") {
  const scratch here;
  std::filesystem::create_symlink("elsewhere", here / "l");
  DOCTEST_REQUIRE(::mkfifo((here / "fifo").c_str(), 0600) == 0);
  std::error_code ec;
  const file_lock on_fifo(here / "fifo", ec);
  DOCTEST_CHECK(ec == errc::not_regular);
  DOCTEST_CHECK(!on_fifo.owns_lock());
  const file_lock through_link(here / "l", ec);
  DOCTEST_CHECK(ec == std::errc::too_many_symbolic_link_levels);
  DOCTEST_CHECK(!std::filesystem::exists(here / "elsewhere"));
  put(here / "elsewhere", "");
  const file_lock through_living_link(here / "l", ec);
  DOCTEST_CHECK(ec == std::errc::too_many_symbolic_link_levels);
  put(here / "kept", "content");
  const file_lock l(here / "kept", ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(contents(here / "kept") == "content");
  detail::os::seam() = [](const detail::os::event& e) {
    static bool first;
    first = std::string_view(e.call) == "open" && !first && e.handle > 2;
    return detail::os::verdict{first ? EACCES : 0, SIZE_MAX};
  };
  const file_lock read_only(here / "kept", try_once(), ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(ec == errc::lock_timeout);  // opened, and then found held
}
#endif

DOCTEST_TEST_CASE("lock_path is beside the file that links lead to") {
  const scratch here;
  std::error_code ec;
  DOCTEST_CHECK(lock_path(here / "state.json", ec) == here / ".state.json.lock");
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(here.names().empty());
  lock_path(here / "missing" / "state.json", ec);
  DOCTEST_CHECK(ec == std::errc::no_such_file_or_directory);
  if (!can_symlink()) return;
  std::filesystem::create_directory(here / "real");
  std::filesystem::create_symlink(path("real") / "s", here / "link");
  DOCTEST_CHECK(std::filesystem::equivalent(lock_path(here / "link", ec).parent_path(), here / "real"));
  DOCTEST_CHECK(lock_path(here / "link", ec).filename() == ".s.lock");
}

#if MEMORIA_FS_EXCEPTIONS
DOCTEST_TEST_CASE("the throwing lock throws when its deadline passes") {
  const scratch here;
  const file_lock first(here / "l");
  DOCTEST_CHECK_THROWS_AS(file_lock(here / "l", try_once()), error);
  DOCTEST_CHECK_THROWS_AS(lock_path(path()), error);
}
#endif

DOCTEST_TEST_SUITE_END();

DOCTEST_TEST_SUITE_BEGIN("[append]");

DOCTEST_TEST_CASE("locked_append_text appends, makes log and parents, and changes no byte") {
  const scratch here;
  const path log = here.dir / "daily" / "2026-11-24.md";
  std::error_code ec;
  locked_append_text(log, "# Log\r\n", ec);
  DOCTEST_CHECK(!ec);
  locked_append_text(log, std::string("\0\xFF", 2), ec);
  locked_append_text(log, "", ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(contents(log) == std::string("# Log\r\n\0\xFF", 9));
  append_options options;
  options.create_parents = false;
  locked_append_text(here / "none" / "log", "x", options, ec);
  DOCTEST_CHECK(ec == std::errc::no_such_file_or_directory);
  DOCTEST_CHECK(here.names() == list({"daily"}));
}

DOCTEST_TEST_CASE("whole_lines supplies the newline a crashed writer left out, and its own") {
  const scratch here;
  const path log = here / "log";
  append_options lines;
  lines.whole_lines = true;
  std::error_code ec;
  locked_append_text(log, "one", lines, ec);
  locked_append_text(log, "two\n", lines, ec);
  DOCTEST_CHECK(contents(log) == "one\ntwo\n");
  put(log, "one\ntorn");
  locked_append_text(log, "three", lines, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(contents(log) == "one\ntorn\nthree\n");
}

DOCTEST_TEST_CASE("entries of many threads are whole") {
  const scratch here;
  const path log = here / "log";
  std::vector<std::thread> writers;
  for (char c = 'a'; c < 'e'; ++c) {
    writers.emplace_back([&, c] {
      append_options fast;
      fast.durable = durability::none;
      for (int i = 0; i < 50; ++i) {
        std::error_code ec;
        locked_append_text(log, std::string(3000, c) + "\n", fast, ec);
        if (ec) return;
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  std::size_t whole = 0;
  std::ifstream in(log, std::ios::binary);
  for (std::string line; std::getline(in, line);) {
    DOCTEST_REQUIRE(line.size() == 3000);
    DOCTEST_REQUIRE(line.find_first_not_of(line[0]) == std::string::npos);
    ++whole;
  }
  DOCTEST_CHECK(whole == 200);
}

DOCTEST_TEST_CASE(
    "every system call of an append may fail: the entry is whole or not there, and the error says which call") {
  for (const char* before : {"", "old\n"}) {
    for (const int code : {io_error, disk_full}) {
      for (const bool whole_lines : {false, true}) {
        for (long n = 0;; ++n) {
          const scratch here;
          if (*before != '\0') put(here / "log", before);
          append_options options;
          options.whole_lines = whole_lines;
          detail::status s;
          {
            const fault failing(n, code);
            detail::append_file(here / "log", "entry\n", options, s);
          }
          if (fault::struck.empty()) {
            DOCTEST_CHECK(!s.failed());
            DOCTEST_CHECK(n > 4);
            break;
          }
          DOCTEST_CAPTURE(fault::struck);
          const bool applied = !s.failed() || s.code == errc::not_durable;
          DOCTEST_CHECK(contents(here / "log") == std::string(before) + (applied ? "entry\n" : ""));
          if (s.failed()) DOCTEST_CHECK(fault::struck == s.step);
          const bool under_lock =
              fault::struck == "write" || fault::struck == "WriteFile" || fault::struck == "fsync directory";
          if (!applied && *before == '\0' && under_lock) DOCTEST_CHECK(here.names().empty());
        }
      }
    }
  }
}

DOCTEST_TEST_CASE("a write that fails half-way is cut back to the old length") {
  const scratch here;
  put(here / "log", "old\n");
  static int writes;
  writes = 0;
  detail::os::seam() = [](const detail::os::event& e) {
    const std::string_view call = e.call;
    if (call != "write" && call != "WriteFile") return detail::os::verdict{};
    return ++writes == 1 ? detail::os::verdict{0, 3} : detail::os::verdict{disk_full, SIZE_MAX};
  };
  std::error_code ec;
  locked_append_text(here / "log", "entry\n", ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(writes == 2);
  DOCTEST_CHECK(ec == std::errc::no_space_on_device);
  DOCTEST_CHECK(contents(here / "log") == "old\n");
}

DOCTEST_TEST_CASE("cutting back spares what others appended behind us without a lock") {
  const scratch here;
  static path log;
  log = here / "log";
  put(log, "old\n");
  static int writes;
  writes = 0;
  detail::os::seam() = [](const detail::os::event& e) {
    const std::string_view call = e.call;
    if (call != "write" && call != "WriteFile") return detail::os::verdict{};
    if (++writes == 1) return detail::os::verdict{0, 3};
    std::ofstream(log, std::ios::binary | std::ios::app) << "theirs\n";
    return detail::os::verdict{disk_full, SIZE_MAX};
  };
  std::error_code ec;
  locked_append_text(log, "entry\n", ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(ec == std::errc::no_space_on_device);
  DOCTEST_CHECK(contents(log) == "old\nenttheirs\n");
}

#ifndef _WIN32
DOCTEST_TEST_CASE("a log that is renamed away while we wait for its lock gets the entry in its successor") {
  const scratch here;
  static path log, rotated;
  log = here / "log", rotated = here / "log.1";
  put(log, "old\n");
  static int locks;
  locks = 0;
  detail::os::seam() = [](const detail::os::event& e) {
    if (std::string_view(e.call) == "flock" && ++locks <= 3) std::filesystem::rename(log, rotated);
    return detail::os::verdict{};
  };
  std::error_code ec;
  locked_append_text(log, "entry\n", ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(locks == 4);
  DOCTEST_CHECK(contents(log) == "entry\n");
  DOCTEST_CHECK(contents(rotated).empty());  // an empty log of ours that was rotated, too; the first "old" it replaced
}

// As on NFS, when another host has replaced the log or the state that we have open.
struct stale_handles {
  static inline std::string_view call;
  static inline int left;

  stale_handles(std::string_view failing, int times) {
    call = failing, left = times;
    detail::os::seam() = [](const detail::os::event& e) {
      return detail::os::verdict{e.call == call && left > 0 && left-- > 0 ? ESTALE : 0, SIZE_MAX};
    };
  }
  stale_handles(const stale_handles&) = delete;
  stale_handles& operator=(const stale_handles&) = delete;
  ~stale_handles() { detail::os::seam() = nullptr; }
};

DOCTEST_TEST_CASE("a log that another host has replaced is opened again, but not for ever") {
  for (const char* call : {"flock", "fstat", "write"}) {
    const scratch here;
    put(here / "log", "old\n");
    std::error_code ec, confined, lasting;
    const confined_dir dir(here.dir, ec);
    {
      const stale_handles once(call, 1);
      locked_append_text(here / "log", "1\n", ec);
    }
    {
      const stale_handles once(call, 1);
      dir.locked_append_text("log", "2\n", confined);
    }
    {
      const stale_handles always(call, 1 << 30);
      locked_append_text(here / "log", "3\n", lasting);
    }
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(!confined);
    DOCTEST_CHECK(lasting.value() == ESTALE);
    DOCTEST_CHECK(contents(here / "log") == "old\n1\n2\n");
  }
}

DOCTEST_TEST_CASE("a file that another host has replaced is read once more, one that is leased again and again") {
  const scratch here;
  put(here / "s.json", "{}");
  std::error_code ec, lasting;
  for (const char* call : {"open", "fstat", "read"}) {
    {
      const stale_handles once(call, 1);
      DOCTEST_CHECK(read_text(here / "s.json", ec) == "{}");
    }
    DOCTEST_CHECK(!ec);
    const stale_handles always(call, 1 << 30);
    read_text(here / "s.json", lasting);
    DOCTEST_CHECK(lasting.value() == ESTALE);
    DOCTEST_CHECK(stale_handles::left == (1 << 30) - 2);
  }
  {
    const stale_handles once("fstat", 1);
    DOCTEST_CHECK(load_json(here / "s.json", ec).is_object());
  }
  DOCTEST_CHECK(!ec);
  static int refusals;
  refusals = 3;
  detail::os::seam() = [](const detail::os::event& e) {
    return detail::os::verdict{std::string_view(e.call) == "open" && refusals-- > 0 ? EWOULDBLOCK : 0, SIZE_MAX};
  };
  DOCTEST_CHECK(read_text(here / "s.json", ec) == "{}");
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(!ec);
}

DOCTEST_TEST_CASE("an append syncs after unlocking, and an empty log's directory before the first entry") {
  const scratch here;
  static std::string seen;
  static path log;
  seen.clear();
  log = here / "log";
  detail::os::seam() = [](const detail::os::event& e) {
    const std::string_view call = e.call;
    if (call == "flock" || call == "write" || call.find("sync") != std::string_view::npos) {
      seen += call == "fsync" ? "fdatasync" : std::string(call);  // macOS has no fdatasync
      seen +=
          call.find("directory") == std::string_view::npos && call.find("sync") != std::string_view::npos ? "!" : ",";
      if (call == "fdatasync" || call == "fsync") {  // nobody is kept waiting by the sync
        const detail::os::handle other(::open(log.c_str(), O_RDONLY));  // not a duplicate, which would share the lock
        DOCTEST_CHECK(::flock(static_cast<int>(other.get()), LOCK_EX | LOCK_NB) == 0);
      }
    }
    return detail::os::verdict{};
  };
  std::error_code ec;
  locked_append_text(here / "log", "1", ec);
  locked_append_text(here / "log", "2", ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(seen.substr(0, 39) == "flock,fsync directory,write,fdatasync!f");
  DOCTEST_CHECK(contents(here / "log") == "12");
}
#endif

DOCTEST_TEST_CASE("an entry whose sync fails is in the log, and the error says so") {
  const scratch here;
  put(here / "log", "old\n");
  detail::os::seam() = [](const detail::os::event& e) {
    const std::string_view call = e.call;
    const bool sync = call == "fdatasync" || call == "fsync" || call == "FlushFileBuffers";
    return detail::os::verdict{sync ? io_error : 0, SIZE_MAX};
  };
  std::error_code ec;
  locked_append_text(here / "log", "entry\n", ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(ec == errc::not_durable);
  DOCTEST_CHECK(contents(here / "log") == "old\nentry\n");
}

DOCTEST_TEST_CASE("a log that somebody holds locked is not waited for past the deadline") {
  const scratch here;
  put(here / "log", "old\n");
  std::error_code ec;
  const file_lock holder(here / "log", ec);
  append_options options;
  options.timeout = std::chrono::milliseconds{5};
  locked_append_text(here / "log", "entry\n", options, ec);
  DOCTEST_CHECK(ec == errc::lock_timeout);
  DOCTEST_CHECK(contents(here / "log") == "old\n");
}

DOCTEST_TEST_CASE("an append goes through symbolic links, and a directory is no log") {
  const scratch here;
  std::error_code ec;
  std::filesystem::create_directory(here / "dir");
  locked_append_text(here / "dir", "x", ec);
  DOCTEST_CHECK(ec == std::errc::is_a_directory);
#if MEMORIA_FS_EXCEPTIONS
  DOCTEST_CHECK_THROWS_AS(locked_append_text(here / "dir", "x"), error);
#endif
  if (!can_symlink()) return;
  std::filesystem::create_symlink(path("dir") / "log", here / "link");
  locked_append_text(here / "link", "x", ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(contents(here / "dir" / "log") == "x");
  DOCTEST_CHECK(std::filesystem::is_symlink(here / "link"));
}

DOCTEST_TEST_SUITE_END();

}  // namespace tests
}  // inline namespace MEMORIA_FS_ABI
}  // namespace MEMORIA_FS_NAMESPACE

// ---- [wikilink] tests -----------------------------------------------------------------------------------------------

namespace MEMORIA_FS_NAMESPACE {
inline namespace MEMORIA_FS_ABI {
namespace tests {

DOCTEST_TEST_SUITE_BEGIN("[wikilink]");

inline std::string joined(const std::vector<std::string>& strings) {
  std::string out;
  for (const std::string& s : strings) out.append(out.empty() ? "" : " ; ").append(s);
  return out;
}

inline std::string seed_targets(std::string_view text) {
  std::vector<std::string> found;
  wikilink_options all;
  all.include_code = true;
  for (const wikilink& link : wikilinks(text, all)) found.emplace_back(link.target);
  DOCTEST_CHECK(found == extract_wikilinks(text));
  return joined(found);
}

inline std::string notes_of(std::string_view text) {  // with "!" before embeds, "#" before headings, "^" before blocks
  std::vector<std::string> found;
  for (const wikilink& link : wikilinks(text)) {
    std::string s(link.embed ? "!" : "");
    s.append(link.note());
    if (!link.heading().empty()) s.append("#").append(link.heading());
    if (!link.block().empty()) s.append("^").append(link.block());
    found.push_back(std::move(s));
  }
  return joined(found);
}

DOCTEST_TEST_CASE("the 42 inputs of the reference, read as the seed does and as a reader does") {
  const std::string long_name(101, 'a');
  const std::string long_link = "[[" + long_name + "]]";
  struct row {
    const char* input;
    const char* seed;
    const char* reader;
  };
  const row table[] = {
      {"x [[a]] y", "a", "a"},
      {"[[a|b]]", "a", "a"},
      {"[[a#h]]", "a#h", "a#h"},
      {"[[a#^blk]]", "a#^blk", "a^blk"},
      {"[[#h]]", "#h", "#h"},
      {"![[img.png]]", "img.png", "!img.png"},
      {"[[a#h|b]]", "a#h", "a#h"},
      {"| c |\n|---|\n| [[a\\|b]] |\n", "a\\", "a"},
      {"| c |\n|---|\n| [[a|b]] |\n", "a", "a"},
      {"`[[a]]`", "a", ""},
      {"```\n[[a]]\n```\n", "a", ""},
      {"para\n\n    [[a]]\n", "a", ""},
      {"<!-- [[a]] -->", "a", ""},
      {"%%[[a]]%%", "a", ""},
      {"---\nup: \"[[a]]\"\n---\nx\n", "a", "a"},
      {"[[a\nb]]", "a\nb", "a\nb"},
      {"[[a|b\nc]]", "a", "a"},
      {"[[[a]]]", "[a", "a"},
      {"[[a]b]]", "", ""},
      {"[[]]", "", ""},
      {"[[ a ]]", " a ", "a"},
      {"[[a|]]", "a", "a"},
      {"[[a|b|c]]", "a", "a"},
      {"[[a]](http://u)", "a", "a"},
      {"\\[[a]]", "a", ""},
      {"\\[\\[a]]", "", ""},
      {"[[a.md]]", "a.md", "a.md"},
      {"[[dir/a]]", "dir/a", "dir/a"},
      {"[[../a]]", "../a", "../a"},
      {long_link.c_str(), long_name.c_str(), long_name.c_str()},
      {"[[\xC3\x9Cn\xC3\xAF"
       "code \xE2\x98\x95]]",
       "\xC3\x9Cn\xC3\xAF"
       "code \xE2\x98\x95",
       "\xC3\x9Cn\xC3\xAF"
       "code \xE2\x98\x95"},
      {"$[[a]]$", "a", ""},
      {"if [[ -f x ]]; then", " -f x ", "-f x"},
      {"[[a [b c]]", "a [b c", "a [b c"},
      {"[[a [b] c]]", "", ""},
      {"<div>\n[[a]]\n</div>\n", "a", "a"},
      {"[[a]]s", "a", "a"},
      {"[t [[a]] u](http://x)", "a", "a"},
      {"*x [[a*b]]", "a*b", "a*b"},
      {"[[a [[b]]", "a [[b", "b"},
      {"[[|b]]", "", ""},
      {"[[a]][[b]]", "a ; b", "a ; b"},
  };
  DOCTEST_CHECK(std::size(table) == 42);
  for (const row& r : table) {
    DOCTEST_CAPTURE(r.input);
    DOCTEST_CHECK(seed_targets(r.input) == r.seed);
    DOCTEST_CHECK(notes_of(r.input) == r.reader);
  }
}

DOCTEST_TEST_CASE("the seed's expression, where backtracking and overlap could go wrong") {
  DOCTEST_CHECK(seed_targets("[[|[[b]]") == "b");
  DOCTEST_CHECK(seed_targets("[[|[[|b]] [[c]]") == "c");
  DOCTEST_CHECK(seed_targets("[[|[[|[[a|[[b]] [[c]]") == "a ; c");
  DOCTEST_CHECK(seed_targets("[[]]]] [[a]]") == "a");
  DOCTEST_CHECK(seed_targets("[[a]x [[b]]") == "b");
  DOCTEST_CHECK(seed_targets("[[[[|[[[x|]]]]") == "[[");
  DOCTEST_CHECK(seed_targets("[[a|b]c]] [[d]]") == "d");
  DOCTEST_CHECK(seed_targets("[[a") == "");
  DOCTEST_CHECK(seed_targets("[[a]") == "");
  DOCTEST_CHECK(seed_targets("[") == "");
  DOCTEST_CHECK(seed_targets("") == "");
  DOCTEST_CHECK(seed_targets(std::string_view("[[a\0b]]", 7)) == std::string("a\0b", 3));
  DOCTEST_CHECK(seed_targets("[[\xFF\xC0]]") == "\xFF\xC0");
  std::string many;
  for (std::size_t n = 1; n < 120; ++n) {
    many += "[[a]]";
    for (const std::size_t rest : {0u, 100u, 100000u}) {
      DOCTEST_CHECK(extract_wikilinks(many + std::string(rest, '.')).size() == n);
    }
  }
  for (std::size_t pad = 0; pad < 40; ++pad) {  // wherever the blocks of the scanner end
    const std::string text =
        std::string(pad, '.') + "[[" + std::string(pad, 'a') + "b|c]]" + std::string(pad, '.') + "[[d]]";
    DOCTEST_CHECK(seed_targets(text) == std::string(pad, 'a') + "b ; d");
    DOCTEST_CHECK(notes_of(text) == std::string(pad, 'a') + "b ; d");
  }
}

DOCTEST_TEST_CASE("parse_wikilink cuts at the pipe and strips what Python strips") {
  DOCTEST_CHECK(parse_wikilink("a|b") == "a");
  DOCTEST_CHECK(parse_wikilink(" a b \t| c") == "a b");
  DOCTEST_CHECK(parse_wikilink("|a") == "");
  DOCTEST_CHECK(parse_wikilink("") == "");
  const char* spaces[] = {"\t",           "\n",           "\v",           "\f",           "\r",
                          "\x1C",         "\x1D",         "\x1E",         "\x1F",         " ",
                          "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x8A",
                          "\xE2\x80\xA8", "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"};
  for (const char* space : spaces) {
    const std::string s = space;
    DOCTEST_CHECK(parse_wikilink(s + "a" + s + "b" + s + s) == "a" + s + "b");
    DOCTEST_CHECK(parse_wikilink(s + s).empty());
  }
  for (const char* other : {"\x1B", "\x7F", "\xC2\x84", "\xC2\xA1", "\xE2\x80\x8B", "\xE2\x80", "\x80", "\xA0",
                            "\xE3\x80\x81", "\xEF\xBB\xBF", "\xC0\xA0", "\xE0\x80\xA0", "\xF0\x80\x80\xA0"}) {
    const std::string s = std::string(other) + "a" + other;
    DOCTEST_CHECK(parse_wikilink(s) == s);
  }
}

DOCTEST_TEST_CASE("fenced code is skipped, in lists and quotes too, and ends with its container") {
  DOCTEST_CHECK(notes_of("~~~ text `x`\n[[a]]\n~~~\n[[b]]") == "b");
  DOCTEST_CHECK(notes_of("````\n```\n[[a]]\n`````\n[[b]]") == "b");
  DOCTEST_CHECK(notes_of("```\n[[a]]\n~~~\n[[a]]\n``` x\n[[a]]") == "");
  DOCTEST_CHECK(notes_of("``` `x` ```\n[[b]]") == "b");
  DOCTEST_CHECK(notes_of("```\nx [[a]]\n\xC3\xA4 [[a]]\n```\nx [[b]]") == "b");
  DOCTEST_CHECK(notes_of("- item\n  ```\n  [[a]]\n\n  [[a]]\n  ```\n  [[b]]") == "b");
  DOCTEST_CHECK(notes_of("- item\n  ```\n  [[a]]\n[[b]]") == "b");
  DOCTEST_CHECK(notes_of("- ```\n  [[a]]\n  ```\n- [[b]]") == "b");
  DOCTEST_CHECK(notes_of("> ```\n> [[a]]\n> ```\n> [[b]]") == "b");
  DOCTEST_CHECK(notes_of("> ```\n> [[a]]\n[[b]]\n\n[[c]]\n- [[d]]") == "b ; c ; d");
  DOCTEST_CHECK(notes_of("```\n> [[a]]\n- [[a]]\n```\n[[b]]") == "b");
  DOCTEST_CHECK(notes_of("```\r\n[[a]]\r\n```\r\n[[b]]\r\n") == "b");
  DOCTEST_CHECK(notes_of("1. x\n\n   ```\n   [[a]]\n   ```\n\n   [[b]]") == "b");
}

DOCTEST_TEST_CASE("indented code is skipped, indented text is not") {
  DOCTEST_CHECK(notes_of("    [[a]]\n") == "");
  DOCTEST_CHECK(notes_of("\t[[a]]\n\n\t[[a]]\n[[b]]") == "b");
  DOCTEST_CHECK(notes_of("text\n    [[b]]\n") == "b");
  DOCTEST_CHECK(notes_of("# heading\n    [[a]]\n") == "");
  DOCTEST_CHECK(notes_of("- item\n\n    [[b]]\n") == "b");
  DOCTEST_CHECK(notes_of("- item\n\n      [[a]]\n") == "");
  DOCTEST_CHECK(notes_of("- one\n    - [[b]]\n\n        [[c]]\n") == "b ; c");
  DOCTEST_CHECK(notes_of("1. x\n\n\t- [[b]]\n\n\t\t- [[c]]\n") == "b ; c");
  DOCTEST_CHECK(notes_of("## Heading\n\t- [[b]]\n\t\t- [[c]]\n") == "b ; c");  // as outliners write it
  DOCTEST_CHECK(notes_of("> text\n>\n>     [[a]]\n> [[b]]") == "b");
  DOCTEST_CHECK(notes_of("-     [[a]]\n") == "");
  DOCTEST_CHECK(notes_of("    x\n    - [[a]]\n") == "");
  DOCTEST_CHECK(notes_of("    x\n   - [[b]]\n") == "b");
  DOCTEST_CHECK(notes_of("- x\n\n\t\t[[a]]\n") == "");
  DOCTEST_CHECK(notes_of("x `y`\n    [[b]]\n") == "b");
  DOCTEST_CHECK(notes_of("<!-- x -->\n    [[a]]\n") == "");
}

DOCTEST_TEST_CASE("an empty item begins a list, but not in a paragraph; items may lie deeper than anybody counts") {
  DOCTEST_CHECK(notes_of("*\n    [[b]]\n") == "b");
  DOCTEST_CHECK(notes_of("text\n*\n\n    [[a]]\n") == "");
  DOCTEST_CHECK(notes_of("text\n*\n    [[a]]\n") == "a");
  DOCTEST_CHECK(notes_of("- x\n*\n\n    [[a]]\n") == "");
  DOCTEST_CHECK(notes_of("-      \n        - [[b]]\n") == "b");
  DOCTEST_CHECK(notes_of("*\n\n    [[a]]\n") == "");  // at most one blank line begins an item
  DOCTEST_CHECK(notes_of("1. \n \n    [[a]]\n") == "");
  DOCTEST_CHECK(notes_of("> *\n>\n>     [[a]]\n") == "");
  DOCTEST_CHECK(notes_of("- -\n\n      [[a]]\n\n  [[b]]\n") == "b");
  DOCTEST_CHECK(notes_of("*\n  \n    [[b]]\n") == "b");  // this one is indented enough to belong to it
  DOCTEST_CHECK(notes_of("*\n  x\n\n    [[b]]\n") == "b");
  DOCTEST_CHECK(notes_of("> * x\n>\n>   [[b]]\n\n    [[a]]\n") == "b");  // an item ends with the quote it lies in
  DOCTEST_CHECK(notes_of("> *\n    [[a]]\n") == "");
  DOCTEST_CHECK(notes_of("> * x\n\n>     [[a]]\n") == "");
  DOCTEST_CHECK(notes_of("> * x\ny\n\n>     [[a]]\n") == "");
  DOCTEST_CHECK(notes_of("* x\n>\n    [[a]]\n") == "");
  DOCTEST_CHECK(notes_of("* > x\n  >\n  > [[b]]\n") == "b");
  DOCTEST_CHECK(notes_of("text\n* x\n\n    [[b]]\n") == "b");
  std::string deep;
  for (int i = 0; i < 200; ++i) deep += "- ";
  DOCTEST_CHECK(notes_of(deep + "[[b]]\n\n[[c]]") == "b ; c");
}

DOCTEST_TEST_CASE("code spans end with as many backticks as they began with, in the same paragraph") {
  DOCTEST_CHECK(notes_of("`` ` [[a]] ` `` [[b]]") == "b");
  DOCTEST_CHECK(notes_of("` [[b]] `` [[c]]") == "b ; c");
  DOCTEST_CHECK(notes_of("`one\n[[a]]\ntwo` [[b]]") == "b");
  DOCTEST_CHECK(notes_of("one ` tick\n\n[[b]] other `tick") == "b");
  DOCTEST_CHECK(notes_of("- one ` tick [[b]]\n- other ` [[c]]") == "b ; c");
  DOCTEST_CHECK(notes_of("# one ` tick\n[[b]] `") == "b");
  DOCTEST_CHECK(notes_of("\\`[[b]]`") == "b");
  DOCTEST_CHECK(notes_of("[[note|`f()`]] `[[a]]`") == "note");
  DOCTEST_CHECK(notes_of("`[[` and [[b]]") == "b");
  DOCTEST_CHECK(notes_of("[[ ` [[a]] ` [[b]]") == "b");
  for (const std::size_t n : {1u, 2u, 63u, 64u, 70u}) {  // 64 and more: text
    DOCTEST_CHECK(notes_of(std::string(n, '`') + "[[b]]" + std::string(n, '`')) == (n < 64 ? "" : "b"));
  }
  DOCTEST_CHECK(notes_of("`` x ` [[a]] ` [[b]]") == "b");  // that one length is not closed says nothing of another
  DOCTEST_CHECK(notes_of("` x `` [[a]] `` [[b]]") == "b");
}

DOCTEST_TEST_CASE("comments and math are skipped where they are closed") {
  DOCTEST_CHECK(notes_of("<!--\n[[a]]\n\n[[a]]\n--> [[b]]") == "b");
  DOCTEST_CHECK(notes_of("text <!--[[b]]") == "b");
  DOCTEST_CHECK(notes_of("<!-- [[a]]\n\n[[a]]") == "");
  DOCTEST_CHECK(notes_of("<!--> [[b]] -->") == "b");
  DOCTEST_CHECK(notes_of("%%\n[[a]]\n\n[[a]]\n%%\n[[b]] 100%% [[c]]") == "b ; c");
  DOCTEST_CHECK(notes_of("50% [[b]] 60%") == "b");
  DOCTEST_CHECK(notes_of("`%%` [[b]] `%%`") == "b");
  DOCTEST_CHECK(notes_of("$$\n[[a]]\n\n$$ [[b]] $$") == "b");
  DOCTEST_CHECK(notes_of("costs $5, [[b]] is $6") == "b");
  DOCTEST_CHECK(notes_of("$x_{[[1]]}$ [[b]]") == "b");
  DOCTEST_CHECK(notes_of("\\$[[b]]$ and \\\\$[[a]]$") == "b");
  DOCTEST_CHECK(notes_of("$x\n\n[[b]]$") == "b");
}

DOCTEST_TEST_CASE("frontmatter links are marked, and nothing in it is code") {
  const std::string_view text = "\xEF\xBB\xBF---\nup: \"[[a]]\"\nx: `[[b|y]]`\n---\n[[c]]\n---\n[[d]]";
  std::string found;
  for (const wikilink& link : wikilinks(text)) found.append(link.target).append(link.frontmatter ? "+ " : " ");
  DOCTEST_CHECK(found == "a+ b+ c d ");
  found.clear();
  const std::string_view dots = "---\n---x\n[[a]]\n...\t\n[[b]]\n---\n";
  for (const wikilink& link : wikilinks(dots)) found.append(link.target).append(link.frontmatter ? "+ " : " ");
  DOCTEST_CHECK(found == "a+ b ");
  for (const char* none : {"--- x\n[[a]]\n---\n", "\n---\n[[a]]\n---\n", "---\n[[a]]\n", "[[a]]",
                           "x---\n[[a]]\n---\n"}) {
    for (const wikilink& link : wikilinks(std::string_view(none))) DOCTEST_CHECK(!link.frontmatter);
  }
}

DOCTEST_TEST_CASE("a link says where it stands and what it is made of") {
  const std::string_view text = "x\n\xC3\xA4 ![[ dir/n#One#^id \\| a | b ]]\n[[n#A#B]][[n|]]";
  std::vector<wikilink> found;
  for (const wikilink& link : wikilinks(text)) found.push_back(link);
  DOCTEST_REQUIRE(found.size() == 3);
  const wikilink& first = found[0];
  DOCTEST_CHECK(text.substr(first.offset, first.length) == "![[ dir/n#One#^id \\| a | b ]]");
  DOCTEST_CHECK(first.target == " dir/n#One#^id \\");
  DOCTEST_CHECK(first.display == " a | b ");
  DOCTEST_CHECK(first.note() == "dir/n");
  DOCTEST_CHECK(first.heading() == "One");
  DOCTEST_CHECK(first.block() == "id");
  DOCTEST_CHECK(first.embed);
  DOCTEST_CHECK(first.piped);
  DOCTEST_CHECK(found[1].heading() == "A#B");
  DOCTEST_CHECK(found[1].block().empty());
  DOCTEST_CHECK(!found[1].piped);
  DOCTEST_CHECK(found[2].piped);
  DOCTEST_CHECK(found[2].display.empty());
  DOCTEST_CHECK(notes_of("[[a#|x]] [[a#b#]] [[#h\\|x]] [[a#\\|x]] [[a\\]]") == "a ; a#b# ; #h ; a ; a\\");
  wikilink own;
  own.piped = true;
  DOCTEST_CHECK(own.note().empty());
  const text_position at = position_of(text, first.offset);
  DOCTEST_CHECK(at.line == 2);
  DOCTEST_CHECK(at.column == 4);
  DOCTEST_CHECK(position_of(text, 0).line == 1);
  DOCTEST_CHECK(position_of(text, 99999).line == 3);
  DOCTEST_CHECK(position_of("a\n", 2).line == 2);
  DOCTEST_CHECK(position_of("a\n", 1).column == 2);
  std::string lines;  // whatever part of the lanes the end falls into
  for (std::size_t n = 1, begin = 0; n < 200; ++n) {
    lines += n % 7 == 0 || n % 11 == 0 ? '\n' : '[';
    if (lines.back() == '\n') begin = n;
    const text_position end = position_of(lines, n);
    DOCTEST_CHECK(end.line == 1 + n / 7 + n / 11 - n / 77);
    DOCTEST_CHECK(end.column == n - begin + 1);
  }
}

DOCTEST_TEST_CASE("what makes a list item, a heading, a fence and a rule, at the edge of it") {
  // Four columns are code, but not below an item; and not in a paragraph.
  for (const char* item : {"- x", "+ x", "* x", "1. x", "0) x", "9. x", "-\tx", "+\r\n  x", " 1)\tx", "  * x"}) {
    DOCTEST_CAPTURE(item);
    DOCTEST_CHECK(notes_of(std::string(item) + "\n\n    [[b]]") == "b");
  }
  for (const char* other :
       {"-x", ", x", "1x", "1, x", "1.x", "/. x", ":. x", "1", ". x", ") x", "1\\) x", "1234567890. x"}) {
    DOCTEST_CAPTURE(other);
    DOCTEST_CHECK(notes_of(std::string(other) + "\n\n    [[a]]") == "");
  }
  DOCTEST_CHECK(notes_of("123456789. x\n\n           [[b]]\n\n               [[a]]") == "b");
  DOCTEST_CHECK(notes_of("1. x\n\n  [[b]]\n\n     [[a]]") == "b");
  DOCTEST_CHECK(notes_of("-  x\n\n      [[b]]\n\n       [[a]]") == "b");
  DOCTEST_CHECK(notes_of("-    x\n\n        [[b]]\n\n         [[a]]") == "b");
  DOCTEST_CHECK(notes_of("-\n  x\n\n      [[a]]\n\n     [[b]]") == "b");
  DOCTEST_CHECK(notes_of("- x\ny\n\n      [[a]]\n\n     [[b]]") == "b");
  DOCTEST_CHECK(notes_of("- x\n\ny\n\n    [[a]]") == "");
  DOCTEST_CHECK(notes_of("- x\n# y\n    [[a]]") == "");
  DOCTEST_CHECK(notes_of("- x\n~~~\n~~~\n    [[a]]") == "");
  DOCTEST_CHECK(notes_of(" \t[[a]]\n  \t[[a]]\n   \t[[a]]\n   [[b]]") == "b");
  for (const char* heading : {"#", "# x", "###### x", "#\tx", "   # x"}) {
    DOCTEST_CAPTURE(heading);
    DOCTEST_CHECK(notes_of(std::string(heading) + "\n    [[a]]") == "");
  }
  for (const char* other : {"####### x", "#x", "\\# x", "=", "x\n    # x"}) {
    DOCTEST_CAPTURE(other);
    DOCTEST_CHECK(notes_of(std::string(other) + "\n    [[b]]") == "b");
  }
  for (const char* fence : {"~~~", "```", "   ```", "~~~ ` x", "```` x"}) {
    DOCTEST_CAPTURE(fence);
    DOCTEST_CHECK(notes_of(std::string(fence) + "\n\n[[a]]\n    " + fence + "\n[[a]]") == "");
  }
  DOCTEST_CHECK(notes_of("~~\n[[b]]\n~~") == "b");
  DOCTEST_CHECK(notes_of("~~~\n~~\n[[a]]\n   ~~~~\t\n[[b]]") == "b");
  DOCTEST_CHECK(notes_of("    ~~~\n[[b]]") == "b");
  DOCTEST_CHECK(notes_of("> ```\n>\n> [[a]]\n> > [[a]]\n> ```\n> [[b]]") == "b");
  DOCTEST_CHECK(notes_of("> ```\n> > ```\n> [[a]]\n> ```\n> [[b]]") == "b");  // a quote in code is code
  DOCTEST_CHECK(notes_of("```\n> ```\n[[a]]\n```\n[[b]]") == "b");
  DOCTEST_CHECK(notes_of("> ```\n>[[a]]\n> ```\n> [[b]]") == "b");
  DOCTEST_CHECK(notes_of("> ```\n\n[[b]]") == "b");
  DOCTEST_CHECK(notes_of("> ```\n\n> [[b]]") == "b");
  DOCTEST_CHECK(notes_of("[[b]]\n> ```\n>") == "b");
  DOCTEST_CHECK(notes_of(">> ```\n>> [[a]]\n> [[b]]") == "b");
  DOCTEST_CHECK(notes_of(">\t~~~\n> [[a]]\n>\t~~~\n> [[b]]") == "b");
  DOCTEST_CHECK(notes_of("   > ```\n   > [[a]]\n[[b]]") == "b");
  DOCTEST_CHECK(notes_of("    > ```\n[[b]]") == "b");
  DOCTEST_CHECK(notes_of(">     [[a]]\n>    [[b]]\n>\n>\t  [[a]]") == "b");
}

DOCTEST_TEST_CASE("what ends a paragraph ends a code span in it") {
  for (const char* end : {"> x", "#", "###### x", "```\n```", "~~~\n~~~", "- x", "1) x", "***", "___", "---", "-",
                          "===", "=", "|", "", " \t\r"}) {
    DOCTEST_CAPTURE(end);
    DOCTEST_CHECK(notes_of(std::string("one ` tick\n") + end + "\n[[b]] `") == "b");
    const std::string_view last(end);
    DOCTEST_CHECK(notes_of("one ` tick [[b]]\n" + std::string(last.substr(0, last.find('\n')))) == "b");
  }
  for (const char* other : {"-- x", "=x", "#x", "####### x", "``", "~~", "-x", "1 x", "*x*", "> x"}) {
    DOCTEST_CAPTURE(other);
    const std::string quote(other[0] == '>' ? "> " : "");
    DOCTEST_CHECK(notes_of(quote + "one ` tick\n" + other + "\n" + quote + "[[a]] `") == "");
    DOCTEST_CHECK(notes_of(quote + "one $x\n" + other + "\n" + quote + "[[a]]$") == "");
  }
  DOCTEST_CHECK(notes_of("one ` tick [[b]]\n12") == "b");
  DOCTEST_CHECK(notes_of("one ` tick [[b]]\n```") == "b");
  DOCTEST_CHECK(notes_of("one ` \\`` [[b]]") == "b");
  DOCTEST_CHECK(notes_of("[[a\nb\nc]] <!-- x <!-- [[d]]") == "a\nb\nc ; d");
  DOCTEST_CHECK(notes_of("x\n     \n    [[a]]\n     \n[[b]]") == "b");
  DOCTEST_CHECK(notes_of("> one ` tick\n[[a]] `") == "");
  DOCTEST_CHECK(notes_of("> one ` tick\n> > [[b]] `") == "b");
  DOCTEST_CHECK(notes_of("> one\ntwo ` tick\n> [[a]] `") == "");  // the second line goes on with what is quoted
  DOCTEST_CHECK(notes_of("> one\n\ntwo ` tick\n> [[b]] `") == "b");
  DOCTEST_CHECK(notes_of("| one ` |\n| [[b]] ` |") == "b");
  DOCTEST_CHECK(notes_of("---\nx: ` \ny: \"[[b]]`\"\n---\n") == "b");
  DOCTEST_CHECK(notes_of("[[a\n\nb]] [[c\n- d]] [[e|f\n# g]]\n[[h\ni]]") == "h\ni");
}

DOCTEST_TEST_CASE("math begins before something and ends after something that no digit follows") {
  DOCTEST_CHECK(notes_of("$[[a]]$/ [[b]]") == "b");
  DOCTEST_CHECK(notes_of("$[[a]]$: [[b]]") == "b");
  for (const char* text : {"$[[b]]$0",
                           "$[[b]]$9",
                           "$ [[b]]$",
                           "$\t[[b]]$",
                           "$\n[[b]]$",
                           "$[[b]] $",
                           "$[[b]]\n$",
                           "$[[b]]\\$",
                           "[[b]]$",
                           "[[b]]$$",
                           "$$[[b]]$",
                           "$$$[[b]]",
                           "$x$[[b]]$y$",
                           "$$x$$[[b]]$$y$$",
                           "$x\\$y$[[b]]",
                           "<!-[[b]]-->",
                           "<!---->[[b]]<!-- -->",
                           "x <!-- -> [[b]]",
                           "%[[b]]%%",
                           "%% %% [[b]] %% %%",
                           "%%%[[b]]"}) {
    DOCTEST_CAPTURE(text);
    DOCTEST_CHECK(notes_of(text) == "b");
  }
  DOCTEST_CHECK(notes_of("%%%[[a]]%% [[b]]") == "b");
  DOCTEST_CHECK(notes_of("%%%%[[a]]%% [[b]]") == "a ; b");
  DOCTEST_CHECK(notes_of("\\%%[[a]]%%") == "a");
  for (const char* text :
       {"$[[a]]$", "$x$5[[a]]$", "$$\n\n[[a]]$$", "x\n$$[[a]]$$", "<!--->[[a]]-->", "%%[[a]]%%", "<!-- [[a]]"}) {
    DOCTEST_CAPTURE(text);
    DOCTEST_CHECK(notes_of(text) == (std::string_view(text) == "<!--->[[a]]-->" ? "a" : ""));
  }
}

DOCTEST_TEST_CASE("no reading depends on what lies beyond the text, and every part of a note can be read") {
  const std::string_view whole =
      "\xEF\xBB\xBF---\naliases: \"[[a|b]]\"\n--- \n# One ` #\n## [[two]] ##\nx\n===\n- [ ] ![[c#d#^e\\|f]]\n  1) "
      "g\n\n     ~~~\n     [[h]]\n"
      "     ~~~\n> > i `` j\n> [[k]] ``\n\n\t[[l]]\n\n| m |\n|---|\n| [[n\\|o]] |\n+\n\t12. $p$ [[q|]]$$r$$ %%s%% <!-- "
      "t -->\n"
      "```u\n[[v]]\n```\n***\n\\[[w]] [[[x]]] [[y\nz]] $1 `a` ``b`` \xC2\xA0[[\xE2\x80\x83"
      "c\xE3\x80\x80]]\n[[d|e";
  const auto all_of = [](std::string_view text) {
    std::string out = notes_of(text) + "\n" + seed_targets(text);
    for (const wikilink& link : wikilinks(text)) {
      out += "\n" + std::to_string(link.offset) + "+" + std::to_string(link.length) + (link.frontmatter ? "f" : "");
    }
    return out;
  };
  for (std::size_t begin = 0; begin < whole.size(); begin += begin < 5 ? 1 : 29) {
    for (std::size_t end = begin; end <= whole.size(); ++end) {
      const std::string_view part = whole.substr(begin, end - begin);
      const std::vector<char> alone(part.begin(), part.end());
      const std::string read = all_of(part);
      DOCTEST_CAPTURE(part);
      DOCTEST_CHECK(read == all_of({alone.data(), alone.size()}));
      for (const char* rest : {" ]]\n[[z]]", "``\n---\n", "# #$ $", ". x", "~~~%%-->"}) {
        const std::string longer = std::string(part) + rest;
        DOCTEST_CHECK(read == all_of(std::string_view(longer).substr(0, part.size())));
      }
    }
  }
}

DOCTEST_TEST_CASE("an embed mark counts unless it is escaped") {
  DOCTEST_CHECK(notes_of("!![[a]] \\![[b]] ![[c]]![[d]]") == "!a ; b ; !c ; !d");
}

DOCTEST_TEST_CASE("ranges can be walked again, iterators copied, temporaries are refused") {
  const wikilink_range range = wikilinks("[[a]] [[b]]");
  DOCTEST_CHECK(std::distance(range.begin(), range.end()) == 2);
  wikilink_range::iterator i = range.begin();
  wikilink_range::iterator copy = i++;
  DOCTEST_CHECK(copy->target == "a");
  DOCTEST_CHECK(i->target == "b");
  DOCTEST_CHECK(++copy == i);
  DOCTEST_CHECK(++copy == range.end());
  DOCTEST_CHECK(wikilink_range().begin() == wikilink_range().end());
}

DOCTEST_TEST_CASE("replace_wikilinks changes the note and no other byte") {
  const auto to_new = [](const wikilink& link) -> std::optional<std::string> {
    if (link.note() == "old") return "n\xC3\xA9w";
    return std::nullopt;
  };
  DOCTEST_CHECK(replace_wikilinks("[[old]] ![[ old #h| x ]]\r\n| [[old\\|y]] |[[older]] `[[old]]`", to_new) ==
                "[[n\xC3\xA9w]] ![[ n\xC3\xA9w #h| x ]]\r\n| [[n\xC3\xA9w\\|y]] |[[older]] `[[old]]`");
  wikilink_options all;
  all.include_code = true;
  DOCTEST_CHECK(replace_wikilinks("`[[old]]`", to_new, all) == "`[[n\xC3\xA9w]]`");
  const auto here = [](const wikilink& link) {
    return link.note().empty() ? std::optional<std::string_view>("here") : std::nullopt;
  };
  DOCTEST_CHECK(replace_wikilinks("[[#h]] [[ #h]] [[a]]", here) == "[[here#h]] [[ here#h]] [[a]]");
  const std::string bytes("\xFF\0[[x]]\xC0", 8);
  DOCTEST_CHECK(replace_wikilinks(bytes, to_new) == bytes);
}

DOCTEST_TEST_CASE("hostile texts of 256 KiB are read in linear time and give nothing they should not") {
  const std::size_t size = 1 << 18;
  for (const char* part : {"[",    "[[a",     "[[a|", "[[|",   "[[a|\n", "`",  "` `` ``` ", "``[[",    "$a ",  "$",
                           "$$ $", "%",       "<!--", "\\",    "\\[[",   "> ", "- ",        "1. ",     "* - ", "```\n",
                           "\t",   "[[a|b] ", "|",    "[[a\n", "#",      "\n", "-->",       "<!---->", "~~~",
                           "\\``"}) {
    std::string text;
    while (text.size() < size) text += part;
    DOCTEST_CAPTURE(part);
    DOCTEST_CHECK(extract_wikilinks(text).empty());
    DOCTEST_CHECK(extract_wikilinks(text + "]").empty());
    DOCTEST_CHECK(notes_of(text).empty());
    DOCTEST_CHECK(replace_wikilinks(text, [](const wikilink&) { return std::optional<std::string>("x"); }) == text);
    const std::string last = notes_of(text + "\n\n[[x]]");  // without a link ahead nothing has to be read
    DOCTEST_CHECK((last.empty() || last == "x"));
  }
}

DOCTEST_TEST_SUITE_END();

}  // namespace tests
}  // inline namespace MEMORIA_FS_ABI
}  // namespace MEMORIA_FS_NAMESPACE

DOCTEST_TEST_SUITE_BEGIN("[confine]");

namespace MEMORIA_FS_NAMESPACE {
inline namespace MEMORIA_FS_ABI {
namespace tests {

// A directory with a secret beside it and links of every kind in it.
struct vault_with_secret : scratch {
  path inside = dir / "vault", outside = dir / "outside";
  bool links = can_symlink();

  vault_with_secret() {
    std::filesystem::create_directories(inside / "sub" / "deep");
    std::filesystem::create_directories(outside);
    put(outside / "secret.md", "secret");
    put(inside / "note.md", "note");
    put(inside / "sub" / "other.md", "other");
    if (!links) return;
    const auto link = [&](const char* target, const char* name) {
      std::filesystem::create_symlink(target, inside / name);
    };
    link("sub", "to_sub");
    link("sub/deep", "to_deep");
    link("note.md", "to_note.md");
    link("../outside", "out");
    link("../outside/secret.md", "out.md");
    link("../outside/new.md", "out_new.md");
    link("../vault/note.md", "back.md");
    link("missing.md", "dangling.md");
    link("loop.md", "loop.md");
    link("loop", "loop");
    std::filesystem::create_symlink(inside / "note.md", inside / "absolute.md");
  }
};

// Runs a case with the system's own confined lookup and with ours.
template <class F>
void with_both_back_ends(F&& check) {
  check();
#ifdef __linux__
  const bool before = detail::exchange(detail::os::openat2_missing(), true);
  check();
  detail::os::openat2_missing() = before;
#endif
}

// What every operation says to a name; they must all say the same to one that leaves.
inline bool all_refuse(const confined_dir& d, std::string_view name) {
  std::error_code read, write, append, exists, remove, list;
  d.read_text(name, read);
  d.atomic_write_text(name, "x", write);
  d.locked_append_text(name, "x", append);
  const bool found = d.exists(name, exists);
  d.list(name, list);
  const bool refused = read == errc::unsafe_path && write == errc::unsafe_path && append == errc::unsafe_path &&
                       exists == errc::unsafe_path && list == errc::unsafe_path && !found;
  DOCTEST_CAPTURE(name);
  DOCTEST_CHECK(read.message() == make_error_code(errc::unsafe_path).message());
  DOCTEST_CHECK(write.message() == make_error_code(errc::unsafe_path).message());
  DOCTEST_CHECK(append.message() == make_error_code(errc::unsafe_path).message());
  DOCTEST_CHECK(exists.message() == make_error_code(errc::unsafe_path).message());
  DOCTEST_CHECK(list.message() == make_error_code(errc::unsafe_path).message());
  return refused;
}

}  // namespace tests
}  // inline namespace MEMORIA_FS_ABI
}  // namespace MEMORIA_FS_NAMESPACE

DOCTEST_TEST_CASE("safe_article_path gives the resolved path of an article inside and nothing for one outside") {
  using namespace MEMORIA_FS_NAMESPACE;
  const tests::vault_with_secret v;
  const path base = std::filesystem::canonical(v.inside);
  const auto resolves_to = [&](const char* link, const path& expected) {
    const auto found = safe_article_path(link, v.inside);
    DOCTEST_CAPTURE(link);
    DOCTEST_REQUIRE(found.has_value());
    DOCTEST_CHECK(found->native() == path(expected).make_preferred().native());
  };
  resolves_to("note", base / "note.md");
  resolves_to("  note | shown ", base / "note.md");
  resolves_to("sub/other", base / "sub/other.md");
  resolves_to("sub//./deep/../other", base / "sub/other.md");
  resolves_to("sub//other", base / "sub/other.md");
  resolves_to("sub/./other", base / "sub/other.md");
  resolves_to("not/there/yet", base / "not/there/yet.md");
  resolves_to("missing/../note", base / "note.md");
  resolves_to("../vault/note", base / "note.md");
  for (const char* link : {"", "  ", "|note", "/note", "/etc/passwd", "..", "../outside/secret",
                           "sub/../../outside/secret", "../vault2/x"}) {
    DOCTEST_CAPTURE(link);
    DOCTEST_CHECK(safe_article_path(link, v.inside).has_value() == (std::string_view(link) == ".."));
  }
  DOCTEST_CHECK_FALSE(safe_article_path(std::string_view("note\0", 5), v.inside).has_value());
  DOCTEST_CHECK_FALSE(safe_article_path("note", path(std::string("a\0b", 3))).has_value());
  if (!v.links) return;
  resolves_to("to_sub/other", base / "sub/other.md");
  resolves_to("to_deep/../other", base / "sub/other.md");  // up from where the link led
  resolves_to("to_note", base / "note.md");
  resolves_to("back", base / "note.md");
  resolves_to("absolute", base / "note.md");
  resolves_to("dangling", base / "missing.md");
  for (const char* link : {"out", "out_new", "out/secret", "out/new/er", "loop", "loop/x", "loop/../out/secret",
                           "missing/../out/secret", "missing/er/../../out/secret"}) {
    DOCTEST_CAPTURE(link);
    DOCTEST_CHECK_FALSE(safe_article_path(link, v.inside).has_value());
  }
}

DOCTEST_TEST_CASE("safe_article_path does not need the directory to exist nor to be absolute") {
  using namespace MEMORIA_FS_NAMESPACE;
  const path here = std::filesystem::current_path();
  DOCTEST_CHECK(safe_article_path("a", "no-such-directory") == (here / "no-such-directory" / "a.md"));
  DOCTEST_CHECK(safe_article_path("a/../b", "./no-such-directory/.") == (here / "no-such-directory" / "b.md"));
  DOCTEST_CHECK(safe_article_path("no-such-note", "") == (here / "no-such-note.md"));
  DOCTEST_CHECK_FALSE(safe_article_path("../a", "no-such-directory").has_value());
}

DOCTEST_TEST_CASE("require_article_path reports and throws unsafe_path") {
  using namespace MEMORIA_FS_NAMESPACE;
  const tests::vault_with_secret v;
  std::error_code ec;
  DOCTEST_CHECK(require_article_path("note", v.inside, ec) == *safe_article_path("note", v.inside));
  DOCTEST_CHECK_FALSE(ec);
  DOCTEST_CHECK(require_article_path("../outside/secret", v.inside, ec).empty());
  DOCTEST_CHECK(ec == errc::unsafe_path);
#if MEMORIA_FS_EXCEPTIONS
  DOCTEST_CHECK_THROWS_AS(require_article_path("../outside/secret", v.inside), const unsafe_path_error&);
  DOCTEST_CHECK_THROWS_AS(require_article_path("/x", v.inside), const std::filesystem::filesystem_error&);
#endif
}

DOCTEST_TEST_CASE("confined_dir reads, writes, appends, finds, removes and lists inside") {
  using namespace MEMORIA_FS_NAMESPACE;
  tests::with_both_back_ends([] {
    const tests::vault_with_secret v;
    std::error_code ec;
    const confined_dir d(v.inside, ec);
    DOCTEST_REQUIRE_FALSE(ec);
    DOCTEST_CHECK(d.read_text("note.md", ec) == "note");
    DOCTEST_CHECK(d.read_text("sub/.././/sub/other.md", ec) == "other");
    d.atomic_write_text("new/er/a.md", "a", ec);
    DOCTEST_CHECK_FALSE(ec);
    DOCTEST_CHECK(tests::contents(v.inside / "new" / "er" / "a.md") == "a");
    d.locked_append_text("logs/log", "1\n", ec);
    d.locked_append_text("logs/log", "2\n", ec);
    DOCTEST_CHECK(tests::contents(v.inside / "logs" / "log") == "1\n2\n");
    DOCTEST_CHECK(d.exists("logs", ec));
    DOCTEST_CHECK(d.exists("", ec));
    DOCTEST_CHECK(d.exists("sub/..", ec));
    DOCTEST_CHECK_FALSE(d.exists("nothing", ec));
    DOCTEST_CHECK_FALSE(d.exists("note.md/below", ec));
    DOCTEST_CHECK_FALSE(ec);
    DOCTEST_CHECK(d.list("new/er/", ec) == tests::list({"a.md"}));
    DOCTEST_CHECK(d.remove("logs/log", ec));
    DOCTEST_CHECK_FALSE(d.remove("logs/log", ec));
    DOCTEST_CHECK(d.remove("logs/", ec));
    DOCTEST_CHECK_FALSE(ec);
    DOCTEST_CHECK_FALSE(d.remove("new", ec));
    DOCTEST_CHECK(ec == std::errc::directory_not_empty);
    const auto top = d.list(".", ec);
    DOCTEST_CHECK(std::is_sorted(top.begin(), top.end()));
    DOCTEST_CHECK(top == d.list(ec));
    DOCTEST_CHECK(std::count(top.begin(), top.end(), "note.md") == 1);
    DOCTEST_CHECK(std::count(top.begin(), top.end(), "logs") == 0);
  });
}

DOCTEST_TEST_CASE("no name leads out of a confined_dir and the error says where it left") {
  using namespace MEMORIA_FS_NAMESPACE;
  tests::with_both_back_ends([] {
    const tests::vault_with_secret v;
    std::error_code ec;
    const confined_dir d(v.inside, ec);
    for (const char* name : {"..", "../", "../outside/secret.md", "sub/../../outside/secret.md", "./..", "sub/../..",
                             "/etc/passwd", "/", "//note.md", "../vault/note.md"}) {
      DOCTEST_CHECK(tests::all_refuse(d, name));
    }
    DOCTEST_CHECK(tests::all_refuse(d, std::string_view("note.md\0x", 9)));
    if (v.links) {
      for (const char* name : {"out/secret.md", "out/", "out/.", "out.md", "out_new.md", "back.md", "absolute.md",
                               "to_deep/../../../outside/secret.md"}) {
        DOCTEST_CHECK(tests::all_refuse(d, name));
      }
      DOCTEST_CHECK_FALSE(std::filesystem::exists(v.outside / "new.md"));
    }
    DOCTEST_CHECK(tests::contents(v.outside / "secret.md") == "secret");
#if MEMORIA_FS_EXCEPTIONS
    try {
      d.read_text("sub/../../x");
      DOCTEST_FAIL("must throw");
    } catch (const unsafe_path_error& e) {
      DOCTEST_CHECK(e.code() == std::errc::operation_not_permitted);
      DOCTEST_CHECK(std::string(e.what()).find("\"..\" above the top") != std::string::npos);
    }
    DOCTEST_CHECK_THROWS_AS(d.exists("/x"), const unsafe_path_error&);
    DOCTEST_CHECK_THROWS_AS(d.list("no such directory"), const error&);
#endif
  });
}

DOCTEST_TEST_CASE("symbolic links that stay inside work as everywhere") {
  using namespace MEMORIA_FS_NAMESPACE;
  if (!tests::can_symlink()) return;
  tests::with_both_back_ends([] {
    const tests::vault_with_secret v;
    std::error_code ec;
    const confined_dir d(v.inside, ec);
    DOCTEST_CHECK(d.read_text("to_note.md", ec) == "note");
    DOCTEST_CHECK(d.read_text("to_sub/other.md", ec) == "other");
    DOCTEST_CHECK(d.read_text("to_deep/../other.md", ec) == "other");
    DOCTEST_CHECK(d.list("to_sub", ec) == tests::list({"deep", "other.md"}));
    DOCTEST_CHECK_FALSE(ec);
    DOCTEST_CHECK_FALSE(d.exists("dangling.md", ec));
    DOCTEST_CHECK_FALSE(ec);
    d.exists("loop.md", ec);
    DOCTEST_CHECK(ec == std::errc::too_many_symbolic_link_levels);

    d.atomic_write_text("to_note.md", "through", ec);
    DOCTEST_CHECK(std::filesystem::is_symlink(v.inside / "to_note.md"));
    DOCTEST_CHECK(tests::contents(v.inside / "note.md") == "through");
    d.locked_append_text("to_note.md", "!", ec);
    DOCTEST_CHECK(tests::contents(v.inside / "note.md") == "through!");
    d.atomic_write_text("dangling.md", "found", ec);
    DOCTEST_CHECK(tests::contents(v.inside / "missing.md") == "found");
    std::filesystem::create_symlink("made/on the way/f", v.inside / "far.md");
    d.atomic_write_text("far.md", "far", ec);
    DOCTEST_CHECK(tests::contents(v.inside / "made" / "on the way" / "f") == "far");
    write_options how;
    how.symlinks = symlink_policy::refuse;
    d.atomic_write_text("to_note.md", "x", how, ec);
    DOCTEST_CHECK(ec == errc::is_symlink);
    how.symlinks = symlink_policy::replace;
    d.atomic_write_text("out.md", "mine", how, ec);
    DOCTEST_CHECK_FALSE(ec);
    DOCTEST_CHECK(d.read_text("out.md", ec) == "mine");
    DOCTEST_CHECK(tests::contents(v.outside / "secret.md") == "secret");

    DOCTEST_CHECK_FALSE(d.remove("to_sub/", ec));
    DOCTEST_CHECK(ec == std::errc::not_a_directory);
    DOCTEST_CHECK_FALSE(d.remove("sub/deep/.", ec));
    DOCTEST_CHECK(ec == std::errc::is_a_directory);
    DOCTEST_CHECK(d.exists("to_sub", ec));
    DOCTEST_CHECK(d.remove("to_sub", ec));
    DOCTEST_CHECK(d.remove("out", ec));
    DOCTEST_CHECK(tests::contents(v.inside / "sub" / "other.md") == "other");
    DOCTEST_CHECK(tests::contents(v.outside / "secret.md") == "secret");
  });
}

DOCTEST_TEST_CASE("forty links in a row are followed and no more") {
  using namespace MEMORIA_FS_NAMESPACE;
  if (!tests::can_symlink()) return;
  tests::with_both_back_ends([] {
    const tests::vault_with_secret v;
    std::error_code ec;
    const confined_dir d(v.inside, ec);
    for (int i = 1; i <= 41; ++i) {
      const std::string target = i == 1 ? "sub" : "l" + std::to_string(i - 1);
      std::filesystem::create_symlink(target, v.inside / ("l" + std::to_string(i)));
    }
    DOCTEST_CHECK(d.read_text("l40/other.md", ec) == "other");
    DOCTEST_CHECK(d.exists("l40", ec));
    DOCTEST_CHECK_FALSE(d.exists("l41/other.md", ec));
    DOCTEST_CHECK(ec == std::errc::too_many_symbolic_link_levels);
    DOCTEST_CHECK_FALSE(d.exists("l41", ec));
    DOCTEST_CHECK(ec == std::errc::too_many_symbolic_link_levels);
    const path other = std::filesystem::canonical(v.inside / "sub" / "other.md");
    DOCTEST_CHECK(safe_article_path("l41/other", v.inside) == other);  // the seed counts no links
  });
}

DOCTEST_TEST_CASE("a confined_dir refuses what is no file, what is too long, and a name that needs a directory") {
  using namespace MEMORIA_FS_NAMESPACE;
  tests::with_both_back_ends([] {
    const tests::vault_with_secret v;
    std::error_code ec;
    const confined_dir d(v.inside, ec);
    d.read_text("sub", ec);
    DOCTEST_CHECK(ec == std::errc::is_a_directory);
    d.read_text("", ec);
    DOCTEST_CHECK(ec == std::errc::is_a_directory);
    d.atomic_write_text("sub", "x", ec);
    DOCTEST_CHECK(ec == std::errc::is_a_directory);
    d.locked_append_text("sub", "x", ec);
    DOCTEST_CHECK(ec == std::errc::is_a_directory);
    d.read_text("note.md/", ec);
    DOCTEST_CHECK(ec == std::errc::not_a_directory);
    d.list("note.md", ec);
    DOCTEST_CHECK(ec == std::errc::not_a_directory);
    d.remove(".", ec);
    DOCTEST_CHECK(ec);
    d.atomic_write_text("new/", "x", ec);
    DOCTEST_CHECK(ec);
    DOCTEST_CHECK_FALSE(std::filesystem::exists(v.inside / "new"));
    d.exists(std::string(5000, 'a'), ec);
    DOCTEST_CHECK(ec == std::errc::filename_too_long);
    DOCTEST_CHECK_FALSE(d.exists(std::string(300, 'a'), ec));
  });
  std::error_code ec;
  const confined_dir closed;
  closed.read_text("x", ec);
  DOCTEST_CHECK(ec == std::errc::bad_file_descriptor);
  const confined_dir missing("no such directory", ec);
  DOCTEST_CHECK(ec == std::errc::no_such_file_or_directory);
  const confined_dir empty(path(), ec);
  DOCTEST_CHECK(ec == std::errc::invalid_argument);
}

#ifndef _WIN32
DOCTEST_TEST_CASE("a FIFO inside a confined_dir hangs nobody") {
  using namespace MEMORIA_FS_NAMESPACE;
  tests::with_both_back_ends([] {
    const tests::vault_with_secret v;
    std::error_code ec;
    const confined_dir d(v.inside, ec);
    DOCTEST_REQUIRE(::mkfifo((v.inside / "fifo").c_str(), 0600) == 0);
    d.read_text("fifo", ec);
    DOCTEST_CHECK(ec == errc::not_regular);
    d.locked_append_text("fifo", "x", ec);
    DOCTEST_CHECK(ec == errc::not_regular);
    d.atomic_write_text("fifo", "x", ec);
    DOCTEST_CHECK(ec == errc::not_regular);
    DOCTEST_CHECK(d.exists("fifo", ec));
    d.list("fifo", ec);
    DOCTEST_CHECK(ec == std::errc::not_a_directory);
    d.read_text("fifo/x", ec);
    DOCTEST_CHECK(ec == std::errc::not_a_directory);
  });
}

DOCTEST_TEST_CASE("a failed write into a confined_dir takes the directories it made away again") {
  using namespace MEMORIA_FS_NAMESPACE;
  const tests::vault_with_secret v;
  std::error_code ec;
  const confined_dir d(v.inside, ec);
  d.atomic_write_text("p/q/" + std::string(300, 'n'), "x", ec);
  DOCTEST_CHECK(ec == std::errc::filename_too_long);
  DOCTEST_CHECK_FALSE(std::filesystem::exists(v.inside / "p"));
  write_options none;
  none.create_parents = false;
  d.atomic_write_text("p/q/r", "x", none, ec);
  DOCTEST_CHECK(ec == std::errc::no_such_file_or_directory);
}

DOCTEST_TEST_CASE("directories that a confined_dir makes and names that it removes are synced") {
  using namespace MEMORIA_FS_NAMESPACE;
  tests::with_both_back_ends([] {
    const tests::vault_with_secret v;
    std::error_code ec;
    const confined_dir d(v.inside, ec);
    static int syncs = 0;
    syncs = 0;
    detail::os::seam() = [](const detail::os::event& e) {
      const bool sync = std::string_view(e.call) == "fsync directory";
      if (sync) DOCTEST_CHECK(::fsync(static_cast<int>(e.handle)) == 0);  // a descriptor that can be synced
      syncs += sync ? 1 : 0;
      return detail::os::verdict{};
    };
    const auto syncs_of = [&](auto&& work) {
      syncs = 0;
      work();
      DOCTEST_CHECK_FALSE(ec);
      return syncs;
    };
    append_options lasting, quick;
    quick.durable = durability::none;
    // Of the top for p, of p for q, of q for the file.
    DOCTEST_CHECK(syncs_of([&] { d.atomic_write_text("p/q/file", "x", ec); }) == 3);
    DOCTEST_CHECK(syncs_of([&] { d.locked_append_text("l/m/log", "x", lasting, ec); }) == 3);
    DOCTEST_CHECK(syncs_of([&] { d.locked_append_text("k/log", "x", quick, ec); }) == 0);
    DOCTEST_CHECK(syncs_of([&] { d.remove("p/q/file", ec); }) == 1);
    detail::os::seam() = nullptr;
    detail::os::seam() = [](const detail::os::event& e) {
      return detail::os::verdict{std::string_view(e.call) == "fsync directory" ? EIO : 0};
    };
    DOCTEST_CHECK(d.remove("note.md", ec));
    DOCTEST_CHECK(ec == errc::not_durable);
    d.atomic_write_text("sub/other.md", "new", ec);
    DOCTEST_CHECK(ec == errc::not_durable);
    d.atomic_write_text("r/file", "x", ec);
    DOCTEST_CHECK(ec == std::errc::io_error);
    detail::os::seam() = nullptr;
    DOCTEST_CHECK(tests::contents(v.inside / "sub" / "other.md") == "new");
    DOCTEST_CHECK_FALSE(std::filesystem::exists(v.inside / "r"));
  });
}

DOCTEST_TEST_CASE("whichever system call fails, a confined write leaves the old file or the new and nothing besides") {
  using namespace MEMORIA_FS_NAMESPACE;
  tests::with_both_back_ends([] {
    const tests::vault_with_secret v;
    std::error_code ec;
    const confined_dir d(v.inside, ec);
    const auto before = d.list("sub", ec);
    long n = 0;
    for (bool struck = true; struck; ++n) {
      tests::put(v.inside / "sub" / "other.md", "old");
      std::string name;
      {
        const tests::fault f(n, EIO);
        d.atomic_write_text("sub/other.md", "new", ec);
        name = tests::fault::struck;
      }
      struck = !name.empty();
      const std::string now = tests::contents(v.inside / "sub" / "other.md");
      DOCTEST_CAPTURE(n);
      DOCTEST_CAPTURE(name);
      DOCTEST_CHECK((!ec || ec == errc::not_durable ? now == "new" : now == "old"));
      DOCTEST_CHECK(d.list("sub", ec) == before);
    }
    DOCTEST_CHECK(n > 8);
    for (long k = 0; k < 2 * n; ++k) {  // and with directories to be made, which go again
      {
        const tests::fault f(k, EIO);
        d.atomic_write_text("p/q/file", "new", ec);
      }
      DOCTEST_CAPTURE(k);
      DOCTEST_CHECK(std::filesystem::exists(v.inside / "p") == (!ec || ec == errc::not_durable));
      std::filesystem::remove_all(v.inside / "p");
    }
  });
}

DOCTEST_TEST_CASE("a confined_dir stays with its directory when that is renamed") {
  using namespace MEMORIA_FS_NAMESPACE;
  const tests::vault_with_secret v;
  std::error_code ec;
  const confined_dir d(v.inside, ec);
  std::filesystem::rename(v.inside, v.dir / "moved");
  std::filesystem::create_directory_symlink("outside", v.inside);
  d.atomic_write_text("secret.md", "inside", ec);
  DOCTEST_CHECK_FALSE(ec);
  DOCTEST_CHECK(tests::contents(v.dir / "moved" / "secret.md") == "inside");
  DOCTEST_CHECK(tests::contents(v.outside / "secret.md") == "secret");
}
#endif

#ifdef __linux__
namespace MEMORIA_FS_NAMESPACE {
inline namespace MEMORIA_FS_ABI {
namespace tests {

// Lets openat2 fail in one way for the life of the object, and counts its calls.
struct failing_openat2 {
  static inline int error = 0, calls = 0;
  explicit failing_openat2(int code) {
    error = code;
    calls = 0;
    detail::os::seam() = [](const detail::os::event& e) {
      if (std::string_view(e.call) != "openat2") return detail::os::verdict{};
      ++calls;
      return detail::os::verdict{error};
    };
  }
  failing_openat2(const failing_openat2&) = delete;
  failing_openat2& operator=(const failing_openat2&) = delete;
  ~failing_openat2() {
    detail::os::seam() = nullptr;
    detail::os::openat2_missing() = false;
  }
};

}  // namespace tests
}  // inline namespace MEMORIA_FS_ABI
}  // namespace MEMORIA_FS_NAMESPACE

DOCTEST_TEST_CASE("a missing openat2 is remembered, a forbidden one asked again, a refusal never walked around") {
  using namespace MEMORIA_FS_NAMESPACE;
  if (::syscall(437, -1, nullptr, nullptr, 0) == -1 && errno == ENOSYS) {
    DOCTEST_MESSAGE("skipped: a kernel before 5.6");
    return;
  }
  const tests::vault_with_secret v;
  std::error_code ec;
  const confined_dir d(v.inside, ec);
  {
    const tests::failing_openat2 absent(ENOSYS);
    DOCTEST_CHECK(d.read_text("note.md", ec) == "note");
    DOCTEST_CHECK(d.read_text("note.md", ec) == "note");
    DOCTEST_CHECK(absent.calls == 1);
  }
  {
    const tests::failing_openat2 forbidden(EPERM);
    DOCTEST_CHECK(d.read_text("note.md", ec) == "note");
    DOCTEST_CHECK(d.read_text("note.md", ec) == "note");
    DOCTEST_CHECK(forbidden.calls == 2);
  }
  {
    const tests::failing_openat2 uncertain(EAGAIN);
    DOCTEST_CHECK(d.read_text("note.md", ec).empty());
    DOCTEST_CHECK(ec == errc::changed_meanwhile);
    DOCTEST_CHECK(uncertain.calls == 128);
  }
  const tests::failing_openat2 refusing(EXDEV);
  DOCTEST_CHECK(d.read_text("note.md", ec).empty());
  DOCTEST_CHECK(ec == errc::unsafe_path);
  d.atomic_write_text("sub/new.md", "x", ec);
  DOCTEST_CHECK(ec == errc::unsafe_path);
  DOCTEST_CHECK_FALSE(std::filesystem::exists(v.inside / "sub" / "new.md"));
  DOCTEST_CHECK(::fcntl(0, F_GETFD) != -1);  // no standard stream is taken for what was not opened
}
#endif

#ifdef _WIN32
DOCTEST_TEST_CASE("names that Windows takes for something else are refused") {
  using namespace MEMORIA_FS_NAMESPACE;
  const tests::vault_with_secret v;
  std::error_code ec;
  const confined_dir d(v.inside, ec);
  DOCTEST_REQUIRE_FALSE(ec);
  for (const char* name : {"CON", "con.md", "sub/NUL.txt", "aux", "COM1", "lpt9.a.b", "COM\xC2\xB9", "LPT\xC2\xB2.md",
                           "CONIN$", "conout$", "NUL .txt", "note.md:stream", "C:note.md", "C:\\x", "\\x",
                           "\\\\server\\share\\x", "//server/share/x", "\\\\?\\C:\\x", "\\\\.\\C:", "note.md.",
                           "note.md ", "...", ".. /x", ". ./x", "sub\\..\\..\\outside\\secret.md",
                           "..\\outside\\secret.md", "a?b", "a*b", "a<b", "a>b", "a\"b", "a|b", "a\nb", "\xFF"}) {
    DOCTEST_CHECK(tests::all_refuse(d, name));
  }
  for (const char* link : {"CON", "sub/NUL", "COM1.x", "COM\xC2\xB3", "C:x", "C:/x", "\\x", "\\\\server\\x", "a:b",
                           "x. /y", "..\\outside\\secret", "a?b", "\xFF"}) {
    DOCTEST_CAPTURE(link);
    DOCTEST_CHECK_FALSE(safe_article_path(link, v.inside).has_value());
  }
  DOCTEST_CHECK(safe_article_path("sub\\other", v.inside) == safe_article_path("sub/other", v.inside));
  for (const char* fine : {"COM", "COM10", "console.md", "nul_.md", "a.CON", ".hidden", "..a"}) {
    DOCTEST_CAPTURE(fine);
    DOCTEST_CHECK_FALSE(d.exists(fine, ec));
    DOCTEST_CHECK_FALSE(ec);
  }
}
#endif

DOCTEST_TEST_SUITE_END();

// ---- [json] tests ---------------------------------------------------------------------------------------------------

namespace MEMORIA_FS_NAMESPACE {
inline namespace MEMORIA_FS_ABI {
namespace tests {

inline constexpr json_parse_options python_text = {json_dialect::python};

// What parse and dump make of a text; after "!" the message, where it is refused.
inline std::string rewritten(std::string_view text, const json_parse_options& options = {}, int indent = -1) {
  json_problem problem;
  const json value = json::parse(text, options, problem);
  std::error_code ec;
  return problem ? std::string("!").append(problem.message()) : value.dump({indent, false, options.dialect}, ec);
}

inline std::string dumped(const json& value, const json_dump_options& options = {}) {
  std::error_code ec;
  std::string text = value.dump(options, ec);
  return ec ? std::string("!").append(ec.message()) : text;
}

inline json parsed(std::string_view text) {
  json_problem problem;
  json value = json::parse(text, python_text, problem);
  DOCTEST_CHECK_MESSAGE(!problem, problem.message());
  return value;
}

inline std::string repeated(std::string_view part, std::size_t n) {
  std::string text;
  for (std::size_t i = 0; i < n; ++i) text += part;
  return text;
}

DOCTEST_TEST_SUITE_BEGIN("[json]");

DOCTEST_TEST_CASE("a document is written as Python writes it") {
  const char* const text =
      "{\n  \"name\": \"Ada\",\n  \"none\": null,\n  \"list\": [\n    1,\n    -2.5,\n    [],\n    {}\n  ],\n  \"yes\": "
      "true\n}";
  DOCTEST_CHECK(dumped(parsed(text), {2}) == text);
  DOCTEST_CHECK(dumped(parsed(text)) == R"({"name":"Ada","none":null,"list":[1,-2.5,[],{}],"yes":true})");
  DOCTEST_CHECK(dumped(parsed("[1,{\"a\":2}]"), {0}) == "[\n1,\n{\n\"a\": 2\n}\n]");
  DOCTEST_CHECK(dumped(parsed(" [ 1 ,\t{ }\r\n] ")) == "[1,{}]");
  const std::string deep = dumped(parsed(repeated("[", 40) + repeated("]", 40)), {2});
  DOCTEST_CHECK(deep.find("\n" + repeated(" ", 78) + "[]\n" + repeated(" ", 76) + "]\n") != std::string::npos);
  std::string lines = "[]";
  for (std::size_t depth = 40; depth-- > 0;) {
    lines = "[\n" + repeated(" ", depth + 1) + lines + "\n" + repeated(" ", depth) + "]";
  }
  DOCTEST_CHECK(dumped(parsed(repeated("[", 41) + repeated("]", 41)), {1}) == lines);
}

DOCTEST_TEST_CASE("white space of every kind and length is skipped, and nothing else is") {
  for (const char* space : {" ", "\n", "\r", "\t"}) {
    for (std::size_t n = 0; n < 70; ++n) {
      const std::string gap = repeated(space, n), other = gap + " \n\r\t" + gap;
      const std::string text = gap + "[" + gap + "1" + other + "," + other + "{" + gap + "}" + gap + "]" + gap;
      DOCTEST_REQUIRE(rewritten(text) == "[1,{}]");
      for (const char* bad : {"\f", "\v", "\x1F", "!", "\x7F", "\xC2\xA0"}) {
        DOCTEST_REQUIRE_FALSE(json::accept("[" + gap + bad + gap + "1]"));
      }
    }
  }
}

DOCTEST_TEST_CASE("a document of megabytes is read, copied and let go, in part and as a whole") {
  std::string text = "[";
  for (int i = 0; i < 30000; ++i) {
    const std::string n = std::to_string(i);
    text += R"({"a key of its own )" + n + R"(":")" + n + R"( is the value of it"},)";
  }
  text.back() = ']';
  json j = parsed(text);
  const json copy = j;
  DOCTEST_CHECK(copy == j);
  const json kept = std::move(j[20000]);
  j = json();
  DOCTEST_CHECK(kept == copy[20000]);
  DOCTEST_CHECK(dumped(copy) == text);
}

DOCTEST_TEST_CASE("integers keep all their digits") {
  for (const char* text :
       {"0", "-1", "9223372036854775807", "9223372036854775808", "18446744073709551615", "-9223372036854775808",
        "18446744073709551616", "-9223372036854775809", "99999999999999999999", "10000000000000000000",
        "123456789012345678901234567890123456789012345678901234567890"}) {
    DOCTEST_CHECK(rewritten(text) == text);
    DOCTEST_CHECK(parsed(text).is_number_integer());
    DOCTEST_CHECK(parsed(text).is_number_unsigned() == (text[0] != '-'));
  }
  DOCTEST_CHECK(rewritten("-0") == "0");
  DOCTEST_CHECK(parsed("-9223372036854775808").get_if<std::int64_t>() == std::numeric_limits<std::int64_t>::min());
  const json large = parsed("123456789012345678901234567890"), copy = large;
  DOCTEST_CHECK(copy.is_number_integer());
  DOCTEST_CHECK(copy == large);
}

DOCTEST_TEST_CASE("doubles look as Python's repr shows them") {
  const char* const pairs[][2] = {
      {"1.0", "1.0"},
      {"1E0", "1.0"},
      {"-0.0", "-0.0"},
      {"0e5", "0.0"},
      {"0.1", "0.1"},
      {"1e15", "1000000000000000.0"},
      {"1e16", "1e+16"},
      {"123456789012345678.0", "1.2345678901234568e+17"},
      {"0.0001", "0.0001"},
      {"0.00001", "1e-05"},
      {"5e-324", "5e-324"},
      {"2.4703282292062328e-324", "5e-324"},
      {"2.4703282292062327e-324", "0.0"},
      {"1.7976931348623157e308", "1.7976931348623157e+308"},
      {"2.2250738585072014e-308", "2.2250738585072014e-308"},
      {"2.2250738585072011e-308", "2.225073858507201e-308"},
      {"1e23", "1e+23"},
      {"9007199254740993.0", "9007199254740992.0"},
      {"9007199254740993e1", "9.007199254740994e+16"},
      {"18446744073709551617e0", "1.8446744073709552e+19"},
      {"9007199254740993.0000000000000000000000000000000000000000000000001", "9007199254740994.0"},
      {"0.3", "0.3"},
      {"-61.14917000000003", "-61.14917000000003"},
      {"5.5e-5", "5.5e-05"},
      {"1e-400", "0.0"},
      {"4.35", "4.35"},
      {"0.000000000000000000000000000000000000000000000000000000000000000012", "1.2e-65"},
      {"100000000000000000000000000000000000000000000000000.0", "1e+50"},
      {"1e100", "1e+100"},
      {"12e-1", "1.2"}};
  for (const auto& pair : pairs) DOCTEST_CHECK(rewritten(pair[0]) == pair[1]);
}

DOCTEST_TEST_CASE("decimals of up to 15 digits are written as they were read") {
  for (std::uint64_t n = 1000; n < 100'000'000'000'000; n += n / 7) {
    for (std::size_t places = 1; places < 8; ++places) {
      std::string text = std::to_string(n * 10 + 1 + n % 9);
      if (text.size() <= places) text.insert(0, places + 1 - text.size(), '0');
      text.insert(text.size() - places, ".");
      if (text.compare(0, 6, "0.0000") == 0) continue;  // would get an exponent
      DOCTEST_REQUIRE(rewritten(text) == text);
      DOCTEST_REQUIRE(rewritten("-" + text) == "-" + text);
    }
  }
}

DOCTEST_TEST_CASE("half-way numbers of hundreds of digits are rounded to even") {
  // 2^-1075, half of the smallest double, has 751 digits after its zeros: make them by doubling from the last
  std::string digits = "1";
  for (int i = 0; i < 1075; ++i) {  // times 5, for 2^-1075 = 5^1075 / 10^1075
    int carry = 0;
    for (std::size_t k = digits.size(); k-- > 0;) {
      const int product = (digits[k] - '0') * 5 + carry;
      digits[k] = static_cast<char>('0' + product % 10);
      carry = product / 10;
    }
    if (carry != 0) digits.insert(digits.begin(), static_cast<char>('0' + carry));
  }
  const std::string exponent = "e-1075";
  DOCTEST_CHECK(rewritten(digits + ".0" + exponent) == "0.0");
  DOCTEST_CHECK(rewritten(digits + "." + std::string(2000, '0') + exponent) == "0.0");
  DOCTEST_CHECK(rewritten(digits + "." + std::string(2000, '0') + "1" + exponent) == "5e-324");
  digits.back() = '4';
  DOCTEST_CHECK(rewritten(digits + ".9" + exponent) == "0.0");
}

DOCTEST_TEST_CASE("every power of two and its neighbours read back as themselves") {
  std::size_t bad = 0;
  for (std::uint64_t exponent = 0; exponent < 2047; ++exponent) {
    for (const std::uint64_t fraction :
         {std::uint64_t{0}, std::uint64_t{1}, (std::uint64_t{1} << 52) - 1, std::uint64_t{0x5555555555555}}) {
      const std::uint64_t bits = exponent << 52 | fraction;
      double value;
      std::memcpy(&value, &bits, sizeof value);
      const json back = parsed(dumped(json(value)));
      std::error_code ec;
      const double read = back.get<double>(ec);
      bad += ec || std::memcmp(&read, &value, sizeof read) != 0 ? 1u : 0u;
    }
  }
  DOCTEST_CHECK(bad == 0);
}

DOCTEST_TEST_CASE("numbers that are no JSON are refused where they go wrong") {
  for (const char* text : {"01", "1.", ".5", "1e", "1e+", "-", "+1", "--1", "0x10", "1.e5", "1e5.0", "-.5", "00",
                           "1_000", "1d5", "1D5", "1.5d5", "1.5D5", "NaN", "Infinity", "-Infinity"}) {
    DOCTEST_CHECK_FALSE(json::accept(text));
    DOCTEST_CHECK_FALSE(json::accept(std::string("[") + text + "]"));
  }
  DOCTEST_CHECK(rewritten("[1,1e400]") == "!1:4: number is too large for a double");
  DOCTEST_CHECK(rewritten("[12.]") == "!1:5: expected a digit after the point, found ']'");
}

DOCTEST_TEST_CASE("the python dialect reads and writes what json.loads and json.dumps do") {
  DOCTEST_CHECK(rewritten("[NaN, Infinity, -Infinity, 1e400, -1e400, -0]", python_text) ==
                "[NaN,Infinity,-Infinity,Infinity,-Infinity,0]");
  DOCTEST_CHECK(rewritten("\xEF\xBB\xBF{}", python_text) == "{}");
  DOCTEST_CHECK(rewritten("\xEF\xBB\xBF{}") == "!1:1: expected a value, found byte 0xEF");
  const json lone = parsed(R"(["\ud83d", "\ude00\ud83d", "a\ud83d\u0041"])");
  DOCTEST_CHECK(dumped(lone) == R"(["\ud83d","\ude00\ud83d","a\ud83dA"])");
  DOCTEST_CHECK(rewritten(R"("\ud83d")") == "!1:2: unpaired surrogate: no such character");
  DOCTEST_CHECK(dumped(parsed(R"("\ud83d\ude00\u0041\u00e9\u007f")")) == "\"\xF0\x9F\x98\x80" "A\xC3\xA9\x7F\"");
  DOCTEST_CHECK(dumped(parsed("\"\xF0\x9F\x98\x80" "A\xC3\xA9\x7F\""), {-1, true}) == R"("\ud83d\ude00A\u00e9\u007f")");
}

DOCTEST_TEST_CASE("strings of every length and every escape survive") {
  for (std::size_t n = 0; n < 70; ++n) {
    for (const char* inside : {"", "\"", "\\", "\n", "\x01", "\x1F", "\xC3\xA9", "\xE6\xBC\xA2", "\xF0\x9F\x98\x80"}) {
      for (const std::size_t at : {std::size_t{0}, n / 2, n}) {
        std::string text(n, 'x');
        text.insert(at, inside);
        for (const bool ascii : {false, true}) {
          const std::string written = dumped(json::array({text, json::object({{text, 1}})}), {2, ascii});
          DOCTEST_REQUIRE(parsed(written)[0] == json(text));
          DOCTEST_REQUIRE(dumped(parsed(written), {2, ascii}) == written);
        }
      }
    }
  }
  for (char control = 0; control < 0x20; ++control) {  // in the middle of what is looked at many bytes at once
    const std::string text = std::string(20, 'x') + control + std::string(20, 'x');
    DOCTEST_CHECK_FALSE(json::accept('"' + text + '"'));
    DOCTEST_CHECK(dumped(json(text)).find('\\') == 21);
  }
  DOCTEST_CHECK(dumped(json("\b\f\n\r\t\"\\/\x1f\x7f")) == "\"\\b\\f\\n\\r\\t\\\"\\\\/\\u001f\x7f\"");
  DOCTEST_CHECK(rewritten(R"("\/\u0041\u000A")") == R"("/A\n")");
  DOCTEST_CHECK(json(std::string_view("a\0b", 3)).get_if<std::string>() == std::string("a\0b", 3));
  for (std::size_t n = 0; n < 40; ++n) {  // the length counts where the bytes are zeros
    const json zeros(std::string(n, '\0'));
    for (std::size_t m = 0; m < 40; ++m) {
      DOCTEST_CHECK((zeros == json(std::string(m, '\0'))) == (n == m));
      DOCTEST_CHECK(json::object({{std::string(n, '\0'), 1}}).contains(std::string(m, '\0')) == (n == m));
    }
  }
}

DOCTEST_TEST_CASE("what is not UTF-8 is refused, when read and when written") {
  for (const char* bytes : {"\x80", "\xC0\x80", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                            "\xF5\x80\x80\x80", "\xFF", "\xE2\x82", "\xF0\x9F\x98"}) {
    for (const std::size_t before : {std::size_t{0}, std::size_t{13}, std::size_t{40}}) {
      const std::string text = std::string(before, 'a') + bytes;
      const std::string where = std::to_string(before + 2);
      DOCTEST_CHECK(rewritten("\"" + text + "\"", python_text) ==
                    "!1:" + where + ": string is not valid UTF-8, found byte 0x" +
                        "0123456789ABCDEF"[static_cast<unsigned char>(bytes[0]) >> 4] +
                        "0123456789ABCDEF"[bytes[0] & 15]);
      if (std::string_view(bytes) != "\xED\xA0\x80")
        DOCTEST_CHECK(dumped(json(text)) == "!" + make_error_code(errc::json_type).message());
    }
  }
  DOCTEST_CHECK(dumped(json(std::numeric_limits<double>::infinity()))[0] == '!');
}

DOCTEST_TEST_CASE("errors say what, where and in which line") {
  json_problem problem;
  json::parse("{\n  \"a\": 1\n  \"b\": 2\n}", problem);
  DOCTEST_CHECK(problem.message() == "3:3: expected ',' or '}' after a member, found '\"'");
  DOCTEST_CHECK(problem.message("state.json") == "state.json:3:3: expected ',' or '}' after a member, found '\"'");
  DOCTEST_CHECK(problem.code == make_error_code(errc::corrupt_json));
  DOCTEST_CHECK(problem.offset == 13);
  DOCTEST_CHECK(problem.excerpt == "  \"b\": 2");
  const char* const cases[][2] = {
      {"", "1:1: expected a value, found the end of the text"},
      {" \n ", "1:1: expected a value, found the end of the text"},
      {"[1 2]", "1:4: expected ',' or ']' after a value, found '2'"},
      {"[1,]", "1:4: expected a value, found ']'"},
      {"[!]", "1:2: expected a value, found '!'"},
      {"[~]", "1:2: expected a value, found '~'"},
      {"[\x7F]", "1:2: expected a value, found byte 0x7F"},
      {"{\"a\" 1}", "1:6: expected ':' after a key, found '1'"},
      {"{a:1}", "1:2: expected a key in quotes, found 'a'"},
      {"{\"a\":1,}", "1:8: expected a key in quotes, found '}'"},
      {"[1]]", "1:4: expected the end of the text, found ']'"},
      {"[1}", "1:3: expected ',' or ']' after a value, found '}'"},
      {"{\"a\":1]", "1:7: expected ',' or '}' after a member, found ']'"},
      {"[[1]", "1:5: expected ',' or ']' after a value, found the end of the text"},
      {"[\"a]", "1:5: expected '\"' to close a string, found the end of the text"},
      {"[\"a\nb\"]", "1:4: expected an escape sequence for a control character, found byte 0x0A"},
      {"[\"\\x\"]", "1:4: expected one of \"\\/bfnrtu after a backslash, found 'x'"},
      {"[\"\\u12G4\"]", "1:7: expected four hexadecimal digits after \\u, found 'G'"},
      {"[tru]", "1:2: expected a value, found 't'"},
      {"[1, // one\n2]", "1:5: expected a value, found '/'"},
      {"[007]", "1:3: a number does not start with 0, unless 0 is all before the point, found '0'"}};
  for (const auto& c : cases) DOCTEST_CHECK(rewritten(c[0]) == std::string("!") + c[1]);
  json::parse(std::string(100, ' ') + "\x01" + std::string(100, 'x'), problem);
  DOCTEST_CHECK(problem.excerpt.size() <= 60);
  DOCTEST_CHECK(problem.excerpt.find("?xxx") != std::string::npos);
  json::parse(std::string(100, ' ') + "x" + std::string(100, 'y'), problem);
  DOCTEST_CHECK(problem.excerpt == std::string(30, ' ') + "x" + std::string(29, 'y'));
  json::parse("[[1,\n" + std::string(29, ' ') + "x", problem);
  DOCTEST_CHECK(problem.excerpt == std::string(29, ' ') + "x");
}

DOCTEST_TEST_CASE("every prefix of a document is refused") {
  const std::string text =
      R"({"a": [1, -2.5e3, "x\u00e9y", true, false, null, {"b": {}}], "long enough to leave the value": "as is this one here"})";
  for (std::size_t n = 0; n < text.size(); ++n) DOCTEST_REQUIRE_FALSE(json::accept(text.substr(0, n)));
  DOCTEST_CHECK(json::accept(text));
}

DOCTEST_TEST_CASE("depth is limited when parsing and costs no stack anywhere") {
  DOCTEST_CHECK(json::accept(repeated("[", 1024) + repeated("]", 1024)));
  DOCTEST_CHECK(json::accept("[" + repeated("[],", 2000) + "{}]"));  // beside each other, not in each other
  json_problem problem;
  json::parse(repeated("[", 1025) + repeated("]", 1025), problem);
  DOCTEST_CHECK(problem.code == make_error_code(errc::json_limit));
  DOCTEST_CHECK(problem.offset == 1024);
  json deep;
  for (int i = 0; i < 1'000'000; ++i) {
    json around = i % 2 ? json::object() : json::array();
    if (i % 2) {
      around["k"] = std::move(deep);
    } else {
      around.push_back(std::move(deep));
      around.push_back(i);
    }
    deep = std::move(around);
  }
  const json copy = deep;
  DOCTEST_CHECK(copy == deep);
  const std::string text = dumped(deep);
  DOCTEST_CHECK(text.size() > 5'000'000);
  const json back = json::parse(text, {json_dialect::strict, 2'000'000}, problem);
  DOCTEST_CHECK(!problem);
  DOCTEST_CHECK(back == copy);
}

DOCTEST_TEST_CASE("the last of equal keys wins in the place of the first") {
  DOCTEST_CHECK(rewritten(R"({"a":1,"b":2,"a":3})") == R"({"a":3,"b":2})");
  DOCTEST_CHECK(rewritten(R"({"":1,"":[2],"":{"x":"a string that owns memory"}})") ==
                R"({"":{"x":"a string that owns memory"}})");
  for (const int keys : {5, 64, 65, 66, 1000}) {
    std::string text = "{";
    for (int round = 0; round < 3; ++round) {
      for (int i = 0; i < keys; ++i)
        text += "\"a key that is long enough " + std::to_string(i) + "\":" + std::to_string(round * 10000 + i) + ",";
    }
    text.back() = '}';
    const json j = parsed(text);
    DOCTEST_CHECK(j.size() == static_cast<std::size_t>(keys));
    int i = 0;
    for (auto [key, value] : j.items()) {
      DOCTEST_CHECK(key == "a key that is long enough " + std::to_string(i));
      DOCTEST_CHECK(value == 20000 + i);
      ++i;
    }
  }
}

DOCTEST_TEST_CASE("large objects find, add, erase and copy by key") {
  json j;
  std::vector<std::string> keys;
  for (int i = 0; i < 3000; ++i) keys.push_back((i % 3 ? "k" : "a rather long key, number ") + std::to_string(i));
  for (std::size_t i = 0; i < keys.size(); ++i) j[keys[i]] = i;
  json copy = j;
  for (std::size_t i = 0; i < keys.size(); i += 2) DOCTEST_REQUIRE(copy.erase(keys[i]) == 1);
  DOCTEST_CHECK(copy.size() == 1500);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    DOCTEST_REQUIRE(j[keys[i]] == i);
    DOCTEST_REQUIRE(copy.contains(keys[i]) == (i % 2 == 1));
    DOCTEST_REQUIRE((copy.find(keys[i]) == copy.end()) == (i % 2 == 0));
  }
  DOCTEST_CHECK(copy.begin().key() == keys[1]);
  DOCTEST_CHECK(copy != j);
  for (std::size_t i = 0; i < keys.size(); i += 2) copy[keys[i]] = i;
  DOCTEST_CHECK(copy == j);  // in another order
  DOCTEST_CHECK(parsed(dumped(copy)) == j);
}

DOCTEST_TEST_CASE("values are built, copied, moved and compared") {
  const json j = json::object({{"k", 1}, {"list", json::array({1, "two", 3.0, true, nullptr})}, {"k", 2}});
  DOCTEST_CHECK(dumped(j) == R"({"k":2,"list":[1,"two",3.0,true,null]})");
  json copy{j};
  DOCTEST_CHECK(copy == j);
  copy["list"][1] = "a string that is too long to lie within";
  DOCTEST_CHECK(copy != j);
  json moved = std::move(copy);
  DOCTEST_CHECK(copy.is_null());  // NOLINT: promised
  DOCTEST_CHECK(moved["list"].size() == 5);
  moved = moved["list"];  // out of itself
  DOCTEST_CHECK(moved[1] == "a string that is too long to lie within");
  moved = std::move(moved[1]);
  DOCTEST_CHECK(moved.is_string());
  moved = json::array({moved, 1});
  moved.push_back(moved);
  moved.push_back(moved[0]);
  DOCTEST_CHECK(moved.size() == 4);
  DOCTEST_CHECK(moved[2].size() == 2);
  DOCTEST_CHECK(json(std::vector<std::string>{"a", "b"}) == json::array({"a", "b"}));
  DOCTEST_CHECK(json(static_cast<const char*>(nullptr)).is_null());
}

DOCTEST_TEST_CASE("numbers are equal by value, objects in any order") {
  DOCTEST_CHECK(json(1) == json(1.0));
  DOCTEST_CHECK(json(std::uint64_t{18446744073709551615u}) != json(18446744073709551616.0));
  DOCTEST_CHECK(json(std::int64_t{9007199254740993}) != json(9007199254740992.0));
  DOCTEST_CHECK(json(std::uint64_t{1} << 63) == json(9223372036854775808.0));
  DOCTEST_CHECK(json(-0.0) == json(0));
  DOCTEST_CHECK(json(1) != json(true));
  DOCTEST_CHECK(json(-1) != json(std::uint64_t{18446744073709551615u}));
  DOCTEST_CHECK(json(std::numeric_limits<double>::quiet_NaN()) != json(std::numeric_limits<double>::quiet_NaN()));
  DOCTEST_CHECK(parsed("99999999999999999999") == parsed("99999999999999999999"));
  DOCTEST_CHECK(parsed(R"({"a":{"x":1,"y":[2]},"b":2})") == parsed(R"({"b":2,"a":{"y":[2.0],"x":1}})"));
  DOCTEST_CHECK(parsed(R"({"a":1,"b":2})") != parsed(R"({"a":1,"c":2})"));
  DOCTEST_CHECK(parsed("[1,2]") != parsed("[2,1]"));
  DOCTEST_CHECK(parsed("[]") != parsed("{}"));
}

DOCTEST_TEST_CASE("get checks type and range and never rounds towards an integer") {
  DOCTEST_CHECK(json(127).get_if<std::int8_t>() == std::int8_t{127});
  DOCTEST_CHECK_FALSE(json(128).get_if<std::int8_t>());
  DOCTEST_CHECK_FALSE(json(-1).get_if<unsigned>());
  DOCTEST_CHECK(json(2.0).get_if<int>() == 2);
  DOCTEST_CHECK_FALSE(json(2.5).get_if<int>());
  DOCTEST_CHECK_FALSE(json(1e300).get_if<std::int64_t>());
  DOCTEST_CHECK_FALSE(json(-1.0).get_if<std::uint64_t>());
  DOCTEST_CHECK(json(-9223372036854775808.0).get_if<std::int64_t>() == std::numeric_limits<std::int64_t>::min());
  DOCTEST_CHECK_FALSE(json(std::numeric_limits<double>::quiet_NaN()).get_if<int>());
  DOCTEST_CHECK(json(std::uint64_t{18446744073709551615u}).get_if<std::uint64_t>() == 18446744073709551615u);
  DOCTEST_CHECK_FALSE(json(std::uint64_t{18446744073709551615u}).get_if<std::int64_t>());
  DOCTEST_CHECK(parsed("100000000000000000000").get_if<double>() == 1e20);
  const double infinite = std::numeric_limits<double>::infinity();
  DOCTEST_CHECK(json(infinite).get_if<double>() == infinite);
  DOCTEST_CHECK(json(-infinite).get_if<float>() == -std::numeric_limits<float>::infinity());
  DOCTEST_CHECK_FALSE(parsed("1" + std::string(400, '0')).get_if<double>());
  DOCTEST_CHECK_FALSE(json(1e300).get_if<float>());
  DOCTEST_CHECK(json(7).get_if<double>() == 7.0);
  DOCTEST_CHECK(json(std::uint64_t{1} << 63).get_if<double>() == 9223372036854775808.0);
  DOCTEST_CHECK_FALSE(json(-129).get_if<std::int8_t>());
  DOCTEST_CHECK_FALSE(json("7").get_if<double>());
  DOCTEST_CHECK_FALSE(json(-1e300).get_if<float>());
  DOCTEST_CHECK_FALSE(json(7).get_if<std::vector<int>>());
  DOCTEST_CHECK_FALSE(json(7).get_if<std::string>());
  DOCTEST_CHECK(json(true).get_if<bool>() == true);
  DOCTEST_CHECK(json(7.5).is_number());
  DOCTEST_CHECK(json(std::uint64_t{1} << 63).is_number());
  DOCTEST_CHECK_FALSE(json("7").is_number());
  DOCTEST_CHECK_FALSE(json(1).get_if<bool>());
  DOCTEST_CHECK_FALSE(json("1").get_if<int>());
  DOCTEST_CHECK(json("x").get_if<std::string>() == "x");
  DOCTEST_CHECK(json::array({1, 2}).get_if<std::vector<int>>() == std::vector<int>{1, 2});
  DOCTEST_CHECK_FALSE(json::array({1, "2"}).get_if<std::vector<int>>());
  std::error_code ec;
  DOCTEST_CHECK(json("x").get<int>(ec) == 0);
  DOCTEST_CHECK(ec == make_error_code(errc::json_type));
}

DOCTEST_TEST_CASE("reading what is not there is null, value() its fallback, a wrong type an error") {
  const json j = parsed(R"({"port": 80, "name": "x", "list": [1]})");
  DOCTEST_CHECK(j["nothing"]["at"][std::size_t{5}]["all"].is_null());
  DOCTEST_CHECK(j["list"][1].is_null());
  std::error_code ec;
  DOCTEST_CHECK(j.value("port", 1, ec) == 80);
  DOCTEST_CHECK(j.value("nothing", 1, ec) == 1);
  DOCTEST_CHECK(j.value("nothing", "none", ec) == "none");
  DOCTEST_CHECK(json().value("nothing", 2.5, ec) == 2.5);
  DOCTEST_CHECK_FALSE(ec);
  DOCTEST_CHECK(j.value("name", 1, ec) == 0);
  DOCTEST_CHECK(ec == make_error_code(errc::json_type));
  DOCTEST_CHECK(json(1).value("name", 1, ec) == 0);
  DOCTEST_CHECK(ec == make_error_code(errc::json_type));
  DOCTEST_CHECK(j.at("nothing", ec).is_null());
  DOCTEST_CHECK(ec == make_error_code(errc::json_missing));
  DOCTEST_CHECK(j.at(7, ec).is_null());
  DOCTEST_CHECK(ec == make_error_code(errc::json_type));
  DOCTEST_CHECK(j.at("list", ec).at(1, ec).is_null());
  DOCTEST_CHECK(ec == make_error_code(errc::json_missing));
  DOCTEST_CHECK(j.type_name() == std::string("object"));
  DOCTEST_CHECK(j["port"].type() == json::value_t::number_integer);
}

DOCTEST_TEST_CASE("writing through operator[] makes objects and arrays out of null") {
  json j;
  j["a"]["b"][0] = 1;
  j["a"]["b"][1] = 2;
  j["c"].push_back("x");
  DOCTEST_CHECK(dumped(j) == R"({"a":{"b":[1,2]},"c":["x"]})");
  for (json& element : j["a"]["b"]) element = element.get_if<int>().value_or(0) * 10;
  for (auto& [key, value] : j.items()) {
    if (key == "c") value = true;
  }
  DOCTEST_CHECK(dumped(j) == R"({"a":{"b":[10,20]},"c":true})");
  DOCTEST_CHECK(j.erase("a") == 1);
  DOCTEST_CHECK(j.erase("a") == 0);
  DOCTEST_CHECK(j.size() == 1);
  j.clear();
  DOCTEST_CHECK(dumped(j) == "{}");
  json list = json::array({0, 1, 2, 3, 4});
  DOCTEST_CHECK(list.erase(1) == 1);
  DOCTEST_CHECK(list.erase(9) == 0);
  DOCTEST_CHECK(*list.erase(list.begin() + 1) == 3);
  DOCTEST_CHECK(dumped(list) == "[0,3,4]");
  DOCTEST_CHECK(list.erase(list.end()) == list.end());
  DOCTEST_CHECK(list.back() == 4);
  DOCTEST_CHECK(list.end() - list.begin() == 3);
  DOCTEST_CHECK(json(5).size() == 1);
  DOCTEST_CHECK(*json(5).begin() == 5);
  DOCTEST_CHECK(json().empty());
}

DOCTEST_TEST_CASE("what is for arrays and objects leaves any other value alone") {
  json value(5);
  DOCTEST_CHECK(value.erase(value.begin()) == value.end());
  value.reserve(10);
  DOCTEST_CHECK(value == 5);
  DOCTEST_CHECK_FALSE(json(1.5).is_number_unsigned());
  DOCTEST_CHECK_FALSE(json("1").is_number_unsigned());
  DOCTEST_CHECK_FALSE(json(1.5).is_number_integer());
  DOCTEST_CHECK_FALSE(json("1").is_number_integer());
  DOCTEST_CHECK_FALSE(json::array({1}).is_number());
  value.clear();
  DOCTEST_CHECK(value.is_null());
  json list = json::array({1, 2});
  list.reserve(1);
  DOCTEST_CHECK(list == json::array({1, 2}));
  DOCTEST_CHECK(list.begin().key().empty());
  json exact = list;  // a copy has no room to spare
  DOCTEST_CHECK(exact.erase(std::size_t{0}) == 1);
  DOCTEST_CHECK(exact == json::array({2}));
  exact = json(json::object({{"a", 1}, {"b", 2}, {"c", 3}}));
  const json members = exact;
  exact = members;
  DOCTEST_CHECK(exact.erase("b") == 1);
  DOCTEST_CHECK(dumped(exact) == R"({"a":1,"c":3})");
  const json none = json::array();
  DOCTEST_CHECK(none.begin() == none.end());
}

DOCTEST_TEST_CASE("JSON Pointer reads what RFC 6901 says") {
  const json j =
      parsed(R"({"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8,"01":9})");
  DOCTEST_CHECK(j.find_pointer("") == &j);
  DOCTEST_CHECK(*j.find_pointer("/foo/0") == "bar");
  const char* const fields[] = {"/", "/a~1b", "/c%d", "/e^f", "/g|h", "/i\\j", "/k\"l", "/ ", "/m~0n", "/01"};
  int i = 0;
  for (const char* field : fields) DOCTEST_CHECK(*j.find_pointer(field) == i++);
  for (const char* bad : {"foo", "/foo/2", "/foo/-", "/foo/01", "/foo/-1", "/foo/x", "/foo/0/0", "/m~n", "/m~2n", "/a~",
                          "/nothing", "/foo/99999999999999999999", "//"}) {
    DOCTEST_CHECK(j.find_pointer(bad) == nullptr);
  }
}

DOCTEST_TEST_CASE("JSON Pointer sets, adds and appends, or changes nothing") {
  json j = parsed(R"({"list":[1,2],"s":"x"})");
  std::error_code ec;
  DOCTEST_CHECK(*j.set_pointer("/list/0", 10, ec) == 10);
  DOCTEST_CHECK(*j.set_pointer("/list/-", 3, ec) == 3);
  DOCTEST_CHECK(*j.set_pointer("/list/3/deep/a~1b", 4, ec) == 4);
  DOCTEST_CHECK(*j.set_pointer("/new/x/y", "z", ec) == "z");
  const char* const expected = R"({"list":[10,2,3,{"deep":{"a/b":4}}],"s":"x","new":{"x":{"y":"z"}}})";
  DOCTEST_CHECK(dumped(j) == expected);
  for (const char* bad : {"list", "/list/9", "/list/x", "/s/t", "/new/x/y/z", "/a~b"}) {
    DOCTEST_CHECK(j.set_pointer(bad, 1, ec) == nullptr);
    DOCTEST_CHECK(ec);
  }
  DOCTEST_CHECK(dumped(j) == expected);
  DOCTEST_CHECK(j.set_pointer("", json::array({1}), ec) == &j);
  DOCTEST_CHECK(dumped(j) == "[1]");
  json none;
  DOCTEST_CHECK(*none.set_pointer("/a/b", 1, ec) == 1);
  DOCTEST_CHECK(dumped(none) == R"({"a":{"b":1}})");
}

DOCTEST_TEST_CASE("of more digits than a double can depend on the rest only counts as not zero") {
  const std::string ones(900, '1');
  std::error_code ec;
  DOCTEST_CHECK(json::parse(ones + "e-1300", ec) == json(0.0));
  DOCTEST_CHECK(json::parse("-0." + std::string(400, '0') + ones + "e-100", ec) == json(-0.0));
  DOCTEST_CHECK(json::parse("1" + std::string(900, '0') + "e-1000", ec) == json(1e-100));
  DOCTEST_CHECK(!ec);
}

DOCTEST_TEST_CASE("the ends, the kinds and the text of a value that is only read") {
  json changing = json::array({1.5, true, nullptr});
  changing.reserve(100);
  json* const first = &changing.front();
  for (int i = 0; i < 97; ++i) changing.push_back(i);
  DOCTEST_CHECK(first == &changing.front());  // nothing moved
  const json list = changing;
  DOCTEST_CHECK(list.front() == 1.5);
  DOCTEST_CHECK(list.back() == 96);
  DOCTEST_CHECK(list.cend() - list.cbegin() == 100);
  DOCTEST_CHECK(list[0].type() == json::value_t::number_float);
  DOCTEST_CHECK(list[1].type() == json::value_t::boolean);
  DOCTEST_CHECK(list[2].type() == json::value_t::null);
  json object = json::object({{"k", json::array({1})}});
  const json& same = object;
  DOCTEST_CHECK(same.find("k").key() == "k");
  DOCTEST_CHECK(same.find("none") == same.end());
  *object.find_pointer("/k/0") = 2;
  std::error_code ec;
  DOCTEST_CHECK(object.dump(ec) == R"({"k":[2]})");
  DOCTEST_CHECK(object.dump(1, ec) == "{\n \"k\": [\n  2\n ]\n}");
  DOCTEST_CHECK_FALSE(ec);
  swap(object, changing);
  DOCTEST_CHECK(changing.is_object());
  DOCTEST_CHECK(object.size() == 100);
}

#if !MEMORIA_FS_EXCEPTIONS
DOCTEST_TEST_CASE("without exceptions what is used as the wrong type stays as it is") {
  json text("text");
  text["k"] = 1;
  text.push_back(2);
  DOCTEST_CHECK(text == json("text"));
  DOCTEST_CHECK(text["other"].is_null());  // what was thrown away before is not found again
  json list = json::array({1});
  list[5] = 2;
  DOCTEST_CHECK(list == json::array({1}));
}
#endif

#if MEMORIA_FS_EXCEPTIONS
template <class F>
std::string thrown(F f) {
  try {
    f();
  } catch (const json_error& e) {
    return e.what();
  }
  return "nothing";
}

DOCTEST_TEST_CASE("the throwing forms say what they expected and what they found") {
  json j = json::object({{"k", "text"}, {"list", json::array({1})}});
  DOCTEST_CHECK(thrown([&] { json::parse("[1,"); }) == "1:4: expected a value, found the end of the text");
  DOCTEST_CHECK(thrown([&] { static_cast<void>(j["k"].get<int>()); }) ==
                "expected an integer that fits, found a string");
  DOCTEST_CHECK(thrown([&] { static_cast<void>(json(300).get<std::uint8_t>()); }) ==
                "expected an integer that fits, found 300");
  DOCTEST_CHECK(thrown([&] { static_cast<void>(j.at("x")); }) == "no key 'x'");
  DOCTEST_CHECK(thrown([&] { static_cast<void>(j["list"].at(1)); }) == "no index 1 in an array of 1");
  DOCTEST_CHECK(thrown([&] { j["k"]["x"] = 1; }) == "expected an object, found a string");
  DOCTEST_CHECK(thrown([&] { j["list"][2] = 1; }) == "no index 2 in an array of 1");
  DOCTEST_CHECK(thrown([&] { j.push_back(1); }) == "expected an array, found an object");
  DOCTEST_CHECK(thrown([&] { static_cast<void>(j.value("k", 1)); }) == "expected an integer that fits, found a string");
  DOCTEST_CHECK(thrown([&] { j.at_pointer("/no/where"); }) == "nothing at /no/where");
  DOCTEST_CHECK(thrown([&] { j.set_pointer("/k/x", 1); }) == "cannot set /k/x");
  DOCTEST_CHECK(thrown([&] { json("\xFF").dump(); }) == "a string is not UTF-8");
  try {
    json::parse("{\n]");
    DOCTEST_CHECK(false);
  } catch (const json_error& error) {
    const std::system_error& base = error;
    DOCTEST_CHECK(base.code() == std::errc::illegal_byte_sequence);
    DOCTEST_CHECK(error.message("f.json") == "f.json:2:1: expected a key in quotes, found ']'");
    DOCTEST_CHECK(error.reason() == "expected a key in quotes, found ']'");
    DOCTEST_CHECK(error.problem().excerpt == "]");
    DOCTEST_CHECK(error.offset() == 2);
    DOCTEST_CHECK(error.line() == 2);
    DOCTEST_CHECK(error.column() == 1);
  }
  DOCTEST_CHECK(thrown([] { static_cast<void>(json().at("x")); }) == "expected an object, found null");
  DOCTEST_CHECK(thrown([] { static_cast<void>(json(true).at(0)); }) == "expected an array, found true");
  DOCTEST_CHECK(thrown([&] { j[0] = 1; }) == "expected an array, found an object");
  DOCTEST_CHECK(thrown([] { static_cast<void>(json(7).value("x", 2.5)); }) == "expected an object, found 7");
  DOCTEST_CHECK(json().value("x", 2.5) == 2.5);
  DOCTEST_CHECK(j.at_pointer("/list/0") == 1);
  DOCTEST_CHECK(j.set_pointer("/list/-", 2) == 2);
  DOCTEST_CHECK(j.value("k", "fallback") == "text");
  DOCTEST_CHECK(j.at("list").at(0).get<int>() == 1);
  DOCTEST_CHECK(std::as_const(j).at("list").at(0) == 1);
}
#endif

DOCTEST_TEST_SUITE_END();

}  // namespace tests
}  // inline namespace MEMORIA_FS_ABI
}  // namespace MEMORIA_FS_NAMESPACE
namespace MEMORIA_FS_NAMESPACE {
inline namespace MEMORIA_FS_ABI {
namespace tests {

DOCTEST_TEST_SUITE_BEGIN("[state]");

inline recovery_options reporting_to(std::vector<recovery_report>& reports) {
  recovery_options options;
  options.reporter = [&reports](const recovery_report& r) { reports.push_back(r); };
  return options;
}

inline json counter(std::int64_t n) { return json::object({{"count", n}}); }

DOCTEST_TEST_CASE("save_json writes what Python's json.dumps(indent=2) writes, and load reads it") {
  const scratch here;
  const json value = json::object({{"b", json::array({1, 2.5, "é"})}, {"a", nullptr}, {"e", json::object()}});
  std::error_code ec;
  save_json(here / "s.json", value, ec);
  DOCTEST_REQUIRE(!ec);
  DOCTEST_CHECK(contents(here / "s.json") ==
                "{\n  \"b\": [\n    1,\n    2.5,\n    \"\\u00e9\"\n  ],\n  \"a\": null,\n  \"e\": {}\n}");
  DOCTEST_CHECK(load_json(here / "s.json", ec) == value);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(load_json_with_recovery(here / "s.json", nullptr, ec) == value);
  DOCTEST_CHECK(here.names() == list({".s.json.lock", "s.json"}));
}

DOCTEST_TEST_CASE("load, then save, changes no byte of what Python wrote") {
  const scratch here;
  const std::string text =
      "{\n  \"nan\": [\n    NaN,\n    Infinity,\n    -Infinity\n  ],\n  \"big\": 123456789012345678901234567890,\n"
      "  \"lone\": \"\\ud800\",\n  \"tiny\": 1e-07,\n  \"zero\": -0.0\n}";
  put(here / "s.json", text);
  std::error_code ec;
  const json value = load_json(here / "s.json", ec);
  DOCTEST_REQUIRE(!ec);
  save_json(here / "s.json", value, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(contents(here / "s.json") == text);
  put(here / "bom.json", "\xEF\xBB\xBF{\"a\": 1}");
  DOCTEST_CHECK(load_json(here / "bom.json", ec) == json::object({{"a", 1}}));
}

DOCTEST_TEST_CASE("a missing file gives the fallback and leaves no trace, load_json says that it is missing") {
  const scratch here;
  std::error_code ec;
  DOCTEST_CHECK(load_json_with_recovery(here / "s.json", counter(7), ec) == counter(7));
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(load_json_with_recovery(here / "no" / "s.json", counter(7), ec) == counter(7));
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(load_json(here / "s.json", ec).is_null());
  DOCTEST_CHECK(ec == std::errc::no_such_file_or_directory);
  DOCTEST_CHECK(here.names().empty());
}

DOCTEST_TEST_CASE("bytes that are not JSON are set aside under a unique name, reported, and the fallback is returned") {
  for (const char* corrupt : {"", "{\"a\": ", "\xFF", "[1] x", "{'a': 1}"}) {
    const scratch here;
    std::vector<recovery_report> reports;
    const recovery_options options = reporting_to(reports);
    std::error_code ec;
    for (std::size_t round = 1; round <= 3; ++round) {  // within one second: no backup may replace another
      put(here / "s.json", std::string(corrupt));
      DOCTEST_CHECK(load_json_with_recovery(here / "s.json", counter(7), options, ec) == counter(7));
      DOCTEST_CHECK(!ec);
      DOCTEST_CHECK(!std::filesystem::exists(here / "s.json"));
      DOCTEST_REQUIRE(reports.size() == round);
      const recovery_report& report = reports.back();
      DOCTEST_CHECK(report.file.filename() == "s.json");
      DOCTEST_CHECK(contents(report.backup) == corrupt);
      DOCTEST_CHECK(detail::to_utf8(report.backup.filename()).find("s.json.bak-2") == 0);
      DOCTEST_CHECK(report.used == recovery_report::source::fallback);
      DOCTEST_CHECK(!report.problem.reason.empty());
      DOCTEST_CHECK(report.message().find("using default.") != std::string::npos);
      DOCTEST_CHECK(here.names().size() == round + 1);  // the backups and the lock
    }
  }
}

DOCTEST_TEST_CASE("the report tells an empty, a NUL-filled and a truncated file from a wrong one") {
  using damage = recovery_report::damage;
  const std::pair<std::string, damage> cases[] = {{"", damage::empty},
                                                  {std::string(512, '\0'), damage::zeros},
                                                  {"{\"a\": 1" + std::string(9, '\0'), damage::zeros},
                                                  {"{\"a\": ", damage::truncated},
                                                  {"[1, 2", damage::truncated},
                                                  {"{a: 1}", damage::syntax},
                                                  {"[1] x", damage::syntax}};
  for (const auto& [text, expected] : cases) {
    const scratch here;
    std::vector<recovery_report> reports;
    put(here / "s.json", text);
    std::error_code ec;
    DOCTEST_CHECK(load_json_with_recovery(here / "s.json", nullptr, reporting_to(reports), ec).is_null());
    DOCTEST_CHECK(!ec);
    DOCTEST_REQUIRE(reports.size() == 1);
    DOCTEST_CHECK(reports[0].found == expected);
  }
}

DOCTEST_TEST_CASE("the newest good generation is used, and is the current version from then on") {
  const scratch here;
  save_options keeping;
  keeping.generations = 3;
  std::error_code ec;
  for (int n = 1; n <= 4; ++n) save_json(here / "s.json", counter(n), keeping, ec);
  put(here / "s.json.gen-1", "rot");
  put(here / "s.json", "{\"count\": ");
  std::vector<recovery_report> reports;
  const recovery_options options = reporting_to(reports);
  DOCTEST_CHECK(load_json_with_recovery(here / "s.json", counter(0), options, ec) == counter(2));
  DOCTEST_CHECK(!ec);
  DOCTEST_REQUIRE(reports.size() == 1);
  DOCTEST_CHECK(reports[0].used == recovery_report::source::generation);
  DOCTEST_CHECK(reports[0].generation.filename() == "s.json.gen-2");
  DOCTEST_CHECK(contents(reports[0].backup) == "{\"count\": ");
  DOCTEST_CHECK(load_json_with_recovery(here / "s.json", counter(0), options, ec) == counter(2));
  DOCTEST_CHECK(reports.size() == 1);
  put(here / "s.json", "again");
  recovery_options none = reporting_to(reports);
  none.generations = 0;
  DOCTEST_CHECK(load_json_with_recovery(here / "s.json", counter(0), none, ec) == counter(0));
}

DOCTEST_TEST_CASE("max_backups keeps the newest") {
  const scratch here;
  for (const char* name : {"s.json.bak-20200101T000000Z", "s.json.bak-20200101T000000Z-2",
                           "s.json.bak-20200101T000000Z-10", "s.json.bak-20210101T000000Z", "s.json.other",
                           "s.json.bak-2019", "s.json.bak-20190101T000000Z-", "s.json.bak-20190101T000000Z.mine"}) {
    put(here / name, name);
  }
  put(here / "s.json", "corrupt");
  std::vector<recovery_report> reports;
  recovery_options options = reporting_to(reports);
  options.max_backups = 3;
  std::error_code ec;
  load_json_with_recovery(here / "s.json", nullptr, options, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_REQUIRE(reports.size() == 1);
  DOCTEST_CHECK(contents(reports[0].backup) == "corrupt");
  const std::vector<std::string> left = here.names();
  DOCTEST_CHECK(left.size() == 8);  // three backups, the lock, and four that are none
  DOCTEST_CHECK(std::count(left.begin(), left.end(), "s.json.bak-2019") == 1);
  DOCTEST_CHECK(std::count(left.begin(), left.end(), "s.json.bak-20200101T000000Z-10") == 1);
  DOCTEST_CHECK(std::count(left.begin(), left.end(), "s.json.bak-20210101T000000Z") == 1);
  DOCTEST_CHECK(std::count(left.begin(), left.end(), "s.json.other") == 1);
}

DOCTEST_TEST_CASE("what cannot be read stays where it is") {
  const scratch here;
  std::vector<recovery_report> reports;
  const recovery_options options = reporting_to(reports);
  std::error_code ec;
  std::filesystem::create_directory(here / "dir");
  DOCTEST_CHECK(load_json_with_recovery(here / "dir", counter(7), options, ec).is_null());
  DOCTEST_CHECK(ec == std::errc::is_a_directory);
  put(here / "s.json", "not json");
  {
    const fault unreadable(2, io_error);
    DOCTEST_CHECK(load_json_with_recovery(here / "s.json", counter(7), options, ec).is_null());
  }
  DOCTEST_CHECK(ec == std::errc::io_error);
  detail::os::seam() = [](const detail::os::event& e) {
    const std::string_view call = e.call;
    return detail::os::verdict{call == "read" || call == "ReadFile" ? io_error : 0, SIZE_MAX};
  };
  DOCTEST_CHECK(load_json_with_recovery(here / "s.json", counter(7), options, ec).is_null());
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(ec == std::errc::io_error);
  load_json_with_recovery(here / "s.json" / "below", counter(7), options, ec);
  DOCTEST_CHECK(ec);
  DOCTEST_CHECK(reports.empty());
  DOCTEST_CHECK(here.names() == list({"dir", "s.json"}));
}

DOCTEST_TEST_CASE("our depth limit is an error, never corruption") {
  const scratch here;
  put(here / "s.json", std::string(2000, '[') + std::string(2000, ']'));
  std::vector<recovery_report> reports;
  std::error_code ec;
  DOCTEST_CHECK(load_json_with_recovery(here / "s.json", counter(7), reporting_to(reports), ec).is_null());
  DOCTEST_CHECK(ec == errc::json_limit);
  DOCTEST_CHECK(reports.empty());
  DOCTEST_CHECK(here.names() == list({"s.json"}));
  recovery_options deep = reporting_to(reports);
  deep.max_depth = 3000;
  DOCTEST_CHECK(load_json_with_recovery(here / "s.json", counter(7), deep, ec).is_array());
  DOCTEST_CHECK(!ec);
}

DOCTEST_TEST_CASE("a file that another process repairs before we have the lock is read, not moved") {
  const scratch here;
  static path file;
  file = here / "s.json";
  put(file, "corrupt");
  detail::os::seam() = [](const detail::os::event& e) {
    const std::string_view call = e.call;
    if (call == "flock" || call == "LockFileEx") put(file, "{\"count\": 5}");
    return detail::os::verdict{};
  };
  std::vector<recovery_report> reports;
  std::error_code ec;
  const json value = load_json_with_recovery(file, counter(0), reporting_to(reports), ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(value == counter(5));
  DOCTEST_CHECK(reports.empty());
  DOCTEST_CHECK(here.names() == list({".s.json.lock", "s.json"}));
}

#ifndef _WIN32
DOCTEST_TEST_CASE("a file that is replaced between reading and moving is moved back and read") {
  const scratch here;
  static path file, dir;
  static int renames;
  file = here / "s.json", dir = here.dir, renames = 0;
  put(file, "corrupt");
  detail::os::seam() = [](const detail::os::event& e) {
    if (std::string_view(e.call) == "rename" && ++renames == 1) {
      put(dir / "new", "{\"count\": 5}");
      std::filesystem::rename(dir / "new", file);  // by a writer that takes no lock
    }
    return detail::os::verdict{};
  };
  std::vector<recovery_report> reports;
  std::error_code ec;
  const json value = load_json_with_recovery(file, counter(0), reporting_to(reports), ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(value == counter(5));
  DOCTEST_CHECK(reports.empty());
  DOCTEST_CHECK(here.names() == list({".s.json.lock", "s.json"}));
  DOCTEST_CHECK(contents(file) == "{\"count\": 5}");
}
#endif

#if defined(__linux__)
DOCTEST_TEST_CASE("a writer without our lock who comes between the last look and the exchange is not undone") {
  for (const int writers : {1, 2, 3}) {  // the second comes while the first one's file is being put back, and so on
    const scratch here;
    static path file, dir;
    static int renames, coming;
    static std::string last;
    file = here / "s.json", dir = here.dir, renames = 0, coming = writers;
    put(file, "corrupt");
    put(here / "s.json.gen-1", "{\"count\": 1}");
    detail::os::seam() = [](const detail::os::event& e) {
      const std::string_view to(e.second == nullptr ? "" : e.second);
      if (std::string_view(e.call) == "rename" && to == "s.json" && renames < coming) {
        last = "{\"count\": " + std::to_string(10 + ++renames) + "}";
        put(dir / "new", last);
        std::filesystem::rename(dir / "new", file);
      }
      return detail::os::verdict{};
    };
    std::vector<recovery_report> reports;
    std::error_code ec;
    const json value = load_json_with_recovery(file, counter(0), reporting_to(reports), ec);
    detail::os::seam() = nullptr;
    DOCTEST_CHECK(renames == writers);
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(contents(file) == last);
    DOCTEST_CHECK(value == counter(10 + writers));
    DOCTEST_CHECK(reports.empty());
    DOCTEST_CHECK(here.names() == list({".s.json.lock", "s.json", "s.json.gen-1"}));
  }
}

DOCTEST_TEST_CASE("where nothing can be exchanged a generation is restored all the same") {
  const scratch here;
  put(here / "s.json", "corrupt");
  put(here / "s.json.gen-1", "{\"count\": 1}");
  detail::os::seam() = [](const detail::os::event& e) {
    const bool exchange = std::string_view(e.call) == "rename" && std::string_view(e.second) == "s.json" &&
                          detail::exchange(fault::countdown, -1) == 0;
    return detail::os::verdict{exchange ? EINVAL : 0, SIZE_MAX};
  };
  fault::countdown = 0;
  std::vector<recovery_report> reports;
  std::error_code ec;
  DOCTEST_CHECK(load_json_with_recovery(here / "s.json", counter(0), reporting_to(reports), ec) == counter(1));
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(fault::countdown == -1);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(reports.size() == 1);
  DOCTEST_CHECK(contents(here / "s.json") == "{\"count\": 1}");
  DOCTEST_CHECK(here.names().size() == 4);  // and the backup, and the lock
}

DOCTEST_TEST_CASE("a backup keeps the access list of what was set aside") {
  const scratch here;
  put(here / "s.json", "corrupt");
  put(here / "s.json.gen-1", "{\"count\": 1}");
  if (!set_attribute(here / "s.json", acl, access_list(6, 0, 6))) {
    DOCTEST_MESSAGE("skipped: no access lists here");
    return;
  }
  std::vector<recovery_report> reports;
  std::error_code ec;
  load_json_with_recovery(here / "s.json", counter(0), reporting_to(reports), ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_REQUIRE(reports.size() == 1);
  DOCTEST_CHECK(attribute(reports[0].backup, acl) == access_list(6, 0, 6));
  DOCTEST_CHECK(!attribute(here / "s.json", acl));  // the generation's own metadata comes back with it
}
#endif

#ifndef _WIN32
DOCTEST_TEST_CASE("a generation that cannot be read is an error: it may be the good one") {
  const scratch here;
  put(here / "s.json", "corrupt");
  put(here / "s.json.gen-1", "{\"count\": 2}");
  put(here / "s.json.gen-2", "{\"count\": 1}");
  detail::os::seam() = [](const detail::os::event& e) {
    const bool newest = e.first != nullptr && std::string_view(e.first) == "s.json.gen-1";
    return detail::os::verdict{newest && std::string_view(e.call) == "open" ? EACCES : 0, SIZE_MAX};
  };
  std::error_code ec;
  DOCTEST_CHECK(load_json_with_recovery(here / "s.json", counter(0), ec).is_null());
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(ec == std::errc::permission_denied);
  DOCTEST_CHECK(contents(here / "s.json") == "corrupt");
  DOCTEST_CHECK(here.names() == list({".s.json.lock", "s.json", "s.json.gen-1", "s.json.gen-2"}));
}
#endif

DOCTEST_TEST_CASE("the message of a recovery is one line, whatever the file is called") {
  recovery_report report;
  report.used = recovery_report::source::generation;
  report.file = "a\nb", report.backup = "c\nd", report.generation = "e\nf";
  DOCTEST_CHECK(report.message().find('\n') == std::string::npos);
}

DOCTEST_TEST_CASE("if the corrupt file cannot be moved aside it stays, and that is an error") {
  const scratch here;
  put(here / "s.json", "corrupt");
  detail::os::seam() = [](const detail::os::event& e) {
    const std::string_view call = e.call;
#ifdef _WIN32
    return detail::os::verdict{call == "rename" ? 5 : 0, SIZE_MAX};
#else
    return detail::os::verdict{call == "rename" || call == "link" ? EACCES : 0, SIZE_MAX};
#endif
  };
  std::error_code ec;
  DOCTEST_CHECK(load_json_with_recovery(here / "s.json", counter(7), ec).is_null());
#if MEMORIA_FS_EXCEPTIONS
  try {
    load_json_with_recovery(here / "s.json", counter(7));
    DOCTEST_CHECK(false);
  } catch (const state_corruption_error& e) {
    DOCTEST_CHECK(e.code() == std::errc::permission_denied);
    DOCTEST_CHECK(e.backup_path().empty());
    DOCTEST_CHECK(e.default_value() == counter(7));
    DOCTEST_CHECK(e.problem().line == 1);
  }
#endif
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(ec == std::errc::permission_denied);
  DOCTEST_CHECK(contents(here / "s.json") == "corrupt");
}

DOCTEST_TEST_CASE("a corrupt file that was moved aside but not durably: the error says where it is") {
  const scratch here;
  put(here / "s.json", "corrupt");
  detail::os::seam() = [](const detail::os::event& e) {
    const std::string_view call = e.call;
    return detail::os::verdict{call == "fsync" || call == "FlushFileBuffers" ? io_error : 0, SIZE_MAX};
  };
  std::error_code ec;
#if MEMORIA_FS_EXCEPTIONS
  try {
    load_json_with_recovery(here / "s.json", counter(7));
    DOCTEST_CHECK(false);
  } catch (const state_corruption_error& e) {
    ec = e.code();
    DOCTEST_CHECK(contents(e.backup_path()) == "corrupt");
  }
#else
  load_json_with_recovery(here / "s.json", counter(7), ec);
#endif
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(ec == errc::not_durable);
  DOCTEST_CHECK(here.names().size() == 2);  // the lock and the backup
}

DOCTEST_TEST_CASE("what was moved aside, is not what was read and does not go back is an error, not a new beginning") {
  for (const bool can_be_looked_at : {false, true}) {
    const scratch here;
    static path file;
    static int renames, looks;
    static bool other;
    file = here / "s.json", renames = looks = 0, other = can_be_looked_at;
    put(file, "corrupt");
    detail::os::seam() = [](const detail::os::event& e) {
      const std::string_view call = e.call;
      const bool rename = call == "rename", look = renames == 1 && (call == "open" || call == "CreateFile");
      if (rename && renames == 0 && other) put(file, "mended");
      const bool fails = (rename && ++renames > 1) || (look && ++looks == 1 && !other);
      return detail::os::verdict{fails ? io_error : 0, SIZE_MAX};
    };
    std::error_code ec;
    DOCTEST_CHECK(load_json_with_recovery(file, counter(7), ec).is_null());
    detail::os::seam() = nullptr;
    DOCTEST_CHECK(static_cast<bool>(ec));
    DOCTEST_CHECK(here.names().size() == 2);
  }
}

DOCTEST_TEST_CASE("corruption_policy::raise sets the file aside and is an error") {
  const scratch here;
  std::vector<recovery_report> reports;
  recovery_options options = reporting_to(reports);
  options.on_corruption = corruption_policy::raise;
  put(here / "s.json", "{\n  oops");
  std::error_code ec;
  DOCTEST_CHECK(load_json_with_recovery(here / "s.json", counter(7), options, ec).is_null());
  DOCTEST_CHECK(ec == errc::corrupt_json);
  DOCTEST_CHECK(reports.size() == 1);
#if MEMORIA_FS_EXCEPTIONS
  put(here / "s.json", "{\n  oops");
  try {
    load_json_with_recovery(here / "s.json", counter(7), options);
    DOCTEST_CHECK(false);
  } catch (const state_corruption_error& e) {
    DOCTEST_CHECK(contents(e.backup_path()) == "{\n  oops");
    DOCTEST_CHECK(e.default_value() == counter(7));
    DOCTEST_CHECK(e.problem().line == 2);
    DOCTEST_CHECK(std::string(e.what()).find("2:3") != std::string::npos);
  }
#endif
}

DOCTEST_TEST_CASE("load_json moves nothing") {
  const scratch here;
  put(here / "s.json", "corrupt");
  std::error_code ec;
  DOCTEST_CHECK(load_json(here / "s.json", ec).is_null());
  DOCTEST_CHECK(ec == errc::corrupt_json);
#if MEMORIA_FS_EXCEPTIONS
  DOCTEST_CHECK_THROWS_AS(load_json(here / "s.json"), state_corruption_error);
  DOCTEST_CHECK_THROWS_AS(load_json(here / "missing"), error);
#endif
  DOCTEST_CHECK(here.names() == list({"s.json"}));
}

DOCTEST_TEST_CASE("update_json by many threads loses no update") {
  const scratch here;
  const auto slowly = [](json& j) {  // so that the others come in between, if they can
    detail::os::sleep_for(1);
    j["count"] = j["count"].get_if<int>().value_or(-1000) + 1;
  };
  std::vector<std::thread> workers;
  for (int t = 0; t < 4; ++t) {
    workers.emplace_back([&] {
      update_options options;
      options.durable = durability::none;
      std::error_code ec;
      for (int i = 0; i < 25 && !ec; ++i) update_json(here / "s.json", counter(0), slowly, options, ec);
    });
  }
  for (std::thread& worker : workers) worker.join();
  std::error_code ec;
  DOCTEST_CHECK(load_json(here / "s.json", ec) == counter(100));
  DOCTEST_CHECK(here.names() == list({".s.json.lock", "s.json"}));
}

DOCTEST_TEST_CASE("update_json writes nothing when the change says so") {
  const scratch here;
  put(here / "s.json", "{\"count\":1}");
  std::error_code ec;
  const json value = update_json(here / "s.json", counter(0), [](json& j) { j["count"] = 2; return false; }, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(value == counter(2));
  DOCTEST_CHECK(contents(here / "s.json") == "{\"count\":1}");
  const auto set_two = [](json& j) { j["count"] = 2; return true; };
  update_json(here / "s.json", counter(0), set_two, ec);
  DOCTEST_CHECK(load_json(here / "s.json", ec) == counter(2));
}

inline void set_three(json& j) { j["count"] = 3; }
inline bool refuse_four(json& j) { j["count"] = 4; return false; }

#ifndef _WIN32
DOCTEST_TEST_CASE("a recovery that nobody asked to hear of goes to standard error, in one line") {
  const scratch here;
  put(here / "s.json", "{");
  std::fflush(stderr);
  const int kept = ::dup(2), log = ::open((here / "log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  DOCTEST_REQUIRE((kept != -1 && log != -1));
  ::dup2(log, 2);
  std::error_code ec;
  const json value = load_json_with_recovery(here / "s.json", json("fallback"), {}, ec);
  std::fflush(stderr);
  ::dup2(kept, 2);
  ::close(kept);
  ::close(log);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(value == json("fallback"));
  const std::string said = contents(here / "log");
  DOCTEST_CHECK(said.find("s.json") != std::string::npos);
  DOCTEST_CHECK(std::count(said.begin(), said.end(), '\n') == 1);
}

DOCTEST_TEST_CASE("a symbolic link that is pointed elsewhere while we wait for the lock leads to the other file") {
  const scratch here;
  static path link;
  static bool moved;
  link = here / "s.json", moved = false;
  put(here / "a.json", "{\"count\":1}");
  put(here / "b.json", "{\"count\":5}");
  std::filesystem::create_symlink("a.json", link);
  detail::os::seam() = [](const detail::os::event& e) {
    if (std::string_view(e.call).find("lock") != std::string_view::npos && !moved) {
      moved = true;
      std::filesystem::remove(link);
      std::filesystem::create_symlink("b.json", link);
    }
    return detail::os::verdict{};
  };
  std::error_code ec;
  const json value = update_json(link, counter(0), [](json& j) { j["seen"] = true; }, ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(value == json::object({{"count", 5}, {"seen", true}}));
  DOCTEST_CHECK(contents(here / "a.json") == "{\"count\":1}");
  DOCTEST_CHECK(load_json(here / "b.json", ec) == value);
}
#endif

DOCTEST_TEST_CASE("update_json takes a function as it takes a lambda") {
  const scratch here;
  std::error_code ec;
  update_json(here / "s.json", counter(0), set_three, ec);
  update_json(here / "s.json", counter(0), refuse_four, update_options{}, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(load_json(here / "s.json", ec) == counter(3));
  update_json(here / "s.json", counter(0), &refuse_four, ec);
  DOCTEST_CHECK(load_json(here / "s.json", ec) == counter(3));
}

#if MEMORIA_FS_EXCEPTIONS
DOCTEST_TEST_CASE("a change that throws writes nothing and frees the lock") {
  const scratch here;
  update_json(here / "s.json", counter(1), [](json&) {});
  DOCTEST_CHECK_THROWS_AS(update_json(here / "s.json", counter(0), [](json& j) { j["count"] = 9; throw 1; }), int);
  DOCTEST_CHECK(load_json(here / "s.json") == counter(1));
  update_options options;
  options.timeout = std::chrono::milliseconds{0};
  update_json(here / "s.json", counter(0), [](json& j) { j["count"] = 3; }, options);
  DOCTEST_CHECK(load_json(here / "s.json") == counter(3));
}
#endif

DOCTEST_TEST_CASE("updating or saving a file inside its own update is an error, another file is not") {
  const scratch here;
  std::error_code inner_update, inner_save, other, ec;
  update_json(here / "s.json", counter(0), [&](json& j) {
    update_json(here / "s.json", counter(0), [](json&) {}, inner_update);
    save_json(here / "s.json", counter(5), inner_save);
    save_json(here / "t.json", counter(6), other);
    j["count"] = 1;
  }, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(inner_update == errc::lock_nested);
  DOCTEST_CHECK(inner_save == std::errc::resource_deadlock_would_occur);
  DOCTEST_CHECK(!other);
  DOCTEST_CHECK(load_json(here / "s.json", ec) == counter(1));
  save_json(here / "s.json", counter(2), ec);  // and afterwards it is free again
  DOCTEST_CHECK(!ec);
}

DOCTEST_TEST_CASE("update_json recovers a corrupt file first") {
  const scratch here;
  put(here / "s.json", "corrupt");
  std::vector<recovery_report> reports;
  update_options options;
  options.recovery = reporting_to(reports);
  std::error_code ec;
  update_json(here / "s.json", counter(10), [](json& j) { j["count"] = 11; }, options, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(reports.size() == 1);
  DOCTEST_CHECK(load_json(here / "s.json", ec) == counter(11));
}

DOCTEST_TEST_CASE("a waiting writer gives up at its deadline") {
  const scratch here;
  std::error_code ec, late;
  const file_lock holder(lock_path(here / "s.json", ec), ec);
  DOCTEST_REQUIRE(!ec);
  save_options options;
  options.timeout = std::chrono::milliseconds{5};
  save_json(here / "s.json", counter(1), options, late);
  DOCTEST_CHECK(late == errc::lock_timeout);
  DOCTEST_CHECK(!std::filesystem::exists(here / "s.json"));
}

DOCTEST_TEST_CASE("save_json_if_unchanged notices a neighbour's change, also of a missing file") {
  const scratch here;
  const path file = here / "s.json";
  std::error_code ec;
  json_snapshot mine = load_json_snapshot(file, counter(0), ec);
  DOCTEST_CHECK(!mine.existed);
  DOCTEST_CHECK(mine.value == counter(0));
  json_snapshot theirs = load_json_snapshot(file, counter(0), ec);
  DOCTEST_CHECK(save_json_if_unchanged(file, theirs, counter(1), ec));
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(!save_json_if_unchanged(file, mine, counter(2), ec));
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(load_json(file, ec) == counter(1));
  DOCTEST_CHECK(save_json_if_unchanged(file, theirs, counter(3), ec));  // the snapshot went along
  mine = load_json_snapshot(file, counter(0), ec);
  DOCTEST_CHECK(mine.value == counter(3));
  put(file, mine.text + " ");  // even where the value is the same
  DOCTEST_CHECK(!save_json_if_unchanged(file, mine, counter(4), ec));
  std::filesystem::remove(file);
  DOCTEST_CHECK(!save_json_if_unchanged(file, mine, counter(4), ec));
  DOCTEST_CHECK(!std::filesystem::exists(file));
  mine = load_json_snapshot(file, counter(0), ec);
  put(file, "");  // as little text as a missing file has
  DOCTEST_CHECK(!save_json_if_unchanged(file, mine, counter(4), ec));
  DOCTEST_CHECK(read_text(file, ec).empty());
  DOCTEST_CHECK(!ec);
}

#ifndef _WIN32
DOCTEST_TEST_CASE("save_json_if_unchanged has saved what only is not durable, and nothing after any other failure") {
  const scratch here;
  const path file = here / "s.json";
  std::error_code ec;
  json_snapshot snapshot = load_json_snapshot(file, counter(0), ec);
  detail::os::seam() = [](const detail::os::event& e) {
    return detail::os::verdict{std::string_view(e.call) == "fsync directory" ? EIO : 0, SIZE_MAX};
  };
  DOCTEST_CHECK(save_json_if_unchanged(file, snapshot, counter(1), ec));
  DOCTEST_CHECK(ec == errc::not_durable);
  detail::os::seam() = [](const detail::os::event& e) {
    return detail::os::verdict{std::string_view(e.call) == "fsync" ? EIO : 0, SIZE_MAX};
  };
  DOCTEST_CHECK(!save_json_if_unchanged(file, snapshot, counter(2), ec));
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(ec == std::errc::io_error);
  DOCTEST_CHECK(load_json(file, ec) == counter(1));
  DOCTEST_CHECK(save_json_if_unchanged(file, snapshot, counter(3), ec));  // the snapshot went along, and only once
  DOCTEST_CHECK(!ec);
}
#endif

DOCTEST_TEST_CASE("through a symbolic link, lock, backup and file live beside what it leads to") {
  if (!can_symlink()) {
    DOCTEST_MESSAGE("skipped: no symbolic links here");
    return;
  }
  const scratch here;
  std::filesystem::create_directory(here / "real");
  std::filesystem::create_symlink(path("real") / "s.json", here / "link.json");
  std::error_code ec;
  save_json(here / "link.json", counter(1), ec);
  DOCTEST_CHECK(contents(here / "real" / "s.json") == "{\n  \"count\": 1\n}");
  put(here / "link.json", "corrupt");
  std::vector<recovery_report> reports;
  load_json_with_recovery(here / "link.json", nullptr, reporting_to(reports), ec);
  DOCTEST_REQUIRE(reports.size() == 1);
  DOCTEST_CHECK(std::filesystem::equivalent(reports[0].backup.parent_path(), here / "real"));
  DOCTEST_CHECK(here.names() == list({"link.json", "real"}));
}

#ifndef _WIN32
DOCTEST_TEST_CASE("a lock file takes the mode of the file it guards") {
  const scratch here;
  put(here / "s.json", "{}");
  ::chmod((here / "s.json").c_str(), 0660);
  std::error_code ec;
  save_json(here / "s.json", counter(1), ec);
  struct ::stat st = {};
  DOCTEST_REQUIRE(::stat((here / ".s.json.lock").c_str(), &st) == 0);
  DOCTEST_CHECK((st.st_mode & 07777u) == 0660);
}
#endif

DOCTEST_TEST_CASE(
    "every system call of an update may fail: old or new, and never anything but the state and its lock") {
  for (long n = 0;; ++n) {
    const scratch here;
    put(here / "s.json", "{\n  \"count\": 1\n}");
    std::error_code ec;
    update_options options;
    options.retry_for = std::chrono::milliseconds{0};
    {
      const fault failing(n, io_error);
      update_json(here / "s.json", counter(0), [](json& j) { j["count"] = 2; }, options, ec);
    }
    const bool applied = !ec || ec == errc::not_durable;
    DOCTEST_CHECK(contents(here / "s.json") == (applied ? "{\n  \"count\": 2\n}" : "{\n  \"count\": 1\n}"));
    for (const std::string& name : here.names()) DOCTEST_CHECK((name == "s.json" || name == ".s.json.lock"));
    if (fault::struck.empty()) {
      DOCTEST_CHECK(!ec);
      DOCTEST_CHECK(n > 10);
      break;
    }
  }
}

DOCTEST_TEST_CASE("every system call of a recovery may fail: the corrupt bytes are never lost") {
  for (long n = 0;; ++n) {
    const scratch here;
    put(here / "s.json", "corrupt");
    put(here / "s.json.gen-1", "{\"count\": 1}");
    std::vector<recovery_report> reports;
    std::error_code ec;
    json value;
    {
      const fault failing(n, io_error);
      value = load_json_with_recovery(here / "s.json", counter(0), reporting_to(reports), ec);
    }
    bool kept = false;
    for (const std::string& name : here.names()) kept = kept || contents(here / name.c_str()) == "corrupt";
    DOCTEST_CHECK(kept);
    DOCTEST_CHECK((ec || value == counter(1) || value == counter(0)));
    DOCTEST_CHECK((ec ? value.is_null() : reports.size() == 1));
    if (fault::struck.empty()) {
      DOCTEST_CHECK(!ec);
      DOCTEST_CHECK(value == counter(1));
      break;
    }
  }
}

DOCTEST_TEST_SUITE_END();

}  // namespace tests
}  // inline namespace MEMORIA_FS_ABI
}  // namespace MEMORIA_FS_NAMESPACE

// ---- [vault] tests --------------------------------------------------------------------------------------------------

namespace MEMORIA_FS_NAMESPACE {
inline namespace MEMORIA_FS_ABI {
namespace tests {

DOCTEST_TEST_SUITE_BEGIN("[vault]");

// A directory of notes, given as name and content.
struct vault : scratch {
  vault(std::initializer_list<std::pair<const char*, const char*>> notes) {
    for (const auto& [name, content] : notes) add(name, content);
  }
  void add(const char* name, std::string_view content) const {
    const path file = dir / detail::from_utf8(name).value();
    std::filesystem::create_directories(file.parent_path());
    put(file, content);
  }
  std::string text(const char* name) const { return contents(dir / detail::from_utf8(name).value()); }
  bool has(const char* name) const { return std::filesystem::exists(dir / detail::from_utf8(name).value()); }
  link_graph graph(const graph_options& options = {}) const {
    std::error_code ec;
    link_graph g(dir, options, ec);
    DOCTEST_CHECK(!ec);
    return g;
  }
  // "source:line:column target status destination" of every link.
  std::string links(const graph_options& options = {}) const {
    static constexpr const char* status[] = {"ok", "broken", "ambiguous", "unsafe", "no_anchor"};
    const link_graph g = graph(options);
    std::string out;
    for (const graph_link link : g.links()) {
      out.append(g.notes()[link.source].name).append(":").append(std::to_string(link.position.line)).append(":");
      out.append(std::to_string(link.position.column)).append(" ").append(link.target).append(" ");
      out += status[static_cast<int>(link.status)];
      if (link.destination != graph_link::none) out.append(" ").append(g.notes()[link.destination].name);
      out += "\n";
    }
    return out;
  }
};

inline graph_options exactly() {
  graph_options options;
  options.resolve = link_resolution::exact;
  return options;
}

DOCTEST_TEST_CASE("wiki_article_exists asks for the exact path inside the directory") {
  const vault v{{"a.md", ""}, {"dir/b.md", ""}, {"plain.txt", ""}};
  DOCTEST_CHECK(wiki_article_exists("a", v.dir));
  DOCTEST_CHECK(wiki_article_exists(" dir/b | text", v.dir));
  DOCTEST_CHECK(wiki_article_exists("dir/../a", v.dir));
  DOCTEST_CHECK(!wiki_article_exists("b", v.dir));
  DOCTEST_CHECK(!wiki_article_exists("a.md", v.dir));
  DOCTEST_CHECK(!wiki_article_exists("a#h", v.dir));
  DOCTEST_CHECK(!wiki_article_exists("", v.dir));
  DOCTEST_CHECK(!wiki_article_exists("../" + detail::to_utf8(v.dir.filename()) + "x/a", v.dir));
  DOCTEST_CHECK(!wiki_article_exists(std::string(5000, 'x'), v.dir));
}

DOCTEST_TEST_CASE("count_inbound_links counts notes, sees through aliases, and leaves one note out") {
  const vault v{{"a.md", "[[b]] [[b|again]] [[b#h]]"}, {"b.md", "[[b]]"},        {"c.md", "`[[ b ]]`"},
                {"d/e.md", "[[b.md]] [[B]]"},          {".hidden/f.md", "[[b]]"}, {"n.txt", "[[b]]"}};
  std::error_code ec = std::make_error_code(std::errc::io_error);
  DOCTEST_CHECK(count_inbound_links("b", v.dir, ec) == 3);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(count_inbound_links("b", v.dir, v.dir / "b.md", ec) == 2);
  DOCTEST_CHECK(count_inbound_links("b", v.dir, v.dir / "d" / ".." / "b.md", ec) == 2);
  DOCTEST_CHECK(count_inbound_links("b", v.dir, v.dir / "missing.md", ec) == 3);
  DOCTEST_CHECK(count_inbound_links("b#h", v.dir, ec) == 1);
  DOCTEST_CHECK(count_inbound_links("nothing", v.dir, ec) == 0);
  DOCTEST_CHECK(count_inbound_links("b", v.dir / "missing", ec) == 0);
  DOCTEST_CHECK(ec == std::errc::no_such_file_or_directory);
#if MEMORIA_FS_EXCEPTIONS
  DOCTEST_CHECK(count_inbound_links("b", v.dir) == 3);
  DOCTEST_CHECK_THROWS_AS(count_inbound_links("b", v.dir / "missing"), const error&);
#endif
}

#ifndef _WIN32
DOCTEST_TEST_CASE("count_inbound_links leaves the note out under another name, too") {
  const vault v{{"a.md", "[[x]]"}, {"b.md", "[[x]]"}};
  std::filesystem::create_symlink("a.md", v / "c.md");
  std::error_code ec;
  DOCTEST_CHECK(count_inbound_links("x", v.dir, ec) == 3);
  DOCTEST_CHECK(count_inbound_links("x", v.dir, v / "a.md", ec) == 1);
  DOCTEST_CHECK(count_inbound_links("x", v.dir, v / "c.md", ec) == 1);
  DOCTEST_CHECK(!ec);
}

DOCTEST_TEST_CASE("count_inbound_links: a note that vanishes between listing and reading links to nothing") {
  static const vault v{{"a.md", "[[x]]"}, {"b.md", "[[x]]"}, {"c.md", "[[x]]"}};
  static const char* call;
  for (const char* struck : {"open", "stat"}) {
    call = struck;
    std::error_code ec;
    detail::os::seam() = [](const detail::os::event& e) {
      const bool strikes = std::string_view(e.call) == call && e.first != nullptr && path(e.first) == "b.md";
      if (strikes) std::filesystem::remove(v / "b.md");
      return detail::os::verdict{};
    };
    const std::size_t count = count_inbound_links("x", v.dir, v / "c.md", ec);
    detail::os::seam() = nullptr;
    DOCTEST_CAPTURE(struck);
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(!v.has("b.md"));
    DOCTEST_CHECK(count == (call == std::string_view("open") ? 1 : 2));
    v.add("b.md", "[[x]]");
  }
}
#endif

DOCTEST_TEST_CASE("a graph by exact path answers as the seed does") {
  const vault v{{"a.md", "[[dir/b]] [[b]]\n[[../x]] [[/a]] [[dir/b.md]]"},
                {"dir/b.md", "[[a]] [[dir/../a]] [[./a]] [[dir//b]] [[a#h]] [[folder]]"},
                {"folder.md/inner.md", "[[folder.md/inner|x]] [[.secret]]"},
                {".secret.md", "[[a]]"}};
  DOCTEST_CHECK(v.links(exactly()) ==
                "a.md:1:1 dir/b ok dir/b.md\n"
                "a.md:1:11 b broken\n"
                "a.md:2:1 ../x unsafe\n"
                "a.md:2:10 /a unsafe\n"
                "a.md:2:17 dir/b.md broken\n"
                "dir/b.md:1:1 a ok a.md\n"
                "dir/b.md:1:7 dir/../a ok a.md\n"
                "dir/b.md:1:20 ./a ok a.md\n"
                "dir/b.md:1:28 dir//b ok dir/b.md\n"
                "dir/b.md:1:39 a#h broken\n"
                "dir/b.md:1:47 folder ok\n"
                "folder.md/inner.md:1:1 folder.md/inner ok folder.md/inner.md\n"
                "folder.md/inner.md:1:23 .secret ok\n");
}

DOCTEST_TEST_CASE("a graph by name finds notes as Obsidian does") {
  const vault v{
      {"Index.md", "[[note]] [[deep/note]] [[NOTE|x]] [[note.md]] [[#here]] [[pic.png]] ![[img/pic.png]]"},
      {"dir/deep/Note.md", "---\naliases: [First Name, \"second, name\"]\n---\n[[../../index]] [[./note]] [[/Index]]"},
      {"img/pic.png", ""},
      {"z.md", "[[first name]] [[Second, Name]] [[../out]] [[/nothing]] [[missing]] [[v2.4]] [[ep/note]]"},
      {"v2.4.md", "[[note#any#^block]]"}};
  DOCTEST_CHECK(v.links() ==
                "Index.md:1:1 note ok dir/deep/Note.md\n"
                "Index.md:1:10 deep/note ok dir/deep/Note.md\n"
                "Index.md:1:24 NOTE ok dir/deep/Note.md\n"
                "Index.md:1:35 note.md ok dir/deep/Note.md\n"
                "Index.md:1:47 #here ok Index.md\n"
                "Index.md:1:57 pic.png ok\n"
                "Index.md:1:69 img/pic.png ok\n"
                "dir/deep/Note.md:4:1 ../../index ok Index.md\n"
                "dir/deep/Note.md:4:17 ./note ok dir/deep/Note.md\n"
                "dir/deep/Note.md:4:28 /Index ok Index.md\n"
                "v2.4.md:1:1 note#any#^block ok dir/deep/Note.md\n"
                "z.md:1:1 first name ok dir/deep/Note.md\n"
                "z.md:1:16 Second, Name ok dir/deep/Note.md\n"
                "z.md:1:33 ../out unsafe\n"
                "z.md:1:44 /nothing unsafe\n"
                "z.md:1:57 missing broken\n"
                "z.md:1:69 v2.4 ok v2.4.md\n"
                "z.md:1:78 ep/note broken\n");
}

DOCTEST_TEST_CASE("several notes of one name: the exact path is certain, else the own folder, then the shortest path") {
  const vault v{
      {"a/n.md", "[[n]]"}, {"b/n.md", ""}, {"b/x.md", "[[n]] [[a/n]]"}, {"cc/dd/n.md", ""}, {"o.md", "[[n]] [[dd/n]]"}};
  const link_graph g = v.graph();
  DOCTEST_CHECK(v.links() ==
                "a/n.md:1:1 n ambiguous a/n.md\n"
                "b/x.md:1:1 n ambiguous b/n.md\n"
                "b/x.md:1:7 a/n ok a/n.md\n"
                "o.md:1:1 n ambiguous a/n.md\n"
                "o.md:1:7 dd/n ok cc/dd/n.md\n");
  std::string candidates;
  for (const graph_note note : g.candidates(3)) candidates.append(note.name).append(" ");
  DOCTEST_CHECK((candidates == "a/n.md b/n.md cc/dd/n.md " || candidates == "a/n.md cc/dd/n.md b/n.md "));
  DOCTEST_CHECK(g.candidates(2).empty());
  for (int i = 0; i < 100; ++i) {  // each time salted anew: which keys share a bucket is chance
    DOCTEST_CHECK(v.graph().candidates(3).size() == 3);
  }
  v.add("n.md", "");
  DOCTEST_CHECK(v.links().find("o.md:1:1 n ok n.md\n") != std::string::npos);
  const vault w{{"aa/bb/n.md", ""}, {"q.md", "[[n]]"}, {"z/n.md", ""}};
  DOCTEST_CHECK(w.links() == "q.md:1:1 n ambiguous z/n.md\n");
  DOCTEST_CHECK(w.graph().find("n") == 2);  // asked for outside of every note
}

DOCTEST_TEST_CASE("several notes of one alias and several files of one name are ambiguous; one note twice is not") {
  const vault v{{"a.md", "---\naliases: [twice, Twice, both]\n---\n"},
                {"b.md", "---\naliases: both\n---\n"},
                {"c/p.png", ""},
                {"d/p.png", ""},
                {"d/q.md", "[[twice]] [[both]] [[p.png]] [[n]]"},
                {"e/n", ""},
                {"f/n.md", ""},
                {"g/n.md", "---\naliases: n\n---\n"}};
  DOCTEST_CHECK(v.links() ==
                "d/q.md:1:1 twice ok a.md\n"
                "d/q.md:1:11 both ambiguous a.md\n"
                "d/q.md:1:20 p.png ambiguous\n"
                "d/q.md:1:30 n ambiguous f/n.md\n");
  const link_graph g = v.graph();
  const auto candidates = [&](std::size_t link) {
    std::string names;
    for (const graph_note note : g.candidates(link)) names.append(note.name).append(" ");
    return names;
  };
  DOCTEST_CHECK(candidates(1) == "a.md b.md ");
  DOCTEST_CHECK(candidates(2) == "");
  DOCTEST_CHECK(candidates(3) == "f/n.md g/n.md ");
}

DOCTEST_TEST_CASE("a note comes before a file of its name, a file before an alias, whose name is the shortest") {
  const vault v{{"a.md", "---\naliases: [n, p.png]\n---\n"},
                {"folder/with/n.md", ""},
                {"folder/n", ""},
                {"folder/p.png", ""},
                {"q.md", "[[n]] [[p.png]]"}};
  DOCTEST_CHECK(v.links() == "q.md:1:1 n ok folder/with/n.md\nq.md:1:7 p.png ok\n");
}

DOCTEST_TEST_CASE("among many names each link leads to its own and no other, and no target is mixed up with another") {
  const vault v{{"q.md", ""}};
  std::string links, exact;
  for (int i = 0; i < 40; ++i) {
    const std::string n = std::to_string(i);
    v.add(("D/N" + n + ".md").c_str(), "");
    v.add(("\xC3\xA4/\xC3\xB6" + n + ".md").c_str(), "");  // U+00E4, U+00F6
    for (const char* there : {"n", "d/N", "D/n", "\xC3\xB6", "O\xCC\x88", "\xC3\x84/\xC3\xB6"}) {
      links.append("[[").append(there).append(n).append("]]");
    }
    exact += "[[D/N" + n + "]]";
  }
  links += "\n";
  exact += "\n";
  for (int i = 0; i < 40; ++i) {
    const std::string n = std::to_string(i);
    for (const char* gone : {"m", "xn", "x/n", "xd/n", "e/n", "\xC3\xBC", "x\xC3\xB6", "d/\xC3\xB6",
                             "x\xC3\xA4/\xC3\xB6", "o"}) {
      links.append("[[").append(gone).append(n).append("]]");
    }
    links += "[[n" + n + "x]][[\xC3\xB6" + n + "x]]";
    exact += "[[N" + n + "]][[D/M" + n + "]][[D/N" + n + "x]][[xD/N" + n + "]]";
  }
  for (int i = 0; i < 1200; ++i) links += "[[gone " + std::to_string(i) + "]]";
  for (const bool by_path : {false, true}) {
    const std::string& text = by_path ? exact : links;
    v.add("q.md", text);
    const link_graph g = v.graph(by_path ? exactly() : graph_options());
    DOCTEST_CHECK(g.links().size() == (by_path ? 200 : 1920));
    for (const graph_link link : g.links()) {
      const std::string target(link.target);
      const bool there = link.position.line == 1;
      DOCTEST_CAPTURE(target);
      const std::size_t begin = (there ? 0 : text.find('\n') + 1) + link.position.column - 1;
      DOCTEST_CHECK(text.compare(begin, target.size() + 4, "[[" + target + "]]") == 0);
      DOCTEST_CHECK(link.status == (there ? link_status::ok : link_status::broken));
      if (!there || link.destination == graph_link::none) continue;
      const std::string_view name = g.notes()[link.destination].name;
      const std::string folder = target.find_first_of("nN") != std::string::npos ? "D/N" : "\xC3\xA4/\xC3\xB6";
      DOCTEST_CHECK(name == folder + target.substr(target.find_first_of("0123456789")) + ".md");
    }
  }
}

DOCTEST_TEST_CASE("a note longer than what is read at once is read whole") {
  std::string text(600000, 'x');
  text += "\n[[q]]\n";
  const vault v{{"a.md", text.c_str()}, {"q.md", "[[a]]"}};
  DOCTEST_CHECK(v.links() == "a.md:2:1 q ok q.md\nq.md:1:1 a ok a.md\n");
}

DOCTEST_TEST_CASE("names match without regard to case and to how accents are composed") {
  const vault v{{"\xC3\x84pfel.md", ""},               // U+00C4
                {"caf\x65\xCC\x81.md", ""},             // e and U+0301
                {"\xCE\x91\xCE\xB8\xCE\xAE\xCE\xBD\xCE\xB1.md", ""},
                {"\xD0\xB9.md", ""},                  // U+0439
                {"\xE1\xBB\x86.md", ""},              // U+1EC6
                {"\xED\x95\x9C.md", ""},              // U+D55C
                {"q.md", "[[a\xCC\x88pfel]] [[CAF\xC3\x89]] [[\xCE\xB1\xCE\xB8\xCE\xAE\xCE\xBD\xCE\xB1]] [[apfel]] "
                         "[[\xD0\x98\xCC\x86]] [[e\xCC\xA3\xCC\x82]] [[\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB]]"}};
  const link_graph g = v.graph();
  DOCTEST_CHECK(g.count(link_status::ok) == 6);
  DOCTEST_CHECK(g.count(link_status::broken) == 1);
  const vault w{{"a.md", "[[/\xC3\xA4]] [[/B/\xC3\x84]] [[\xC3\x84]]"}, {"b/\xC3\xA4.md", ""}};
  DOCTEST_CHECK(w.graph().count(link_status::unsafe) == 1);  // not there, though in a folder
  DOCTEST_CHECK(w.graph().count(link_status::ok) == 2);
}

DOCTEST_TEST_CASE("inbound counts are of notes, links to oneself do not count, orphans are what nobody links to") {
  const vault v{
      {"a.md", "[[b]] [[b]] [[a]]"}, {"b.md", "[[b#h]]"}, {"c.md", "[[b]] `[[c]]` [[d]]"}, {"d.md", "```\n[[a]]\n```"}};
  const link_graph g = v.graph();
  std::string out;
  for (const graph_note note : g.notes()) {
    out.append(note.name)
        .append(" ")
        .append(std::to_string(note.inbound))
        .append(" ")
        .append(std::to_string(note.outbound)) += "; ";
  }
  DOCTEST_CHECK(out == "a.md 0 3; b.md 2 1; c.md 0 2; d.md 1 0; ");
  out.clear();
  for (const graph_note note : g.orphans()) out.append(note.name).append(" ");
  DOCTEST_CHECK(out == "a.md c.md ");
  out.clear();
  const std::size_t b = g.find("b").value();
  DOCTEST_CHECK(g.backlinks(b).size() == 3);
  DOCTEST_CHECK(g.backlinks(g.find("d").value()).size() == 1);
  for (const graph_link link : g.backlinks(b))
    out.append(g.notes()[link.source].name).append(std::to_string(link.position.column)) += " ";
  DOCTEST_CHECK(out == "a.md1 a.md7 c.md1 ");
  DOCTEST_CHECK(g.links_of(b).size() == 1);
  DOCTEST_CHECK(!g.find("nothing"));
  graph_options all;
  all.include_code = true;
  DOCTEST_CHECK(v.graph(all).notes()[0].inbound == 1);
  DOCTEST_CHECK(link_graph().notes().empty());
  DOCTEST_CHECK(link_graph().orphans().empty());
  DOCTEST_CHECK(!link_graph().find("a"));
}

DOCTEST_TEST_CASE("headings and blocks are checked when asked for") {
  graph_options options;
  options.check_anchors = true;
  const vault v{
      {"a.md",
       "# One: two\n\nText ^id-1\n\nUnder\n=====\n## Three ##\n```\n# Four\n```\n> - # Five\n[[#one two]] [[#^id-1]]"},
      {"b.md",
       "[[a#One: two]] [[a#one two#Three]] [[a#Under]] [[a#Five]] [[a#^id-1]] [[a#Four]] [[a#^id-2]] [[a#One#x]] "
       "[[a|#]]"}};
  DOCTEST_CHECK(v.graph(options).count(link_status::no_anchor) == 3);
  DOCTEST_CHECK(v.graph(options).count(link_status::ok) == 8);
  DOCTEST_CHECK(v.graph().count(link_status::no_anchor) == 0);
}

DOCTEST_TEST_CASE("frontmatter aliases are understood in every form people write") {
  const vault v{{"a.md", "---\nalias: One\n---\n"},
                {"b.md", "---\naliases:\n  - Two\n  - \"Three: 3\"\nother:\n  - Not\n---\n"},
                {"c.md", "---\naliases: Four, 'Five'\r\ntags: [Six]\n---\n"},
                {"d.md", "---\naliases: [Seven\n---\n"},
                {"q.md", "[[one]] [[two]] [[three: 3]] [[four]] [[five]] [[not]] [[six]]"}};
  const link_graph g = v.graph();
  DOCTEST_CHECK(g.count(link_status::ok) == 5);
  DOCTEST_CHECK(g.count(link_status::broken) == 2);
}

DOCTEST_TEST_CASE("every alias is found, and nothing else") {
  const auto found = [](const std::string& frontmatter) {
    const vault v{{"n.md", ("---\n" + frontmatter + "\n---\n").c_str()}};
    const link_graph g = v.graph();
    std::string out;
    for (const char* name : {"a", "b", "a, b", "\"a", "a\"", "a'", "'", "[a", "a]", "[]", "-", "- a", "b\"a, a\"b",
                             "\"a'", "x", "---", "y: a", "\"\"", "''"}) {
      if (g.find(name)) out.append(out.empty() ? "" : "; ").append(name);
    }
    return out;
  };
  DOCTEST_CHECK(found("aliases: a") == "a");
  DOCTEST_CHECK(found("aliases:a, b") == "a; b");
  DOCTEST_CHECK(found("aliases: a,b") == "a; b");
  DOCTEST_CHECK(found("aliases: [a,,  b ]") == "a; b");
  DOCTEST_CHECK(found("aliases: x, \"a, b\"") == "a, b; x");
  DOCTEST_CHECK(found("aliases: 'a', \"b\" , x") == "a; b; x");
  DOCTEST_CHECK(found("aliases: \"a") == "\"a");
  DOCTEST_CHECK(found("aliases: a\"") == "a\"");
  DOCTEST_CHECK(found("aliases: \"a'") == "\"a'");
  DOCTEST_CHECK(found("aliases: b\"a, a\"b") == "");
  DOCTEST_CHECK(found("aliases: '") == "'");
  DOCTEST_CHECK(found("aliases: \"\", ''") == "");
  DOCTEST_CHECK(found("aliases: [a") == "[a");
  DOCTEST_CHECK(found("aliases: a]") == "a]");
  DOCTEST_CHECK(found("aliases: []") == "");
  DOCTEST_CHECK(found("aliases:\n-a\n  - b\n-\n- ''\n") == "a; b");
  DOCTEST_CHECK(found("aliases:\n# a\n\n- b\n") == "b");
  DOCTEST_CHECK(found("aliases:\n- a\ny: a\n- b\n") == "a");
  DOCTEST_CHECK(found("aliases:\n- y: a") == "y: a");
  DOCTEST_CHECK(found("#aliases: a\nalias : a\n aliases: a\naliased: a\naliases") == "");
  DOCTEST_CHECK(found("aliases: x\nalias: a") == "a; x");
  graph_options all;
  all.include_code = true;
  const vault body{{"a.md", "aliases: b\n"}, {"q.md", "[[b]]"}};
  DOCTEST_CHECK(body.graph(all).count(link_status::broken) == 1);
  const vault exact{{"a.md", "---\naliases: b.md\n---\n[[b]] [[b.md]]"}};
  DOCTEST_CHECK(exact.graph(exactly()).count(link_status::broken) == 2);
}

DOCTEST_TEST_CASE("every anchor is found, and nothing else") {
  const auto found = [](const char* text) {
    const vault v{{"n.md", text}, {"p.png", ""}};
    std::string links = "[[p.png#x]]";
    const char* const names[] = {"a",   "a b",   "ab",    "^a",  "^b",  "a ^b",
                                 "===", "a b#a", "a#a b", "##a", "a%b", "\xC3\x84"};
    for (const char* name : names) links.append("[[n#").append(name).append("]]");
    v.add("q.md", links);
    graph_options options;
    options.check_anchors = true;
    const link_graph g = v.graph(options);
    const std::size_t q = g.find("q").value(), first = g.links_of(q)[0].index;
    DOCTEST_CHECK(g.links()[first].status == link_status::ok);  // files have no headings
    std::string out;
    for (std::size_t i = 0; i < std::size(names); ++i) {
      const link_status status = g.links()[first + 1 + i].status;
      DOCTEST_CHECK((status == link_status::ok || status == link_status::no_anchor));
      if (status == link_status::ok) out.append(out.empty() ? "" : "; ").append(names[i]);
    }
    return out;
  };
  DOCTEST_CHECK(found("") == "");
  DOCTEST_CHECK(found("a\n^a") == "^a");
  DOCTEST_CHECK(found("# a") == "a; ##a");
  DOCTEST_CHECK(found("---\nx: y\n---\n# a") == "a; ##a");
  DOCTEST_CHECK(found("---\n# a\n---\n") == "");
  DOCTEST_CHECK(found("# a b\n## a ##") == "a; a b; a ^b; a b#a; a#a b; ##a; a%b");
  DOCTEST_CHECK(found("#  A \t: B: #\n") == "a b; a ^b; a%b");
  DOCTEST_CHECK(found("# a#") == "a; ##a");
  DOCTEST_CHECK(found("###") == "");
  DOCTEST_CHECK(found("a\n\xC2\xA0\n===\n") == "");
  DOCTEST_CHECK(found("# ab") == "ab");
  DOCTEST_CHECK(found("# a\xCC\x88") == "\xC3\x84");
  DOCTEST_CHECK(found("#a") == "");
  DOCTEST_CHECK(found("a\n=") == "a; ##a");
  DOCTEST_CHECK(found("a\n---\n") == "a; ##a");
  DOCTEST_CHECK(found("a\n=-=\n") == "");
  DOCTEST_CHECK(found("a\n***\n") == "");
  DOCTEST_CHECK(found("a\n\n===\n") == "");
  DOCTEST_CHECK(found("===\n===\n") == "");
  DOCTEST_CHECK(found("a\n```\n```\n===\n") == "");
  DOCTEST_CHECK(found("a ^b\n===\n") == "a; ^b; ##a");
  DOCTEST_CHECK(found("- a ^b\n\n      # a\n") == "^b");
  DOCTEST_CHECK(found("x^a\nx\t^b") == "^b");
  DOCTEST_CHECK(found("x ^a y\n`^b`\n^") == "");
  DOCTEST_CHECK(found("```\n# a\n^b\n```\n") == "");
}

DOCTEST_TEST_CASE("a link in a graph is where and what it is in its note") {
  graph_options all;
  all.include_code = true;
  all.check_anchors = true;
  const vault v{{"a.md", "\n[[x]]\n\n ![[b]] `[[c]]`"}, {"b.md", "---\nup: \"[[a]]\"\n---\n\n[[b#h]]"}, {"p.png", ""}};
  const link_graph g = v.graph(all);
  std::string out;
  for (const graph_link link : g.links()) {
    out += std::to_string(link.index) + ":" + std::to_string(link.source) + ":" + std::to_string(link.position.line) +
           ":" + std::to_string(link.position.column) + " " + std::string(link.target) + (link.embed ? "!" : "") +
           (link.frontmatter ? "+ " : " ");
  }
  DOCTEST_CHECK(out == "0:0:2:1 x 1:0:4:2 b! 2:0:4:10 c 3:1:2:6 a+ 4:1:5:1 b#h ");
  DOCTEST_CHECK(g.count(link_status::no_anchor) == 1);
  DOCTEST_CHECK(g.backlinks(0).size() == 1);
  DOCTEST_CHECK(g.backlinks(0)[0].index == 3);
  DOCTEST_CHECK(g.notes()[0].readable);
  DOCTEST_CHECK(g.find("b") == 1);
  DOCTEST_CHECK(!g.find(std::string_view("b\0", 2)));
  DOCTEST_CHECK(!g.find("p.png"));
  DOCTEST_CHECK(!g.find(""));
  const std::string filler(300, 'x');
  const vault w{{"a.md", (filler + "\n[[a]]" + filler + "[[a]]\n" + filler + "\n[[a]]").c_str()}};
  DOCTEST_CHECK(w.links() == "a.md:2:1 a ok a.md\na.md:2:306 a ok a.md\na.md:4:1 a ok a.md\n");
}

DOCTEST_TEST_CASE("what a name leads to, by where the link stands and how it is written") {
  const vault v{{"a/x.md", "[[#h]] [[./s]] [[../s]]"},
                {"a/s.md", "[[./x]] [[/x]] [[/a/x]] [[a/x]]"},
                {"b/x.md", "[[#h]] [[./s]]"},
                {"b/s.md", "[[./x]] [[../a/x.md]]"},
                {"n.md.md", "---\naliases: [up/o, q.md]\n---\n[[n.md]] [[./x]] [[o]] [[up/o]] [[q.md]] [[q]]"},
                {"r", "a file"},
                {"t.md", "---\naliases: [u]\n---\n[[r]] [[r.md]] [[u]] [[u.md]] [[/u]] [[./u]]"},
                {"z/p.md", "[[../../s]] [[/../s]] [[.]] [[/]] [[]] [[z/../a/x]] [[z//p]]"},
                {"z/p.txt", ""}};
  DOCTEST_CHECK(v.links() ==
                "a/s.md:1:1 ./x ok a/x.md\n"
                "a/s.md:1:9 /x unsafe\n"
                "a/s.md:1:16 /a/x ok a/x.md\n"
                "a/s.md:1:25 a/x ok a/x.md\n"
                "a/x.md:1:1 #h ok a/x.md\n"
                "a/x.md:1:8 ./s ok a/s.md\n"
                "a/x.md:1:16 ../s broken\n"
                "b/s.md:1:1 ./x ok b/x.md\n"
                "b/s.md:1:9 ../a/x.md ok a/x.md\n"
                "b/x.md:1:1 #h ok b/x.md\n"
                "b/x.md:1:8 ./s ok b/s.md\n"
                "n.md.md:4:1 n.md ok n.md.md\n"
                "n.md.md:4:10 ./x broken\n"
                "n.md.md:4:18 o broken\n"
                "n.md.md:4:24 up/o ok n.md.md\n"
                "n.md.md:4:33 q.md ok n.md.md\n"
                "n.md.md:4:42 q broken\n"
                "t.md:4:1 r ok\n"
                "t.md:4:7 r.md broken\n"
                "t.md:4:16 u ok t.md\n"
                "t.md:4:22 u.md broken\n"
                "t.md:4:31 /u unsafe\n"
                "t.md:4:38 ./u broken\n"
                "z/p.md:1:1 ../../s unsafe\n"
                "z/p.md:1:13 /../s unsafe\n"
                "z/p.md:1:23 . broken\n"
                "z/p.md:1:29 / unsafe\n"
                "z/p.md:1:40 z/../a/x ok a/x.md\n"
                "z/p.md:1:53 z//p ok z/p.md\n");
  const vault e{{"a.md", "[[d/]] [[d/.h]] [[.d/x]] [[d/x/]] [[d/./x]] [[d/../a]] [[./.d/x]] [[d/..]] [[.a]]"},
                {"d/.h.md", ""},
                {"d/x.md", ""},
                {".d/x.md", ""},
                {".a/x.md", ""}};
  graph_options all;
  all.include_code = true;
  const vault blank{{"a.md", "[[ ]]"}, {"b.md", "[[ ]] [[a\\]]"}};
  DOCTEST_CHECK(blank.links(all) == "a.md:1:1  ok a.md\nb.md:1:1  ok b.md\nb.md:1:7 a\\ broken\n");
  const vault tables{{"a.md", "[[a\\|x]] [[a]]"}};
  all = exactly();
  DOCTEST_CHECK(tables.graph(all).count(link_status::ok) == 2);
  all.include_code = true;  // the seed's reading
  DOCTEST_CHECK(tables.graph(all).count(link_status::ok) == 1);
  tables.add("a.md", std::string_view("[[a\0]] [[a]]", 12));
  DOCTEST_CHECK(tables.graph(exactly()).count(link_status::unsafe) == 1);
  DOCTEST_CHECK(e.links(exactly()) ==
                "a.md:1:1 d/ broken\n"
                "a.md:1:8 d/.h ok\n"
                "a.md:1:17 .d/x ok\n"
                "a.md:1:26 d/x/ broken\n"
                "a.md:1:35 d/./x ok d/x.md\n"
                "a.md:1:45 d/../a ok a.md\n"
                "a.md:1:56 ./.d/x ok\n"
                "a.md:1:67 d/.. broken\n"
                "a.md:1:76 .a broken\n");
}

DOCTEST_TEST_CASE(
    "hidden folders are left out unless asked for, progress is reported, a missing directory is an error") {
  const vault v{{"a.md", ""}, {".git/b.md", ""}, {"c/.d.md", ""}};
  DOCTEST_CHECK(v.graph().notes().size() == 1);
  graph_options options;
  options.include_hidden = true;
  DOCTEST_CHECK(v.graph(options).notes().size() == 3);
  std::string calls;
  std::error_code ec;
  const link_graph g(v.dir, options, [&](std::size_t done, std::size_t total) {
    calls += std::to_string(done) + "/" + std::to_string(total) + " ";
  }, ec);
  DOCTEST_CHECK(calls == "1/3 2/3 3/3 ");
  const link_graph missing(v / "missing", ec);
  DOCTEST_CHECK(ec == std::errc::no_such_file_or_directory);
  DOCTEST_CHECK(missing.links().empty());
  DOCTEST_CHECK(!missing.find("a"));
  DOCTEST_CHECK(missing.failures().empty());
  DOCTEST_CHECK(missing.count(link_status::ok) == 0);
  const link_graph file(v / "a.md", ec);
  DOCTEST_CHECK(ec);
#if MEMORIA_FS_EXCEPTIONS
  DOCTEST_CHECK_THROWS_AS(link_graph(v / "missing"), const error&);
#endif
}

DOCTEST_TEST_CASE("a note that cannot be read is reported, and links to it are not broken") {
  const vault v{{"a.md", "[[b#h]]\n# h"}, {"b.md", "[[a#h]]\n# h"}};
  std::string found;
  for (long n = 0; n < 80; ++n) {
    std::error_code ec;
    link_graph g;
    std::string struck;
    graph_options options;
    options.check_anchors = n % 2 == 1;
    {
      const fault broken(n / 2, io_error);
      g = link_graph(v.dir, options, ec);
      struck = fault::struck;
    }
    if (struck.empty()) break;
    if (ec) continue;
    DOCTEST_CHECK(g.notes().size() == 2);
    DOCTEST_CHECK(g.notes()[0].readable + g.notes()[1].readable == 2 - static_cast<int>(g.failures().size()));
    for (const graph_failure& f : g.failures()) {
      found += f.name + " ";
      DOCTEST_CHECK(f.code);
      DOCTEST_CHECK(g.count(link_status::ok) == g.links().size());
      DOCTEST_CHECK(g.links().size() < 2);
    }
  }
  DOCTEST_CHECK(found.find("a.md") != std::string::npos);
  DOCTEST_CHECK(found.find("b.md") != std::string::npos);
}

DOCTEST_TEST_CASE("symbolic links: to a note it is one, to a folder it is not entered, in a loop it is nothing") {
  if (!can_symlink()) return;
  const vault v{{"a.md", "[[linked]] [[folder/b]]"}, {"real/b.md", "[[a]]"}};
  const scratch outside;
  put(outside / "secret.md", "");
  std::filesystem::create_symlink("real/b.md", v / "linked.md");
  std::filesystem::create_directory_symlink(v / "real", v / "folder");
  std::filesystem::create_directory_symlink(v.dir, v / "real" / "loop");
  std::filesystem::create_symlink("dangling", v / "gone.md");
  std::filesystem::create_symlink(outside / "secret.md", v / "out.md");
  const link_graph g = v.graph(exactly());
  DOCTEST_CHECK(g.notes().size() == 4);
  DOCTEST_CHECK(g.count(link_status::ok) == 4);  // folder/b exists as the seed sees it
  v.add("q.md", "[[out]]");
  DOCTEST_CHECK(v.graph(exactly()).count(link_status::unsafe) == 1);
  put(v / "text.txt", "");
  std::filesystem::create_symlink("../text.txt", v / "real" / "s.md");
  v.add("q.md", "[[folder/s]]");
  DOCTEST_CHECK(v.links(exactly()).find("q.md:1:1 folder/s ok\n") != std::string::npos);
}

inline std::string changes(const rename_report& report) {
  std::string out;
  for (const link_change& c : report.changes) {
    out += c.note + ":" + std::to_string(c.position.line) + ":" + std::to_string(c.position.column) + " " + c.before +
           "->" + c.after + "; ";
  }
  return out;
}

DOCTEST_TEST_CASE("rename_article moves the note and rewrites every link, keeping how each is written") {
  const vault v{{"dir/old.md", "# H\n[[old#H]] [[#H]] [[other]]"},
                {"other.md", "[[old]] ![[ dir/old #H| text ]] [[Old.md]] `[[old]]` [[older]]\r\n| [[old\\|x]] |"},
                {"older.md", "nothing"},
                {"z.md", "[[old]]"}};
  std::error_code ec;
  rename_options dry;
  dry.dry_run = true;
  const rename_report would = rename_article(v.dir, "dir/old", "else/new name.md", dry, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(v.has("dir/old.md"));
  DOCTEST_CHECK(!v.has("else"));
  const rename_report did = rename_article(v.dir, "dir/old.md", "else/new name", ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(did.moved);
  DOCTEST_CHECK(changes(did) == changes(would));
  DOCTEST_CHECK(changes(did) ==
                "else/new name.md:2:1 old->new name; other.md:1:1 old->new name; other.md:1:9 dir/old->else/new name; "
                "other.md:1:33 Old.md->new name.md; other.md:2:3 old->new name; z.md:1:1 old->new name; ");
  DOCTEST_CHECK(!v.has("dir/old.md"));
  DOCTEST_CHECK(v.text("else/new name.md") == "# H\n[[new name#H]] [[#H]] [[other]]");
  DOCTEST_CHECK(
      v.text("other.md") ==
      "[[new name]] ![[ else/new name #H| text ]] [[new name.md]] `[[old]]` [[older]]\r\n| [[new name\\|x]] |");
  DOCTEST_CHECK(v.text("older.md") == "nothing");
  DOCTEST_CHECK(v.graph().count(link_status::broken) == 0);
  DOCTEST_CHECK(remove_stale_temporaries(v.dir, ec) == 0);
}

#ifdef __linux__
DOCTEST_TEST_CASE("names that differ in case only are told apart by their case; what is not UTF-8 by its bytes") {
  const vault v{{"A.md", ""},
                {"a.md", ""},
                {"\xFF" "b.md", ""},
                {"q.md", "[[a]] [[A]] [[A.md]]\n[[\xFF" "B]] [[\xFE" "b]]"}};
  DOCTEST_CHECK(v.links() ==
                "q.md:1:1 a ok a.md\n"
                "q.md:1:7 A ok A.md\n"
                "q.md:1:13 A.md ok A.md\n"
                "q.md:2:1 \xFF" "B ok \xFF" "b.md\n"
                "q.md:2:8 \xFE" "b broken\n");
  const vault files{{"P.png", ""}, {"p.png", ""}, {"q.md", "[[p.png]] [[P.png]] [[p.PNG]]"}};
  DOCTEST_CHECK(files.graph().count(link_status::ok) == 2);
  DOCTEST_CHECK(files.graph().count(link_status::ambiguous) == 1);
  const vault w{{"Ab.md", ""}, {"aB.md", ""}, {"q.md", "[[ab]]"}};
  DOCTEST_CHECK(w.graph().count(link_status::ambiguous) == 1);
}
#endif

DOCTEST_TEST_CASE("rename_article gives a link more of its path where the name alone would be ambiguous") {
  const vault v{{"a/old.md", "[[./nearby]] [[nearby]] ![[./pic.png]]"},
                {"a/nearby.md", ""},
                {"a/pic.png", ""},
                {"b/new.md", ""},
                {"q.md", "[[old]] [[new]] [[b/new]] [[a/old]]"}};
  std::error_code ec;
  rename_article(v.dir, "a/old", "c/new", ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(v.text("q.md") == "[[c/new]] [[b/new]] [[b/new]] [[c/new]]");
  DOCTEST_CHECK(v.text("c/new.md") == "[[a/nearby]] [[nearby]] ![[a/pic.png]]");
  DOCTEST_CHECK(v.graph().count(link_status::ok) == v.graph().links().size());
}

DOCTEST_TEST_CASE("rename_article writes as many folders as there were, and from the root what was from the root") {
  const vault v{{"x/y/old.md", ""},
                {"b/new.md", ""},
                {"q.md", "[[old]] [[y/old]] [[x/y/old]] [[/x/y/old]] [[./x/y/old]] [[y/old.md]] [[new]]"},
                {"z.md", "nothing"},
                {".h/r.md", "[[old]]"},
                {"code.md", "`[[old]]`"}};
  std::error_code ec;
  rename_options options;
  options.write.overwrite = false;  // of these three none makes sense for a note that is rewritten
  options.write.generations = 2;
  options.write.symlinks = symlink_policy::replace;
  options.include_hidden = true;
  options.include_code = true;
  const bool link = can_symlink();
  v.add("s.txt", "[[old]]");
  if (link) std::filesystem::create_symlink("s.txt", v / "s.md");
  const std::size_t changed = rename_article(v.dir, "x/y/old", "z/w/new", options, ec).changes.size();
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(changed == (link ? 10 : 9));
  DOCTEST_CHECK(v.text("s.txt") == (link ? "[[z/w/new]]" : "[[old]]"));
  DOCTEST_CHECK(v.text("q.md") == "[[z/w/new]] [[w/new]] [[z/w/new]] [[/z/w/new]] [[z/w/new]] [[w/new.md]] [[b/new]]");
  DOCTEST_CHECK(v.text(".h/r.md") == "[[z/w/new]]");
  DOCTEST_CHECK(v.text("code.md") == "`[[z/w/new]]`");
  DOCTEST_CHECK(!v.has("q.md.gen-1"));
  options = rename_options();
  rename_article(v.dir, "z/w/new", "\xED\x9F\xBF", options, ec);  // U+D7FF
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(v.text("q.md") ==
                "[[\xED\x9F\xBF]] [[\xED\x9F\xBF]] [[\xED\x9F\xBF]] [[/\xED\x9F\xBF]] [[\xED\x9F\xBF]] "
                "[[\xED\x9F\xBF.md]] [[b/new]]");
  DOCTEST_CHECK(v.text(".h/r.md") == "[[z/w/new]]");
  rename_article(v.dir, "\xED\x9F\xBF", "\xEE\x80\x80", options, ec);  // U+E000
  DOCTEST_CHECK(!ec);
  rename_article(v.dir, "z", std::string_view("a\0b", 3), options, ec);
  DOCTEST_CHECK(ec == errc::unsafe_path);
  DOCTEST_CHECK(v.has("z.md"));
}

DOCTEST_TEST_CASE("rename_article takes a copy that a killed call left behind for no note of its own") {
  const char* const text = "---\naliases: nick\n---\n";
  const vault v{{"a.md", text}, {"b.md", text}, {"q.md", "[[nick]] [[a]] [[b]]"}};
  std::error_code ec;
  rename_article(v.dir, "a", "b", ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(!v.has("a.md"));
  DOCTEST_CHECK(v.text("q.md") == "[[nick]] [[b]] [[b]]");
}

DOCTEST_TEST_CASE("rename_article leaves a link that still leads to its note, and one whose note no link can name") {
  const vault v{{"a/n.md", ""}, {"b/n.md", ""}, {"c#d/o.md", ""}, {"p.md", ""}, {"q.md", "[[n]] [[o]]"}};
  std::error_code ec;
  DOCTEST_CHECK(rename_article(v.dir, "b/n", "b/m", ec).changes.empty());
  DOCTEST_CHECK(rename_article(v.dir, "p", "x/o", ec).changes.empty());
  DOCTEST_CHECK(v.text("q.md") == "[[n]] [[o]]");
  const vault exact{{"a.md.md", ""}, {"q.md", "[[a.md]]"}};
  rename_options options;
  options.resolve = link_resolution::exact;
  rename_article(exact.dir, "a.md.md", "b", options, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(exact.text("q.md") == "[[b]]");
}

DOCTEST_TEST_CASE("rename_article by exact path, with code, and by way of an alias") {
  const vault v{{"a.md", "---\naliases: nick\n---\n[[a]]"}, {"q.md", "[[a]] [[a#h|x]] `[[a]]` [[nick]] [[A]]"}};
  std::error_code ec;
  rename_options options;
  options.resolve = link_resolution::exact;
  options.include_code = true;
  rename_article(v.dir, "a", "d/e", options, ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(v.text("q.md") == "[[d/e]] [[d/e#h|x]] `[[d/e]]` [[nick]] [[A]]");
  rename_article(v.dir, "d/e", "f", ec);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(v.text("q.md") == "[[f]] [[f#h|x]] `[[d/e]]` [[nick]] [[A]]");
}

DOCTEST_TEST_CASE(
    "rename_article refuses to clobber, to leave the directory and to take names that links cannot hold") {
  const vault v{{"a.md", "A"}, {"b.md", "B"}, {"q.md", "[[a]]"}};
  std::error_code ec;
  rename_article(v.dir, "a", "b", ec);
  DOCTEST_CHECK(ec == std::errc::file_exists);
  rename_article(v.dir, "a", "a.md", ec);
  DOCTEST_CHECK(ec == std::errc::file_exists);
  rename_article(v.dir, "x", "y", ec);
  DOCTEST_CHECK(ec == std::errc::no_such_file_or_directory);
  for (const char* bad : {"", "../b2", "/b2", "x|y", "x#y", "x]y", ".hidden", "d//e", "d/../../e", "x\ny", " x", "\xFF",
                          "caf\xC3", "\xED\xA0\x80"}) {  // not UTF-8: a bare byte, a sequence cut off, a surrogate
    rename_article(v.dir, "a", bad, ec);
    DOCTEST_CAPTURE(bad);
    DOCTEST_CHECK(ec == errc::unsafe_path);
    DOCTEST_CHECK(v.text("q.md") == "[[a]]");
  }
  std::filesystem::create_directory(v / "folder.md");
  rename_article(v.dir, "a", "folder", ec);
  DOCTEST_CHECK(ec == std::errc::file_exists);
  DOCTEST_CHECK(v.text("a.md") == "A");
  DOCTEST_CHECK(v.text("b.md") == "B");
  DOCTEST_CHECK(v.text("q.md") == "[[a]]");
  if (can_symlink()) {
    const scratch outside;
    std::filesystem::create_directory_symlink(outside.dir, v / "out");
    rename_article(v.dir, "a", "out/c", ec);
    DOCTEST_CHECK(ec == errc::unsafe_path);
    rename_article(v.dir, "out/c", "c", ec);
    DOCTEST_CHECK(ec == errc::unsafe_path);
    DOCTEST_CHECK(std::filesystem::is_empty(outside.dir));
  }
#if MEMORIA_FS_EXCEPTIONS
  DOCTEST_CHECK_THROWS_AS(rename_article(v.dir, "a", "b"), const error&);
#endif
}

#if MEMORIA_FS_EXCEPTIONS
DOCTEST_TEST_CASE("rename_article says which file it could not lock") {
  const vault v{{"a.md", "A"}};
  std::filesystem::create_directory(v / ".memoria.lock");
  std::string what;
  try {
    rename_article(v.dir, "a", "b");
  } catch (const error& e) {
    what = e.what();
  }
  DOCTEST_CHECK(what.find(".memoria.lock") != std::string::npos);
  DOCTEST_CHECK(v.has("a.md"));
}
#endif

#ifndef _WIN32
DOCTEST_TEST_CASE("rename_article changes nothing where it cannot lock, but says what it would change") {
  const vault v{{"a.md", "A"}, {"q.md", "[[a]]"}};
  std::error_code ec;
  rename_options dry;
  dry.dry_run = true;
  detail::os::seam() = [](const detail::os::event& e) {
    detail::os::verdict verdict;
    if (std::string_view(e.call) == "flock") verdict.error = EOPNOTSUPP;
    return verdict;
  };
  DOCTEST_CHECK(rename_article(v.dir, "a", "b", dry, ec).changes.size() == 1);
  DOCTEST_CHECK(!ec);
  rename_article(v.dir, "a", "b", ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(ec == errc::lock_unsupported);
  DOCTEST_CHECK(v.text("q.md") == "[[a]]");
  DOCTEST_CHECK(v.has("a.md"));
}
#endif

DOCTEST_TEST_CASE("rename_article stopped at any call has broken nothing, and the same call again finishes") {
  long calls = 0;
  for (long n = 0;; ++n) {
    const vault v{{"a.md", "[[a]] [[q]]"}, {"q.md", "[[a|x]]"}, {"r/s.md", "[[a#h]]"}};
    std::error_code ec;
    std::string struck;
    {
      const fault broken(n, io_error);
      rename_article(v.dir, "a", "new/b", ec);
      struck = fault::struck;
    }
    if (struck.empty()) break;
    ++calls;
    DOCTEST_CAPTURE(n);
    DOCTEST_CAPTURE(struck);
    DOCTEST_CHECK(v.graph().count(link_status::broken) == 0);
    const bool done = !v.has("a.md") && v.text("q.md") == "[[b|x]]" && v.text("r/s.md") == "[[b#h]]";
    DOCTEST_CHECK((done || ec));
    rename_article(v.dir, "a", "new/b", ec);
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(!v.has("a.md"));
    DOCTEST_CHECK(v.text("new/b.md") == "[[b]] [[q]]");
    DOCTEST_CHECK(v.text("q.md") == "[[b|x]]");
    DOCTEST_CHECK(v.text("r/s.md") == "[[b#h]]");
  }
  DOCTEST_CHECK(calls > 20);
}

// Another writer saves a note at the last moment, seen from the system's side: just before a rename.
struct neighbour {
  static inline path file;
  static inline std::string content;
  static inline long countdown = -1;
  static inline int answer = 0;  // what that rename fails with

  static detail::os::verdict judge(const detail::os::event& e) {
    detail::os::verdict v;
    if (countdown <= 0 || std::string_view(e.call) != "rename" || --countdown != 0) return v;
    put(file, content);
    v.error = answer;
    return v;
  }
  neighbour(path where, std::string what, long renames, int error = 0) {
    answer = error;
    file = std::move(where);
    content = std::move(what);
    countdown = renames;
    detail::os::seam() = judge;
  }
  neighbour(const neighbour&) = delete;
  neighbour& operator=(const neighbour&) = delete;
  ~neighbour() { detail::os::seam() = nullptr; }
};

#ifdef __linux__
DOCTEST_TEST_CASE("rename_article keeps what a neighbour writes at the last moment") {
  for (long renames = 1; renames <= 3; ++renames) {
    const vault v{{"a.md", "[[a]]"}, {"q.md", "[[a]]"}};
    std::error_code ec;
    {
      const neighbour writes(renames == 3 ? v / "a.md" : v / "q.md", "[[a]] edited", renames);
      rename_article(v.dir, "a", "b", ec);
    }
    DOCTEST_CAPTURE(renames);
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(!v.has("a.md"));
    DOCTEST_CHECK(v.text("q.md") == (renames == 3 ? "[[b]]" : "[[b]] edited"));
    DOCTEST_CHECK(v.text("b.md") == (renames == 3 ? "[[b]] edited" : "[[b]]"));
    DOCTEST_CHECK(v.names().size() == 3);  // the notes and the lock
  }
}

DOCTEST_TEST_CASE("rename_article gives up on a note that a neighbour replaces again and again, and loses nothing") {
  static path file;
  static int renames, saved;
  for (const char* name : {"a.md", "q.md"}) {
    const vault v{{"a.md", "[[a]]"}, {"q.md", "[[a]]"}};
    std::error_code ec;
    file = v / name;
    renames = saved = 0;
    detail::os::seam() = [](const detail::os::event& e) {
      if (std::string_view(e.call) != "rename") return detail::os::verdict{};
      const bool published = ++renames % 2 == 0;  // each is followed by a rename that takes it back
      if (file.filename() == "q.md" ? published : path(e.first) == "a.md") {
        put(path(file) += ".new", "[[a]] " + std::to_string(++saved));
        std::filesystem::rename(path(file) += ".new", file);
      }
      return detail::os::verdict{};
    };
    rename_article(v.dir, "a", "b", ec);
    detail::os::seam() = nullptr;
    DOCTEST_CAPTURE(name);
    DOCTEST_CHECK(ec == errc::changed_meanwhile);
    DOCTEST_CHECK(saved > 8);
    DOCTEST_CHECK(v.text(name) == "[[a]] " + std::to_string(saved));
    DOCTEST_CHECK(v.has("a.md"));
    DOCTEST_CHECK(v.names().size() == 4);  // the notes and the lock
    rename_article(v.dir, "a", "b", ec);
    DOCTEST_CHECK(!ec);
    DOCTEST_CHECK(v.names().size() == 3);
  }
}

DOCTEST_TEST_CASE("rename_article leaves both notes as a neighbour saved them at the last moment") {
  static path dir;
  const vault v{{"a.md", "[[a]]"}, {"q.md", "[[a]]"}};
  dir = v.dir;
  std::error_code ec;
  detail::os::seam() = [](const detail::os::event& e) {
    if (std::string_view(e.call) == "rename" && path(e.first) == "a.md") {
      put(dir / "a.md", "old edited");
      put(dir / "b.md", "new edited");
    }
    return detail::os::verdict{};
  };
  rename_article(v.dir, "a", "b", ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(ec == errc::changed_meanwhile);
  DOCTEST_CHECK(v.text("a.md") == "old edited");
  DOCTEST_CHECK(v.text("b.md") == "new edited");
}

DOCTEST_TEST_CASE("rename_article does not touch a note whose link went meanwhile, and syncs only if it is to last") {
  static path note;
  static int renames, syncs;
  const vault v{{"a.md", ""}, {"q.md", "[[a]]"}};
  note = v / "q.md";
  renames = syncs = 0;
  rename_options options;
  options.write.durable = durability::none;
  std::error_code ec;
  detail::os::seam() = [](const detail::os::event& e) {
    if (std::string_view(e.call) == "rename" && ++renames == 1) put(note, "gone");
    syncs += std::string_view(e.call).substr(0, 5) == "fsync" ? 1 : 0;
    return detail::os::verdict{};
  };
  DOCTEST_CHECK(rename_article(v.dir, "a", "b", options, ec).changes.empty());
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(syncs == 0);
  DOCTEST_CHECK(v.text("q.md") == "gone");
}

DOCTEST_TEST_CASE("rename_article with a note that cannot be read: refused, or that note is left as it is") {
  static const char* unreadable;
  static int readable;  // that often
  const auto rename = [](const vault& v, const char* note, int times, bool skip) {
    unreadable = note;
    readable = times;
    rename_options options;
    options.skip_unreadable = skip;
    std::error_code ec;
    detail::os::seam() = [](const detail::os::event& e) {
      detail::os::verdict verdict;
      if (std::string_view(e.call) != "open" || e.first == nullptr) return verdict;
      if (path(e.first).filename() == unreadable && readable-- <= 0) verdict.error = EIO;
      return verdict;
    };
    rename_article(v.dir, "a", "b", options, ec);
    detail::os::seam() = nullptr;
    return ec;
  };
  const vault v{{"a.md", "A"}, {"b.md", "A"}, {"p.md", "[[a]]"}, {"q.md", "[[a]]"}};
  DOCTEST_CHECK(rename(v, "q.md", 0, false) == std::errc::io_error);
  DOCTEST_CHECK(rename(v, "b.md", 1, false) == std::errc::io_error);  // is it the copy of a killed call?
  DOCTEST_CHECK(v.text("p.md") == "[[a]]");
  DOCTEST_CHECK(rename(v, "q.md", 0, true) == std::error_code());
  DOCTEST_CHECK(v.text("p.md") == "[[b]]");
  DOCTEST_CHECK(v.text("q.md") == "[[a]]");
  DOCTEST_CHECK(!v.has("a.md"));
}

DOCTEST_TEST_CASE("rename_article compares before it replaces where names cannot be exchanged") {
  const vault v{{"a.md", "[[a]]"}, {"q.md", "[[a]]"}};
  std::error_code ec;
  {
    const neighbour writes(v / "q.md", "[[a]] edited", 2, EINVAL);
    rename_article(v.dir, "a", "b", ec);
  }
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(v.text("q.md") == "[[b]] edited");
}

DOCTEST_TEST_CASE("rename_article does not clobber what a neighbour writes under the new name at the last moment") {
  const vault v{{"a.md", "[[a]]"}, {"q.md", "[[a]]"}};
  std::error_code ec;
  {
    const neighbour writes(v / "b.md", "theirs", 1);
    rename_article(v.dir, "a", "b", ec);
  }
  DOCTEST_CHECK(ec == std::errc::file_exists);
  DOCTEST_CHECK(v.text("b.md") == "theirs");
  DOCTEST_CHECK(v.text("a.md") == "[[a]]");
  DOCTEST_CHECK(v.text("q.md") == "[[a]]");
}

DOCTEST_TEST_CASE("rename_article holds the lock of the directory before it reads the first note") {
  static std::string calls;
  const vault v{{"a.md", "[[a]]"}};
  std::error_code ec;
  calls.clear();
  detail::os::seam() = [](const detail::os::event& e) {
    const std::string_view call = e.call;
    calls += call == "flock" ? 'L' : call == "read" ? 'r' : call == "rename" ? 'm' : ' ';
    if (call == "unlink" || call == "fsync directory") calls.back() = call.front();
    return detail::os::verdict{};
  };
  rename_article(v.dir, "a", "b", ec);
  detail::os::seam() = nullptr;
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(calls.find('L') < calls.find('r'));
  DOCTEST_CHECK(calls.find('f', calls.rfind('u')) != std::string::npos);  // that the old name is gone is durable, too
  DOCTEST_CHECK(calls.find('r') < calls.find('m'));
}

DOCTEST_TEST_CASE("rename_article of two hard links to one note leaves the new name only") {
  const scratch here;
  put(here / "a.md", "text\n");
  put(here / "c.md", "[[a]]");
  std::filesystem::create_hard_link(here / "a.md", here / "b.md");
  std::error_code ec;
  DOCTEST_CHECK(rename_article(here.dir, "a", "b", ec).moved);
  DOCTEST_CHECK(!ec);
  DOCTEST_CHECK(!exists(here / "a.md"));
  DOCTEST_CHECK(contents(here / "b.md") == "text\n");
  DOCTEST_CHECK(contents(here / "c.md") == "[[b]]");
}

DOCTEST_TEST_CASE("rename_article keeps the mode of the notes") {
  const vault v{{"a.md", "[[a]]"}, {"q.md", "[[a]]"}};
  const auto mode =
      std::filesystem::perms::owner_read | std::filesystem::perms::owner_write | std::filesystem::perms::group_read;
  std::filesystem::permissions(v / "a.md", mode);
  std::filesystem::permissions(v / "q.md", mode);
  std::error_code ec;
  rename_article(v.dir, "a", "b", ec);
  DOCTEST_CHECK(std::filesystem::status(v / "b.md").permissions() == mode);
  DOCTEST_CHECK(std::filesystem::status(v / "q.md").permissions() == mode);
}
#endif

DOCTEST_TEST_SUITE_END();

}  // namespace tests
}  // inline namespace MEMORIA_FS_ABI
}  // namespace MEMORIA_FS_NAMESPACE

#endif  // MEMORIA_FS_TESTS
#endif  // MEMORIA_FS_DEFINED

#ifdef _MSC_VER
#pragma warning(pop)
#endif
#pragma pop_macro("min")
#pragma pop_macro("max")
#ifdef MEMORIA_FS_DEFAULT_NAMESPACE
#undef MEMORIA_FS_DEFAULT_NAMESPACE
#undef MEMORIA_FS_NAMESPACE
#endif
#undef MEMORIA_FS_EXCEPTIONS
#undef MEMORIA_FS_ABI_EXCEPTIONS
#undef MEMORIA_FS_ABI_RTTI
#undef MEMORIA_FS_ABI_TESTS
#undef MEMORIA_FS_ABI_PORTABLE
#undef MEMORIA_FS_ABI
#undef MEMORIA_FS_JOIN
#undef MEMORIA_FS_JOIN_
#undef MEMORIA_FS_INLINE

// ---- Licence -------------------------------------------------------------------------------------------------------
//
// MIT License
//
// Copyright (c) 2026 the memoria_fs authors
//
// Permission is hereby granted, free of charge, to any person obtaining a copy
// of this software and associated documentation files (the "Software"), to deal
// in the Software without restriction, including without limitation the rights
// to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
// copies of the Software, and to permit persons to whom the Software is
// furnished to do so, subject to the following conditions:
//
// The above copyright notice and this permission notice shall be included in all
// copies or substantial portions of the Software.
//
// THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
// IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
// FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
// AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
// LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
// OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
// SOFTWARE.
