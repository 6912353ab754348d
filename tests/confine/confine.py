"""confine.py paths|tree|payloads: proves that no name leads out, and that what stays inside works as everywhere.

Environment: BUILD (where confine_driver is), ROUNDS (multiplies the amount, default 1), SEED (of the random numbers,
default 1), EMULATOR (a command that runs the driver: wine, qemu-...). Skips with 77 what cannot be done here.
"""
import ctypes
import os
import random
import shlex
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote_to_bytes

TOP = Path(__file__).resolve().parents[2]
SHARED = TOP.parent / "shared"
BUILD = Path(os.environ.get("BUILD", TOP / "build/tests/tests"))
ROUNDS = int(os.environ.get("ROUNDS", "1"))
EMULATOR = shlex.split(os.environ.get("EMULATOR", ""))
WINDOWS = any("wine" in word for word in EMULATOR)
BACK_ENDS = ["kernel"] if EMULATOR else ["kernel", "walk"]
rng = random.Random(int(os.environ.get("SEED", "1")))


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


class Driver:
    """One process that answers questions about one directory."""

    def __init__(self, base, back_end="kernel"):
        program = BUILD / ("confine_driver.exe" if WINDOWS else "confine_driver")
        if not program.exists():
            skip(f"{program} is not built")
        self.run = subprocess.Popen([*EMULATOR, str(program), str(base), back_end], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE)

    def ask(self, operation, name):
        self.run.stdin.write(operation.encode() + struct.pack("<I", len(name)) + name)
        self.run.stdin.flush()

        def number():
            data = self.run.stdout.read(4)
            if len(data) != 4:
                sys.exit(f"the driver ended with {self.run.wait()} at {operation} {name!r}")
            return struct.unpack("<I", data)[0]

        strings = [self.run.stdout.read(number()) for _ in range(number())]
        return strings[0].decode(), strings[1:]

    def close(self):
        self.run.stdin.close()
        if self.run.wait() != 0:
            sys.exit(f"the driver ended with {self.run.returncode}")


def snapshot(root):
    """All that can be seen of a tree: kinds, contents, targets of links."""
    seen = {}
    for directory, names, files in os.walk(os.fsencode(root)):
        for name in names + files:
            place = os.path.join(directory, name)
            kind = os.lstat(place).st_mode
            key = os.path.relpath(place, os.fsencode(root))
            if stat.S_ISLNK(kind):
                seen[key] = os.readlink(place)
            elif stat.S_ISREG(kind):
                with open(place, "rb") as file:
                    seen[key] = b"=" + file.read()
            else:
                seen[key] = None
    return seen


def walk_of_our_own(base, name, final=True):
    """Where a name leads, by the rules and not by the system: "leaves", "inside", or "?" (missing, loop, not a
    directory, something that the system itself will refuse). `final`: a link at the end is followed, too."""
    if b"\0" in name or name.startswith(b"/"):
        return "leaves"
    at, todo, links = [], name.split(b"/"), 0
    while todo:
        part = todo.pop(0)
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not at:
                return "leaves"
            at.pop()
            continue
        place = os.path.join(base, *at, part)
        try:
            kind = os.lstat(place).st_mode
        except OSError:
            return "?"
        if stat.S_ISLNK(kind) and (todo or final):
            links += 1
            target = os.readlink(place)
            if links > 40:
                return "?"
            if target.startswith(b"/"):
                return "leaves"
            todo = target.split(b"/") + todo
            continue
        if todo and not stat.S_ISDIR(kind):
            return "?"
        at.append(part)
    return "inside"


failures = 0


def fail(*what):
    global failures
    failures += 1
    if failures <= 20:
        print("DIFFERENT:", *what)


# ---- paths: safe_article_path against the seed, in random trees

PARTS = [b"a", b"b", b"c", b"d", b"a.md", b"b.md", b"c.md"]


def random_tree(root, rng):
    """Two directories, `in` and `out`, of files, directories, FIFOs and links to anything."""
    for top in (b"in", b"out"):
        os.makedirs(root + b"/" + top)
        directories = [root + b"/" + top]
        for _ in range(rng.randrange(3, 14)):
            place = rng.choice(directories) + b"/" + rng.choice(PARTS)
            if os.path.lexists(place):
                continue
            what = rng.random()
            if what < 0.35:
                os.mkdir(place)
                directories.append(place)
            elif what < 0.6:
                with open(place, "wb") as file:
                    file.write(b"secret" if top == b"out" else b"text")
            elif what < 0.62 and hasattr(os, "mkfifo"):
                os.mkfifo(place)
            else:
                os.symlink(random_target(root, rng), place)


def random_target(root, rng):
    parts = [rng.choice(PARTS + [b"..", b"..", b".", b"", b"out", b"in"]) for _ in range(rng.randrange(1, 5))]
    target = b"/".join(parts).lstrip(b"/") or b"."
    what = rng.random()
    return root + b"/" + target if what < 0.1 else root + b"/in/" + target if what < 0.15 else target


