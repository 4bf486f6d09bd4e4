/*
 * waiting.c - see waiting.h.
 */
#include "run/waiting.h"

#include "event/record_batch.h"

#include <errno.h>

enum {
    WAITING_UNREAD_MAX = 1000000, /* records of a group are counted up to about this many */
    WAITING_OUTBOX_MAX = 1000,
};

static const char *const kind_words[] = {
    ['c'] = "chain", ['g'] = "tap", ['e'] = "topic", ['h'] = "handler", ['t'] = "topic"};

int names_code(enum store_result result)
{
    return result == STORE_OK ? 0 : result == STORE_DEPLOY || result == STORE_DATA ? -EPROTO : -EAGAIN;
}

char names_kind(const struct known *known)
{
    return known->row.kind.at[0];
}

static struct span kept(struct names *names, struct span text)
{
    return span_of(arena_string(names->arena, text));
}

/* "ticketing.audit" of group "ticketing": "audit"; NULL for the own group and for others. */
static const char *tap_of(const struct names *names, const char *group)
{
    const char *own = names->config->engine.group;
    size_t length = strlen(own);
    return strncmp(group, own, length) == 0 && group[length] == '.' ? group + length + 1 : NULL;
}

struct known *names_known_add(struct names *names, char kind, struct span group, struct span name, struct span handler)
{
    names->known = arena_grown(names->arena, names->known, names->known_count, sizeof *names->known);
    struct known *known = &names->known[names->known_count++];
    *known = (struct known){.row = {.kind = kept(names, (struct span){&kind, 1}),
                                    .group = kept(names, group),
                                    .name = kept(names, name),
                                    .handler = kept(names, handler)}};
    known->stored = known->row;
    const char *tap = kind == 'g' ? tap_of(names, known->row.name.at) : NULL;
    known->name = tap != NULL ? tap : known->row.name.at;
    return known;
}

/* ---------------------------------------------------------------------------------------------------------- marking */

static const struct group *group_named(const struct names *names, struct span name)
{
    for (size_t i = 0; i < names->config->group_count; i++)
        if (names->config->groups[i].retired == NULL && span_is(name, names->config->groups[i].name))
            return &names->config->groups[i];
    return NULL;
}

static bool in_file(const struct names *names, char kind, struct span group, const char *name)
{
    const struct pipeline *config = names->config;
    const struct group *reader = kind == 't' ? group_named(names, group) : NULL;
    const struct topic *topic = kind == 't' ? pipeline_topic(config, name) : NULL;
    if (kind == 't')
        return topic != NULL && (topic->binding != NULL || reader == NULL || reader->tap != NULL);
    if (kind == 'e')
        return pipeline_topic(config, name) != NULL;
    if (kind == 'g')
        return group_named(names, span_of(name)) != NULL;
    for (size_t i = 0; kind == 'h' && i < config->binding_count; i++)
        if (strcmp(config->bindings[i]->id, name) == 0)
            return true;
    for (size_t i = 0; kind == 'c' && i < config->chain_count; i++)
        if (strcmp(config->chains[i].name, name) == 0)
            return true;
    return false;
}

/* `renamed` is about the kinds in which the file has the new name; `retired` about all. */
static const struct name_answer *answer_of(const struct names *names, const struct known *known)
{
    char kind = names_kind(known);
    for (size_t i = 0; i < names->config->answer_count; i++) {
        const struct name_answer *answer = &names->config->answers[i];
        const char *new_name = answer->new_name;
        if (strcmp(answer->old, known->name) != 0)
            continue;
        if (new_name != NULL && kind == 'g')
            new_name = arena_format(names->arena, "%s.%s", names->config->engine.group, new_name);
        if (new_name == NULL || in_file(names, kind, known->row.group, new_name))
            return answer;
    }
    return NULL;
}

/* Whether another file that shares the group has the name. */
static bool is_elsewhere(const struct names *names, char kind, struct span group, struct span name)
{
    for (size_t i = 0; i < names->elsewhere_count; i++) {
        const struct known_name *other = &names->elsewhere[i];
        if (other->kind.at[0] == kind && span_equal(other->group, group) && span_equal(other->name, name))
            return true;
    }
    return false;
}

static void mark(struct names *names, struct known *known)
{
    char kind = names_kind(known);
    known->left = !known->carried_over && !in_file(names, kind, known->row.group, known->row.name.at) &&
                  !is_elsewhere(names, kind, known->row.group, known->row.name);
    known->answer = known->left ? answer_of(names, known) : NULL;
}

void waiting_mark(struct names *names)
{
    for (size_t i = 0; i < names->known_count; i++)
        mark(names, &names->known[i]);
}

/* --------------------------------------------------------------------------------------------------------- counting */

