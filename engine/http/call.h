/*
 * call.h - one call of an operator over HTTP, and the functions that answer them. Private to http/.
 *
 * A function of the table in management.c reads the path, the query and the body of the call, does what the same
 * command does, with the same functions of operate/, and writes the answer's JSON. On failure it returns a negative
 * errno with a sentence, which call_status() makes the status of: -EINVAL is 400, -ENOENT 404, -EBUSY 409, -ENOTSUP
 * 501, everything else 503.
 */
#ifndef SLUICE_HTTP_CALL_H
#define SLUICE_HTTP_CALL_H

#include "event/json.h"
#include "operate/operation.h"
#include "run/gateway.h"

struct call {
    struct operation operation;         /* its actor is the client's address, its reason the body's "why" */
    const struct gateway_param *params; /* of the path, path_count of them, then of the query */
    size_t param_count, path_count;
    struct json_object body;  /* count 0: there is none */
    const volatile int *stop; /* the engine is stopping: a long call ends */
    struct buffer *answer;    /* JSON */
    struct error *error;
};

typedef int call_function(struct call *call);

/* Fills operation.reason and body from the request's body. 0 or -EINVAL. */
int call_read(struct call *call, struct span body);
struct span call_param(const struct call *call, const char *name); /* of the path */
int call_status(int code, const char **ret_word);

/* pauses.c */
call_function pauses_list, pauses_make, pauses_end, pauses_end_all;
/* chains.c */
call_function chains_list, chains_show, chains_resume, chains_abort, chains_close;
/* letters.c */
call_function letters_list, letters_show, letters_edit, letters_replay, letters_drop, letter_replay, letter_drop;
/* correlations.c */
call_function correlations_show;
/* delayed.c */
call_function waiting_list, waiting_show, waiting_release, waiting_cancel;

#endif
