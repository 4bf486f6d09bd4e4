/*
 * mailbox.h - how other threads hand items to a lane, ask it to release streams, and ask it to stop.
 *
 * Any thread calls the functions; the lane's thread takes everything at once, with the lock held as said.
 */
#ifndef SLUICE_RUN_MAILBOX_H
#define SLUICE_RUN_MAILBOX_H

#include <pthread.h>

#include "flow/lane.h"

/* Streams that a group's lanes must release, whatever the epoch: items of a stale one are lost already. Each lane
 * removes their items and counts down `left`. */
struct release_request {
    const uint32_t *streams;
    size_t count;
    pthread_mutex_t *lock;
    pthread_cond_t *done;
    size_t *left;
};

struct mailbox {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct lane_entry *head, **tail;
    bool stop;                             /* finish the batch, then leave */
    const struct release_request *release; /* NULL: none is asked for */
    bool idle;                             /* the lane has nothing queued and runs nothing */
};

void mailbox_init(struct mailbox *mailbox);
void mailbox_destroy(struct mailbox *mailbox);
/* Hands over a list of items linked by entry.next; `tail` is the last one's next. */
void mailbox_push(struct mailbox *mailbox, struct lane_entry *head, struct lane_entry **tail);
/* The request lives until the lane counted down its `left`. */
void mailbox_release(struct mailbox *mailbox, const struct release_request *request);
void mailbox_wake(struct mailbox *mailbox); /* something that the lane looks at has changed */
void mailbox_stop(struct mailbox *mailbox);
/* Whether nothing is in the mailbox, the lane or a batch. */
bool mailbox_idle(struct mailbox *mailbox);

/* The lane's thread, with the lock held: sleeps until woken, or until until_ms (monotonic; INT64_MAX: for ever). */
void mailbox_wait_locked(struct mailbox *mailbox, int64_t until_ms);
struct lane_entry *mailbox_take_locked(struct mailbox *mailbox); /* all of it, linked by next */

#endif
