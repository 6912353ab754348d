#!/usr/bin/env python3
"""The whole pipeline of the tool with many processes at once, some of which fail and some of which are killed:

storm      rounds of 8 flushes, with summarizers that fail, killed -9, and log entries of the Python original in
           between; every context is in the log exactly once or still on disk, nothing is mixed, the state is JSON at
           every moment
crash      one flush, and one compile, killed before each of its system calls in turn, then run again (needs strace)
together   state and logs written in turn by the tool and by the Python original, each reading the other's
detached   a flush outlives the SIGHUP that ends its hook, and holds none of the hook's pipes; one compile at a time

Runs the program that $MEMORIA names, or builds one. One scene: pipeline.py storm. More of it: ROUNDS=20 pipeline.py
"""
import collections
import hashlib
import importlib.util
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tool_test import TOP, program  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "1"))
SEED_FILE = TOP.parent / "shared" / "seed" / "fs_utils.py"
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("MEMORIA")}
SESSIONS = 8

# Fails as often as FAILS says, then answers with the context's TAG on many lines.
SUMMARIZER = """echo x >> "$COUNT"; tag=$(sed -n 's/^TAG //p')
[ $(wc -l < "$COUNT") -gt $FAILS ] || exit 1
awk -v tag="$tag" 'BEGIN { for (i = 0; i < 150; ++i) print "- " tag " line " i }'"""


