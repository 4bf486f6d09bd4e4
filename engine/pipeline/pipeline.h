/*
 * pipeline.h - what pipeline.yaml says, as plain data: every default filled in, every name resolved.
 *
 * pipeline_load() reads; pipeline_resolve() joins it with what the plugins declare; pipeline_check() finds what
 * would go wrong. After that the pipeline is immutable and shared by all threads. Everything lives in the arena
 * given to pipeline_load().
 */
#ifndef SLUICE_PIPELINE_PIPELINE_H
#define SLUICE_PIPELINE_PIPELINE_H

#include "event/event.h"
#include "flow/chain.h"
#include "flow/cron.h"
#include "flow/retry.h"
#include "flow/start.h"
#include "pipeline/tree.h"
#include "sluice/plugin.h"

enum route_kind { ROUTE_TOPIC = 1, ROUTE_DROP, ROUTE_LADDER };

enum { ROUTE_TARGETS_MAX = 16 };
struct route_target {
    struct topic *topic;
    int64_t delay_ms; /* its handler gets the event so much later; 0: at once */
};
struct route {
    struct place place;
    const char *outcome;
    enum route_kind kind;
    struct route_target *targets; /* ROUTE_TOPIC: one, or several with an event each */
    size_t target_count;
    struct ladder ladder; /* ROUTE_LADDER */
};

/* Something outside that handlers need: when it fails too often, its breaker opens, and their events wait. */
struct dependency {
    struct place place;
    uint32_t index; /* dense, in pipeline->dependencies */
    const char *name;
    int32_t failures; /* so many calls that fail within the window open it */
    int64_t window_ms, open_ms;
};

/* How often the handler of a topic may be called for its events, and for how many at once, in all processes. */
struct limit {
    struct place place;
    const char *topic;     /* whose it is; those of its retry ladder count, too */
    const char *rate_text; /* "100/s", or NULL */
    int64_t step_ns;       /* between two events; 0: any rate */
    int32_t places;        /* `concurrency`; 0: any number */
    const char *text;      /* all of it: "100/s and 8 at once for each {tenantId}" */
    const char *per_text;  /* or NULL: one limit for all events */
    struct key_template *per;
};

/* An event of the topic that has it is handled after one of another topic with the same value of a field. */
struct after {
    struct place place;
    struct topic *topic;
    const char *correlate; /* data field of both */
    const char *noted_as;  /* the other topic's name in sluice.needed: the old one, while the file says 'renamed' */
    const char *rule;      /* all of this in words: an event that waits is looked at again when they change */
    int64_t at_most_ms;    /* it waits so long */
    bool handle;           /* and is handled then; false: a dead letter */
};

/* How events of a topic are noted for those that come after them: by a field, and by the topic's name or an old one. */
struct needed_by {
    const char *topic, *field;
};

/* One handler put to work somewhere: by a topic, a tap, a schedule or a request. */
struct binding {
    struct place place;
    uint32_t index;           /* dense, in pipeline->bindings */
    const char *handler_name; /* "payment.charge", as written */
    /* stable name under which outcomes are recorded: "payment.charge"; a tap's is "TAP/payment.charge" */
    const char *id;
    struct plugin_ref *plugin;
    struct route *routes; /* as written */
    size_t route_count;
    struct retry_policy retry;
    int64_t timeout_ms;
    uint32_t max_events;                 /* most events a batch; the call is bounded by the handler's max_events too */
    int64_t max_wait_ms;                 /* taps: how long a batch may wait to fill; 0 none */
    struct group *group;                 /* NULL for requests and schedules */
    bool emits;                          /* of a request: no handler, the engine emits what it is sent */
    const char *emit_parameter;          /* then: which parameter of the path names the topic; NULL: the only route's */
    const struct dependency *dependency; /* of a topic; NULL: none */
    const struct limit *limit;           /* likewise */
    /* filled by pipeline_resolve() */
    const struct sluice_handler *handler; /* a copy at this header's size */
    const struct sluice_field *input;     /* copied tables, ended by a NULL name; NULL: none */
    const struct sluice_outcome *outcomes;
    const struct sluice_field *sets;
    size_t outcome_count;
    const struct route **by_outcome; /* by_outcome[i]: the route of outcomes[i]; NULL only where none is needed */
    const struct ladder *ladder;     /* the first ladder among the routes, or NULL */
};

