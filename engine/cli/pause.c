/*
 * pause.c - `sluice pause CONFIG [NAME]` and `sluice resume CONFIG NAME`: stops what a pipeline does with a topic, a
 * handler, a tap, a schedule or a dependency, in all of its processes, until it is resumed; lists what is paused.
 */
#include "cli/cli.h"

#include "cli/operator.h"
#include "cli/plain.h"
#include "operate/pause.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum { PAUSE_TEXT_MAX = 16 * 1024 * 1024 };

static void usage_pause(FILE *out)
{
    fputs("usage: sluice pause CONFIG [NAME] [--for DURATION] [--reason TEXT] [--json]\n"
          "Pauses a topic, handler, tap, schedule or dependency of CONFIG, in all processes of the pipeline: its "
          "events wait "
          "in the\n"
          "order of their keys, no try is counted, and a call that runs is finished. Without a NAME: lists what is "
          "paused, "
          "and\n"
          "the breakers that are open.\n\n"
          "  NAME            as in CONFIG; topic:NAME, handler:NAME, tap:NAME, schedule:NAME or dependency:NAME where "
          "it is that of "
          "two\n"
          "  --for 10m       ends by itself; else `sluice resume` ends it\n"
          "  --reason TEXT   why, for those who look, and for the audit; --why is the same\n"
          "  --json          for programs\n"
          "  -h, --help      this text\n",
          out);
}

static void usage_resume(FILE *out)
{
    fputs("usage: sluice resume CONFIG NAME|--all [--reason TEXT] [--json]\n"
          "Ends a pause that `sluice pause` made, or closes a breaker: what waited is handled, in order.\n\n"
          "  NAME            as `sluice pause CONFIG` lists it\n"
          "  --all           every pause of the pipeline\n"
          "  --reason TEXT   why, for the audit; --why is the same\n"
          "  --json          for programs\n"
          "  -h, --help      this text\n",
          out);
}

struct act {
    const char *command, *config, *name; /* name NULL: list, or resume all */
    int64_t for_ms;
    const char *reason;
    bool json;
};

static void print_one(const struct operation *operation, const struct pause *pause)
{
    struct buffer text;
    buffer_init(&text, PAUSE_TEXT_MAX);
    pause_print_text(pause, &text);
    printf("%s ", pause_kind_word(pause->kind));
    plain_print(span_of(pause->name), 0);
    fputs(": ", stdout);
    plain_print(buffer_view(&text), 0);
    puts(pause_in_file(operation, pause) ? "" : " (the file does not have it)");
    buffer_free(&text);
}

static void print_json(const struct pauses_listed *listed)
{
    struct buffer text;
    buffer_init(&text, PAUSE_TEXT_MAX);
    pauses_json(listed, &text);
    (void)buffer_write(&text, stdout);
    buffer_free(&text);
}

static int run_pause(const struct act *act, const struct operation *operation, struct error *error)
{
    struct pauses_listed listed = {0};
    struct pause made = {0};
    int code = act->name == NULL ? pause_list(operation, &listed, error)
                                 : pause_make(operation, act->name, act->for_ms, &made, error);
    if (code == 0 && act->name != NULL)
        listed = (struct pauses_listed){&made, 1};
    if (code == 0 && act->json)
        print_json(&listed);
    for (size_t i = 0; code == 0 && !act->json && i < listed.count; i++)
        print_one(operation, &listed.list[i]);
    if (code == 0 && !act->json && listed.count == 0)
        printf("nothing is paused\n");
    return code;
}

static int run_resume(const struct act *act, const struct operation *operation, struct error *error)
{
    struct pauses_listed ended = {0};
    int code = pause_end(operation, act->name, &ended, error);
    if (code == 0 && act->json)
        print_json(&ended);
    for (size_t i = 0; code == 0 && !act->json && i < ended.count; i++)
        printf("%s %s: resumed\n", pause_kind_word(ended.list[i].kind), ended.list[i].name);
    if (code == 0 && !act->json && ended.count == 0)
        printf("nothing is paused\n");
    return code;
}

static bool good_duration(const char *text, int64_t *ret_ms)
{
    struct error error = {0};
    if (pause_duration(span_of(text), ret_ms, &error) == 0)
        return true;
    cli_misuse("pause", "--for %s", error.text);
    return false;
}

static int act_on(const struct act *act, const struct buses *buses,
                  int (*run)(const struct act *act, const struct operation *operation, struct error *error))
{
    struct operator operator;
    struct error error = {0};
    int code = operator_open(act->config, buses, &operator);
    if (code != CLI_OK)
        return code;
    if (operation_because(&operator.operation, span_of(act->reason), &error) != 0 ||
        run(act, &operator.operation, &error) != 0)
        code = operator_failed(act->command, &error);
    operator_close(&operator);
    return code;
}

int cli_pause(int argc, char **argv, const struct buses *buses)
{
    static const struct option options[] = {
        {"for", required_argument, NULL, 'f'}, {"reason", required_argument, NULL, 'r'},
        {"why", required_argument, NULL, 'r'}, {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},      {0}};
    struct act act = {.command = "pause"};
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        if (option == 'h') {
            usage_pause(stdout);
            return CLI_OK;
        }
        if (option == '?' || (option == 'f' && !good_duration(optarg, &act.for_ms)))
            return CLI_USAGE;
        act.json = act.json || option == 'j';
        act.reason = option == 'r' ? optarg : act.reason;
    }
    if (!cli_operands(argc, argv, 1, 2, "a CONFIG and, to pause something, its NAME"))
        return CLI_USAGE;
    act.config = argv[optind];
    act.name = optind + 1 < argc ? argv[optind + 1] : NULL;
    if (act.name == NULL && (act.for_ms != 0 || act.reason != NULL))
        return cli_misuse("pause", "expected the NAME of what is to be paused");
    return act_on(&act, buses, run_pause);
}

int cli_resume(int argc, char **argv, const struct buses *buses)
{
    static const struct option options[] = {
        {"all", no_argument, NULL, 'a'},       {"reason", required_argument, NULL, 'r'},
        {"why", required_argument, NULL, 'r'}, {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},      {0}};
    struct act act = {.command = "resume"};
    bool all = false;
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        if (option == 'h') {
            usage_resume(stdout);
            return CLI_OK;
        }
        if (option == '?')
            return CLI_USAGE;
        act.json = act.json || option == 'j';
        all = all || option == 'a';
        act.reason = option == 'r' ? optarg : act.reason;
    }
    if (!cli_operands(argc, argv, 1, 2, "a CONFIG and a NAME, or --all"))
        return CLI_USAGE;
    act.config = argv[optind];
    act.name = optind + 1 < argc ? argv[optind + 1] : NULL;
    if ((act.name == NULL) != all)
        return cli_misuse("resume", all ? "--all ends every pause: no NAME goes with it"
                                        : "expected the NAME of what is paused, or --all");
    return act_on(&act, buses, run_resume);
}
