/*
 * attention.js - what waits or failed, as sentences, the worst first; and the four numbers.
 */
const STALE_S = 30; /* a group has handled nothing for so long, and has something to read */
const attention = { reasons: [], paused: [], moved_s: new Map() };

/* [{tone, words, href}] */
function attentionLines() {
    const lines = [];
    const add = (tone, href, ...words) => lines.push({ tone, href, words });
    for (const reason of attention.reasons) add("bad", null, text(reason, {}, 600));
    attentionLetters(add);
    const stuck = metric("sluice_chains_stuck") || 0;
    if (stuck > 0)
        add(
            "bad",
            "#/chains?state=stuck",
            plural(stuck, "chain is", "chains are"),
            " stuck: an undo failed and waits for a person",
        );
    const refused = metric("sluice_outbox_refused") || 0;
    if (refused > 0)
        add(
            "bad",
            null,
            plural(refused, "batch", "batches"),
            " of outputs are refused by the brokers; sluice.outbox says why",
        );
    attentionDependencies(add);
    for (const pause of attention.paused) add("warn", "#/pauses", ...pauseWords(pause));
    for (const one of series("sluice_limit_waiting_keys"))
        if (one.value > 0)
            add(
                "warn",
                null,
                plural(one.value, "key waits", "keys wait"),
                " for the limit of ",
                text(one.labels.topic),
            );
    const keys = metric("sluice_held_keys") || 0;
    if (keys > 0)
        add(
            "warn",
            "#/delayed?state=key",
            plural(keys, "key is", "keys are"),
            " held, with ",
            plural(metric("sluice_held_events") || 0, "event"),
            ", for ",
            duration(metric("sluice_held_oldest_seconds") || 0),
        );
    const unknown = metric("sluice_parked_unknown") || 0;
    if (unknown > 0)
        add(
            "warn",
            "#/delayed?state=unknown",
            plural(unknown, "event waits", "events wait"),
            " for topics that the file does not have",
        );
    const outbox_s = metric("sluice_outbox_oldest_seconds") || 0;
    if (outbox_s > 10) add("warn", null, "The oldest committed output has not been published for ", duration(outbox_s));
    attentionLag(add);
    return lines;
}

function attentionLetters(add) {
    const open = series("sluice_dead_letters_open")
        .filter((one) => one.value > 0)
        .sort((a, b) => b.value - a.value);
    for (const one of open.slice(0, 4))
        add(
            "bad",
            "#/dead-letters" + query({ topic: one.labels.topic }),
            plural(one.value, "dead letter"),
            " of ",
            one.labels.topic ? text(one.labels.topic) : "topics that the file does not have",
        );
    if (open.length > 4)
        add("bad", "#/dead-letters", "and more dead letters of ", plural(open.length - 4, "other topic"));
}

/* Breakers, where the file has dependencies. */
function attentionDependencies(add) {
    for (const one of series("sluice_dependency_state"))
        if (one.value > 0 && !attention.paused.some((pause) => pause.name === one.labels.dependency))
            add(
                "warn",
                null,
                "dependency ",
                text(one.labels.dependency),
                one.value === 1
                    ? " is tried with one event: its breaker is half-open"
                    : " is not called: its breaker is open",
            );
}

/* A group that has something to read and has handled nothing for a while. */
function attentionLag(add) {
    const now_s = performance.now() / 1000;
    for (const one of series("sluice_lag")) {
        const { group } = one.labels,
            moves = one.value === 0 || perSecond("sluice_batches_total", { group }) > 0;
        if (moves || !attention.moved_s.has(group)) attention.moved_s.set(group, now_s);
        const idle_s = now_s - attention.moved_s.get(group);
        if (idle_s > STALE_S)
            add(
                "warn",
                null,
                "group ",
                text(group),
                " has ",
                plural(one.value, "unread record"),
                " and has handled nothing for ",
                duration(idle_s),
            );
    }
}

function attentionList() {
    const lines = attentionLines();
    if (lines.length === 0)
        return h(
            "p",
            { class: "calm" },
            h("span", { class: "dot good", "aria-hidden": "true" }),
            "Nothing failed, and nothing waits for a person.",
        );
    return h(
        "ul",
        { class: "attention" },
        lines.map(({ tone, href, words }, i) => {
            const mark = h("span", { class: "mark " + tone }, tone === "bad" ? "failed" : "waits");
            const line = h("span", { class: "words" }, words);
            return h(
                "li",
                {},
                href
                    ? h(
                          "a",
                          { href, "data-key": "attention" + i },
                          mark,
                          line,
                          h("span", { class: "go", "aria-hidden": "true" }, "→"),
                      )
                    : h("div", {}, mark, line),
            );
        }),
    );
}

/* ------------------------------------------------------------------------------------------------------- numbers */

function curve() {
    const points = metrics.history,
        most = Math.max(...points, 1);
    const at = (value, i) =>
        ((i + HISTORY - points.length) * 100) / (HISTORY - 1) + "," + (23 - (value / most) * 21).toFixed(1);
    const drawing = svg("svg", {
        viewBox: "0 0 100 24",
        preserveAspectRatio: "none",
        class: "curve",
        "aria-hidden": "true",
    });
    if (points.length > 1) drawing.append(svg("polyline", { points: points.map(at).join(" ") }));
    return drawing;
}

function stat(label, value, unit, tone, href, more) {
    const inner = [
        h("span", { class: "label" }, label),
        h("span", { class: "figure " + (tone || "") }, value, unit ? h("small", {}, unit) : null),
        more,
    ];
    return href
        ? h("a", { class: "stat", href, "data-key": "stat " + label }, inner)
        : h("div", { class: "stat" }, inner);
}

function numbers() {
    const handled = perSecond("sluice_events_total", {});
    const letters = metric("sluice_dead_letters_open");
    const waiting =
        metric("sluice_parked") === null ? null : (metric("sluice_parked") || 0) + (metric("sluice_held_events") || 0);
    const lag = metric("sluice_lag");
    const shape = (value) => (value === null ? "–" : number(value));
    return [
        stat("Handled", handled === null ? "…" : rate(handled), " /s", handled > 0 ? "" : "quiet", null, curve()),
        stat(
            "Unread",
            shape(lag),
            "",
            lag > 0 ? "" : "quiet",
            null,
            h("span", { class: "note" }, "records on the bus"),
        ),
        stat(
            "Waiting",
            shape(waiting),
            "",
            waiting > 0 ? "" : "quiet",
            "#/delayed",
            h("span", { class: "note" }, "delayed or held"),
        ),
        stat(
            "Dead letters",
            shape(letters),
            "",
            letters > 0 ? "bad" : "quiet",
            "#/dead-letters",
            h("span", { class: "note" }, "neither replayed nor dropped"),
        ),
    ];
}
