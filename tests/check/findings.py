"""What the analysers' checks share: the list of findings known to be wrong, and the verdict."""
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def verdict(tool, findings, whole=True):
    """findings: (file, line, check, text). Prints those that nobody has explained, and, where the tool looked at the
    whole, explanations of nothing; an exit code."""
    known = {}
    for line in (ROOT / "tests/check/known").read_text().splitlines():
        if line.startswith(tool + " "):
            _, file, check, reason = line.split(" ", 3)
            known[file, check] = reason
    new = [one for one in findings if (one[0], one[2]) not in known]
    for file, line, check, text in new:
        print(f"{file}:{line}: {text} [{check}]")
    found = {(file, check) for file, _, check, _ in findings}
    stale = [(file, check) for file, check in known if whole and (file, check) not in found]
    for file, check in stale:
        print(f"tests/check/known: {tool} {file} {check}: nothing is found there any more; remove the line")
    print(f"{tool}: {len(findings)} findings, {len(findings) - len(new)} of them known to be wrong (tests/check/known)")
    return 1 if new or stale else 0


def flags():
    """How the engine is compiled, as far as an analyser must know."""
    import subprocess

    found = subprocess.run(
        ["pkg-config", "--cflags", "libpq", "yaml-0.1", "jansson", "libmicrohttpd", "libcurl"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [
        "-std=gnu17",
        "-D_GNU_SOURCE",
        '-DSLUICE_VERSION="0"',
        "-Iengine",
        "-Iengine/include",
        *found.stdout.split(),
    ]


def sources():
    return sorted(
        str(path.relative_to(ROOT)) for pattern in ("engine/**/*.c", "plugins/*/*.c") for path in ROOT.glob(pattern)
    )


if __name__ == "__main__":
    sys.exit("a module of tests/check, not a check")
