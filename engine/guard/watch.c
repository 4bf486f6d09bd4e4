/*
 * watch.c - see watch.h.
 *
 * Only what a lane's thread does itself names a lane: a fault that the kernel raises on it, a signal that it sends to
 * itself, exit(), the end of the thread. Every other end of the process (_exit(), a signal to the process, another
 * thread's doing) is for the master to judge by the calls that are open.
 */
#include "guard/watch.h"

#include "guard/table.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WATCH_STACK_SIZE = 64 * 1024 };

/* Of this process; written before its threads run, and read where nothing can be passed: in signal handlers, in exit()
 * and at the end of a thread. */
static struct suspects *watched;
static atomic_int watched_pid;
static int watched_lifeline = -1;
static ino_t watched_inode; /* of the lifeline's pipe */
static pthread_key_t lane_key;
static _Thread_local int32_t thread_lane = -1;

static void note(int32_t lane, enum ending_kind kind, int number)
{
    if (watched == NULL || atomic_load(&watched->noted_lane) != 0)
        return;
    atomic_store(&watched->noted_kind, (int)kind);
    atomic_store(&watched->noted_number, number);
    atomic_store(&watched->noted_lane, lane + 1);
}

static bool in_call(int32_t lane)
{
    return watched != NULL && lane >= 0 && atomic_load(&watched->calls[lane].phase) == CALL_OPEN;
}

/* A fault of a lane's thread is blamed on its last call, open or not. */
static void on_fault(int signal, siginfo_t *info, void *context)
{
    bool own = info->si_code > 0 || info->si_code == SI_TKILL; /* not sent to the process as a whole */
    (void)context;
    if (own && getpid() == watched_pid && thread_lane >= 0 && atomic_load(&watched->calls[thread_lane].count) > 0)
        note(thread_lane, 0, 0);
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigaction(signal, &plain, NULL);
    raise(signal);
}

/* exit() where the engine did not decide to end: the handlers behind this one belong to an engine that is over. */
static void on_exit_called(int status, void *context)
{
    (void)context;
    if (getpid() != watched_pid)
        _exit(status); /* a child that a handler forked */
    if (atomic_load(&watched->decided))
        return;
    if (in_call(thread_lane))
        note(thread_lane, ENDING_STATUS, status);
    _exit(status);
}

static void on_thread_end(void *context)
{
    (void)context;
    if (getpid() != watched_pid)
        _exit(EXIT_FAILURE);
    if (!in_call(thread_lane))
        return;
    note(thread_lane, ENDING_THREAD, 0);
    _exit(EXIT_FAILURE);
}

/* 0 when the descriptor is closed; another number when it is another file's, so that the pipe has no end here. */
static ino_t lifeline_inode(void)
{
    struct stat file;
    return fstat(watched_lifeline, &file) == 0 ? file.st_ino : 0;
}

void watch_process(struct suspects *suspects, int lifeline)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_ONSTACK | SA_NODEFER | SA_SIGINFO};
    watched = suspects;
    atomic_store(&watched_pid, getpid());
    watched_lifeline = lifeline;
    watched_inode = lifeline_inode();
    pthread_key_create(&lane_key, on_thread_end);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigaction(faults[i], &action, NULL);
    on_exit(on_exit_called, NULL);
}

void watch_lane(struct suspects *suspects, uint32_t lane)
{
    atomic_store(&watched_pid, getpid()); /* without a master, the first to say so */
    if (suspects == NULL || lane >= SUSPECT_LANES_MAX)
        return;
    /* Pages of its own: the sanitizers give a thread's signal stack back to the kernel when it ends. */
    stack_t stack = {.ss_size = WATCH_STACK_SIZE,
                     .ss_sp = mmap(NULL, WATCH_STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)};
    if (stack.ss_sp != MAP_FAILED)
        sigaltstack(&stack, NULL); /* kept as long as the thread, and that is as long as the process */
    thread_lane = (int32_t)lane;
    pthread_setspecific(lane_key, suspects);
}

void watch_child(void)
{
    if (watched_pid != 0 && getpid() != watched_pid)
        _exit(EXIT_SUCCESS);
}

void watch_returned(struct suspects *suspects, uint32_t lane)
{
    watch_child();
    if (suspects == NULL || lane >= SUSPECT_LANES_MAX)
        return;
    if (watched_lifeline < 0 || lifeline_inode() == watched_inode) {
        suspects_returned(suspects, lane);
        return;
    }
    note((int32_t)lane, ENDING_DESCRIPTORS, 0);
    _exit(EXIT_FAILURE);
}
