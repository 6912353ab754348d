#!/usr/bin/env python3
"""run.py [quick|full] [--readme]: what run.sh starts. Every figure is a ratio of times taken in turns on one machine.

A peer is a program that is started once and told again and again what to do (peers/peer.hpp), or a command that is run
each time. In each round all peers of a row do the same work, the first one another each round; a row shows the median
of the rounds' ratios to memoria_fs and their quartiles. What fails or is not here is said, and the rest goes on.
"""
import concurrent.futures
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
sys.path.insert(0, str(HERE))
from svg import chart  # noqa: E402

FULL = "quick" not in sys.argv
BUILD = Path(os.environ.get("BENCH_DIR", TOP / "build/bench"))
RESULTS = BUILD / "results"
DATA = BUILD / "data"
SHARED = TOP.parent / "shared"
SEED, CORPORA = SHARED / "seed", SHARED / "corpora"
SECONDS = 15 if FULL else 2
CXX = os.environ.get("CXX", "c++")
absent = []  # lines: what could not be measured, and why
compilers = concurrent.futures.ThreadPoolExecutor(os.cpu_count())


builds = {}  # name: the program's path, or None, as a future


def build(name, *arguments):
    """Starts to compile BUILD/name; all that is started is finished before anything is measured."""
    def compile():
        done = subprocess.run([CXX, "-std=c++17", "-O2", f"-I{TOP}", *arguments, "-o", BUILD / name],
                              stdout=subprocess.DEVNULL,
                              stderr=open(BUILD / f"{name}.log", "w"), check=False)
        return str(BUILD / name) if done.returncode == 0 else None
    builds[name] = compilers.submit(compile)


def built(name):
    """The program, or None and a line that says why not."""
    if name not in builds:
        absent.append(f"{name}: not here")
        return None
    if builds[name].result() is None:
        absent.append(f"{name}: does not build here ({BUILD / name}.log)")
    return builds[name].result()


