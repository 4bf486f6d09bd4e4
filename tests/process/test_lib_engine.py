#!/usr/bin/env python3
"""tests/lib/engine.py while a worker process is started again: conditions that ask it wait on, and its port is known
once it is ready.

Run alone: python3 tests/process/test_lib_engine.py.
"""
import io
import socket
import threading
import types
import unittest

import _path
from lib.engine import Engine, until
from lib.kafka import KafkaTimeout

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nsluice_in_flight 7.0\n"


class Until(unittest.TestCase):
    def test_a_worker_that_dies_while_it_answers(self):
        """Before the head of its answer, in it, and in the body; then the next one answers."""
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve():
                for length in (0, 10, len(ANSWER) - 5, len(ANSWER)):
                    client, _ = server.accept()
                    with client:
                        client.recv(1000)
                        client.sendall(ANSWER[:length])

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            engine = Engine("none")
            engine.port = server.getsockname()[1]
            until(lambda: engine.metric("sluice_in_flight") == 7, "the answer")
            thread.join(10)

    def test_brokers_that_give_no_answer_in_time(self):
        answers = iter([KafkaTimeout("coordinator: TimeoutException: null"), 2])

        def coordinator():
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        self.assertEqual(until(coordinator, "a coordinator"), 2)

    def test_what_is_refused_for_ever_is_told(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        engine = Engine("none")
        engine.port = port
        with self.assertRaisesRegex(AssertionError, "in vain for the answer: .*refused"):
            until(lambda: engine.metric("sluice_in_flight") == 7, "the answer", 0.05)


class Port(unittest.TestCase):
    def test_it_is_that_of_the_worker_that_is_ready(self):
        """Whoever sees the line that says so asks the new one, not the one before."""
        engine = Engine("none")
        engine.began, seen = 0, []
        engine.log = types.SimpleNamespace(append=lambda line: seen.append((line[:5], engine.port)))
        lines = "ready: x after 5 ms; http on 127.0.0.1:81\nready: x after 6 ms; http on 127.0.0.1:82\n"
        engine._read(types.SimpleNamespace(stderr=io.StringIO(lines)))
        self.assertEqual(seen, [("ready", 81), ("ready", 82)])


if __name__ == "__main__":
    unittest.main()
