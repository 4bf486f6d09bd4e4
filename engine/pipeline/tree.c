/*
 * tree.c - libyaml's events become a tree with places; everything that YAML can do and a configuration should not is
 * refused.
 *
 * The limits are enforced while events are read: libyaml itself spends seconds on a hundred kilobytes of '[', so the
 * nesting of flow brackets is counted over the bytes before libyaml sees them.
 */
#include "pipeline/interpolate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

enum { TREE_BYTES_MAX = 1024 * 1024, TREE_DEPTH_MAX = 32, TREE_NODES_MAX = 10000 };

struct reader {
    yaml_parser_t parser;
    struct arena *arena;
    struct problems *problems;
    const char *file;
    struct span bytes;
    size_t nodes;
    bool stop; /* what follows makes no sense any more */
};

static struct place place_of(const struct reader *reader, yaml_mark_t mark)
{
    return (struct place){reader->file, (int)mark.line + 1, (int)mark.column + 1};
}

static void stop_at(struct reader *reader, struct place place, const char *code, const char *text)
{
    if (!reader->stop)
        problem_add(reader->problems, place, code, "%s", text);
    reader->stop = true;
}

/* libyaml gives the place of bytes that are no text as an offset only. */
static struct place place_at(const struct reader *reader, size_t offset)
{
    struct place place = {reader->file, 1, 1};
    for (size_t i = 0; i < offset && i < reader->bytes.length; i++) {
        place.column += ((unsigned char)reader->bytes.at[i] & 0xc0) != 0x80;
        if (reader->bytes.at[i] == '\n') {
            place.line++;
            place.column = 1;
        }
    }
    return place;
}

static size_t place_offset(const struct reader *reader, struct place place)
{
    size_t offset = 0;
    for (int line = 1; line < place.line && offset < reader->bytes.length; offset++)
        line += reader->bytes.at[offset] == '\n';
    for (int column = 1; column < place.column && offset < reader->bytes.length; column++)
        while (++offset < reader->bytes.length && ((unsigned char)reader->bytes.at[offset] & 0xc0) == 0x80)
            ;
    return offset < reader->bytes.length ? offset : 0;
}

/* The `${…}` around this place, on its line: *place becomes its beginning. Empty: there is none. */
static struct span variable_around(const struct reader *reader, struct place *place)
{
    const char *bytes = reader->bytes.at;
    size_t at = place_offset(reader, *place), start = at;
    while (start > 0 && bytes[start - 1] != '\n' && !(bytes[start - 1] == '$' && bytes[start] == '{'))
        start--;
    if (start == 0 || bytes[start - 1] == '\n')
        return (struct span){NULL, 0};
    start--;
    const char *end = memchr(bytes + at, '}', reader->bytes.length - at);
    if (end == NULL || memchr(bytes + start, '\n', (size_t)(end - bytes) - start) != NULL ||
        memchr(bytes + start, '}', at - start) != NULL)
        return (struct span){NULL, 0};
    for (size_t i = start; i < at; i++)
        place->column -= ((unsigned char)bytes[i] & 0xc0) != 0x80;
    return (struct span){bytes + start, (size_t)(end + 1 - bytes) - start};
}

