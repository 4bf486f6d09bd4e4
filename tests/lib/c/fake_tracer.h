/*
 * fake_tracer.h - a tracer that keeps what it is given, for the tests of batch/.
 */
#ifndef SLUICE_TESTS_FAKE_TRACER_H
#define SLUICE_TESTS_FAKE_TRACER_H

#include "trace/tracer.h"

struct tracer {
    double sample;
    struct buffer spans; /* a line each */
    size_t count;
};

void fake_tracer_init(struct tracer *tracer, double sample);
/* The spans since the last time, a NUL behind them; they are forgotten with the next call. */
const char *fake_tracer_take(struct tracer *tracer);
void fake_tracer_free(struct tracer *tracer);

#endif
