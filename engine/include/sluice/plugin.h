/*
 * sluice/plugin.h - the contract between the Sluice engine and a handler plugin. The only header a plugin needs.
 *
 * A plugin is a shared object that exports one function, sluice_plugin(), which returns a descriptor: settings,
 * handlers, and for each handler the fields it wants, the outcomes it can have and one function. The engine parses,
 * checks and fills; routes, retries, chains and dead letters are configured in pipeline.yaml. A plugin should name no
 * topic, begin no transaction and never sleep, and links nothing of the engine: everything it can ask for is in
 * `struct sluice_host`.
 *
 *   Threads    The engine makes one state for each lane and plugin; calls on one state never overlap, calls on
 *              two states may. Keep nothing in globals.
 *   Memory     What the engine hands to handle() lives until handle() returns. What a plugin hands to the host is
 *              copied before the host function returns. Texts are UTF-8 (but for an event's key, whose bytes are its
 *              producer's), are NOT NUL-terminated, and have a length.
 *   Effects    SQL through host->query() is committed once, in the transaction that completes the event. Effects
 *              elsewhere (HTTP, files) are at-least-once: use the event's id as the idempotency key.
 *   Versions   Tables grow at their end only. The engine loads the same major and an equal or older minor, and reads
 *              only what the declared sizes hold. Structs that the engine fills start with their size.
 *
 * Nothing here needs C on the other side: no function takes variable arguments, no feature exists only as a macro,
 * enums are passed as uint32_t, and there are no bit-fields.
 */
#ifndef SLUICE_PLUGIN_H
#define SLUICE_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Made from engine/include/abi.txt by tests/check/generated --write, up to the line that says so. */

#define SLUICE_MAGIC 0x000a656369756c53ULL /* "Sluice\n" and a NUL: what a hex dump of a descriptor starts with */
#define SLUICE_ABI_MAJOR 1
#define SLUICE_ABI_MINOR 1

/* Bytes with a length. {NULL, 0} is no text: an optional field that is absent, NULL in SQL, null in JSON. Of any other
 * text, the empty one too, `at` is not NULL. */
struct sluice_text {
    const char *at;
    size_t length;
};

/* --------------------------------------------------------------------------------------------- fields and settings */

/* The type of a field fixes the type of the struct member it fills. */
enum sluice_type {
    SLUICE_TYPE_TEXT = 1,   /* struct sluice_text; a JSON string, unescaped. min/max bound its length in bytes */
    SLUICE_TYPE_INT64 = 2,  /* int64_t; a JSON integer without fraction or exponent. min/max bound its value */
    SLUICE_TYPE_DOUBLE = 3, /* double; any JSON number. Never for money */
    SLUICE_TYPE_BOOL = 4,   /* int32_t 0 or 1; true or false */
    SLUICE_TYPE_JSON = 5,   /* struct sluice_text; the value's bytes as they stand in the event, of any type */
    /* Settings only: */
    SLUICE_TYPE_DURATION = 6, /* int64_t milliseconds; written with its unit ("250ms", "5m"). min/max in milliseconds */
    SLUICE_TYPE_SIZE = 7,     /* int64_t bytes; written with its unit ("64KiB"). min/max in bytes */
    /* Event handlers only, filled from the event itself and absent from its data: */
    SLUICE_TYPE_META_TEXT = 8,  /* struct sluice_text; which one: `meta` */
    SLUICE_TYPE_META_INT64 = 9, /* int64_t; which one: `meta` */
};

enum sluice_meta {
    SLUICE_META_EVENT_ID = 1,   /* text */
    SLUICE_META_TOPIC = 2,      /* text */
    SLUICE_META_KEY = 3,        /* text; "" when the event has none */
    SLUICE_META_EVENT_NAME = 4, /* text */
    SLUICE_META_TIMESTAMP = 5,  /* int64, milliseconds since 1970 UTC, from the event */
    SLUICE_META_ATTEMPT = 6,    /* int64, 1 for the first try in place */
    /* int64, steps left on the retry ladder of the topic's handler; 0: the outcome that climbs it goes to `exhausted`
     * now; -1: there is no ladder */
    SLUICE_META_RETRIES_LEFT = 7,
    SLUICE_META_RETRY_COUNT = 8, /* int64, steps of the ladder already climbed; 0 on the first try */
};

