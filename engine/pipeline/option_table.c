/*
 * option_table.c - every key of pipeline.yaml.
 */
#include "pipeline/option.h"

#define AT(member) offsetof(struct pipeline, member)

const struct option bus_options_table[] = {
    {"kind", OPTION_TEXT, .own = true, .choices = "memory|postgres|kafka", .required = true,
     .help = "where events live: memory (nothing survives), postgres (the database of `store`), kafka"},
    {"partitions", OPTION_INT32, AT(bus.partitions), .min = 1, .max = 1024, .fallback = "16",
     .help = "of the log, made once (memory, postgres); of each topic that `sluice migrate` makes (kafka). How many "
             "processes "
             "can share the work"},
    {"replication", OPTION_INT32, AT(bus.replication), .min = 1, .max = 100,
     .help = "of each topic that `sluice migrate` makes; default: the brokers' own (kafka)"},
    {"retention", OPTION_DURATION, AT(bus.retention_ms), .min = 1000, .max = 31536000000, .fallback = "24h",
     .help = "how long handled events stay readable (memory, postgres)"},
    {"properties", OPTION_SECTION, .help = "librdkafka's own property names (kafka)", .section = property_options},
    {0},
};

const struct option store_options_table[] = {
    {"url", OPTION_TEXT, AT(store.url), .min = 1, .required = true,
     .help = "PostgreSQL connection URI; take it from the environment: \"${DATABASE_URL}\""},
    {"connect_timeout", OPTION_DURATION, AT(store.connect_timeout_ms), .min = 100, .max = 600000, .fallback = "5s",
     .help = "longest wait for a connection"},
    {"statement_timeout", OPTION_DURATION, AT(store.statement_timeout_ms), .min = 100, .max = 600000, .fallback = "10s",
     .help =
         "longest time of one statement, a handler's too; the server gets it too. A handler's `timeout` may be longer"},
    {"inbox_retention", OPTION_DURATION, AT(store.inbox_retention_ms), .min = 60000, .max = 315360000000,
     .fallback = "168h", .help = "how long handled events are remembered; longer than anything may be delivered again"},
    {"allow_unsafe", OPTION_BOOL, AT(store.allow_unsafe), .fallback = "false",
     .help = "start on a server with fsync, synchronous_commit or full_page_writes off, which may lose what it "
             "acknowledged"},
    {0},
};

const struct option batch_options[] = {
    {"max_events", OPTION_INT32, .own = true, .min = 1, .max = 10000, .fallback = "500",
     .help = "most events a transaction"},
    {"max_wait", OPTION_DURATION, .own = true, .min = 0, .max = 60000, .fallback = "0ms",
     .help = "taps: how long a batch may wait to fill"},
    {0},
};

const struct option engine_options_table[] = {
    {"group", OPTION_TEXT, AT(engine.group), .help = "consumer group; default: the pipeline's name"},
    {"from", OPTION_TEXT, .own = true, .min = 1,
     .help = "where the group begins when it has no position and its topics have events that another group has read: "
             "earliest, latest, or a time like 2026-01-31T08:00:00Z"},
    {"lanes", OPTION_INT32, AT(engine.lanes), .min = 1, .max = 64, .fallback = "4",
     .help = "threads that handle events; a key's events stay in one"},
    {"batch", OPTION_SECTION, .help = "how much goes into one transaction", .section = batch_options},
    {"hop_limit", OPTION_INT32, AT(engine.hop_limit), .min = 1, .max = 1000, .fallback = "32",
     .help = "emissions in a row before an event is a dead letter"},
    {"max_event_size", OPTION_SIZE, AT(engine.max_event_size), .min = 1024, .max = 16777216, .fallback = "1MiB",
     .help = "largest event"},
    {"drain_timeout", OPTION_DURATION, AT(engine.drain_timeout_ms), .min = 0, .max = 600000, .fallback = "10s",
     .help = "longest wait for what runs, on SIGTERM"},
    {"sweep_after", OPTION_DURATION, AT(engine.sweep_after_ms), .min = 100, .max = 3600000, .fallback = "5s",
     .help = "age at which committed and unpublished outputs are published by the sweeper"},
    {"event_format", OPTION_TEXT, .own = true, .choices = "sluice|cloudevents|cloudevents_binary", .fallback = "sluice",
     .help =
         "form of what is emitted; all are read. `cloudevents`: structured mode, `cloudevents_binary`: binary mode"},
    {"plugin_dir", OPTION_TEXT, AT(engine.plugin_dir), .min = 1,
     .help = "where plain plugin names are looked for; default: beside the program, then the installed folder"},
    {0},
};

