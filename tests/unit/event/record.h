/*
 * record.h - what tests of records begin with: a record of a value, and the fields of its envelope.
 */
#ifndef SLUICE_TESTS_UNIT_EVENT_RECORD_H
#define SLUICE_TESTS_UNIT_EVENT_RECORD_H

#include "arena_state.h"

#include "event/event.h"

static inline struct record record_of(struct span value)
{
    return (struct record){.topic = SPAN("payment.try"), .key = SPAN("u-1"), .value = value, .timestamp_ms = 1234};
}

#define ID "\"eventId\":\"e-1\""
#define NAME "\"eventName\":\"payment.try\""
#define DATA "\"data\":{\"amount\":100}"

#endif
