/*
 * map.js - the pipeline as a map: a card a topic, in columns from what starts events to what ends them, and a line from
 * each outcome to where it goes. On a narrow screen the cards stand below each other, and an outcome names its topic.
 *
 * The cards are made once for a graph; each second only their numbers change.
 */
const map = { graph: "", cards: new Map(), lines: [], element: null };

/* {name → {title, kind, handler, rows: [{outcome, to, note}]}} of topics, and of what starts events. */
function mapNodes(pipeline) {
    const nodes = new Map();
    const rows = (routes) => Object.entries(routes || {}).flatMap(([outcome, to]) => mapRows(outcome, to));
    for (const request of pipeline.requests)
        if (Object.values(request.routes || {}).some(Boolean))
            nodes.set("request " + request.request, {
                title: request.request,
                kind: "request",
                handler: request.handler,
                series: request.request,
                rows: rows(request.routes),
            });
    for (const schedule of pipeline.schedules)
        nodes.set("schedule " + schedule.name, {
            title: schedule.name,
            kind: "schedule",
            handler: schedule.handler,
            series: schedule.name + "/" + schedule.handler,
            rows: rows(schedule.routes),
        });
    for (const topic of pipeline.topics)
        nodes.set(topic.name, {
            title: topic.name,
            kind: "topic",
            topic: topic.name,
            final: topic.final,
            handler: topic.handler,
            retries: topic.retriesOf,
            needs: topic.dependency,
            limit: topic.limit,
            after: topic.after,
            rows: rows(topic.routes),
        });
    for (const chain of pipeline.chains)
        for (const abort of chain.abortOn)
            for (const step of chain.steps)
                if (step.undo && nodes.has(abort))
                    nodes.get(abort).rows.push({ outcome: chain.name, to: step.undo, undo: true });
    for (const chain of pipeline.chains)
        for (const timer of chain.timers)
            nodes.get(timer.from)?.rows.push({
                outcome: "timer",
                to: timer.emit,
                note: "after " + duration(timer.afterMs / 1000),
                timer: true,
            });
    for (const node of nodes.values())
        node.shared = [...nodes.values()].filter(
            (one) => one.handler && one.handler === node.handler && !one.retries,
        ).length;
    return nodes;
}

function mapRows(outcome, to) {
    if (to === null) return [{ outcome, to: null }];
    if (typeof to === "string") return [{ outcome, to }];
    if (Array.isArray(to)) return to.flatMap((one) => mapRows(outcome, one));
    if (to.retry)
        return [
            { outcome, to: to.retry, note: "≤ " + to.maxRetries + "×" },
            { outcome: "exhausted", to: to.exhausted },
        ];
    return [{ outcome, to: to.topic || null, note: to.delayMs ? "after " + duration(to.delayMs / 1000) : undefined }];
}

/* The column of each: one more than that of what leads to it. Lines that lead back do not count. */
function mapColumns(nodes) {
    const column = new Map(),
        open = new Set();
    const into = new Map([...nodes.keys()].map((name) => [name, []]));
    for (const [name, node] of nodes) for (const row of node.rows) if (into.has(row.to)) into.get(row.to).push(name);
    const place = (name) => {
        if (column.has(name)) return column.get(name);
        if (open.has(name)) return -1;
        open.add(name);
        const value = Math.max(-1, ...into.get(name).map(place)) + 1;
        open.delete(name);
        column.set(name, value);
        return value;
    };
    nodes.forEach((_, name) => place(name));
    const columns = [];
    for (const [name, at] of column) (columns[at] = columns[at] || []).push(name);
    const order = new Map();
    for (const names of columns) {
        const weight = (name) => {
            const before = into.get(name).filter((one) => order.has(one));
            return before.length === 0 ? 1e6 : before.reduce((sum, one) => sum + order.get(one), 0) / before.length;
        };
        const weights = new Map(names.map((name) => [name, weight(name)]));
        names.sort((a, b) => weights.get(a) - weights.get(b));
        names.forEach((name, i) => order.set(name, i));
    }
    return columns;
}

function mapCard(name, node) {
    const card = {
        rate: h("span", { class: "rate" }),
        together: h("span", { class: "rate" }),
        badges: h("span", { class: "badges" }),
        rows: [],
        node,
    };
    const word =
        node.kind === "topic"
            ? node.final
                ? "final"
                : node.retries
                  ? "retries of " + node.retries
                  : node.handler
                    ? ""
                    : "watched only"
            : node.kind;
    card.element = h(
        "article",
        {
            class: "card " + node.kind + (node.handler ? "" : " bare"),
            "aria-label": (node.kind === "topic" ? "topic " : node.kind + " ") + node.title,
        },
        h("header", {}, h("h3", { title: node.title }, node.title), card.rate),
        h(
            "p",
            { class: "by" },
            node.handler ? h("span", { class: "handler" }, node.handler) : null,
            card.together,
            word ? h("span", { class: "dim" }, word) : null,
            node.needs ? h("span", { class: "dim" }, "needs " + node.needs) : null,
            node.after ? h("span", { class: "dim" }, "after " + node.after.topic) : null,
            node.limit
                ? h("span", { class: "dim" }, "≤ " + node.limit.text)
                : null,
            card.badges,
        ),
        node.rows.length === 0
            ? null
            : h(
                  "ul",
                  {},
                  node.rows.map((row) => mapRow(card, row)),
              ),
    );
    map.cards.set(name, card);
    return card.element;
}

