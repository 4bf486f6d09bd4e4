"""Test cases with servers: one PostgreSQL, one Kafka, for all classes of a file; they are started when first asked for
and end with it. What a test stops, kills, freezes or cuts off is whole again after it, however it ends.

    class Case(KafkaCase, PostgresCase):
        kafka_options = {"proxied": True}     # of PrivateKafka

        def setUp(self):
            super().setUp()                   # self.folder and self.url, a database, are of this test alone
            name = self.new_name("outbox")    # for topics and groups: no other test or run has it
"""
import itertools
import os
import pathlib
import tempfile
import unittest

from lib.kafka import PrivateKafka
from lib.postgres import PrivatePostgres

NUMBERS = itertools.count(1)
SERVERS = {}  # of the file that runs


def started(make, **options):
    """(the file's server of these options, whether it has just been started)"""
    key = (make, *sorted(options.items()))
    if key in SERVERS:
        return SERVERS[key], False
    server = make(**options)
    unittest.addModuleCleanup(SERVERS.pop, key, None)
    unittest.addModuleCleanup(server.close)
    server.start()
    SERVERS[key] = server
    return server, True


class ServerCase(unittest.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="sluice-test-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    @staticmethod
    def new_name(word):
        return f"{word}{os.getpid()}x{next(NUMBERS)}"


class PostgresCase(ServerCase):
    own_database = True  # for each test

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres, _ = started(PrivatePostgres)

    def setUp(self):
        super().setUp()
        self.addCleanup(self.postgres.heal)
        if self.own_database:
            self.url = self.postgres.create_database()


class KafkaCase(ServerCase):
    kafka_options = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.kafka, fresh = started(PrivateKafka, **cls.kafka_options)
        if fresh:
            cls.kafka_started()

    def setUp(self):
        super().setUp()
        self.addCleanup(self.kafka.heal)

    @classmethod
    def kafka_started(cls):
        """Once for the file: what its brokers need before any test."""
