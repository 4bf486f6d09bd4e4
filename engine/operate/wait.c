/*
 * wait.c - see wait.h.
 */
#include "operate/wait.h"

static const char *const causes[WAIT_CAUSE_COUNT] = {
    [WAIT_KEY] = "key",
    [WAIT_RETRY] = "retry",
    [WAIT_UNAVAILABLE] = "unavailable",
    [WAIT_HANDLER] = "handler_stopped",
    [WAIT_PLUGIN] = "plugin_fault",
    [WAIT_DELAYED] = "delayed",
    [WAIT_TIMER] = "timer",
    [WAIT_PAUSED] = "paused",
    [WAIT_BREAKER] = "breaker",
    [WAIT_LIMIT] = "limit",
    [WAIT_EARLY] = "early",
    [WAIT_STUCK] = "chain_stuck",
    [WAIT_DEAD_LETTER] = "dead_letter",
    [WAIT_UNKNOWN] = "unknown_topic",
    [WAIT_OUTBOX] = "outbox",
    [WAIT_NO_LEADER] = "no_leader",
    [WAIT_ENGINE] = "engine_stopped",
    [WAIT_NO_READER] = "no_reader",
    [WAIT_TAP] = "tap",
    [WAIT_TRANSACTION] = "open_transaction",
    [WAIT_QUEUE] = "queue",
};

const char *wait_command(struct arena *arena, const char *command, const char *name)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.,:@%+=/";
    const char *dashes = name[0] == '-' ? "-- " : ""; /* else it would be an option */
    if (name[0] != '\0' && name[strspn(name, plain)] == '\0')
        return arena_format(arena, "%s %s%s", command, dashes, name);
    struct buffer quoted;
    buffer_init(&quoted, 4 * strlen(name) + 1);
    for (const char *at = name; *at != '\0'; at++)
        if (*at == '\'')
            buffer_text(&quoted, "'\\''");
        else
            buffer_byte(&quoted, *at);
    char *text = arena_format(arena, "%s %s'%.*s'", command, dashes, (int)quoted.length, quoted.at);
    buffer_free(&quoted);
    return text;
}

void wait_add(struct waits *waits, struct arena *arena, struct wait wait)
{
    waits->list = arena_grown(arena, waits->list, waits->count, sizeof *waits->list);
    waits->list[waits->count++] = wait;
}

bool waits_have(const struct waits *waits, enum wait_cause cause)
{
    for (size_t i = 0; i < waits->count; i++)
        if (waits->list[i].cause == cause)
            return true;
    return false;
}

static void number_json(const char *name, int64_t number, struct buffer *out)
{
    if (number != 0)
        buffer_format(out, ",\"%s\":%lld", name, (long long)number);
}

void waits_json(const struct waits *waits, struct buffer *out)
{
    buffer_byte(out, '[');
    for (size_t i = 0; i < waits->count; i++) {
        const struct wait *wait = &waits->list[i];
        buffer_format(out, "%s{\"cause\":\"%s\",\"text\":", i > 0 ? "," : "", causes[wait->cause]);
        buffer_json_string(out, span_of(wait->sentence));
        buffer_text(out, ",\"command\":");
        if (wait->command == NULL)
            buffer_text(out, "null");
        else
            buffer_json_string(out, span_of(wait->command));
        if (wait->name != NULL) {
            buffer_text(out, ",\"name\":");
            buffer_json_string(out, span_of(wait->name));
        }
        number_json("until", wait->until_ms, out);
        number_json("count", wait->count, out);
        number_json("tries", wait->tries, out);
        number_json("pid", wait->pid, out);
        buffer_byte(out, '}');
    }
    buffer_byte(out, ']');
}
