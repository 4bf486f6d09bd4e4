/*
 * state.c - checks of the engine's own tables: whether they are this program's, and what waits or failed in them that
 * somebody should know of.
 */
#include "doctor/doctor.h"

#include "flow/pause.h"

#include <errno.h>
#include <unistd.h>

enum {
    STATE_OVERDUE_S = 60, /* what is due is handled within a second when an engine runs */
    STATE_PAUSE_S = 24 * 3600,
    STATE_SILENT_S = 15,  /* a member without a heartbeat; peers remove it after ten */
    STATE_HANDOVER_S = 2, /* of a partition to another member */
    STATE_AGAIN = 3,      /* times that brokers are asked how far a group is */
    STATE_LAG = 100000,   /* unread events of a group */
    STATE_COUNT_MAX = 100000
};

static void look_migrations(struct exam *exam)
{
    struct error error = {0};
    if (!exam_has_store(exam))
        return;
    if (exam->migrations == NULL) {
        exam_bad(exam, NULL, "%s", exam->migrations_error);
        return;
    }
    enum store_result result = migrate_check(exam->store, exam->migrations, &error);
    if (result == STORE_OK)
        result = migrate_check_made(exam->store, exam->migrations, &error);
    if (result == STORE_OK)
        exam_good(exam, "the tables are those of this program and its plugins");
    else if (result == STORE_DEPLOY)
        exam_bad(exam, error.hint[0] == '\0' ? NULL : arena_string(exam->arena, span_of(error.hint)), "%s", error.text);
    else
        exam_unchecked(exam, "%s", error.text);
}

/* -------------------------------------------------------------------------------------------------- members, leases */

static const struct statement statement_members = {
    "select m.consumer_group, count(*), max(extract(epoch from clock_timestamp() - h.at))::int8 "
    "from sluice.bus_member m join sluice.bus_member_heartbeat h on h.member = m.id "
    "where m.consumer_group = any ($1) and h.at < clock_timestamp() - interval '15 s' "
    "group by m.consumer_group order by 1",
    false,
};

/* The tables of the postgres bus. */
static bool has_log(struct exam *exam)
{
    if (exam->pipeline->bus.kind == BUS_CHOICE_POSTGRES)
        return true;
    exam_unchecked(exam, "the bus is not postgres");
    return false;
}

static void look_members(struct exam *exam)
{
    const struct rows *rows = has_log(exam) ? exam_rows_of_groups(exam, &statement_members) : NULL;
    for (size_t i = 0; rows != NULL && i < rows_count(rows); i++)
        exam_warns(exam, NULL, "group %s: %s without a heartbeat for %s", exam_text(exam, rows, i, 0),
                   exam_count(exam, rows_int64(rows, i, 1), "member"), exam_duration(exam, rows_int64(rows, i, 2)));
    if (rows != NULL && rows_count(rows) == 0)
        exam_good(exam, "each member has sent a heartbeat within %d s", STATE_SILENT_S);
}

/* Partitions that no member that lives has, of groups that have such members. */
static const struct statement statement_leases = {
    "with live as (select m.id, m.consumer_group from sluice.bus_member m"
    "  join sluice.bus_member_heartbeat h on h.member = m.id where h.at > clock_timestamp() - interval '15 s') "
    "select l.consumer_group, count(*), string_agg(l.partition::text, ', ' order by l.partition) "
    "from sluice.bus_lease l where l.consumer_group = any ($1)"
    "  and exists (select from live v where v.consumer_group = l.consumer_group)"
    "  and not exists (select from live v where v.id = l.member) "
    "group by l.consumer_group order by 1",
    false,
};

static void look_leases(struct exam *exam)
{
    const struct rows *rows = has_log(exam) ? exam_rows_of_groups(exam, &statement_leases) : NULL;
    if (rows != NULL && rows_count(rows) > 0) { /* a partition may be on its way from one member to another */
        sleep(STATE_HANDOVER_S);
        rows = exam_rows_of_groups(exam, &statement_leases);
    }
    for (size_t i = 0; rows != NULL && i < rows_count(rows); i++)
        exam_bad(exam, NULL, "group %s: %s read by no member: %s", exam_text(exam, rows, i, 0),
                 exam_count(exam, rows_int64(rows, i, 1), "partition"), exam_text(exam, rows, i, 2));
    if (rows != NULL && rows_count(rows) == 0)
        exam_good(exam, "no running member leaves a partition unread");
}