def random_name(root, rng):
    parts = [rng.choice(PARTS + [b"..", b"a", b"b"]) for _ in range(rng.choice([1, 1, 2, 2, 3, 4, 6]))]
    separator = rng.choice([b"/", b"/", b"/", b"//", b"/./"])
    name = separator.join(parts)
    name = rng.choice([b"", b"", b"", b"./", b"/", b"../in/", root + b"/in/"]) + name if rng.random() < 0.25 else name
    return name + rng.choice([b"", b"", b"", b"/", b"/.", b"//", b"/..", b"/../"]) if rng.random() < 0.4 else name


def meets_loop(path):
    at, todo, open_links = b"", path.split(b"/"), []
    while todo:
        part = todo.pop(0)
        if part is None:
            open_links.pop()
        elif part == b"..":
            at = at.rpartition(b"/")[0]
        elif part not in (b"", b"."):
            place = at + b"/" + part
            if not os.path.islink(place):
                at = place
                continue
            if place in open_links:
                return True
            open_links.append(place)
            target = os.readlink(place)
            at = b"" if target.startswith(b"/") else at
            todo = target.split(b"/") + [None] + todo
    return False


def check_paths():
    if not (SHARED / "seed/fs_utils.py").exists():
        skip(f"the seed's Python is not there ({SHARED}/seed/fs_utils.py)")
    if WINDOWS:
        skip("the seed's answers on Windows are not ours")
    sys.path.insert(0, str(SHARED / "seed"))
    import fs_utils
    count = 0
    for _ in range(60 * ROUNDS):
        root = os.fsencode(os.path.realpath(tempfile.mkdtemp(prefix="memoria-paths-")))
        try:
            random_tree(root, rng)
            os.symlink(b"in", root + b"/link")
            base = rng.choice([root + b"/in", root + b"/in", root + b"/link", root + b"/in/a", root + b"/out/../in/"])
            base = base if os.path.isdir(base) else root + b"/in"
            driver = Driver(os.fsdecode(base), rng.choice(BACK_ENDS))
            for _ in range(600):
                name = random_name(root, rng)
                try:
                    expected = fs_utils.safe_article_path(os.fsdecode(name), Path(os.fsdecode(base)))
                except (RuntimeError, OSError):  # a loop
                    expected = None
                # At a loop Python stops resolving and takes the rest as it is written, links to the outside or not; the
                # contract: a loop is nullopt, as any unsafe link.
                if expected is not None and meets_loop(base + b"/" + name.strip() + b".md"):
                    expected = None
                got = driver.ask("p", name)
                count += 1
                want = ("unsafe", [b""]) if expected is None else ("ok", [os.fsencode(expected)])
                if got != want:
                    fail(base, name, "seed", want, "ours", got)
            driver.close()
        finally:
            shutil.rmtree(root)
    print(f"{count} links in {60 * ROUNDS} trees")


# ---- tree: every operation on every spelling, the tree compared before and after

def check_tree():
    if WINDOWS:
        skip("links on Windows are refused, not followed")
    counts, codes = {}, {}
    for _ in range(25 * ROUNDS):
        top = os.fsencode(os.path.realpath(tempfile.mkdtemp(prefix="memoria-tree-")))
        try:
            state = rng.getstate()
            random_tree(top + b"/1", rng)
            rng.setstate(state)
            random_tree(top + b"/2", rng)
            here, there = top + b"/1", top + b"/2"  # links that are absolute differ, nothing else
            ours = Driver(os.fsdecode(here + b"/in"), rng.choice(BACK_ENDS))
            theirs = Driver(os.fsdecode(there + b"/in"))
            before = snapshot(here), snapshot(there)
            for _ in range(250):
                name, operation = random_name(here, rng), rng.choice("rrewwaaddll")
                removed = name.rstrip(b"/") or name  # "link/" is no link to follow when it is to be removed
                stays = walk_of_our_own(here + b"/in", removed if operation == "d" else name, final=operation != "d")
                code, found = ours.ask(operation, name)
                kind = (operation, stays, "unsafe" if code == "unsafe" else "ok" if code == "ok" else "error")
                counts[kind] = counts.get(kind, 0) + 1
                after = snapshot(here)
                outside = [{k: v for k, v in tree.items() if not k.startswith(b"in/")} for tree in (after, before[0])]
                if outside[0] != outside[1]:
                    fail("CHANGED OUTSIDE", operation, name)
                if b"secret" in found:
                    fail("READ OUTSIDE", operation, name)
                if (stays == "leaves") != (code == "unsafe") and not (stays == "?" and operation in "wa"):
                    fail(operation, name, stays, code, found, sorted(before[0].items()))
                if code == "unsafe":
                    if after != before[0]:
                        fail("refused, but changed", operation, name)
                    continue
                name = name.replace(here, there)
                plain, theirs_found = theirs.ask(operation.upper(), name)
                now = snapshot(there)
                same = ((code == "ok") == (plain == "ok") and sorted(found) == sorted(theirs_found)
                        and tidy(after, here) == tidy(now, there))
                if not same:
                    fail(operation, name, stays, (code, found), "plain", (plain, theirs_found),
                         difference(tidy(after, here), tidy(now, there)), sorted(before[0].items()))
                if code != plain:
                    codes[(operation, code, plain)] = codes.get((operation, code, plain), 0) + 1
                before = after, now
                if not same:  # from here on they are different trees
                    break
            ours.close()
            theirs.close()
        finally:
            shutil.rmtree(top)
    for key, n in sorted(counts.items()):
        print(*key, n)
    print("another error than the plain function's:", codes)


