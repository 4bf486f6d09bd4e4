/*
 * reload_text.c - the answer for people: read back from its JSON, since a command gets no more than that.
 */
#include "operate/reload.h"

#include "event/json.h"

#include <errno.h>

struct reading {
    struct arena *arena;
    struct buffer *out;
};

static const struct json_member *member(const struct json_object *object, const char *name)
{
    return json_find(object, span_of(name));
}

/* A text; empty when there is none. */
static struct span text_of(struct reading *reading, const struct json_object *object, const char *name)
{
    const struct json_member *found = member(object, name);
    if (found == NULL || found->kind == JSON_KIND_NULL)
        return (struct span){0};
    return found->kind == JSON_KIND_STRING ? json_unescape(found->value, found->value_escaped, reading->arena)
                                           : found->value;
}

static bool is_true(const struct json_object *object, const char *name)
{
    const struct json_member *found = member(object, name);
    return found != NULL && found->kind == JSON_KIND_TRUE;
}

static struct json_object object_of(struct reading *reading, const struct json_object *object, const char *name)
{
    struct json_object inner = {0};
    const struct json_member *found = member(object, name);
    if (found != NULL && found->kind == JSON_KIND_OBJECT)
        json_members(found->value, reading->arena, &inner);
    return inner;
}

/* Calls put() for each object of a list. Returns how many there are. */
static size_t each(struct reading *reading, const struct json_object *object, const char *name,
                   void (*put)(struct reading *, const struct json_object *))
{
    struct json_object list = {0};
    const struct json_member *found = member(object, name);
    if (found != NULL && found->kind == JSON_KIND_ARRAY)
        json_elements(found->value, reading->arena, &list);
    for (size_t i = 0; i < list.count; i++) {
        struct json_object item;
        if (list.members[i].kind != JSON_KIND_OBJECT)
            continue;
        json_members(list.members[i].value, reading->arena, &item);
        put(reading, &item);
    }
    return list.count;
}

static void put_words(struct reading *reading, const char *before, struct span text)
{
    buffer_text(reading->out, before);
    buffer_span(reading->out, text);
}

static void put_change(struct reading *reading, const struct json_object *change)
{
    struct span name = text_of(reading, change, "name"), field = text_of(reading, change, "field"),
                old = text_of(reading, change, "old"), new = text_of(reading, change, "new");
    put_words(reading, "  ", text_of(reading, change, "change"));
    put_words(reading, " ", text_of(reading, change, "of"));
    put_words(reading, name.length > 0 ? " " : "", name);
    if (field.length > 0 && span_is(old, "***") && span_is(new, "***")) {
        put_words(reading, " ", field);
    } else if (field.length > 0) {
        put_words(reading, " ", field);
        put_words(reading, ": ", old.at == NULL ? SPAN("nothing") : old);
        put_words(reading, " -> ", new.at == NULL ? SPAN("nothing") : new);
    }
    buffer_byte(reading->out, '\n');
}

static void put_version(struct reading *reading, const struct json_object *plugin, const char *name)
{
    struct json_object version = object_of(reading, plugin, name);
    if (version.count == 0) {
        buffer_text(reading->out, "nothing");
        return;
    }
    put_words(reading, "", text_of(reading, &version, "version"));
    put_words(reading, " (", text_of(reading, &version, "hash"));
    buffer_byte(reading->out, ')');
}

static void put_plugin(struct reading *reading, const struct json_object *plugin)
{
    bool both = object_of(reading, plugin, "old").count > 0 && object_of(reading, plugin, "new").count > 0;
    put_words(reading, "  plugin ", text_of(reading, plugin, "name"));
    buffer_text(reading->out, ": ");
    if (!both || is_true(plugin, "replaced")) {
        put_version(reading, plugin, "old");
        buffer_text(reading->out, " -> ");
        put_version(reading, plugin, "new");
    } else {
        put_version(reading, plugin, "new");
        buffer_text(reading->out, ", the same");
    }
    buffer_byte(reading->out, '\n');
}

static void put_chain(struct reading *reading, const struct json_object *chain)
{
    put_words(reading, "  chain ", text_of(reading, chain, "chain"));
    put_words(reading, ": ", text_of(reading, chain, "in_flight"));
    put_words(reading, " in flight on definition ", text_of(reading, chain, "definition"));
    buffer_text(reading->out, is_true(chain, "current") ? ", that of the running file; they stay on it\n"
                                                        : ", an earlier one; they stay on it\n");
}

static void put_problem(struct reading *reading, const struct json_object *problem)
{
    put_words(reading, "  ", text_of(reading, problem, "file"));
    put_words(reading, ":", text_of(reading, problem, "line"));
    put_words(reading, ":", text_of(reading, problem, "column"));
    put_words(reading, ": ", text_of(reading, problem, "level"));
    put_words(reading, ": ", text_of(reading, problem, "text"));
    buffer_byte(reading->out, '\n');
}

static void put_left_out(struct reading *reading, const struct json_object *answer, const char *name, const char *what)
{
    struct span count = text_of(reading, answer, name);
    if (count.length > 0) {
        put_words(reading, "  and ", count);
        put_words(reading, " more ", span_of(what));
        buffer_byte(reading->out, '\n');
    }
}

/* What came of it. */
static void put_end(struct reading *reading, const struct json_object *answer)
{
    struct json_object old = object_of(reading, answer, "old"), new = object_of(reading, answer, "new");
    bool plan = is_true(answer, "plan");
    if (!is_true(answer, "accepted")) {
        put_words(reading, plan ? "it would be refused: " : "refused, and what ran before goes on: ",
                  text_of(reading, answer, "why"));
        buffer_byte(reading->out, '\n');
        return;
    }
    buffer_text(reading->out, plan ? "it could be reloaded" : "reloaded");
    put_words(reading, plan ? "; looked at in " : " in ", text_of(reading, answer, "duration_ms"));
    put_words(reading, " ms: ", text_of(reading, &old, "hash"));
    put_words(reading, " -> ", text_of(reading, &new, "hash"));
    buffer_byte(reading->out, '\n');
}

int reload_text(struct span answer, struct buffer *out)
{
    struct json_object object;
    struct reading reading = {.arena = arena_create(16 * 1024, 16 * 1024 * 1024), .out = out};
    bool good = reading.arena != NULL && json_scan(answer, reading.arena, &object, NULL) == 0 &&
                member(&object, "accepted") != NULL;
    if (good) {
        put_end(&reading, &object);
        if (each(&reading, &object, "changes", put_change) == 0 && is_true(&object, "accepted"))
            buffer_text(out, "  the file says the same\n");
        put_left_out(&reading, &object, "changes_left_out", "changes");
        each(&reading, &object, "plugins", put_plugin);
        each(&reading, &object, "chains", put_chain);
        each(&reading, &object, "problems", put_problem);
        put_left_out(&reading, &object, "problems_left_out", "problems");
    }
    arena_destroy(reading.arena);
    return good ? 0 : -EINVAL;
}
