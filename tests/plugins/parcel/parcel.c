/*
 * parcel.c - a carrier's desk: takes parcels, prints labels, answers where a parcel is and finds the late ones.
 *
 * It is the plugin that docs/plugin-guide.md cuts its code from: a handler of every kind, with what each is written
 * with.
 */
#include "sluice/plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What an operator may set, and what open() makes of it: one for each lane. */
struct desk {
    struct sluice_text labels;
    int64_t late_after, price_per_kg;
    int folder;
};

static const struct sluice_field settings[] = {
    SLUICE_TEXT(struct desk, labels, .min = 1, .max = 200, .help = "the folder that labels are printed to"),
    SLUICE_DURATION(struct desk, late_after, .min = 1000, .flags = SLUICE_OPTIONAL, .fallback = "2d",
                    .help = "how long a parcel may be on its way"),
    SLUICE_INT64(struct desk, price_per_kg, .min = 1, .flags = SLUICE_OPTIONAL, .fallback = "400", .help = "cents"),
    {0},
};

static int desk_open(void *state, struct sluice_opening *opening)
{
    struct desk *self = state;
    char path[201], why[300];
    snprintf(path, sizeof path, "%.*s", (int)self->labels.length, self->labels.at);
    self->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (self->folder >= 0)
        return 0;
    snprintf(why, sizeof why, "labels: cannot open the folder %s: %s", path, strerror(errno));
    opening->fail(opening, why);
    return -1;
}

/* Also gets the state back whose desk_open() failed. */
static void desk_close(void *state)
{
    struct desk *self = state;
    if (self->folder > 0)
        close(self->folder);
}

/* What is wanted of a parcel: members of the data, and members of objects in it. */
struct parcel {
    struct sluice_text parcelId, country;
    double kg;
    int32_t express;
};

static const struct sluice_field parcel_input[] = {
    SLUICE_TEXT(struct parcel, parcelId, .min = 1, .max = 40, .help = "the carrier's own number"),
    SLUICE_TEXT_AT(struct parcel, country, "address.country", .min = 2, .max = 2, .help = "ISO 3166, two letters"),
    SLUICE_DOUBLE_AT(struct parcel, kg, "content.kg", .min = 0, .max = 30, .help = "what it weighs"),
    SLUICE_BOOL_AT(struct parcel, express, "service.express", .flags = SLUICE_OPTIONAL, .help = "tomorrow"),
    {0},
};

/* A request: what it answers, and what becomes of it. */
enum { ACCEPTED };

static const struct sluice_outcome accept_outcomes[] = {[ACCEPTED] = {"accepted", "on its way to the desk"}, {0}};

static void parcel_accept(void *state, struct sluice_call *call)
{
    const struct sluice_host *host = call->host;
    const struct parcel *parcels = call->inputs;
    (void)state;
    for (uint32_t n = 0; n < call->count; n++) {
        static const char answer[] = "{\"status\":\"ACCEPTED\"}";
        if (parcels[n].express != 0 && parcels[n].kg > 10) {
            host->reject(call, n, "express takes 10 kg at most"); /* answered with 422 and these words */
            continue;
        }
        host->reply(call, n, 202, (struct sluice_text){answer, sizeof answer - 1}, 0);
        host->outcome(call, n, ACCEPTED);
    }
}

/* Many events with one statement: a column of the inputs is one array, its rows say which event they are of. */
enum { BOOKED, KNOWN };

static const struct sluice_outcome book_outcomes[] = {
    [BOOKED] = {"booked", "it has a place in the van"},
    [KNOWN] = {"known", "it was booked before"},
    {0},
};

static const struct sluice_field book_sets[] = {
    SLUICE_SETS_INT64("price", .help = "cents"),
    SLUICE_SETS_DOUBLE("volume", .help = "litres"),
    SLUICE_SETS_BOOL("abroad", .help = "whether it needs a customs form"),
    SLUICE_SETS_JSON("route", .help = "the depots on its way, a list"),
    {0},
};

