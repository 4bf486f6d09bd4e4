/*
 * metrics.js - the engine's counters, and what they do a second.
 */
const WINDOW_S = 10; /* a rate is over so many seconds */
const HISTORY = 120; /* points of the curve */
const metrics = { now: new Map(), samples: [], history: [] };

/* The Prometheus text: name → [{labels, value}]. Buckets are left out. */
function metricsParse(page) {
    const found = new Map();
    for (const line of page.split("\n")) {
        const parts = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
        if (parts === null || parts[1].endsWith("_bucket")) continue;
        const labels = {};
        for (const pair of (parts[2] || "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
            labels[pair[1]] = pair[2].replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
        if (!found.has(parts[1])) found.set(parts[1], []);
        found.get(parts[1]).push({ labels, value: Number(parts[3]) });
    }
    return found;
}

/* The sum of a metric's series that have these labels; null when it has none. */
function metric(name, labels, sample = metrics.now) {
    let sum = null;
    for (const series of sample.get(name) || [])
        if (Object.entries(labels || {}).every(([key, value]) => series.labels[key] === value))
            sum = (sum || 0) + series.value;
    return sum;
}

function series(name) {
    return metrics.now.get(name) || [];
}

function metricsTake(page) {
    const now = metricsParse(page),
        at = performance.now() / 1000;
    const last = metrics.samples.at(-1);
    const total = (sample) => metric("sluice_events_total", {}, sample) || 0;
    if (last && total(now) < total(last.values)) metrics.samples.length = 0; /* another process counts from 0 */
    metrics.now = now;
    metrics.samples.push({ at, values: now });
    while (metrics.samples.length > 2 && metrics.samples[1].at < at - WINDOW_S) metrics.samples.shift();
    metrics.history.push(last && metrics.samples.length > 1 ? (total(now) - total(last.values)) / (at - last.at) : 0);
    if (metrics.history.length > HISTORY) metrics.history.shift();
}

/* A second, over the last ten; null until there are two samples. */
function perSecond(name, labels) {
    const first = metrics.samples[0],
        last = metrics.samples.at(-1);
    if (!first || first === last) return null;
    const after = metric(name, labels, last.values),
        before = metric(name, labels, first.values);
    return after === null ? null : (after - (before || 0)) / (last.at - first.at);
}
