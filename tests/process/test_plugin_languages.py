#!/usr/bin/env python3
"""The contract needs no C: plugins in C++ and in Rust are written above plugin.hpp and the crate, are inspected, work
in the fake host and in the engine, and whatever they throw is a fault of one event.

Run alone: python3 tests/process/test_plugin_languages.py [-k NAME]. SLUICE names the program, build/sluice by default.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import _path
from lib.engine import BUILD, ROOT, SLUICE, sluice
from lib.pipeline_case import PipelineCase, reason
from lib.server_case import PostgresCase

TESTS = ROOT / "tests" / "plugins"
HEADER = ROOT / "engine" / "include"
CRATE = HEADER / "rust"
CC = os.environ.get("CC", "cc").split()[-1]
CXX = os.environ.get("CXX", "c++")
WARNINGS = ["-Wall", "-Wextra", "-pedantic", "-Werror"]


def run(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, check=False)


def build(*command):
    made = run(*command)
    if made.returncode != 0 or "warning" in made.stderr:
        raise AssertionError(f"{' '.join(map(str, command))}: {made.stderr}")


class Built:
    """Each plugin in each language, built once for all tests of this file."""

    folder = tempfile.TemporaryDirectory(prefix="sluice-languages-")
    at = pathlib.Path(folder.name)
    made = {}

    @classmethod
    def rustc(cls, *words):
        build("rustc", "--edition", "2021", "-O", "-D", "warnings", *words)

    @classmethod
    def crate(cls):
        if "crate" not in cls.made:
            cls.made["crate"] = cls.at / "libsluice.rlib"
            cls.rustc("--crate-type", "rlib", "--crate-name", "sluice", "-o", cls.made["crate"], CRATE / "src/lib.rs")
        return cls.made["crate"]

    @classmethod
    def plugin(cls, language, name, text=None):
        """From the tests' plugins, or of this text."""
        key = language, name
        if key not in cls.made:
            library = cls.made[key] = cls.at / language / f"{name}.so"
            library.parent.mkdir(exist_ok=True)
            source = (TESTS if text is None else cls.at) / language / f"{name}.{dict(cpp='cpp', rust='rs')[language]}"
            if text is not None:
                source.write_text(text)
            if language == "rust":
                cls.rustc("--crate-type", "cdylib", "--extern", f"sluice={cls.crate()}", "-o", library, source)
            else:
                words = ["-std=c++17", "-O2", *WARNINGS, "-fPIC", "-shared", "-fvisibility=hidden", "-Wl,-z,defs"]
                build(CXX, *words, f"-I{HEADER}", "-o", library, source)
        return cls.made[key]


LANGUAGES = ("cpp", "rust")


PATHS_RUST = """\
use sluice::{field, handler, sql, value, Call, Done, Lane, Sql, Text};
sluice::fields! {
    struct Input { height: f64 = field("vehicle.height").min(0).max(10), plate: Text = field("plate") }
}
static FITS: Sql = sql!("select $1::float8 < 4.5");
fn gate(_: &mut Lane<()>, call: &Call<Input>) -> Done {
    let fits = call.query(&FITS, &[value(&call.inputs()[0].height)])?.row(0).bool(0);
    call.outcome(0, fits as usize);
    Ok(())
}
sluice::plugin! {
    name: "paths",
    version: "1.0.0",
    help: "who fits",
    handlers: [handler("gate", "let in who fits", gate)
        .outcomes(&[("no", "too high"), ("yes", "fits")]).max_events(1).uses_store()],
}
"""

