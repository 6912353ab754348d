#!/usr/bin/env python3
"""extract_wikilinks against Python's re.findall with the same expression, on each directory's notes joined into one
text:
in turns, the ratio of each round, their median.

usage: links_python.py [-r ROUNDS] DIRECTORY...     builds what it needs with $CXX (default c++)
"""
import ctypes
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LINK = re.compile(r"\[\[([^\]|]+)(?:\|[^\]]*)?\]\]")
TOP = Path(__file__).resolve().parent.parent.parent
SOURCE = """#include "memoria_fs.hpp"
extern "C" std::size_t extract(const char* text, std::size_t size, int repeats) {
  std::size_t links = 0;
  for (int i = 0; i < repeats; ++i) links += memoria::extract_wikilinks({text, size}).size();
  return links;
}
"""


def library(directory):
    built = os.path.join(directory, "extract.so")
    subprocess.run([os.environ.get("CXX", "c++"), "-std=c++17", "-O2", "-shared", "-fPIC", f"-I{TOP}", "-x", "c++", "-",
                    "-o", built], input=SOURCE.encode(), check=True)
    extract = ctypes.CDLL(built).extract
    extract.restype, extract.argtypes = ctypes.c_size_t, [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
    return extract


def seconds(call, repeats):
    start = time.process_time()
    call()
    return (time.process_time() - start) / repeats


def main(arguments):
    rounds = 31
    if arguments[:1] == ["-r"]:
        rounds, arguments = int(arguments[1]), arguments[2:]
    with tempfile.TemporaryDirectory() as directory:
        extract = library(directory)
    for vault in map(Path, arguments):
        data = b"".join(note.read_bytes() for note in sorted(vault.rglob("*.md")))
        text = data.decode("utf-8", "surrogateescape")
        assert extract(data, len(data), 1) == len(LINK.findall(text))
        n = max(1, round(0.004 / max(seconds(lambda: LINK.findall(text), 1), 1e-6)))
        pairs = [(seconds(lambda: [LINK.findall(text) for _ in range(n)], n),
                  seconds(lambda: extract(data, len(data), 8 * n), 8 * n)) for _ in range(rounds)]
        theirs, ours = map(min, zip(*pairs))
        print(f"{vault.name:18} {len(data):8} bytes  python {len(data) / theirs / 1e9:5.2f} GB/s  "
              f"extract_wikilinks {len(data) / ours / 1e9:5.2f} GB/s  "
              f"x{statistics.median(p / o for p, o in pairs):.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
