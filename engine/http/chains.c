/*
 * chains.c - /chains: what operate/chain.h does, over HTTP.
 */
#include "http/call.h"

#include "operate/chain.h"

int chains_list(struct call *call)
{
    struct chain_filter filter = chain_filter_none;
    struct chain_page page;
    int code = 0;
    for (size_t i = call->path_count; code == 0 && i < call->param_count; i++)
        code = chain_filter_set(&call->operation, &filter, call->params[i].name, call->params[i].value, call->error);
    if (code == 0)
        code = chain_list(&call->operation, &filter, &page, call->error);
    if (code == 0)
        chain_page_json(&page, call->answer);
    return code;
}

static int find(struct call *call, struct chain_view *ret)
{
    return chain_find(&call->operation, arena_string(call->operation.arena, call_param(call, "chain")),
                      call_param(call, "correlation"), ret, call->error);
}

int chains_show(struct call *call)
{
    struct chain_view view;
    int code = find(call, &view);
    if (code == 0) {
        chain_json(&view, call->answer);
        buffer_byte(call->answer, '\n');
    }
    return code;
}

static int act(struct call *call, enum chain_act what)
{
    struct chain_view view;
    struct chain_did did;
    int code = find(call, &view);
    if (code == 0)
        code = chain_act(&call->operation, what, &view, &did, call->error);
    if (code == 0) {
        chain_did_json(&view, &did, call->answer);
        buffer_byte(call->answer, '\n');
    }
    return code;
}

int chains_resume(struct call *call)
{
    return act(call, CHAIN_RESUME);
}

int chains_abort(struct call *call)
{
    return act(call, CHAIN_ABORT_ASK);
}

int chains_close(struct call *call)
{
    return act(call, CHAIN_CLOSE);
}
