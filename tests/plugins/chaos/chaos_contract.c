/*
 * chaos_contract.c - the modes of chaos that try one promise of sluice/plugin.h each, without a statement.
 */
#include "chaos.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int is(struct sluice_text text, const char *word)
{
    return text.length == strlen(word) && memcmp(text.at, word, text.length) == 0;
}

/* Calls the function that `path` names for an event that does not exist. */
static void do_bad_index(struct sluice_call *call, size_t n, const struct act *act)
{
    const struct sluice_host *host = call->host;
    const struct sluice_text json = {"{}", 2};
    size_t nobody = call->count + 1000;
    host->outcome(call, n, OK);
    if (is(act->path, "outcome"))
        host->outcome(call, nobody, OK);
    else if (is(act->path, "retry"))
        host->retry(call, nobody, "why");
    else if (is(act->path, "reject"))
        host->reject(call, nobody, "why");
    else if (is(act->path, "set_text"))
        host->set_text(call, nobody, "note", json);
    else if (is(act->path, "set_text of too much")) {
        static const char zeros[70000];
        host->set_text(call, nobody, "note", (struct sluice_text){zeros, sizeof zeros});
    } else if (is(act->path, "set_int64"))
        host->set_int64(call, nobody, "number", 1);
    else if (is(act->path, "set_double"))
        host->set_double(call, nobody, "ratio", 1);
    else if (is(act->path, "set_bool"))
        host->set_bool(call, nobody, "flag", 1);
    else if (is(act->path, "set_json"))
        host->set_json(call, nobody, "blob", json);
    else if (is(act->path, "reply"))
        host->reply(call, nobody, 200, json, 0);
}

/* What add() returned is for set_*() alone: its outcome is given. */
static void do_added_outcome(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->outcome(call, n, OK);
    call->host->outcome(call, call->host->add(call, OK), OTHER);
}

static void do_bad_add(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->outcome(call, n, call->host->add(call, 77) == SIZE_MAX ? OK : OTHER);
}

/* A field whose name has n bytes; n < 0: no name at all. */
static void do_name_length(struct sluice_call *call, size_t n, const struct act *act)
{
    char name[256] = {0};
    if (act->n > 0 && act->n < (int64_t)sizeof name)
        memset(name, 'x', (size_t)act->n);
    call->host->set_int64(call, n, act->n < 0 ? NULL : name, 1);
    call->host->outcome(call, n, OK);
}

static void do_set_null(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->set_text(call, n, "note", (struct sluice_text){NULL, 0});
    call->host->outcome(call, n, OK);
}

static void do_set_twice(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->set_int64(call, n, "number", 1);
    call->host->set_text(call, n, "note", (struct sluice_text){"first", 5});
    call->host->set_int64(call, n, "number", 2);
    call->host->set_text(call, n, "note", (struct sluice_text){"", 0});
    call->host->outcome(call, n, OK);
}

static void do_set_double_as(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->set_double(call, n, "ratio", 0.1);
    call->host->outcome(call, n, OK);
}

static void do_set_infinite(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->set_double(call, n, "ratio", -(double)INFINITY);
    call->host->outcome(call, n, OK);
}

static void do_set_nan(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->set_double(call, n, "ratio", (double)NAN);
    call->host->outcome(call, n, OK);
}

static void do_set_bool_as(struct sluice_call *call, size_t n, const struct act *act)
{
    call->host->set_bool(call, n, "flag", (int32_t)act->n);
    call->host->outcome(call, n, OK);
}

/* A number and a truth for fields that are declared as others. */
static void do_set_double_elsewhere(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->set_double(call, n, "note", 1.5);
    call->host->outcome(call, n, OK);
}

static void do_set_bool_elsewhere(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->set_bool(call, n, "number", 1);
    call->host->outcome(call, n, OK);
}

/* n bytes that are six bytes each in JSON. */
static void do_set_controls(struct sluice_call *call, size_t n, const struct act *act)
{
    char *text = calloc(1, (size_t)act->n);
    if (text == NULL)
        return;
    memset(text, 1, (size_t)act->n);
    call->host->set_text(call, n, "note", (struct sluice_text){text, (size_t)act->n});
    call->host->outcome(call, n, OK);
    free(text);
}

static void do_last_reject(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->retry(call, n, "first");
    call->host->outcome(call, n, OK);
    call->host->reject(call, n, "in the end");
}

