/*
 * payment_database.h - a PostgreSQL of a test's own with the tables of payment and reservation, for the tests of
 * both plugins.
 *
 * Runs from the top of the tree. The server stops with the test, however that ends: a child waits for it.
 */
#ifndef SLUICE_TESTS_PAYMENT_DATABASE_H
#define SLUICE_TESTS_PAYMENT_DATABASE_H

#include "plugin_test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

static struct {
    char folder[64];
    char url[256];
    pid_t watcher;
    int alive; /* our end of the pipe that the watcher reads */
} database = {.folder = "/tmp/sluice-payment-XXXXXX"};

static inline void payment_database_run(const char *command)
{
    if (system(command) != 0)
        fake_die("failed: %s", command);
}

/* Reads until the test is gone, then stops the server and removes its folder. */
static inline void payment_database_watch(const char *folder, int from)
{
    char command[256], byte;
    setsid();
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    while (read(from, &byte, 1) > 0)
        continue;
    snprintf(command, sizeof command, "tests/lib/private_postgres stop %s >/dev/null 2>&1; rm -rf %s", folder, folder);
    _exit(system(command) == 0 ? 0 : 1);
}

/* The setup of a group of tests. */
static inline int payment_database_start(void **state)
{
    (void)state;
    char command[1024];
    int ends[2];
    if (mkdtemp(database.folder) == NULL || pipe2(ends, O_CLOEXEC) != 0) /* the server must not hold our end */
        fake_die("cannot make a folder for the database");
    database.watcher = fork();
    if (database.watcher == 0) {
        close(ends[1]);
        payment_database_watch(database.folder, ends[0]);
    }
    close(ends[0]);
    database.alive = ends[1];
    snprintf(command, sizeof command, "tests/lib/private_postgres start %s", database.folder);
    FILE *out = popen(command, "re");
    if (out == NULL || fgets(database.url, sizeof database.url, out) == NULL || pclose(out) != 0)
        fake_die("failed: %s", command);
    database.url[strcspn(database.url, "\n")] = '\0';
    static const char *const files[] = {"payment/sql/0001_payment", "payment/sql/0002_follow",
                                        "reservation/sql/0001_reservation"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(command, sizeof command, "psql -X -q -v ON_ERROR_STOP=1 --single-transaction -d %s -f plugins/%s.sql",
                 database.url, files[i]);
        payment_database_run(command);
    }
    return 0;
}

static inline int payment_database_stop(void **state)
{
    (void)state;
    close(database.alive);
    waitpid(database.watcher, NULL, 0);
    return 0;
}

/* What a query says, or the end of the test with both sides. */
static inline void payment_expect(struct fake_host *host, const char *sql, const char *wanted)
{
    const char *got = fake_sql(host, sql);
    if (strcmp(got, wanted) != 0)
        fake_die("%s\n  wanted: %s\n  got:    %s", sql, wanted, got);
}

#endif
