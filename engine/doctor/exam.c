/*
 * exam.c - see exam.h.
 */
#include "doctor/exam.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FINDING_TEXT_MAX = 1400 };

/* With the file that is looked at where it says CONFIG, so that a command can be copied. */
static const char *named(struct exam *exam, const char *cure)
{
    struct buffer text;
    buffer_init(&text, FINDING_TEXT_MAX + 8 * strlen(exam->config));
    for (const char *at; (at = strstr(cure, "CONFIG")) != NULL; cure = at + strlen("CONFIG")) {
        buffer_append(&text, cure, (size_t)(at - cure));
        buffer_text(&text, exam->config);
    }
    buffer_text(&text, cure);
    const char *named = arena_string(exam->arena, buffer_view(&text));
    buffer_free(&text);
    return named;
}

static __attribute__((format(printf, 4, 0))) void say(struct exam *exam, enum health health, const char *cure,
                                                      const char *format, va_list arguments)
{
    char text[FINDING_TEXT_MAX];
    vsnprintf(text, sizeof text, format, arguments);
    exam->health = health > exam->health ? health : exam->health;
    if (exam->finding_count == EXAM_FINDINGS_MAX) {
        exam->further++;
        return;
    }
    bool none = health == HEALTH_GOOD || health == HEALTH_UNCHECKED;
    cure = cure != NULL && cure[0] != '\0' ? cure : exam->check->cure;
    exam->findings[exam->finding_count++] = (struct finding){
        .health = health,
        .text = arena_string(exam->arena, span_of(text)),
        .cure = none ? NULL : named(exam, cure),
    };
}

void exam_good(struct exam *exam, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(exam, HEALTH_GOOD, NULL, format, arguments);
    va_end(arguments);
}

void exam_warns(struct exam *exam, const char *cure, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(exam, HEALTH_WARNS, cure, format, arguments);
    va_end(arguments);
}

void exam_bad(struct exam *exam, const char *cure, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(exam, HEALTH_BAD, cure, format, arguments);
    va_end(arguments);
}

void exam_unchecked(struct exam *exam, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(exam, HEALTH_UNCHECKED, NULL, format, arguments);
    va_end(arguments);
}

/* -------------------------------------------------------------------------------------------------------- the store */

bool exam_has_store(struct exam *exam)
{
    if (exam->store == NULL && exam->store_error == NULL)
        exam_unchecked(exam, "the pipeline has no store");
    else if (exam->store == NULL)
        exam_unchecked(exam, "the store cannot be opened");
    else if (exam->store_away != NULL)
        exam_unchecked(exam, "%s", exam->store_away);
    return exam->store != NULL && exam->store_away == NULL;
}

/* What the server said, without what that means to an engine. */
static const char *server_words(const char *text)
{
    const char *said = strstr(text, ": ");
    return said == NULL ? text : said + 2;
}

static void not_answered(struct exam *exam, enum store_result result, const struct error *error)
{
    if (result == STORE_DOWN && connection_socket(exam->connection) < 0)
        exam->store_away = "the database does not answer";
    if (result == STORE_DEPLOY)
        exam_unchecked(exam, "the tables are not there, or may not be read; see migrations: %s",
                       server_words(error->text));
    else if (result == STORE_TRANSIENT)
        exam_unchecked(exam, "the database did not answer within %d s: %s", EXAM_STATEMENT_MS / 1000, error->text);
    else
        exam_unchecked(exam, "%s", error->text);
}

const struct rows *exam_rows(struct exam *exam, const struct statement *statement, size_t param_count,
                             const struct store_param *params)
{
    struct error error = {0};
    struct rows *rows = NULL;
    if (!exam_has_store(exam))
        return NULL;
    if (exam->connection == NULL)
        exam->connection = connection_create(exam->store, "doctor");
    if (exam->connection == NULL) {
        exam_unchecked(exam, "out of memory");
        return NULL;
    }
    enum store_result result = connection_once(exam->connection, statement, param_count, params, EXAM_STATEMENT_MS,
                                               &rows, &error);
    if (result == STORE_OK)
        return rows;
    not_answered(exam, result, &error);
    return NULL;
}

const struct rows *exam_rows_of_ms(struct exam *exam, const struct statement *statement, int64_t ms)
{
    struct store_param param = STORE_VALUE(PARAM_INT8, &ms);
    return exam_rows(exam, statement, 1, &param);
}

const struct rows *exam_rows_of_groups(struct exam *exam, const struct statement *statement)
{
    const struct pipeline *pipeline = exam->pipeline;
    struct span *names = arena_array(exam->arena, struct span, pipeline->group_count + 1);
    for (size_t i = 0; i < pipeline->group_count; i++)
        names[i] = span_of(pipeline->groups[i].name);
    struct store_param groups = STORE_ARRAY(PARAM_TEXT, names, pipeline->group_count);
    return exam_rows(exam, statement, 1, &groups);
}

/* -------------------------------------------------------------------------------------------------------- sentences */

const char *exam_count(struct exam *exam, int64_t count, const char *noun)
{
    return arena_format(exam->arena, "%lld %s%s", (long long)count, noun, count == 1 ? "" : "s");
}

const char *exam_duration(struct exam *exam, int64_t seconds)
{
    static const struct {
        int64_t from, unit;
        char word;
    } units[] = {{2 * 86400, 86400, 'd'}, {2 * 3600, 3600, 'h'}, {120, 60, 'm'}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (seconds >= units[i].from)
            return arena_format(exam->arena, "%lld %c", (long long)(seconds / units[i].unit), units[i].word);
    return arena_format(exam->arena, "%lld s", (long long)seconds);
}

const char *exam_text(struct exam *exam, const struct rows *rows, size_t row, size_t column)
{
    return arena_string(exam->arena, rows_null(rows, row, column) ? span_of("") : rows_span(rows, row, column));
}
