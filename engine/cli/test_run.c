/*
 * test_run.c - a run of `sluice test`: files of flow tests, one test after the other.
 *
 * Each test runs in a child process, whose clocks stand still: a plugin that crashes or hangs costs its test and
 * nothing else. What the child says goes into a file in memory, which is printed when the test fails.
 */
#include "cli/test.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "cli/test_parts.h"
#include "cli/test_report.h"
#include "flowtest/coverage.h"
#include "flowtest/database.h"
#include "flowtest/drive.h"
#include "flowtest/perform.h"
#include "flowtest/server.h"
#include "store/migrate.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

volatile sig_atomic_t test_interrupted;

enum {
    TEST_SECONDS_MAX = 60, /* real ones: a handler that does not return, a database that does not answer */
    TEST_PROBLEMS_MAX = 1024 * 1024,
    TEST_ARENA_MAX = 64 * 1024 * 1024,
    TEST_REPORT_MAX = 256 * 1024 * 1024,
    TEST_NOTE_MAX = 8192, /* a line */
    TEST_URL_MAX = 256,
};

struct suite { /* a file, and what its tests start from */
    struct flow_file file;
    struct test_parts parts;
};

struct tests {
    struct arena *arena;
    const struct test_options *options;
    int told; /* see tests_run() */
    struct buffer report;
    struct suite *suites;
    size_t suite_count, total, passed, failed;
    struct coverage *coverage; /* NULL: nobody asks */
    struct map *warned;        /* warnings and notes, each once */
    struct server *server;
    struct databases *databases;
    int64_t server_ms; /* how long its start took */
};

struct outcome {
    int status; /* of the process that ran last */
    size_t crashes;
};

/* ------------------------------------------------------------------------------------------------------- the files */

static int print_problems(const struct problems *problems)
{
    struct buffer text;
    if (problems->errors == 0)
        return CLI_OK;
    buffer_init(&text, TEST_PROBLEMS_MAX);
    problems_print(problems, false, &text);
    (void)buffer_write(&text, stderr);
    buffer_free(&text);
    return CLI_CONFIG;
}

/* To whoever watches: what the file depends on. */
static void tell_files(const struct tests *tests, const struct suite *suite)
{
    const struct parts *parts = &suite->parts.parts;
    size_t number = (size_t)(suite - tests->suites);
    if (tests->told < 0)
        return;
    dprintf(tests->told, "file %zu %s\n", number, suite->file.pipeline);
    for (size_t i = 0; i < suite->file.count; i++)
        for (size_t s = 0; s < suite->file.flows[i].step_count; s++)
            if (suite->file.flows[i].steps[s].file != NULL)
                dprintf(tests->told, "file %zu %s\n", number, suite->file.flows[i].steps[s].file);
    for (size_t i = 0; i < parts->pipeline->plugin_count; i++) {
        const struct plugin_ref *ref = &parts->pipeline->plugins[i];
        const char *folder = parts_migrations_folder(parts, ref);
        dprintf(tests->told, "file %zu %s\n", number, ref->path == NULL ? ref->library : ref->path);
        if (folder != NULL)
            dprintf(tests->told, "file %zu %s\n", number, folder);
    }
}

static int open_suite(struct tests *tests, const char *path, struct suite *suite)
{
    struct problems problems;
    problems_init(&problems, tests->arena);
    if (!flow_read(path, tests->arena, &problems, &suite->file)) {
        problems_sort(&problems);
        return print_problems(&problems);
    }
    suite->parts.file = &suite->file;
    test_parts_read(&suite->parts, tests->options->buses, &problems);
    tell_files(tests, suite);
    int code = print_problems(&suite->parts.parts.reading.problems);
    return code == CLI_OK ? print_problems(&problems) : code;
}

/* ---------------------------------------------------------------------------------------------------------- a test */

/* Asks who watches for the url of one. False: there is none, and who was asked has said why. */
static bool ask_server(int told, char ret_url[TEST_URL_MAX])
{
    size_t length = 0;
    ssize_t got = 1;
    dprintf(told, "server\n");
    while (length < TEST_URL_MAX - 1 && got == 1 && (got = read(told, ret_url + length, 1)) == 1 &&
           ret_url[length] != '\n')
        length++;
    ret_url[length] = '\0';
    return length > 0;
}

