#!/usr/bin/env python3
"""`make install`: what it puts where, and that the installed program stands on its own.

Run alone: python3 tests/process/test_install.py [-k NAME]
"""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
B = os.environ.get("B", "build/")
ENV = {
    name: value
    for name, value in os.environ.items()
    if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "B", "T", "DESTDIR", "PREFIX")
}


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="sluice-install-")
        cls.at = pathlib.Path(cls.folder) / "usr"
        # What was built is installed as it is: nothing may be built again for it (-o keeps make from looking).
        done = subprocess.run(
            ["make", "install", f"B={B}", f"DESTDIR={cls.folder}", "PREFIX=/usr", "-o", "all"],
            cwd=ROOT,
            env=ENV,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)
        cls.sluice = cls.at / "bin/sluice"

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def run_it(self, *line, url="postgresql://nowhere", **env):
        return subprocess.run(
            [str(self.sluice), *map(str, line)],
            cwd="/",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=dict(ENV, DATABASE_URL=url, **env),
        )

    def test_files(self):
        files = {str(path.relative_to(self.at)) for path in self.at.rglob("*") if path.is_file()}
        for name in (
            "bin/sluice",
            "include/sluice/plugin.h",
            "share/sluice/rust/Cargo.toml",
            "share/sluice/rust/src/lib.rs",
            "lib/sluice/plugins/payment.so",
            "lib/sluice/plugins/reservation.so",
            "lib/sluice/plugins/data_platform.so",
            "share/sluice/config/pipeline.yaml",
            "share/sluice/config/services/gateway.yaml",
            "share/sluice/config/tests/payment.yaml",
            "share/sluice/prometheus/sluice.rules.yaml",
            "share/sluice/grafana/sluice.json",
            "lib/sluice/plugins/payment/sql/0001_payment.sql",
            "share/man/man1/sluice.1",
            "share/pkgconfig/sluice.pc",
            "lib/systemd/system/sluice@.service",
            "share/man/man5/pipeline.yaml.5",
            "share/bash-completion/completions/sluice",
            "share/fish/vendor_completions.d/sluice.fish",
            "share/zsh/site-functions/_sluice",
        ):
            self.assertIn(name, files)
        headers = {name for name in files if name.startswith("include/")}
        self.assertEqual(headers, {"include/sluice/plugin.h", "include/sluice/plugin.hpp"})
        for name in files:
            mode = (self.at / name).stat().st_mode & 0o777
            self.assertEqual(mode & 0o022, 0, f"{name} can be written by others: {mode:o}")

    def test_uninstall_leaves_nothing(self):
        with tempfile.TemporaryDirectory(prefix="sluice-install-") as folder:
            for target in ("install", "uninstall"):
                line = ["make", target, f"B={B}", f"DESTDIR={folder}", "PREFIX=/opt", "-o", "all"]
                subprocess.run(line, cwd=ROOT, env=ENV, capture_output=True, check=True)
                unit = pathlib.Path(folder) / "opt/lib/systemd/system/sluice@.service"
                if target == "install":
                    self.assertIn("ExecStart=/opt/bin/sluice run", unit.read_text())
            self.assertEqual([path for path in pathlib.Path(folder).rglob("*") if not path.is_dir()], [])
            self.assertEqual([path for path in pathlib.Path(folder).rglob("*sluice*")], [])

    def test_the_installed_program_finds_its_plugins(self):
        for config in sorted((self.at / "share/sluice/config").glob("pipeline.yaml")):
            done = self.run_it("validate", config)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_installed_flow_tests_pass(self):
        """Those that repeat a flow with a crash at each place run long, and in the tree; here their pipelines hold."""
        files = sorted((self.at / "share/sluice/config/tests").glob("*.yaml"))
        long = {file for file in files if "everywhere" in file.read_text()}
        done = self.run_it("test", *(file for file in files if file not in long), url="")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        for file in long:
            pipeline = re.search(r"^pipeline: (\S+)", file.read_text(), re.M)[1]
            done = self.run_it("validate", file.parent / pipeline)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_it_finds_its_migrations(self):
        done = self.run_it("migrate", self.at / "share/sluice/config/pipeline.yaml")
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot connect to the database", done.stderr)

    def test_a_plugin_is_built_against_it(self):
        """Its header is found through the sluice.pc that was installed, wherever that is now; the installed program
        runs its flow tests."""
        with tempfile.TemporaryDirectory(prefix="sluice-install-") as folder:
            said = self.run_it("new-plugin", "mine", "--store", "--dir", folder, PKG_CONFIG_LIBDIR=folder)
            self.assertEqual(said.returncode, 0, said)
            self.assertIn(f"  export PKG_CONFIG_PATH={self.at}/share/pkgconfig ", said.stdout)
            mine = pathlib.Path(folder) / "mine"
            done = subprocess.run(
                ["make", "test"],
                cwd=mine,
                env={**ENV, "PKG_CONFIG_LIBDIR": str(self.at / "share/pkgconfig")},
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn(self.at / "include", {pathlib.Path(i).resolve() for i in re.findall(r"-I(\S+)", done.stdout)})
            said = self.run_it("test", mine / "test/mine.yaml", url="")
            self.assertEqual((said.returncode, said.stderr), (0, ""), said.stdout)

    def test_the_manual(self):
        page = (self.at / "share/man/man1/sluice.1").read_text()
        for command in re.findall(r"^  (\S+) +\S", self.run_it("-h").stdout, re.M):
            self.assertIn(f".SS {command}".replace("-", "\\-"), page)


if __name__ == "__main__":
    unittest.main()
