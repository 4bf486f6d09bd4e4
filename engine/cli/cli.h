/*
 * cli.h - the command line: cli_main() chooses a subcommand, of which each has a file. argv[0] of a subcommand is its
 * name.
 *
 * Exit codes: 0 ok, 1 failed, 2 usage, 78 configuration (EX_CONFIG).
 */
#ifndef SLUICE_CLI_CLI_H
#define SLUICE_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_CONFIG = 78 };

/* The buses that this program was built with; see bus/open.h for what each function does. */
struct bus;
struct bus_options;
struct error;
typedef int bus_open_function(const struct bus_options *options, struct bus **ret, struct error *error);
struct buses {
    bus_open_function *memory, *postgres, *kafka;
};

/* The whole program: the exit code. Opens /dev/null where standard files are closed, and flushes standard output. */
int cli_main(int argc, char **argv, const struct buses *buses);

int cli_run(int argc, char **argv, const struct buses *buses);
int cli_reload(int argc, char **argv, const struct buses *buses);
int cli_validate(int argc, char **argv, const struct buses *buses);
int cli_graph(int argc, char **argv, const struct buses *buses);
int cli_inspect(int argc, char **argv, const struct buses *buses);
int cli_emit(int argc, char **argv, const struct buses *buses);
int cli_tap(int argc, char **argv, const struct buses *buses);
int cli_explain(int argc, char **argv, const struct buses *buses);
int cli_dead_letter(int argc, char **argv, const struct buses *buses);
int cli_chain(int argc, char **argv, const struct buses *buses);
int cli_delayed(int argc, char **argv, const struct buses *buses);
int cli_pause(int argc, char **argv, const struct buses *buses);
int cli_resume(int argc, char **argv, const struct buses *buses);
int cli_doctor(int argc, char **argv, const struct buses *buses);
int cli_test(int argc, char **argv, const struct buses *buses);
int cli_migrate(int argc, char **argv, const struct buses *buses);
int cli_new_plugin(int argc, char **argv, const struct buses *buses);
int cli_version(int argc, char **argv, const struct buses *buses);

/* options.c: what the commands share. A wrong line is a sentence on stderr that names what was expected. */
struct option;
struct error;
/* getopt_long() with -h and `options`; '?' when an option is unknown, lacks its value or has one too many, which was
 * reported then. */
int cli_option(int argc, char **argv, const struct option *options);
/* After the last option: are there `least` to `most` words left? `what` names them: "a CONFIG and a TOPIC". */
bool cli_operands(int argc, char **argv, int least, int most, const char *what);
bool cli_count(const char *command, const char *option, const char *text, int64_t *ret); /* 1 or more */
/* Says on stderr why it failed. CLI_FAILED */
int cli_failed(const char *command, const struct error *error);
int cli_failed_with(const char *path, const struct error *error); /* the same, of a file */
int cli_misuse(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3))); /* CLI_USAGE */

#endif