UNITS_SQL = "select $1::bigint = 65536 and $2::bigint = 250 and $3::bigint[] = '{65536}' and $4::bigint[] = '{250}'"
UNITS = {
    "rust": """\
use sluice::{array, field, handler, sql, value, Call, Done, Duration, Lane, Size, Sql};
use std::slice::from_ref;
sluice::fields! {
    struct Units { most: Size = field("most").fallback("64KiB"), wait: Duration = field("wait").fallback("250ms") }
}
static SAME: Sql = sql!("%s");
fn compare(lane: &mut Lane<Units>, call: &Call<()>) -> Done {
    let own = &lane.settings;
    let (mosts, waits) = (array(from_ref(&own.most)), array(from_ref(&own.wait)));
    let same = call.query(&SAME, &[value(&own.most), value(&own.wait), mosts, waits])?;
    call.outcome(0, same.row(0).bool(0) as usize);
    Ok(())
}
sluice::plugin! {
    name: "units",
    version: "1.0.0",
    help: "durations and sizes in statements",
    handlers: [handler("compare", "compare them", compare)
        .outcomes(&[("no", "they are others"), ("yes", "they are the same")]).max_events(1).uses_store()],
}
""",
    "cpp": """\
#include "sluice/plugin.hpp"
namespace {
struct units { sluice::bytes most; sluice::duration wait; };
constexpr auto settings = sluice::fields(
    {SLUICE_FIELD(units, most).optional("64KiB"), SLUICE_FIELD(units, wait).optional("250ms")});
constexpr auto outcomes = sluice::outcomes({{"no", "they are others"}, {"yes", "they are the same"}});
constexpr sluice_sql same = {"%s"};
void compare(const units &self, sluice::call<> &call)
{
    for (auto row : call.query(same, self.most, self.wait, std::vector{self.most}, std::vector{self.wait}))
        call[0].outcome(std::get<0>(row.as<bool>()) ? 1 : 0);
}
constexpr auto handlers = sluice::handlers({
    sluice::handler<compare>("compare", "compare them").outcomes(outcomes).max_events(1).uses_store()});
} // namespace
SLUICE_EXPORT_PLUGIN(sluice::plugin<units>("units", "1.0.0", "durations and sizes in statements")
    .settings(settings).handlers(handlers))
""",
}


class Inspected(unittest.TestCase):
    def inspect(self, library):
        said = run(SLUICE, "inspect", "--json", library)
        self.assertEqual((said.returncode, said.stderr), (0, ""))
        return json.loads(said.stdout)

    def test_charge_is_described_as_in_c(self):
        ours = self.inspect(BUILD / "plugins/payment.so")
        for language in LANGUAGES:
            with self.subTest(language):
                theirs = self.inspect(Built.plugin(language, "charge"))
                self.assertEqual(theirs["handlers"], ours["handlers"][:1])
                self.assertEqual(
                    [(row["name"], row["default"], row["max"]) for row in theirs["settings"]],
                    [("amount_max", "10000000", 1000000000000)],
                )

    def test_it_exports_one_function(self):
        for language in LANGUAGES:
            for name in ("charge", "reverse"):
                said = run("nm", "-D", "--defined-only", Built.plugin(language, name))
                found = [line.split()[-2:] for line in said.stdout.splitlines()]
                ours = [
                    symbol for kind, symbol in found if kind not in "VWu"
                ]  # those are C++'s own, merged when linked
                self.assertEqual(ours, ["sluice_plugin"], f"{name} in {language}")

    def test_a_path_reaches_into_objects_in_rust(self):
        source, library = Built.at / "paths.rs", Built.at / "paths.so"
        source.write_text(PATHS_RUST)
        Built.rustc("--crate-type", "cdylib", "--extern", f"sluice={Built.crate()}", "-o", library, source)
        (handler,) = self.inspect(library)["handlers"]
        self.assertEqual(
            [(row["name"], row.get("path")) for row in handler["fields"]],
            [("vehicle.height", ["vehicle", "height"]), ("plate", None)],
        )

    def test_it_has_a_note(self):
        for language in LANGUAGES:
            said = run("readelf", "-p", ".note.sluice", Built.plugin(language, "charge")).stdout
            self.assertRegex(said, r"(?s)Sluice.*charge.*1\.0\.0")

    def test_charge_is_no_longer_than_in_c(self):
        """Lines that say something, from the settings to the end of the function."""

        def lines(path, end):
            text = path.read_text()
            code = re.sub(r"/\*.*?\*/|//[^\n]*", "", text[text.index("struct ") : text.index(end)], flags=re.S)
            return len([line for line in code.splitlines() if line.strip()])

        in_c = lines(ROOT / "plugins/payment/payment.c", "struct refund")
        self.assertLessEqual(lines(TESTS / "cpp/charge.cpp", "constexpr auto handlers"), in_c)


