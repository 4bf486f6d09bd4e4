/*
 * difference.c - two sorted lists of leaves, side by side.
 */
#include "pipeline/difference.h"

#include "pipeline/leaves.h"

#include <stdio.h>

enum { REFUSED_MAX = 8 };
#define ANOTHER_PROCESS "start another process with the new file, then stop this one, which finishes what it has"

const char *change_word(enum change_kind kind)
{
    return kind == CHANGE_ADDED ? "added" : kind == CHANGE_REMOVED ? "removed" : "changed";
}

/* ---------------------------------------------------------------------------------------------------------- changes */

/* Of the topic, plugin … that a leaf stands for when its field is empty. */
static void add_entry(struct difference *difference, const struct leaf *leaf, enum change_kind kind,
                      struct arena *arena)
{
    difference->changes = arena_grown(arena, difference->changes, difference->count, sizeof *difference->changes);
    difference->changes[difference->count++] = (struct change){.kind = kind, .of = leaf->kind, .name = leaf->name};
}

/* `leaf`: of either side; NULL for a side that does not have it. */
static void add_field(struct difference *difference, const struct leaf *leaf, const struct leaf *before,
                      const struct leaf *now, struct arena *arena)
{
    bool secret = (before != NULL && before->secret) || (now != NULL && now->secret);
    add_entry(difference, leaf, CHANGE_CHANGED, arena);
    struct change *change = &difference->changes[difference->count - 1];
    change->field = leaf->field;
    change->before = before == NULL ? NULL : secret ? "***" : before->text;
    change->now = now == NULL ? NULL : secret ? "***" : now->text;
}

/* A leaf of one side only. */
static void add(struct difference *difference, const struct leaf *leaf, enum change_kind kind, struct arena *arena)
{
    if (leaf->field[0] == '\0')
        add_entry(difference, leaf, kind, arena);
    else
        add_field(difference, leaf, kind == CHANGE_REMOVED ? leaf : NULL, kind == CHANGE_ADDED ? leaf : NULL, arena);
}

/* The index behind a leaf that the other list does not have; behind all of a topic, plugin … that it does not have. */
static size_t past(const struct leaves *leaves, size_t at)
{
    const struct leaf *leaf = &leaves->list[at];
    for (at++; leaf->field[0] == '\0' && at < leaves->count && leaf_same_entry(leaf, &leaves->list[at]);)
        at++;
    return at;
}

static bool is_same(const struct leaf *before, const struct leaf *now)
{
    return (before->inherited && now->inherited) || strcmp(before->text, now->text) == 0;
}

static void compare(const struct leaves *before, const struct leaves *now, struct arena *arena, struct difference *ret)
{
    for (size_t b = 0, n = 0; b < before->count || n < now->count;) {
        const struct leaf *old = &before->list[b], *new = &now->list[n];
        int order = b == before->count ? 1 : n == now->count ? -1 : leaf_compare(old, new);
        if (order < 0) {
            add(ret, old, CHANGE_REMOVED, arena);
            b = past(before, b);
        } else if (order > 0) {
            add(ret, new, CHANGE_ADDED, arena);
            n = past(now, n);
        } else {
            if (!is_same(old, new))
                add_field(ret, new, old, new, arena);
            b++;
            n++;
        }
    }
}

/* --------------------------------------------------------------------------------------- what cannot change at once */

/* Of a connection URI: who asks, and how, does not make it another database. */
static struct span without_user(struct span url)
{
    const char *scheme = memmem(url.at, url.length, "://", 3);
    const char *end = url.at + url.length, *from = scheme == NULL ? url.at : scheme + 3;
    const char *at = scheme == NULL ? NULL : memchr(from, '@', (size_t)(end - from));
    return at == NULL ? (struct span){from, (size_t)(end - from)} : (struct span){at + 1, (size_t)(end - at - 1)};
}

static bool names_a_place(struct span part)
{
    static const char *const words[] = {"host=", "hostaddr=", "port=", "dbname="};
    bool any = false;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        any = any || (part.length >= strlen(words[i]) && memcmp(part.at, words[i], strlen(words[i])) == 0);
    return any;
}

/* "host:port/database?host=…" of postgresql://user@host:port/database?options or "host=… options". */
static const char *database_of(const char *url, struct arena *arena)
{
    const char *place = "";
    struct span rest = without_user(span_of(url));
    bool uri = strstr(url, "://") != NULL;
    for (bool first = uri; rest.length > 0; first = false) {
        struct span part = {rest.at, 0};
        while (part.length < rest.length && strchr("?& ", part.at[part.length]) == NULL)
            part.length++;
        if (first || names_a_place(part))
            place = arena_format(arena, "%s %.*s", place, (int)part.length, part.at);
        part.length += part.length < rest.length;
        rest = (struct span){rest.at + part.length, rest.length - part.length};
    }
    return place;
}

