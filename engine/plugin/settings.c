/*
 * settings.c - what stands under `settings:` is checked against a plugin's table and put into its state; states are
 * opened and closed.
 *
 * Checking happens once, before anything runs, and marks what it understood in the tree. Opening happens in many
 * threads at once and only reads the tree.
 */
#include "plugin/plugin.h"

#include "base/buffer.h"
#include "plugin/field.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

enum { SETTING_JSON_MAX = 1024 * 1024, NAMES_MAX = 256, OPEN_ARENA_BLOCK = 4096, OPEN_ARENA_MAX = 4 * 1024 * 1024 };

/* A state with what its settings point to and the tree does not hold. */
struct block {
    struct arena *arena;
    _Alignas(max_align_t) char state[];
};

/* ----------------------------------------------------------------------------------------------------- YAML to JSON */

static bool scalar_is_json(const struct node *node)
{
    static const struct sluice_field number = {.type = SLUICE_TYPE_DOUBLE};
    double scratch;
    return !node->quoted && (span_is(node->text, "true") || span_is(node->text, "false") ||
                             span_is(node->text, "null") || field_parse(&number, node->text, &scratch, NULL) == 0);
}

static void node_to_json(const struct node *node, struct buffer *out)
{
    if (node->kind == NODE_SCALAR && scalar_is_json(node)) {
        buffer_span(out, node->text);
        return;
    }
    if (node->kind == NODE_SCALAR) {
        buffer_json_string(out, node->text);
        return;
    }
    buffer_byte(out, node->kind == NODE_MAPPING ? '{' : '[');
    for (size_t i = 0; i < node->count; i++) {
        if (i > 0)
            buffer_byte(out, ',');
        if (node->kind == NODE_MAPPING) {
            buffer_json_string(out, node->keys[i]->text);
            buffer_byte(out, ':');
        }
        node_to_json(node->items[i], out);
    }
    buffer_byte(out, node->kind == NODE_MAPPING ? '}' : ']');
}

static void node_mark(struct node *node)
{
    node->used = true;
    for (size_t i = 0; i < node->count; i++)
        node_mark(node->items[i]);
}

/* ---------------------------------------------------------------------------------------------------------- filling */

/* One setting from its node into `state`; -EINVAL with "setting 'x': expected …, got …". JSON lives in the arena. */
static int setting_fill(const struct sluice_field *field, const struct node *node, struct arena *arena, void *state,
                        struct error *error)
{
    char expected[FIELD_WORDS_MAX];
    bool secret = (field->flags & SLUICE_SECRET) != 0;
    struct span text = node->text;
    if (field->type == SLUICE_TYPE_JSON) {
        struct buffer json;
        buffer_init(&json, SETTING_JSON_MAX);
        node_to_json(node, &json);
        text = arena_span(arena, buffer_view(&json));
        bool failed = json.failed;
        buffer_free(&json);
        if (failed)
            return error_set(error, E2BIG, "setting '%s' is larger than %d bytes", field->name, SETTING_JSON_MAX);
    } else if (node->kind != NODE_SCALAR) {
        return error_set(error, EINVAL, "setting '%s': expected %s, got a %s", field->name,
                         field_expected(field, expected), node->kind == NODE_MAPPING ? "mapping" : "list");
    } else if (node->quoted && !node->interpolated && field->type != SLUICE_TYPE_TEXT) {
        return error_set(error, EINVAL, "setting '%s': expected %s, got the text '%.*s'; take the quotes off",
                         field->name, field_expected(field, expected), secret ? 3 : (int)text.length,
                         secret ? "***" : text.at);
    }
    if (field_parse(field, text, state, error) == 0)
        return 0;
    if (node->interpolated) /* it may be a secret that stands in the wrong place */
        return error_set(error, EINVAL, "setting '%s': expected %s, got ***", field->name,
                         field_expected(field, expected));
    return error_prefix(error, "setting '%s'", field->name);
}

/* --------------------------------------------------------------------------------------------------------- checking */

static void setting_check(const struct plugin_ref *ref, const struct sluice_field *field, void *scratch,
                          struct problems *problems)
{
    struct node *node = ref->settings == NULL ? NULL : node_get(ref->settings, field->name);
    struct error error = {0};
    char expected[FIELD_WORDS_MAX];
    if (node == NULL) {
        if ((field->flags & SLUICE_OPTIONAL) == 0)
            problem_add(problems, ref->settings == NULL ? ref->place : ref->settings->place, "missing_setting",
                        "plugin '%s' needs the setting '%s'%s%s: expected %s; write it under `settings:`", ref->name,
                        field->name, field->help == NULL ? "" : ", ", field->help == NULL ? "" : field->help,
                        field_expected(field, expected));
        return;
    }
    node_mark(node);
    struct arena *arena = arena_create(OPEN_ARENA_BLOCK, OPEN_ARENA_MAX);
    if (arena == NULL || setting_fill(field, node, arena, scratch, &error) != 0)
        problem_add(problems, node->place, "bad_setting", "plugin '%s': %s", ref->name,
                    arena == NULL ? "out of memory" : error.text);
    else if ((field->flags & SLUICE_SECRET) != 0 && !node->interpolated)
        problem_warn(problems, node->place, "secret_in_file",
                     "plugin '%s': the secret '%s' stands in the file; write ${VARIABLE} or ${file:PATH} instead",
                     ref->name, field->name);
    arena_destroy(arena);
}

