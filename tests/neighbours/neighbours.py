"""neighbours.py SCENE: several processes on the same files; nothing acknowledged may be lost, nothing torn, no holder
doubled.

The processes are `neighbour` (C++) and, where ../shared is, the seed's Python. Environment: BUILD (where the programs
are), ROUNDS (multiplies the work, default 1; may be 0.2), NEIGHBOUR (the command instead, for example "wine
neighbour.exe"; the seed's Python, whose locks are others there, is left out then), HOSTS (mounts of one file system
that stand for hosts, separated by colons: processes start on them in turn). Scenes are the functions below; each says
what it proves.
"""
import collections
import fcntl
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve()
SEED_MODULE = HERE.parents[3] / "shared" / "seed"
BUILD = Path(os.environ.get("BUILD", HERE.parents[2] / "build/tests/tests"))
NEIGHBOUR = os.environ.get("NEIGHBOUR")
ROUNDS = float(os.environ.get("ROUNDS", "1"))
HOSTS = [Path(host) for host in os.environ.get("HOSTS", "").split(":") if host]
next_host = itertools.cycle(HOSTS)
rng = random.Random(1)


def rounds(n):
    return int(n * ROUNDS)


PYTHON_WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import fs_utils
for i in range(int(sys.argv[4])):
    length = i * 7919 % 900
    fs_utils.locked_append_text(Path(sys.argv[2]), f"{sys.argv[3]} {i} {length} {'x' * length} end\\n")
    print(i, flush=True)
"""


def skip(why):
    print("skipped:", why)
    sys.exit(77)


def run(command):
    if HOSTS:  # the same files, by the way that they have on the next host
        home, host = HOSTS[0], next(next_host)
        command = [host / part.relative_to(home) if isinstance(part, Path) and part.is_relative_to(home) else part
                   for part in command]
    said = tempfile.TemporaryFile(mode="w+")  # not a pipe: nobody may have to wait for us
    process = subprocess.Popen(command, stdout=said)
    process.said = said
    return process


def start(*arguments):
    program = NEIGHBOUR.split() if NEIGHBOUR else [str(BUILD / "neighbour")]
    return run([*program, *(part if isinstance(part, Path) else str(part) for part in arguments)])


def start_python(log, name, n):
    if NEIGHBOUR or not SEED_MODULE.is_dir():
        print("without the seed's Python writers: it is not there")
        return []
    return [run([sys.executable, "-B", "-c", PYTHON_WRITER, SEED_MODULE, log, name, str(n)])]


def finish(processes):
    """Waits for all; what each had acknowledged, as lists of lines."""
    processes = list(processes)
    bad = [code for code in [p.wait() for p in processes] if code not in (0, -signal.SIGKILL)]
    assert not bad, f"processes ended with {bad}"
    for p in processes:
        p.said.seek(0)
    return [p.said.read().splitlines() for p in processes]


def entries(data):
    """The whole entries of a log, as a Counter of (name, number), and the lines that are none."""
    whole, torn = collections.Counter(), []
    for line in data.decode().splitlines():
        parts = line.split(" ")
        if len(parts) == 5 and parts[4] == "end" and parts[2].isdigit() and parts[3] == "x" * int(parts[2]):
            whole[parts[0], int(parts[1])] += 1
        else:
            torn.append(line)
    return whole, torn


def check_log(data, acknowledged, may_be_torn=0):
    """Every acknowledged entry once and whole; no other but one in flight for each process that was killed."""
    whole, torn = entries(data)
    lost = [e for e in acknowledged if whole[e] == 0]
    twice = [e for e, n in whole.items() if n > 1]
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged entries lost: {lost[:5]}"
    assert not twice, f"{len(twice)} entries twice: {twice[:5]}"
    assert len(torn) <= may_be_torn, f"{len(torn)} torn lines: {torn[:3]}"
    assert len(whole) - len(acknowledged) <= may_be_torn, "entries that nobody wrote"
    print(f"{len(acknowledged)} acknowledged entries, all there and whole; {len(torn)} torn lines")


def load(file):
    import json
    return json.loads(file.read_text())


def check_count(file, expected):
    got = load(file)["count"]
    assert got == expected, f"{expected - got} of {expected} increments lost"


def counters(folder):
    """5 processes x 50 increments are 250; so with threads in them, and with load, think, save-if-unchanged; one
    holder."""
    n = rounds(50)
    finish([start("count", folder / "a.json", n) for _ in range(5)])
    check_count(folder / "a.json", 5 * n)
    finish([start("count", folder / "b.json", n // 5, 4) for _ in range(5)])
    check_count(folder / "b.json", 5 * 4 * (n // 5))
    finish([start("snapshot", folder / "c.json", n // 2) for _ in range(3)]
           + [start("count", folder / "c.json", n // 2) for _ in range(2)])
    check_count(folder / "c.json", 5 * (n // 2))
    finish([start("hold", folder / "lock", folder / "mark", rounds(2_000)) for _ in range(4)])
    left = sorted(p.name for p in folder.iterdir())
    assert left == [".a.json.lock", ".b.json.lock", ".c.json.lock", "a.json", "b.json", "c.json", "lock"], left
    print(f"{5 * n}, {20 * (n // 5)} and {5 * (n // 2)} increments, none lost; {4 * rounds(2_000)} times one holder")


def appends(folder):
    """Entries of C++ and of the seed's Python, appended to one log at once, are all there and whole."""
    log, n = folder / "new" / "log", rounds(200)
    cpp = {f"c{i}": start("append", log, f"c{i}", n) for i in range(4)}
    python = {f"p{i}": p for i in range(2) for p in start_python(log, f"p{i}", n)}
    finish([*cpp.values(), *python.values()])
    check_log(log.read_bytes(), [(name, i) for name in [*cpp, *python] for i in range(n)])


