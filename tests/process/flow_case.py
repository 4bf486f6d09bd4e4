"""What tests of `sluice test` share: how it is run, and a server on which it must leave nothing."""
import re

from lib.engine import sluice
from lib.server_case import PostgresCase


def run(*line, url=None, **options):
    return sluice("test", *map(str, line), env={"DATABASE_URL": url or ""}, check=False, **options)


def without_times(text):
    return re.sub(r"\(\d+ ms\)|\d+\.\d s\b", "TIME", text)


class OnAServer(PostgresCase):
    """Leaves no database behind."""

    own_database = False

    def setUp(self):
        super().setUp()
        databases = "select count(*) from pg_database"
        before = self.postgres.value(databases)
        self.addCleanup(lambda: self.assertEqual(self.postgres.value(databases), before))
