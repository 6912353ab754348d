"""What enumerate.py, faults.py, images.py and limits.py share: the scenarios, what is right before and after each of
them, and how the program is built and traced. Python 3.8 or newer, no packages."""

import atexit
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
SKIP = 77
TEMPORARY = re.compile(r"(?:^|/)\.memoria-[0-9a-f]{16}\.tmp$")
LOCK = re.compile(r"(?:^|/)\.[^/]*\.lock$")


def skip(why):
    print("skipped: " + why)
    sys.exit(SKIP)


def scratch(prefer=None):
    """A directory that is gone when the script ends, also when it is interrupted; what is mounted in it is
    unmounted."""
    base = prefer if prefer and os.access(prefer, os.W_OK) else None
    d = tempfile.mkdtemp(prefix="memoria-crash-", dir=base)
    atexit.register(shutil.rmtree, d, True)
    atexit.register(unmount, d)  # before that
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    return d


def unmount(base):
    if os.path.exists("/proc/self/mounts"):
        with open("/proc/self/mounts") as mounts:
            points = [line.split()[1] for line in mounts if line.split()[1].startswith(base + "/")]
        for point in reversed(points):
            subprocess.run(["umount", "-l", point])


def build():
    """The scenario program: $SCENARIO, or the one that CMake built in $BUILD, or one that is built now."""
    for ready in (os.environ.get("SCENARIO"), os.path.join(os.environ.get("BUILD", "/nowhere"), "scenario")):
        if ready and os.access(ready, os.X_OK):
            return os.path.abspath(ready)
    out = os.path.join(scratch(), "scenario")
    command = [os.environ.get("CXX", "c++"), "-std=c++17", "-O1", "-I", os.environ.get("MEMORIA_FS", TOP), "-o", out,
               os.path.join(HERE, "scenario.cpp")]
    for extra in (["-static"], []):  # static: a third of the system calls, and it runs in any mount namespace
        if subprocess.run(command + extra, stderr=subprocess.DEVNULL if extra else None).returncode == 0:
            return out
    print("cannot build scenario.cpp")
    sys.exit(1)


def content(tag, size):
    """As in scenario.cpp."""
    lines, length, n = [], 0, 0
    while length < size:
        lines.append("%s %d\n" % (tag, n))
        length += len(lines[-1])
        n += 1
    return "".join(lines)[:size].encode()


def state(count, padding=3000):
    return json.dumps({"text": "x" * padding, "count": count}, indent=2).encode()


# ---- trees: {relative name: (mode, bytes)}, for a directory (mode, None)