enum sluice_field_flag {
    SLUICE_OPTIONAL = 1, /* may be absent or null: the member gets `fallback`, or without one {NULL, 0} or 0 */
    SLUICE_SECRET = 2,   /* a setting that is printed as *** everywhere */
};

/* What min or max is when only the other one bounds. A positive min above a max of 0 needs no SLUICE_NO_MAX, a negative
 * max below a min of 0 no SLUICE_NO_MIN (since 1.1). */
#define SLUICE_NO_MIN INT64_MIN
#define SLUICE_NO_MAX INT64_MAX

struct sluice_field {
    const char *name;     /* the key in the event's data, or in `settings:`; NULL ends a table */
    const char *help;     /* a phrase for people: what it is, its unit */
    const char *fallback; /* as it would be written in pipeline.yaml; only with SLUICE_OPTIONAL; may be NULL */
    const char *choices;  /* a text must be one of these, separated by '|'; NULL: any */
    size_t offset;        /* of the member in the input struct (or in the state, for a setting) */
    int64_t min, max;     /* inclusive; min = max = 0 means unbounded */
    uint32_t type;        /* enum sluice_type */
    uint32_t flags;       /* enum sluice_field_flag, or-ed */
    uint32_t meta;        /* enum sluice_meta, for the META types */
    /* Since 1.1. 0 before. 1: `name` is a path into the data, the names of its members with a '.' between them:
     * "address.country" is `country` of the object `address`. Of a member that an optional one is inside of, absent or
     * null is absent, and anything else that is no object is refused. Not in `settings` and `sets` */
    uint32_t nested;
};

/* ----------------------------------------------------------------------------------------------------------- calls */

struct sluice_call; /* one call of a handler */
struct sluice_rows; /* the answer of a statement */

/* What is known of one event of a call. The input struct holds the fields; this holds the rest. */
struct sluice_event {
    uint32_t size;            /* of this struct, as the engine knows it */
    uint32_t attempt;         /* 1 for the first try in place */
    struct sluice_text id;    /* 1..128 printable ASCII bytes; the idempotency key for effects outside the database */
    struct sluice_text topic; /* of a request: its path as pipeline.yaml has it; of a tick: its schedule */
    struct sluice_text key;   /* "" when it has none */
    struct sluice_text name;  /* eventName; of a request: "POST /path"; of a tick: "schedule/NAME" */
    struct sluice_text value; /* the whole event, UTF-8 JSON; of a request: its body, which may be empty */
    struct sluice_text data;  /* the object under "data"; of a request: body, path and query in one object */
    int64_t timestamp_ms;     /* since 1970 UTC */
    int32_t retries_left;     /* see SLUICE_META_RETRIES_LEFT */
    int32_t retry_count;
};

enum sluice_param_form {
    SLUICE_PARAM_EACH = 1,  /* one array element for each event of the call, read at `offset` of its input struct */
    SLUICE_PARAM_ARRAY = 2, /* an array of `count` elements at `values` */
    SLUICE_PARAM_VALUE = 3, /* a single value at `values` */
};

struct sluice_param {
    uint32_t form; /* enum sluice_param_form */
    /* SLUICE_TYPE_TEXT → text or text[], INT64 → bigint, DOUBLE → double precision, BOOL → boolean, JSON → jsonb. Of
     * invalid JSON, or text that is not UTF-8, the statement fails */
    uint32_t type;
    size_t offset;
    const void *values; /* struct sluice_text / int64_t / double / int32_t, by type; {NULL, 0} is sent as NULL */
    size_t count;
};

/* A statement with $1, $2 … $64 at most. The address of its text is what the engine prepares it under, once a
 * connection: the text must be constant, and stay there. */
struct sluice_sql {
    const char *text;
};

enum sluice_log_level {
    SLUICE_LOG_DEBUG = 0,
    SLUICE_LOG_INFO = 1,
    SLUICE_LOG_WARN = 2,
    SLUICE_LOG_ERROR = 3,
};

