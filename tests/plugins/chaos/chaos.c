/*
 * chaos.c - the plugin that misbehaves on demand: what it does to an event is in the event's own `mode`.
 *
 * Handlers  act       without a store      act_sql   with one; both know every mode, sql_* need the second
 *           ask       of requests: replies with what `mode` says
 *           tick      of schedules: adds `adds` events of outcome ok, each with its `number`
 *           tick_sql  of schedules: does what the setting `tick` says, as act_sql
 * Reads     mode      one of the tables; anything else is outcome ok
 *           n         a count, milliseconds or bytes, by mode
 *           path      a file that remembers what must happen once (modes *_once), or holds the handler (wait) or the
 *                     key (retry_while)
 * Sets      note, number, blob, ratio, flag
 * Settings  open      ok, fail, silent, crash, hang: what open() does
 *           tick      a mode
 */
#include "chaos.h"

#include <stdlib.h>
#include <string.h>

struct chaos {
    struct sluice_text open, tick;
    int64_t adds;
};

static const struct sluice_field settings[] = {
    SLUICE_TEXT(struct chaos, open, .choices = "ok|fail|silent|crash|hang", .flags = SLUICE_OPTIONAL, .fallback = "ok",
                .help = "what open() does"),
    SLUICE_INT64(struct chaos, adds, .min = 0, .max = 2000000, .flags = SLUICE_OPTIONAL, .fallback = "1",
                 .help = "events that a tick adds"),
    SLUICE_TEXT(struct chaos, tick, .max = 64, .flags = SLUICE_OPTIONAL, .fallback = "ok",
                .help = "what tick_sql does"),
    {0},
};

static const struct sluice_field act_input[] = {
    SLUICE_TEXT(struct act, mode, .min = 1, .max = 64, .help = "what to do"),
    SLUICE_TEXT(struct act, path, .max = 1024, .flags = SLUICE_OPTIONAL,
                .help = "a file for modes *_once, wait and retry_while"),
    SLUICE_INT64(struct act, n, .flags = SLUICE_OPTIONAL, .fallback = "1", .help = "how much"),
    SLUICE_META_INT64(struct act, attempt, SLUICE_META_ATTEMPT),
    {0},
};

static const struct sluice_field ask_input[] = {
    SLUICE_TEXT(struct act, mode, .min = 1, .max = 64, .help = "what to do"),
    SLUICE_INT64(struct act, n, .flags = SLUICE_OPTIONAL, .fallback = "1", .help = "how much"),
    {0},
};

static const struct sluice_outcome outcomes[] = {
    [OK] = {"ok", "it went well"}, [OTHER] = {"other", "it went another way"}, {0}};

static const struct sluice_field sets[] = {
    SLUICE_SETS_TEXT("note", .help = "a text"),
    SLUICE_SETS_INT64("number", .help = "the number of an added event"),
    {.name = "blob", .type = SLUICE_TYPE_JSON, .help = "any JSON"},
    {.name = "ratio", .type = SLUICE_TYPE_DOUBLE, .help = "a number"},
    {.name = "flag", .type = SLUICE_TYPE_BOOL, .help = "true or false"},
    {0},
};

/* ------------------------------------------------------------------------------------------------- wrong answers */

static void do_retry_n(struct sluice_call *call, size_t n, const struct act *act)
{
    if (act->attempt <= act->n)
        call->host->retry(call, n, "not yet");
    else
        call->host->outcome(call, n, OK);
}

static void do_reject(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->reject(call, n, "rejected on demand");
}

static void do_unavailable_once(struct sluice_call *call, size_t n, const struct act *act)
{
    if (chaos_is_first(act))
        call->host->unavailable(call, "away on demand");
    else
        call->host->outcome(call, n, OK);
}

static void do_other(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->outcome(call, n, OTHER);
}

static void do_no_outcome(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)call, (void)n, (void)act;
}

static void do_changed_mind(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->reject(call, n, "no");
    call->host->outcome(call, n, OTHER);
    call->host->outcome(call, n, OK);
}

static void do_bad_outcome_index(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->outcome(call, n, 77);
}

static void do_bad_event_index(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->outcome(call, n, OK);
    call->host->outcome(call, call->count + 1000, OK);
}

static void do_invalid_utf8(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->set_text(call, n, "note", (struct sluice_text){"\xff\xfe\xc0\x80", 4});
    call->host->outcome(call, n, OK);
}

static void do_invalid_json(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->set_json(call, n, "blob", (struct sluice_text){"{\"a\":", 5});
    call->host->outcome(call, n, OK);
}

static void do_undeclared_set(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->set_int64(call, n, "surprise", 1);
    call->host->outcome(call, n, OK);
}

static void do_huge_set(struct sluice_call *call, size_t n, const struct act *act)
{
    char *text = malloc((size_t)act->n);
    if (text == NULL) {
        call->host->reject(call, n, "too huge for malloc");
        return;
    }
    memset(text, 'x', (size_t)act->n);
    call->host->set_text(call, n, "note", (struct sluice_text){text, (size_t)act->n});
    call->host->outcome(call, n, OK);
    free(text);
}

static void do_many_adds(struct sluice_call *call, size_t n, const struct act *act)
{
    for (int64_t i = 0; i < act->n; i++) {
        size_t added = call->host->add(call, OK);
        if (added != SIZE_MAX)
            call->host->set_int64(call, added, "number", i);
    }
    call->host->outcome(call, n, OK);
}

