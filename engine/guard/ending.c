/*
 * ending.c - see ending.h.
 */
#include "guard/ending.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

const char *ending_text(const struct process_ending *ending, char buf[ENDING_WORDS_MAX])
{
    switch (ending->kind) {
    case ENDING_SIGNAL:
        snprintf(buf, ENDING_WORDS_MAX, "signal %d (%s)", ending->number, strsignal(ending->number));
        break;
    case ENDING_STATUS:
        snprintf(buf, ENDING_WORDS_MAX, "exit status %d", ending->number);
        break;
    case ENDING_THREAD:
        snprintf(buf, ENDING_WORDS_MAX, "it ended the lane's thread");
        break;
    case ENDING_DESCRIPTORS:
        snprintf(buf, ENDING_WORDS_MAX, "it closed the engine's file descriptors or replaced the process");
        break;
    case ENDING_HANG:
        snprintf(buf, ENDING_WORDS_MAX, "it did not return within its timeout and %d ms", ending->number);
        break;
    case ENDING_CPU:
        snprintf(buf, ENDING_WORDS_MAX, "it took more processor time than the %d ms of `cpu`", ending->number);
        break;
    case ENDING_STOPPED:
        snprintf(buf, ENDING_WORDS_MAX, "it stopped the process");
        break;
    case ENDING_INTERRUPTED:
        snprintf(buf, ENDING_WORDS_MAX, "the engine stops, and waited no longer");
        break;
    }
    return buf;
}

struct process_ending ending_of_status(int status)
{
    if (WIFSIGNALED(status))
        return (struct process_ending){.kind = ENDING_SIGNAL, .number = WTERMSIG(status), .lane = -1};
    return (struct process_ending){.kind = ENDING_STATUS, .number = WEXITSTATUS(status), .lane = -1};
}
