/*
 * json.js - JSON as it was written: laid out, and cut, without a number or a text changing on the way.
 */

/* Calls on(kind, from, to) for each token: a string, another scalar, or one of {}[],: */
function jsonTokens(text, on) {
    for (let i = 0; i < text.length;) {
        const c = text[i];
        let end = i + 1;
        if (c === '"') {
            while (end < text.length && text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
            on("text", i, ++end);
        } else if ("{}[],:".includes(c)) {
            on(c, i, end);
        } else if (!" \t\r\n".includes(c)) {
            while (end < text.length && !" \t\r\n{}[],:".includes(text[end])) end++;
            on("scalar", i, end);
        }
        i = end;
    }
}

function jsonValid(text) {
    try {
        JSON.parse(text);
        return true;
    } catch {
        return false;
    }
}

/* With a line a member; a text that is no JSON as it is. */
function jsonPretty(text) {
    if (!jsonValid(text)) return text;
    const out = [];
    let depth = 0,
        last = "";
    const line = () => out.push("\n" + "  ".repeat(depth));
    jsonTokens(text, (kind, from, to) => {
        if (kind === "}" || kind === "]") {
            depth--;
            if (last !== "{" && last !== "[") line();
        } else if (last === "{" || last === "[" || last === ",") line();
        out.push(kind === ":" ? ": " : text.slice(from, to));
        if (kind === "{" || kind === "[") depth++;
        last = kind;
    });
    return out.join("");
}

/* The bytes of a member of the object, or null. */
function jsonMember(text, name) {
    if (!jsonValid(text)) return null;
    let depth = 0,
        key = null,
        begin = -1,
        found = null;
    jsonTokens(text, (kind, from, to) => {
        if (depth === 1 && kind === ":") begin = to;
        else if (depth === 1 && (kind === "," || kind === "}")) {
            if (begin >= 0 && key === name) found = text.slice(begin, from).trim();
            begin = -1;
        } else if (depth === 1 && kind === "text" && begin < 0) key = JSON.parse(text.slice(from, to));
        if (kind === "{" || kind === "[") depth++;
        if (kind === "}" || kind === "]") depth--;
    });
    return found;
}
