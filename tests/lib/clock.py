"""A wall clock that a test moves, for engines that are started with clock.env: see tests/lib/c/moved_clock.c."""
import struct

from lib.engine import BUILD


class Clock:
    def __init__(self, path):
        self.path = path
        self.move(0)
        self.env = {"LD_PRELOAD": str(BUILD / "tests/lib/moved_clock.so"), "CLOCK_FILE": str(path)}

    def move(self, offset_s):
        """That far from the real one, at once, also in engines that run."""
        with open(self.path, "r+b" if self.path.exists() else "w+b") as file:
            file.write(struct.pack("q", offset_s * 1_000_000_000))
