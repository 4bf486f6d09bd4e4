/*
 * pauses.c - /pauses: what operate/pause.h does, over HTTP.
 *
 * POST wants {"name": "topic:orders", "for": "10m", "why": "a deploy"}; only the name must be there. DELETE /pauses
 * ends every pause, with ?all=true.
 */
#include "http/call.h"

#include "operate/pause.h"

#include <errno.h>

/* A member of the body that is a text; at NULL: it is not there. */
static int body_text(struct call *call, const char *name, struct span *ret)
{
    const struct json_member *member = json_find(&call->body, span_of(name));
    *ret = (struct span){0};
    if (member == NULL)
        return 0;
    if (member->kind != JSON_KIND_STRING)
        return error_set(call->error, EINVAL, "\"%s\" must be a text", name);
    *ret = json_unescape(member->value, member->value_escaped, call->operation.arena);
    return 0;
}

int pauses_list(struct call *call)
{
    struct pauses_listed listed;
    int code = pause_list(&call->operation, &listed, call->error);
    if (code == 0)
        pauses_json(&listed, call->answer);
    return code;
}

int pauses_make(struct call *call)
{
    struct span name = {0}, duration = {0};
    struct pause made;
    int64_t for_ms = 0;
    int code = body_text(call, "name", &name);
    if (code == 0)
        code = body_text(call, "for", &duration);
    if (code == 0 && name.length == 0)
        code = error_set(call->error, EINVAL,
                         "\"name\" must say what is to be paused: a topic, handler, tap, schedule or dependency");
    if (code == 0 && duration.at != NULL)
        code = pause_duration(duration, &for_ms, call->error);
    if (code == 0)
        code = pause_make(&call->operation, arena_string(call->operation.arena, name), for_ms, &made, call->error);
    if (code == 0)
        pauses_json(&(struct pauses_listed){&made, 1}, call->answer);
    return code;
}

static int finish(struct call *call, const char *name)
{
    struct pauses_listed ended;
    int code = pause_end(&call->operation, name, &ended, call->error);
    if (code == 0)
        pauses_json(&ended, call->answer);
    return code;
}

int pauses_end(struct call *call)
{
    return finish(call, arena_string(call->operation.arena, call_param(call, "name")));
}

int pauses_end_all(struct call *call)
{
    bool all = false;
    for (size_t i = call->path_count; i < call->param_count; i++)
        all = all || (span_is(call->params[i].name, "all") && span_is(call->params[i].value, "true"));
    return all ? finish(call, NULL)
               : error_set(call->error, EINVAL, "say which: DELETE /pauses/NAME, or /pauses?all=true for every pause");
}
