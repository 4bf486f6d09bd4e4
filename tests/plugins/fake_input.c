/*
 * fake_input.c - the fields of one event of a call are put into the struct that its handler reads.
 */
#include "fake_inside.h"

#include <string.h>

static void meta_fill(const struct sluice_field *field, const struct sluice_event *event, void *input)
{
    const struct sluice_text texts[] = {[SLUICE_META_EVENT_ID] = event->id,
                                        [SLUICE_META_TOPIC] = event->topic,
                                        [SLUICE_META_KEY] = event->key,
                                        [SLUICE_META_EVENT_NAME] = event->name};
    const int64_t numbers[] = {[SLUICE_META_TIMESTAMP] = event->timestamp_ms,
                               [SLUICE_META_ATTEMPT] = event->attempt,
                               [SLUICE_META_RETRIES_LEFT] = event->retries_left,
                               [SLUICE_META_RETRY_COUNT] = event->retry_count};
    char *member = (char *)input + field->offset;
    if (field->type == SLUICE_TYPE_META_TEXT)
        memcpy(member, &texts[field->meta], sizeof texts[0]);
    else
        memcpy(member, &numbers[field->meta], sizeof numbers[0]);
}

/* The member that a field is read from; {NULL, 0}: it is absent. Or what is wrong on the way to it. */
static const char *member_of(struct fake_host *host, const struct sluice_field *field, struct sluice_text data,
                             struct sluice_text *ret)
{
    const char *at = field->name;
    for (;;) {
        struct sluice_text name, value, found = {NULL, 0};
        size_t length = field->nested != 0 ? strcspn(at, ".") : strlen(at);
        for (const char *cursor = NULL; fake_json_next(data, &cursor, &name, &value);)
            if (name.length == length && memcmp(name.at, at, length) == 0)
                found = value;
        *ret = found;
        if (at[length] == '\0' || found.at == NULL)
            return NULL;
        if (*found.at == 'n')
            *ret = (struct sluice_text){NULL, 0};
        if (*found.at == 'n')
            return NULL;
        if (*found.at != '{')
            return fake_text(host, "field '%s': '%.*s' is no object", field->name, (int)(at + length - field->name),
                             field->name);
        data = found;
        at += length + 1;
    }
}

const char *fake_input(struct fake_host *host, const struct sluice_handler *handler, const struct sluice_event *event,
                       void *input)
{
    for (const struct sluice_field *field = handler->input; field != NULL && field->name != NULL; field++) {
        if (field->type == SLUICE_TYPE_META_TEXT || field->type == SLUICE_TYPE_META_INT64) {
            meta_fill(field, event, input);
            continue;
        }
        struct sluice_text found = {NULL, 0};
        const char *wrong = member_of(host, field, event->data, &found);
        if (wrong == NULL)
            wrong = fake_fill(host, &host->memory, field, found, input);
        if (wrong != NULL)
            return wrong;
    }
    return NULL;
}