static void say_bad_yaml(struct reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    struct place place = place_of(reader, parser->problem_mark);
    const char *problem = parser->problem == NULL ? "out of memory" : parser->problem;
    if (parser->error == YAML_READER_ERROR) {
        place = place_at(reader, parser->problem_offset);
        problem_add(reader->problems, place, "encoding", "no valid YAML: %s%s", problem,
                    strstr(problem, "UTF-8") != NULL ? "; save the file as UTF-8 text" : "");
        return;
    }
    bool quoted = parser->context != NULL && strstr(parser->context, "quoted") != NULL;
    struct span variable = quoted ? (struct span){NULL, 0} : variable_around(reader, &place);
    if (variable.length > 0) {
        problem_add(reader->problems, place, "bad_yaml",
                    "no valid YAML: put the text with %.*s in quotes; without them YAML takes its braces, colons or "
                    "commas for its own",
                    (int)(variable.length < 100 ? variable.length : 100), variable.at);
        return;
    }
    if (parser->error == YAML_SCANNER_ERROR && parser->problem_mark.index < reader->bytes.length &&
        strstr(problem, "cannot start any token") != NULL) {
        char c = reader->bytes.at[place_offset(reader, place)];
        if (c == '\t')
            problem = "found a tab; indent with spaces";
        else if (c == '@' || c == '`' || c == '%')
            problem = "found a character that a plain text cannot start with; put the text in quotes";
    }
    if (parser->context != NULL && parser->context_mark.line != parser->problem_mark.line)
        problem_add(reader->problems, place, "bad_yaml", "no valid YAML: %s that starts on line %zu, %s",
                    parser->context, parser->context_mark.line + 1, problem);
    else if (parser->context != NULL)
        problem_add(reader->problems, place, "bad_yaml", "no valid YAML: %s, %s", parser->context, problem);
    else
        problem_add(reader->problems, place, "bad_yaml", "no valid YAML: %s", problem);
}

static bool next_event(struct reader *reader, yaml_event_t *event)
{
    if (yaml_parser_parse(&reader->parser, event))
        return true;
    if (!reader->stop)
        say_bad_yaml(reader);
    reader->stop = true;
    return false;
}

static struct node *node_make(struct reader *reader, enum node_kind kind, yaml_mark_t mark)
{
    struct node *node = arena_new(reader->arena, struct node);
    node->kind = kind;
    node->place = place_of(reader, mark);
    if (++reader->nodes > TREE_NODES_MAX)
        stop_at(reader, node->place, "too_large", "more than 10000 values: this is no configuration");
    return node;
}

static struct node *read_node(struct reader *reader, yaml_event_t *event, int depth);

static void node_append(struct reader *reader, struct node *parent, struct node *key, struct node *item)
{
    if ((parent->count & (parent->count - 1)) == 0) { /* full at every power of two */
        size_t size = parent->count == 0 ? 1 : parent->count * 2;
        struct node **items = arena_array(reader->arena, struct node *, size);
        struct node **keys = arena_array(reader->arena, struct node *, size);
        for (size_t i = 0; i < parent->count; i++) {
            items[i] = parent->items[i];
            keys[i] = parent->keys[i];
        }
        parent->items = items;
        parent->keys = keys;
    }
    parent->keys[parent->count] = key;
    parent->items[parent->count++] = item;
}

static void check_anchor(struct reader *reader, const yaml_event_t *event, const yaml_char_t *anchor,
                         const yaml_char_t *tag)
{
    if (anchor != NULL)
        problem_add(reader->problems, place_of(reader, event->start_mark), "anchor",
                    "anchors ('&%s') are not used here: write the value out", anchor);
    if (tag != NULL)
        problem_add(reader->problems, place_of(reader, event->start_mark), "tag",
                    "tags ('%s') are not used here: types follow from the key", tag);
}

static struct node *read_scalar(struct reader *reader, const yaml_event_t *event)
{
    struct node *node = node_make(reader, NODE_SCALAR, event->start_mark);
    struct span text = {(const char *)event->data.scalar.value, event->data.scalar.length};
    check_anchor(reader, event, event->data.scalar.anchor, event->data.scalar.tag);
    if (memchr(text.at, '\0', text.length) != NULL)
        problem_add(reader->problems, node->place, "bad_value", "a value holds a NUL byte");
    node->text = (struct span){arena_string(reader->arena, text), text.length};
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return node;
}

static void check_key(struct reader *reader, const struct node *mapping, const struct node *key)
{
    if (key->kind != NODE_SCALAR) {
        problem_add(reader->problems, key->place, "bad_key", "a key must be a plain text");
        return;
    }
    if (span_is(key->text, "<<"))
        problem_add(reader->problems, key->place, "anchor",
                    "merge keys ('<<') are not used here: write the values out");
    for (size_t i = 0; i < mapping->count; i++)
        if (span_equal(mapping->keys[i]->text, key->text))
            problem_add(reader->problems, key->place, "duplicate_key",
                        "'%s' stands here twice; the first is on line %d", key->text.at, mapping->keys[i]->place.line);
}

