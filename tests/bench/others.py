"""Events of other keys through HTTP, at a steady rate: what they notice of something that goes on beside them. What
counts is the time from the request to the event's row in the table `effects`."""
import http.client
import json
import statistics
import threading
import time

from stage import until

RATE, WARM_S = 50, 3


def share(numbers, part):
    numbers = sorted(numbers)
    return numbers[min(len(numbers) - 1, int(len(numbers) * part))]


def words(times):
    return f"p50 {statistics.median(times):.1f}  p99 {share(times, .99):.1f}  max {max(times):.1f}"


class Others:
    """One series of them, on a thread of its own until stop(); `seconds`: it stops by itself."""

    def __init__(self, stage, engine, name, seconds=3600):
        self.stage, self.engine, self.name, self.seconds = stage, engine, name, seconds
        self.count, self.over = 0, threading.Event()
        self.thread = threading.Thread(target=self._post, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        self.over.set()
        self.wait()

    def wait(self):
        self.thread.join()

    def _post(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.engine.port, timeout=60)
        began = time.monotonic()
        while self.count < self.seconds * RATE:
            if self.over.wait(max(0.0, began + self.count / RATE - time.monotonic())):
                break
            self.count += 1
            body = {"k": f"{self.name}-{self.count}", "origin": f"{time.time():.6f}", "seq": self.count}
            connection.request("POST", "/event", json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            assert response.status == 200, response.status
        connection.close()

    def times(self, since=0.0):
        """In ms, of those sent after `since` (time.time()) and after the first seconds."""
        mine = f"from effects where k like '{self.name}-%'"
        until(lambda: int(self.stage.sql(f"select count(*) {mine}")) == self.count, "the others", 60)
        found = self.stage.sql(
            f"select extract(epoch from at) * 1000 - origin::float8 * 1000 {mine} and seq > {WARM_S * RATE}"
            f" and origin::float8 >= {since}"
        )
        return [float(line) for line in found.split()]
