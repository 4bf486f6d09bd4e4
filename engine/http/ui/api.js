/*
 * api.js - what the engine is asked. The token is kept in this tab's memory and session storage, and leaves it only as a
 * header to the engine that the page came from.
 */
const ANSWER_MS = 15000;
const TOKEN_KEY = "sluice.token";
const authority = { token: "", may: false, word: "" }; /* word: why not */

class Refused extends Error {
    constructor(status, word, message) {
        super(message);
        this.status = status;
        this.word = word;
    }
}

async function ask(method, path, body) {
    const headers = {};
    if (authority.token) headers["Authorization"] = "Bearer " + authority.token;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const options = { method, headers, body, cache: "no-store", credentials: "omit", redirect: "error" };
    let answer, said;
    try {
        answer = await fetch(path, { ...options, signal: AbortSignal.timeout(ANSWER_MS) });
        said = await answer.text();
    } catch {
        throw new Refused(0, "away", "The engine does not answer.");
    }
    if (answer.ok && !(answer.headers.get("Content-Type") || "").startsWith("application/json")) return said;
    let value = null;
    try {
        value = said === "" ? null : JSON.parse(said);
    } catch {
        throw new Refused(answer.status, "unreadable", "The answer is no JSON: " + shown(said, 200));
    }
    if (answer.ok) return value;
    const refused = new Refused(answer.status, value?.error || "error", value?.message || "It was refused.");
    refused.reasons = value?.reasons || [];
    throw refused;
}

const get = (path) => ask("GET", path);
const send = (method, path, value) => ask(method, path, JSON.stringify(value));
const segment = encodeURIComponent;

function query(values) {
    const given = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
    return given.length === 0 ? "" : "?" + given.map(([name, value]) => segment(name) + "=" + segment(value)).join("&");
}

/* Whether the engine lets this token change something, asked without changing anything. */
async function authorityCheck() {
    try {
        await ask("OPTIONS", "/pauses");
        authority.may = authority.token !== "";
        authority.word = "";
    } catch (error) {
        authority.may = false;
        authority.word = error.word;
    }
    return authority.may;
}

function authorityLoad() {
    try {
        authority.token = sessionStorage.getItem(TOKEN_KEY) || "";
    } catch {
        /* no storage: in memory alone */
    }
}

function authoritySave(token) {
    authority.token = token;
    try {
        if (token) sessionStorage.setItem(TOKEN_KEY, token);
        else sessionStorage.removeItem(TOKEN_KEY);
    } catch {
        /* as above */
    }
}
