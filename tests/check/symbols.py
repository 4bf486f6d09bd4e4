"""What the object files of the engine define and need, by nm: for the checks on calls between them."""
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
OBJECTS = ROOT / os.environ.get("B", "build/") / "obj"
DEFINED, NEEDED = "TDBRVWC", "U"  # letters of nm


class Object:
    def __init__(self, source):
        self.source = source
        self.defined, self.needed = set(), set()


def objects():
    """Of each source that is there: what a build has left of a removed one is no part of the program."""
    sources = sorted(path.relative_to(ROOT) for path in (ROOT / "engine").rglob("*.c"))
    found = {str(OBJECTS / source.with_suffix(".o")): Object(str(source)) for source in sources}
    for path, one in found.items():
        if not os.path.exists(path):
            sys.exit(f"{one.source} is not built; run make")
    for line in subprocess.run(["nm", "-A", *found], capture_output=True, text=True, check=True).stdout.splitlines():
        path, _, symbol = line.partition(".o:")
        letter, name = symbol.split()[-2:]
        if name.startswith("__"):
            continue  # a sanitizer's or the linker's
        if letter in DEFINED:
            found[path + ".o"].defined.add(name)
        elif letter in NEEDED:
            found[path + ".o"].needed.add(name)
    return list(found.values())


if __name__ == "__main__":
    sys.exit("a module of tests/check, not a check")
