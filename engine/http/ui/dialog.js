/*
 * dialog.js - what is asked before something is done, the token, and the help.
 */
function dialogOpen(title, ...content) {
    const dialog = by("dialog");
    if (dialog.open) dialog.close();
    dialog.replaceChildren(h("h2", { id: "dialog-title" }, title), ...content.flat().filter(Boolean));
    dialog.showModal();
    dialog.querySelector("[autofocus]")?.focus();
}

function dialogClose() {
    by("dialog").close();
}

function dialogForm(word, tone, submit, ...content) {
    const note = h("p", { class: "note bad", role: "alert" });
    const button = h("button", { type: "submit", class: "main " + (tone || "") }, word);
    const run = async (event) => {
        event.preventDefault();
        button.disabled = true;
        try {
            const words = await submit(new FormData(event.target));
            dialogClose();
            if (words) say(words);
            viewRefresh();
        } catch (error) {
            note.textContent = error.message;
            button.disabled = false;
        }
    };
    return h(
        "form",
        { onsubmit: run },
        content,
        note,
        h("div", { class: "actions" }, h("button", { type: "button", onclick: dialogClose }, "Cancel"), button),
    );
}

function field(label, attributes, more) {
    return h(
        "label",
        { class: "field" },
        h("span", {}, label),
        h("input", { autocomplete: "off", spellcheck: "false", ...attributes }),
        more || null,
    );
}

/* Asks why, then does it: run(why) answers the words to say. */
function confirmDialog({ title, words, word, tone, more, run }) {
    dialogOpen(
        title,
        dialogForm(
            word,
            tone,
            (form) => run(form.get("why").trim(), form),
            h("p", {}, words),
            more || null,
            field("Why? It is kept in the audit.", { name: "why", autofocus: true, maxlength: "500" }),
        ),
    );
}

const because = (why, value) => (why ? { ...value, why } : value || {});

function tokenDialog() {
    const submit = async (form) => {
        authoritySave(form.get("token").trim());
        const may = await authorityCheck();
        authorityPaint();
        if (may) return "The token is right: you may act.";
        const { word } = authority;
        authoritySave("");
        throw new Error(
            word === "no_token"
                ? "http.token is not set in the pipeline, or is empty: nothing can be changed here."
                : word === "away"
                  ? "The engine does not answer."
                  : "The engine refuses this token.",
        );
    };
    const forget = () => {
        authoritySave("");
        authority.may = false;
        authorityCheck().then(authorityPaint).then(viewRefresh);
        dialogClose();
        say("The token is forgotten.");
    };
    dialogOpen(
        "Token",
        dialogForm(
            "Use it",
            "",
            submit,
            h(
                "p",
                {},
                "What stands in the pipeline's ",
                h("code", {}, "http.token"),
                ". This tab keeps it until it is closed; it is sent to this engine alone, and never stands in an address.",
            ),
            field("Token", { name: "token", type: "password", autofocus: true, required: true, autocomplete: "off" }),
        ),
        authority.token
            ? h("button", { type: "button", class: "link", onclick: forget }, "Forget the token of this tab")
            : null,
    );
}

const KEYS = [
    ["1 … 6", "the views"],
    ["/", "find a correlation or an event"],
    ["j, k", "next and previous row"],
    ["Enter", "open the row"],
    ["Esc", "back, or close"],
    ["e", "edit a dead letter"],
    ["r", "replay a dead letter, resume a chain or what is paused"],
    ["x", "drop, abort or cancel"],
    ["c", "close a chain"],
    ["l", "release what is delayed"],
    ["p", "pause something"],
    ["o", "the timeline of what is shown"],
    ["Ctrl Enter", "save what is edited"],
    ["t", "token"],
    ["?", "this help"],
];

function helpDialog() {
    const toggle = h("input", { type: "checkbox", onchange: () => (state.keys = toggle.checked) });
    toggle.checked = state.keys;
    dialogOpen(
        "Keys",
        h(
            "dl",
            { class: "keys" },
            KEYS.map(([key, words]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, words)]),
        ),
        h("p", { class: "note" }, "A key acts on the row that has the focus."),
        h("label", { class: "check" }, toggle, " Single keys act"),
        h(
            "div",
            { class: "actions" },
            h("button", { type: "button", class: "main", autofocus: true, onclick: dialogClose }, "Close"),
        ),
    );
}
