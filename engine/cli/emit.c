/*
 * emit.c - `sluice emit CONFIG TOPIC`: puts events on a topic, as any producer would.
 *
 * --data gives the event's data; '-' reads one JSON object a line from standard input. --envelope: whole values
 * instead of data,
 * sent as they are, good or bad. The key comes from the topic's `key:` unless given. Success means acknowledged by
 * the bus.
 */
#include "cli/cli.h"

#include "base/clock.h"
#include "cli/parts.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    EMIT_BATCH = 500,
    EMIT_TIMEOUT_MS = 30000,
    EMIT_BYTES_MAX = 16 * 1024 * 1024,
    EMIT_BATCH_BYTES = 4 * 1024 * 1024
};

struct emit {
    struct parts parts;
    const struct topic *topic;
    const char *key, *id;
    bool envelope;
    struct arena *arena; /* of a batch */
    struct record records[EMIT_BATCH];
    size_t count, bytes, sent;
    size_t line;
};

static void usage(FILE *out)
{
    fputs("usage: sluice emit CONFIG TOPIC [--data JSON|-] [--key K] [--id ID] [--envelope]\n"
          "Puts events on a topic and waits until the bus has them.\n\n"
          "  --data JSON   the event's data, an object; '-' (the default): one a line from standard input\n"
          "  --key K       the message key; else the topic's `key:` decides\n"
          "  --id ID       the eventId; else a new one (only with a single event)\n"
          "  --envelope    what is given are whole events: sent as they are\n"
          "  -h, --help    this text\n",
          out);
}

static int emit_flush(struct emit *emit)
{
    struct bus *bus = emit->parts.bus;
    struct error error = {0};
    size_t failed = 0;
    if (emit->count == 0)
        return 0;
    if (bus_publish(bus, emit->records, emit->count, clock_monotonic_ms() + EMIT_TIMEOUT_MS, &failed, &error) != 0) {
        error_hint(&error, "%s%sof these %zu events any may have been sent, %zu before them were", error.hint,
                   error.hint[0] != '\0' ? "; " : "", emit->count, emit->sent);
        (void)cli_failed("emit", &error);
        emit->count = 0;
        return -1;
    }
    emit->sent += emit->count;
    emit->count = emit->bytes = 0;
    arena_reset(emit->arena);
    if (isatty(STDERR_FILENO) && emit->sent >= 10 * EMIT_BATCH)
        fprintf(stderr, "\r%zu events", emit->sent);
    return 0;
}

static void emit_bad_line(const struct emit *emit, const char *what, const struct error *error)
{
    struct error said = {0};
    if (emit->line > 0)
        error_set(&said, EINVAL, "line %zu: %s%s", emit->line, what, error->text);
    else
        error_set(&said, EINVAL, "--data: %s%s", what, error->text);
    if (emit->line > 0)
        error_hint(&said, "the lines before it are sent, it and those after it are not");
    (void)cli_failed("emit", &said);
}

static int emit_compose(struct emit *emit, struct span text, struct record *ret)
{
    struct error error = {0};
    struct json_object data;
    struct buffer value, key;
    enum event_format format = emit->parts.pipeline->engine.event_format;
    char *id = arena_alloc_raw(emit->arena, 37);

    if (json_scan(text, emit->arena, &data, &error) != 0) {
        emit_bad_line(emit, "expected the event's data, a JSON object: ", &error);
        return -1;
    }
    event_id_new(clock_wall_ms(), id);
    buffer_init(&value, EMIT_BYTES_MAX);
    struct span id_text = span_of(emit->id != NULL ? emit->id : id);
    event_compose(&value, id_text, ret->topic, ret->timestamp_ms, format, &data, NULL, 0);
    ret->headers = arena_array(emit->arena, struct header, FORMAT_HEADERS_MAX);
    ret->header_count = event_headers(format, id_text, ret->topic, ret->timestamp_ms, emit->arena, ret->headers);
    ret->value = arena_span(emit->arena, buffer_view(&value));
    buffer_free(&value);
    if (emit->key != NULL || emit->topic->key == NULL)
        return 0;
    buffer_init(&key, EVENT_KEY_MAX);
    int code = key_template_apply(emit->topic->key, &data, NULL, 0, emit->arena, &key, &error);
    if (code == 0)
        ret->key = arena_span(emit->arena, buffer_view(&key));
    else
        emit_bad_line(emit, arena_format(emit->arena, "no key for topic %s: ", emit->topic->name), &error);
    buffer_free(&key);
    return code;
}

/* A whole event has the key that its data says, as any event of the topic; one that cannot be read, or has no such
 * data, has none. */
static void emit_key(struct emit *emit, struct record *record)
{
    struct event event;
    enum dead_reason reason = 0;
    struct buffer key;
    if (emit->topic->key == NULL || event_parse(record, EMIT_BYTES_MAX, emit->arena, &event, &reason, NULL) != 0)
        return;
    buffer_init(&key, EVENT_KEY_MAX);
    if (key_template_apply(emit->topic->key, &event.data, NULL, 0, emit->arena, &key, NULL) == 0)
        record->key = arena_span(emit->arena, buffer_view(&key));
    buffer_free(&key);
}

