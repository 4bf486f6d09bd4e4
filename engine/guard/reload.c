/*
 * reload.c - two tickets that wait at most, one of each kind, and the latest answers.
 */
#include "guard/reload.h"

#include "guard/table.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

enum { KINDS = 2 }; /* index: whether only a plan is asked for */

struct answer {
    uint32_t ticket; /* 0: unused */
    bool accepted;
    size_t length;
    char json[RELOAD_ANSWER_MAX];
};

struct note {
    uint32_t reading; /* 0: unused */
    size_t length;
    char text[RELOAD_NOTE_MAX];
};

struct reload {
    pid_t master;
    pthread_mutex_t lock; /* of the rest; shared between processes and robust */
    uint32_t last;        /* ticket that was given out; never 0 after the first */
    uint32_t wanted[KINDS];
    uint32_t begun; /* what the master took last and has not answered; 0: nothing */
    uint32_t next;  /* answer to replace */
    struct answer answers[RELOAD_ANSWERS];
    struct note notes[RELOAD_NOTES];
};

struct reload *reload_create(void)
{
    struct reload *reload = mmap(NULL, sizeof *reload, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reload == MAP_FAILED)
        return NULL;
    reload->master = getpid();
    pthread_mutexattr_t shared;
    pthread_mutexattr_init(&shared);
    pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&shared, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&reload->lock, &shared);
    pthread_mutexattr_destroy(&shared);
    return reload;
}

/* `r`: of pthread_mutex_lock() or _trylock(). What a worker left that ended inside is still good: a ticket that nobody
 * waits for, at worst, or half a note. All end with the master. */
static bool locked(struct reload *reload, int r)
{
    if (r == EOWNERDEAD)
        r = pthread_mutex_consistent(&reload->lock);
    return r == 0;
}

uint32_t reload_ask(struct reload *reload, bool plan)
{
    (void)locked(reload, pthread_mutex_lock(&reload->lock));
    if (reload->wanted[plan] == 0) {
        reload->last += reload->last == UINT32_MAX ? 2 : 1;
        reload->wanted[plan] = reload->last;
    }
    uint32_t ticket = reload->wanted[plan];
    pthread_mutex_unlock(&reload->lock);
    wake_master(reload->master);
    return ticket;
}

bool reload_take(struct reload *reload, bool *ret_plan, uint32_t *ret_ticket)
{
    if (!locked(reload, pthread_mutex_trylock(&reload->lock)))
        return false;
    const uint32_t *wanted = reload->wanted;
    bool any = wanted[0] != 0 || wanted[1] != 0;
    bool plan = wanted[0] == 0 || (wanted[1] != 0 && (int32_t)(wanted[1] - wanted[0]) < 0);
    if (any) {
        *ret_plan = plan;
        *ret_ticket = wanted[plan];
        reload->wanted[plan] = 0;
        reload->begun = *ret_ticket;
    }
    pthread_mutex_unlock(&reload->lock);
    return any;
}

void reload_answer(struct reload *reload, uint32_t ticket, bool accepted, struct span json)
{
    struct span cut = SPAN(RELOAD_CUT);
    (void)locked(reload, pthread_mutex_lock(&reload->lock));
    struct answer *answer = &reload->answers[reload->next];
    answer->ticket = 0;
    answer->accepted = accepted;
    answer->length = json.length;
    if (json.length > sizeof answer->json) {
        json = (struct span){json.at, sizeof answer->json - cut.length};
        json.length = span_utf8(json) > 0 ? span_utf8(json) : json.length;
        memcpy(answer->json + json.length, cut.at, cut.length);
        answer->length = json.length + cut.length;
    }
    if (json.length > 0)
        memcpy(answer->json, json.at, json.length);
    answer->ticket = ticket;
    reload->begun = 0;
    reload->next = (reload->next + 1) % RELOAD_ANSWERS;
    pthread_mutex_unlock(&reload->lock);
}

/* Under the lock. */
static const struct answer *answer_find(const struct reload *reload, uint32_t ticket)
{
    for (size_t i = 0; i < RELOAD_ANSWERS; i++)
        if (reload->answers[i].ticket == ticket)
            return &reload->answers[i];
    return NULL;
}

bool reload_answered(struct reload *reload, uint32_t ticket, bool *ret_accepted, struct buffer *ret_json)
{
    if (ticket == 0)
        return false;
    (void)locked(reload, pthread_mutex_lock(&reload->lock));
    const struct answer *found = answer_find(reload, ticket);
    bool given = (int32_t)(reload->last - ticket) >= 0;
    bool open = ticket == reload->begun || ticket == reload->wanted[0] || ticket == reload->wanted[1];
    if (found != NULL) {
        *ret_accepted = found->accepted;
        buffer_append(ret_json, found->json, found->length);
    } else if (given && !open) {
        *ret_accepted = false;
        buffer_text(ret_json, "{\"accepted\":false,\"why\":\"the answer was not fetched before the next ones came; the "
                              "log has it\"}");
    }
    pthread_mutex_unlock(&reload->lock);
    return found != NULL || (given && !open);
}

void reload_note(struct reload *reload, uint32_t reading, struct span text)
{
    struct note *note = &reload->notes[reading % RELOAD_NOTES];
    if (text.length > sizeof note->text)
        text.length = span_utf8((struct span){text.at, sizeof note->text});
    (void)locked(reload, pthread_mutex_lock(&reload->lock));
    note->reading = 0;
    note->length = text.length;
    if (text.length > 0)
        memcpy(note->text, text.at, text.length);
    note->reading = reading;
    pthread_mutex_unlock(&reload->lock);
}

void reload_noted(struct reload *reload, uint32_t reading, struct buffer *ret)
{
    const struct note *note = &reload->notes[reading % RELOAD_NOTES];
    (void)locked(reload, pthread_mutex_lock(&reload->lock));
    if (reading != 0 && note->reading == reading)
        buffer_append(ret, note->text, note->length);
    pthread_mutex_unlock(&reload->lock);
}
