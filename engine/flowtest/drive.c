/*
 * drive.c - see drive.h.
 */
#include "flowtest/drive.h"

#include "base/clock.h"
#include "event/json.h"
#include "flowtest/database.h"
#include "flowtest/stand_in.h"
#include "http/route.h"

#include <errno.h>

enum {
    DRIVE_EXACT_MS = 5 * 60 * 1000, /* so long an advance has every tick of its schedules; */
    DRIVE_TICKS = 50,               /* a longer one about so many */
    DRIVE_STOPS_MAX = 200000,       /* in one advance or run */
    DRIVE_SQL_MS = 60000,
    DRIVE_VALUE_MAX = 16 * 1024 * 1024,
};

static const int64_t DRIVE_RUN_MAX_MS = 366LL * 24 * 3600 * 1000;

int64_t drive_elapsed_ms(void)
{
    return clock_wall_ms() - FLOW_BEGINS_MS;
}

/* The process's clock may have moved by itself, when something waited. */
static int sync_database(struct drive *drive, struct error *error)
{
    int64_t now_ms = clock_wall_ms();
    if (drive->connection == NULL || drive->database_ms == now_ms)
        return 0;
    drive->database_ms = now_ms;
    return database_set_clock(drive->connection, now_ms, error);
}

/* ---------------------------------------------------------------------------------------------- the engine's life */

struct life_step { /* what the engine does in one go */
    struct drive *drive;
    bool begin;
    struct error *error;
};

static int start_engine(void *context)
{
    const struct life_step *step = context;
    return engine_start(&step->drive->parts->engine, &step->drive->engine, step->error);
}

static int step_engine(void *context)
{
    const struct life_step *step = context;
    return engine_step(step->drive->engine, step->begin, step->error);
}

/* On the store that the engine has now. */
static int connect_database(struct drive *drive, struct error *error)
{
    struct store *store = drive->parts->engine.store;
    if (store == NULL)
        return 0;
    store_share_session(store);
    drive->connection = connection_create(store, "test");
    drive->database_ms = 0;
    return drive->connection == NULL ? error_set(error, ENOMEM, "out of memory") : sync_database(drive, error);
}

/* Who takes partitions over publishes what their last owner left; without a reader the sweeper does. */
static bool has_reader(const struct pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->group_count; i++)
        if (pipeline->groups[i].topic_count > 0)
            return true;
    return false;
}

/* What a process leaves when it dies, and the next one. -EOWNERDEAD: that one has died, too. */
static int restart(struct life_step *step)
{
    struct drive *drive = step->drive;
    drive->deaths++;
    if (drive->connection != NULL && !has_reader(drive->pipeline))
        drive->sweep_ms = clock_wall_ms() + drive->pipeline->engine.sweep_after_ms;
    if (drive->died != NULL)
        drive->died(drive->context, drive->crash.died);
    crash_cut(&drive->crash);
    if (drive->engine != NULL)
        engine_abandon(drive->engine);
    drive->engine = NULL;
    int code = drive->parts->reopen(&drive->parts->engine, drive->parts->context, step->error);
    if (code == 0)
        code = connect_database(drive, step->error);
    if (code == 0 && drive->connection != NULL)
        code = crash_await(drive->connection, step->error);
    return code != 0 ? code : crash_run(&drive->crash, start_engine, step);
}

int drive_start(struct drive *drive, struct drive_parts *parts, struct error *error)
{
    parts->engine.stepped = true;
    clock_stop(FLOW_BEGINS_MS);
    drive->parts = parts;
    drive->sweep_ms = INT64_MAX;
    drive->pipeline = parts->engine.pipeline;
    drive->bus = parts->engine.bus;
    crash_begin(&drive->crash, drive->arena);
    int code = connect_database(drive, error);
    return code != 0 ? code : start_engine(&(struct life_step){drive, true, error});
}

int drive_note_places(struct drive *drive, struct error *error)
{
    struct engine_parts other = drive->parts->engine;
    struct connection *looks = NULL;
    int code = other.store == NULL ? 0 : drive->parts->reopen(&other, drive->parts->context, error);
    if (code == 0 && other.store != NULL && (looks = connection_create(other.store, "places")) == NULL)
        code = error_set(error, ENOMEM, "out of memory");
    if (code == 0)
        crash_note(&drive->crash, looks);
    return code;
}

int drive_sql(struct drive *drive, const char *sql, struct error *error)
{
    if (drive->connection == NULL)
        return error_set(error, EINVAL, "the pipeline has no store to run this in");
    enum store_result result = connection_script(drive->connection, sql, DRIVE_SQL_MS, error);
    return result == STORE_OK ? 0 : -EIO;
}

