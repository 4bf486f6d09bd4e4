"""A TCP proxy that spoils connections on command: a network of a test's own.

    with Proxy("127.0.0.1", port) as proxy:
        connect(proxy.port)
        proxy.black_hole("down")     # what the server says is swallowed
        proxy.mend()

One thread carries all connections. A command has taken effect when its call returns.
"""
import collections
import contextlib
import queue
import random
import selectors
import socket
import struct
import threading
import time

CHUNK = 256 * 1024
MOST_WAITING = 4 * 1024 * 1024  # bytes that wait in one direction before no more are read
RESET = struct.pack("ii", 1, 0)
DIRECTIONS = {"both": ("up", "down"), "up": ("up",), "down": ("down",)}


class _Flow:
    """One direction of a connection."""

    def __init__(self, name, source, sink):
        self.name = name
        self.source = source
        self.sink = sink
        self.waiting = collections.deque()  # (when it is due, bytes)
        self.size = 0
        self.ended = False  # the source said that it is done
        self.closed = False  # and the sink was told
        self.stuck = False  # the buffer of the sink is full
        self.tail = b""  # the last bytes seen, for a pattern that two chunks share


class _Connection:
    def __init__(self, client, server):
        self.client, self.server = client, server
        self.flows = (_Flow("up", client, server), _Flow("down", server, client))
        self.lost = False  # bytes of it were swallowed
        self.matched = False  # its next reply is dropped
        self.draining = False  # the client is gone; the server may finish what it got


