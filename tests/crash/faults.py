"""Every system call fails once, from outside, on a real program; and every system call is the last one before kill -9.

    python3 faults.py [-v] [scenario...]

strace runs the scenario once and numbers the library's calls (name, how often it came before). Then, each on a fresh
directory: every call fails with every error that fits it, once, and with one error from there on for ever; the process
is killed as it enters each call; it is killed there while another process waits for the same file; files may not grow
beyond a limit, which gives real short writes.

After a fault: old or new, whole, as the exit status says; the message names operation, file, failed call and reason;
no temporary file, no directory that was made on the way; and the next call works. After a kill: old or new, no more
temporary files than the call had, the sweeper removes them, and the next call works."""

import concurrent.futures
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import rig

FITTING = {
    "openat": "EACCES EMFILE EIO ENOSPC EDQUOT EROFS EINTR", "write": "ENOSPC EDQUOT EIO EINTR", "read": "EIO EINTR",
    "pread64": "EIO EINTR", "fsync": "EIO ENOSPC EDQUOT EINTR EINVAL", "fdatasync": "EIO ENOSPC EDQUOT EINTR",
    "renameat": "EIO ENOSPC EDQUOT EROFS EACCES EBUSY EXDEV EINTR",
    "renameat2": "EIO ENOSPC EDQUOT EROFS EACCES EINTR EINVAL ENOSYS", "linkat": "EIO ENOSPC EMLINK EPERM EROFS EINTR",
    "unlinkat": "EIO EACCES EROFS EINTR", "mkdirat": "EACCES ENOSPC EDQUOT EROFS EINTR",
    "newfstatat": "EIO EACCES EINTR",
    "fstat": "EIO", "flock": "ENOLCK EIO EINTR", "fchmod": "EIO EPERM EROFS EINTR", "fchown": "EPERM EIO EINTR",
    "fcntl": "EMFILE", "close": "EIO ENOSPC EINTR", "getrandom": "ENOSYS EINTR", "sync_file_range": "EIO ENOSPC",
    "getdents64": "EIO", "lseek": "EIO", "rmdir": "EIO EACCES", "getcwd": "ENOENT",
    "llistxattr": "EIO EOPNOTSUPP EACCES ENOENT",
    "lgetxattr": "EIO ENODATA", "flistxattr": "EIO", "fsetxattr": "ENOSPC EPERM", "fgetxattr": "EIO",
    "fremovexattr": "EIO",
}
STEP = {"openat": "open", "newfstatat": "f?stat|opendir", "fcntl": "fcntl|opendir", "renameat": "rename",
        "renameat2": "rename",
        "linkat": "link", "mkdirat": "mkdir",
        "unlinkat": "unlink", "pread64": "pread", "fdatasync": "fdatasync|fsync", "fsync": "fsync( directory)?",
        "getdents64": "readdir|list.*"}
MESSAGE = re.compile(r'^(\w+(?:::\w+)?) "([^"]+)": (?:([\w ]+): )?(.+)$')
# What must not fail unnoticed. Of the others (looking again whether the log is still the same, the mode of a lock file,
# close after fsync) the outcome is checked, not the message.
NOTICED = {"write", "fsync", "fdatasync", "renameat", "renameat2", "linkat", "mkdirat", "read", "pread64"}


