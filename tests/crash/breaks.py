"""Breaks the header on purpose, one guarantee at a time, and demands that a test notices.

    python3 breaks.py [-v] [word...]       # only breaks whose description has one of the words; -v: what noticed it

Each break is: the row of the guarantees (top of the header) it belongs to, what is done, the text that is replaced (it
has to be there exactly once) and what replaces it, and the check that has to fail: "unit SUITE" are the cases of that
part at the end of the header, "enumerate SCENARIO", "faults SCENARIO", "limits CASE" are the rigs here, "neighbours
SCENE" those next door. The protocols' own breaks, each sync left out and each two steps swapped, are enumerate.py's: on
recorded calls, without compiling. As many are tried at once as there are processors; all of them take minutes, so this
runs under tests/long.sh."""

import multiprocessing.pool
import os
import re
import subprocess
import sys
import tempfile
import time

import rig

WRITE, BATCH, READ, SWEEP = "atomic_write_text", "write_batch", "read_text", "remove_stale_temporaries"
APPEND, LOCK, STATE, LOAD = "locked_append_text", "file_lock", "update_json", "load_json_with_recovery"

BREAKS = [
    (WRITE, "the content is not synced", "return os::sync_file(r.file, false, s);", "return true;",
     "enumerate replace"),
    (WRITE, "the directory is not synced",
     "return r.options.durable != durability::full || os::sync_directory(*r.t.dir, own)",
     "return true || os::sync_directory(*r.t.dir, own)", "enumerate replace"),
    (WRITE, "new parent directories are not synced", "if (!durable) return true;", "if (true || !durable) return true;",
     "enumerate replace_new_parents"),
    (WRITE, "a failed sync of the directory looks like success",
     "os::sync_directory(*r.t.dir, own) || not_durable(s, own)", "os::sync_directory(*r.t.dir, own) || true",
     "unit replace"),
    (WRITE, "a failed sync of the directory looks like nothing had happened",
     "return s.fail(cause.step, errc::not_durable, cause.code.message());", "return s.fail(cause);", "unit replace"),
    (WRITE, "the size is not checked before the rename", "if (now.size != r.written)", "if (false)", "unit replace"),
    (WRITE, "a short write is taken for a whole one", "  while (written < bytes.size()) {\n    const auto n",
     "  if (written < bytes.size()) {\n    const auto n", "unit replace"),
    (WRITE, "the temporary file is not private", "private_until_mode_is_set ? 0600 : 0666", "0666", "unit replace"),
    (WRITE, "the mode is not kept", "return set_mode(h, from.mode &", "return true || set_mode(h, from.mode &",
     "unit replace"),
    (WRITE, "set-id bits stay though the owner is not kept", "group_refused)) return 0777;",
     "group_refused)) return 07777;", "unit replace"),
    (WRITE, "another group may what the old one might", "return 0707 | ((from.mode & 07u) << 3);", "return 0777;",
     "unit replace"),
    (WRITE, "attributes are not kept", "const bool kept = copy_attribute(h, file.c_str(), attribute, lost);",
     "const bool kept = true;", "unit replace"),
    (WRITE, "what could not be kept is not told", "  if (own.code.value() != ENODATA) lost.add(attribute, own.code);\n",
     "", "unit replace"),
    (WRITE, "a lost access list leaves its mask to the group", "list == access_list::lost ? 0 : may_stay",
     "false ? 0 : may_stay", "unit replace"),
    (WRITE, "the directory's access list stays", "::fremovexattr(fd(h), list_name.data()) == 0", "true",
     "unit replace"),
    (WRITE, "the temporary file stays after a failure",
     "    os::unlink_at(*t.dir, name.c_str(), ignored);  // while we hold", "    // while we hold", "unit replace"),
    (WRITE, "overwrite = false clobbers", "r.options.overwrite ? rename_over", "true ? rename_over", "unit replace"),
    (WRITE, "directories that were made stay after a failure",
     "os::remove_directory_at(last_->above, last_->name.c_str(), ignored);", ";", "unit replace"),
    (WRITE, "directories that were made go by a relative name", "full.native());", "p.native());", "unit replace"),
    (WRITE, "a symbolic link is replaced", "options.symlinks == symlink_policy::replace) return true;",
     "true) return true;", "unit replace"),
    (WRITE, "the previous version is not kept", "!keep_generations(r, s)) return false;", "false) return false;",
     "unit replace"),
    (WRITE, "keeping generations leaves litter", "  os::unlink_at(d, spare.c_str(), ignored);\n", "", "unit replace"),
    (WRITE, "a stream goes on after a failed write", "  if (write(*work, bytes, s)) return true;\n  work = nullptr;\n",
     "  if (write(*work, bytes, s)) return true;\n", "unit replace"),
    (BATCH, "the files are not synced", "    if (!r->file || seal(*r, s)) continue;", "    if (true) continue;",
     "enumerate batch"),
    (BATCH, "the directories are not synced",
     "    if (os::sync_directory(entry->dir, own)) continue;\n    if (!s.failed()) batch",
     "    continue;\n    if (!s.failed()) batch", "enumerate batch"),
    (BATCH, "the first file is renamed before the last is synced", "    if (!r->file || seal(*r, s)) continue;",
     "    if (!r->file || (seal(*r, s) && publish(*r, s))) continue;", "unit replace"),
    (BATCH, "out of descriptors: closed without a sync", "    if (r->file && !seal(*r, s)) {", "    if (false) {",
     "unit replace"),
    (BATCH, "out of descriptors: no proof of life", "    os::lock_directory(entry->dir, true, true, cannot_lock);", "",
     "unit replace"),
    (BATCH, "out of descriptors: a failed sync is forgotten", "  s = detail::exchange(batch.doomed, {});", "",
     "unit replace"),
    (READ, "only the first piece is read", "    have += static_cast<std::size_t>(n);\n",
     "    have += static_cast<std::size_t>(n);\n    return out.resize(have), true;\n", "unit replace"),
    (READ, "a FIFO is taken for a file",
     "  if (i.type != os::kind::regular) return s.fail(\"\", os::wrong_kind(i.type));\n  return os::read_all",
     "  return os::read_all", "unit replace"),
    (SWEEP, "living writers are swept", "  if (!os::lock(h, false, false, ignored)) return false;  // its writer",
     "  // its writer", "unit replace"),
    (SWEEP, "a living batch is swept", "!os::lock_directory(d, false, false, held) ||", "", "unit replace"),
    (SWEEP, "another file of that name is swept", "named.same_file(opened) && os::unlink_at(d, n, ignored);",
     "os::unlink_at(d, n, ignored);", "unit replace"),
    (SWEEP, "other programs' files are swept", "name.find_first_not_of(widen(hex_digits), digits) == end",
     "name.size() > end", "unit replace"),
    (SWEEP, "a writer does not lock its temporary file",
     "os::lock(r.file, false, false, cannot_lock) || cannot_lock.failed();", "true;", "unit replace"),
    (SWEEP, "a writer goes on with a temporary file that was swept", "if (locked && r.made.links > 0) return true;",
     "if (locked) return true;", "unit replace"),
    (LOCK, "nothing is locked",
     "  if (done({\"flock\", h.get()}, own, [&] { return ::flock(fd(h), operation) == 0; })) return true;",
     "  if (true) return true;", "unit lock"),
    (LOCK, "shared locks exclude", "const int operation = (shared ? LOCK_SH : LOCK_EX)",
     "const int operation = LOCK_EX", "unit lock"),
    (LOCK, "the lock file is not looked at again", "named.same_file(opened)) return h;", "true) return h;",
     "unit lock"),
    (LOCK, "the deadline is forgotten", "if (!waits.pause()) return s.fail(\"flock\"",
     "if (!waits.pause() && false) return s.fail(\"flock\"", "unit lock"),
    (LOCK, "a lock file is reached through a symbolic link",
     "  os::handle h = os::open_at(d, name, os::read_write | os::no_follow, own);\n  if (h) return h;",
     "  os::handle h = os::open_at(d, name, os::read_write, own);\n  if (h) return h;", "unit lock"),
    (LOCK, "a refusal looks like a lock",
     "  return s.fail(own.step, refused ? make_error_code(errc::lock_unsupported) : own.code);\n}\n\ninline bool "
     "lock_directory", "  return true;\n}\n\ninline bool lock_directory", "unit lock"),
    (LOCK, "not waiting looks like a lock", "  if (code == EWOULDBLOCK && !wait) return false;",
     "  if (code == EWOULDBLOCK) return false;", "unit lock"),
    (LOCK, "a forked child keeps the lock", "  if (h) detail::os::unlock(h);\n", "", "unit lock"),
    (APPEND, "the log is not locked",
     "  if (!wait_for_lock(h, lock_mode::exclusive, until, own)) {\n    status ignored;",
     "  if (false) {\n    status ignored;", "unit append"),
    (APPEND, "the entry is not synced", "os::sync_file(h, true, unsynced) || not_durable", "true || not_durable",
     "enumerate append"),
    (APPEND, "a failed sync is not told", "os::sync_file(h, true, unsynced) || not_durable(s, unsynced)",
     "os::sync_file(h, true, unsynced) || true", "unit append"),
    (APPEND, "a new log's directory is not synced",
     "if (log.size == 0 && options.durable == durability::full && !sync_name(s)) return false;", "",
     "enumerate append_new"),
    (APPEND, "the sync happens under the lock", "  os::unlock(h);\n  status unsynced;", "  status unsynced;",
     "unit append"),
    (APPEND, "half an entry stays", "os::resize(h, size, ignored);\n  return false;", ";\n  return false;",
     "unit append"),
    (APPEND, "what others appended is cut off", "now.size == size + written) os::resize", "true) os::resize",
     "unit append"),
    (APPEND, "the entry goes to a log that was renamed away", "  if (!still_named(log, s)) {", "  if (false) {",
     "unit append"),
    (APPEND, "a log that another host replaced is an error", "os::stale(own.code) && ++stale < 100", "false",
     "unit append"),
    (APPEND, "a torn tail swallows the next entry", "  if (last != '\\n') out += '\\n';\n  out += content;",
     "  out += content;", "unit append"),
    (APPEND, "the deadline is forgotten",
     "const deadline until = deadline_in(options.timeout);\n  const auto still_named = [&](const os::info& log",
     "const deadline until = INT64_MAX;\n  const auto still_named = [&](const os::info& log", "unit append"),
    (APPEND, "a failed first entry leaves its log", "  if (created && !moved) remove_empty_log(d, name, h);\n", "",
     "unit append"),
    (STATE, "the state is not locked",
     "    os::handle h = lock_named(*t.dir, name.c_str(), lock_options{}, until, t.existing, s);",
     "    lock_options none;\n    none.mode = lock_mode::shared;\n    os::handle h = lock_named(*t.dir, "
     "name.c_str(), none, until, t.existing, s);", "unit state"),
    (STATE, "updating inside an update hangs", "        if (held->file.same_file(node_.file)) return s.fail",
     "        if (false) return s.fail", "unit state"),
    (STATE, "a refused change is written", "  if (!change.call(change.object, current.value)) return true;",
     "  change.call(change.object, current.value);", "unit state"),
    (STATE, "a neighbour's change is undone", "current != snapshot.text) return false;", "false) return false;",
     "unit state"),
    (STATE, "a file that appeared meanwhile is replaced", "  if (t.exists() != snapshot.existed) return false;\n", "",
     "unit state"),
    (STATE, "the lock file is open to all", "    os::set_mode(h, guarded.mode & 0666u, best_effort);", "",
     "unit state"),
    (LOAD, "a file that cannot be read is set aside",
     "  if (!read_named(d, name, out.file, out.text, own)) return own.missing() || s.fail(own);",
     "  if (!read_named(d, name, out.file, out.text, own) && own.missing()) return true;", "unit state"),
    (LOAD, "what does not go back is taken for a new beginning",
     "    } else if (taken.code != std::errc::file_exists) {\n      own.fail(taken);\n", "", "unit state"),
    (LOAD, "a backup that was made is not named",
     "    if (!backup.empty()) out.backup = t.in_folder(backup);\n    if (s",
     "    if (!s.failed()) out.backup = t.in_folder(backup);\n    if (s", "unit state"),
    (LOAD, "an older backup is replaced", "      rename_without_clobber(*t.dir, t.name, name, own);",
     "      rename_over(*t.dir, t.name, name, own);", "unit state"),
    (LOAD, "what was moved is not looked at",
     "  if (!moved && !holds(*t.dir, backup, judged.text, &judged.file, own)) {", "  if (false) {", "unit state"),
    (LOAD, "what was displaced is not looked at", "  if (!holds(d, r.name, expected, as, s)) {\n    status astray;",
     "  if (false) {\n    status astray;", "unit state"),
    (LOAD, "of two quick writers the first is put back and the second lost",
     "      if (out.same_file(in_place)) return true;\n      continue;", "      return true;", "unit state"),
    (LOAD, "the backup is not synced",
     "if (!h || !os::sync_file(h, false, own) || !os::sync_directory(*t.dir, own)) not_durable", "if (!h) not_durable",
     "enumerate load_corrupt load_unsynced"),
    (LOAD, "the backup is not copied before the exchange", "!seal(r, s) || !back_up(t, &judged, backup, s)) return;",
     "!seal(r, s)) return;", "unit state"),
    (LOAD, "a generation that cannot be read is passed over",
     "previous, s)) return false;\n    if (previous.existed && !previous.corrupt) return true;",
     "previous, s)) {\n      s = {};\n      continue;\n    }\n    if (previous.existed && !previous.corrupt) return "
     "true;", "unit state"),
    (LOAD, "recovery is silent", "    deliver(report, options.reporter);\n", "", "unit state"),
    (LOAD, "the newest backups go", "  for (std::size_t i = 0; i + keep < backups.size(); ++i)",
     "  for (std::size_t i = keep; i < backups.size(); ++i)", "unit state"),
    (LOAD, "a limit of ours is taken for corruption", "out.corrupt = out.problem.code == errc::corrupt_json;",
     "out.corrupt = static_cast<bool>(out.problem);", "unit state"),
    (LOAD, "a repaired file is moved away",
     "    if (!load_from(*t.dir, t.name.c_str(), options.max_depth, out, s)) return false;\n    if (!out.corrupt) "
     "return true;\n    loaded",
     "    if (!out.existed && !load_from(*t.dir, t.name.c_str(), options.max_depth, out, s)) return false;\n    if "
     "(!out.corrupt) return true;\n    loaded", "unit state"),
]

