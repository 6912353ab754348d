"""Real file systems: the writer is killed at a system call, the power goes at that moment, and another boot looks.

    python3 images.py [--all] [-v] [file system...]

ext4 with its journal, ext4 with noauto_da_alloc, xfs and btrfs live in image files behind loop devices. The scenario is
killed as it enters one of its system calls (and once not at all); the image is copied as it is: what the file system
has not handed to its device yet is not in the copy, as after a power cut. The copy is mounted, which replays the
journal, and judged as everywhere; then the next call has to work on it. Each moment is copied twice: the second time
after an unrelated file has been synced, which makes some file systems write names but not the content that belongs to
them.

Programs without syncs must be found out by the same means, or this test proves nothing (`bare_...`).

By default about a minute, the calls that change something first; --all, or SECONDS=600: every system call."""

import os
import shutil
import subprocess
import sys
import tempfile
import time

import rig

KINDS = {
    "ext4": ("ext4", 24, ["-F"], "commit=600", ""),
    "ext4-noauto_da_alloc": ("ext4", 24, ["-F"], "commit=600,noauto_da_alloc", ""),
    "xfs": ("xfs", 320, ["-f"], "", "nouuid"),
    "btrfs": ("btrfs", 128, ["-f"], "commit=600", ""),
}
SCENARIOS = ("replace", "replace_new_parents", "generations", "append", "append_new", "update", "batch",
             "load_generation")
CHANGING = ("write", "fsync", "fdatasync", "renameat", "renameat2", "linkat", "unlinkat", "mkdirat", "fchmod",
            "ftruncate")


