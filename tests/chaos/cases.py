"""What the tests share that run a stream through engines and ask the checker: servers, a bus, a folder, engines that
end.

On Kafka when setUpModule() called servers(kafka=True).
"""
import os
import pathlib
import random
import re
import sys
import tempfile
import unittest

from chaos import checker
from chaos.buses import KafkaBus, PostgresBus
from chaos.facts import Facts
from chaos.stream import LIBRARIES, Stream
from lib import mistakes
from lib.engine import SLUICE, Engine, until
from lib.kafka import PrivateKafka
from lib.postgres import PrivatePostgres

SEED = int(os.environ.get("SLUICE_SEED") or random.SystemRandom().randrange(1, 1 << 31))


def servers(kafka=False):
    """For setUpModule: they end with the module."""
    print(f"seed {SEED}", file=sys.stderr, flush=True)
    ChaosCase.postgres = PrivatePostgres()
    unittest.addModuleCleanup(ChaosCase.postgres.close)
    ChaosCase.postgres.start()
    if kafka:
        ChaosCase.kafka = PrivateKafka()
        unittest.addModuleCleanup(ChaosCase.kafka.close)
        ChaosCase.kafka.start()


class ChaosCase(unittest.TestCase):
    postgres = kafka = None
    engine_env = {}  # beside the stream's

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="sluice-chaos-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.url = self.postgres.create_database()
        self.bus = KafkaBus(self.url, self.kafka) if self.kafka else PostgresBus(self.url)
        self.engines = []
        self.addCleanup(lambda: [engine.kill() for engine in self.engines])

    def stream(self, **options):
        stream = Stream(SEED, self.bus, self.folder, **options)
        stream.prepare()
        self.addCleanup(stream.unwatch)
        return stream

    def engine(self, stream, failpoints="", mistake=None, **options):
        """`mistake`: planted in this engine, see lib/mistakes.py."""
        program = mistakes.build(mistake) if mistake else SLUICE
        engine = Engine(
            stream.config, {**stream.env, **self.engine_env, "SLUICE_FAILPOINTS": failpoints}, program=program
        )
        self.engines.append(engine)
        return engine.start(**options)

    def has_all(self, engine):
        """It said that it has every partition of the pipeline's group."""
        place = re.compile(f"group {re.escape(self.bus.group)}: .* {self.bus.places} in all")
        return any(place.search(line) for line in list(engine.log))

    def await_all(self, engine, limit_s=30):
        try:
            until(lambda: self.has_all(engine), f"all {self.bus.places} partitions", limit_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; the engine said\n{engine.text()}") from None

    @staticmethod
    def deaths(engine):
        return sum("signal 9 (Killed)" in line for line in list(engine.log))

    def facts(self, stream, dumped=True):
        return Facts(self.bus, stream.config, stream.env, stream.log_path, LIBRARIES, dump=dumped)

    def check(self, stream, dumped=True):
        return checker.check(self.facts(stream, dumped), dumped)

    def red(self, found, *sentences):
        """Each of the given beginnings is a violation that was found."""
        for wanted in sentences:
            self.assertTrue(
                [sentence for sentence in found if sentence.startswith(wanted)],
                f"planted, and the checker does not say '{wanted}…'; it found {len(found)}: {found[:10]} (seed {SEED})",
            )

    def green(self, found):
        self.assertEqual(found, [], f"{len(found)} violations, seed {SEED}:\n" + "\n".join(found[:40]))