const struct option plugin_options[] = {
    {"library", OPTION_TEXT, offsetof(struct plugin_ref, library), .min = 1, .required = true,
     .help = "the .so: a path, or a name in plugin_dir"},
    {"sha256", OPTION_TEXT, offsetof(struct plugin_ref, sha256), .min = 1,
     .help = "SHA-256 of the library, 64 hex digits as `sluice inspect` shows them: another file is refused and not "
             "loaded. Default: any file"},
    {"isolation", OPTION_TEXT, .own = true, .choices = "none|process", .fallback = "none",
     .help = "where its handlers run. `process`: in a process of its own for each lane, so that a crash or hang costs "
             "its batch alone; `none`: in the engine's"},
    {"memory", OPTION_SIZE, offsetof(struct plugin_ref, memory), .min = 16777216, .max = 1099511627776,
     .help = "with `isolation: process`, what each of its processes may take for itself: heap, stacks and private "
             "mappings; more is refused to it. Default: any amount"},
    {"cpu", OPTION_DURATION, offsetof(struct plugin_ref, cpu_ms), .min = 100, .max = 3600000,
     .help = "with `isolation: process`, the processor time that a call may take, of all threads of the process; past "
             "it the call ends like one past its `timeout`. Default: any"},
    {"exec", OPTION_BOOL, offsetof(struct plugin_ref, exec), .fallback = "false",
     .help = "with `isolation: process`, whether its processes may run other programs; else execve() fails with EPERM"},
    {"sockets", OPTION_BOOL, offsetof(struct plugin_ref, sockets), .fallback = "false",
     .help = "with `isolation: process`, whether its processes may open sockets; else socket() fails with EPERM"},
    {"settings", OPTION_ANY, .help = "the plugin's own settings; `sluice inspect` lists them"},
    {"migrations", OPTION_TEXT, .own = true, .min = 1,
     .help = "folder of the plugin's numbered SQL, relative to this file; default: `sql`, in a folder named as the "
             "plugin beside its library, or else just beside its library, where there is one"},
    {0},
};

const struct option backoff_options[] = {
    {"initial_interval", OPTION_DURATION, offsetof(struct retry_policy, initial_interval_ms), .min = 1, .max = 86400000,
     .fallback = "200ms", .help = "first delay"},
    {"multiplier", OPTION_NUMBER, offsetof(struct retry_policy, multiplier), .min = 1, .max = 100, .fallback = "2",
     .help = "each delay is the last one times this"},
    {"max_interval", OPTION_DURATION, offsetof(struct retry_policy, max_interval_ms), .min = 1, .max = 86400000,
     .fallback = "30s", .help = "longest delay"},
    {"jitter", OPTION_NUMBER, offsetof(struct retry_policy, jitter), .min = 0, .max = 1, .fallback = "0.2",
     .help = "share of a delay that is random"},
    {0},
};

const struct option retry_options[] = {
    {"max_retries", OPTION_INT32, offsetof(struct retry_policy, max_retries), .min = 0, .max = 1000000, .fallback = "5",
     .help = "the first try is not counted"},
    {"backoff", OPTION_SECTION, .help = "delays between tries", .section = backoff_options},
    {0},
};

