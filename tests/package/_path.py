"""tests/ on the module path: a program of this folder begins with `import _path` and runs alone, from any folder."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
