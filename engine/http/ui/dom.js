/*
 * dom.js - elements, and how what others wrote is shown.
 *
 * Text becomes a text node and nothing else: no markup is ever parsed. Characters that a reader cannot see, or that move
 * others about, are shown by their number.
 */
const NAMESPACE = "http://www.w3.org/2000/svg";

/* h("a", {class: "x", onclick: f, "aria-label": "…"}, children…): texts, nodes, arrays of them; null is nothing. */
function h(name, attributes, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
        if (value === null || value === undefined || value === false) continue;
        if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
        else if (key === "value") element.value = value;
        else element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
}

function svg(name, attributes) {
    const element = document.createElementNS(NAMESPACE, name);
    for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
    return element;
}

const by = (id) => document.getElementById(id);

/* Somebody else's text, on one line. */
function shown(text, most = 400) {
    if (text === null || text === undefined) return "";
    const clean = String(text)
        .slice(0, most + 1)
        .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, unseen);
    return clean.length > most ? clean.slice(0, most) + "…" : clean;
}

/* The same, with its lines. */
function shownLines(text) {
    return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (c) => (c === "\n" || c === "\t" ? c : unseen(c)));
}

function unseen(character) {
    return "‹" + character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "›";
}

/* <bdi>: what stands beside it keeps its direction. */
function text(value, attributes, most) {
    return h("bdi", attributes, shown(value, most));
}

function code(value, most) {
    return text(value, { class: "code", title: value ? shown(value, 2000) : null }, most);
}

function chip(word, tone) {
    return h("span", { class: "chip " + (tone || "") }, word);
}

function plural(count, one, many) {
    return number(count) + " " + (count === 1 ? one : many || one + "s");
}

function number(value) {
    return Math.round(value).toLocaleString("en").replace(/,/g, "\u2009");
}

/* A rate a second: "0", "0.3", "12", "1.2k". */
function rate(value) {
    if (!(value > 0.005)) return "0";
    if (value < 9.95) return value.toFixed(value < 0.095 ? 2 : 1);
    if (value < 999.5) return String(Math.round(value));
    return value < 99950 ? (value / 1000).toFixed(1) + "k" : Math.round(value / 1000) + "k";
}

function duration(seconds) {
    const s = Math.max(0, Math.round(seconds));
    if (s < 90) return s + " s";
    if (s < 5400) return Math.round(s / 60) + " min";
    if (s < 129600) return Math.round(s / 3600) + " h";
    return Math.round(s / 86400) + " days";
}

/* "3 min ago", or "in 3 min"; kept up to date by agesUpdate(). */
function age(at) {
    if (!at) return h("span", { class: "dim" }, "–");
    const when = new Date(at);
    const element = h("time", {
        "data-at": String(when.getTime()),
        datetime: when.toISOString(),
        title: when.toISOString(),
    });
    ageUpdate(element);
    return element;
}

function ageUpdate(element) {
    const seconds = (Date.now() - Number(element.getAttribute("data-at"))) / 1000;
    element.textContent = seconds < 0 ? "in " + duration(-seconds) : duration(seconds) + " ago";
}

/* What is paused, by whom, until when and why: words and nodes of one sentence. */
function pauseWords(pause) {
    return [
        pause.kind + " ",
        text(pause.name),
        " is paused by ",
        text(pause.actor),
        pause.until ? ", ends " : "",
        pause.until ? age(pause.until) : "",
        pause.reason ? ": " : "",
        text(pause.reason),
    ];
}

function agesUpdate() {
    document.querySelectorAll("time[data-at]").forEach(ageUpdate);
}

/* Puts new nodes in place of the old ones; the focus stays on what has the same data-key. */
function paint(container, ...nodes) {
    const active = document.activeElement;
    const key = container.contains(active) ? active.getAttribute("data-key") : null;
    container.replaceChildren(...nodes.flat(3).filter(Boolean));
    if (key !== null) {
        const again = [...container.querySelectorAll("[data-key]")].find((one) => one.getAttribute("data-key") === key);
        if (again) again.focus({ preventScroll: true });
    }
}

/* Somebody marks text in it: it is not painted again now. */
function isMarked(container) {
    const selection = document.getSelection();
    return selection !== null && !selection.isCollapsed && container.contains(selection.anchorNode);
}

/* A line of what just happened, for a while. */
function say(words, tone) {
    const line = h("p", { class: tone || "good" }, words);
    by("said").replaceChildren(line);
    setTimeout(() => line.remove(), tone === "bad" ? 12000 : 6000);
}