const struct option defaults_options[] = {
    {"retry", OPTION_SECTION, .help = "of transient failures, in place: the key waits", .section = retry_options},
    {"dead_letter", OPTION_TEXT, AT(defaults.dead_letter), .min = 1, .fallback = "{topic}-dlt",
     .help = "topic for what can never be handled; {topic} is replaced"},
    {"timeout", OPTION_DURATION, AT(defaults.timeout_ms), .min = 10, .max = 3600000, .fallback = "10s",
     .help = "longest time a handler's transaction may take"},
    {0},
};

const struct option ladder_options[] = {
    {"retry", OPTION_TEXT, .own = true, .required = true,
     .help = "topic of the retries; the same handler takes its events after their delay"},
    {"initial_interval", OPTION_DURATION, offsetof(struct ladder, initial_interval_ms), .min = 1, .max = 2592000000,
     .fallback = "1s", .help = "first delay"},
    {"multiplier", OPTION_NUMBER, offsetof(struct ladder, multiplier), .min = 1, .max = 100, .fallback = "2",
     .help = "each delay is the last one times this"},
    {"max_interval", OPTION_DURATION, offsetof(struct ladder, max_interval_ms), .min = 1, .max = 2592000000,
     .fallback = "30d", .help = "longest delay"},
    {"max_retries", OPTION_INT32, offsetof(struct ladder, max_retries), .min = 1, .max = 1000, .required = true,
     .help = "steps of the ladder; the first try is not counted"},
    {"counter", OPTION_TEXT, offsetof(struct ladder, counter), .min = 1, .fallback = "retryCount",
     .help = "data field that counts climbed steps"},
    {"exhausted", OPTION_TEXT, .own = true, .required = true, .help = "topic after the last step"},
    {0},
};

const struct option dependency_options[] = {
    {"failures", OPTION_INT32, offsetof(struct dependency, failures), .min = 1, .max = 1000, .fallback = "20",
     .help = "calls that end in `unavailable` or past their time; so many within the window open the breaker"},
    {"window", OPTION_DURATION, offsetof(struct dependency, window_ms), .min = 1000, .max = 3600000, .fallback = "10s",
     .help = "how long a failure counts, in all processes together"},
    {"open", OPTION_DURATION, offsetof(struct dependency, open_ms), .min = 1000, .max = 86400000, .fallback = "30s",
     .help = "no handler that depends on it is called for so long; then one event is let through, whose success closes "
             "the breaker"},
    {0},
};

const struct option limit_options[] = {
    {"rate", OPTION_TEXT, offsetof(struct limit, rate_text), .min = 1,
     .help = "events a second, minute or hour, like `100/s`, in all processes together, evenly spread"},
    {"concurrency", OPTION_INT32, offsetof(struct limit, places), .min = 1, .max = 1000,
     .help = "events that are handled at once, in all processes together; each from before its handler is called until "
             "its transaction has ended"},
    {"per", OPTION_TEXT, offsetof(struct limit, per_text), .min = 1,
     .help = "a limit for each value of this, from data fields: \"{tenantId}\"; default: one for all events"},
    {0},
};

const struct option target_options[] = {
    {"topic", OPTION_TEXT, .own = true, .min = 1, .required = true, .help = "where the event goes"},
    {"delay", OPTION_DURATION, offsetof(struct route_target, delay_ms), .min = 1, .max = 2592000000,
     .help = "how much later the topic's handler here gets it; default: at once"},
    {0},
};

const struct option after_options[] = {
    {"topic", OPTION_TEXT, .own = true, .min = 1, .required = true,
     .help = "which must be handled before, in this file"},
    {"correlate", OPTION_TEXT, offsetof(struct after, correlate), .min = 1, .required = true,
     .help = "data field of both, whose value is the same in the two that belong together"},
    {"at_most", OPTION_DURATION, offsetof(struct after, at_most_ms), .min = 1000, .max = 31536000000, .required = true,
     .help = "it waits so long, counted from when it came"},
    {"then", OPTION_TEXT, .own = true, .choices = "dead_letter|handle", .fallback = "dead_letter",
     .help = "what becomes of it then"},
    {0},
};

