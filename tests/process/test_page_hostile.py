#!/usr/bin/env python3
"""/ui against what others wrote: events full of markup, of characters that hide and turn text, of bytes that are no
UTF-8, and of a mebibyte; and where the page's requests go.

Run alone: python3 tests/process/test_page_hostile.py [-k NAME].
"""
import json
import unittest

import _path
from lib.engine import until
from page_case import PageCase

MARKUP = (
    "\"><img src=x onerror=window.hit=1><script>window.hit=1</script><svg onload=window.hit=1>'"
    "{{7*7}}`${window.hit=1}`"
)
SET = "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'set' } catch { return 'refused' } })()"
ADD = "(() => {{ const e = document.createElement('{}'); e.append('{}'); document.body.append(e) }})()"
# A line separator, a turn to the left, a zero-width space, a byte order mark, a NUL-like picture, an emoji of parts.
HIDDEN = "a\u2028b\u202ec\u200bd\ufeffe\u2066f\u061cg\u0085"
LARGE = 1024 * 1024 - 200  # with what stands around it: the most that an event may have
# An element, an attribute or an address that came of an event's bytes.
FOREIGN = (
    "[...document.querySelectorAll('img, iframe, object, embed, script, link, base, meta, style, form, a')].filter(e =>"
    " e.closest('head') === null && !(e.tagName === 'SCRIPT' && e === document.scripts[0]) &&"
    " !['search'].includes(e.id) && !e.classList.contains('filters') && !e.closest('dialog') &&"
    " !(e.tagName === 'A' && (e.getAttribute('href') || '').startsWith('#'))).map(e => e.outerHTML)"
)
HANDLERS = "[...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => /^on/i.test(a.name))).length"


