"""Every crash state: what a power cut at any moment of a call may leave behind, under a weak model of what disks and
file systems promise, is either old or new, whole; new if the call had returned; and the next call copes with it.

    python3 enumerate.py [--all] [-v] [scenario...]

1. RECORD   strace notes the calls that change or sync files, with all their data. They are replayed on a model of the
            directory; the model has to end where the real directory ended, so that nothing was overlooked.
2. CRASH    before the first call, after each, and after the acknowledgement, all states that the model below allows.
3. JUDGE    each by the scenario's rule (rig.py); then the state is put on a disk and the next call has to work on it
            (an even choice of 300 for each scenario; --all: every one).
4. BREAK    the recorded protocol, on purpose: each sync left out, each step exchanged with the next one. The judge must
            find each; where it does not, it has to be clear why the break is harmless (-v lists all, with the reason).

The model. Weaker than any file system this library meets; everything may happen at every moment:
- Content of a file. What was written since the last fsync or fdatasync of the file is there or not, write by write, in
  any combination; of each write also only the first or only the second half. Bytes that are missing inside the size are
  zero (or what was there before). The size is one that the file had at some moment since the sync, or in the middle of
  a write that made it grow; what is behind it is gone. ftruncate is there or not.
- Mode: fsync makes it durable, fdatasync does not. The mode that open(O_CREAT) gave is as durable as the file.
- fsync of a file says nothing about its name.
- Names. Each create, rename, link, unlink, mkdir since the last fsync of the directory is there or not, names
  independent of each other; what was done to one name happens in order (a name has any of the values it had since the
  sync). A rename is two steps: the new name, then the removal of the old one, which never happens without the first
  (no file is lost by renaming it), but may stay undone alone (both names lead to the file). An exchange is two renames
  that need not both happen: the file that one name led to may be lost.
- fsync of a directory makes durable what was done to its names before; not the content of files, not the directory's
  own name in its parent.
- Nothing orders one thing behind another but a sync. sync_file_range orders nothing.
- What the call found in the directory had been durable, except where a scenario says that it had not.
- One device, which loses only what was not flushed: no bit rot, no lying caches."""

import itertools
import os
import re
import subprocess
import sys
import time

import rig

PIECES = "openat,open,creat,write,pwrite64,writev,ftruncate,truncate,rename,renameat,renameat2,link,linkat,unlink," \
         "unlinkat,mkdir,mkdirat,rmdir,fsync,fdatasync,fchmod,chmod,fchmodat,flock,close,dup,dup2,dup3,fcntl," \
         "sync_file_range,fchown," \
         "symlink,symlinkat,copy_file_range,fallocate,sync,syncfs,mknod,mknodat"


# ---- record: strace's lines become steps on inodes and names

def unhex(text):
    return bytes.fromhex(text.strip('"').replace("\\x", ""))