enum sluice_reply_flag {
    /* the answer may still change: the handler is asked again, later for a client that waits (?wait=10s), or when the
     * request comes again under its Idempotency-Key; an answer without this flag is final, and kept for such a key */
    SLUICE_REPLY_PENDING = 1,
};

/* The engine, as a plugin sees it. `n` is the index of an event in the call, 0 ≤ n < call->count; for set_*() also what
 * add() returned. To hand a function an index, an outcome, a name, a value, a form of a parameter or a place in an
 * answer that does not exist or is none is a fault of the plugin: the transaction is rolled back, the event ends as a
 * dead letter with that sentence, a request as 500, a tick as a line in the log, and the other events of the call are
 * handled again without it. Until the call is over query() then returns NULL. */
struct sluice_host {
    uint32_t size; /* a function past it does not exist in this engine */
    uint32_t reserved;

    /* One of these three for every event of a topic; the last one counts, and none is a fault of the plugin. Neither
     * retry() nor reject() undoes what query() did in the call. `why` is cut after 500 bytes. */
    void (*outcome)(struct sluice_call *call, size_t n, size_t outcome); /* index in the handler's outcomes */
    void (*retry)(struct sluice_call *call, size_t n, const char *why);  /* transient: try again, its key waits */
    /* no try can help: a dead letter with these words; a request is answered with 422 and them */
    void (*reject)(struct sluice_call *call, size_t n, const char *why);

    /* Lay a field over the event's data in whatever is emitted for it. The last value of a name counts. A name has 1 to
     * 128 bytes, a value as JSON at most 64 KiB. {NULL, 0} as a text sets null. */
    void (*set_text)(struct sluice_call *call, size_t n, const char *name, struct sluice_text value);
    void (*set_int64)(struct sluice_call *call, size_t n, const char *name, int64_t value);
    void (*set_json)(struct sluice_call *call, size_t n, const char *name, struct sluice_text json); /* must be valid */

    /* One more event with `outcome`, starting from empty data; returns its n for set_*(). For schedules, whose tick may
     * have many outcomes; in another call it is emitted with what the first event emits. SIZE_MAX when the call already
     * made as many as it may (10000). */
    size_t (*add)(struct sluice_call *call, size_t outcome);

    /* Answers the request that event `n` is: an HTTP status, 200 to 599, and a JSON body. Requests only. The answer is
     * sent after the transaction committed. `flags`: enum sluice_reply_flag. */
    void (*reply)(struct sluice_call *call, size_t n, uint32_t status, struct sluice_text json, uint32_t flags);

    /* Runs a statement in the call's transaction and waits for its rows, which live until handle() returns. NULL means
     * it failed: return at once. The transaction is rolled back, and the events are handled again, one a call when one
     * of them may be to blame; one whose own statement fails is a dead letter. */
    const struct sluice_rows *(*query)(struct sluice_call *call, const struct sluice_sql *sql, size_t param_count,
                                       const struct sluice_param *params);
    size_t (*row_count)(const struct sluice_rows *rows);
    int (*is_null)(const struct sluice_rows *rows, size_t row, size_t column);
    /* A column of another type than these, even where it is NULL, or a place that does not exist is a fault of the
     * plugin: cast in SQL. NULL is 0, or {NULL, 0}. get_int64() reads a smallint, int, bigint, boolean, or a
     * timestamptz (milliseconds since 1970); get_double() double precision and real, not numeric; get_text() text,
     * varchar, char(n), json(b) and bytea. */
    int64_t (*get_int64)(const struct sluice_rows *rows, size_t row, size_t column);
    double (*get_double)(const struct sluice_rows *rows, size_t row, size_t column);
    struct sluice_text (*get_text)(const struct sluice_rows *rows, size_t row, size_t column);

