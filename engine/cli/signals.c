/*
 * signals.c - see signals.h.
 */
#include "cli/signals.h"

#include "base/log.h"
#include "cli/cli.h"
#include "guard/attention.h"

#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

enum { HANGUP_LOOKS = 50, HANGUP_LOOK_MS = 10 };

static bool has_terminal; /* of this process and its children: whose end is theirs */

static bool terminal_open(void)
{
    int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* The kernel may send SIGHUP a moment before it takes the terminal away. */
static bool terminal_closes(void)
{
    for (int looks = 0; looks < HANGUP_LOOKS; looks++) {
        if (!terminal_open())
            return true;
        nanosleep(&(struct timespec){.tv_nsec = HANGUP_LOOK_MS * 1000000L}, NULL);
    }
    return false;
}

bool signals_reload(void)
{
    if (!has_terminal || !terminal_closes())
        return true;
    log_warn("run", "SIGHUP: the terminal has closed; draining");
    return false;
}

/* The master's are not handed on. */
static void signals_hangup(struct signals *signals)
{
    if (signals->suspects != NULL)
        log_warn("run", "SIGHUP is ignored here: the master process reloads");
    else if (!signals_reload())
        atomic_fetch_add(&signals->asked, 1);
    else
        log_warn("run", "SIGHUP is ignored: with --single-process nothing is reloaded; restart the engine instead");
}

/* Whether the operator has asked once more: the master counts, for a handler may send signals to its own process. */
static bool signals_asked(struct signals *signals, const siginfo_t *info)
{
    int before = atomic_load(&signals->asked);
    int asked = signals->suspects != NULL ? suspects_asked(signals->suspects) : before + (info->si_pid != getpid());
    atomic_store(&signals->asked, asked > before ? asked : before);
    if (asked <= before)
        log_warn("run", "signal %d from process %d is ignored: the master process stops this one", info->si_signo,
                 (int)info->si_pid);
    return asked > before;
}

static void *signals_main(void *context)
{
    struct signals *signals = context;
    for (;;) {
        siginfo_t info;
        int signal = sigwaitinfo(&signals->set, &info);
        if (signal < 0)
            continue;
        if (signal == SIGHUP) {
            signals_hangup(signals);
            continue;
        }
        if (!signals_asked(signals, &info))
            continue;
        attention_say(signals->suspects);
        if (atomic_load(&signals->starting)) {
            log_info("run", "stopped before it started");
            log_flush();
            _exit(CLI_OK);
        }
        if (atomic_load(&signals->asked) > 1 && signal == SIGINT) {
            log_warn("run", "stopped at once; what was running is redelivered");
            log_flush();
            _exit(130);
        }
    }
    return NULL;
}

void signals_start(struct signals *signals)
{
    pthread_t thread;
    atomic_store(&signals->starting, true);
    sigemptyset(&signals->set);
    sigaddset(&signals->set, SIGTERM);
    sigaddset(&signals->set, SIGINT);
    sigaddset(&signals->set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals->set, NULL);
    if (pthread_create(&thread, NULL, signals_main, signals) == 0)
        pthread_detach(thread);
}

void signals_prepare(void)
{
    sigset_t blocked;
    struct sigaction before;
    has_terminal = sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN && terminal_open();
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
}
