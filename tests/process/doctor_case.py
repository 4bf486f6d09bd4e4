"""A test case for `sluice doctor`: a database with the tables of config/pipeline.yaml, for all tests of a class; what
the command says of it, check by check."""
import contextlib
import json
import os
import subprocess

import _path
from lib.engine import ROOT, SLUICE, sluice
from lib.server_case import PostgresCase

YAML = (ROOT / "config/pipeline.yaml").read_text()
LIMIT_S = 60  # of a command: far more than the few seconds that it may wait, for slow machines


class DoctorCase(PostgresCase):
    own_database = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.url = cls.postgres.create_database()
        cls.database = cls.url.rsplit("/", 1)[1]
        cls.env = {"DATABASE_URL": cls.url, "DATA_PLATFORM_URL": "http://127.0.0.1:9/events"}
        sluice("migrate", "config/pipeline.yaml", env=cls.env)
        cls.sql(
            "insert into sluice.name (kind, name) values ('g', 'ticketing'), ('c', 'purchase'), ('s', 'expire-holds')"
        )

    def setUp(self):
        super().setUp()
        self.config = self.folder / "pipeline.yaml"
        self.config.write_text(YAML)

    @classmethod
    def sql(cls, text, url=None):
        return cls.postgres.query(text, url or cls.url)

    @classmethod
    def system(cls, text):
        cls.postgres.query("alter system " + text)
        cls.postgres.query("select pg_reload_conf()")

    @contextlib.contextmanager
    def session(self, text):
        """A session of somebody else's that runs these statements and stays."""
        psql = subprocess.Popen(
            ["psql", "-XqAt", "-d", self.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        psql.stdin.write(text + ";\n")
        psql.stdin.flush()
        try:
            yield psql
        finally:
            psql.kill()
            psql.communicate()

    def look(self, *line, env=None, **options):
        """(exit code, {check: (health, text and cure of all its findings)})"""
        done = subprocess.run(
            [SLUICE, "doctor", self.config, "--json", *line],
            env={**os.environ, **self.env, **(env or {})},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
            **options,
        )
        self.assertEqual(done.stderr, "")
        checks = json.loads(done.stdout)["checks"]
        self.assertEqual(len({one["check"] for one in checks}), len(checks))
        said = {}
        for one in checks:
            self.assertGreater(len(one["findings"]), 0, one)
            for finding in one["findings"]:
                self.assertEqual(finding["cure"] is not None, finding["health"] in ("warns", "bad"), one)
            told = [text for finding in one["findings"] for text in (finding["text"], finding["cure"] or "")]
            said[one["check"]] = (one["health"], "\n".join(told))
        return done.returncode, said

    def says(self, check, health, words, env=None, **options):
        code, said = self.look(env=env, **options)
        self.assertEqual(said[check][0], health, said[check])
        self.assertRegex(said[check][1], words)
        self.assertEqual(code, 78 if said["file"][0] == "bad" else int("bad" in [one[0] for one in said.values()]))
        return said
