/*
 * letters.js - dead letters: a list, and one with its record, which is edited, replayed or dropped.
 */
const PIECE = 64 * 1024; /* of a value is shown at first */
const FILTERS = ["topic", "handler", "reason", "correlation", "since"];
const REASON_HINT = "rejected, bad_json, …";

const letters = listView({
    name: "Dead letters",
    after: "below",
    filters: [
        {
            name: "state",
            label: "State",
            choices: () => [
                ["", "open"],
                ["replayed", "replayed"],
                ["dropped", "dropped"],
                ["all", "all"],
            ],
        },
        { name: "topic", label: "Topic", choices: topicChoices("any topic") },
        { name: "reason", label: "Reason", hint: REASON_HINT },
        { name: "correlation", label: "Correlation" },
        { name: "since", label: "Since", hint: "1h" },
    ],
    load: async (params) => {
        const page = await get("/dead-letters" + query({ limit: 50, ...params }));
        return { rows: page.deadLetters, next: page.next };
    },
    empty: (params) =>
        Object.values(params).some(Boolean) ? "No dead letter matches the filter." : "There is no open dead letter.",
    table: (rows) =>
        rowsTable(
            "Dead letters",
            [["Id"], ["Topic"], ["Why"], ["Correlation or event"], ["Tries", "n"], ["When"]],
            rows.map(letterRow),
        ),
    bar: (page, params) =>
        page.rows.length > 0 && (params.state || "open") === "open"
            ? actsBar(letterBulkActs(params))
            : authority.may
              ? null
              : actsBar([]),
});

function letterRow(letter) {
    return {
        key: String(letter.id),
        href: "#/dead-letters/" + letter.id,
        acts:
            authority.may && letter.state === "open"
                ? [
                      {
                          word: "Replay",
                          key: "r",
                          label: "Replay dead letter " + letter.id,
                          run: () => letterReplay(letter),
                      },
                      { word: "Drop", key: "x", label: "Drop dead letter " + letter.id, run: () => letterDrop(letter) },
                  ]
                : [],
        cells: [
            ["Id", h("span", { class: "id" }, String(letter.id), letter.state === "open" ? null : chip(letter.state))],
            ["Topic", [text(letter.topic, { class: "strong" }), h("br"), text(letter.handler, { class: "handler" })]],
            [
                "Why",
                [text(letter.reason, { class: "reason" }), h("br"), text(letter.message, { class: "dim wrap" }, 160)],
            ],
            [
                "Event",
                [
                    code(letter.correlation || letter.eventId, 60),
                    letter.edited ? chip("edited", "info") : null,
                    letter.rounds > 0 ? chip("replayed " + letter.rounds + "×") : null,
                ],
                "ids",
            ],
            ["Tries", String(letter.attempts), "n"],
            ["When", age(letter.at), "when"],
        ],
    };
}

function letterBulkActs(params) {
    const filter = Object.fromEntries(FILTERS.filter((name) => params[name]).map((name) => [name, params[name]]));
    const all = Object.keys(filter).length === 0;
    const body = all ? { all: true } : filter;
    const which = all
        ? "every open dead letter"
        : "every open dead letter with " +
          Object.entries(filter)
              .map(([name, value]) => name + " " + shown(value, 60))
              .join(", ");
    return [
        { word: "Replay all of these…", run: () => lettersMove("replay", body, which) },
        { word: "Drop all of these…", tone: "danger", run: () => lettersMove("drop", body, which) },
    ];
}

/* A call moves a part and says so; it is called until all are moved. */
function lettersMove(verb, body, which) {
    const run = async (why) => {
        const done = { moved: 0, exhausted: 0 };
        for (let again = true; again;) {
            const moved = await send("POST", "/dead-letters/" + verb, because(why, body));
            done.moved += moved.replayed || moved.dropped || 0;
            done.exhausted = moved.exhausted || 0;
            again = moved.stopped;
        }
        return (
            plural(done.moved, "dead letter was", "dead letters were") +
            (verb === "drop" ? " dropped." : " replayed.") +
            (done.exhausted > 0 ? " " + plural(done.exhausted, "was", "were") + " replayed too often before." : "")
        );
    };
    const words =
        verb === "drop"
            ? "They are not handled any more: "
            : "They go to their topics again, in the order of their keys: ";
    confirmDialog({
        title: verb === "drop" ? "Drop dead letters" : "Replay dead letters",
        words: words + which + ".",
        word: verb === "drop" ? "Drop them" : "Replay them",
        tone: verb === "drop" ? "danger" : "",
        run,
    });
}

