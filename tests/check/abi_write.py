"""abi_write.py - what is made of the description of the plugin ABI (abi.py): the middle of sluice/plugin.h, the
structs in Rust, the checks in C, and the reference page.
"""
import re
import textwrap

import abi

WIDTH = 120
HEADER = "engine/include/sluice/plugin.h"
BEGIN = "/* Made from engine/include/abi.txt by tests/check/generated --write, up to the line that says so. */\n"
END = "/* Up to here. */\n"
INDENT = "    "

UNSTABLE = """\
/* Which rows that are not promised yet a plugin uses, by `#define SLUICE_UNSTABLE`. There are none now. */
#define SLUICE_UNSTABLE_NUMBER 0

"""
UNSTABLE_ROWS = """\
/* Which rows that are not promised yet a plugin uses: only an engine with the same ones loads it. */
#ifdef SLUICE_UNSTABLE
#define SLUICE_UNSTABLE_NUMBER 0x%08x
#else
#define SLUICE_UNSTABLE_NUMBER 0
#endif

"""

RAW = """\
//! The structs, constants and functions of sluice/plugin.h, each under its name there; its words are there, too.
//! Made from engine/include/abi.txt by tests/check/generated --write. A test compares every size, every place of a
//! member and every constant with those of the header, as a C compiler sees it.
#![allow(non_camel_case_types)]

use std::ffi::c_void;
use std::os::raw::{c_char, c_int};
"""

CHECKS = r"""/*
 * abi.c - the sizes of each minor, and the place of everything in this one, as the description says: a compiler that
 * sees sluice/plugin.h otherwise builds no engine.
 *
 * Made from engine/include/abi.txt by tests/check/generated --write.
 */
#define SLUICE_UNSTABLE /* the engine has all of the header */
#include "plugin/descriptor.h"

static const struct abi_sizes sizes_by_minor[] = {
%s};
static const char *const unstable_rows[] = {
%s};
const struct abi abi_current = {
    SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR, sizes_by_minor, SLUICE_UNSTABLE_NUMBER, unstable_rows,
};

#define SIZE(type, bytes) _Static_assert(sizeof(struct type) == (bytes), #type)
#define PLACE(type, member, at, bytes)                                                                                 \
    _Static_assert(offsetof(struct type, member) == (at) && sizeof(((struct type *)0)->member) == (bytes),             \
                   #type "." #member)
"""

PAGE = """\
# The plugin ABI, row by row

<!-- Made from engine/include/abi.txt by tests/check/generated --write. -->

What `sluice/plugin.h` declares, contract %s. How to write a plugin says [plugin-guide.md](plugin-guide.md). A row \
without `since` is there since 1.0. Tables grow at their end only, and \
what a released minor has never changes: a plugin built for an older minor loads.
"""


def since(minor):
    return "unstable" if minor == abi.UNSTABLE else f"since 1.{minor}"


def newer(block, row):
    """The minor of a row, where it is not that of its whole block."""
    return since(row.since) if row.since > block.since() else ""


# -------------------------------------------------------------------------------------------------------------- header


