#!/usr/bin/env python3
"""Proves: memoria::json agrees with CPython's json, byte for byte, on generated inputs.

  documents  what json.dumps writes (indent 2 or none, ensure_ascii or not) is read and written back unchanged, and
             compact or damaged texts give json.dumps(json.loads(text)), or are refused exactly where json.loads refuses
             them
  numbers    doubles from random bits, around powers of two and ten, half-way cases of up to 800 digits, random decimal
             texts, integers of any size
  strings    every code point, lone surrogates, every escape, UTF-8 cut and changed

Run: differential.py PATH_TO_json_echo [SECONDS] [SEED]. Exit status 0 no difference, 1 a difference (printed), 77
skipped.
"""
import json
import math
import random
import struct
import subprocess
import sys
import time
from fractions import Fraction

if sys.version_info < (3, 7):
    print("skipped: needs Python 3.7")
    sys.exit(77)
if hasattr(sys, "set_int_max_str_digits"):
    sys.set_int_max_str_digits(0)  # memoria::json has no such limit
sys.setrecursionlimit(20000)


class Echo:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, mode, text):
        self.process.stdin.write(b"%s %d\n" % (mode.encode(), len(text)) + text)
        self.process.stdin.flush()
        kind, length = self.process.stdout.readline().split()
        return kind == b"ok", self.process.stdout.read(int(length))


def fail(what, text, want, got):
    print("DIFFERENCE in", what)
    for name, value in (("text", text), ("want", want), ("got ", got)):
        print(" ", name, repr(value)[:2000])
    if want is not None and got is not None:
        at = next((i for i, (a, b) in enumerate(zip(want, got)) if a != b), min(len(want), len(got)))
        print("  from", at, repr(want[max(0, at - 40):at + 60]), repr(got[max(0, at - 40):at + 60]))
    sys.exit(1)


def encode(text):
    """What json.dumps gives, as bytes; lone surrogates, which UTF-8 cannot hold, as the escapes that memoria writes."""
    return text.encode("utf-8", "surrogatepass") if not any("\ud800" <= c < "\ue000" for c in text) else b"".join(
        ("\\u%04x" % ord(c)).encode() if "\ud800" <= c < "\ue000" else c.encode() for c in text)


def dumps(value, mode):
    indent = 2 if mode[6] == "2" else None
    separators = None if indent else (",", ":")
    return encode(json.dumps(value, indent=indent, separators=separators, ensure_ascii=mode[7] == "a"))


MODES = ["python0u", "python0a", "python2u", "python2a"]


def expect(echo, text, what):
    """text: bytes. The answer must be Python's, in every form; where Python refuses, a refusal."""
    try:
        value = json.loads(text.decode("utf-8"))
        good = True
    except (ValueError, UnicodeDecodeError, RecursionError):
        good = False
    for mode in MODES if good else MODES[:1]:
        ok, answer = echo.ask(mode, text)
        want = dumps(value, mode) if good else None
        if ok != good or (good and answer != want):
            fail(what + " " + mode, text, want, answer)


def random_double(r):
    kind = r.randrange(8)
    if kind == 0:
        return struct.unpack("<d", struct.pack("<Q", r.getrandbits(64)))[0]
    if kind == 1:
        hair = r.choice([0, 2**-52, -2**-53, 3 * 2**-52])
        return math.ldexp(r.choice([1, -1]), r.randrange(-1074, 1024)) * (1 + hair)
    if kind == 2:
        return float("%de%d" % (r.randrange(1, 1000), r.randrange(-330, 308)))
    if kind == 3:
        return r.randrange(-2**54, 2**54) * 1.0
    if kind == 4:
        return round(r.uniform(-1000, 1000), r.randrange(0, 8))
    if kind == 5:
        if not hasattr(math, "nextafter"):
            return 1e22
        return math.nextafter(float("1e%d" % r.randrange(-320, 308)), r.choice([0, math.inf]))
    if kind == 6:
        return r.choice([0.0, -0.0, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 2.2250738585072014e-308, 1e16,
                         1e15, 1e-4, 1e-5, 9007199254740993.0])
    return r.random()