static struct node *read_collection(struct reader *reader, const yaml_event_t *start, bool mapping, int depth)
{
    struct node *node = node_make(reader, mapping ? NODE_MAPPING : NODE_SEQUENCE, start->start_mark);
    yaml_event_type_t end = mapping ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
    if (mapping)
        check_anchor(reader, start, start->data.mapping_start.anchor, start->data.mapping_start.tag);
    else
        check_anchor(reader, start, start->data.sequence_start.anchor, start->data.sequence_start.tag);
    if (depth > TREE_DEPTH_MAX)
        stop_at(reader, node->place, "too_deep", "nested more than 32 levels deep: this is no configuration");
    struct node *key = NULL;
    while (!reader->stop) {
        yaml_event_t event;
        if (!next_event(reader, &event))
            break;
        if (event.type == end) {
            yaml_event_delete(&event);
            break;
        }
        struct node *item = read_node(reader, &event, depth + 1);
        yaml_event_delete(&event);
        if (item == NULL)
            continue;
        if (mapping && key == NULL) {
            check_key(reader, node, item);
            key = item;
            continue;
        }
        if (item->kind == NODE_SCALAR)
            item->broken = !interpolate(item, reader->arena, reader->problems);
        if (!mapping || key->kind == NODE_SCALAR) /* else it was refused, and no table has to know it */
            node_append(reader, node, key, item);
        key = NULL;
    }
    return node;
}

static struct node *read_node(struct reader *reader, yaml_event_t *event, int depth)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(reader, event);
    case YAML_MAPPING_START_EVENT:
        return read_collection(reader, event, true, depth);
    case YAML_SEQUENCE_START_EVENT:
        return read_collection(reader, event, false, depth);
    case YAML_ALIAS_EVENT:
        stop_at(reader, place_of(reader, event->start_mark), "anchor",
                arena_format(reader->arena, "aliases ('*%s') are not used here: write the value out",
                             event->data.alias.anchor));
        return NULL;
    default:
        return NULL;
    }
}

/* Brackets and braces outside of quotes and comments, as a bound on nesting before libyaml looks. */
static bool too_deep(struct span bytes, struct place *place)
{
    int depth = 0;
    char quote = '\0', last = '\n';
    place->line = place->column = 1;
    for (size_t i = 0; i < bytes.length; last = bytes.at[i++]) {
        char c = bytes.at[i];
        if (quote == '\0' && c == '#' && (last == ' ' || last == '\n' || last == '\t')) {
            while (i + 1 < bytes.length && bytes.at[i + 1] != '\n')
                i++;
            continue;
        }
        if (quote != '\0' && c == quote)
            quote = '\0';
        else if (quote == '\0' && (c == '"' || c == '\'') && memchr(" \n\t[{,:", last, 7) != NULL)
            quote = c;
        else if (quote == '\0' && (c == '[' || c == '{') && ++depth > 2 * TREE_DEPTH_MAX)
            return true;
        else if (quote == '\0' && (c == ']' || c == '}') && depth > 0)
            depth--;
        place->column++;
        if (c == '\n') {
            place->line++;
            place->column = 1;
        }
    }
    return false;
}

static bool bytes_fit(struct span bytes, const char *path, struct problems *problems)
{
    struct place place = {path, 1, 1};
    const unsigned char *b = (const unsigned char *)bytes.at;
    if (bytes.length > TREE_BYTES_MAX)
        problem_add(problems, place, "too_large", "the file has more than 1 MiB: this is no configuration");
    else if (bytes.length >= 2 && ((b[0] == 0xff && b[1] == 0xfe) || (b[0] == 0xfe && b[1] == 0xff)))
        problem_add(problems, place, "encoding", "the file is UTF-16; save it as UTF-8");
    else if (bytes.length >= 3 && b[0] == 0xef && b[1] == 0xbb && b[2] == 0xbf)
        problem_add(problems, place, "encoding",
                    "the file starts with a byte order mark; save it as UTF-8 without one");
    else if (memchr(bytes.at, '\0', bytes.length) != NULL)
        problem_add(problems, place, "encoding", "the file holds a NUL byte; expected UTF-8 text");
    else if (too_deep(bytes, &place))
        problem_add(problems, place, "too_deep", "nested more than 32 levels deep: this is no configuration");
    else
        return true;
    return false;
}

