/*
 * fake_inside.h - what fake_host.c and fake_call.c share. Tests include fake_host.h only.
 */
#ifndef SLUICE_TESTS_FAKE_INSIDE_H
#define SLUICE_TESTS_FAKE_INSIDE_H

#include "fake_host.h"
#include "fake_json.h"

struct fake_memory {
    struct fake_memory *next;
    max_align_t bytes[];
};

struct fake_answer {
    struct fake_answer *next;
    char *part, *rows; /* rows NULL: fails */
};

struct fake_host {
    void *library;
    const struct sluice_plugin *plugin;
    void *state;
    bool opened;                  /* its state goes to close() */
    struct fake_memory *memory;   /* until the next call */
    struct fake_memory *settings; /* until the end: texts that the state points to */
    struct fake_answer *answers;  /* the latest first */
    struct fake_source source;
    bool has_source;
    int64_t now_ms;

    /* of the last call */
    struct fake_result *results;
    size_t result_count;
    struct fake_query *queries;
    size_t query_count;
    char *log;
    const char *fault; /* the first */
    bool fault_seen;
};

struct fake_call { /* what a handler's struct sluice_call is the head of */
    struct sluice_call head;
    struct fake_host *host;
    const struct sluice_handler *handler;
    size_t *places;          /* places[n]: the result of event n of the call */
    size_t event_count;      /* results before those of add() */
    const char *failed;      /* why a statement failed, or NULL */
    const char *unavailable; /* its words, or NULL */
};

/* Writes one field into `base` from JSON (value.at NULL: absent). NULL, or what is wrong with it. Texts live in
 * *memory. */
const char *fake_fill(struct fake_host *host, struct fake_memory **memory, const struct sluice_field *field,
                      struct sluice_text value, void *base);
/* Fills the input struct of an event. NULL, or what is wrong with a field. */
const char *fake_input(struct fake_host *host, const struct sluice_handler *handler, const struct sluice_event *event,
                       void *input);
struct fake_call *fake_call_of(struct sluice_call *head);
/* What the plugin did against the contract, in the words of the engine (batch/host.c); the first one counts. */
void fake_fault_of(struct fake_call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *fake_copy(struct fake_host *host, struct sluice_text text);

/* The statement functions of struct sluice_host. */
const struct sluice_rows *fake_host_query(struct sluice_call *head, const struct sluice_sql *sql, size_t count,
                                          const struct sluice_param *params);
size_t fake_host_row_count(const struct sluice_rows *rows);
int fake_host_is_null(const struct sluice_rows *rows, size_t row, size_t column);
int64_t fake_host_get_int64(const struct sluice_rows *rows, size_t row, size_t column);
double fake_host_get_double(const struct sluice_rows *rows, size_t row, size_t column);
struct sluice_text fake_host_get_text(const struct sluice_rows *rows, size_t row, size_t column);

void *fake_memory_alloc(struct fake_memory **memory, size_t size);
void fake_memory_free(struct fake_memory **memory);

#endif
