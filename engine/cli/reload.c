/*
 * reload.c - `sluice reload CONFIG`: looks whether the file is good, then asks the engine that runs it, at http.listen
 * or at each --url, one after the other, to read it again.
 */
#include "cli/cli.h"

#include "base/clock.h"
#include "cli/parts.h"
#include "cli/plain.h"
#include "event/json.h"
#include "operate/reload.h"
#include "trace/sender.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    URLS_MAX = 64,
    ANSWER_WAIT_MS = 660000, /* more than an engine takes to answer */
    ANSWER_TEXT_MAX = 256 * 1024,
    URL_BYTES_MAX = 8192,
    ASKS_MAX = 10,
    ASK_AGAIN_US = 100000,
};

static void usage(FILE *out)
{
    fputs(
        "usage: sluice reload CONFIG [--plan] [--url URL]… [--json]\n"
        "Has the engine that runs CONFIG read it and its plugins again, without a stop: says what changed, or why it\n"
        "was refused and what ran before goes on. A file that is wrong here is not sent. Exit code 0 when it was\n"
        "accepted, 78 when the file is wrong.\n\n"
        "  --plan       change nothing: only say what would change, and which chains stay on what\n"
        "  --url URL    the engine's http://HOST:PORT, else CONFIG's http.listen; several: one after the other\n"
        "  --json       the answers for programs, a line each\n"
        "  -h, --help   this text\n",
        out);
}

struct asking {
    const char *config;
    const struct pipeline *pipeline;
    struct arena *arena;
    bool plan, json;
};

/* ----------------------------------------------------------------------------------------------------- where to ask */

static bool is_loopback(const char *url)
{
    static const char *const hosts[] = {"http://127.", "http://localhost:", "http://localhost/", "http://[::1]"};
    bool any = strcmp(url, "http://localhost") == 0;
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        any = any || strncmp(url, hosts[i], strlen(hosts[i])) == 0;
    return any;
}

/* What a query's value may hold as it is: the rest as %XX. */
static const char *escaped(const char *text, struct arena *arena)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
    struct buffer out;
    buffer_init(&out, URL_BYTES_MAX);
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++)
        if (strchr(plain, *at) != NULL)
            buffer_byte(&out, (char)*at);
        else
            buffer_format(&out, "%%%02X", *at);
    const char *result = out.failed ? NULL : arena_string(arena, buffer_view(&out));
    buffer_free(&out);
    return result;
}

/* Names the file where the engine is on this machine, whose paths are the same. */
static const char *target(const struct asking *asking, const char *base, bool here)
{
    size_t length = strlen(base);
    char *path = here ? realpath(asking->config, NULL) : NULL;
    const char *file = path == NULL ? NULL : escaped(path, asking->arena);
    free(path);
    while (length > 0 && base[length - 1] == '/')
        length--;
    return arena_format(asking->arena, "%.*s/reload?plan=%s%s%s", (int)length, base, asking->plan ? "true" : "false",
                        file == NULL ? "" : "&file=", file == NULL ? "" : file);
}

/* ------------------------------------------------------------------------------------------------------ the answers */

/* What an answer that is none of a reload says: {"error":…,"message":…}. */
static const char *message_of(struct span body, struct arena *arena)
{
    struct json_object object;
    const struct json_member *message = json_scan(body, arena, &object, NULL) == 0 ? json_find(&object, SPAN("message"))
                                                                                   : NULL;
    if (message == NULL || message->kind != JSON_KIND_STRING)
        return "its answer is none that an engine gives to this question";
    return arena_string(arena, json_unescape(message->value, message->value_escaped, arena));
}

static int fail(const char *url, const char *text)
{
    fputs("sluice reload: ", stderr);
    fputs(url, stderr);
    fprintf(stderr, ": %s\n", text);
    return CLI_FAILED;
}

/* No answer of a reload. */
static int explain(const struct asking *asking, const char *url, const struct sender_answer *answer, struct span body)
{
    if (answer->status == 0)
        return fail(url, arena_format(asking->arena,
                                      "nobody answers: %s; is the engine running, and is this its http.listen? Without "
                                      "it, SIGHUP to the process reloads, and its log has the answer",
                                      answer->why));
    if (answer->status == 401)
        return fail(url, "http.token of this file is not the one that the engine runs with; send SIGHUP to the process "
                         "instead, its log has the answer");
    return fail(url, arena_format(asking->arena, "it answers %d: %s", answer->status, message_of(body, asking->arena)));
}

/* The file that the engine runs, as the answer says. */
static void print_other_file(const struct asking *asking, struct span body)
{
    struct json_object object;
    const struct json_member *file = NULL, *reason = NULL;
    if (json_scan(body, asking->arena, &object, NULL) == 0) {
        file = json_find(&object, SPAN("file"));
        reason = json_find(&object, SPAN("reason"));
    }
    if (file == NULL || reason == NULL || !span_is(reason->value, "\"" RELOAD_OTHER_FILE "\""))
        return;
    fputs("  it runs ", stdout);
    plain_print(json_unescape(file->value, file->value_escaped, asking->arena), 0);
    printf(", and %s is another file: name that one, or write the change into it\n", asking->config);
}

