#!/usr/bin/env python3
"""The proxy that spoils connections: each of its commands against plain sockets.

Run alone: python3 tests/process/test_proxy.py
"""
import os
import socket
import threading
import time
import unittest

import _path
from lib.engine import until
from lib.proxy import Proxy


class Echo:
    """Sends back what it gets, and keeps all of it."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.got, self.ends, self.resets, self.pieces, self.connections = b"", 0, 0, [], []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            try:
                while data := connection.recv(1 << 20):
                    self.got += data
                    self.pieces.append(len(data))
                    connection.sendall(data)
                self.ends += 1
            except OSError:
                self.resets += 1

    def close(self):
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()


class Commands(unittest.TestCase):
    def setUp(self):
        self.echo = Echo()
        self.addCleanup(self.echo.close)
        self.proxy = Proxy("127.0.0.1", self.echo.port)
        self.addCleanup(self.proxy.close)

    def connect(self):
        sock = socket.create_connection(("127.0.0.1", self.proxy.port), timeout=5)
        self.addCleanup(sock.close)
        return sock

    def say(self, sock, data=b"hello"):
        """Sends and returns what comes back: all of it, or less when the connection ends."""
        sock.sendall(data)
        return self.take(sock, len(data))

    @staticmethod
    def take(sock, size):
        got = b""
        while len(got) < size and (data := sock.recv(size - len(got))):
            got += data
        return got

    def assert_silent(self, sock, seconds=0.1):
        sock.settimeout(seconds)
        with self.assertRaises(TimeoutError):
            sock.recv(1)
        sock.settimeout(5)

    def test_plain(self):
        data = os.urandom(3_000_000)
        sock = self.connect()
        threading.Thread(target=sock.sendall, args=(data,)).start()
        self.assertTrue(self.take(sock, len(data)) == data)
        self.assertEqual(self.proxy.connections, 1)
        self.assertEqual((self.proxy.bytes_up, self.proxy.bytes_down), (len(data), len(data)))
        self.proxy.delay(30)
        sock.sendall(b"last")
        sock.shutdown(socket.SHUT_WR)
        self.assertEqual(self.take(sock, 100), b"last")  # half a connection goes on
        until(lambda: self.echo.ends == 1 and self.proxy.open == 0, "the end on both sides")

    def test_slow_reader_holds_the_sender(self):
        sock = self.connect()
        sock.settimeout(0.3)
        with self.assertRaises(TimeoutError):
            for _ in range(150):
                sock.sendall(b"x" * 1_000_000)

    def test_no_server(self):
        self.echo.close()
        with self.assertRaises(ConnectionResetError):
            self.connect().recv(1)
        self.echo = Echo()
        self.addCleanup(self.echo.close)
        self.proxy.target = ("127.0.0.1", self.echo.port)
        self.assertEqual(self.say(self.connect()), b"hello")

    def test_cut(self):
        sock, port = self.connect(), self.proxy.port
        self.say(sock)
        self.proxy.cut()
        self.assertEqual(self.proxy.open, 0)
        self.assertEqual(sock.recv(1), b"")
        until(lambda: self.echo.ends == 1, "the server's end")
        with self.assertRaises(ConnectionRefusedError):
            self.connect()
        self.proxy.mend()
        self.assertEqual(self.proxy.port, port)
        self.assertEqual(self.say(self.connect()), b"hello")

    def test_reset(self):
        sock = self.connect()
        self.say(sock)
        self.proxy.reset()
        with self.assertRaises(ConnectionResetError):
            sock.recv(1)
        until(lambda: self.echo.resets == 1, "the server's reset")
        self.assertEqual(self.say(self.connect()), b"hello")

    def test_black_hole(self):
        sock = self.connect()
        self.say(sock, b"1")
        self.proxy.black_hole()
        sock.sendall(b"2")
        self.assert_silent(sock)
        late = self.connect()
        late.sendall(b"3")
        self.assert_silent(late)
        self.assertEqual((self.echo.got, self.proxy.open), (b"1", 2))
        self.proxy.mend()
        for lost in (sock, late):
            with self.assertRaises(ConnectionResetError):
                lost.recv(1)
        self.assertEqual(self.say(self.connect()), b"hello")

    def test_black_hole_swallows_ends(self):
        sock = self.connect()
        self.say(sock)
        self.proxy.black_hole()
        sock.close()
        time.sleep(0.1)
        self.assertEqual((self.echo.ends, self.echo.resets), (0, 0))

    def test_black_hole_down(self):
        sock = self.connect()
        self.proxy.black_hole("down")
        sock.sendall(b"heard")
        self.assert_silent(sock)
        self.assertEqual(self.echo.got, b"heard")

    def test_black_hole_up(self):
        sock, quiet = self.connect(), self.connect()
        self.say(sock, b"1")
        self.say(quiet, b"2")
        self.proxy.black_hole("up")
        sock.sendall(b"unheard")
        self.assert_silent(sock)
        for connection in self.echo.connections:
            connection.sendall(b"news")
        self.assertEqual([self.take(sock, 4), self.take(quiet, 4)], [b"news", b"news"])
        self.proxy.mend()
        self.assertEqual(self.echo.got, b"12")
        self.assertEqual(self.say(quiet), b"hello")  # it lost nothing

    def test_delay(self):
        sock = self.connect()
        self.proxy.delay(200)
        began = time.monotonic()
        self.say(sock)
        self.assertGreaterEqual(time.monotonic() - began, 0.4)
        began = time.monotonic()
        for n in range(5):  # under way at the same time
            sock.sendall(b"x")
            time.sleep(0.01)
        self.assertEqual(self.take(sock, 5), b"xxxxx")
        self.assertLess(time.monotonic() - began, 0.7)
        self.proxy.delay(0)
        began = time.monotonic()
        self.say(sock)
        self.assertLess(time.monotonic() - began, 0.3)

    def test_drop_reply_after(self):
        self.proxy.drop_reply_after(b"COMMIT")
        sock = self.connect()
        self.assertEqual(self.say(sock, b"BEGIN"), b"BEGIN")
        self.assertEqual(self.say(sock, b"COM"), b"COM")
        sock.sendall(b"MIT!")
        self.assertEqual(sock.recv(100), b"")
        self.assertEqual((self.echo.got, self.proxy.dropped), (b"BEGINCOMMIT!", 1))
        until(lambda: self.echo.ends == 1 and self.proxy.open == 0, "the server's end")
        self.assertEqual(self.say(self.connect(), b"COMMIT"), b"COMMIT")  # it was for one connection

    def test_drop_replies_of_two(self):
        self.proxy.drop_reply_after(b"COMMIT", count=2)
        self.assertEqual([self.say(self.connect(), b"COMMIT") for _ in range(3)], [b"", b"", b"COMMIT"])
        self.assertEqual(self.proxy.dropped, 2)

    def test_slice(self):
        sock = self.connect()
        self.proxy.slice(3, pause_ms=60)
        self.assertEqual(self.say(sock, b"0123456789"), b"0123456789")
        self.assertEqual(self.echo.pieces, [3, 3, 3, 1])
        self.proxy.slice(1)
        self.assertEqual(self.say(sock, b"x" * 5000), b"x" * 5000)
        self.proxy.slice(0)
        self.echo.pieces.clear()
        self.assertEqual(self.say(sock, b"0123456789"), b"0123456789")
        self.assertEqual(self.echo.pieces, [10])

    def test_close(self):
        sock = self.connect()
        self.say(sock)
        self.proxy.close()
        self.proxy.close()
        self.assertEqual(sock.recv(1), b"")
        with self.assertRaises(ConnectionRefusedError):
            self.connect()
        self.assertFalse(self.proxy._thread.is_alive())


if __name__ == "__main__":
    unittest.main()