function letterReplay(letter) {
    const often = letter.rounds >= 3;
    confirmDialog({
        title: "Replay dead letter " + letter.id,
        words: [
            "The event goes to ",
            text(letter.topic),
            " again, under a new id",
            letter.edited ? ", with the data that was edited." : ".",
        ],
        word: "Replay it",
        more: often
            ? h(
                  "label",
                  { class: "check" },
                  h("input", { type: "checkbox", name: "force" }),
                  " It was replayed " + letter.rounds + " times before: replay it all the same",
              )
            : null,
        run: async (why, form) => {
            await send(
                "POST",
                "/dead-letters/" + letter.id + "/replay",
                because(why, form.get("force") ? { force: true } : {}),
            );
            return "Dead letter " + letter.id + " was replayed.";
        },
    });
}

function letterDrop(letter) {
    confirmDialog({
        title: "Drop dead letter " + letter.id,
        words: "Its event is not handled any more. The row stays, as dropped.",
        word: "Drop it",
        tone: "danger",
        run: async (why) => {
            await send("POST", "/dead-letters/" + letter.id + "/drop", because(why));
            return "Dead letter " + letter.id + " was dropped.";
        },
    });
}

/* ------------------------------------------------------------------------------------------------------------- one */

const letter = { now: null, editing: false, said: "" };

letter.show = (view, route) => {
    Object.assign(letter, { now: null, editing: false, said: "", id: route.rest[0] });
    letter.body = h("div", { class: "letter" });
    letter.note = h("p", { class: "note", role: "status" });
    paint(
        view,
        h("p", { class: "crumb" }, h("a", { href: "#/dead-letters" }, "← Dead letters")),
        h("h1", {}, "Dead letter " + shown(letter.id, 80)),
        letter.note,
        letter.body,
    );
};

letter.refresh = async () => {
    const asked = state.route;
    if (letter.editing) return;
    try {
        const now = await get("/dead-letters/" + segment(letter.id));
        if (state.route !== asked || letter.editing || isMarked(letter.body)) return;
        letter.now = now;
        const said = JSON.stringify([now, authority.may, authority.word]);
        if (said === letter.said) return;
        letter.said = said;
        letter.note.textContent = "";
        letterPaint();
    } catch (error) {
        if (state.route === asked && error.word !== "away") letter.note.textContent = error.message;
    }
};

function letterActs() {
    const { now } = letter;
    if (now.state !== "open") return null;
    return actsBar([
        { word: "Replay", key: "r", tone: "main", run: () => letterReplay(now) },
        { word: "Edit", key: "e", run: letterEdit },
        { word: "Drop", key: "x", tone: "danger", run: () => letterDrop(now) },
    ]);
}

function fact(name, value) {
    return value === null || value === undefined || value === "" ? null : [h("dt", {}, name), h("dd", {}, value)];
}

function letterPaint() {
    const { now } = letter,
        record = now.editedRecord || now.record;
    const follow = now.correlation || now.eventId;
    paint(
        letter.body,
        h(
            "p",
            { class: "lead" },
            chip(now.state, now.state === "open" ? "bad" : ""),
            " ",
            text(now.reason, { class: "strong" }),
            ": ",
            text(now.message, {}, 2000),
        ),
        letterActs(),
        h(
            "dl",
            { class: "facts" },
            fact("Topic", text(now.topic)),
            fact("Handler", text(now.handler, { class: "handler" })),
            fact("Event", code(now.eventId)),
            fact("Correlation", now.correlation ? code(now.correlation) : null),
            fact(
                "Timeline",
                follow
                    ? h(
                          "a",
                          { href: "#/timeline/" + segment(follow), "data-timeline": true, "data-key": "timeline" },
                          "what happened to it",
                          h("kbd", { "aria-hidden": "true" }, "o"),
                      )
                    : null,
            ),
            fact("When", age(now.at)),
            fact("Tries", String(now.attempts)),
            fact("Replayed before", now.rounds > 0 ? now.rounds + "×" : null),
            fact(
                "Replay of",
                now.replayOf || now.before
                    ? h(
                          "a",
                          { href: "#/dead-letters/" + (now.replayOf || now.before) },
                          "dead letter " + (now.replayOf || now.before),
                      )
                    : null,
            ),
            fact("Replayed as", now.replayedAs ? code(now.replayedAs) : null),
            fact("Ended", now.endedAt ? [age(now.endedAt), " by ", text(now.endedBy)] : null),
            fact(
                "Place",
                now.partition === undefined || now.partition === null
                    ? null
                    : "partition " + now.partition + ", offset " + now.offset,
            ),
            fact(
                "Key",
                record.keyBase64 !== undefined
                    ? code(record.keyBase64 + " (base64)")
                    : record.key === null
                      ? null
                      : code(record.key),
            ),
        ),
        valueSection(now.editedRecord ? "Value, edited" : "Value", record),
        now.editedRecord ? h("details", {}, h("summary", {}, "Value, as it came"), valueBlock(now.record)) : null,
        record.headers.length > 0 ? headersTable(record.headers) : null,
    );
}