/* The server, once; then the template of the file's databases. */
static int open_databases(struct tests *tests, struct suite *suite, const char *url)
{
    struct error error = {0};
    struct parts *parts = &suite->parts.parts;
    char watched[TEST_URL_MAX];
    if (!parts->pipeline->store.present)
        return CLI_OK;
    int64_t began_ms = clock_monotonic_ms();
    int code = 0;
    if (tests->databases == NULL && url == NULL && tests->told >= 0) {
        if (!ask_server(tests->told, watched))
            return CLI_FAILED;
        url = watched;
    }
    if (tests->databases == NULL && url == NULL && (code = server_start(&tests->server, &error)) == 0)
        url = server_url(tests->server);
    if (code == 0 && tests->databases == NULL)
        code = databases_open(url, &tests->databases, &error);
    if (code == 0)
        code = parts_migrations(parts, &error);
    if (code == 0)
        code = databases_template(tests->databases, parts->migrations, FLOW_BEGINS_MS, stderr, &error);
    tests->server_ms += clock_monotonic_ms() - began_ms;
    return code == 0 ? CLI_OK : cli_failed_with(suite->file.path, &error);
}

/* In the child. */
static bool run_test(struct suite *suite, const struct flow *flow, const char *url, const struct repetition *repetition,
                     FILE *out)
{
    struct drive_parts parts;
    struct error error = {0};
    log_set_level(LOG_WARN);
    log_set_json(0);
    if (test_parts_open(&suite->parts, url, &parts, &error) != 0) {
        fprintf(out, "    %s\n", error.text);
        return false;
    }
    return flow_perform(&suite->file, flow, &parts, repetition, out);
}

static void print_said(int said)
{
    char bytes[4096];
    (void)lseek(said, 0, SEEK_SET);
    for (ssize_t length; (length = read(said, bytes, sizeof bytes)) > 0;)
        fwrite(bytes, 1, (size_t)length, stdout);
}

/* How the child ended, when it was not by itself. */
static void print_end(int status)
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        printf("    it did not end within %d s: a handler that does not return, or a database that does not answer\n",
               TEST_SECONDS_MAX);
    else if (WIFSIGNALED(status))
        printf("    its process ended by signal %d (%s): a plugin crashed\n", WTERMSIG(status),
               strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) > 1)
        printf("    its process ended with exit code %d\n", WEXITSTATUS(status));
}

static int begin_test(struct suite *suite, const struct flow *flow, const char *url,
                      const struct repetition *repetition, int said, pid_t *ret)
{
    fflush(stdout);
    fflush(stderr);
    *ret = fork();
    if (*ret != 0)
        return *ret < 0 ? -errno : 0;
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    (void)alarm(TEST_SECONDS_MAX);
    if (dup2(said, STDOUT_FILENO) < 0 || dup2(said, STDERR_FILENO) < 0)
        _exit(2);
    if (repetition->place != NULL)
        printf("    with a crash at %s, reach %zu\n", repetition->place->failpoint, repetition->place->reach);
    bool good = run_test(suite, flow, url, repetition, stdout);
    if (repetition->notes != NULL)
        fflush(repetition->notes);
    log_flush();
    fflush(stdout);
    _exit(good ? 0 : 1);
}

static void progress(const struct tests *tests, const char *name)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K%zu/%zu %s%s", tests->passed + tests->failed + 1, tests->total, name,
                name[0] == '\0' ? "\r\033[K" : "");
}

/* Once, from a fresh database to its end, in a process of its own. `more`: it is not the last one of its file. */
static int run_once(struct tests *tests, struct suite *suite, const struct flow *flow,
                    const struct repetition *repetition, bool more, int said, int *ret_status)
{
    const char *url = NULL;
    struct error error = {0};
    pid_t child = -1;
    int code = 0;
    if (suite->parts.parts.pipeline->store.present)
        code = databases_fresh(tests->databases, &url, &error);
    if (code == 0 && (code = begin_test(suite, flow, url, repetition, said, &child)) != 0)
        error_set(&error, -code, "no process for the test: %s", strerror(-code));
    if (code != 0)
        return cli_failed_with(suite->file.path, &error);
    if (url != NULL)
        databases_ahead(tests->databases, more);
    do
        if (test_interrupted != 0)
            (void)kill(child, SIGKILL);
    while (waitpid(child, ret_status, 0) < 0 && errno == EINTR);
    return CLI_OK;
}

