"""differential.py links|paths|json|vaults: proves that the C++ functions and the seed's Python answer alike, on
generated input.

The seed itself runs here (../shared/seed/fs_utils.py); where it is not, the test skips. Environment: BUILD (where the
driver is), ROUNDS (how often, each time with other inputs, default 1), SEED (of the random numbers, default 1).
Expected differences are those of the contract only, each listed where it is made.
"""
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
SEED_MODULE = TOP.parent / "shared" / "seed"
DRIVER = Path(os.environ.get("BUILD", TOP / "build/tests/tests")) / "driver"
ROUNDS = int(os.environ.get("ROUNDS", "1"))
SEED = os.environ.get("SEED", "1")
rng = random.Random()

if not (SEED_MODULE / "fs_utils.py").exists():
    print(f"skipped: the seed's Python is not there ({SEED_MODULE}/fs_utils.py)")
    sys.exit(77)
sys.path.insert(0, str(SEED_MODULE))
import fs_utils as seed  # noqa: E402


def to_bytes(text):
    return text.encode("utf-8", "surrogateescape")


def to_text(data):  # bytes that are not UTF-8 travel as lone surrogates, as in Python's own file names
    return data.decode("utf-8", "surrogateescape")


def ask(subject, questions, base="", cwd=None):
    """The driver's answers: a list of byte strings for each question."""
    packed = b"".join(struct.pack("<I", len(q)) + q for q in questions)
    run = subprocess.run([DRIVER, subject, base], input=packed, stdout=subprocess.PIPE, cwd=cwd, check=False)
    if run.returncode != 0:
        sys.exit(f"{subject}: the driver ended with {run.returncode}")
    at, answers = 0, []

    def number():
        nonlocal at
        at += 4
        return struct.unpack_from("<I", run.stdout, at - 4)[0]

    for _ in questions:
        strings = []
        for _ in range(number()):
            length = number()
            strings.append(run.stdout[at:at + length])
            at += length
        answers.append(strings)
    return answers


def compare(subject, questions, expected, base="", cwd=None):
    """Exits with the first differences; `expected` gives a question's list of byte strings."""
    interesting = different = 0
    for question, got in zip(questions, ask(subject, questions, base, cwd)):
        want = expected(question)
        interesting += bool(want)
        if got != want:
            different += 1
            if different <= 5:
                print(f"{subject}({question[:300]!r}) base {base!r}\n  seed: {want!r:.600}\n  C++:  {got!r:.600}")
    if different:
        sys.exit(f"{subject}: {different} of {len(questions)} inputs differ")
    print(f"{subject} {base}: {len(questions)} inputs, {interesting} with an answer, no difference")


def words(alphabet, count, longest):
    return [b"".join(rng.choices(alphabet, k=rng.randrange(longest + 1))) for _ in range(count)]


# ---- links

WHITE = [chr(c) for c in [9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028,
                          0x2029, 0x202F, 0x205F, 0x3000]]
NEARLY_WHITE = ["\0", "\x1b", "\x7f", "\x84", "\u180e", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u2800",
                "\U0001f600"]