function valueSection(title, record) {
    const section = h("section", { "aria-label": title }, h("h2", {}, title), valueBlock(record));
    letter.value = section;
    return section;
}

function valueBlock(record) {
    if (record.valueBase64 !== undefined)
        return [h("p", { class: "note" }, "The bytes are no UTF-8; as base64:"), longText(record.valueBase64)];
    if (record.value === "") return h("p", { class: "note" }, "It is empty.");
    return longText(shownLines(jsonPretty(record.value)));
}

/* A text of any length: a piece, and the rest when it is asked for. */
function longText(value) {
    const pre = h("pre", { tabindex: "0", dir: "ltr" }, value.slice(0, PIECE));
    if (value.length <= PIECE) return pre;
    const more = h(
        "button",
        { type: "button", onclick: () => (pre.append(value.slice(PIECE)), more.remove()) },
        "Show all of it, " + number(value.length / 1024) + " KiB",
    );
    return [pre, more];
}

function headersTable(headers) {
    const cell = (header, name) =>
        header[name + "Base64"] !== undefined
            ? code(header[name + "Base64"] + " (base64)", 2000)
            : code(header[name], 2000);
    return h(
        "section",
        {},
        h("h2", {}, "Headers"),
        h(
            "table",
            { class: "plain headers" },
            h(
                "tbody",
                {},
                headers.map((header) =>
                    h(
                        "tr",
                        {},
                        h("th", { scope: "row" }, cell(header, "name")),
                        h("td", { class: "wrap" }, cell(header, "value")),
                    ),
                ),
            ),
        ),
    );
}

function letterEdit() {
    const { now } = letter,
        record = now.editedRecord || now.record;
    const data = jsonMember(record.value || "", "data");
    const area = h("textarea", {
        id: "data",
        spellcheck: "false",
        autocomplete: "off",
        rows: "16",
        dir: "ltr",
        value: jsonPretty(data === null ? "{}" : data),
        onkeydown: (event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) (event.preventDefault(), save());
        },
    });
    const note = h("p", { class: "note bad", role: "alert" });
    const close = () => {
        letter.editing = false;
        letter.said = "";
        viewRefresh().then(() => by("view").focus());
    };
    const save = async () => {
        try {
            const value = JSON.parse(area.value);
            if (value === null || typeof value !== "object" || Array.isArray(value))
                throw new Error("The data must be a JSON object.");
            await ask("POST", "/dead-letters/" + now.id + "/edit", '{"data":' + area.value + "}");
            say("Dead letter " + now.id + " was edited; a replay sends this data.");
            close();
        } catch (error) {
            note.textContent = error.message;
        }
    };
    letter.editing = true;
    letter.cancel = close;
    letter.value.replaceChildren(
        h("h2", {}, h("label", { for: "data" }, "The event's data, JSON")),
        area,
        note,
        h(
            "div",
            { class: "actions" },
            h("button", { type: "button", onclick: close }, "Cancel"),
            h(
                "button",
                { type: "button", class: "main", onclick: save },
                "Save",
                h("kbd", { "aria-hidden": "true" }, "Ctrl Enter"),
            ),
        ),
    );
    area.focus();
    area.setSelectionRange(0, 0);
    letter.value.scrollIntoView({ block: "nearest" });
}
