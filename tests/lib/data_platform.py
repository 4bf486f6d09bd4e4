"""A data platform for the tap of the reference pipeline: takes all that it is sent, and knows the ids."""
import http.server
import json
import threading


class DataPlatform(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        self.ids = set()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(handler):
                events = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
                self.ids.update(event["eventId"] for event in events)
                handler.send_response(200)
                handler.send_header("Content-Length", "0")
                handler.end_headers()

            def log_message(handler, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