NOT_UTF8 = [b"\x80", b"\xff", b"\xc2", b"\xe2\x80", b"\xe2", b"\xc0\xa0", b"\xe0\x80\xa0", b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80", b"\xa0", b"\x85"]


def check_links():
    other = [to_bytes(c) for c in [*WHITE, *NEARLY_WHITE, "a", "b", "é", "#", "^", "\\", "`", "!"]] + NOT_UTF8
    brackets = [b"[", b"]", b"|", b"[[", b"]]", b"[[", b"]]", b"[[a", b"|b]]", b"\n"]
    questions = words(brackets + [b"a", b" "], 150_000, 12)
    questions += words(brackets * 6 + other, 100_000, 30)
    questions += words(brackets * 40 + other, 200, 2_000)  # the seed is quadratic in "[[[[": not longer
    expected = lambda q: [to_bytes(link) for link in seed.extract_wikilinks(to_text(q))]
    compare("extract_wikilinks", questions, expected)

    questions = words(other, 150_000, 6) + words([to_bytes(c) for c in WHITE] + [b"a", b"|"] + NOT_UTF8, 150_000, 8)
    compare("parse_wikilink", questions, lambda q: [to_bytes(seed.parse_wikilink(to_text(q)))])


# ---- paths

def make_tree(root):
    """A knowledge directory `kb` among neighbours, with symbolic links of every kind in it."""
    for directory in ["kb/sub/deep", "kb/.hidden", "kb2", "outside/inner"]:
        (root / directory).mkdir(parents=True)
    for file in ["kb/note.md", "kb/sub/note.md", "kb/sub/deep/x.md", "outside/secret.md", "outside/inner/x.md",
                 "kb2/note.md",
                 "kb/..md", "kb/é.md", "kb/not a directory"]:
        (root / file).write_text("x")
    links = {
        "kb/in": "sub", "kb/in2.md": "sub/note.md", "kb/out": "../outside", "kb/out.md": "../outside/secret.md",
        "kb/abs": str(root / "outside"), "kb/abs_in": str(root / "kb/sub"), "kb/abs_in.md": str(root / "kb/note.md"),
        "kb/dangling.md": "nowhere.md", "kb/dangling_out.md": "../outside/nowhere.md", "kb/dangling_dir": "no/such/dir",
        "kb/loop.md": "loop.md", "kb/loop1": "loop2", "kb/loop2": "loop1", "kb/up": "..", "kb/self": ".",
        "kb/sub/back": "../../kb", "kb/sub/root": "/", "kb/chain1": "chain2/", "kb/chain2": "./in/../in",
        "kb/slashes": "..//kb//sub",
        "kb/through_file.md": "note.md/x", "kb/dotdot.md": "sub/deep/../../../outside/secret.md", "kb_link": "kb",
        "outside/to_kb": "../kb",
    }
    for i in range(50):  # more symbolic links in a row than the kernel follows
        links[f"kb/many{i}"] = f"many{i + 1}" if i < 49 else "sub"
    for name, target in links.items():
        os.symlink(target, root / name)
    return [name[3:] for name in links if name.startswith("kb/")]


def meets_loop(link, base):
    """Whether a loop of symbolic links is on the way. Python stops resolving there, without an error unless the loop is
    the last part, and calls what follows safe, symbolic links or not; the contract says nullopt."""
    parts = f"{seed.parse_wikilink(link)}.md".split("/")
    for i in range(1, len(parts) + 1):
        try:
            Path(base, *parts[:i]).resolve()
        except RuntimeError:
            return True
    return False


def check_paths():
    root = Path(tempfile.mkdtemp(prefix="memoria-paths-")).resolve()
    try:
        names = [to_bytes(n) for n in make_tree(root)]
        parts = names + [n[:-3] for n in names if n.endswith(b".md")] + [
            b"..", b"..", b"..", b".", b"", b"sub", b"deep", b"note", b"kb", b"kb2", b"outside", b"secret", b"inner",
            b"x", b"missing", b" ", b"a b",
            b"note.md", b"not a directory", b"\xc3\xa9", b"e\xcc\x81", b"\xff", b"~", b"...", b"-", b"\\", b"C:", b"*",
            b"n" * 252, b"n" * 253, b"n" * 5000]
        ends = [b"", b"", b"", b"", b" ", b"|alias", b"|../x", b"\n", b"\0", b"/", b"\xc2\xa0", b"#heading"]
        questions = [b"", b"|", b" ", b"/", b"/etc/passwd", b"..", b".", b"../kb/note", b"note", b"n" * 5000,
                     b"a/" * 3000, b"../" * 3000 + b"x"]
        questions += [to_bytes(str(root)) + b"/" + p for p in parts]
        for _ in range(60_000):
            link = b"/".join(rng.choices(parts, k=rng.choice([1, 1, 2, 2, 3, 4, 6])))
            questions.append(rng.choice([b"", b"", b"", b" ", b"/", b"./"]) + link + rng.choice(ends))

        def expected(base):
            def article(question):
                link = to_text(question)
                try:
                    found = seed.safe_article_path(link, Path(base))
                except RuntimeError:  # a loop of symbolic links
                    return []
                if found is None or (b"loop" in question and meets_loop(link, base)):
                    return []
                return [os.fsencode(found)]
            return article

        os.chdir(root)
        for base in [str(root / "kb"), "kb", "kb_link", "kb/../kb/./", "outside/to_kb/sub", "missing", "kb/loop1", "/",
                     ".", "kb/out"]:
            compare("safe_article_path", questions if base == str(root / "kb") else questions[:6_000], expected(base),
                    base, root)
    finally:
        shutil.rmtree(root)


# ---- JSON

NUMBERS = ["0", "-0", "-0.0", "1", "-1", "10", "1.0", "1.5", "0.1", "1e5", "1E+5", "1e-7", "1e16", "1e22",
           "123456789012345678", "9007199254740993",
           "9223372036854775807", "-9223372036854775808", "9223372036854775808", "18446744073709551615",
           "18446744073709551616", "1" * 400,
           "5e-324", "2.2250738585072014e-308", "1.7976931348623157e308", "1e309", "-1e400", "1e-400", "NaN",
           "Infinity", "-Infinity", "0.30000000000000004",
           "1.0E-2", "100000000000000000000000.0", "1e999999999999", "0e5", "-0e0", "4.35", "1.00000000000000000000001"]
BAD_NUMBERS = ["01", "-", "+1", ".5", "1.", "1e", "1e+", "0x10", "-NaN", "+Infinity", "Inf", "nan", "--1", "1_000",
               "1.e5", "-01", "True", "nul", "tru"]
ESCAPES = ['\\"', "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\u0000", "\\u0041", "\\u00e9", "\\u20ac",
           "\\ud83d\\ude00", "\\ud83d", "\\ude00", "\\ude00\\ud83d",
           "\\uD83D\\u0041", "\\ud83d\\ud83d\\ude00", "\\uFFFF", "\\u007f", "\\u2028"]
BAD_ESCAPES = ["\\x41", "\\u12", "\\u12G4", "\\u 123", "\\", "\\u+123", "\\'", "\t", "\n", "\0", "\x1f", "\\U0041"]
CHARACTERS = [*"abcxyz 019/'{}[],:", "\x7f", "\x80", "é", "ß", "€", "\u2028", "\ud7ff", "\ue000", "\uffff", "😀",
              "\U0010ffff"]


def number():
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(NUMBERS)
    if kind < 0.5:
        return str(rng.randrange(-10 ** rng.randrange(1, 40), 10 ** rng.randrange(1, 40)))
    if kind < 0.8:
        number = repr(struct.unpack("<d", struct.pack("<Q", rng.getrandbits(64)))[0])
        return number.replace("inf", "Infinity").replace("nan", "NaN")
    whole, part = rng.randrange(10 ** rng.randrange(1, 25)), rng.randrange(10 ** rng.randrange(1, 25))
    return f"{whole}.{part}e{rng.randrange(-330, 320)}"


def string():
    length = rng.choice([0, 1, 2, 3, 7, 8, 13, 14, 15, 16, 17, 31, 40])
    return '"' + "".join(rng.choices(CHARACTERS + ESCAPES, k=length)) + '"'


def space():
    return rng.choice(["", "", "", " ", "\n", "\r\n", "\t", "  \n "])


def document(depth):
    kind = rng.random()
    if depth == 0 or kind < 0.3:
        return rng.choice([number, number, string, string, lambda: rng.choice(["true", "false", "null"])])()
    items = range(rng.choice([0, 1, 2, 3, 8]))
    if kind < 0.6:
        return "[" + ",".join(space() + document(depth - 1) + space() for _ in items) + space() + "]"
    key = lambda: rng.choice([string(), '"k"', '"k"', '"\\u006b"', '""'])  # duplicates, too
    members = [space() + key() + space() + ":" + space() + document(depth - 1) + space() for _ in items]
    return "{" + ",".join(members) + space() + "}"


def damaged(data):
    bad = BAD_NUMBERS + BAD_ESCAPES + list('{}[],:"\\ ') + ["//", "/*", "\ufeff", "\xa0", "'", "null", "1"]
    bad = [to_bytes(b) for b in bad] + NOT_UTF8
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(data) + 1)
        data = data[:at] + rng.choice([b"", rng.choice(bad)]) + data[at + rng.choice([0, 0, 1, 2, 9]):]
    return data


