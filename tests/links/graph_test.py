#!/usr/bin/env python3
"""`memoria graph` against this script's own reading of a vault, and against what Graphviz makes of its drawing: the
same notes, edges and dead ends, by name with code included.

usage: MEMORIA=PROGRAM graph_test.py [DIRECTORY...]   default: examples/vault, and obsidian-tasks where it is at hand
"""
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

LINK = re.compile(r"\[\[([^\]|]+)(\|[^\]]*)?\]\]")
ALIASES = re.compile(r"^(?:alias|aliases):(.*(?:\n\s*-\s.*)*)", re.MULTILINE)
TOP = Path(__file__).resolve().parent.parent.parent
TASKS = TOP.parent / "shared" / "corpora" / "vaults" / "obsidian-tasks"


def fold(name):
    return unicodedata.normalize("NFD", name.lower())


def aliases(text):
    front = re.match(r"---\s*\n(.*?\n)?(---|\.\.\.)\s*\n", text, re.DOTALL)
    for value in ALIASES.findall(front.group(1) or "") if front else []:
        for item in re.split(r",|\n\s*-\s", value.strip().strip("[]")):
            item = item.strip().strip("\"'").strip()
            if item:
                yield item.removeprefix("- ")


class Vault:
    def __init__(self, root):
        self.texts, self.files = {}, []
        for folder, folders, names in os.walk(root):
            folders[:] = [f for f in folders if not f.startswith(".")]
            for name in names:
                if not name.startswith("."):
                    path = os.path.join(folder, name)
                    inner = os.path.relpath(path, root)
                    if name.endswith(".md"):
                        with open(path, encoding="utf-8", newline="") as f:
                            self.texts[inner] = f.read()
                    else:
                        self.files.append(inner)
        self.ends, self.alias = {}, {}
        for path in sorted(self.texts) + sorted(self.files):
            parts = fold(path[:-3] if path in self.texts else path).split("/")
            for i in range(len(parts)):
                self.ends.setdefault("/".join(parts[i:]), []).append(path)
        for note in sorted(self.texts):
            for alias in aliases(self.texts[note]):
                self.alias.setdefault(fold(alias), []).append(note)

    def resolve(self, note, source):
        """The path it leads to, or None."""
        relative = note.startswith(("./", "../"))
        name = posixpath.normpath(posixpath.join(posixpath.dirname(source), note) if relative else note.lstrip("/"))
        key = fold(name)
        if name.startswith(".."):
            return None
        whole_only = relative or note.startswith("/")
        for stem in ([key[:-3]] if key.endswith(".md") else []) + [key]:
            found = self.ends.get(stem, [])
            if stem != key:
                found = [f for f in found if f in self.texts]
            notes = [f for f in found if f in self.texts]
            found = notes or found

            def whole(path):
                return fold(path[:-3] if path in self.texts else path) == stem
            exact = [f for f in found if whole(f)]
            if whole_only or exact:
                found = exact
            if found:
                beside = [f for f in found if posixpath.dirname(f) == posixpath.dirname(source) and "/" not in stem]
                return (beside or sorted(found, key=lambda f: (len(f), f)))[0]
        return None if whole_only else next(iter(self.alias.get(key, [])), None)

    def read(self):
        edges, dead = set(), set()
        for source, text in self.texts.items():
            for target, display in LINK.findall(text):
                if display and target.endswith("\\"):
                    target = target[:-1]
                target = target.strip()
                note = target.split("#")[0].strip()
                if not note:
                    continue
                to = self.resolve(note, source)
                if to is None:
                    dead.add((source, target))
                elif to in self.texts and to != source:
                    edges.add((source, to))
        return edges, dead


def run(*command, **settings):
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, **settings).stdout.decode()


def check(directory):
    vault = Vault(directory)
    edges, dead = vault.read()
    command = [os.environ["MEMORIA"], "graph", str(directory), "--include-code"]
    graph = json.loads(run(*command, "--json"))
    bad = 0
    for what, mine, its in [
            ("notes", set(vault.texts), {note["name"] for note in graph["notes"]}),
            ("edges", edges, {(e["from"], e["to"]) for e in graph["edges"]}),
            ("dead ends", dead, {(e["from"], e["target"]) for e in graph["dead_ends"]})]:
        print(f"{directory.name}: {len(its)} {what}, {len(mine ^ its)} differ {sorted(mine ^ its, key=str)[:5] or ''}")
        bad += len(mine ^ its)
    if not shutil.which("sfdp"):
        print("no sfdp: the drawing itself was not looked at")
        return bad
    svg = run("sfdp", "-Tsvg", input=run(*command).encode())
    nodes, lines = svg.count('class="node"'), svg.count('class="edge"')
    wanted = len(vault.texts) + len({target for _, target in dead}), len(edges) + len(dead)
    print(f"{directory.name}: drawn {nodes} nodes, {lines} lines; wanted {wanted[0]} and {wanted[1]}")
    return bad + ((nodes, lines) != wanted)


def main():
    if "MEMORIA" not in os.environ:
        print("skipped: the tool was not built")
        return 77
    directories = [Path(a) for a in sys.argv[1:]]
    bad = sum(check(d) for d in directories or [d for d in (TOP / "examples" / "vault", TASKS) if d.is_dir()])
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
