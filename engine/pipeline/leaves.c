/*
 * leaves.c - walks the tree along the tables of option_table.c.
 */
#include "pipeline/leaves.h"

#include <stdlib.h>
#include <strings.h>

struct walk {
    struct leaves leaves;
    struct arena *arena;
    const struct pipeline *pipeline;
    const char *kind, *name;    /* whose leaves are written */
    bool inherits;              /* what is not written follows from another section: */
    const struct node *inherit; /* that one; NULL: it is not written either */
};

/* Without marking it as used, as node_get() does. A key with nothing behind it is as good as none. */
static const struct node *find(const struct node *mapping, const char *key)
{
    for (size_t i = 0; mapping != NULL && mapping->kind == NODE_MAPPING && i < mapping->count; i++) {
        const struct node *node = mapping->items[i];
        if (span_is(mapping->keys[i]->text, key))
            return node->kind == NODE_SCALAR && node->text.length == 0 && !node->quoted ? NULL : node;
    }
    return NULL;
}

static void add(struct walk *walk, const char *field, const char *text, bool secret, bool inherited)
{
    struct leaves *leaves = &walk->leaves;
    leaves->list = arena_grown(walk->arena, leaves->list, leaves->count, sizeof *leaves->list);
    leaves->list[leaves->count++] = (struct leaf){walk->kind, walk->name, field, text, secret, inherited};
}

/* -------------------------------------------------------------------------------------------------------- the texts */

static const char *number_text(const struct option *option, struct span text, struct arena *arena)
{
    char shown[32];
    int64_t value;
    switch (option->type) {
    case OPTION_DURATION:
        return duration_parse(text, &value) == 0 ? arena_string(arena, span_of(duration_text(value, shown))) : text.at;
    case OPTION_SIZE:
        return size_parse(text, &value) == 0 ? arena_string(arena, span_of(size_text(value, shown))) : text.at;
    case OPTION_INT32:
    case OPTION_INT64:
        return arena_format(arena, "%lld", strtoll(text.at, NULL, 10));
    case OPTION_NUMBER:
        return arena_format(arena, "%.15g", strtod(text.at, NULL));
    default:
        return text.at;
    }
}

/* TOPIC, or "TOPIC after 10m". */
static const char *target_text(const struct node *node, struct arena *arena)
{
    const struct node *topic = find(node, "topic"), *delay = find(node, "delay");
    const char *name = node->kind == NODE_SCALAR ? node->text.at : topic == NULL ? "" : topic->text.at;
    if (delay == NULL)
        return name;
    return arena_format(arena, "%s after %s", name,
                        number_text(&(struct option){.type = OPTION_DURATION}, delay->text, arena));
}

static const char *list_text(const struct node *node, const char *between,
                             const char *(*item)(const struct node *, struct arena *), struct arena *arena)
{
    struct buffer text;
    buffer_init(&text, 1024 * 1024);
    for (size_t i = 0; i < node->count; i++) {
        buffer_text(&text, i > 0 ? between : "");
        buffer_text(&text, item(node->items[i], arena));
    }
    const char *joined = arena_string(arena, buffer_view(&text));
    buffer_free(&text);
    return joined;
}

static const char *scalar_text(const struct node *node, struct arena *arena)
{
    (void)arena;
    return node->kind == NODE_SCALAR ? node->text.at : "";
}

static const char *step_text(const struct node *node, struct arena *arena)
{
    const struct node *name = find(node, "name");
    return name == NULL ? "" : scalar_text(name, arena);
}

static bool is_interpolated(const struct node *node)
{
    bool any = node->interpolated;
    for (size_t i = 0; i < node->count; i++)
        any = any || is_interpolated(node->items[i]);
    return any;
}

/* What may hold a secret by its name, where nothing says whether it does. */
static bool sounds_secret(const char *name)
{
    static const char *const words[] = {"password", "secret", "token", "credential", "apikey", "api_key", ".pem"};
    bool any = false;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        any = any || strcasestr(name, words[i]) != NULL;
    return any;
}

/* scheme://user:password@host */
static bool holds_user(const char *text)
{
    const char *scheme = strstr(text, "://");
    return scheme != NULL && strchr(scheme, '@') != NULL;
}

/* --------------------------------------------------------------------------------------------------- the free parts */

/* -1: unknown. Both the plugins' tables and the names are asked by the caller. */
static int setting_is_secret(const struct walk *walk, const char *name)
{
    for (size_t i = 0; i < walk->pipeline->plugin_count; i++) {
        const struct plugin_ref *ref = &walk->pipeline->plugins[i];
        if (ref->plugin == NULL || strcmp(ref->name, walk->name) != 0)
            continue;
        for (const struct sluice_field *field = ref->plugin->settings; field != NULL && field->name != NULL; field++)
            if (strcmp(field->name, name) == 0)
                return (field->flags & SLUICE_SECRET) != 0;
    }
    return -1;
}