static struct known *known_find(struct names *names, char kind, struct span group, struct span name)
{
    for (size_t i = 0; i < names->known_count; i++) {
        struct known *known = &names->known[i];
        if (names_kind(known) == kind && span_equal(known->row.group, group) && span_equal(known->row.name, name))
            return known;
    }
    return NULL;
}

/* The name that an event waits for which is parked in a group: the group itself when it is a tap's that left, else its
 * topic. NULL: the file has it. */
static struct known *parked_known(struct names *names, struct span group, struct span topic)
{
    struct known *known = known_find(names, 'g', (struct span){"", 0}, group);
    const struct group *reader = group_named(names, group);
    if (reader == NULL)
        return known;
    if (reader->tap != NULL || in_file(names, 't', group, arena_string(names->arena, topic)) ||
        is_elsewhere(names, 't', group, topic))
        return NULL;
    known = known_find(names, 't', group, topic);
    if (known == NULL) { /* an earlier version of the engine parked it */
        known = names_known_add(names, 't', group, topic, (struct span){"", 0});
        mark(names, known);
    }
    return known;
}

/* The topic to which timers that wait will emit; NULL: the file has it. */
static struct known *timed_known(struct names *names, struct span topic)
{
    struct span own = span_of(names->config->engine.group);
    if (in_file(names, 'e', own, arena_string(names->arena, topic)) || is_elsewhere(names, 'e', own, topic))
        return NULL;
    struct known *known = known_find(names, 'e', own, topic);
    if (known == NULL) { /* of an earlier definition of its chain */
        known = names_known_add(names, 'e', own, topic, (struct span){"", 0});
        mark(names, known);
    }
    return known;
}

/* The groups of the file, and taps' that left it. */
static size_t list_groups(const struct names *names, struct span *ret)
{
    const struct pipeline *config = names->config;
    size_t count = 0;
    for (size_t i = 0; i < config->group_count; i++)
        ret[count++] = span_of(config->groups[i].name);
    for (size_t i = 0; i < names->known_count; i++)
        if (names_kind(&names->known[i]) == 'g' && names->known[i].left)
            ret[count++] = names->known[i].row.name;
    return count;
}

static int count_parked(struct names *names)
{
    struct span *groups = arena_array(names->arena, struct span, names->config->group_count + names->known_count + 1);
    struct rows *rows = NULL;
    enum store_result result = ledger_parked_topics(names->connection, groups, list_groups(names, groups), &rows,
                                                    names->error);
    for (size_t r = 0; result == STORE_OK && r < rows_count(rows); r++) {
        int64_t parked = rows_int64(rows, r, 2), held = rows_int64(rows, r, 3), timers = rows_int64(rows, r, 4);
        struct known *known = parked + held == 0 ? NULL
                                                 : parked_known(names, rows_span(rows, r, 0), rows_span(rows, r, 1));
        if (known != NULL) {
            known->parked += parked;
            known->held += held;
        }
        known = timers == 0 ? NULL : timed_known(names, rows_span(rows, r, 1));
        if (known != NULL)
            known->timers += timers;
    }
    return names_code(result);
}

/* What `group` has not read of its topics that left, or, with `all`, of all of them. */
static int count_unread_of(struct names *names, struct span group, struct known *all)
{
    struct bus_standing *topics = arena_array(names->arena, struct bus_standing, names->known_count + 1);
    struct known **of = arena_array(names->arena, struct known *, names->known_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < names->known_count; i++) {
        struct known *known = &names->known[i];
        if (names_kind(known) != 't' || !span_equal(known->row.group, group) || (all == NULL && !known->left))
            continue;
        of[count] = known;
        topics[count++].topic = known->row.name.at;
    }
    int code = count == 0 ? 0 : bus_standing(names->bus, group.at, topics, count, WAITING_UNREAD_MAX, names->error);
    for (size_t i = 0; i < count && code == 0; i++)
        if (topics[i].known)
            (all != NULL ? all : of[i])->unread += topics[i].unread;
    return code;
}

static int count_unread(struct names *names)
{
    int code = 0;
    for (size_t i = 0; i < names->config->group_count && code == 0; i++)
        if (names->config->groups[i].retired == NULL)
            code = count_unread_of(names, span_of(names->config->groups[i].name), NULL);
    for (size_t i = 0; i < names->known_count && code == 0; i++)
        if (names_kind(&names->known[i]) == 'g' && names->known[i].left)
            code = count_unread_of(names, names->known[i].row.name, &names->known[i]);
    return code;
}

