/*
 * isolated.c - see isolated.h.
 */
#include "isolate/isolated.h"

#include "base/clock.h"
#include "base/log.h"
#include "isolate/area.h"
#include "plugin/copies.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ISOLATED_OPEN_MS = 10000, /* its start and open() may take */
    ISOLATED_CLOSE_MS = 2000, /* its close() */
    ISOLATED_LEFT_MS = 200,   /* between the end of its connection and its own */
    ISOLATED_LOOK_MS = 100,   /* how often it is looked whether it is stopped, interrupted, or has used up its `cpu` */
    ISOLATED_STALL_MS = 600,  /* a look that takes this long was held up */
    ISOLATED_FILES_FROM = 10, /* descriptors that are handed on are not among those that they become */
};

struct isolated {
    const struct plugin_ref *ref;
    uint32_t lane;
    struct plugin_state filled; /* the state as each process gets it; here it is never opened */
    char path[PATH_MAX], sha256[SHA256_DIGITS + 1];
    pid_t pid; /* 0: none runs */
    int process, socket;
    char *area;               /* NULL: none */
    atomic_bool *interrupted; /* of the call */
    int64_t cpu_until_ms;     /* of the call, on the clock of its process; 0: it may take any processor time */
    struct pack pack;
};

/* ------------------------------------------------------------------------------------------------------ its memory */

/* A file in memory that keeps its size: one that got smaller would end whoever reads it. */
static int memory_make(void)
{
    int file = memfd_create("sluice-plugin", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file >= 0 && (ftruncate(file, (off_t)(AREA_LANE + AREA_ACTS)) != 0 ||
                      fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)) {
        int code = errno;
        close(file);
        errno = code;
        return -1;
    }
    return file;
}

static void area_drop(struct isolated *isolated)
{
    if (isolated->area != NULL)
        munmap(isolated->area, AREA_LANE + AREA_ACTS);
    isolated->area = NULL;
}

/* ----------------------------------------------------------------------------------------------------- its process */

static int file_above(int file)
{
    int above = file < 0 ? -1 : fcntl(file, F_DUPFD_CLOEXEC, ISOLATED_FILES_FROM);
    if (file >= 0)
        close(file);
    return above;
}

static int spawn(struct isolated *isolated, int socket, int memory)
{
    char parent[24], word[] = AREA_COMMAND, program[] = "sluice";
    char *argv[] = {program, word, isolated->path, isolated->sha256, parent, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none, all;
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, socket, AREA_SOCKET);
    posix_spawn_file_actions_adddup2(&files, memory, AREA_MEMORY);
    posix_spawnattr_init(&how);
    posix_spawnattr_setsigmask(&how, &none);
    posix_spawnattr_setsigdefault(&how, &all);
    posix_spawnattr_setpgroup(&how, 0); /* with it end the processes that it leaves */
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    int code = posix_spawn(&isolated->pid, "/proc/self/exe", &files, &how, argv, environ);
    posix_spawnattr_destroy(&how);
    posix_spawn_file_actions_destroy(&files);
    if (code != 0)
        isolated->pid = 0;
    return code;
}

