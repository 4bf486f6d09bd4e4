/*
 * call.c - see call.h.
 */
#include "http/call.h"

#include <errno.h>

int call_read(struct call *call, struct span body)
{
    struct error why = {0};
    if (body.length == 0)
        return 0;
    if (json_scan(body, call->operation.arena, &call->body, &why) != 0)
        return error_set(call->error, EINVAL, "The body must be a JSON object: %s", why.text);
    const struct json_member *reason = json_find(&call->body, SPAN("why"));
    if (reason == NULL)
        return 0;
    if (reason->kind != JSON_KIND_STRING)
        return error_set(call->error, EINVAL, "\"why\" must be a text");
    return operation_because(&call->operation,
                             json_unescape(reason->value, reason->value_escaped, call->operation.arena), call->error);
}

struct span call_param(const struct call *call, const char *name)
{
    for (size_t i = 0; i < call->path_count; i++)
        if (span_is(call->params[i].name, name))
            return call->params[i].value;
    return (struct span){NULL, 0};
}

int call_status(int code, const char **ret_word)
{
    static const struct {
        int code, status;
        const char *word;
    } table[] = {
        {-EINVAL, 400, "bad_request"},
        {-ENOENT, 404, "not_found"},
        {-EBUSY, 409, "conflict"},
        {-ENOTSUP, 501, "not_supported"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].code == code) {
            *ret_word = table[i].word;
            return table[i].status;
        }
    *ret_word = "unavailable";
    return 503;
}
