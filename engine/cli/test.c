/*
 * test.c - `sluice test FILE…`: whole flows in virtual time.
 *
 * Each test runs in a child process, whose clocks stand still: a plugin that crashes or hangs costs its test and
 * nothing else. What the child says goes into a file in memory, which is printed when the test fails.
 */
#include "cli/cli.h"

#include "base/clock.h"
#include "base/log.h"
#include "cli/parts.h"
#include "flowtest/database.h"
#include "flowtest/drive.h"
#include "flowtest/perform.h"
#include "flowtest/server.h"
#include "store/migrate.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    TEST_SECONDS_MAX = 60, /* real ones: a handler that does not return, a database that does not answer */
    TEST_PROBLEMS_MAX = 1024 * 1024,
    TEST_ARENA_MAX = 64 * 1024 * 1024,
    TEST_REPORT_MAX = 256 * 1024 * 1024,
};

struct suite { /* a file, and what its tests start from */
    struct flow_file file;
    struct parts parts;
};

struct tests {
    struct arena *arena;
    const struct buses *buses;
    const char *filter; /* NULL: every test */
    const char *junit;  /* path of the report; NULL: none is written */
    struct buffer report;
    struct suite *suites;
    size_t suite_count, total, passed, failed;
    struct server *server;
    struct databases *databases;
    int64_t server_ms; /* how long its start took */
};

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
    interrupted = number;
}

static void usage(FILE *out)
{
    fputs("usage: sluice test FILE… [--filter TEXT] [--junit REPORT]\n"
          "Runs the flow tests of each FILE: the pipeline that it names, with its plugins, on a bus in memory and in "
          "virtual time.\n"
          "Handlers with SQL get a fresh database for each test, on the server of $DATABASE_URL, or on a private one "
          "that is\n"
          "started where initdb is found. Exits 0 when all pass, 1 when one fails, 78 when a file is wrong.\n\n"
          "  --filter TEXT   only tests whose name holds TEXT; none is a failure\n"
          "  --junit REPORT  writes what became of each test, as CI systems read it\n"
          "  -h, --help      this text\n",
          out);
}

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

/* What a test has in place of what the file says: the bus is in memory and keeps everything, a group has one lane, as
 * there is one thread, and nothing is traced. */
static void prepare_pipeline(struct pipeline *pipeline)
{
    pipeline->bus.kind = BUS_CHOICE_MEMORY;
    pipeline->bus.property_count = 0;
    pipeline->bus.retention_ms = INT64_MAX / 4;
    pipeline->engine.lanes = 1;
    for (size_t i = 0; i < pipeline->tap_count; i++)
        pipeline->taps[i].lanes = 1;
    pipeline->tracing.url = NULL;
    pipeline->store.allow_unsafe = true;
}

static bool tap_is_named(const struct flow_file *file, const struct tap *tap)
{
    for (const char **name = file->taps; *name != NULL; name++)
        if (strcmp(*name, tap->name) == 0)
            return true;
    return false;
}

/* Taps take part when the file names them. */
static void keep_taps(const struct suite *suite, struct problems *problems)
{
    struct pipeline *pipeline = suite->parts.pipeline;
    size_t kept = 0;
    const char **known = arena_array(suite->parts.arena, const char *, pipeline->tap_count + 1);
    for (size_t i = 0; i < pipeline->tap_count; i++)
        known[i] = pipeline->taps[i].name;
    for (const char **name = suite->file.taps; *name != NULL; name++) {
        bool found = false;
        for (size_t i = 0; i < pipeline->tap_count && !found; i++)
            found = strcmp(known[i], *name) == 0;
        const char *near = found ? NULL : nearest_name(*name, known);
        if (!found)
            problem_add(problems, suite->file.place, "unknown_tap", "the pipeline has no tap '%s'%s%s%s", *name,
                        near == NULL ? "" : "; did you mean '", near == NULL ? "" : near, near == NULL ? "" : "'?");
    }
    for (size_t i = 0; i < pipeline->group_count; i++) {
        struct group *group = &pipeline->groups[i];
        if (group->tap != NULL && !tap_is_named(&suite->file, group->tap))
            continue;
        pipeline->groups[kept] = *group;
        pipeline->groups[kept].index = (uint32_t)kept;
        kept++;
    }
    pipeline->group_count = kept;
}

static int open_suite(struct tests *tests, const char *path, struct suite *suite)
{
    struct problems problems;
    problems_init(&problems, tests->arena);
    if (!flow_read(path, tests->arena, &problems, &suite->file)) {
        problems_sort(&problems);
        return print_problems(&problems);
    }
    parts_read(suite->file.pipeline, tests->buses, &suite->parts);
    prepare_pipeline(suite->parts.pipeline);
    (void)reading_finish(&suite->parts.reading, true);
    int code = print_problems(&suite->parts.reading.problems);
    if (code == CLI_OK) {
        keep_taps(suite, &problems);
        code = print_problems(&problems);
    }
    return code;
}

