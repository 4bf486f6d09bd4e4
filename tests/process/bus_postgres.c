/*
 * bus_postgres.c - what only the postgres bus promises: transactions, fences, takeover from the dead. Its log is in
 * bus_log.c.
 *
 *   bus_postgres postgres URL [TEST]     the database must have the engine's schema and be nobody else's
 */
#include "bus_harness.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* ---------------------------------------------------------------------------------- nothing is lost between commits */

enum { APPENDERS = 8, TRANSACTIONS = 60 };

struct appender {
    pthread_t thread;
    struct harness *harness;
    const char *topic;
    unsigned random;
    int number;
    int committed; /* values 0 … committed - 1 of the key are in the log */
};

static void *appender_run(void *context)
{
    struct appender *appender = context;
    struct bus *bus = appender->harness->bus;
    struct connection *connection = sql_open(appender->harness);
    static const struct statement touch = {.text = "select pg_current_xact_id()"};
    static const struct statement rename = {.text = "set local application_name = 'somebody'"};
    char key[24];
    snprintf(key, sizeof key, "a%d", appender->number);
    for (int i = 0; i < TRANSACTIONS; i++) {
        struct error error = {0};
        struct rows *rows;
        char values[3][64];
        struct record records[3];
        int count = 1 + (int)(rand_r(&appender->random) % 3);
        bool rolled_back = rand_r(&appender->random) % 5 == 0;
        for (int r = 0; r < count; r++) {
            snprintf(values[r], sizeof values[r], "%s:%d", key, rolled_back ? 1000000 : appender->committed + r);
            records[r] = (struct record){
                .topic = span_of(appender->topic), .key = span_of(key), .value = span_of(values[r])};
        }
        CHECK(connection_begin(connection, clock_monotonic_ms() + 20000, &error) == STORE_OK, "%s", error.text);
        /* Its number first, then a while, then its rows, then a while, then its end: numbers, rows and commits of
         * the appenders interleave. */
        CHECK(connection_exec(connection, &touch, 0, NULL, &rows, &error) == STORE_OK, "%s", error.text);
        /* As a plugin's function may: it is an engine's transaction all the same. */
        CHECK(connection_exec(connection, &rename, 0, NULL, &rows, &error) == STORE_OK, "%s", error.text);
        usleep(rand_r(&appender->random) % 30000);
        CHECK(bus_append(bus, connection, records, (size_t)count, &error) == STORE_OK, "%s", error.text);
        CHECK(connection_exec(connection, &touch, 0, NULL, &rows, &error) == STORE_OK, "%s", error.text);
        usleep(rand_r(&appender->random) % 8000);
        if (rolled_back) {
            connection_rollback(connection);
            continue;
        }
        CHECK(connection_commit(connection, &error) == STORE_OK, "%s", error.text);
        bus_published(bus);
        appender->committed += count;
    }
    connection_destroy(connection);
    return NULL;
}

static void test_interleaved(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "interleaved"), *group = name_of("interleaved", "group");
    struct appender appenders[APPENDERS];
    struct reader reader = reader_open(harness->bus, group, topic);
    reader.commits = true; /* positions move on, past whatever was overlooked */
    reader_until_streams(&reader, PARTITIONS);
    const char *seed = getenv("SLUICE_SEED");
    for (int i = 0; i < APPENDERS; i++) {
        appenders[i] = (struct appender){.harness = harness,
                                         .topic = topic,
                                         .number = i,
                                         .random = (unsigned)(seed == NULL ? 1 : atoi(seed)) * 100 + (unsigned)i};
        pthread_create(&appenders[i].thread, NULL, appender_run, &appenders[i]);
    }
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
    size_t committed = 0;
    for (int i = 0; i < APPENDERS; i++) {
        while (pthread_tryjoin_np(appenders[i].thread, NULL) != 0) {
            CHECK(clock_monotonic_ms() < until_ms, "the appenders do not end");
            reader_poll(&reader, 2);
        }
        committed += (size_t)appenders[i].committed;
    }
    reader_until(&reader, committed);
    for (int i = 0; i < 5; i++)
        reader_poll(&reader, 20);
    CHECK(reader.count == committed, "%zu records came, %zu were committed", reader.count, committed);
    for (int i = 0; i < APPENDERS; i++) {
        char key[16];
        snprintf(key, sizeof key, "a%d", i);
        check_key(&reader, key, 0, appenders[i].committed);
    }
    reader_close(&reader);
}

