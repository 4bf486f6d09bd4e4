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

int chains_show(struct call *call)
{
    struct chain_view view = {0};
    int code = chain_find(&call->operation, arena_string(call->operation.arena, call_param(call, "chain")),
                          call_param(call, "correlation"), &view, call->error);
    if (code == 0) {
        chain_json(&view, call->answer);
        buffer_byte(call->answer, '\n');
    }
    return code;
}