def plant(root, tree):
    for name, (mode, data) in sorted(tree.items()):
        full = os.path.join(root, name)
        if data is None:
            os.makedirs(full, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as out:
                out.write(data)
        os.chmod(full, mode)


def harvest(root):
    tree = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            full = os.path.join(folder, name)
            info = os.lstat(full)
            rel = os.path.relpath(full, root)
            if stat.S_ISDIR(info.st_mode):
                tree[rel] = (stat.S_IMODE(info.st_mode), None)
            elif stat.S_ISREG(info.st_mode):
                with open(full, "rb") as source:
                    tree[rel] = (stat.S_IMODE(info.st_mode), source.read())
            else:
                tree[rel] = (stat.S_IMODE(info.st_mode), b"special")
    return tree


def with_parents(tree):
    full = dict(tree)
    for name in tree:
        while os.path.dirname(name):
            name = os.path.dirname(name)
            full.setdefault(name, (0o755, None))
    return full


def shown(data):
    if data is None:
        return "nothing"
    return "%d bytes %r%s" % (len(data), data[:24], "..." if len(data) > 24 else "")


# ---- scenarios

class Scenario:
    """One call. `before` is the directory it finds, `targets` the files it may change. `outcome` below is what the
    program said: "acknowledged", "not_durable", "failed", or None if a crash or a kill came first."""

    temporaries = 1        # so many may be left by a kill
    durable = True         # acknowledged means that it survives a crash
    undurable = ()         # these files' content is not on the disk when the call begins
    only_acknowledged = False  # nothing is promised before
    contested = False      # faults.py: also with a neighbour who waits
    harmless = {}          # enumerate.py: breaks of the protocol that need not be found, and why
    control = False        # a wrong protocol: the rigs must find that out
    again = None           # the call that has to work afterwards; None: the same

    def __init__(self, name, args, before, targets, **more):
        self.name, self.args, self.targets = name, args, targets
        self.before = with_parents(dict(before, bystander=(0o604, b"not yours\n")))
        self.after = None  # filled in by learn()
        for key, value in more.items():
            setattr(self, key, value)

    def learn(self, program, base):
        """Runs it once undisturbed, to know what is new."""
        d = tempfile.mkdtemp(dir=base)
        plant(d, self.before)
        done = subprocess.run([program] + self.args, cwd=d, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if outcome_of(done.stdout) != "acknowledged":
            raise SystemExit("%s: does not even work undisturbed: %r %r" % (self.name, done.stdout, done.stderr))
        self.after = harvest(d)
        self.acknowledgement = done.stdout.splitlines()[-1]
        shutil.rmtree(d)
        problem = self.judge(self.after, "acknowledged")
        if problem:
            raise SystemExit("%s: wrong although undisturbed: %s" % (self.name, problem))

    def judge(self, tree, outcome, crashed=True):
        """What is wrong with the tree, or None. `crashed`: temporaries may be left."""
        return self.judge_targets(tree, outcome) or self.judge_others(tree, outcome, crashed)

    def judge_targets(self, tree, outcome):
        for name in self.targets:
            old, new, now = self.before.get(name), self.after.get(name), tree.get(name)
            if outcome in ("acknowledged", "not_durable") and self.durable:
                if now != new:
                    return "acknowledged, but %s is %s" % (name, describe(now))
            elif outcome == "failed":
                if now != old:
                    return "failed, but %s is %s, was %s" % (name, describe(now), describe(old))
            elif now not in (old, new):
                return "%s is neither old nor new: %s" % (name, describe(now))
        return None

    def allowed_extra(self, name, entry, outcome):
        return False

    def judge_others(self, tree, outcome, crashed):
        left = 0
        for name, entry in tree.items():
            if name in self.targets:
                continue
            if TEMPORARY.search(name):
                left += 1
                if not crashed:
                    return "a temporary file is left: " + name
            elif LOCK.search(name):
                if entry[1]:
                    return "a lock file has content: " + name
            elif name in self.before:
                if entry != self.before[name]:
                    return "%s was not its business, and is %s" % (name, describe(entry))
            elif entry[1] is None and name in self.after and outcome != "failed":
                pass  # a parent directory on the way
            elif not self.allowed_extra(name, entry, outcome):
                return "litter: %s, %s" % (name, describe(entry))
        if left > self.temporaries:
            return "%d temporary files are left" % left
        for name in self.before:
            if name not in self.targets and name not in tree:
                return name + " is gone"
        return None

    def judge_next(self, was, now, status, said):
        """After a crash left `was`, the next call made `now`."""
        if status != 0:
            return "the next call fails"
        for name in self.targets:
            if now.get(name) != self.after.get(name):
                return "after the next call %s is %s" % (name, describe(now.get(name)))
        return None

    def judge_contest(self, tree, outcome):
        """The call was killed while another process made the next call, undisturbed; either may have come first."""
        return None if all(tree.get(n) == self.after.get(n) for n in self.targets) else "the neighbour's work is lost"

    def expects(self, syscall, error):
        """Failures of a call that the library gets round, so that nothing is to be noticed."""
        return error == "EINVAL" or (syscall, error) in (("renameat2", "ENOSYS"), ("newfstatat", "ENOENT"))

    def next_args(self):
        return self.again or self.args


def describe(entry):
    return "not there" if entry is None else "mode %04o, %s" % (entry[0], shown(entry[1]))


class Create(Scenario):
    def judge_next(self, was, now, status, said):
        expected = 4 if self.targets[0] in was else 0
        if status != expected:
            return "the next call ends with %d" % status
        return None if now.get(self.targets[0]) == self.after[self.targets[0]] else "the next call spoils it"


class Generations(Scenario):
    """FILE, FILE.gen-1, FILE.gen-2: the file as ever; the previous versions whole, and none but the oldest is lost by a
    call that says it failed. (A power cut may lose the newest: its name is synced together with the new file's.)"""

    temporaries = 2

    def expects(self, syscall, error):
        return syscall == "linkat" or super().expects(syscall, error)  # no hard links here: a copy

    def judge_targets(self, tree, outcome):
        name = self.targets[0]
        if outcome in ("acknowledged", "not_durable"):
            return super().judge_targets(tree, outcome)
        if tree.get(name) not in ([self.before[name]] if outcome else [self.before[name], self.after[name]]):
            return "%s is neither old nor new: %s" % (name, describe(tree.get(name)))
        versions, there = [self.before[n] for n in self.targets], [tree[n] for n in self.targets if n in tree]
        for entry in there[1:]:
            if entry not in versions:
                return "a generation is torn: " + describe(entry)
        if outcome == "failed" and not all(v in there for v in versions[:-1]):
            return "failed, and of the generations there are " + ", ".join(describe(e) for e in there[1:])
        return None

    def judge_next(self, was, now, status, said):
        name = self.targets[0]
        return None if status == 0 and now.get(name) == self.after[name] else "the next call does not work"


class Batch(Scenario):
    """Each file old or new. A commit that fails at a rename may have replaced some."""

    def judge_targets(self, tree, outcome):
        return super().judge_targets(tree, None if outcome == "failed" else outcome)


class Append(Scenario):
    """Old content stays; behind it, unless acknowledged, anything that can become of an entry that was being
    written."""

    contested = True

    def allowed_extra(self, name, entry, outcome):
        # a new log stays, empty: others may have it open
        return entry[1] is None and self.targets[0].startswith(name + "/")

    def judge_targets(self, tree, outcome):
        name = self.targets[0]
        old, new = self.before.get(name, (None, b""))[1], self.after[name][1]
        now = tree.get(name)
        if now is None:
            if name in self.before or outcome in ("acknowledged", "not_durable"):
                return "the log is gone"
            return None
        if now[0] != self.after[name][0]:
            return "the log's mode is %04o" % now[0]
        if not now[1].startswith(old):
            return "acknowledged entries are damaged: " + shown(now[1])
        if outcome in ("acknowledged", "not_durable"):
            return None if now[1] == new else "acknowledged, but the log holds " + shown(now[1])
        if outcome == "failed":
            return None if now[1] == old else "failed, but the log holds " + shown(now[1])
        tail, entry = now[1][len(old):], new[len(old):]
        if len(tail) > len(entry) or any(a != b and a != 0 for a, b in zip(tail, entry)):
            return "something strange behind the old entries: " + shown(tail)
        return None

    def judge_contest(self, tree, outcome):
        name = self.targets[0]
        log, old, mine = tree[name][1], self.before.get(name, (0, b""))[1], self.after[name][1]
        mine, other = mine[len(old):], content("next", 40)
        other = other if other.endswith(b"\n") else other + b"\n"
        first, gap = old.endswith(b"\n") or not old, b"\n"
        orders = {old + (b"" if first else gap) + other}  # the killed one wrote nothing
        for entry in [mine] + ([] if outcome == "acknowledged" else [b""]):
            end = old + entry
            orders.add(end + (b"" if not end or end.endswith(b"\n") else gap) + other)
            end = old + (b"" if first else gap) + other
            orders.add(end + entry.lstrip(b"\n"))
        if outcome == "acknowledged" and mine.strip(b"\n") not in log:
            return "an acknowledged entry is lost"
        return None if log in orders else "the log holds " + shown(log[len(old):])

    def judge_next(self, was, now, status, said):
        name = self.targets[0]
        if status != 0:
            return "the next call fails"
        if name not in now:
            return "the log is gone"
        old = was.get(name, (0, b""))[1]
        entry = content("next", 40)
        entry = entry if entry.endswith(b"\n") else entry + b"\n"
        wanted = old + (b"\n" if old and not old.endswith(b"\n") else b"") + entry
        return None if now[name][1] == wanted else "the next entry is not whole: " + shown(now[name][1][-80:])


class Update(Scenario):
    contested = True

    def judge_contest(self, tree, outcome):
        name = self.targets[0]
        old = json.loads(self.before[name][1])["count"] if name in self.before else 0
        now = json.loads(tree[name][1])["count"]
        return None if now in ((old + 2,) if outcome == "acknowledged" else (old + 1, old + 2)) else "an update is lost"

    def judge_next(self, was, now, status, said):
        name = self.targets[0]
        if status != 0:
            return "the next call fails"
        count = json.loads(was[name][1]).get("count", 0) if name in was else 0
        if name not in now or now[name][1].count(b"}") != 1:
            return "the state is " + describe(now.get(name))
        return None if json.loads(now[name][1])["count"] == count + 1 else "the next update lost one"


class Recover(Scenario):
    """A state file that is not JSON. Its bytes stay somewhere, whole; what the reader gets is what was agreed."""

    good = None  # the newest generation that is good

    def expects(self, syscall, error):
        return syscall == "read" or super().expects(syscall, error)  # looking at what was moved: it is done again

    def backups(self, tree):
        return [n for n in tree if n.startswith(self.targets[0] + ".bak-")]

    def judge_targets(self, tree, outcome):
        name = self.targets[0]
        now, bad = tree.get(name), self.before[name]
        good = self.good and (bad[0], self.good)
        kept = [n for n in self.backups(tree) if tree[n] == bad]
        if now not in (None, bad, good):
            return "%s is %s" % (name, describe(now))
        if now != bad and not kept:
            return "the corrupt bytes are gone: there are %s" % ", ".join(sorted(tree))
        if outcome == "failed" and now != bad:
            return "failed, but the file is no longer in its place"
        if outcome == "acknowledged":
            if kept and now == good:
                return None
            return "acknowledged, but the state is %s, backups: %s" % (describe(now), kept)
        if outcome and now is None and good:
            return "%s, but there is no state, and so no good generation for the next reader" % outcome
        return None

    def allowed_extra(self, name, entry, outcome):
        return name in (n for n in self.backups({name: entry})) and entry[1] == self.before[self.targets[0]][1]

    def judge_next(self, was, now, status, said):
        name = self.targets[0]
        if status != 0:
            return "the next load fails"
        wanted = json.loads(self.good) if self.good else "fallback"
        if json.loads(said.split(b"acknowledged ", 1)[1]) != wanted:
            return "the next load gets %s although a good generation is there" % said.split(b"acknowledged ", 1)[1][:60]
        kept = [name] + self.backups(now)  # in its old place: only if the crash undid the move
        there = any(n in now and now[n][1] == self.before[name][1] for n in kept)
        return None if there else "the corrupt bytes are gone"


class Sweep(Scenario):
    def judge_targets(self, tree, outcome):
        if outcome == "acknowledged" and self.durable and any(n in tree for n in self.targets):
            return "dead temporaries are left"
        return None

    def judge_others(self, tree, outcome, crashed):
        stays = {n: e for n, e in tree.items() if n not in self.targets}
        return super().judge_others(stays, outcome, crashed)

    def judge_next(self, was, now, status, said):
        return None if status == 0 and not any(n in now for n in self.targets) else "the next sweep leaves some"


OLD, SIZE = content("old", 6000), "9000"  # both more than one block, of different length
LOG = content("entry", 5000)
NEXT = ["append_lines", "log", "next", "40"]


def scenarios():
    f = {"file": (0o640, OLD)}
    bad = b'{"text": "half of a sta'
    gens = {"file": (0o640, content("v3", 5000)), "file.gen-1": (0o640, content("v2", 4500)),
            "file.gen-2": (0o640, content("v1", 6500))}
    two_good = {"state": (0o640, bad), "state.gen-1": (0o640, state(7)), "state.gen-2": (0o640, state(6))}
    dead = {".memoria-%016x.tmp" % n: (0o600, content("dead", 100)) for n in (1, 2)}
    batch = ["dir/one", "dir/two", "other/three"]
    return [
        Scenario("replace", ["replace", "file", "new", SIZE], f, ["file"]),
        Scenario("replace_new_parents", ["replace", "a/b/file", "new", SIZE], {}, ["a/b/file"]),
        Generations("generations", ["generations", "file", "v4", "9000", "2"], gens, list(gens)),
        Create("create", ["create", "file", "new", SIZE], {}, ["file"]),
        Scenario("stream", ["stream", "file", "new", "12000", "3"], f, ["file"]),
        Batch("batch", ["batch", "new", "5000"] + batch,
                 {"dir/one": (0o640, OLD), "dir": (0o755, None), "other/three": (0o604, OLD)}, batch, temporaries=3),
        Append("append", ["append", "log", "new", "5000"], {"log": (0o640, LOG)}, ["log"], again=NEXT),
        Append("append_new", ["append", "log", "new", "5000"], {}, ["log"], again=NEXT),
        Append("append_new_parents", ["append", "a/log", "new", "5000"], {}, ["a/log"],
               again=["append_lines", "a/log", "next", "40"]),
        Append("append_torn", ["append_lines", "log", "new", "5000"], {"log": (0o640, LOG + b"half an en")}, ["log"],
               again=NEXT),
        Update("update", ["update", "state"], {"state": (0o640, state(3))}, ["state"]),
        Update("update_new", ["update", "state"], {}, ["state"]),
        Scenario("save", ["save", "state", "new", SIZE], {"state": (0o640, state(3))}, ["state"]),
        Recover("load_corrupt", ["load", "state"], {"state": (0o640, bad)}, ["state"]),
        Recover("load_generation", ["load", "state"], two_good, ["state"], good=state(7), temporaries=2, harmless={
            "unlink TEMP after syncdir of directory .": "the displaced file may stay as a temporary one; there is a "
                                                        "backup"}),
        Sweep("sweep", ["sweep", "."], dict(dead, **{".file.abcd.tmp": (0o600, b"a Python writer's")}), list(dead),
              durable=False),
    ]


def outcome_of(said):
    for line in said.splitlines():
        for word in ("acknowledged", "not_durable", "failed"):
            if line.startswith(word.encode()):
                return word
    return None


def run(program, args, cwd, **more):
    return subprocess.run([program] + args, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60, **more)


def check_afterwards(program, scenario, d):
    """The next call works, and a sweep leaves no temporary. Returns the problem or None."""
    was = harvest(d)
    done = run(program, scenario.next_args(), d)
    problem = scenario.judge_next(was, harvest(d), done.returncode, done.stdout)
    if problem:
        return problem + " " + done.stderr.decode(errors="replace").strip()
    folders = ["."] + [n for n, e in harvest(d).items() if e[1] is None]
    for folder in folders:
        run(program, ["sweep", folder], d)
    left = [n for n in harvest(d) if TEMPORARY.search(n)]
    return "the sweeper leaves %s" % left if left else None


# ---- strace

def need_strace():
    if sys.platform != "linux" or not shutil.which("strace"):
        skip("needs Linux and strace")
    probe = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], stderr=subprocess.DEVNULL)
    if probe.returncode != 0:
        skip("strace may not trace here")