function mapRow(card, row) {
    const value = h("span", { class: "rate" });
    const to = row.to
        ? h("span", { class: "to", title: row.to }, (row.undo ? "⤺ " : "→ ") + row.to)
        : h("span", { class: "to dim" }, "ends");
    const element = h(
        "li",
        { class: row.undo ? "undo" : "" },
        h(
            "span",
            { class: "outcome" },
            (row.undo ? "undoes " : "") + row.outcome,
            row.note ? h("small", {}, " " + row.note) : null,
        ),
        to,
        value,
    );
    card.rows.push({ ...row, element, value });
    return element;
}

function mapMake(pipeline) {
    const nodes = mapNodes(pipeline);
    map.cards.clear();
    const columns = mapColumns(nodes);
    const drawing = svg("svg", { class: "lines", "aria-hidden": "true" });
    const inner = h(
        "div",
        { class: "columns" },
        drawing,
        columns.map((names) =>
            h(
                "div",
                { class: "column" },
                names.map((name) => mapCard(name, nodes.get(name))),
            ),
        ),
    );
    map.element = h("div", { class: "map", role: "region", "aria-label": "Map of the pipeline", tabindex: "0" }, inner);
    map.drawing = drawing;
    map.inner = inner;
    map.watcher?.disconnect();
    map.watcher = new ResizeObserver(mapDraw);
    map.watcher.observe(inner);
}

/* The lines, between where the cards are now. */
function mapDraw() {
    const box = map.inner.getBoundingClientRect();
    map.drawing.setAttribute("width", box.width);
    map.drawing.setAttribute("height", box.height);
    map.drawing.replaceChildren();
    for (const card of map.cards.values())
        for (const row of card.rows) {
            row.line = null;
            const target = map.cards.get(row.to);
            if (!target) continue;
            const from = row.element.getBoundingClientRect(),
                to = target.element.getBoundingClientRect();
            row.element.classList.toggle("drawn", to.left > from.right);
            if (to.left <= from.right) continue;
            const x1 = card.element.getBoundingClientRect().right - box.left,
                y1 = from.top + from.height / 2 - box.top;
            const x2 = to.left - box.left,
                y2 = to.top + 22 - box.top;
            const bend = Math.min(60, (x2 - x1) / 2);
            row.line = svg("path", {
                d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`,
                class: row.undo ? "undo" : "",
            });
            map.drawing.append(row.line);
        }
    mapUpdate();
}

function mapUpdate() {
    const paused = new Set(attention.paused.map((pause) => pause.kind + " " + pause.name));
    for (const card of map.cards.values()) {
        const { node } = card;
        const name = node.series || node.handler;
        const arrivals = node.topic
            ? perSecond("sluice_emitted_total", { topic: node.topic })
            : perSecond("sluice_events_total", { handler: name });
        const handled =
            name && node.shared < 2 && !node.retries ? perSecond("sluice_events_total", { handler: name }) : null;
        mapRate(card.rate, Math.max(arrivals || 0, handled || 0), true);
        if (node.shared > 1) {
            const together = perSecond("sluice_events_total", { handler: name });
            mapRate(card.together, together > 0 ? together : null, true, " on " + node.shared + " topics");
        }
        mapBadges(card, paused);
        for (const row of card.rows) {
            const value =
                row.undo || row.timer || row.outcome === "exhausted" || node.shared > 1
                    ? null
                    : perSecond("sluice_events_total", { handler: name, outcome: row.outcome });
            mapRate(row.value, value, false);
            row.line?.classList.toggle("moves", value > 0.005);
        }
    }
}

function mapRate(element, value, unit, more) {
    const word = value === null ? "" : rate(value) + (unit ? " /s" : "") + (more || "");
    if (element.textContent !== word) element.textContent = word;
    element.classList.toggle("quiet", !(value > 0.005));
}

function mapBadges(card, paused) {
    const { node } = card,
        words = [];
    const letters = node.topic ? metric("sluice_dead_letters_open", { topic: node.topic }) || 0 : 0;
    const stops = node.handler && metric("sluice_handler_stopped", { handler: node.handler }) > 0;
    const waits =
        paused.has("topic " + node.title) ||
        paused.has("handler " + node.handler) ||
        paused.has("dependency " + node.needs) ||
        paused.has("schedule " + node.title);
    if (stops) words.push(["stopped", "bad"]);
    if (waits) words.push(["paused", "warn", "#/pauses"]);
    const limited = node.topic ? metric("sluice_limit_waiting_keys", { topic: node.topic }) || 0 : 0;
    if (limited > 0) words.push([plural(limited, "key") + " over the limit", "warn"]);
    if (letters > 0)
        words.push([plural(letters, "dead letter"), "bad", "#/dead-letters" + query({ topic: node.topic })]);
    const now = JSON.stringify(words);
    if (card.said === now) return;
    card.said = now;
    card.badges.replaceChildren(
        ...words.map(([word, tone, href]) => (href ? h("a", { class: "chip " + tone, href }, word) : chip(word, tone))),
    );
    card.element.classList.toggle("failing", letters > 0 || Boolean(stops));
    card.element.classList.toggle("resting", waits);
}
