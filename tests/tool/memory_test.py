#!/usr/bin/env python3
"""Tests of flush, hook, compile, log, state and doctor, as their users meet them; pipeline.py has what takes many
processes.

Runs the program that $MEMORIA names, or builds one. One test:  memory_test.py State.test_set_and_get
"""
import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tool_test import POSIX, TOP, Case, memoria, memoria_json, program  # noqa: E402

SAVES = "cat >/dev/null; echo '- it was decided'"
ZONES = Path("/usr/share/zoneinfo")


def environment(**more):
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MEMORIA") and name != "TZ"}
    return {**plain, **more}


class Memory(Case):
    """A case with an empty directory, in which it runs the tool; the memory is memory/ in it."""

    def setUp(self):
        self.here = self.notes()
        self.memory = self.here / "memory"

    def tool(self, *arguments, env=None, **settings):
        return memoria(*arguments, cwd=self.here, env=environment(**(env or {})), **settings)

    def json(self, *arguments, **settings):
        status, out, _ = self.tool(*arguments, "--json", **settings)
        return status, json.loads(out)

    def context(self, text="**User:** hello\n", name="talk.md"):
        (self.here / name).write_text(text)
        return name

    def flush(self, session="s1", summarizer=SAVES, text="**User:** hello\n", more=(), **settings):
        return self.tool("flush", self.context(text), session, "--dir", "memory", "--summarizer", summarizer,
                         "--retry-wait", "0", *more, **settings)

    def log(self):
        logs = sorted((self.memory / "daily").glob("*.md"))
        return "".join(file.read_text() for file in logs)

    def state(self):
        return json.loads((self.memory / ".memoria" / "state.json").read_text())

    def complains(self, result, status, *words):
        self.assertEqual(result[0], status, result)
        self.assertIn("memoria: ", result[2])
        for word in words:
            self.assertIn(word, result[2])