    /* A line in the engine's log, under the plugin's name. For what an operator should know, not for each event. */
    void (*log)(struct sluice_call *call, uint32_t level, const char *message);
    int64_t (*now_ms)(struct sluice_call *call); /* milliseconds since 1970 UTC */
    /* Milliseconds until the call must be over (the `timeout:` of its topic, or less when calls before it in the
     * transaction took time): what an effect outside the database may still take. 0 when it is late. */
    int64_t (*time_left_ms)(struct sluice_call *call);
    /* Something that the whole call needs is unavailable (the target of a data platform, say): nothing of the call is
     * kept, what query() did is rolled back, all of it comes again later, with growing pauses, for as long as the
     * outage lasts. No attempt is counted. For the trouble of a single event use retry(). */
    void (*unavailable)(struct sluice_call *call, const char *why);

    /* Like set_int64(). A number must be finite, `value` of a bool is 0 or 1: others are a fault. */
    void (*set_double)(struct sluice_call *call, size_t n, const char *name, double value); /* since 1.1 */
    void (*set_bool)(struct sluice_call *call, size_t n, const char *name, int32_t value);  /* since 1.1 */
    /* Since 1.1. The handler found itself at fault (an exception, a panic, a state that must not be): as with any other
     * fault what query() did is rolled back, and of several events each is handled again in a call of its own. The
     * bindings call it at their border, so that nothing is thrown into the engine. */
    void (*fault)(struct sluice_call *call, const char *why);
};

struct sluice_call {
    uint32_t size; /* of this struct, as the engine knows it */
    /* events in this call, 1 ≤ count ≤ the handler's max_events; no two have the same key, any number may have none */
    uint32_t count;
    const struct sluice_host *host;
    const struct sluice_event *events; /* count of them; step by events[0].size when built against an older header */
    const void *inputs;                /* count structs of the handler's input_size, filled and checked */
};

/* -------------------------------------------------------------------------------------------------------- handlers */

struct sluice_outcome {
    const char *name; /* [a-z][a-z0-9_]*, what `routes:` in pipeline.yaml names; NULL ends a table */
    const char *help;
};

enum sluice_handler_kind {
    SLUICE_EVENT = 0, /* of a topic or a tap */
    /* of HTTP: fields come from the path, the query and the JSON body; every event needs a reply(), unless it is
     * retried or rejected. One that ends without an outcome emits nothing */
    SLUICE_REQUEST = 1,
    /* of a schedule: one tick a call, no fields; outcomes come from add(), the tick itself needs none */
    SLUICE_SCHEDULE = 2,
};

struct sluice_handler {
    const char *name; /* [a-z][a-z0-9_]*; pipeline.yaml says PLUGIN.NAME. NULL ends a table */
    const char *help;
    const struct sluice_field *input; /* NULL: wants no field */
    /* the most frequent first: it costs nothing to record. NULL: none (requests) */
    const struct sluice_outcome *outcomes;
    /* every field that it may lay over the data: `validate` relies on them to prove that the next handler finds its
     * own. To set another one, or one to a value of another type, is a fault. Offset unused. NULL: none */
    const struct sluice_field *sets;
    size_t input_size; /* sizeof the input struct, 0 without input */
    void (*handle)(void *state, struct sluice_call *call);
    uint32_t max_events; /* most events a call, 1..10000 */
    uint32_t kind;       /* enum sluice_handler_kind */
    uint32_t uses_store; /* 1: calls query(), so the pipeline needs a `store:`; 0: calling it is a fault */
    uint32_t reserved;
};

/* What open() may use. */
struct sluice_opening {
    uint32_t size;
    uint32_t lane; /* number of the lane this state is for */
    /* The sentence that start-up will print; the first counts. Called, open() has failed whatever it returns. */
    void (*fail)(struct sluice_opening *opening, const char *why);
};

