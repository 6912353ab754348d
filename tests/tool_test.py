#!/usr/bin/env python3
"""Tests of the tool, examples/memoria, as its users meet it: text, JSON, exit status, error messages.

Builds it with $CXX into $BUILD unless $MEMORIA names a program. Run one test:  tool_test.py Check.test_text
"""
import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
VAULT = TOP / "examples" / "vault"
VAULTS = TOP.parent / "shared" / "corpora" / "vaults"
POSIX = os.name == "posix"


@functools.lru_cache(None)
def program():
    if "MEMORIA" in os.environ:
        return os.environ["MEMORIA"]
    directory = Path(os.environ.get("BUILD") or tempfile.mkdtemp())
    built = directory / "memoria_under_test"
    subprocess.run([os.environ.get("CXX", "c++"), "-std=c++17", "-O1", f"-I{TOP}",
                    *map(str, (TOP / "examples" / "memoria").glob("*.cpp")), "-o", str(built)], check=True)
    return str(built)


def memoria(*arguments, **settings):
    """Runs the tool; gives exit status, output, errors."""
    settings.setdefault("cwd", TOP)
    done = subprocess.run([program(), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                          **settings)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def memoria_json(*arguments, **settings):
    status, out, errors = memoria(*arguments, "--json", **settings)
    if errors:
        raise AssertionError(errors)
    return status, json.loads(out)


class Case(unittest.TestCase):
    maxDiff = None

    def notes(self, **texts):
        """A new directory of notes; "__" in a name is "/", and "_" is a space."""
        directory = Path(tempfile.mkdtemp(prefix="memoria tool "))
        self.addCleanup(shutil.rmtree, directory, True)
        for name, text in texts.items():
            file = directory / (name.replace("__", "/").replace("_", " ") + ".md")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode("utf-8"))
        return directory

    def unreadable(self, file):
        if os.geteuid() != 0:
            file.touch(0)
        elif os.path.exists("/proc/self/mem"):  # nothing is forbidden to root, but there is nothing at the address 0
            file.symlink_to("/proc/self/mem")
        else:
            self.skipTest("root can read everything")

    def failed(self, *arguments, says):
        status, out, errors = memoria(*arguments)
        self.assertEqual((status, out), (2, ""), errors)
        self.assertTrue(errors.startswith("memoria: "), errors)
        self.assertIn(says, errors)