def tidy(tree, root):
    return {k: v.replace(root, b"ROOT") if v is not None else v for k, v in tree.items()}


def difference(a, b):
    return [(k, a.get(k, "nothing"), b.get(k, "nothing"))
            for k in sorted({*a, *b}) if a.get(k, "nothing") != b.get(k, "nothing")]


# ---- payloads: what attackers write, in every reading of it

class Watch:
    """Notices who opens, reads or changes anything in some directories (inotify)."""

    def __init__(self, directories):
        self.fd = -1
        if sys.platform != "linux" or EMULATOR:
            return
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for directory in directories:
            libc.inotify_add_watch(self.fd, os.fsencode(directory), 0xFFF)

    def events(self):
        """Names that something happened to, but for the directory that we work in."""
        if self.fd == -1:
            return []
        try:
            data, at, names = os.read(self.fd, 65536), 0, []
        except BlockingIOError:
            return []
        while at < len(data):
            _, mask, _, length = struct.unpack_from("iIII", data, at)
            name = data[at + 16:at + 16 + length].rstrip(b"\0")
            at += 16 + length
            if name != b"vault":
                names.append((hex(mask), name))
        return names


def readings(payload):
    once = unquote_to_bytes(payload)
    twice = unquote_to_bytes(once)
    return {r for p in (payload, once, twice) for r in (p, p.replace(b"\\", b"/"))}


def check_payloads():
    files = [f for f in sorted((SHARED / "corpora/payloads").glob("*.txt"))]
    if not files:
        skip(f"there are no payloads in {SHARED}/corpora/payloads")
    payloads = sorted({line for f in files for line in f.read_bytes().split(b"\n") if line})
    names = sorted({reading for p in payloads for reading in readings(p)})
    root = Path(os.path.realpath(tempfile.mkdtemp(prefix="memoria-payloads-")))
    total = {}
    try:
        base = root / "a/b/c/d/vault"
        (base / "sub").mkdir(parents=True)
        (base / "note.md").write_text("note")
        watched = [root / "etc", root / "a/etc", root / "a/b/etc", root / "windows", root / "a/b/c/d", root / "a/b/c",
                   root]
        for directory in watched[:4]:
            directory.mkdir(exist_ok=True)
            for file in ("passwd", "passwd.md", "shadow", "hosts", "win.ini", "issue", "group"):
                (directory / file).write_text("secret")
        for directory in [root, *list(root.glob("a")), root / "a/b", root / "a/b/c", root / "a/b/c/d"]:
            for file in ("boot.ini", "secret.md", "passwd", "etc.md"):
                (directory / file).write_text("secret")
        outside = {k: v for k, v in snapshot(root).items() if not k.startswith(b"a/b/c/d/vault/")}
        for back_end in BACK_ENDS:
            driver = Driver(base, back_end)
            driver.ask("e", b".")
            watch = Watch(watched)
            for name in names:
                for link in (name, name + b"|alias", b"|".join([b"note", name]), b" " + name + b" "):
                    code, found = driver.ask("p", link)
                    shown = os.fsencode(str(base)) if not WINDOWS else b""
                    if code == "ok" and not WINDOWS and not found[0].startswith(shown + b"/"):
                        fail("article outside", link, found)
                for operation in "relwade":
                    may_leave = walk_of_our_own(os.fsencode(base), name if not WINDOWS else name.replace(b"\\", b"/"))
                    code, found = driver.ask(operation, name)
                    total[(operation, may_leave, code)] = total.get((operation, may_leave, code), 0) + 1
                    if b"secret" in found or (may_leave == "leaves" and code != "unsafe" and len(name) < 4096):
                        fail(operation, name, may_leave, code, found)
                    if not WINDOWS and may_leave == "inside" and code == "unsafe":
                        fail("refused, though inside", operation, name)
                    seen = watch.events()
                    if seen:
                        fail("TOUCHED OUTSIDE", operation, name, seen)
            driver.close()
        if {k: v for k, v in snapshot(root).items() if not k.startswith(b"a/b/c/d/vault/")} != outside:
            fail("the outside has changed")
    finally:
        shutil.rmtree(root)
    summary = {}
    for (_, leaves, code), n in total.items():
        summary[(leaves, code)] = summary.get((leaves, code), 0) + n
    print(f"{len(payloads)} payloads, {len(names)} names, {sum(total.values())} operations:", summary)


{"paths": check_paths, "tree": check_tree, "payloads": check_payloads}[sys.argv[1]]()
if failures:
    sys.exit(f"{failures} differences")
