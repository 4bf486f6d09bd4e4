/*
 * delayed.c - /delayed: what operate/delayed.h does, over HTTP.
 */
#include "http/call.h"

#include "operate/delayed.h"

int waiting_list(struct call *call)
{
    struct delayed_filter filter = delayed_filter_none;
    struct delayed_page page;
    int code = 0;
    for (size_t i = call->path_count; code == 0 && i < call->param_count; i++)
        code = delayed_filter_set(&call->operation, &filter, call->params[i].name, call->params[i].value, call->error);
    if (code == 0)
        code = delayed_list(&call->operation, &filter, &page, call->error);
    if (code == 0)
        delayed_page_json(&page, call->answer);
    return code;
}

/* Answers with what was found, as it was before `act`. */
static int find_and(struct call *call,
                    int (*act)(const struct operation *operation, const struct delayed_view *view, struct error *error))
{
    struct delayed_view view;
    int code = delayed_find(&call->operation, call_param(call, "id"), &view, call->error);
    if (code == 0 && act != NULL)
        code = act(&call->operation, &view, call->error);
    if (code == 0) {
        delayed_json(&view, call->answer);
        buffer_byte(call->answer, '\n');
    }
    return code;
}

int waiting_show(struct call *call)
{
    return find_and(call, NULL);
}

int waiting_release(struct call *call)
{
    return find_and(call, delayed_release);
}

int waiting_cancel(struct call *call)
{
    return find_and(call, delayed_cancel);
}