static const struct statement statement_lag = {
    "select g.name, coalesce(sluice.bus_lag(g.name), 0), (select count(*) from sluice.bus_member m"
    "    join sluice.bus_member_heartbeat h on h.member = m.id"
    "    where m.consumer_group = g.name and h.at > clock_timestamp() - interval '15 s') "
    "from unnest($1) g(name)",
    false,
};

static void say_lag(struct exam *exam, const char *group, int64_t unread, bool read)
{
    const char *events = exam_count(exam, unread, "event");
    if (unread > 0 && !read)
        exam_warns(exam, "start the engine: `sluice run CONFIG`", "group %s: %s behind, and no process reads for it",
                   group, events);
    else if (unread > STATE_LAG)
        exam_warns(exam, NULL, "group %s: %s behind", group, events);
    else
        exam_good(exam, "group %s: %s behind", group, events);
}

/* Kafka's groups: topics that the group reads, by their names or a tap's patterns. */
static bool group_reads(const struct group *group, const struct topic *topic)
{
    bool named = false;
    for (size_t i = 0; group->topics != NULL && group->topics[i] != NULL && !named; i++)
        named = strcmp(group->topics[i], topic->name) == 0;
    return named || (group->tap != NULL && tap_sees(group->tap, topic));
}

static void look_lag_of_kafka(struct exam *exam)
{
    const struct pipeline *pipeline = exam->pipeline;
    struct bus_standing *standings = arena_array(exam->arena, struct bus_standing, pipeline->topic_count + 1);
    if (exam->bus == NULL || exam->brokers_away != NULL) {
        exam_unchecked(exam, "the brokers cannot be asked; see brokers");
        return;
    }
    for (size_t g = 0; g < pipeline->group_count; g++) {
        struct error error = {0};
        int64_t unread = 0;
        size_t count = 0;
        for (size_t t = 0; t < pipeline->topic_count; t++)
            if (group_reads(&pipeline->groups[g], pipeline->topics[t]))
                standings[count++] = (struct bus_standing){.topic = pipeline->topics[t]->name};
        int code = -EAGAIN; /* a coordinator that has just heard of the group asks to come again */
        for (int times = 0; code == -EAGAIN && times < STATE_AGAIN; times++) {
            if (times > 0)
                sleep(1);
            error = (struct error){0};
            code = bus_standing(exam->bus, pipeline->groups[g].name, standings, count, 0, &error);
        }
        if (code != 0)
            exam_unchecked(exam, "group %s: %s", pipeline->groups[g].name, error.text);
        for (size_t t = 0; t < count; t++)
            unread += standings[t].unread;
        if (code == 0)
            say_lag(exam, pipeline->groups[g].name, unread, true);
    }
}

static void look_lag(struct exam *exam)
{
    if (exam->pipeline->bus.kind == BUS_CHOICE_KAFKA) {
        look_lag_of_kafka(exam);
        return;
    }
    const struct rows *rows = has_log(exam) ? exam_rows_of_groups(exam, &statement_lag) : NULL;
    for (size_t i = 0; rows != NULL && i < rows_count(rows); i++)
        say_lag(exam, exam_text(exam, rows, i, 0), rows_int64(rows, i, 1), rows_int64(rows, i, 2) > 0);
}

/* ----------------------------------------------------------------------------------------------- what waits, failed */

static const struct statement statement_outbox = {
    "select count(*) filter (where o.refused is null), count(o.refused), min(o.refused),"
    "       extract(epoch from clock_timestamp() - min(o.created_at))::int8 "
    "from sluice.outbox o where o.refused is not null or o.created_at < clock_timestamp() - interval '60 s'",
    false,
};