struct topic {
    struct place place; /* where it was first named */
    uint32_t index;     /* dense, in pipeline->topics */
    uint32_t number;    /* while files are checked: the same in each file that names it, dense over all of them */
    const char *name;
    bool declared;        /* stands under `topics:` */
    bool final;           /* declared to have no handler here on purpose */
    bool elsewhere;       /* then: because another pipeline handles it */
    const char *key_text; /* `key:` or NULL */
    struct key_template *key;
    struct binding *binding;     /* what handles it in the pipeline's own group; NULL: nothing */
    struct topic *ladder_of;     /* a retry topic: the topic whose ladder made it; `binding` is that topic's */
    const struct ladder *ladder; /* then: the ladder */
    int64_t delay_ms;            /* the longest with which a route leads here; 0: none has one */
    struct after *after;         /* what its events need before them; NULL: nothing */
    struct needed_by *noted;     /* by what events of other topics need its own */
    size_t noted_count;
    struct topic *dead_letter; /* where its dead letters go; NULL for a dead letter topic itself */
    bool is_dead_letter;
    bool in_outbox_table;              /* what is emitted to it is written to `outbox_table`, too */
    const struct name_answer *retired; /* not in the file any more: what still comes on it becomes dead letters */
    int32_t partitions, replication;   /* kafka; 0: not given */
    /* chains that watch this topic: */
    struct chain_watch *watches;
    size_t watch_count;
};

enum chain_role {
    CHAIN_DONE = 1,
    CHAIN_ABORT,
    CHAIN_STEP_UNDONE,
    CHAIN_UNDO,        /* an undo event passes: on_undo_failure is about its handler */
    CHAIN_DONE_BEFORE, /* as CHAIN_DONE and CHAIN_ABORT, only for instances that began with an earlier definition */
    CHAIN_ABORT_BEFORE
};
struct chain_watch {
    struct chain *chain;
    enum chain_role role;
    int32_t step; /* index in the chain's steps; -1: of an abort, or of an earlier definition */
};

struct chain_step {
    struct place place;
    const char *name;
    struct topic *done;
    struct topic *undo;   /* NULL: `none` */
    struct topic *undone; /* NULL: the next older undo does not wait */
};
/* `timers:` of a chain. That of an earlier definition has no topics but `emit`, and that only when the file has it. */
struct chain_timer {
    struct place place;
    int64_t after_ms;
    const char *emit_name;
    struct topic *emit;
    int32_t from_step;     /* it begins when this step is done */
    uint32_t cancel_steps; /* bit i: it ends when step i is done */
    /* as written; `from` NULL: of an earlier definition, or a topic that no step is done on */
    struct topic *from;
    struct topic **cancel_on;
    size_t cancel_count;
};
enum undo_failure { UNDO_PAUSE = 1, UNDO_RETRY_FOREVER, UNDO_DEAD_LETTER };
struct chain {
    struct place place;
    uint32_t index;
    const char *name;
    const char *correlate; /* data field */
    struct chain_step *steps;
    size_t step_count;
    struct topic **abort_on;
    size_t abort_count;
    struct chain_timer *timers;
    size_t timer_count; /* at most CHAIN_TIMERS_MAX */
    bool timed_before;  /* an earlier definition, of which there may be instances, has timers */
    enum undo_failure on_undo_failure;
    struct span definition; /* as the store keeps it; see chain_definition.h. Filled by pipeline_resolve() */
    int64_t timeout_ms;     /* since it began: then it is aborted, unless all steps were done; 0: never */
    int64_t retain_ms;      /* after it was over: then it is forgotten; 0: never */
    bool abort_on_dead_letter;
    struct chain_watch timed_out; /* what an event of its timeout is to it: an abort */
    bool ignore_uncorrelated;     /* an abort without the field belongs to no chain; else it is a dead letter */
};

struct tap {
    struct place place;
    const char *name;
    const char *const *topics; /* names and patterns, NULL-terminated */
    size_t topic_count;
    struct binding *binding;
    uint32_t lanes;
    struct start start;
};

struct schedule {
    struct place place;
    const char *name;
    int64_t every_ms;      /* or 0: `cron` says when */
    const char *cron_text; /* or NULL */
    const char *timezone;
    struct cron cron;
    const struct zone *zone;
    struct binding *binding;
};

