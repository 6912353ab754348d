#!/usr/bin/env python3
"""extract_wikilinks, wikilinks(include_code) and parse_wikilink against the seed's Python, on generated inputs; and how
names are folded against unicodedata, on every code point.

usage: differential.py DUMP_LINKS [inputs per kind, default 100000] [directory of vaults]
"""
import itertools
import os
import random
import re
import struct
import subprocess
import sys
import unicodedata

LINK = re.compile(r"\[\[([^\]|]+)(?:\|[^\]]*)?\]\]")  # the seed's


def parse(raw):  # the seed's
    pipe = raw.find("|")
    return raw[:pipe].strip() if pipe != -1 else raw.strip()


def ask(tool, mode, inputs):
    data = b"".join(struct.pack("<I", len(i)) + i for i in inputs)
    out = subprocess.run([tool, mode], input=data, stdout=subprocess.PIPE, check=True).stdout
    at = 0
    answers = []
    for _ in inputs:
        (count,) = struct.unpack_from("<I", out, at)
        at += 4
        strings = []
        for _ in range(count):
            (size,) = struct.unpack_from("<I", out, at)
            strings.append(out[at + 4:at + 4 + size])
            at += 4 + size
        answers.append(strings)
    assert at == len(out)
    return answers


def text(data):
    return data.decode("utf-8", "surrogateescape")


def data(string):
    return string.encode("utf-8", "surrogateescape")


SPACES = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000 and chr(c).isspace()]
NEAR_SPACES = [chr(c) for c in (0x84, 0x86, 0x9F, 0xA1, 0x167F, 0x1681, 0x1FFF, 0x200B, 0x200C, 0x2027, 0x202A, 0x202E,
                                0x2030, 0x205E, 0x2060, 0x2FFF, 0x3001, 0x180E, 0xFEFF, 0x1B, 0x20, 0x7F, 0x08, 0x0E)]


def generated(rng, count):
    short = ["[", "]", "|", "a"]
    tokens = ["[", "[[", "]", "]]", "|", "a", "#", "\n", "\\", "!", " ", "`", "[[a]]", "[[a|b]]", "é", "\u2028", "\0"]
    for _ in range(count):
        kind = rng.random()
        if kind < 0.5:
            yield data("".join(rng.choices(short, k=rng.randrange(40))))
        elif kind < 0.9:
            yield data("".join(rng.choices(tokens, k=rng.randrange(60))))
        else:
            yield bytes(rng.choices(b"[[[]]]||a\n\xff\xc2\x85\xe2\x80", k=rng.randrange(200)))


def padded(rng, count):
    pool = SPACES + SPACES + NEAR_SPACES + ["a", "|", "]"]
    for _ in range(count):
        s = data("".join(rng.choices(pool, k=rng.randrange(12))))
        if rng.random() < 0.2 and s:
            at = rng.randrange(len(s))
            s = s[:at] + bytes([rng.randrange(256)]) + s[at + 1:]
        yield s


# What the doc comment of link_resolution says is folded.
CASE = [(0x41, 0x5A), (0xC0, 0x12F), (0x132, 0x17E), (0x386, 0x3AB), (0x3C2, 0x3C2), (0x400, 0x52F), (0x531, 0x556),
        (0x1E00, 0x1E95), (0x1EA0, 0x1EFF)]
COMPOSED = [(0xC0, 0x17F), (0x386, 0x386), (0x388, 0x3CE), (0x400, 0x45F), (0x1EA0, 0x1EF9), (0xAC00, 0xD7A3)]


def folded(c):
    def within(ranges):
        return any(first <= ord(c) <= last for first, last in ranges)
    lower = {"\u03c2": "\u03c3"}.get(c, c.lower()) if within(CASE) else c
    c = lower if len(lower) == 1 else c
    return unicodedata.normalize("NFD", c) if within(COMPOSED) else c


def compare(tool, mode, inputs, expected):
    inputs = list(inputs)
    bad = 0
    for i, got in zip(inputs, ask(tool, mode, inputs)):
        want = [data(x) for x in expected(text(i))]
        if got != want:
            bad += 1
            if bad <= 5:
                print(f"{mode} differs on {i!r}: python {want!r}, memoria_fs {got!r}")
    print(f"{mode}: {len(inputs)} inputs, {bad} differ")
    return bad


def main():
    tool = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 100000
    rng = random.Random(20261124)
    bad = 0
    every = ["".join(t).encode() for n in range(9) for t in itertools.product("[]|a", repeat=n)]
    bad += compare(tool, "extract", every, LINK.findall)
    bad += compare(tool, "range", every, LINK.findall)
    characters = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    bad += compare(tool, "fold", map(data, characters), lambda c: [folded(c)])
    for begin in range(0, count, 100000):
        inputs = list(generated(rng, min(100000, count - begin)))
        bad += compare(tool, "extract", inputs, LINK.findall)
        bad += compare(tool, "range", inputs, LINK.findall)
        bad += compare(tool, "parse", padded(rng, len(inputs)), lambda s: [parse(s)])
    if len(sys.argv) > 3:
        notes = []
        for root, _, files in os.walk(sys.argv[3]):
            for name in files:
                if name.endswith(".md"):
                    with open(os.path.join(root, name), "rb") as f:
                        notes.append(f.read())
        notes.append(b"".join(notes))
        bad += compare(tool, "extract", notes, LINK.findall)
        bad += compare(tool, "range", notes, LINK.findall)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