const struct option topic_options[] = {
    {"key", OPTION_TEXT, offsetof(struct topic, key_text),
     .help = "what events are ordered by, from members of the data, not of its objects: \"{userId}-{seatId}\""},
    {"handler", OPTION_TEXT, .own = true, .min = 1, .help = "PLUGIN.HANDLER"},
    {"final", OPTION_BOOL, offsetof(struct topic, final), .fallback = "false", .help = "nobody handles it, on purpose"},
    {"elsewhere", OPTION_BOOL, offsetof(struct topic, elsewhere), .fallback = "false",
     .help = "another pipeline handles it; `sluice validate` of all their files together looks whether one does"},
    {"routes", OPTION_ROUTES,
     .help =
         "where each outcome goes: TOPIC, {topic: TOPIC, delay: 10m}, a list of them, drop, or a retry ladder {retry: "
         "TOPIC, …}",
     .section = ladder_options},
    {"retry", OPTION_SECTION, .help = "of transient failures; default: defaults.retry", .section = retry_options},
    {"timeout", OPTION_DURATION, .own = true, .min = 10, .max = 3600000, .help = "default: defaults.timeout"},
    {"dependency", OPTION_TEXT, .own = true, .min = 1,
     .help = "what its handler needs, by its name under `dependencies`: while that breaker is open, events wait"},
    {"limit", OPTION_SECTION,
     .help =
         "how often its handler is called at most, and for how many events at once; what is over it waits, in order",
     .section = limit_options},
    {"after", OPTION_SECTION,
     .help = "an event that came before what it needs waits until that was handled, and its key's later ones of this "
             "topic behind it",
     .section = after_options},
    {"dead_letter", OPTION_TEXT, .own = true, .help = "default: defaults.dead_letter"},
    {"partitions", OPTION_INT32, offsetof(struct topic, partitions), .min = 1, .max = 100000,
     .help = "kafka: when the topic is created"},
    {"replication", OPTION_INT32, offsetof(struct topic, replication), .min = 1, .max = 100,
     .help = "kafka: when the topic is created"},
    {0},
};

const struct option chain_step_options[] = {
    {"name", OPTION_TEXT, offsetof(struct chain_step, name), .min = 1, .required = true, .help = "for people"},
    {"done", OPTION_TEXT, .own = true, .required = true, .help = "topic whose event says that the step was done"},
    {"undo", OPTION_TEXT, .own = true, .required = true, .help = "topic that undoes it, or none"},
    {"undone", OPTION_TEXT, .own = true, .help = "topic that says it was undone; older undos wait for it"},
    {0},
};

const struct option chain_timer_options[] = {
    {"after", OPTION_DURATION, offsetof(struct chain_timer, after_ms), .min = 1, .max = 31536000000, .required = true,
     .help = "how long after the event of `from`"},
    {"from", OPTION_TEXT, .own = true, .min = 1, .required = true,
     .help = "`done` topic of a step: its event begins the timer; another one of the same correlation begins it again"},
    {"emit", OPTION_TEXT, .own = true, .min = 1, .required = true,
     .help = "topic of the event that is emitted then, with the data of the event of `from`"},
    {"cancel_on", OPTION_LIST,
     .help = "`done` topics of steps, or topics of `abort_on`: an event of one ends the timer. So does the end of the "
             "chain: all its steps are done, or it is aborted or closed"},
    {0},
};

