/*
 * mailbox.c - see mailbox.h.
 */
#include "run/mailbox.h"

#include "base/condition.h"

void mailbox_init(struct mailbox *mailbox)
{
    mailbox->tail = &mailbox->head;
    mailbox->idle = true;
    pthread_mutex_init(&mailbox->lock, NULL);
    cond_init_monotonic(&mailbox->wake);
}

void mailbox_destroy(struct mailbox *mailbox)
{
    pthread_cond_destroy(&mailbox->wake);
    pthread_mutex_destroy(&mailbox->lock);
}

void mailbox_push(struct mailbox *mailbox, struct lane_entry *head, struct lane_entry **tail)
{
    pthread_mutex_lock(&mailbox->lock);
    *mailbox->tail = head;
    mailbox->tail = tail;
    *tail = NULL;
    pthread_cond_signal(&mailbox->wake);
    pthread_mutex_unlock(&mailbox->lock);
}

void mailbox_release(struct mailbox *mailbox, const struct release_request *request)
{
    pthread_mutex_lock(&mailbox->lock);
    mailbox->release = request;
    pthread_cond_signal(&mailbox->wake);
    pthread_mutex_unlock(&mailbox->lock);
}

void mailbox_wake(struct mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    pthread_cond_signal(&mailbox->wake);
    pthread_mutex_unlock(&mailbox->lock);
}

void mailbox_stop(struct mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    mailbox->stop = true;
    pthread_cond_signal(&mailbox->wake);
    pthread_mutex_unlock(&mailbox->lock);
}

bool mailbox_idle(struct mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    bool idle = mailbox->idle && mailbox->head == NULL;
    pthread_mutex_unlock(&mailbox->lock);
    return idle;
}

void mailbox_wait_locked(struct mailbox *mailbox, int64_t until_ms)
{
    if (until_ms == INT64_MAX)
        pthread_cond_wait(&mailbox->wake, &mailbox->lock);
    else
        cond_timedwait_ms(&mailbox->wake, &mailbox->lock, until_ms);
}

struct lane_entry *mailbox_take_locked(struct mailbox *mailbox)
{
    struct lane_entry *head = mailbox->head;
    mailbox->head = NULL;
    mailbox->tail = &mailbox->head;
    return head;
}
