#!/usr/bin/env python3
"""engine/include/abi.txt: what a description of the plugin ABI is refused for, and that what is made of it says what it
says.

Run alone: python3 tests/process/test_abi_description.py [-k NAME].
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import _path
from lib.engine import ROOT, sluice

sys.path.insert(0, str(ROOT / "tests/check"))
import abi
import abi_write

TEXT = (ROOT / abi.DESCRIPTION).read_text()
HEADERS = {
    int(header.parents[1].name[2:]): header.read_text() for header in ROOT.glob("tests/plugins/abi/1.*/sluice/plugin.h")
}
OUTCOME = "1.0  void outcome("
LAST = "\nstruct sluice_call\n"  # what follows struct sluice_host
NEXT = ("SLUICE_ABI_MINOR = 1;", "SLUICE_ABI_MINOR = 2;")
SHOUT = "1.2  void shout(struct sluice_call *call, const char *what);  louder than log()\n"


def before(place, *rows):
    return (place, "".join(rows) + place)


def line_of(row):
    return TEXT[: TEXT.index(row)].count("\n") + 1


REFUSED = {  # what: the changes of the description, and the sentence that says no
    "a function in the middle": (
        [NEXT, before(OUTCOME, SHOUT)],
        "struct sluice_host of 1.0 has `void outcome(struct sluice_call *call, size_t n, size_t outcome)` where "
        "`void shout(struct sluice_call *call, const char *what)` is: rows are added at the end",
    ),
    "a member between those of the last minor": (
        [NEXT, before("1.1  void fault(", SHOUT)],
        "struct sluice_host of 1.1 has `void fault(struct sluice_call *call, const char *why)` where `void shout(",
    ),
    "a parameter of another type": (
        [("now_ms(struct sluice_call *call)", "now_ms(struct sluice_call *call, int zone)")],
        "has `int64_t now_ms(struct sluice_call *call)` where `int64_t now_ms(struct sluice_call *call, int zone)` is: "
        "what 1.0 has never changes",
    ),
    "another type of the same size": (
        [("1.0  int32_t retry_count;", "1.0  uint32_t retry_count;")],
        "struct sluice_event of 1.0 has `int32_t retry_count` where `uint32_t retry_count` is",
    ),
    "a member with another name": (
        [("1.0  size_t state_size; ", "1.0  size_t state_bytes; ")],
        "struct sluice_plugin of 1.0 has `size_t state_size` where `size_t state_bytes` is",
    ),
    "the last member is gone": (
        [("1.0  const struct sluice_handler *handlers;", "")],
        "struct sluice_plugin of 1.0 has `const struct sluice_handler *handlers`, which is not here",
    ),
    "a reserved word named in the minor that kept it": (
        [("1.1  uint32_t nested;", "1.0  uint32_t nested;")],
        "struct sluice_field of 1.0 has `uint32_t reserved` where `uint32_t nested` is",
    ),
    "a function in a minor that is out": (
        [before(LAST, SHOUT.replace("1.2", "1.1"))],
        "struct sluice_host of 1.1 was released without `void shout(struct sluice_call *call, const char *what)`: it "
        "is of a later minor",
    ),
    "a struct is gone": ([("struct sluice_sql\n1.0  const char *text;", "")], "1.0 has a struct sluice_sql"),
    "a struct in a minor that is out": (
        [before(LAST, "\nstruct sluice_more\n1.1  uint32_t size;\n")],
        "1.1 was released without `size`: it is of a later minor",
    ),
    "another value": (
        [("SLUICE_TYPE_SIZE = 7;", "SLUICE_TYPE_SIZE = 10;")],
        "SLUICE_TYPE_SIZE of 1.0 is 7: what 1.0 has never changes",
    ),
    "a value in a minor that is out": (
        [before("\n# What min or max is", "1.1  SLUICE_LOUD = 4;\n")],
        "1.1 was released without `SLUICE_LOUD`: it is of a later minor",
    ),
    "a row of a minor that the header does not have": (
        [before(LAST, SHOUT)],
        "it is of 1.2, but SLUICE_ABI_MINOR is 1",
    ),
    "a promised row behind an unstable one": (
        [NEXT, before(LAST, SHOUT.replace("1.2", "unstable"), SHOUT.replace("shout", "whisper"))],
        "a row that is promised stands behind one that is unstable",
    ),
    "an unstable row in a table of the plugin": (
        [before("\n# What open() may use.", "unstable  uint32_t weight;\n")],
        "only a struct that the engine fills, which starts with its size, has rows that are unstable",
    ),
    "a value that is no number": (
        [("SLUICE_TYPE_SIZE = 7;", "SLUICE_TYPE_SIZE = many;")],
        f"engine/include/abi.txt:{line_of('SLUICE_TYPE_SIZE = 7')}: "
        "`SLUICE_TYPE_SIZE = many` is no row of an enum: SLUICE_NAME = NUMBER",
    ),
    "a value without a number": (
        [("SLUICE_TYPE_SIZE = 7;", "SLUICE_TYPE_SIZE;")],
        "`SLUICE_TYPE_SIZE` is no row of an enum: SLUICE_NAME = NUMBER",
    ),
    "a value of a type": (
        [("SLUICE_TYPE_SIZE = 7;", "int SLUICE_TYPE_SIZE = 7;")],
        "`int SLUICE_TYPE_SIZE = 7` is no row of an enum: SLUICE_NAME = NUMBER",
    ),
    "a constant without a type": (
        [("1.0  int64_t SLUICE_NO_MIN =", "1.0  SLUICE_NO_MIN =")],
        "`SLUICE_NO_MIN = INT64_MIN` is no constant: TYPE SLUICE_NAME = NUMBER, or INT64_MIN, INT64_MAX",
    ),
    "a minor that is no number": (
        [("SLUICE_ABI_MINOR = 1;", "SLUICE_ABI_MINOR = next;")],
        "`uint16_t SLUICE_ABI_MINOR = next` is no constant: TYPE SLUICE_NAME = NUMBER",
    ),
    "a member with a value": (
        [("1.0  const char *at;", "1.0  const char *at = 0;")],
        "`const char *at = 0` has a value: members have none",
    ),
    "no minor": ([("1.0  const char *at;", "1  const char *at;")], "'1' is no minor"),
    "no declaration": ([("1.0  const char *at;", "1.0  pointer;")], "`pointer` is no declaration"),
    "no end of a declaration": ([("1.0  const char *at;", "1.0  const char *at")], "expected `SINCE  DECLARATION;"),
    "a struct without rows": ([before(LAST, "\nstruct sluice_more\n")], "sluice_more has no rows"),
    "no minor of the whole": ([("1.0  uint16_t SLUICE_ABI_MINOR = 1;", "")], "there is no SLUICE_ABI_MINOR"),
    "a type without a size": (
        [NEXT, before(LAST, "1.2  struct sluice_more more;\n")],
        "no size is known of 'sluice_more'",
    ),
}
NEXT_MINOR = [
    NEXT,
    before(LAST, SHOUT),
    ("1.0  uint32_t reserved;\n\n# What open()", "1.2  uint32_t weight;  0 before\n\n# What open()"),
]


# Says that it ran, which a plugin that is refused by its note does not.
UNSTABLE = """
#include "sluice/plugin.h"
#include <assert.h>
#include <stdio.h>
__attribute__((constructor)) static void runs(void)
{
    fputs("ran", stderr);
}
#ifdef SLUICE_UNSTABLE
static_assert(offsetof(struct sluice_host, shout) + 8 == sizeof(struct sluice_host), "the last one");
#else
static_assert(offsetof(struct sluice_host, fault) + 8 == sizeof(struct sluice_host), "the last one");
#endif
static void handle(void *state, struct sluice_call *call)
{
    (void)state;
#ifdef SLUICE_UNSTABLE
    call->host->shout(call, "here");
#endif
    call->host->outcome(call, 0, 0);
}
#ifdef __cplusplus
static const struct sluice_outcome outcomes[] = {{"done", "it is"}, {}};
static const struct sluice_handler handlers[] = {{"work", "works", NULL, outcomes, NULL, 0, handle, 1, 0, 0, 0}, {}};
SLUICE_PLUGIN("work", "1.0.0", "works", NULL, 0, NULL, NULL, handlers)
#else
static const struct sluice_outcome outcomes[] = {{"done", "it is"}, {0}};
static const struct sluice_handler handlers[] = {
    {.name = "work", .help = "works", .outcomes = outcomes, .max_events = 1, .handle = handle},
    {0},
};
SLUICE_PLUGIN(.name = "work", .version = "1.0.0", .help = "works", .handlers = handlers)
#endif
"""


def described(changes):
    text = TEXT
    for old, new in changes:
        assert text.count(old) == 1, f"{text.count(old)} of {old!r} in {abi.DESCRIPTION}"
        text = text.replace(old, new)
    blocks = abi.parse(text)
    abi.check(blocks, HEADERS)
    return blocks


class Description(unittest.TestCase):
    def test_what_is_refused(self):
        for name, (changes, sentence) in REFUSED.items():
            with self.subTest(name):
                with self.assertRaises(abi.Wrong) as wrong:
                    described(changes)
                self.assertIn(sentence, str(wrong.exception))

    def test_a_next_minor_is_taken(self):
        blocks = described(NEXT_MINOR)
        header = abi_write.header(blocks, (ROOT / abi_write.HEADER).read_text())
        self.assertIn("void (*shout)(struct sluice_call *call, const char *what); /* Since 1.2. louder than", header)
        self.assertIn("    [2] = {.plugin = 96, .handler = 72,", abi_write.checks(blocks, HEADERS))
        self.assertIn("pub shout: unsafe extern", abi_write.raw(blocks))
        self.assertIn("what)` (since 1.2): louder than log()", abi_write.page(blocks))

    def test_unstable_rows_are_for_the_same_engine(self):
        """Who defines SLUICE_UNSTABLE gets them, and says so in its note, from which the engine refuses it."""
        blocks = described([before(LAST, SHOUT.replace("1.2", "unstable"))])
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "sluice").mkdir()
            (folder / "sluice/plugin.h").write_text(abi_write.header(blocks, (ROOT / abi_write.HEADER).read_text()))
            (folder / "plugin").mkdir()
            shutil.copy(ROOT / "engine/plugin/descriptor.h", folder / "plugin")
            (folder / "abi.c").write_text(abi_write.checks(blocks, HEADERS))
            self.assertIn('unstable_rows[] = {\n    "sluice_host.shout",\n    NULL,\n}', (folder / "abi.c").read_text())
            subprocess.run(["cc", "-fsyntax-only", f"-I{folder}", f"-I{ROOT}/engine", folder / "abi.c"], check=True)
            for language, name in (("c", "work.c"), ("c++", "work.cpp")):
                (folder / name).write_text(UNSTABLE)
                for words, code, says in (
                    ([], 0, "plugin ABI 1.1\n"),
                    (
                        ["-DSLUICE_UNSTABLE"],
                        1,
                        f"the unstable rows 0x{abi.unstable_number(blocks):08x} of the contract",
                    ),
                ):
                    with self.subTest(language=language, words=words):
                        library = folder / "work.so"
                        compiler = ["c++", "-std=c++17"] if language == "c++" else ["cc"]
                        subprocess.run(
                            [*compiler, *words, "-shared", "-fPIC", f"-I{folder}", "-o", library, folder / name],
                            check=True,
                        )
                        said = sluice("inspect", library, check=False)
                        self.assertEqual(said.returncode, code, said.stdout + said.stderr)
                        self.assertIn(says, said.stdout + said.stderr)
                        self.assertNotIn("ran", said.stderr if words else "")

    def test_the_number_of_unstable_rows(self):
        """There is none without such rows; it is another one when anything changes that is declared with them."""
        row = SHOUT.replace("1.2", "unstable")
        numbers = [
            abi.unstable_number(described(changes))
            for changes in ([], [before(LAST, row)], [before(LAST, row.replace("what", "why"))])
        ]
        self.assertEqual(numbers[0], 0)
        self.assertEqual(len(set(numbers)), 3)

    def test_a_header_that_differs_builds_no_engine(self):
        """The compiler holds the header to the description, whatever made it."""
        with tempfile.TemporaryDirectory() as folder:
            header = pathlib.Path(folder) / "sluice/plugin.h"
            header.parent.mkdir()
            text = (ROOT / abi_write.HEADER).read_text()
            header.write_text(text.replace("int32_t retries_left;", "int64_t retries_left;"))
            words = ["cc", "-std=gnu17", "-fsyntax-only", f"-I{folder}", f"-I{ROOT}/engine"]
            done = subprocess.run(
                [*words, ROOT / "engine/plugin/abi.c"], capture_output=True, text=True, check=False, cwd=folder
            )
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("sluice_event.retries_left", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
