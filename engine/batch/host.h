/*
 * host.h - the engine as a plugin sees it: struct sluice_host of sluice/plugin.h, for the time of one call.
 *
 * Nothing that a plugin passes is trusted: an index, an outcome or a name that does not exist, text that is no UTF-8,
 * JSON that is none, a column of another type: each is a fault of the plugin that costs its event and nothing else.
 */
#ifndef SLUICE_BATCH_HOST_H
#define SLUICE_BATCH_HOST_H

#include "batch/batch.h"

struct call {
    struct sluice_call shared; /* first: what the plugin holds a pointer to */
    struct batch *batch;
    struct binding *binding;
    struct work **works;
    size_t count;
    size_t added;
    struct work *last;       /* the work that additions belong to: the tick */
    bool failed;             /* a statement failed: the whole call has its verdict elsewhere */
    bool queried;            /* a statement succeeded: its effects are in the transaction */
    const char *unavailable; /* why, when the handler said so */
};

extern const struct sluice_host host_functions;

static inline struct call *call_of(struct sluice_call *shared)
{
    return (struct call *)shared;
}

static inline struct sluice_text text_of_span(struct span span)
{
    return (struct sluice_text){span.at == NULL ? "" : span.at, span.length};
}

/* The plugin did what the contract forbids. Charged to event n, or to the first one when n is none of them. */
void call_fault(struct call *call, size_t n, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A fault that belongs to no event of the call: of several each runs alone, and whoever does it again is at fault. */
void call_fault_alone(struct call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* emit.c: what stands in for the handler of a request that has none. */
void emit_call(struct call *call);

/* host_rows.c: the rows of a statement, as host_functions hands them out, and the part of it that reads them. */
const struct sluice_rows *host_rows(struct call *call, struct rows *rows);
const struct rows *host_rows_behind(const struct sluice_rows *rows);
size_t host_row_count(const struct sluice_rows *rows);
/* Which function reads a column of this type, an enum area_getter; 0: none does. */
uint32_t host_getter(enum param_type type);
int host_is_null(const struct sluice_rows *rows, size_t row, size_t column);
int64_t host_get_int64(const struct sluice_rows *rows, size_t row, size_t column);
double host_get_double(const struct sluice_rows *rows, size_t row, size_t column);
struct sluice_text host_get_text(const struct sluice_rows *rows, size_t row, size_t column);

#endif
