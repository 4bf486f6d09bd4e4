/*
 * main.js - where the reader is, what is asked how often, and the keys. Nothing is asked while the page is not seen.
 */
const LIVE_MS = 1000,
    LIST_MS = 3000,
    AWAY_MS = 2000;
const state = { route: null, pipeline: null, away_since: null, keys: true, list_at: 0, refused: "" };

const views = [
    { path: "", name: "Overview", show: overviewShow, refresh: async () => overviewUpdate() },
    {
        path: "dead-letters",
        name: "Dead letters",
        one: letter,
        ...letters,
        count: () => metric("sluice_dead_letters_open"),
        tone: "bad",
    },
    { path: "chains", name: "Chains", ...chains, count: () => metric("sluice_chains_stuck"), tone: "bad" },
    {
        path: "delayed",
        name: "Waiting",
        ...delayed,
        count: () => (metric("sluice_parked") || 0) + (metric("sluice_held_keys") || 0),
        tone: "",
    },
    { path: "pauses", name: "Pauses", ...pauses, count: () => attention.paused.length, tone: "warn" },
    { path: "timeline", name: "Timeline", show: timeline.show, refresh: timeline.refresh },
];

/* ------------------------------------------------------------------------------------------------------ addresses */

function href(path, params) {
    return "#/" + path + query(params || {});
}

function go(path, params) {
    location.hash = href(path, params);
}

function routeOf(hash) {
    const [path, params] = hash.replace(/^#\/?/, "").split("?");
    const decode = (part) => {
        try {
            return decodeURIComponent(part);
        } catch {
            return part;
        }
    };
    const [name, ...rest] = path.split("/").map(decode);
    return { path: name, rest, params: Object.fromEntries(new URLSearchParams(params || "")) };
}

function navigate() {
    if (location.hash === "#view") return by("view").focus();
    const route = routeOf(location.hash);
    const view = views.find((one) => one.path === route.path) || views[0];
    const same = state.route?.path === route.path;
    state.route = route;
    state.view = view.one && route.rest[0] ? view.one : view;
    viewsPaint();
    titlePaint();
    state.view.show(by("view"), route);
    if (!same) window.scrollTo(0, 0);
    if (!by("dialog").open && !document.activeElement.closest("header, form"))
        by("view").focus({ preventScroll: true });
    viewRefresh();
}

async function viewRefresh() {
    state.list_at = performance.now();
    await state.view.refresh(true);
}

function viewsPaint() {
    const link = (view, i) => {
        const count = view.count ? view.count() || 0 : 0,
            now = view.path === state.route.path;
        return h(
            "a",
            {
                href: href(view.path),
                "aria-current": now ? "page" : null,
                "data-key": "view " + view.path,
                "aria-keyshortcuts": String(i + 1),
            },
            view.name,
            count > 0 ? h("span", { class: "count " + view.tone }, number(count)) : null,
        );
    };
    paint(by("views"), views.map(link));
}

/* With how many things failed, for whoever has the page behind another one. */
function titlePaint() {
    const { route } = state;
    const view = views.find((one) => one.path === route.path) || views[0];
    const failed = state.pipeline ? attentionLines().filter((line) => line.tone === "bad").length : 0;
    const words = [
        route.rest[0] ? shown(route.rest[0], 40) : null,
        view.name,
        shown(state.pipeline?.pipeline),
        "Sluice",
    ];
    const title =
        (state.away_since !== null ? "(away) " : failed > 0 ? "(" + failed + ") " : "") +
        words.filter(Boolean).join(" · ");
    if (document.title !== title) document.title = title;
}

function authorityPaint() {
    const button = by("authority");
    button.replaceChildren(
        h("span", { class: "lock", "aria-hidden": "true" }, authority.may ? "●" : "○"),
        authority.may ? "Can act" : "Read-only",
    );
    button.className = authority.may ? "may" : "";
    button.title = authority.may ? "The token is set (t)" : "Enter the token to act (t)";
}

/* ----------------------------------------------------------------------------------------------------------- live */

async function liveRefresh() {
    try {
        const [page, pipeline, reasons] = await Promise.all([get("/metrics"), get("/pipeline"), ready()]);
        const first = state.pipeline === null;
        state.pipeline = pipeline;
        state.refused = "";
        attention.paused = pipeline.paused;
        attention.reasons = reasons;
        metricsTake(page);
        if (state.away_since !== null) await authorityCheck();
        state.away_since = null;
        by("pipeline").textContent = shown(pipeline.pipeline, 80);
        authorityPaint();
        if (first) navigate();
    } catch (error) {
        if (error.word === "away") state.away_since = state.away_since || new Date();
        else state.refused = error.status === 401 ? "token" : error.message;
    }
    livePaint();
}

async function ready() {
    try {
        await get("/readyz");
        return [];
    } catch (error) {
        if (error.word === "away") throw error;
        return error.reasons?.length > 0 ? error.reasons : [error.message];
    }
}

function livePaint() {
    const away = by("away"),
        health = by("health");
    document.body.classList.toggle("stale", state.away_since !== null);
    const words =
        state.away_since !== null
            ? "The engine has not answered since " +
              state.away_since.toLocaleTimeString("en-GB") +
              ". " +
              (state.pipeline ? "What stands here is from before." : "")
            : state.refused === "token"
              ? "This engine shows nothing without its token."
              : state.refused;
    if (away.dataset.words !== words) {
        away.dataset.words = words;
        away.classList.toggle("asks", state.refused === "token" && state.away_since === null);
        away.replaceChildren(
            h("strong", {}, words),
            state.refused === "token" ? h("button", { type: "button", onclick: tokenDialog }, "Enter the token") : "",
        );
    }
    away.hidden = words === "";
    const [tone, word] =
        state.away_since !== null
            ? ["bad", "Away"]
            : !state.pipeline
              ? ["", "…"]
              : attention.reasons.length > 0
                ? ["bad", "Not ready"]
                : ["good", "Ready"];
    if (health.dataset.word !== word) {
        health.dataset.word = word;
        health.replaceChildren(h("span", { class: "dot " + tone, "aria-hidden": "true" }), word);
    }
    if (state.route === null) return;
    viewsPaint();
    titlePaint();
    agesUpdate();
    if (state.away_since !== null || !state.pipeline) return;
    if (state.view === views[0]) overviewUpdate();
}

async function live() {
    for (;;) {
        if (document.visibilityState === "hidden")
            await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
        await liveRefresh();
        if (
            state.away_since === null &&
            state.pipeline &&
            performance.now() - state.list_at > LIST_MS &&
            state.view !== views[0]
        ) {
            state.list_at = performance.now();
            await state.view.refresh(false);
        }
        await new Promise((resolve) => setTimeout(resolve, state.away_since !== null ? AWAY_MS : LIVE_MS));
    }
}

/* ----------------------------------------------------------------------------------------------------------- keys */

function rowStep(step) {
    const rows = [...by("view").querySelectorAll("[data-row]")];
    const at = rows.findIndex(
        (row) => row === document.activeElement || row.closest("tr, li") === document.activeElement.closest("tr, li"),
    );
    const next = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + step))];
    if (next) (next.focus(), next.scrollIntoView({ block: "nearest" }));
}

