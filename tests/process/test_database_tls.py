#!/usr/bin/env python3
"""TLS to PostgreSQL: sslmode=verify-full is let in, and what is wrong with a certificate, on either side, is a sentence
that says what was expected and what to do: of `validate --connect`, `doctor` and `migrate`, of `run` at its start and
of an engine whose connections are lost later.

Run alone: python3 tests/process/test_database_tls.py [-k NAME]
"""
import os
import pathlib
import shutil
import tempfile
import unittest

import _path
from lib.certificates import Certificates
from lib.engine import ROOT, Engine, sluice, until
from lib.server_case import PostgresCase

YAML = (ROOT / "config/pipeline.yaml").read_text()
HOST = "db.test"  # hostaddr= says where it is: no name is looked up
RULES = """\
hostssl    tls     all  all  trust
hostssl    client  all  all  trust  clientcert=verify-ca
host       client  all  all  reject
hostnossl  tls     all  all  reject
local      all     all       trust
host       all     all  all  trust
"""
WAIT_S = 30


class Tls(PostgresCase):
    own_database = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory(prefix="sluice-test-")
        cls.addClassCleanup(folder.cleanup)
        cls.made = made = Certificates(pathlib.Path(folder.name))
        for name in ("ca", "other"):
            made.authority(name)
        for name, authority, host in (("server", "ca", HOST), ("renamed", "ca", "db.other"), ("alien", "other", HOST)):
            made.sign(name, authority, host)
        made.sign("expired", "ca", HOST, expired=True)
        made.sign("client", "ca", "postgres", password="canary-of-a-key")
        made.sign("stranger", "other", "postgres")
        cls.data = pathlib.Path(cls.postgres.folder) / "data"
        cls.place("ca.pem", "ca.pem")
        (cls.data / "pg_hba.conf").write_text(RULES)
        for name in ("tls", "client"):
            cls.postgres.create_database(name)
            url = cls.postgres.url.rsplit("/", 1)[0] + "/" + name
            sluice("migrate", "config/pipeline.yaml", env={"DATABASE_URL": url})  # before the rules are read
        for setting in ("ssl_cert_file = 'server.pem'", "ssl_key_file = 'server.key'", "ssl_ca_file = 'ca.pem'"):
            cls.postgres.query(f"alter system set {setting}")
        cls.serve("server")

    @classmethod
    def place(cls, name, at):
        shutil.copy(cls.made.file(name), cls.data / at)
        (cls.data / at).chmod(0o600)
        owner = cls.data.stat()
        os.chown(cls.data / at, owner.st_uid, owner.st_gid)

    @classmethod
    def serve(cls, name):
        """The server shows this certificate from now on; None: it has TLS off."""
        if name is not None:
            cls.place(f"{name}.pem", "server.pem")
            cls.place(f"{name}.key", "server.key")
        cls.postgres.query(f"alter system set ssl = {'off' if name is None else 'on'}")
        loaded = cls.postgres.value("select pg_conf_load_time()")
        cls.postgres.query("select pg_reload_conf()")
        until(lambda: cls.postgres.value("select pg_conf_load_time()") != loaded, "the server to read its files")

    def setUp(self):
        super().setUp()
        self.serve("server")
        self.config = self.folder / "pipeline.yaml"
        self.config.write_text(YAML)

    def url(self, database="tls", **more):
        """Keywords, as libpq takes them."""
        words = {
            "host": HOST,
            "hostaddr": "127.0.0.1",
            "port": self.postgres.port,
            "user": "postgres",
            "dbname": database,
            "sslmode": "verify-full",
            "sslrootcert": self.made.file("ca.pem"),
            **more,
        }
        return " ".join(f"{key}={value}" for key, value in words.items())

    def client(self, name, **more):
        return self.url("client", sslcert=self.made.file(f"{name}.pem"), sslkey=self.made.file(f"{name}.key"), **more)

    def env(self, url):
        return {"DATABASE_URL": url, "DATA_PLATFORM_URL": "http://127.0.0.1:9/events"}

    def let_in(self, url):
        env = self.env(url)
        done = sluice("validate", "--connect", self.config, env=env)
        self.assertEqual(done.stderr, "")
        said = sluice("doctor", self.config, env=env).stdout
        self.assertIn("good         session:", said)
        self.assertIn("good         encryption: TLS, and the server is known by its certificate", said)
        with Engine(self.config, env):
            encrypted = self.postgres.value(
                "select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid)"
                " where application_name like 'sluice/ticketing%'"
            )
            self.assertEqual(encrypted, "t")

    def kept_out(self, url, sentence, advice):
        env = self.env(url)
        for command, code in ((["validate", "--connect"], 78), (["migrate"], 1), (["doctor"], 1)):
            with self.subTest(command=command[0]):
                done = sluice(*command, self.config, env=env, check=False)
                said = done.stdout + done.stderr
                self.assertEqual(done.returncode, code, said)
                self.assertRegex(said, f"cannot connect to the database: .*{sentence}")
                self.assertIn(advice, said)
        engine = Engine(self.config, env)
        self.addCleanup(engine.kill)
        engine.start(wait=False)
        self.says(engine, sentence, advice)
        return engine

    def says(self, engine, sentence, advice, after=0):
        until(
            lambda: any("waiting for the database" in line for line in list(engine.log)[after:]),
            f"the engine to say it; it said\n{engine.text()}",
            WAIT_S,
        )
        (line,) = [line for line in list(engine.log)[after:] if "waiting for the database" in line]
        self.assertRegex(line, sentence)
        self.assertIn(advice, line)

    def goes_on(self, engine):
        engine.wait_ready(limit_s=WAIT_S)
        self.assertEqual(engine.stop(), 0)

    def test_verified(self):
        self.let_in(self.url())
        self.let_in(
            f"postgresql://postgres@{HOST}:{self.postgres.port}/tls?hostaddr=127.0.0.1&sslmode=verify-full"
            f"&sslrootcert={self.made.file('ca.pem')}"
        )

    def test_encrypted_and_not_verified(self):
        self.serve("alien")
        said = sluice("doctor", self.config, env=self.env(self.url(sslmode="require", sslrootcert=""))).stdout
        self.assertRegex(said, r"warns +encryption: TLS, and nobody asks who the server is \(sslmode=require\)")
        said = sluice("doctor", self.config, env=self.env(self.url("postgres", sslmode="disable")), check=False).stdout
        self.assertIn("good         encryption: the server is on this machine", said)

    def test_an_authority_that_is_not_known(self):
        self.serve("alien")
        engine = self.kept_out(self.url(), "certificate verify failed", "signed by a CA in the file of sslrootcert")
        self.serve("server")
        self.goes_on(engine)

    def test_a_certificate_that_has_expired(self):
        self.serve("expired")
        engine = self.kept_out(self.url(), "certificate verify failed", "has not expired")
        self.serve("server")
        self.goes_on(engine)

    def test_another_name(self):
        self.serve("renamed")
        engine = self.kept_out(
            self.url(),
            'server certificate for "db.other" does not match host name "db.test"',
            "expects the host of store.url to be a name in the certificate",
        )
        self.serve("server")
        self.goes_on(engine)

    def test_a_server_without_tls(self):
        self.serve(None)
        engine = self.kept_out(
            self.url("postgres"), "server does not support SSL", "the server has it off: set ssl = on"
        )
        engine.kill()

    def test_a_server_that_wants_tls(self):
        self.kept_out(
            self.url(sslmode="disable"), 'database "tls", no encryption', "lets nobody in without TLS from there"
        ).kill()

    def test_no_file_of_authorities(self):
        missing = self.folder / "none.pem"
        self.kept_out(
            self.url(sslrootcert=missing), f'root certificate file "{missing}" does not exist', "sslrootcert= names"
        ).kill()

    def test_a_certificate_of_the_client(self):
        self.let_in(self.client("client", sslpassword="canary-of-a-key"))
        self.kept_out(
            self.url("client"), "connection requires a valid client certificate", "sslcert= and sslkey= in store.url"
        ).kill()
        self.kept_out(self.client("stranger"), "alert unknown ca", "signed by a CA of its ssl_ca_file").kill()

    def test_connections_that_are_made_again(self):
        """The certificate is replaced by one that has expired, and then by a good one, while the engine runs."""
        engine = Engine(self.config, self.env(self.url()))
        self.addCleanup(engine.kill)
        engine.start()
        said = len(engine.log)
        self.serve("expired")
        self.postgres.query(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'sluice/ticketing%'"
        )
        self.says(engine, "certificate verify failed", "has not expired", said)
        self.serve("server")
        until(
            lambda: any("the database answers again" in line for line in list(engine.log)[said:]),
            "the engine to go on",
            WAIT_S,
        )
        until(lambda: engine.request("GET", "/readyz")[0] == 200, "the engine to be ready", WAIT_S)
        self.assertEqual(engine.stop(), 0)


if __name__ == "__main__":
    unittest.main()
