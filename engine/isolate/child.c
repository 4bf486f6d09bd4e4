/*
 * child.c - the process of an isolated plugin: it maps the area, opens the plugin, and calls a handler whenever its
 * lane says so, until the lane closes its end.
 */
#include "isolate/child.h"

#include "base/clock.h"
#include "isolate/isolated.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A process that a handler forks writes nothing where its parent does. */
static struct child *forking; /* where nothing can be passed */

static void on_fork(void)
{
    forking->acts.full = true;
}

static void on_thread_end(void *context)
{
    child_stays(context);
    child_tell(MESSAGE_THREAD, 0);
    pause();
}

static void watch(struct child *child)
{
    pthread_key_t key;
    forking = child;
    pthread_atfork(NULL, NULL, on_fork);
    if (pthread_key_create(&key, on_thread_end) == 0)
        pthread_setspecific(key, child);
}

/* Nothing of the program that began it but the two descriptors; it ends with the thread that did. */
static bool settle(const char *parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != (pid_t)strtol(parent, NULL, 10))
        return false;
    static const int ignored[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE}; /* they are the engine's */
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        signal(ignored[i], SIG_IGN);
    fcntl(AREA_SOCKET, F_SETFD, FD_CLOEXEC);
    return close_range(AREA_MEMORY + 1, ~0u, 0) == 0;
}

static bool map(struct child *child)
{
    void *area = mmap(NULL, AREA_LANE + AREA_ACTS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, AREA_MEMORY, 0);
    close(AREA_MEMORY);
    if (area == MAP_FAILED)
        return false;
    child->area = area;
    child->acts = (struct acts){.at = child->area + AREA_LANE, .max = AREA_ACTS};
    return true;
}

static int load(struct child *child, const char *path, const char *sha256, struct error *error)
{
    const struct area_open *from = (const struct area_open *)(const void *)child->area;
    char found[SHA256_DIGITS + 1];
    int r = sha256_file(path, found);
    if (r != 0)
        return error_set(error, -r, "%s cannot be read: %s", path, strerror(-r));
    if (strcmp(found, sha256) != 0)
        return error_set(error, EINVAL, "%s has changed since the engine read it; reload the engine", path);
    if (plugin_load(path, &child->plugin, error) != 0)
        return -EINVAL;
    if (child->plugin->state_size != from->state_size)
        return error_set(error, EINVAL, "%s has a state of %zu bytes here, %llu in the engine", path,
                         child->plugin->state_size, (unsigned long long)from->state_size);
    return 0;
}

/* The state, with its settings; their texts are copied, for the area is written over by each call. */
static int fill(struct child *child, struct error *error)
{
    const struct area_open *from = (const struct area_open *)(const void *)child->area;
    size_t size = child->plugin->state_size;
    if (size == 0)
        return 0;
    child->state = malloc(size);
    if (child->state == NULL)
        return error_set(error, ENOMEM, "out of memory for a state of %zu bytes", size);
    memcpy(child->state, child->area + from->state, size);
    for (const struct sluice_field *field = child->plugin->settings; field != NULL && field->name != NULL; field++) {
        struct sluice_text text;
        char *member = (char *)child->state + field->offset, *copy;
        if (field->type != SLUICE_TYPE_TEXT && field->type != SLUICE_TYPE_JSON)
            continue;
        memcpy(&text, member, sizeof text);
        if (text.at == NULL)
            continue;
        copy = malloc(text.length + 1);
        if (copy == NULL)
            return error_set(error, ENOMEM, "out of memory for its settings");
        memcpy(copy, text.at, text.length);
        copy[text.length] = '\0';
        text.at = copy;
        memcpy(member, &text, sizeof text);
    }
    return 0;
}

static int open_plugin(struct child *child, char **argv, struct error *error)
{
    int r = child_limit((const struct area_open *)(const void *)child->area, error);
    if (r == 0)
        r = load(child, argv[1], argv[2], error);
    if (r == 0)
        r = fill(child, error);
    if (r != 0)
        return r;
    const struct area_open *from = (const struct area_open *)(const void *)child->area;
    struct plugin_state state = {.plugin = child->plugin, .state = child->state};
    return plugin_begin((uint32_t)from->lane, &state, error);
}

static void close_plugin(struct child *child)
{
    if (child->plugin != NULL && child->plugin->close != NULL)
        child->plugin->close(child->state);
}

static void call(struct child *child)
{
    const struct area_call *from = (const struct area_call *)(const void *)child->area;
    const struct sluice_handler *handler = &child->plugin->handlers[from->handler];
    struct child_call made = {.child = child,
                              .deadline_ms = from->deadline_ms,
                              .shared = {.size = sizeof made.shared,
                                         .count = (uint32_t)from->count,
                                         .host = &child_host,
                                         .events = (const void *)(child->area + from->events),
                                         .inputs = from->inputs == 0 ? NULL : child->area + from->inputs}};
    while (handler->outcomes != NULL && handler->outcomes[made.outcome_count].name != NULL)
        made.outcome_count++;
    acts_clear(&child->acts);
    handler->handle(child->state, &made.shared);
    child_stays(child);
    child_forget(child);
    child_tell(MESSAGE_RETURNED, child->acts.used);
}

int isolated_main(int argc, char **argv)
{
    struct child child = {.pid = getpid()};
    struct message message;
    struct error error = {0};
    struct stat socket;
    if (argc != 4 || fstat(AREA_SOCKET, &socket) != 0 || !S_ISSOCK(socket.st_mode)) {
        fputs("sluice: " AREA_COMMAND " is what the engine begins for `isolation: process`\n", stderr);
        return EXIT_FAILURE;
    }
    if (!settle(argv[3]) || !map(&child))
        return EXIT_FAILURE;
    child_tell(MESSAGE_MAPPED, (uint64_t)(uintptr_t)child.area);
    if (!child_hear(&message))
        return EXIT_FAILURE;
    if (open_plugin(&child, argv, &error) != 0) {
        memcpy(child.area + AREA_LANE, error.text, sizeof error.text);
        child_tell(MESSAGE_REFUSED, 0);
        (void)child_hear(&message);
        return EXIT_FAILURE;
    }
    watch(&child);
    child_tell(MESSAGE_OPENED, 0);
    while (child_hear(&message))
        call(&child);
    close_plugin(&child);
    return EXIT_SUCCESS;
}