def package(name):
    done = subprocess.run(["pkg-config", "--cflags", "--libs", name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=False)
    return done.stdout.decode().split()


IN_MEMORY = {"scan", "vault", "guard", "exists", "parse"}


class Peer:
    """One program to be compared: a server (it stays) or, with one_shot, a command that is run for each request."""

    def __init__(self, name, command, one_shot=None):
        self.name, self.command, self.one_shot, self.process = name, command, one_shot, None

    def ask(self, operation, argument, count):
        """Seconds for `count` times, or None if this peer cannot do that. Of processor time where nothing waits for a
        disk:
        others' work on the machine does not count then, and a command is counted with its start and all its threads."""
        if self.one_shot:
            used = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
            for _ in range(count):
                with open(DATA / "out", "wb") as out:  # not /dev/null: grep would stop at its first match
                    subprocess.run(self.one_shot(argument), stdout=out, stderr=subprocess.DEVNULL, check=False)
            return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - used
        if self.process is None or self.process.poll() is not None:
            (DATA / self.name).mkdir(parents=True, exist_ok=True)
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                            stderr=open(BUILD / "peers.log", "a"))
        self.process.stdin.write(f"{operation} {argument} {count}\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline().strip()
        if not said:
            raise OSError(f"{self.name} ended (see {BUILD / 'peers.log'})")
        return None if said == "-" else int(said.split()[-1 if operation in IN_MEMORY else 0]) / 1e9

    def stop(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process = None


def server(name, *command):
    directory = str(DATA / name)
    return Peer(name, [part.replace("DIR", directory) for part in command])


def libraries(*known):
    """The linker's flags for those whose header is here."""
    return [flag for header, flag in known if Path("/usr/include", header).exists()]


def start_builds():
    build("json_bench", "-O3", "-DNDEBUG", HERE / "json_bench.cpp",
          *libraries(("boost/json.hpp", "-lboost_json"), ("simdjson.h", "-lsimdjson"), ("yyjson.h", "-lyyjson")))
    build("memoria_tool", *sorted((TOP / "examples/memoria").glob("*.cpp")))
    build("scan", HERE / "peers/scan.cpp",
          *libraries(("pcre2.h", "-lpcre2-8"), ("re2/re2.h", "-lre2"), ("hs/hs.h", "-lhs"), ("md4c.h", "-lmd4c")))
    build("memoria_and_bare", HERE / "peers/memoria_and_bare.cpp")
    if flags := package("glib-2.0"):
        build("GLib", HERE / "peers/glib.cpp", *flags)
    if flags := package("Qt5Core"):
        build("Qt", "-fPIC", HERE / "peers/qt.cpp", *flags)


def peers():
    """Every peer that can be had here, by name."""
    found = {}
    start_builds()
    both = built("memoria_and_bare")
    if both is None:
        sys.exit("memoria_fs itself does not build here")
    for name in ["memoria", "bare"]:
        found[name] = server(name, both, "DIR", name)
    for name in ["GLib", "Qt"]:
        if program := built(name):
            found[name] = server(name, program, "DIR")
    if shutil.which("go"):
        environment = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(BUILD / "go")}
        done = subprocess.run(["go", "build", "-o", BUILD / "renameio", HERE / "peers/renameio.go"], env=environment,
                              check=False,
                              stderr=open(BUILD / "renameio.log", "w"))
        if done.returncode == 0:
            found["renameio"] = server("renameio", str(BUILD / "renameio"), "DIR")
    if "renameio" not in found:
        absent.append("Go renameio: not here")
    if shutil.which("npm"):
        module = BUILD / "npm/node_modules/write-file-atomic"
        if not module.exists():
            subprocess.run(["npm", "install", "--silent", "--prefix", BUILD / "npm", "write-file-atomic"], check=False,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
        if module.exists():
            found["write-file-atomic"] = server("write-file-atomic", "node", str(HERE / "peers/write_file_atomic.js"),
                                                "DIR", str(module.parent))
    if "write-file-atomic" not in found:
        absent.append("npm write-file-atomic: not here")
    if SEED.is_dir():
        found["Python"] = server("Python", sys.executable, "-B", str(HERE / "peers/seed.py"), "DIR", str(SEED))
    else:
        absent.append("fs_utils.py, the Python original: not here (../shared/seed)")
    if scan := built("scan"):
        for engine in ["memoria", "PCRE2-JIT", "RE2", "Hyperscan", "std::regex", "md4c", "memchr", "memcpy"]:
            found[f"scan {engine}"] = server(f"scan {engine}".replace(":", ""), scan, "DIR", engine)
    if tool := built("memoria_tool"):
        found["tool"] = Peer("tool", None, lambda vault: [tool, "check", "--include-code", vault])
    if shutil.which("grep"):
        found["grep"] = Peer("grep", None,
                             lambda vault: ["grep", "-rohP", "--include=*.md", r"\[\[\K[^\]|]+(?=(\|[^\]]*)?\]\])",
                                            vault])
    if shutil.which("rg"):
        found["ripgrep"] = Peer("ripgrep", None,
                                lambda vault: ["rg", "-oIN", "-g", "*.md", "-r", "$1",
                                               r"\[\[([^\]|]+)(?:\|[^\]]*)?\]\]", vault])
    else:
        absent.append("ripgrep: not here")
    concurrent.futures.wait(builds.values())
    return found


def quartiles(values):
    values = sorted(values)
    return [values[min(len(values) - 1, int(q * (len(values) - 1) + 0.5))] for q in (0.25, 0.5, 0.75)]


def turns(contestants, operation, argument, count, seconds=None, least=5, most=400):
    """{peer: [seconds of each round]}, every peer once a round, for so many seconds, at least and at most so many
    rounds."""
    times = {}
    playing = []
    for peer in contestants:
        try:
            if peer.ask(operation, argument, count) is not None:  # warm-up
                playing.append(peer)
        except OSError as why:
            absent.append(str(why))
    end = time.monotonic() + (SECONDS if seconds is None else seconds)
    number = 0
    while playing and number < most and (number < least or time.monotonic() < end):
        for peer in playing[number % len(playing):] + playing[:number % len(playing)]:
            try:
                times.setdefault(peer.name, []).append(peer.ask(operation, argument, count))
            except OSError as why:
                absent.append(str(why))
                playing.remove(peer)
                times.pop(peer.name, None)
                break
        number += 1
    return {name: values for name, values in times.items() if len(values) >= least}


# ---- What a peer promises, as strace sees it ------------------------------------------------------------------------

def synced(peer):
    """What this peer syncs when it replaces a file: seen by strace, not read in its documentation."""
    if not shutil.which("strace"):
        return "not looked at (no strace)"
    trace = BUILD / "trace"
    directory = str(DATA / peer.name)
    Path(directory).mkdir(parents=True, exist_ok=True)
    subprocess.run(["strace", "-f", "-y", "-o", trace, "-e", "trace=fsync,fdatasync,rename,renameat,renameat2,linkat",
                    *peer.command],
                   input=b"replace 4096 2\n", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
                   timeout=60)
    content = name = published = False  # of the last replacement
    pending = False
    for line in trace.read_text(errors="replace").splitlines() if trace.exists() else []:
        sync = re.search(r"\b(?:fsync|fdatasync)\(\d+<([^>]*)>", line)
        if sync and os.path.realpath(sync[1]) == os.path.realpath(directory):
            name = published
        elif sync:
            pending = True
        elif re.search(r'\b(?:rename(?:at2?)?|linkat)\(.*[/"]replaced".*= 0', line):
            published, content, pending, name = True, pending, False, False
    if not published:
        return "no: no renaming seen"
    return {(True, True): "yes", (True, False): "no: the directory is not synced",
            (False, True): "no: the content is not synced",
            (False, False): "no: nothing is synced"}[content, name]


# ---- The rows -------------------------------------------------------------------------------------------------------

rows = []  # dictionaries: task, peer, guarantee, ratio (lower, median, upper), seconds, ours, rounds


def add(task, peer, guarantee, ratios, seconds=None, ours=None, rounds=None):
    low, middle, high = ratios
    rows.append({"task": task, "peer": peer, "same guarantee": guarantee, "lower": round(low, 3),
                 "ratio": round(middle, 3),
                 "upper": round(high, 3), "seconds": seconds, "memoria seconds": ours, "rounds": rounds})
    print(f"{task:44} {peer:34} {middle:9.3f}  [{low:.3f}, {high:.3f}]  {guarantee}", flush=True)


def compare(task, contestants, operation, argument, count, reference="memoria", guarantees=None, names=None):
    """One row for each other peer: its time over the reference's."""
    times = turns(contestants, operation, argument, count)
    if reference not in times:
        absent.append(f"{task}: memoria_fs gave no figure")
        return
    for peer, values in times.items():
        if peer != reference:
            pairs = [theirs / ours for theirs, ours in zip(values, times[reference])]
            add(task, (names or {}).get(peer, peer), (guarantees or {}).get(peer, "-"), quartiles(pairs),
                quartiles(values)[1] / count,
                quartiles(times[reference])[1] / count, len(pairs))


def write_notes(top, notes):
    """A made-up vault: folders of 500 notes, each with some prose and five links."""
    for i in range(notes):
        folder = top / f"folder {i // 500}"
        if i % 500 == 0:
            folder.mkdir(parents=True)
        lines = [f"# Note {i}", ""]
        for k in range(5):
            prose = "Some prose that stands between the links of this note, as it does in notes that people write. "
            lines += [prose * 3,
                      f"See [[note {(i * 7 + k * 7919) % notes}]] and [[folder {i // 500}/note {i}#Part {k}|that]]."]
        (folder / f"note {i}.md").write_text("\n".join(lines))


def real_vault():
    vault = CORPORA / "vaults/obsidian-tasks"
    if vault.is_dir():
        return vault, "vault obsidian-tasks, 604 notes"
    return DATA / "notes-1000", "1,000 made-up notes"


def highest_memory(command, size):
    """The most memory that a process had which streamed a file of that size, in KiB; None where that cannot be read."""
    if shutil.disk_usage(DATA).free < 3 * size or not Path("/proc/self/status").exists():
        return None
    peer = Peer("memoria", command)
    peer.ask("stream", size, 1)
    most = int(re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{peer.process.pid}/status").read_text())[1])
    peer.stop()
    (DATA / "memoria/streamed").unlink()
    return most


def measure(have):
    def those(*names):
        return [have[name] for name in names if name in have]

    replacing = those("memoria", "bare", "GLib", "Qt", "renameio", "write-file-atomic", "Python")
    nice = {"bare": "bare system calls", "GLib": "GLib `g_file_set_contents_full`", "Qt": "Qt `QSaveFile`",
            "renameio": "Go renameio",
            "write-file-atomic": "npm write-file-atomic", "Python": "`fs_utils.py`, the Python original"}
    promise = {peer.name: synced(peer) for peer in replacing}
    if promise["memoria"] not in ("yes", "not looked at (no strace)"):
        absent.append(f"strace says of memoria_fs itself: {promise['memoria']}")
    compare("replace a file of 4 KiB", replacing, "replace", 4096, 5, guarantees=promise, names=nice)
    compare("replace a file of 1 MiB", replacing, "replace", 1 << 20, 2, guarantees=promise, names=nice)

    batch = Peer("batch", have["memoria"].command)
    singles = those("memoria")
    times = {}
    for _ in range(12 if FULL else 5):
        for name, peer, operation in [("singles", singles[0], "files"), ("batch", batch, "batch")]:
            times.setdefault(name, []).append(peer.ask(operation, 100, 1))
    batch.stop()
    add("100 files of 4 KiB, `write_batch`", "100 times `atomic_write_text`", "yes",
        quartiles([s / b for s, b in zip(times["singles"], times["batch"])]),
        quartiles(times["singles"])[1], quartiles(times["batch"])[1], len(times["batch"]))

    logs = {"bare": "yes (it syncs after unlocking)",
            "Python": "no: a torn entry can stay, a rotated log is not noticed"}
    for processes in [1, 2, 4, 8]:
        compare(f"append 300 bytes, {processes} process{'es' if processes > 1 else ''}",
                those("memoria", "bare", "Python"), "append", processes, 1,
                guarantees=logs, names=nice)
    compare("read, change, write a state of 60 keys", those("memoria", "bare", "Python"), "update", 60, 5,
            names={**nice, "bare": "bare replace alone"},
            guarantees={"bare": "no: reads nothing, no lock", "Python": "no: no lock, changes get lost"})

    if FULL and (large := highest_memory(have["memoria"].command, 1 << 30)):
        memory = large / highest_memory(have["memoria"].command, 1 << 16)
        add("`atomic_file`, memory for 1 GiB", "memory for 64 KiB", "-", [1 / memory] * 3, rounds=1)

    vault, what = real_vault()
    text = DATA / "notes.txt"
    text.write_bytes(b"".join(note.read_bytes() for note in sorted(vault.rglob("*.md"))))
    python = Peer("Python", have["Python"].command) if "Python" in have else None
    engines = [peer for name, peer in have.items() if name.startswith("scan ")] + ([python] if python else [])
    limits = {"scan memchr": "finds nothing: a limit", "scan memcpy": "finds nothing: a limit",
              "scan md4c": "a Markdown parser: not in code, targets of at most 100 bytes"}
    same = {peer.name: limits.get(peer.name, "the same links") for peer in engines}
    compare(f"all links in the text of {what} (processor time)", engines, "scan", text, 10 if FULL else 3,
            reference="scan memoria", guarantees=same,
            names={**{peer.name: peer.name.replace("scan ", "").replace("stdregex", "std::regex") for peer in engines},
                   "Python": "Python `re`"})

    compare(f"graph of {what} (processor time)", those("memoria", "bare", "tool", "grep", "ripgrep", "Python"), "vault",
            vault, 1,
            guarantees={"bare": "no: only opens and reads", "tool": "yes, and reports: the whole process",
                        "grep": "no: lists targets; the whole process",
                        "ripgrep": "no: lists targets; the whole process", "Python": "no: by path only"},
            names={"bare": "bare walk, open, read", "tool": "`memoria check`", "grep": "grep -roP",
                   "Python": "Python `re`, `os.walk`"})

    guarded = (DATA / "guarded").resolve()
    (guarded / "folder").mkdir(parents=True)
    (guarded / "folder/note.md").write_text("x")
    compare("`safe_article_path` of a note that is there", those("memoria", "bare", "Python"), "guard", guarded, 500,
            guarantees={"bare": "no: resolves, does not judge", "Python": "yes"},
            names={**nice, "bare": "`std::filesystem::weakly_canonical`"})
    (DATA / "linked").symlink_to(guarded)
    compare("the same, the directory reached through a symbolic link", those("memoria", "bare", "Python"), "guard",
            DATA / "linked", 500,
            guarantees={"bare": "no: resolves, does not judge", "Python": "yes"},
            names={**nice, "bare": "`std::filesystem::weakly_canonical`"})
    compare("`confined_dir::exists`", those("memoria", "bare"), "exists", guarded, 500,
            guarantees={"bare": "yes (Linux 5.6)"}, names={"bare": "bare `openat2`"})
    measure_json()


def measure_json():
    program = built("json_bench")
    if program is None:
        return
    if not (CORPORA / "json").is_dir():
        absent.append("JSON: the usual texts are not here (../shared/corpora/json)")
        return
    done = subprocess.run([program, "7" if FULL else "0.4"], stdout=subprocess.PIPE, cwd=TOP, check=False, timeout=300)
    names = {"nlohmann": "nlohmann/json", "nl ordered": "nlohmann `ordered_json`",
             "boost mono": "Boost.JSON, monotonic", "rapidjson": "RapidJSON, validating",
             "yyjson mut": "yyjson, mutable"}
    guarantee = {"simdjson": "no: read-only", "nlohmann": "no: sorts keys",
                 "rapidjson": "no: no integers beyond 64 bits", "boost mono": "no: no integers beyond 64 bits",
                 "nl ordered": "no: no integers beyond 64 bits"}
    what = {"parse+destroy": "JSON: parse, destroy", "dump": "JSON: `dump()`", "dump(2)": "JSON: `dump(2)`",
            "cycle": "JSON: parse, change a key, `dump(2)`"}
    ratio = r"^ratio\t(.*)\t(.*)\t(.*)\t(.*)\t(.*)\t(.*)$"
    for operation, library, middle, low, high, rounds in re.findall(ratio, done.stdout.decode(), re.M):
        add(what[operation], names.get(library, library), guarantee.get(library, "-"),
            [float(low), float(middle), float(high)], rounds=int(rounds))
    (RESULTS / "json.txt").write_bytes(done.stdout)
    if done.returncode != 0:
        absent.append(f"JSON: json_bench ended with {done.returncode}")


# ---- How cost grows -------------------------------------------------------------------------------------------------

charts = {}  # name: (title, svg, what it says in one line)


def draw(name, line, title, *arguments):
    charts[name] = (title, chart(title, *arguments), line)


def grow(contestants, operation, arguments, count=1, seconds=1.5):
    """{peer: {argument: median seconds}}"""
    lines = {}
    for argument in arguments:
        for peer, values in turns(contestants, operation, argument, count, seconds if FULL else 0.3, least=3).items():
            lines.setdefault(peer, {})[argument] = quartiles(values)[1] / count
    return lines


def points(line, scale=1.0, each=False):
    """A line of a chart from {x: seconds}; `each` divides by x."""
    return [(x, scale * y / (x if each else 1)) for x, y in line.items()]


def in_bytes(n):
    return f"{n >> 30} GiB" if n >= 1 << 30 else f"{n >> 20} MiB" if n >= 1 << 20 else f"{n >> 10} KiB"


def growth(have):
    memoria, bare = have["memoria"], have["bare"]

    processes = [1, 2, 4, 8, 16, 32, 64]
    lines = grow([peer for peer in (memoria, bare, have.get("Python")) if peer], "append", processes)
    names = {"memoria": "locked_append_text", "bare": "bare C", "Python": "fs_utils.py"}
    series = {names[peer]: [(p, 50 * p / seconds) for p, seconds in line.items()] for peer, line in lines.items()}
    ours = dict(series["locked_append_text"])
    draw("processes", "the lock is given back before the sync, so that the syncs of several processes overlap; "
         f"with 8 processes {ours[8] / ours[1]:.1f} times as many entries as with one, with 64 "
         f"{ours[64] / ours[1]:.1f} times",
         "Appending to one log", "processes at once", "entries a second, all together", series,
         [(p, str(p)) for p in processes])

    keys = [1000, 10_000, 100_000, 1_000_000]
    parse, update = (grow([memoria], operation, keys)["memoria"] for operation in ("parse", "update"))
    draw("keys",
         f"parsing takes {1e9 * parse[1000] / 1000:.0f} ns a key with a thousand keys and "
         f"{1e9 * parse[1_000_000] / 1e6:.0f} with a million, "
         "which no longer fit into the caches; `update_json` of few keys is the disk's time",
         "JSON objects", "keys in the object", "nanoseconds a key",
         {"parse": points(parse, 1e9, True), "update_json": points(update, 1e9, True)})

    counts = [1000, 10_000] + ([100_000] if FULL else [])
    lines = {}
    for n in counts:
        top = DATA / f"notes-{n}"
        if not top.exists():
            write_notes(top, n)
        for peer, values in turns([memoria, bare], "vault", top, 1, 3 if FULL else 0.3, least=3, most=20).items():
            lines.setdefault(peer, {})[n] = quartiles(values)[1]
    ratios = [lines["memoria"][n] / lines["bare"][n] for n in counts]
    draw("notes",
         f"generated notes, links by name; {min(ratios):.1f} to {max(ratios):.1f} times a bare walk that only opens "
         f"and reads the files",
         "The graph of a directory of notes", "notes", "processor time, microseconds a note",
         {"link_graph": points(lines["memoria"], 1e6, True), "open and read": points(lines["bare"], 1e6, True)})

    # Last: after gigabytes were written and deleted the disk here was slow for those peers that had done it.
    sizes = [1024 << shift for shift in (0, 3, 6, 9, 12, 15, 18)]
    if FULL and shutil.disk_usage(DATA).free > 6 << 30:
        sizes.append(1 << 30)
    lines = grow([memoria, bare], "replace", sizes)
    ratios = [lines["memoria"][n] / lines["bare"][n] for n in sizes]
    draw("size",
         f"flat while the two syncs cost most, then as fast as the disk writes; {min(ratios):.2f} to {max(ratios):.2f} "
         f"times as long as the bare calls take",
         "Replacing a file, durably", "size of the file", "milliseconds",
         {"atomic_write_text": points(lines["memoria"], 1e3), "bare system calls": points(lines["bare"], 1e3)},
         [(n, in_bytes(n)) for n in sizes])
    for name in ["memoria", "bare"]:
        (DATA / name / "replaced").unlink()


# ---- What is written ------------------------------------------------------------------------------------------------

def machine():
    facts = Path("/proc/cpuinfo")
    cpu = re.search(r"model name\s*: (.*)", facts.read_text()) if facts.exists() else None
    compiler = subprocess.run([CXX, "--version"], stdout=subprocess.PIPE, check=False).stdout.decode().splitlines()[0]
    kind = subprocess.run(["findmnt", "-n", "-o", "FSTYPE", "-T", DATA], stdout=subprocess.PIPE,
                          check=False).stdout.decode().strip()
    return (f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores{' of ' + cpu[1] if cpu else ''}, {platform.system()} "
            f"{platform.release().split('-')[0]}, "
            f"file system {kind}, {compiler}; load {os.getloadavg()[0]:.1f} at the end")


def number(x):
    return f"{x:.2f}" if x < 10 else f"{x:.0f}"


def table():
    lines = ["| task | compared with | takes, memoria_fs = 1 | quartiles | same guarantee or result |",
             "|---|---|---|---|---|"]
    task = None
    for row in rows:
        lines.append(f"| {row['task'] if row['task'] != task else ''} | {row['peer']} | {number(row['ratio'])} | "
                     f"{number(row['lower'])} to {number(row['upper'])} | "
                     f"{row['same guarantee']} |")
        task = row["task"]
    return "\n".join(lines)


def write(mode):
    (RESULTS / "results.json").write_text(json.dumps({"machine": machine(), "rows": rows, "absent": absent}, indent=1))
    columns = list(rows[0]) if rows else []
    (RESULTS / "results.tsv").write_text("\n".join("\t".join(map(str, line))
                                                   for line in [columns, *(row.values() for row in rows)]) + "\n")
    said = [f"![{title}]({name}.svg)\n\n{title}: {line}." for name, (title, _, line) in charts.items()]
    (RESULTS / "results.md").write_text("\n\n".join([f"{mode}: {machine()}", table(), *said,
                                                     "Not measured: " + ("; ".join(absent) or "nothing")]) + "\n")
    for name, (_, picture, _) in charts.items():
        (RESULTS / f"{name}.svg").write_text(picture)


def essence():
    """One line for each task: every peer's ratio, those that promise less marked."""
    lines, less = ["| task | time taken, memoria_fs = 1 (quartiles) |", "|---|---|"], {}
    for task in dict.fromkeys(row["task"] for row in rows):
        cells = []
        for row in (row for row in rows if row["task"] == task):
            mark = ""
            if row["same guarantee"].startswith(("no", "finds", "a Markdown")):
                mark = f"<sup>{less.setdefault(row['same guarantee'], len(less) + 1)}</sup>"
            cells.append(f"{row['peer']}{mark} **{number(row['ratio'])}** "
                         f"({number(row['lower'])}–{number(row['upper'])})")
        lines.append(f"| {task} | {', '.join(cells)} |")
    marks = [f"<sup>{mark}</sup> {why.removeprefix('no: ')}" for why, mark in less.items()]
    return "\n".join(lines), "Less is promised or found: " + "; ".join(marks) + "."


def into_readme():
    """The essence and the charts, between the two markers; the whole table beside the charts."""
    readme, folder = TOP / "README.md", HERE / "charts"
    folder.mkdir(exist_ok=True)
    (folder / "results.md").write_text((RESULTS / "results.md").read_text())
    shown = []
    for name, (title, picture, line) in charts.items():
        (folder / f"{name}.svg").write_text(picture)
        shown.append(f"![{title}](tests/bench/charts/{name}.svg)\n\n{title}: {line}.")
    text = readme.read_text()
    begin, end = "<!-- measured by sh tests/bench/run.sh full --readme -->", "<!-- end of measured -->"
    block = [f"Printed by `sh tests/bench/run.sh {'full' if FULL else 'quick'} --readme` ({machine()}). All peers of a "
             f"line take turns; the figure is the median of "
             "the rounds' ratios: above 1, the other takes longer; where the quartiles include 1, there is no "
             "difference. [All figures](tests/bench/charts/results.md).", *essence()]
    before, rest = text.split(begin)
    readme.write_text(before + "\n\n".join([begin, *block, *shown, end]) + rest.split(end)[1])


def main():
    shutil.rmtree(DATA, ignore_errors=True)
    shutil.rmtree(RESULTS, ignore_errors=True)
    for directory in [RESULTS, DATA]:
        directory.mkdir(parents=True)
    begin = time.monotonic()
    have = peers()
    if real_vault()[0].parent == DATA:
        write_notes(DATA / "notes-1000", 1000)
    status = 0
    for part in [measure, growth]:
        try:
            part(have)
        except (OSError, KeyError, ZeroDivisionError, subprocess.SubprocessError) as why:
            absent.append(f"{part.__name__} stopped: {why!r}")
            status = 1
    for peer in have.values():
        peer.stop()
    write("full" if FULL else "quick")
    if "--readme" in sys.argv:
        into_readme()
    shutil.rmtree(DATA, ignore_errors=True)
    print((RESULTS / "results.md").read_text())
    print(f"{RESULTS}: results.md, results.tsv, results.json, {', '.join(f'{name}.svg' for name in charts)}; "
          f"{time.monotonic() - begin:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
