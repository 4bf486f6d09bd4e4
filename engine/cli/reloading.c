/*
 * reloading.c - see reloading.h.
 */
#include "cli/reloading.h"

#include "base/clock.h"
#include "base/log.h"
#include "http/http.h"
#include "operate/reload.h"
#include "pipeline/tree.h"
#include "plugin/copies.h"
#include "plugin/versions.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void reloading_init(struct reloading *ret, const char *config, const struct buses *buses, struct notify *notify)
{
    *ret = (struct reloading){.config = config, .buses = buses, .notify = notify, .shared = reload_create()};
    event_id_new(clock_wall_ms(), ret->engine);
}

static bool same_address(const struct run_files *old, const struct pipeline *pipeline)
{
    return old->listener >= 0 && old->parts.pipeline->http.port == pipeline->http.port &&
           strcmp(old->parts.pipeline->http.host, pipeline->http.host) == 0;
}

/* Those of `old` listen on, when the address is the same. */
static int listen_again(struct run_files *files, const struct run_files *old, struct error *error)
{
    const struct pipeline *pipeline = files->parts.pipeline;
    if (!pipeline->http.present)
        return 0;
    files->listener = old != NULL && same_address(old, pipeline) ? fcntl(old->listener, F_DUPFD_CLOEXEC, 0)
                                                                 : http_listen(pipeline, error);
    if (files->listener >= 0)
        return 0;
    return error->code != 0 ? -error->code : error_set(error, EMFILE, "http: there is no descriptor for the listener");
}

static struct run_files *files_read(struct reloading *reloading)
{
    struct run_files *files = calloc(1, sizeof *files);
    if (files == NULL)
        return NULL;
    files->read_ms = clock_wall_ms();
    files->listener = -1;
    files->number = ++reloading->readings;
    files->notify = reloading->notify;
    files->reloading = reloading;
    parts_read(reloading->config, reloading->buses, &files->parts);
    files->parts.engine = reloading->engine;
    if (files->parts.reading.problems.errors == 0)
        (void)parts_migrations(&files->parts, &files->error);
    return files;
}

struct run_files *reloading_first(struct reloading *reloading)
{
    struct error error = {0};
    struct run_files *files = files_read(reloading);
    if (files == NULL)
        error_set(&error, ENOMEM, "out of memory for the files");
    else if (files->parts.reading.problems.errors > 0 || files->error.code != 0 ||
             listen_again(files, NULL, &error) == 0) {
        reloading_use(reloading, files);
        return files;
    }
    log_error("run", &error);
    reloading_forget(reloading, files);
    return NULL;
}

void reloading_loaded(const struct reloading *reloading, const struct run_files *files)
{
    struct buffer versions;
    buffer_init(&versions, RELOAD_NOTE_MAX);
    plugin_versions(files->parts.pipeline, &versions);
    if (reloading->shared != NULL)
        reload_note(reloading->shared, files->number, buffer_view(&versions));
    buffer_free(&versions);
}

void reloading_refuse(struct suspects *suspects, const struct parts *parts)
{
    struct buffer text;
    buffer_init(&text, HANDOVER_WHY_MAX);
    problems_print(&parts->reading.problems, false, &text);
    if (text.length > 0) {
        text.at[text.length - 1] = '\0'; /* the last line's end */
        handover_refuse(suspects, text.at);
    }
    buffer_free(&text);
}

/* ----------------------------------------------------------------------------------------------------- the master's */

/* False: a running engine cannot change to that, with the sentences. */
static bool may_change(const struct run_files *old, const struct run_files *files, struct buffer *ret_why)
{
    struct difference difference;
    difference_find(old->parts.pipeline, files->parts.pipeline, files->parts.arena, &difference);
    for (size_t i = 0; i < difference.refused_count; i++)
        buffer_format(ret_why, "%s%s", i > 0 ? "\n" : "", difference.refused[i]);
    return difference.refused_count == 0;
}

