#!/usr/bin/env python3
"""Tests that the documents say what is true: README.md, the header's first screen and examples/quickstart.cpp agree,
code in the README compiles and runs, what it shows of the tool's output is what the tool writes."""
import itertools
import os
import re
import shutil
import subprocess
import tempfile
import textwrap
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
README = (TOP / "README.md").read_text(encoding="utf-8")
HEADER = (TOP / "memoria_fs.hpp").read_text(encoding="utf-8")
QUICKSTART = (TOP / "examples" / "quickstart.cpp").read_text(encoding="utf-8")
INTRO = HEADER[:HEADER.index("\n#")]  # the comment before the first line of code
CXX = os.environ.get("CXX", "c++")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


class Readme(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory, True)

    def compiled(self, source, name):
        file = self.directory / f"{name}.cpp"
        file.write_text(source, encoding="utf-8")
        program = self.directory / name
        subprocess.run([CXX, "-std=c++17", f"-I{TOP}", str(file), "-o", str(program)], check=True)
        return str(program)

    def test_the_example_is_the_same_everywhere(self):
        self.assertEqual(blocks("cpp")[0], QUICKSTART)
        lines = [line[5:] for line in INTRO.splitlines() if line.startswith("//   ") or line == "//"]
        self.assertIn(QUICKSTART, "\n".join(lines))

    def test_every_program_compiles_and_runs_in_an_empty_directory(self):
        for number, source in enumerate(blocks("cpp")):
            program = self.compiled(source, f"block{number}")
            empty = self.directory / f"empty{number}"
            empty.mkdir()
            for run in ("1", "2"):
                done = subprocess.run([program], cwd=empty, stdout=subprocess.PIPE, check=True)
                if number == 0:
                    self.assertEqual(done.stdout.decode().splitlines(),
                                     ["rename: missing", "../../etc/passwd: refused", f"run number {run}"])

    def test_the_guarantees_are_the_same_in_the_header(self):
        section = README[README.index("## What it promises"):README.index("## Every function")]
        rows = [re.sub("[`*]", "", row).split(" | ") for row in re.findall(r"^\| (.*) \|$", section, re.M)]
        self.assertGreater(len(rows), 10)
        # The header has the same rows, wrapped into columns that begin where those of the heading do.
        heading = next(line for line in INTRO.splitlines() if line.split()[1:3] == rows[0][:2])
        starts = [match.start() for match in re.finditer(r"(?<=  )\S", heading)]
        widths = [b - a - 2 for a, b in zip(starts, starts[1:])] + [120 - starts[-1]]
        for row in rows:
            columns = [textwrap.wrap(cell, width, break_on_hyphens=False) for cell, width in zip(row, widths)]
            lines = ["  ".join(part.ljust(width) for part, width in zip(parts, widths)).rstrip()
                     for parts in itertools.zip_longest(*columns, fillvalue="")]
            self.assertIn("".join(f"//   {line}\n" for line in lines), INTRO)

    def test_every_function_it_names_is_in_the_header(self):
        section = README[README.index("## Every function"):README.index("## JSON")]
        names = re.findall(r"`([a-z_]+)[`(]", section)
        self.assertGreater(len(names), 25)
        for name in names:
            self.assertRegex(HEADER, rf"\b{name}\b")
        for tag in re.findall(r"`(\[[a-z]+\])`", section):
            self.assertIn(f"//   {tag}", INTRO)
            self.assertIn(f"// ---- {tag} ---", HEADER)

    def test_links_between_the_documents_lead_somewhere(self):
        def prose(file):  # without code, where brackets mean something else
            return re.sub(r"^```.*?^```$|(?<!\[)`[^`\n]*`", "", file.read_text(encoding="utf-8"), flags=re.M | re.S)

        def anchors(file):
            return {re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-")
                    for title in re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.M)}

        documents = [file for pattern in ("*.md", "tests/**/*.md", "examples/*.md", "examples/memoria/*.md")
                     for file in TOP.glob(pattern)]
        self.assertGreaterEqual(len(documents), 5)
        for file in documents:
            for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", prose(file)):
                there = file.parent / target if target else file
                self.assertTrue(there.exists(), f"{file.name}: {target}")
                if anchor and there.suffix == ".md":
                    self.assertIn(anchor, anchors(there), f"{file.name}: {target}#{anchor}")
        for command in re.findall(r"^sh (\S+)", README, re.M):
            self.assertTrue((TOP / command).exists(), command)

    def test_every_figure_names_what_printed_it(self):
        section = README[README.index("## What was measured"):README.index("## Limits")]
        by_hand = re.search(r"^\| what \| result \| printed by \|\n\|---\|---\|---\|\n((?:\|.*\n)+)", section, re.M)
        rows = by_hand[1].splitlines()
        self.assertGreater(len(rows), 5)
        for number, row in enumerate(rows):
            printed_by = row.strip("| ").split(" | ")[-1]
            if number != 0 and printed_by == "the same":
                continue
            files = re.findall(r"\b(?:tests|examples)/[\w./]+", printed_by)
            self.assertTrue(files, f"no file in: {row}")
            for file in files:
                self.assertTrue((TOP / file).exists(), file)
        for command in re.findall(r"`(?:[A-Z]+=\S+ )?(?:sh|python3) ([\w./]+)", section):
            self.assertTrue((TOP / command).exists(), command)
        generated = re.search(r"<!-- measured by sh (\S+) .*?-->\n(.*?)<!-- end of measured -->", section, re.S)
        self.assertTrue((TOP / generated[1]).exists())
        self.assertGreater(generated[2].count("\n| "), 10, "run the command that is named there")
        for chart in re.findall(r"\((\S+\.svg)\)", generated[2]):
            self.assertIn("<svg", (TOP / chart).read_text(encoding="utf-8"))

    def test_the_tool_writes_what_is_shown(self):
        session = next(block for block in blocks("") if block.startswith("$ memoria"))
        line = next(line for line in README.splitlines() if line.startswith("c++ ") and "examples/memoria" in line)
        tool = self.directory / "memoria"
        subprocess.run(line.replace("c++", CXX, 1).replace("-o memoria", f"-o '{tool}'"), shell=True, cwd=TOP,
                       check=True)
        command, *shown = session.splitlines()
        out = subprocess.run([tool, *command.split()[2:]], cwd=TOP, stdout=subprocess.PIPE).stdout.decode().splitlines()
        at = 0
        for line in shown:
            if line != "...":  # lines are left out here
                self.assertIn(line, out[at:])
                at += out[at:].index(line) + 1


if __name__ == "__main__":
    unittest.main()
