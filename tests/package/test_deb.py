#!/usr/bin/env python3
"""`make deb`: what is in the package, and, where this machine lets us (root, namespaces), its whole life in a clean
root under systemd: installed, started, upgraded while it runs, removed, purged.

Run alone: python3 tests/package/test_deb.py [-k NAME]
"""
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import _path
from lib import clean_root
from lib.engine import ROOT, until

B = os.environ.get("B", "build/")
ENV = {
    name: value
    for name, value in os.environ.items()
    if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "B", "T", "DESTDIR", "PREFIX")
}
HELLO = """
pipeline: hello
bus: {kind: memory}
plugins: {template: {library: template.so, settings: {word: Hello}}}
topics:
  greetings.wanted: {key: "{name}", handler: template.greet, routes: {done: greetings.said}}
  greetings.said: {final: true}
http: {listen: "${HTTP_LISTEN}", token: "${file:/run/credentials/sluice@hello.service/http-token}"}
"""


def run(*words, check=True, **options):
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def make_deb(version, folder):
    """Of what was built: nothing is built again for it (-o keeps make from looking)."""
    run("make", "deb", f"B={B}", f"DEB_VERSION={version}", "-o", "all", cwd=ROOT, env=ENV)
    made = next((ROOT / B).glob(f"sluice_{version}_*.deb"))
    return pathlib.Path(shutil.move(made, folder))


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-deb-"))
        cls.deb = make_deb("0.1.0-1", cls.folder)
        cls.tree = cls.folder / "tree"
        run("dpkg-deb", "-x", cls.deb, cls.tree)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def test_the_same_bytes_again(self):
        again = self.folder / "again"
        again.mkdir()
        first, second = (hashlib.sha256(p.read_bytes()).hexdigest() for p in (self.deb, make_deb("0.1.0-1", again)))
        self.assertEqual(first, second)

    def test_lintian(self):
        said = run("lintian", "--allow-root", "--fail-on", "none", self.deb).stdout
        self.assertEqual([line for line in said.splitlines() if line.startswith("E:")], [])

    def test_files(self):
        listed = run("dpkg-deb", "-c", self.deb).stdout.splitlines()
        names = {line.split()[5] for line in listed}
        for name in (
            "etc/sluice/",
            "usr/bin/sluice",
            "usr/lib/sluice/plugins/payment.so",
            "usr/include/sluice/plugin.h",
            "usr/include/sluice/plugin.hpp",
            "usr/share/sluice/rust/src/lib.rs",
            "usr/share/pkgconfig/sluice.pc",
            "usr/share/sluice/config/pipeline.yaml",
            "usr/share/sluice/config/tests/payment.yaml",
            "usr/lib/sluice/plugins/payment/sql/0001_payment.sql",
            "usr/lib/systemd/system/sluice@.service",
            "usr/share/man/man1/sluice.1.gz",
            "usr/share/man/man5/pipeline.yaml.5.gz",
            "usr/share/bash-completion/completions/sluice",
            "usr/share/fish/vendor_completions.d/sluice.fish",
            "usr/share/zsh/vendor-completions/_sluice",
            "usr/share/doc/sluice/copyright",
            "usr/share/doc/sluice/changelog.gz",
        ):
            self.assertIn("./" + name, names)
        for line in listed:
            self.assertRegex(line, r"^[d-]rw[x-]r-[x-]r-[x-] root/root ", "nobody but root writes")

    def test_what_it_depends_on(self):
        depends = run("dpkg-deb", "-f", self.deb, "Depends").stdout
        for name in ("libc6", "libcurl", "libjansson4", "libmicrohttpd12", "libpq5", "librdkafka1", "libyaml-0-2"):
            self.assertIn(name, depends)

    def test_sums(self):
        sums = run("dpkg-deb", "-I", self.deb, "md5sums").stdout
        run("md5sum", "--check", "--quiet", "--strict", "-", cwd=self.tree, input=sums)
        self.assertEqual(len(sums.splitlines()), sum(path.is_file() for path in self.tree.rglob("*")))

    def test_the_unpacked_program(self):
        sluice = self.tree / "usr/bin/sluice"
        self.assertTrue(run(sluice, "version", cwd="/").stdout.startswith("sluice 0.1.0, plugin contract "))
        run(sluice, "validate", self.tree / "usr/share/sluice/config/minimal.yaml", cwd="/")
        run(sluice, "test", self.tree / "usr/share/sluice/config/tests/minimal.yaml", cwd="/")

    def test_pkg_config(self):
        env = dict(ENV, PKG_CONFIG_PATH=str(self.tree / "usr/share/pkgconfig"), PKG_CONFIG_SYSROOT_DIR=str(self.tree))
        said = run("pkg-config", "--define-variable=prefix=/usr", "--cflags", "--modversion", "sluice", env=env).stdout
        self.assertIn("0.1.0", said)
        plugins = run("pkg-config", "--variable=plugindir", "sluice", env=env).stdout.strip()
        self.assertTrue(os.path.normpath(plugins).endswith("/usr/lib/sluice/plugins"), plugins)

    def test_the_unit_exposes_little(self):
        unit = self.folder / "sluice@hello.service"
        shutil.copy(self.tree / "usr/lib/systemd/system/sluice@.service", unit)
        said = run("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", unit).stdout
        level = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said)[1])
        self.assertLessEqual(level, 2.0, said)

    def test_the_unit_has_no_key_that_systemd_does_not_know(self):
        unit = self.folder / "sluice@verified.service"
        text = (self.tree / "usr/lib/systemd/system/sluice@.service").read_text()
        unit.write_text(text.replace("/usr/bin/sluice", str(self.tree / "usr/bin/sluice")))
        said = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit, check=False)
        self.assertEqual([line for line in said.stderr.splitlines() if "verified.service" in line], [])