def decimal_text(x, r):
    """The exact decimal expansion of a non-negative fraction whose denominator is a power of two, moved by a hair or
    not."""
    digits, exponent = x.numerator, 0
    while x.denominator != 1:
        x, exponent = x * 10, exponent - 1
    digits = str(x.numerator)
    tail = r.choice(["", "", "0", "1", "000000001"])
    if r.random() < 0.3 and digits[-1] != "0":
        digits, tail = digits[:-1] + str(int(digits[-1]) - 1), "9" * r.randrange(1, 30)
    text = digits + tail
    exponent -= len(tail)
    if r.random() < 0.5 and exponent < 0 and len(text) > -exponent:
        return text[:exponent] + "." + text[exponent:]
    return text[0] + "." + (text[1:] or "0") + "e" + str(exponent + len(text) - 1)


def half_way(r):
    bits = r.choice([r.getrandbits(63), r.getrandbits(52), r.randrange(0, 50),
                     (r.randrange(1, 2046) << 52) | r.randrange(3)])
    bits = min(bits, 0x7FEFFFFFFFFFFFFF)
    low = struct.unpack("<d", struct.pack("<Q", bits))[0]
    biased = max(bits >> 52, 1)
    middle = Fraction(low) + Fraction(2) ** (biased - 1076)
    return decimal_text(middle, r)


def number_text(r):
    kind = r.randrange(7)
    if kind == 0:
        return half_way(r)
    if kind == 1:
        return "%s%d" % (r.choice(["", "-"]),
                         r.getrandbits(r.choice([8, 31, 32, 53, 62, 63, 64, 65, 80, 200, 1500, 15000])))
    if kind == 2:
        if r.random() < 0.5:
            return str(r.choice([2**63, 2**64, 10**18, 10**19, 2**53]) + r.randrange(-3, 4))
        return "-" + str(2**63 + r.randrange(-3, 4))
    text = r.choice(["", "-"]) + (r.choice(["0", str(r.randrange(1, 10 ** r.randrange(1, 25)))]))
    if r.random() < 0.8:
        text += "." + "".join(r.choice("0123456789") for _ in range(r.choice([1, 2, 5, 8, 15, 16, 17, 19, 25, 60])))
    if r.random() < 0.6:
        text += r.choice("eE") + r.choice(["", "+", "-"])
        text += str(r.choice([r.randrange(0, 30), r.randrange(0, 350), r.randrange(0, 10**12), 0]))
    return text


def random_string(r):
    kind = r.randrange(6)
    n = r.choice([0, 1, 2, 5, 13, 14, 15, 16, 17, 31, 32, 33, 70, 300])
    if kind == 0:
        return "".join(chr(r.randrange(0, 128)) for _ in range(n))
    if kind == 1:
        return "".join(chr(r.choice([r.randrange(0, 0x800), r.randrange(0, 0x10000), r.randrange(0x10000, 0x110000),
                                     r.randrange(0xD800, 0xE000)])) for _ in range(n))
    if kind == 2:
        return "".join(r.choice(["a", "b", "\"", "\\", "/", "\n", "\t", "\x7f", "\u0080", "\u07ff", "\u0800", "\uffff",
                                 "\U00010000", "é", "漢"]) for _ in range(n))
    return "".join(r.choice("abcdefghijklmnopqrstuvwxyz_ ") for _ in range(n))


def whole(text):
    """Python joins neighbours that form a pair only when it reads them: give it strings as it would have read them."""
    return json.loads(json.dumps(text))


def random_value(r, depth=0):
    kind = r.randrange(10 if depth < 6 else 7)
    if kind < 2:
        return whole(random_string(r))
    if kind == 2:
        return random_double(r)
    if kind == 3:
        return r.choice([r.randrange(-100, 100), r.getrandbits(64), -r.getrandbits(64), r.getrandbits(300)])
    if kind == 4:
        return r.choice([True, False, None, [], {}, ""])
    if kind < 7:
        return r.randrange(1000)
    n = r.choice([0, 1, 2, 3, 5, 8, 20, 70, 150]) if depth < 3 else r.randrange(4)
    if kind == 7:
        return [random_value(r, depth + 1) for _ in range(n)]
    return {whole(random_string(r)) if r.random() < 0.3 else "key%d" % r.randrange(200): random_value(r, depth + 1)
            for _ in range(n)}