/* A transaction of another program holds back nothing, for as long as it is open: one that has written, one of another
 * database, one that is prepared. */
static void test_strangers(void **state)
{
    static const struct statement write = {.text = "create temporary table written ()"};
    static const struct statement lock = {.text = "select pg_current_xact_id()"};
    static const struct statement prepare = {.text = "prepare transaction 'stranger'"};
    static const struct {
        const char *database; /* NULL: the engine's */
        const struct statement *statements[2];
    } kinds[] = {{NULL, {&write}}, {"postgres", {&write}}, {NULL, {&lock, &prepare}}};
    enum { KINDS = sizeof kinds / sizeof kinds[0], EVENTS = 10 };
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "strangers");
    struct reader reader = reader_open(harness->bus, name_of("strangers", "group"), topic);
    struct connection *own = sql_open(harness);
    reader_until_streams(&reader, PARTITIONS);
    for (int kind = 0; kind < KINDS; kind++) {
        char *url = kinds[kind].database == NULL ? strdup(harness->url)
                                                 : store_url_of(harness->url, kinds[kind].database, NULL);
        struct store *store = NULL;
        struct error error = {0};
        CHECK(store_open(&(struct store_options){.url = url, .application = "stranger"}, &store, &error) == 0, "%s",
              error.text);
        struct connection *stranger = connection_create(store, NULL);
        CHECK(connection_begin(stranger, clock_monotonic_ms() + 60000, &error) == STORE_OK, "%s", error.text);
        for (int i = 0; i < 2 && kinds[kind].statements[i] != NULL; i++) {
            struct rows *rows;
            bool ends = kinds[kind].statements[i] == &prepare; /* the store takes that for an accident */
            CHECK((connection_exec(stranger, kinds[kind].statements[i], 0, NULL, &rows, &error) == STORE_OK) != ends,
                  "%s", error.text);
        }
        publish(harness->bus, topic, "s", kind * EVENTS, EVENTS);
        reader_until(&reader, (size_t)(kind + 1) * EVENTS);
        connection_destroy(stranger);
        store_close(store);
        free(url);
    }
    CHECK(sql(own, "select count(*) from pg_prepared_xacts") == 1, "the last one was not prepared");
    (void)sql(own, "rollback prepared 'stranger'");
    check_key(&reader, "s", 0, KINDS * EVENTS);
    connection_destroy(own);
    reader_close(&reader);
}

/* A transaction of an engine that stays open holds back what is read, and loses nothing; the reader must not spin
 * meanwhile. */
static void test_horizon(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "horizon");
    struct reader reader = reader_open(harness->bus, name_of("horizon", "group"), topic);
    reader_until_streams(&reader, PARTITIONS);
    struct connection *holder = sql_open(harness);
    static const struct statement touch = {.text = "select pg_current_xact_id()"};
    struct error error = {0};
    struct rows *rows;
    CHECK(connection_begin(holder, clock_monotonic_ms() + 20000, &error) == STORE_OK, "%s", error.text);
    CHECK(connection_exec(holder, &touch, 0, NULL, &rows, &error) == STORE_OK, "%s", error.text);
    publish(harness->bus, topic, "h", 0, 10);
    struct series *trips = metrics_series(harness->metrics, METRIC_ROUND_TRIPS, "", "");
    int64_t before = series_value(trips);
    for (int i = 0; i < 10; i++)
        reader_poll(&reader, 50);
    CHECK(reader.count == 0, "%zu records were read past a running transaction", reader.count);
    CHECK(series_value(trips) - before < 60, "%lld round trips in half a second of waiting",
          (long long)(series_value(trips) - before));
    connection_rollback(holder);
    int64_t began_ms = clock_monotonic_ms();
    reader_until(&reader, 10);
    CHECK(clock_monotonic_ms() - began_ms < 300, "it took %lld ms to see that the transaction ended",
          (long long)(clock_monotonic_ms() - began_ms));
    check_key(&reader, "h", 0, 10);
    connection_destroy(holder);
    reader_close(&reader);
}

