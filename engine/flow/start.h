/*
 * start.h - where a consumer group begins that has no position yet: what pipeline.yaml asks for with `from:`. Pure
 * data.
 */
#ifndef SLUICE_FLOW_START_H
#define SLUICE_FLOW_START_H

#include <stdint.h>

enum start_from {
    START_NOT_ASKED = 0, /* `from:` is not there: at the oldest, where that repeats nothing */
    START_EARLIEST,      /* at the oldest event that is kept */
    START_LATEST,        /* behind the newest */
    START_TIME,          /* at the first event of that time or later */
};

struct start {
    enum start_from from;
    int64_t at_ms; /* START_TIME: since 1970 UTC */
};

#endif