/* What is due now; at the beginning of a step with what others may have changed. */
static int settle(struct drive *drive, bool begin, struct error *error)
{
    struct life_step step = {drive, begin, error};
    int code = crash_run(&drive->crash, step_engine, &step);
    while (code == -EOWNERDEAD) {
        code = restart(&step);
        step.begin = true;
        if (code == 0)
            code = crash_run(&drive->crash, step_engine, &step);
    }
    return code != 0 ? code : sync_database(drive, error);
}

int drive_settle(struct drive *drive, struct error *error)
{
    return settle(drive, true, error);
}

static int move_to(struct drive *drive, int64_t wall_ms, struct error *error)
{
    clock_move_to(wall_ms);
    bool sweeps = clock_wall_ms() >= drive->sweep_ms;
    if (sweeps)
        drive->sweep_ms = INT64_MAX;
    int code = sync_database(drive, error);
    return code != 0 ? code : settle(drive, sweeps, error);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t next_due(struct drive *drive, int64_t *ret_tick_ms)
{
    return earlier(engine_due_ms(drive->engine, ret_tick_ms), drive->sweep_ms);
}

/* How far ticks are apart, at least. */
static int64_t stride_of(int64_t ms)
{
    return ms <= DRIVE_EXACT_MS ? 0 : ms / DRIVE_TICKS;
}

/* To the next moment at which something is due, at most `until_ms`; ticks not sooner than after `stride_ms`. *ret_due:
 * something but a tick was, then. */
static int next_stop(struct drive *drive, int64_t until_ms, int64_t stride_ms, bool *ret_due, struct error *error)
{
    int64_t tick_ms, now_ms = clock_wall_ms(), due_ms = next_due(drive, &tick_ms);
    if (tick_ms < now_ms + stride_ms)
        tick_ms = now_ms + stride_ms;
    *ret_due = due_ms <= until_ms;
    return move_to(drive, earlier(earlier(due_ms, tick_ms), until_ms), error);
}

int drive_advance(struct drive *drive, int64_t ms, struct error *error)
{
    int64_t until_ms = clock_wall_ms() + ms;
    bool due;
    int code = settle(drive, true, error);
    for (int stops = 0; code == 0 && clock_wall_ms() < until_ms; stops++) {
        if (stops == DRIVE_STOPS_MAX)
            return error_set(error, ELOOP, "more than %d times something was due on the way", DRIVE_STOPS_MAX);
        code = next_stop(drive, until_ms, stride_of(ms), &due, error);
    }
    return code;
}

int drive_run(struct drive *drive, struct error *error)
{
    int64_t end_ms = clock_wall_ms() + DRIVE_RUN_MAX_MS, tick_ms;
    int code = settle(drive, true, error);
    for (int stops = 0; code == 0; stops++) {
        int64_t now_ms = clock_wall_ms(), due_ms = next_due(drive, &tick_ms);
        bool due = true;
        if (due_ms == INT64_MAX)
            return 0;
        if (stops == DRIVE_STOPS_MAX || due_ms > end_ms)
            return error_set(error, ELOOP, "something is still due after %s: `advance` goes on for a given time",
                             stops == DRIVE_STOPS_MAX ? "200000 stops" : "a year");
        for (int64_t stride_ms = stride_of(due_ms - now_ms); code == 0 && clock_wall_ms() < due_ms && due;) {
            code = next_stop(drive, due_ms, stride_ms, &due, error);
            due = next_due(drive, &tick_ms) == due_ms;
        }
    }
    return code;
}

/* ---------------------------------------------------------------------------------------------------------- reloads */

/* What of `next` was opened so far is the drive's; the engine that runs is stopped once the other one could begin. */
static int hand_over(struct drive *drive, struct error *error)
{
    struct engine *before = drive->engine, *successor = NULL;
    int code = connect_database(drive, error);
    if (code == 0)
        code = engine_start(&drive->parts->engine, &successor, error);
    engine_stop(code == 0 ? before : successor);
    if (code == 0) {
        drive->engine = successor;
        engine_begin(successor);
    }
    return code;
}

int drive_reload(struct drive *drive, const char *path, struct error *error)
{
    const struct drive before = *drive;
    const struct engine_parts parts = drive->parts->engine;
    struct buffer why;
    buffer_init(&why, DRIVE_VALUE_MAX);
    int code = drive->parts->reread(&drive->parts->engine, path, drive->parts->context, &why, error);
    while (why.length > 0 && why.at[why.length - 1] == '\n')
        why.length--;
    if (why.length > 0)
        error_set(error, EINVAL, "%.*s", (int)why.length, why.at);
    buffer_free(&why);
    drive->pipeline = drive->parts->engine.pipeline;
    drive->parts->engine.waits = true;
    if (code == 0)
        code = hand_over(drive, error);
    drive->parts->engine.waits = false;
    if (code != 0) {
        *drive = before;
        drive->parts->engine = parts;
        return error_prefix(error, "%s is refused, and what runs goes on", path);
    }
    connection_destroy(before.connection);
    stand_in_again(before.pipeline, drive->pipeline, drive->arena);
    return settle(drive, true, error);
}

/* -------------------------------------------------------------------------------------------------------- requests */

struct asked {
    struct gateway_request request; /* first */
    struct drive *drive;
    struct reply *reply;
};

static void request_done(struct gateway_request *request, int status, struct span json)
{
    struct asked *asked = (struct asked *)request;
    asked->reply->json = arena_span(asked->drive->arena, json);
    asked->reply->status = status;
}

/* As the listener answers. */
static int refuse(struct drive *drive, const struct refusal *refusal, struct reply *ret)
{
    struct buffer json;
    buffer_init(&json, DRIVE_VALUE_MAX);
    json_error(&json, refusal->word, refusal->message);
    buffer_byte(&json, '}');
    ret->json = arena_span(drive->arena, buffer_view(&json));
    ret->status = refusal->status;
    buffer_free(&json);
    return 0;
}

/* Until it is answered, or the process has died. */
static int await_reply(struct drive *drive, const struct reply *reply, struct error *error)
{
    size_t deaths = drive->deaths;
    int code = settle(drive, true, error);
    for (bool due = true; code == 0 && reply->status == 0 && drive->deaths == deaths;) {
        code = next_stop(drive, clock_wall_ms() + WAIT_MAX_MS, 0, &due, error);
        if (code == 0 && !due && reply->status == 0 && drive->deaths == deaths)
            return error_set(error, ETIMEDOUT, "the request is not answered");
    }
    return code;
}

/* What a process leaves of it that has died is never looked at again. */
static int send_request(struct drive *drive, const struct gateway_request *request, struct reply *ret,
                        struct error *error)
{
    struct asked *asked = arena_new(drive->arena, struct asked);
    *asked = (struct asked){.request = *request, .drive = drive, .reply = ret};
    int code = gateway_submit(drive->engine, &asked->request);
    return code != 0 ? error_set(error, -code, "the engine takes no request") : await_reply(drive, ret, error);
}

int drive_request(struct drive *drive, const char *method, const char *target, struct span body, const char *key,
                  struct reply *ret, struct error *error)
{
    const struct pipeline *pipeline = drive->pipeline;
    struct refusal refusal = {0};
    struct target parsed;
    struct match match;
    const char *allow;
    *ret = (struct reply){0};
    if (!target_parse(arena_span(drive->arena, span_of(target)), drive->arena, &parsed, &refusal) ||
        !match_request(pipeline->requests, pipeline->request_count, span_of(method), &parsed, drive->arena, &match,
                       &allow, &refusal))
        return refuse(drive, &refusal, ret);
    int code = 0;
    while (code == 0 && ret->status == 0)
        code = send_request(drive,
                            &(struct gateway_request){.route = match.index,
                                                      .body = body,
                                                      .params = match.params,
                                                      .param_count = match.param_count,
                                                      .idempotency_key = span_of(key),
                                                      .wait_ms = parsed.wait_ms,
                                                      .done = request_done},
                            ret, error);
    return code;
}

/* ---------------------------------------------------------------------------------------------------------- events */

static int no_topic(struct drive *drive, const char *name, struct error *error)
{
    const struct pipeline *pipeline = drive->pipeline;
    const char **names = arena_array(drive->arena, const char *, pipeline->topic_count + 1);
    for (size_t i = 0; i < pipeline->topic_count; i++)
        names[i] = pipeline->topics[i]->name;
    const char *near = nearest_name(name, names);
    return error_set(error, EINVAL, "the pipeline has no topic '%s'%s%s%s", name,
                     near != NULL ? "; did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
}

int drive_emit(struct drive *drive, const char *topic_name, struct span data_text, const char *key, const char *id,
               struct error *error)
{
    const struct topic *topic = pipeline_topic(drive->pipeline, topic_name);
    struct header headers[FORMAT_HEADERS_MAX];
    struct record record = {.topic = span_of(topic_name), .headers = headers, .timestamp_ms = clock_wall_ms()};
    enum event_format format = drive->pipeline->engine.event_format;
    struct json_object data;
    struct buffer value, key_bytes;
    char new_id[37];
    size_t failed;
    if (topic == NULL)
        return no_topic(drive, topic_name, error);
    if (json_scan(data_text, drive->arena, &data, error) != 0)
        return -EINVAL;
    event_id_new(clock_wall_ms(), new_id);
    buffer_init(&value, DRIVE_VALUE_MAX);
    buffer_init(&key_bytes, EVENT_KEY_MAX);
    struct span id_text = span_of(id != NULL ? id : new_id);
    event_compose(&value, id_text, record.topic, record.timestamp_ms, format, &data, NULL, 0);
    record.value = buffer_view(&value);
    record.header_count = event_headers(format, id_text, record.topic, record.timestamp_ms, drive->arena, headers);
    int code = 0;
    if (key != NULL)
        record.key = span_of(key);
    else if (topic->key != NULL) {
        code = key_template_apply(topic->key, &data, NULL, 0, drive->arena, &key_bytes, error);
        record.key = buffer_view(&key_bytes);
    }
    if (code == 0)
        code = bus_publish(drive->bus, &record, 1, clock_monotonic_ms() + DRIVE_SQL_MS, &failed, error);
    buffer_free(&value);
    buffer_free(&key_bytes);
    return code != 0 ? code : settle(drive, true, error);
}

struct look {
    struct drive *drive;
    struct seen *list;
    size_t count;
};

static struct record *record_kept(struct arena *arena, const struct record *record)
{
    struct record *kept = arena_copy(arena, record, sizeof *record);
    kept->topic = arena_span(arena, record->topic);
    kept->key = record->key.at == NULL ? record->key : arena_span(arena, record->key);
    kept->value = arena_span(arena, record->value);
    kept->headers = arena_copy(arena, record->headers, record->header_count * sizeof *record->headers);
    for (size_t i = 0; i < record->header_count; i++) {
        kept->headers[i].name = arena_span(arena, record->headers[i].name);
        if (record->headers[i].value.at != NULL)
            kept->headers[i].value = arena_span(arena, record->headers[i].value);
    }
    return kept;
}

/* Of dead letters of one event, each handler's is another one. */
static bool stands_before(const struct look *look, const struct seen *seen)
{
    for (const struct seen *other = look->list; other < seen; other++)
        if (span_equal(other->record->topic, seen->record->topic) && span_equal(other->id, seen->id) &&
            span_equal(record_header(other->record, HEADER_DLT_HANDLER),
                       record_header(seen->record, HEADER_DLT_HANDLER)))
            return true;
    return false;
}

static void read_data(struct look *look, struct seen *seen)
{
    struct arena *arena = look->drive->arena;
    struct event event;
    enum dead_reason reason;
    if (event_parse(seen->record, DRIVE_VALUE_MAX, arena, &event, &reason, NULL) == 0) {
        seen->data = event.data.text.at == NULL ? SPAN("{}") : event.data.text;
        seen->id = event.id_text;
        return;
    }
    struct buffer text;
    buffer_init(&text, DRIVE_VALUE_MAX);
    buffer_json_string(&text, (struct span){seen->record->value.at, span_utf8(seen->record->value)});
    seen->data = arena_span(arena, buffer_view(&text));
    seen->id = seen->record->value;
    buffer_free(&text);
}

static bool look_at(const struct record *record, int32_t partition, struct position position, void *context)
{
    struct look *look = context;
    struct arena *arena = look->drive->arena;
    (void)partition, (void)position;
    look->list = arena_grown(arena, look->list, look->count, sizeof *look->list);
    struct seen *seen = &look->list[look->count++];
    seen->record = record_kept(arena, record);
    seen->key = seen->record->key;
    const struct topic *topic = pipeline_topic(look->drive->pipeline, arena_string(arena, record->topic));
    seen->dead_letter = topic != NULL && topic->is_dead_letter;
    read_data(look, seen);
    seen->again = stands_before(look, seen);
    return true;
}

int drive_events(struct drive *drive, struct seen **ret, size_t *ret_count, struct error *error)
{
    static const char *const all[] = {"*"};
    struct look look = {.drive = drive};
    const struct bus_scan scan = {.topics = all, .topic_count = 1, .each = look_at, .context = &look};
    int code = bus_scan(drive->bus, &scan, error);
    *ret = look.list;
    *ret_count = look.count;
    return code;
}

int drive_duplicate(struct drive *drive, const char *topic, struct error *error)
{
    const struct seen *last = NULL;
    struct seen *list;
    size_t count, failed;
    int code = drive_events(drive, &list, &count, error);
    for (size_t i = 0; code == 0 && i < count; i++)
        if (topic == NULL ? !list[i].dead_letter : span_is(list[i].record->topic, topic))
            last = &list[i];
    if (code == 0 && last == NULL)
        return error_set(error, ENOENT, "there is no event%s%s to come again", topic == NULL ? "" : " on ",
                         topic == NULL ? "" : topic);
    if (last != NULL)
        code = bus_publish(drive->bus, last->record, 1, clock_monotonic_ms() + DRIVE_SQL_MS, &failed, error);
    return code != 0 ? code : settle(drive, true, error);
}