class Life(unittest.TestCase):
    """One root for all steps, which follow each other."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-deb-"))
        cls.root = None
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.root = clean_root.CleanRoot("systemd", make_deb("0.1.0-1", cls.folder))
        cls.addClassCleanup(cls.root.remove)
        etc = cls.root.path / "etc"
        (etc / "sluice/hello.yaml").write_text(HELLO)
        (etc / "sluice/hello.env").write_text("HTTP_LISTEN=127.0.0.1:8080\n")
        (etc / "sluice/wrong.yaml").write_text("pipeline: wrong\n")
        (etc / "credstore").mkdir(mode=0o700, exist_ok=True)
        (etc / "credstore/sluice.hello.http-token").write_text("from-the-credstore\n")
        for path in [etc / "sluice/hello.env", etc / "credstore/sluice.hello.http-token"]:
            path.chmod(0o600)

    def show(self, *names, unit="sluice@hello"):
        said = self.root.run("systemctl", "show", *(f"--property={name}" for name in names), unit).stdout
        return dict(line.split("=", 1) for line in said.splitlines())

    def get(self, path, *words):
        return self.root.run_there(
            "curl", "-sS", "-o", "-", "-w", " %{http_code}", "http://127.0.0.1:8080" + path, *words
        ).stdout

    def main_pid(self):
        return int(self.show("MainPID")["MainPID"])

    def in_proc(self, pid, name):
        return self.root.run("cat", f"/proc/{pid}/{name}").stdout

    def worker(self):
        """Its pid; 0: there is none at this moment."""
        pid = self.main_pid()
        return int((self.in_proc(pid, f"task/{pid}/children").split() or ["0"])[0])

    def kill(self, name, pid):
        self.root.run("sh", "-c", f"kill -{name} {pid}")

    def install(self, deb):
        shutil.copy(deb, self.root.path / "srv")
        return self.root.run("dpkg", "-i", f"/srv/{deb.name}").stdout

    def test_life(self):
        self.installed()
        self.root.boot()
        self.started()
        self.shut_in()
        self.refused()
        self.watched()
        self.upgraded()
        self.restarted()
        self.removed()
        self.purged()

    def installed(self):
        self.assertTrue(self.root.chroot("sluice", "version").stdout.startswith("sluice 0.1.0,"))
        self.root.chroot("sluice", "validate", "/usr/share/sluice/config/minimal.yaml")
        self.assertEqual(self.root.chroot("dpkg", "-V", "sluice").stdout, "")
        self.assertFalse(list((self.root.path / "etc/systemd/system").rglob("sluice@*")), "nothing starts by itself")

    def started(self):
        self.root.run("systemctl", "enable", "--now", "sluice@hello")
        shown = self.show("ActiveState", "StatusText", "Type", "Result")
        self.assertEqual(
            shown, {"Type": "notify", "ActiveState": "active", "StatusText": "takes work", "Result": "success"}
        )
        self.assertTrue(self.get("/readyz").endswith(" 200"), self.get("/readyz"))
        # The token is the one of the credential: without it nobody may, with it there is nothing of that kind.
        self.assertTrue(self.get("/pauses/nothing", "-X", "POST").endswith(" 401"))
        said = self.get("/pauses/nothing", "-X", "POST", "-H", "Authorization: Bearer from-the-credstore")
        self.assertFalse(said.endswith(" 401"), said)

    def shut_in(self):
        for pid in (self.main_pid(), self.worker()):
            status = dict(line.split(":\t", 1) for line in self.in_proc(pid, "status").splitlines() if ":\t" in line)
            self.assertGreaterEqual(int(status["Uid"].split()[0]), 61184, "a dynamic user")
            self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
            self.assertEqual(int(status["CapBnd"], 16), 0)
        mounts = self.in_proc(self.main_pid(), "mounts").splitlines()
        usr = [line.split() for line in mounts if line.split()[1] == "/"]
        self.assertTrue(usr[-1][3].startswith("ro"), usr)

    def refused(self):
        self.assertNotEqual(self.root.run("systemctl", "start", "sluice@wrong", check=False).returncode, 0)
        shown = self.show("ActiveState", "ExecMainStatus", "NRestarts", unit="sluice@wrong")
        self.assertEqual(shown, {"ActiveState": "failed", "ExecMainStatus": "78", "NRestarts": "0"})

    def watched(self):
        folder = self.root.path / "etc/systemd/system/sluice@hello.service.d"
        folder.mkdir(parents=True)
        (folder / "watched.conf").write_text("[Service]\nWatchdogSec=3s\nRestartSec=100ms\n")
        self.root.run("systemctl", "daemon-reload")
        self.root.run("systemctl", "restart", "sluice@hello")
        self.kill("STOP", self.worker())
        until(lambda: self.show("NRestarts")["NRestarts"] == "1", "the watchdog", 60)
        until(lambda: self.show("ActiveState")["ActiveState"] == "active", "another engine", 60)
        self.assertTrue(self.get("/readyz").endswith(" 200"))
        self.root.run("rm", "-r", "/etc/systemd/system/sluice@hello.service.d")
        self.root.run("systemctl", "daemon-reload")

    def upgraded(self):
        """The new package has another plugin and no program that runs: who runs goes on all the same, even after
        its worker was killed."""
        tree = self.folder / "broken"
        run("dpkg-deb", "-R", next(self.folder.glob("sluice_0.1.0-1_*.deb")), tree)
        control = tree / "DEBIAN/control"
        control.write_text(control.read_text().replace("Version: 0.1.0-1", "Version: 0.1.1-1"))
        shutil.copy(tree / "usr/lib/sluice/plugins/payment.so", tree / "usr/lib/sluice/plugins/template.so")
        (tree / "usr/bin/sluice").write_text("#!/bin/false\n")
        run("dpkg-deb", "--root-owner-group", "-b", tree, self.folder / "broken.deb")
        before, worker = self.main_pid(), self.worker()
        said = self.install(self.folder / "broken.deb")
        self.assertIn(
            "sluice@hello.service still runs version 0.1.0-1. When it suits: sluice migrate /etc/sluice/hello",
            said,
        )
        self.assertEqual((self.main_pid(), self.worker()), (before, worker))
        self.kill("KILL", worker)
        until(lambda: self.worker() not in (0, worker) and self.get("/readyz").endswith(" 200"), "another worker", 60)
        self.assertEqual(self.main_pid(), before)
        self.assertEqual(self.show("ActiveState", "NRestarts"), {"ActiveState": "active", "NRestarts": "1"})

    def restarted(self):
        before = self.main_pid()
        self.install(make_deb("0.2.0-1", self.folder))
        self.assertEqual(self.main_pid(), before)
        self.root.run("systemctl", "restart", "sluice@hello")
        self.assertNotEqual(self.main_pid(), before)
        self.assertTrue(self.get("/readyz").endswith(" 200"))

    def removed(self):
        self.root.run("dpkg", "-r", "sluice")
        self.assertEqual(self.show("ActiveState")["ActiveState"], "inactive")
        self.assertEqual((self.root.path / "etc/sluice/hello.yaml").read_text(), HELLO, "the administrator's")
        self.assertEqual(self.left(), ["etc/systemd/system/multi-user.target.wants/sluice@hello.service"])

    def purged(self):
        self.root.run("dpkg", "--purge", "sluice")
        self.assertEqual(self.left(), [])

    def left(self):
        """What is called sluice and is neither the administrator's nor systemd's own run-time state."""
        found = self.root.run("find", "/etc", "/usr", "/var", "/tmp", "-name", "*sluice*").stdout.splitlines()
        known = (
            r"/etc/(sluice|credstore)|/var/(log|cache|tmp/systemd-private|lib/apt|lib/dpkg/info/sluice.(list|postrm))"
        )
        return sorted(path[1:] for path in found if not re.match(known, path))


WHY_NOT = clean_root.why_not()
if WHY_NOT:
    print(f"not shown on this machine ({WHY_NOT}): the package in a clean root under systemd")
    del Life

if __name__ == "__main__":
    unittest.main()
