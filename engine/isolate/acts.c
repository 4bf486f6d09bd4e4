/*
 * acts.c - see acts.h.
 */
#include "isolate/acts.h"

#include "isolate/area.h"
#include "plugin/field.h"
#include "plugin/plugin.h"

#define ACTS_SPARE sizeof(struct act) /* for ACT_FULL */

static size_t padded(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

/* --------------------------------------------------------------------------------------------------------- writing */

void acts_clear(struct acts *acts)
{
    acts->used = 0;
    acts->full = false;
}

/* Room for so many bytes, or NULL: then the last act says so. */
static char *acts_room(struct acts *acts, size_t size)
{
    if (acts->full)
        return NULL;
    if (size > acts->max - ACTS_SPARE - acts->used) {
        struct act full = {.kind = ACT_FULL, .size = sizeof full, .name_length = AREA_NONE, .text_length = AREA_NONE};
        memcpy(acts->at + acts->used, &full, sizeof full);
        acts->used += sizeof full;
        acts->full = true;
        return NULL;
    }
    char *room = acts->at + acts->used;
    acts->used += size;
    return room;
}

static size_t size_sum(size_t a, size_t b)
{
    return a > SIZE_MAX / 2 || b > SIZE_MAX / 2 ? SIZE_MAX / 2 : a + b;
}

static char *acts_begin(struct acts *acts, struct act act, const char *name, struct sluice_text text, size_t more)
{
    size_t name_length = name == NULL ? 0 : strnlen(name, ACT_WORDS_MAX);
    size_t name_size = name == NULL ? 0 : padded(name_length + 1);
    size_t text_size = text.at == NULL ? 0 : text.length > SIZE_MAX / 2 ? SIZE_MAX / 2 : padded(text.length);
    size_t size = size_sum(sizeof act + name_size + more, text_size);
    char *at = acts_room(acts, size);
    if (at == NULL)
        return NULL;
    act.size = size;
    act.name_length = name == NULL ? AREA_NONE : name_length;
    act.text_length = text.at == NULL ? AREA_NONE : text.length;
    memcpy(at, &act, sizeof act);
    at += sizeof act;
    if (name != NULL) {
        memcpy(at, name, name_length);
        at[name_length] = '\0';
    }
    at += name_size;
    if (text.at != NULL)
        memcpy(at, text.at, text.length);
    return at + text_size;
}

void acts_add(struct acts *acts, struct act act, const char *name, struct sluice_text text)
{
    (void)acts_begin(acts, act, name, text, 0);
}

static bool is_text(uint32_t type)
{
    return type == SLUICE_TYPE_TEXT || type == SLUICE_TYPE_JSON;
}

static size_t param_count(const struct sluice_param *param)
{
    return param->form == SLUICE_PARAM_VALUE ? 1 : param->count;
}

/* Whether its values go along: those of EACH are in the inputs, and of no known form or type there are none. */
static bool param_travels(const struct sluice_param *param)
{
    return (param->form == SLUICE_PARAM_ARRAY || param->form == SLUICE_PARAM_VALUE) && param->values != NULL &&
           (is_text(param->type) || param->type == SLUICE_TYPE_INT64 || param->type == SLUICE_TYPE_DOUBLE ||
            param->type == SLUICE_TYPE_BOOL);
}

static size_t param_size(const struct sluice_param *param)
{
    size_t count = param_count(param);
    if (!param_travels(param))
        return 0;
    if (count > AREA_ACTS)
        return SIZE_MAX / 4;
    if (!is_text(param->type))
        return padded(count * field_member_size(param->type));
    size_t size = count * sizeof(uint64_t);
    const struct sluice_text *texts = param->values;
    for (size_t i = 0; i < count; i++)
        size = size_sum(size, texts[i].at == NULL ? 0 : texts[i].length);
    return size > AREA_ACTS ? SIZE_MAX / 4 : padded(size);
}

static char *param_write(const struct sluice_param *param, char *at)
{
    size_t count = param_count(param), size = param_size(param);
    struct act_param head = {param->form, param->type, param->offset, count, param->values != NULL, size};
    memcpy(at, &head, sizeof head);
    at += sizeof head;
    if (!param_travels(param))
        return at;
    if (!is_text(param->type)) {
        memcpy(at, param->values, count * field_member_size(param->type));
        return at + size;
    }
    const struct sluice_text *texts = param->values;
    uint64_t *lengths = (uint64_t *)(void *)at;
    char *bytes = at + count * sizeof *lengths;
    for (size_t i = 0; i < count; i++) {
        lengths[i] = texts[i].at == NULL ? AREA_NONE : texts[i].length;
        if (texts[i].at != NULL && texts[i].length > 0) {
            memcpy(bytes, texts[i].at, texts[i].length);
            bytes += texts[i].length;
        }
    }
    return at + size;
}

void acts_add_query(struct acts *acts, const struct sluice_sql *sql, size_t count, const struct sluice_param *params)
{
    struct act act = {.kind = ACT_QUERY, .n = count};
    struct sluice_text text = {NULL, 0};
    size_t size = 0, written = count <= QUERY_PARAMS_MAX ? count : 0;
    if (sql != NULL && sql->text != NULL)
        text = (struct sluice_text){sql->text, strlen(sql->text) + 1}; /* with its NUL */
    for (size_t i = 0; i < written; i++)
        size = size_sum(size, sizeof(struct act_param) + param_size(&params[i]));
    char *at = acts_begin(acts, act, NULL, text, size);
    for (size_t i = 0; at != NULL && i < written; i++)
        at = param_write(&params[i], at);
}

/* --------------------------------------------------------------------------------------------------------- reading */

/* The next `length` bytes, and what pads them. */
static bool take(struct span *from, uint64_t length, const char **ret)
{
    if (length > from->length || padded(length) > from->length)
        return false;
    *ret = from->at;
    from->at += padded(length);
    from->length -= padded(length);
    return true;
}

enum acts_next acts_read(struct span *acts, struct act_read *ret)
{
    const char *at;
    *ret = (struct act_read){0};
    if (acts->length == 0)
        return ACTS_END;
    if (acts->length < sizeof ret->head)
        return ACTS_BROKEN;
    memcpy(&ret->head, acts->at, sizeof ret->head);
    const struct act *head = &ret->head;
    if (head->size < sizeof *head || head->size % 8 != 0 || !take(acts, head->size, &at))
        return ACTS_BROKEN;
    ret->rest = (struct span){at + sizeof *head, head->size - sizeof *head};
    if (head->name_length != AREA_NONE) {
        if (head->name_length > ACT_WORDS_MAX || !take(&ret->rest, head->name_length + 1, &ret->name) ||
            ret->name[head->name_length] != '\0')
            return ACTS_BROKEN;
    }
    if (head->text_length != AREA_NONE) {
        if (!take(&ret->rest, head->text_length, &ret->text.at))
            return ACTS_BROKEN;
        ret->text.length = head->text_length;
    }
    return ACTS_ONE;
}

/* `count` texts out of their lengths and bytes. */
static bool texts_read(struct span values, size_t count, struct arena *arena, const void **ret)
{
    struct sluice_text *texts = arena_array(arena, struct sluice_text, count + 1);
    const char *lengths = values.at, *at = values.at + count * sizeof(uint64_t);
    size_t left = values.length - count * sizeof(uint64_t);
    for (size_t i = 0; i < count; i++) {
        uint64_t length;
        memcpy(&length, lengths + i * sizeof length, sizeof length);
        if (length == AREA_NONE)
            continue;
        if (length > left)
            return false;
        texts[i] = (struct sluice_text){at, length};
        at += length;
        left -= length;
    }
    *ret = texts;
    return true;
}

static bool param_read(struct span *from, struct arena *arena, struct sluice_param *ret)
{
    struct act_param head;
    struct span values;
    const char *at;
    if (!take(from, sizeof head, &at))
        return false;
    memcpy(&head, at, sizeof head);
    if (!take(from, head.size, &values.at))
        return false;
    values.length = head.size;
    *ret = (struct sluice_param){head.form, head.type, head.offset, head.given != 0 ? "" : NULL, head.count};
    if (!param_travels(ret))
        return true;
    size_t each = is_text(head.type) ? sizeof(uint64_t) : field_member_size(head.type);
    if (head.count > values.length / each || (head.form == SLUICE_PARAM_VALUE && head.count != 1))
        return false;
    if (is_text(head.type))
        return texts_read(values, head.count, arena, &ret->values);
    ret->values = values.at;
    return true;
}

bool acts_params(const struct act_read *act, size_t max, struct arena *arena, struct sluice_param **ret)
{
    struct span rest = act->rest;
    *ret = NULL;
    if (act->head.n > max)
        return true;
    *ret = arena_array(arena, struct sluice_param, act->head.n + 1);
    for (size_t i = 0; i < act->head.n; i++)
        if (!param_read(&rest, arena, &(*ret)[i]))
            return false;
    return true;
}
