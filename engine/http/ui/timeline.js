/*
 * timeline.js - the events of one correlation in the order of time, what became of each, and what it waits for.
 */
const QUICK_MS = 500; /* a timeline that takes longer to read is read again only when asked for */
const timeline = { took_ms: 0, said: "", read_at: 0 };

timeline.show = (view, route) => {
    Object.assign(timeline, { said: "", took_ms: 0, read_at: 0, correlation: route.rest[0] || "" });
    timeline.body = h("div", { class: "timeline" });
    timeline.note = h("p", { class: "note", role: "status" }, timeline.correlation ? "Reading the topics…" : "");
    paint(
        view,
        h(
            "div",
            { class: "head" },
            h("h1", {}, "Timeline"),
            timeline.correlation ? code(timeline.correlation, 128) : null,
        ),
        timeline.note,
        timeline.body,
    );
    by("find").value = timeline.correlation;
    if (!timeline.correlation)
        paint(
            timeline.body,
            h(
                "p",
                { class: "calm" },
                "Find a correlation, as a payment's id, or an event's id: press ",
                h("kbd", {}, "/"),
                ".",
            ),
        );
};

timeline.refresh = async (asks) => {
    const asked = state.route;
    if (!timeline.correlation || (!asks && timeline.took_ms > QUICK_MS)) return;
    const began = performance.now();
    try {
        const found = await get("/correlations/" + segment(timeline.correlation));
        timeline.took_ms = performance.now() - began;
        if (state.route !== asked || isMarked(timeline.body)) return;
        const said = JSON.stringify(found);
        timeline.note.textContent =
            timeline.took_ms > QUICK_MS
                ? "Read in " + duration(timeline.took_ms / 1000) + "; press r to read it again."
                : "";
        if (said === timeline.said) return;
        timeline.said = said;
        timelinePaint(found);
    } catch (error) {
        if (state.route !== asked || error.word === "away") return;
        timeline.took_ms = QUICK_MS + 1;
        timeline.note.textContent = error.message;
    }
};

function timelinePaint(found) {
    const begin = found.events.length > 0 ? found.events[0].timestamp : 0;
    paint(
        timeline.body,
        found.chain ? timelineChain(found) : null,
        timelineWhy(found),
        found.events.length === 0
            ? h(
                  "p",
                  { class: "calm" },
                  "Nothing on this pipeline's topics carries it: it is no value of an event's data, and no event's id.",
              )
            : h(
                  "ol",
                  { class: "events" },
                  found.events.map((event, i) => timelineEvent(event, begin, found.events[i - 1])),
              ),
    );
}

function timelineChain(found) {
    const [word] = found.chainState.split(":");
    const undone =
        found.chainDoings > 0 && word !== "running" && word !== "complete"
            ? found.chainUndos + " of " + plural(found.chainDoings, "done step") + " undone"
            : null;
    return h(
        "p",
        { class: "lead" },
        "Chain ",
        h(
            "a",
            {
                href: "#/chains" + query({ chain: found.chain, state: word === "complete" ? "running" : word }),
                "data-key": "chain",
            },
            text(found.chain),
        ),
        " ",
        chip(word, CHAIN_TONES[word]),
        found.chainReason ? [" ", text(found.chainReason, { class: "dim" })] : null,
        undone ? [" · ", undone] : null,
        found.chainOlderDefinition ? " · by the definition that it began with" : null,
    );
}

/* What it waits for that no event of it has, and what could not be read. */
function timelineWhy(found) {
    const lines = (found.waits || []).map((wait) => ["waits", timelineCause(wait)]);
    if (found.incomplete) lines.push(["partial", text(found.incomplete, {}, 600)]);
    const line = ([word, words]) =>
        h("li", {}, h("div", {}, h("span", { class: "mark warn" }, word), h("span", { class: "words" }, words)));
    return lines.length === 0 ? null : h("ul", { class: "attention" }, lines.map(line));
}

