#!/usr/bin/env python3
"""What the tests do not reach: lines and branches of the library part of memoria_fs.hpp. coverage.sh calls it.

    coverage.py PROFILE PROGRAM...      PROFILE: what llvm-profdata merged; PROGRAM...: instrumented programs

A line or branch counts as covered if any program, any instantiation of a template covers it. What only other systems
compile (Windows, macOS) is not in these programs and not in the figures. Lines that nothing reaches have to be in
coverage_exceptions.txt, by function and text, with the reason; one that is not, or one listed that is reached after all,
is a failure, and so are less than 95 % of the branches. Not counted as branches: conditions that the compiler knows, and
the true side of `s.fail(...)`, which records a failure and always gives false. LLVM_COV names the llvm-cov to use.
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
    command = [os.environ.get("LLVM_COV", "llvm-cov"), "export", f"-format={form}", program, f"-instr-profile={profile}"]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()


def is_header(name):
    return os.path.basename(name) == HEADER.name


def read_coverage(program, profile, counts, branches, functions):
    """Adds line -> count, (line, column, last line, last column) -> [times true, times false], (first, last, function)."""
    skipped = set()  # lines the preprocessor leaves out of this program
    for function in json.loads(exported(program, profile, "text"))["data"][0]["functions"]:
        regions = [r for r in function["regions"] if is_header(function["filenames"][r[5]])]
        skipped.update(n for r in regions if r[7] == 2 for n in range(r[0], r[2] + 1))
        own = [r for r in regions if r[7] == 0]
        if not own or own[0][0] >= END:
            continue
        functions.add((own[0][0], max(r[2] for r in own), function["name"].split(":")[-1]))
        for branch in function["branches"]:
            first, column, last, last_column, true, false, file = branch[:7]
            if not is_header(function["filenames"][file]):
                continue
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
            if number < END and number not in skipped:
                counts[number] = counts.get(number, 0) + count


def exceptions():
    """(function, text of a line) -> reason. A comment is the reason for what is below it; a line that is not indented
    names the function, the indented ones below are lines of it."""
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
    counts, branches, functions = {}, {}, set()
    for program in programs:
        read_coverage(program, profile, counts, branches, functions)
    mangled = sorted({f[2] for f in functions})
    filtered = subprocess.run(["c++filt"], input="\n".join(mangled), text=True, stdout=subprocess.PIPE, check=True).stdout
    plain = dict(zip(mangled, filtered.splitlines()))

    def function_at(number):
        around = [f for f in functions if f[0] <= number <= f[1]]
        return plain[min(around, key=lambda f: f[1] - f[0])[2]] if around else "outside of functions"

    def key_of(number):
        return name_of(function_at(number)), SOURCE[number - 1].strip()

    listed = exceptions()
    missed = sorted(number for number, count in counts.items() if count == 0)
    unexplained, explained = [], set()
    for number in missed:  # a closing brace goes with the line above it
        text = SOURCE[number - 1].strip()
        if key_of(number) in listed or (text.strip("};") == "" and number - 1 in explained):
            explained.add(number)
        else:
            unexplained.append(number)
    outdated = sorted(set(listed) - {key_of(n) for n in missed})

    def text_of(place):
        first, column, last, last_column = place
        line = SOURCE[first - 1]
        return line[column - 1:last_column - 1] if first == last else line[column - 1:] + " ..."

    one_sided = {place for place in branches if re.match(r"(\w+\.)*fail\(|not_durable\(", text_of(place))}
    half = [(place, side) for place, sides in sorted(branches.items()) for side in (0, 1)
            if sides[side] == 0 and not (side == 0 and place in one_sided)]
    print("branches taken one way only:")
    last = ""
    for place, side in half:
        if function_at(place[0]) != last:
            last = function_at(place[0])
            print(f"  {last[:110]}")
        print(f"    {place[0]}:{place[1]}: never {('true', 'false')[side]}: {text_of(place)}")
    print("\nlines not reached:")
    last = ""
    for number in missed:
        if function_at(number) != last:
            last = function_at(number)
            print(f"  {last[:110]}")
        name, text = key_of(number)
        why = f"[{listed.get((name, text), 'as above')}]" if number in explained else f"<{name}>"
        print(f"    {number}: {text}   {why}")

    total = 2 * len(branches) - len(one_sided)
    taken = total - len(half)
    percent = 100.0 * taken / total
    covered = len(counts) - len(missed)
    print(f"\nlines: {covered} of {len(counts)} ({100.0 * covered / len(counts):.2f} %), "
          f"{len(missed) - len(unexplained)} explained, {len(unexplained)} not")
    print(f"branches: {taken} of {total} ({percent:.2f} %)")
    for function, text in outdated:
        print(f"coverage_exceptions.txt lists what is reached, or gone: {function}: {text}")
    return 1 if unexplained or outdated or percent < BRANCHES_WANTED else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
