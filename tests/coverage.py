#!/usr/bin/env python3
"""What the tests do not reach: lines and branches of the library part of memoria_fs.hpp. coverage.sh calls it.

    coverage.py PROFILE PROGRAM...      PROFILE: what llvm-profdata merged; PROGRAM...: instrumented programs

A line or branch counts as covered if any program, any instantiation of a template covers it. What only other systems
compile (Windows, macOS) is not in these programs and not in the figures. Lines that nothing reaches and branches that
nothing takes have to be in coverage_exceptions.txt, by function and text, with the reason; one that is not, or one
listed that is reached after all, is a failure, and so are less than 95 % of the branches. Not counted as branches:
conditions that the compiler knows, those in lines that are explained, a condition besides those that `&&` and `||` make
it of, and the true side of `s.fail(...)`, which records a failure and always gives false. LLVM_COV names the llvm-cov.
"""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
HEADER = TOP / "memoria_fs.hpp"
SOURCE = HEADER.read_text(encoding="utf-8").splitlines()
END = next(number for number, line in enumerate(SOURCE, 1) if line.startswith("// ---- Tests ---"))
BRANCHES_WANTED = 95.0


def exported(program, profile, form):
    command = [os.environ.get("LLVM_COV", "llvm-cov"), "export", f"-format={form}", f"-instr-profile={profile}",
               program]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()


def is_header(name):
    return os.path.basename(name) == HEADER.name


def read_coverage(program, profile, counts, unused, branches, functions):
    """Adds line -> count, (line, column, last line, last column) -> [times true, times false], (first, last, function).
    `unused`: lines of functions that this program does not use; what the preprocessor makes of them is not known."""
    skipped = set()  # lines the preprocessor leaves out of this program
    idle, busy = set(), set()
    for function in json.loads(exported(program, profile, "text"))["data"][0]["functions"]:
        regions = [r for r in function["regions"] if is_header(function["filenames"][r[5]])]
        skipped.update(n for r in regions if r[7] == 2 for n in range(r[0], r[2] + 1))
        own = [r for r in regions if r[7] == 0]
        if not own or own[0][0] >= END:
            continue
        span = range(own[0][0], max(r[2] for r in own) + 1)
        (idle if len(regions) == 1 and regions[0][4] == 0 else busy).update(span)
        functions.add((span[0], span[-1], function["name"].split(":")[-1]))
        conditions = [b[:7] for b in function["branches"] if is_header(function["filenames"][b[6]])]
        for branch in conditions:
            first, column, last, last_column, true, false = branch[:6]
            if any(c[:2] == branch[:2] and c[2:4] < branch[2:4] for c in conditions):
                continue  # made of that one and others
            around = [r for r in own if (r[0], r[1]) <= (first, column) and (r[2], r[3]) >= (last, last_column)]
            if true == false == 0 and around and max(around, key=lambda r: (r[0], r[1], -r[2], -r[3]))[4] > 0:
                continue  # reached, and neither way: the compiler knew the answer
            sides = branches.setdefault((first, column, last, last_column), [0, 0])
            sides[0] += true
            sides[1] += false
    inside = False
    for entry in exported(program, profile, "lcov").splitlines():
        kind, _, value = entry.partition(":")
        if kind == "SF":
            inside = is_header(value)
        elif kind == "DA" and inside:
            number, count = map(int, value.split(",")[:2])
            if number in idle - busy and count == 0:
                unused.add(number)
            elif number < END and number not in skipped:
                counts[number] = counts.get(number, 0) + count
    return skipped


