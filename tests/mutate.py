#!/usr/bin/env python3
"""Mutation testing of the header: does a test fail when the code is broken?

    tests/mutate.py [--parts replace,lock,append,state,confine] [--count 200] [--seed 1] [--jobs 2] [--list]

Takes definitions of the named parts, breaks one line at a time (operators, constants, negated conditions, removed calls),
builds the header's own tests with it and runs them. A mutant is killed if the tests fail to compile, fail, crash or hang.
Survivors are printed with their line; those in SURVIVORS are known to change nothing that can be observed, with the reason.
Needs clang++ (or CXX) and doctest. Takes about ten seconds a mutant; part of tests/long.sh.
"""
import argparse, concurrent.futures, os, random, re, shutil, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CXX = os.environ.get("CXX", "clang++")

SWAPS = [
    (r" == ", " != "), (r" != ", " == "), (r" <= ", " < "), (r" >= ", " > "), (r" < ", " <= "), (r" > ", " >= "),
    (r" && ", " || "), (r" \|\| ", " && "), (r"\btrue\b", "false"), (r"\bfalse\b", "true"), (r" \+ 1\b", " + 0"),
    (r" - 1\b", " - 0"), (r"\bif \((?!const|auto)(.*)\) (return|continue|break|\{)", r"if (!(\1)) \2"), (r"\+\+(\w)", r"--\1"),
    (r"\b0600\b", "0666"), (r"\b0666\b", "0600"), (r"os::no_follow", "0u"), (r"os::exclusive", "0u"),
]
# A whole statement that is one call, assignment or short guard.
STATEMENT = re.compile(r"^\s+(?!return|const|auto|using|typedef|for|if|else|case|break|continue|static|template|struct|\}|\{|//)"
                       r"[\w:\*&\.\->\[\]\(\)]+.*;\s*(//.*)?$")
# Text of a mutated line -> why no test can tell. Matched as substrings of "part: original -> mutated".
SURVIVORS = {}


def definitions(lines, part):
    """Line numbers of the part's definitions block."""
    inside = False
    for number, line in enumerate(lines):
        if line.startswith("// ---- "):
            opens = f"[{part}] definitions" in line or (part == "os" and line.startswith("// ---- detail::os"))
            if opens or re.match(r"// ---- (\[|Tests|detail::)", line):
                inside = opens
        if inside:
            yield number


def mutants(lines, part):
    for number in definitions(lines, part):
        line = lines[number]
        code = line.split("//")[0].rstrip("\n")
        if not code.strip() or code.lstrip().startswith(("#", "template", "inline", "MEMORIA_FS_INLINE")):
            continue
        for pattern, replacement in SWAPS:
            for match in re.finditer(pattern, code):
                changed = code[:match.start()] + match.expand(replacement) + code[match.end():]
                yield part, number, changed + "\n"
        if STATEMENT.match(line):
            yield part, number, re.sub(r"\S.*", ";", code, count=1) + "\n"


def run(lines, mutant, main, work):
    part, number, changed = mutant
    directory = tempfile.mkdtemp(dir=work)
    try:
        header = os.path.join(directory, "memoria_fs.hpp")
        with open(header, "w") as out:
            out.writelines(lines[:number] + [changed] + lines[number + 1:])
        program = os.path.join(directory, "selftest")
        build = subprocess.run([CXX, "-std=c++17", "-O0", "-w", "-DMEMORIA_FS_TESTS", "-include", "doctest/doctest.h", "-x", "c++",
                                header, "-x", "none", main, "-o", program, "-pthread"], capture_output=True)
        if build.returncode != 0:
            return mutant, "does not compile"
        suites = "*"
        environment = dict(os.environ, TMPDIR=directory)
        try:
            tests = subprocess.run([program, "-ts=" + suites, "-m"], capture_output=True, timeout=90, env=environment)
        except subprocess.TimeoutExpired:
            return mutant, "hangs"
        return mutant, "fails" if tests.returncode != 0 else "survives"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="replace,lock,append,state,confine")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--header", default=os.path.join(ROOT, "memoria_fs.hpp"))
    parser.add_argument("--list", action="store_true", help="only count the mutants there are")
    options = parser.parse_args()
    with open(options.header) as source:
        lines = source.readlines()
    everything = [m for part in options.parts.split(",") for m in mutants(lines, part)]
    if options.list:
        print(len(everything), "mutants")
        return 0
    if not shutil.which(CXX):
        print(f"skipped: no {CXX}")
        return 77
    chosen = random.Random(options.seed).sample(everything, min(options.count, len(everything)))
    work = tempfile.mkdtemp(prefix="memoria-mutate-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    counts, survivors = {}, []
    try:
        doctest_main = os.path.join(work, "main.o")
        subprocess.run([CXX, "-std=c++17", "-O1", "-DDOCTEST_CONFIG_IMPLEMENT_WITH_MAIN", "-include", "doctest/doctest.h", "-x", "c++",
                        "-c", "/dev/null", "-o", doctest_main], check=True)
        baseline = run(lines, ("none", 0, lines[0]), doctest_main, work)[1]
        if baseline != "survives":
            print("the tests fail without a mutation:", baseline)
            return 1
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for (part, number, changed), fate in pool.map(lambda m: run(lines, m, doctest_main, work), chosen):
                counts[fate] = counts.get(fate, 0) + 1
                if fate == "survives":
                    text = f"{part}: {lines[number].strip()} -> {changed.strip()}"
                    reason = next((why for key, why in SURVIVORS.items() if key in text), None)
                    survivors.append(reason is None)
                    print(f"line {number + 1}: {text}" + (f"   [{reason}]" if reason else ""), flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    compiled = sum(counts.values()) - counts.get("does not compile", 0)
    killed = compiled - counts.get("survives", 0)
    print(f"{compiled} mutants that compile, {killed} killed ({100 * killed / max(1, compiled):.1f} %), "
          f"{sum(survivors)} survivors unexplained, of {len(everything)} possible")
    return 0 if killed >= 0.9 * compiled else 1


if __name__ == "__main__":
    sys.exit(main())