CALL = re.compile(r"^(?:\d+\s+)?(\w+)\((.*)\)\s+= (-?\d+|0x[0-9a-f]+|\?)(.*)$")
NOT_THE_LIBRARYS = {"brk", "mmap", "munmap", "mprotect", "futex", "exit_group", "execve", "rt_sigaction",
                    "rt_sigprocmask"}


def system_calls(program, args, cwd):
    """Every system call of the library: (name, which one of that name in the whole process, line)."""
    log = cwd + ".trace"
    done = subprocess.run(["strace", "-f", "-qq", "-s", "64", "-o", log, program] + args, cwd=cwd,
                          stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    calls, count, ready = [], {}, False
    with open(log) as lines:
        for line in lines:
            match = CALL.match(line.strip())
            if not match:
                continue
            name = match.group(1)
            count[name] = count.get(name, 0) + 1
            if name == "write" and '"ready\\n"' in line:
                ready = True
            elif name == "write" and '"acknowledged' in line:
                calls.append((name, count[name], "ACKNOWLEDGE"))
                break
            elif ready and name not in NOT_THE_LIBRARYS:
                calls.append((name, count[name], line.strip()))
    os.unlink(log)
    if done.returncode != 0 or not ready or not calls or calls[-1][2] != "ACKNOWLEDGE":
        raise SystemExit("cannot trace %s: %r" % (args, done.stderr))
    return calls