struct request {
    struct place place;
    const char *method;    /* "POST" */
    const char *path;      /* "/payments/{paymentTxId}" */
    const char **segments; /* path split at '/': a literal, or "{name}" */
    size_t segment_count;
    struct binding *binding;
};

/* `renamed: {OLD: NEW}` or `retired: {OLD: dead_letter}`: what becomes of what waits for a name that left the file. */
struct name_answer {
    struct place place;
    const char *old;
    const char *new_name; /* NULL: retired */
    struct topic *topic;  /* retired: as a topic, which is not among pipeline->topics; its index follows theirs */
};

/* A consumer group: the pipeline's own, or a tap's. Its topics are those with work to do. */
struct group {
    uint32_t index;
    const char *name; /* engine.group (default: the pipeline's name); a tap's: "GROUP.TAP" */
    struct tap *tap;  /* NULL: the pipeline's own, or a retired one */
    /* of a tap that left the file: what it had not handled becomes dead letters. Its topics are those that the
     * database remembers */
    const struct name_answer *retired;
    const char **topics; /* what to subscribe to, NULL-terminated */
    size_t topic_count;
    uint32_t lanes;
};

struct setting {
    const char *name;
    struct node *node;
};
enum isolation { ISOLATION_NONE = 0, ISOLATION_PROCESS }; /* in the order of the option's choices */

struct plugin_ref {
    struct place place;
    uint32_t index;
    const char *name;
    const char *library;    /* as written */
    const char *path;       /* resolved: an absolute path, a path relative to the file, or a name found in plugin_dir */
    const char *migrations; /* folder of its numbered SQL, or NULL: beside its library, when there is one */
    const char *sha256;     /* of the library that is meant, 64 hex digits; NULL: any */
    struct place sha256_place;
    enum isolation isolation;
    int64_t memory;                     /* bytes that its process may have of its own; 0: any number */
    int64_t cpu_ms;                     /* processor time that a call may take in its process; 0: any */
    bool exec, sockets;                 /* whether its process may run programs, and open sockets */
    struct node *settings;              /* mapping, or NULL */
    const struct sluice_plugin *plugin; /* given to pipeline_resolve() by the loader; NULL before */
};

enum bus_choice { BUS_CHOICE_MEMORY = 1, BUS_CHOICE_POSTGRES, BUS_CHOICE_KAFKA };

struct pipeline {
    const char *file;
    struct arena *arena;
    const struct node *root; /* of the file; NULL when it could not be read */
    const char *name;
    struct place name_place;
    /* its topics and what works on them were read and resolved without a problem: pipeline_check() makes sense */
    bool whole;
    struct {
        struct place place;
        bool whole; /* nothing in this section is a problem */
        enum bus_choice kind;
        int32_t partitions;
        int32_t replication; /* kafka; 0: the brokers' default */
        int64_t retention_ms;
        struct {
            const char *name, *value;
            struct place place;
        } * properties; /* kafka */
        size_t property_count;
    } bus;
    struct {
        bool present;
        struct place place;
        const char *url;
        int64_t connect_timeout_ms, statement_timeout_ms, inbox_retention_ms;
        bool allow_unsafe;
    } store;
    struct {
        const char *group;
        struct place group_place; /* that of the pipeline's name when the group has it */
        struct start start;       /* of the pipeline's own group */
        int32_t lanes;
        uint32_t max_events;
        int32_t hop_limit;
        int64_t max_event_size, drain_timeout_ms, sweep_after_ms;
        enum event_format event_format;
        const char *plugin_dir;
    } engine;
    struct {
        struct retry_policy retry;
        const char *dead_letter; /* "{topic}-dlt" */
        int64_t timeout_ms;
    } defaults;
    struct {
        bool present;
        const char *host;
        int32_t port;      /* 0: any free one, which the log names */
        const char *token; /* NULL: operators change nothing over HTTP */
        int64_t max_body;
        int64_t timeout_ms;
    } http;
    struct {
        struct place place;
        const char *url; /* of the collector's traces, path included; NULL: none are recorded */
        double sample;   /* share of the traces that begin here */
        const char **header_names, **header_values; /* sent with each request; values may be secrets */
        size_t header_count;
    } tracing;
    struct {
        struct place place;
        const char *name;          /* [SCHEMA.]TABLE; NULL: there is none */
        const char *const *topics; /* names and patterns, NULL-terminated */
        size_t topic_count;
    } outbox_table;
    struct plugin_ref *plugins;
    size_t plugin_count;
    struct dependency *dependencies;
    size_t dependency_count;
    size_t limit_count;       /* of topics that have one */
    struct span *after_rules; /* of those whose events come after others' */
    size_t after_count;
    struct topic **topics;
    size_t topic_count;
    struct binding **bindings;
    size_t binding_count;
    struct chain *chains;
    size_t chain_count;
    struct tap *taps;
    size_t tap_count;
    struct schedule *schedules;
    size_t schedule_count;
    struct request *requests;
    size_t request_count;
    struct group *groups;
    size_t group_count; /* groups[0] is the pipeline's own; those of taps follow, then those of retired names */
    struct name_answer *answers;
    size_t answer_count, retired_count; /* retired_count of them are `retired` */
};