static const struct sluice_sql book_sql = {
    "with asked as (select * from unnest($1::text[], $2::text[], $3::float8[])"
    "               with ordinality t (parcel_id, country, kg, n)),"
    " booked as (insert into parcel (parcel_id, country, kg) select parcel_id, country, kg from asked"
    "            on conflict (parcel_id) do nothing returning parcel_id)"
    " select n - 1, parcel_id in (select parcel_id from booked), country <> $4, kg * 5,"
    "        jsonb_build_array($4, country)"
    " from asked"};

static void parcel_book(void *state, struct sluice_call *call)
{
    const struct desk *self = state;
    const struct sluice_host *host = call->host;
    const struct parcel *parcels = call->inputs;
    const struct sluice_text home = {"DE", 2};
    const struct sluice_param params[] = {
        SLUICE_EACH_TEXT(struct parcel, parcelId),
        SLUICE_EACH_TEXT(struct parcel, country),
        SLUICE_EACH_DOUBLE(struct parcel, kg),
        SLUICE_VALUE_TEXT(&home),
    };
    const struct sluice_rows *rows = host->query(call, &book_sql, 4, params);
    if (rows == NULL)
        return; /* the engine knows why, and gives every event of the call its verdict */
    for (size_t row = 0; row < host->row_count(rows); row++) {
        size_t n = (size_t)host->get_int64(rows, row, 0);
        host->set_int64(call, n, "price", (int64_t)(parcels[n].kg * (double)self->price_per_kg));
        host->set_bool(call, n, "abroad", host->get_int64(rows, row, 2) != 0);
        host->set_double(call, n, "volume", host->get_double(rows, row, 3));
        host->set_json(call, n, "route", host->get_text(rows, row, 4));
        host->outcome(call, n, host->get_int64(rows, row, 1) != 0 ? BOOKED : KNOWN);
    }
}

/* An effect outside the database happens at least once: the event's id makes the second time nothing. */
enum { PRINTED };

static const struct sluice_outcome print_outcomes[] = {[PRINTED] = {"printed", "the label is in the folder"}, {0}};

static void label_print(void *state, struct sluice_call *call)
{
    const struct desk *self = state;
    const struct sluice_host *host = call->host;
    const struct sluice_text id = call->events[0].id, data = call->events[0].data;
    char name[160];
    snprintf(name, sizeof name, "%.*s.label", (int)id.length, id.at);
    int file = openat(self->folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file < 0 && errno == EEXIST) {
        host->outcome(call, 0, PRINTED); /* it came before */
    } else if (file < 0 && (errno == ENOENT || errno == ENOSPC || errno == EROFS)) {
        host->unavailable(call, strerror(errno)); /* for every label: no try is counted until it is over */
    } else if (file < 0 && (errno == EMFILE || errno == EINTR)) {
        host->retry(call, 0, strerror(errno)); /* for this one: it is tried again, its key waits */
    } else if (file < 0) {
        host->reject(call, 0, strerror(errno)); /* no try can help: a dead letter with these words */
    } else {
        ssize_t written = write(file, data.at, data.length);
        close(file);
        if (written == (ssize_t)data.length) {
            host->outcome(call, 0, PRINTED);
        } else {
            unlinkat(self->folder, name, 0);
            host->unavailable(call, "the folder of labels is full");
        }
    }
}

/* A request that waits: GET /parcels/{parcelId}?wait=10s is asked again until the answer is final. */
struct which {
    struct sluice_text parcelId;
};

static const struct sluice_field which_input[] = {SLUICE_TEXT(struct which, parcelId, .min = 1, .max = 40), {0}};

static const struct sluice_sql where_sql = {
    "select jsonb_build_object('parcelId', parcel_id, 'late', late)::text from parcel where parcel_id = $1"};

static void parcel_where(void *state, struct sluice_call *call)
{
    const struct sluice_host *host = call->host;
    const struct which *which = call->inputs;
    const struct sluice_param params[] = {SLUICE_VALUE_TEXT(&which->parcelId)};
    const struct sluice_rows *rows = host->query(call, &where_sql, 1, params);
    (void)state;
    if (rows == NULL)
        return;
    if (host->row_count(rows) == 0) {
        static const char unknown[] = "{\"error\":\"not_found\"}";
        host->reply(call, 0, 404, (struct sluice_text){unknown, sizeof unknown - 1}, SLUICE_REPLY_PENDING);
    } else {
        host->reply(call, 0, 200, host->get_text(rows, 0, 0), 0);
    }
}