LAYOUT_C = """\
#include "sluice/plugin.h"
#include <stdio.h>
int main(void) {
%s
return 0; }
"""
LAYOUT_RUST = """\
use sluice::raw::*;
use std::mem::{size_of, MaybeUninit};
macro_rules! offset {
    ($of:ty, $member:ident) => {{
        let at = MaybeUninit::<$of>::uninit();
        unsafe { std::ptr::addr_of!((*at.as_ptr()).$member) as usize - at.as_ptr() as usize }
    }};
}
fn main() {
%s
}
"""


class Dialects(unittest.TestCase):
    """The macros of the header in every standard that somebody may write, with each compiler that is there."""

    def test_the_macros_say_the_same(self):
        library, said = Built.at / "dialects.so", {}
        words = [*WARNINGS, "-fPIC", "-shared", "-fvisibility=hidden", f"-I{HEADER}", "-o", library]
        for compiler, language, standards in (
            (CC, "c", ("c11", "c17", "c2x")),
            ("clang", "c", ("c11", "c17", "c2x")),
            (CXX, "c++", ("c++17", "c++20", "c++2b")),
            ("clang++", "c++", ("c++17", "c++20", "c++2b")),
        ):
            for standard in standards if shutil.which(compiler) else ():
                build(compiler, f"-std={standard}", *words, "-x", language, TESTS / "dialects/dialects.c")
                said[compiler, standard] = json.loads(run(SLUICE, "inspect", "--json", library).stdout)
                del said[compiler, standard]["sha256"]
        self.assertGreaterEqual(len(said), 6)
        self.assertEqual(len(said[CC, "c17"]["handlers"][0]["fields"]), 12)
        self.assertEqual({key: one == said[CC, "c17"] for key, one in said.items()}, dict.fromkeys(said, True))

    def test_a_member_of_another_type_is_refused(self):
        source = (TESTS / "dialects/dialects.c").read_text()
        wrong = Built.at / "wrong.c"
        wrong.write_text(source.replace("SLUICE_DOUBLE(struct input, price)", "SLUICE_DOUBLE(struct input, count)"))
        for compiler, language, standard in ((CC, "c", "c17"), (CXX, "c++", "c++17")):
            done = run(compiler, f"-std={standard}", "-fsyntax-only", f"-I{HEADER}", "-x", language, wrong)
            self.assertNotEqual(done.returncode, 0, compiler)
            self.assertRegex(done.stderr, "_Generic|sluice_same_<long int, double>")


class Layout(unittest.TestCase):
    """Whatever plugin.h says, the crate says, and a C compiler and rustc agree on it."""

    @staticmethod
    def without_comments():
        text = (HEADER / "sluice/plugin.h").read_text()
        return re.sub(r"/\*.*?\*/", "", text[: text.index("conveniences for C")] + "*/", flags=re.S)

    def members(self):
        """[(struct, member)] of the header; "" for the struct itself."""
        found = []
        for struct, body in re.findall(r"^struct (\w+) \{\n(.*?)^\};", self.without_comments(), re.M | re.S):
            found.append((struct, ""))
            for line in re.sub(r"\[\d+\]", "", body).split(";"):
                function = re.search(r"\(\*(\w+)\)\(", line)
                names = [function[1]] if function else re.findall(r"(\w+)\s*(?=,|$)", line.strip())
                found += [(struct, name) for name in names]
        return found

    def constants(self):
        text = self.without_comments()
        rows = [re.findall(r"\bSLUICE_\w+", body) for body in re.findall(r"^enum \w+ \{(.*?)\};", text, re.M | re.S)]
        return sum(rows, []) + re.findall(r"^#define (SLUICE_(?:MAGIC|ABI_\w+|NO_\w+)) ", text, re.M)

    def test_the_crate_is_the_header(self):
        members, constants = self.members(), self.constants()
        self.assertGreater(len(members), 90)  # the header is read at all
        self.assertGreater(len(constants), 30)
        c, rust = [], []
        for struct, name in members:
            place = f"offsetof(struct {struct}, {name})" if name else f"sizeof(struct {struct})"
            c.append(f'printf("{struct}.{name} %zu\\n", {place});')
            place = f"offset!({struct}, r#{name})" if name else f"size_of::<{struct}>()"
            rust.append(f'println!("{struct}.{name} {{}}", {place});')
        for name in constants:
            c.append(f'printf("{name} %lld\\n", (long long){name});')
            rust.append(f'println!("{name} {{}}", {name} as i64);')
        (Built.at / "layout.c").write_text(LAYOUT_C % "\n".join(c))
        (Built.at / "layout.rs").write_text(LAYOUT_RUST % "\n".join(rust))
        build(CC, "-std=c17", f"-I{HEADER}", "-o", Built.at / "layout-c", Built.at / "layout.c")
        Built.rustc("--extern", f"sluice={Built.crate()}", "-o", Built.at / "layout-rust", Built.at / "layout.rs")
        said = run(Built.at / "layout-c").stdout
        self.assertEqual(len(said.splitlines()), len(members) + len(constants))
        self.assertEqual(run(Built.at / "layout-rust").stdout, said)