class Flush(Memory):
    def test_saves_and_deletes(self):
        status, out, errors = self.flush()
        self.assertEqual((status, errors), (0, ""))
        self.assertRegex(out, r"^talk\.md: saved in memory/daily/\d{4}-\d\d-\d\d\.md\n$")
        self.assertRegex(self.log(),
                         r"^# Daily log: \d{4}-\d\d-\d\d\n\n### Session \(\d\d:\d\d\)\n\n- it was decided\n\n"
                                     r"<!-- memoria [0-9a-f]{64} -->\n\n$")
        self.assertFalse((self.here / "talk.md").exists())
        self.assertEqual(list(self.state()["sessions"]), ["s1"])

    def test_the_marker_is_the_sha256_that_the_manual_says(self):
        self.flush(text="**User:** ü\n")
        self.assertIn(hashlib.sha256("s1\n**User:** ü\n".encode()).hexdigest(), self.log())
        for length in (0, 1, 55, 56, 63, 64, 65, 119, 120, 1000):  # where blocks end
            (self.here / "talk.md").write_bytes(b"x" * length)
            self.tool("flush", "talk.md", f"n{length}", "--dir", "memory", "--summarizer", SAVES)
            self.assertIn(hashlib.sha256(f"n{length}\n".encode() + b"x" * length).hexdigest(), self.log())

    def test_the_summarizer_gets_instructions_and_the_conversation(self):
        self.flush(summarizer="tee seen", text="**User:** hello there\n")
        seen = (self.here / "seen").read_text()
        self.assertIn("FLUSH_OK", seen)
        self.assertTrue(seen.endswith("---\n\n**User:** hello there\n"), seen)

    def test_nothing_worth_saving_is_noted(self):
        status, result = self.json("flush", self.context(), "s1", "--dir", "memory", "--summarizer", "echo FLUSH_OK")
        self.assertEqual((status, result["contexts"][0]["result"]), (0, "nothing"))
        self.assertIn("### Nothing worth saving (", self.log())
        self.assertIn("\n\nFLUSH_OK\n\n<!-- memoria ", self.log())
        self.assertFalse((self.here / "talk.md").exists())

    def test_three_attempts_then_the_context_stays_and_the_session_is_not_remembered(self):
        for fails, status in ((2, 0), (3, 1)):
            with self.subTest(fails):
                count = self.here / f"count{fails}"
                summarizer = f"echo x >> {count.name}; [ $(wc -l < {count.name}) -gt {fails} ] && echo done || exit 7"
                result = self.flush(f"s{fails}", summarizer)
                self.assertEqual((result[0], count.read_text()), (status, "x\n" * 3), result)
                self.assertEqual((self.here / "talk.md").exists(), status == 1)
                self.assertEqual(f"s{fails}" in self.state()["sessions"], status == 0)
        self.complains(result, 1, "attempt 1 of 3: the summarizer ended with exit status 7", "talk.md", "stays")
        self.assertEqual(self.flush("s3")[0], 0)  # at once: a failed flush stands in nobody's way
        self.assertIn("s3", self.state()["sessions"])

    def test_the_waits_are_2_and_4_seconds_unless_said_otherwise(self):
        _, _, errors = self.tool("flush", self.context(), "s", "--summarizer", "exit 1")
        self.assertEqual(re.findall(r"again in (\d+) s", errors), ["2", "4"])

    def test_an_empty_answer_and_one_that_takes_too_long_are_failures(self):
        self.complains(self.flush(summarizer="echo"), 1, "answered nothing")
        self.complains(self.flush(summarizer="sleep 60 & sleep 60", more=["--timeout", "0"]), 1, "no answer within 0 s")
        self.complains(self.flush(summarizer="/no/such/command"), 1, "exit status 127")

    def test_the_same_session_within_a_minute_waits(self):
        self.flush()
        before = self.log()
        self.complains(self.flush(text="**User:** more\n", summarizer="echo x > asked"), 0, "stays", "flushed", "s ago")
        self.assertEqual(self.log(), before)
        self.assertTrue((self.here / "talk.md").exists())
        self.assertFalse((self.here / "asked").exists())
        state = self.state()
        state["sessions"]["s1"]["flushed_at"] -= 60
        (self.memory / ".memoria" / "state.json").write_text(json.dumps(state, indent=2))
        self.assertEqual(self.flush(text="**User:** more\n")[0], 0)
        self.assertEqual(self.log().count("### Session"), 2)

    def test_what_is_in_a_log_already_is_only_tidied_up(self):
        self.flush()
        before = self.log()
        for when in (0, -3 * 86400, 30 * 86400):  # when the context was written, so the clock says
            log = next((self.memory / "daily").iterdir())
            day = datetime.date.today() + datetime.timedelta(seconds=min(when, 0))
            log.rename(log.with_name(f"{day}.md"))
            self.context()
            os.utime(self.here / "talk.md", (time.time() + when,) * 2)
            status, out, _ = self.tool("flush", "talk.md", "s1", "--dir", "memory", "--summarizer", "echo x > asked")
            self.assertEqual((status, self.log()), (0, before))
            self.assertIn("was in a log already", out)
            self.assertFalse((self.here / "talk.md").exists() or (self.here / "asked").exists())

    def test_pending_takes_along_what_waits(self):
        contexts = self.memory / ".memoria" / "contexts"
        contexts.mkdir(parents=True)
        (contexts / "old.1-0.md").write_text("**User:** old\n")
        status, _, errors = self.flush(more=["--pending"])
        self.assertEqual((status, errors), (0, ""))
        self.assertEqual((self.log().count("### Session"), list(contexts.iterdir())), (2, []))
        self.assertEqual(set(self.state()["sessions"]), {"s1", "old"})

    @unittest.skipUnless(POSIX, "descriptors")
    def test_a_closed_standard_output_is_nobody_elses(self):
        contexts = self.memory / ".memoria" / "contexts"
        contexts.mkdir(parents=True)
        (contexts / "old.1-0.md").write_text("**User:** old\n")
        done = subprocess.run(["sh", "-c", 'exec "$0" "$@" <&- >&-', program(), "flush", self.context(), "s1",
                               "--pending", "--dir", "memory", "--summarizer", SAVES], cwd=self.here, env=environment(),
                              stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"cannot write to standard output", done.stderr)
        self.assertEqual(re.findall("^- .*|.*saved in.*", self.log(), re.M), ["- it was decided"] * 2)

    def test_hostile_names_reach_no_shell_and_no_other_directory(self):
        for session in ("$(touch owned)", "../../x", "a b;touch owned", "'\"`touch owned`"):
            self.assertEqual(self.flush(session, text=f"**User:** $(touch owned) {session}\n")[0], 0)
        self.assertEqual({file.name for file in self.here.iterdir()}, {"memory"})

    def test_an_answer_that_is_not_utf8_becomes_utf8(self):
        self.flush(summarizer=r"printf 'caf\351'")
        self.assertIn("caf\ufffd", self.log())

    @unittest.skipUnless(POSIX, "pseudo terminals")
    def test_shows_that_it_waits_on_a_terminal_only(self):
        def seen(errors):
            command = [program(), "flush", self.context(), "s", "--dir", "d", "--summarizer", "sleep 1.5; echo x"]
            done = subprocess.run(command, cwd=self.here, env=environment(), stdout=subprocess.DEVNULL, stderr=errors)
            shutil.rmtree(self.here / "d")
            return done.stderr or b""
        try:
            terminal, end = os.openpty()
        except OSError:
            self.skipTest("no pseudo terminals here")
        seen(end)
        os.close(end)
        self.assertIn(b"\rwaiting for the summarizer, second 1 of 120", os.read(terminal, 65536))
        os.close(terminal)
        self.assertEqual(seen(subprocess.PIPE), b"")

    def test_misuse_is_explained(self):
        self.complains(self.tool("flush", "x", "s"), 2, "missing: --summarizer CMD, or $MEMORIA_SUMMARIZER")
        self.complains(self.tool("flush", "gone.md", "s", "--summarizer", "x"), 2,
                       "cannot read the context file gone.md")
        self.complains(self.flush(more=["--timeout", "soon"]), 2, '--timeout is a number of seconds, not "soon"')

    def test_settings_come_from_the_environment_too(self):
        env = {"MEMORIA_DIR": "elsewhere", "MEMORIA_SUMMARIZER": SAVES}
        self.assertEqual(self.tool("flush", self.context(), "s", env=env)[0], 0)
        self.assertEqual(len(list((self.here / "elsewhere" / "daily").iterdir())), 1)

    def test_a_damaged_state_is_set_aside_and_said(self):
        (self.memory / ".memoria").mkdir(parents=True)
        (self.memory / ".memoria" / "state.json").write_text('{"sessions": {"s1"')
        status, _, errors = self.flush()
        self.assertEqual(status, 0)
        self.assertIn(".bak-", errors)
        (self.memory / ".memoria" / "state.json").write_text("[]")
        self.complains(self.flush("s2"), 2, "state.json")
        self.assertTrue((self.here / "talk.md").exists())


