"""What the sanitizers' checks share: build everything in a flavour, run the unit tests and the tests of tests/process
that are named there."""
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(flavour, programs, **options):
    """`programs`: of tests/process. `options`: ASAN_OPTIONS and the like, separated by ':'. Everything that is built by
    the caller's make stays as it is: a flavour has a folder of its own."""
    folder = f"build/{flavour.replace(',', '-')}/"
    env = {
        name: value for name, value in os.environ.items() if name not in ("B", "T", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    }
    reports = ROOT / folder / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    # Into files: a report of a worker process counts even where a test expects the process to die, or looks at nothing.
    env.update(
        {name: f"{value}:log_path={reports}/report:log_exe_name=1" for name, value in options.items()},
        B=folder,
        TEST_LIMIT_S="600",
    )
    words = [f"SAN={flavour}"] + (["DEV=1"] if os.environ.get("DEV") else [])
    built = subprocess.run(
        ["make", "-s", "-j2", *words, "all", "test-programs"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode != 0:
        print(f"make {' '.join(words)} all test-programs failed:\n{built.stdout}{built.stderr}")
        return 1
    reports.mkdir(parents=True)
    failed = []
    for command in [
        ["tests/run", "unit"],
        ["tests/run", "plugins"],
        *([sys.executable, f"tests/process/{name}"] for name in programs),
    ]:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        what = " ".join(command[-2:] if command[0] == "tests/run" else command[-1:])
        text = done.stdout + done.stderr
        print(
            f"{'ok  ' if done.returncode == 0 else 'FAIL'} {flavour}: {what}:"
            f" {text.rstrip().splitlines()[-1] if text.strip() else ''}",
            flush=True,
        )
        if done.returncode != 0:
            failed.append(f"---- {what} under {flavour} said:\n{text}")
    for report in sorted(reports.glob("*")):
        failed.append(f"---- {flavour}: {report.name}:\n{report.read_text(errors='replace')}")
    print("\n".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit("a module of tests/check, not a check")