class Check(Case):
    def test_text(self):
        status, out, errors = memoria("check", "examples/vault", "--anchors")
        expected = (Path(__file__).parent / "tool" / "check_vault.txt").read_text(encoding="utf-8")
        self.assertEqual((status, out, errors), (1, expected, ""))

    def test_finds_what_the_vault_says_it_should(self):
        _, found = memoria_json("check", "examples/vault", "--anchors")
        self.assertEqual({key: found["summary"][key] for key in ("broken", "unsafe", "missing_anchors", "ambiguous",
                                                                 "orphans", "unreadable")},
                         {"broken": 3, "unsafe": 2, "missing_anchors": 2, "ambiguous": 1, "orphans": 3,
                          "unreadable": 0})
        self.assertEqual([link["target"] for link in found["broken"]],
                         ["copy-on-write file systems", "fsnyc", "power-cut.png"])
        self.assertEqual([link["target"] for link in found["unsafe"]], ["../../etc/passwd", "/etc/passwd"])
        self.assertEqual(found["ambiguous"][0]["candidates"], ["locking/overview.md", "platforms/overview.md"])
        self.assertEqual(found["orphans"], ["battery-backed caches.md", "inbox.md", "reading list.md"])

    def test_json_agrees_with_itself_and_with_the_manual(self):
        _, found = memoria_json("check", "examples/vault")
        for kind in ("broken", "unsafe", "missing_anchors", "unreadable", "ambiguous", "orphans", "notes"):
            self.assertEqual(found["summary"][kind], len(found[kind]), kind)
        self.assertEqual(found["summary"]["links"], sum(note["outbound"] for note in found["notes"]))
        self.assertEqual(found["format"], "memoria check 1")
        self.assertIn("examples/memoria/README.md", memoria("check", "--help")[1])
        manual = (TOP / "examples/memoria/README.md").read_text(encoding="utf-8")
        manual = manual.partition("## JSON")[2].partition("\n## ")[0]
        for name in [*found, *found["summary"], *found["ambiguous"][0], *found["notes"][0]]:
            self.assertIn(f"`{name}`", manual)

    def test_positions_are_where_the_links_are(self):
        _, found = memoria_json("check", "examples/vault", "--anchors")
        for link in found["broken"] + found["unsafe"] + found["missing_anchors"] + found["ambiguous"]:
            line = (VAULT / link["note"]).read_bytes().split(b"\n")[link["line"] - 1]
            written = ("![[" if link["embed"] else "[[") + link["target"]
            self.assertTrue(line[link["column"] - 1:].startswith(written.encode()), link)

    def test_strict_makes_errors_of_warnings(self):
        orphan = self.notes(a="[[b]]", b="text")
        self.assertEqual(memoria("check", orphan)[0], 0)
        status, out, _ = memoria("check", orphan, "--strict")
        self.assertEqual(status, 1)
        self.assertIn("a.md: error: orphan", out)

    def test_a_clean_directory(self):
        status, found = memoria_json("check", self.notes(a="[[b]]", b="[[a]]"), "--strict")
        self.assertEqual((status, found["clean"]), (0, True))

    def test_code_counts_only_when_asked_for(self):
        code = self.notes(a="[[b]] `[[x]]`\n\n```\n[[y]]\n```\n", b="[[a]]")
        self.assertEqual(memoria("check", code)[0], 0)
        _, found = memoria_json("check", code, "--include-code")
        self.assertEqual([link["target"] for link in found["broken"]], ["x", "y"])

    def test_long_lists_are_cut_unless_all_is_asked_for(self):
        many = self.notes(a="".join(f"[[gone {i}]]\n" for i in range(100)))
        out = memoria("check", many)[1]
        self.assertEqual(out.count("broken link"), 41)
        self.assertIn("... and 60 more broken links: --all shows them", out)
        self.assertEqual(memoria("check", many, "--all")[1].count(": error: broken link"), 100)

    def test_suggests_what_was_meant(self):
        self.assertIn("[[fsnyc]]; did you mean [[fsync]]?", memoria("check", self.notes(a="[[fsnyc]]", fsync=""))[1])

    def test_no_notes_at_all(self):
        status, out, errors = memoria("check", self.notes())
        self.assertEqual(status, 0)
        self.assertIn("0 notes", out)
        self.assertIn("no note", errors)

    def test_ways_to_write_the_directory(self):
        where = self.notes(a="[[gone]]")
        for given, shown in ((f"{where}/", f"{where}/a.md:1:1"), (str(where), f"{where}/a.md:1:1")):
            self.assertIn(shown, memoria("check", given)[1])
        self.assertIn("\na.md:1:1: error", memoria("check", ".", cwd=where)[1])

    @unittest.skipUnless(POSIX, "names of any bytes")
    def test_hostile_names_and_links(self):
        where = self.notes(a="[[\x1b]0;owned\x07]] [[x\u009by]]")
        (where / "bad\udcff\x1b[31m.md").write_bytes(b"[[caf\xe9]]")
        status, out, _ = memoria("check", where)
        self.assertEqual(status, 1)
        self.assertNotRegex(out, "[\x00-\x09\x0b-\x1f\x7f-\x9f]")
        _, found = memoria_json("check", where)
        self.assertIn("caf\ufffd", [link["target"] for link in found["broken"]])

    @unittest.skipUnless(POSIX, "permissions")
    def test_a_note_that_cannot_be_read_is_reported_and_does_not_stop(self):
        where = self.notes(a="[[b]]", b="[[a]] [[c]]")
        self.unreadable(where / "c.md")
        status, found = memoria_json("check", where)
        self.assertEqual(status, 1)
        self.assertEqual(found["summary"]["broken"], 0)
        self.assertEqual([item["name"] for item in found["unreadable"]], ["c.md"])
        self.assertIn("c.md: error: cannot be read: ", memoria("check", where)[1])

    @unittest.skipUnless(POSIX, "symbolic links")
    def test_what_is_not_a_file_is_no_note(self):
        where = self.notes(a="[[b]]", b="[[a]]", d__x="[[a]]")
        (where / "gone.md").symlink_to("nowhere")
        (where / "folder.md").mkdir()
        os.mkfifo(where / "pipe.md")
        self.assertEqual(memoria_json("check", where)[1]["summary"]["notes"], 3)

    def seed_counts(self, directory):
        """What the Python original finds: its expression, its parse_wikilink, its path."""
        links = broken = 0
        for root, folders, files in os.walk(directory):
            folders[:] = [f for f in folders if not f.startswith(".")]
            for file in files:
                if not file.endswith(".md") or file.startswith("."):
                    continue
                text = Path(root, file).read_bytes().decode("utf-8", "surrogateescape")
                for raw in re.findall(r"\[\[([^\]|]+)(?:\|[^\]]*)?\]\]", text):
                    links += 1
                    target = raw.split("|")[0].strip()
                    inside = target and not target.startswith("/") and "\0" not in target
                    try:
                        article = (directory / f"{target}.md").resolve()
                        inside = inside and article.is_relative_to(directory.resolve())
                        broken += not (inside and article.exists())
                    except (OSError, ValueError):
                        broken += 1
        return links, broken

    def agrees_with_the_original(self, directory):
        _, found = memoria_json("check", directory, "--include-code", "--resolve", "path")
        summary = found["summary"]
        self.assertEqual((summary["links"], summary["broken"] + summary["unsafe"]), self.seed_counts(directory))

    def test_counts_equal_those_of_the_original(self):
        self.agrees_with_the_original(VAULT)

    @unittest.skipUnless(VAULTS.is_dir(), "no corpora here")
    def test_counts_equal_those_of_the_original_on_real_notes(self):
        for vault in sorted(VAULTS.iterdir()):
            with self.subTest(vault.name):
                self.agrees_with_the_original(vault)


