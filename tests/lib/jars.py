"""Java's part of the tests: jars that Maven brings once, and programs of ours that are compiled once, both into
${SLUICE_CACHE:-${XDG_CACHE_HOME:-~/.cache}/sluice}."""
import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile


def die(text):
    print(f"{pathlib.Path(sys.argv[0]).name}: {text}", file=sys.stderr)
    sys.exit(1)


def program(name, package):
    return shutil.which(name) or die(f"no {name}: install it (Debian: {package})")


def java():
    return program("java", "openjdk-17-jre-headless")


def cache():
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = pathlib.Path(os.environ.get("SLUICE_CACHE") or os.path.join(home, "sluice")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def made_once(folder):
    """Gives a folder to fill, or None when it is there: by us alone, and complete under its name or not at all."""
    with open(f"{folder}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            yield None
            return
        filling = pathlib.Path(tempfile.mkdtemp(prefix=folder.name + ".", dir=folder.parent))
        try:
            yield filling
            filling.chmod(0o755)
            filling.rename(folder)
        finally:
            shutil.rmtree(filling, ignore_errors=True)


def run(command, **options):
    done = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    if done.returncode != 0:
        die(f"{command[0]} failed:\n{(done.stdout + done.stderr).strip()}")
    return done.stdout


def fetch(folder, artifacts):
    """What these need, too, into `libs` of the folder."""
    wanted = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>"
        f"<version>{version}</version></dependency>\n"
        for group, name, version in artifacts
    )
    (folder / "pom.xml").write_text(
        (
            "<project"
            ' xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>sluice</groupId>'
            "<artifactId>jars</artifactId><version>1</version><packaging>pom</packaging>"
            f"<dependencies>{wanted}</dependencies></project>\n"
        ),
        encoding="utf-8",
    )
    run(
        [
            program("mvn", "maven"),
            "-B",
            "-q",
            "-f",
            folder / "pom.xml",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={folder / 'libs'}",
        ],
        cwd=folder,
    )


def compiled(name, classpath):
    """The folder with the classes of NAME.java, compiled once for each state of its source and of the jars. Every Java
    has a compiler."""
    source = pathlib.Path(__file__).resolve().with_name(f"{name}.java")
    state = hashlib.sha256(classpath.encode() + source.read_bytes()).hexdigest()[:16]
    folder = cache() / f"{name.lower()}-{state}"
    with made_once(folder) as filling:
        if filling:
            run(
                [
                    java(),
                    "-XX:TieredStopAtLevel=1",
                    "-m",
                    "jdk.compiler/com.sun.tools.javac.Main",
                    "-cp",
                    classpath,
                    "-d",
                    filling,
                    source,
                ]
            )
    return folder
