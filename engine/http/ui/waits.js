/*
 * waits.js - chains, events that wait in the database, and pauses: lists whose rows are moved where they stand.
 */
/* What `due` says of an event that no time frees: it is paused, or waits for a limit. */
const ENDLESS = "9999-12-31T23:59:59.999Z";
const CHAIN_TONES = { running: "", complete: "good", aborted: "warn", stuck: "bad", undone: "", closed: "" };

const chains = listView({
    name: "Chains",
    after: "after",
    filters: [
        {
            name: "state",
            label: "State",
            choices: () => [
                ["", "not over"],
                ...["running", "stuck", "aborted", "undone", "closed"].map((word) => [word, word]),
            ],
        },
        {
            name: "chain",
            label: "Chain",
            choices: () => [
                ["", "any chain"],
                ...(state.pipeline?.chains || []).map((chain) => [chain.name, chain.name]),
            ],
        },
        { name: "older", label: "Older than", hint: "15m" },
    ],
    load: async (params) => {
        const page = await get("/chains" + query({ limit: 50, ...params }));
        const rank = (chain) => (chain.state === "stuck" ? 0 : chain.state === "aborted" ? 1 : 2);
        return { rows: page.chains.sort((a, b) => rank(a) - rank(b)), next: page.next };
    },
    empty: () => "No chain matches the filter.",
    bar: () => (authority.may ? null : actsBar([])),
    table: (rows) =>
        rowsTable("Chains", [["Correlation"], ["State"], ["Steps"], ["Began"], ["Aborts"]], rows.map(chainRow)),
});

function chainRow(chain) {
    const over = ["complete", "undone", "closed"].includes(chain.state);
    const act = (verb, word, key, tone, words) => ({
        word,
        key,
        tone,
        label: word + " chain " + chain.chain + " " + shown(chain.correlation, 40),
        run: () => chainAct(chain, verb, word, tone, words),
    });
    const acts = [
        chain.state === "stuck"
            ? act("resume", "Resume", "r", "main", "The undo that failed is tried again, from its first try.")
            : null,
        chain.state === "running" && !chain.abortAsked
            ? act("abort", "Abort", "x", "danger", "A running engine undoes what was done, newest step first.")
            : null,
        over ? null : act("close", "Close", "c", "", "It is over as it stands; undos that wait become dead letters."),
    ];
    return {
        key: chain.chain + " " + chain.correlation,
        href: "#/timeline/" + segment(chain.correlation),
        acts: authority.may ? acts.filter(Boolean) : [],
        cells: [
            ["Correlation", [code(chain.correlation, 80), h("br"), text(chain.chain, { class: "dim" })]],
            [
                "State",
                [
                    chip(chain.state, CHAIN_TONES[chain.state]),
                    chain.abortAsked ? chip("abort asked", "warn") : null,
                    chain.reason ? [h("br"), text(chain.reason, { class: "dim wrap" }, 160)] : null,
                ],
            ],
            [
                "Steps",
                h(
                    "span",
                    { class: "steps" },
                    chain.steps.map((step) =>
                        chip(
                            step.step + " " + step.state,
                            step.state === "undoing" ? "bad" : step.state === "done" ? "good" : "",
                        ),
                    ),
                    chain.missing.map((step) => chip(step + " missing", "faint")),
                ),
            ],
            ["Began", age(chain.began), "when"],
            ["Aborts", chain.abortsAt ? age(chain.abortsAt) : h("span", { class: "dim" }, "–"), "when"],
        ],
    };
}

function chainAct(chain, verb, word, tone, words) {
    confirmDialog({
        title: word + " chain " + chain.chain,
        words: [code(chain.correlation, 80), ": ", words],
        word: word + " it",
        tone,
        run: async (why) => {
            const did = await send(
                "POST",
                "/chains/" + segment(chain.chain) + "/" + segment(chain.correlation) + "/" + verb,
                because(why),
            );
            return "Chain " + chain.chain + " " + shown(chain.correlation, 60) + ": " + (did.did || verb) + ".";
        },
    });
}

/* ------------------------------------------------------------------------------------------------------- delayed */

const WAIT_TONES = { delayed: "", stuck: "bad", unknown: "warn", key: "warn" };
const WAIT_WORDS = { delayed: "delayed", stuck: "stuck undo", unknown: "unknown topic", key: "held key" };

const delayed = listView({
    name: "Waiting events",
    after: "after",
    filters: [
        { name: "state", label: "Kind", choices: () => [["", "any"], ...Object.entries(WAIT_WORDS)] },
        { name: "topic", label: "Topic", choices: topicChoices("any topic") },
        { name: "older", label: "Waiting for", hint: "15m" },
    ],
    load: async (params) => {
        const page = await get("/delayed" + query({ limit: 50, ...params }));
        return { rows: page.delayed, next: page.next };
    },
    empty: () => "No event waits in the database.",
    bar: () => (authority.may ? null : actsBar([])),
    table: (rows) =>
        rowsTable(
            "Waiting events",
            [["Event"], ["Kind"], ["Topic"], ["Due"], ["Since"], ["Tries", "n"], ["Behind it", "n"]],
            rows.map(delayedRow),
        ),
});

