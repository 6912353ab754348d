#!/usr/bin/env python3
"""Counts the instructions of the core paths with callgrind and compares them with instructions.tsv: more than 3 % above
what is written there for this compiler and C library fails; a pair that is not there skips (status 77).

  python3 tests/bench/instructions.py            compare
  python3 tests/bench/instructions.py --record   the new baseline, with g++ and clang++

Instructions, unlike seconds, are the same on a busy machine. Environment: CXX.
"""
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
BASELINE = HERE / "instructions.tsv"
LIMIT = 1.03


def configuration(cxx):
    """What the counts depend on: compiler, C library (its memcpy and memchr are chosen by processor), processor."""
    says = subprocess.run([cxx, "--version"], stdout=subprocess.PIPE, check=True).stdout
    name = "clang" if b"clang" in says else "gcc"
    version = subprocess.run([cxx, "-dumpfullversion" if name == "gcc" else "-dumpversion"], stdout=subprocess.PIPE,
                             check=True)
    avx2 = "avx2" in Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else False
    return (f"{name} {version.stdout.decode().strip()}, {' '.join(platform.libc_ver())}, "
            f"{platform.machine()}{' avx2' if avx2 else ''}")


def count(cxx, work):
    """The instructions of each path, by name."""
    program = work / "instructions"
    subprocess.run([cxx, "-std=c++17", "-O2", "-g0", f"-I{TOP}", str(HERE / "instructions.cpp"), "-o", str(program)],
                   check=True)
    data = work / "data"
    data.mkdir()
    subprocess.run(["valgrind", "--tool=callgrind", "--collect-atstart=no", "--combine-dumps=no",
                    f"--callgrind-out-file={work}/out",
                    str(program), str(data)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    counts = {}
    for dump in work.glob("out.*"):
        text = dump.read_text()
        name = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.M)
        if name:
            counts[name[1]] = int(re.search(r"^totals: (\d+)", text, re.M)[1])
    return counts


def baseline():
    """{configuration: {path: instructions}}"""
    known = {}
    for line in BASELINE.read_text().splitlines() if BASELINE.exists() else []:
        where, path, instructions = line.split("\t")
        known.setdefault(where, {})[path] = int(instructions)
    return known


def compare(cxx, record):
    """0 as before or better, 1 more, 77 unknown."""
    here, known = configuration(cxx), baseline()
    if not record and here not in known:
        print(f"skipped: no baseline for {here}; `python3 tests/bench/instructions.py --record` writes one")
        return 77
    # not TMPDIR: the length of a path counts
    work = Path(tempfile.mkdtemp(prefix="memoria-instructions-", dir="/var/tmp"))
    try:
        counts = count(cxx, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    assert len(counts) >= 10, f"callgrind dumped only {sorted(counts)}"
    before = known.get(here, {})
    grown = [path for path, n in counts.items() if path not in before or n > LIMIT * before[path]]
    print(here)
    for path, instructions in sorted(counts.items()):
        print(f"{path:26} {instructions:12}  "
              + (f"{instructions / before[path]:.3f} of the baseline" if path in before else "not in the baseline"))
    if record:
        known[here] = counts
        lines = [f"{where}\t{path}\t{n}\n" for where in sorted(known) for path, n in sorted(known[where].items())]
        BASELINE.write_text("".join(lines))
        return 0
    gone = sorted(set(before) - set(counts))
    if grown or gone:
        print(f"FAILED: more than {LIMIT - 1:.0%} above the baseline or not in it: {', '.join(grown)}; gone: "
              f"{', '.join(gone)}")
    return 1 if grown or gone else 0


def main():
    if not shutil.which("valgrind") or not Path("/usr/include/valgrind/callgrind.h").exists():
        print("skipped: valgrind is not here")
        return 77
    if "--record" in sys.argv:
        there = [cxx for cxx in ("g++", "clang++") if shutil.which(cxx)]
        compilers = [os.environ["CXX"]] if "CXX" in os.environ else there
        return max(compare(cxx, True) for cxx in compilers)
    return compare(os.environ.get("CXX", "c++"), False)


if __name__ == "__main__":
    sys.exit(main())
