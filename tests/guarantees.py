#!/usr/bin/env python3
"""Tests that every guarantee of the README's table has a test: guarantees.md names it, and it exists."""
import re
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parent


def rows_of_the_readme():
    """Function -> the columns that promise something."""
    readme = (TOP / "README.md").read_text(encoding="utf-8")
    section = readme[readme.index("## What it promises"):readme.index("## Every function")]
    heading, *rows = [row.split(" | ") for row in re.findall(r"^\| (.*) \|$", section, re.M)]
    return {row[0]: [column for column, cell in zip(heading[1:], row[1:]) if cell != "-"] for row in rows}


def test_cases():
    sources = [TOP / "memoria_fs.hpp", *HERE.glob("*.cpp")]
    case = re.compile(r'^DOCTEST_TEST_CASE\("([^"]+)"', re.M)
    return {name for file in sources for name in case.findall(file.read_text(encoding="utf-8"))}


def ctest_names():
    """What add_script_test adds, with the loops around it unrolled."""
    names, loops = set(), []
    for file in HERE.rglob("CMakeLists.txt"):
        for line in file.read_text(encoding="utf-8").splitlines():
            words = re.match(r"\s*(foreach|endforeach|add_script_test)\(([^\s)]*)\s*([^)]*)", line)
            if not words:
                continue
            kind, first, rest = words.groups()
            if kind == "foreach":
                loops.append((first, rest.split()))
            elif kind == "endforeach":
                loops.pop()
            else:
                found = {first}
                for variable, values in loops:
                    found = {name.replace(f"${{{variable}}}", value) for name in found for value in values}
                names |= found
    return names


class Guarantees(unittest.TestCase):
    def test_every_guarantee_has_a_test_that_exists(self):
        rows, cases, scripts = rows_of_the_readme(), test_cases(), ctest_names()
        self.assertGreater(len(rows), 10)
        sections = re.split(r"^## ", (HERE / "guarantees.md").read_text(encoding="utf-8"), flags=re.M)[1:]
        listed = {section.splitlines()[0]: dict(re.findall(r"^- ([^:]+): (.+)$", section, re.M))
                  for section in sections}
        self.assertEqual(list(listed), list(rows))
        for function, columns in rows.items():
            for column in columns:
                self.assertIn(column, listed[function], f"{function}: no test for this column")
            for column, tests in listed[function].items():
                self.assertIn(column, columns, f"{function} promises nothing here")
                names = re.findall(r'"([^"]+)"|(\w+)', tests)
                self.assertTrue(names, f"{function}, {column}: no test")
                for case, script in names:
                    self.assertIn(case or script, cases if case else scripts, f"{function}, {column}")


if __name__ == "__main__":
    unittest.main()