class Hook(Memory):
    def hook(self, event="session-end", transcript="talk.jsonl", summarizer=SAVES, more=(), **settings):
        given = json.dumps({"session_id": "s1", "transcript_path": transcript}).encode()
        return self.tool("hook", event, "--dir", "memory", "--summarizer", summarizer, *more, input=given, **settings)

    def transcript(self, *lines):
        (self.here / "talk.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def contexts(self):
        return list((self.memory / ".memoria" / "contexts").glob("*.md"))

    def context_of(self, *lines):
        """What the hook makes of a transcript; the flush behind it fails at once, so that the file stays."""
        self.transcript(*lines)
        status, result = self.json("hook", "pre-compact", "--dir", "memory", "--summarizer", "exit 1",
                                   input=b'{"session_id": "s1", "transcript_path": "talk.jsonl"}')
        self.assertEqual(status, 0)
        return (self.here / result["context"]).read_text() if result["context"] else None

    def test_takes_what_was_said(self):
        text = self.context_of(
            {"type": "summary", "summary": "no turn"},
            {"type": "user", "message": {"role": "user", "content": "hello"}},
            {"type": "assistant", "message": {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "hi"},
                {"type": "tool_use", "name": "x"}]}},
            {"type": "user", "message": {"role": "user", "content": [{"type": "tool_result", "content": "no"}]}},
            {"role": "user", "content": "bye \ud83d"}, [], 5, None, {"message": "text"})
        self.assertEqual(text, "**User:** hello\n\n**Assistant:** hi\n\n\n**User:** bye \ufffd\ufffd\ufffd\n\n")

    def test_takes_the_last_30_turns_and_15000_bytes(self):
        turn = lambda i, size: {"message": {"role": "user", "content": f"{i}:" + "x" * size}}  # noqa: E731
        self.assertEqual(re.findall(r"\*\* (\d+):", self.context_of(*(turn(i, 9) for i in range(100)))),
                         [str(i) for i in range(70, 100)])
        text = self.context_of(*(turn(i, 4000) for i in range(100)))
        self.assertEqual(re.findall(r"\*\* (\d+):", text), ["97", "98", "99"])
        self.assertIn("7:" + "x" * 40000, self.context_of(turn(7, 40000)))

    def test_nothing_said_is_nothing_to_do(self):
        self.assertIsNone(self.context_of({"type": "summary"}))
        self.assertEqual(self.contexts(), [])

    def test_does_nothing_under_a_flush(self):
        self.assertEqual(self.hook(env={"MEMORIA_INVOKED_BY": "flush"}), (0, "", ""))
        self.assertFalse(self.memory.exists())

    def test_a_summarizer_that_ends_a_session_itself_starts_no_flush(self):
        self.transcript({"role": "user", "content": "hello"})
        (self.here / "hook.json").write_text('{"session_id": "s2", "transcript_path": "talk.jsonl"}')
        inner = f"'{program()}' hook session-end --dir memory --summarizer x < hook.json && echo saved"
        self.assertEqual(self.flush(summarizer=inner)[0], 0)
        self.assertEqual(self.contexts(), [])

    def test_what_cannot_be_is_said_with_status_1_because_2_would_stop_the_agent(self):
        self.complains(self.tool("hook", "session-end", input=b"not JSON"), 1, "not JSON")
        self.complains(self.tool("hook", "session-end", input=b"{}"), 1, "no session_id")
        self.complains(self.hook(event="lunch"), 1, "no such event: lunch")
        self.complains(self.hook(transcript="gone.jsonl"), 1, "gone.jsonl")
        self.complains(self.tool("hook"), 1, "missing: EVENT")


