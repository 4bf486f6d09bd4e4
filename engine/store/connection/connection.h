/*
 * connection.h - the insides of a connection, for the files of store/ alone.
 *
 *   connect.c       making a connection, opening it when it is needed
 *   advice.c        what to do about one that was not made
 *   shared.c        one session for all connections of a store that one thread uses
 *   socket.c        every wait on its socket, losing it
 *   prepared.c      the statements that the server knows
 *   wire.c          statements in, results out, in libpq's pipeline mode
 *   session.c       what plugins changed in the session, put back
 *   transaction.c   begin, statements, commit, rollback on top of that
 *   param.c         parameters into PostgreSQL's binary format
 *   rows.c          results out of it
 *   sqlstate.c      what an error means
 */
#ifndef SLUICE_STORE_CONNECTION_CONNECTION_H
#define SLUICE_STORE_CONNECTION_CONNECTION_H

#include "base/buffer.h"
#include "base/map.h"
#include "store/store.h"

#include <libpq-fe.h>
#include <stdatomic.h>

enum {
    PENDING_MAX = 1024,                  /* statements in one pipeline */
    PREPARED_MAX = 1000,                 /* statements of one connection; past it the connection is renewed */
    PARAM_BYTES_MAX = 512 * 1024 * 1024, /* parameters of one statement */
    ON_CONFLICT_CLAIMS = 4,              /* claims without a duplicate until a plain insert is tried first */
};

struct store {
    char *url, *application, *session; /* session: the "options" of a connection */
    int64_t connect_timeout_ms, statement_timeout_ms;
    bool allow_unsafe, announce;
    _Atomic int64_t unreachable_since_ms, announced_ms; /* monotonic; see outage.c */
    struct series *round_trips, *up;                    /* NULL: not counted */
    atomic_ullong outages, crashes;                     /* see connection_outages(), connection_crashes() */
    atomic_bool marks;                                  /* see store_mark_transactions() */
    bool shares_session;                                /* see shared.c; what follows is its own */
    struct connection *holder, *spare; /* who has the session; who keeps it while no connection is there. NULL: none */
};

/* A statement as the server of this connection knows it: one a text and list of parameter types. */
struct prepared {
    struct prepared *next; /* the same text with other types */
    char name[16];
    bool sent;   /* its Parse was sent and has not failed */
    bool reused; /* it was executed before the present pipeline */
    uint8_t type_count, types[STORE_PARAMS_MAX];
};

enum pending_kind {
    PENDING_PREPARE,
    PENDING_STATEMENT,
    PENDING_SESSION,
    PENDING_SEPARATE,
    PENDING_OWN,
    PENDING_BEGIN,
    PENDING_COMMIT,
    PENDING_ROLLBACK,
    PENDING_SCRIPT /* one of a script: somebody's own text */
};

struct pending { /* a result that the server still has to send */
    enum pending_kind kind;
    const struct statement *statement;
    struct prepared *prepared;
    bool reused;
};

struct rows {
    PGresult *result;
    struct rows *next; /* in the connection's list */
};

enum transaction {
    TRANSACTION_NONE,
    TRANSACTION_BEGUN, /* by the caller; "begin" goes with the first statement */
    TRANSACTION_OPEN,  /* "begin" is sent */
};

enum { SESSION_COLUMNS = 9, SESSION_OWN = 3 };

struct session {                   /* see session.c */
    bool asked, known;             /* what was there before the first statement of a plugin; its answer has come */
    char *before[SESSION_COLUMNS]; /* NULL: empty */
    char *own[SESSION_OWN];        /* settings that the engine's statements need as they were */
    bool own_due;                  /* a plugin's statement was the last one */
    bool whole_due;                /* the next comparison is whole */
    int64_t whole_ms;              /* when the last one was */
    bool replace;                  /* the connection is closed when the transaction is over */
    char changed[200];             /* by plugins in the last transaction; "": nothing */
    bool separate;                 /* before the next statement of a plugin */
    char left[200];                /* by the plugin before it, in this transaction; "": nothing */
};

struct connection {
    struct store *store;
    char *application;
    PGconn *pg;       /* NULL: not connected */
    int interrupt_fd; /* eventfd */
    bool any_server;  /* a standby or read-only sessions will do: to look at them */
    int64_t next_try_ms, backoff_ms;
    unsigned random;

    enum transaction transaction;
    int64_t deadline_ms;
    enum store_result failed; /* not STORE_OK: only a rollback is possible */
    bool tampered;
    bool plugin_ran; /* a statement of a plugin was sent in the present transaction, or the last one */
    struct session session;
    char sqlstate[6];      /* of the last failure; "" when it was not the server's */
    int script_line;       /* at which the last script failed; 0: it did not, or nobody knows */
    bool script_committed; /* the last script had a "commit" that was done, whatever became of the rest */
    bool crash_elsewhere;  /* see connection_crash_elsewhere() */

    struct intmap *prepared; /* address of the text → struct prepared */
    size_t prepared_count;
    struct pending *pending;
    size_t pending_count, pending_size;
    struct rows **results; /* of the statements of the pipeline just read, in order; elements belong to `rows` */
    size_t result_count, result_size;
    bool refused;          /* the server answered a statement of this pipeline with an error: nothing after it ran */
    struct buffer bytes;   /* parameters on their way */
    struct rows *rows;     /* all results handed out since the last begin */
    struct arena *scratch; /* until the next begin */

