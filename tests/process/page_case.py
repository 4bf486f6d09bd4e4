"""/ui in headless Chromium: one browser for a file's tests, an engine with something of everything to show for each."""
import unittest

from dead_letter_case import DeadLetterCase
from lib.browser import Browser

TOKEN = "dG9wLXNlY3JldA=="
YAML = """
pipeline: letters
bus: {kind: postgres, partitions: 2}
store: {url: "${DATABASE_URL}"}
engine: {lanes: 2}
plugins: {gate: {library: "${GATE_SO}"}}
topics:
  in: {key: "{k}", handler: gate.pass, routes: {done: out}}
  out: {key: "{k}", final: true}
  paid: {key: "{k}", final: true}
  failed: {key: "{k}", final: true}
  refund: {key: "{k}", handler: gate.pass, routes: {done: drop}}
chains:
  order: {correlate: k, steps: [{name: pay, done: paid, undo: refund}], abort_on: [failed]}
taps:
  watch: {topics: [in], handler: gate.watch, routes: {done: drop}}
http:
  listen: "${HTTP_LISTEN:-127.0.0.1:0}"
  token: "${HTTP_TOKEN:-}"
  max_body: 4MiB
  requests: {"POST /orders": {handler: gate.post, routes: {done: in}}}
"""
MARK = "Array.from(document.querySelectorAll('{}')).some(one => one.textContent.includes({}))"


class PageCase(DeadLetterCase):
    yaml = YAML
    env = {**DeadLetterCase.env, "HTTP_TOKEN": TOKEN}
    shared = None  # the file's browser

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if PageCase.shared is None:
            PageCase.shared = Browser().start()
            unittest.addModuleCleanup(PageCase.end_browser)

    @classmethod
    def end_browser(cls):
        if PageCase.shared is not None:
            PageCase.shared.close()
        PageCase.shared = None

    def setUp(self):
        super().setUp()
        self.browser = PageCase.shared
        self.browser.run("try { sessionStorage.clear() } catch {}")
        self.browser.open("about:blank")
        self.browser.requests.clear()
        self.browser.said.clear()
        self.browser.size(1280, 900)
        self.running = self.engine()
        self.site = f"http://127.0.0.1:{self.running.port}"

    def show(self, place="#/", token=TOKEN):
        """Opens the page, and types the token into it as a person would."""
        self.browser.open("about:blank")
        self.browser.open(self.site + "/ui" + place)
        self.browser.wait_text("letters", "#pipeline")
        if token:
            self.browser.keys("t")
            self.browser.wait("document.activeElement.name === 'token'", "the token's field")
            self.browser.type(token)
            self.browser.keys("Enter")
            self.browser.wait_text("Can act", "#authority")
            self.browser.wait("!document.getElementById('dialog').open", "the dialog to close")
            self.browser.wait("!document.querySelector('.readonly')", "a view with what may be done")

    def click(self, words, selector="button"):
        found = MARK.format(selector, repr(words))
        self.browser.wait(found, f"a {selector} '{words}'")
        self.browser.run(found.replace(".some(", ".find(") + ".click()")

    def stuck_chain(self, correlation="c1"):
        """Its undo fails while the gate is closed."""
        self.close()
        self.emit("paid", self.event({"k": correlation, "seq": 1}))
        self.await_value("select count(*) from sluice.chain", 1)
        self.emit("failed", self.event({"k": correlation, "reason": "the carrier lost it"}))
        self.await_value("select count(*) from sluice.parked where state = 1", 1)
