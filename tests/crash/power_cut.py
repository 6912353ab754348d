"""A power cut in a machine of its own: User-mode Linux boots from an initramfs, mounts an ext4 image and runs `scenario
work`, which writes without end and says on the console what has been acknowledged. kill -9 at a random moment is the
power cut: what the guest's kernel had not written to the image is gone. Then the journal is replayed and the image
read, both without mounting it (e2fsck, debugfs), so that this needs no root.

    python3 power_cut.py [-v]        # SECONDS=25: more is more cuts

Everything acknowledged has to be there, nothing torn: the replaced file, the batch and the state are the last
acknowledged version or the one after it, the log holds every acknowledged entry and behind them at most a part of the
next, directories made on the way are there. `work bare` does the same without syncs and must be found out."""

import json
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import time

import rig

ACKNOWLEDGED = re.compile(rb"^(file|count|log|batch|dir) (\d+)\r?$", re.M)
INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t ext4 /dev/ubda /mnt && cd /mnt && exec /scenario work $HOW
"""


class Machine:
    def __init__(self, base, program):
        self.base = base
        self.shim = os.path.join(base, "shim.so")
        build = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", self.shim,
                 os.path.join(rig.HERE, "uml_xstate.c")]
        if subprocess.run(build).returncode != 0:
            rig.skip("cannot build uml_xstate.c")
        root = os.path.join(base, "root")
        for folder in ("bin", "proc", "dev", "mnt"):
            os.makedirs(os.path.join(root, folder))
        shutil.copy(shutil.which("busybox"), root + "/bin/busybox")
        shutil.copy(program, root + "/scenario")
        with open(root + "/init", "w") as out:
            out.write(INIT)
        os.chmod(root + "/init", 0o755)
        names = subprocess.run(["find", "."], cwd=root, stdout=subprocess.PIPE, check=True).stdout
        with open(base + "/initrd", "wb") as out:
            out.write(subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=names,
                                     stdout=subprocess.PIPE, check=True).stdout)

    def run(self, how, acknowledgements, seconds):
        """Boots on a fresh image and cuts the power, so many acknowledgements and so many seconds after the first.
        Returns what the console said."""
        image = self.base + "/image"
        with open(image, "wb") as out:
            out.truncate(48 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        machine = subprocess.Popen(
            ["linux.uml", "mem=128M", "initrd=" + self.base + "/initrd", "rdinit=/init", "ubd0=" + image, "con=null",
             "con0=fd:0,fd:1", "umid=memoria%d" % os.getpid(), "quiet", "HOW=" + how],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            env=dict(os.environ, HOME=self.base, LD_PRELOAD=self.shim))
        said, until = b"", time.time() + 30
        while time.time() < until:
            ready = select.select([machine.stdout], [], [], max(0, until - time.time()))[0]
            if ready:
                more = os.read(machine.stdout.fileno(), 65536)
                if not more:
                    break
                said += more
                if len(ACKNOWLEDGED.findall(said)) >= acknowledgements and until > time.time() + seconds:
                    until = time.time() + seconds
        try:
            os.killpg(machine.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        said += machine.stdout.read()
        machine.wait()
        return said

    def harvest(self):
        """The image as the next boot would see it."""
        image, out = self.base + "/image", self.base + "/seen"
        shutil.rmtree(out, ignore_errors=True)
        os.mkdir(out)
        if subprocess.run(["e2fsck", "-fy", image], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode > 1:
            return None
        subprocess.run(["debugfs", "-R", "rdump / " + out, image], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return {n: e[1] for n, e in rig.harvest(out).items()}


def judge(tree, acknowledged):
    """What is wrong, or None."""
    if tree is None:
        return "the file system is broken"

    def version(name, tag, size, last):
        for n in (last, last + 1):
            if tree.get(name) == (rig.content("%s %d" % (tag, n), size) if n else None):
                return None
        return "%s: %d acknowledged, but it is %s" % (name, last, rig.shown(tree.get(name)))

    problem = version("file", "file", 9000, acknowledged["file"])
    for i in range(5):
        problem = problem or version("batch%d" % i, "batch", 3000, acknowledged["batch"])
    for n in range(1, acknowledged["dir"] + 1):
        problem = problem or version("dir%d/below/file" % n, "dir", 100, n)
    if problem:
        return problem
    try:
        count = json.loads(tree["state"])["count"] if "state" in tree else 0
    except (ValueError, TypeError, KeyError):
        return "the state is " + rig.shown(tree["state"])
    if count not in (acknowledged["count"], acknowledged["count"] + 1):
        return "%d updates acknowledged, the state says %d" % (acknowledged["count"], count)
    log = tree.get("log", b"")
    whole = b"".join(rig.content("log %d" % n, 299) + b"\n" for n in range(1, acknowledged["log"] + 1))
    after, rest = rig.content("log %d" % (acknowledged["log"] + 1), 299) + b"\n", log[len(whole):]
    if not log.startswith(whole):
        return "%d entries acknowledged, the log holds %s" % (acknowledged["log"], rig.shown(log))
    if len(rest) > len(after) or any(a != b and a != 0 for a, b in zip(rest, after)):
        return "something strange behind the acknowledged entries: " + rig.shown(rest)
    if sum(bool(rig.TEMPORARY.search(n)) for n in tree) > 5:
        return "more temporary files than one call has"
    return None


def last_of(said):
    last = dict.fromkeys(("file", "count", "log", "batch", "dir"), 0)
    last.update((kind.decode(), int(number)) for kind, number in ACKNOWLEDGED.findall(said))
    return last


def main():
    for command in ("linux.uml", "busybox", "cpio", "mkfs.ext4", "e2fsck", "debugfs"):
        if not shutil.which(command):
            rig.skip("needs %s (Debian: user-mode-linux busybox-static cpio e2fsprogs)" % command)
    base = rig.scratch("/dev/shm")
    machine = Machine(base, rig.build())
    verbose, cuts, writes, failed = "-v" in sys.argv, 0, 0, 0
    end = time.time() + float(os.environ.get("SECONDS", "25")) * float(os.environ.get("ROUNDS", "1"))
    said = machine.run("bare", 40, 0)
    if not ACKNOWLEDGED.search(said):
        rig.skip("User-mode Linux does not run here: " + said.decode(errors="replace").strip()[-300:])
    found = judge(machine.harvest(), last_of(said))
    print("without syncs: %s" % (found or "NOT FOUND OUT"))
    failed += 0 if found else 1
    while time.time() < end or cuts < 3:
        said = machine.run("safe", random.randrange(1, 150), random.random() * 0.05)
        last = last_of(said)
        cuts, writes = cuts + 1, writes + sum(last.values())
        problem = judge(machine.harvest(), last) or (None if writes else "nothing was acknowledged")
        if verbose or problem:
            print("cut %d, acknowledged %s: %s" % (cuts, last, problem or "as it should be"))
        failed += 1 if problem else 0
    print("%d power cuts, %d acknowledged writes, %d failed" % (cuts, writes, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
