"""The manual's pages as roff: sluice(1) from each command's -h, pipeline.yaml(5) from the reference that the program
prints. `say` runs the program and returns what it prints."""
import re
import textwrap

OPTION = re.compile(r"^  (-\S+(?:, --\S+)?(?: [^ ]+)?) +(\S.*)$")
WORD = re.compile(r"^  ([A-Za-z][\w-]*) {2,}(\S.*)$")


def roff(text):
    return text.replace("\\", "\\e").replace("-", "\\-")


def bold(text):
    return f"\\fB{roff(text)}\\fR"


def filled(text):
    """Text that is filled anyway, in lines that a person can read."""
    lines = textwrap.wrap(text, 72, break_long_words=False, break_on_hyphens=False)
    return ["\\&" + line if line[:1] in (".", "'") else line for line in lines]


def literal(text):
    lines = [("\\&" if line[:1] in (".", "'") else "") + roff(line) for line in text.splitlines()]
    return [".nf", *lines, ".fi"]


def inline(text):
    """Markdown within a line."""
    text = re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", text)
    pieces = re.split(r"(`[^`]+`|\*\*[^*]+\*\*)", text)
    marks = {"`": 1, "*": 2}  # how long what stands around a bold piece is; other pieces stand at even places
    return "".join(bold(p[marks[p[0]] : -marks[p[0]]]) if n % 2 else roff(p) for n, p in enumerate(pieces))


def command(name, text):
    """One command's section: its usage, what it does, an entry for each word and option."""
    lines = text.splitlines()
    usage = []
    while lines and re.match(r"(usage:|      ) sluice ", lines[0]):
        usage.append(lines.pop(0)[7:])
    out = [".SS " + roff(name), ".nf", *(bold(line) for line in usage), ".fi"]
    blocks = []  # (head or None, text)
    for line in lines:
        entry = OPTION.match(line) or WORD.match(line)
        if entry:
            blocks.append([entry[1], entry[2]])
        elif not line.strip():
            blocks.append([None, ""])
        elif blocks and (line.startswith("   ") or blocks[-1][0] is None):
            blocks[-1][1] += " " + line.strip()
        else:
            blocks.append([None, line])
    for head, body in blocks:
        if body.strip():
            out += [".TP", bold(head)] if head else [".PP"]
            out += filled(roff(body.strip()))
    return out


def title(name, section, version):
    return [
        f'.TH {name} {section} "" "sluice {version}"',
        '.\\" Made from the program by tests/check/generated --write.',
    ]


def command_page(say):
    version = say("version").split()[1].rstrip(",")
    commands = re.findall(r"^  (\S+) +(\S.*)$", say("-h"), re.M)
    out = title("SLUICE", 1, version)
    out += [".SH NAME", "sluice \\- events through plugins, nothing lost, nothing done twice"]
    out += [".SH SYNOPSIS", "\\fBsluice\\fR \\fICOMMAND\\fR …", ".SH DESCRIPTION"]
    out += filled(
        "Reads a map from topics to handlers (pipeline.yaml), loads handlers from shared objects, and runs them over"
        " the events of a bus, each in a transaction of the store."
    )
    out.append(".PP")
    for name, what in commands:
        out += [".TP", bold(name), *filled(roff(what))]
    out.append(".SH COMMANDS")
    for name, _ in commands:
        out += command(name, say(name, "-h"))
    out.append(".SH EXIT STATUS")
    for code, what in (
        ("0", "It did what was asked."),
        ("1", "It failed, and said why on standard error."),
        ("2", "The command line was wrong."),
        ("78", "The configuration was wrong; every problem was named with its file, line and column."),
        ("130", "\\fBrun\\fR was stopped by a second SIGINT without waiting."),
    ):
        out += [".TP", bold(code), *filled(what)]
    out.append(".SH ENVIRONMENT")
    for name, what in (
        (
            "NOTIFY_SOCKET, WATCHDOG_USEC",
            "How \\fBrun\\fR tells a service manager that it is ready, alive and stopping.",
        ),
        ("SLUICE_FAILPOINTS, SLUICE_SEED", "Faults on purpose, for tests; see \\fBversion \\-\\-failpoints\\fR."),
    ):
        out += [".TP", bold(name), *filled(what)]
    out += [".PP", *filled("A configuration may name any other variable as ${NAME} or ${NAME:\\-default}.")]
    out += [".SH SEE ALSO", "\\fBpipeline.yaml\\fR(5)"]
    return "\n".join(line for n, line in enumerate(out) if line != ".PP" or out[n + 1] != ".TP") + "\n"


def row(cells):
    """A key of a table: (key, what, value, default), or (property, value)."""
    what, value, default = cells[1:] if len(cells) == 4 else ("", cells[1], "")
    text = [inline(what) + "." if what else "", f"Value: {inline(value)}." if value else ""]
    text.append("Needed." if default == "**needed**" else f"Default: {inline(default)}." if default else "")
    return [".TP", bold(cells[0].strip("`")), *filled(" ".join(filter(None, text)))]


def file_page(say, example):
    """example: the text of a pipeline.yaml."""
    version = say("version").split()[1].rstrip(",")
    out = title("PIPELINE.YAML", 5, version)
    out += [".SH NAME", "pipeline.yaml \\- what a Sluice pipeline is made of", ".SH DESCRIPTION"]
    paragraphs = re.sub(r"<!--.*?-->", "", say("version", "--reference", "configuration"), flags=re.S)
    in_table = False
    for block in re.split(r"\n(?=\n|\||#|\* )", paragraphs):
        block = " ".join(block.split())
        if not block or block.startswith("# "):
            continue
        if block.startswith("|"):
            cells = [cell.strip() for cell in block.strip("|").split("|")]
            if cells[0] in ("key", "property") or set(cells[0]) == {"-"}:
                continue
            if not in_table and ".SH KEYS" not in out:
                out += [".SH KEYS"]
            in_table = True
            out += row(cells)
            continue
        in_table = False
        if block.startswith("## "):
            out += [".SS " + roff(block[3:].strip("`"))]
        elif block.startswith("* "):
            out += [".IP \\(bu 2", *filled(inline(block[2:]))]
        else:
            out += [".PP", *filled(inline(block))]
    out += [".SH EXAMPLES", *literal(example), ".SH SEE ALSO", "\\fBsluice\\fR(1)"]
    return "\n".join(line for n, line in enumerate(out) if line != ".PP" or out[n - 1][:3] not in (".SH", ".SS")) + "\n"
