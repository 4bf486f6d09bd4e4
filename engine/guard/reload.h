/*
 * reload.h - what the master and its workers tell each other of a reload, in memory that they share.
 *
 * A worker asks for one and gets a ticket; the master takes what was asked for, one at a time, and answers it. Requests
 * that ask the same and have not begun share a ticket, so one reload answers them all. The last RELOAD_ANSWERS answers
 * are kept; who asks later for one is told that it is gone. Beside that, a worker notes what only it knows of the files
 * that it runs, for the answer: the versions of their plugins.
 *
 * Threads: any, of any process. A process that ends inside a call blocks nobody.
 */
#ifndef SLUICE_GUARD_RELOAD_H
#define SLUICE_GUARD_RELOAD_H

#include "base/buffer.h"

enum {
    RELOAD_ANSWERS = 16,
    RELOAD_NOTES = 4,
    RELOAD_NOTE_MAX = 16 * 1024,
    RELOAD_ANSWER_MAX = 64 * 1024, /* bytes; what is longer is cut, and ends in RELOAD_CUT */
};
#define RELOAD_CUT "\n... (cut: the answer is longer than 64 KiB)\n"

struct reload;

/* Made before the fork and kept as long as the process. NULL when there is no memory for it. */
struct reload *reload_create(void);

/* ------------------------------------------------------------------------------------------------------ the workers */

/* Asks the master to reload, or with `plan` only to say what a reload would do. Returns the ticket, never 0. */
uint32_t reload_ask(struct reload *reload, bool plan);
/* Whether the ticket's answer is there; then it is appended to *ret_json. False for a ticket that nobody was given. */
bool reload_answered(struct reload *reload, uint32_t ticket, bool *ret_accepted, struct buffer *ret_json);
/* `reading`: which reading of the files, from 1; the notes of RELOAD_NOTES of them are kept. One that is longer than
 * RELOAD_NOTE_MAX is cut. */
void reload_note(struct reload *reload, uint32_t reading, struct span text);

/* ------------------------------------------------------------------------------------------------------- the master */

/* Whether a reload was asked for; the one that waits longest. It has begun then: who asks from now on gets another one.
 * The file must be read after this call. False, too, when a worker stands still inside: look again later. */
bool reload_take(struct reload *reload, bool *ret_plan, uint32_t *ret_ticket);
/* `json`: what is told to those who asked. */
void reload_answer(struct reload *reload, uint32_t ticket, bool accepted, struct span json);
/* Appends what a worker of these files noted; nothing when none did, or when it is too long ago. */
void reload_noted(struct reload *reload, uint32_t reading, struct buffer *ret);

#endif
