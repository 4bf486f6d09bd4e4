/*
 * explain.c - `sluice explain CONFIG CORRELATION`: one purchase's timeline, and what it waits for.
 *
 * Reads the bus for every event that carries the correlation, and the store for what became of each: handler,
 * outcome, tries, parked until, the chain's state. Nothing is written and no group is joined.
 *
 * Where a pipeline is split into services, the topics are everybody's and the store is this service's: what another
 * service did with an event is told by what came of it, "elsewhere → TOPIC", for events name the one that they came
 * from.
 */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/parts.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { EXPLAIN_EVENTS_MAX = 10000, EXPLAIN_TIMEOUT_MS = 10000, EXPLAIN_ARENA_MAX = 512 * 1024 * 1024 };

struct step { /* one event of the timeline */
    const char *topic, *id, *parent, *reason, *retry_count;
    struct event_id id128, parked_id;
    uint64_t payload_hash;
    int64_t at_ms, due_ms;
    bool dead, poison;
    size_t copies; /* how often the topic has it: a bus may be given an event twice, and it is handled once */
    struct {
        const char *handler, *outcome;
    } ended[8];
    size_t ended_count;
    int64_t parked_due_ms; /* 0: not parked */
    bool stuck;
    int64_t tries;
};

struct explain {
    struct parts parts;
    struct arena *arena;
    const char *correlation;
    struct step *steps;
    size_t count;
    const char *chain, *chain_state, *chain_reason;
};

static void usage(FILE *out)
{
    fputs("usage: sluice explain CONFIG CORRELATION [--json]\n"
          "Tells the story of one correlation (a paymentTxId, say): its events, tries, delays, outcomes, compensation, "
          "and what it\n"
          "is waiting for.\n\n"
          "  --json        for programs\n"
          "  -h, --help    this text\n",
          out);
}

/* The correlation must be a value of the data, or a header; text that merely holds it is another event. */
static bool carries(const struct explain *explain, const struct record *record, const struct event *event, bool parsed)
{
    if (span_is(record_header(record, HEADER_CORRELATION), explain->correlation))
        return true;
    if (!parsed)
        return memmem(record->value.at, record->value.length, explain->correlation, strlen(explain->correlation)) !=
               NULL;
    for (size_t i = 0; i < event->data.count; i++) {
        const struct json_member *member = &event->data.members[i];
        if (member->kind == JSON_KIND_STRING &&
            span_is(json_unescape(member->value, member->value_escaped, explain->arena), explain->correlation))
            return true;
        if (member->kind == JSON_KIND_NUMBER && span_is(member->value, explain->correlation))
            return true;
    }
    return false;
}

static const char *data_field(const struct explain *explain, const struct event *event, const char *name)
{
    const struct json_member *member = json_find(&event->data, span_of(name));
    if (member == NULL)
        return NULL;
    return arena_string(explain->arena, member->kind == JSON_KIND_STRING
                                            ? json_unescape(member->value, member->value_escaped, explain->arena)
                                            : member->value);
}

static bool collect(const struct record *record, int32_t partition, struct position position, void *context)
{
    struct explain *explain = context;
    struct event event = {0};
    enum dead_reason reason = 0;
    (void)partition, (void)position;
    bool parsed = event_parse(record, SIZE_MAX / 2, explain->arena, &event, &reason, NULL) == 0;
    if (!carries(explain, record, &event, parsed))
        return true;
    struct event_id payload_id = event_id_with_payload(event.id, event.payload_hash);
    for (size_t i = 0; i < explain->count && parsed; i++) {
        struct step *before = &explain->steps[i];
        if (!before->poison && memcmp(&before->parked_id, &payload_id, sizeof payload_id) == 0 &&
            span_is(record->topic, before->topic)) {
            before->copies++;
            return true;
        }
    }
    struct step *step = &explain->steps[explain->count];
    struct span parent = record_header(record, HEADER_PARENT), why = record_header(record, HEADER_DLT_REASON);
    struct span due = record_header(record, HEADER_NOT_BEFORE);
    *step = (struct step){
        .topic = arena_string(explain->arena, record->topic),
        .id = arena_string(explain->arena, parsed ? event.id_text : SPAN("?")),
        .id128 = event.id,
        .parked_id = payload_id,
        .payload_hash = event.payload_hash,
        .copies = 1,
        .parent = parent.length > 0 ? arena_string(explain->arena, parent) : NULL,
        .at_ms = record->timestamp_ms,
        .due_ms = due.length > 0 && due.length < 20 ? strtoll(arena_string(explain->arena, due), NULL, 10) : 0,
        .dead = why.length > 0,
        .poison = !parsed,
        .reason = why.length > 0 ? arena_string(explain->arena, why)
                  : parsed       ? data_field(explain, &event, "reason")
                                 : NULL,
        .retry_count = parsed ? data_field(explain, &event, "retryCount") : NULL,
    };
    return ++explain->count < EXPLAIN_EVENTS_MAX;
}