def exceptions():
    """(function, text of a line) -> reason. A comment is the reason for what is below it; a line that is not indented
    names the function, the indented ones below are lines of it, or "never true: CONDITION", or never false."""
    listed, reason = {}, []
    fresh, function = False, ""
    for line in (TOP / "tests" / "coverage_exceptions.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            reason = reason + [line[1:].strip()] if fresh else [line[1:].strip()]
            fresh = True
        elif line.startswith(" "):
            listed[function, line.strip()] = " ".join(reason)
        elif not line.strip():
            fresh = False
        else:
            function, fresh = line.strip(), False
    return listed


def name_of(signature):
    """The name of a function, or of the one that a lambda stands in, without scope and arguments."""
    shorter = re.sub(r"<[^<>]*>", "", signature)
    while shorter != signature:
        signature, shorter = shorter, re.sub(r"<[^<>]*>", "", shorter)
    found = re.search(r"(operator\W{1,3}?|[\w~]+)(?:\[abi:\w+\])?\(", signature.replace("(anonymous namespace)", ""))
    return found.group(1) if found else signature


def main(profile, programs):
    counts, unused, branches, functions, skipped = {}, set(), {}, set(), set()
    for program in programs:
        skipped |= read_coverage(program, profile, counts, unused, branches, functions)
    counts.update((number, 0) for number in unused - skipped if number < END and number not in counts)
    mangled = sorted({f[2] for f in functions})
    filtered = subprocess.run(["c++filt"], input="\n".join(mangled), text=True, stdout=subprocess.PIPE, check=True)
    plain = dict(zip(mangled, (re.sub(r"\bmemoria::v\w+::", "", name) for name in filtered.stdout.splitlines())))

    def function_at(number):
        around = [f for f in functions if f[0] <= number <= f[1]]
        return plain[min(around, key=lambda f: f[1] - f[0])[2]] if around else "outside of functions"

    def key_of(number):
        return name_of(function_at(number)), SOURCE[number - 1].strip()

    def text_of(place):
        first, column, last, last_column = place
        line = SOURCE[first - 1]
        return line[column - 1:last_column - 1] if first == last else line[column - 1:] + " ..."

    def branch_key(place, side):
        return name_of(function_at(place[0])), f"never {('true', 'false')[side]}: {text_of(place)}"

    last = ""

    def show(number, text):
        nonlocal last
        if function_at(number) != last:
            last = function_at(number)
            print(f"  {last[:110]}")
        print(f"    {number}: {text}")

    listed = exceptions()
    missed = sorted(number for number, count in counts.items() if count == 0)
    unexplained, explained = [], set()
    for number in missed:  # a closing brace goes with the line above it
        if key_of(number) in listed or (SOURCE[number - 1].strip(" };") == "" and number - 1 in explained):
            explained.add(number)
        else:
            unexplained.append(number)
    branches = {place: sides for place, sides in branches.items() if place[0] not in explained}
    one_sided = {place for place in branches if re.match(r"(\w+\.)*fail\(|not_durable\(|unsafe\(", text_of(place))}
    half = [(place, side) for place, sides in sorted(branches.items()) for side in (0, 1)
            if sides[side] == 0 and not (side == 0 and place in one_sided)]
    half_explained = [b for b in half if branch_key(*b) in listed]
    outdated = sorted(set(listed) - {key_of(n) for n in missed} - {branch_key(*b) for b in half})

    print("taken one way only:")
    for place, side in half:
        name, text = branch_key(place, side)
        why = f"[{listed[name, text]}]" if (name, text) in listed else f"<{name}>"
        show(place[0], f"{text}   {why}")
    print("\nlines not reached:")
    for number in missed:
        name, text = key_of(number)
        why = f"[{listed.get((name, text), 'as above')}]" if number in explained else f"<{name}>"
        show(number, f"{text}   {why}")
    print()
    for function, text in outdated:
        print(f"coverage_exceptions.txt lists what is reached, or gone: {function}: {text}")

    total = 2 * len(branches) - len(one_sided)
    percent = 100.0 * (total - len(half)) / total
    covered = len(counts) - len(missed)
    print(f"lines: {covered} of {len(counts)} ({100.0 * covered / len(counts):.2f} %), "
          f"{len(explained)} others explained, {len(unexplained)} not")
    print(f"branches: {total - len(half)} of {total} ({percent:.2f} %), "
          f"{len(half_explained)} others explained, {len(half) - len(half_explained)} not")
    complete = not unexplained and len(half_explained) == len(half)
    return 0 if complete and not outdated and percent >= BRANCHES_WANTED else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