/* A mapping that another room reads: every text of it. */
static void walk_any(struct walk *walk, const struct node *node, const char *field, bool secret)
{
    if (node->kind == NODE_MAPPING)
        for (size_t i = 0; i < node->count; i++) {
            const char *key = node->keys[i]->text.at;
            int known = setting_is_secret(walk, key);
            walk_any(walk, node->items[i], arena_format(walk->arena, "%s.%s", field, key),
                     secret || (known < 0 ? sounds_secret(key) : known == 1));
        }
    else
        add(walk, field,
            node->kind == NODE_SCALAR
                ? node->text.at
                : arena_format(walk->arena, "[%s]", list_text(node, ", ", scalar_text, walk->arena)),
            secret || is_interpolated(node) || (node->kind == NODE_SCALAR && holds_user(node->text.at)), false);
}

/* ------------------------------------------------------------------------------------------------------- the tables */

static void walk_table(struct walk *walk, const struct option *table, const struct node *mapping, const char *prefix);

static void walk_inheriting(struct walk *walk, bool inherits, const struct node *inherit, const struct option *table,
                            const struct node *mapping, const char *prefix)
{
    bool inherited = walk->inherits;
    const struct node *from = walk->inherit;
    walk->inherits = inherits;
    walk->inherit = inherit;
    walk_table(walk, table, mapping, prefix);
    walk->inherits = inherited;
    walk->inherit = from;
}

/* What a topic, tap … has that does not say it itself. NULL: nothing. */
static const char *fallback_of(struct walk *walk, const struct option *table, const struct option *option,
                               bool *ret_inherited)
{
    const struct node *inherited = find(walk->inherit, option->key);
    *ret_inherited = walk->inherits;
    if (option->own && strcmp(option->key, "dead_letter") == 0 && table == topic_options) {
        const char *pattern = inherited == NULL ? "{topic}-dlt" : inherited->text.at, *at = strstr(pattern, "{topic}");
        return at == NULL ? pattern
                          : arena_format(walk->arena, "%.*s%s%s", (int)(at - pattern), pattern, walk->name,
                                         at + strlen("{topic}"));
    }
    if (inherited != NULL && inherited->kind == NODE_SCALAR)
        return number_text(option, inherited->text, walk->arena);
    if (table == engine_options_table && strcmp(option->key, "group") == 0) {
        *ret_inherited = true;
        return walk->pipeline->name;
    }
    if (option->own && strcmp(option->key, "timeout") == 0)
        return "10s"; /* that of `defaults` */
    return option->fallback == NULL ? NULL : number_text(option, span_of(option->fallback), walk->arena);
}

static void walk_scalar(struct walk *walk, const struct option *table, const struct option *option,
                        const struct node *node, const char *field)
{
    bool credentials = table == property_options || table == http_options;
    if (node == NULL) {
        bool inherited = false;
        const char *text = fallback_of(walk, table, option, &inherited);
        if (text != NULL)
            add(walk, field, text, false, inherited);
        return;
    }
    const char *text = node->kind == NODE_SEQUENCE ? list_text(node, ",", scalar_text, walk->arena)
                       : node->kind == NODE_SCALAR ? number_text(option, node->text, walk->arena)
                                                   : "";
    bool secret = (credentials && sounds_secret(option->key)) || strcmp(option->key, "url") == 0;
    add(walk, field, text, secret || is_interpolated(node) || holds_user(text), false);
}

static void walk_routes(struct walk *walk, const struct option *option, const struct node *routes, const char *field)
{
    for (size_t i = 0; routes != NULL && routes->kind == NODE_MAPPING && i < routes->count; i++) {
        const struct node *route = routes->items[i];
        const char *outcome = arena_format(walk->arena, "%s.%s", field, routes->keys[i]->text.at);
        if (route->kind == NODE_MAPPING && find(route, "topic") == NULL) {
            add(walk, outcome, "a retry ladder", false, false);
            walk_inheriting(walk, false, NULL, option->section, route, arena_format(walk->arena, "%s.", outcome));
        } else {
            add(walk, outcome,
                route->kind == NODE_SEQUENCE ? list_text(route, ", ", target_text, walk->arena)
                                             : target_text(route, walk->arena),
                is_interpolated(route), false);
        }
    }
}

static void walk_list(struct walk *walk, const struct option *option, const struct node *list, const char *field)
{
    if (list == NULL || list->kind == NODE_MAPPING)
        return;
    bool plain = list->kind == NODE_SCALAR;
    add(walk, field,
        arena_format(walk->arena, "[%s]",
                     plain                     ? list->text.at
                     : option->section == NULL ? list_text(list, ", ", scalar_text, walk->arena)
                                               : list_text(list, ", ", step_text, walk->arena)),
        is_interpolated(list), false);
    for (size_t i = 0; option->section != NULL && !plain && i < list->count; i++)
        walk_table(walk, option->section, list->items[i],
                   arena_format(walk->arena, "%s.%s.", field, step_text(list->items[i], walk->arena)));
}