def comment(text, indent):
    """A comment that stands alone."""
    wide = textwrap.wrap(
        text + "\1*/",
        WIDTH,
        initial_indent=f"{indent}/* ",
        subsequent_indent=f"{indent} * ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "".join(line.replace("\1", " ") + "\n" for line in wide)


def with_since(words, mark):
    if not mark or not words:
        return words or mark
    return f"{mark[0].upper()}{mark[1:]}. {words}"


def pointer(member):
    """A function of a table: a pointer to it, broken before a parameter where the line gets too long."""
    start = f"{INDENT}{member.type}(*{member.name})("
    lines = [start]
    parameters = [one.declaration() for one in member.parameters]
    for i, parameter in enumerate(parameters):
        parameter += ");" if i + 1 == len(parameters) else ","
        if len(lines[-1] + parameter) + 1 > WIDTH:
            lines.append(" " * len(start))
        elif i > 0:
            lines[-1] += " "
        lines[-1] += parameter
    return "\n".join(lines)


def in_c(block, row):
    member = row.members[0]
    if block.kind == "define":
        return f"#define {member.name} {row.value}{'ULL' if member.type == 'uint64_t ' else ''}"
    if block.kind == "enum":
        return f"{INDENT}{row.text},"
    return pointer(member) if member.parameters is not None else f"{INDENT}{row.text};"


def rows_in_c(block, rows):
    """Rows that stand together: comments behind them, in one column, or above where the line would be too long."""
    indent = "" if block.kind == "define" else INDENT
    lines = [(in_c(block, row), with_since(row.words, newer(block, row))) for row in rows]
    above, text = set(), ""
    while True:
        behind = [i for i, (_, words) in enumerate(lines) if words and i not in above]
        runs = {}  # of lines with a comment behind: {line: the first of its run}
        for i in behind:
            runs[i] = runs.get(i - 1, i)
        columns = {}
        for i in behind:
            columns[runs[i]] = max(columns.get(runs[i], 0), len(lines[i][0].rsplit("\n", maxsplit=1)[-1]))
        wide = [i for i in behind if columns[runs[i]] + len(f" /* {lines[i][1]} */") > WIDTH or "\n" in lines[i][0]]
        if not wide:
            break
        above.add(max(wide, key=lambda i: len("".join(lines[i]))))
    for i, (code, words) in enumerate(lines):
        if i in above:
            text += comment(words, indent)
        text += code.ljust(columns[runs[i]]) + f" /* {words} */\n" if i in runs else code + "\n"
    return text


def body_in_c(block):
    """Everything between the braces."""
    text, together, unstable = "", [], False
    for row in [*block.rows, None]:
        if isinstance(row, abi.Row) and (row.since == abi.UNSTABLE) == unstable:
            together.append(row)
            continue
        text += rows_in_c(block, together)
        together = []
        if isinstance(row, abi.Row):
            text += "#ifdef SLUICE_UNSTABLE\n"
            unstable = True
            together = [row]
        elif row is not None:
            text += comment(row, INDENT) if row else "\n"
    return text + ("#endif\n" if unstable else "")


def block_in_c(block):
    if block.kind == "section":
        return f"/* {'-' * (WIDTH - len(block.name) - 8)} {block.name} */\n\n"
    if block.kind == "named":
        return f"struct {block.name}; /* {block.words} */\n"
    words = with_since(block.words, since(block.since()) if block.since() > 0 else "")
    text = comment(words, "") if words else ""
    if block.kind == "define":
        return text + body_in_c(block) + "\n"
    return text + f"{block.kind} {block.name} {{\n{body_in_c(block)}}};\n\n"


def header(blocks, old):
    """plugin.h with its middle made again."""
    head, begin, rest = old.partition(BEGIN)
    end, tail = rest.partition(END)[1:]
    if not begin or not end:
        raise abi.Wrong(f"plugin.h has no lines `{BEGIN.strip()}` and `{END.strip()}`")
    middle = ""
    for block in blocks:
        if block.kind != "named" and middle.endswith(" */\n"):
            middle += "\n"
        middle += block_in_c(block)
    middle += UNSTABLE if abi.unstable_number(blocks) == 0 else UNSTABLE_ROWS % abi.unstable_number(blocks)
    return head + begin + "\n" + middle + end + tail


# ---------------------------------------------------------------------------------------------------------------- rust


def in_rust(member, filled_by_engine):
    """The type of a member or of a parameter."""
    if member.parameters is not None:
        back = in_rust(abi.Member(member.type, ""), False)
        parameters = ", ".join(in_rust(one, False) for one in member.parameters)
        function = f"unsafe extern \"C\" fn({parameters}){'' if back == 'c_void' else ' -> ' + back}"
        return function if filled_by_engine else f"Option<{function}>"
    kind, stars = re.fullmatch(r"(?:const )?(?:struct )?(\w+) (\**)", member.type).groups()
    known = {"char": "c_char", "int": "c_int", "double": "f64", "size_t": "usize", "void": "c_void"}
    kind = known.get(kind) or re.sub(r"^(u?)int(\d+)_t$", lambda m: ("u" if m[1] else "i") + m[2], kind)
    if stars:
        kind = ("*const " if member.type.startswith("const") else "*mut ") + kind
    return f"[{kind}; {member.array.strip('[]')}]" if member.array else kind


def constant_in_rust(block, row):
    value = row.value.replace("INT64_", "i64::")
    kind = "u32" if block.kind == "enum" else in_rust(row.members[0], False)
    return f"pub const {row.members[0].name}: {kind} = {value};\n"


def raw(blocks):
    """The stable part: what is unstable is for who builds with the header."""
    text = RAW
    for block in blocks:
        if block.kind in ("enum", "define"):
            text += "\n" + "".join(constant_in_rust(block, row) for row in block.table())
        elif block.kind == "struct":
            text += f"\n#[repr(C)]\n#[derive(Clone, Copy)]\npub struct {block.name} {{\n"
            for row, member in block.members():
                if row.since < abi.UNSTABLE:
                    name = "r#type" if member.name == "type" else member.name
                    text += f"    pub {name}: {in_rust(member, block.filled_by_engine())},\n"
            text += "}\n"
        elif block.kind == "named" and not any(one.name == block.name for one in blocks if one.kind == "struct"):
            text += f"\n/// {block.words}\n#[repr(C)]\npub struct {block.name} {{\n    inside: [u8; 0],\n}}\n"
    return text


# -------------------------------------------------------------------------------------------------- checks in C, page


def checks(blocks, headers):
    minor = abi.minor_of(blocks)
    tables = {block.name: [member for _, member in block.members()] for block in blocks if block.kind == "struct"}
    by_minor = {older: abi.header_tables(text)[0] for older, text in headers.items() if older < minor}
    by_minor[minor] = tables
    sizes = ""
    for number, structs in sorted(by_minor.items()):
        known = abi.layouts(structs)
        each = (f".{name} = {known[f'sluice_{name}'][1]}" for name in ("plugin", "handler", "field", "outcome"))
        sizes += f"{INDENT}[{number}] = {{{', '.join(each)}}},\n"
    unstable = [
        f'"{block.name}.{member.name}"'
        for block in blocks
        for row, member in block.members()
        if row.since == abi.UNSTABLE
    ]
    text = CHECKS % (sizes, "".join(f"{INDENT}{row},\n" for row in [*unstable, "NULL"]))
    for name, (places, size, _) in abi.layouts(tables).items():
        text += f"\nSIZE({name}, {size});\n"
        for member, (at, bytes_) in zip(tables[name], places):
            text += f"PLACE({name}, {member.name}, {at}, {bytes_});\n"
    return text


def in_page(text):
    """Words as Markdown: what stands in `these` as it is."""
    parts = text.split("`")
    return "`".join(re.sub(r"([*<\[\]])", r"\\\1", part) if i % 2 == 0 else part for i, part in enumerate(parts))


def page(blocks):
    text = PAGE % f"1.{abi.minor_of(blocks)}"
    for block in blocks:
        if block.kind == "section":
            text += f"\n## {block.name[0].upper()}{block.name[1:]}\n"
        if not block.table():
            continue
        if block.kind != "define":
            text += f"\n### {block.kind} {block.name}\n"
        words = with_since(block.words, since(block.since()) if block.since() > 0 else "")
        text += f"\n{in_page(words)}\n" if words else ""
        listed = False
        for row in block.rows:
            if isinstance(row, abi.Row):
                mark = newer(block, row)
                text += ("" if listed else "\n") + f"- `{row.text}`" + (f" ({mark})" if mark else "")
                text += (f": {in_page(row.words)}" if row.words else "") + "\n"
                listed = True
            elif row:
                text += f"\n{in_page(row)}\n"
                listed = False
    return text


def pages(root):
    """{path: text} of everything that is made from the description."""
    kept = {int(folder.name[2:]): folder for folder in (root / "tests/plugins/abi").glob("1.*")}
    headers = {minor: (folder / "sluice/plugin.h").read_text() for minor, folder in kept.items()}
    blocks = abi.parse((root / abi.DESCRIPTION).read_text())
    abi.check(blocks, headers)
    return {
        HEADER: header(blocks, (root / HEADER).read_text()),
        "engine/include/rust/src/raw.rs": raw(blocks),
        "engine/plugin/abi.c": checks(blocks, headers),
        "docs/plugin-reference.md": page(blocks),
    }