/* ---------------------------------------------------------------------------------------------- death and the fence */

/* A reader in another process. It writes "ready" to its output once it has its share, and goes on until it is
 * killed. */
static _Noreturn void child_run(const char *url, const char *group, const char *topic)
{
    struct harness harness = {.kind = "postgres", .url = url};
    harness_open(&harness);
    struct reader reader = reader_open(harness.bus, group, topic);
    bool told = false;
    for (;;) {
        reader_poll(&reader, 50);
        if (!told && reader_streams(&reader) == PARTITIONS / 2) {
            told = write(STDOUT_FILENO, "ready\n", 6) == 6;
        }
    }
}

struct child {
    pid_t pid;
    int out;
};

static struct child child_start(struct harness *harness, const char *group, const char *topic)
{
    int pipes[2];
    CHECK(pipe(pipes) == 0, "no pipe");
    struct child child = {.pid = fork(), .out = pipes[0]};
    CHECK(child.pid >= 0, "cannot fork");
    if (child.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(pipes[1], STDOUT_FILENO);
        execl(harness->self, harness->self, "child", harness->url, group, topic, (char *)NULL);
        _exit(127);
    }
    close(pipes[1]);
    return child;
}

static void child_kill(struct child *child)
{
    kill(child->pid, SIGKILL);
    waitpid(child->pid, NULL, 0);
    close(child->out);
}

/* A reader here and one in a child, half of the streams each. */
static struct child share_with_child(struct harness *harness, struct reader *reader, const char *group,
                                     const char *topic)
{
    *reader = reader_open(harness->bus, group, topic);
    reader_until_streams(reader, PARTITIONS);
    struct child child = child_start(harness, group, topic);
    reader_until_streams(reader, PARTITIONS / 2);
    struct timeval timeout = {.tv_sec = 0};
    for (int64_t until_ms = clock_monotonic_ms() + WAIT_MS;;) {
        CHECK(clock_monotonic_ms() < until_ms, "the child does not get its share");
        fd_set set;
        FD_ZERO(&set);
        FD_SET(child.out, &set);
        if (select(child.out + 1, &set, NULL, NULL, &timeout) == 1)
            return child;
        reader_poll(reader, 20);
    }
}

static void test_killed(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "killed"), *group = name_of("killed", "group");
    struct reader reader;
    struct child child = share_with_child(harness, &reader, group, topic);
    int64_t began_ms = clock_monotonic_ms();
    child_kill(&child);
    reader_until_streams(&reader, PARTITIONS);
    int64_t took_ms = clock_monotonic_ms() - began_ms;
    CHECK(took_ms < 2000, "taking over from a killed peer took %lld ms", (long long)took_ms);
    printf("# taken over after %lld ms\n", (long long)took_ms);
    reader_close(&reader);
}

static void test_frozen(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "frozen"), *group = name_of("frozen", "group");
    struct connection *connection = sql_open(harness);
    struct reader reader;
    struct child child = share_with_child(harness, &reader, group, topic);
    kill(child.pid, SIGSTOP);
    int64_t began_ms = clock_monotonic_ms();
    reader_until_streams(&reader, PARTITIONS);
    int64_t took_ms = clock_monotonic_ms() - began_ms;
    CHECK(took_ms > 7000, "a peer that was silent for %lld ms only was declared dead, though its session is there",
          (long long)took_ms);
    kill(child.pid, SIGCONT); /* it learns of its loss, joins anew, and gets a share again */
    reader_until_streams(&reader, PARTITIONS / 2);
    for (int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
         sql_group(connection, "select count(distinct member) from sluice.bus_lease where consumer_group = $1",
                   group) != 2;) {
        CHECK(clock_monotonic_ms() < until_ms, "the child holds nothing after it woke");
        reader_poll(&reader, 20);
    }
    child_kill(&child);
    connection_destroy(connection);
    reader_close(&reader);
}