const struct option chain_options[] = {
    {"correlate", OPTION_TEXT, offsetof(struct chain, correlate), .min = 1, .required = true,
     .help = "data field that all events of one chain share"},
    {"steps", OPTION_LIST, .required = true, .help = "oldest first", .section = chain_step_options},
    {"abort_on", OPTION_LIST, .required = true,
     .help =
         "topics that undo what was done; `dead_letter`: an event of the chain became one before all steps were done"},
    {"timers", OPTION_LIST,
     .help = "at most 16: each emits an event when something that should have followed a step has not come in time",
     .section = chain_timer_options},
    {"timeout", OPTION_DURATION, offsetof(struct chain, timeout_ms), .min = 1000, .max = 31536000000,
     .help = "what was done is undone when not all steps are done so long after the first; default: never"},
    {"retain", OPTION_DURATION, offsetof(struct chain, retain_ms), .min = 60000, .max = 315360000000,
     .help = "a chain of one correlation is forgotten so long after it was over: complete, or undone. Not before "
             "`store.inbox_retention`, while its events may come again; default: never"},
    {"on_undo_failure", OPTION_TEXT, .own = true, .choices = "pause|retry_forever|dead_letter", .fallback = "pause",
     .help = "when an undo fails for good"},
    {"uncorrelated", OPTION_TEXT, .own = true, .choices = "dead_letter|ignore", .fallback = "dead_letter",
     .help = "what an abort is that has no `correlate` field, or null: a dead letter, or of no chain"},
    {0},
};

const struct option tap_options[] = {
    {"topics", OPTION_LIST, .required = true, .help = "names, or prefixes with a trailing *"},
    {"handler", OPTION_TEXT, .own = true, .min = 1, .required = true, .help = "PLUGIN.HANDLER"},
    {"batch", OPTION_SECTION, .help = "how much goes into one call", .section = batch_options},
    {"lanes", OPTION_INT32, .own = true, .min = 1, .max = 64, .fallback = "1", .help = "threads of this tap"},
    {"from", OPTION_TEXT, .own = true, .min = 1,
     .help = "where the tap begins when it has no position and its topics have events: earliest, latest, or a time "
             "like 2026-01-31T08:00:00Z"},
    {"routes", OPTION_ROUTES, .help = "outcomes that are not named are dropped", .section = ladder_options},
    {"retry", OPTION_SECTION, .help = "default: defaults.retry", .section = retry_options},
    {"timeout", OPTION_DURATION, .own = true, .min = 10, .max = 3600000, .help = "default: defaults.timeout"},
    {0},
};

const struct option schedule_options[] = {
    {"every", OPTION_DURATION, offsetof(struct schedule, every_ms), .min = 10, .max = 2592000000,
     .help = "period; one process of a group runs each tick. A schedule has this or `cron`"},
    {"cron", OPTION_TEXT, offsetof(struct schedule, cron_text), .min = 1,
     .help = "\"minute hour day month weekday\", each a list of numbers, names (jan, mon), ranges and steps: "
             "\"0,30 9-17 * * mon-fri\"; or @hourly, @daily, @weekly, @monthly, @yearly"},
    {"timezone", OPTION_TEXT, offsetof(struct schedule, timezone), .min = 1, .fallback = "UTC",
     .help = "of `cron`: a name of the system's time zone database, like Europe/Berlin"},
    {"handler", OPTION_TEXT, .own = true, .min = 1, .required = true, .help = "PLUGIN.HANDLER"},
    {"routes", OPTION_ROUTES, .help = "where each outcome goes", .section = ladder_options},
    {"timeout", OPTION_DURATION, .own = true, .min = 10, .max = 3600000, .help = "default: defaults.timeout"},
    {0},
};

const struct option request_options[] = {
    {"handler", OPTION_TEXT, .own = true, .min = 1, .help = "PLUGIN.HANDLER; a request has this or `emit`"},
    {"emit", OPTION_TEXT, .own = true, .min = 1,
     .help =
         "without a handler: the topic of the event that the body becomes, or a parameter of the path, \"{topic}\", by "
         "which the client names one of those that stand under `topics`. It is answered with 202 and the event's id; "
         "an event that the topic's handler would refuse, with 400"},
    {"routes", OPTION_ROUTES, .help = "where each outcome goes", .section = ladder_options},
    {"timeout", OPTION_DURATION, .own = true, .min = 10, .max = 3600000, .help = "default: defaults.timeout"},
    {0},
};