static int print(const struct asking *asking, const char *url, const struct sender_answer *answer, struct span body)
{
    struct buffer text;
    buffer_init(&text, ANSWER_TEXT_MAX);
    int code = reload_text(body, &text);
    if (code != 0) {
        code = explain(asking, url, answer, body);
    } else if (asking->json) {
        while (body.length > 0 && body.at[body.length - 1] == '\n')
            body.length--;
        printf("%.*s\n", (int)body.length, body.at);
    } else {
        printf("%s: ", url);
        (void)buffer_write(&text, stdout);
        print_other_file(asking, body);
    }
    buffer_free(&text);
    return code != 0 ? code : answer->status == 200 ? CLI_OK : CLI_FAILED;
}

/* The process that was asked ended with an earlier reload: the one that runs now has the same question. */
static bool asks_again(const struct asking *asking, const struct sender_answer *answer, struct span body)
{
    struct json_object object;
    if (answer->status != 503 || json_scan(body, asking->arena, &object, NULL) != 0)
        return false;
    const struct json_member *word = json_find(&object, SPAN("error"));
    return word != NULL && span_is(word->value, "\"handed_over\"");
}

static int ask(const struct asking *asking, const char *base, bool here)
{
    struct sender *sender = NULL;
    struct sender_answer answer;
    struct error error = {0};
    if (sender_create_engine(target(asking, base, here), asking->pipeline->http.token, ANSWER_WAIT_MS, &sender,
                             &error) != 0)
        return fail(base, error.text);
    for (int asks = 0; asks == 0 || (asks < ASKS_MAX && asks_again(asking, &answer, sender_body(sender))); asks++) {
        usleep(asks == 0 ? 0 : ASK_AGAIN_US);
        sender_post(sender, SPAN(""), &answer);
    }
    int code = print(asking, base, &answer, sender_body(sender));
    sender_destroy(sender);
    fflush(stdout); /* before the next engine is asked */
    return code;
}

/* One after the other, until one does not take it: the others keep what they run. */
static int ask_all(const struct asking *asking, const char *const *urls, size_t count)
{
    const struct pipeline *pipeline = asking->pipeline;
    int code = CLI_OK;
    size_t asked = 0;
    if (count == 0 && (!pipeline->http.present || pipeline->http.port == 0)) {
        fprintf(stderr, "sluice reload: %s %s; say --url, or send SIGHUP to the process, whose log has the answer\n",
                asking->config,
                pipeline->http.present ? "has port 0 in http.listen, so the engine took any free one"
                                       : "has no 'http:', so the engine listens nowhere");
        return CLI_FAILED;
    }
    if (count == 0)
        return ask(asking, pipeline_url(pipeline, asking->arena), true);
    for (; asked < count && code == CLI_OK; asked++)
        code = ask(asking, urls[asked], is_loopback(urls[asked]));
    if (asked < count)
        fprintf(stderr, "sluice reload: %zu of %zu engines were not asked\n", count - asked, count);
    return code;
}

/* The file is not sent: refused in the words of an engine, which nobody asked what it runs. */
static void print_refusal(const struct asking *asking, const struct parts *parts, const struct error *error,
                          int64_t began_ms)
{
    struct buffer why, answer;
    buffer_init(&why, RELOAD_TOLD_MAX);
    buffer_init(&answer, RELOAD_TOLD_MAX);
    problems_print(&parts->reading.problems, false, &why);
    if (error->code != 0)
        buffer_format(&why, "%s%s%s", error->text, error->hint[0] != '\0' ? "; " : "", error->hint);
    reload_tell(&(struct reload_told){.plan = asking->plan,
                                      .file = asking->config,
                                      .now = parts->reading.code == 0 ? parts->pipeline : NULL,
                                      .why = arena_string(asking->arena, buffer_view(&why)),
                                      .duration_ms = clock_monotonic_ms() - began_ms},
                &answer);
    (void)buffer_write(&answer, stdout);
    buffer_free(&why);
    buffer_free(&answer);
}

int cli_reload(int argc, char **argv, const struct buses *buses)
{
    static const struct option options[] = {{"plan", no_argument, NULL, 'p'},
                                            {"url", required_argument, NULL, 'u'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct asking asking = {0};
    const char *urls[URLS_MAX];
    size_t count = 0;
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        if (option == 'h') {
            usage(stdout);
            return CLI_OK;
        }
        if (option == '?')
            return CLI_USAGE;
        if (option == 'u' && strncmp(optarg, "http://", 7) != 0 && strncmp(optarg, "https://", 8) != 0)
            return cli_misuse("reload", "--url: expected http://HOST:PORT, got '%.200s'", optarg);
        if (option == 'u' && count == URLS_MAX)
            return cli_misuse("reload", "at most %d --url", URLS_MAX);
        if (option == 'u')
            urls[count++] = optarg;
        asking.plan = asking.plan || option == 'p';
        asking.json = asking.json || option == 'j';
    }
    if (!cli_operands(argc, argv, 1, 1, "a CONFIG"))
        return CLI_USAGE;
    struct parts parts;
    struct error error = {0};
    int64_t began_ms = clock_monotonic_ms();
    asking.config = argv[optind];
    parts_read(asking.config, buses, &parts);
    asking.pipeline = parts.pipeline;
    asking.arena = parts.arena;
    int code = parts_check(&parts, true);
    if (code == CLI_OK && parts_attach(&parts, PARTS_LOOK, &error) != 0)
        code = cli_failed_with(asking.config, &error);
    bool good = code == CLI_OK;
    code = good ? ask_all(&asking, urls, count) : CLI_CONFIG;
    if (!good && asking.json)
        print_refusal(&asking, &parts, &error, began_ms);
    parts_close(&parts);
    return code;
}
