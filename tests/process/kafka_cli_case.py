"""What the tests of commands on a real Kafka share: a pipeline, and how a command is run on it."""
import json
import pathlib

from lib.engine import sluice
from lib.pipeline_case import CHAOS
from lib.server_case import KafkaCase, PostgresCase

# Topics begin at line 8, a line each; "@" is a name that no other test has.
YAML = """\
pipeline: cli
bus: {kind: kafka, partitions: 2, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}
store: {url: "${DATABASE_URL}"}
engine: {group: "@"}
plugins: {chaos: {library: "${CHAOS_SO}"}}
defaults: {dead_letter: "@.dlt"}
topics:
  @.in: {key: "{k}", partitions: 3, handler: chaos.act, routes: {ok: @.out, other: @.side}}
  @.out: {key: "{k}", partitions: 3, final: true}
  @.side: {final: true}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""
IN, OUT, SIDE = 8, 9, 10
EVENT = {"mode": "ok", "k": "a"}


class Case(KafkaCase, PostgresCase):
    own_database = False

    @classmethod
    def kafka_started(cls):
        if cls.kafka.owned:  # brokers that would make a topic for whoever asks for it, as most do
            settings = pathlib.Path(cls.kafka.dir, "broker-1.properties")
            settings.write_text(settings.read_text() + "auto.create.topics.enable=true\n")
            cls.kafka.restart(1)
            cls.kafka.produce("made-by-asking", None, b"")
        Case.url = cls.postgres.create_database()

    def setUp(self):
        super().setUp()
        self.name = self.new_name("cli")
        self.env = {"DATABASE_URL": self.url, "CHAOS_SO": str(CHAOS), **self.kafka.env()}
        self.config = self.folder / f"{self.name}.yaml"
        self.write(YAML)
        self.names = [self.topic(word) for word in ("dlt", "in", "out", "side")]

    def topic(self, word):
        return f"{self.name}.{word}"

    def write(self, yaml, *changes):
        for old, new in changes:
            self.assertIn(old, yaml)
            yaml = yaml.replace(old, new)
        self.config.write_text(yaml.replace("@", self.name))

    def command(self, word, *line, data=None, **env):
        return sluice(word, self.config, *line, env={**self.env, **env}, data=data, check=False)

    def migrate(self):
        done = self.command("migrate")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.splitlines()

    def there(self):
        """Of this test's names, what the brokers have: whatever made it."""
        return [name for name in self.kafka.topics() if name.startswith(self.name + ".")]

    def places(self, word):
        return [len(one.replicas) for one in self.kafka.describe(self.topic(word))]

    def emit(self, *values, word="in"):
        done = self.command("emit", self.topic(word), data="".join(json.dumps(value) + "\n" for value in values))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def refused(self, done, words, code=1):
        """It ended, and said one sentence, in one line."""
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertRegex(done.stderr, rf"\A[^\n]*{words}[^\n]*\n\Z")
        self.assertEqual(done.stdout, "")
