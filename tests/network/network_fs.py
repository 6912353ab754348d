#!/usr/bin/env python3
"""network_fs.py [SYSTEM...]: what holds when the same files are reached from two hosts through a network file system.

Two mounts stand for two hosts; tests/neighbours starts its processes on them in turn (its scenes counters, appends,
rotation, kills). Prints a table, one row for each file system; exit status 1 if a row that is promised in PROMISED does
not hold (or one that is known not to exclude suddenly does: then the README is out of date), 77 if nothing could be
tried.

Everything runs in mount, network and process namespaces of its own: no daemon, mount or address outlives this script,
and the only network is the loopback device in there. NFS needs the kernel's client and server, which come in a
user-mode Linux. Environment: BUILD (where the program `neighbour` is), ROUNDS (default 0.2: remote locks are slow),
SECONDS a scene (default 120), SCENES (which).
"""
import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
BUILD = Path(os.environ.get("BUILD", TOP / "build/tests/tests"))
ROUNDS = os.environ.get("ROUNDS", "0.2")
SECONDS = float(os.environ.get("SECONDS", "120"))
SCENES = os.environ.get("SCENES", "counters appends rotation kills").split()
ADDRESS = "10.99.0.1"  # on the loopback device of our own network namespace: GlusterFS takes no 127.0.0.1
UML_MODULES = Path("/usr/lib/uml/modules")

GLUSTER_CACHES = ["quick-read", "io-cache", "stat-prefetch", "read-ahead", "readdir-ahead", "open-behind",
                  "write-behind"]


class Missing(Exception):
    """This system cannot be tried here, and why."""


def need(*programs):
    for program in programs:
        if not shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin"):
            raise Missing(f"no {program}")


def call(*command, seconds=60, **more):
    """Runs a command that may leave daemons behind: nothing of ours stays open in them."""
    with tempfile.TemporaryFile(mode="w+") as said:
        try:
            done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                                  timeout=seconds, check=False, **more)
        except subprocess.TimeoutExpired:
            raise Missing(f"{command[0]} did not come back in {seconds} s") from None
        said.seek(0)
        if done.returncode != 0:
            raise Missing(f"{command[0]}: {' '.join(said.read().split())[-200:]}")


def gluster(work, settings=(), options=""):
    need("glusterd", "gluster", "mount.glusterfs")
    for private in ["/var/log", "/run", "/var/lib/glusterd"]:
        call("mount", "-t", "tmpfs", "none", private)
    own = [work / name for name in ["brick1", "brick2", "host1", "host2"]]
    for directory in ["/run/gluster", "/var/log/glusterfs", *own]:
        Path(directory).mkdir()
    call("glusterd")
    time.sleep(2)
    control = ["gluster", "--mode=script", "volume"]
    call(*control, "create", "notes", "replica", "2", *(f"{ADDRESS}:{work}/brick{i}" for i in (1, 2)), "force")
    for setting in settings:
        call(*control, "set", "notes", f"performance.{setting}", "off")
    call(*control, "start", "notes")
    hosts = [work / "host1", work / "host2"]
    for host in hosts:
        call("mount", "-t", "glusterfs", *(["-o", options] if options else []), f"{ADDRESS}:/notes", host)
    return hosts


def gluster_without_caches(work):
    return gluster(work, GLUSTER_CACHES, "attribute-timeout=0,entry-timeout=0")


def sshfs(work, mounts=2):
    need("sshd", "ssh-keygen", "sshfs")
    Path("/run/sshd").mkdir(exist_ok=True)
    for key in ["server", "user"]:
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", work / key)
    (work / "export").mkdir()
    call(shutil.which("sshd") or "/usr/sbin/sshd", "-f", "/dev/null", "-o", f"HostKey={work}/server", "-o", "UsePAM=no",
         "-o", f"AuthorizedKeysFile={work}/user.pub", "-o", "StrictModes=no", "-o", "PermitRootLogin=yes",
         "-o", f"ListenAddress={ADDRESS}:2222", "-o", "Subsystem=sftp internal-sftp", "-o", f"PidFile={work}/sshd.pid")
    hosts = [work / f"host{i + 1}" for i in range(mounts)]
    for host in hosts:
        host.mkdir()
        call("sshfs", "-p", "2222", "-o", f"IdentityFile={work}/user", "-o", "StrictHostKeyChecking=no", "-o",
             "UserKnownHostsFile=/dev/null", f"root@{ADDRESS}:{work}/export", host)
    return hosts