def python_answer(data):
    """What the seed's load makes of a file, written again; nothing where it calls the file corrupt."""
    try:
        text = data.decode("utf-8")
        if text.startswith("\ufeff"):  # the contract: a leading byte order mark is accepted besides
            text = text[1:]
            if text.startswith("\ufeff"):
                return []
        return [json.dumps(json.loads(text), indent=2).encode("ascii")]
    except (json.JSONDecodeError, UnicodeDecodeError):
        return []


def check_json():
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)  # the contract: integers of any size
    documents = [to_bytes(document(rng.choice([0, 1, 2, 3, 5]))) for _ in range(40_000)]
    documents += [to_bytes(n) for n in NUMBERS + BAD_NUMBERS]
    documents += [b"", b" ", b"[" * 300 + b"]" * 300, b'{"a":' * 300 + b"1" + b"}" * 300]
    documents += [to_bytes(f'"{e}"') for e in ESCAPES + BAD_ESCAPES]
    documents += [damaged(d) for d in documents]
    folder = tempfile.mkdtemp(prefix="memoria-json-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    try:
        compare("json", documents, python_answer, folder)
        # And what Python wrote, loading and saving must not change by a byte.
        written = [a for d in documents[:20_000] for a in python_answer(d)]
        compare("json", written, lambda data: [data], folder)
        corpora = SEED_MODULE.parent / "corpora"
        files = [f.read_bytes()
                 for f in sorted(corpora.glob("json*/**/*.json")) + sorted(corpora.glob("JSON*/**/*.json"))]
        # the deepest of JSONTestSuite exceed a limit of ours and of Python's
        shallow = [f for f in files if f.count(b"[") < 900]
        compare("json", shallow, python_answer, folder)
    finally:
        shutil.rmtree(folder)


# ---- directories of notes

def read_vault(root):
    """Name, links (as written, parsed, with the seed's verdict) of each note, in the order of link_graph."""
    notes = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if not f.startswith(".")]
        for file in files:
            path = os.path.join(folder, file)
            if file.endswith(".md") and not file.startswith(".") and os.path.isfile(path):
                notes[to_bytes(os.path.relpath(path, root))] = to_text(Path(path).read_bytes())
    return {name: seed.extract_wikilinks(notes[name]) for name in sorted(notes)}