/* The scan goes partition by partition; the story goes by time, and by the log's order where times are equal. */
static void order_steps(struct explain *explain)
{
    for (size_t i = 1; i < explain->count; i++)
        for (size_t j = i; j > 0 && explain->steps[j - 1].at_ms > explain->steps[j].at_ms; j--) {
            struct step swap = explain->steps[j];
            explain->steps[j] = explain->steps[j - 1];
            explain->steps[j - 1] = swap;
        }
}

/* ------------------------------------------------------------------------------------------------- from the store */

static const char *outcome_name(const struct explain *explain, const char *handler, int64_t outcome)
{
    const struct pipeline *pipeline = explain->parts.pipeline;
    if (outcome == -1)
        return "dead letter";
    for (size_t i = 0; i < pipeline->binding_count; i++)
        if (strcmp(pipeline->bindings[i]->id, handler) == 0 && outcome >= 0 &&
            (size_t)outcome < pipeline->bindings[i]->outcome_count)
            return pipeline->bindings[i]->outcomes[outcome].name;
    return strcmp(handler, "chain") == 0 ? "noted" : "done";
}

static void read_inbox(struct explain *explain, const struct rows *rows)
{
    for (size_t r = 0; r < rows_count(rows); r++) {
        struct event_id id = rows_uuid(rows, r, 0);
        const char *handler = arena_string(explain->arena, rows_span(rows, r, 1));
        for (size_t i = 0; i < explain->count; i++) {
            struct step *step = &explain->steps[i];
            if (step->dead || memcmp(&step->id128, &id, sizeof id) != 0 || step->ended_count == 8)
                continue;
            bool other = (uint64_t)rows_int64(rows, r, 3) != step->payload_hash; /* under the same id: a conflict */
            step->ended[step->ended_count].handler = handler;
            step->ended[step->ended_count++].outcome = outcome_name(explain, handler,
                                                                    other ? -1 : rows_int64(rows, r, 2));
        }
    }
}

static void read_waiting(struct explain *explain, const struct rows *rows)
{
    for (size_t r = 0; r < rows_count(rows); r++) {
        struct event_id id = rows_uuid(rows, r, 0);
        for (size_t i = 0; i < explain->count; i++) {
            struct step *step = &explain->steps[i];
            if (step->dead ||
                (memcmp(&step->id128, &id, sizeof id) != 0 && memcmp(&step->parked_id, &id, sizeof id) != 0))
                continue;
            if (!rows_null(rows, r, 1))
                step->parked_due_ms = rows_int64(rows, r, 1);
            step->stuck = rows_int64(rows, r, 2) == 1;
            step->tries = rows_int64(rows, r, 3);
        }
    }
}

/* Every step's event is among those that were found. */
static bool all_steps_done(const struct explain *explain)
{
    const struct pipeline *pipeline = explain->parts.pipeline;
    for (size_t c = 0; c < pipeline->chain_count; c++) {
        if (strcmp(pipeline->chains[c].name, explain->chain) != 0)
            continue;
        for (size_t s = 0; s < pipeline->chains[c].step_count; s++) {
            bool found = false;
            for (size_t i = 0; i < explain->count && !found; i++)
                found = strcmp(explain->steps[i].topic, pipeline->chains[c].steps[s].done->name) == 0;
            if (!found)
                return false;
        }
        return true;
    }
    return false;
}

