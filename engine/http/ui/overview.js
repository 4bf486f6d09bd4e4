/*
 * overview.js - the first view: what needs somebody, the numbers, the map, taps, chains and groups.
 */
const overview = { shown: "" };

function overviewShow(view) {
    overview.attention = h("section", { "aria-label": "What waits or failed" });
    overview.numbers = h("section", { class: "stats", "aria-label": "Numbers" });
    overview.map = h("section", { "aria-label": "Pipeline" });
    overview.rest = h("div", { class: "rest" });
    overview.shown = "";
    paint(
        view,
        h("h1", { class: "unseen" }, "Overview"),
        overview.attention,
        overview.numbers,
        overview.map,
        overview.rest,
    );
    overviewUpdate();
}

function overviewUpdate() {
    if (!state.pipeline) return;
    const lines = attentionList(),
        key = lines.textContent.replace(/\d+ (s|min|h|days)\b/g, "");
    if (overview.shown !== key || !overview.attention.firstChild) {
        overview.shown = key;
        paint(overview.attention, lines);
    }
    paint(overview.numbers, numbers());
    const graph = JSON.stringify({ ...state.pipeline, paused: null });
    if (map.graph !== graph) {
        map.graph = graph;
        mapMake(state.pipeline);
    }
    if (map.element.parentNode !== overview.map) overview.map.replaceChildren(h("h2", {}, "Pipeline"), map.element);
    mapUpdate();
    paint(overview.rest, tapsTable(), groupsTable(), dependenciesTable(), chainsTable());
}

function table(caption, heads, rows) {
    return h(
        "section",
        {},
        h("h2", {}, caption),
        h(
            "table",
            { class: "plain" },
            h(
                "thead",
                {},
                h(
                    "tr",
                    {},
                    heads.map(([name, kind]) => h("th", { scope: "col", class: kind || "" }, name)),
                ),
            ),
            h("tbody", {}, rows),
        ),
    );
}

function cells(...values) {
    return h(
        "tr",
        {},
        values.map(([label, value, kind]) => h("td", { class: kind || "", "data-label": label }, value)),
    );
}

function tapsTable() {
    const { taps } = state.pipeline;
    if (taps.length === 0) return null;
    const paused = new Set(attention.paused.filter((pause) => pause.kind === "tap").map((pause) => pause.name));
    const row = (tap) => {
        const group = [...series("sluice_lag")].find(
            (one) => one.labels.group.endsWith("." + tap.name) || one.labels.group === tap.name,
        );
        return cells(
            ["Tap", [h("strong", {}, text(tap.name)), paused.has(tap.name) ? chip("paused", "warn") : null]],
            ["Handler", text(tap.handler, { class: "handler" })],
            ["Topics", text(tap.topics.join("  "), { class: "dim" })],
            ["Handled /s", rate(perSecond("sluice_events_total", { handler: tap.name + "/" + tap.handler })), "n"],
            ["Unread", group ? number(group.value) : "–", "n"],
        );
    };
    return table("Taps", [["Tap"], ["Handler"], ["Topics"], ["Handled /s", "n"], ["Unread", "n"]], taps.map(row));
}

function groupsTable() {
    const names = [...new Set(series("sluice_batches_total").map((one) => one.labels.group))];
    if (names.length === 0) return null;
    const row = (group) => {
        const batches = perSecond("sluice_batch_seconds_count", { group }),
            seconds = perSecond("sluice_batch_seconds_sum", { group });
        return cells(
            ["Group", h("strong", {}, text(group))],
            ["Partitions", number(metric("sluice_partitions", { group }) || 0), "n"],
            ["Unread", number(metric("sluice_lag", { group }) || 0), "n"],
            ["In flight", number(metric("sluice_in_flight", { group }) || 0), "n"],
            ["Keys that wait", number(metric("sluice_waiting_keys", { group }) || 0), "n"],
            ["Batch takes", batches > 0 ? ((seconds / batches) * 1000).toFixed(1) + " ms" : "–", "n"],
        );
    };
    return table(
        "Consumer groups",
        [
            ["Group"],
            ["Partitions", "n"],
            ["Unread", "n"],
            ["In flight", "n"],
            ["Keys that wait", "n"],
            ["Batch takes", "n"],
        ],
        names.map(row),
    );
}

/* Breakers. */
function dependenciesTable() {
    const { dependencies } = state.pipeline;
    if (dependencies.length === 0) return null;
    const words = ["closed", "half-open", "open"],
        tones = ["good", "warn", "bad"];
    const row = (dependency) => {
        const now = metric("sluice_dependency_state", { dependency: dependency.name }) || 0;
        return cells(
            ["Dependency", h("strong", {}, text(dependency.name))],
            ["Breaker", chip(words[now], tones[now])],
            [
                "Opens after",
                plural(dependency.failures, "failure") + " in " + duration(dependency.windowMs / 1000),
                "n",
            ],
            ["For", duration(dependency.openMs / 1000), "n"],
        );
    };
    return table(
        "Dependencies",
        [["Dependency"], ["Breaker"], ["Opens after", "n"], ["For", "n"]],
        dependencies.map(row),
    );
}

function chainsTable() {
    const { chains } = state.pipeline;
    if (chains.length === 0) return null;
    const row = (chain) =>
        cells(
            [
                "Chain",
                h(
                    "a",
                    { href: "#/chains" + query({ chain: chain.name }), "data-key": "chain " + chain.name },
                    text(chain.name),
                ),
            ],
            [
                "Steps",
                chain.steps.map((step, i) => [
                    i > 0 ? h("span", { class: "dim" }, " · ") : null,
                    text(step.done),
                    h("span", { class: "dim" }, step.undo ? " ⤺ " + step.undo : " (nothing to undo)"),
                ]),
            ],
            ["Undone on", text(chain.abortOn.join("  "), { class: "dim" })],
        );
    return table("Chains", [["Chain"], ["Steps"], ["Undone on"]], chains.map(row));
}
