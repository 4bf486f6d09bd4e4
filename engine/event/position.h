/*
 * position.h - the place of a record in its stream.
 *
 * An opaque, ordered 128-bit number: Kafka's offset is {offset, 0}; the postgres bus, whose order is that of
 * transactions, has {xid, row and index}.
 */
#ifndef SLUICE_EVENT_POSITION_H
#define SLUICE_EVENT_POSITION_H

#include <stdint.h>

struct position {
    uint64_t high, low;
};

/* Negative, 0 or positive, like memcmp(). */
static inline int position_compare(struct position a, struct position b)
{
    return a.high != b.high ? (a.high < b.high ? -1 : 1) : a.low != b.low ? (a.low < b.low ? -1 : 1) : 0;
}

#endif
