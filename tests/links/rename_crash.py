#!/usr/bin/env python3
"""Kills rename_article before each of its system calls: no link may be broken that was not broken before, nothing may
be lost, and the same call again must finish.

usage: rename_crash.py RENAME_NOTE DUMP_GRAPH   (needs strace; RENAME_NOTE is best linked with -static)
"""
import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile

NOTES = {
    "a/old.md": "---\naliases: nick\n---\n# H\n[[old#H]] [[./near]] [[missing]]\n",
    "a/near.md": "[[old|the old one]] [[a/old]]\n",
    "b/one.md": "text [[a/old.md#H]] and `[[old]]`\n",
    "b/two.md": "| [[old\\|x]] | [[new]] |\n",
    "c/new.md": "![[old]] [[nick]]\n",
    "q.md": "no links\n",
}


def build(directory):
    for name, text in NOTES.items():
        path = os.path.join(directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)


def state(directory):
    notes = {}
    for root, _, files in os.walk(directory):
        for name in files:
            if name.endswith(".md"):
                path = os.path.join(root, name)
                with open(path) as f:
                    notes[os.path.relpath(path, directory)] = f.read()
    return notes


def broken(dump_graph, directory):
    out = subprocess.run([dump_graph, "--name", "--reader", "--full", directory], stdout=subprocess.PIPE, check=True,
                         text=True)
    return [line.split("\t")[4] for line in out.stdout.splitlines() if line.startswith("link") and "\tbroken\t" in line]


def main():
    rename_note, dump_graph = sys.argv[1:3]
    if not shutil.which("strace"):
        print("skipped: no strace")
        return 0
    with tempfile.TemporaryDirectory() as top:
        directory = os.path.join(top, "vault")
        command = [rename_note, directory, "a/old", "d/new"]
        build(directory)
        log = os.path.join(top, "trace")
        subprocess.run(["strace", "-qq", "-o", log] + command, check=True, stdout=subprocess.DEVNULL)
        expected = state(directory)
        assert sorted(expected) == sorted(set(NOTES) - {"a/old.md"} | {"d/new.md"}), sorted(expected)
        assert broken(dump_graph, directory) == ["missing"]
        calls = collections.Counter()
        points = []
        for line in open(log):
            match = re.match(r"(\w+)\(", line)
            if not match or match.group(1) in ("execve", "exit_group"):
                continue
            calls[match.group(1)] += 1
            points.append((match.group(1), calls[match.group(1)]))
        bad = 0
        for name, k in points:
            shutil.rmtree(directory)
            build(directory)
            subprocess.run(["strace", "-qq", "-o", "/dev/null", "-e", f"trace={name}", "-e",
                            f"inject={name}:signal=SIGKILL:when={k}"] + command,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            killed = state(directory)
            dead = [b for b in broken(dump_graph, directory) if b != "missing"]
            again = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            after = state(directory)
            if dead or again.returncode != 0 or after != expected:
                bad += 1
                print(f"killed at {name} #{k}: dead {dead}, again {again.returncode} {again.stdout.strip()}, "
                      f"right in the end: {after == expected}, notes then {sorted(killed)}")
        print(f"{len(points)} kill points, {bad} bad")
        return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