static void do_last_retry(struct sluice_call *call, size_t n, const struct act *act)
{
    call->host->reject(call, n, "first");
    call->host->outcome(call, n, OTHER);
    if (act->attempt == 1)
        call->host->retry(call, n, "in the end");
    else
        call->host->outcome(call, n, OK);
}

static void do_no_words(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->reject(call, n, "");
}

static void do_reply_status(struct sluice_call *call, size_t n, const struct act *act)
{
    static const char json[] = "{\"chaos\":18446744073709551616}"; /* a number that no integer of C holds */
    call->host->reply(call, n, (uint32_t)act->n, (struct sluice_text){json, sizeof json - 1}, 0);
}

/* Sets what the call says of its event; outcome other until its ladder was climbed n - 1 times. */
static void do_seen(struct sluice_call *call, size_t n, const struct act *act)
{
    const struct sluice_event *event = (const struct sluice_event *)(const void *)((const char *)call->events +
                                                                                   n * call->events[0].size);
    char note[1024];
    int length = snprintf(note, sizeof note, "%.*s|%.*s|%.*s|%.*s|%u|%d|%d|%d", (int)event->id.length, event->id.at,
                          (int)event->topic.length, event->topic.at, (int)event->key.length, event->key.at,
                          (int)event->name.length, event->name.at, event->attempt, event->retries_left,
                          event->retry_count, (int)event->value.length);
    call->host->set_text(call, n, "note", (struct sluice_text){note, (size_t)length});
    call->host->set_json(call, n, "blob", event->data);
    call->host->set_int64(call, n, "number", event->timestamp_ms);
    if (event->key.at == NULL || event->value.at == NULL)
        call->host->reject(call, n, "a text of the event is NULL");
    else
        call->host->outcome(call, n, event->retry_count < act->n - 1 ? OTHER : OK);
}

/* How much time is left, and whether the clock is the world's. */
static void do_times(struct sluice_call *call, size_t n, const struct act *act)
{
    int64_t off = call->host->now_ms(call) - (int64_t)time(NULL) * 1000;
    (void)act;
    call->host->set_int64(call, n, "number", call->host->time_left_ms(call));
    call->host->outcome(call, n, off > -2000 && off < 3000 ? OK : OTHER);
}

#define MODE(name)                                                                                                     \
    {                                                                                                                  \
#name, do_##name                                                                                               \
    }

static const struct mode modes[] = {
    MODE(bad_index),
    MODE(added_outcome),
    MODE(bad_add),
    MODE(name_length),
    MODE(set_null),
    MODE(set_twice),
    MODE(set_controls),
    MODE(last_reject),
    MODE(last_retry),
    MODE(no_words),
    MODE(reply_status),
    MODE(seen),
    MODE(times),
    MODE(set_double_as),
    MODE(set_infinite),
    MODE(set_nan),
    MODE(set_bool_as),
    MODE(set_double_elsewhere),
    MODE(set_bool_elsewhere),
};

/* set_VALUE_as_FIELD: 1 when the mode is one. */
static int set_value(struct sluice_call *call, size_t n, struct sluice_text mode)
{
    static const struct {
        const char *name, *json;
    } values[] = {{"text", "\"x\""}, {"integer", "7"}, {"fraction", "7.5"},     {"huge", "9223372036854775808"},
                  {"true", "true"},  {"null", "null"}, {"object", "{\"a\":1}"}, {"array", "[1]"}};
    char text[65], field[65], value[65];
    snprintf(text, sizeof text, "%.*s", (int)mode.length, mode.at);
    if (sscanf(text, "set_%64[a-z]_as_%64[a-z]", value, field) != 2)
        return 0;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (strcmp(values[i].name, value) != 0)
            continue;
        if (strcmp(value, "text") == 0)
            call->host->set_text(call, n, field, (struct sluice_text){"x", 1});
        else if (strcmp(value, "null") == 0 && strcmp(field, "note") == 0)
            call->host->set_text(call, n, field, (struct sluice_text){NULL, 0});
        else if (strcmp(value, "integer") == 0)
            call->host->set_int64(call, n, field, 7);
        else
            call->host->set_json(call, n, field, (struct sluice_text){values[i].json, strlen(values[i].json)});
    }
    call->host->outcome(call, n, OK);
    return 1;
}

int chaos_contract(struct sluice_call *call, size_t n, const struct act *act)
{
    if (set_value(call, n, act->mode))
        return 1;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (is(act->mode, modes[i].name)) {
            modes[i].act(call, n, act);
            return 1;
        }
    }
    return 0;
}
