#!/usr/bin/env python3
"""The manual and the completion of bash, zsh and fish, installed: every command and option of the program is in them.

Run alone: python3 tests/package/test_manual.py [-k NAME]
"""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import _path
from lib.engine import ROOT, sluice

B = os.environ.get("B", "build/")
ENV = {
    name: value
    for name, value in os.environ.items()
    if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "B", "T", "DESTDIR", "PREFIX")
}
HELP = re.compile(r"^  (?:-h, )?(--[a-z-]+)", re.M)
# What `_describe` and `compadd` are told is what a person sees.
ZSH = """
_describe() { shift $(( $# - 1 )); print -rl -- "${(@P)1}"; }
compadd() { shift $(( $# - 1 )); print -rl -- "${(@P)1}"; }
words=("$@"); CURRENT=$#
source "$COMPLETION"
"""


def commands():
    return re.findall(r"^  (\S+) +\S", sluice("-h").stdout, re.M)


class Manual(unittest.TestCase):
    def lint(self, name):
        done = subprocess.run(
            ["mandoc", "-Tlint", ROOT / "docs/man" / name], capture_output=True, text=True, check=False
        )
        found = done.stdout.splitlines() + done.stderr.splitlines()
        return [line for line in found if "missing date" not in line and "STYLE: input text line longer" not in line]

    def test_sluice(self):
        self.assertEqual(self.lint("sluice.1"), [])
        page = (ROOT / "docs/man/sluice.1").read_text()
        for command in commands():
            section = page.split(f".SS {command}\n".replace("-", "\\-"))[1].split("\n.S")[0]
            options = HELP.findall(sluice(command, "-h").stdout)
            self.assertIn("--help", options)
            for option in options:
                self.assertRegex(section, r"\.TP\n.*" + re.escape(option.replace("-", "\\-")), command)

    def test_pipeline_yaml(self):
        self.assertEqual(self.lint("pipeline.yaml.5"), [])
        page = (ROOT / "docs/man/pipeline.yaml.5").read_text()
        keys = re.findall(r"^\| `([^`]+)` \|", sluice("version", "--reference", "configuration").stdout, re.M)
        self.assertGreater(len(keys), 150)
        for key in keys:
            self.assertIn(f".TP\n\\fB{key}\\fR\n".replace("-", "\\-"), page)


class Completion(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-completion-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        line = ["make", "install", f"B={B}", f"PREFIX={cls.folder}", "-o", "all"]
        subprocess.run(line, cwd=ROOT, env=ENV, capture_output=True, check=True)
        cls.env = dict(ENV, DATABASE_URL="postgresql://nowhere", PATH=f"{cls.folder}/bin:{ENV['PATH']}")

    def run_it(self, *line):
        done = subprocess.run(
            line,
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        self.assertEqual(done.stderr, "")
        return sorted(filter(None, done.stdout.splitlines()))

    def bash(self, *words):
        script = f"""source {self.folder}/share/bash-completion/completions/sluice
            complete -p sluice >/dev/null || exit
            COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); _sluice; printf '%s\\n' "${{COMPREPLY[@]}}" """
        return self.run_it("bash", "-c", script, "bash", "sluice", *words)

    def zsh(self, *words):
        """["word:what it is"]"""
        self.env["COMPLETION"] = str(self.folder / "share/zsh/site-functions/_sluice")
        return self.run_it("zsh", "-f", "-c", ZSH, "zsh", "sluice", *words)

    def fish(self, *words):
        """["word<tab>what it is"]"""
        script = (
            f"source {self.folder}/share/fish/vendor_completions.d/sluice.fish; complete -C (string join ' ' -- $argv)"
        )
        self.env["HOME"] = str(self.folder)
        return self.run_it("fish", "--no-config", "-c", script, "sluice", *words)

    def test_every_command_and_option(self):
        self.assertEqual(self.bash(""), sorted(commands()))
        self.assertEqual(sorted(line.split(":")[0] for line in self.zsh("")), sorted(commands()))
        self.assertEqual(sorted(line.split("\t")[0] for line in self.fish("")), sorted(commands()))
        for command in commands():
            options = sorted(HELP.findall(sluice(command, "-h").stdout))
            self.assertEqual(self.bash(command, "--"), options, command)
            self.assertEqual(sorted(line.split(":")[0] for line in self.zsh(command, "--")), options, command)
        self.assertEqual([line.split("\t")[0] for line in self.fish("chain", "--st")], ["--state"])

    def test_values_that_the_help_names(self):
        self.assertEqual(self.bash("run", "--log-level", "w"), ["warn"])
        self.assertEqual(self.bash("graph", "c", "--format", "m"), ["mermaid"])
        for name in ("configuration", "metrics", "schema"):
            self.assertIn(name, self.bash("version", "--reference", ""))
        self.assertEqual(self.bash("chain", "list", "c", "--state", "s"), ["stuck"])
        self.assertEqual(self.bash("dead-letter", "list", "c", "--state", ""), ["all", "dropped", "open", "replayed"])
        self.assertEqual(self.bash("emit", "config/pipeline.yaml", "payment.try", "--key", ""), [])

    def test_verbs(self):
        for command in ("dead-letter", "chain", "delayed"):
            verbs = re.findall(rf"(?:usage:|      ) sluice {command} ([a-z|]+)", sluice(command, "-h").stdout)
            self.assertEqual(self.bash(command, ""), sorted("|".join(verbs).split("|")))
            self.assertIn("config/pipeline.yaml", self.bash(command, "list", "config/pipe"))

    def test_files_and_topics(self):
        self.assertEqual(self.bash("emit", "config/pipeline.yaml", "payment.t"), ["payment.try", "payment.try-dlt"])
        self.assertEqual(
            self.bash("tap", "--json", "config/pipeline.yaml", "payment.try", "reservation.f"),
            ["reservation.failure", "reservation.failure-dlt"],
        )
        self.assertIn("config/pipeline.yaml", self.bash("validate", "config/pipe"))
        self.assertIn("config/minimal.yaml", self.bash("validate", "config/pipeline.yaml", "config/mini"))
        self.assertEqual(self.bash("migrate", "config/pipeline.yaml", ""), [])
        self.assertEqual(self.bash("new-plugin", "mine", "--dir", "con"), ["config"])

    def test_what_zsh_and_fish_add(self):
        self.assertEqual(self.zsh("val"), ["validate:find what would go wrong, before anything starts"])
        self.assertEqual(self.fish("val"), ["validate\tfind what would go wrong, before anything starts"])
        self.assertEqual(self.zsh("validate", "confi"), ["config/"])
        self.assertIn("config/pipeline.yaml", [line.strip() for line in self.fish("validate", "config/pipeline.y")])


if __name__ == "__main__":
    unittest.main()