static struct node *read_bytes(struct span bytes, const char *path, struct arena *arena, struct problems *problems)
{
    struct reader reader = {.arena = arena, .problems = problems, .file = path, .bytes = bytes};
    struct node *root = NULL;
    yaml_event_t event;

    if (!bytes_fit(bytes, path, problems))
        return NULL;
    if (!yaml_parser_initialize(&reader.parser))
        return NULL;
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)bytes.at, bytes.length);
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    int documents = 0;
    for (bool more = true; more && !reader.stop && next_event(&reader, &event);) {
        if (event.type == YAML_DOCUMENT_START_EVENT && ++documents > 1)
            stop_at(&reader, place_of(&reader, event.start_mark), "second_document",
                    "a second document starts here; a pipeline is one document");
        else if (event.type == YAML_STREAM_END_EVENT)
            more = false;
        else if (root == NULL)
            root = read_node(&reader, &event, 1);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&reader.parser);
    struct place top = {path, 1, 1};
    if (!reader.stop && root == NULL)
        problem_add(problems, top, "empty", "the file is empty; expected a pipeline, beginning with 'pipeline: NAME'");
    else if (!reader.stop && root->kind != NODE_MAPPING)
        problem_add(problems, root->place, "not_a_mapping", "expected a mapping, beginning with 'pipeline: NAME'");
    return reader.stop || root == NULL || root->kind != NODE_MAPPING ? NULL : root;
}

struct node *tree_read(const char *path, struct arena *arena, struct problems *problems)
{
    FILE *file = fopen(path, "re");
    struct place place = {path, 1, 1};
    if (file == NULL) {
        problem_add(problems, place, "unreadable", "cannot read this file: %s", strerror(errno));
        return NULL;
    }
    char *bytes = arena_alloc_raw(arena, TREE_BYTES_MAX + 2);
    size_t length = fread(bytes, 1, TREE_BYTES_MAX + 1, file);
    int failed = ferror(file) ? errno : 0;
    fclose(file);
    if (failed != 0) {
        problem_add(problems, place, "unreadable", "cannot read this file: %s", strerror(failed));
        return NULL;
    }
    return read_bytes((struct span){bytes, length}, path, arena, problems);
}

bool node_broken(const struct node *node)
{
    for (size_t i = 0; i < node->count; i++)
        if (node_broken(node->items[i]))
            return true;
    return node->broken;
}

struct node *node_get(const struct node *mapping, const char *key)
{
    for (size_t i = 0; mapping != NULL && mapping->kind == NODE_MAPPING && i < mapping->count; i++)
        if (span_is(mapping->keys[i]->text, key)) {
            mapping->keys[i]->used = mapping->items[i]->used = true;
            return mapping->items[i];
        }
    return NULL;
}

void node_refuse_unknown(const struct node *mapping, const char *what, const char *const *known,
                         struct problems *problems)
{
    for (size_t i = 0; i < mapping->count; i++) {
        const struct node *key = mapping->keys[i];
        bool found = false;
        for (size_t k = 0; known[k] != NULL && !found; k++)
            found = span_is(key->text, known[k]);
        if (found || span_is(key->text, "<<")) /* a merge key was refused already */
            continue;
        const char *near = nearest_name(key->text.at, known);
        if (near != NULL)
            problem_add(problems, key->place, "unknown_key", "unknown key '%s' in %s; did you mean '%s'?", key->text.at,
                        what, near);
        else
            problem_add(problems, key->place, "unknown_key", "unknown key '%s' in %s", key->text.at, what);
    }
}