/* The button of that key: of the row with the focus, or of the view. */
function actPress(key) {
    const row = document.activeElement.closest("tr, li");
    const button =
        (row && row.querySelector(`[data-act="${key}"]`)) || by("view").querySelector(`.actions [data-act="${key}"]`);
    if (button) button.click();
    return Boolean(button);
}

function escape() {
    if (state.view === letter && letter.editing) return letter.cancel();
    if (document.activeElement !== by("view") && document.activeElement !== document.body) return by("view").focus();
    if (state.view === letter) return history.length > 1 ? history.back() : go("dead-letters");
    if (state.route.path !== "") go("");
}

function onKey(event) {
    const typing = event.target.closest("input, textarea, select");
    if (event.defaultPrevented || by("dialog").open) return;
    if (event.key === "Escape") return (event.preventDefault(), escape());
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !state.keys) return;
    const number = "123456".indexOf(event.key);
    const acts = {
        "/": () => by("find").select(),
        "?": helpDialog,
        t: tokenDialog,
        j: () => rowStep(1),
        k: () => rowStep(-1),
        o: () => by("view").querySelector("[data-timeline]")?.click(),
    };
    if (number >= 0 && views[number]) go(views[number].path);
    else if (acts[event.key]) acts[event.key]();
    else if (event.key === "r" && state.view.refresh === timeline.refresh) viewRefresh();
    else if (!"rexclp".includes(event.key) || !actPress(event.key)) return;
    event.preventDefault();
}

function onSearch(event) {
    event.preventDefault();
    const wanted = by("find").value.trim();
    if (wanted === "") return;
    const to = "#/timeline/" + segment(wanted);
    if (location.hash === to) viewRefresh();
    else location.hash = to;
    by("view").focus();
}

document.addEventListener("DOMContentLoaded", async () => {
    by("search").addEventListener("submit", onSearch);
    by("authority").addEventListener("click", tokenDialog);
    by("help").addEventListener("click", helpDialog);
    document.addEventListener("keydown", onKey);
    window.addEventListener("hashchange", navigate);
    authorityLoad();
    authorityPaint();
    state.route = routeOf(location.hash);
    state.view = views[0];
    await authorityCheck();
    live();
});