    /* A plain insert is tried first; the first duplicate key aborts it and the claim restarts with "on conflict", as do
     * the next claims until this has counted down to 0. See ledger/claim.c. */
    int on_conflict_countdown;
    struct outbox_ids {
        int64_t next, end; /* ids reserved for this connection's outbox rows */
    } outbox_ids;
    struct outbox_table_texts {
        struct statement add, done;
    } outbox_table; /* texts NULL: none yet. See ledger/outbox_table.c */
};

/* --- connect.c */
enum store_result connection_open(struct connection *connection, int64_t deadline_ms, struct error *error);

/* --- advice.c */
const char *connection_advice(const char *text); /* of libpq or the server; NULL: none */

/* --- shared.c */
void shared_borrow(struct connection *connection); /* the store's session, when nobody is in a transaction on it */
void shared_keep(struct connection *connection);   /* before it is destroyed: the store's spare one has it then */
void shared_own(struct connection *connection);    /* it has opened a session: the next one to borrow has it */

/* --- socket.c */
/* Until the socket is ready for events (POLLIN, POLLOUT): 0, -ETIMEDOUT, -EINTR (connection_interrupt), -EIO. */
int connection_wait(struct connection *connection, short events, int64_t deadline_ms);
void connection_drop(struct connection *connection); /* closes the socket; the server rolls back */
/* outage.c: a connection could not be made, or was */
void outage_begin(struct store *store, const char *sentence, const char *advice); /* advice NULL: none */
void outage_end(struct store *store);
void outage_notice(void *context, const PGresult *result); /* libpq's; the context is the connection */
void connection_mark_down(struct connection *connection);  /* counts, drops, and says so in METRIC_STORE_UP */
void connection_count_outage(const struct connection *connection);
/* A wait that failed: the sentence, and the class (not the commit's: that is for the caller). Drops the connection. */
enum store_result connection_wait_failed(struct connection *connection, int code, struct error *error);
/* The same for a call of libpq that failed, with libpq's sentence. */
enum store_result connection_lost(struct connection *connection, struct error *error);
/* What libpq says of the last failure, on one line. */
void connection_error_text(const struct connection *connection, char *buf, size_t size);

/* --- prepared.c */
/* The entry of this text with these types, made when it is new. */
struct prepared *prepared_get(struct connection *connection, const struct statement *statement, size_t count,
                              const struct store_param *params);
void prepared_release(struct connection *connection); /* all of them */

/* --- wire.c */
enum store_result wire_push(struct connection *connection, enum pending_kind kind, const struct statement *statement,
                            size_t param_count, const struct store_param *params, struct error *error);
enum store_result wire_sync(struct connection *connection, struct error *error); /* a Sync; not yet flushed */
enum store_result wire_flush(struct connection *connection, int64_t deadline_ms, struct error *error);
/* Reads all results up to the Sync. The first failure is the answer; later ones follow from it. */
enum store_result wire_read(struct connection *connection, int64_t deadline_ms, struct error *error);
enum store_result wire_run(struct connection *connection, int64_t deadline_ms, struct error *error); /* the three */
/* Waits for the next PGresult; *ret NULL at the end of a command. */
enum store_result wire_result(struct connection *connection, int64_t deadline_ms, PGresult **ret, struct error *error);
/* The answer to a result that is an error; fills error and connection->sqlstate. */
enum store_result wire_failure(struct connection *connection, const struct pending *pending, const PGresult *result,
                               struct error *error);

/* --- session.c */
extern const struct statement session_compare, session_reset, session_own;
bool session_statement(const struct statement *statement);                /* one of these two */
bool session_whole(struct connection *connection);                        /* whether the next comparison is whole */
void session_take(struct connection *connection, const PGresult *result); /* the answer to one, or its error */
void session_take_left(struct connection *connection, const PGresult *result); /* the same, between two handlers */
void session_forget(struct connection *connection);                            /* the connection is closed */
/* Another connection has the session now: what is remembered of it goes there, what a transaction left stays. */
void session_hand_on(struct session *from, struct session *to);

/* --- param.c */
Oid param_oid(enum param_type type, bool array);
int param_encode(struct buffer *out, const struct store_param *param, bool *ret_null); /* -EMSGSIZE, -EINVAL */

/* --- transaction.c */
/* In the caller's transaction when there is one, else on its own. */
enum store_result connection_run(struct connection *connection, const struct statement *statement, size_t param_count,
                                 const struct store_param *params, struct rows **ret, struct error *error);
/* The caller found the transaction to have failed: only a rollback is possible. Returns the result given. */
enum store_result connection_fail(struct connection *connection, enum store_result result);

/* --- rows.c */
struct rows *rows_keep(struct connection *connection, PGresult *result); /* takes the result */
void rows_release(struct connection *connection);                        /* all of them */
size_t rows_affected(const struct rows *rows); /* by the command tag: rows inserted, updated, deleted */

/* --- sqlstate.c */
enum sqlstate_origin { SQLSTATE_ENGINE, SQLSTATE_PLUGIN, SQLSTATE_COMMIT };
enum store_result sqlstate_class(const char *sqlstate, enum sqlstate_origin origin);
int store_result_errno(enum store_result result);
/* True when a plugin's text would end or change the transaction it runs in: its first word decides. */
bool sqlstate_transaction_word(const char *text);

#endif