static enum store_result read_store(struct explain *explain, struct error *error)
{
    static const struct statement inbox = {
        "select i.event_id, n.name, i.outcome, i.hash from sluice.inbox i join sluice.name n on n.number = i.handler"
        " where (i.handler, i.event_id) in (select h.number, e from sluice.name h, unnest($1::uuid[]) e where h.kind = "
        "'h')",
        false};
    static const struct statement waiting = {
        "select event_id, due, state, 0::bigint from sluice.parked where event_id = any($1::uuid[])"
        " union all select event_id, null, 0::smallint, attempts::bigint from sluice.attempt where event_id = "
        "any($1::uuid[])",
        false};
    static const struct statement chain = {"select n.name, c.state, c.reason from sluice.chain c join sluice.name n on "
                                           "n.number = c.chain where c.correlation = $1",
                                           false};
    static const char *const states[] = {"running", "aborted", "undone",
                                         "stuck: an undo failed and waits for an operator"};
    struct connection *connection = connection_create(explain->parts.store, "explain");
    struct event_id *ids = arena_array(explain->arena, struct event_id, 2 * explain->count + 1);
    struct rows *rows = NULL;
    for (size_t i = 0; i < explain->count; i++)
        ids[i] = explain->steps[i].id128;
    for (size_t i = 0; i < explain->count; i++)
        ids[explain->count + i] = explain->steps[i].parked_id;
    struct store_param param = STORE_ARRAY(PARAM_UUID, ids, 2 * explain->count);
    enum store_result result = connection_once(connection, &inbox, 1, &param, EXPLAIN_TIMEOUT_MS, &rows, error);
    if (result == STORE_OK) {
        read_inbox(explain, rows);
        result = connection_once(connection, &waiting, 1, &param, EXPLAIN_TIMEOUT_MS, &rows, error);
    }
    if (result == STORE_OK) {
        read_waiting(explain, rows);
        struct event_id correlation = event_id_of(span_of(explain->correlation));
        struct store_param of_chain = STORE_VALUE(PARAM_UUID, &correlation);
        result = connection_once(connection, &chain, 1, &of_chain, EXPLAIN_TIMEOUT_MS, &rows, error);
    }
    if (result == STORE_OK && rows_count(rows) > 0) {
        int64_t state = rows_int64(rows, 0, 1);
        explain->chain = arena_string(explain->arena, rows_span(rows, 0, 0));
        explain->chain_state = state == 0 && all_steps_done(explain) ? "complete"
                               : state >= 0 && state < 4             ? states[state]
                                                                     : "?";
        explain->chain_reason = rows_null(rows, 0, 2) ? NULL : arena_string(explain->arena, rows_span(rows, 0, 2));
    }
    connection_destroy(connection);
    return result;
}

/* ------------------------------------------------------------------------------------------------------- elsewhere */

static bool binding_emits(const struct binding *binding, const struct topic *to)
{
    for (size_t r = 0; binding != NULL && r < binding->route_count; r++) {
        const struct route *route = &binding->routes[r];
        if (route->kind == ROUTE_TOPIC && route->topic == to)
            return true;
        if (route->kind == ROUTE_LADDER && (route->ladder.topic == to || route->ladder.exhausted == to))
            return true;
    }
    return false;
}

/* Whether this pipeline emits to one topic for an event of the other. */
static bool pipeline_emits(const struct pipeline *pipeline, const struct topic *from, const struct topic *to)
{
    if (binding_emits(from->binding, to))
        return true;
    for (size_t t = 0; t < pipeline->tap_count; t++)
        if (tap_sees(&pipeline->taps[t], from) && binding_emits(pipeline->taps[t].binding, to))
            return true;
    for (size_t w = 0; w < from->watch_count; w++)
        for (size_t s = 0; s < from->watches[w].chain->step_count; s++)
            if (from->watches[w].chain->steps[s].undo == to)
                return true;
    return false;
}

