/*
 * handover.c - see handover.h.
 */
#include "guard/handover.h"

#include "guard/table.h"

#include <stdio.h>
#include <string.h>

bool handover_is_successor(const struct suspects *suspects)
{
    return suspects != NULL && atomic_load(&suspects->handover.successor);
}

enum handover_stage handover_stage(const struct suspects *suspects)
{
    return suspects == NULL ? HANDOVER_NONE : (enum handover_stage)atomic_load(&suspects->handover.stage);
}

void handover_reach(struct suspects *suspects, enum handover_stage stage)
{
    int now = suspects == NULL ? HANDOVER_OVER : atomic_load(&suspects->handover.stage);
    while (now < (int)stage && !atomic_compare_exchange_weak(&suspects->handover.stage, &now, (int)stage))
        continue;
    if (suspects != NULL)
        wake_worker(suspects);
}

void handover_refuse(struct suspects *suspects, const char *why)
{
    if (suspects == NULL)
        return;
    char *said = suspects->handover.why;
    size_t length = strnlen(said, HANDOVER_WHY_MAX - 1);
    snprintf(said + length, HANDOVER_WHY_MAX - length, "%s%s", length > 0 ? "\n" : "", why);
}

void handover_make_successor(struct suspects *suspects, bool successor)
{
    atomic_store(&suspects->handover.successor, successor);
    suspects->handover.why[0] = '\0';
}

const char *handover_why(const struct suspects *suspects)
{
    return suspects->handover.why;
}