SUITE = re.compile(r'DOCTEST_TEST_SUITE_BEGIN\("\[(\w+)\]"\);.*?DOCTEST_TEST_SUITE_END\(\);', re.S)


class Workshop:
    def __init__(self, base):
        self.base, self.compiler = base, os.environ.get("CXX", "c++")
        with open(os.path.join(os.environ.get("MEMORIA_FS", rig.TOP), "memoria_fs.hpp")) as source:
            self.header = source.read()
        self.include = ["-I" + os.environ["INCLUDE"]] if "INCLUDE" in os.environ else []

    def compile(self, text, suite, program):
        """The self-test with one suite only, which compiles in half the time, or the scenario."""
        bench = os.path.dirname(program)
        header = os.path.join(bench, "memoria_fs.hpp")
        with open(header, "w") as out:
            out.write(SUITE.sub(lambda m: m.group(0) if m.group(1) == suite else "", text))
        if suite:
            how = ["-DMEMORIA_FS_TESTS", "-DDOCTEST_CONFIG_IMPLEMENT_WITH_MAIN", "-include", "doctest/doctest.h",
                   "-x", "c++", header]
        else:
            how = ["-I" + bench, "-static", os.path.join(rig.HERE, "scenario.cpp")]
        command = [self.compiler, "-std=c++17", "-O0", "-w", "-pthread", "-o", program] + self.include + how
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return None if done.returncode == 0 else done.stdout.decode(errors="replace")[:600]

    def check(self, text, how):
        """(passed, what it said), or None and why it cannot be tried."""
        with tempfile.TemporaryDirectory(dir=self.base, ignore_cleanup_errors=True) as bench:
            return self.check_in(bench, text, how)

    def check_in(self, bench, text, how):
        tool, *arguments = how.split()
        program = os.path.join(bench, "program")
        problem = self.compile(text, arguments[0] if tool == "unit" else None, program)
        if problem:
            return None, "does not compile: " + problem
        command = [program]
        if tool != "unit":
            command = [sys.executable, "-B", os.path.join(rig.HERE, tool + ".py")] + arguments
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                                  env=dict(os.environ, SCENARIO=program, TMPDIR=bench))
        except subprocess.TimeoutExpired:
            return False, "hangs"
        said = done.stdout.decode(errors="replace")
        cases = re.findall(r"TEST CASE: +(.*)", said)
        return done.returncode == 0, "; ".join(dict.fromkeys(cases)) or said.strip()[-300:]