static const char *property(const struct pipeline *pipeline, const char *name)
{
    for (size_t i = 0; i < pipeline->bus.property_count; i++)
        if (strcmp(pipeline->bus.properties[i].name, name) == 0)
            return pipeline->bus.properties[i].value;
    return NULL;
}

static const char *brokers_of(const struct pipeline *pipeline)
{
    const char *servers = property(pipeline, "bootstrap.servers");
    if (servers == NULL)
        servers = property(pipeline, "metadata.broker.list");
    return servers == NULL ? "" : servers;
}

/* Whether two lists of brokers have one in common: then they are taken for the same cluster. */
static bool share_a_broker(const char *before, const char *now)
{
    for (const char *at = before; *at != '\0'; at += strspn(at, ", ")) {
        size_t length = strcspn(at, ", ");
        for (const char *other = now; *other != '\0'; other += strspn(other, ", ")) {
            size_t others = strcspn(other, ", ");
            if (others == length && memcmp(at, other, length) == 0)
                return true;
            other += others;
        }
        at += length;
    }
    return *before == '\0' && *now == '\0';
}

static void refuse(struct difference *difference, const char *sentence)
{
    if (difference->refused_count < REFUSED_MAX)
        difference->refused[difference->refused_count++] = sentence;
}

static void refuse_bus(const struct pipeline *before, const struct pipeline *now, struct difference *ret)
{
    if (before->bus.kind != now->bus.kind)
        refuse(ret,
               "bus.kind: events and positions are on the bus of now and do not move to another one; " ANOTHER_PROCESS);
    else if (now->bus.kind == BUS_CHOICE_KAFKA && !share_a_broker(brokers_of(before), brokers_of(now)))
        refuse(ret,
               "bus.properties: 'bootstrap.servers' names none of the brokers of now, so it may be another "
               "cluster, where events and positions do not move to; keep one of them in the list, or " ANOTHER_PROCESS);
    else if (now->bus.kind != BUS_CHOICE_KAFKA && before->bus.partitions != now->bus.partitions)
        refuse(ret, "bus.partitions: the log has the number that it was made with; keep it");
}

static void refuse_store(const struct pipeline *before, const struct pipeline *now, struct arena *arena,
                         struct difference *ret)
{
    if (before->store.present != now->store.present)
        refuse(ret, before->store.present
                        ? "store: what waits, and what was handled, is in the database, and would be left "
                          "there; " ANOTHER_PROCESS
                        : "store: what was handled before there was a database is not in it; " ANOTHER_PROCESS);
    else if (before->store.url != NULL && now->store.url != NULL &&
             strcmp(database_of(before->store.url, arena), database_of(now->store.url, arena)) != 0)
        refuse(ret,
               "store.url: it names another database, where what waits and what was handled is not; " ANOTHER_PROCESS);
}

void difference_find(const struct pipeline *before, const struct pipeline *now, struct arena *arena,
                     struct difference *ret)
{
    struct leaves old = leaves_of(before, arena), new = leaves_of(now, arena);
    *ret = (struct difference){.refused = arena_array(arena, const char *, REFUSED_MAX)};
    if (old.count == 0 || new.count == 0)
        return;
    compare(&old, &new, arena, ret);
    refuse_bus(before, now, ret);
    refuse_store(before, now, arena, ret);
    if (strcmp(before->engine.group, now->engine.group) != 0)
        refuse(ret,
               arena_format(arena,
                            "engine.group: '%s' has the positions, and a worker of '%s' beside it would handle the "
                            "same events; stop this process, then start one with the new file (`renamed` takes "
                            "the positions along), or keep the group",
                            before->engine.group, now->engine.group));
}

/* ----------------------------------------------------------------------------------------------------------- hashes */

void pipeline_hash(const struct pipeline *pipeline, char ret[HASH_TEXT])
{
    struct arena *arena = arena_create(64 * 1024, 256 * 1024 * 1024);
    struct leaves leaves = leaves_of(pipeline, arena);
    struct buffer all;
    uint8_t hash[16];
    buffer_init(&all, 256 * 1024 * 1024);
    for (size_t i = 0; i < leaves.count; i++) {
        const struct leaf *leaf = &leaves.list[i];
        const char *parts[] = {leaf->kind, leaf->name, leaf->field, leaf->secret ? "***" : leaf->text};
        for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++)
            buffer_append(&all, parts[p], strlen(parts[p]) + 1);
    }
    span_hash128(buffer_view(&all), hash);
    for (size_t i = 0; i < (HASH_TEXT - 1) / 2; i++)
        snprintf(ret + 2 * i, 3, "%02x", hash[i]);
    buffer_free(&all);
    arena_destroy(arena);
}