def sshfs_one_mount(work):
    return sshfs(work, 1)


def nfs(options):
    def inside_uml(work):
        need("linux.uml", "cc", "mkfs.ext4", "busybox", "modprobe", "rpc.nfsd", "rpc.mountd", "exportfs", "rpcbind",
             "mount.nfs", "ip")
        kernels = sorted(UML_MODULES.iterdir()) if UML_MODULES.is_dir() else []
        if not kernels:
            raise Missing("no modules for user-mode Linux")
        call("cc", "-shared", "-fPIC", "-O1", TOP / "tests/crash/uml_xstate.c", "-o", work / "uml_xstate.so", "-ldl")
        call("truncate", "-s", "256M", work / "disk")
        call("mkfs.ext4", "-q", "-F", work / "disk")
        Path("/lib/modules").mkdir(exist_ok=True)
        call("mount", "--bind", UML_MODULES, "/lib/modules")  # the guest's root is what we see here
        settings = {"work": work, "script": HERE / "network_fs.py", "options": options, "BUILD": BUILD,
                    "ROUNDS": ROUNDS,
                    "SECONDS": SECONDS, "SCENES": '"' + " ".join(SCENES) + '"'}
        with open(work / "console", "w") as console:
            machine = subprocess.Popen(
                ["linux.uml", "mem=512M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw",
                 f"ubd0={work}/disk",
                 "con=null", "con0=fd:0,fd:1", f"umid=nfs{os.getpid()}", f"init={HERE}/uml_init.sh",
                 *(f"{name}={value}" for name, value in settings.items())], stdin=subprocess.DEVNULL, stdout=console,
                stderr=console,
                env={**os.environ, "LD_PRELOAD": str(work / "uml_xstate.so"), "TMPDIR": str(work), "HOME": str(work)})
            try:
                machine.wait(60 + SECONDS * len(SCENES))
            except subprocess.TimeoutExpired:
                machine.kill()
        if not (work / "result").exists():
            log = (work / "init.log").read_text().splitlines() if (work / "init.log").exists() else []
            raise Missing("user-mode Linux ended without a result: " + " | ".join(log[-4:])[:300])
        print(*(line for line in (work / "init.log").read_text().splitlines() if line.startswith("  ")), sep="\n",
              file=sys.stderr)
        return ast.literal_eval((work / "result").read_text())
    return inside_uml


SYSTEMS = {
    "GlusterFS 10 (two bricks, replicated), as created": gluster,
    "GlusterFS, caches off, `attribute-timeout=0,entry-timeout=0`": gluster_without_caches,
    "NFS 4.2": nfs("vers=4.2"),
    "NFS 4.2, `actimeo=0`": nfs("vers=4.2,actimeo=0"),
    "NFS 4.2, `noac,lookupcache=none`": nfs("vers=4.2,noac,lookupcache=none"),
    "NFS 3, clients without `rpc.statd`": nfs("vers=3"),
    "NFS 3, `nolock`": nfs("vers=3,nolock"),
    "sshfs, both hosts": sshfs,
    "sshfs, processes of one host": sshfs_one_mount,
}
PROMISED = ["GlusterFS, caches off, `attribute-timeout=0,entry-timeout=0`"]
EXCLUDES_NOBODY = ["sshfs, both hosts", "NFS 3, `nolock`"]


