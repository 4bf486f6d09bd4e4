/*
 * new_plugin.c - `sluice new-plugin NAME`: a folder with a plugin that builds and passes its own test at once.
 *
 * The files are those of plugins/template and of the fake host, put into this program as they are when it is built,
 * with the word "template" replaced by the name. What was there before is never touched.
 */
#include "cli/cli.h"

#include "base/buffer.h"
#include "base/embed.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

EMBED(embedded_plugin, "plugins/template/template.c");
EMBED(embedded_readme, "plugins/template/README.md");
EMBED(embedded_pipeline, "plugins/template/pipeline.yaml");
EMBED(embedded_makefile, "plugins/template/Makefile.alone");
EMBED(embedded_flows, "plugins/template/flows.yaml");
EMBED(embedded_test, "tests/plugins/test_template.c");
EMBED(embedded_host_h, "tests/plugins/fake_host.h");
EMBED(embedded_host_c, "tests/plugins/fake_host.c");
EMBED(embedded_inside, "tests/plugins/fake_inside.h");
EMBED(embedded_call, "tests/plugins/fake_call.c");
EMBED(embedded_query, "tests/plugins/fake_query.c");
EMBED(embedded_json_h, "tests/plugins/fake_json.h");
EMBED(embedded_json_c, "tests/plugins/fake_json.c");
EMBED(embedded_database, "tests/plugins/fake_database.c");

static const struct {
    const char *path; /* in the new folder */
    const char *text;
    bool renamed; /* the words of the template become the plugin's */
} files[] = {
    {"template.c", embedded_plugin, true},          {"pipeline.yaml", embedded_pipeline, true},
    {"README.md", embedded_readme, true},           {"Makefile", embedded_makefile, true},
    {"test/template.yaml", embedded_flows, true},   {"test/test_template.c", embedded_test, true},
    {"test/fake_host.h", embedded_host_h, false},   {"test/fake_host.c", embedded_host_c, false},
    {"test/fake_inside.h", embedded_inside, false}, {"test/fake_call.c", embedded_call, false},
    {"test/fake_query.c", embedded_query, false},   {"test/fake_json.h", embedded_json_h, false},
    {"test/fake_json.c", embedded_json_c, false},   {"test/fake_database.c", embedded_database, false},
};

enum { NAME_MAX_BYTES = 64, FILE_BYTES_MAX = 1024 * 1024 };

static const char template_word[] = "template", include_word[] = "/usr/local/include";

static void usage(FILE *out)
{
    fputs("usage: sluice new-plugin NAME [--dir FOLDER]\n"
          "Makes FOLDER/NAME with a plugin that builds and passes its own test: cd NAME && make test. Its pipeline and "
          "its flow\n"
          "test are there, too: sluice test test/NAME.yaml\n\n"
          "  --dir FOLDER   where to put it (default: here)\n"
          "  -h, --help     this text\n",
          out);
}

static bool name_fits(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length <= NAME_MAX_BYTES && *name >= 'a' && *name <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

static bool is_word(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9');
}

/* Every "template" that is a word of its own becomes `name`; '_' ends a word, so that "template_state" follows. */
static void rename_words(const char *text, const char *name, const char *include, struct buffer *out)
{
    const size_t length = sizeof template_word - 1;
    for (const char *at = text; *at != '\0';) {
        bool starts = at == text || !is_word(at[-1]);
        if (starts && strncmp(at, template_word, length) == 0 && !is_word(at[length])) {
            buffer_text(out, name);
            at += length;
        } else if (include != NULL && strncmp(at, include_word, sizeof include_word - 1) == 0) {
            buffer_text(out, include);
            at += sizeof include_word - 1;
        } else {
            buffer_byte(out, *at++);
        }
    }
    buffer_byte(out, '\0');
}

/* The folder that holds sluice/plugin.h: beside this program when it is installed, in the source tree when it is
 * not. */
static void include_find(char ret[PATH_MAX])
{
    static const char *const places[] = {"../include", "../engine/include", "../../engine/include"};
    char self[PATH_MAX], path[PATH_MAX + 64];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self);
    while (length > 0 && self[length - 1] != '/')
        length--;
    snprintf(ret, PATH_MAX, "/usr/include"); /* the compiler looks there anyway */
    for (size_t i = 0; length > 0 && i < sizeof places / sizeof places[0]; i++) {
        snprintf(path, sizeof path, "%.*s%s/sluice/plugin.h", (int)length, self, places[i]);
        if (access(path, R_OK) != 0)
            continue;
        snprintf(path, sizeof path, "%.*s%s", (int)length, self, places[i]);
        char *folder = realpath(path, NULL);
        if (folder != NULL)
            snprintf(ret, PATH_MAX, "%s", folder);
        free(folder);
        return;
    }
}