/* Counted tries of handlers ('h'), or chains that are not over ('c'). */
static int count_rows(struct names *names, char kind)
{
    struct span *left = arena_array(names->arena, struct span, names->known_count + 1);
    struct rows *rows = NULL;
    size_t count = 0;
    for (size_t i = 0; i < names->known_count; i++)
        if (names_kind(&names->known[i]) == kind && names->known[i].left)
            left[count++] = names->known[i].row.name;
    if (count == 0)
        return 0;
    enum store_result result = ledger_waiting(names->connection, kind, left, count, &rows, names->error);
    for (size_t r = 0; result == STORE_OK && r < rows_count(rows); r++) {
        struct known *known = known_find(names, kind, (struct span){"", 0}, rows_span(rows, r, 0));
        if (known != NULL)
            *(kind == 'h' ? &known->tries : &known->chains) = rows_int64(rows, r, 1);
    }
    return names_code(result);
}

/* Outputs that are committed and not published, for topics that the pipeline's own group has read. */
static int count_outputs(struct names *names)
{
    struct span group = span_of(names->config->engine.group);
    struct rows *rows = NULL;
    if (names->bus->kind->transactional)
        return 0; /* none is kept */
    enum store_result result = ledger_outbox_all(names->connection, WAITING_OUTBOX_MAX, &rows, names->error);
    for (size_t r = 0; result == STORE_OK && r < rows_count(rows); r++) {
        struct record *records;
        size_t count = 0;
        if (record_batch_read(rows_span(rows, r, 0), names->arena, &records, &count, NULL) != 0)
            continue; /* the sweeper says so */
        for (size_t i = 0; i < count; i++) {
            struct known *known = known_find(names, 't', group, records[i].topic);
            if (known != NULL && known->left)
                known->outputs++;
        }
    }
    return names_code(result);
}

/* Whether there is anything to count: a name left, parked events were found to be of a topic that the file did not
 * have, or nothing is known of earlier starts. */
static int worth_counting(struct names *names, bool *ret)
{
    struct span *groups = arena_array(names->arena, struct span, names->config->group_count + names->known_count + 1);
    *ret = !names->remembered;
    for (size_t i = 0; i < names->known_count && !*ret; i++)
        *ret = names->known[i].left;
    return *ret ? 0
                : names_code(
                      ledger_parked_unknown(names->connection, groups, list_groups(names, groups), ret, names->error));
}

int waiting_count(struct names *names)
{
    bool worth = false;
    int code = worth_counting(names, &worth);
    if (code != 0 || !worth)
        return code;
    code = count_parked(names);
    if (code == 0)
        code = count_unread(names);
    if (code == 0)
        code = count_rows(names, 'h');
    if (code == 0)
        code = count_rows(names, 'c');
    return code == 0 ? count_outputs(names) : code;
}

/* ----------------------------------------------------------------------------------------------------------- saying */

static void say_count(struct buffer *text, int64_t count, const char *one, const char *many)
{
    if (count > 0)
        buffer_format(text, "%s%lld %s", text->length == 0 ? "" : ", ", (long long)count, count == 1 ? one : many);
}

static void say(struct names *names, const struct known *known)
{
    const char *word = kind_words[(unsigned char)names_kind(known)], *name = known->name;
    bool handled_no_more = names_kind(known) == 't' && pipeline_topic(names->config, name) != NULL;
    struct buffer counts, text;
    buffer_init(&counts, 4096);
    buffer_init(&text, 4096);
    say_count(&counts, known->parked, "event is parked", "events are parked");
    say_count(&counts, known->timers, "timer emits to it", "timers emit to it");
    say_count(&counts, known->held, "event is held", "events are held");
    say_count(&counts, known->unread, "is unread", "are unread");
    say_count(&counts, known->outputs, "is not published", "are not published");
    say_count(&counts, known->tries, "event was being retried", "events were being retried");
    say_count(&counts, known->chains, "is not over", "are not over");
    if (handled_no_more)
        buffer_format(&text,
                      "topic '%s' has no handler any more, and something waits for it: %.*s; give it its handler back, "
                      "or take the topic out of the file and say 'renamed: {%s: NEW}' or 'retired: {%s: dead_letter}'",
                      name, (int)counts.length, counts.at, name, name);
    else
        buffer_format(&text,
                      "%s '%s' left the file, and something waits for it: %.*s; say 'renamed: {%s: NEW}' or "
                      "'retired: {%s: dead_letter}', or put it back",
                      word, name, (int)counts.length, counts.at, name, name);
    names->findings++;
    names->each(names->context, names->config->store.place, "name_left",
                arena_string(names->arena, buffer_view(&text)));
    buffer_free(&counts);
    buffer_free(&text);
}

void waiting_say(struct names *names)
{
    for (size_t i = 0; i < names->known_count; i++) {
        const struct known *known = &names->known[i];
        if (known->left && known->answer == NULL && waiting_any(known))
            say(names, known);
    }
}