class Recorder:
    """Steps are tuples: (kind, ...). Directories and files are numbers, 0 is the directory of the scenario."""

    def __init__(self, before):
        self.next, self.fds, self.steps, self.tree = 1, {}, [], {0: {}}  # tree: names as they are now
        self.initial = {0: ("dir", 0o755)}
        for name, (mode, data) in sorted(before.items()):
            folder, leaf = self.find(os.path.dirname(name)), os.path.basename(name)
            self.tree[folder][leaf] = self.next
            self.initial[self.next] = ("dir", mode) if data is None else ("file", mode, data)
            if data is None:
                self.tree[self.next] = {}
            self.next += 1
        self.names_before = {d: dict(n) for d, n in self.tree.items()}

    def repeat(self, steps):
        """Takes up what another recorder noted, up to a point where its process died."""
        for step in steps:
            if step[0] == "make":
                self.tree[step[1]][step[2]] = step[3]
                if step[4] == "dir":
                    self.tree[step[3]] = {}
                self.next = max(self.next, step[3] + 1)
            elif step[0] == "exchange":
                _, d, leaf, to, new = step
                self.tree[to][new], self.tree[d][leaf] = self.tree[d][leaf], self.tree[to][new]
            elif step[0] in ("rename", "link"):
                _, d, leaf, to, new = step
                self.tree[to][new] = self.tree[d].pop(leaf) if step[0] == "rename" else self.tree[d][leaf]
            elif step[0] == "unlink":
                del self.tree[step[1]][step[2]]
            if step[0] != "acknowledge":
                self.steps.append(step)

    def find(self, name, at=0):
        for part in name.split("/"):
            if part not in ("", "."):
                at = self.tree[at].get(part)
                if at is None:
                    return None
        return at

    def at(self, fd, name):
        """(directory, leaf) for a name relative to a descriptor."""
        name = unhex(name).decode()
        if name.startswith("/"):
            raise SystemExit("absolute path in the trace: " + name)
        start = 0 if fd == "AT_FDCWD" else self.fds[int(fd)]
        return self.find(os.path.dirname(name), start), os.path.basename(name)

    def do(self, *step):
        self.steps.append(step)

    def new_inode(self, where, kind, mode):
        self.tree[where[0]][where[1]] = self.next
        if kind == "dir":
            self.tree[self.next] = {}
        self.do("make", where[0], where[1], self.next, kind, mode)
        self.next += 1
        return self.next - 1

    def call(self, name, a, result):
        if name == "openat":
            where, flags = self.at(a[0], a[1]), a[2]
            ino = self.tree[where[0]].get(where[1]) if where[1] not in (".", "") else where[0]
            if "O_CREAT" in flags and ino is None:
                ino = self.new_inode(where, "file", int(a[3], 8) & ~0o022)
            if "O_TRUNC" in flags:
                self.do("size", ino, 0)
            if "O_TMPFILE" in flags:
                raise SystemExit("O_TMPFILE is not in the model")
            self.fds[result] = ino
        elif name == "write":
            data, fd = unhex(a[1]), int(a[0])
            if fd in (1, 2):
                if data.startswith((b"acknowledged", b"not_durable")):
                    self.do("acknowledge")
            else:
                self.do("write", self.fds[fd], None, data[:result])  # at the end; see Model
        elif name == "pwrite64":
            self.do("write", self.fds[int(a[0])], int(a[3]), unhex(a[1])[:result])
        elif name == "ftruncate":
            self.do("size", self.fds[int(a[0])], int(a[1]))
        elif name in ("rename", "renameat", "renameat2"):
            old, new = (self.at("AT_FDCWD", a[0]), self.at("AT_FDCWD", a[1])) if name == "rename" else (
                self.at(a[0], a[1]), self.at(a[2], a[3]))
            if name == "renameat2" and "EXCHANGE" in a[4]:
                self.do("exchange", old[0], old[1], new[0], new[1])
                here, there = self.tree[old[0]], self.tree[new[0]]
                here[old[1]], there[new[1]] = there[new[1]], here[old[1]]
            else:
                self.do("rename", old[0], old[1], new[0], new[1])
                self.tree[new[0]][new[1]] = self.tree[old[0]].pop(old[1])
        elif name == "linkat":
            old, new = self.at(a[0], a[1]), self.at(a[2], a[3])
            self.do("link", old[0], old[1], new[0], new[1])
            self.tree[new[0]][new[1]] = self.tree[old[0]][old[1]]
        elif name in ("unlink", "unlinkat", "rmdir"):
            where = self.at(a[0], a[1]) if name == "unlinkat" else self.at("AT_FDCWD", a[0])
            self.do("unlink", *where)
            del self.tree[where[0]][where[1]]
        elif name in ("mkdir", "mkdirat"):
            where, mode = (self.at("AT_FDCWD", a[0]), a[1]) if name == "mkdir" else (self.at(a[0], a[1]), a[2])
            self.new_inode(where, "dir", int(mode, 8) & ~0o022)
        elif name in ("fsync", "fdatasync"):
            ino = self.fds[int(a[0])]
            self.do("syncdir" if ino in self.tree else name, ino)
        elif name == "fchmod":
            self.do("mode", self.fds[int(a[0])], int(a[1], 8))
        elif name == "flock":
            self.do("unlock" if "LOCK_UN" in a[1] else "lock", self.fds[int(a[0])])
        elif name == "fcntl":
            if "F_DUPFD" in a[1]:
                self.fds[result] = self.fds[int(a[0])]
        elif name == "close":
            self.fds.pop(int(a[0]), None)
        elif name not in ("sync_file_range", "fchown"):
            raise SystemExit("a call that the model does not know: " + name)


