#!/usr/bin/env python3
"""What the seed's functions say about directories of notes: the figures that link_graph, with exact resolution and code
included, has to reproduce.

usage: seed_counts.py DIRECTORY...          one line of totals each
       seed_counts.py --full DIRECTORY      every note with its inbound count, every link with its status
"""
import os
import re
import sys
from pathlib import Path

LINK = re.compile(r"\[\[([^\]|]+)(?:\|[^\]]*)?\]\]")


def parse_wikilink(raw):
    pipe = raw.find("|")
    return raw[:pipe].strip() if pipe != -1 else raw.strip()


def safe_article_path(link, base, knowledge_dir):
    slug = parse_wikilink(link)
    if not slug or slug.startswith("/") or "\0" in slug:
        return None
    try:
        candidate = (knowledge_dir / f"{slug}.md").resolve()
    except (OSError, RuntimeError):
        return None
    try:
        candidate.relative_to(base)
    except ValueError:
        return None
    return candidate


def exists(path):
    try:
        return path.exists()
    except OSError:  # a name longer than the system has
        return False


def read_vault(root):
    notes = []
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if not f.startswith(".")]
        for name in files:
            if name.endswith(".md") and not name.startswith("."):
                notes.append(os.path.relpath(os.path.join(folder, name), root))
    notes.sort(key=os.fsencode)
    return notes


def main(arguments):
    full = arguments[:1] == ["--full"]
    for directory in arguments[1:] if full else arguments:
        root = Path(directory)
        base = root.resolve()
        notes = read_vault(root)
        known = {}
        linking = {}
        links = ok = broken = unsafe = 0
        lines = []
        for note in notes:
            with open(root / note, encoding="utf-8", errors="surrogateescape", newline="") as f:
                text = f.read()
            for match in LINK.finditer(text):
                target = parse_wikilink(match.group(1))
                links += 1
                if target not in known:
                    path = safe_article_path(match.group(1), base, root)
                    status = "unsafe" if path is None else "ok" if exists(path) else "broken"
                    known[target] = status, os.path.relpath(path, base) if path else None
                status, leads_to = known[target]
                ok += status == "ok"
                broken += status == "broken"
                unsafe += status == "unsafe"
                if leads_to is not None and leads_to != note:
                    linking.setdefault(leads_to, set()).add(note)
                if full:
                    line = text.count("\n", 0, match.start()) + 1
                    lines.append(f"link\t{note}\t{line}\t{status}\t{target!a}")
        inbound = {note: len(linking.get(note, ())) for note in notes}
        orphans = sum(1 for n in inbound.values() if n == 0)
        print(f"{root.name}: {len(notes)} notes, {links} links, {ok} ok, {broken} broken, {unsafe} unsafe, "
              f"{orphans} orphans, {sum(inbound.values())} inbound")
        if full:
            for note in notes:
                print(f"note\t{note}\t{inbound[note]}")
            print("\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1:])