/* It has ended, or is ended now; *ret: how. */
static void reap(struct isolated *isolated, struct process_ending *ret)
{
    int status = 0;
    if (isolated->pid == 0)
        return;
    kill(isolated->pid, SIGKILL);
    while (waitpid(isolated->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    kill(-isolated->pid, SIGKILL);
    if (ret->kind == 0)
        *ret = ending_of_status(status);
    ret->plugin = true;
    close(isolated->process);
    close(isolated->socket);
    isolated->pid = 0;
    area_drop(isolated);
}

void isolated_end(struct isolated *isolated)
{
    struct process_ending ending = {0};
    reap(isolated, &ending);
}

static bool has_ended(const struct isolated *isolated, int within_ms)
{
    struct pollfd process = {.fd = isolated->process, .events = POLLIN};
    int n;
    do
        n = poll(&process, 1, within_ms);
    while (n < 0 && errno == EINTR);
    return n > 0;
}

/* Between calls: it has ended, or said something that nobody asked for. */
static bool is_spoilt(const struct isolated *isolated)
{
    struct pollfd both[] = {{.fd = isolated->socket, .events = POLLIN}, {.fd = isolated->process, .events = POLLIN}};
    return poll(both, 2, 0) > 0;
}

static bool is_stopped(const struct isolated *isolated)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)isolated->pid, &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

static void tell(const struct isolated *isolated, enum message_kind kind, uint64_t value)
{
    struct message message = {kind, value};
    while (send(isolated->socket, &message, sizeof message, MSG_NOSIGNAL) < 0 && errno == EINTR)
        continue; /* what else fails is found by hear() */
}

/* Processor time of its process, all threads, in milliseconds; 0 when it has none. */
static int64_t cpu_ms(const struct isolated *isolated)
{
    clockid_t clock;
    struct timespec time = {0};
    if (clock_getcpuclockid(isolated->pid, &clock) != 0 || clock_gettime(clock, &time) != 0)
        return 0;
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* The call is waited for no longer, though its time is not over. */
static bool call_is_over(const struct isolated *isolated, struct process_ending *ending)
{
    if (isolated->interrupted != NULL && atomic_exchange(isolated->interrupted, false)) {
        ending->kind = ENDING_INTERRUPTED;
    } else if (isolated->cpu_until_ms != 0 && cpu_ms(isolated) > isolated->cpu_until_ms) {
        ending->kind = ENDING_CPU;
        ending->number = (int)isolated->ref->cpu_ms;
    }
    return ending->kind != 0;
}

/* The next message, or how the process ended, which it has by then. One that asks when its time is over is ended. */
static bool hear(struct isolated *isolated, int64_t until_ms, struct message *ret, struct process_ending *ending)
{
    struct pollfd both[] = {{.fd = isolated->socket, .events = POLLIN}, {.fd = isolated->process, .events = POLLIN}};
    *ending = (struct process_ending){.lane = -1};
    for (;;) {
        if (call_is_over(isolated, ending))
            break;
        int64_t began = clock_monotonic_ms(), left = until_ms - began;
        int n = poll(both, 2, left > ISOLATED_LOOK_MS ? ISOLATED_LOOK_MS : left > 0 ? (int)left : 0);
        bool stopped = n == 0 && is_stopped(isolated);
        int64_t took = clock_monotonic_ms() - began;
        if (took > ISOLATED_STALL_MS) { /* the machine stood still, the process too */
            until_ms += took;
            left += took;
        }
        if ((n < 0 && errno == EINTR) || (n == 0 && left > ISOLATED_LOOK_MS && !stopped))
            continue;
        if (n <= 0) {
            ending->kind = stopped ? ENDING_STOPPED : ENDING_HANG;
            ending->number = ISOLATED_GRACE_MS;
            break;
        }
        ssize_t length = recv(isolated->socket, ret, sizeof *ret, MSG_DONTWAIT);
        if (length == (ssize_t)sizeof *ret) {
            if (ret->kind != MESSAGE_ASKS || clock_monotonic_ms() <= until_ms)
                return true;
            ending->kind = ENDING_HANG;
            ending->number = ISOLATED_GRACE_MS;
            break;
        }
        if (length < 0 && errno == EAGAIN && both[1].revents == 0)
            continue;
        if (!has_ended(isolated, ISOLATED_LEFT_MS))
            ending->kind = is_stopped(isolated) ? ENDING_STOPPED : ENDING_DESCRIPTORS;
        break;
    }
    reap(isolated, ending);
    return false;
}

/* ------------------------------------------------------------------------------------------------------ its opening */

static int opening_failed(struct isolated *isolated, const struct process_ending *ending, struct error *error)
{
    char words[ENDING_WORDS_MAX];
    isolated_end(isolated);
    return error_set(error, EAGAIN, "plugin '%s': its process ended while it opened: %s", isolated->ref->name,
                     ending->kind == ENDING_HANG ? "it was not ready in time" : ending_text(ending, words));
}

static bool pack_state(struct isolated *isolated)
{
    const struct sluice_plugin *plugin = isolated->ref->plugin;
    struct pack *pack = &isolated->pack;
    struct area_open *open = (struct area_open *)(void *)isolated->area;
    *pack = (struct pack){.area = isolated->area, .address = pack->address, .used = sizeof *open, .max = AREA_LANE};
    *open = (struct area_open){.lane = isolated->lane,
                               .state_size = plugin->state_size,
                               .memory = (uint64_t)isolated->ref->memory,
                               .exec = isolated->ref->exec,
                               .sockets = isolated->ref->sockets};
    void *state = pack_room(pack, plugin->state_size, &open->state);
    if (state == NULL)
        return false;
    if (plugin->state_size > 0)
        memcpy(state, isolated->filled.state, plugin->state_size);
    pack_fields(pack, plugin->settings, state);
    return !pack->full;
}

/* Maps, opens: what the process does before its first call. */
static int greet(struct isolated *isolated, struct error *error)
{
    struct message message;
    struct process_ending ending;
    char why[ERROR_TEXT_MAX] = "";
    int64_t until_ms = clock_monotonic_ms() + ISOLATED_OPEN_MS;
    if (!hear(isolated, until_ms, &message, &ending))
        return opening_failed(isolated, &ending, error);
    isolated->pack.address = message.value;
    if (!pack_state(isolated)) {
        isolated_end(isolated);
        return error_set(error, E2BIG, "plugin '%s': its settings are larger than %zu bytes", isolated->ref->name,
                         AREA_LANE);
    }
    tell(isolated, MESSAGE_OPEN, 0);
    if (!hear(isolated, until_ms, &message, &ending))
        return opening_failed(isolated, &ending, error);
    if (message.kind == MESSAGE_OPENED)
        return 0;
    memcpy(why, isolated->area + AREA_LANE, sizeof why - 1);
    isolated_end(isolated);
    error_set(error, EAGAIN, "%s", why);
    return error_hint(error, "see its settings: sluice inspect %s", isolated->ref->path);
}

static int begin(struct isolated *isolated, struct error *error)
{
    isolated->cpu_until_ms = 0;
    int pair[2] = {-1, -1}, memory = file_above(memory_make());
    if (memory < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        int code = errno;
        close(memory);
        return error_set(error, EAGAIN, "plugin '%s': no process can be begun: %s", isolated->ref->name,
                         strerror(code));
    }
    pair[1] = file_above(pair[1]);
    void *area = mmap(NULL, AREA_LANE + AREA_ACTS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, memory, 0);
    int code = area == MAP_FAILED ? errno : pair[1] < 0 ? EMFILE : spawn(isolated, pair[1], memory);
    isolated->area = area == MAP_FAILED ? NULL : area;
    isolated->socket = pair[0];
    close(pair[1]);
    close(memory);
    isolated->process = code != 0 ? -1 : (int)syscall(SYS_pidfd_open, isolated->pid, 0);
    if (code == 0 && isolated->process < 0) {
        code = errno;
        kill(isolated->pid, SIGKILL);
        waitpid(isolated->pid, NULL, 0);
        isolated->pid = 0;
    }
    if (code != 0) {
        close(isolated->socket);
        area_drop(isolated);
        return error_set(error, EAGAIN, "plugin '%s': no process can be begun: %s", isolated->ref->name,
                         strerror(code));
    }
    return greet(isolated, error);
}

int isolated_open(const struct plugin_ref *ref, uint32_t lane, struct plugin_state *ret, struct error *error)
{
    char original[PATH_MAX];
    struct isolated *isolated = calloc(1, sizeof *isolated);
    if (isolated == NULL)
        return error_set(error, ENOMEM, "plugin '%s': out of memory", ref->name);
    *isolated = (struct isolated){.ref = ref, .lane = lane};
    if (!copies_find(ref->path, original, isolated->path) && realpath(ref->path, isolated->path) == NULL)
        snprintf(isolated->path, sizeof isolated->path, "%s", ref->path);
    int r = sha256_file(isolated->path, isolated->sha256);
    r = r != 0 ? error_set(error, -r, "plugin '%s': %s cannot be read: %s", ref->name, isolated->path, strerror(-r))
               : plugin_fill(ref, &isolated->filled, error);
    if (r == 0)
        r = begin(isolated, error);
    if (r != 0) {
        plugin_close(&isolated->filled);
        free(isolated);
        return r;
    }
    *ret = (struct plugin_state){.plugin = ref->plugin, .isolated = isolated};
    return 0;
}

void isolated_close(struct plugin_state *state)
{
    struct isolated *isolated = state->isolated;
    if (isolated == NULL)
        return;
    if (isolated->pid != 0) {
        char words[ENDING_WORDS_MAX];
        struct process_ending ending = {0};
        shutdown(isolated->socket, SHUT_RDWR);
        bool ended = has_ended(isolated, ISOLATED_CLOSE_MS);
        reap(isolated, &ending);
        if (!ended)
            log_warn("lane", "the process of plugin '%s' does not end when it is asked to; killed",
                     isolated->ref->name);
        else if (ending.kind != ENDING_STATUS || ending.number != EXIT_SUCCESS)
            log_warn("lane", "the process of plugin '%s' was asked to end, and failed: %s", isolated->ref->name,
                     ending_text(&ending, words));
    }
    plugin_close(&isolated->filled);
    free(isolated);
    *state = (struct plugin_state){0};
}

/* ------------------------------------------------------------------------------------------------------------ calls */

static uint64_t handler_index(const struct isolated *isolated, const struct sluice_handler *handler)
{
    return (uint64_t)(handler - isolated->ref->plugin->handlers);
}

static bool pack_call(struct isolated *isolated, const struct isolated_call *from)
{
    const struct sluice_call *call = from->call;
    struct pack *pack = &isolated->pack;
    struct area_call *head = (struct area_call *)(void *)isolated->area;
    size_t step = from->handler->input_size;
    *pack = (struct pack){.area = isolated->area, .address = pack->address, .used = sizeof *head, .max = AREA_LANE};
    *head = (struct area_call){
        .handler = handler_index(isolated, from->handler), .count = call->count, .deadline_ms = from->deadline_ms};
    struct sluice_event *events = pack_room(pack, sizeof *events * call->count, &head->events);
    char *inputs = step == 0 ? NULL : pack_room(pack, step * call->count, &head->inputs);
    if (events == NULL || (step != 0 && inputs == NULL))
        return false;
    memcpy(events, call->events, sizeof *events * call->count);
    if (inputs != NULL)
        memcpy(inputs, call->inputs, step * call->count);
    for (size_t i = 0; i < call->count && !pack->full; i++) {
        pack_whole(pack, events[i].value);
        struct sluice_text *texts[] = {&events[i].id,   &events[i].topic, &events[i].key,
                                       &events[i].name, &events[i].value, &events[i].data};
        for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++)
            *texts[t] = pack_text(pack, *texts[t]);
        if (inputs != NULL)
            pack_fields(pack, from->handler->input, inputs + step * i);
    }
    pack->whole = (struct span){NULL, 0};
    return !pack->full;
}

int isolated_call(struct isolated *isolated, const struct isolated_call *call, struct error *error)
{
    isolated->interrupted = call->interrupted;
    if (isolated->pid != 0 && is_spoilt(isolated))
        isolated_end(isolated);
    if (isolated->pid == 0 && begin(isolated, error) != 0)
        return -EAGAIN;
    if (!pack_call(isolated, call))
        return -E2BIG;
    isolated->cpu_until_ms = isolated->ref->cpu_ms == 0 ? 0 : cpu_ms(isolated) + isolated->ref->cpu_ms;
    tell(isolated, MESSAGE_CALL, 0);
    return 0;
}

enum isolated_said isolated_wait(struct isolated *isolated, int64_t until_ms, struct span *ret_acts,
                                 struct process_ending *ret)
{
    struct message message;
    if (!hear(isolated, until_ms, &message, ret))
        return ISOLATED_ENDED;
    if (message.kind == MESSAGE_THREAD) {
        ret->kind = ENDING_THREAD;
        reap(isolated, ret);
        return ISOLATED_ENDED;
    }
    bool good = (message.kind == MESSAGE_RETURNED || message.kind == MESSAGE_ASKS) && message.value <= AREA_ACTS;
    /* of a message that is none, acts that are none */
    *ret_acts = (struct span){isolated->area + AREA_LANE, good ? (size_t)message.value : 1};
    return message.kind == MESSAGE_ASKS ? ISOLATED_ASKS : ISOLATED_RETURNED;
}

struct pack *isolated_pack(struct isolated *isolated)
{
    return &isolated->pack;
}

void isolated_answer(struct isolated *isolated, uint64_t place)
{
    tell(isolated, MESSAGE_ANSWER, place);
}