def damage(text, r):
    text = bytearray(text)
    for _ in range(r.randrange(1, 4)):
        at = r.randrange(len(text) + 1)
        kind = r.randrange(6)
        if kind == 0:
            del text[at:at + r.randrange(1, 5)]
        elif kind == 1:
            text[at:at] = r.choice([b"[", b"]", b"{", b"}", b",", b":", b"\"", b"\\", b" ", b"\t", b"\r\n", b"\0", b"-",
                                    b"0", b".", b"e", b"1", b"NaN",
                                    b"Infinity", b"null", b"\\u12", b"\\ud83d", b"\\ude00", b"\xed\xa0\x80", b"\xff",
                                    b"\xc3", b"\xe2\x82\xac", b"/*", b"'", b"\x0b"])
        elif kind == 2 and at < len(text):
            text[at] = r.randrange(256)
        elif kind == 3:
            del text[at:]
        elif kind == 4 and text:
            a = r.randrange(len(text))
            text[at:at] = text[a:a + r.randrange(1, 30)]
        elif text:
            text = text * 2 if len(text) < 50 else text
    return bytes(text)


def duplicates(r):
    n = r.choice([2, 5, 30, 64, 65, 66, 200])
    members = ['"%s": %d' % (r.choice(["k%d" % r.randrange(n), "a longer key number %d" % r.randrange(n)]), i)
               for i in range(n)]
    return ("{" + ", ".join(members) + "}").encode()


def every_code_point(echo):
    for start in range(0, 0x110000, 0x400):
        points = [c for c in range(start, start + 0x400)]
        plain = "".join(chr(c) for c in points if not 0xD800 <= c < 0xE000)
        expect(echo, json.dumps(plain, ensure_ascii=False).encode(), "code points")
        expect(echo, json.dumps([chr(c) for c in points]).encode(), "escaped code points")
        if plain:
            expect(echo,
                   json.dumps([chr(c) for c in plain.encode("utf-16", "ignore")] if False else list(plain),
                              ensure_ascii=False).encode(), "single code points")


def main():
    echo = Echo(sys.argv[1])
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 20
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 30)
    r = random.Random(seed)
    print("seed", seed)
    every_code_point(echo)
    counts = [0, 0, 0, 0]
    end = time.time() + seconds
    while time.time() < end:
        for _ in range(20):
            value = random_value(r)
            for kwargs in ({"indent": 2}, {"indent": 2, "ensure_ascii": False}, {}):
                text = encode(json.dumps(value, **kwargs))
                if kwargs:  # load, then dump, changes nothing
                    mode = "python2u" if "ensure_ascii" in kwargs else "python2a"
                    ok, answer = echo.ask(mode, text)
                    if not ok or answer != text:
                        fail("round trip " + mode, text, text, answer)
                for _ in range(5):
                    expect(echo, damage(text[:400] if r.random() < 0.5 else text, r), "damaged text")
                    counts[3] += 1
            counts[0] += 1
            expect(echo, duplicates(r), "duplicate keys")
            expect(echo,
                   r.choice([b"", b" ", b"\n\t"]) + encode(json.dumps(random_string(r)))
                   + r.choice([b"", b" ", b"\r\n"]), "string")
        expect(echo, b"[" + b",".join(number_text(r).encode() for _ in range(2000)) + b"]", "numbers as text")
        expect(echo, json.dumps([random_double(r) for _ in range(2000)]).encode(), "doubles")
        counts[1] += 4000
        for _ in range(50):
            expect(echo, damage(number_text(r).encode(), r), "damaged number")
            counts[3] += 1
    print("no difference: %d documents, %d numbers, every code point, %d damaged texts"
          % (counts[0], counts[1], counts[3]))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main()