class Compile(Memory):
    ANSWER = ("cat > prompt; printf 'cost_usd: 0.5\\n=== concepts/a.md ===\\n# A\\n[[concepts/b]]\\n"
              "=== concepts/b.md ===\\n# B\\n'")

    def compile(self, compiler=ANSWER, more=(), **settings):
        return self.tool("compile", "memory", "--compiler", compiler, *more, **settings)

    def day(self, date, text="x"):
        (self.memory / "daily").mkdir(parents=True, exist_ok=True)
        (self.memory / "daily" / f"{date}.md").write_text(text)

    def test_writes_notes_and_records(self):
        self.day("2026-01-01", "one day's log")
        status, out, errors = self.compile()
        self.assertEqual((status, out, errors), (0, "2026-01-01.md: 2 notes written\n", ""))
        self.assertEqual((self.memory / "knowledge/concepts/a.md").read_text(), "# A\n[[concepts/b]]\n")
        record = self.state()["logs"]["2026-01-01.md"]
        self.assertEqual(record["sha256"], hashlib.sha256(b"one day's log").hexdigest())
        self.assertEqual((record["cost_usd"], record["notes"], self.state()["total_cost_usd"]), (0.5, 2, 0.5))
        datetime.datetime.strptime(record["compiled_at"], "%Y-%m-%dT%H:%M:%S%z")
        self.assertIn("one day's log", (self.here / "prompt").read_text())

    def test_only_what_has_changed_and_with_the_notes_that_are_there(self):
        self.day("2026-01-01")
        self.compile()
        self.assertEqual(self.compile(compiler="touch asked")[1], "no log has changed since the last compile\n")
        self.assertFalse((self.here / "asked").exists())
        self.day("2026-01-02", "the second day")
        self.assertEqual(self.compile()[1], "2026-01-02.md: 2 notes written\n")
        prompt = (self.here / "prompt").read_text()
        self.assertIn("=== concepts/a.md ===\n# A\n[[concepts/b]]\n", prompt)
        self.assertTrue(prompt.endswith("--- the log 2026-01-02.md ---\n\nthe second day"), prompt)
        self.assertEqual(self.state()["total_cost_usd"], 1.0)

    def test_notes_that_would_lead_out_are_refused(self):
        self.day("2026-01-01")
        (self.memory / "knowledge").mkdir()
        os.symlink(self.here, self.memory / "knowledge" / "link") if POSIX else None
        names = ["../evil.md", "/tmp/evil.md", "link/evil.md", ".hidden.md", "a/.git/x.md", "evil.sh",
                 "a/../../evil.md"]
        names = names if POSIX else [name for name in names if "link" not in name]
        notes = "".join(f"=== {name} ===\\nevil\\n" for name in names)
        result = self.compile(f"printf '{notes}=== good.md ===\\ngood\\n'")
        self.complains(result, 1, *names)
        self.assertEqual(result[1], "2026-01-01.md: 1 note written\n")
        self.assertEqual({file.name for file in self.here.iterdir()}, {"memory"})
        self.assertEqual([file.name for file in self.memory.rglob("*.md")].count("evil.md"), 0)

    def test_what_fails_is_left_for_the_next_time(self):
        for day in (1, 2, 3):
            self.day(f"2026-01-0{day}", f"day {day}")
        compiler = "grep -q 'day 2' && exit 3; echo '=== n.md ==='"
        self.complains(self.compile(compiler), 1, "the compiler ended with exit status 3 on 2026-01-02.md; 2 logs left")
        self.assertEqual(list(self.state()["logs"]), ["2026-01-01.md"])
        status, result = self.json("compile", "memory", "--compiler", "echo '=== n.md ==='")
        self.assertEqual((status, [log["log"] for log in result["compiled"]]), (0, ["2026-01-02.md", "2026-01-03.md"]))

    def test_a_flush_starts_it_when_it_is_due(self):
        answers = "echo x >> runs; echo '=== n.md ==='"
        more = ["--compiler", answers]

        def runs():
            """How often the compiler ran, as soon as nobody holds the lock."""
            lock = self.memory / ".memoria" / "compile.lock"
            if lock.exists():
                import fcntl
                with open(lock) as file:
                    fcntl.flock(file, fcntl.LOCK_EX)
            return (self.here / "runs").read_text().count("x") if (self.here / "runs").exists() else 0

        def until(count):
            for _ in range(1200):
                if runs() == count and not self.processes():
                    return
                time.sleep(0.05)
            self.fail(f"{runs()} runs, not {count}: {(self.memory / '.memoria/compile.log').read_text()}")

        import time
        self.flush("s1", more=more)
        until(1)
        self.flush("s2", more=more)  # within the hour
        until(1)
        self.flush("s3", more=more, env={"MEMORIA_COMPILE_INTERVAL_MIN": "0"})
        until(2)
        self.flush("s4", summarizer="exit 1", more=more,
                   env={"MEMORIA_COMPILE_INTERVAL_MIN": "0"})  # nothing has changed
        until(2)
        state = self.state()
        state["last_compile"] -= 3600
        (self.memory / ".memoria" / "state.json").write_text(json.dumps(state))
        self.flush("s5", more=more)
        until(3)
        self.complains(self.flush("s6", more=more, env={"MEMORIA_COMPILE_INTERVAL_MIN": "soon"}), 0,
                       'not a number of minutes: "soon"; taking 60')
        until(3)

    def processes(self):
        """The programs that run in our directory."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(process / "cwd") == str(self.here.resolve()):
                    found.append(process.name)
            except OSError:
                pass
        return found

    def test_misuse_is_explained(self):
        self.complains(self.compile(), 2, "there is no directory memory")
        self.memory.mkdir()
        self.complains(self.tool("compile", "memory"), 2, "missing: --compiler CMD, or $MEMORIA_COMPILER")


class Log(Memory):
    def test_entries(self):
        status, out, _ = self.tool("log", "memory", "one\ntwo")
        self.assertEqual(status, 0)
        self.tool("log", "memory", "-", input=b"three\n\n")
        self.assertRegex(self.log(), r"^# Daily log: [-\d]+\n\n### Note \(\d\d:\d\d\)\n\none\ntwo\n\n"
                                     r"### Note \(\d\d:\d\d\)\n\nthree\n\n$")
        self.complains(self.tool("log", "memory", " "), 2, "TEXT is empty")

    def test_an_entry_begins_on_a_line_of_its_own(self):
        self.tool("log", "memory", "one")
        file = next((self.memory / "daily").iterdir())
        file.write_text("torn by a cra")
        self.tool("log", "memory", "two")
        self.assertRegex(file.read_text(), r"^torn by a cra\n### Note")

    @unittest.skipUnless((ZONES / "Pacific/Kiritimati").exists(), "no zone files here")
    def test_the_zone_says_which_day_it_is(self):
        for zone, offset in (("Pacific/Kiritimati", 14), ("Pacific/Pago_Pago", -11), ("UTC", 0)):  # never the same day
            before = datetime.datetime.now(datetime.timezone.utc)
            _, result = self.json("log", "memory", "x", env={"MEMORIA_TZ": zone})
            after = datetime.datetime.now(datetime.timezone.utc)
            days = {(moment + datetime.timedelta(hours=offset)).strftime("%Y-%m-%d.md") for moment in (before, after)}
            self.assertIn(os.path.basename(result["log"]), days)
        self.assertGreaterEqual(len(list((self.memory / "daily").iterdir())), 2)

    @unittest.skipUnless(POSIX, "needs the C library's zones")
    def test_a_zone_that_is_not_there_is_said_and_local_time_taken(self):
        for zone in ("Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe", "Europe/Berlin\x1b[31m",
                     "zone.tab"):
            with self.subTest(zone):
                status, _, errors = self.tool("log", "memory", "x", env={"MEMORIA_TZ": zone, "TZ": "XYZ-14"})
                self.assertEqual(status, 0)
                self.assertIn("taking the system's local time", errors)
                self.assertNotIn("\x1b", errors)
        day = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=14)).strftime("%Y-%m-%d")
        self.assertIn(day, [file.stem for file in (self.memory / "daily").iterdir()])
        self.complains(self.tool("log", "memory", "x", env={"MEMORIA_TZ": "Europe/Berlin", "TZDIR": "/nowhere"}), 0,
                       'no zone "Europe/Berlin"')


class State(Memory):
    def test_set_and_get(self):
        self.assertEqual(self.tool("state", "f.json", "set", "/a/b", '{"c": [1, -5]}'), (0, "", ""))
        self.assertEqual(self.tool("state", "f.json", "set", "/a/b/c/-", "-7")[0], 0)
        self.assertEqual(self.tool("state", "f.json", "get", "/a/b/c/2"), (0, "-7\n", ""))
        self.assertEqual((self.here / "f.json").read_text(), json.dumps({"a": {"b": {"c": [1, -5, -7]}}}, indent=2))
        self.assertEqual(self.tool("state", "f.json", "dump")[1], (self.here / "f.json").read_text() + "\n")
        self.assertEqual(self.tool("state", "f.json", "set", "/t", "--string", "a text")[0], 0)
        self.assertEqual(self.tool("state", "f.json", "get", "/t")[1], '"a text"\n')
        self.assertEqual(self.tool("state", "f.json", "get", "/t", "--string")[1], "a text\n")
        self.assertEqual(self.tool("state", "f.json", "set", "/t", "-", input=b"[true]")[0], 0)
        self.assertEqual(self.tool("state", "f.json", "get", "/t/0")[1], "true\n")
        self.assertEqual(self.tool("state", "f.json", "set", "", "5")[0], 0)
        self.assertEqual((self.here / "f.json").read_text(), "5")

    def test_delete(self):
        (self.here / "f.json").write_text('{"a~/b": 1, "c": [1, 2, 3], "d": {"e": 5}}')
        for pointer in ("/a~0~1b", "/c/1", "/d/e"):
            self.assertEqual(self.tool("state", "f.json", "delete", pointer), (0, "", ""))
        self.assertEqual(json.loads((self.here / "f.json").read_text()), {"c": [1, 3], "d": {}})
        self.complains(self.tool("state", "f.json", "delete", "/x"), 1, 'nothing at "/x" in f.json')
        self.assertEqual(self.json("state", "f.json", "delete", "")[1],
                         {"format": "memoria state 1", "file": "f.json", "changed": True, "backup": None})

    def test_set_on_a_corrupt_file_reports_the_backup(self):
        (self.here / "f.json").write_text("{broken")
        self.complains(self.tool("state", "f.json", "get", "/a"), 2, "f.json")
        self.assertEqual((self.here / "f.json").read_text(), "{broken")
        status, result = self.json("state", "f.json", "set", "/a", "1")
        self.assertEqual((status, (self.here / result["backup"]).read_text()), (1, "{broken"))
        self.assertEqual(json.loads((self.here / "f.json").read_text()), {"a": 1})
        (self.here / "f.json").write_text("{again")
        self.complains(self.tool("state", "f.json", "set", "/a", "1"), 1, "f.json.bak-")

    def test_misuse_is_explained(self):
        (self.here / "f.json").write_text('{"a": "text"}')
        for arguments, says in ((["f.json", "got"], 'ACTION is get, set, delete or dump, not "got"'),
                                (["f.json", "get"], "missing: POINTER"), (["f.json", "set", "/a"], "missing: VALUE"),
                                (["f.json", "set", "/a", "b"], "--string takes it as a text"),
                                (["f.json", "get", "a"], 'POINTER begins with "/"'),
                                (["f.json", "dump", "/a"], "one argument too many: /a"),
                                (["f.json", "set", "/a/b", "1"], '"/a/b" cannot be set in f.json'),
                                (["gone.json", "dump"], "gone.json")):
            with self.subTest(arguments):
                self.complains(self.tool("state", *arguments), 2, says)
        self.complains(self.tool("state", "f.json", "get", "/b"), 1, 'nothing at "/b" in f.json')
        self.assertEqual((self.here / "f.json").read_text(), '{"a": "text"}')


class Doctor(Memory):
    def test_healthy(self):
        self.flush()
        before = {str(file) for file in self.memory.rglob("*")}
        self.assertEqual(self.tool("doctor", "memory"), (0, "healthy\n", ""))
        self.assertEqual({str(file) for file in self.memory.rglob("*")}, before)

    @unittest.skipUnless(os.path.exists("/proc/locks"), "the system does not say who holds locks")
    def test_finds_what_is_wrong(self):
        import fcntl
        self.flush()
        own = self.memory / ".memoria"
        (own / ".memoria-0123456789abcdef.tmp").write_text("of a killed writer")
        alive = open(own / ".memoria-00000000000000aa.tmp", "w")
        fcntl.flock(alive, fcntl.LOCK_EX)
        for i in range(4):
            (own / f"app.json.bak-2026010{i}T000000Z").write_text("{")
        (own / "contexts").mkdir()
        (own / "contexts" / "s.1-0.md").write_text("x")
        (own / "state.json").write_text("{")
        status, result = self.json("doctor", "memory")
        self.assertEqual(status, 1)
        found = " ".join(f"{finding['file']}: {finding['what']}\n" for finding in result["findings"])
        for words in ("1 stale temporary file", "app.json: 4 backups", "1 conversation waiting",
                      "state.json: cannot be used"):
            self.assertIn(words, found)
        self.assertEqual([(os.path.basename(lock["file"]), lock["mode"]) for lock in result["locks"]],
                         [(".memoria-00000000000000aa.tmp", "exclusive")])
        self.assertIn(f"process {os.getpid()} (", result["locks"][0]["holder"])
        self.assertEqual(self.json("doctor", "memory", "--fix")[1]["removed"], 1)
        self.assertFalse((own / ".memoria-0123456789abcdef.tmp").exists())
        self.assertTrue((own / ".memoria-00000000000000aa.tmp").exists())
        alive.close()
        self.complains(self.tool("doctor", "nowhere"), 2, "there is no directory nowhere")


class Page(Memory):
    """examples/hooks/README.md, followed to the letter in a directory that holds nothing else."""

    @unittest.skipUnless(POSIX, "shell scripts")
    def test_leads_to_a_first_note(self):
        page = (TOP / "examples" / "hooks" / "README.md").read_text()
        blocks = [re.sub(r"^   ", "", block, flags=re.M) for block in re.findall(r"```sh\n(.*?)```", page, re.S)]
        self.assertEqual(len(blocks), 6)
        self.assertTrue(blocks[0].startswith("c++ "))  # readme.py runs the same line
        blocks[0] = blocks[0].split("\n", 1)[1]
        shutil.copy(program(), self.here / "memoria")
        os.symlink(TOP / "examples", self.here / "examples")
        waits = "for i in $(seq 600); do ls memory/knowledge/days/*.md > /dev/null 2>&1 && break; sleep 0.1; done\n"
        script = "set -eu\n" + "".join(blocks).replace("sleep 2\n", waits)
        done = subprocess.run(["sh", "-c", script], cwd=self.here, env=environment(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=120)
        out = done.stdout.decode()
        self.assertIn("# fsync\n\n- it goes before the rename.\n\nFrom [[days/", out, done.stderr.decode())
        self.assertIn("2 notes, 2 links: 0 broken", out)


if __name__ == "__main__":
    unittest.main()
