"""abi.py - the description of the plugin ABI, engine/include/abi.txt: reading it, and what it must keep of the headers
of released minors. The files that are made of it are abi_write.py's.
"""
import hashlib
import re

DESCRIPTION = "engine/include/abi.txt"
STABLE = re.compile(r"1\.(\d+)")
UNSTABLE = 1 << 16  # a minor that is above all
SCALARS = {
    "char": 1,
    "int": 4,
    "double": 8,
    "size_t": 8,
    **{f"{sign}int{bits}_t": bits // 8 for sign in ("u", "") for bits in (16, 32, 64)},
}
DECLARED = re.compile(r"((?:const )?(?:struct )?\w+ \**)(\w+)(\[\d+\])?(?:\((.*)\))?$")

NUMBER = r"(0|[1-9]\d*|0x[\da-f]+)"
WRITTEN = {  # what a row of each kind must be, where not any declaration will do, and in words
    "enum": (rf"SLUICE_\w+ = {NUMBER}", "row of an enum: SLUICE_NAME = NUMBER"),
    "define": (
        rf"\w+ SLUICE_\w+ = ({NUMBER}|INT64_MIN|INT64_MAX)",
        "constant: TYPE SLUICE_NAME = NUMBER, or INT64_MIN, INT64_MAX",
    ),
}


class Wrong(Exception):
    """What is wrong with the description, for who changes it."""

    def __init__(self, sentence, line=None):
        super().__init__(f"{DESCRIPTION}{'' if line is None else f':{line}'}: {sentence}")


class Member:
    """A member of a struct or a constant: its declaration in parts."""

    def __init__(self, type_, name, array="", parameters=None):
        self.type, self.name, self.array, self.parameters = type_, name, array, parameters

    def declaration(self):
        if self.parameters is None:
            return f"{self.type}{self.name}{self.array}"
        return f"{self.type}{self.name}({', '.join(one.declaration() for one in self.parameters)})"

    def without_name(self):
        return Member(self.type, "", self.array, self.parameters).declaration()


class Row:
    """A line of a table, which may declare several members of one type."""

    def __init__(self, since, text, words, line):
        self.since, self.text, self.words, self.line = since, text, words, line
        self.value = None
        self.members = []


class Block:
    """A section's title, a struct, an enum, or constants. `rows` has what stands below: a Row, or a text on the rows
    behind it, which is "" for an empty line."""

    def __init__(self, kind, name, words, line):
        self.kind, self.name, self.words, self.line = kind, name, words, line
        self.rows = []

    def table(self):
        return [row for row in self.rows if isinstance(row, Row)]

    def members(self):
        return [(row, member) for row in self.table() for member in row.members]

    def filled_by_engine(self):
        """Such structs say at their start how much of them there is."""
        return self.kind == "struct" and self.members()[0][1].name == "size"

    def since(self):
        """The minor that the whole of it came with."""
        return min(row.since for row in self.table())


def declared(text):
    """The member that a declaration in C declares, or None."""
    found = DECLARED.match(" ".join(text.split()))
    if found is None:
        return None
    if found[4] is None:
        return Member(found[1], found[2], found[3] or "")
    parameters = [declared(one) for one in found[4].split(", ")]
    return None if None in parameters else Member(found[1], found[2], "", parameters)


def split(text):
    """The members of a declaration that may have commas: `int64_t min, max`."""
    if "(" in text or "," not in text:
        return [declared(text)]
    first, *others = text.split(",")
    kind = declared(first)
    return [kind] + [declared(f"{kind.type}{one.strip()}") for one in others] if kind else [None]


def row(kind, since, text, words, line):
    """A row below a heading of that kind."""
    stable = STABLE.fullmatch(since)
    made = Row(int(stable[1]) if stable else UNSTABLE, text, words, line)
    if not stable and since != "unstable":
        raise Wrong(f"'{since}' is no minor: a row starts with 1.N or 'unstable'", line)
    if kind in WRITTEN and not re.fullmatch(WRITTEN[kind][0], text):
        raise Wrong(f"`{text}` is no {WRITTEN[kind][1]}", line)
    declaration, _, made.value = (part.strip() for part in text.partition("="))
    if kind == "struct" and made.value:
        raise Wrong(f"`{text}` has a value: members have none", line)
    made.members = [Member("", declaration)] if re.fullmatch(r"SLUICE_\w+", declaration) else split(declaration)
    if None in made.members:
        raise Wrong(f"`{text}` is no declaration that this knows: TYPE NAME, TYPE NAME(PARAMETERS)", line)
    return made


def lines_joined(text):
    """(number, line) of each line, with what is indented below it."""
    joined = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(" ") and joined and joined[-1][1]:
            joined[-1][1] += " " + line.strip()
        else:
            joined.append([number, line])
    return joined


def parse(text):
    """The blocks of a description."""
    blocks, words, rows = [], [], None
    lines = lines_joined(text)
    start = next((i for i, (_, line) in enumerate(lines) if line == ""), len(lines))
    for number, line in lines[start:]:
        heading = re.match(r"(struct|enum|define)\b *(\w*)(;?)\s*(.*)", line)
        if line.startswith("# "):
            words.append(line[2:])
        elif line.startswith("== "):
            blocks.append(Block("section", line[3:], "", number))
        elif heading and heading[3]:
            blocks.append(Block("named", heading[2], heading[4], number))
        elif heading:
            blocks.append(Block(heading[1], heading[2], " ".join(words), number))
            rows = blocks[-1].rows
            words = []
        elif line == "":
            if rows and not words:
                rows.append("")
        else:
            since, _, rest = line.partition(" ")
            if rows is None or ";" not in rest:
                raise Wrong("expected `SINCE  DECLARATION;  words` below a struct, enum or define", number)
            if words:
                rows.append(" ".join(words))
                words = []
            declaration, _, says = rest.partition(";")
            rows.append(row(blocks[-1].kind, since, declaration.strip(), says.strip(), number))
    for block in blocks:
        while block.rows and block.rows[-1] == "":
            block.rows.pop()
        if block.kind in ("struct", "enum", "define") and not block.table():
            raise Wrong(f"{block.name} has no rows", block.line)
    return blocks


# ------------------------------------------------------------------------------------------------------------ layouts


def aligned(at, unit):
    return (at + unit - 1) // unit * unit


def layout(members, known):
    """[(offset, size)] of the members, and the size and alignment of the whole, as every ABI with 64 bits has them."""
    at, most, places = 0, 1, []
    for member in members:
        kind = member.type.replace("const ", "").strip()
        if member.parameters is not None or "*" in kind:
            size = unit = 8
        elif kind.startswith("struct "):
            size, unit = known[kind[len("struct ") :]][1:]
        else:
            size = unit = SCALARS[kind]
        at, most = aligned(at, unit), max(most, unit)
        size *= int(member.array.strip("[]") or 1)
        places.append((at, size))
        at += size
    return places, aligned(at, most), most


def layouts(structs):
    """{name: its layout} of {name: members}, each of which is behind those that are inside of it."""
    known = {}
    for name, members in structs.items():
        known[name] = layout(members, known)
    return known


# ------------------------------------------------------------------------------------------------- what was released


def header_tables(text):
    """{struct: members} and {name: value} of the tables of a plugin.h."""
    text = re.sub(r"/\*.*?\*/", "", text.partition("conveniences for C")[0], flags=re.S)
    structs, values = {}, {}
    for name, body in re.findall(r"^struct (sluice_\w+) \{(.*?)^\};", text, re.M | re.S):
        body = re.sub(r"\(\*(\w+)\)", r"\1", body)
        structs[name] = [member for one in body.split(";") if one.strip() for member in split(" ".join(one.split()))]
    for body in re.findall(r"^enum sluice_\w+ \{(.*?)\};", text, re.M | re.S):
        value = -1
        for one in body.split(","):
            name, _, given = (part.strip() for part in one.partition("="))
            if name:
                value = int(given) if given else value + 1
                values[name] = value
    return structs, values


def same_or_named(old, new, since, minor):
    if old.declaration() == new.declaration():
        return True
    return old.name == "reserved" and since > minor and old.without_name() == new.without_name()


def struct_check(name, kept, block, minor):
    """A kept minor's members are the first ones, as they were; what comes then is newer."""
    for i, old in enumerate(kept):
        here = block.members()[i] if i < len(block.members()) else None
        if here is None:
            raise Wrong(f"struct {name} of 1.{minor} has `{old.declaration()}`, which is not here")
        line, new = here
        if not same_or_named(old, new, line.since, minor):
            what = "rows are added at the end" if line.since > minor else f"what 1.{minor} has never changes"
            raise Wrong(
                f"struct {name} of 1.{minor} has `{old.declaration()}` where `{new.declaration()}` is: {what}",
                line.line,
            )
    for line, new in block.members()[len(kept) :]:
        if line.since <= minor:
            raise Wrong(
                f"struct {name} of 1.{minor} was released without `{new.declaration()}`: it is of a later minor",
                line.line,
            )


def check_kept(blocks, minor, header):
    """What the header of a released minor says is still so."""
    structs, values = header_tables(header)
    here = {block.name: block for block in blocks if block.kind == "struct"}
    numbers = {row.members[0].name: row for block in blocks if block.kind == "enum" for row in block.table()}
    for name, kept in structs.items():
        if name not in here:
            raise Wrong(f"1.{minor} has a struct {name}, which is not here")
        struct_check(name, kept, here[name], minor)
    for name, value in values.items():
        if name not in numbers or int(numbers[name].value, 0) != value:
            line = numbers[name].line if name in numbers else None
            raise Wrong(f"{name} of 1.{minor} is {value}: what 1.{minor} has never changes", line)
    new = [row for name, row in numbers.items() if name not in values]
    new += [row for name, block in here.items() if name not in structs for row in block.table()]
    for line in new:
        if line.since <= minor:
            raise Wrong(f"1.{minor} was released without `{line.members[0].name}`: it is of a later minor", line.line)


def minor_of(blocks):
    for block in blocks:
        for line in block.table() if block.kind == "define" else []:
            if line.members[0].name == "SLUICE_ABI_MINOR":
                return int(line.value, 0)
    raise Wrong("there is no SLUICE_ABI_MINOR")


def unstable_number(blocks):
    """What tells one set of unstable rows from another: 0 without any, and another one whenever anything that is
    declared with them changes."""
    rows = [f"{block.name}: {row.text}" for block in blocks for row in block.table() if row.since == UNSTABLE]
    if not rows:
        return 0
    tables = "".join(f"{block.name}: {row.text}\n" for block in blocks for row in block.table())
    return int(hashlib.sha256(tables.encode()).hexdigest()[:8], 16) or 1


def check(blocks, headers):
    """Fails unless the description is sound and keeps what the released minors have: {minor: text of its header}."""
    newest = minor_of(blocks)
    for block in blocks:
        last = 0
        for line in block.table():
            if line.since == UNSTABLE and not block.filled_by_engine():
                raise Wrong(
                    "only a struct that the engine fills, which starts with its size, has rows that are unstable",
                    line.line,
                )
            if newest < line.since < UNSTABLE:
                raise Wrong(f"it is of 1.{line.since}, but SLUICE_ABI_MINOR is {newest}", line.line)
            if last == UNSTABLE != line.since:
                raise Wrong("a row that is promised stands behind one that is unstable", line.line)
            last = line.since
    for minor, header in sorted(headers.items()):
        check_kept(blocks, minor, header)
    try:
        layouts({block.name: [member for _, member in block.members()] for block in blocks if block.kind == "struct"})
    except KeyError as unknown:
        raise Wrong(f"no size is known of {unknown}: a struct stands behind those that it holds") from None
