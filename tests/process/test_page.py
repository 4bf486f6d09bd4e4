#!/usr/bin/env python3
"""/ui: what it shows of a running engine and what is done with it, in headless Chromium, mostly by keys alone.

Run alone: python3 tests/process/test_page.py [-k NAME].
"""
import json
import unittest

import _path
from lib.engine import ROOT, until
from page_case import TOKEN, PageCase

PAGE_MAX = 150 * 1024
RATE = "document.querySelector('.card[aria-label=\"topic {}\"] .rate').textContent"
CONTROLS = ("button", "link", "textbox", "searchbox", "combobox", "checkbox")


class Page(PageCase):
    def audit(self):
        return self.rows("select act, object, coalesce(reason, ''), actor from sluice.audit order by id")

    def test_overview(self):
        self.show(token=None)
        self.browser.wait_text("Nothing failed, and nothing waits", "main")
        for card in ("POST /orders", "in", "out", "paid", "refund"):
            self.assertIn(card, self.browser.run("[...document.querySelectorAll('.card h3')].map(h => h.textContent)"))
        self.assertGreaterEqual(self.browser.run("document.querySelectorAll('.lines path').length"), 2)

        def moves():
            for n in range(1, 20):
                self.running.request("POST", "/orders", {"k": f"k{n}", "seq": n})
            return self.browser.run(RATE.format("out") + " !== '0 /s'")

        until(moves, "a rate on the map", 30, 0.5)
        self.browser.wait(RATE.format("in") + " !== '0 /s'", "the handler's rate")
        self.fail_some(3)
        self.browser.wait_text("3 dead letters of in", "main")
        self.stuck_chain()
        self.browser.wait_text("1 chain is stuck", "main")
        self.assertIn("Dead letters3", self.browser.text("#views").replace("\n", ""))
        self.browser.keys("j")  # a key that has nothing to move here does nothing
        self.assertEqual(self.browser.text("h1"), "Overview")

    def test_a_dead_letter_edited_and_replayed_by_keys(self):
        self.fail_some(2)
        self.show()
        self.browser.keys("2")
        self.browser.wait_text("the gate is closed", "main")
        self.browser.keys("j", "j")
        self.assertEqual(self.browser.focused(), "row 1")
        self.browser.keys("Enter")
        self.browser.wait_text("Dead letter 1", "h1")
        self.browser.wait_text('"seq": 1', "pre")
        self.browser.keys("e")
        self.browser.wait("document.activeElement.id === 'data'", "the data to be edited")
        self.assertEqual(json.loads(self.browser.run("document.activeElement.value")), {"k": "k0", "seq": 1})
        self.browser.run("document.activeElement.select()")
        self.browser.type('{"k": "k0", "seq": 12345678901234567890}')
        self.browser.keys("Ctrl+Enter")
        self.browser.wait_text("field 'seq'", "[role=alert].note")
        self.browser.run("document.activeElement.select()")
        self.browser.type('{"k": "k0", "seq": 9007199254740993}')  # no double holds it
        self.browser.keys("Ctrl+Enter")
        self.browser.wait_text("9007199254740993", "pre")
        self.browser.wait_text("Value, edited", "main")
        self.browser.keys("r")
        self.browser.wait("document.activeElement.name === 'why'", "the reason's field")
        self.browser.type("mended by hand")
        self.browser.keys("Enter")
        self.await_value("select count(*) from effects where seq = 9007199254740993", 1)
        self.browser.wait_text("replayed", ".lead")
        self.browser.keys("Escape")
        self.browser.wait_text("Dead letters", "h1")
        self.browser.wait("document.querySelectorAll('tbody tr').length === 1", "one row less")
        self.assertEqual(
            self.audit(),
            [
                ["dead-letter edit", "1", "", "http 127.0.0.1"],
                ["dead-letter replay", "1", "mended by hand", "http 127.0.0.1"],
            ],
        )

    def test_all_replayed_and_one_dropped(self):
        self.fail_some(4)
        self.show("#/dead-letters?topic=in")
        self.browser.wait_text("the gate is closed", "main")
        self.browser.keys("j", "x")
        self.browser.wait_text("Drop dead letter 4", "dialog")
        self.browser.keys("Enter")
        self.await_value("select state from sluice.dead_letter where id = 4", 2)
        self.browser.wait("document.querySelectorAll('tbody tr').length === 3", "one row less")
        self.click("Replay all of these")
        self.browser.wait_text("every open dead letter with topic in", "dialog")
        self.browser.keys("Enter")
        self.browser.wait_text("3 dead letters were replayed", "#said")
        self.await_value("select count(*) from effects", 3)
        self.browser.wait_text("No dead letter matches the filter", "main")

    def test_a_chain_resumed_and_its_timeline(self):
        self.stuck_chain()
        self.show("#/chains")
        self.browser.wait_text("stuck", "tbody")
        self.browser.keys("j", "Enter")
        self.browser.wait_text("Timeline", "h1")
        self.browser.wait_text("waits for a person", "ol.events")
        said = self.browser.text("ol.events")
        for word in ("paid", "failed", "refund", "the carrier lost it", "the gate is closed"):
            self.assertIn(word, said)
        self.open_gate()
        self.browser.keys("3")
        self.browser.wait_text("stuck", "tbody")
        self.browser.keys("j", "r")
        self.browser.wait_text("Resume chain order", "dialog")
        self.browser.keys("Enter")
        self.await_value("select count(*) from effects", 1)
        self.browser.keys("/")
        self.browser.type("c1")
        self.browser.keys("Enter")
        self.browser.wait_text("gate.pass → done", "ol.events")
        self.browser.wait_text("undone", ".lead")

    def test_pause_and_resume(self):
        self.show("#/pauses")
        self.browser.wait_text("Nothing is paused", "main")
        self.browser.keys("p")
        self.browser.wait("document.activeElement.name === 'name'", "what to pause")
        self.browser.keys("Tab")
        self.browser.type("1h")
        self.browser.keys("Tab")
        self.browser.type("a deploy")
        self.browser.keys("Enter")
        self.browser.wait_text("a deploy", "tbody")
        until(lambda: self.running.metric("sluice_paused") == 1, "a pause")
        self.browser.keys("1")
        self.browser.wait_text("topic in is paused by http 127.0.0.1", "main")
        self.browser.wait_text("paused", "[aria-label='topic in']")
        self.emit("in", self.event({"k": "a", "seq": 1}))
        self.await_value("select count(*) from sluice.held", 1)
        self.browser.keys("4")
        self.browser.wait_text("held key", "tbody")
        self.assertNotRegex(self.browser.text("tbody"), r"in \d+ d|now")  # it is due when somebody resumes it
        self.browser.keys("5")
        self.browser.wait_text("a deploy", "tbody")
        self.browser.keys("j", "r")
        self.browser.wait_text("Resume topic in", "dialog")
        self.browser.keys("Enter")
        self.browser.wait_text("Nothing is paused", "main")
        self.await_value("select count(*) from effects", 1)

    def test_waiting_events_released_and_cancelled(self):
        self.stuck_chain("c1")
        self.show("#/delayed")
        self.browser.wait_text("stuck undo", "tbody")
        self.browser.keys("j", "l")
        self.browser.wait_text("Its chain is resumed", "dialog")
        self.browser.keys("Enter")
        until(lambda: ["chain resume"] == [row[0] for row in self.audit()], "a chain resumed")
        self.await_value("select count(*) from sluice.parked where state = 1", 1)
        self.browser.wait_text("stuck undo", "tbody")
        self.browser.keys("j", "x")
        self.browser.wait_text("It becomes a dead letter", "dialog")
        self.browser.keys("Enter")
        self.await_value("select count(*) from sluice.dead_letter where state = 0", 1)

    def test_what_waits_for_a_limit(self):
        self.running.kill()
        self.use(
            self.yaml.replace(
                '{key: "{k}", handler: gate.pass, routes: {done: out}}',
                '{key: "{k}", handler: gate.pass, limit: {rate: 2/h}, routes: {done: out}}',
            ),
            migrate=False,
        )
        self.running = self.engine()
        self.site = f"http://127.0.0.1:{self.running.port}"
        self.emit("in", *(self.event({"k": f"k{n}", "seq": n}) for n in range(1, 8)))
        self.show(token=None)
        self.browser.wait_text("for the limit of in", "main")
        self.browser.wait_text("≤ 2/h", "[aria-label='topic in']")
        self.browser.wait_text("over the limit", "[aria-label='topic in']")
        last = self.value(
            "select h.k from (select 'k' || n as k from generate_series(1, 7) n) h"
            " where h.k not in (select k from effects) limit 1"
        )
        self.browser.run(f"location.hash = '#/timeline/{last}'")
        self.browser.wait_text("the limit of topic in", "ol.events")

    def test_read_only_without_the_token(self):
        self.fail_some(1)
        self.show("#/dead-letters/1", token=None)
        self.browser.wait_text("Read-only.", "main")
        self.browser.wait_text("Read-only", "#authority")
        self.browser.keys("r", "x", "e")
        self.assertFalse(self.browser.run("document.getElementById('dialog').open"))
        for place in ("dead-letters", "chains", "delayed", "pauses"):
            self.browser.run(f"location.hash = '#/{place}'")
            self.browser.wait_text("Read-only.", "main")
            self.assertEqual(self.browser.run("document.querySelectorAll('[data-act]').length"), 0)
        self.browser.keys("t")
        self.browser.wait("document.activeElement.name === 'token'", "the token's field")
        self.browser.type("wrong")
        self.browser.keys("Enter")
        self.browser.wait_text("refuses this token", "dialog")
        self.assertEqual(self.browser.run("sessionStorage.length"), 0)
        self.browser.run("document.activeElement.form.token.value = ''; document.querySelector('[name=token]').focus()")
        self.browser.type(TOKEN)
        self.browser.keys("Enter")
        self.browser.wait_text("Can act", "#authority")
        self.browser.wait_text("Pause something", "main")
        for url in [*self.browser.requests, self.browser.run("location.href")]:
            self.assertNotIn(TOKEN[:-2], url)
        self.assertEqual(self.browser.run("localStorage.length + document.cookie.length"), 0)

    def test_without_a_token_in_the_file(self):
        self.running.kill()
        self.running = self.engine(env={"HTTP_TOKEN": ""})
        self.site = f"http://127.0.0.1:{self.running.port}"
        self.show("#/pauses", token=None)
        self.browser.wait_text("http.token is not set in the pipeline", "main")

    def test_where_other_machines_reach_it(self):
        """The page comes without the token, and shows nothing of the engine before it has one."""
        self.running.kill()
        self.use(self.yaml.replace("${HTTP_LISTEN:-127.0.0.1:0}", "0.0.0.0:0"), migrate=False)
        self.running = self.engine()
        self.browser.open(f"http://127.0.0.1:{self.running.port}/ui")
        self.browser.wait_text("shows nothing without its token", "#away")
        self.assertEqual(self.browser.text("#pipeline") + self.browser.text("main"), "")
        self.click("Enter the token")
        self.browser.wait("document.activeElement.name === 'token'", "the token's field")
        self.browser.type(TOKEN)
        self.browser.keys("Enter")
        self.browser.wait_text("letters", "#pipeline")
        self.browser.wait_text("Nothing failed", "main")

    def test_an_engine_that_is_away(self):
        self.show(token=None)
        self.browser.wait_text("Nothing failed", "main")
        self.running.kill()
        self.browser.wait_text("The engine has not answered since", "#away")
        self.browser.wait_text("Away", "#health")
        self.assertIn("in", self.browser.run("[...document.querySelectorAll('.card h3')].map(h => h.textContent)"))

    def test_keys_and_names(self):
        """Every control has a name, the focus can be seen, and single keys can be turned off."""
        self.fail_some(1)
        self.show()
        self.browser.keys("?")
        self.browser.wait_text("next and previous row", "dialog")
        self.browser.run("document.querySelector('dialog [type=checkbox]').click()")
        self.browser.keys("Escape")
        self.browser.wait("!document.getElementById('dialog').open", "the help to close")
        self.browser.keys("2")
        self.assertEqual(self.browser.text("h1"), "Overview")
        for place in ("", "dead-letters", "dead-letters/1", "chains", "delayed", "pauses", "timeline/k0"):
            self.browser.run(f"location.hash = '#/{place}'")
            self.browser.wait(f"location.hash === '#/{place}' && document.querySelector('h1') !== null", place)
            nodes = self.browser.call("Accessibility.getFullAXTree")["nodes"]
            for node in nodes:
                if node.get("role", {}).get("value") in CONTROLS:
                    self.assertTrue(node.get("name", {}).get("value", "").strip(), (place, node))
        self.browser.keys("Tab", "Tab")
        style = "getComputedStyle(document.activeElement)"
        self.assertEqual(self.browser.run(style + ".outlineStyle"), "solid")

    def test_narrow_screens(self):
        self.fail_some(2)
        self.stuck_chain()
        self.show()
        for dark in (False, True):
            self.browser.size(375, 700, dark)
            for place in ("", "dead-letters", "dead-letters/1", "chains", "delayed", "pauses", "timeline/c1"):
                self.browser.run(f"location.hash = '#/{place}'")
                self.browser.wait(f"location.hash === '#/{place}' && document.querySelector('h1') !== null", place)
                wide = self.browser.run("document.documentElement.scrollWidth")
                self.assertLessEqual(wide, 375, place)


class Size(unittest.TestCase):
    def test_size(self):
        page = (ROOT / "build/ui/ui.html").read_bytes()
        self.assertLessEqual(len(page), PAGE_MAX)
        self.assertIn(b"@media (prefers-color-scheme: dark)", page)
        for word in (b"innerHTML", b"outerHTML", b"insertAdjacent", b"document.write", b"eval(", b"new Function"):
            self.assertNotIn(word, page)


if __name__ == "__main__":
    unittest.main(verbosity=2)
