#!/usr/bin/env python3
"""Every way in which a library is no good plugin: `sluice inspect` refuses it with exactly the sentence expected.

The sources in tests/plugins/bad say what they expect in their first comment; files that are no plugins at all are made
here. Run alone: python3 tests/process/test_plugin_refusals.py [-k NAME]. SLUICE names the program, build/sluice by
default.
"""
import hashlib
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SLUICE = os.environ.get("SLUICE", str(ROOT / os.environ.get("B", "build/") / "sluice"))
BAD = ROOT / "tests" / "plugins" / "bad"
CC = os.environ.get("CC", "cc").split()[-1]
TRUNCATED = re.compile(r"PATH is cut short: it should have at least \d+ bytes, it has (\d+); copy or build it again")


PIPELINE = """pipeline: refusals
bus: {kind: memory}
topics:
  in:
    handler: %(key)s.work
    routes:
      done: out
  out:
    final: true
plugins:
  %(key)s:
    library: %(library)s
    sha256: %(sha256)s
http: {listen: "127.0.0.1:0"}
"""
MARKER = """
#include <fcntl.h>
__attribute__((constructor)) static void leave_a_mark(void)
{
    creat("%s", 0600);
}
"""


def compile_plugin(source, library, *more):
    command = [
        CC,
        "-shared",
        "-fPIC",
        "-O1",
        "-g0",
        f"-I{ROOT}/engine/include",
        f"-I{BAD}",
        "-o",
        str(library),
        str(source),
        *map(str, more),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def inspect(path):
    """The exit code and the sentence, PATH standing for the library."""
    run = subprocess.run(
        [SLUICE, "inspect", "--timeout", "1s", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    return run.returncode, run.stderr.replace(str(path), "PATH").strip(), run.stdout


def expectation(source):
    comment = source.read_text().split("*/")[0]
    return (
        " ".join(line.removeprefix("/*").removeprefix(" *").strip() for line in comment.splitlines())
        .split("expect:")[1]
        .strip()
    )


class Refusals(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="sluice-refusals-")
        cls.at = pathlib.Path(cls.folder.name).resolve()
        cls.good = cls.at / "good.so"
        source = cls.at / "good.c"
        source.write_text('#include "bad.h"\nPLUGIN(.version = "1")\n')
        compile_plugin(source, cls.good)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def refused(self, path, sentence):
        code, said, out = inspect(path)
        self.assertEqual(said, "sluice inspect: " + sentence)
        self.assertEqual((code, out), (1, ""))

    def file(self, name, content, mode=0o644):
        path = self.at / name
        path.write_bytes(content)
        path.chmod(mode)
        return path

    def test_the_good_one_is_not_refused(self):
        code, said, out = inspect(self.good)
        self.assertEqual((code, said), (0, ""))
        self.assertIn("bad.work - works", out)

    def test_missing(self):
        self.refused(
            self.at / "none.so",
            "PATH cannot be read: No such file or directory; expected the path of a plugin's .so",
        )

    def test_folder(self):
        self.refused(self.at, "PATH is a folder, expected a shared object; name the .so file in it")

    def test_pipe(self):
        path = self.at / "pipe.so"
        os.mkfifo(path)
        self.refused(path, "PATH is no regular file, expected a shared object")

    def test_text(self):
        hint = "; build the plugin with cc -shared -fPIC"
        start = "PATH is no shared object: it does not start with the ELF magic"
        self.refused(self.file("text.so", b"just words, and some more of them"), start + hint)
        self.refused(self.file("script.so", b"#!/bin/sh\nexit 0\n"), start + ", it is a script" + hint)
        self.refused(self.file("empty.so", b""), start + ", it is empty" + hint)
        self.refused(self.file("archive.so", b"!<arch>\n" + bytes(80)), start + ", it is a static library" + hint)

    def test_object_file_and_program(self):
        source, made = self.at / "program.c", self.at / "program.o"
        source.write_text("int main(void) { return 0; }\n")
        subprocess.run([CC, "-c", "-o", made, source], check=True)
        self.refused(made, "PATH is an object file, expected a shared object; link it with cc -shared")
        made = self.at / "program"
        subprocess.run([CC, "-no-pie", "-o", made, source], check=True)
        self.refused(made, "PATH is a program, expected a shared object; link it with cc -shared")

    def test_cut_short(self):
        """Cut anywhere before the end of what is loaded, it is refused; never a crash, never loaded."""
        whole = self.good.read_bytes()
        offset, size, count = struct.unpack_from("<Q14xHH", whole, 32)
        segments = [struct.unpack_from("<IIQQQQ", whole, offset + i * size) for i in range(count)]
        needed = max(segment[2] + segment[5] for segment in segments)
        for length in sorted({5, 16, 63, 64, 65, 100, offset + 1, needed // 2, needed - 1}):
            with self.subTest(length=length):
                code, said, _ = inspect(self.file(f"cut{length}.so", whole[:length]))
                found = TRUNCATED.fullmatch(said.removeprefix("sluice inspect: "))
                self.assertTrue(found and int(found[1]) == length and code == 1, said)

    def test_other_machines(self):
        whole = bytearray(self.good.read_bytes())
        narrow = bytes(whole[:4]) + b"\x01" + bytes(whole[5:])
        self.refused(self.file("narrow.so", narrow), "PATH is for 32-bit processes, this engine is a 64-bit one")
        machine = struct.unpack_from("<H", whole, 18)[0]
        struct.pack_into("<H", whole, 18, 8)
        mine = {62: "x86-64", 183: "aarch64", 243: "riscv"}.get(machine, f"machine {machine}")
        self.refused(self.file("mips.so", bytes(whole)), f"PATH is built for machine 8, this engine runs on {mine}")

    def test_writable_by_everyone(self):
        path = self.file("open.so", self.good.read_bytes(), 0o646)
        self.refused(
            path, "PATH: everyone may write to it (mode 0646), so anyone could exchange the plugin; chmod o-w PATH"
        )
        folder = self.at / "open"
        folder.mkdir()
        path = self.file("open/good.so", self.good.read_bytes())
        folder.chmod(0o777)
        self.refused(
            path,
            f"PATH: everyone may write to its folder {folder} (mode 0777), so anyone could exchange the plugin; "
            f"chmod o-w {folder}",
        )
        folder.chmod(0o1777)
        self.assertEqual(inspect(path)[0], 0)

    def marked(self, source, name):
        """The library, with a constructor, and the file that this one makes."""
        mark, marker, library = self.at / f"{name}.mark", self.at / "marker.c", self.at / f"{name}.so"
        mark.unlink(missing_ok=True)
        marker.write_text(MARKER % mark)
        compile_plugin(source, library, marker)
        return library, mark

    def test_refused_before_any_of_it_runs(self):
        for name, runs in (
            ("major", False),
            ("minor_newer", False),
            ("size_larger", False),
            ("handler_size_smaller", False),
            ("field_size_larger", False),
            ("outcome_size_smaller", False),
            ("name_bad", False),
            ("name_long", False),
            ("name_unprintable", False),
            ("note_short", False),
            ("note_twice", False),
            ("note_major", False),
            ("magic", True),
            ("note_name", True),
            ("name_null", True),
        ):
            with self.subTest(name):
                library, mark = self.marked(BAD / f"{name}.c", "marked")
                self.refused(library, expectation(BAD / f"{name}.c"))
                self.assertEqual(mark.exists(), runs)

    def test_a_pipeline_refuses_before_any_of_it_runs(self):
        """By the plugin's name and by the library's hash; and without a note as before."""
        (self.at / "noteless.c").write_text('#define SLUICE_NO_NOTE\n#include "bad.h"\nPLUGIN(.version = "1")\n')
        noted, mark = self.marked(self.at / "good.c", "noted")
        noteless, noteless_mark = self.marked(self.at / "noteless.c", "noteless")
        digits = hashlib.sha256(noted.read_bytes()).hexdigest()
        config = self.at / "pipeline.yaml"
        other = "0" * 64
        named = "11:3: error: plugin 'other': the plugin in {} is named 'bad'; write 'bad:' here"
        hashed = (
            f"13:13: error: plugin 'bad': {noted} has the SHA-256 {digits}, expected {other}; put the library back "
            "that was meant, or write here what it has now when that is meant"
        )
        form = "13:13: error: plugins.bad.sha256: expected 64 hex digits, as `sluice inspect` shows them, got 'abc'"
        for key, library, sha256, said, runs in (
            ("other", noted, digits, named.format(noted), False),
            ("bad", noted, other, hashed, False),
            ("bad", noted, "abc", form, False),
            ("other", noteless, hashlib.sha256(noteless.read_bytes()).hexdigest(), named.format(noteless), True),
            ("bad", noted, digits, None, True),
            ("bad", noted, digits.upper(), None, True),
        ):
            config.write_text(PIPELINE % {"key": key, "library": library, "sha256": sha256})
            for command in ("validate", "run") if said else ("validate",):
                with self.subTest(command=command, key=key, sha256=sha256):
                    for file in (mark, noteless_mark):
                        file.unlink(missing_ok=True)
                    done = subprocess.run(
                        [SLUICE, command, config], capture_output=True, text=True, timeout=60, check=False
                    )
                    self.assertEqual(done.returncode, 78 if said else 0, done.stderr)
                    if said:
                        self.assertIn(f"{config}:{said}", done.stdout + done.stderr)
                    self.assertEqual(mark.exists() or noteless_mark.exists(), runs)

    def test_inspect_shows_the_hash(self):
        out = inspect(self.good)[2]
        self.assertIn(f"\n  sha256 {hashlib.sha256(self.good.read_bytes()).hexdigest()}\n", out)

    def test_links_are_followed(self):
        link = self.at / "link.so"
        link.symlink_to(self.good)
        self.assertEqual(inspect(link)[0], 0)
        dangling = self.at / "dangling.so"
        dangling.symlink_to(self.at / "gone.so")
        self.assertEqual(inspect(dangling)[0], 1)

    def test_nothing_is_left_running(self):
        """A constructor that forks and leaves: what it started is ended with it."""
        library = self.at / "left.so"
        compile_plugin(BAD / "constructor_hang_child.c", library)
        inspect(library)
        deadline = time.monotonic() + 5
        while self.mapped(library) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(self.mapped(library), [])

    @staticmethod
    def mapped(library):
        found = []
        for maps in pathlib.Path("/proc").glob("[0-9]*/maps"):
            try:
                if str(library) in maps.read_text():
                    found.append(maps.parent.name)
            except OSError:
                continue
        return found


def add_source_test(source):
    def test(self):
        library = self.at / f"{source.stem}.so"
        compile_plugin(source, library)
        self.refused(library, expectation(source))

    setattr(Refusals, "test_source_" + source.stem, test)


for bad_source in sorted(BAD.glob("*.c")):
    add_source_test(bad_source)

if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=1))