static void look_outbox(struct exam *exam)
{
    const struct rows *rows = exam_rows(exam, &statement_outbox, 0, NULL);
    if (rows == NULL)
        return;
    int64_t old = rows_int64(rows, 0, 0), refused = rows_int64(rows, 0, 1);
    if (refused > 0)
        exam_bad(exam, "remove the cause: it is tried again every half minute",
                 "the brokers refuse the outputs of %s: %s", exam_count(exam, refused, "transaction"),
                 exam_text(exam, rows, 0, 2));
    if (old > 0)
        exam_warns(exam, NULL, "the outputs of %s are not published; the oldest is %s old",
                   exam_count(exam, old, "transaction"), exam_duration(exam, rows_int64(rows, 0, 3)));
    if (old + refused == 0)
        exam_good(exam, "nothing waits for longer than %d s", STATE_OVERDUE_S);
}

static const struct statement statement_dead_letters = {
    "select count(*), extract(epoch from clock_timestamp() - min(d.at))::int8, mode() within group (order by d.reason)"
    "from (select o.at, o.reason from sluice.dead_letter o join sluice.name n on n.number = o.consumer_group"
    "      where o.state = 0 and n.kind = 'g' and n.name = any ($1) limit 100000) d",
    false,
};

static void look_dead_letters(struct exam *exam)
{
    const struct rows *rows = exam_rows_of_groups(exam, &statement_dead_letters);
    if (rows == NULL)
        return;
    int64_t count = rows_int64(rows, 0, 0);
    if (count == 0)
        exam_good(exam, "none is open");
    else
        exam_warns(exam, NULL, "%s%s open, the oldest for %s; most often %s", exam_count(exam, count, "dead letter"),
                   count == STATE_COUNT_MAX ? " or more" : "", exam_duration(exam, rows_int64(rows, 0, 1)),
                   exam_text(exam, rows, 0, 2));
}

static const struct statement statement_stuck = {
    "select n.name, count(*), min(c.correlation_text) from sluice.chain c join sluice.name n on n.number = c.chain "
    "where c.state = 3 and n.kind = 'c' and n.name = any ($1) group by n.name order by 1",
    false,
};

static void look_stuck(struct exam *exam)
{
    const struct pipeline *pipeline = exam->pipeline;
    struct span *names = arena_array(exam->arena, struct span, pipeline->chain_count + 1);
    for (size_t i = 0; i < pipeline->chain_count; i++)
        names[i] = span_of(pipeline->chains[i].name);
    struct store_param chains = STORE_ARRAY(PARAM_TEXT, names, pipeline->chain_count);
    const struct rows *rows = exam_rows(exam, &statement_stuck, 1, &chains);
    for (size_t i = 0; rows != NULL && i < rows_count(rows); i++) {
        const char *correlation = exam_text(exam, rows, i, 2);
        exam_bad(exam, NULL, "chain %s: the undo of %s failed for good: of '%s'%s", exam_text(exam, rows, i, 0),
                 exam_count(exam, rows_int64(rows, i, 1), "instance"), correlation,
                 rows_int64(rows, i, 1) > 1 ? " and others" : "");
    }
    if (rows != NULL && rows_count(rows) == 0)
        exam_good(exam, "no undo has failed for good");
}

static const struct statement statement_pauses = {
    "select p.kind, p.name, extract(epoch from clock_timestamp() - p.at)::int8, p.actor, coalesce(': ' || p.reason, '')"
    "from sluice.pause p where p.pipeline = $1 and coalesce(p.until, 'infinity') > now() "
    "order by p.at",
    false,
};