class Links(Case):
    def test_in_and_out(self):
        where = self.notes(a="[[b#h|text]] [[gone]] [[#here]]", b="x ![[a]]", dir__c="[[a]] [[a]]")
        status, out, _ = memoria("links", where, "a")
        self.assertEqual(status, 0)
        self.assertEqual(out.replace(f"{where}/", ""), """\
a.md:1:1: [[b#h]] -> b.md
a.md:1:14: [[gone]] -> broken
a.md:1:23: [[#here]] -> a.md

b.md:1:3: ![[a]]
dir/c.md:1:1: [[a]]
dir/c.md:1:7: [[a]]

a.md: 3 links in it, 3 links to it from 2 other notes
""")

    def test_ways_to_name_the_note(self):
        for name in ("lock file", "locking/lock file", "locking/lock file.md", "examples/vault/locking/lock file.md",
                     "./examples/vault/locking/lock file.md"):
            with self.subTest(name):
                self.assertEqual(memoria_json("links", "examples/vault", name)[1]["note"]["name"],
                                 "locking/lock file.md")
        self.assertEqual(memoria_json("links", "examples/vault", "WAL")[1]["note"]["name"], "write-ahead log.md")

    def test_no_such_note(self):
        self.failed("links", VAULT, "fsnyc", says='did you mean "fsync"?')