static bool is_good(int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Of a line "place FAILPOINT REACH", which it cuts. */
static bool read_place(char *line, struct crash_place *ret)
{
    static const char begin[] = "place ";
    char *name = line + strlen(begin), *space;
    if (strncmp(line, begin, strlen(begin)) != 0 || (space = strchr(name, ' ')) == NULL)
        return false;
    *space = '\0';
    *ret = (struct crash_place){name, strtoul(space + 1, NULL, 10)};
    return ret->reach > 0;
}

static void warn_once(struct tests *tests, const struct suite *suite, const char *line)
{
    struct span text = span_of(line);
    if (map_get(tests->warned, text) == NULL) {
        map_set(tests->warned, arena_span(tests->arena, text), tests);
        fprintf(stderr, "%s: %s", suite->file.path, line);
    }
}

/* What the test has noted; how many places are among it. */
static size_t read_notes(struct tests *tests, const struct suite *suite, FILE *notes)
{
    char line[TEST_NOTE_MAX];
    struct crash_place place;
    size_t places = 0;
    rewind(notes);
    while (fgets(line, sizeof line, notes) != NULL) {
        if (tests->coverage != NULL)
            coverage_read(tests->coverage, line);
        if (strncmp(line, "warning: ", 9) == 0)
            warn_once(tests, suite, line);
        places += read_place(line, &place);
    }
    rewind(notes);
    return places;
}

/* Again with a crash at each of the places, up to the first that has another end. */
static int repeat(struct tests *tests, struct suite *suite, const struct flow *flow, FILE *notes, bool more, int said,
                  struct outcome *outcome)
{
    char line[TEST_NOTE_MAX];
    struct crash_place place;
    const struct repetition repetition = {.place = &place};
    size_t count = read_notes(tests, suite, notes);
    int code = CLI_OK;
    while (code == CLI_OK && is_good(outcome->status) && test_interrupted == 0 && outcome->crashes < count &&
           fgets(line, sizeof line, notes) != NULL) {
        if (!read_place(line, &place))
            continue;
        outcome->crashes++;
        code = ftruncate(said, 0) == 0 && lseek(said, 0, SEEK_SET) == 0
                   ? run_once(tests, suite, flow, &repetition, more || outcome->crashes < count, said, &outcome->status)
                   : CLI_FAILED;
    }
    return code;
}

static int run_whole(struct tests *tests, struct suite *suite, const struct flow *flow, bool more, int said,
                     struct outcome *outcome)
{
    struct error error = {0};
    struct repetition first = {.coverage = tests->coverage != NULL};
    if ((first.notes = tmpfile()) == NULL) {
        error_set(&error, errno, "no file for what the test notes: %s", strerror(errno));
        return cli_failed_with(suite->file.path, &error);
    }
    int code = run_once(tests, suite, flow, &first, more || flow->everywhere, said, &outcome->status);
    if (code == CLI_OK)
        code = repeat(tests, suite, flow, first.notes, more, said, outcome);
    fclose(first.notes);
    return code;
}

static void print_outcome(const struct suite *suite, const struct flow *flow, const struct outcome *outcome,
                          int64_t took_ms)
{
    printf("%s  %s: %s (%lld ms", is_good(outcome->status) ? "ok  " : "FAIL", suite->file.path, flow->name,
           (long long)took_ms);
    if (flow->everywhere)
        printf(", %zu crashes", outcome->crashes);
    printf(")\n");
}

/* `more`: it is not the last one of its file. */
static int test_one(struct tests *tests, struct suite *suite, const struct flow *flow, bool more)
{
    struct error error = {0};
    struct outcome outcome = {0};
    int said = memfd_create("sluice test", MFD_CLOEXEC);
    int64_t began_ms = clock_monotonic_ms();
    progress(tests, flow->name);
    if (said < 0) {
        error_set(&error, errno, "no file in memory: %s", strerror(errno));
        return cli_failed_with(suite->file.path, &error);
    }
    int code = run_whole(tests, suite, flow, more, said, &outcome);
    if (code != CLI_OK) {
        close(said);
        return code;
    }
    bool good = is_good(outcome.status);
    tests->passed += good;
    tests->failed += !good;
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
    int64_t took_ms = clock_monotonic_ms() - began_ms;
    if (tests->options->junit != NULL)
        report_test(&tests->report, suite->file.path, flow, took_ms, said, good);
    print_outcome(suite, flow, &outcome, took_ms);
    if (!good) {
        print_said(said);
        print_end(outcome.status);
    }
    close(said);
    return CLI_OK;
}

static bool is_wanted(const struct tests *tests, const struct flow *flow)
{
    return tests->options->filter == NULL || strstr(flow->name, tests->options->filter) != NULL;
}

/* What the pipeline says of a plugin and its tests do without. */
static void note_isolation(struct tests *tests, const struct suite *suite)
{
    const struct pipeline *pipeline = suite->parts.parts.pipeline;
    for (size_t i = 0; i < pipeline->plugin_count; i++)
        if (pipeline->plugins[i].isolation == ISOLATION_PROCESS)
            warn_once(
                tests, suite,
                arena_format(tests->arena,
                             "note: plugin '%s' runs in the process of the test, though %s says `isolation: "
                             "process`: flow tests have no process for each plugin, so its limits (memory, cpu, exec, "
                             "sockets) are not kept here, and a crash fails the test\n",
                             pipeline->plugins[i].name, suite->file.pipeline));
}

static int test_suite(struct tests *tests, struct suite *suite, const char *url)
{
    int code = CLI_OK;
    size_t wanted = 0, failed = tests->failed;
    for (size_t i = 0; i < suite->file.count; i++)
        wanted += is_wanted(tests, &suite->file.flows[i]);
    if (wanted > 0) {
        note_isolation(tests, suite);
        code = open_databases(tests, suite, url);
    }
    for (size_t i = 0; i < suite->file.count && code == CLI_OK && test_interrupted == 0; i++)
        if (is_wanted(tests, &suite->file.flows[i]))
            code = test_one(tests, suite, &suite->file.flows[i], --wanted > 0);
    if (tests->told >= 0 && code == CLI_OK && test_interrupted == 0 && tests->failed == failed)
        dprintf(tests->told, "good %zu\n", (size_t)(suite - tests->suites));
    return code;
}

static int test_all(struct tests *tests, const char *url)
{
    int code = CLI_OK;
    int64_t began_ms = clock_monotonic_ms();
    for (size_t s = 0; s < tests->suite_count; s++)
        for (size_t i = 0; i < tests->suites[s].file.count; i++)
            tests->total += is_wanted(tests, &tests->suites[s].file.flows[i]);
    if (tests->total == 0) {
        fprintf(stderr, "sluice test: no test has '%s' in its name\n", tests->options->filter);
        return CLI_FAILED;
    }
    for (size_t s = 0; s < tests->suite_count && code == CLI_OK; s++)
        code = test_suite(tests, &tests->suites[s], url);
    double seconds = (double)(clock_monotonic_ms() - began_ms - tests->server_ms) / 1000;
    if (test_interrupted == 0 && code == CLI_OK)
        printf("%zu passed, %zu failed in %.1f s, beside %.1f s for server and schema\n", tests->passed, tests->failed,
               seconds, (double)tests->server_ms / 1000);
    bool reported = tests->options->junit == NULL ||
                    report_write(&tests->report, tests->options->junit, tests->passed, tests->failed, seconds);
    if (code != CLI_OK)
        return code;
    return tests->failed == 0 && test_interrupted == 0 && reported ? CLI_OK : CLI_FAILED;
}

/* Of the pipelines of all files, each once. */
static void print_coverage(const struct tests *tests)
{
    for (size_t s = 0; s < tests->suite_count; s++) {
        bool before = false;
        for (size_t i = 0; i < s && !before; i++)
            before = strcmp(tests->suites[i].file.pipeline, tests->suites[s].file.pipeline) == 0;
        if (!before)
            coverage_print(tests->coverage, tests->suites[s].parts.parts.pipeline, stdout);
    }
}

int tests_run(const struct test_options *options, char *const *paths, size_t count, const char *url, int told)
{
    struct tests tests = {.options = options, .told = told, .arena = arena_create(64 * 1024, TEST_ARENA_MAX)};
    int code = CLI_OK;
    buffer_init(&tests.report, TEST_REPORT_MAX);
    tests.suites = arena_array(tests.arena, struct suite, count);
    while (tests.suite_count < count) {
        int opened = open_suite(&tests, paths[tests.suite_count], &tests.suites[tests.suite_count]);
        code = code == CLI_OK ? opened : code;
        tests.suite_count++;
    }
    tests.warned = map_create(16);
    if (tests.warned == NULL || (options->coverage && (tests.coverage = coverage_create()) == NULL))
        code = CLI_FAILED;
    if (code == CLI_OK)
        code = test_all(&tests, url);
    if (tests.coverage != NULL && (code == CLI_OK || tests.failed > 0))
        print_coverage(&tests);
    coverage_destroy(tests.coverage);
    map_destroy(tests.warned);
    databases_close(tests.databases);
    server_stop(tests.server);
    for (size_t i = 0; i < tests.suite_count; i++)
        parts_close(&tests.suites[i].parts.parts);
    buffer_free(&tests.report);
    arena_destroy(tests.arena);
    return code;
}