/* A cause as `explain --why` says it, and the command that moves it. */
function timelineCause(wait) {
    return [
        text(wait.text, {}, 600),
        wait.until ? [" ", age(wait.until)] : null,
        wait.command ? [h("br"), code(wait.command, 300)] : null,
    ];
}

function dayOf(event) {
    return new Date(event.timestamp).toISOString().slice(0, 10);
}

function timelineEvent(event, begin, before) {
    const failed = event.deadLetter || event.stuck || event.handled.some((one) => one.outcome === "dead letter");
    const waits = timelineWaits(event);
    const tone = failed
        ? "bad"
        : waits.length > 0
          ? "warn"
          : event.handled.length > 0 || event.elsewhere.length > 0
            ? "good"
            : "";
    const when = new Date(event.timestamp);
    const day = dayOf(event);
    return h(
        "li",
        {
            class: tone,
            tabindex: "0",
            "data-row": event.eventId + event.timestamp,
            "data-key": "event " + event.topic + event.eventId + event.timestamp,
        },
        h(
            "div",
            { class: "at" },
            before && day === dayOf(before) ? null : h("span", { class: "dim" }, day + " UTC"),
            h("time", { datetime: when.toISOString(), title: when.toISOString() }, when.toISOString().slice(11, 23)),
            h("span", { class: "dim" }, "+" + since(event.timestamp - begin)),
        ),
        h(
            "div",
            { class: "what" },
            h(
                "p",
                {},
                text(event.topic, { class: "strong" }),
                " ",
                event.deadLetter ? chip("dead letter topic", "bad") : null,
                event.handled.map((one) =>
                    h(
                        "span",
                        { class: "ended" },
                        text(one.handler, { class: "handler" }),
                        " → ",
                        chip(shown(one.outcome), one.outcome === "dead letter" ? "bad" : "good"),
                    ),
                ),
                event.elsewhere.map((topic) => h("span", { class: "ended" }, "elsewhere → ", text(topic))),
                event.copies > 1 ? chip("on the topic " + event.copies + "×") : null,
            ),
            event.reason ? h("p", { class: "because" }, text(event.reason, {}, 600)) : null,
            waits.map((line) => h("p", { class: "waits" }, line)),
            event.tries > 0 ? h("p", { class: "dim" }, "tried ", plural(event.tries, "time")) : null,
            event.why ? h("p", { class: "because" }, text(event.why, {}, 600)) : null,
            event.replayOf
                ? h(
                      "p",
                      { class: "dim" },
                      "replay " + event.replays + " of ",
                      h("a", { href: "#/dead-letters/" + event.replayedLetter }, "dead letter " + event.replayedLetter),
                  )
                : null,
            event.deadLetters.map((one) =>
                h(
                    "p",
                    {},
                    h(
                        "a",
                        { href: "#/dead-letters/" + one.id, "data-key": "letter " + one.id + event.topic },
                        "dead letter " + one.id,
                    ),
                    " ",
                    chip(one.state, one.state === "open" ? "bad" : ""),
                ),
            ),
            h(
                "p",
                { class: "dim small" },
                code(event.eventId, 128),
                event.parent ? [" from ", code(event.parent, 128)] : null,
            ),
        ),
    );
}

function since(ms) {
    return ms < 10000 ? number(ms) + " ms" : duration(ms / 1000);
}

function timelineWaits(event) {
    const lines = [];
    if (event.stuck) lines.push("waits for a person: its undo failed");
    if (event.waits?.length > 0) return [...lines, ...event.waits.map(timelineCause)];
    if (event.stuck) return lines;
    if (event.held && event.held.before > 0)
        lines.push("waits behind " + plural(event.held.before, "event") + " of its key");
    else if (event.held) lines.push(["holds its key; next try ", event.held.until ? age(event.held.until) : "now"]);
    else if (event.parkedUntil) lines.push(["waits for its time, ", age(event.parkedUntil)]);
    for (const pause of event.paused) lines.push(pauseWords(pause));
    return lines;
}