static void do_reply(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->reply(call, n, 200, (struct sluice_text){"{}", 2}, 0);
    call->host->outcome(call, n, OK);
}

static void do_log(struct sluice_call *call, size_t n, const struct act *act)
{
    for (int64_t i = 0; i < act->n; i++)
        call->host->log(call, SLUICE_LOG_WARN, "a line\nwith a break and \033[31mcolour");
    call->host->outcome(call, n, OK);
}

/* ------------------------------------------------------------------------------------------------------------ table */

static void do_ok(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->outcome(call, n, OK);
}

#define MODE(name)                                                                                                     \
    {                                                                                                                  \
#name, do_##name                                                                                               \
    }

static const struct mode modes[] = {
    MODE(ok),
    MODE(other),
    MODE(retry_n),
    MODE(reject),
    MODE(changed_mind),
    MODE(unavailable_once),
    MODE(no_outcome),
    MODE(bad_outcome_index),
    MODE(bad_event_index),
    MODE(invalid_utf8),
    MODE(invalid_json),
    MODE(undeclared_set),
    MODE(huge_set),
    MODE(many_adds),
    MODE(reply),
    MODE(log),
};

static void act_on(struct sluice_call *call, size_t n, const struct act *act)
{
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strlen(modes[i].name) == act->mode.length && memcmp(modes[i].name, act->mode.at, act->mode.length) == 0) {
            modes[i].act(call, n, act);
            return;
        }
    }
    if (!chaos_process(call, n, act) && !chaos_sql(call, n, act) && !chaos_read(call, n, act) &&
        !chaos_types(call, n, act) && !chaos_contract(call, n, act))
        do_ok(call, n, act);
}

static void act_all(void *state, struct sluice_call *call)
{
    const struct act *inputs = call->inputs;
    (void)state;
    for (size_t n = 0; n < call->count; n++)
        act_on(call, n, &inputs[n]);
}

/* Replies before it acts, so that the reply of a request whose transaction fails can be looked for. */
static void ask(void *state, struct sluice_call *call)
{
    const struct act *inputs = call->inputs;
    static const struct sluice_text broken = {"{", 1}, good = {"{\"chaos\":true}", 14};
    (void)state;
    for (size_t n = 0; n < call->count; n++) {
        const struct act *act = &inputs[n];
        int no_reply = act->mode.length == 8 && memcmp(act->mode.at, "no_reply", 8) == 0;
        int bad_reply = act->mode.length == 9 && memcmp(act->mode.at, "bad_reply", 9) == 0;
        int bad_status = act->mode.length == 10 && memcmp(act->mode.at, "bad_status", 10) == 0;
        if (!no_reply)
            call->host->reply(call, n, bad_status ? 99 : 200, bad_reply ? broken : good, 0);
        act_on(call, n, act);
    }
}

static void tick(void *state, struct sluice_call *call)
{
    const struct chaos *self = state;
    for (int64_t i = 0; i < self->adds; i++) {
        size_t added = call->host->add(call, OK);
        if (added == SIZE_MAX)
            break;
        call->host->set_int64(call, added, "number", i);
    }
}

static void tick_sql(void *state, struct sluice_call *call)
{
    const struct chaos *self = state;
    const struct act act = {.mode = self->tick, .path = {"", 0}, .n = 1, .attempt = 1};
    act_on(call, 0, &act);
}

static int chaos_open(void *state, struct sluice_opening *opening)
{
    const struct chaos *self = state;
    switch (self->open.at[0]) {
    case 'f':
        opening->fail(opening, "it fails on demand");
        return -1;
    case 's':
        return -1;
    case 'c':
        abort();
    case 'h':
        for (;;)
            chaos_sleep(1000);
    default:
        return 0;
    }
}

static const struct sluice_handler handlers[] = {
    {.name = "act",
     .help = "does what `mode` says",
     .input = act_input,
     .input_size = sizeof(struct act),
     .outcomes = outcomes,
     .sets = sets,
     .max_events = 100,
     .handle = act_all},
    {.name = "act_sql",
     .help = "does what `mode` says, with a store",
     .input = act_input,
     .input_size = sizeof(struct act),
     .outcomes = outcomes,
     .sets = sets,
     .max_events = 100,
     .uses_store = 1,
     .handle = act_all},
    {.name = "ask",
     .help = "replies, then does what `mode` says",
     .kind = SLUICE_REQUEST,
     .input = ask_input,
     .input_size = sizeof(struct act),
     .outcomes = outcomes,
     .sets = sets,
     .max_events = 100,
     .uses_store = 1,
     .handle = ask},
    {.name = "tick",
     .help = "adds events",
     .kind = SLUICE_SCHEDULE,
     .outcomes = outcomes,
     .sets = sets,
     .max_events = 1,
     .handle = tick},
    {.name = "tick_sql",
     .help = "does what the setting `tick` says",
     .kind = SLUICE_SCHEDULE,
     .outcomes = outcomes,
     .sets = sets,
     .max_events = 1,
     .uses_store = 1,
     .handle = tick_sql},
    {0},
};

SLUICE_PLUGIN(.name = "chaos", .version = "1.0.0", .help = "misbehaves on demand", .settings = settings,
              .state_size = sizeof(struct chaos), .open = chaos_open, .handlers = handlers)