static void test_fenced(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "fenced"), *group = name_of("fenced", "group");
    struct connection *connection = sql_open(harness);
    publish(harness->bus, topic, "f", 0, 20);
    struct reader reader = reader_open(harness->bus, group, topic);
    reader_until(&reader, 20);
    int64_t member = bus_member(harness->bus, reader.consumer);
    CHECK(member > 0, "the member is %lld", (long long)member);
    CHECK(sql(connection, "select 1") == 1 &&
              sql_group(connection, "select max(id) from sluice.bus_member where consumer_group = $1", group) == member,
          "the member has no row");
    /* Peers remove it while it holds records. */
    sql_group(connection, "select sluice.bus_leave($1, (select id from sluice.bus_member where consumer_group = $1))",
              group);
    int64_t before = sql_group(connection, "select sum(high)::int8 from sluice.bus_lease where consumer_group = $1",
                               group);
    (void)reader_commit(&reader);
    CHECK(sql_group(connection, "select sum(high)::int8 from sluice.bus_lease where consumer_group = $1", group) ==
              before,
          "a removed member moved its positions");
    for (int64_t until_ms = clock_monotonic_ms() + WAIT_MS; reader.losses == 0;) {
        CHECK(clock_monotonic_ms() < until_ms, "it never hears of its loss");
        reader_poll(&reader, 50);
        CHECK(reader.losses > 0 || bus_member(harness->bus, reader.consumer) == member,
              "a new member before the loss was told");
    }
    reader_until_streams(&reader, PARTITIONS);
    CHECK(bus_member(harness->bus, reader.consumer) > member, "it did not join again");
    reader_until(&reader, 40); /* all again */
    CHECK(reader.got[20].epoch > reader.got[0].epoch, "the epoch did not rise");
    connection_destroy(connection);
    reader_close(&reader);
}

/* While a transaction of an expired member runs, nobody takes over: it holds the member's row FOR KEY SHARE. */
static void test_fence_waits(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "fence_waits"), *group = name_of("fence_waits", "group");
    struct reader reader;
    struct child child = share_with_child(harness, &reader, group, topic);
    struct connection *holder = sql_open(harness), *other = sql_open(harness);
    struct error error = {0};
    struct rows *rows;
    int64_t mine = bus_member(harness->bus, reader.consumer);
    struct span name = span_of(group);
    struct statement hold = {
        .text = "select id from sluice.bus_member where consumer_group = $1 and id <> $2 for key share"};
    struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &name), STORE_VALUE(PARAM_INT8, &mine)};
    CHECK(connection_begin(holder, clock_monotonic_ms() + 20000, &error) == STORE_OK, "%s", error.text);
    CHECK(connection_exec(holder, &hold, 2, params, &rows, &error) == STORE_OK && rows_count(rows) == 1, "%s",
          error.text);
    child_kill(&child);
    for (int64_t until_ms = clock_monotonic_ms() + 2500; clock_monotonic_ms() < until_ms;)
        reader_poll(&reader, 50);
    CHECK(reader_streams(&reader) == PARTITIONS / 2,
          "streams were taken over while a transaction of the dead could still commit");
    CHECK(reader.losses == 0, "waiting for the dead killed the living");
    connection_rollback(holder);
    reader_until_streams(&reader, PARTITIONS);
    connection_destroy(holder);
    connection_destroy(other);
    reader_close(&reader);
}