/* A section that is not there is as one with nothing in it, but for these, whose absence means something. */
static bool is_optional(const struct option *section)
{
    return section == store_options_table || section == http_options || section == tracing_options ||
           section == limit_options || section == after_options;
}

static void walk_section(struct walk *walk, const struct option *option, const struct node *node, const char *field)
{
    if (node == NULL && is_optional(option->section))
        return;
    bool inherits = walk->inherits && !is_optional(option->section);
    const struct node *from = option->section == batch_options ? find(walk->pipeline->root, "engine") : walk->inherit;
    walk_inheriting(walk, inherits, inherits ? find(from, option->key) : NULL, option->section, node,
                    arena_format(walk->arena, "%s.", field));
}

/* "topics" -> "topic"; "dependencies" -> "dependency". */
static const char *singular(const char *map, struct arena *arena)
{
    size_t length = strlen(map);
    if (length > 3 && strcmp(map + length - 3, "ies") == 0)
        return arena_format(arena, "%.*sy", (int)length - 3, map);
    return arena_format(arena, "%.*s", (int)length - (map[length - 1] == 's'), map);
}

/* Each entry of a map is something of its own: a topic, a request. */
static void walk_map(struct walk *walk, const struct option *option, const struct node *map)
{
    const char *kind = walk->kind, *name = walk->name;
    bool inherits = option->section == topic_options || option->section == tap_options ||
                    option->section == schedule_options || option->section == request_options;
    const struct node *inherit = inherits ? find(walk->pipeline->root, "defaults") : NULL;
    walk->kind = singular(option->key, walk->arena);
    for (size_t i = 0; map != NULL && map->kind == NODE_MAPPING && i < map->count; i++) {
        walk->name = map->keys[i]->text.at;
        add(walk, "", "", false, false);
        if (option->type == OPTION_NAMES)
            add(walk, "to", scalar_text(map->items[i], walk->arena), false, false);
        else
            walk_inheriting(walk, inherits, inherit, option->section, map->items[i], "");
    }
    walk->kind = kind;
    walk->name = name;
}

static void walk_table(struct walk *walk, const struct option *table, const struct node *mapping, const char *prefix)
{
    for (const struct option *option = table; option->key != NULL; option++) {
        const struct node *node = find(mapping, option->key);
        const char *field = arena_format(walk->arena, "%s%s", prefix, option->key);
        switch (option->type) {
        case OPTION_SECTION:
            walk_section(walk, option, node, field);
            break;
        case OPTION_MAP:
        case OPTION_NAMES:
            walk_map(walk, option, node);
            break;
        case OPTION_LIST:
            walk_list(walk, option, node, field);
            break;
        case OPTION_ROUTES:
            walk_routes(walk, option, node, field);
            break;
        case OPTION_ANY:
            if (node != NULL)
                walk_any(walk, node, field, table == tracing_options);
            break;
        default:
            walk_scalar(walk, table, option, node, field);
        }
    }
}

/* ------------------------------------------------------------------------------------------------------------- all */

int leaf_compare(const struct leaf *a, const struct leaf *b)
{
    int by = strcmp(a->kind, b->kind);
    if (by == 0)
        by = strcmp(a->name, b->name);
    return by != 0 ? by : strcmp(a->field, b->field);
}

bool leaf_same_entry(const struct leaf *a, const struct leaf *b)
{
    return strcmp(a->kind, b->kind) == 0 && strcmp(a->name, b->name) == 0;
}

static int compare(const void *a, const void *b)
{
    return leaf_compare(a, b);
}

struct leaves leaves_of(const struct pipeline *pipeline, struct arena *arena)
{
    struct walk walk = {.arena = arena, .pipeline = pipeline, .name = ""};
    for (const struct option *option = pipeline_options; pipeline->root != NULL && option->key != NULL; option++) {
        const struct node *node = find(pipeline->root, option->key);
        walk.kind = option->key;
        if (option->type == OPTION_MAP || option->type == OPTION_NAMES) {
            walk_map(&walk, option, node);
        } else if (option->type != OPTION_SECTION) {
            walk_scalar(&walk, pipeline_options, option, node, "name");
        } else if (node != NULL || !is_optional(option->section)) {
            if (is_optional(option->section))
                add(&walk, "", "", false, false);
            walk_table(&walk, option->section, node, "");
        }
    }
    if (walk.leaves.count > 0)
        qsort(walk.leaves.list, walk.leaves.count, sizeof *walk.leaves.list, compare);
    return walk.leaves;
}