class Hostile(PageCase):
    def check(self, place):
        self.assertIsNone(self.browser.run("window.hit ?? null"), place)
        self.assertEqual(self.browser.run(FOREIGN), [], place)
        self.assertEqual(self.browser.run(HANDLERS), 0, place)

    def see(self, place, *words, selector="main"):
        self.browser.run(f"location.hash = {json.dumps('#/' + place)}")
        for word in words:
            self.browser.wait_text(word, selector)
        self.check(place)

    def test_markup_and_hidden_characters(self):
        self.close()
        event_id = "<img/src=x/onerror=window.hit=1>"  # printable ASCII: an id may be that
        data = {"k": "<b onclick=window.hit=1>k</b>", "seq": 1, MARKUP: MARKUP, "hidden": HIDDEN}
        self.emit("in", {"eventId": event_id, "data": data})
        self.emit("in", json.dumps({"eventId": "x", "data": {"k": HIDDEN}}, ensure_ascii=False))
        self.emit("in", MARKUP, b'{"eventId":"y","data":{"k":"\xff\xfe\xed\xa0\x80<script>window.hit=1</script>"}}')
        self.await_value("select count(*) from sluice.dead_letter", 7)  # the tap takes the first
        self.running.request(
            "POST", "/pauses", {"name": "in", "why": MARKUP}, {"Authorization": "Bearer " + self.env["HTTP_TOKEN"]}
        )
        self.emit("paid", self.event({"k": MARKUP[:100], "seq": 1}))
        self.emit("failed", self.event({"k": MARKUP[:100], "reason": MARKUP}))
        self.await_value("select count(*) from sluice.parked where state = 1", 1)
        self.show()
        self.see("", "is paused", "<img src=x onerror")
        self.see("dead-letters", "<b onclick=window.hit=1>k</b>", "‹202E›")
        letters = {}
        for number in range(1, 8):
            self.see(f"dead-letters/{number}", f"Dead letter {number}")
            self.browser.wait("document.querySelector('pre') !== null", "the value")
            self.check(f"dead letter {number}")
            letters[number] = self.browser.text("pre")
        shown = "\n".join(letters.values())
        self.assertIn("<script>window.hit=1</script>", shown)
        self.assertTrue(any("‹202E›" in text and "‹2028›" in text for text in letters.values()), shown)
        for text in letters.values():
            for character in "\u2028\u202e\u200b\u2066\u061c\x85":
                self.assertNotIn(character, text)
        self.see("chains", "<img src=x onerror")
        self.see("delayed", "stuck undo")
        self.see("pauses", "<img src=x onerror")
        self.see("timeline/" + MARKUP[:100].replace("%", "%25"), "")
        self.see("timeline/" + "".join(f"%{byte:02X}" for byte in event_id.encode()), "gate.pass", selector="ol.events")
        self.see("timeline/" + "".join(f"%{byte:02X}" for byte in MARKUP[:100].encode()), "stuck", selector="main")
        self.browser.keys("2", "j", "e")
        self.check("the end")
        self.assertEqual(self.browser.run(SET), "refused")
        violations = [line for line in self.browser.said if "Content Security Policy" in line]
        self.assertEqual([line for line in violations if "TrustedHTML" not in line], [])

    def test_a_mebibyte(self):
        self.close()
        self.emit("in", self.event({"k": "large", "seq": 1, "text": "<i>" + "x" * LARGE + "</i>"}))
        self.await_value("select count(*) from sluice.dead_letter", 1)
        self.show()
        self.see("dead-letters/1", "Show all of it")
        self.assertLess(self.browser.run("document.querySelector('pre').textContent.length"), 100 * 1024)
        self.click("Show all of it")
        self.assertGreater(self.browser.run("document.querySelector('pre').textContent.length"), LARGE)
        self.check("a large value")
        self.browser.keys("e")
        self.browser.wait("document.activeElement.id === 'data'", "the data to be edited")
        self.browser.run("document.activeElement.value = document.activeElement.value.replace(/x{100,}/, 'short')")
        self.browser.keys("Ctrl+Enter")
        self.browser.wait_text("<i>short</i>", "pre")

    def test_a_script_that_is_not_the_page_s_own(self):
        self.show(token=None)
        run = self.browser.run
        run(ADD.format("script", "window.hit = 1"))
        self.assertIsNone(run("window.hit ?? null"))
        run(ADD.format("style", "body { color: red }"))
        self.assertNotEqual(run("getComputedStyle(document.body).color"), "rgb(255, 0, 0)")
        refused = run("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')")
        self.assertEqual(refused, "refused")
        said = self.browser.said
        for word in ("TrustedScript", "style-src", "connect-src"):  # whose refusal it was
            self.assertTrue(any(word in line for line in said), (word, said))

    def test_nothing_leaves_the_machine(self):
        """Every request of the page goes to the engine; after it the file's browser ends and its own log is read."""
        self.fail_some(1)
        self.show()
        for place in ("dead-letters", "dead-letters/1", "chains", "delayed", "pauses", "timeline/k0", ""):
            self.see(place)
            self.browser.wait("document.querySelector('h1') !== null", place)
        self.browser.wait_text("1 dead letter of in", "main")
        asked = set(self.browser.requests)
        self.assertTrue(any(url.endswith("/metrics") for url in asked), asked)
        others = [url for url in asked if not url.startswith((self.site + "/", "about:", "data:image/svg+xml"))]
        self.assertEqual(others, [])
        requests = len(self.browser.requests)
        self.browser.call("Emulation.setScriptExecutionDisabled", value=False)
        until(lambda: self.browser.run("1") and len(self.browser.requests) > requests, "another look", 20, 0.2)
        browser, PageCase.shared = PageCase.shared, None
        browser.close()
        self.assertIsNotNone(browser.network, "the browser wrote no log of its network")
        ours = [(url, who) for url, who in browser.network if who not in (None, "not an origin")]
        self.assertGreater(len(ours), 5)
        for url, who in ours:
            self.assertTrue(url.startswith("http://127.0.0.1:") or url.startswith("data:"), (url, who))
        self.setUpClass()  # another browser for the tests that follow


if __name__ == "__main__":
    unittest.main(verbosity=2)