/* Whether `later` came from `step`, and by the hand of another pipeline. */
static bool came_elsewhere(const struct explain *explain, const struct step *step, const struct step *later)
{
    const struct pipeline *pipeline = explain->parts.pipeline;
    if (step->dead || later->dead || later->parent == NULL || strcmp(later->parent, step->id) != 0)
        return false; /* a dead letter has the headers that the event had */
    const struct topic *from = pipeline_topic(pipeline, step->topic), *to = pipeline_topic(pipeline, later->topic);
    return from != NULL && to != NULL && !pipeline_emits(pipeline, from, to);
}

/* ----------------------------------------------------------------------------------------------------------- print */

static void print_wait(const struct step *step, bool color)
{
    int64_t left = step->parked_due_ms - clock_wall_ms();
    if (step->stuck)
        printf("%s  waits for an operator%s\n", color ? "\033[31m" : "", color ? "\033[0m" : "");
    else if (step->parked_due_ms != 0 && step->ended_count == 0)
        printf("                                  waits %lld ms more for its time\n", (long long)(left > 0 ? left : 0));
    if (step->tries > 0 && step->ended_count == 0)
        printf("                                  tried %lld times so far\n", (long long)step->tries);
}

static void print_text(const struct explain *explain)
{
    bool color = isatty(STDOUT_FILENO);
    const char *bold = color ? "\033[1m" : "", *dim = color ? "\033[2m" : "", *off = color ? "\033[0m" : "";
    const char *red = color ? "\033[31m" : "", *green = color ? "\033[32m" : "";

    printf("%s%s%s", bold, explain->correlation, off);
    if (explain->chain != NULL)
        printf("   chain %s: %s%s%s", explain->chain, explain->chain_state,
               explain->chain_reason != NULL ? ", because: " : "",
               explain->chain_reason != NULL ? explain->chain_reason : "");
    putchar('\n');
    for (size_t i = 0; i < explain->count; i++) {
        const struct step *step = &explain->steps[i];
        time_t seconds = (time_t)(step->at_ms / 1000);
        struct tm tm;
        gmtime_r(&seconds, &tm);
        printf("  %02d:%02d:%02d.%03d %s%+8lld ms%s  %s%-22s%s", tm.tm_hour, tm.tm_min, tm.tm_sec,
               (int)(step->at_ms % 1000), dim, (long long)(step->at_ms - explain->steps[0].at_ms), off,
               step->dead ? red : bold, step->topic, off);
        if (step->due_ms > step->at_ms)
            printf("  after %lld ms", (long long)(step->due_ms - step->at_ms));
        for (size_t e = 0; e < step->ended_count; e++)
            printf("  %s → %s%s%s", step->ended[e].handler,
                   strcmp(step->ended[e].outcome, "dead letter") == 0 ? red : green, step->ended[e].outcome, off);
        for (size_t later = 0; later < explain->count; later++)
            if (came_elsewhere(explain, step, &explain->steps[later]))
                printf("  %selsewhere → %s%s", dim, explain->steps[later].topic, off);
        if (step->reason != NULL)
            printf("  %s(%s)%s", dim, step->reason, off);
        if (step->copies > 1)
            printf("  %s(on the topic %zu times)%s", dim, step->copies, off);
        putchar('\n');
        print_wait(step, color);
    }
    if (explain->count == 0)
        printf("  nothing on this pipeline's topics carries it\n");
}