def sh(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


class Disk:
    """A file system in an image, mounted."""

    def __init__(self, base, name):
        kind, megabytes, options, self.mount_options, self.copy_options = KINDS[name]
        self.dir = tempfile.mkdtemp(dir=base)
        self.image, self.point, self.copy, self.copied = (os.path.join(self.dir, n)
                                                          for n in ("image", "m", "copy", "c"))
        os.mkdir(self.point)
        os.mkdir(self.copied)
        self.problem = None
        maker = shutil.which("mkfs." + kind) or "/sbin/mkfs." + kind
        if not os.access(maker, os.X_OK):
            self.problem = "no mkfs." + kind
            return
        with open(self.image, "wb") as out:
            out.truncate(megabytes << 20)
        made = sh(maker, "-q", *options, self.image)
        mounted = made.returncode == 0 and self.mount(self.image, self.point, self.mount_options)
        if not mounted:
            self.problem = "cannot be made or mounted here: " + made.stdout.decode(errors="replace").strip()[-100:]

    def mount(self, image, point, options):
        done = sh("mount", "-o", "loop" + ("," + options if options else ""), image, point)
        self.mount_said = done.stdout.decode(errors="replace").strip()
        return done.returncode == 0

    def power_cut(self):
        """The directory of a copy of the image, mounted; `after_look` has to follow."""
        sh("cp", "--sparse=always", "--reflink=never", self.image, self.copy)
        if not self.mount(self.copy, self.copied, self.copy_options):
            raise SystemExit("a copy of the image cannot be mounted: " + self.mount_said)
        return self.copied

    def after_look(self):
        if sh("umount", self.copied).returncode != 0:
            sh("umount", "-l", self.copied)
        os.unlink(self.copy)

    def close(self):
        for point in (self.copied, self.point):
            if os.path.ismount(point):
                sh("umount", "-l", point)
        shutil.rmtree(self.dir, True)


class Moment:
    """One scenario, killed at one call: (name, which one), or not at all."""

    def __init__(self, scenario, kill, number):
        self.scenario, self.kill, self.dir = scenario, kill, "%s-%d" % (scenario.name, number)

    def title(self):
        return "%s, %s" % (self.scenario.name, "killed at %s, number %d" % self.kill if self.kill else "not killed")


def moments(program, base):
    """Every scenario at every call; those that differ from what came before them first."""
    changing, others, controls = [], [], []
    for scenario in rig.scenarios():
        if scenario.name not in SCENARIOS:
            continue
        scenario.learn(program, base)
        d = tempfile.mkdtemp(dir=base)
        rig.plant(d, scenario.before)
        calls, changed = rig.system_calls(program, scenario.args, d), True
        for number, (name, nth, line) in enumerate(calls):
            (changing if changed else others).append(Moment(scenario, (name, nth), number))
            changed = name in CHANGING or "O_CREAT" in line
        changing.append(Moment(scenario, None, len(calls)))
    for command in ("bare_no_sync", "bare_file_sync", "bare_in_place"):
        control = rig.Scenario(command, [command, "file", "new", rig.SIZE], {"file": (0o644, rig.OLD)}, ["file"],
                               control=True)
        control.learn(program, base)
        controls.append(Moment(control, None, 0))
    # From all scenarios in turn, so that a run that is cut short has seen something of each.
    changing = [m for _, m in sorted(enumerate(changing), key=lambda p: (p[1].kill is not None, hash_of(p[0])))]
    return controls, changing, others


def hash_of(number):
    return number * 7919 % 1009


class Look:
    def __init__(self, program, disk, verbose):
        self.program, self.disk, self.verbose, self.cuts = program, disk, verbose, 0

    def moment(self, m):
        """Problems of one moment, for both copies."""
        d = os.path.join(self.disk.point, m.dir)
        command = [self.program] + m.scenario.args
        if m.kill:
            command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + m.kill[0], "-e", "signal=none", "-e",
                       "inject=%s:signal=SIGKILL:when=%d" % m.kill] + command
        done = subprocess.run(command, cwd=d, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said, found = rig.outcome_of(done.stdout), []
        if bool(m.kill) == (done.returncode == 0):
            return ["%s: ended with %d" % (m.title(), done.returncode)]
        for when in ("at once", "after an unrelated sync"):
            if when != "at once":
                with open(os.path.join(self.disk.point, "unrelated"), "ab") as out:
                    out.write(b"x")
                    out.flush()
                    os.fsync(out.fileno())
            seen = os.path.join(self.disk.power_cut(), m.dir)
            try:
                self.cuts += 1
                problem = m.scenario.judge(rig.harvest(seen), said)
                if not problem and not m.scenario.control:
                    problem = rig.check_afterwards(self.program, m.scenario, seen)
            finally:
                self.disk.after_look()
            if problem:
                found.append("%s, power cut %s: %s" % (m.title(), when, problem))
        return found


def main():
    rig.need_strace()
    if os.geteuid() != 0:
        rig.skip("needs root: it mounts file systems")
    if os.environ.get("MEMORIA_FS_OWN_MOUNTS") != "yes":
        if subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode != 0:
            rig.skip("may not have a mount namespace")
        os.environ["MEMORIA_FS_OWN_MOUNTS"] = "yes"
        os.execvp("unshare", ["unshare", "-m", sys.executable, "-B"] + sys.argv)
    wanted = [a for a in sys.argv[1:] if not a.startswith("-")]
    everything, verbose = "--all" in sys.argv, "-v" in sys.argv
    program, base = rig.build(), rig.scratch("/dev/shm" if room("/dev/shm") > 1 << 30 else None)
    controls, changing, others = moments(program, base)
    kinds = [k for k in KINDS if not wanted or k in wanted]
    end, failed, looked, missing = time.time() + float(os.environ.get("SECONDS", "60")), 0, 0, []
    for number, kind in enumerate(kinds):
        disk = Disk(base, kind)
        try:
            if disk.problem:
                missing.append(kind)
                print("%-22s not here: %s" % (kind, disk.problem))
                continue
            until = time.time() + (end - time.time()) / (len(kinds) - number)
            problems, look, seen = [], Look(program, disk, verbose), 0
            every = controls + changing + others
            for m in every:
                rig.plant(os.path.join(disk.point, m.dir), m.scenario.before)
            sh("sync", "-f", disk.point)
            for m in every:
                if m not in controls and not everything and time.time() > until:
                    break
                found = look.moment(m)
                seen += 1
                if m in controls:
                    if verbose or not found:
                        print("    %s: %s" % (m.scenario.name, "; ".join(found) or "NOT FOUND OUT"))
                    found = [] if found else ["%s was not found out" % m.scenario.name]
                problems += found
            print("%-22s %3d of %d moments, %d power cuts%s"
                  % (kind, seen, len(every), look.cuts, ", FAILED" if problems else ""))
            for problem in problems:
                print("    " + problem)
            failed += len(problems)
            looked += look.cuts
        finally:
            disk.close()
        sys.stdout.flush()
    if not looked:
        rig.skip("no file system could be mounted")
    print("%d power cuts, %d failed%s" % (looked, failed, ", not here: " + " ".join(missing) if missing else ""))
    return 1 if failed else 0


def room(directory):
    try:
        info = os.statvfs(directory)
        return info.f_bavail * info.f_frsize
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