struct sluice_plugin {
    uint64_t magic;                                  /* SLUICE_MAGIC */
    uint16_t abi_major;                              /* SLUICE_ABI_MAJOR */
    uint16_t abi_minor;                              /* SLUICE_ABI_MINOR */
    uint32_t size;                                   /* sizeof(struct sluice_plugin) */
    uint32_t handler_size, field_size, outcome_size; /* sizeof the table rows: the step of each table */
    uint32_t reserved;                               /* SLUICE_UNSTABLE_NUMBER */
    const char *name;                                /* [a-z][a-z0-9_]*, unique in a pipeline */
    const char *version;                             /* of the plugin, for people */
    const char *help;
    const struct sluice_field *settings; /* NULL: none */
    size_t state_size;                   /* bytes of one state; settings are offsets into it. 0: no state */
    /* Gets a state zeroed but for its settings, and makes it ready for work. 0, or anything else after fail(). May be
     * NULL. */
    int (*open)(void *state, struct sluice_opening *opening);
    /* Gets every state back that open() got, also when it failed; without an open(), every state. May be NULL. */
    void (*close)(void *state);
    const struct sluice_handler *handlers;
};

/* Since 1.1. An ELF note that says, before anything of the plugin runs, what the descriptor says: one of another ABI or
 * name is refused by it. In C, SLUICE_PLUGIN() makes it; elsewhere it is a constant with these bytes in the section
 * ".note.sluice" (4-aligned, read-only, kept by the linker: #[used] in Rust). A plugin without one is loaded, too. */
struct sluice_note {
    uint32_t owner_size, content_size, type; /* 7, sizeof(struct sluice_note) - 20, 1 */
    char owner[8];                           /* "Sluice", the rest 0 */
    uint16_t abi_major, abi_minor;           /* from here on as in struct sluice_plugin */
    uint32_t size, handler_size, field_size, outcome_size;
    char name[68], version[68]; /* 64 bytes at most, the rest 0 */
    uint32_t reserved[2];       /* SLUICE_UNSTABLE_NUMBER, 0 */
};

/* Which rows that are not promised yet a plugin uses, by `#define SLUICE_UNSTABLE`. There are none now. */
#define SLUICE_UNSTABLE_NUMBER 0

/* Up to here. */

/* The one exported function. */
const struct sluice_plugin *sluice_plugin(void);

#ifdef __cplusplus
}
#endif

/* --------------------------------------------------------------------------- conveniences for C and C++, not needed */

/*
 * The macros make rows of tables. Behind the member, a field's row takes what holds for it: .min, .max, .flags,
 * .fallback, .choices, .help; C++20 wants them in this order, C++17 the values alone. sluice/plugin.hpp is more at
 * home in C++. A table ends with {0}, in C++ with {}.
 */
#ifdef __cplusplus
template <class Got, class Wanted> struct sluice_same_;
template <class Wanted> struct sluice_same_<Wanted, Wanted> {
    char yes;
};
struct sluice_bounds_ {
    int64_t min = 0, max = 0;
    uint32_t flags = 0;
    const char *fallback = nullptr, *choices = nullptr, *help = nullptr;
};
constexpr struct sluice_field sluice_field_of_(const char *name, size_t offset, uint32_t type, uint32_t meta,
                                               uint32_t nested, struct sluice_bounds_ rest)
{
    return {name, rest.help, rest.fallback, rest.choices, offset, rest.min, rest.max, type, rest.flags, meta, nested};
}
struct sluice_words_ {
    const char *name = nullptr, *version = nullptr, *help = nullptr;
    const struct sluice_field *settings = nullptr;
    size_t state_size = 0;
    int (*open)(void *state, struct sluice_opening *opening) = nullptr;
    void (*close)(void *state) = nullptr;
    const struct sluice_handler *handlers = nullptr;
};
constexpr struct sluice_plugin sluice_plugin_of_(struct sluice_words_ words)
{
    return {/* clang-format off */
        SLUICE_MAGIC, SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR, sizeof(struct sluice_plugin), sizeof(struct sluice_handler),
        sizeof(struct sluice_field), sizeof(struct sluice_outcome), SLUICE_UNSTABLE_NUMBER, words.name, words.version,
        words.help, words.settings, words.state_size, words.open, words.close, words.handlers /* clang-format on */};
}
constexpr struct sluice_note sluice_note_of_(const struct sluice_plugin &of)
{
    struct sluice_note note = {/* clang-format off */
        7, sizeof(struct sluice_note) - 20, 1, "Sluice", of.abi_major, of.abi_minor, of.size, of.handler_size,
        of.field_size, of.outcome_size, {}, {}, {of.reserved, 0} /* clang-format on */};
    for (size_t i = 0; i + 1 < sizeof note.name && of.name[i] != '\0'; i++)
        note.name[i] = of.name[i];
    for (size_t i = 0; i + 1 < sizeof note.version && of.version[i] != '\0'; i++)
        note.version[i] = of.version[i];
    return note;
}
/* The offset of a member, and a compile error when its type is not `wanted`. */
#define SLUICE_OFFSET(type, member, wanted)                                                                            \
    (offsetof(type, member) + 0 * sizeof(sluice_same_<decltype(static_cast<type *>(nullptr)->member), wanted>))
