/*
 * plan.h - how a batch is cut into calls of handlers. Pure.
 *
 * A call has one binding, at most max_by_binding[binding] entries, and no two entries of a key; entries of a key run in
 * order even across bindings.
 */
#ifndef SLUICE_FLOW_PLAN_H
#define SLUICE_FLOW_PLAN_H

#include "base/arena.h"

struct call_plan {
    uint32_t first, count, binding;
};

#define PLAN_NONE UINT32_MAX

/* binding[i] and key_hash[i] describe entry i. Fills order[] (a permutation of 0..count-1) and calls[] as {first,
 * count} runs of it; before[i] is the entry of the same key just ahead of i in the batch, or PLAN_NONE. order, before
 * and calls have room for `count`. Returns the number of calls. */
size_t plan_calls(size_t count, const uint64_t *key_hash, const uint32_t *binding, const uint32_t *max_by_binding,
                  uint32_t *order, uint32_t *before, struct call_plan *calls, struct arena *scratch);

#endif