def seed():
    if not SEED_FILE.exists():
        raise unittest.SkipTest("the Python original is not here")
    spec = importlib.util.spec_from_file_location("fs_utils", SEED_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def body(tag):
    return "".join(f"- {tag} line {i}\n" for i in range(150))


def marker(session, text):
    return hashlib.sha256(f"{session}\n{text}".encode()).hexdigest()


class Watcher(threading.Thread):
    """Reads a state file as fast as it can; what is not JSON is a failure."""

    def __init__(self, file):
        super().__init__()
        self.file, self.reads, self.failure, self.over = file, 0, None, threading.Event()

    def run(self):
        while not self.over.is_set():
            try:
                json.loads(self.file.read_bytes())
                self.reads += 1
            except FileNotFoundError:
                pass
            except ValueError as e:
                self.failure = str(e)
            time.sleep(0.0005)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


class Pipeline(unittest.TestCase):
    def setUp(self):
        self.here = Path(tempfile.mkdtemp(prefix="memoria pipeline "))
        self.addCleanup(shutil.rmtree, self.here, True)
        self.memory = self.here / "memory"
        self.contexts = self.memory / ".memoria" / "contexts"
        self.contexts.mkdir(parents=True)

    def run_tool(self, *arguments, **settings):
        return subprocess.run([program(), *map(str, arguments)], cwd=self.here, stdout=subprocess.PIPE, timeout=120,
                              stderr=subprocess.PIPE, env={**PLAIN, **settings.pop("env", {})}, **settings)

    def log_text(self):
        return "".join(file.read_text() for file in sorted((self.memory / "daily").glob("*.md")))

    def state(self):
        return json.loads((self.memory / ".memoria" / "state.json").read_text())

    def check_log(self, tags, kills=0):
        """Takes the log apart completely. How often each marker is there; tags: what is said under which marker."""
        counts = collections.Counter()
        for file in (self.memory / "daily").glob("*.md"):
            heading, *entries = re.split(r"^(?=### )", file.read_text(), flags=re.M)
            self.assertEqual(heading, f"# Daily log: {file.stem}\n\n")
            for entry in entries:
                whole = re.fullmatch(r"### Session \(\d\d:\d\d\)\n\n(.*)\n<!-- memoria ([0-9a-f]{64}) -->\n\n", entry,
                                     re.S)
                if entry.startswith("### Python"):
                    self.assertRegex(entry, r"\A### Python (\d+)\n\n(- python \1\n){50}\n\Z")
                    counts["python"] += 1
                elif whole:
                    self.assertEqual(whole[1], body(tags[whole[2]]))
                    counts[whole[2]] += 1
                else:  # killed while it was written: the beginning of an entry, and nothing of another
                    kills -= 1
                    self.assertGreaterEqual(kills, 0, entry)
                    said = entry.split("\n\n", 1)[1].rstrip("\n") if "\n\n" in entry else ""
                    self.assertTrue(any(body(tag).startswith(said[:len(body(tag))]) for tag in tags.values()), entry)
        return counts

    def test_storm(self):
        rng = random.Random(7)
        python = seed() if SEED_FILE.exists() else None
        tags, sessions, interrupted, flushed, killed, failed, pythons = {}, {}, set(), 0, 0, 0, 0
        with Watcher(self.memory / ".memoria" / "state.json") as watcher:
            for turn in range(12 * ROUNDS):
                running = []
                for i in range(SESSIONS):
                    # The last two are one session: its end and, at the same moment, its compaction.
                    session, tag = f"r{turn}s{min(i, SESSIONS - 2)}", f"r{turn}c{i}"
                    text = f"TAG {tag}\n"
                    name = self.contexts / f"{session}.{i}.md"
                    name.write_text(text)
                    tags[marker(session, text)] = tag
                    sessions.setdefault(session, []).append((marker(session, text), name))
                    fails, count = str(rng.choice([0, 0, 0, 1, 2, 3])), str(self.here / f"count {tag}")
                    running.append(subprocess.Popen(
                        [program(), "flush", str(name), session, "--dir", "memory", "--summarizer", SUMMARIZER,
                         "--retry-wait", "0", *(["--pending"] if i == 0 else [])], cwd=self.here,
                        env={**PLAIN, "FAILS": fails, "COUNT": count}, stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL))
                for victim in rng.sample(range(SESSIONS), 3):
                    time.sleep(rng.uniform(0, 0.06))
                    running[victim].kill()
                    # With --pending, it may have been at work on any context of this round or an earlier one.
                    interrupted.update(sessions if victim == 0 else [f"r{turn}s{min(victim, SESSIONS - 2)}"])
                if python:
                    daily = self.memory / "daily" / time.strftime("%Y-%m-%d.md")
                    if daily.exists():
                        python.locked_append_text(daily, f"### Python {turn}\n\n" + f"- python {turn}\n" * 50 + "\n")
                        pythons += 1
                for process in running:
                    status = process.wait()
                    self.assertIn(status, (0, 1, -signal.SIGKILL))
                    killed, failed, flushed = killed + (status < 0), failed + (status == 1), flushed + (status == 0)
                counts = self.check_log(tags, killed)
                for session, contexts in sessions.items():
                    if session not in interrupted:  # within 60 seconds; a killed flush may have remembered nothing
                        self.assertLessEqual(sum(counts[mark] for mark, _ in contexts), 1, session)
                    for mark, file in contexts:
                        self.assertTrue(counts[mark] == 1 or file.exists(), f"lost: {tags[mark]}")
        self.assertIsNone(watcher.failure)
        self.assertGreater(watcher.reads, 100)
        self.assertEqual(counts["python"], pythons)
        self.assertGreater(min(killed, failed, flushed), 0)
        waiting = len(list(self.contexts.glob("*.md")))

        # A minute later a healthy summarizer takes everything along.
        for _ in range(3):
            self.run_tool("state", "memory/.memoria/state.json", "set", "/sessions", "{}")
            for file in sorted(self.contexts.glob("*.md")):
                done = self.run_tool("flush", file, file.name.split(".")[0], "--dir", "memory", "--summarizer",
                                     SUMMARIZER,
                                     env={"FAILS": "-1", "COUNT": "/dev/null"}) if file.exists() else None
                self.assertTrue(done is None or done.returncode == 0, done)
        counts = self.check_log(tags, killed)
        self.assertEqual(list(self.contexts.glob("*.md")), [])
        self.assertEqual([tags[mark] for mark in tags if counts[mark] != 1], [])
        print(f"\nstorm: {len(tags)} contexts, {flushed} flushes ended well, {failed} failed, {killed} killed, "
              f"{waiting} contexts waited; each is in the log once; {pythons} entries by Python; "
              f"{watcher.reads} reads of the state")

    def kill_at_each_call(self, command, prepare, check):
        """Runs a command, killed before each of its system calls that change something, one after the other."""
        if not shutil.which("strace"):
            self.skipTest("no strace here")
        trace = self.here / "trace"

        def traced(*options):
            prepare()
            return subprocess.run(["strace", "-qq", "-o", str(trace), *options, program(), *command], cwd=self.here,
                                  env={**PLAIN, "FAILS": "-1", "COUNT": "/dev/null"}, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)
        done = traced("-e", "trace=/^(openat|write|f.*sync|sync_.*|rename.*|link.*|unlink.*|mkdir.*|flock|ftruncate)$")
        if b"ptrace" in done.stderr:
            self.skipTest(done.stderr.decode())
        self.assertEqual(done.returncode, 0, done)
        calls = collections.Counter(re.findall(r"^(\w+)\(", trace.read_text(), re.M))
        self.assertGreaterEqual(set(calls), {"write", "fsync", "flock"})
        for call, times in calls.items():
            for nth in range(1, times + 1):
                done = traced("-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={nth}")
                self.assertIn("killed by SIGKILL", trace.read_text(), done)
                check()
        return sum(calls.values())

    def test_crash_of_a_flush(self):
        tags, context = {marker("s1", "TAG one\n"): "one"}, self.contexts / "s1.0.md"
        command = ["flush", str(context), "s1", "--dir", "memory", "--summarizer", SUMMARIZER, "--retry-wait", "0"]
        appended = 0

        def prepare():
            shutil.rmtree(self.memory)
            self.contexts.mkdir(parents=True)
            context.write_text("TAG one\n")

        def check():
            nonlocal appended
            before = self.check_log(tags, 1)
            appended += sum(before.values())
            self.assertTrue(context.exists() or sum(before.values()) == 1)
            if context.exists():
                done = self.run_tool(*command[:-2], env={"FAILS": "-1", "COUNT": "/dev/null"})
                self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertEqual(list(self.check_log(tags, 1).values()), [1])
            self.assertFalse(context.exists())
            self.assertEqual(list(self.state()["sessions"]), ["s1"])
        points = self.kill_at_each_call(command, prepare, check)
        self.assertGreater(appended, 3)  # some of the kills came between the entry and the end
        print(f"\ncrash: flush killed before each of {points} system calls, {appended} times after its entry was in "
              f"the log")

    def test_crash_of_a_compile(self):
        compiler = """cat > prompt; day=$(sed -n 's/^--- the log \\(.*\\) ---$/\\1/p' prompt); echo "$day" >> runs
                      echo "cost_usd: 1"; echo "=== days/$day ==="; seq 500"""
        days = [f"2026-01-0{i}.md" for i in (1, 2, 3)]
        runs, total = self.here / "runs", 0

        def prepare():
            shutil.rmtree(self.memory)
            runs.unlink(missing_ok=True)
            (self.memory / "daily").mkdir(parents=True)
            for day in days:
                (self.memory / "daily" / day).write_text(f"log of {day}")

        def check():
            nonlocal total
            state = self.memory / ".memoria" / "state.json"
            recorded = list(self.state().get("logs", {})) if state.exists() else []
            for day in recorded:
                note = (self.memory / "knowledge" / "days" / day).read_text()
                self.assertEqual(note.split(), [str(i) for i in range(1, 501)])
            before = runs.read_text().split() if runs.exists() else []
            done = self.run_tool("compile", "memory", "--compiler", compiler)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            again = runs.read_text().split()[len(before):]
            self.assertEqual(again, [day for day in days if day not in recorded])  # only what was not recorded
            self.assertEqual((list(self.state()["logs"]), self.state()["total_cost_usd"]), (days, 3.0))
            total += len(before) + len(again) - 3
        points = self.kill_at_each_call(["compile", "memory", "--compiler", compiler], prepare, check)
        print(f"\ncrash: compile killed before each of {points} system calls, {total} logs given to the compiler twice")

    def test_together(self):
        python = seed()
        state = self.memory / ".memoria" / "state.json"
        for i in range(5):
            (self.contexts / "c.md").write_text(f"TAG t{i}\n")
            done = self.run_tool("flush", self.contexts / "c.md", f"s{i}", "--dir", "memory", "--summarizer",
                                 SUMMARIZER,
                                 env={"FAILS": "-1", "COUNT": "/dev/null"})
            self.assertEqual(done.returncode, 0, done.stderr)
            value = python.load_json_with_recovery(state, None)
            self.assertEqual(state.read_text(), json.dumps(value, indent=2))  # the same bytes
            self.assertIn(f"s{i}", value["sessions"])
            value["python"] = {"ran": i, "tëxt": "\ud83d", "number": 1e16}
            value["sessions"][f"p{i}"] = {"flushed_at": int(time.time()), "entry": "x"}
            python.atomic_write_text(state, json.dumps(value, indent=2))
            log = next((self.memory / "daily").iterdir())
            python.locked_append_text(log, f"### Python {i}\n\n" + f"- python {i}\n" * 50 + "\n")
            done = self.run_tool("state", state, "set", "/tool", str(i))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(state.read_text(), json.dumps({**value, "tool": i}, indent=2))
            (self.contexts / "p.md").write_text("TAG p\n")  # the session that Python says it has just flushed
            done = self.run_tool("flush", self.contexts / "p.md", f"p{i}", "--dir", "memory", "--summarizer", "false")
            self.assertIn(b"was flushed", done.stderr)
        counts = self.check_log({marker(f"s{i}", f"TAG t{i}\n"): f"t{i}" for i in range(5)})
        self.assertEqual(counts.pop("python"), 5)
        self.assertEqual(list(counts.values()), [1] * 5)
        # A log that Python begins, and a state that it damages and the tool recovers, and the other way round.
        log.unlink()
        python.locked_append_text(log, "### Python 9\n\n" + "- python 9\n" * 50 + "\n")
        self.assertEqual(self.run_tool("log", "memory", "text").returncode, 0)
        self.assertRegex(log.read_text(), r"^### Python 9\n\n(- python 9\n)+\n### Note")
        python.atomic_write_text(state, '{"sessions": {')
        self.assertEqual(self.run_tool("state", state, "set", "/a", "1").returncode, 1)
        self.assertEqual(python.load_json_with_recovery(state, None), {"a": 1})

    def test_detached(self):
        (self.here / "talk.jsonl").write_text(json.dumps({"role": "user", "content": "TAG one"}) + "\n")
        waits = "ps -o pid=,sess=,pgid= -p $PPID > ids; " + self.waits("done")
        agent = '"$0" hook session-end --dir memory --summarizer "$1" || exit; sleep 60'
        reading, writing = os.pipe()  # some other pipe of the agent's
        hook = subprocess.Popen(["sh", "-c", agent, program(), waits], cwd=self.here, env=PLAIN, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, start_new_session=True, pass_fds=[writing])
        os.close(writing)
        hook.stdin.write(b'{"session_id": "s1", "transcript_path": "talk.jsonl"}')
        hook.stdin.close()
        self.until(lambda: (self.here / "begun").exists())  # the flush is at work
        os.killpg(hook.pid, signal.SIGHUP)
        self.assertIn(b"saving the conversation", hook.stdout.read())  # ends: nobody else has the pipe
        hook.stdout.close()
        self.assertEqual(hook.wait(), -signal.SIGHUP)
        os.set_blocking(reading, False)
        self.assertEqual(os.read(reading, 1), b"")
        os.close(reading)
        self.assertFalse((self.memory / "daily").exists())
        pid, session, group = map(int, (self.here / "ids").read_text().split())
        self.assertEqual((session, group), (pid, pid))
        (self.here / "go").touch()
        self.until(lambda: (self.memory / "daily").exists() and not list(self.contexts.iterdir()))
        self.assertIn("\n\ndone\n\n<!-- memoria ", self.log_text())

    def test_detached_is_what_makes_the_difference(self):
        (self.here / "talk.md").write_text("x")
        summarizer = f"( {self.waits('done')} ) & wait"
        command = [program(), "flush", "talk.md", "s1", "--dir", "memory", "--summarizer", summarizer]
        flush = subprocess.Popen(command, cwd=self.here, env=PLAIN, start_new_session=True, stdout=subprocess.DEVNULL)
        self.until(lambda: (self.here / "begun").exists())
        os.killpg(flush.pid, signal.SIGHUP)
        self.assertEqual(flush.wait(), -signal.SIGHUP)  # and the summarizer with it, and what that had started
        self.until(lambda: not self.shells())
        self.assertTrue((self.here / "talk.md").exists())

    def waits(self, answer):
        """A command that answers when there is a file `go`, and ends with the test's directory at the latest."""
        loop = "touch begun; while [ -e begun ] && [ ! -e go ]; do sleep 0.02; done"
        return f": {self.here.name}; {loop}; echo {answer}"

    def shells(self):
        """Those that run such a command."""
        lines = subprocess.run(["ps", "-eo", "args"], stdout=subprocess.PIPE).stdout.decode().splitlines()
        return [line for line in lines if f": {self.here.name};" in line and line.startswith("/bin/sh")]

    def test_one_compile_at_a_time(self):
        (self.memory / "daily").mkdir()
        (self.memory / "daily" / "2026-01-01.md").write_text("x")
        waits = self.waits("'=== n.md ==='")
        first = subprocess.Popen([program(), "compile", "memory", "--compiler", waits], cwd=self.here, env=PLAIN,
                                 stdout=subprocess.PIPE)
        self.until(lambda: (self.here / "begun").exists())
        second = self.run_tool("compile", "memory", "--compiler", "touch asked")
        self.assertEqual((second.returncode, second.stdout), (1, b""))
        self.assertIn(b"another compile is at work in memory", second.stderr)
        self.assertFalse((self.here / "asked").exists())
        first.kill()  # the lock goes with it, and on Linux so does the command
        first.wait()
        first.stdout.close()
        if sys.platform == "linux":
            self.until(lambda: not self.shells())
        third = self.run_tool("compile", "memory", "--compiler", "echo '=== n.md ==='")
        self.assertEqual((third.returncode, third.stdout), (0, b"2026-01-01.md: 1 note written\n"))

    def until(self, holds):
        for _ in range(6000):
            if holds():
                return
            time.sleep(0.01)
        self.fail("waited for a minute")


if __name__ == "__main__":
    names = {"crash": ["crash_of_a_flush", "crash_of_a_compile"],
             "detached": ["detached", "detached_is_what_makes_the_difference", "one_compile_at_a_time"]}
    scenes = [name for name in sys.argv[1:] if not name.startswith("-")]
    chosen = [f"Pipeline.test_{test}" for scene in scenes for test in names.get(scene, [scene])]
    unittest.main(argv=[sys.argv[0], *chosen])
