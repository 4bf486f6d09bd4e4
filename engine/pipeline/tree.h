/*
 * tree.h - a YAML file as a tree that remembers where everything stands.
 *
 * A strict subset of YAML: one document of mappings, sequences and scalars; no anchors, aliases, tags, merge keys or
 * duplicate keys. Limits (1 MiB, depth 32, 10 000 nodes) are enforced while libyaml's events are read, so a hostile
 * file costs milliseconds. ${VAR}, ${VAR:-default} and ${file:PATH} are put into scalars after YAML is read: a value
 * is never read as YAML again.
 */
#ifndef SLUICE_PIPELINE_TREE_H
#define SLUICE_PIPELINE_TREE_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"

struct place {
    const char *file;
    int line, column; /* from 1 */
};

enum node_kind { NODE_SCALAR = 1, NODE_MAPPING, NODE_SEQUENCE };

struct node {
    enum node_kind kind;
    struct place place;
    struct span text;    /* scalar: its value, interpolated; NUL-terminated too */
    bool quoted;         /* scalar: '…' or "…" or a block: always a text */
    bool interpolated;   /* came, in part, from outside: printed as ***, never a key */
    bool broken;         /* a problem about it is reported already: its readers report no more */
    struct node **items; /* sequence: its items; mapping: its values */
    struct node **keys;  /* mapping: keys[i], always a scalar, names items[i] */
    size_t count;
    bool used; /* set by node_get(); what stays unused is an unknown key */
};

/* Problems are collected, not thrown: a whole file is reported in one run, in the order of lines. */
struct problem {
    struct place place;
    bool warning;
    const char *code; /* a stable word: "unknown_key", "cycle" */
    const char *text; /* sentence: what is wrong, what was expected, what to do */
};
struct problems {
    struct arena *arena;
    struct problem *list;
    size_t count, errors, size;
};
void problems_init(struct problems *problems, struct arena *arena);
void problem_add(struct problems *problems, struct place place, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void problem_warn(struct problems *problems, struct place place, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void problems_merge(struct problems *problems, const struct problems *from); /* adds those that it lacks */
void problems_sort(struct problems *problems);
/* "file:line:column: error: text" lines, or a JSON array. */
void problems_print(const struct problems *problems, bool json, struct buffer *out);

/* Reads and interpolates. NULL, with problems, when there is no tree at all. Everything lives in `arena`. */
struct node *tree_read(const char *path, struct arena *arena, struct problems *problems);
bool node_broken(const struct node *node); /* it, or something in it, holds a '${…}' that stands for nothing */
struct node *node_get(const struct node *mapping, const char *key); /* NULL when absent; marks it used */
/* Every key of the mapping that is not used is a problem with the nearest name of `known` (NULL-terminated). */
void node_refuse_unknown(const struct node *mapping, const char *what, const char *const *known,
                         struct problems *problems);
const char *nearest_name(const char *word, const char *const *names); /* NULL when nothing is near */

/* Typed scalars; a wrong one is a problem that says what was expected. False then, and *ret is untouched. */
bool node_text(struct node *node, const char *what, const char **ret, struct problems *problems);
bool node_bool(struct node *node, const char *what, bool *ret, struct problems *problems);
bool node_int(struct node *node, const char *what, int64_t min, int64_t max, int64_t *ret, struct problems *problems);
bool node_number(struct node *node, const char *what, double min, double max, double *ret, struct problems *problems);
bool node_duration(struct node *node, const char *what, int64_t min_ms, int64_t max_ms, int64_t *ret_ms,
                   struct problems *problems);
bool node_size(struct node *node, const char *what, int64_t min, int64_t max, int64_t *ret_bytes,
               struct problems *problems);
/* What a sentence shows of a node: 'its text', ***, a mapping … */
const char *node_shown(const struct node *node, struct arena *arena);
/* The same grammars for a plain text (settings' fallbacks): 0 or -EINVAL / -ERANGE. */
int duration_parse(struct span text, int64_t *ret_ms);
int size_parse(struct span text, int64_t *ret_bytes);
/* "250ms", "5m"; "64KiB": in the largest unit that divides it. Returns buf. */
const char *duration_text(int64_t ms, char buf[32]);
const char *size_text(int64_t bytes, char buf[32]);

#endif