static void look_pauses(struct exam *exam)
{
    struct span name = span_of(exam->pipeline->name);
    struct store_param pipeline = STORE_VALUE(PARAM_TEXT, &name);
    const struct rows *rows = exam_rows(exam, &statement_pauses, 1, &pipeline);
    for (size_t i = 0; rows != NULL && i < rows_count(rows); i++) {
        const char *kind = exam_text(exam, rows, i, 0), *of = exam_text(exam, rows, i, 1);
        int64_t age_s = rows_int64(rows, i, 2);
        const char *since = exam_duration(exam, age_s), *why = exam_text(exam, rows, i, 4);
        const char *text = arena_format(exam->arena, "%s %s has been paused for %s by %s%s", kind, of, since,
                                        exam_text(exam, rows, i, 3), why);
        if (strcmp(kind, pause_kind_word(PAUSE_BREAKER)) == 0)
            exam_warns(exam,
                       arena_format(exam->arena,
                                    "mend what does not answer, and it closes by itself; when it answers again: "
                                    "`sluice resume %s %s:%s`",
                                    exam->config, kind, of),
                       "%s %s has been open for %s, and events that need it wait%s", kind, of, since, why);
        else if (age_s > STATE_PAUSE_S)
            exam_warns(exam, arena_format(exam->arena, "`sluice resume %s %s:%s`", exam->config, kind, of), "%s", text);
        else
            exam_good(exam, "%s", text);
    }
    if (rows != NULL && rows_count(rows) == 0)
        exam_good(exam, "nothing is paused");
}

static const struct statement statement_waiting = {
    "select count(*) filter (where p.state = 0), count(*) filter (where p.state = 2),"
    "       extract(epoch from clock_timestamp() - min(p.due) filter (where p.state = 0))::int8 "
    "from sluice.parked p join sluice.name n on n.number = p.consumer_group "
    "where n.kind = 'g' and n.name = any ($1)"
    "  and (p.state = 0 and p.due < clock_timestamp() - interval '60 s' or p.state = 2)",
    false,
};

static void look_delayed(struct exam *exam)
{
    const struct rows *rows = exam_rows_of_groups(exam, &statement_waiting);
    if (rows == NULL)
        return;
    int64_t overdue = rows_int64(rows, 0, 0), unknown = rows_int64(rows, 0, 1);
    if (overdue > 0)
        exam_bad(exam, NULL, "%s overdue, the first for %s", exam_count(exam, overdue, "delayed event"),
                 exam_duration(exam, rows_int64(rows, 0, 2)));
    if (unknown > 0)
        exam_warns(exam, "say in the file what becomes of them: `renamed:` or `retired:`; `sluice delayed list CONFIG`",
                   "%s for topics that the file does not have", exam_count(exam, unknown, "event"));
    if (overdue + unknown == 0)
        exam_good(exam, "nothing is overdue by %d s", STATE_OVERDUE_S);
}

static const struct statement statement_held = {
    "select count(*), coalesce(sum(k.events), 0)::int8,"
    "       extract(epoch from clock_timestamp() - min(coalesce(k.due, k.held_at)))::int8, min(k.reason) "
    "from sluice.held_key k join sluice.name n on n.number = k.consumer_group "
    "where n.kind = 'g' and n.name = any ($1) and coalesce(k.due, k.held_at) < clock_timestamp() - interval '60 s'",
    false,
};

static void look_held(struct exam *exam)
{
    const struct rows *rows = exam_rows_of_groups(exam, &statement_held);
    if (rows == NULL)
        return;
    int64_t keys = rows_int64(rows, 0, 0);
    if (keys == 0)
        exam_good(exam, "no key is overdue by %d s", STATE_OVERDUE_S);
    else
        exam_bad(exam, NULL, "%s with %s overdue, the first for %s: %s", exam_count(exam, keys, "held key"),
                 exam_count(exam, rows_int64(rows, 0, 1), "event"), exam_duration(exam, rows_int64(rows, 0, 2)),
                 exam_text(exam, rows, 0, 3));
}

static const struct statement statement_schedules = {
    "select n.name, extract(epoch from clock_timestamp() - s.at)::int8 "
    "from unnest($1, $2) want(name, age_ms) join sluice.name n on n.kind = 's' and n.name = want.name "
    "join sluice.schedule s on s.schedule = n.number "
    "where s.at < clock_timestamp() - want.age_ms * interval '1 ms'"
    "  and not exists (select from sluice.pause p where p.pipeline = $3 and p.kind = 'schedule' and p.name = n.name"
    "                  and coalesce(p.until, 'infinity') > now()) "
    "order by 1",
    false,
};

