/*
 * field.c - see field.h.
 */
#include "plugin/field.h"

#include "base/buffer.h"
#include "pipeline/tree.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *word;
    size_t size;
} types[] = {
    [SLUICE_TYPE_TEXT] = {"text", sizeof(struct sluice_text)},
    [SLUICE_TYPE_INT64] = {"int64", sizeof(int64_t)},
    [SLUICE_TYPE_DOUBLE] = {"double", sizeof(double)},
    [SLUICE_TYPE_BOOL] = {"bool", sizeof(int32_t)},
    [SLUICE_TYPE_JSON] = {"json", sizeof(struct sluice_text)},
    [SLUICE_TYPE_DURATION] = {"duration", sizeof(int64_t)},
    [SLUICE_TYPE_SIZE] = {"size", sizeof(int64_t)},
    [SLUICE_TYPE_META_TEXT] = {"meta_text", sizeof(struct sluice_text)},
    [SLUICE_TYPE_META_INT64] = {"meta_int64", sizeof(int64_t)},
};

static const struct {
    const char *word;
    bool text;
} metas[] = {
    [SLUICE_META_EVENT_ID] = {"event_id", true},
    [SLUICE_META_TOPIC] = {"topic", true},
    [SLUICE_META_KEY] = {"key", true},
    [SLUICE_META_EVENT_NAME] = {"event_name", true},
    [SLUICE_META_TIMESTAMP] = {"timestamp", false},
    [SLUICE_META_ATTEMPT] = {"attempt", false},
    [SLUICE_META_RETRIES_LEFT] = {"retries_left", false},
    [SLUICE_META_RETRY_COUNT] = {"retry_count", false},
};

#define COUNT(array) (sizeof array / sizeof((array)[0]))

const char *field_type_word(uint32_t type)
{
    return type < COUNT(types) ? types[type].word : NULL;
}

size_t field_member_size(uint32_t type)
{
    return type < COUNT(types) ? types[type].size : 0;
}

const char *field_meta_word(uint32_t meta)
{
    return meta < COUNT(metas) ? metas[meta].word : NULL;
}

bool field_meta_is_text(uint32_t meta)
{
    return meta < COUNT(metas) && metas[meta].text;
}

/* ----------------------------------------------------------------------------------------------------------- words */

struct unit {
    const char *word;
    int64_t times;
};