/* A schedule: one tick a call, and an event for everything that it finds. */
enum { LATE };

static const struct sluice_outcome late_outcomes[] = {[LATE] = {"late", "it is on its way for too long"}, {0}};

static const struct sluice_field late_sets[] = {SLUICE_SETS_TEXT("parcelId", .help = "which one"), {0}};

/* No more of them than a call may add; the next tick finds the others. */
static const struct sluice_sql late_sql = {
    "update parcel set late = true where parcel_id in ("
    " select parcel_id from parcel where not late and booked_at < to_timestamp($1::float8 / 1000) limit 10000)"
    " returning parcel_id"};

static void late_find(void *state, struct sluice_call *call)
{
    const struct desk *self = state;
    const struct sluice_host *host = call->host;
    const double before = (double)(host->now_ms(call) - self->late_after);
    const struct sluice_param params[] = {SLUICE_VALUE_DOUBLE(&before)};
    const struct sluice_rows *rows = host->query(call, &late_sql, 1, params);
    for (size_t row = 0; rows != NULL && row < host->row_count(rows); row++) {
        size_t n = host->add(call, LATE);
        host->set_text(call, n, "parcelId", host->get_text(rows, row, 0));
    }
}

/* A tap sees what passes on its topics, and holds nothing back. */
struct seen {
    struct sluice_text topic;
};

static const struct sluice_field seen_input[] = {SLUICE_META_TEXT(struct seen, topic, SLUICE_META_TOPIC), {0}};

enum { COUNTED };

static const struct sluice_outcome count_outcomes[] = {[COUNTED] = {"counted", "it is in parcel_count"}, {0}};

static const struct sluice_sql count_sql = {
    "insert into parcel_count select topic, count(*) from unnest($1::text[]) u (topic) group by topic"
    " on conflict (topic) do update set events = parcel_count.events + excluded.events"};

static void topic_count(void *state, struct sluice_call *call)
{
    const struct sluice_param params[] = {SLUICE_EACH_TEXT(struct seen, topic)};
    const struct sluice_rows *rows = call->host->query(call, &count_sql, 1, params);
    (void)state;
    for (uint32_t n = 0; rows != NULL && n < call->count; n++)
        call->host->outcome(call, n, COUNTED);
}

/* All of it in one table. */
static const struct sluice_handler handlers[] = {
    {.name = "accept",
     .help = "take a parcel in",
     .kind = SLUICE_REQUEST,
     .input = parcel_input,
     .input_size = sizeof(struct parcel),
     .outcomes = accept_outcomes,
     .max_events = 100,
     .handle = parcel_accept},
    {.name = "where",
     .help = "say where a parcel is",
     .kind = SLUICE_REQUEST,
     .input = which_input,
     .input_size = sizeof(struct which),
     .uses_store = 1,
     .max_events = 1,
     .handle = parcel_where},
    {.name = "book",
     .help = "give parcels a place in the van",
     .input = parcel_input,
     .input_size = sizeof(struct parcel),
     .outcomes = book_outcomes,
     .sets = book_sets,
     .uses_store = 1,
     .max_events = 500,
     .handle = parcel_book},
    {.name = "print",
     .help = "print the label, once",
     .outcomes = print_outcomes,
     .max_events = 1,
     .handle = label_print},
    {.name = "late",
     .help = "find parcels that are on their way for too long",
     .kind = SLUICE_SCHEDULE,
     .outcomes = late_outcomes,
     .sets = late_sets,
     .uses_store = 1,
     .max_events = 1,
     .handle = late_find},
    {.name = "count",
     .help = "count what passes",
     .input = seen_input,
     .input_size = sizeof(struct seen),
     .outcomes = count_outcomes,
     .uses_store = 1,
     .max_events = 500,
     .handle = topic_count},
    {0},
};

SLUICE_PLUGIN(.name = "parcel", .version = "1.0.0", .help = "a carrier's desk", .settings = settings,
              .state_size = sizeof(struct desk), .open = desk_open, .close = desk_close, .handlers = handlers)
