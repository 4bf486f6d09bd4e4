/*
 * tap.c - `sluice tap CONFIG TOPIC…`: watches topics from outside any group; changes nothing.
 */
#include "cli/cli.h"

#include "cli/parts.h"
#include "cli/plain.h"

#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { TAP_TOPIC_WIDTH = 24, TAP_KEY_WIDTH = 16, TAP_TOPIC_MAX = 249 /* Kafka's */ };

struct tap_output {
    bool json;
    const char *const *patterns; /* of topics; NULL: the bus matches them */
    size_t pattern_count;
    int64_t left; /* how many records more; negative: all */
    int broken;   /* errno of standard output; 0: it takes what we write */
};

static volatile int tap_stop;

static void on_signal(int signal)
{
    (void)signal;
    tap_stop = 1;
}

/* Notices that standard output was closed while nothing is written, so that `sluice tap … | head -1` ends. */
static void *watch_reader(void *context)
{
    struct pollfd output = {.fd = STDOUT_FILENO, .events = 0};
    while (poll(&output, 1, -1) < 0 && errno == EINTR)
        ;
    if ((output.revents & (POLLERR | POLLHUP)) != 0)
        tap_stop = 1;
    return context;
}

static void start_watch(void)
{
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the thread that scans */
    if (pthread_create(&thread, NULL, watch_reader, NULL) == 0)
        pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void usage(FILE *out)
{
    fputs("usage: sluice tap CONFIG TOPIC… [--no-follow] [--count N] [--contains TEXT] [--json]\n"
          "Prints what is on the topics (any * matches whatever is there) and follows until interrupted.\n\n"
          "  --no-follow       print what is there and stop\n"
          "  --count N         stop after N events\n"
          "  --contains TEXT   only events whose bytes hold TEXT\n"
          "  --json            one JSON object a line\n"
          "  -h, --help        this text\n",
          out);
}

static void print_json(const struct record *record, int32_t partition)
{
    struct buffer line;
    buffer_init(&line, 64 * 1024 * 1024);
    buffer_text(&line, "{\"topic\":");
    buffer_json_string(&line, record->topic);
    buffer_format(&line, ",\"partition\":%d,\"timestamp\":%lld,\"key\":", partition, (long long)record->timestamp_ms);
    buffer_json_string(&line, record->key);
    buffer_text(&line, ",\"headers\":{");
    for (size_t i = 0; i < record->header_count; i++) {
        if (i > 0)
            buffer_byte(&line, ',');
        buffer_json_string(&line, record->headers[i].name);
        buffer_byte(&line, ':');
        if (record->headers[i].value.at == NULL)
            buffer_text(&line, "null");
        else
            buffer_json_string(&line, record->headers[i].value);
    }
    buffer_text(&line, "},\"value\":");
    buffer_json_string(&line, record->value);
    buffer_text(&line, "}\n");
    (void)buffer_write(&line, stdout);
    buffer_free(&line);
}

/* Of a dead letter. */
static void print_reason(const struct record *record)
{
    struct span code = record_header(record, HEADER_DLT_CODE), why = record_header(record, HEADER_DLT_REASON);
    if (code.at == NULL)
        return;
    fputs("  dead letter: ", stdout);
    plain_print(code, 0);
    if (why.length > 0) {
        fputs(": ", stdout);
        plain_print(why, 0);
    }
}

static bool matches(const struct tap_output *output, struct span topic)
{
    char name[TAP_TOPIC_MAX + 1];
    if (output->patterns == NULL)
        return true;
    snprintf(name, sizeof name, "%.*s", (int)topic.length, topic.at);
    for (size_t i = 0; i < output->pattern_count; i++)
        if (fnmatch(output->patterns[i], name, FNM_NOESCAPE) == 0)
            return true;
    return false;
}

static bool print_record(const struct record *record, int32_t partition, struct position position, void *context)
{
    struct tap_output *output = context;
    (void)position;
    if (output->left == 0)
        return false;
    if (!matches(output, record->topic))
        return true;
    if (output->left > 0)
        output->left--;
    if (output->json) {
        print_json(record, partition);
    } else {
        time_t seconds = (time_t)(record->timestamp_ms / 1000);
        struct tm tm;
        gmtime_r(&seconds, &tm);
        printf("%02d:%02d:%02d.%03d  ", tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(record->timestamp_ms % 1000));
        plain_column(record->topic, TAP_TOPIC_WIDTH);
        putchar(' ');
        plain_column(record->key, TAP_KEY_WIDTH);
        putchar(' ');
        plain_print(record->value, 0);
        print_reason(record);
        putchar('\n');
    }
    if (fflush(stdout) != 0)
        output->broken = errno;
    return output->left != 0 && output->broken == 0;
}

/* A name of the pipeline, or a pattern; old topics that the file no longer names are found with a pattern. */
static bool known_topic(const struct pipeline *pipeline, const char *name)
{
    return strchr(name, '*') != NULL || pipeline_topic(pipeline, name) != NULL;
}

/* Whether the bus knows such a pattern: a '*' at the end only. */
static bool simple_pattern(const char *name)
{
    const char *star = strchr(name, '*');
    return star == NULL || star[1] == '\0';
}

int cli_tap(int argc, char **argv, const struct buses *buses)
{
    static const struct option options[] = {
        {"no-follow", no_argument, NULL, 'n'},      {"count", required_argument, NULL, 'c'},
        {"contains", required_argument, NULL, 't'}, {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},           {0}};
    struct tap_output output = {.left = -1};
    struct span contains = {NULL, 0};
    bool follow = true;
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        switch (option) {
        case 'n':
            follow = false;
            break;
        case 'c':
            if (!cli_count("tap", "--count", optarg, &output.left))
                return CLI_USAGE;
            break;
        case 't':
            contains = span_of(optarg);
            break;
        case 'j':
            output.json = true;
            break;
        case 'h':
            usage(stdout);
            return CLI_OK;
        default:
            return CLI_USAGE;
        }
    }
    if (!cli_operands(argc, argv, 2, argc, "a CONFIG and a TOPIC or more"))
        return CLI_USAGE;
    struct parts parts;
    struct error error = {0};
    int code = parts_open(argv[optind], PARTS_LOOK, false, buses, &parts);
    if (code != CLI_OK)
        return code;
    if (parts.pipeline->bus.kind == BUS_CHOICE_MEMORY) {
        fprintf(stderr, "sluice tap: the memory bus lives inside the engine that runs it; nothing of it can be seen "
                        "from here; GET /correlations/ID of its http.listen, and /ui, show it\n");
        parts_close(&parts);
        return CLI_FAILED;
    }
    const char *const *topics = (const char *const *)argv + optind + 1;
    size_t topic_count = (size_t)(argc - optind - 1);
    for (size_t i = 0; i < topic_count; i++)
        if (!known_topic(parts.pipeline, topics[i])) {
            parts_no_topic(&parts, "tap", argv[optind], topics[i]);
            parts_close(&parts);
            return CLI_USAGE;
        }
    static const char *const everything[] = {"*"};
    bool simple = true;
    for (size_t i = 0; i < topic_count; i++)
        simple = simple && simple_pattern(topics[i]);
    if (!simple) {
        output.patterns = topics;
        output.pattern_count = topic_count;
        topics = everything;
        topic_count = 1;
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (follow)
        start_watch();
    struct bus_scan scan = {.topics = topics,
                            .topic_count = topic_count,
                            .contains = contains,
                            .follow = follow,
                            .stop = &tap_stop,
                            .each = print_record,
                            .context = &output};
    code = bus_scan(parts.bus, &scan, &error);
    if (code < 0)
        cli_failed("tap", &error);
    parts_close(&parts);
    if (output.broken == EPIPE)
        clearerr(stdout); /* who reads has seen enough */
    return code < 0 ? CLI_FAILED : CLI_OK;
}
