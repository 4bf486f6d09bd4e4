/*
 * cli.c - chooses the subcommand.
 */
#include "cli/cli.h"

#include "isolate/area.h"
#include "isolate/isolated.h"
#include "pipeline/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct command {
    const char *name, *help;
    int (*main)(int argc, char **argv, const struct buses *buses);
} commands[] = {
    {"run", "run a pipeline until a signal", cli_run},
    {"reload", "have a running engine read its file and plugins again", cli_reload},
    {"validate", "find what would go wrong, before anything starts", cli_validate},
    {"graph", "draw the flow: text, mermaid, dot or svg", cli_graph},
    {"inspect", "what a plugin's .so offers", cli_inspect},
    {"emit", "put events on a topic", cli_emit},
    {"tap", "watch a topic", cli_tap},
    {"explain", "one correlation's timeline: what happened, what it waits for", cli_explain},
    {"dead-letter", "list, replay, edit or drop events that no try can help", cli_dead_letter},
    {"chain", "chains that are not over: list, resume, abort, close", cli_chain},
    {"delayed", "events that wait in the database: list, show, release, cancel", cli_delayed},
    {"pause", "stop what happens to a topic, handler, tap, schedule or dependency for a while; list pauses", cli_pause},
    {"resume", "end a pause", cli_resume},
    {"doctor", "what is wrong with file, database, brokers and machine, and its cure", cli_doctor},
    {"migrate", "bring the database to this program's level", cli_migrate},
    {"test", "run flows in virtual time, with the real plugins", cli_test},
    {"new-plugin", "start a plugin that builds and passes its test", cli_new_plugin},
    {"version", "this program's version", cli_version},
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

/* Descriptors 0 to 2 that the caller closed: whatever is opened next would get their numbers, and what is printed
 * would go into it. They are opened the wrong way round, so that using them fails as it would have. */
static void occupy_standard_files(void)
{
    for (int file = 0; file <= 2; file++)
        if (fcntl(file, F_GETFD) < 0 && errno == EBADF && open("/dev/null", file == 0 ? O_WRONLY : O_RDONLY) < 0)
            _exit(CLI_FAILED);
}

/* A command has done its work only when what it printed has arrived. A reader that left early has what it wanted. */
static int finish(int code)
{
    bool failed = ferror(stdout);
    errno = 0;
    if (fflush(stdout) != 0)
        failed = errno != EPIPE || failed;
    if (!failed)
        return code;
    fprintf(stderr, "sluice: standard output cannot be written%s%s\n", errno != 0 ? ": " : "",
            errno != 0 ? strerror(errno) : "");
    return code == CLI_OK ? CLI_FAILED : code;
}

static void usage(FILE *out)
{
    fputs("usage: sluice COMMAND …      (sluice COMMAND -h tells more)\n\n", out);
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].help);
}

int cli_main(int argc, char **argv, const struct buses *buses)
{
    const char *names[COMMAND_COUNT + 1] = {NULL};
    const char *word = argc > 1 ? argv[1] : NULL;
    occupy_standard_files();
    if (word != NULL && strcmp(word, AREA_COMMAND) == 0)
        return isolated_main(argc - 1, argv + 1);
    if (word == NULL) {
        usage(stderr);
        return CLI_USAGE;
    }
    char option[] = "--help", *help_of[] = {argv[0], argc > 2 ? argv[2] : NULL, option, NULL};
    if (strcmp(word, "help") == 0 && argc == 3 && argv[2][0] != '-')
        return cli_main(3, help_of, buses);
    if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "help") == 0) {
        usage(stdout);
        return finish(CLI_OK);
    }
    if (strcmp(word, "--version") == 0)
        word = "version";
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(word, commands[i].name) == 0)
            return finish(commands[i].main(argc - 1, argv + 1, buses));
        names[i] = commands[i].name;
    }
    const char *near = nearest_name(word, names);
    fprintf(stderr, "sluice: unknown %s '%.100s'%s%s%s\n", word[0] == '-' ? "option" : "command", word,
            near != NULL ? "; did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
    if (near != NULL)
        fputs("`sluice -h` lists all\n", stderr);
    else
        usage(stderr);
    return CLI_USAGE;
}