const struct option http_options[] = {
    {"listen", OPTION_TEXT, .own = true, .fallback = "127.0.0.1:8080", .help = "HOST:PORT; port 0 takes any free one"},
    {"token", OPTION_TEXT, AT(http.token),
     .help = "what an operator sends as a bearer token to change something; where listen is no loopback address, "
             "whoever asks for anything but the health paths. Empty: none"},
    {"max_body", OPTION_SIZE, AT(http.max_body), .min = 1, .max = 16777216, .fallback = "64KiB",
     .help = "largest request body"},
    {"timeout", OPTION_DURATION, AT(http.timeout_ms), .min = 100, .max = 600000, .fallback = "10s",
     .help = "longest a request waits for what it needs: the database, or what a handler calls unavailable; then 503"},
    {"requests", OPTION_MAP, .help = "\"METHOD /path/{param}\": what answers it", .section = request_options},
    {0},
};

const struct option tracing_options[] = {
    {"otlp", OPTION_TEXT, .own = true, .required = true,
     .help = "where an OpenTelemetry collector takes OTLP/HTTP: http://127.0.0.1:4318; without a path it is "
             "/v1/traces. Empty: no traces"},
    {"sample", OPTION_NUMBER, AT(tracing.sample), .min = 0, .max = 1, .fallback = "0.01",
     .help = "share of the traces that begin here, 0 to 1; one that comes in with a traceparent is recorded when its "
             "sampled flag says so"},
    {"headers", OPTION_ANY,
     .help = "sent with each request, as the collector wants them: {authorization: \"Bearer ${OTLP_TOKEN}\"}"},
    {0},
};

const struct option outbox_table_options[] = {
    {"name", OPTION_TEXT, AT(outbox_table.name), .min = 1, .required = true,
     .help = "TABLE or SCHEMA.TABLE, in the database of `store`; `sluice migrate` makes it when it is not there"},
    {"topics", OPTION_LIST, .required = true,
     .help =
         "whose events are written to it: names, or prefixes with a trailing *, which leave dead letter topics out"},
    {0},
};

const struct option pipeline_options[] = {
    {"pipeline", OPTION_TEXT, AT(name), .required = true, .help = "its name"},
    {"bus", OPTION_SECTION, .required = true, .help = "what carries events", .section = bus_options_table},
    {"store", OPTION_SECTION, .help = "what keeps effects; without it events are handled at least once",
     .section = store_options_table},
    {"engine", OPTION_SECTION, .help = "how the work is done", .section = engine_options_table},
    {"plugins", OPTION_MAP, .help = "shared objects with handlers", .section = plugin_options},
    {"defaults", OPTION_SECTION, .help = "for topics that say nothing else", .section = defaults_options},
    {"dependencies", OPTION_MAP, .help = "what handlers need outside; each has a breaker",
     .section = dependency_options},
    {"topics", OPTION_MAP, .help = "topics and who handles them", .section = topic_options},
    {"chains", OPTION_MAP, .help = "compensation", .section = chain_options},
    {"taps", OPTION_MAP, .help = "watchers in a consumer group each; one that fails never holds the pipeline back",
     .section = tap_options},
    {"schedules", OPTION_MAP, .help = "handlers that start by the clock", .section = schedule_options},
    {"http", OPTION_SECTION, .help = "requests, health and metrics", .section = http_options},
    {"tracing", OPTION_SECTION, .help = "traces, for an OpenTelemetry collector; without it none are recorded",
     .section = tracing_options},
    {"outbox_table", OPTION_SECTION,
     .help = "a table as Debezium's outbox event router reads it: what is emitted to these topics is written there, in "
             "the same transaction",
     .section = outbox_table_options},
    {"renamed", OPTION_NAMES,
     .help = "old: new, for topics, handlers, chains, taps, schedules and the group: what waits under the old name is "
             "handled under the new one"},
    {"retired", OPTION_NAMES, .choices = "dead_letter",
     .help = "old: dead_letter, for topics, handlers, chains and taps: what waits under the old name becomes dead "
             "letters; its chains are closed"},
    {0},
};
