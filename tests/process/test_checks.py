#!/usr/bin/env python3
"""The checks of the house turn red when their rule is broken: each runs on a copy of the tree with one violation
planted.

The analysers over everything and the sanitizers take minutes and are not planted here, but for one source.

Run alone: python3 tests/process/test_checks.py [-k NAME]
"""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get("B", "build/")).resolve()


class Checks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="sluice-checks-")
        cls.at = pathlib.Path(cls.folder)
        cls.passed = set()
        files = (
            subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
            .stdout.decode()
            .split("\0")
        )
        for name in filter(None, files):
            if (ROOT / name).is_file():  # one that was just removed is still listed
                (cls.at / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, cls.at / name)
        subprocess.run("git init -q && git add -A", shell=True, cwd=cls.at, check=True)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def check(self, name, build=BUILD):
        env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        return subprocess.run(
            [str(self.at / "tests/check" / name)],
            cwd=self.at,
            env=dict(env, B=f"{build}/"),
            capture_output=True,
            text=True,
            check=False,
        )

    def green(self, check):
        """The check passes on the tree as it is; run once, since each test leaves the tree so."""
        if check not in self.passed:
            done = self.check(check)
            self.assertEqual(done.returncode, 0, f"{check} on the tree as it is: {done.stdout}{done.stderr}")
            self.passed.add(check)

    def red(self, check, file, change, says):
        """`change` of the file's text makes the check fail and say so; without it, it passes."""
        self.red_all(check, (file, change, says))

    def red_all(self, check, *changes):
        """Of a check that takes long: several changes at once, each of which it names."""
        self.green(check)
        before = {file: self.text(file) for file, _, _ in changes}
        try:
            for file, change, _ in changes:
                (self.at / file).write_text(change(self.text(file) or ""))
            subprocess.run(["git", "add", "-A"], cwd=self.at, check=True)
            done = self.check(check)
        finally:
            for file, text in before.items():
                if text is None:
                    (self.at / file).unlink()
                else:
                    (self.at / file).write_text(text)
            subprocess.run(["git", "add", "-A"], cwd=self.at, check=True)
        self.assertNotEqual(done.returncode, 0, f"{check} saw nothing wrong")
        for _, _, says in changes:
            self.assertIn(says, done.stdout + done.stderr)

    def text(self, file):
        return (self.at / file).read_text() if (self.at / file).exists() else None

    def lines(self, file):
        return len(self.text(file).splitlines())

    def red_objects(self, check, sources, *says):
        """The same for a check of object files: sources are added, and compiled beside copies of those of the build."""
        self.green(check)
        build = pathlib.Path(tempfile.mkdtemp(dir=self.at, prefix="build-"))
        shutil.copytree(BUILD / "obj/engine", build / "obj/engine")
        try:
            for source, text in sources.items():
                (self.at / source).write_text(text)
                subprocess.run(
                    ["cc", "-c", self.at / source, "-o", (build / "obj" / source).with_suffix(".o")], check=True
                )
            done = self.check(check, build)
        finally:
            for source in sources:
                (self.at / source).unlink()
            shutil.rmtree(build)
        self.assertNotEqual(done.returncode, 0, f"{check} saw nothing wrong")
        for text in says:
            self.assertIn(text, done.stdout + done.stderr)

    def test_circles(self):
        three = {
            f"engine/base/planted_{one}.c": (
                f"int {other}(void);\nint {one}(void);\nint {one}(void)\n{{\n    return {other}();\n}}\n"
            )
            for one, other in (("here", "there"), ("there", "elsewhere"), ("elsewhere", "here"))
        }
        self.red_objects(
            "circles",
            three,
            "a circle of 3 files",
            "engine/base/planted_here.c calls there of engine/base/planted_there.c",
            "engine/base/planted_elsewhere.c calls here of engine/base/planted_here.c",
        )

    def test_external(self):
        self.red_objects(
            "external",
            {"engine/base/planted.c": "int planted(void);\nint planted(void)\n{\n    return 1;\n}\n"},
            "engine/base/planted.c:1: no other file of the engine uses this; make it static, or remove it [planted]",
        )
        self.red(
            "external",
            "tests/check/known",
            lambda text: text + "external engine/base/map.c map_get none\n",
            "nothing is found there any more",
        )

    def test_layers(self):
        self.red(
            "layers",
            "engine/base/span.c",
            lambda text: '#include "store/store.h"\n' + text,
            "base/ may not include store/",
        )
        self.red(
            "layers",
            "engine/run/worker.c",
            lambda text: "#include <libpq-fe.h>\n" + text,
            "<libpq-fe.h> belongs to store/ alone",
        )
        self.red("layers", "engine/flow/lane.c", lambda text: "#include <jansson.h>\n" + text, "<jansson.h> belongs to")
        self.red(
            "layers",
            "plugins/payment/payment.c",
            lambda text: '#include "run/engine.h"\n' + text,
            "a plugin includes sluice/plugin.h",
        )
        (self.at / "engine/other").mkdir()
        self.red("layers", "engine/other/x.c", lambda text: "int x;\n", "folder 'other' is not in the Makefile's ROOMS")

    def test_headers(self):
        self.red_all(
            "headers",
            ("engine/base/span.h", lambda text: text.replace("#include", "//"), "engine/base/span.h"),
            ("engine/include/sluice/plugin.h", lambda text: text + "\nint class;\n", "class"),
        )

    def test_sizes(self):
        self.red("sizes", "engine/base/span.c", lambda text: text + "\n" * 500, "lines, the most is 500")

    def test_format(self):
        wide = "columns, the most is 120"
        self.red_all(
            "format",
            ("engine/base/span.c", lambda text: text + "int  x;\n", "engine/base/span.c:"),
            (
                "engine/base/map.c",
                lambda text: text + "/* " + "x" * 130 + " */\n",
                f"engine/base/map.c:{self.lines('engine/base/map.c') + 1}: 136 {wide}",
            ),
            ("tests/run", lambda text: text + "x = {  }\n", "would reformat tests/run"),
            (
                "tests/lib/engine.py",
                lambda text: text + "# " + "x" * 130 + "\n",
                f"tests/lib/engine.py:{self.lines('tests/lib/engine.py') + 1}: 132 {wide}",
            ),
            (
                "tests/deps",
                lambda text: text + "# " + "x" * 130 + "\n",
                f"tests/deps:{self.lines('tests/deps') + 1}: 132 {wide}",
            ),
        )

    def test_words(self):
        self.red(
            "words", "engine/base/span.c", lambda text: text + "int x(const char *s) { return atoi(s); }\n", "banned"
        )
        self.red("words", "engine/base/span.c", lambda text: text + "/* TO" + "DO: more */\n", "do it, remove it")
        self.red(
            "words", "docs/testing.md", lambda text: text + "\nsee /ro" + "ot/notes\n", "the folder of one machine"
        )

    def test_commands(self):
        page, source = "docs/recipes.md", "engine/cli/emit.c"
        self.red(
            "commands", page, lambda text: text + "\nThen `sluice repair CONFIG`.\n", "there is no `sluice repair`"
        )
        self.red("commands", page, lambda text: text + "\n```sh\nbuild/sluice repair x\n```\n", "no `sluice repair`")
        self.red("commands", page, lambda text: text + "\n`sluice chain release`\n", "`sluice chain` has no release")
        self.red(
            "commands", source, lambda text: text.replace("usage: sluice emit", "usage: sluice omit"), "sluice omit"
        )

    def test_plugin_guide(self):
        self.red(
            "plugin_guide",
            "plugins/template/template.c",
            lambda text: text.replace("greeting", "greetings"),
            "plugin_guide --write",
        )

    def test_generated(self):
        for page in ("docs/metrics.md", "docs/configuration.md", "docs/pipeline.schema.json", "docs/man/sluice.1"):
            self.red("generated", page, lambda text: text + "x\n", f"{page} is not what this program says")
        for made, word, other in (
            ("engine/include/sluice/plugin.h", "int32_t retries_left;", "int64_t retries_left;"),
            ("engine/include/rust/src/raw.rs", "pub count: u32,", "pub count: u64,"),
            ("engine/plugin/abi.c", "SIZE(sluice_text, 16);", ""),
            ("docs/plugin-reference.md", "an HTTP status", "a status"),
        ):
            said = f"{made} is not what engine/include/abi.txt says"
            self.red("generated", made, lambda text, word=word, other=other: text.replace(word, other), said)
        self.red(
            "generated",
            "engine/include/abi.txt",
            lambda text: text.replace("1.0  int32_t retry_count;", "1.0  int64_t retry_count;"),
            "struct sluice_event of 1.0 has `int32_t retry_count`",
        )

    def test_sql(self):
        says = "keywords of SQL are in lower case"
        self.red(
            "sql", "sql/engine/0001_ledger.sql", lambda text: text + "CREATE INDEX x ON sluice.inbox (at);\n", says
        )
        self.red("sql", "sql/engine/0001_ledger.sql", lambda text: text + "select 1\n  FROM sluice.inbox;\n", says)
        self.red(
            "sql",
            "sql/engine/0001_ledger.sql",
            lambda text: text + "-- " + "x" * 118 + "\n",
            "121 columns, the most is 120",
        )
        self.red("sql", "sql/engine/0001_twice.sql", lambda text: "select 1;\n", "expected number 0002")
        self.red("sql", "plugins/payment/sql/0001_payment.sql", lambda text: text + "SELECT 1;\n", says)
        self.red("sql", "engine/base/span.c", lambda text: text + 'const char *x = "SELECT 1";\n', says)
        self.red(
            "sql",
            "engine/base/span.c",
            lambda text: text + 'const char *x = "select 1" LIMITS\n    " WHERE true";\n',
            says,
        )
        self.red(
            "sql",
            "plugins/payment/payment.c",
            lambda text: text + 'const char *x = "UPDATE users SET points = 1";\n',
            says,
        )

    def test_analysers(self):
        self.red_all(
            "cppcheck",
            (
                "engine/base/span.c",
                lambda text: text + "int f(void);\nint f(void)\n{\n    int a[2] = {0};\n    return a[2];\n}\n",
                "out of bounds",
            ),
            (
                "tests/check/known",
                lambda text: text + "cppcheck engine/base/map.c memleak none\n",
                "nothing is found there any more",
            ),
        )


if __name__ == "__main__":
    unittest.main()