class InTheFakeHost(unittest.TestCase):
    def test_texts_are_reversed_and_errors_are_faults(self):
        program = Built.at / "check_reverse"
        sources = [TESTS / "check_reverse.c", *set(TESTS.glob("fake_*.c")) - {TESTS / "fake_database.c"}]
        build(CC, "-std=gnu17", "-D_GNU_SOURCE", "-g", f"-I{HEADER}", f"-I{TESTS}", "-o", program, *sources, "-ldl")
        for language, *words in (
            ("cpp", "basic_string::at", "an exception that is no std::exception"),
            ("rust", "index out of bounds: the len is 1 but the index is 1", "invalid digit"),
        ):
            with self.subTest(language):
                said = run(program, Built.plugin(language, "reverse"), *words)
                self.assertEqual((said.returncode, said.stderr), (0, ""))


PIPELINE = """\
pipeline: reversed
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {lanes: 1}
plugins: {reverse: {library: %s}}
topics:
  wanted: {handler: reverse.reverse, routes: {done: said}, dead_letter: wanted-dlt}
  said: {final: true}
"""


UNITS_PIPELINE = """\
pipeline: units
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {lanes: 1}
plugins: {units: {library: %s}}
topics:
  in: {handler: units.compare, routes: {yes: same, no: other}}
  same: {final: true}
  other: {final: true}
"""