/* ---------------------------------------------------------------------------------------------------------- a test */

/* The server, once; then the template of the file's databases. */
static int open_databases(struct tests *tests, struct suite *suite, const char *url)
{
    struct error error = {0};
    struct parts *parts = &suite->parts;
    if (!parts->pipeline->store.present)
        return CLI_OK;
    int64_t began_ms = clock_monotonic_ms();
    int code = 0;
    if (tests->databases == NULL && url == NULL && (code = server_start(&tests->server, &error)) == 0)
        url = server_url(tests->server);
    if (code == 0 && tests->databases == NULL)
        code = databases_open(url, &tests->databases, &error);
    if (code == 0)
        code = parts_migrations(parts, &error);
    if (code == 0)
        code = databases_template(tests->databases, parts->migrations, FLOW_BEGINS_MS, &error);
    tests->server_ms += clock_monotonic_ms() - began_ms;
    return code == 0 ? CLI_OK : cli_failed_with(suite->file.path, &error);
}

/* In the child. */
static bool run_test(struct suite *suite, const struct flow *flow, const char *url, FILE *out)
{
    struct parts *parts = &suite->parts;
    struct error error = {0};
    log_set_level(LOG_WARN);
    log_set_json(0);
    if (url != NULL)
        parts->pipeline->store.url = url;
    if (parts_attach(parts, PARTS_BUS, &error) != 0) {
        fprintf(out, "    %s\n", error.text);
        return false;
    }
    struct engine_parts engine_parts = {.pipeline = parts->pipeline,
                                        .bus = parts->bus,
                                        .store = parts->store,
                                        .metrics = parts->metrics,
                                        .migrations = parts->migrations};
    return flow_perform(&suite->file, flow, &engine_parts, out);
}

static void print_said(int said)
{
    char bytes[4096];
    (void)lseek(said, 0, SEEK_SET);
    for (ssize_t length; (length = read(said, bytes, sizeof bytes)) > 0;)
        fwrite(bytes, 1, (size_t)length, stdout);
}

/* As text of an XML file. What it may not hold becomes '?'. */
static void report_text(struct buffer *report, struct span text)
{
    for (size_t i = 0; i < text.length;) {
        size_t valid = span_utf8((struct span){text.at + i, text.length - i});
        for (size_t end = i + valid; i < end; i++) {
            char c = text.at[i];
            if (c == '<' || c == '>' || c == '&' || c == '"')
                buffer_format(report, "&#%d;", c);
            else
                buffer_byte(report, (unsigned char)c < 0x20 && c != '\n' && c != '\t' ? '?' : c);
        }
        if (i < text.length) {
            buffer_byte(report, '?');
            i++;
        }
    }
}

static void report_test(struct tests *tests, const struct suite *suite, const struct flow *flow, int64_t took_ms,
                        int said, bool good)
{
    struct buffer *report = &tests->report;
    char bytes[4096];
    if (tests->junit == NULL)
        return;
    buffer_text(report, "  <testcase classname=\"");
    report_text(report, span_of(suite->file.path));
    buffer_text(report, "\" name=\"");
    report_text(report, span_of(flow->name));
    buffer_format(report, "\" line=\"%d\" time=\"%.3f\"", flow->place.line, (double)took_ms / 1000);
    if (good) {
        buffer_text(report, "/>\n");
        return;
    }
    buffer_text(report, "><failure message=\"not as expected\">\n");
    (void)lseek(said, 0, SEEK_SET);
    for (ssize_t length; (length = read(said, bytes, sizeof bytes)) > 0;)
        report_text(report, (struct span){bytes, (size_t)length});
    buffer_text(report, "</failure></testcase>\n");
}