class Rename(Case):
    def test_rewrites_every_link(self):
        where = self.notes(old="[[#self]] [[old]]", b="see [[old#h|the old]], ![[old]]", c="`[[old]]`")
        status, out, errors = memoria("rename", where, "old", "new")
        self.assertEqual((status, errors), (0, ""))
        self.assertIn("old is now new, 3 links rewritten", out)
        self.assertEqual((where / "b.md").read_text(), "see [[new#h|the old]], ![[new]]")
        self.assertEqual((where / "c.md").read_text(), "`[[old]]`")
        self.assertEqual((where / "new.md").read_text(), "[[#self]] [[new]]")
        self.assertFalse((where / "old.md").exists())
        self.assertEqual(memoria("check", where)[0], 0)

    def test_a_dry_run_changes_nothing(self):
        where = self.notes(old="", b="[[old]]")
        before = {file.name: file.read_bytes() for file in where.iterdir()}
        status, out, _ = memoria("rename", where, "old", "new", "--dry-run")
        self.assertEqual(status, 0)
        self.assertIn("old would become new, 1 link would be rewritten", out)
        self.assertIn("b.md:1:1: [[old]] -> [[new]]", out)
        self.assertEqual(before, {file.name: file.read_bytes() for file in where.iterdir()})

    def test_json(self):
        where = self.notes(old="", b="[[old]]")
        status, done = memoria_json("rename", where, "old", "new")
        self.assertEqual(status, 0)
        self.assertEqual(done["changes"], [{"note": "b.md", "line": 1, "column": 1, "before": "old", "after": "new"}])
        self.assertTrue(done["moved"])

    def test_again_is_no_failure(self):
        where = self.notes(old="", b="[[old]]")
        self.assertEqual(memoria("rename", where, "old", "new")[0], 0)
        status, out, _ = memoria("rename", where, "old", "new")
        self.assertEqual(status, 0)
        self.assertIn("there is no note old, but there is new: moved already", out)

    def test_into_a_folder_and_with_completed_paths(self):
        where = self.notes(old="", b="[[old]]")
        self.assertEqual(memoria("rename", where, where / "old.md", "archive/")[0], 0)
        self.assertTrue((where / "archive" / "old.md").exists())
        self.assertEqual(memoria("rename", where, "archive/old", "older")[0], 0)
        name = where.name
        self.assertEqual(memoria("rename", name, f"{name}/older.md", f"{name}/oldest.md", cwd=where.parent)[0], 0)
        self.assertEqual(memoria("rename", ".", where / "oldest.md", "last", cwd=where)[0], 0)
        self.assertEqual((where / "b.md").read_text(), "[[last]]")

    def test_what_cannot_be_done_changes_nothing(self):
        where = self.notes(old="text", there="other", b="[[old]]")
        before = {file.name: file.read_bytes() for file in where.iterdir()}
        self.failed("rename", where, "old", "there", says="there exists already; nothing was changed")
        self.failed("rename", where, "gone", "new", says="there is no note gone in")
        self.failed("rename", where, "old", "../outside", says="has to stay in")
        self.failed("rename", where, "old", "a|b", says="nothing was changed")
        after = {file.name: file.read_bytes() for file in where.iterdir() if not file.name.startswith(".")}
        self.assertEqual(before, after)

    @unittest.skipUnless(POSIX, "permissions")
    def test_a_note_that_cannot_be_read_stops_it(self):
        where = self.notes(old="", b="[[old]]")
        self.unreadable(where / "c.md")
        self.failed("rename", where, "old", "new", says="c.md cannot be read: ")
        self.assertEqual((where / "b.md").read_text(), "[[old]]")


