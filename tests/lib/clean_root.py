"""A clean Debian or Ubuntu in a folder, made of the packages that this machine's own apt sources name, for tests that
install ours. It can be booted: systemd as the first process of namespaces of its own, which shares neither processes,
network, mounts nor control groups with the machine, and cannot set what belongs to the kernel. Needs root."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from lib.engine import until

# At $1 is a root, which has these folders: they become what systemd needs as first process of its own namespaces.
FOLDERS = ("proc", "sys", "run", "dev")
MOUNTS = """
set -eu
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
mount -t cgroup2 cgroup2 sys/fs/cgroup
mkdir -p run/old
pivot_root . run/old
"""
BOOT = (
    MOUNTS
    + """
umount -l /run/old
mount --make-rshared /
export container=sluice
exec /lib/systemd/systemd --unit=basic.target --show-status=no
"""
)
NAMESPACES = ["--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup"]


def groups():
    """Where the machine has its control groups, as far as systemd's are concerned. None: nowhere."""
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        _, path, kind, options = line.split()[:4]
        if kind == "cgroup2" and options.split(",")[0] == "rw" and os.access(path, os.W_OK):
            return pathlib.Path(path)
    return None


def why_not():
    """Why this machine cannot make and boot one; None: it can."""
    if os.geteuid() != 0:
        return "not root"
    if groups() is None:
        return "no control groups of version 2"
    with tempfile.TemporaryDirectory(prefix="sluice-root-") as folder:
        for name in FOLDERS:
            os.mkdir(os.path.join(folder, name))
        tried = subprocess.run(
            ["unshare", *NAMESPACES, "--fork", "sh", "-c", MOUNTS, "sh", folder],
            capture_output=True,
            text=True,
            check=False,
        )
    return None if tried.returncode == 0 else f"no namespaces: {tried.stderr.strip()}"


def sources():
    """The machine's own apt sources, those of its distribution."""
    apt = pathlib.Path("/etc/apt")
    for name in ("sources.list.d/debian.sources", "sources.list.d/ubuntu.sources", "sources.list"):
        if (apt / name).exists():
            return (apt / name).read_text()
    raise AssertionError("no apt sources")


def codename():
    for line in pathlib.Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.split("=")[1].strip('"')
    raise AssertionError("/etc/os-release names no release")


def make(path, temporary, *options):
    """A clean root at `path`, a folder or a .tar."""
    done = subprocess.run(
        ["mmdebstrap", "--mode=root", "--dpkgopt=force-unsafe-io", *options, codename(), str(path), "-"],
        input=sources(),
        capture_output=True,
        text=True,
        env=dict(os.environ, TMPDIR=str(temporary)),
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(done.stderr)


class CleanRoot:
    def __init__(self, *packages):
        """packages: names, or paths of .deb files, whose dependencies come with them."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-root-"))
        self.path = self.folder / "root"
        self.process = self.first = self.group = None
        options = [f"--include={package}" for package in packages]
        options.append("--hook-dir=/usr/share/mmdebstrap/hooks/file-mirror-automount")
        try:
            make(self.path, self.folder, "--variant=essential", *options)
        except AssertionError:
            self.remove()
            raise

    def boot(self):
        # Services of the machine, not of a test.
        for wants in (
            "sysinit.target.wants",
            "local-fs.target.wants",
            "multi-user.target.wants",
            "timers.target.wants",
        ):
            shutil.rmtree(self.path / "lib/systemd/system" / wants, ignore_errors=True)
        self.group = groups() / f"sluice-test-{os.getpid()}"
        self.group.mkdir()
        self.process = subprocess.Popen(
            ["unshare", *NAMESPACES, "--fork", "--kill-child", "sh", "-c", BOOT, "sh", str(self.path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            preexec_fn=lambda: (self.group / "cgroup.procs").write_text(str(os.getpid())),
        )
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self.first = int(until(lambda: children.read_text().split(), "the first process")[0])
        until(lambda: self.run("systemctl", "is-active", "basic.target", check=False).returncode == 0, "systemd", 60)

    def run(self, *words, check=True, limit_s=120):
        """A command in the booted root."""
        root = f"/proc/{self.first}/root"
        line = ["nsenter", "-t", str(self.first), "--all", f"--root={root}", f"--wd={root}", *words]
        return self.done(line, check, limit_s)

    def run_there(self, *words, check=True):
        """A command of the machine on the network of the booted root."""
        return self.done(["nsenter", "-t", str(self.first), "--net", *words], check, 120)

    def chroot(self, *words, check=True):
        """A command in the root, booted or not."""
        line = 'mount -t proc proc "$1/proc"; exec chroot "$@"'
        return self.done(["unshare", "--mount", "sh", "-c", line, "sh", str(self.path), *words], check, 120)

    @staticmethod
    def done(line, check, limit_s):
        done = subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s, check=False
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(line)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def remove(self):
        if self.process:
            os.kill(self.process.pid, signal.SIGKILL)  # the namespaces' processes end with it
            self.process.wait(30)
            self.process.stderr.close()
        if self.group:
            inside = self.group / "cgroup.events"
            until(lambda: "populated 0" in inside.read_text(), "the control group to be empty", 30)
            for path in sorted(self.group.rglob("*"), key=lambda path: -len(path.parts)):
                if path.is_dir():
                    path.rmdir()
            self.group.rmdir()
        shutil.rmtree(self.folder, ignore_errors=True)
