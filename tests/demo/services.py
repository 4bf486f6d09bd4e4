"""The reference pipeline in each of its shapes: which processes there are, and where each row lives.

    postgres    one process, one PostgreSQL
    kafka       one process, one PostgreSQL, one Kafka
    services    three processes on one Kafka, a database each
"""
import subprocess

from lib.engine import Engine, sluice

SHAPES = {
    "postgres": {"engine": "config/pipeline.yaml"},
    "kafka": {"engine": "config/pipeline.kafka.yaml"},
    "services": {name: f"config/services/{name}.yaml" for name in ("gateway", "payment", "reservation")},
}
# Who has which rows where there are three; reservations are the reservation service's, and the gateway has a copy.
OWNERS = {"users": ["payment"], "payment_tokens": ["gateway"], "reservations": ["reservation", "gateway"]}


def psql(url, text):
    return subprocess.run(
        ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", url, "-c", text],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


class Services:
    """`urls`: the database of each process; `env`: what all of them get."""

    def __init__(self, shape, urls, env):
        self.configs = SHAPES[shape]
        self.urls = urls
        self.envs = {name: dict(env, DATABASE_URL=urls[name]) for name in self.configs}
        self.engines = {name: Engine(config, self.envs[name]) for name, config in self.configs.items()}
        self.front = next(iter(self.configs))  # the one that takes requests

    @property
    def gateway(self):
        return self.engines[self.front]

    def migrate(self):
        return {
            name: sluice("migrate", config, env=self.envs[name]).stdout.strip() for name, config in self.configs.items()
        }

    def start(self):
        for engine in self.engines.values():
            engine.start(wait=False)
        for engine in self.engines.values():
            engine.wait_ready()

    def stop(self):
        """What each ended with."""
        return {name: engine.stop() for name, engine in self.engines.items()}

    def homes(self, table):
        """Databases of the table's rows, its owner's first."""
        return [self.urls[name] for name in OWNERS[table]] if len(self.urls) > 1 else [*self.urls.values()]

    def read(self, table, text):
        return psql(self.homes(table)[0], text)

    def write(self, table, text):
        for url in self.homes(table):
            psql(url, text)

    def explain(self, correlation, name=None):
        name = name or self.front
        return sluice("explain", self.configs[name], correlation, env=self.envs[name]).stdout.rstrip()