void *reloading_read(void *context, const void *old, struct buffer *ret_why)
{
    struct reloading *reloading = context;
    struct error error = {0};
    struct stat status;
    if (stat(reloading->config, &status) == 0 && !S_ISREG(status.st_mode)) {
        buffer_format(ret_why, "%s is no regular file, so that it cannot be read again; restart the engine instead",
                      reloading->config);
        return NULL; /* the master would wait for a writer of a pipe */
    }
    struct run_files *files = files_read(reloading);
    if (files == NULL)
        error_set(&error, ENOMEM, "out of memory for the files");
    else if (files->parts.reading.problems.errors > 0)
        problems_print(&files->parts.reading.problems, false, ret_why);
    else if (files->error.code != 0)
        error = files->error;
    else if (may_change(old, files, ret_why))
        (void)listen_again(files, old, &error);
    if (error.code != 0)
        buffer_format(ret_why, "%s%s%s", error.text, error.hint[0] != '\0' ? "; " : "", error.hint);
    if (ret_why->length == 0 && !ret_why->failed)
        return files;
    reloading_forget(context, files);
    return NULL;
}

void reloading_use(void *context, const void *of)
{
    const struct run_files *files = of;
    (void)context;
    copies_use(files->number);
}

void reloading_forget(void *context, void *of)
{
    struct run_files *files = of;
    (void)context;
    if (files == NULL)
        return;
    copies_remove(files->number);
    if (files->listener >= 0)
        close(files->listener);
    parts_close(&files->parts);
    free(files);
}

bool reloading_asked(void *context, bool *ret_plan)
{
    struct reloading *reloading = context;
    return reloading->shared != NULL && reload_take(reloading->shared, ret_plan, &reloading->ticket);
}

/* In lines, as people read it, for who reads the log. */
static void log_answer(const struct master_reload *reload, struct span answer)
{
    const struct run_files *old = reload->old;
    struct buffer text;
    buffer_init(&text, RELOAD_TOLD_MAX);
    if (reload_text(answer, &text) != 0)
        buffer_free(&text);
    for (size_t at = 0, length; at < text.length; at += length + 1) {
        const char *end = memchr(text.at + at, '\n', text.length - at);
        length = end == NULL ? text.length - at : (size_t)(end - text.at) - at;
        log_line(reload->accepted ? LOG_INFO : LOG_ERROR, "reload", "%s: %.*s", old->parts.pipeline->name, (int)length,
                 text.at + at);
    }
    buffer_free(&text);
}

void reloading_answer(void *context, const struct master_reload *reload)
{
    struct reloading *reloading = context;
    const struct run_files *old = reload->old, *files = reload->files;
    struct buffer before, now, answer;
    buffer_init(&before, RELOAD_NOTE_MAX);
    buffer_init(&now, RELOAD_NOTE_MAX);
    buffer_init(&answer, RELOAD_ANSWER_MAX);
    if (reloading->shared != NULL)
        reload_noted(reloading->shared, old->number, &before);
    if (reloading->shared != NULL && files != NULL)
        reload_noted(reloading->shared, files->number, &now);
    reload_tell(&(struct reload_told){.accepted = reload->accepted,
                                      .plan = reload->plan,
                                      .file = old->parts.pipeline->file,
                                      .before = old->parts.pipeline,
                                      .now = files == NULL ? NULL : files->parts.pipeline,
                                      .versions_before = buffer_view(&before),
                                      .versions_now = buffer_view(&now),
                                      .why = reload->why,
                                      .duration_ms = reload->duration_ms},
                &answer);
    log_answer(reload, buffer_view(&answer));
    if (reloading->ticket != 0)
        reload_answer(reloading->shared, reloading->ticket, reload->accepted, buffer_view(&answer));
    reloading->ticket = 0;
    buffer_free(&before);
    buffer_free(&now);
    buffer_free(&answer);
}