LINE = re.compile(r"^(?:\d+\s+)?(\w+)\((.*)\)\s+= (-?\d+)(.*)$")


def trace(program, args, d):
    """strace's lines behind "ready", and what the program said."""
    log = os.path.join(os.path.dirname(d), "trace")
    done = subprocess.run(["strace", "-f", "-qq", "-y", "-xx", "-s", "100000000", "-e", "trace=" + PIECES, "-e",
                           "signal=none", "-o", log, program] + args, cwd=d, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with open(log) as source:
        lines = source.read().splitlines()
    os.unlink(log)
    ready = "".join("\\x%02x" % c for c in b"ready\n")
    start = next(i for i, line in enumerate(lines) if "write(1" in line and ready in line)
    return lines[start + 1:], done


def read_trace(recorder, lines):
    for line in lines:
        match = LINE.match(line)
        if not match:
            raise SystemExit("cannot read strace's line " + line[:200])
        arguments = [re.sub(r"^(\d+|AT_FDCWD)<.*$", r"\1", a) for a in match.group(2).split(", ")]
        if int(match.group(3)) >= 0:
            recorder.call(match.group(1), arguments, int(match.group(3)))


# ---- the model

class Impossible(Exception):
    """A step that could not have happened after the ones before it."""


def variants_of_content(base, changes, thorough):
    """What can be on the disk of a file that held `base`, durably, and then saw `changes`: (offset, bytes), (None,
    size)."""
    sizes, contents = {len(base)}, set()
    now = len(base)
    for at, what in changes:
        if at is None:
            now = what
        elif at + len(what) > now:
            grown = {at + len(what), (max(now, at) + at + len(what)) // 2}
            if thorough:
                grown |= {max(now, at) + 1, at + len(what) - 1}
                grown |= {s for s in range(4096, at + len(what), 4096) if s > now}
            sizes |= grown
            now = at + len(what)
        sizes.add(now)
    fates = [("lost", "kept") if at is None else ("lost", "kept", "first", "second") for at, _ in changes]
    if len(changes) > 4:  # then in order but for one: enough for every prefix, and for every single loss
        n = len(changes)
        chosen = [["kept"] * i + ["lost"] * (n - i) for i in range(n + 1)]
        chosen += [["kept"] * i + [f] + ["kept"] * (n - i - 1) for i in range(n) for f in fates[i] if f != "kept"]
    else:
        chosen = itertools.product(*fates)
    for choice in chosen:
        data = bytearray(base)
        for fate, (at, what) in zip(choice, changes):
            if fate == "lost":
                continue
            if at is None:
                del data[what:]
                data.extend(bytes(what - len(data)))
                continue
            half = len(what) // 2
            part, start = {"kept": (what, at), "first": (what[:half], at), "second": (what[half:], at + half)}[fate]
            data.extend(bytes(max(0, start + len(part) - len(data))))
            data[start:start + len(part)] = part
        for size in sizes:
            contents.add(bytes(data[:size]) + bytes(max(0, size - len(data))))
    return contents


class Model:
    def __init__(self, recorder, undurable=()):
        self.recorder, self.undurable = recorder, undurable

    def run(self, steps):
        """Expands steps into primitive changes. Raises Impossible for an order that cannot be."""
        inodes = {ino: what[0] for ino, what in self.recorder.initial.items()}
        names = {d: dict(n) for d, n in self.recorder.names_before.items()}
        size = {ino: len(w[2]) for ino, w in self.recorder.initial.items() if w[0] == "file"}
        flat, marks = [], []
        for step in steps:
            kind = step[0]
            if kind == "make":
                _, d, leaf, ino, what, mode = step
                if d not in names or leaf in names[d]:
                    raise Impossible
                inodes[ino] = what
                names[d][leaf] = ino
                if what == "dir":
                    names[ino] = {}
                size[ino] = 0
                flat.append(("set", d, leaf, ino))
            elif kind in ("write", "size", "mode", "fsync", "fdatasync", "syncdir"):
                ino = step[1]
                if ino not in inodes:
                    raise Impossible
                if kind == "write":
                    at = size[ino] if step[2] is None else step[2]
                    flat.append(("data", ino, at, step[3]))
                    size[ino] = max(size[ino], at + len(step[3]))
                elif kind == "size":
                    flat.append(("data", ino, None, step[2]))
                    size[ino] = step[2]
                elif kind == "mode":
                    flat.append(("mode", ino, step[2]))
                else:
                    flat.append((kind, ino))
            elif kind in ("rename", "link"):
                _, d, leaf, to, new = step
                ino = names.get(d, {}).get(leaf)
                if ino is None or (kind == "link" and new in names[to]):
                    raise Impossible
                names[to][new] = ino
                flat.append(("set", to, new, ino))
                if kind == "rename":
                    del names[d][leaf]
                    flat.append(("remove", d, leaf, len(flat) - 1))
            elif kind == "exchange":
                _, d, leaf, to, new = step
                if leaf not in names.get(d, {}) or new not in names.get(to, {}):
                    raise Impossible
                names[to][new], names[d][leaf] = names[d][leaf], names[to][new]
                flat.append(("set", to, new, names[to][new]))
                flat.append(("set", d, leaf, names[d][leaf]))
            elif kind == "unlink":
                if names.get(step[1], {}).pop(step[2], None) is None:
                    raise Impossible
                flat.append(("remove", step[1], step[2], None))
            else:
                flat.append((kind,))
            marks.append(len(flat))
        return flat, marks, inodes, names

    def live(self, steps):
        """The directory as a running system shows it after the steps."""
        flat, _, inodes, names = self.run(steps)
        tree = {}

        def walk(d, prefix):
            for leaf, ino in names[d].items():
                if inodes[ino] == "dir":
                    tree[prefix + leaf] = (self.modes(ino, steps, flat, len(flat))[-1], None)
                    walk(ino, prefix + leaf + "/")
                else:
                    data = bytearray(self.recorder.initial[ino][2] if ino in self.recorder.initial else b"")
                    for change in flat:
                        if change[0] == "data" and change[1] == ino:
                            if change[2] is None:
                                del data[change[3]:]
                                data.extend(bytes(change[3] - len(data)))
                            else:
                                data[change[2]:change[2] + len(change[3])] = change[3]
                    tree[prefix + leaf] = (self.modes(ino, steps, flat, len(flat))[-1], bytes(data))

        walk(0, "")
        return tree

    def modes(self, ino, steps, flat, end):
        initial = self.recorder.initial.get(ino)
        first = initial[1] if initial else next(s[5] for s in steps if s[0] == "make" and s[3] == ino)
        modes = [first]
        for change in flat[:end]:
            if change[:2] == ("mode", ino):
                modes.append(change[2])
            elif change[:2] == ("fsync", ino):
                modes = modes[-1:]
        return modes

    def contents(self, ino, flat, end, thorough):
        base = self.recorder.initial[ino][2] if ino in self.recorder.initial else b""
        changes = []
        if ino in self.undurable:
            base, changes = b"", [(0, base)]
        for change in flat[:end]:
            if change[0] == "data" and change[1] == ino:
                changes.append(change[2:])
            elif change in (("fsync", ino), ("fdatasync", ino)):
                for at, what in changes:
                    if at is None:
                        base = base[:what] + bytes(max(0, what - len(base)))
                    else:
                        base = base[:at] + bytes(max(0, at - len(base))) + what + base[at + len(what):]
                changes = []
        return variants_of_content(base, changes, thorough) if changes else {base}

    def crashes(self, steps, only_acknowledged=False):
        """Yields (tree, acknowledged) for every state a crash may leave, each once. The content of a file that has no
        name but a temporary one is of no interest where there are many of them, or in the second of two processes."""
        flat, marks, inodes, _ = self.run(steps)
        ends = [0] + marks
        acknowledged = [False] + [("acknowledge",) in flat[:m] for m in marks]
        seen, self.total = set(), 0
        changed_files = {c[1] for c in flat if c[0] == "data"} | set(self.undurable)
        thorough = len(changed_files) <= 2
        for end, ack in zip(ends, acknowledged):
            if only_acknowledged and not ack:
                continue
            history, durable = {}, {}
            for d, names in self.recorder.names_before.items():
                for leaf, ino in names.items():
                    history[d, leaf] = [(ino, None, -1)]
            for i, change in enumerate(flat[:end]):
                if change[0] == "set":
                    history.setdefault((change[1], change[2]), [(None, None, -1)]).append((change[3], None, i))
                elif change[0] == "remove":
                    history.setdefault((change[1], change[2]), [(None, None, -1)]).append((None, change[3], i))
                elif change[0] == "syncdir":
                    for (d, leaf), values in history.items():
                        if d == change[1]:
                            durable[d, leaf] = len(values) - 1
            keys = sorted(history, key=str)
            options = [range(durable.get(k, 0), len(history[k])) for k in keys]
            position = {}  # primitive change -> (name, how far its history has to be on the disk to include it)
            for k in keys:
                for n, (_, _, i) in enumerate(history[k]):
                    position[i] = (k, n)
            contents, modes = {}, {}
            for choice in itertools.product(*options):
                reached = dict(zip(keys, choice))
                if any(reached[position[needs][0]] < position[needs][1]
                       for k in keys for _, needs, _ in history[k][:reached[k] + 1] if needs is not None):
                    continue
                links = {}
                for k in keys:
                    if history[k][reached[k]][0] is not None:
                        links.setdefault(k[0], []).append((k[1], history[k][reached[k]][0]))
                files, found = [], {}

                def walk(d, prefix):
                    for leaf, ino in links.get(d, ()):
                        found[prefix + leaf] = ino
                        if inodes[ino] == "dir":
                            walk(ino, prefix + leaf + "/")
                        elif ino not in files:
                            files.append(ino)

                walk(0, "")
                for ino in files:
                    if ino not in contents:
                        contents[ino] = sorted(self.contents(ino, flat, end, thorough))
                        modes[ino] = sorted(set(self.modes(ino, steps, flat, end)))
                named = {i for n, i in found.items() if not rig.TEMPORARY.search(n)}
                dull = set() if thorough and not only_acknowledged else set(files) - named
                for fates in itertools.product(*(
                        [(modes[i][0], contents[i][-1])] if i in dull else itertools.product(modes[i], contents[i])
                        for i in files)):
                    self.total += 1
                    fate = dict(zip(files, fates))
                    tree = {n: fate[i] if i in fate else (self.modes(i, steps, flat, end)[-1], None)
                            for n, i in found.items()}
                    key = (ack, frozenset(tree.items()))
                    if key not in seen:
                        seen.add(key)
                        yield tree, ack


# ---- judge and break

def violation(scenario, model, steps):
    """The first state that breaks the scenario's rule: (problem, number of states so far)."""
    count = 0
    for tree, ack in model.crashes(steps):
        count += 1
        if scenario.only_acknowledged and not ack:
            continue
        problem = scenario.judge(tree, "acknowledged" if ack else None)
        if problem:
            return problem, count
    return None, count


def breaks(steps):
    """(what was done, why it may be without effect, the steps) for every sync left out, every two neighbours exchanged
    and every name that is given before a sync that came before it. The locks stay out of it: one process at a time."""
    steps = [s for s in steps if s[0] not in ("lock", "unlock")]
    for i, step in enumerate(steps):
        if "sync" in step[0]:
            changed = step[0] == "syncdir" or any(s[0] in ("write", "size", "mode") and s[1] == step[1]
                                                  for s in steps[:i])
            why = None if changed else "the file had not been changed here (load_unsynced: if it had, by others)"
            yield "leave out " + title(step), why, steps[:i] + steps[i + 1:]
    for i in range(len(steps) - 1):
        a, b = steps[i], steps[i + 1]
        if a != b and a[0] != "acknowledge":
            yield "%s after %s" % (title(a), title(b)), excuse(a, b, steps), steps[:i] + [b, a] + steps[i + 2:]
    for i, step in enumerate(steps):
        if step[0] in ("rename", "link", "exchange"):
            for j, other in enumerate(steps[:i - 1]):
                if "sync" in other[0]:
                    moved = steps[:j] + [step] + steps[j:i] + steps[i + 1:]
                    yield "%s before %s" % (title(step), title(other)), excuse(other, step, steps), moved


def excuse(a, b, steps):
    """Why it cannot matter which of two steps comes first, or None if it can."""
    syncs = [s for s in (a, b) if "sync" in s[0]]
    if not syncs:
        return "nothing but a sync orders them anyway"
    if len(syncs) == 2:
        return "two syncs with nothing between them"
    sync, other = syncs[0], b if syncs[0] is a else a
    if other[0] in ("write", "size", "mode"):
        same = sync[1] == other[1] or sync[0] == "syncdir"
    elif other[0] in ("rename", "link", "exchange") and sync[0] != "syncdir":
        made = {(s[1], s[2]): s[3] for s in steps if s[0] == "make"}
        same = made.get((other[1], other[2])) == sync[1]
    elif other[0] in ("make", "unlink", "rename", "link", "exchange"):
        same = sync[1] in (other[1], other[3] if len(other) == 5 else None)
    else:
        same = True
    return None if same else "they concern different files"


NAMES, TEMPORARIES = {}, {}


def title(step):
    def name(n):
        if rig.TEMPORARY.search(str(n)):
            return TEMPORARIES.setdefault(n, "TEMP-%d" % (len(TEMPORARIES) + 1))
        return str(n)

    if step[0] in ("rename", "link", "exchange"):
        return "%s %s to %s" % (step[0], name(step[2]), name(step[4]))
    if step[0] in ("make", "unlink"):
        return "%s %s" % (step[0], name(step[2]))
    if step[0] == "acknowledge":
        return "acknowledge"
    return "%s of %s" % (step[0], name(NAMES.get(step[1], "#%d" % step[1])))


def name_inodes(recorder, steps):
    NAMES.clear()
    TEMPORARIES.clear()
    NAMES[0] = "directory ."
    for d, names in recorder.names_before.items():
        for leaf, ino in names.items():
            NAMES[ino] = ("directory " if recorder.initial[ino][0] == "dir" else "") + leaf
    for s in steps:
        if s[0] == "make":
            NAMES[s[3]] = ("directory " if s[4] == "dir" else "") + s[2]


def show(tree):
    return "{%s}" % ", ".join("%s: %s" % (n, rig.describe(e) if e[1] is not None else "dir")
                              for n, e in sorted(tree.items()) if n != "bystander")


class Laboratory:
    def __init__(self, program, base, everything, verbose):
        self.program, self.base, self.everything, self.verbose, self.traces = program, base, everything, verbose, {}

    def fresh(self, tree):
        d = os.path.join(self.base, "state")
        subprocess.run(["rm", "-rf", d], check=True)
        os.mkdir(d)
        rig.plant(d, tree)
        return d

    def record(self, scenario):
        """The model and the steps of one undisturbed run."""
        d = self.fresh(scenario.before)
        lines, done = trace(self.program, scenario.args, d)
        recorder = Recorder(scenario.before)
        read_trace(recorder, lines)
        model = Model(recorder, {recorder.names_before[0][n] for n in scenario.undurable})
        there, thought = rig.harvest(d), model.live(recorder.steps)
        if there != thought:
            raise SystemExit("%s: the trace does not explain the directory:\n  %s\n  %s" % (
                scenario.name, show(there), show(thought)))
        return model, recorder.steps

    def second_process(self, scenario, model, steps):
        """The process is killed behind each of its steps, another one makes the next call, then the power goes. What
        the second one acknowledged has to be there, and so has everything it found."""
        states = 0
        steps = [s for s in steps if s[0] != "acknowledge"]
        for cut in range(len(steps) + 1):
            made = [s[1] for s in steps[:cut] if s[0] == "make" and s[4] == "dir"]
            synced = [s[1] for s in steps[:cut] if s[0] == "syncdir"]
            if any(made.count(d) > synced.count(d) for d in made):
                continue  # documented: a parent directory that another process has just made is not ours to sync
            try:
                was = model.live(steps[:cut])
            except Impossible:
                return None, states
            key = (scenario.name, frozenset(was.items()))
            if key not in self.traces:
                self.traces[key] = trace(self.program, scenario.next_args(), self.fresh(was))
            lines, done = self.traces[key]
            recorder = Recorder(scenario.before)
            recorder.repeat(steps[:cut])
            read_trace(recorder, lines)
            both = Model(recorder, model.undurable)
            for tree, _ in both.crashes(recorder.steps, True):
                states += 1
                problem = scenario.judge_next(was, tree, done.returncode, done.stdout)
                if problem:
                    return "killed behind %s: %s" % (title(steps[cut - 1]) if cut else "nothing", problem), states
        return None, states

    def examine(self, scenario):
        """Returns True if all is as it should be."""
        started = time.time()
        scenario.learn(self.program, self.base)
        model, steps = self.record(scenario)
        name_inodes(model.recorder, steps)
        trees, problem = [], None
        for tree, ack in model.crashes(steps):
            if scenario.only_acknowledged and not ack:
                continue
            trees.append(tree)
            problem = scenario.judge(tree, "acknowledged" if ack else None)
            if problem:
                problem += "\n    %s crash state %s" % ("acknowledged," if ack else "", show(tree))
                break
        print("%-22s %5d steps %7d states (%d ways to get there)"
              % (scenario.name, len(steps), len(trees), model.total), end="")
        if scenario.control:
            print("  control: " + ("found: " + problem.splitlines()[0] if problem else "NOT FOUND"))
            return problem is not None
        if not problem:
            problem, followed = self.next_calls(scenario, trees)
            print(", %d next calls" % followed, end="")
        if not problem and scenario.durable and not scenario.only_acknowledged:
            problem, states = self.second_process(scenario, model, steps)
            print(", %d with a second process" % states, end="")
        if problem:
            print("\n  VIOLATION " + problem)
            return False
        ok = self.break_it(scenario, model, steps)
        print("  %.1f s" % (time.time() - started))
        return ok

    def next_calls(self, scenario, trees):
        unique = [dict(t) for t in {frozenset(t.items()) for t in trees}]
        unique.sort(key=show)
        most = len(unique) if self.everything else 300
        chosen = unique if len(unique) <= most else [unique[i * len(unique) // most] for i in range(most)]
        for tree in chosen:
            problem = rig.check_afterwards(self.program, scenario, self.fresh(tree))
            if problem:
                return "%s\n    after the crash state %s" % (problem, show(tree)), 0
        return None, len(chosen)

    def break_it(self, scenario, model, steps):
        found, excused, silent = 0, 0, []
        for what, why, broken in breaks(steps):
            try:
                problem, _ = violation(scenario, model, broken)
                if not problem and scenario.durable and not scenario.only_acknowledged:
                    problem = self.second_process(scenario, model, broken)[0]
            except Impossible:
                continue
            if problem:
                found += 1
                if self.verbose:
                    print("\n      %s: %s" % (what, problem.splitlines()[0]), end="")
            elif why or scenario.harmless.get(re.sub(r"-\d+", "", what)):
                excused += 1
                if self.verbose:
                    print("\n      %s: harmless, %s" % (what, why or scenario.harmless[re.sub(r"-\d+", "", what)]),
                          end="")
            else:
                silent.append(what)
        print("; %d breaks found, %d harmless" % (found, excused), end="")
        for what in silent:
            print("\n      NOT FOUND: " + what, end="")
        return not silent


def main():
    rig.need_strace()
    arguments = [a for a in sys.argv[1:] if not a.startswith("-")]
    program = rig.build()
    base = rig.scratch("/dev/shm")
    laboratory = Laboratory(program, base, "--all" in sys.argv, "-v" in sys.argv)
    failed = []
    for scenario in rig.scenarios() + extra():
        if not arguments or scenario.name in arguments:
            sys.stdout.flush()
            if not laboratory.examine(scenario):
                failed.append(scenario.name)
    print("%s" % ("FAILED: " + " ".join(failed) if failed else "all as it should be"))
    return 1 if failed else 0


def extra():
    f = {"file": (0o644, rig.OLD)}
    bad = b'{"text": "half of a sta'
    return [
        rig.Scenario("replace_data", ["replace_data", "file", "new", rig.SIZE], f, ["file"], durable=False),
        rig.Recover("load_unsynced", ["load", "state"], {"state": (0o640, bad)}, ["state"], undurable=["state"],
                    only_acknowledged=True),
    ] + [rig.Scenario(c, [c, "file", "new", rig.SIZE], f, ["file"], control=True, durable=c != "replace_none")
         for c in ("replace_none", "bare_no_sync", "bare_file_sync", "bare_in_place")]


if __name__ == "__main__":
    sys.exit(main())