def check_vaults():
    vaults = [TOP / "examples" / "vault", *sorted((SEED_MODULE.parent / "corpora" / "vaults").glob("*"))]
    for root in [v.resolve() for v in vaults if v.is_dir()]:
        notes = read_vault(root)
        lines, linking, targets = [], {name: set() for name in notes}, {}
        for name, links in notes.items():
            for link in links:
                target = seed.parse_wikilink(link)
                article = seed.safe_article_path(link, root)
                status = "unsafe" if article is None else "ok" if os.path.exists(article) else "broken"
                lines.append(name + b"\t" + to_bytes(target) + b"\t" + status.encode())
                targets.setdefault(to_bytes(target), set()).add(name)
                destination = os.fsencode(os.path.relpath(article, root)) if status == "ok" else None
                if destination in linking and destination != name:
                    linking[destination].add(name)
        lines += [name + b"\t" + str(len(sources)).encode() for name, sources in linking.items()]
        compare("link_graph", [os.fsencode(root)], lambda q: lines)
        some = sorted(targets)[:: max(1, len(targets) // 40)] + [b"no such note", b""]
        compare("count_inbound_links", some, lambda q: [str(len(targets.get(q, ()))).encode()], str(root))
        print(f"{root.name}: {len(notes)} notes, {len(lines) - len(notes)} links")


if __name__ == "__main__":
    warnings.simplefilter("error")
    check = {"links": check_links, "paths": check_paths, "json": check_json, "vaults": check_vaults}[sys.argv[1]]
    for i in range(ROUNDS):
        rng.seed(f"{SEED}/{i}")
        check()