static void print_json(const struct explain *explain)
{
    struct buffer out;
    buffer_init(&out, 64 * 1024 * 1024);
    buffer_text(&out, "{\"correlation\":");
    buffer_json_string(&out, span_of(explain->correlation));
    if (explain->chain != NULL) {
        buffer_text(&out, ",\"chain\":");
        buffer_json_string(&out, span_of(explain->chain));
        buffer_text(&out, ",\"chainState\":");
        buffer_json_string(&out, span_of(explain->chain_state));
    }
    buffer_text(&out, ",\"events\":[");
    for (size_t i = 0; i < explain->count; i++) {
        const struct step *step = &explain->steps[i];
        buffer_text(&out, i > 0 ? ",{\"topic\":" : "{\"topic\":");
        buffer_json_string(&out, span_of(step->topic));
        buffer_text(&out, ",\"eventId\":");
        buffer_json_string(&out, span_of(step->id));
        buffer_format(&out, ",\"timestamp\":%lld", (long long)step->at_ms);
        if (step->parent != NULL) {
            buffer_text(&out, ",\"parent\":");
            buffer_json_string(&out, span_of(step->parent));
        }
        if (step->due_ms != 0)
            buffer_format(&out, ",\"notBefore\":%lld", (long long)step->due_ms);
        if (step->reason != NULL) {
            buffer_text(&out, ",\"reason\":");
            buffer_json_string(&out, span_of(step->reason));
        }
        if (step->parked_due_ms != 0 && step->ended_count == 0)
            buffer_format(&out, ",\"parkedUntil\":%lld", (long long)step->parked_due_ms);
        buffer_format(&out, ",\"copies\":%zu,\"tries\":%lld,\"deadLetter\":%s,\"elsewhere\":[", step->copies,
                      (long long)step->tries, step->dead ? "true" : "false");
        for (size_t later = 0, found = 0; later < explain->count; later++)
            if (came_elsewhere(explain, step, &explain->steps[later])) {
                buffer_text(&out, found++ > 0 ? "," : "");
                buffer_json_string(&out, span_of(explain->steps[later].topic));
            }
        buffer_text(&out, "],\"handled\":[");
        for (size_t e = 0; e < step->ended_count; e++) {
            buffer_text(&out, e > 0 ? ",{\"handler\":" : "{\"handler\":");
            buffer_json_string(&out, span_of(step->ended[e].handler));
            buffer_text(&out, ",\"outcome\":");
            buffer_json_string(&out, span_of(step->ended[e].outcome));
            buffer_byte(&out, '}');
        }
        buffer_text(&out, "]}");
    }
    buffer_text(&out, "]}\n");
    fwrite(out.at, 1, out.length, stdout);
    buffer_free(&out);
}

static int explain_run(struct explain *explain, const char *config, bool json, const struct buses *buses)
{
    static const char *const everything[] = {"*"};
    struct error error = {0};
    int code = parts_open(config, PARTS_BUS, false, buses, &explain->parts);
    if (code != CLI_OK)
        return code;
    if (explain->parts.pipeline->bus.kind == BUS_CHOICE_MEMORY) {
        fprintf(stderr, "sluice explain: the memory bus lives inside the engine that runs it; nothing of it can be "
                        "seen from here\n");
        return CLI_FAILED;
    }
    explain->arena = arena_create(256 * 1024, EXPLAIN_ARENA_MAX);
    explain->steps = arena_array(explain->arena, struct step, EXPLAIN_EVENTS_MAX);
    struct bus *bus = explain->parts.bus;
    if (bus_scan(bus, everything, 1, span_of(explain->correlation), false, NULL, collect, explain, &error) < 0) {
        fprintf(stderr, "sluice explain: %s%s%s\n", error.text, error.hint[0] != '\0' ? "; " : "", error.hint);
        return CLI_FAILED;
    }
    order_steps(explain);
    if (explain->parts.store != NULL && read_store(explain, &error) != STORE_OK) {
        fprintf(stderr, "sluice explain: %s\n", error.text);
        return CLI_FAILED;
    }
    if (json)
        print_json(explain);
    else
        print_text(explain);
    return CLI_OK;
}

int cli_explain(int argc, char **argv, const struct buses *buses)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
    struct explain explain = {0};
    bool json = false;
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        switch (option) {
        case 'j':
            json = true;
            break;
        case 'h':
            usage(stdout);
            return CLI_OK;
        default:
            return CLI_USAGE;
        }
    }
    if (!cli_operands(argc, argv, 2, 2, "a CONFIG and a CORRELATION"))
        return CLI_USAGE;
    if (argv[optind + 1][0] == '\0')
        return cli_misuse(
            "explain", "the CORRELATION is empty; expected a value that the events carry, a paymentTxId for example");
    explain.correlation = argv[optind + 1];
    int code = explain_run(&explain, argv[optind], json, buses);
    arena_destroy(explain.arena);
    parts_close(&explain.parts);
    return code;
}
