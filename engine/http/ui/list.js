/*
 * list.js - a page of rows that the engine is asked for again and again; its filters and its place stand in the address.
 */

/* options: {name, filters: [{name, label, choices | hint}], load(params) → {rows, next}, after: name of the parameter of
 * a page behind, empty: words, actions(params)}. Returns what a view is made of. */
function listView(options) {
    const list = { said: "" };
    const route = () => state.route;
    list.show = (view) => {
        list.said = "";
        list.body = h("div", { class: "list", "aria-label": options.name });
        list.note = h("p", { class: "note", role: "status" });
        paint(
            view,
            h("div", { class: "head" }, h("h1", {}, options.name), options.head ? options.head() : null),
            filterBar(options, route()),
            (list.bar = h("div", { class: "bar" })),
            list.note,
            list.body,
        );
    };
    list.refresh = async () => {
        const asked = route(),
            body = list.body;
        try {
            const page = await options.load(asked.params);
            if (state.route !== asked || isMarked(body)) return;
            const said = JSON.stringify([page, authority.may, authority.word]);
            if (said === list.said) return;
            list.said = said;
            list.note.textContent = "";
            paint(list.bar, options.bar ? options.bar(page, asked.params) : null);
            paint(
                body,
                page.rows.length === 0
                    ? h("p", { class: "calm" }, options.empty(asked.params))
                    : options.table(page.rows),
                pager(options, asked, page),
            );
        } catch (error) {
            if (state.route === asked) list.failed(error);
        }
    };
    list.failed = (error) => {
        if (error.word === "away") return;
        list.said = "";
        list.note.textContent = error.message;
        paint(list.body);
    };
    return list;
}

function filterBar(options, route) {
    if (!options.filters) return null;
    const change = () =>
        go(
            route.path,
            Object.fromEntries([...form.elements].filter((one) => one.name).map((one) => [one.name, one.value.trim()])),
        );
    const field = (filter) => {
        const value = route.params[filter.name] || "";
        const choices = filter.choices && [
            ...filter.choices(),
            ...(value && !filter.choices().some(([word]) => word === value) ? [[value, shown(value)]] : []),
        ];
        const input = choices
            ? h(
                  "select",
                  { name: filter.name, onchange: change, "data-key": "filter " + filter.name },
                  choices.map(([word, label]) => h("option", { value: word, selected: word === value }, label)),
              )
            : h("input", {
                  name: filter.name,
                  value,
                  placeholder: filter.hint || "",
                  onchange: change,
                  autocomplete: "off",
                  spellcheck: "false",
                  "data-key": "filter " + filter.name,
              });
        return h("label", {}, h("span", {}, filter.label), input);
    };
    const form = h(
        "form",
        {
            class: "filters",
            role: "search",
            "aria-label": "Filter",
            onsubmit: (event) => (event.preventDefault(), change()),
        },
        options.filters.map(field),
    );
    const narrow =
        matchMedia("(max-width: 760px)").matches && !options.filters.some((filter) => route.params[filter.name]);
    return h("details", { class: "sift", open: !narrow }, h("summary", {}, "Filter"), form);
}

function pager(options, route, page) {
    const first = route.params[options.after]
        ? h(
              "a",
              { href: href(route.path, { ...route.params, [options.after]: "" }), "data-key": "first" },
              "← First page",
          )
        : null;
    const next = page.next
        ? h(
              "a",
              { href: href(route.path, { ...route.params, [options.after]: String(page.next) }), "data-key": "next" },
              "Next page →",
          )
        : null;
    return first || next ? h("nav", { class: "pager", "aria-label": "Pages" }, first, next) : null;
}

/* A table whose rows are things: heads [[name, class]], rows [{key, href, cells: [[label, value, class]], acts}]. */
function rowsTable(caption, heads, rows) {
    const acts = rows.some((row) => row.acts && row.acts.length > 0);
    const line = (row) => {
        const open = (event) => {
            if (row.href && !event.target.closest("a, button") && document.getSelection().isCollapsed)
                location.hash = row.href;
        };
        return h(
            "tr",
            { class: row.href ? "opens" : "", onclick: open },
            row.cells.map(([label, value, kind], i) =>
                h("td", { class: kind || "", "data-label": label }, i === 0 ? rowHead(row, [value].flat()) : value),
            ),
            acts
                ? h(
                      "td",
                      { class: "acts" },
                      (row.acts || []).map((act) => actButton(act, row.key)),
                  )
                : null,
        );
    };
    return h(
        "table",
        { class: "rows" },
        h("caption", { class: "unseen" }, caption),
        h(
            "thead",
            {},
            h(
                "tr",
                {},
                heads.map(([name, kind]) => h("th", { scope: "col", class: kind || "" }, name)),
                acts ? h("th", { scope: "col" }, h("span", { class: "unseen" }, "Actions")) : null,
            ),
        ),
        h("tbody", {}, rows.map(line)),
    );
}

/* What opens the row, or takes the focus for it, and what stands behind that. */
function rowHead(row, [head, ...rest]) {
    const marks = { "data-row": row.key, "data-key": "row " + row.key };
    return [row.href ? h("a", { href: row.href, ...marks }, head) : h("span", { tabindex: "0", ...marks }, head), rest];
}

/* {word, key, run, tone} */
function actButton(act, key) {
    return h(
        "button",
        {
            type: "button",
            class: act.tone || "",
            onclick: act.run,
            "data-act": act.key,
            "data-key": act.word + " " + (key || ""),
            "aria-keyshortcuts": act.key,
            "aria-label": act.label,
        },
        act.word,
        act.key ? h("kbd", { "aria-hidden": "true" }, act.key) : null,
    );
}

/* What may be done here; without the token, how to get there. */
function actsBar(acts) {
    if (authority.may)
        return h(
            "div",
            { class: "actions" },
            acts.filter(Boolean).map((act) => actButton(act)),
        );
    if (authority.word === "no_token")
        return h("p", { class: "note readonly" }, "Read-only: http.token is not set in the pipeline, or is empty.");
    return h(
        "p",
        { class: "note readonly" },
        "Read-only. ",
        h(
            "button",
            { type: "button", onclick: tokenDialog, "data-key": "token" },
            "Enter the token",
            h("kbd", { "aria-hidden": "true" }, "t"),
        ),
        " to change something.",
    );
}

function topicChoices(word) {
    return () => [["", word], ...(state.pipeline?.topics || []).map((topic) => [topic.name, topic.name])];
}