/* A bound in the unit of the type: "250ms", "64KiB", "7". Returns buf. */
static const char *number_text(uint32_t type, int64_t number, char buf[32])
{
    static const struct unit durations[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    static const struct unit sizes[] = {{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}};
    static const struct unit plain[] = {{"", 1}};
    const struct unit *unit = type == SLUICE_TYPE_DURATION ? durations : type == SLUICE_TYPE_SIZE ? sizes : plain;
    while (unit->times != 1 && (number == 0 || number % unit->times != 0))
        unit++;
    snprintf(buf, 32, "%" PRId64 "%s", number / unit->times, unit->word);
    return buf;
}

static void choices_words(const char *choices, char buf[FIELD_WORDS_MAX])
{
    int length = snprintf(buf, FIELD_WORDS_MAX, "one of ");
    for (const char *at = choices; *at != '\0' && length < FIELD_WORDS_MAX - 2; at++) {
        if (*at == '|')
            buf[length++] = ',';
        buf[length++] = *at == '|' ? ' ' : *at;
    }
    buf[length] = '\0';
}

const char *field_expected(const struct sluice_field *field, char buf[FIELD_WORDS_MAX])
{
    static const char *const nouns[] = {
        [SLUICE_TYPE_TEXT] = "a text",
        [SLUICE_TYPE_INT64] = "an integer",
        [SLUICE_TYPE_DOUBLE] = "a number",
        [SLUICE_TYPE_BOOL] = "true or false",
        [SLUICE_TYPE_JSON] = "a JSON value",
        [SLUICE_TYPE_DURATION] = "a duration with its unit",
        [SLUICE_TYPE_SIZE] = "a size with its unit",
    };
    if (field->choices != NULL) {
        choices_words(field->choices, buf);
        return buf;
    }
    const char *noun = field->type < COUNT(nouns) ? nouns[field->type] : "what the event itself says";
    bool bytes = field->type == SLUICE_TYPE_TEXT || field->type == SLUICE_TYPE_JSON;
    const char *unit = bytes ? " bytes" : "";
    char min[32], max[32];
    number_text(field->type, field->min, min);
    number_text(field->type, field->max, max);
    if (!field_is_bounded(field))
        snprintf(buf, FIELD_WORDS_MAX, "%s", noun);
    else if (field->max == SLUICE_NO_MAX)
        snprintf(buf, FIELD_WORDS_MAX, "%s of at least %s%s", noun, min, unit);
    else if (field->min == SLUICE_NO_MIN || (bytes && field->min == 0))
        snprintf(buf, FIELD_WORDS_MAX, "%s of at most %s%s", noun, max, unit);
    else if (bytes && field->min == field->max)
        snprintf(buf, FIELD_WORDS_MAX, "%s of %s%s", noun, min, unit);
    else
        snprintf(buf, FIELD_WORDS_MAX, "%s %s %s to %s%s", noun, bytes ? "of" : "from", min, max, unit);
    return buf;
}

/* ---------------------------------------------------------------------------------------------------------- values */

bool field_choice_fits(const char *choices, struct span text)
{
    for (const char *at = choices; at != NULL;) {
        size_t length = strcspn(at, "|");
        if (span_equal((struct span){at, length}, text))
            return true;
        at = at[length] == '|' ? at + length + 1 : NULL;
    }
    return choices == NULL;
}

/* A decimal integer and nothing else; -EINVAL or -ERANGE. */
static int int64_parse(struct span text, int64_t *ret)
{
    char digits[24], *end;
    if (text.length == 0)
        return -EINVAL;
    for (size_t i = 0; i < text.length; i++)
        if ((text.at[i] < '0' || text.at[i] > '9') && (i > 0 || text.at[i] != '-' || text.length == 1))
            return -EINVAL;
    if (text.length >= sizeof digits)
        return -ERANGE;
    memcpy(digits, text.at, text.length);
    digits[text.length] = '\0';
    errno = 0;
    long long number = strtoll(digits, &end, 10);
    if (errno != 0)
        return -errno;
    *ret = number;
    return 0;
}

/* A JSON number; strtod() alone would take hex, infinities and a locale's comma. */
static int double_parse(struct span text, double *ret)
{
    json_t *value = json_loadb(text.at, text.length, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    bool number = json_is_number(value);
    if (number)
        *ret = json_number_value(value);
    json_decref(value);
    return number ? 0 : -EINVAL;
}

static bool json_fits(struct span text)
{
    json_t *value = json_loadb(text.at, text.length, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL,
                               NULL);
    bool good = value != NULL;
    json_decref(value);
    return good;
}

static bool length_fits(const struct sluice_field *field, struct span text)
{
    return !field_is_bounded(field) || ((int64_t)text.length >= field->min && (int64_t)text.length <= field->max);
}

int field_parse(const struct sluice_field *field, struct span text, void *base, struct error *error)
{
    bool fits = false;
    int64_t number = 0;
    double real = 0;
    switch (field->type) {
    case SLUICE_TYPE_TEXT:
        fits = length_fits(field, text) && field_choice_fits(field->choices, text);
        break;
    case SLUICE_TYPE_JSON:
        fits = length_fits(field, text) && json_fits(text);
        break;
    case SLUICE_TYPE_BOOL:
        fits = span_is(text, "true") || span_is(text, "false");
        break;
    case SLUICE_TYPE_DOUBLE:
        fits = double_parse(text, &real) == 0 && field_takes_double(field, real);
        break;
    case SLUICE_TYPE_INT64:
        fits = int64_parse(text, &number) == 0;
        break;
    case SLUICE_TYPE_DURATION:
        fits = duration_parse(text, &number) == 0;
        break;
    case SLUICE_TYPE_SIZE:
        fits = size_parse(text, &number) == 0;
        break;
    }
    bool integer = field->type == SLUICE_TYPE_INT64 || field->type == SLUICE_TYPE_DURATION ||
                   field->type == SLUICE_TYPE_SIZE;
    if (integer && field_is_bounded(field) && (number < field->min || number > field->max))
        fits = false;
    if (!fits) {
        char expected[FIELD_WORDS_MAX];
        if (field->flags & SLUICE_SECRET)
            return error_set(error, EINVAL, "expected %s, got ***", field_expected(field, expected));
        return error_set(error, EINVAL, "expected %s, got '%.*s'%s", field_expected(field, expected),
                         text.length > 64 ? 64 : (int)text.length, text.at, text.length > 64 ? "…" : "");
    }
    if (integer)
        field_store_int64(field, number, base);
    else if (field->type == SLUICE_TYPE_DOUBLE)
        field_store_double(field, real, base);
    else if (field->type == SLUICE_TYPE_BOOL)
        field_store_bool(field, *text.at == 't', base);
    else
        field_store_text(field, text, base);
    return 0;
}

void field_fallback(const struct sluice_field *field, void *base)
{
    if (field->fallback == NULL || field_parse(field, span_of(field->fallback), base, NULL) != 0)
        memset((char *)base + field->offset, 0, field_member_size(field->type));
}
