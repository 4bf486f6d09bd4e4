/*
 * group.c - consumer groups of the memory bus: who reads which partition, and how far. See memory.h.
 *
 * Whenever a member joins, leaves or releases partitions, group_balance() compares what each member has with its
 * share: what is too much is revoked, what is free is assigned. A partition that is being revoked stays with its owner
 * until revoked().
 */
#include "bus/memory/memory.h"

#include <stdlib.h>

void memory_groups_notify(struct memory_bus *bus)
{
    for (struct memory_group *group = bus->groups; group != NULL; group = group->next)
        for (struct bus_consumer *member = group->members; member != NULL; member = member->next)
            pthread_cond_signal(&member->wake_up);
    pthread_cond_broadcast(&bus->appended);
}

/* Partitions of the member that nobody has asked back. */
static uint32_t group_owned(const struct memory_bus *bus, const struct memory_group *group,
                            const struct bus_consumer *member)
{
    uint32_t count = 0;
    for (uint32_t p = 0; p < bus->partition_count; p++)
        count += group->leases[p].owner == member && group->leases[p].state < LEASE_REVOKE_PENDING;
    return count;
}

static void lease_free(struct memory_lease *lease)
{
    lease->owner = NULL;
    lease->state = LEASE_FREE;
}

static void lease_assign(struct memory_lease *lease, struct bus_consumer *member)
{
    lease->owner = member;
    lease->state = LEASE_ASSIGN_PENDING;
    lease->epoch++;
    lease->cursor = lease->delivered = lease->completed;
}

static void group_balance(struct memory_bus *bus, struct memory_group *group)
{
    uint32_t rank = 0;
    for (struct bus_consumer *member = group->members; member != NULL; member = member->next, rank++) {
        uint32_t share = share_of(bus->partition_count, group->member_count, rank);
        uint32_t owned = group_owned(bus, group, member);
        for (uint32_t p = bus->partition_count; p-- > 0 && owned > share;) {
            struct memory_lease *lease = &group->leases[p];
            if (lease->owner != member || lease->state >= LEASE_REVOKE_PENDING)
                continue;
            if (lease->state == LEASE_ASSIGN_PENDING) /* its owner was not told of it yet */
                lease_free(lease);
            else
                lease->state = LEASE_REVOKE_PENDING;
            owned--;
        }
    }
    rank = 0;
    for (struct bus_consumer *member = group->members; member != NULL; member = member->next, rank++) {
        uint32_t share = share_of(bus->partition_count, group->member_count, rank);
        uint32_t owned = group_owned(bus, group, member);
        for (uint32_t p = 0; p < bus->partition_count && owned < share; p++) {
            if (group->leases[p].state != LEASE_FREE)
                continue;
            lease_assign(&group->leases[p], member);
            owned++;
        }
        pthread_cond_signal(&member->wake_up);
    }
}

struct memory_group *memory_group_get(struct memory_bus *bus, const char *name)
{
    for (struct memory_group *group = bus->groups; group != NULL; group = group->next)
        if (strcmp(group->name, name) == 0)
            return group;
    struct memory_group *group = calloc(1, sizeof *group);
    if (group == NULL)
        return NULL;
    group->name = strdup(name);
    group->leases = calloc(bus->partition_count, sizeof *group->leases);
    if (group->name == NULL || group->leases == NULL) {
        free(group->name);
        free(group->leases);
        free(group);
        return NULL;
    }
    for (uint32_t p = 0; p < bus->partition_count; p++) {
        struct segment *oldest = memory_log_find(&bus->partitions[p], 0);
        group->leases[p].completed = oldest != NULL ? oldest->offset : bus->partitions[p].next;
    }
    group->next = bus->groups;
    bus->groups = group;
    return group;
}

void memory_group_join(struct memory_bus *bus, struct memory_group *group, struct bus_consumer *consumer)
{
    struct bus_consumer **last = &group->members;
    while (*last != NULL)
        last = &(*last)->next;
    *last = consumer;
    consumer->group = group;
    group->member_count++;
    group_balance(bus, group);
}

void memory_group_release(struct memory_bus *bus, struct bus_consumer *consumer)
{
    for (uint32_t p = 0; p < bus->partition_count; p++) {
        struct memory_lease *lease = &consumer->group->leases[p];
        if (lease->owner == consumer && lease->state == LEASE_REVOKING)
            lease_free(lease);
    }
    group_balance(bus, consumer->group);
}

void memory_group_leave(struct memory_bus *bus, struct bus_consumer *consumer)
{
    struct memory_group *group = consumer->group;
    for (struct bus_consumer **at = &group->members; *at != NULL; at = &(*at)->next) {
        if (*at != consumer)
            continue;
        *at = consumer->next;
        break;
    }
    group->member_count--;
    for (uint32_t p = 0; p < bus->partition_count; p++)
        if (group->leases[p].owner == consumer)
            lease_free(&group->leases[p]);
    group_balance(bus, group);
}

void memory_groups_free(struct memory_bus *bus)
{
    for (struct memory_group *group = bus->groups, *next; group != NULL; group = next) {
        next = group->next;
        free(group->leases);
        free(group->name);
        free(group);
    }
}