static int report_write(const struct tests *tests, double seconds)
{
    FILE *out = tests->junit == NULL ? NULL : fopen(tests->junit, "w");
    if (tests->junit == NULL)
        return CLI_OK;
    bool written = out != NULL &&
                   fprintf(out,
                           "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                           "<testsuite name=\"sluice test\" tests=\"%zu\" failures=\"%zu\" time=\"%.3f\">\n",
                           tests->passed + tests->failed, tests->failed, seconds) > 0 &&
                   buffer_write(&tests->report, out) && fputs("</testsuite>\n", out) >= 0;
    if (out != NULL && fclose(out) != 0)
        written = false;
    if (!written)
        fprintf(stderr, "sluice test: %s cannot be written: %s\n", tests->junit, strerror(errno));
    return written ? CLI_OK : CLI_FAILED;
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

static int begin_test(struct suite *suite, const struct flow *flow, const char *url, int said, pid_t *ret)
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
    bool good = run_test(suite, flow, url, stdout);
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

/* `more`: it is not the last one of its file. */
static int test_one(struct tests *tests, struct suite *suite, const struct flow *flow, bool more)
{
    const char *url = NULL;
    struct error error = {0};
    int status = 0, said = memfd_create("sluice test", MFD_CLOEXEC);
    pid_t child = -1;
    int64_t began_ms = clock_monotonic_ms();
    progress(tests, flow->name);
    int code = said < 0 ? error_set(&error, errno, "no file in memory: %s", strerror(errno)) : 0;
    if (code == 0 && suite->parts.pipeline->store.present)
        code = databases_fresh(tests->databases, &url, &error);
    if (code == 0 && (code = begin_test(suite, flow, url, said, &child)) != 0)
        error_set(&error, -code, "no process for the test: %s", strerror(-code));
    if (code != 0) {
        close(said);
        return cli_failed_with(suite->file.path, &error);
    }
    if (url != NULL)
        databases_ahead(tests->databases, more);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        if (interrupted != 0)
            (void)kill(child, SIGKILL);
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    tests->passed += good;
    tests->failed += !good;
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
    int64_t took_ms = clock_monotonic_ms() - began_ms;
    report_test(tests, suite, flow, took_ms, said, good);
    printf("%s  %s: %s (%lld ms)\n", good ? "ok  " : "FAIL", suite->file.path, flow->name, (long long)took_ms);
    if (!good) {
        print_said(said);
        print_end(status);
    }
    close(said);
    return CLI_OK;
}

static bool is_wanted(const struct tests *tests, const struct flow *flow)
{
    return tests->filter == NULL || strstr(flow->name, tests->filter) != NULL;
}

static int test_suite(struct tests *tests, struct suite *suite, const char *url)
{
    int code = CLI_OK;
    size_t wanted = 0;
    for (size_t i = 0; i < suite->file.count; i++)
        wanted += is_wanted(tests, &suite->file.flows[i]);
    if (wanted > 0)
        code = open_databases(tests, suite, url);
    for (size_t i = 0; i < suite->file.count && code == CLI_OK && interrupted == 0; i++)
        if (is_wanted(tests, &suite->file.flows[i]))
            code = test_one(tests, suite, &suite->file.flows[i], --wanted > 0);
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
        fprintf(stderr, "sluice test: no test has '%s' in its name\n", tests->filter);
        return CLI_FAILED;
    }
    for (size_t s = 0; s < tests->suite_count && code == CLI_OK; s++)
        code = test_suite(tests, &tests->suites[s], url);
    double seconds = (double)(clock_monotonic_ms() - began_ms - tests->server_ms) / 1000;
    if (interrupted == 0 && code == CLI_OK)
        printf("%zu passed, %zu failed in %.1f s, beside %.1f s for server and schema\n", tests->passed, tests->failed,
               seconds, (double)tests->server_ms / 1000);
    int reported = report_write(tests, seconds);
    if (code != CLI_OK)
        return code;
    return tests->failed == 0 && interrupted == 0 && reported == CLI_OK ? CLI_OK : CLI_FAILED;
}

/* A pipeline names its database with ${DATABASE_URL}, which each test has another one for. */
static const char *given_url(void)
{
    const char *url = getenv("DATABASE_URL");
    if (url != NULL && url[0] != '\0')
        return url;
    (void)setenv("DATABASE_URL", "dbname=sluice_test", 1);
    return NULL;
}

int cli_test(int argc, char **argv, const struct buses *buses)
{
    static const struct option options[] = {{"filter", required_argument, NULL, 'f'},
                                            {"junit", required_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct tests tests = {.buses = buses};
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        switch (option) {
        case 'f':
            tests.filter = optarg;
            break;
        case 'j':
            tests.junit = optarg;
            break;
        case 'h':
            usage(stdout);
            return CLI_OK;
        default:
            return CLI_USAGE;
        }
    }
    if (!cli_operands(argc, argv, 1, argc, "a FILE of flow tests, or several"))
        return CLI_USAGE;
    const char *url = given_url();
    const struct sigaction action = {.sa_handler = interrupt};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    buffer_init(&tests.report, TEST_REPORT_MAX);
    tests.arena = arena_create(64 * 1024, TEST_ARENA_MAX);
    tests.suites = arena_array(tests.arena, struct suite, (size_t)(argc - optind));
    int code = CLI_OK;
    for (; optind < argc; optind++) {
        int opened = open_suite(&tests, argv[optind], &tests.suites[tests.suite_count++]);
        code = code == CLI_OK ? opened : code;
    }
    if (code == CLI_OK)
        code = test_all(&tests, url);
    databases_close(tests.databases);
    server_stop(tests.server);
    for (size_t i = 0; i < tests.suite_count; i++)
        parts_close(&tests.suites[i].parts);
    buffer_free(&tests.report);
    arena_destroy(tests.arena);
    return code;
}