class Graph(Case):
    def test_dot_and_json_agree(self):
        _, found = memoria_json("graph", "examples/vault")
        dot = memoria("graph", "examples/vault")[1]
        self.assertEqual(len(re.findall(r"^  n\d+ \[label", dot, re.M)), len(found["notes"]))
        self.assertEqual(len(re.findall(r"^  n\d+ -> n\d+", dot, re.M)), len(found["edges"]))
        self.assertEqual(len(re.findall(r"^  n\d+ -> b\d+", dot, re.M)), len(found["dead_ends"]))
        self.assertEqual({end["target"] for end in found["dead_ends"]},
                         {"../../etc/passwd", "/etc/passwd", "copy-on-write file systems", "fsnyc", "power-cut.png"})

    @unittest.skipUnless(shutil.which("dot"), "no Graphviz here")
    def test_graphviz_draws_it(self):
        odd = self.notes(**{'a"b\\n': "[[gone\\\"]] [[c]]", "c": ""})
        for where in (VAULT, odd):
            dot = memoria("graph", where)[1].encode()
            done = subprocess.run(["dot", "-Tsvg"], input=dot, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertIn(b"<svg", done.stdout)


class CommandLine(Case):
    def test_help_and_version(self):
        status, out, _ = memoria("--help")
        self.assertEqual(status, 0)
        for command in ("check", "links", "rename", "graph", "flush", "hook", "compile", "log", "state", "doctor"):
            self.assertIn(f"memoria {command} ", out)
            status, own, _ = memoria(command, "--help")
            self.assertEqual(status, 0)
            self.assertEqual(own, memoria("help", command)[1])
            self.assertLessEqual(max(map(len, own.splitlines())), 80)
            self.assertIn("Exit status", own)
        header = (TOP / "memoria_fs.hpp").read_text(encoding="utf-8")
        number = int(re.search(r"^#define MEMORIA_FS_VERSION (\d+)", header, re.M)[1])
        version = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
        self.assertEqual(memoria("--version")[:2], (0, f"memoria {version}\n"))

    def test_misuse_is_explained(self):
        self.failed(says="`memoria --help`")
        self.failed("chek", VAULT, says="did you mean check?")
        self.failed(VAULT, says=f"memoria check {VAULT}")
        self.failed("check", says="missing: DIR")
        self.failed("check", "", says="DIR is empty")
        self.failed("check", VAULT, "b", says="one argument too many: b")
        self.failed("check", VAULT, "--josn", says="did you mean --json?")
        self.failed("check", VAULT, "--resolve", says="needs a value")
        self.failed("check", VAULT, "--resolve=magic", says='"magic"')
        self.failed("check", VAULT, "--json=yes", says="takes no value")
        self.failed("check", VAULT, "--anchors", "--resolve", "path", says="--anchors")
        self.failed("check", TOP / "nowhere", says="No such file" if POSIX else "nowhere")
        self.failed("check", TOP / "README.md", says="README.md")

    def test_arguments_that_look_like_options(self):
        where = self.notes(**{"-a": "", "b": "[[-a]]"})
        self.assertEqual(memoria_json("links", where, "b")[0], 0)
        status, out, _ = memoria("links", where, "--", "-a")
        self.assertEqual(status, 0)
        self.assertIn("-a.md: 0 links in it, 1 link to it", out)

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full here")
    def test_a_full_disk_is_noticed(self):
        for arguments in (["check", VAULT], ["--help"], ["graph", VAULT, "--json"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([program(), *map(str, arguments)], stdout=full, stderr=subprocess.PIPE)
            self.assertEqual(done.returncode, 2)
            self.assertIn(b"cannot write to standard output", done.stderr)

    @unittest.skipUnless(POSIX, "pipes")
    def test_a_closed_pipe_is_noticed_quietly(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([program(), "check", str(VAULT)], stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        self.assertEqual((done.returncode, done.stderr), (2, b""))

    @unittest.skipUnless(POSIX, "pseudo terminals")
    def test_colours_only_on_a_terminal_that_wants_them(self):
        def on_a_terminal(**environment):
            try:
                terminal, end = os.openpty()
            except OSError:
                self.skipTest("no pseudo terminals here")
            child = subprocess.Popen([program(), "check", str(VAULT)], stdout=end, stderr=end,
                                     env={**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, **environment})
            os.close(end)
            seen = b""
            try:
                while piece := os.read(terminal, 65536):
                    seen += piece
            except OSError:
                pass  # Linux: the end of a pseudo terminal
            os.close(terminal)
            self.assertEqual(child.wait(), 1)
            return seen
        self.assertIn(b"\x1b[1;31merror: \x1b[0m", on_a_terminal(TERM="xterm"))
        self.assertNotIn(b"\x1b", on_a_terminal(TERM="xterm", NO_COLOR="1"))
        self.assertNotIn(b"\x1b", on_a_terminal(TERM="dumb"))
        self.assertNotIn("\x1b", memoria("check", VAULT)[1])

    def test_names_beyond_ascii(self):
        where = self.notes(日誌="[[ü]]", ü="[[日誌]] [[weg]]")
        deeper = where / "Verzeichnis ☕"
        deeper.mkdir()
        for file in list(where.glob("*.md")):
            file.rename(deeper / file.name)
        status, out, _ = memoria("check", deeper)
        self.assertEqual(status, 1)
        self.assertIn(f"{deeper}/ü.md:1:12: error: broken link [[weg]]", out)
        self.assertEqual(memoria_json("links", deeper, "日誌")[1]["note"], {"name": "日誌.md", "inbound": 1, "outbound": 1})


if __name__ == "__main__":
    unittest.main()