def main():
    if sys.platform != "linux":
        rig.skip("needs Linux")
    words, verbose = [a for a in sys.argv[1:] if not a.startswith("-")], "-v" in sys.argv
    workshop, tried, missed = Workshop(rig.scratch("/dev/shm")), 0, 0
    chosen = [b for b in BREAKS if not words or any(w in b[0] + " " + b[1] for w in words)]

    def unbroken(how):
        return how, *workshop.check(workshop.header, how)

    def broken(one):
        row, what, old, new, how = one
        there, started = workshop.header.count(old), time.time()
        if there != 1:
            return one, None, "the text to break is there %d times" % there, 0
        return one, *workshop.check(workshop.header.replace(old, new), how), time.time() - started

    pool = multiprocessing.pool.ThreadPool()  # of daemons: a signal ends us, and with us what they wait for
    for how, passed, said in pool.imap(unbroken, sorted({b[4] for b in chosen})):
        if not passed:
            raise SystemExit("%s fails on the unbroken header: %s" % (how, said))
    for (row, what, _, _, how), passed, said, seconds in pool.imap(broken, chosen):
        tried += 1
        missed += 1 if passed in (True, None) else 0
        verdict = "NOT NOTICED by " + how if passed else said if passed is None else "noticed by " + how
        print("%-26s %s: %s%s  %.0f s" % (row, what, verdict, ": " + said if verbose and passed is False else "",
                                          seconds))
        sys.stdout.flush()
    print("%d breaks, %d not noticed" % (tried, missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
