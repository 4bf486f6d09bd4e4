"""Headless Chromium, driven over the DevTools protocol through a pipe: opens pages, presses keys, takes pictures, and
keeps what the page asked of the network and what its console said.

    with Browser() as browser:
        browser.open(url)
        browser.wait("document.querySelector('h1') !== null", "a heading")
        browser.keys("j", "Enter", "Ctrl+Enter")
"""
import base64
import itertools
import json
import os
import pathlib
import select
import shutil
import subprocess
import tempfile
import time

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run --no-proxy-server"
    " --disable-background-networking --disable-component-update --disable-sync --disable-extensions --mute-audio"
    " --hide-scrollbars --remote-debugging-pipe"
)
# Names lead nowhere: what the browser looks up for itself is not there.
RESOLVER = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
SHIFT, CTRL = 8, 2
NAMED = {
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    "Tab": (9, ""),
    "ArrowDown": (40, ""),
    "ArrowLeft": (37, ""),
    "End": (35, ""),
    "Home": (36, ""),
    "Backspace": (8, ""),
    "Delete": (46, ""),
    " ": (32, " "),
}
WAIT_S = 30.0


class Browser:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-browser-", dir="/tmp"))
        self.numbers = itertools.count(1)
        self.buffer = b""
        self.session = None
        self.requests, self.said = [], []  # URLs; texts of errors, warnings and exceptions
        self.process = None

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()

    def start(self):
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        if program is None:
            raise AssertionError("there is no chromium: tests/deps installs it")
        self.net_log = self.folder / "net.json"
        self.errors = open(self.folder / "stderr", "wb")
        to_read, self.write = os.pipe()
        self.read, to_write = os.pipe()
        command = [program, *FLAGS.split(), RESOLVER, f"--user-data-dir={self.folder}/profile"]
        self.process = subprocess.Popen(
            ["sh", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "sh", *command, f"--log-net-log={self.net_log}"],
            pass_fds=(to_read, to_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            env={**os.environ, "HOME": str(self.folder)},
        )
        os.close(to_read)
        os.close(to_write)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(domain + ".enable")
        return self

    def close(self):
        """Ends it; net_log is whole then, until forget()."""
        if self.process is None:
            return
        try:
            self.session = None
            self.call("Browser.close")
            self.process.wait(WAIT_S)
        except Exception:
            self.process.kill()
            self.process.wait()
        os.close(self.write)
        os.close(self.read)
        self.errors.close()
        self.process = None
        self.network = self._network()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _network(self):
        """[(URL, who asked)] of everything that the browser asked for, itself included."""
        try:
            log = json.loads(self.net_log.read_text(errors="replace"))
        except (OSError, ValueError):
            return None
        asked = (event.get("params", {}) for event in log["events"])
        return [(params["url"], params.get("initiator")) for params in asked if "url" in params and "method" in params]

    # ------------------------------------------------------------------------------------------------- protocol

    def call(self, method, **params):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.write, data) :]
        end = time.monotonic() + 2 * WAIT_S
        while True:
            answer = self._message(end)
            if answer.get("id") == number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]
            self._event(answer)

    def _message(self, end):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.read], [], [], max(0.0, end - time.monotonic()))
            piece = os.read(self.read, 1 << 20) if ready else b""
            if not piece:
                said = (self.folder / "stderr").read_text(errors="replace")[-2000:]
                raise AssertionError(f"chromium does not answer; it said:\n{said}")
            self.buffer += piece
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def _event(self, event):
        params = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.said.append("exception: " + details.get("exception", {}).get("description", details["text"]))
        elif event.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.said.append(params["type"] + ": " + " ".join(str(one.get("value")) for one in params["args"]))
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.said.append(params["entry"]["source"] + ": " + params["entry"]["text"])

    # ---------------------------------------------------------------------------------------------------- pages

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'", f"the page {url}")

    def run(self, script):
        """The value of an expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise AssertionError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, script, what, limit_s=WAIT_S):
        """Until the expression is true; its value."""
        end = time.monotonic() + limit_s
        while True:
            value = self.run(script)
            if value:
                return value
            if time.monotonic() > end:
                said = f"{self.text()[:3000]}\n{self.said}"
                raise AssertionError(f"waited {limit_s} s in vain for {what}; the page says:\n{said}")
            time.sleep(0.1)

    def text(self, selector="body"):
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText")

    def wait_text(self, words, selector="body"):
        script = f"(document.querySelector({json.dumps(selector)})?.innerText || '').includes({json.dumps(words)})"
        self.wait(script, f"'{words}' in {selector}")

    def keys(self, *names):
        """Each: a character, a key's name, or either behind "Ctrl+" or "Shift+"."""
        for name in names:
            modifiers = 0
            for word, bit in (("Ctrl+", CTRL), ("Shift+", SHIFT)):
                if name.startswith(word) and len(name) > len(word):
                    name, modifiers = name[len(word) :], modifiers | bit
            code, text = NAMED.get(name, (ord(name.upper()) if len(name) == 1 else 0, name))
            key = {"key": name, "modifiers": modifiers, "windowsVirtualKeyCode": code}
            self.call("Input.dispatchKeyEvent", type="keyDown", **key, text="" if modifiers & CTRL else text)
            self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def focused(self):
        return self.run("document.activeElement.getAttribute('data-key') || document.activeElement.tagName")

    def size(self, width, height, dark=False):
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **screen)
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def shot(self, path, whole=False):
        image = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        pathlib.Path(path).write_bytes(base64.b64decode(image["data"]))