#define SLUICE_ROW_(key, offset, kind, which, inside, ...)                                                             \
    sluice_field_of_(key, offset, kind, which, inside, sluice_bounds_{__VA_ARGS__})
#define SLUICE_DESCRIPTOR_(...) sluice_plugin_of_(sluice_words_{__VA_ARGS__})
#else
#define SLUICE_OFFSET(type, member, wanted)                                                                            \
    (offsetof(type, member) + 0 * sizeof(_Generic(((type *)0)->member, wanted : 1)))
#define SLUICE_ROW_(key, place, kind, which, inside, ...)                                                              \
    {                                                                                                                  \
        .name = key, .offset = place, .type = kind, .meta = which, .nested = inside, __VA_ARGS__                       \
    }
#define SLUICE_DESCRIPTOR_(...)                                                                                        \
    {                                                                                                                  \
        .magic = SLUICE_MAGIC, .abi_major = SLUICE_ABI_MAJOR, .abi_minor = SLUICE_ABI_MINOR,                           \
        .size = sizeof(struct sluice_plugin), .handler_size = sizeof(struct sluice_handler),                           \
        .field_size = sizeof(struct sluice_field), .outcome_size = sizeof(struct sluice_outcome),                      \
        .reserved = SLUICE_UNSTABLE_NUMBER, __VA_ARGS__                                                                \
    }
#endif

/* SLUICE_TEXT(struct order, name, .min = 1, .max = 64). The last argument that is handed on is empty, so that there is
 * one behind the member in any case: no standard before C23 and C++20 takes `...` for nothing. */
