"""Where nothing can be written: a full disk, a used-up quota, a read-only file system, no permission, another file
system, a file that is a mount point, immutable and append-only, no descriptors left, standard streams closed.

    python3 limits.py [-v] [case...]

For each: the error names operation, file and reason; nothing has changed; and once the cause is gone the same call
works. As root, in a mount namespace of its own, so that nothing stays mounted whatever happens."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import rig
from faults import MESSAGE

OLD = rig.OLD
VERBOSE = "-v" in sys.argv


class Problem(Exception):
    pass


class NotHere(Exception):
    """This machine cannot do that."""


def sh(*command, check=True):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if check and done.returncode != 0:
        raise NotHere("%s: %s" % (" ".join(command), done.stdout.decode(errors="replace").strip()))
    return done.stdout


class Limits:
    def __init__(self, program, base):
        self.program, self.base, self.checks, self.problems = program, base, 0, []

    def place(self, name):
        d = os.path.join(self.base, name)
        os.mkdir(d)
        return d

    def image(self, kind, megabytes, *options):
        """A mounted file system of its own."""
        maker = shutil.which("mkfs." + kind)
        if not maker:
            raise NotHere("no mkfs." + kind)
        d = tempfile.mkdtemp(dir=self.base)
        image, point = d + "/image", d + "/mounted"
        os.mkdir(point)
        with open(image, "wb") as out:
            out.truncate(megabytes << 20)
        sh(maker, "-q", *options, image)
        sh("mount", "-o", "loop", image, point)
        return point

    def call(self, args, cwd, before=(), **more):
        done = subprocess.run(list(before) + [self.program] + args, cwd=cwd, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=more.pop("timeout", 5), **more)
        return done.returncode, rig.outcome_of(done.stdout), done.stderr.decode(errors="replace").strip()

    def refused(self, args, cwd, reason, before=(), ignore=(), **more):
        """The call fails, says why, and changes nothing. With generations: nor is one lost, however often it fails."""
        if args[0] == "generations":
            for _ in range(3):
                self.refused_once(args, cwd, reason, before, list(ignore) + ["file.gen-1", "file.gen-2"], **more)
            there = rig.harvest(cwd)
            if not any(there.get(n, (0, 0))[1] == self.PREVIOUS for n in ("file.gen-1", "file.gen-2")):
                raise Problem("%s: after three failures the previous version is lost; it said %s"
                              % (" ".join(args), reason))
        else:
            self.refused_once(args, cwd, reason, before, ignore, **more)

    def refused_once(self, args, cwd, reason, before, ignore, **more):
        was = rig.harvest(cwd)
        try:
            status, said, message = self.call(args, cwd, before, **more)
        except subprocess.TimeoutExpired:
            raise Problem("%s hangs" % " ".join(args)) from None
        now = rig.harvest(cwd)
        for tree in (was, now):
            for name in list(tree):
                if rig.LOCK.search(name) or name in ignore:
                    del tree[name]
        if said != "failed" or status not in (1, 4):
            raise Problem("%s: says %s, ends with %d: %s" % (" ".join(args), said, status, message))
        match = MESSAGE.match(message)
        if not match or not re.search(reason, message):
            raise Problem("%s: the message names no operation, path or reason (%s): %s"
                          % (" ".join(args), reason, message))
        if was != now:
            changed = sorted(n for n in set(was) | set(now) if was.get(n) != now.get(n))
            raise Problem("%s: changed %s (%s)\n      although it says: %s" % (
                " ".join(args), ", ".join(changed), "; ".join(rig.describe(now.get(n)) for n in changed), message))
        if VERBOSE:
            print("    " + message)
        self.checks += 1

    def works(self, args, cwd, before=(), **more):
        try:
            status, said, message = self.call(args, cwd, before, **more)
        except subprocess.TimeoutExpired:
            raise Problem("%s hangs" % " ".join(args)) from None
        if (status, said) != (0, "acknowledged"):
            raise Problem("%s: ought to work, ends with %d: %s" % (" ".join(args), status, message))
        self.checks += 1

    PREVIOUS = rig.content("previous", 3000)
    CALLS = (["replace", "file", "new", "9000"], ["replace", "nowhere/a/b", "new", "9000"],
             ["create", "other", "new", "9000"],
             ["generations", "file", "new", "9000", "2"], ["stream", "file", "new", "300000", "3"],
             ["batch", "new", "5000", "file", "file2"], ["append", "log", "new", "9000"],
             ["append_lines", "log", "new", "9000"],
             ["append", "nowhere/log", "new", "9000"], ["update", "state"], ["save", "state", "new", "9000"])

    def furnish(self, d):
        rig.plant(d,
                  {"file": (0o644, OLD), "file.gen-1": (0o644, self.PREVIOUS), "file2": (0o644, OLD),
                   "log": (0o644, rig.LOG), "state": (0o644, rig.state(3)),
                   ".state.lock": (0o644, b"")})
        return d

    def all_refused(self, d, reason, calls=CALLS, **more):
        self.each(calls, lambda args: self.refused(args, d, reason, **more))

    def all_work(self, d, calls=CALLS):
        self.each(calls, lambda args: self.works(args, d))

    def each(self, calls, check):
        """All of them, also behind one that fails."""
        for args in calls:
            try:
                check(args)
            except Problem as what:
                self.problems.append(str(what))

    # ---- the cases

    def fill(self, d, leave):
        with open(d + "/ballast", "wb", buffering=0) as out:
            for piece in (1 << 16, 4096, 1):
                try:
                    while True:
                        out.write(bytes(piece))
                except OSError:
                    pass
            out.truncate(max(0, out.tell() - leave))

    def disk_full(self, d, reason):
        self.furnish(d)
        sh("sync", "-f", d)
        for leave in (0, 4096):
            self.fill(d, leave)
            small = [c for c in self.CALLS if c[0] != "update" or leave == 0]
            self.all_refused(d, reason, small, ignore=("ballast",))
            os.unlink(d + "/ballast")
        self.all_work(d)

    def case_full_tmpfs(self):
        d = self.place("tmpfs")
        sh("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", d)
        self.disk_full(d, "No space left on device")

    def case_full_ext4(self):
        self.disk_full(self.image("ext4", 4, "-F", "-m", "0", "-O", "^has_journal,^resize_inode", "-b", "1024"),
                       "No space left on device")

    def case_no_inodes(self):
        d = self.place("inodes")
        sh("mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=20", "tmpfs", d)
        self.furnish(d)
        left = 0
        try:
            while True:
                os.mkdir("%s/full%d" % (d, left))
                left += 1
        except OSError:
            pass
        new = [c for c in self.CALLS if c[1] != "log"]
        self.all_refused(d, "No space left on device", new)
        self.works(["append", "log", "new", "9000"], d)  # needs no new file
        for i in range(left):
            os.rmdir("%s/full%d" % (d, i))
        self.all_work(d)

    def case_quota(self):
        if not shutil.which("btrfs"):
            raise NotHere("no btrfs-progs")
        top = self.image("btrfs", 128, "-f")
        sh("btrfs", "quota", "enable", top)
        sh("btrfs", "subvolume", "create", top + "/limited")
        d = self.furnish(top + "/limited")
        sh("sync", "-f", top)
        sh("btrfs", "qgroup", "limit", "1M", d)
        big = [[c[0], c[1], c[2], "3000000"] + c[4:]
               for c in self.CALLS if c[0] not in ("update", "batch", "generations")]
        self.all_refused(d, "Disk quota exceeded", [c for c in big if not c[0].startswith("append")])
        # btrfs refuses also to shorten a file once the quota is used up: then half an entry stays in the log.
        was = rig.harvest(d)["log"][1]
        status, said, message = self.call(["append", "log", "new", "3000000"], d)
        now = rig.harvest(d)["log"][1]
        if said != "failed" or "Disk quota exceeded" not in message or not now.startswith(was):
            raise Problem("append: says %s: %s, the log holds %s" % (said, message, rig.shown(now)))
        sh("btrfs", "qgroup", "limit", "none", d)
        self.all_work(d)

    def case_read_only(self):
        d = self.furnish(self.image("ext4", 8, "-F"))
        sh("mount", "-o", "remount,ro", d)
        self.all_refused(d, "Read-only file system")
        sh("mount", "-o", "remount,rw", d)
        self.all_work(d)

    def case_no_permission(self):
        nobody = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
        if not shutil.which("setpriv"):
            raise NotHere("no setpriv")
        d = self.furnish(self.place("permission"))
        for folder in (self.base, os.path.dirname(self.program)):
            os.chmod(folder, 0o755)
        reading = [["load", "secret"], ["read", "secret"], ["append", "log", "new", "100"]]
        rig.plant(d, {"secret": (0o600, b"not json")})
        self.all_refused(d, "Permission denied", self.CALLS + tuple(reading), before=nobody)
        os.chown(d, 65534, 65534)
        for args in (["replace", "file", "new", "9000"], ["replace", "nowhere/a/b", "new", "9000"], ["update", "own"]):
            self.works(args, d, nobody)
        self.refused(["append", "log", "new", "100"], d, "Permission denied", nobody)
        # its owner may move it, but nobody has read it
        self.refused(["load", "secret"], d, "Permission denied", nobody)
        self.all_work(d)

    def case_mount_point(self):
        """A file that is bind-mounted (as containers do) cannot be replaced, but can be appended to."""
        d = self.furnish(self.place("bind"))
        elsewhere = self.furnish(self.place("elsewhere"))
        for name in ("file", "state"):
            sh("mount", "--bind", elsewhere + "/" + name, d + "/" + name)
        busy = [c for c in self.CALLS if c[1] in ("file", "state")]
        self.all_refused(d, "mount point", busy)
        self.works(["append", "file", "new", "100"], d)
        for name in ("file", "state"):
            sh("umount", d + "/" + name)
        self.all_work(d)

    def case_other_file_system(self):
        """A directory, or a symbolic link, that leads to another file system is nothing special: no EXDEV."""
        d, other = self.furnish(self.place("here")), self.place("there")
        sh("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", other)
        os.mkdir(other + "/dir")
        rig.plant(other, {"target": (0o640, OLD), "state": (0o640, rig.state(3))})
        os.symlink(other + "/dir", d + "/dir")
        os.symlink(other + "/target", d + "/link")
        os.symlink(other + "/state", d + "/state-link")
        self.works(["replace", "link", "new", "9000"], d)
        self.works(["replace", "dir/a/b", "new", "9000"], d)
        self.works(["update", "state-link"], d)
        self.works(["batch", "new", "5000", "file", "dir/one", "link"], d)
        with open(other + "/target", "rb") as target:
            if target.read() != rig.content("newk", 5000) or not os.path.islink(d + "/link"):
                raise Problem("the link's target was not replaced")
        left = [n for n in os.listdir(d) + os.listdir(other) if rig.TEMPORARY.search(n)]
        if left:
            raise Problem("left: %s" % left)

    def case_immutable(self):
        d = self.furnish(self.image("ext4", 8, "-F"))
        every = [c for c in self.CALLS if c[1] != "log"]
        for flag in "ia":
            sh("chattr", "+" + flag, d)
            try:
                if flag == "i":
                    self.all_refused(d, "Operation not permitted|Permission denied", every)
                else:  # append-only: a temporary file can be made, and then neither renamed nor removed
                    self.refused(["create", "other", "new", "9000"], d, "Operation not permitted",
                                 ignore=self.new_in(d))
            finally:
                sh("chattr", "-" + flag, d)
            for n in os.listdir(d):
                if rig.TEMPORARY.search(n):
                    self.works(["sweep", "."], d)
        for name in ("file", "log", "state"):
            sh("chattr", "+i", d + "/" + name)
        try:
            self.all_refused(d, "Operation not permitted|Permission denied",
                             [c for c in self.CALLS if c[1] in ("file", "log", "state")])
        finally:
            for name in ("file", "log", "state"):
                sh("chattr", "-i", d + "/" + name)
        self.all_work(d)

    def new_in(self, d):
        class Temporaries:
            def __contains__(self, name):
                return bool(rig.TEMPORARY.search(name))
        return Temporaries()

    def case_descriptors(self):
        """Each number of descriptors that is too small is refused cleanly; the first that is enough, works."""
        self.descriptors("descriptors", None)

    def case_descriptors_with_standard_streams_closed(self):
        self.descriptors("closed_descriptors", 0)

    def descriptors(self, place, closed):
        top = self.place(place)
        bad = b'{"half'
        more = {"corrupt": (0o644, bad), "with-generation": (0o644, bad),
                "with-generation.gen-1": (0o644, rig.state(7)),
                ".corrupt.lock": (0o644, b""), ".with-generation.lock": (0o644, b"")}

        def check(args):
            for limit in range(4, 20):
                d = self.furnish(tempfile.mkdtemp(dir=top))
                rig.plant(d, more)

                def set_limit():
                    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
                    if closed is not None:
                        os.close(closed)

                try:
                    if self.call(args, d, preexec_fn=set_limit)[1] != "acknowledged":
                        shutil.rmtree(d)
                        os.mkdir(d)
                        rig.plant(self.furnish(d), more)
                        self.refused(args, d, "Too many open files", preexec_fn=set_limit)
                        self.works(args, d)
                        continue
                except subprocess.TimeoutExpired:
                    raise Problem("%s hangs" % " ".join(args)) from None
                except Problem as what:
                    raise Problem("%d descriptors: %s" % (limit, what)) from None
                if args[1] == "with-generation" and rig.harvest(d).get("with-generation") != (0o644, rig.state(7)):
                    raise Problem("%s with %d descriptors: the good generation is ignored" % (" ".join(args), limit))
                return
            raise Problem("%s does not work with 20 descriptors" % " ".join(args))

        confined = (["confined_replace", "file", "new", "9000"], ["confined_replace", "nowhere/a/b", "new", "9000"],
                    ["confined_append", "log", "new", "9000"], ["confined_append", "nowhere/log", "new", "9000"])
        self.each(self.CALLS + confined + (["load", "corrupt"], ["load", "with-generation"], ["sweep", "."]), check)

    def case_batch_beyond_the_descriptors(self):
        """5,000 files with 64 descriptors. While they run out the batch is alive, and a sweeper leaves it alone; a
        killed one is swept."""
        d = self.place("many")

        def set_limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

        self.works(["many", "5000"], d, preexec_fn=set_limit, timeout=120)
        there = rig.harvest(d)
        wrong = [i for i in range(5000) if there.get("many%d/%d" % (i % 3, i), (0, 0))[1] != rig.content(str(i), 100)]
        if wrong or len(there) != 5003:
            raise Problem("%d of 5000 files are wrong, %d names" % (len(wrong), len(there)))
        shutil.rmtree(d)
        os.mkdir(d)
        victim = subprocess.Popen([self.program, "many", "5000"], cwd=d, preexec_fn=set_limit,
                                  stdout=subprocess.DEVNULL)
        until = time.time() + 30
        while time.time() < until and sum(len(os.listdir(d + "/" + n)) for n in os.listdir(d)) < 300:
            time.sleep(0.01)
        os.kill(victim.pid, signal.SIGSTOP)
        os.waitpid(victim.pid, os.WUNTRACED)  # until it has stopped, it goes on
        before = sorted(rig.harvest(d))
        for n in range(3):
            self.works(["sweep", "many%d" % n], d)
        if len(before) < 300 or sorted(rig.harvest(d)) != before:
            raise Problem("a living batch of %d files was swept down to %d" % (len(before), len(rig.harvest(d))))
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        for n in range(3):
            self.works(["sweep", "many%d" % n], d)
        left = [n for n in rig.harvest(d) if rig.TEMPORARY.search(n)]
        if left:
            raise Problem("a dead batch is not swept: %s" % left[:3])

    def case_metadata(self):
        """What a replaced file had is kept, or named: attributes, access list, owner, capabilities."""
        if not shutil.which("setfattr") or not shutil.which("setfacl"):
            raise NotHere("no setfattr or setfacl (Debian: attr, acl)")
        nobody = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")

        def shown(name):  # without times and inode
            listed = sh("getfattr", "-d", "-e", "hex", "-m", "-", name) + sh("getfacl", "-n", name)
            return listed.decode().splitlines() + [oct(os.stat(name).st_mode)]

        def lost(args, cwd, before=()):
            done = subprocess.run(list(before) + [self.program] + args, cwd=cwd, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)
            said = done.stdout.decode().splitlines()[-1].split(" ")
            if said[0] != "acknowledged":
                raise Problem("%s: %s" % (" ".join(args), done.stderr.decode()))
            return sorted(said[1].split(",")) if len(said) > 1 else []

        for kind, options in (("ext4", ("-F",)), ("xfs", ("-f",)), ("btrfs", ("-f",))):
            try:
                d = self.image(kind, 320)
            except NotHere:
                continue
            os.chmod(d, 0o777)
            rig.plant(d, {"file": (0o640, OLD)})
            os.chown(d + "/file", 1234, 4321)
            sh("setfacl", "-m", "u:65534:rw,g:777:r,m::rw", d + "/file")
            sh("setfattr", "-n", "user.origin", "-v", "somewhere", d + "/file")
            sh("setfattr", "-n", "trusted.note", "-v", "x" * 300, d + "/file")
            sh("setcap", "cap_net_raw=p", d + "/file", check=False)
            was = shown(d + "/file")
            if lost(["report", "file", "new", "9000"], d) or shown(d + "/file") != was:
                raise Problem("%s: was %s, is %s" % (kind, was, shown(d + "/file")))
            self.checks += 1
            capable = any("security.capability" in line for line in was)
            missing = lost(["report", "file", "newer", "9000"], d, nobody)
            wanted = ["group", "owner"] + (["security.capability"] if capable else [])
            if missing != wanted or "user:65534:rw-" not in shown(d + "/file"):
                raise Problem("%s: not root's: says that %s is lost; %s" % (kind, missing, shown(d + "/file")))
            self.checks += 1
            sh("setfacl", "-d", "-m", "u:65534:rwx", d)  # a file without a list gets none from its directory
            rig.plant(d, {"plain": (0o640, OLD)})
            sh("setfacl", "-b", d + "/plain")
            was = shown(d + "/plain")
            if lost(["report", "plain", "new", "9000"], d) or shown(d + "/plain") != was:
                raise Problem("%s: was %s, is %s" % (kind, was, shown(d + "/plain")))
            self.checks += 1

    def case_closed_streams(self):
        """With standard input, output and error closed, no file of ours may get their numbers: what the program prints
        would end up in it."""
        if not shutil.which("strace"):
            raise NotHere("no strace")
        for number, args in enumerate(self.CALLS):
            d = self.furnish(self.place("closed%d" % number))
            log = os.path.join(self.base, "closed.trace")

            def close_all():
                for fd in (0, 1, 2):
                    os.close(fd)

            subprocess.run(["strace", "-f", "-qq", "-o", log, "-e", "trace=write,fsync,fdatasync,renameat,flock",
                            self.program] +
                           args, cwd=d, preexec_fn=close_all)
            with open(log) as lines:
                text = lines.read()
            wrong = [line for line in text.splitlines()
                     if re.search(r"\b(write|fsync|fdatasync|flock)\([012][,)]", line) and "EBADF" not in line]
            if wrong or "fsync(" not in text and "fdatasync(" not in text:
                raise Problem("%s: %s" % (" ".join(args), wrong or "does nothing:\n" + text))
            if any(b"ready" in (e[1] or b"") for e in rig.harvest(d).values()):
                raise Problem("%s: what the program printed is in a file" % " ".join(args))
            self.checks += 1


def main():
    if sys.platform != "linux":
        rig.skip("needs Linux")
    if os.geteuid() != 0:
        rig.skip("needs root: it mounts file systems")
    if os.environ.get("MEMORIA_FS_OWN_MOUNTS") != "yes":
        if subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode != 0:
            rig.skip("may not have a mount namespace")
        os.environ["MEMORIA_FS_OWN_MOUNTS"] = "yes"
        os.execvp("unshare", ["unshare", "-m", sys.executable, "-B"] + sys.argv)
    wanted = [a for a in sys.argv[1:] if not a.startswith("-")]
    program, base = rig.build(), rig.scratch()
    limits, failed, skipped = Limits(program, base), 0, 0
    signal.signal(signal.SIGINT, lambda *_: sys.exit(1))
    for name in [n for n in dir(limits) if n.startswith("case_")]:
        short = name[len("case_"):]
        if wanted and short not in wanted:
            continue
        before, limits.problems = limits.checks, []
        try:
            getattr(limits, name)()
        except NotHere as why:
            skipped += 1
            print("%-44s not here: %s" % (short, why))
            continue
        except Problem as what:
            limits.problems.append(str(what))
        failed += 1 if limits.problems else 0
        print("%-44s %3d checks%s" % (short, limits.checks - before, ", FAILED" if limits.problems else ""))
        for problem in limits.problems:
            print("    " + problem)
        sys.stdout.flush()
    print("%d checks, %d cases failed, %d not possible here" % (limits.checks, failed, skipped))
    return 1 if failed else rig.SKIP if limits.checks == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
