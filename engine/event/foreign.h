/*
 * foreign.h - values that are no JSON, and what a producer wrote instead.
 */
#ifndef SLUICE_EVENT_FOREIGN_H
#define SLUICE_EVENT_FOREIGN_H

#include "base/span.h"

#include <stddef.h>

/* What the first bytes of a value are known for, a sentence with what to do, in `buf`. False: nothing. */
bool foreign_describe(struct span value, char *buf, size_t size);

#endif
