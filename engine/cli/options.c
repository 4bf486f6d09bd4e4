/*
 * options.c - a command's line: options read by getopt_long(), and a sentence of our own for each that is wrong.
 *
 * getopt's own messages name the subcommand as if it were the program, and guess nothing.
 */
#include "cli/cli.h"

#include "base/error.h"
#include "cli/plain.h"
#include "pipeline/tree.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 24, MISUSE_MAX = 1024 };

static void print_error(const struct error *error)
{
    plain_write(stderr, span_of(error->text), 0);
    fputs(error->hint[0] != '\0' ? "; " : "", stderr);
    plain_write(stderr, span_of(error->hint), 0);
    fputc('\n', stderr);
}

int cli_failed(const char *command, const struct error *error)
{
    fprintf(stderr, "sluice %s: ", command);
    print_error(error);
    return CLI_FAILED;
}

int cli_failed_with(const char *path, const struct error *error)
{
    fprintf(stderr, "%s: ", path);
    print_error(error);
    return CLI_FAILED;
}

int cli_misuse(const char *command, const char *format, ...)
{
    char text[MISUSE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "sluice %s: ", command);
    plain_write(stderr, span_of(text), 0);
    fprintf(stderr, "\n`sluice %s -h` tells more\n", command);
    return CLI_USAGE;
}

/* The long option that `word` (--name or --name=value) is close to. */
static const char *near_option(const char *word, const struct option *options)
{
    const char *names[OPTIONS_MAX + 1] = {NULL};
    char name[64];
    size_t length = strcspn(word + 2, "=");
    for (size_t i = 0; i < OPTIONS_MAX && options[i].name != NULL; i++)
        names[i] = options[i].name;
    snprintf(name, sizeof name, "%.*s", (int)(length < sizeof name ? length : sizeof name - 1), word + 2);
    return nearest_name(name, names);
}

int cli_option(int argc, char **argv, const struct option *options)
{
    opterr = 0;
    int option = getopt_long(argc, argv, ":h", options, NULL);
    if (option != '?' && option != ':')
        return option;
    const char *word = argv[optind - 1];
    int length = (int)strcspn(word, "=");
    if (option == ':') {
        cli_misuse(argv[0], "%s wants a value", word);
    } else if (strncmp(word, "--", 2) != 0) {
        cli_misuse(argv[0], "unknown option '-%c'", optopt);
    } else if (optopt != 0) {
        cli_misuse(argv[0], "%.*s takes no value, but got '%s'", length, word,
                   word[length] == '=' ? word + length + 1 : "");
    } else {
        const char *near = near_option(word, options);
        cli_misuse(argv[0], "unknown option '%.*s'%s%s%s", length < 100 ? length : 100, word,
                   near != NULL ? "; did you mean '--" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
    }
    return '?';
}

bool cli_operands(int argc, char **argv, int least, int most, const char *what)
{
    int count = argc - optind;
    if (count >= least && count <= most)
        return true;
    if (count < least)
        cli_misuse(argv[0], "expected %s, got %s", what, count == 0 ? "nothing" : "less");
    else
        cli_misuse(argv[0], "expected %s, got '%.100s' too", what, argv[optind + most]);
    return false;
}

bool cli_count(const char *command, const char *option, const char *text, int64_t *ret)
{
    char *end = NULL;
    errno = 0;
    long long count = strtoll(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && count > 0) {
        *ret = count;
        return true;
    }
    cli_misuse(command, "%s %s: expected a whole number of 1 or more", option, text);
    return false;
}
