#!/usr/bin/env python3
"""Runs one small example in an empty directory; it has to write what the comment at its end says.

examples.py PROGRAM SOURCE"""
import subprocess
import sys
import tempfile
from pathlib import Path

program, source = sys.argv[1:]
lines = Path(source).read_text(encoding="utf-8").splitlines()
expected = [line[3:] for line in lines[lines.index("// Output:") + 1:]]
with tempfile.TemporaryDirectory() as directory:
    done = subprocess.run([program], cwd=directory, stdout=subprocess.PIPE, timeout=60)
found = done.stdout.decode("utf-8").splitlines()
problems = [f"{len(lines)} lines, more than 40"] if len(lines) > 40 else []
if done.returncode != 0 or found != expected or not expected:
    problems.append("exit status %d\n--- expected\n%s\n--- found\n%s"
                    % (done.returncode, "\n".join(expected), "\n".join(found)))
print("\n".join(problems) or f"{len(lines)} lines")
sys.exit(1 if problems else 0)
