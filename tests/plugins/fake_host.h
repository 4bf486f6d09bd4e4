/*
 * fake_host.h - the engine's side of the plugin contract, for a plugin's own tests: no bus, no threads, no
 * configuration.
 *
 * A test loads the real .so, hands a handler events as JSON, and looks at what came out:
 *
 *     struct fake_host *host = fake_host_open(fake_library(argc, argv, "payment"), "{\"amount_max\": 1000}");
 *     fake_answer(host, "payment_charge", "[[0, 1]]");             // each statement with that in it gets these rows
 *     const struct fake_result *result = fake_call(host, "charge", 1, &(struct fake_event){.data = "{\"amount\": 5}"});
 *     fake_expect_outcome(&result[0], "declined");
 *     fake_host_close(host);
 *
 * Statements are answered from scripted rows, or, after fake_database() (fake_database.c, needs libpq), by a real
 * PostgreSQL: each call is then one transaction, committed when the call had neither a fault nor a failed statement.
 *
 * What the plugin is not allowed to do (an index that does not exist, a field it did not declare, invalid JSON,
 * reading past the rows) becomes a fault: fake_fault() has the sentence, and fake_host_close() ends the test when
 * nobody asked for it. Things that cannot be (no such library, no such handler, out of memory) end the process with
 * a sentence on stderr and exit code 1. Everything handed out lives until the next fake_call() of the same host. One
 * thread.
 *
 * It needs sluice/plugin.h and libc, and is neither fast nor bounded: it is for tests.
 */
#ifndef SLUICE_TESTS_FAKE_HOST_H
#define SLUICE_TESTS_FAKE_HOST_H

#include "sluice/plugin.h"

#include <stdbool.h>

struct fake_host;

/* Where the library is: the first argument, else plugins/NAME.so in the build folder (the environment's B,
 * "build/"). */
const char *fake_library(int argc, char **argv, const char *name);

/* Loads a plugin, checks the head of its descriptor, fills settings from a JSON object (NULL: none; durations and
 * sizes as numbers of milliseconds and bytes, or as texts with their unit) and calls open(). */
struct fake_host *fake_host_open(const char *library, const char *settings);
/* Why fake_host_open() would not have worked: the sentence open() gave to fail(), or what is wrong with a setting.
 * NULL when it would have. */
const char *fake_host_refusal(const char *library, const char *settings);
void fake_host_close(struct fake_host *host); /* calls close(); NULL is fine */
const struct sluice_plugin *fake_host_plugin(const struct fake_host *host);
void *fake_host_state(struct fake_host *host);

/* ------------------------------------------------------------------------------------------------------------ calls */

/* One event of a call. Only `data` is needed; the rest has a default. */
struct fake_event {
    const char *data;     /* JSON object; NULL: {} */
    const char *id;       /* "event-N" */
    const char *topic;    /* "test.topic" */
    const char *key;      /* "" */
    const char *name;     /* the topic */
    int64_t timestamp_ms; /* 1700000000000 */
    int32_t attempt;      /* 1 */
    int32_t retry_count;
    int32_t retries_left; /* FAKE_NO_LADDER (as in an event with nothing said) stands for -1, FAKE_LAST_STEP for 0 */
};
enum { FAKE_NO_LADDER = 0, FAKE_LAST_STEP = -1 };

enum fake_verdict {
    FAKE_NOTHING = 0, /* the handler said nothing: a fault of the plugin for events, fine for requests and ticks */
    FAKE_OUTCOME,
    FAKE_RETRY,
    FAKE_REJECT,
    FAKE_STATEMENT_FAILED, /* a statement of the call failed: the engine decides; `why` has the reason */
    FAKE_UNAVAILABLE,      /* unavailable(): the whole call comes again later; `why` has the words */
    FAKE_BAD_INPUT, /* the engine would have dead-lettered it: the handler never saw it; `why` says which field */
};

struct fake_set {
    const char *name;
    const char *json; /* the value as JSON: "\"text\"", "12" */
};

struct fake_result {
    enum fake_verdict verdict;
    const char *outcome; /* name of the outcome, or NULL */
    const char *why;     /* words of a retry, a reject or a bad input, or NULL */
    bool added;          /* came from add() */
    uint32_t status;     /* of reply(); 0: none */
    const char *reply;   /* its JSON */
    uint32_t reply_flags;
    struct fake_set *sets;
    size_t set_count;
    const struct fake_host *host; /* whose call it was, and `n`: its place among the results */
    size_t n;
};