function delayedRow(one) {
    const act = (verb, word, key, tone, words) => ({
        word,
        key,
        tone,
        label: word + " " + shown(one.event || one.id, 40),
        run: () => delayedAct(one, verb, word, tone, words),
    });
    const acts = one.cancelled
        ? []
        : [
              act(
                  "release",
                  "Release",
                  "l",
                  "",
                  one.state === "stuck" ? "Its chain is resumed." : "It is due now, in place of when it was due.",
              ),
              one.state === "unknown" ? null : act("cancel", "Cancel", "x", "danger", "It becomes a dead letter."),
          ];
    return {
        key: one.id,
        href: one.event ? "#/timeline/" + segment(one.event) : null,
        acts: authority.may ? acts.filter(Boolean) : [],
        cells: [
            [
                "Event",
                [
                    code(one.event || one.id, 60),
                    one.key === null ? null : [h("br"), text("key " + one.key, { class: "dim" }, 80)],
                ],
                "ids",
            ],
            [
                "Kind",
                [
                    chip(WAIT_WORDS[one.state] || one.state, WAIT_TONES[one.state]),
                    one.cancelled ? chip("cancelled", "warn") : null,
                    one.reason ? [h("br"), text(one.reason, { class: "dim wrap" }, 160)] : null,
                ],
            ],
            ["Topic", text(one.topic)],
            [
                "Due",
                one.state === "stuck"
                    ? h("span", { class: "dim" }, "when resumed")
                    : one.due === ENDLESS
                      ? age(null)
                      : one.due
                        ? age(one.due)
                        : "now",
                "when",
            ],
            ["Since", age(one.since), "when"],
            ["Tries", String(one.tries), "n"],
            ["Behind it", String(one.behind), "n"],
        ],
    };
}

function delayedAct(one, verb, word, tone, words) {
    confirmDialog({
        title: word + (one.state === "key" ? " a held key" : " an event"),
        words: [code(one.event || one.id, 60), " on ", text(one.topic), ": ", words],
        word: word + " it",
        tone,
        run: async (why) => {
            await send("POST", "/delayed/" + segment(one.id) + "/" + verb, because(why));
            return verb === "release" ? "It is due now." : "It becomes a dead letter.";
        },
    });
}

/* -------------------------------------------------------------------------------------------------------- pauses */

const pauses = listView({
    name: "Pauses",
    load: async () => ({ rows: (await get("/pauses")).pauses, next: null }),
    empty: () => "Nothing is paused.",
    bar: () => actsBar([{ word: "Pause something…", key: "p", run: pauseDialog }]),
    table: (rows) => rowsTable("Pauses", [["What"], ["Since"], ["Ends"], ["By"], ["Why"]], rows.map(pauseRow)),
});

function pauseRow(pause) {
    return {
        key: pause.kind + ":" + pause.name,
        href: null,
        acts: authority.may
            ? [
                  {
                      word: "Resume",
                      key: "r",
                      tone: "main",
                      label: "Resume " + pause.kind + " " + pause.name,
                      run: () => pauseEnd(pause),
                  },
              ]
            : [],
        cells: [
            ["What", [text(pause.name, { class: "strong" }), " ", h("span", { class: "dim" }, pause.kind)]],
            ["Since", age(pause.since), "when"],
            ["Ends", pause.until ? age(pause.until) : h("span", { class: "dim" }, "when resumed"), "when"],
            ["By", text(pause.actor)],
            ["Why", text(pause.reason, { class: "wrap" })],
        ],
    };
}

function pauseEnd(pause) {
    confirmDialog({
        title: "Resume " + pause.kind + " " + pause.name,
        words: "Its events are handled again, in the order of their keys.",
        word: "Resume it",
        run: async (why) => {
            await send("DELETE", "/pauses/" + segment(pause.kind + ":" + pause.name), because(why));
            return pause.name + " goes on.";
        },
    });
}

function pauseDialog() {
    const { topics, taps, schedules, requests, dependencies } = state.pipeline;
    const handlers = new Set([...topics, ...taps, ...schedules].map((one) => one.handler).filter(Boolean));
    for (const request of requests) handlers.delete(request.handler);
    const group = (label, kind, names) =>
        names.length === 0
            ? null
            : h(
                  "optgroup",
                  { label },
                  names.map((name) => h("option", { value: kind + ":" + name }, name)),
              );
    const what = h(
        "select",
        { name: "name", autofocus: true },
        group(
            "Topics",
            "topic",
            topics.filter((topic) => topic.handler).map((topic) => topic.name),
        ),
        group("Handlers", "handler", [...handlers]),
        group(
            "Taps",
            "tap",
            taps.map((tap) => tap.name),
        ),
        group(
            "Schedules",
            "schedule",
            schedules.map((schedule) => schedule.name),
        ),
        group(
            "Dependencies",
            "dependency",
            dependencies.map((dependency) => dependency.name),
        ),
    );
    const submit = async (form) => {
        const lasts = form.get("for").trim();
        const made = await send(
            "POST",
            "/pauses",
            because(
                form.get("why").trim(),
                lasts ? { name: form.get("name"), for: lasts } : { name: form.get("name") },
            ),
        );
        return made.pauses[0].name + " is paused.";
    };
    dialogOpen(
        "Pause something",
        dialogForm(
            "Pause it",
            "",
            submit,
            h("p", {}, "Its events wait, in every process of the group; keys keep their order and no try is counted."),
            h("label", { class: "field" }, h("span", {}, "What"), what),
            field("For how long? Empty: until it is resumed.", { name: "for", placeholder: "10m" }),
            field("Why? It is kept in the audit.", { name: "why", maxlength: "500" }),
        ),
    );
}
