/*
 * editor.c - see editor.h. The file is in $TMPDIR, for its owner's eyes only, and is removed afterwards.
 */
#include "cli/editor.h"

#include "base/buffer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EDITOR_TEXT_MAX = 64 * 1024 * 1024 };

static int read_all(FILE *file, struct arena *arena, struct span *ret, struct error *error)
{
    char bytes[8192];
    struct buffer text;
    buffer_init(&text, EDITOR_TEXT_MAX);
    for (size_t length; (length = fread(bytes, 1, sizeof bytes, file)) > 0;)
        buffer_append(&text, bytes, length);
    int code = ferror(file)  ? error_set(error, EIO, "the data cannot be read: %s", strerror(errno))
               : text.failed ? error_set(error, EMSGSIZE, "the data have more than %d bytes", EDITOR_TEXT_MAX)
                             : 0;
    *ret = arena_span(arena, buffer_view(&text));
    buffer_free(&text);
    return code;
}

int editor_stdin(struct arena *arena, struct span *ret, struct error *error)
{
    return read_all(stdin, arena, ret, error);
}

/* An accepted JSON text, with line ends and blanks where a person wants them. */
static void print_pretty(struct span json, struct buffer *out)
{
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < json.length; i++) {
        char at = json.at[i], next = i + 1 < json.length ? json.at[i + 1] : '\0';
        if (quoted || at == '"') {
            buffer_byte(out, at);
            if (at == '\\' && quoted)
                buffer_byte(out, json.at[++i]);
            else if (at == '"')
                quoted = !quoted;
            continue;
        }
        if (at == ' ' || at == '\t' || at == '\n' || at == '\r')
            continue;
        bool opens = at == '{' || at == '[', closes = at == '}' || at == ']';
        depth += opens ? 1 : closes ? -1 : 0;
        if (closes && i > 0 && json.at[i - 1] != '{' && json.at[i - 1] != '[')
            buffer_format(out, "\n%*s", 2 * depth, "");
        buffer_byte(out, at);
        if (at == ':')
            buffer_byte(out, ' ');
        else if (at == ',' || (opens && next != '}' && next != ']'))
            buffer_format(out, "\n%*s", 2 * depth, "");
    }
    buffer_byte(out, '\n');
}

static int run_program(const char *path, struct error *error)
{
    const char *editor = getenv("VISUAL");
    editor = editor != NULL && editor[0] != '\0' ? editor : getenv("EDITOR");
    editor = editor != NULL && editor[0] != '\0' ? editor : "vi";
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        execlp("/bin/sh", "sh", "-c", "exec $0 \"$1\"", editor, path, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (child < 0)
        return error_set(error, errno, "the editor cannot be started: %s", strerror(errno));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return error_set(error, ECANCELED, "the editor '%s' failed, nothing was changed; set EDITOR to another one",
                         editor);
    return 0;
}

static int edit_file(const char *path, struct span before, struct arena *arena, struct span *ret, struct error *error)
{
    int code = run_program(path, error);
    FILE *file = code == 0 ? fopen(path, "re") : NULL;
    if (code == 0 && file == NULL)
        code = error_set(error, errno, "%s cannot be read: %s", path, strerror(errno));
    if (code == 0)
        code = read_all(file, arena, ret, error);
    if (file != NULL)
        fclose(file);
    if (code == 0 && span_equal(*ret, before))
        code = error_set(error, ECANCELED, "nothing was changed");
    return code;
}

int editor_run(struct span text, struct arena *arena, struct span *ret, struct error *error)
{
    const char *folder = getenv("TMPDIR");
    char *path = arena_format(arena, "%s/sluice-XXXXXX", folder != NULL && folder[0] != '\0' ? folder : "/tmp");
    struct buffer pretty;
    int file = mkstemp(path);
    if (file < 0)
        return error_set(error, errno, "no file can be made for the editor: %s: %s", path, strerror(errno));
    buffer_init(&pretty, EDITOR_TEXT_MAX);
    print_pretty(text.at != NULL ? text : SPAN("{}"), &pretty);
    int code = write(file, pretty.at, pretty.length) == (ssize_t)pretty.length
                   ? 0
                   : error_set(error, EIO, "%s cannot be written: %s", path, strerror(errno));
    close(file);
    if (code == 0)
        code = edit_file(path, buffer_view(&pretty), arena, ret, error);
    unlink(path);
    buffer_free(&pretty);
    return code;
}