def verdict(returncode, said):
    """One cell of the table, from what a scene printed."""
    if returncode == 0:
        return "holds"
    lost = re.search(r"(\d+) of (\d+) (?:acknowledged )?(entries|increments) lost", said)
    if lost:
        return f"**{lost[1]} of {lost[2]} {lost[3]} lost**"
    if "acknowledged_counts <=" in said:
        return "**increments lost**"
    if "two holders" in said:
        return "**two holders of a lock**"
    if "not supported here" in said:
        return "refused: `lock_unsupported`"
    # what() or Python's OSError
    reasons = re.findall(r'(?:^\w+ ".*"|\[Errno \d+\]).*?([A-Z][a-z][^:\n]*?)(?:: |$)', said, re.M)
    return f"error: {reasons[-1]}" if reasons else "**" + said.strip().splitlines()[-1][:60] + "**"


def scenes(hosts):
    result = {}
    for scene in SCENES:
        with tempfile.TemporaryFile(mode="w+") as said:
            process = subprocess.Popen([sys.executable, "-B", TOP / "tests/neighbours/neighbours.py", scene],
                                       stdin=subprocess.DEVNULL,
                                       stdout=said, stderr=said, start_new_session=True,
                                       env={**os.environ, "HOSTS": ":".join(map(str, hosts)), "BUILD": str(BUILD),
                                            "ROUNDS": ROUNDS})
            try:
                process.wait(SECONDS)
                code = process.returncode
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                code = None
            said.seek(0)
            text = said.read()
        result[scene] = "not finished in time" if code is None else verdict(code, text)
        print(f"  {scene}: {result[scene]}\n    " + "\n    ".join(text.strip().splitlines()[-4:]), file=sys.stderr,
              flush=True)
    return result


def inside(name, work):
    """In our own namespaces: sets the system up, runs the scenes, prints the row."""
    try:
        call("ip", "link", "set", "lo", "up")
        call("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
        got = SYSTEMS[name](work)
        return repr(got if isinstance(got, dict) else scenes(got))
    except Missing as why:
        return repr(str(why))


def main(arguments):
    if arguments[:1] == ["scenes"]:  # in the user-mode Linux
        Path(arguments[1]).write_text(repr(scenes(arguments[2].split(":"))))
        return 0
    if arguments[:1] == ["inside"]:
        Path(arguments[2], "row").write_text(inside(arguments[1], Path(arguments[2])))
        return 0
    if os.geteuid() != 0 or not shutil.which("unshare") or not os.path.exists("/dev/fuse"):
        print("skipped: needs root, unshare and /dev/fuse")
        return 77
    chosen = [name for name in SYSTEMS if not arguments or any(word.lower() in name.lower() for word in arguments)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what follows is cleaned up
    rows, wrong = {}, []
    for name in chosen:
        print(name, file=sys.stderr, flush=True)
        work = Path(tempfile.mkdtemp(prefix="memoria-network-", dir="/var/tmp"))
        try:
            subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
                            sys.executable, "-B",
                            __file__, "inside", name, work], stdin=subprocess.DEVNULL, check=False,
                           timeout=180 + SECONDS * len(SCENES))
            row = ast.literal_eval((work / "row").read_text())
        except (OSError, subprocess.TimeoutExpired) as why:
            row = str(why)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        if isinstance(row, str):
            print(f"  not tried: {row}", file=sys.stderr, flush=True)
            continue
        rows[name] = row
        bad = {scene: said for scene, said in row.items() if said != "holds"}
        if name in PROMISED and bad:
            wrong.append(f"{name}: {bad}")
        if name in EXCLUDES_NOBODY and not bad:
            wrong.append(f"{name}: holds now; the README says otherwise")
    if not rows:
        print("skipped: none of these file systems can be had here")
        return 77
    print(f"| file system | {' | '.join(SCENES)} |\n|---|{'---|' * len(SCENES)}")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(row[scene] for scene in SCENES)} |")
    for line in wrong:
        print("NOT AS PROMISED:", line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