static int file_write(const char *path, const char *text)
{
    size_t length = strlen(text);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file < 0)
        return -errno;
    while (length > 0) {
        ssize_t written = write(file, text, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            int code = errno;
            close(file);
            return -code;
        }
        text += written;
        length -= (size_t)written;
    }
    return close(file) == 0 ? 0 : -errno;
}

static int files_write(const char *folder, const char *name)
{
    char include[PATH_MAX], path[PATH_MAX];
    include_find(include);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct buffer words, text;
        buffer_init(&words, PATH_MAX);
        buffer_init(&text, FILE_BYTES_MAX);
        rename_words(files[i].path, name, NULL, &words);
        if (files[i].renamed)
            rename_words(files[i].text, name, include, &text);
        int length = snprintf(path, sizeof path, "%s/%s", folder, words.failed ? "" : words.at);
        int r = words.failed || text.failed || length >= (int)sizeof path ? -ENAMETOOLONG : 0;
        if (r == 0)
            r = file_write(path, files[i].renamed ? text.at : files[i].text);
        buffer_free(&words);
        buffer_free(&text);
        if (r != 0) {
            fprintf(stderr, "sluice new-plugin: %s cannot be written: %s; remove %s and try again\n", path,
                    strerror(-r), folder);
            return CLI_FAILED;
        }
    }
    return CLI_OK;
}

static int folder_make(const char *dir, const char *name, char ret[PATH_MAX])
{
    char test[PATH_MAX + 8];
    int length = snprintf(ret, PATH_MAX, "%s/%s", dir, name);
    snprintf(test, sizeof test, "%s/test", ret);
    if (length >= PATH_MAX || mkdir(ret, 0755) != 0 || mkdir(test, 0755) != 0) {
        int code = length >= PATH_MAX ? ENAMETOOLONG : errno;
        fprintf(stderr, "sluice new-plugin: %s cannot be made: %s%s\n", ret, strerror(code),
                code == EEXIST ? "; choose another name, or remove it" : "");
        return CLI_FAILED;
    }
    return CLI_OK;
}

int cli_new_plugin(int argc, char **argv, const struct buses *buses)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'}, {"help", no_argument, NULL, 'h'}, {0}};
    const char *dir = ".";
    char folder[PATH_MAX];
    (void)buses;
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        if (option == 'h') {
            usage(stdout);
            return CLI_OK;
        }
        if (option != 'd')
            return CLI_USAGE;
        dir = optarg;
    }
    if (!cli_operands(argc, argv, 1, 1, "a NAME"))
        return CLI_USAGE;
    const char *name = argv[optind];
    if (!name_fits(name)) {
        fprintf(stderr,
                "sluice new-plugin: '%s' is no name of a plugin: a letter a-z, then letters a-z, digits and '_', at "
                "most %d bytes\n",
                name, NAME_MAX_BYTES);
        return CLI_USAGE;
    }
    int code = folder_make(dir, name, folder);
    if (code == CLI_OK)
        code = files_write(folder, name);
    if (code == CLI_OK)
        printf(
            "%s is a plugin that builds and passes its tests:\n\n  cd %s && make test\n  sluice test test/%s.yaml\n\n"
            "README.md says how to run it with pipeline.yaml.\n",
            folder, folder, name);
    return code;
}