class InTheEngine(PipelineCase):
    def test_durations_and_sizes_are_parameters(self):
        for language in LANGUAGES:
            with self.subTest(language):
                self.use(UNITS_PIPELINE % Built.plugin(language, "units", UNITS[language] % UNITS_SQL))
                engine = self.engine()
                self.emit("in", self.event({}))
                self.await_topic("same", 1 + LANGUAGES.index(language))
                self.assertEqual(engine.stop(), 0)

    def errors_cost_their_events_alone(self, library, *errors):
        """Events before and behind them, of the same call or not, have their outcomes, and no process ends."""
        self.use(PIPELINE % library)
        engine = self.engine()
        worker = engine.worker()
        texts = ["ab", *(text for error in errors for text in (error, "cd"))]
        self.emit("wanted", *(self.event({"text": text}) for text in texts))
        said = self.await_topic("said", 1 + len(errors))
        letters = self.await_topic("wanted-dlt", len(errors))
        found = sorted(json.loads(record["value"])["data"]["reversed"] for record in said)
        self.assertEqual(found, ["ba", *["dc"] * len(errors)])
        self.assertEqual([reason(letter) for letter in letters], ["plugin_fault"] * len(errors))
        why = " ".join(sorted(letter["headers"]["kafka_dlt-exception-message"] for letter in letters))
        self.assertEqual(engine.worker(), worker)
        self.assertEqual(engine.stop(), 0)
        self.assertNotIn("panicked", engine.text())  # it is told as a fault, and not on top of the log
        return why

    def test_an_exception(self):
        self.assertRegex(
            self.errors_cost_their_events_alone(Built.plugin("cpp", "reverse"), "panic", "error"),
            "^handler reverse.reverse failed: an exception that is no std::exception "
            "handler reverse.reverse failed: event .* asked for it$",
        )

    def test_a_panic(self):
        self.assertRegex(
            self.errors_cost_their_events_alone(Built.plugin("rust", "reverse"), "panic", "error"),
            "^handler reverse.reverse failed: invalid digit found in string "
            r"handler reverse.reverse failed: panic at .*reverse.rs:\d+: event .* asked for it$",
        )

    def test_a_plugin_in_go(self):
        """Its runtime lives in a worker, whose successor has one of its own. No machine needs a Go for the rest."""
        if not shutil.which("go"):
            print("not run: the plugin in Go: there is no go on this machine", flush=True)
            return
        library = self.folder / "reverse.so"
        env = {**os.environ, "GOPROXY": "off", "CGO_ENABLED": "1", "CGO_CFLAGS": f"-O2 -I{HEADER}"}
        words = ["go", "build", "-buildmode=c-shared", "-o", library, "."]
        made = subprocess.run(words, cwd=TESTS / "go", env=env, capture_output=True, text=True, check=False)
        self.assertEqual((made.returncode, made.stderr), (0, ""))
        why = self.errors_cost_their_events_alone(library, "panic")
        self.assertEqual(why, "handler reverse.reverse failed: a text asked for it")
        engine = self.engine()
        for times, disturb in enumerate((engine.kill_worker, engine.reload), 2):
            disturb()
            engine.wait_ready(times)
            self.emit("wanted", self.event({"text": "again"}))
            self.await_topic("said", 1 + times)
        self.assertEqual(engine.stop(), 0)

    def test_a_plugin_in_zig(self):
        """Errors are faults with their names; nothing of it is threaded, so its flow tests run, too."""
        if not shutil.which("zig"):
            print("not run: the plugin in Zig: there is no zig on this machine", flush=True)
            return
        library = self.folder / "reverse.so"
        env = {**os.environ, **{f"ZIG_{which}_CACHE_DIR": str(self.folder / "zig") for which in ("GLOBAL", "LOCAL")}}
        words = ["zig", "build-lib", "-dynamic", "-O", "ReleaseSafe", "-fstrip", "-lc", f"-I{HEADER}", "reverse.zig"]
        words.append(f"-femit-bin={library}")
        made = subprocess.run(words, cwd=TESTS / "zig", env=env, capture_output=True, text=True, check=False)
        self.assertEqual((made.returncode, made.stderr), (0, ""))
        why = self.errors_cost_their_events_alone(library, "panic")
        self.assertEqual(why, "handler reverse.reverse failed: a text asked for it")
        (self.folder / "flow.yaml").write_text(
            f"pipeline: {self.config.name}\ntests:\n  - name: backwards\n"
            '    steps: [{emit: {topic: wanted, data: {text: "żaba"}}}]\n'
            '    expect: {events: [{topic: wanted}, {topic: said, data: {reversed: "abaż"}}]}\n'
        )
        done = sluice("test", self.folder / "flow.yaml", env=self.vars, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Flow(PostgresCase):
    own_database = False

    def test_charge_in_the_reference_pipeline(self):
        """The flow tests of the reference pipeline in which charges end in each way; another language charges."""
        pipeline = (ROOT / "config/pipeline.yaml").read_text()
        flows = (ROOT / "config/tests/payment.yaml").read_text().split("  - name: the same request twice")[0]
        for language in LANGUAGES:
            with self.subTest(language):
                text = pipeline.replace("payment.charge", "charge.charge").replace(
                    "plugins:\n", f"plugins:\n  charge: {{library: {Built.plugin(language, 'charge')}}}\n"
                )
                (self.folder / "pipeline.yaml").write_text(text)
                file = self.folder / "flows.yaml"
                file.write_text(flows.replace("payment.charge", "charge.charge").replace("../pipeline", "pipeline"))
                done = sluice("test", file, env={"DATABASE_URL": self.postgres.url}, check=False)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertIn(f"{flows.count('- name:')} passed, 0 failed in", done.stdout)


if __name__ == "__main__":
    unittest.main()