void plugin_check_settings(const struct plugin_ref *ref, struct problems *problems)
{
    const char *names[NAMES_MAX + 1] = {NULL};
    size_t count = 0;
    if (ref->plugin == NULL)
        return;
    if (ref->settings != NULL && ref->settings->kind != NODE_MAPPING) {
        problem_add(problems, ref->settings->place, "bad_setting",
                    "plugin '%s': `settings:` must be a mapping of names to values", ref->name);
        return;
    }
    void *scratch = calloc(1, ref->plugin->state_size + 1);
    if (scratch == NULL) {
        problem_add(problems, ref->place, "bad_setting", "plugin '%s': out of memory for a state of %zu bytes",
                    ref->name, ref->plugin->state_size);
        return;
    }
    for (const struct sluice_field *field = ref->plugin->settings; field != NULL && field->name != NULL; field++) {
        names[count++] = field->name;
        setting_check(ref, field, scratch, problems);
    }
    free(scratch);
    if (ref->settings != NULL) {
        char what[128];
        snprintf(what, sizeof what, "a setting of plugin '%s'", ref->name);
        node_refuse_unknown(ref->settings, what, names, problems);
    }
}

/* ------------------------------------------------------------------------------------------------- opening, closing */

static const struct node *setting_find(const struct node *settings, const char *name)
{
    for (size_t i = 0; settings != NULL && i < settings->count; i++)
        if (span_is(settings->keys[i]->text, name))
            return settings->items[i];
    return NULL;
}

static int state_fill(const struct plugin_ref *ref, struct block *block, struct error *error)
{
    for (const struct sluice_field *field = ref->plugin->settings; field != NULL && field->name != NULL; field++) {
        const struct node *node = setting_find(ref->settings, field->name);
        if (node == NULL && (field->flags & SLUICE_OPTIONAL) == 0)
            return error_set(error, EINVAL, "setting '%s' is missing", field->name);
        if (node == NULL)
            field_fallback(field, block->state);
        else if (setting_fill(field, node, block->arena, block->state, error) != 0)
            return -EINVAL;
    }
    return 0;
}

/* The state, zeroed and with its settings in it; NULL without one. */
static int state_make(const struct plugin_ref *ref, void **ret, struct error *error)
{
    *ret = NULL;
    if (ref->plugin->state_size == 0)
        return 0;
    struct block *block = calloc(1, sizeof *block + ref->plugin->state_size);
    struct arena *arena = arena_create(OPEN_ARENA_BLOCK, OPEN_ARENA_MAX);
    int r = block == NULL || arena == NULL
                ? error_set(error, ENOMEM, "out of memory for a state of %zu bytes", ref->plugin->state_size)
                : 0;
    if (r == 0) {
        block->arena = arena;
        r = state_fill(ref, block, error);
    }
    if (r != 0) {
        arena_destroy(arena);
        free(block);
        return r;
    }
    *ret = block->state;
    return 0;
}

struct opening {
    struct sluice_opening head;
    struct error error; /* the first sentence given to fail() */
};

static void opening_fail(struct sluice_opening *head, const char *why)
{
    struct opening *opening = (struct opening *)head;
    if (opening->error.code == 0)
        error_set(&opening->error, EINVAL, "%s", why == NULL || *why == '\0' ? "it did not say why" : why);
}

int plugin_fill(const struct plugin_ref *ref, struct plugin_state *ret, struct error *error)
{
    *ret = (struct plugin_state){.plugin = ref->plugin};
    return state_make(ref, &ret->state, error) == 0 ? 0 : error_prefix(error, "plugin '%s'", ref->name);
}

int plugin_begin(uint32_t lane, struct plugin_state *state, struct error *error)
{
    struct opening opening = {.head = {.size = sizeof opening.head, .lane = lane, .fail = opening_fail}};
    state->opened = true;
    if (state->plugin->open == NULL ||
        (state->plugin->open(state->state, &opening.head) == 0 && opening.error.code == 0))
        return 0;
    return error_set(error, EINVAL, "plugin '%s' did not open: %s", state->plugin->name,
                     opening.error.code != 0 ? opening.error.text : "its open() failed and did not say why");
}

int plugin_open(const struct plugin_ref *ref, uint32_t lane, struct plugin_state *ret, struct error *error)
{
    struct plugin_state state;
    int r = plugin_fill(ref, &state, error);
    if (r == 0 && (r = plugin_begin(lane, &state, error)) != 0) {
        plugin_close(&state);
        error_hint(error, "see its settings: sluice inspect %s", ref->path);
    }
    if (r == 0)
        *ret = state;
    return r;
}

void plugin_close(struct plugin_state *state)
{
    if (state->opened && state->plugin->close != NULL)
        state->plugin->close(state->state);
    if (state->state != NULL) {
        struct block *block = (struct block *)(void *)((char *)state->state - offsetof(struct block, state));
        arena_destroy(block->arena);
        free(block);
    }
    *state = (struct plugin_state){0};
}
