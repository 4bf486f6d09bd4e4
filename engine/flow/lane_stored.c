/*
 * lane_stored.c - keys whose events are rows of a table, as lane.h says.
 *
 * A stored key waits until its head is due, is fetched, and runs what was fetched; while that is under way it is in no
 * heap. It stays stored, and is fetched again, until a fetch finds nothing: only then may what arrives for it run.
 */
#include "flow/lane_parts.h"

static void store(struct lane *lane, uint64_t key_hash, int64_t due_ms, uint32_t pause)
{
    struct lane_key *key = lane_key(lane, key_hash);
    if (key == NULL)
        key = lane_hold(lane, key_hash);
    key_store(lane, key, due_ms, pause);
    lane_settle(lane);
}

void lane_store(struct lane *lane, uint64_t key_hash, int64_t due_ms)
{
    store(lane, key_hash, due_ms, 0);
}

void lane_store_after(struct lane *lane, uint64_t key_hash, uint32_t pause)
{
    store(lane, key_hash, INT64_MAX, pause);
}

void lane_store_until(struct lane *lane, uint64_t key_hash, int64_t due_ms)
{
    store(lane, key_hash, due_ms, LANE_UNTIL);
}

void lane_found(struct lane *lane, uint64_t key_hash, int64_t due_ms, uint32_t pause)
{
    const struct lane_key *key = lane_key(lane, key_hash);
    if (key == NULL || !key->stored || (!key->running && key->fetched == 0))
        store(lane, key_hash, pause != 0 && pause != LANE_UNTIL ? INT64_MAX : due_ms, pause);
}

bool lane_waits_for_pause(const struct lane *lane, uint64_t key_hash)
{
    const struct lane_key *key = lane_key(lane, key_hash);
    return key != NULL && key->stored && key->pause != 0;
}

size_t lane_fetch(struct lane *lane, int64_t now_ms, size_t max, struct lane_fetch *ret)
{
    size_t count = 0;
    while (count < max && lane->stored.count > 0 && lane->stored.keys[0]->rank <= now_ms) {
        struct lane_key *key = lane->stored.keys[0];
        ret[count++] = (struct lane_fetch){.key_hash = key->key_hash, .waited = !key->running && key->due_ms != 0};
        heap_leave(key);
    }
    return count;
}

void lane_offer_stored(struct lane *lane, struct lane_entry *entry)
{
    struct lane_key *key = lane_key(lane, entry->key_hash);
    key->running = true;
    key->fetched++;
    lane_arrive(lane, entry, true);
}

void lane_free(struct lane *lane, uint64_t key_hash)
{
    struct lane_key *key = lane_key(lane, key_hash);
    if (key == NULL || !key->stored)
        return;
    lane->stored_keys--;
    key->stored = key->running = false;
    key->fetched = 0;
    key_wait_for(lane, key, 0);
    lane_place(lane, key);
    lane_settle(lane);
}

void lane_forget_stored(struct lane *lane)
{
    struct lane_key *keys = NULL, *key;
    void *value;
    if (lane->stored_keys == 0)
        return;
    for (size_t cursor = 0; intmap_next(lane->keys, &cursor, NULL, &value); keys = key) {
        key = value;
        key->next = keys;
    }
    while ((key = keys) != NULL) {
        keys = key->next;
        lane_free(lane, key->key_hash);
    }
}

size_t lane_stored_keys(const struct lane *lane)
{
    return lane->stored_keys;
}