#define SLUICE_FIELD_(owner, wanted, kind, member, ...)                                                                \
    SLUICE_ROW_(#member, SLUICE_OFFSET(owner, member, wanted), kind, 0, 0, __VA_ARGS__)
#define SLUICE_TEXT(owner, ...) SLUICE_FIELD_(owner, struct sluice_text, SLUICE_TYPE_TEXT, __VA_ARGS__, )
#define SLUICE_INT64(owner, ...) SLUICE_FIELD_(owner, int64_t, SLUICE_TYPE_INT64, __VA_ARGS__, )
#define SLUICE_DOUBLE(owner, ...) SLUICE_FIELD_(owner, double, SLUICE_TYPE_DOUBLE, __VA_ARGS__, )
#define SLUICE_BOOL(owner, ...) SLUICE_FIELD_(owner, int32_t, SLUICE_TYPE_BOOL, __VA_ARGS__, )
#define SLUICE_JSON(owner, ...) SLUICE_FIELD_(owner, struct sluice_text, SLUICE_TYPE_JSON, __VA_ARGS__, )
#define SLUICE_DURATION(owner, ...) SLUICE_FIELD_(owner, int64_t, SLUICE_TYPE_DURATION, __VA_ARGS__, )
#define SLUICE_SIZE(owner, ...) SLUICE_FIELD_(owner, int64_t, SLUICE_TYPE_SIZE, __VA_ARGS__, )

/* SLUICE_META_TEXT(struct order, id, SLUICE_META_EVENT_ID) */
#define SLUICE_META_(owner, wanted, kind, member, which, ...)                                                          \
    SLUICE_ROW_(#member, SLUICE_OFFSET(owner, member, wanted), kind, which, 0, __VA_ARGS__)
#define SLUICE_META_TEXT(owner, member, ...)                                                                           \
    SLUICE_META_(owner, struct sluice_text, SLUICE_TYPE_META_TEXT, member, __VA_ARGS__, )
#define SLUICE_META_INT64(owner, member, ...)                                                                          \
    SLUICE_META_(owner, int64_t, SLUICE_TYPE_META_INT64, member, __VA_ARGS__, )

/* A field inside of an object of the data: SLUICE_TEXT_AT(struct order, country, "address.country"). */
#define SLUICE_AT_(owner, wanted, kind, member, path, ...)                                                             \
    SLUICE_ROW_(path, SLUICE_OFFSET(owner, member, wanted), kind, 0, 1, __VA_ARGS__)
#define SLUICE_TEXT_AT(owner, member, ...)                                                                             \
    SLUICE_AT_(owner, struct sluice_text, SLUICE_TYPE_TEXT, member, __VA_ARGS__, )
#define SLUICE_INT64_AT(owner, member, ...) SLUICE_AT_(owner, int64_t, SLUICE_TYPE_INT64, member, __VA_ARGS__, )
#define SLUICE_DOUBLE_AT(owner, member, ...) SLUICE_AT_(owner, double, SLUICE_TYPE_DOUBLE, member, __VA_ARGS__, )
#define SLUICE_BOOL_AT(owner, member, ...) SLUICE_AT_(owner, int32_t, SLUICE_TYPE_BOOL, member, __VA_ARGS__, )
#define SLUICE_JSON_AT(owner, member, ...)                                                                             \
    SLUICE_AT_(owner, struct sluice_text, SLUICE_TYPE_JSON, member, __VA_ARGS__, )

/* Rows of a handler's `sets` table: SLUICE_SETS_TEXT("greeting", .help = "the greeting"). */
#define SLUICE_SETS_(kind, field, ...) SLUICE_ROW_(field, 0, kind, 0, 0, __VA_ARGS__)
#define SLUICE_SETS_TEXT(...) SLUICE_SETS_(SLUICE_TYPE_TEXT, __VA_ARGS__, )
#define SLUICE_SETS_INT64(...) SLUICE_SETS_(SLUICE_TYPE_INT64, __VA_ARGS__, )
#define SLUICE_SETS_DOUBLE(...) SLUICE_SETS_(SLUICE_TYPE_DOUBLE, __VA_ARGS__, )
#define SLUICE_SETS_BOOL(...) SLUICE_SETS_(SLUICE_TYPE_BOOL, __VA_ARGS__, )
#define SLUICE_SETS_JSON(...) SLUICE_SETS_(SLUICE_TYPE_JSON, __VA_ARGS__, )

/* Parameters of a statement: a column of the inputs as one array … */
#define SLUICE_PARAM_(form, kind, offset, values, n)                                                                   \
    {                                                                                                                  \
        form, kind, offset, values, n                                                                                  \
    }
#define SLUICE_EACH_(owner, member, wanted, kind)                                                                      \
    SLUICE_PARAM_(SLUICE_PARAM_EACH, kind, SLUICE_OFFSET(owner, member, wanted), NULL, 0)
#define SLUICE_EACH_TEXT(owner, member) SLUICE_EACH_(owner, member, struct sluice_text, SLUICE_TYPE_TEXT)
#define SLUICE_EACH_INT64(owner, member) SLUICE_EACH_(owner, member, int64_t, SLUICE_TYPE_INT64)
#define SLUICE_EACH_DOUBLE(owner, member) SLUICE_EACH_(owner, member, double, SLUICE_TYPE_DOUBLE)
#define SLUICE_EACH_BOOL(owner, member) SLUICE_EACH_(owner, member, int32_t, SLUICE_TYPE_BOOL)
#define SLUICE_EACH_JSON(owner, member) SLUICE_EACH_(owner, member, struct sluice_text, SLUICE_TYPE_JSON)
/* … an array of the plugin's own, or a single value (a pointer to it). */
#define SLUICE_ARRAY_TEXT(texts, n) SLUICE_PARAM_(SLUICE_PARAM_ARRAY, SLUICE_TYPE_TEXT, 0, texts, n)
#define SLUICE_ARRAY_INT64(numbers, n) SLUICE_PARAM_(SLUICE_PARAM_ARRAY, SLUICE_TYPE_INT64, 0, numbers, n)
#define SLUICE_ARRAY_DOUBLE(numbers, n) SLUICE_PARAM_(SLUICE_PARAM_ARRAY, SLUICE_TYPE_DOUBLE, 0, numbers, n)
#define SLUICE_ARRAY_BOOL(values, n) SLUICE_PARAM_(SLUICE_PARAM_ARRAY, SLUICE_TYPE_BOOL, 0, values, n)
#define SLUICE_ARRAY_JSON(texts, n) SLUICE_PARAM_(SLUICE_PARAM_ARRAY, SLUICE_TYPE_JSON, 0, texts, n)
#define SLUICE_VALUE_TEXT(text) SLUICE_PARAM_(SLUICE_PARAM_VALUE, SLUICE_TYPE_TEXT, 0, text, 1)
#define SLUICE_VALUE_INT64(number) SLUICE_PARAM_(SLUICE_PARAM_VALUE, SLUICE_TYPE_INT64, 0, number, 1)
#define SLUICE_VALUE_DOUBLE(number) SLUICE_PARAM_(SLUICE_PARAM_VALUE, SLUICE_TYPE_DOUBLE, 0, number, 1)
#define SLUICE_VALUE_BOOL(value) SLUICE_PARAM_(SLUICE_PARAM_VALUE, SLUICE_TYPE_BOOL, 0, value, 1)
#define SLUICE_VALUE_JSON(text) SLUICE_PARAM_(SLUICE_PARAM_VALUE, SLUICE_TYPE_JSON, 0, text, 1)

#if defined(__GNUC__)
#define SLUICE_EXPORT __attribute__((visibility("default")))
#else
#define SLUICE_EXPORT
#endif

/* In C the note reads the words of SLUICE_PLUGIN() once more, into arrays: `.name` and `.version` must be string
 * literals. Where they cannot be, define SLUICE_NO_NOTE before you include this. Its last 8 bytes take what is of the
 * descriptor alone, and are set after it. */
#if defined(SLUICE_NO_NOTE) || !defined(__ELF__) || !defined(__GNUC__)
#define SLUICE_NOTE_(...)
#elif defined(__cplusplus)
#define SLUICE_NOTE_(...)                                                                                              \
    __attribute__((section(".note.sluice"), used, aligned(4))) static constexpr struct sluice_note sluice_note_ =      \
        sluice_note_of_(SLUICE_DESCRIPTOR_(__VA_ARGS__));
#else
struct sluice_noted_ {
    uint32_t owner_size, content_size, type;
    char owner[8];
    struct {
        uint16_t abi_major, abi_minor;
        uint32_t size, handler_size, field_size, outcome_size;
        char name[68], version[68];
        union {
            uint64_t none, magic;
            uint32_t reserved;
            size_t state_size;
            const void *help, *settings, *handlers;
            int (*open)(void *state, struct sluice_opening *opening);
            void (*close)(void *state);
        } __attribute__((packed));
    } __attribute__((packed)) plugin;
} __attribute__((packed, aligned(4)));
#define SLUICE_NOTE_(...)                                                                                              \
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Woverride-init\"")                               \
        __attribute__((section(".note.sluice"), used, aligned(4))) static const struct sluice_noted_ sluice_note_ = {  \
            7,        sizeof(struct sluice_note) - 20,           1,                                                    \
            "Sluice", .plugin = SLUICE_DESCRIPTOR_(__VA_ARGS__), .plugin.none = SLUICE_UNSTABLE_NUMBER};               \
    _Pragma("GCC diagnostic pop")
#endif

/* Defines sluice_plugin() around a descriptor whose versions and sizes are those of this header, and its note. */
#define SLUICE_PLUGIN(...)                                                                                             \
    SLUICE_NOTE_(__VA_ARGS__)                                                                                          \
    SLUICE_EXPORT const struct sluice_plugin *sluice_plugin(void)                                                      \
    {                                                                                                                  \
        static const struct sluice_plugin descriptor = SLUICE_DESCRIPTOR_(__VA_ARGS__);                                \
        return &descriptor;                                                                                            \
    }

#endif