def rotation(folder):
    """A log that is renamed away, read under its lock and deleted at any moment, or replaced, loses no acknowledged
    entry."""
    log, n, collected, rotations = folder / "log", rounds(1_000), [], 0
    writers = {f"c{i}": start("append", log, f"c{i}", n, *(["lines"] if i % 2 else [])) for i in range(4)}
    while any(p.poll() is None for p in writers.values()):
        away = folder / f"log.{rotations}"
        try:
            if rotations % 3 == 2:  # a new empty log is renamed over the old one, which keeps a second name
                os.link(log, away)
                (folder / "empty").touch()
                os.rename(folder / "empty", log)
            else:
                os.rename(log, away)
        except FileNotFoundError:
            continue
        # Open for writing: NFS wants that for an exclusive lock.
        # a writer that still holds the lock of this file finishes first; no other may write to it
        with open(away, "rb+") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            collected.append(f.read())
        away.unlink()
        rotations += 1
        time.sleep(rng.uniform(0, 0.004))
    finish(writers.values())
    collected.append(log.read_bytes() if log.exists() else b"")
    print(f"{rotations} rotations")
    assert rotations >= 20
    check_log(b"".join(collected), [(name, i) for name in writers for i in range(n)])


def kills(folder):
    """Processes killed by SIGKILL at any moment: the state is one that was written, the log has all that was
    acknowledged, the locks are free, and what the dead left behind is found and removed."""
    state, log = folder / "state.json", folder / "log"
    acknowledged_counts, acknowledged_entries, killed = 0, [], 0
    until = time.monotonic() + 6 * max(ROUNDS, 1)
    generation = 0
    while time.monotonic() < until:
        generation += 1
        names = [f"k{generation}.{i}" for i in range(2)]
        counting = [start("count", state, 10_000) for _ in range(2)]
        appending = [start("append", log, name, 10_000, "lines") for name in names]
        time.sleep(rng.uniform(0.02, 0.25))
        for process in counting + appending:
            time.sleep(rng.uniform(0, 0.005))
            process.kill()
            killed += 1
        said = finish(counting + appending)
        acknowledged_counts += len(said[0]) + len(said[1])
        acknowledged_entries += [(name, int(i)) for name, lines in zip(names, said[2:]) for i in lines]
        if state.exists():
            count = load(state)["count"]  # must be JSON at every moment
            assert acknowledged_counts <= count <= acknowledged_counts + killed, (acknowledged_counts, count, killed)
    left = [p.name for p in folder.iterdir() if p.name not in ("state.json", ".state.json.lock", "log")]
    swept = finish([start("sweep", folder)])[0][0]
    after = sorted(p.name for p in folder.iterdir())
    assert after == [".state.json.lock", "log", "state.json"], after
    assert int(swept) == len(left), (swept, left)
    finish([start("count", state, 1)])  # nobody holds the lock
    print(f"{killed} processes killed, {acknowledged_counts} increments acknowledged, {len(left)} temporary files left "
          f"and swept")
    check_log(log.read_bytes(), acknowledged_entries, may_be_torn=killed)


def disk_full(folder):
    """A tmpfs of 256 KiB, filled to the brim: every call says so, nothing that was there is lost or torn, no litter
    stays."""
    if os.environ.get("INSIDE") != "yes":
        if os.geteuid() != 0 or not shutil.which("unshare"):
            skip("a small file system can be mounted by root only")
        if subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", folder], check=False).returncode != 0:
            skip("this root may not mount a small file system")
        script = "mount -t tmpfs -o size=256k,mode=755 none \"$0\" && INSIDE=yes exec \"$@\""
        sys.exit(subprocess.run(["unshare", "--mount", "sh", "-c", script, folder,
                                 sys.executable, "-B", HERE, "disk_full", folder], check=False).returncode)
    left = sorted(finish([start("fill", folder)])[0])
    assert left == [".state.json.lock", "log", "state.json", "text"], left
    (folder / "log").unlink()
    finish([start("count", folder / "state.json", 3)])
    print("the full disk lost nothing, and with room again everything works")


def no_permission(folder):
    """The cases of bad_input that need permissions to count: root has them all, so they run as nobody."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        skip("not root: ctest has run these cases as they are")
    program = folder / "bad_input"
    shutil.copy(BUILD / "bad_input", program)
    os.chmod(folder, 0o777)
    os.chmod(program, 0o755)
    nobody = run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "env", f"TMPDIR={folder}",
                  program,
                  "--test-case=*no permission*"])
    summary = [line for line in finish([nobody])[0] if "test cases:" in line]
    print(*summary)
    assert len(summary) == 1 and summary[0].split(":")[1].split()[0] != "0"


SCENES = {f.__name__: f for f in [counters, appends, rotation, kills, disk_full, no_permission]}

if __name__ == "__main__":
    if len(sys.argv) > 2:
        SCENES[sys.argv[1]](Path(sys.argv[2]))
    else:
        place = Path(tempfile.mkdtemp(prefix="memoria-neighbours-",
                                      dir=HOSTS[0] if HOSTS else os.environ.get("TMPDIR", "/var/tmp")))
        try:
            SCENES[sys.argv[1]](place)
        finally:
            shutil.rmtree(place, ignore_errors=True)