/* Calls a handler with `count` events (a schedule: 1 and NULL). Events with bad input are left out of the call, as
 * the engine does. Returns one result for each event, in order, then those of add(); fake_result_count() says how
 * many. */
const struct fake_result *fake_call(struct fake_host *host, const char *handler, size_t count,
                                    const struct fake_event *events);
size_t fake_result_count(const struct fake_host *host);
/* The field's value as JSON, or NULL when it was not set. */
const char *fake_set(const struct fake_result *result, const char *name);
/* The first thing the plugin did wrong in the last call, or NULL. Asking takes note of it. */
const char *fake_fault(struct fake_host *host);
/* What the plugin logged in the last call, one "level message" line each; "" when nothing. */
const char *fake_log(const struct fake_host *host);
/* The clock that now_ms() shows; the default is 1700000000000. */
void fake_clock(struct fake_host *host, int64_t now_ms);

/* Each ends the process with both sides when it is not so, or calls what fake_on_failure() was given. */
void fake_expect_outcome(const struct fake_result *result, const char *outcome);
void fake_expect_why(const struct fake_result *result, enum fake_verdict verdict, const char *part_of_why);
void fake_expect_set(const struct fake_result *result, const char *name, const char *json);
void fake_expect_reply(const struct fake_result *result, uint32_t status, const char *part_of_json);
/* For tests with a framework: `fail` gets the sentence instead of the process ending, and must not return. */
void fake_on_failure(void (*fail)(const char *sentence));

/* ------------------------------------------------------------------------------------------------------- statements */

/* Statements that contain `part` are answered with `rows`, a JSON array of arrays: "[[0, \"text\", null, 1.5,
 * true]]". An object or array in a column is a json value. NULL rows: the statement fails. The latest fitting answer
 * counts. */
void fake_answer(struct fake_host *host, const char *part, const char *rows);

/* What was asked in the last call. */
struct fake_query {
    const char *sql;
    size_t param_count;
    const char **params; /* each as JSON: "[1,2]", "\"text\"", "null" */
};
size_t fake_query_count(const struct fake_host *host);
const struct fake_query *fake_query(const struct fake_host *host, size_t n);

/* Sends statements to a PostgreSQL from now on. In fake_database.c: link it and libpq only when you use it. */
void fake_database(struct fake_host *host, const char *url);
/* Runs SQL outside of any call, to set up or to look: the first column of the first row as text, "" without one. */
const char *fake_sql(struct fake_host *host, const char *sql);

/* ------------------------------------------------- for whoever answers statements otherwise (fake_database.c does) */

struct fake_value {
    bool null;
    struct sluice_text text; /* TEXT, JSON */
    int64_t number;          /* INT64, BOOL */
    double real;             /* DOUBLE */
};
struct fake_param { /* a parameter with EACH resolved to an array */
    uint32_t type;
    bool array;
    size_t count;
    struct fake_value *values;
};
struct fake_cell {
    uint32_t type; /* SLUICE_TYPE_TEXT (also of json), INT64 or DOUBLE */
    struct fake_value value;
};
struct fake_rows {
    size_t rows, columns;
    struct fake_cell *cells; /* rows * columns */
};
enum fake_moment { FAKE_BEGIN, FAKE_COMMIT, FAKE_ROLLBACK, FAKE_DISCONNECT };
struct fake_source {
    void *context;
    /* The rows (cells and texts from fake_alloc()), or NULL when the statement failed, with the reason in *ret_why. */
    const struct fake_rows *(*query)(void *context, struct fake_host *host, const char *sql, size_t param_count,
                                     const struct fake_param *params, const char **ret_why);
    /* 0, or -1 with the reason in *ret_why. */
    int (*moment)(void *context, struct fake_host *host, enum fake_moment moment, const char **ret_why);
};
void fake_source(struct fake_host *host, const struct fake_source *source);
const struct fake_source *fake_source_of(const struct fake_host *host); /* NULL: none was given */
void *fake_alloc(struct fake_host *host, size_t size);                  /* zeroed; lives until the next fake_call() */
char *fake_text(struct fake_host *host, const char *format, ...) __attribute__((format(printf, 2, 3), nonnull(2)));
__attribute__((noreturn, format(printf, 1, 2))) void fake_die(const char *format, ...);

#endif
