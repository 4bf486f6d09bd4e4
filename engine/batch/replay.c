/*
 * replay.c - acts become calls of the host functions.
 */
#include "batch/isolated.h"

#include "isolate/area.h"
#include "isolate/isolated.h"

_Static_assert((int)QUERY_PARAMS_MAX == (int)STORE_PARAMS_MAX, "a statement takes what a query may have");

static bool replay_query(struct replay *replay, const struct act_read *act)
{
    struct call *call = replay->call;
    struct arena *arena = call->batch->arena;
    struct sluice_sql sql = {NULL};
    struct sluice_param *params;
    if (!acts_params(act, QUERY_PARAMS_MAX, arena, &params))
        return false;
    if (act->text.at != NULL) {
        if (act->text.length == 0 || act->text.at[act->text.length - 1] != '\0')
            return false;
        sql.text = isolated_statement(act->text.at);
        if (sql.text == NULL) {
            call_fault_alone(call, "called query() with more statements than a process keeps: a statement's text is "
                                   "constant, what changes is a parameter");
            return true;
        }
    }
    replay->last = host_functions.query(&call->shared, &sql, act->head.n, params);
    if (replay->last != NULL) {
        replay->answers = arena_grown(arena, replay->answers, replay->answer_count, sizeof *replay->answers);
        replay->answers[replay->answer_count++] = replay->last;
    }
    return true;
}

/* The plugin read a place where there is nothing that it can have: the host says so. */
static bool replay_get(struct replay *replay, const struct act *act)
{
    const struct sluice_rows *rows = act->more < replay->answer_count ? replay->answers[act->more] : NULL;
    if (rows == NULL)
        return false;
    if (act->kind == ACT_IS_NULL)
        (void)host_is_null(rows, act->n, act->value);
    else if (act->kind == ACT_GET_INT64)
        (void)host_get_int64(rows, act->n, act->value);
    else if (act->kind == ACT_GET_DOUBLE)
        (void)host_get_double(rows, act->n, act->value);
    else
        (void)host_get_text(rows, act->n, act->value);
    return true;
}

static double double_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool replay_one(struct replay *replay, const struct act_read *act)
{
    const struct sluice_host *host = &host_functions;
    struct sluice_call *call = &replay->call->shared;
    const struct act *head = &act->head;
    switch (head->kind) {
    case ACT_OUTCOME:
        host->outcome(call, head->n, head->value);
        return true;
    case ACT_RETRY:
        host->retry(call, head->n, act->name);
        return true;
    case ACT_REJECT:
        host->reject(call, head->n, act->name);
        return true;
    case ACT_SET_TEXT:
        host->set_text(call, head->n, act->name, act->text);
        return true;
    case ACT_SET_INT64:
        host->set_int64(call, head->n, act->name, (int64_t)head->value);
        return true;
    case ACT_SET_JSON:
        host->set_json(call, head->n, act->name, act->text);
        return true;
    case ACT_SET_DOUBLE:
        host->set_double(call, head->n, act->name, double_of(head->value));
        return true;
    case ACT_SET_BOOL:
        host->set_bool(call, head->n, act->name, (int32_t)head->value);
        return true;
    case ACT_ADD:
        (void)host->add(call, head->value);
        return true;
    case ACT_REPLY:
        host->reply(call, head->n, (uint32_t)head->value, act->text, head->more);
        return true;
    case ACT_QUERY:
        return replay_query(replay, act);
    case ACT_IS_NULL:
    case ACT_GET_INT64:
    case ACT_GET_DOUBLE:
    case ACT_GET_TEXT:
        return replay_get(replay, head);
    case ACT_LOG:
        host->log(call, (uint32_t)head->value, act->name);
        return true;
    case ACT_UNAVAILABLE:
        host->unavailable(call, act->name);
        return true;
    case ACT_FAULT:
        host->fault(call, act->name);
        return true;
    case ACT_FULL:
        call_fault_alone(replay->call, "handed the host more than %zu MiB in one call", AREA_ACTS >> 20);
        return true;
    default:
        return false;
    }
}

bool replay_acts(struct replay *replay, struct span acts)
{
    struct act_read act;
    enum acts_next next;
    replay->last = NULL;
    while ((next = acts_read(&acts, &act)) == ACTS_ONE) {
        replay->last = NULL;
        if (!replay_one(replay, &act))
            return false;
    }
    return next == ACTS_END;
}
