"""An OpenTelemetry collector of the tests' own: takes OTLP/HTTP in JSON, holds each request to the rules of the
format, and keeps the spans. `answers` says what it answers instead of 200, one after the other; `hold` keeps it from
answering."""
import contextlib
import http.server
import json
import re
import socket
import ssl
import threading

from lib.engine import until

KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


class BadRequest(Exception):
    pass


def expect(holds, what):
    if not holds:
        raise BadRequest(what)


def attributes(listed):
    """OTLP's list of attributes as a dict; 64-bit integers are texts there."""
    found = {}
    for one in listed:
        expect(set(one) == {"key", "value"} and len(one["value"]) == 1, f"attribute {one}")
        kind, value = next(iter(one["value"].items()))
        expect(kind in ("stringValue", "intValue"), f"attribute {one}")
        expect(isinstance(value, str), f"attribute {one}: no text")
        expect(one["key"] not in found, f"attribute {one['key']} twice")
        expect(len(value.encode()) <= 256, f"attribute {one['key']} has {len(value)} characters")
        found[one["key"]] = int(value) if kind == "intValue" else value
    return found


def is_id(text, digits):
    return isinstance(text, str) and re.fullmatch(f"[0-9a-f]{{{digits}}}", text) and set(text) != {"0"}


class Span:
    def __init__(self, told, resource):
        known = {"traceId", "spanId", "parentSpanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano"}
        expect(not set(told) - known - {"attributes", "links", "status"}, f"unknown members in {told}")
        expect(is_id(told["traceId"], 32) and is_id(told["spanId"], 16), f"ids of {told}")
        expect("parentSpanId" not in told or is_id(told["parentSpanId"], 16), f"parent of {told}")
        expect(told["kind"] in KINDS and told["name"], f"kind or name of {told}")
        for time in ("startTimeUnixNano", "endTimeUnixNano"):
            expect(isinstance(told[time], str) and re.fullmatch(r"\d{19}", told[time]), f"{time} of {told}")
        self.trace, self.id, self.parent = told["traceId"], told["spanId"], told.get("parentSpanId")
        self.name, self.kind = told["name"], KINDS[told["kind"]]
        self.began, self.ended = int(told["startTimeUnixNano"]), int(told["endTimeUnixNano"])
        expect(self.began <= self.ended, f"{self.name} ends before it begins")
        self.attributes = attributes(told["attributes"])
        self.resource = resource
        self.links = []
        for link in told.get("links", []):
            expect(is_id(link["traceId"], 32) and is_id(link["spanId"], 16), f"link {link}")
            self.links.append((attributes(link["attributes"])["sluice.link"], link["traceId"], link["spanId"]))
        status = told["status"]
        expect(status == {} or (status["code"] == 2 and isinstance(status["message"], str)), f"status {status}")
        self.error = status.get("message") if status else None

    def __repr__(self):
        return f"<{self.name} {self.id} of {self.parent} {self.attributes.get('sluice.outcome')} {self.links}>"


def spans_of(body):
    request = json.loads(body)
    expect(set(request) == {"resourceSpans"}, "more than resourceSpans")
    found = []
    for resource in request["resourceSpans"]:
        of = attributes(resource["resource"]["attributes"])
        for scope in resource["scopeSpans"]:
            expect(scope["scope"]["name"] == "sluice" and scope["scope"]["version"], f"scope {scope['scope']}")
            found += [Span(one, of) for one in scope["spans"]]
    return found


class Collector:
    def __init__(self, tls=None):
        self.lock = threading.Lock()
        self.spans, self.requests, self.wrong = [], [], []
        self.answers = []  # (status, headers, body), one for each of the next requests
        self.hold = threading.Event()
        self.hold.set()
        self.tls = tls
        self.connections = []
        self.port = 0
        self.server = None

    def start(self):
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                collector.connections.append(self.connection)

            def do_POST(self):
                collector.take(self)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.1,), daemon=True)
        self.thread.start()
        return self

    def stop(self):
        """It is gone; start() brings it back on the same port."""
        self.hold.set()
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.thread.join()
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self.connections.clear()
        self.server = None

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def take(self, request):
        body = request.rfile.read(int(request.headers["Content-Length"]))
        if request.path == "/events":  # the data platform, which takes everything
            self.reply(request, 200, {}, b"{}")
            return
        self.hold.wait(60)
        with self.lock:
            self.requests.append((request.path, dict(request.headers)))
            status, headers, answer = self.answers.pop(0) if self.answers else (200, {}, b"{}")
            try:
                expect(request.headers["Content-Type"] == "application/json", "content type")
                found = spans_of(body)
                if status == 200:
                    self.spans += found
            except (BadRequest, KeyError, ValueError) as error:
                self.wrong.append(f"{error!r} in {body[:2000]!r}")
        self.reply(request, status, headers, answer)

    @staticmethod
    def reply(request, status, headers, answer):
        request.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(answer), **headers}.items():
            request.send_header(name, str(value))
        request.end_headers()
        request.wfile.write(answer)

    def clear(self):
        with self.lock:
            self.spans, self.requests, self.wrong, self.answers = [], [], [], []

    def find(self, **wanted):
        """Spans with this name, trace, handler, outcome …; an attribute's dots are underscores."""
        with self.lock:
            spans = list(self.spans)

        def value(span, key):
            dotted = {name.replace(".", "_"): at for name, at in span.attributes.items()}
            return getattr(span, key, None) if hasattr(span, key) else dotted.get(key, dotted.get(f"sluice_{key}"))

        return [span for span in spans if all(value(span, key) == want for key, want in wanted.items())]

    def await_span(self, limit_s=30.0, **wanted):
        def found():
            return self.find(**wanted)

        try:
            return until(found, f"a span with {wanted}", limit_s, 0.05)[0]
        except AssertionError as error:
            raise AssertionError(f"{error}; there are {self.spans}, wrong: {self.wrong}") from None

    def await_trace(self, count, limit_s=30.0, **wanted):
        """All spans of the trace of the span that is described, once there are `count` of them."""
        trace = self.await_span(limit_s, **wanted).trace
        try:
            until(lambda: len(self.find(trace=trace)) >= count, f"{count} spans of trace {trace}", limit_s, 0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}; there are {self.find(trace=trace)}") from None
        return sorted(self.find(trace=trace), key=lambda span: span.began)


def tree_faults(spans, roots=1):
    """What is wrong with the spans as one tree: ids twice, parents and links to spans that there are not."""
    ids = [span.id for span in spans]
    faults = [f"{one} is told twice" for one in set(ids) if ids.count(one) > 1]
    for span in spans:
        if span.parent is not None and span.parent not in ids:
            faults.append(f"{span} has no parent")
        faults += [f"{span} links to nothing: {link}" for link in span.links if link[2] not in ids]
    if sum(span.parent is None for span in spans) != roots:
        faults.append(f"not {roots} roots: {[span for span in spans if span.parent is None]}")
    return faults