class Proxy:
    def __init__(self, target_host, target_port):
        self.target = (target_host, target_port)
        self.connections = 0
        self.bytes_up = 0
        self.bytes_down = 0
        self.dropped = 0  # replies that drop_reply_after() kept back
        self.given_up = 0  # connections that lost bytes in a black hole, and that the client has closed since
        self._open = []
        self._swallowed = ()
        self._delay_s = 0.0
        self._slice = (0, 0.0)
        self._pattern, self._times = b"", 0
        self._selector = selectors.DefaultSelector()
        self._masks = {}
        self._commands = queue.SimpleQueue()
        self._listener = None
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self.port = 0
        self._listen()
        self._ending = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- commands

    def cut(self):
        """Closes all connections and refuses new ones, until mend()."""
        self._do(self._cut)

    def mend(self):
        """Ends what cut() and black_hole() began. Connections that lost bytes are reset, for nobody can use them."""
        self._do(self._mend)

    def heal(self):
        """Ends all that disturbs bytes; connections of this moment may be reset."""
        self.delay(0)
        self.slice(0)
        self.drop_reply_after(b"", 0)
        self.mend()

    def reset(self):
        """Closes the connections of this moment with a RST to both sides."""
        self._do(lambda: [self._drop(one, RESET) for one in list(self._open)])

    def black_hole(self, direction="both"):
        """Swallows what is sent that way, ends of connections too; sockets stay, new ones come in. Until mend()."""
        self._do(lambda: setattr(self, "_swallowed", DIRECTIONS[direction]))

    def delay(self, ms):
        """Each byte from now on arrives that much later, each way; 0 ends it."""
        self._do(lambda: setattr(self, "_delay_s", ms / 1000))

    def slice(self, size, pause_ms=0):
        """Sends pieces of so many bytes, a pause between any two; 0 ends it."""
        self._do(lambda: setattr(self, "_slice", (size, pause_ms / 1000)))

    def drop_reply_after(self, pattern, count=1):
        """Forwards what holds the pattern to the server, then drops what the server says next and closes the
        connection: it was done, and the client cannot know. For the next `count` connections that send it."""
        self._do(lambda: self.__dict__.update(_pattern=bytes(pattern), _times=count))

    @property
    def open(self):
        """How many connections are open now."""
        return len(self._open)

    def close(self):
        if self._thread.is_alive():
            self._do(self._end)
            self._thread.join()
            self._wake.close()

    def _do(self, command):
        done = queue.SimpleQueue()
        self._commands.put((command, done))
        self._wake.send(b"x")
        failure = done.get()
        if failure:
            raise failure

    # ---- what only the thread does

    def _listen(self):
        """Below the ports that connections get for themselves, so that it is free again after a cut."""
        for _ in range(200):
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port = self.port or random.randrange(20000, 32000)
            try:
                listener.bind(("127.0.0.1", port))
                listener.listen(128)
                break
            except OSError:
                listener.close()
                if self.port:
                    time.sleep(0.01)
        else:
            raise OSError("no port to listen on")
        listener.setblocking(False)
        self.port, self._listener = port, listener
        self._selector.register(listener, selectors.EVENT_READ)

    def _cut(self):
        if self._listener:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None
        for one in list(self._open):
            self._drop(one)

    def _mend(self):
        self._swallowed = ()
        for one in list(self._open):
            if one.lost:
                self._drop(one, RESET)
        if self._listener is None:
            self._listen()

    def _end(self):
        self._cut()
        self._ending = True

    def _watch(self, sock, mask):
        if self._masks.get(sock, 0) == mask:
            return
        if mask == 0:
            self._selector.unregister(sock)
            del self._masks[sock]
            return
        (self._selector.modify if sock in self._masks else self._selector.register)(sock, mask)
        self._masks[sock] = mask

    def _release(self, sock, linger=None):
        self._watch(sock, 0)
        with contextlib.suppress(OSError):
            if linger:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        sock.close()

    def _drop(self, connection, linger=None):
        if connection in self._open:
            self._open.remove(connection)
            if not connection.draining:
                self._release(connection.client, linger)
            self._release(connection.server, linger)

    def _accept(self):
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        self.connections += 1
        try:
            server = socket.create_connection(self.target, timeout=2)
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
            return
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.append(_Connection(client, server))

    def _read(self, connection, flow):
        try:
            data = flow.source.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self.given_up += connection.lost and flow.name == "up"
            self._drop(connection, RESET)
            return
        self.given_up += connection.lost and flow.name == "up" and not data
        if flow.name in self._swallowed:
            connection.lost = True
            flow.ended = flow.ended or not data
            return
        if not data:
            flow.ended = True
        elif flow.name == "up":
            self.bytes_up += len(data)
            self._match(connection, flow, data)
        else:
            if connection.matched:
                self._keep_back(connection)
                return
            self.bytes_down += len(data)
        self._queue(flow, data)

    def _match(self, connection, flow, data):
        if self._times > 0 and not connection.matched:
            seen = flow.tail + data
            if self._pattern in seen:
                self._times -= 1
                connection.matched = True
            flow.tail = seen[-(len(self._pattern) - 1) :] if len(self._pattern) > 1 else b""

    def _keep_back(self, connection):
        if connection.draining:
            return
        self.dropped += 1
        connection.draining = True
        self._release(connection.client)
        up = connection.flows[0]
        up.ended = True  # the server finishes what it has got, and then sees the end

    def _queue(self, flow, data):
        if not data:
            return
        size, pause_s = self._slice
        due = time.monotonic() + self._delay_s if self._delay_s else 0.0
        for at in range(0, len(data), size or len(data)):
            if size and pause_s:
                due = max(due, time.monotonic() + self._delay_s, flow.waiting[-1][0] + pause_s if flow.waiting else 0.0)
            flow.waiting.append((due, data[at : at + (size or len(data))]))
        flow.size += len(data)

    def _write(self, connection, flow, now):
        flow.stuck = False
        while flow.waiting and flow.waiting[0][0] <= now:
            due, data = flow.waiting[0]
            try:
                sent = flow.sink.send(data)
            except BlockingIOError:
                flow.stuck = True
                return
            except OSError:
                self._drop(connection, RESET)
                return
            flow.size -= sent
            if sent < len(data):
                flow.waiting[0] = (due, data[sent:])
            else:
                flow.waiting.popleft()
        if flow.ended and not flow.waiting and not flow.closed and flow.name not in self._swallowed:
            flow.closed = True
            with contextlib.suppress(OSError):
                flow.sink.shutdown(socket.SHUT_WR)

    def _settle(self, connection):
        """What it waits for next; returns when its next bytes are due, or None."""
        up, down = connection.flows
        if down.closed and (up.closed or connection.draining) or connection.draining and down.ended:
            self._drop(connection)
            return None
        masks = {}
        for flow in connection.flows:
            gone = connection.draining and flow.source is connection.client
            if not flow.ended and not gone and flow.size < MOST_WAITING:
                masks[flow.source] = masks.get(flow.source, 0) | selectors.EVENT_READ
            if flow.stuck:
                masks[flow.sink] = masks.get(flow.sink, 0) | selectors.EVENT_WRITE
        for sock in {connection.client, connection.server} - ({connection.client} if connection.draining else set()):
            self._watch(sock, masks.get(sock, 0))
        return min((flow.waiting[0][0] for flow in connection.flows if flow.waiting and not flow.stuck), default=None)

    def _run(self):
        ready = set()
        while not self._ending:
            now, soonest = time.monotonic(), None
            for connection in list(self._open):
                for flow in connection.flows:
                    if flow.source in ready and connection in self._open and not flow.ended:
                        self._read(connection, flow)
                for flow in connection.flows:
                    if connection in self._open and not (connection.draining and flow.name == "down"):
                        self._write(connection, flow, now)
                due = self._settle(connection) if connection in self._open else None
                soonest = due if soonest is None else min(soonest, due if due is not None else soonest)
            timeout = None if soonest is None else max(0.0, soonest - time.monotonic())
            ready = {key.fileobj for key, _ in self._selector.select(timeout)}
            if self._woken in ready:
                self._woken.recv(1)
                command, done = self._commands.get()
                failure = None
                try:
                    command()
                except Exception as problem:  # the caller's to see
                    failure = problem
                done.put(failure)
            if self._listener in ready:
                self._accept()
        self._selector.close()
        self._woken.close()
