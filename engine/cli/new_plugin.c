/*
 * new_plugin.c - `sluice new-plugin NAME`: a folder with a plugin that builds and passes its own test at once.
 *
 * The files are those of plugins/template or template_store and of the fake host, put into this program as they are
 * when it is built, with the word "template" or "template_store" replaced by the name. A row of the table of files says
 * for which kinds of plugin it is: what a new kind shares with the others is not written again. What was there before
 * is never touched.
 */
#include "cli/cli.h"

#include "base/buffer.h"
#include "base/embed.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

EMBED(embedded_plugin, "plugins/template/template.c");
EMBED(embedded_cpp, "plugins/template/template.cpp");
EMBED(embedded_rust, "plugins/template/template.rs");
EMBED(embedded_cargo, "plugins/template/Cargo.toml");
EMBED(embedded_rust_makefile, "plugins/template/Makefile.rust");
EMBED(embedded_readme, "plugins/template/README.md");
EMBED(embedded_pipeline, "plugins/template/pipeline.yaml");
EMBED(embedded_makefile, "plugins/template/Makefile.alone");
EMBED(embedded_ignored, "plugins/template/gitignore");
EMBED(embedded_flows, "plugins/template/flows.yaml");
EMBED(embedded_test, "tests/plugins/test_template.c");
EMBED(embedded_store_plugin, "plugins/template_store/template_store.c");
EMBED(embedded_store_sql, "plugins/template_store/sql/0001_visits.sql");
EMBED(embedded_store_readme, "plugins/template_store/README.md");
EMBED(embedded_store_pipeline, "plugins/template_store/pipeline.yaml");
EMBED(embedded_store_flows, "plugins/template_store/flows.yaml");
EMBED(embedded_store_test, "tests/plugins/test_template_store.c");
EMBED(embedded_host_h, "tests/plugins/fake_host.h");
EMBED(embedded_host_c, "tests/plugins/fake_host.c");
EMBED(embedded_inside, "tests/plugins/fake_inside.h");
EMBED(embedded_call, "tests/plugins/fake_call.c");
EMBED(embedded_input, "tests/plugins/fake_input.c");
EMBED(embedded_query, "tests/plugins/fake_query.c");
EMBED(embedded_json_h, "tests/plugins/fake_json.h");
EMBED(embedded_json_c, "tests/plugins/fake_json.c");
EMBED(embedded_database, "tests/plugins/fake_database.c");
EMBED(embedded_crate, "engine/include/rust/Cargo.toml");
EMBED(embedded_crate_lib, "engine/include/rust/src/lib.rs");
EMBED(embedded_crate_call, "engine/include/rust/src/call.rs");
EMBED(embedded_crate_fields, "engine/include/rust/src/fields.rs");
EMBED(embedded_crate_plugin, "engine/include/rust/src/plugin.rs");
EMBED(embedded_crate_raw, "engine/include/rust/src/raw.rs");
EMBED(embedded_crate_rows, "engine/include/rust/src/rows.rs");

/* A set of bits: the kinds of plugin that a file is for. */
enum kind {
    KIND_C = 1,
    KIND_CPP = 2,
    KIND_RUST = 4,
    KIND_GREETS = KIND_C | KIND_CPP | KIND_RUST,
    KIND_C_STORE = 8,
    KIND_ALL = KIND_GREETS | KIND_C_STORE,
};

