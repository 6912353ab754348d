"""compile_time.py: what including the header, and a small program that uses it, cost beside others of its kind.

Preprocessed lines, seconds of the compiler (user time, least of ROUNDS interleaved runs, default 1: the compiler does the
same each time, what else the machine does only adds to it), bytes of code and data in the object file. The programs
beside this file do the same with each library; one that is not installed is left out. They all read and write JSON or
TOML, but only memoria_fs locks, syncs and replaces the file whole. Asserts nothing about time: the lines are
include_cost.sh's to check.
"""
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
CXX = os.environ.get("CXX", "c++")
ROUNDS = int(os.environ.get("ROUNDS", "1"))
SPLIT = "-DMEMORIA_FS_DECLARATIONS_ONLY"

# what is compiled: title, source, flags
THREE = "#include <filesystem>\n#include <string>\n#include <vector>\n"
CASES = [
    ("<filesystem>, <string>, <vector>", THREE, []),
    ("memoria_fs.hpp, declarations only", "#include <memoria_fs.hpp>\n", [SPLIT]),
    ("memoria_fs.hpp", "#include <memoria_fs.hpp>\n", []),
    ("<nlohmann/json.hpp>", "#include <nlohmann/json.hpp>\n", []),
    ("<toml++/toml.h>", "#include <toml++/toml.h>\n", []),
    ("program, memoria_fs, split", (HERE / "memoria.cpp").read_text(), [SPLIT]),
    ("program, memoria_fs", (HERE / "memoria.cpp").read_text(), []),
    ("program, memoria_fs, with recovery", (HERE / "memoria_recovery.cpp").read_text(), []),
    ("program, nlohmann/json", (HERE / "nlohmann.cpp").read_text(), []),
    ("program, toml++", (HERE / "tomlplusplus.cpp").read_text(), []),
    ("program, RapidJSON", (HERE / "rapidjson.cpp").read_text(), []),
]


def compiler(*arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([CXX, "-std=c++17", f"-I{TOP}", *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL)
    return done, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def main():
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for number, (title, text, flags) in enumerate(CASES):
            source = Path(folder, f"{number}.cpp")
            source.write_text(text)
            preprocessed, _ = compiler("-E", *flags, str(source))
            if preprocessed.returncode == 0:
                rows.append((title, source, flags, preprocessed.stdout.count(b"\n")))
            else:
                print(f"left out, because it is not here: {title}")
        object_file = Path(folder, "object.o")
        size, seconds = {}, {(title, level): [] for title, *_ in rows for level in ("-O0", "-O2")}
        for _ in range(ROUNDS):
            for title, source, flags, _ in rows:
                for level in ("-O0", "-O2"):
                    done, spent = compiler(level, *flags, "-c", str(source), "-o", str(object_file))
                    if done.returncode != 0:
                        sys.exit(f"{title}: does not compile")
                    seconds[title, level].append(spent)
                text, data = subprocess.check_output(["size", object_file], text=True).splitlines()[1].split()[:2]
                size[title] = int(text) + int(data)
        print(f"{'':36}{'lines':>8}{'s, -O0':>9}{'s, -O2':>9}{'bytes, -O2':>12}")
        least = {key: min(values) for key, values in seconds.items()}
        for title, _, _, lines in rows:
            print(f"{title:36}{lines:8}{least[title, '-O0']:9.2f}{least[title, '-O2']:9.2f}{size[title]:12}")
        for title, other in [("memoria_fs.hpp, declarations only", "<filesystem>, <string>, <vector>"),
                             ("program, memoria_fs, split", "program, nlohmann/json"),
                             ("program, memoria_fs", "program, nlohmann/json"),
                             ("program, memoria_fs, with recovery", "program, nlohmann/json")]:
            if (title, "-O0") in least and (other, "-O0") in least:
                ratios = [least[title, level] / least[other, level] for level in ("-O0", "-O2")]
                print(f"{title} : {other}: {ratios[0]:.2f} at -O0, {ratios[1]:.2f} at -O2")


main()
