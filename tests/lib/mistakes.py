"""Planted mistakes: the program as it would be with one wrong line in it, for the checker to find.

    program = mistakes.build("effects_first")                  # sluice
    suite = mistakes.build("memory_stale_epoch", "tests/process/bus_groups")

A mistake is tests/planted/NAME.patch: a sentence that says what is wrong and what must turn red, and the change. It is
applied to a copy of the tree, built there and taken back, so what is installed never holds it. The copy is made once a
test program, with what is built already: only the files that a patch touches are compiled. Where the wrong thing has
really been done, the patch logs `planted: NAME happened`; a test goes on until it has (happened()), so that neither a
seed nor the load of the machine decides what it finds.
"""
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest

from lib.engine import BUILD, ROOT

PATCHES = ROOT / "tests/planted"
SOURCES = ("Makefile", "engine", "plugins", "sql", "tests")  # what make reads
BUILT = ("flags", "lib", "obj", "sluice")


def names():
    return sorted(path.stem for path in PATCHES.glob("*.patch"))


def apply(name, tree, *options):
    """Fails with what to do. No fuzz: code that has changed around a mistake may have changed what it does."""
    patch = PATCHES / f"{name}.patch"
    done = subprocess.run(
        ["patch", "-p1", "--fuzz=0", "--batch", "--no-backup-if-mismatch", "--reject-file=-", *options, "-i", patch],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(
            f"tests/planted/{name}.patch does not apply any more: the code that it changes has changed. Make the same"
            f" mistake by hand in the code as it is now, put its `git diff` below the first sentence of the patch, and"
            f" take it back from the code.\n{done.stdout}{done.stderr}"
        )


class _Copy:
    """Of the tree and of what is built of it."""

    def __init__(self, folder):
        self.tree = pathlib.Path(folder)
        self.build = self.tree / BUILD.relative_to(ROOT)
        self.build.mkdir(parents=True)
        for source in SOURCES:
            self._take(ROOT / source, self.tree)
        for built in BUILT:
            self._take(BUILD / built, self.build)
        self.programs = {}

    @staticmethod
    def _take(source, folder):
        """With its time: what is built stays newer than what it is built of."""
        subprocess.run(["cp", "-a", source, folder], check=True)

    def make(self, target):
        build, flavour = self.build.relative_to(self.tree), BUILD.relative_to(ROOT / "build").as_posix()
        # -o: flags other than those of the build that was copied are no reason to build all of it again.
        command = ["make", "-j2", "-o", build / "flags", build / target]
        if flavour != ".":
            command.append(f"SAN={flavour.replace('-', ',')}")
        done = subprocess.run(
            command,
            cwd=self.tree,
            env={name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "B")},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)

    def program(self, name, target):
        if (name, target) not in self.programs:
            apply(name, self.tree)
            try:
                self.make(target)
            except AssertionError as error:
                raise AssertionError(
                    f"tests/planted/{name}.patch applies, and does not build any more:\n{error}"
                ) from None
            finally:
                apply(name, self.tree, "--reverse")
            # A folder beside obj/ is as good as build/: migrations are looked for two folders up, plugins beside it.
            folder = self.build / name
            folder.mkdir(exist_ok=True)
            if not (folder / "plugins").exists():
                (folder / "plugins").symlink_to(BUILD / "plugins")
            path = folder / pathlib.Path(target).name
            shutil.copy2(self.build / target, path)
            self.programs[name, target] = path
        return self.programs[name, target]


_copy = []


def build(name, target="sluice"):
    """Path of the program with the mistake; it is there until the test program ends."""
    if not _copy:
        folder = tempfile.TemporaryDirectory(prefix="sluice-planted-")
        unittest.addModuleCleanup(folder.cleanup)
        unittest.addModuleCleanup(_copy.clear)
        _copy.append(_Copy(folder.name))
    return _copy[0].program(name, target)


def word(name):
    """What an engine logs when its mistake was made."""
    return f"planted: {name} happened"


def happened(name, engine, traffic=None, limit_s=60.0, times=1):
    """Until an engine with the mistake has made it. `traffic` is called again and again; it is what leads there.
    `times`: how often, where one alone may do no harm."""

    def enough():
        return sum(word(name) in line for line in list(engine.log)) >= times

    end = time.monotonic() + limit_s
    while not enough():
        if time.monotonic() > end:
            raise AssertionError(
                f"the planted mistake '{name}' was not made within {limit_s:.0f} s: its patch or the traffic misses it;"
                f" the engine said\n{engine.text()}"
            )
        if traffic is not None:
            traffic()
        heard = time.monotonic() + 1.0
        while time.monotonic() < heard and not enough():
            time.sleep(0.01)