static const struct file {
    const char *path; /* in the new folder */
    const char *text;
    unsigned kinds; /* of enum kind */
    bool renamed;   /* the words of the template become the plugin's */
} files[] = {
    {"template.c", embedded_plugin, KIND_C, true},
    {"template.cpp", embedded_cpp, KIND_CPP, true},
    {"src/lib.rs", embedded_rust, KIND_RUST, true},
    {"Cargo.toml", embedded_cargo, KIND_RUST, true},
    {"pipeline.yaml", embedded_pipeline, KIND_GREETS, true},
    {"README.md", embedded_readme, KIND_GREETS, true},
    {"Makefile", embedded_makefile, KIND_ALL - KIND_RUST, true},
    {"Makefile", embedded_rust_makefile, KIND_RUST, true},
    {".gitignore", embedded_ignored, KIND_ALL, true},
    {"test/template.yaml", embedded_flows, KIND_GREETS, true},
    {"test/test_template.c", embedded_test, KIND_GREETS, true},
    {"template.c", embedded_store_plugin, KIND_C_STORE, true},
    {"sql/0001_visits.sql", embedded_store_sql, KIND_C_STORE, true},
    {"pipeline.yaml", embedded_store_pipeline, KIND_C_STORE, true},
    {"README.md", embedded_store_readme, KIND_C_STORE, true},
    {"test/template.yaml", embedded_store_flows, KIND_C_STORE, true},
    {"test/test_template.c", embedded_store_test, KIND_C_STORE, true},
    {"test/fake_host.h", embedded_host_h, KIND_ALL, false},
    {"test/fake_host.c", embedded_host_c, KIND_ALL, false},
    {"test/fake_inside.h", embedded_inside, KIND_ALL, false},
    {"test/fake_call.c", embedded_call, KIND_ALL, false},
    {"test/fake_input.c", embedded_input, KIND_ALL, false},
    {"test/fake_query.c", embedded_query, KIND_ALL, false},
    {"test/fake_json.h", embedded_json_h, KIND_ALL, false},
    {"test/fake_json.c", embedded_json_c, KIND_ALL, false},
    {"test/fake_database.c", embedded_database, KIND_ALL, false},
    {"sluice/Cargo.toml", embedded_crate, KIND_RUST, false},
    {"sluice/src/lib.rs", embedded_crate_lib, KIND_RUST, false},
    {"sluice/src/call.rs", embedded_crate_call, KIND_RUST, false},
    {"sluice/src/fields.rs", embedded_crate_fields, KIND_RUST, false},
    {"sluice/src/plugin.rs", embedded_crate_plugin, KIND_RUST, false},
    {"sluice/src/raw.rs", embedded_crate_raw, KIND_RUST, false},
    {"sluice/src/rows.rs", embedded_crate_rows, KIND_RUST, false},
};

enum { NAME_MAX_BYTES = 64, FILE_BYTES_MAX = 1024 * 1024 };

static const char *const template_words[] = {"template_store", "template"}; /* the longer one first */

