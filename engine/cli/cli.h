/*
 * cli.h - the subcommands, one file each. argv[0] is the subcommand's name.
 *
 * Exit codes: 0 ok, 1 failed, 2 usage, 78 configuration (EX_CONFIG).
 */
#ifndef SLUICE_CLI_CLI_H
#define SLUICE_CLI_CLI_H

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_CONFIG = 78 };

int cli_run(int argc, char **argv);
int cli_validate(int argc, char **argv);
int cli_graph(int argc, char **argv);
int cli_inspect(int argc, char **argv);
int cli_emit(int argc, char **argv);
int cli_tap(int argc, char **argv);
int cli_explain(int argc, char **argv);
int cli_migrate(int argc, char **argv);
int cli_new_plugin(int argc, char **argv);
int cli_version(int argc, char **argv);

#endif
