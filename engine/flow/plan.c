/*
 * plan.c - see plan.h. An entry's level is the number of entries of its key ahead of it in the
 * batch. Levels run one after the other; within a level all keys differ, so the entries of one handler make up as
 * few calls as its maximum allows. Everything is linear: two open-addressing tables (key → last entry, level and
 * handler → group) and two passes.
 */
#include "flow/plan.h"

struct plan_group { /* the entries of one handler in one level */
    uint32_t level, binding;
    uint32_t count;
    uint32_t first; /* then: where its next entry goes in order[] */
    uint32_t next;  /* group of the same level, in order of appearance, +1; 0: none */
};

static uint64_t plan_mix(uint64_t value)
{
    value *= 0x9e3779b97f4a7c15ull;
    return value ^ value >> 32;
}

/* Slots of a table that `count` entries fill at most by half. */
static size_t plan_slots(size_t count)
{
    size_t slots = 8;
    while (slots < count * 2)
        slots *= 2;
    return slots;
}

/* Fills before[] and level[]; returns the number of levels. */
static uint32_t plan_levels(size_t count, const uint64_t *key_hash, uint32_t *before, uint32_t *level, uint32_t *table,
                            size_t slots)
{
    uint32_t levels = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t at = plan_mix(key_hash[i]) & (slots - 1);
        while (table[at] != 0 && key_hash[table[at] - 1] != key_hash[i])
            at = (at + 1) & (slots - 1);
        before[i] = table[at] == 0 ? PLAN_NONE : table[at] - 1;
        table[at] = i + 1;
        level[i] = before[i] == PLAN_NONE ? 0 : level[before[i]] + 1;
        if (level[i] >= levels)
            levels = level[i] + 1;
    }
    return levels;
}

/* Fills groups[] in order of appearance and group[i] of each entry; returns their number. */
static uint32_t plan_groups(size_t count, const uint32_t *binding, const uint32_t *level, struct plan_group *groups,
                            uint32_t *group, uint32_t *table, size_t slots)
{
    uint32_t group_count = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = plan_mix((uint64_t)level[i] << 32 | binding[i]) & (slots - 1);
        while (table[at] != 0 &&
               (groups[table[at] - 1].level != level[i] || groups[table[at] - 1].binding != binding[i]))
            at = (at + 1) & (slots - 1);
        if (table[at] == 0) {
            groups[group_count] = (struct plan_group){.level = level[i], .binding = binding[i]};
            table[at] = ++group_count;
        }
        group[i] = table[at] - 1;
        groups[group[i]].count++;
    }
    return group_count;
}

size_t plan_calls(size_t count, const uint64_t *key_hash, const uint32_t *binding, const uint32_t *max_by_binding,
                  uint32_t *order, uint32_t *before, struct call_plan *calls, struct arena *scratch)
{
    if (count == 0)
        return 0;
    size_t slots = plan_slots(count);
    uint32_t *level = arena_alloc_raw(scratch, count * sizeof *level);
    uint32_t *group = arena_alloc_raw(scratch, count * sizeof *group);
    struct plan_group *groups = arena_alloc_raw(scratch, count * sizeof *groups);
    uint32_t levels = plan_levels(count, key_hash, before, level, arena_array(scratch, uint32_t, slots), slots);
    uint32_t group_count = plan_groups(count, binding, level, groups, group, arena_array(scratch, uint32_t, slots),
                                       slots);

    uint32_t *heads = arena_array(scratch, uint32_t, levels);
    for (uint32_t g = group_count; g > 0; g--) { /* backwards: each list ends up in order of appearance */
        groups[g - 1].next = heads[groups[g - 1].level];
        heads[groups[g - 1].level] = g;
    }
    uint32_t first = 0;
    size_t call_count = 0;
    for (uint32_t l = 0; l < levels; l++) {
        for (uint32_t g = heads[l]; g != 0; g = groups[g - 1].next) {
            struct plan_group *of = &groups[g - 1];
            uint32_t max = max_by_binding[of->binding] > 0 ? max_by_binding[of->binding] : 1;
            of->first = first;
            for (uint32_t left = of->count; left > 0;) {
                uint32_t take = left < max ? left : max;
                calls[call_count++] = (struct call_plan){.first = first, .count = take, .binding = of->binding};
                first += take;
                left -= take;
            }
        }
    }
    for (uint32_t i = 0; i < count; i++)
        order[groups[group[i]].first++] = i;
    return call_count;
}
