"""The Python module that memoria_fs was made from, and its regular expression.   seed.py DIR SEED-DIRECTORY"""
import json
import os
import re
import sys
import time
from pathlib import Path

directory = Path(sys.argv[1])
sys.path.insert(0, sys.argv[2])
sys.dont_write_bytecode = True
import fs_utils  # noqa: E402

LINK = re.compile(r"\[\[([^\]|]+)(?:\|[^\]]*)?\]\]")


def in_processes(processes, work):
    children = []
    for _ in range(processes):
        child = os.fork()
        if child == 0:
            work()
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def append():
    for _ in range(50):
        fs_utils.locked_append_text(directory / "log", "e" * 300)


def update(file):
    state = fs_utils.load_json_with_recovery(file, {})
    state["key-7"] = "changed"
    fs_utils.atomic_write_text(file, json.dumps(state, indent=2))


def vault(top):
    """Every link of every note, how many notes link to each, which lead nowhere."""
    notes, inbound = set(), {}
    for root, _, names in os.walk(top):
        for name in names:
            if name.endswith(".md"):
                file = os.path.join(root, name)
                notes.add(os.path.relpath(file, top)[:-3])
                with open(file, encoding="utf-8", errors="surrogateescape") as text:
                    for target in set(LINK.findall(text.read())):
                        inbound[target] = inbound.get(target, 0) + 1
    return [target for target in inbound if target not in notes]


def work(operation, argument):
    if operation == "replace":
        content = "x" * int(argument)
        return lambda: fs_utils.atomic_write_text(directory / "replaced", content)
    if operation == "append":
        return lambda: in_processes(int(argument), append)
    if operation == "update":
        file = directory / f"python-{argument}.json"
        file.write_text(json.dumps({f"key-{i}": f"a value {i * 7919}" for i in range(int(argument))}, indent=2))
        return lambda: update(file)
    if operation == "scan":
        text = Path(argument).read_text(encoding="utf-8", errors="surrogateescape")
        return lambda: LINK.findall(text)
    if operation == "vault":
        return lambda: vault(argument)
    if operation == "guard":
        base = Path(argument)
        return lambda: fs_utils.safe_article_path("folder/note", base)
    return None


for line in sys.stdin:
    operation, argument, count = line.split()
    f = work(operation, argument)
    if f is None:
        print("-", flush=True)
        continue
    begin, used = time.perf_counter_ns(), time.process_time_ns()
    for _ in range(int(count)):
        f()
    print(time.perf_counter_ns() - begin, time.process_time_ns() - used, flush=True)