static void test_cut(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "cut"), *group = name_of("cut", "group");
    struct connection *connection = sql_open(harness);
    struct reader reader = reader_open(harness->bus, group, topic), peer = reader_open(harness->bus, group, topic);
    readers_until_streams(&reader, PARTITIONS / 2, &peer, PARTITIONS / 2);
    int64_t members[] = {bus_member(harness->bus, reader.consumer), bus_member(harness->bus, peer.consumer)};
    sql_group(connection,
              "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like '%' || $1",
              group);
    publish(harness->bus, topic, "c", 0, 50);
    for (int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
         got_times(&reader, "c", 49) + got_times(&peer, "c", 49) == 0;) {
        CHECK(clock_monotonic_ms() < until_ms, "only %zu of 50 came after the connections were cut",
              reader.count + peer.count);
        reader_poll(&reader, 10);
        reader_poll(&peer, 10);
    }
    for (int i = 0; i < 50; i++) {
        reader_poll(&reader, 20);
        reader_poll(&peer, 20);
    }
    CHECK(sql(connection, "select count(*) from sluice.bus_member m where not exists (select from pg_locks l"
                          " where l.locktype = 'advisory' and l.classid = 1398491698 and l.objid = m.id)") == 0,
          "a member has no session after the reconnect");
    CHECK(bus_member(harness->bus, reader.consumer) == members[0] &&
              bus_member(harness->bus, peer.consumer) == members[1],
          "a short cut of the connection cost the membership");
    CHECK(reader_streams(&reader) == PARTITIONS / 2 && reader_streams(&peer) == PARTITIONS / 2, "the shares moved");
    connection_destroy(connection);
    reader_close(&reader);
    reader_close(&peer);
}

/* -------------------------------------------------------------------------------------------------- processes, cost */

static void test_notify(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "notify");
    struct bus *other = harness_bus(harness, 3600 * 1000); /* an instance of its own: to the first, another process */
    struct reader reader = reader_open(harness->bus, name_of("notify", "group"), topic);
    struct reader busy = reader_open(other, name_of("notify", "other"), topic);
    reader_until_streams(&reader, PARTITIONS);
    reader_until_streams(&busy, PARTITIONS);
    for (int round = 0; round < 2; round++) {
        int64_t worst_ms = 0;
        for (int i = 0; i < 5; i++) {
            while (reader_poll(&reader, 0) != 0)
                ;
            int64_t began_ms = clock_monotonic_ms();
            size_t count = reader.count;
            publish(other, topic, "n", (int)count, 1);
            for (int64_t until_ms = clock_monotonic_ms() + WAIT_MS; reader.count <= count;) {
                CHECK(clock_monotonic_ms() < until_ms, "another process never heard");
                if (round == 0)
                    reader_poll(&busy, 2); /* it sends the NOTIFY for its process */
                reader_poll(&reader, 20);
            }
            worst_ms = clock_monotonic_ms() - began_ms > worst_ms ? clock_monotonic_ms() - began_ms : worst_ms;
        }
        CHECK(worst_ms < 300, "another process heard of news after %lld ms (round %d)", (long long)worst_ms, round);
        if (round == 0)
            reader_close(&busy); /* from now on nobody there could send it: the transaction does */
    }
    reader_close(&reader);
    bus_close(other);
}

static void test_idle(void **state)
{
    struct harness *harness = *state;
    const char *topic = topic_of(harness, "idle");
    struct reader reader = reader_open(harness->bus, name_of("idle", "group"), topic);
    reader_until_streams(&reader, PARTITIONS);
    struct series *trips = metrics_series(harness->metrics, METRIC_ROUND_TRIPS, "", "");
    reader_poll(&reader, 300);
    int64_t before = series_value(trips);
    struct timespec cpu_before, cpu;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu_before);
    for (int64_t until_ms = clock_monotonic_ms() + 3000; clock_monotonic_ms() < until_ms;)
        reader_poll(&reader, 1000);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    int64_t count = series_value(trips) - before;
    int64_t cpu_us = (cpu.tv_sec - cpu_before.tv_sec) * 1000000 + (cpu.tv_nsec - cpu_before.tv_nsec) / 1000;
    printf("# idle: %lld round trips and %lld us of CPU in 3 s\n", (long long)count, (long long)cpu_us);
    CHECK(count <= 12, "%lld round trips in 3 s of doing nothing", (long long)count);
    reader_close(&reader);
}

static const struct CMUnitTest tests[] = {
    BUS_TEST(interleaved), BUS_TEST(horizon), BUS_TEST(strangers), BUS_TEST(killed), BUS_TEST(fenced),
    BUS_TEST(fence_waits), BUS_TEST(cut),     BUS_TEST(notify),    BUS_TEST(idle),   BUS_TEST(frozen),
};

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "child") == 0)
        child_run(argv[2], argv[3], argv[4]);
    return run_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