static void usage(FILE *out)
{
    fputs("usage: sluice new-plugin NAME [--store | --lang c|cpp|rust] [--dir FOLDER]\n"
          "Makes FOLDER/NAME with a plugin that builds and passes its own test: cd NAME && make test. Its pipeline and "
          "its flow\n"
          "test are there, too: sluice test test/NAME.yaml\n\n"
          "  --store        one that works in the database: with sql/, a table and a function that takes many events\n"
          "  --lang LANG    what it is written in: c (the default), cpp for C++17, or rust; with --store it is c\n"
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

/* The bytes of a template's word that stands at `at`; '_' ends a word. 0: there is none. */
static size_t template_word(const char *at)
{
    for (size_t i = 0; i < sizeof template_words / sizeof template_words[0]; i++) {
        size_t length = strlen(template_words[i]);
        if (strncmp(at, template_words[i], length) == 0 && !is_word(at[length]))
            return length;
    }
    return 0;
}

/* Every "template" that is a word of its own becomes `name`, and "template_state" follows. */
static void rename_words(const char *text, const char *name, struct buffer *out)
{
    for (const char *at = text; *at != '\0';) {
        bool starts = at == text || !is_word(at[-1]);
        size_t length = starts ? template_word(at) : 0;
        if (length > 0)
            buffer_text(out, name);
        else
            buffer_byte(out, *at++);
        at += length;
    }
    buffer_byte(out, '\0');
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

/* The folders on the way to `path` that are below `folder`. */
static int folders_make(const char *folder, char *path)
{
    for (char *at = path + strlen(folder) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        int r = mkdir(path, 0755) == 0 || errno == EEXIST ? 0 : -errno;
        *at = '/';
        if (r != 0)
            return r;
    }
    return 0;
}

static int file_make(const struct file *file, const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct buffer words, text;
    buffer_init(&words, PATH_MAX);
    buffer_init(&text, FILE_BYTES_MAX);
    rename_words(file->path, name, &words);
    if (file->renamed)
        rename_words(file->text, name, &text);
    int length = snprintf(path, sizeof path, "%s/%s", folder, words.failed ? "" : words.at);
    int r = words.failed || text.failed || length >= (int)sizeof path ? -ENAMETOOLONG : folders_make(folder, path);
    if (r == 0)
        r = file_write(path, file->renamed ? text.at : file->text);
    if (r != 0)
        fprintf(stderr, "sluice new-plugin: %s cannot be written: %s; remove %s and try again\n", path, strerror(-r),
                folder);
    buffer_free(&words);
    buffer_free(&text);
    return r == 0 ? CLI_OK : CLI_FAILED;
}

static int files_make(const char *folder, const char *name, enum kind kind)
{
    int code = CLI_OK;
    for (size_t i = 0; code == CLI_OK && i < sizeof files / sizeof files[0]; i++)
        if ((files[i].kinds & kind) != 0)
            code = file_make(&files[i], folder, name);
    return code;
}

static int folder_make(const char *dir, const char *name, char ret[PATH_MAX])
{
    int length = snprintf(ret, PATH_MAX, "%s/%s", dir, name);
    if (length >= PATH_MAX || mkdir(ret, 0755) != 0) {
        int code = length >= PATH_MAX ? ENAMETOOLONG : errno;
        fprintf(stderr, "sluice new-plugin: %s cannot be made: %s%s\n", ret, strerror(code),
                code == EEXIST ? "; choose another name, or remove it" : "");
        return CLI_FAILED;
    }
    return CLI_OK;
}

/* Whether pkg-config finds a sluice.pc by itself; it says nothing, either way. */
static bool is_found(void)
{
    char program[] = "pkg-config", option[] = "--exists", name[] = "sluice";
    char *const words[] = {program, option, name, NULL};
    int child, status = -1;
    if (posix_spawnp(&child, program, NULL, NULL, words, environ) != 0)
        return false;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return status == 0;
}

/* Where pkg-config must be told to look: beside this program in a tree that is built and not installed, or, when it
 * finds none by itself, in the prefix that this program is installed under. */
static void print_search(void)
{
    static const struct {
        const char *below; /* the program's folder */
        const char *why;
        bool always;
    } places[] = {{"", "until this Sluice is installed", true},
                  {"/../share/pkgconfig", "this Sluice is where pkg-config does not look", false}};
    char self[PATH_MAX], folder[PATH_MAX], pc[PATH_MAX + 16];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self);
    while (length > 0 && self[length - 1] != '/')
        length--;
    for (size_t i = 0; length > 1 && i < sizeof places / sizeof places[0]; i++) {
        snprintf(pc, sizeof pc, "%.*s%s", (int)length - 1, self, places[i].below);
        if (realpath(pc, folder) == NULL)
            continue;
        snprintf(pc, sizeof pc, "%s/sluice.pc", folder);
        if (access(pc, R_OK) != 0)
            continue;
        if (places[i].always || !is_found())
            printf("  export PKG_CONFIG_PATH=%s    # %s\n", folder, places[i].why);
        return;
    }
}

static void next_steps(const char *folder, const char *name)
{
    printf("%s is a plugin that builds and passes its tests:\n\n", folder);
    print_search();
    printf("  cd %s && make test\n  sluice test test/%s.yaml\n\nREADME.md says how to run it with pipeline.yaml.\n",
           folder, name);
}

/* False, with the sentence said: there is no such language. */
static bool language_of(const char *word, enum kind *ret)
{
    static const struct {
        const char *word;
        enum kind kind;
    } languages[] = {{"c", KIND_C}, {"cpp", KIND_CPP}, {"rust", KIND_RUST}};
    for (size_t i = 0; i < sizeof languages / sizeof languages[0]; i++) {
        if (strcmp(word, languages[i].word) == 0) {
            *ret = languages[i].kind;
            return true;
        }
    }
    fprintf(stderr, "sluice new-plugin: --lang %s is none of c, cpp and rust\n", word);
    return false;
}

int cli_new_plugin(int argc, char **argv, const struct buses *buses)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},
        {"store", no_argument, NULL, 's'},
        {"lang", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    enum kind kind = KIND_C;
    bool store = false;
    const char *dir = ".";
    char folder[PATH_MAX];
    (void)buses;
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        if (option == 'h') {
            usage(stdout);
            return CLI_OK;
        }
        if (option == 'd')
            dir = optarg;
        else if (option == 's')
            store = true;
        else if (option != 'l' || !language_of(optarg, &kind))
            return CLI_USAGE;
    }
    if (store && kind != KIND_C) {
        fputs("sluice new-plugin: the plugin of --store is written in C; leave --lang out\n", stderr);
        return CLI_USAGE;
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
        code = files_make(folder, name, store ? KIND_C_STORE : kind);
    if (code == CLI_OK)
        next_steps(folder, name);
    return code;
}