/* How old its last tick may be: three periods; since the last time that `cron` says, one minute ago. */
static int64_t most_age_ms(const struct schedule *schedule)
{
    int64_t now_ms = clock_wall_ms();
    if (schedule->every_ms == 0)
        return now_ms - cron_last_ms(&schedule->cron, schedule->zone, now_ms - STATE_OVERDUE_S * 1000);
    return 3 * schedule->every_ms > STATE_OVERDUE_S * 1000 ? 3 * schedule->every_ms : STATE_OVERDUE_S * 1000;
}

static void look_schedules(struct exam *exam)
{
    const struct pipeline *pipeline = exam->pipeline;
    struct span *names = arena_array(exam->arena, struct span, pipeline->schedule_count + 1);
    struct span name = span_of(pipeline->name);
    int64_t *ages_ms = arena_array(exam->arena, int64_t, pipeline->schedule_count + 1);
    for (size_t i = 0; i < pipeline->schedule_count; i++) {
        names[i] = span_of(pipeline->schedules[i].name);
        ages_ms[i] = most_age_ms(&pipeline->schedules[i]);
    }
    const struct store_param params[] = {STORE_ARRAY(PARAM_TEXT, names, pipeline->schedule_count),
                                         STORE_ARRAY(PARAM_INT8, ages_ms, pipeline->schedule_count),
                                         STORE_VALUE(PARAM_TEXT, &name)};
    const struct rows *rows = exam_rows(exam, &statement_schedules, 3, params);
    for (size_t i = 0; rows != NULL && i < rows_count(rows); i++)
        exam_warns(exam, NULL, "schedule %s has not ticked for %s", exam_text(exam, rows, i, 0),
                   exam_duration(exam, rows_int64(rows, i, 1)));
    if (rows != NULL && rows_count(rows) == 0)
        exam_good(exam, "each has ticked when it should, or never yet");
}

static const struct check checks[] = {
    {"migrations",
     "the database lacks a migration of this program or a plugin, has a newer one, or a changed one, or lost a table "
     "or "
     "column of it",
     "`sluice migrate CONFIG`", look_migrations},
    {"members",
     "a member of a group of the postgres bus has sent no heartbeat for 15 s: its process was killed or stands "
     "still, and no other one of the group has noticed",
     "start an engine, which takes over; end the process that stands still", look_members},
    {"leases", "partitions of the postgres bus that no running member of a group has for 2 s",
     "restart the engines of the group; the log of one says why it does not take them", look_leases},
    {"lag",
     "a group of the postgres bus has unread events and no running process; one of any bus is more than 100 000 events "
     "behind",
     "more lanes, partitions or processes (scaling.md); see whether a handler is slow (/metrics)", look_lag},
    {"outbox", "outputs that are committed and not published for 60 s, or that the brokers refuse",
     "look at the brokers checks; a running engine publishes them", look_outbox},
    {"dead_letters", "dead letters that nobody has decided about",
     "`sluice dead-letter list CONFIG`, then replay, edit or drop them", look_dead_letters},
    {"stuck_chains", "a chain whose undo has failed for good",
     "`sluice chain list CONFIG --state stuck`, then resume or "
     "close them",
     look_stuck},
    {"pauses", "a pause that is older than a day; a breaker that is open", "`sluice resume CONFIG NAME`", look_pauses},
    {"delayed_events", "delayed events that are overdue by 60 s; those of topics that the file does not have",
     "an engine must run with this file; `sluice explain CONFIG CORRELATION` says what one of them waits for",
     look_delayed},
    {"held_keys", "keys whose first event is overdue by 60 s, with everything behind it",
     "an engine must read their partitions: see members and leases; `sluice delayed list CONFIG`", look_held},
    {"schedules",
     "a schedule whose last tick is older than three of its periods, and than 60 s; one with `cron` that has missed "
     "its time by 60 s",
     "an engine must run with this file; its log says why a tick fails", look_schedules},
};
const struct checks state_checks = {"what waits and what failed", checks, sizeof checks / sizeof checks[0]};
