/*
 * batch.c - how a batch is cut into calls.
 *
 * The n-th entry of a key belongs to round n; a call takes entries of one round and one handler. Rounds run one after another, so a
 * key's entries run in order even across handlers. Linear: one table of keys, then a counting sort by (round, handler).
 */
#include "flow/lane.h"

struct key_slot {
    uint64_t key;
    uint32_t last;  /* the latest entry of the key, + 1; 0: free */
    uint32_t round; /* of the next one */
};

static struct key_slot *slot_of(struct key_slot *slots, size_t mask, uint64_t key)
{
    size_t at = (size_t)(key * 0x9e3779b97f4a7c15ull >> 32) & mask;
    while (slots[at].last != 0 && slots[at].key != key)
        at = (at + 1) & mask;
    return &slots[at];
}

static size_t use_bound(size_t count, const uint32_t *use)
{
    uint32_t most = 0;
    for (size_t i = 0; i < count; i++)
        most = use[i] > most ? use[i] : most;
    return (size_t)most + 1;
}

size_t batch_plan(size_t count, const uint64_t *key_hash, const uint32_t *use, const uint32_t *max_by_use, uint32_t *order,
                  uint32_t *before, struct call_plan *calls, struct arena *scratch)
{
    size_t size = 16, uses = use_bound(count, use), call_count = 0;
    while (size < count * 2)
        size *= 2;
    struct key_slot *slots = arena_array(scratch, struct key_slot, size);
    uint32_t *round = arena_array(scratch, uint32_t, count + 1), rounds = 0;

    for (size_t i = 0; i < count; i++) {
        struct key_slot *slot = slot_of(slots, size - 1, key_hash[i]);
        before[i] = slot->last == 0 ? BATCH_NONE : slot->last - 1;
        round[i] = slot->round++;
        slot->key = key_hash[i];
        slot->last = (uint32_t)i + 1;
        rounds = round[i] + 1 > rounds ? round[i] + 1 : rounds;
    }
    /* Entries by round, in order: a counting sort. */
    uint32_t *start = arena_array(scratch, uint32_t, rounds + 1), *by_round = arena_array(scratch, uint32_t, count + 1);
    for (size_t i = 0; i < count; i++)
        start[round[i] + 1]++;
    for (uint32_t r = 0; r < rounds; r++)
        start[r + 1] += start[r];
    uint32_t *next = arena_array(scratch, uint32_t, rounds + 1);
    memcpy(next, start, rounds * sizeof *next);
    for (size_t i = 0; i < count; i++)
        by_round[next[round[i]]++] = (uint32_t)i;
    /* Within a round by handler, cut at each handler's maximum. */
    uint32_t *tally = arena_array(scratch, uint32_t, uses + 1), placed = 0;
    for (uint32_t r = 0; r < rounds; r++) {
        memset(tally, 0, (uses + 1) * sizeof *tally);
        for (uint32_t i = start[r]; i < start[r + 1]; i++)
            tally[use[by_round[i]] + 1]++;
        for (uint32_t u = 0; u < uses; u++) {
            for (uint32_t done = 0; done < tally[u + 1];) {
                uint32_t most = max_by_use[u] == 0 ? 1 : max_by_use[u], left = tally[u + 1] - done;
                uint32_t take = left < most ? left : most;
                calls[call_count++] = (struct call_plan){.first = placed + done, .count = take, .use = u};
                done += take;
            }
            uint32_t begin = placed;
            placed += tally[u + 1];
            tally[u + 1] = begin; /* where this handler's entries of the round go */
        }
        for (uint32_t i = start[r]; i < start[r + 1]; i++)
            order[tally[use[by_round[i]] + 1]++] = by_round[i];
    }
    return call_count;
}
