/*
 * delayed.h - events that wait in the database, as operators list and move them: delayed ones (a retry ladder, a tap's
 * retry), undos that are stuck, those of a name that the file does not have, and held keys, each shown by its first
 * event with how many wait behind it.
 *
 * What is cancelled becomes a dead letter: a running engine makes it, in its own way, when it reads the event.
 */
#ifndef SLUICE_OPERATE_DELAYED_H
#define SLUICE_OPERATE_DELAYED_H

#include "operate/operation.h"
#include "store/ledger_delayed.h"

enum { DELAYED_LIMIT = 100, DELAYED_LIMIT_MAX = 1000 };

struct delayed_filter { /* begins with delayed_filter_none */
    struct span topic;  /* empty: of any */
    int state;          /* as the kinds of delayed_view are numbered; -1: any */
    int64_t older_ms, limit;
    struct span after; /* of a page before */
};
extern const struct delayed_filter delayed_filter_none;
/* One condition: "topic", "state", "older", "limit" or "after", as options and query parameters call them. 0, or
 * -EINVAL with what was expected. */
int delayed_filter_set(const struct operation *operation, struct delayed_filter *filter, struct span name,
                       struct span value, struct error *error);

struct delayed_view {
    char id[37];                       /* by which it is released and cancelled: of the row, or of the key */
    int kind;                          /* its state in the store; DELAYED_KEY: a held key */
    const char *state;                 /* "delayed", "stuck", "unknown" or "key" */
    const char *group, *topic, *event; /* event NULL: it cannot be read */
    struct span key;                   /* at NULL: it has none */
    const char *reason, *cancelled;    /* why it waits; who cancelled it. NULL: nothing is known, nobody */
    int64_t since_ms, due_ms;          /* due_ms 0: at once */
    int64_t tries, behind;             /* failed tries so far; events of its key that wait for it */
    const char *place;                 /* where a page behind it begins */
    int16_t group_number;
    int64_t head; /* of a key: its first event's row */
    struct event_id event_id;
    const char *chain;       /* of a stuck undo: whose it is; NULL: of none */
    struct span correlation; /* and of which correlation */
};
struct delayed_page {
    struct delayed_view *list;
    size_t count;
    const char *next; /* for "after"; NULL: this is the last page */
};

int delayed_list(const struct operation *operation, const struct delayed_filter *filter, struct delayed_page *ret,
                 struct error *error);
/* By its id. */
int delayed_find(const struct operation *operation, struct span id, struct delayed_view *ret, struct error *error);

/* It is due now; of a stuck undo its chain is resumed. */
int delayed_release(const struct operation *operation, const struct delayed_view *view, struct error *error);
/* It becomes a dead letter; of a key its first event does. -EBUSY: nothing says where its dead letter would go. */
int delayed_cancel(const struct operation *operation, const struct delayed_view *view, struct error *error);

void delayed_json(const struct delayed_view *view, struct buffer *out);
void delayed_page_json(const struct delayed_page *page, struct buffer *out);

#endif
