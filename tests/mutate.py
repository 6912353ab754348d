#!/usr/bin/python3 -B
"""Mutation testing of the header: does a test fail when the code is broken?

    tests/mutate.py [--parts replace,lock,...] [--count 300] [--seed 1] [--seconds 0] [--only TEXT] [--jobs N] [--list]

The header is parsed with libclang. In the definitions of the named parts every operator, condition, constant, returned
truth value and removable statement becomes a mutant, and all mutants are compiled into one program, each behind a
switch:
`a < b` becomes `(on(17) ? a <= b : a < b)`. That program is the header's own tests and tests/failures.cpp, with ASan,
UBSan and the library's assertions, as the sanitizer cells of matrix.sh; some further tests (CHECKS) are built the same
way. One run notes which test reaches which mutant; a mutant is then run with the tests that reach it, the quick ones
first, and is killed if one fails, crashes or hangs. The suite "slow" and test cases that need more than --longest
seconds of processor time are left out. Mutants that do not compile are dropped.

Prints each mutant that survives, then a summary. What mutants.txt explains counts neither as killed nor as a survivor.
Fails below 90 % killed, or if one survives unexplained. The sample depends only on the seed and the header. Everything
runs in a mount namespace of its own with a read-only root (a mutant of a path check may write anywhere). Linux; needs
clang, python3-clang and doctest. Not mutated, because no test could tell or there is nothing to tell: reserve() and
other hints, texts of messages, what happens after a failure was recorded in a status (`if (!f(..., s)) return false;`),
constant expressions, `<` against `<=` where a minimum or maximum is chosen, and the negation of what is a mutant
already.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CXX = os.environ.get("CLANGXX", "clang++")
PARTS = "errors,replace,lock,append,wikilink,confine,json,state,vault,os"

PRELUDE = r"""
#pragma once
namespace mutation {
extern int active;
extern unsigned char reached[1 << 20];
inline bool on(int n) noexcept { return reached[n] = 1, active == n; }
}
"""
SWITCH = r"""
#include <cstdio>
#include <cstdlib>
namespace mutation {
int active = std::getenv("MUTANT") != nullptr ? std::atoi(std::getenv("MUTANT")) : -1;
unsigned char reached[1 << 20];
struct at_exit {
  ~at_exit() {
    const char* const file = std::getenv("MUTANT_REACHED");
    std::FILE* const out = file != nullptr ? std::fopen(file, "a") : nullptr;
    for (int i = 0; out != nullptr && i < 1 << 20; ++i) {
      if (reached[i] != 0) std::fprintf(out, "%d ", i);
    }
    if (out != nullptr) std::fclose(out);
  }
} at_exit_;
}
"""
LISTENER = r"""
#include <doctest/doctest.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
namespace mutation {
extern unsigned char reached[1 << 20];
}
struct tracer : doctest::IReporter {
  std::FILE* out = std::getenv("MUTANT_TRACE") != nullptr ? std::fopen(std::getenv("MUTANT_TRACE"), "w") : nullptr;
  const doctest::TestCaseData* now = nullptr;
  std::clock_t began = 0;
  explicit tracer(const doctest::ContextOptions&) {}
  void test_case_start(const doctest::TestCaseData& t) override {
    now = &t, began = std::clock();
    if (out != nullptr) std::memset(mutation::reached, 0, sizeof mutation::reached);
  }
  void test_case_end(const doctest::CurrentTestCaseStats&) override {
    if (out == nullptr) return;
    std::fprintf(out, "%f\t%s\t", static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC, now->m_name);
    for (int i = 0; i < 1 << 20; ++i) {
      if (mutation::reached[i] != 0) std::fprintf(out, "%d ", i);
    }
    std::fputc('\n', out);
    std::fflush(out);
  }
  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}
};
DOCTEST_REGISTER_LISTENER("tracer", 1, tracer);
"""

# Further tests, for what survives the program: name, parts, source of a program, command.
CHECKS = [
    ("bad_input", PARTS, "tests/bad_input.cpp", ["{}", "-m"]),
    ("json_conformance", "json", "tests/json/conformance.cpp", ["{}"]),
    ("json_differential", "json", "tests/json/json_echo.cpp",
     [sys.executable, "-B", TOP + "/tests/json/differential.py", "{}", "0.2", "1"]),
    ("links_differential", "wikilink,vault", "tests/links/dump_links.cpp",
     [sys.executable, "-B", TOP + "/tests/links/differential.py", "{}", "1000"]),
]

COMPARISON = {"==": ["!="], "!=": ["=="], "<": ["<=", ">="], "<=": ["<", ">"], ">": [">=", "<="], ">=": [">", "<"]}
LOGICAL = {"&&": ["||"], "||": ["&&"]}
ARITHMETIC = {"+": ["-"], "-": ["+"], "*": ["+"], "/": ["*"], "%": ["*"], "<<": [">>"], ">>": ["<<"], "&": ["|"],
              "|": ["&"], "^": ["&"]}
COMPOUND = {"+=": "-=", "-=": "+=", "*=": "+=", "|=": "&=", "&=": "|=", "^=": "&=", "<<=": ">>=", ">>=": "<<="}
HINTS = re.compile(r"^(\w+(\.|->|::))*(prefetch|reserve|shrink_to_fit|start_writeback|sleep_for)\(|"
                   r"^static_cast<void>|^DOCTEST_|^::close\(")


class Mutator:
    """Finds the mutants of one header and writes it with all of them in it."""

    def __init__(self, header, parts):
        from clang import cindex
        self.kinds = cindex.CursorKind
        self.types = cindex.TypeKind
        self.header = header
        with open(header, "rb") as source:
            self.source = bytearray(source.read())
        arguments = ["-std=c++17", "-DMEMORIA_FS_TESTS", "-include", "doctest/doctest.h", "-x", "c++"]
        unit = cindex.Index.create().parse(header, args=arguments + ["-I" + resource_directory()])
        errors = [d for d in unit.diagnostics if d.severity >= 3]
        if errors:
            raise SystemExit(f"libclang cannot parse the header: {errors[0]}")
        self.source = strip_comments(bytes(self.source))
        self.sections = self.find_sections(header, parts)
        self.mutants = []  # {"id", "part", "function", "line", "from", "to"}
        self.edits = []    # (begin, end, kind, [(id, text)]), outer before inner
        self.seen = set()
        for cursor in unit.cursor.get_children():
            if cursor.location.file and cursor.location.file.name == header:
                self.visit(cursor, [], None)

    def find_sections(self, header, parts):
        """Line -> part, for the lines whose code is to be mutated."""
        inside, where = None, {}
        with open(header, encoding="utf-8") as source:
            for number, line in enumerate(source, 1):
                if re.match(r"// ---- (\[\w+\]|Tests|detail::|bytes|Configuration|Licence|what a port provides)", line):
                    found = re.match(r"// ---- (?:\[(\w+)\] definitions|what a port provides)", line)
                    inside = (found.group(1) or "os") if found else None
                where[number] = inside if inside in parts else None
        return where

    def text(self, begin, end):
        return self.source[begin:end].decode("utf-8")

    def flat(self, begin, end):
        return re.sub(r"\s+", " ", self.text(begin, end)).strip()

    def range(self, cursor):
        return cursor.extent.start.offset, cursor.extent.end.offset

    def add(self, cursor, kind, function, alternatives, original=None):
        begin, end = self.range(cursor)
        part = self.sections.get(cursor.extent.start.line)
        if part is None or end <= begin or (begin, end, kind, tuple(alternatives)) in self.seen:
            return
        self.seen.add((begin, end, kind, tuple(alternatives)))
        chosen = []
        for alternative in alternatives:
            number = len(self.mutants)
            self.mutants.append({"id": number, "part": part, "function": function, "line": cursor.extent.start.line,
                                 "from": original or self.flat(begin, end), "to": alternative or "nothing"})
            chosen.append((number, alternative))
        self.edits.append((begin, end, kind, chosen))

    def visit(self, cursor, parents, function):
        k = self.kinds
        kind = cursor.kind
        if kind in (k.FUNCTION_DECL, k.CXX_METHOD, k.CONSTRUCTOR, k.DESTRUCTOR, k.CONVERSION_FUNCTION,
                    k.FUNCTION_TEMPLATE):
            body = next((c for c in cursor.get_children() if c.kind == k.COMPOUND_STMT), None)
            begin = cursor.extent.start.offset
            if (body is None or self.source[body.extent.start.offset:][:1] != b"{"
                    or re.search(r"\bconstexpr\b", self.text(begin, body.extent.start.offset))):
                return
            function = cursor.spelling
        elif kind in (k.STATIC_ASSERT, k.CASE_STMT, k.ENUM_DECL) or kind.is_attribute():
            if kind == k.CASE_STMT:  # not the label, but what follows it
                for child in list(cursor.get_children())[1:]:
                    self.visit(child, parents + [cursor], function)
            return
        elif kind in (k.DECL_STMT, k.FIELD_DECL) and re.match(r"(static )?constexpr\b", self.text(*self.range(cursor))):
            return
        elif kind == k.CALL_EXPR and HINTS.match(self.text(*self.range(cursor))):
            return
        if function is not None and self.sections.get(cursor.extent.start.line):
            self.mutate(cursor, parents, function)
        children = list(cursor.get_children())
        if kind == k.IF_STMT and self.text(*self.range(cursor)).startswith("if constexpr"):
            children = children[1:]
        if kind in (k.FIELD_DECL, k.VAR_DECL):  # not the size of an array
            children = [c for c in children if self.source[c.extent.start.offset - 1:c.extent.start.offset] != b"["]
        for child in children:
            if child.extent.start.file and child.extent.start.file.name == self.header:
                self.visit(child, parents + [cursor], function)

    def mutate(self, cursor, parents, function):
        k = self.kinds
        kind = cursor.kind
        begin, end = self.range(cursor)
        text = self.text(begin, end)
        parent = parents[-1] if parents else None
        children = [c for c in cursor.get_children()]

        # a whole statement
        if parent is not None and self.is_statement(cursor, parent) and not HINTS.match(text):
            self.add(cursor, "statement", function, [""])
            if kind == k.COMPOUND_ASSIGNMENT_OPERATOR and len(children) == 2:
                left, right = self.range(children[0]), self.range(children[1])
                op = self.flat(left[1], right[0])
                if op in COMPOUND:
                    self.add(cursor, "statement", function, [f"{self.flat(*left)} {COMPOUND[op]} {self.flat(*right)};"])

        if kind == k.BINARY_OPERATOR and len(children) == 2:
            self.binary(cursor, parent, function, children[0], children[1], {**COMPARISON, **LOGICAL, **ARITHMETIC})
        elif (kind == k.CALL_EXPR and len(children) == 3
              and cursor.spelling in ("operator==", "operator!=", "operator<")):
            self.binary(cursor, parent, function, children[0], children[2], COMPARISON)
        elif kind == k.UNARY_OPERATOR:
            if text.startswith("!"):
                self.add(cursor, "value", function, [f"static_cast<bool>({self.flat(begin + 1, end)})"])
            elif text.startswith(("++", "--")) and not self.is_statement(cursor, parent):
                self.add(cursor, "value", function, [("--" if text[0] == "+" else "++") + self.flat(begin + 2, end)])
        elif kind == k.INTEGER_LITERAL and self.source[begin - 1:begin] not in (b"[", b"<"):
            match = re.fullmatch(r"(0[xX][0-9a-fA-F']+|[0-9']+)([uUlL]*)", text)
            if match:
                value = int(match.group(1).replace("'", ""),
                            16 if "x" in text.lower() else 8 if re.match(r"0\d", text) else 10)
                self.add(cursor, "value", function,
                         [f"{v}{match.group(2)}" for v in ([1] if value == 0 else [value - 1, value + 1])])
        elif kind == k.CHARACTER_LITERAL and re.fullmatch(r"'[ -&(-\[\]-~]'", text):
            self.add(cursor, "value", function, [f"'{chr(ord(text[1]) + 1)}'" if text[1] not in "&[~" else "'z'"])
        elif kind == k.CXX_BOOL_LITERAL_EXPR and not self.after_failure(cursor, parents):
            self.add(cursor, "value", function, ["false" if text == "true" else "true"])
        elif kind == k.RETURN_STMT and len(children) == 1 and children[0].type.kind == self.types.BOOL:
            if (children[0].kind != k.CXX_BOOL_LITERAL_EXPR and ".fail(" not in text
                    and not self.negated_already(children[0])):
                self.add(children[0], "value", function, [f"!({self.flat(*self.range(children[0]))})"])
        if kind in (k.IF_STMT, k.WHILE_STMT, k.CONDITIONAL_OPERATOR) and len(children) >= 2:
            condition = children[0]
            initializes = kind == k.IF_STMT and self.source[begin:condition.extent.start.offset].strip() != b"if ("
            if (condition.kind.is_expression() and not text.startswith("if constexpr")
                    and not self.negated_already(condition) and not initializes):
                self.add(condition, "condition", function, [f"!({self.flat(*self.range(condition))})"])

    def is_statement(self, cursor, parent):
        k = self.kinds
        if parent.kind == k.COMPOUND_STMT:
            inside = True
        # not what is in its parentheses
        elif parent.kind in (k.IF_STMT, k.FOR_STMT, k.WHILE_STMT, k.CXX_FOR_RANGE_STMT):
            begin = cursor.extent.start.offset
            inside = bytes(self.source[:begin][-200:]).rstrip().endswith((b")", b"else")) and \
                bytes(self.source[cursor.extent.end.offset:][:20]).lstrip().startswith(b";")
        else:
            inside = False
        if not inside:
            return False
        if cursor.kind in (k.BREAK_STMT, k.CONTINUE_STMT):
            return True
        if cursor.kind == k.RETURN_STMT:
            return not list(cursor.get_children())
        return cursor.kind.is_expression()

    def binary(self, cursor, parent, function, left, right, table):
        begin, end = self.range(left), self.range(right)
        op = self.flat(begin[1], end[0])
        if op not in table or begin[0] != self.range(cursor)[0]:
            return
        t = self.types
        if op in ARITHMETIC and op not in COMPARISON and op not in LOGICAL:
            numbers = {t.INT, t.UINT, t.LONG, t.ULONG, t.LONGLONG, t.ULONGLONG, t.SHORT, t.USHORT, t.UCHAR, t.CHAR_S,
                       t.SCHAR,
                       t.DOUBLE, t.FLOAT, t.CHAR32, t.CHAR16, t.BOOL}
            kinds = [c.type.get_canonical().kind for c in (left, right)]
            if kinds[1] not in numbers or not (kinds[0] in numbers or (kinds[0] == t.POINTER and op in "+-")):
                return
        others = table[op][1:] if op in "< > <= >=".split() and self.chooses_extreme(begin, end, parent) else table[op]
        self.add(cursor, "value", function, [f"{self.flat(*begin)} {o} {self.flat(*end)}" for o in others])

    def chooses_extreme(self, left, right, parent):
        """`a < b ? a : b`, `if (a < b) a = b;`: the same for equal ones."""
        if parent is None or parent.kind not in (self.kinds.CONDITIONAL_OPERATOR, self.kinds.IF_STMT):
            return False
        rest = re.sub(r"\s+", "", self.text(right[1], parent.extent.end.offset))
        a, b = ("".join(self.text(*r).split()) for r in (left, right))
        return rest in (f"?{a}:{b}", f"?{b}:{a}", f"){a}={b}", f"){b}={a}")

    def negated_already(self, condition):
        """A comparison or a negation: its other mutant says the same as !(it)."""
        while condition.kind == self.kinds.UNEXPOSED_EXPR and len(list(condition.get_children())) == 1:
            condition = next(condition.get_children())
        text = self.text(*self.range(condition))
        if condition.kind == self.kinds.UNARY_OPERATOR and text.startswith("!"):
            return True
        children = list(condition.get_children())
        if condition.kind not in (self.kinds.BINARY_OPERATOR, self.kinds.CALL_EXPR) or len(children) not in (2, 3):
            return False
        begin, end = self.range(children[0])[1], self.range(children[-1])[0]
        return (self.range(children[0])[0] == self.range(condition)[0] and begin < end
                and self.flat(begin, end) in COMPARISON)

    def after_failure(self, cursor, parents):
        """A truth value that nobody needs any more: the failure is in the status already."""
        for at in range(len(parents) - 1, 0, -1):
            if parents[at].kind != self.kinds.RETURN_STMT:
                continue
            if ".fail(" in self.text(*self.range(parents[at])):
                return True
            outer = parents[at - 1]
            siblings = list(outer.get_children())
            if outer.kind == self.kinds.IF_STMT:
                return re.search(r"\bs\)|s\.failed\(\)|failure\)", self.text(*self.range(siblings[0]))) is not None
            if outer.kind == self.kinds.COMPOUND_STMT:
                before = [c for c in siblings if c.extent.end.offset <= parents[at].extent.start.offset]
                return bool(before) and ".fail(" in self.text(*self.range(before[-1]))
            return False
        return False

    def written(self, dropped):
        """The header with every mutant but the dropped ones behind its switch; lines stay where they are."""
        edits = sorted(self.edits, key=lambda e: (e[0], -e[1]))
        position = 0

        def emit(begin, end):
            nonlocal position
            out, at = [], begin
            while position < len(edits) and edits[position][0] < end:
                first, last, kind, chosen = edits[position]
                if last > end:  # crosses a range it should be inside of: a macro
                    position += 1
                    continue
                position += 1
                out.append(self.text(at, first))
                inner = emit(first, last)
                chosen = [c for c in chosen if c[0] not in dropped]
                for number, alternative in reversed(chosen):
                    if kind == "statement":
                        inner = f"if (::mutation::on({number})) {{{alternative}}} else {inner}"
                    elif kind == "condition":
                        inner = f"(::mutation::on({number}) ? {alternative} : !!({inner}))"
                    else:
                        inner = f"(::mutation::on({number}) ? ({alternative}) : ({inner}))"
                out.append(inner)
                at = last
            out.append(self.text(at, end))
            return "".join(out)

        return emit(0, len(self.source))


def strip_comments(source):
    """Comments become spaces, so that a statement can be written on one line."""
    token = re.compile(rb'R"\((?:.|\n)*?\)"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'|'
                       rb'//[^\n]*|/\*(?:.|\n)*?\*/')
    return token.sub(lambda m: re.sub(rb"[^\n]", b" ", m.group()) if m.group()[:1] == b"/" else m.group(), source)


def resource_directory():
    out = subprocess.run([CXX, "-print-resource-dir"], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    return os.path.join(out, "include")


def compile_all(mutator, work):
    """Writes and compiles the program; gives its path and the mutants that had to be dropped."""
    with open(os.path.join(work, "mutation.hpp"), "w") as out:
        out.write(PRELUDE)
    for name, content in (("listener.cpp", LISTENER), ("switch.cpp", SWITCH)):
        with open(os.path.join(work, name), "w") as out:
            out.write(content)
    header = os.path.join(work, "memoria_fs.hpp")
    base = [CXX, "-std=c++17", "-O0", "-w", "-ferror-limit=0", "-fno-caret-diagnostics", "-D_GLIBCXX_ASSERTIONS",
            "-include",
            os.path.join(work, "mutation.hpp"), "-I", work]
    quick = [*base, "-fsyntax-only", "-x", "c++", header]
    full = [*base, "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
            os.path.join(TOP, "tests", "failures.cpp"),
            os.path.join(work, "listener.cpp"), os.path.join(work, "switch.cpp"), "-pthread", "-o",
            os.path.join(work, "mutants")]
    dropped, command = set(), quick
    for attempt in range(24):
        with open(header, "w", encoding="utf-8") as out:
            out.write(mutator.written(dropped))
        check = subprocess.run(command, stderr=subprocess.PIPE)
        if check.returncode == 0:
            if command is full:
                return full[-1], dropped
            command = full
            continue
        with open(header, encoding="utf-8") as source:
            lines = source.read().split("\n")
        wrong = set()
        said = check.stderr.decode("utf-8", "replace")
        for line, column in re.findall(r"memoria_fs\.hpp:(\d+):(\d+): (?:fatal )?error", said):
            text = lines[int(line) - 1]
            numbers = re.findall(r"::on\((\d+)\)", text if attempt > 10 else text[:int(column) + 20])
            wrong.update(map(int, numbers if attempt > 4 else numbers[-1:]))
        if not wrong - dropped:
            sys.stderr.write(check.stderr.decode("utf-8", "replace")[:3000])
            raise SystemExit("what was mutated does not compile, and no mutant is to blame")
        dropped |= wrong
    raise SystemExit("what was mutated does not compile")


class Checks:
    """The programs and scripts of CHECKS, built with the mutants in them."""

    def __init__(self, work, parts):
        self.work, self.seconds, self.reached, self.skipped = work, {}, {}, []
        self.chosen = [c for c in CHECKS if set(c[1].split(",")) & set(parts)]
        os.environ.setdefault("MEMORIA_FS_CORPORA", os.path.join(os.path.dirname(TOP), "shared", "corpora"))
        for name, _, source, _ in list(self.chosen):
            subprocess.run([CXX, "-std=c++17", "-O0", "-w", "-D_GLIBCXX_ASSERTIONS", "-include",
                            os.path.join(work, "mutation.hpp"), "-I", work,
                            os.path.join(TOP, source), os.path.join(work, "switch.cpp"), "-pthread", "-o",
                            os.path.join(work, name)], check=True)
            reached = os.path.join(work, name + ".reached")
            before = os.times()
            fate = self.run(name, -1, 600, os.path.join(work, "place"), {"MUTANT_REACHED": reached})
            after = os.times()
            self.seconds[name] = (after.children_user + after.children_system
                                  - before.children_user - before.children_system)
            if fate not in (None, "skips"):
                raise SystemExit(f"{name} fails without a mutation")
            with open(reached, encoding="ascii") as numbers:
                self.reached[name] = set(map(int, numbers.read().split()))

    def run(self, name, mutant, seconds, directory, extra=None):
        program = os.path.join(self.work, name)
        command = next(c[3] for c in CHECKS if c[0] == name)
        environment = dict(os.environ, TMPDIR=directory, MUTANT=str(mutant), **(extra or {}))
        return run([word.replace("{}", program) for word in command], seconds, directory, environment)

    def judge(self, mutant, directory):
        """How many checks reach the mutant, and whether one notices it."""
        names = [c[0] for c in self.chosen if mutant["id"] in self.reached[c[0]]]
        for name in names:
            fate = self.run(name, mutant["id"], self.seconds[name], directory)
            if fate in ("fails", "hangs"):
                return len(names), fate
        return len(names), None


def isolate():
    """Starts this script again where the root is read-only and /dev/shm is its own."""
    if os.environ.get("MEMORIA_FS_ISOLATED") == "yes":
        for command in (["mount", "--make-rprivate", "/"], ["mount", "-t", "tmpfs", "tmpfs", "/dev/shm"]):
            subprocess.run(command, check=True)
        with open("/proc/self/mountinfo") as mounts:
            points = [line.split()[4] for line in mounts]
        for point in points:
            if not point.startswith(("/dev", "/proc", "/sys")):
                subprocess.run(["mount", "-o", "remount,bind,ro", point], check=point == "/", stderr=subprocess.DEVNULL)
        return
    os.environ["MEMORIA_FS_ISOLATED"] = "yes"
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *user, "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*command, "true"], stderr=subprocess.DEVNULL).returncode != 0:
        print("skipped: no mount namespaces here")
        sys.exit(77)
    os.execvp("unshare", [*command, sys.executable, *sys.argv])


def run(command, seconds, directory, environment):
    """Whether a command that needs so many seconds of processor time "fails", "hangs", "skips" or does well: None."""
    subprocess.run(["rm", "-rf", directory], check=False)  # not rmtree: a mutant may nest directories without end
    os.makedirs(directory)
    budget = int(2 + 5 * seconds)  # of processor time: does not depend on how busy the machine is

    def limit():
        resource.setrlimit(resource.RLIMIT_CPU, (budget, budget + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                               cwd=directory,
                               preexec_fn=limit, env=environment, start_new_session=True)
    try:
        status = process.wait(10 + 4 * budget)
    except subprocess.TimeoutExpired:
        return "hangs"
    finally:
        try:
            os.killpg(process.pid, 9)
        except ProcessLookupError:
            pass
        process.wait()
    return {0: None, 77: "skips"}.get(status, "fails")


def run_tests(program, mutant, names, seconds, directory):
    """Whether these test cases notice the mutant."""
    pattern = ",".join(re.sub(r'[,\\"\[\]*;$]', "?", name) for name in names)
    return run([program, "-ts=*", "-tc=" + pattern, "-m", "-aa=1"], seconds, directory,
               dict(os.environ, TMPDIR=directory, MUTANT=str(mutant)))


def groups(names, seconds_of):
    """The tests in the order in which they are worth running, several in one process."""
    names = sorted(names, key=lambda n: seconds_of[n])
    out, total = [], 0.0
    for name in names:
        if not out or total + seconds_of[name] > (0.05 if len(out) == 1 else 1):
            out.append([])
            total = 0.0
        out[-1].append(name)
        total += seconds_of[name]
    return out


class Explanations:
    """mutants.txt. A line is `PART FUNCTION: TEXT -> MUTANT`, or with ~ for the colon a regular expression for the
    text."""

    def __init__(self):
        self.exact, self.patterns, self.used = {}, [], set()
        reason, fresh = [], False
        with open(os.path.join(TOP, "tests", "mutants.txt"), encoding="utf-8") as source:
            for line in source:
                line = line.rstrip("\n")
                if line.startswith("#"):
                    reason = reason + [line[1:].strip()] if fresh else [line[1:].strip()]
                    fresh = True
                elif line.strip():
                    fresh = False
                    group = re.fullmatch(r"(\w+) (\S+) ~ (.*)", line)
                    if group:
                        self.patterns.append((line, group.group(1), re.compile(group.group(2)),
                                              re.compile(group.group(3)), " ".join(reason)))
                    else:
                        self.exact[line] = " ".join(reason)

    def reason(self, mutant):
        key = key_of(mutant)
        if key in self.exact:
            self.used.add(key)
            return self.exact[key]
        for line, part, function, text, reason in self.patterns:
            change = f"{mutant['from']} -> {mutant['to']}"
            if part == mutant["part"] and function.fullmatch(mutant["function"]) and text.search(change):
                self.used.add(line)
                return reason
        return None

    def unused(self):
        return ({*self.exact} | {line for line, *_ in self.patterns}) - self.used


def key_of(mutant):
    return f"{mutant['part']} {mutant['function']}: {mutant['from']} -> {mutant['to']}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=PARTS)
    parser.add_argument("--count", type=int, default=300, help="how many mutants; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0,
                        help="stop after so long, compilation included; 0: no limit")
    parser.add_argument("--longest", type=float, default=6,
                        help="leave out test cases that take more processor seconds")
    parser.add_argument("--only", default="", help="only mutants whose text holds this")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--header", default=os.path.join(TOP, "memoria_fs.hpp"))
    parser.add_argument("--json", action="store_true",
                        help="a line of JSON about each mutant, instead of the survivors")
    parser.add_argument("--list", action="store_true", help="only say how many mutants there are")
    options = parser.parse_args()
    sys.path.append("/usr/lib/python3/dist-packages")  # Debian's, for a python3 that is not
    try:
        from clang import cindex  # noqa: F401
    except ImportError:
        print("skipped: no python3-clang")
        return 77
    if not options.list:
        isolate()
    began = time.time()
    mutator = Mutator(options.header, options.parts.split(","))
    if options.list:
        for part, count in sorted(collections.Counter(m["part"] for m in mutator.mutants).items()):
            print(f"{part:10} {count}")
        return 0
    explained = Explanations()
    reasons = {m["id"]: explained.reason(m) for m in mutator.mutants}
    work = tempfile.mkdtemp(prefix="mutate-", dir="/dev/shm")
    os.environ.update(TMPDIR=work, ASAN_OPTIONS="hard_rss_limit_mb=1500:detect_leaks=1")
    program, dropped = compile_all(mutator, work)
    print(f"{len(mutator.mutants) - len(dropped)} mutants in one program, {len(dropped)} do not compile, "
          f"{time.time() - began:.0f} s", flush=True)

    # Which test reaches which mutant, and how long it takes.
    place = os.path.join(work, "place")
    os.makedirs(place)
    trace = os.path.join(work, "trace")
    done = subprocess.run([program, "-ts=*", "-tse=slow", "-m"], env=dict(os.environ, TMPDIR=place, MUTANT_TRACE=trace),
                          stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, cwd=place)
    if done.returncode != 0:
        sys.stdout.write(done.stdout.decode("utf-8", "replace")[-3000:])
        print("the tests fail without a mutation")
        return 1
    tests, seconds_of = collections.defaultdict(list), {}
    with open(trace, encoding="utf-8") as lines:
        for line in lines:
            seconds, name, numbers = line.rstrip("\n").split("\t")
            seconds_of[name] = float(seconds)
            for number in numbers.split():
                tests[int(number)].append(name)
    left_out = [n for n in seconds_of if seconds_of[n] > options.longest]
    print(f"{len(seconds_of)} test cases, {sum(seconds_of.values()):.0f} s of processor time; left out: "
          f"{', '.join(left_out) or 'none'}",
          flush=True)

    for group in groups([n for n in seconds_of if n not in left_out], seconds_of):
        if run_tests(program, -1, group, sum(seconds_of[n] for n in group), place) is not None:
            print(f"fail on their own without a mutation: {', '.join(group)}")
            return 1

    checks = Checks(work, options.parts.split(","))
    print(f"beside them: {', '.join(f'{name} ({seconds:.1f} s)' for name, seconds in checks.seconds.items())}; "
          f"{time.time() - began:.0f} s", flush=True)

    candidates = [m for m in mutator.mutants if m["id"] not in dropped and options.only in key_of(m)]
    random.Random(options.seed).shuffle(candidates)
    if options.count:
        candidates = candidates[:options.count]
    totals, killed, excused, survivors = (collections.Counter() for _ in range(4))
    own = threading.local()

    def judge(mutant):
        if options.seconds and time.time() - began > options.seconds:
            return mutant, "no time", 0
        if not hasattr(own, "place"):
            own.place = tempfile.mkdtemp(prefix="place-", dir=work)
        names = [n for n in tests[mutant["id"]] if n not in left_out]
        for group in groups(names, seconds_of):
            fate = run_tests(program, mutant["id"], group, sum(seconds_of[n] for n in group), own.place)
            if fate is not None:
                return mutant, fate, len(names)
        more, fate = checks.judge(mutant, own.place)
        return mutant, fate or ("survives" if names or more else "not reached"), len(names) + more

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for mutant, fate, reached_by in pool.map(judge, candidates):
            if fate == "no time":
                continue
            part = mutant["part"]
            totals[part] += 1
            if fate in ("fails", "hangs"):
                killed[part] += 1
            elif reasons[mutant["id"]]:
                excused[part] += 1
            else:
                survivors[part] += 1
                if not options.json:
                    print(f"{mutant['line']:6} {key_of(mutant)}  [{fate}, {reached_by} tests]", flush=True)
            if options.json:
                print(json.dumps({**mutant, "fate": fate, "tests": reached_by, "why": reasons[mutant["id"]]}),
                      flush=True)
    shutil.rmtree(work, ignore_errors=True)

    for part in [*sorted(totals), "all"]:
        total, dead, excuse, alive = (sum(c.values()) if part == "all" else c[part]
                                      for c in (totals, killed, excused, survivors))
        print(f"{part:10} {dead:5} of {total:5} killed, explained: {excuse:3}, not: {alive:3}; "
              f"{100 * dead / max(1, total - excuse):.1f} % of those not explained")
    print(f"seed {options.seed}, {time.time() - began:.0f} s")
    gone = explained.unused() if options.parts == PARTS else set()
    for text in sorted(gone):
        print(f"mutants.txt explains what is not there any more: {text}")
    dead = sum(killed.values())
    return 0 if dead and dead >= 0.9 * sum(totals.values()) and not survivors and not gone else 1


if __name__ == "__main__":
    sys.exit(main())