class Lab:
    def __init__(self, program, base):
        self.program, self.base = program, base
        self.faults = self.kills = self.contests = self.limits = 0

    def traced(self, scenario, name, what, more=None):
        d = tempfile.mkdtemp(dir=self.base)
        rig.plant(d, scenario.before)
        command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=%s" % name, "-e", "signal=none"]
        for injection in [what] + (more or []):
            command += ["-e", "inject=" + injection]
        done = subprocess.run(command + [self.program] + scenario.args, cwd=d, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        return d, done

    def judge_fault(self, scenario, d, done, name, errors):
        said, tree = rig.outcome_of(done.stdout), rig.harvest(d)
        status = {"acknowledged": (0,), "not_durable": (3,), "failed": (1, 4)}.get(said, ())
        if done.returncode not in status:
            return "says %s and ends with %d: %s" % (said, done.returncode, done.stderr.decode(errors="replace"))
        message = done.stderr.decode(errors="replace")
        problem = scenario.judge(tree, said, name == "unlinkat" or "the other version is in .memoria-" in message)
        if problem:
            return "says %s. %s" % (said, problem)
        if said != "acknowledged":
            problem = self.judge_message(message, name, errors)
            if problem:
                return problem
        elif name in NOTICED and errors and errors != "EINTR" and not scenario.expects(name, errors):
            return "nobody noticed it"
        return rig.check_afterwards(self.program, scenario, d)

    def judge_message(self, text, name, errors):
        match = MESSAGE.match(text.strip().splitlines()[-1]) if text.strip() else None
        if not match:
            return "the message does not name operation, path and reason: %r" % text
        if errors:
            reason = os.strerror(getattr(__import__("errno"), errors))
            # A lock file that may not be opened for writing is opened for reading; that is then what fails.
            another = ("No such file or directory",) if errors in ("EACCES", "EROFS") and name == "openat" else ()
            if not any(r in text for r in (reason,) + another) and errors not in ("ENOLCK", "EINVAL"):
                return "the message does not say %r: %s" % (reason, text)
            if not re.fullmatch(STEP.get(name, name), match.group(3) or ""):
                return "the message does not name %s: %s" % (name, text)
        return None

    def fault(self, scenario, name, nth, error, for_ever):
        d, done = self.traced(scenario, name, "%s:error=%s:when=%d%s" % (name, error, nth, "+" if for_ever else ""))
        problem = self.judge_fault(scenario, d, done, name, None if for_ever else error)
        shutil.rmtree(d)
        self.faults += 1
        others = " and all after it" if for_ever else ""
        return problem and "%s, number %d%s: %s: %s" % (name, nth, others, error, problem)

    def kill(self, scenario, name, nth):
        d, done = self.traced(scenario, name, "%s:signal=SIGKILL:when=%d" % (name, nth))
        problem = None
        if done.returncode not in (-signal.SIGKILL, 128 + signal.SIGKILL):
            problem = "was not killed, but ended with %d" % done.returncode
        problem = problem or scenario.judge(rig.harvest(d), rig.outcome_of(done.stdout))
        problem = problem or rig.check_afterwards(self.program, scenario, d)
        shutil.rmtree(d)
        self.kills += 1
        return problem and "killed at %s, number %d: %s" % (name, nth, problem)

    def contest(self, scenario, name, nth):
        """Killed while another process makes the next call, which comes behind it or before it."""
        d = tempfile.mkdtemp(dir=self.base)
        rig.plant(d, scenario.before)
        victim = subprocess.Popen(["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + name, "-e", "signal=none",
                                   "-e",
                                   "inject=%s:delay_enter=80000:signal=SIGKILL:when=%d" % (name, nth), self.program] +
                                  scenario.args, cwd=d, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)
        time.sleep(0.03)
        other = rig.run(self.program, scenario.next_args(), d)
        said, _ = victim.communicate(timeout=60)
        problem = scenario.judge_contest(rig.harvest(d), rig.outcome_of(said)) if other.returncode == 0 else \
            "the other process ends with %d: %s" % (other.returncode, other.stderr.decode(errors="replace"))
        shutil.rmtree(d)
        self.contests += 1
        return problem and "killed at %s, number %d, with a neighbour: %s" % (name, nth, problem)

    def limit(self, scenario, size, ftruncate_fails):
        """No file may grow beyond `size`: real short writes, and then EFBIG."""
        d = tempfile.mkdtemp(dir=self.base)
        rig.plant(d, scenario.before)

        def set_limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        command = [self.program] + scenario.args
        if ftruncate_fails:
            command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=ftruncate", "-e",
                       "inject=ftruncate:error=EIO"] + command
        done = subprocess.run(command, cwd=d, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=60, preexec_fn=set_limit)
        if ftruncate_fails and done.returncode == 1:  # then a torn entry stays; nobody was told otherwise
            problem = scenario.judge(rig.harvest(d), None) or rig.check_afterwards(self.program, scenario, d)
        else:
            problem = self.judge_fault(scenario, d, done, "write", None)
        shutil.rmtree(d)
        self.limits += 1
        return problem and "files may not exceed %d bytes%s: %s" % (
            size, ", and ftruncate fails" if ftruncate_fails else "", problem)


def jobs_of(lab, scenario, calls):
    jobs, last = [], {}
    for name, nth, line in calls:
        if line == "ACKNOWLEDGE":
            jobs.append((lab.kill, scenario, name, nth))
            continue
        jobs.append((lab.kill, scenario, name, nth))
        if scenario.contested:
            jobs.append((lab.contest, scenario, name, nth))
        if line.startswith("write(2,") or re.match(r"\d+ +write\(2,", line):
            continue  # the line that tells of a recovery
        if name not in FITTING:
            raise SystemExit("no errors are known for " + name)
        for error in FITTING[name].split():
            jobs.append((lab.fault, scenario, name, nth, error, False))
        if name not in ("getrandom", "write"):  # the program itself writes, too
            jobs.append((lab.fault, scenario, name, nth, FITTING[name].split()[0], True))
    new = max([len(e[1]) for n, e in scenario.after.items() if n in scenario.targets and e[1]] + [0])
    old = max([len(e[1]) for n, e in scenario.before.items() if n in scenario.targets and e[1]] + [0])
    for size in sorted({0, 1, 100, 4096, new // 2, old + 1, (old + new) // 2, new - 1, new, new + 1}):
        if size >= 0:
            jobs.append((lab.limit, scenario, size, False))
            if isinstance(scenario, rig.Append):
                jobs.append((lab.limit, scenario, size, True))
    return jobs


def main():
    rig.need_strace()
    wanted = [a for a in sys.argv[1:] if not a.startswith("-")]
    program, base, failed = rig.build(), rig.scratch(), 0
    lab = Lab(program, base)
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", "2"))) as pool:
        for scenario in rig.scenarios():
            if wanted and scenario.name not in wanted:
                continue
            started = time.time()
            scenario.learn(program, base)
            d = tempfile.mkdtemp(dir=base)
            rig.plant(d, scenario.before)
            calls = rig.system_calls(program, scenario.args, d)
            jobs = jobs_of(lab, scenario, calls)
            before = (lab.faults, lab.kills, lab.contests, lab.limits)
            problems = [p for p in pool.map(lambda job: job[0](*job[1:]), jobs) if p]
            done = tuple(b - a for a, b in zip(before, (lab.faults, lab.kills, lab.contests, lab.limits)))
            print("%-20s %3d calls, %4d faults, %3d kills, %3d with a neighbour, %3d size limits  %.1f s" % (
                (scenario.name, len(calls)) + done + (time.time() - started,)))
            for problem in problems:
                print("    " + problem.replace("\n", "\n      "))
            sys.stdout.flush()
            failed += len(problems)
    print("%d faults, %d kills, %d kills with a neighbour, %d size limits: %s" % (
        lab.faults, lab.kills, lab.contests, lab.limits, "%d FAILED" % failed if failed else "all as it should be"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