/* Reads a file as far as it can be read without the plugins. Always fills *ret as much as possible; errors are in
 * problems. */
int pipeline_load(const char *path, struct arena *arena, struct problems *problems, struct pipeline **ret);
/* Joins bindings with the descriptors in plugin_ref.plugin: outcomes, routes, kinds, chains, groups' topics. */
void pipeline_resolve(struct pipeline *pipeline, struct problems *problems);
/* load_emit.c: the handler of a binding that emits. */
void resolve_emit(struct pipeline *pipeline, struct binding *binding);
/* The saga-aware checks, offline. */
void pipeline_check(const struct pipeline *pipeline, struct problems *problems);
/* What else files that work together would do wrong: each is whole, resolved and checked alone; all share one arena.
 * A problem that `problems` has already is not added again. */
void pipelines_check(const struct pipeline *const *pipelines, size_t count, struct problems *problems);
/* The topic on which a group without a store notes what became of its dead letters. In the arena. */
const char *pipeline_notes_topic(const char *group, struct arena *arena);
/* Where who runs the pipeline answers HTTP, as a client on the same machine takes it: "http://[::1]:8080". The port of
 * the file, 0 too. In the arena. */
const char *pipeline_url(const struct pipeline *pipeline, struct arena *arena);
/* Whether this is the group's name, or one that it had before (`renamed`). */
bool group_is_called(const struct pipeline *pipeline, const struct group *group, struct span name);
struct topic *pipeline_topic(const struct pipeline *pipeline, const char *name); /* NULL when unknown */
/* The longest delay of a retry, of a ladder or in place. */
int64_t pipeline_longest_delay_ms(const struct pipeline *pipeline);
int64_t pipeline_longest_call_ms(const struct pipeline *pipeline); /* of any handler: its `timeout` */
/* What it does is recorded in the store: all but a tap whose handler leaves nothing in the database and emits nothing,
 * whose position says what is done. */
bool binding_is_recorded(const struct binding *binding);
/* Whether each step of the chain is written down, those without an undo included, so that its end is known. */
static inline bool chain_followed(const struct chain *chain)
{
    return chain->timeout_ms > 0 || chain->retain_ms > 0 || chain->abort_on_dead_letter || chain->timer_count > 0 ||
           chain->timed_before;
}
/* Steps whose undo a handler of the file has, so that it is known when that was handled: their numbers, a byte each. In
 * the arena. */
struct span chain_followed_undos(const struct chain *chain, struct arena *arena);
/* Whether a tap is given a topic's events: named, or by a pattern, which leaves dead letter topics out. */
bool tap_sees(const struct tap *tap, const struct topic *topic);
/* The same of any list of names and patterns. */
bool topics_have(const char *const *list, size_t count, const struct topic *topic);

enum graph_format { GRAPH_TEXT, GRAPH_MERMAID, GRAPH_DOT, GRAPH_SVG, GRAPH_JSON };
/* One file, or several that work together. */
void pipelines_graph(const struct pipeline *const *pipelines, size_t count, enum graph_format format,
                     struct buffer *out);
void pipeline_schema(struct buffer *out);    /* JSON schema of pipeline.yaml */
void pipeline_reference(struct buffer *out); /* Markdown: every key, type, default, range, help */

#endif