static int emit_one(struct emit *emit, struct span text)
{
    struct record *record = &emit->records[emit->count];
    if (text.length > EMIT_BYTES_MAX / 2) {
        struct error error = {0};
        error_set(&error, EMSGSIZE, "%zu bytes are too many, at most %d", text.length, EMIT_BYTES_MAX / 2);
        emit_bad_line(emit, "", &error);
        return -1;
    }
    *record = (struct record){.topic = span_of(emit->topic->name), .timestamp_ms = clock_wall_ms()};
    if (emit->key != NULL)
        record->key = span_of(emit->key);
    if (emit->envelope)
        record->value = arena_span(emit->arena, text);
    if (emit->envelope && emit->key == NULL)
        emit_key(emit, record);
    else if (!emit->envelope && emit_compose(emit, text, record) != 0)
        return -1;
    emit->bytes += text.length;
    return ++emit->count == EMIT_BATCH || emit->bytes >= EMIT_BATCH_BYTES ? emit_flush(emit) : 0;
}

static int emit_lines(struct emit *emit)
{
    char *line = NULL;
    size_t size = 0;
    int code = 0;
    for (ssize_t length; code == 0 && (length = getline(&line, &size, stdin)) != -1;) {
        if (length > 0 && line[length - 1] == '\n')
            length--;
        emit->line++;
        if (length > 0)
            code = emit_one(emit, (struct span){line, (size_t)length});
    }
    if (code == 0 && ferror(stdin)) {
        fprintf(stderr, "sluice emit: standard input cannot be read after line %zu: %s\n", emit->line, strerror(errno));
        code = -1;
    }
    free(line);
    return code;
}

static bool printable(const char *text)
{
    while (*text > ' ' && *text < 0x7f)
        text++;
    return *text == '\0';
}

static int emit_run(struct emit *emit, const char *config, const char *topic, const char *data,
                    const struct buses *buses)
{
    int code = parts_open(config, PARTS_BUS, false, buses, &emit->parts);
    if (code != CLI_OK)
        return code;
    if (emit->parts.pipeline->bus.kind == BUS_CHOICE_MEMORY) {
        fprintf(
            stderr,
            "sluice emit: the memory bus lives inside the engine that runs it; post to its `http.requests` instead\n");
        return CLI_FAILED;
    }
    emit->topic = pipeline_topic(emit->parts.pipeline, topic);
    if (emit->topic == NULL) {
        parts_no_topic(&emit->parts, "emit", config, topic);
        return CLI_USAGE;
    }
    emit->arena = arena_create(256 * 1024, 512 * 1024 * 1024);
    int result = strcmp(data, "-") == 0 ? emit_lines(emit) : emit_one(emit, span_of(data));
    /* What stands before a bad line goes out, so that its number says where to go on. */
    int flushed = emit_flush(emit);
    if (result == 0)
        result = flushed;
    if (isatty(STDERR_FILENO) && emit->sent >= 10 * EMIT_BATCH)
        fputs("\r", stderr);
    printf("%zu event%s on %s\n", emit->sent, emit->sent == 1 ? "" : "s", topic);
    return result == 0 ? CLI_OK : CLI_FAILED;
}

/* What can be wrong with the line before anything is opened: CLI_USAGE, or -1. */
static int emit_check(int argc, char **argv, const struct emit *emit, const char *data)
{
    if (!cli_operands(argc, argv, 2, 2, "a CONFIG and a TOPIC"))
        return CLI_USAGE;
    if (emit->id != NULL && emit->envelope)
        return cli_misuse("emit", "--id goes with data; a whole event (--envelope) has its own");
    if (emit->id != NULL && strcmp(data, "-") == 0)
        return cli_misuse("emit", "--id is for one event: give its data with --data JSON");
    if (emit->id != NULL && (strlen(emit->id) - 1 >= EVENT_ID_MAX || !printable(emit->id)))
        return cli_misuse("emit", "--id: expected 1 to %d printable ASCII characters without a space", EVENT_ID_MAX);
    if (emit->key != NULL && strlen(emit->key) > EVENT_KEY_MAX)
        return cli_misuse("emit", "--key: expected at most %d bytes", EVENT_KEY_MAX);
    return -1;
}

int cli_emit(int argc, char **argv, const struct buses *buses)
{
    static const struct option options[] = {
        {"data", required_argument, NULL, 'd'}, {"key", required_argument, NULL, 'k'},
        {"id", required_argument, NULL, 'i'},   {"envelope", no_argument, NULL, 'e'},
        {"help", no_argument, NULL, 'h'},       {0}};
    struct emit *emit = calloc(1, sizeof *emit);
    const char *data = "-";
    int code = -1;
    if (emit == NULL)
        return CLI_FAILED;
    for (int option; code < 0 && (option = cli_option(argc, argv, options)) != -1;) {
        switch (option) {
        case 'd':
            data = optarg;
            break;
        case 'k':
            emit->key = optarg;
            break;
        case 'i':
            emit->id = optarg;
            break;
        case 'e':
            emit->envelope = true;
            break;
        case 'h':
            usage(stdout);
            code = CLI_OK;
            break;
        default:
            code = CLI_USAGE;
        }
    }
    if (code < 0)
        code = emit_check(argc, argv, emit, data);
    if (code < 0) {
        code = emit_run(emit, argv[optind], argv[optind + 1], data, buses);
        arena_destroy(emit->arena);
        parts_close(&emit->parts);
    }
    free(emit);
    return code;
}
