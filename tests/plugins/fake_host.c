/*
 * fake_host.c - a plugin is loaded, its settings are filled, results are looked at; calls are in fake_call.c.
 *
 * It does by hand what engine/plugin does, from the header alone and without the engine's care for broken libraries:
 * so it is also a second reader of the contract.
 */
#include "fake_inside.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void (*on_failure)(const char *sentence);

void fake_on_failure(void (*fail)(const char *sentence))
{
    on_failure = fail;
}

void fake_die(const char *format, ...)
{
    char sentence[4096];
    va_list list;
    va_start(list, format);
    vsnprintf(sentence, sizeof sentence, format, list);
    va_end(list);
    if (on_failure != NULL)
        on_failure(sentence);
    fprintf(stderr, "fake host: %s\n", sentence);
    exit(1);
}

/* --------------------------------------------------------------------------------------------------------- memory */

void *fake_memory_alloc(struct fake_memory **memory, size_t size)
{
    struct fake_memory *block = calloc(1, sizeof *block + size + 1);
    if (block == NULL)
        fake_die("out of memory");
    block->next = *memory;
    *memory = block;
    return block->bytes;
}

void fake_memory_free(struct fake_memory **memory)
{
    while (*memory != NULL) {
        struct fake_memory *next = (*memory)->next;
        free(*memory);
        *memory = next;
    }
}

void *fake_alloc(struct fake_host *host, size_t size)
{
    return fake_memory_alloc(&host->memory, size);
}

char *fake_text(struct fake_host *host, const char *format, ...)
{
    va_list list, again;
    va_start(list, format);
    va_copy(again, list);
    char probe[1];
    int length = vsnprintf(probe, sizeof probe, format, list);
    char *text = fake_alloc(host, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    va_end(list);
    return text;
}

/* --------------------------------------------------------------------------------------------------------- fields */

static bool choice_fits(const char *choices, struct sluice_text text)
{
    for (const char *at = choices; at != NULL; at = *at == '|' ? at + 1 : NULL) {
        size_t length = strcspn(at, "|");
        if (length == text.length && memcmp(at, text.at, length) == 0)
            return true;
        at += length;
    }
    return choices == NULL;
}

static int64_t unit_of(const char *unit)
{
    static const struct {
        const char *unit;
        int64_t times;
    } units[] = {{"", 1},         {"ms", 1}, {"s", 1000},   {"m", 60000},     {"h", 3600000},
                 {"d", 86400000}, {"B", 1},  {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(units[i].unit, unit) == 0)
            return units[i].times;
    return 0;
}

/* A value as configuration writes it: a number, perhaps with its unit. */
static bool number_parse(const char *text, bool units, int64_t *ret)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    int64_t times = units ? unit_of(end) : *end == '\0';
    return end != text && errno == 0 && times != 0 && !__builtin_mul_overflow((int64_t)number, times, ret);
}

static void *member_of(void *base, const struct sluice_field *field)
{
    return (char *)base + field->offset;
}

struct bounds {
    int64_t min, max;
};

/* A bound that is left out beside the other one is none. */
static struct bounds bounds_of(const struct sluice_field *field)
{
    bool none = field->min == 0 && field->max == 0;
    return (struct bounds){none || (field->min == 0 && field->max < 0) ? SLUICE_NO_MIN : field->min,
                           none || (field->max == 0 && field->min > 0) ? SLUICE_NO_MAX : field->max};
}

static bool bounds_hold(const struct sluice_field *field, int64_t value)
{
    struct bounds bounds = bounds_of(field);
    return value >= bounds.min && value <= bounds.max;
}

static bool bounds_hold_double(const struct sluice_field *field, double value)
{
    struct bounds bounds = bounds_of(field);
    return (bounds.min == SLUICE_NO_MIN || value >= (double)bounds.min) &&
           (bounds.max == SLUICE_NO_MAX || value <= (double)bounds.max);
}

static const char *fill_number(struct fake_host *host, const struct sluice_field *field, const char *text, void *base)
{
    int64_t number;
    bool units = field->type == SLUICE_TYPE_DURATION || field->type == SLUICE_TYPE_SIZE;
    if (!number_parse(text, units, &number))
        return fake_text(host, "field '%s' is no integer that fits: %s", field->name, text);
    if (!bounds_hold(field, number))
        return fake_text(host, "field '%s' is %" PRId64 ", outside %" PRId64 "..%" PRId64, field->name, number,
                         field->min, field->max);
    memcpy(member_of(base, field), &number, sizeof number);
    return NULL;
}

static const char *fill_double(struct fake_host *host, const struct sluice_field *field, const char *text, void *base)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end != '\0')
        return fake_text(host, "field '%s' is no number: %s", field->name, text);
    if (!bounds_hold_double(field, number))
        return fake_text(host, "field '%s' is %s, outside %" PRId64 "..%" PRId64, field->name, text, field->min,
                         field->max);
    memcpy(member_of(base, field), &number, sizeof number);
    return NULL;
}

static const char *fill_text(struct fake_host *host, const struct sluice_field *field, struct sluice_text text,
                             void *base)
{
    if (!bounds_hold(field, (int64_t)text.length))
        return fake_text(host, "field '%s' has %zu bytes, outside %" PRId64 "..%" PRId64, field->name, text.length,
                         field->min, field->max);
    if (!choice_fits(field->choices, text))
        return fake_text(host, "field '%s' is none of %s", field->name, field->choices);
    memcpy(member_of(base, field), &text, sizeof text);
    return NULL;
}

/* From a text as configuration would have it: a fallback, or a string given for a number with a unit. */
static const char *fill_from_text(struct fake_host *host, const struct sluice_field *field, struct sluice_text text,
                                  void *base)
{
    int32_t yes = text.length == 4 && memcmp(text.at, "true", 4) == 0;
    switch (field->type) {
    case SLUICE_TYPE_TEXT:
    case SLUICE_TYPE_JSON:
        return fill_text(host, field, text, base);
    case SLUICE_TYPE_DOUBLE:
        return fill_double(host, field, text.at, base);
    case SLUICE_TYPE_BOOL:
        memcpy(member_of(base, field), &yes, sizeof yes);
        return NULL;
    default:
        return fill_number(host, field, text.at, base);
    }
}

const char *fake_fill(struct fake_host *host, struct fake_memory **memory, const struct sluice_field *field,
                      struct sluice_text value, void *base)
{
    bool null = value.at == NULL || (value.length == 4 && memcmp(value.at, "null", 4) == 0);
    if (null && (field->flags & SLUICE_OPTIONAL) == 0 && (value.at == NULL || field->type != SLUICE_TYPE_JSON))
        return fake_text(host, "field '%s' is %s", field->name, value.at == NULL ? "missing" : "null");
    if (null && (field->flags & SLUICE_OPTIONAL) != 0)
        return field->fallback == NULL
                   ? NULL
                   : fill_from_text(host, field, (struct sluice_text){field->fallback, strlen(field->fallback)}, base);
    char *copy = fake_memory_alloc(memory, value.length);
    memcpy(copy, value.at, value.length);
    if (field->type == SLUICE_TYPE_JSON)
        return fill_text(host, field, (struct sluice_text){copy, value.length}, base);
    bool string = *copy == '"';
    if (string &&
        (field->type == SLUICE_TYPE_TEXT || field->type == SLUICE_TYPE_DURATION || field->type == SLUICE_TYPE_SIZE)) {
        size_t length;
        char *plain = fake_json_unescape(value, &length);
        copy = fake_memory_alloc(memory, length);
        memcpy(copy, plain, length);
        free(plain);
        return fill_from_text(host, field, (struct sluice_text){copy, length}, base);
    }
    bool boolean = strcmp(copy, "true") == 0 || strcmp(copy, "false") == 0,
         number = *copy == '-' || (*copy >= '0' && *copy <= '9');
    if (field->type == SLUICE_TYPE_TEXT || (field->type == SLUICE_TYPE_BOOL ? !boolean : !number))
        return fake_text(host, "field '%s' has the wrong type: %s", field->name, copy);
    return fill_from_text(host, field, (struct sluice_text){copy, value.length}, base);
}

/* ----------------------------------------------------------------------------------------------- open and close */

static const char *settings_fill(struct fake_host *host, const char *settings)
{
    const struct sluice_field *fields = host->plugin->settings;
    struct sluice_text all = {settings, settings == NULL ? 0 : strlen(settings)}, name, value;
    if (settings != NULL && (!fake_json_valid(all) || *settings != '{'))
        fake_die("the settings are no JSON object: %s", settings);
    const char *cursor = NULL;
    while (settings != NULL && fake_json_next(all, &cursor, &name, &value)) {
        const struct sluice_field *field = fields;
        while (field != NULL && field->name != NULL &&
               (strlen(field->name) != name.length || memcmp(field->name, name.at, name.length) != 0))
            field++;
        if (field == NULL || field->name == NULL)
            return fake_text(host, "there is no setting '%.*s'", (int)name.length, name.at);
    }
    for (const struct sluice_field *field = fields; field != NULL && field->name != NULL; field++) {
        struct sluice_text given = {NULL, 0};
        cursor = NULL;
        while (settings != NULL && fake_json_next(all, &cursor, &name, &value))
            if (strlen(field->name) == name.length && memcmp(field->name, name.at, name.length) == 0)
                given = value;
        const char *wrong = fake_fill(host, &host->settings, field, given, host->state);
        if (wrong != NULL)
            return wrong;
    }
    return NULL;
}

static const struct sluice_plugin *library_load(const char *path, void **ret_library)
{
    *ret_library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (*ret_library == NULL)
        fake_die("%s", dlerror());
    const struct sluice_plugin *(*entry)(void);
    *(void **)&entry = dlsym(*ret_library, "sluice_plugin");
    if (entry == NULL)
        fake_die("%s exports no sluice_plugin()", path);
    const struct sluice_plugin *plugin = entry();
    if (plugin == NULL || plugin->magic != SLUICE_MAGIC)
        fake_die("%s: what sluice_plugin() returned is no descriptor", path);
    if (plugin->abi_major != SLUICE_ABI_MAJOR || plugin->abi_minor > SLUICE_ABI_MINOR ||
        plugin->size != sizeof *plugin || plugin->handler_size != sizeof(struct sluice_handler) ||
        plugin->field_size != sizeof(struct sluice_field) || plugin->outcome_size != sizeof(struct sluice_outcome))
        fake_die("%s is built for ABI %u.%u, this test for %u.%u: build both with the same sluice/plugin.h", path,
                 plugin->abi_major, plugin->abi_minor, SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR);
    return plugin;
}

const char *fake_library(int argc, char **argv, const char *name)
{
    static char path[512];
    const char *build = getenv("B");
    snprintf(path, sizeof path, "%splugins/%s.so", build == NULL ? "build/" : build, name);
    return argc > 1 ? argv[1] : path;
}

struct opening {
    struct sluice_opening head;
    struct fake_host *host;
    const char *why;
};

static void opening_fail(struct sluice_opening *head, const char *why)
{
    struct opening *opening = (struct opening *)head;
    if (opening->why == NULL) /* the first counts */
        opening->why = why == NULL || *why == '\0' ? "it did not say why" : fake_text(opening->host, "%s", why);
}

/* NULL in *ret_why when it worked. */
static struct fake_host *host_open(const char *path, const char *settings, const char **ret_why)
{
    struct fake_host *host = calloc(1, sizeof *host);
    if (host == NULL)
        fake_die("out of memory");
    host->now_ms = 1700000000000;
    host->plugin = library_load(path, &host->library);
    host->state = host->plugin->state_size == 0 ? NULL : calloc(1, host->plugin->state_size);
    *ret_why = settings_fill(host, settings);
    if (*ret_why != NULL)
        return host;
    host->opened = true;
    if (host->plugin->open == NULL)
        return host;
    struct opening opening = {.head = {.size = sizeof opening.head, .fail = opening_fail}, .host = host};
    if (host->plugin->open(host->state, &opening.head) != 0)
        *ret_why = opening.why == NULL ? "its open() failed and did not say why" : opening.why;
    else if (opening.why != NULL)
        *ret_why = "open() called fail() and returned 0";
    return host;
}

static void host_free(struct fake_host *host)
{
    if (host->opened && host->plugin->close != NULL)
        host->plugin->close(host->state);
    if (host->has_source && host->source.moment != NULL)
        host->source.moment(host->source.context, host, FAKE_DISCONNECT, &(const char *){NULL});
    free(host->state);
    while (host->answers != NULL) {
        struct fake_answer *next = host->answers->next;
        free(host->answers->part);
        free(host->answers->rows);
        free(host->answers);
        host->answers = next;
    }
    fake_memory_free(&host->memory);
    fake_memory_free(&host->settings);
    free(host->results);
    free(host->queries);
    free(host->log);
    free(host); /* the library stays loaded, as in the engine */
}

struct fake_host *fake_host_open(const char *library, const char *settings)
{
    const char *why;
    struct fake_host *host = host_open(library, settings, &why);
    if (why != NULL)
        fake_die("%s does not open: %s", library, why);
    return host;
}

const char *fake_host_refusal(const char *library, const char *settings)
{
    static char sentence[1024];
    const char *why;
    struct fake_host *host = host_open(library, settings, &why);
    snprintf(sentence, sizeof sentence, "%s", why == NULL ? "" : why);
    bool refused = why != NULL;
    host_free(host);
    return refused ? sentence : NULL;
}

void fake_host_close(struct fake_host *host)
{
    if (host == NULL)
        return;
    if (host->fault != NULL && !host->fault_seen)
        fake_die("the plugin is at fault, and the test did not ask: %s", host->fault);
    host_free(host);
}

const struct sluice_plugin *fake_host_plugin(const struct fake_host *host)
{
    return host->plugin;
}

void *fake_host_state(struct fake_host *host)
{
    return host->state;
}

void fake_answer(struct fake_host *host, const char *part, const char *rows)
{
    struct sluice_text text = {rows, rows == NULL ? 0 : strlen(rows)};
    if (rows != NULL && !fake_json_valid(text))
        fake_die("the rows for '%s' are no JSON: %s", part, rows);
    struct fake_answer *answer = calloc(1, sizeof *answer);
    if (answer == NULL)
        fake_die("out of memory");
    *answer = (struct fake_answer){host->answers, strdup(part), rows == NULL ? NULL : strdup(rows)};
    host->answers = answer;
}

void fake_source(struct fake_host *host, const struct fake_source *source)
{
    host->source = *source;
    host->has_source = true;
}

const struct fake_source *fake_source_of(const struct fake_host *host)
{
    return host->has_source ? &host->source : NULL;
}

/* -------------------------------------------------------------------------------------------------------- results */

size_t fake_result_count(const struct fake_host *host)
{
    return host->result_count;
}

const char *fake_set(const struct fake_result *result, const char *name)
{
    for (size_t i = 0; i < result->set_count; i++)
        if (strcmp(result->sets[i].name, name) == 0)
            return result->sets[i].json;
    return NULL;
}

size_t fake_query_count(const struct fake_host *host)
{
    return host->query_count;
}

const struct fake_query *fake_query(const struct fake_host *host, size_t n)
{
    if (n >= host->query_count)
        fake_die("query %zu was never made, there were %zu", n, host->query_count);
    return &host->queries[n];
}

static const char *const verdict_words[] = {
    [FAKE_NOTHING] = "nothing",
    [FAKE_OUTCOME] = "an outcome",
    [FAKE_RETRY] = "retry",
    [FAKE_REJECT] = "reject",
    [FAKE_STATEMENT_FAILED] = "a failed statement",
    [FAKE_UNAVAILABLE] = "unavailable",
    [FAKE_BAD_INPUT] = "bad input",
};

static const char *words(const char *text)
{
    return text == NULL ? "(nothing)" : text;
}

/* With which event it was, and what the plugin did wrong in that call. */
static void unexpected(const struct fake_result *result, const char *format, ...)
{
    char sentence[2048];
    va_list list;
    va_start(list, format);
    vsnprintf(sentence, sizeof sentence, format, list);
    va_end(list);
    const char *fault = result->host == NULL ? NULL : result->host->fault;
    fake_die("result %zu%s: %s%s%s", result->n, result->added ? " (of add())" : "", sentence,
             fault == NULL ? "" : "; the plugin is at fault: ", fault == NULL ? "" : fault);
}

void fake_expect_outcome(const struct fake_result *result, const char *outcome)
{
    if (result->verdict != FAKE_OUTCOME || strcmp(result->outcome, outcome) != 0)
        unexpected(result, "wanted outcome '%s', got %s '%s' %s", outcome, verdict_words[result->verdict],
                   words(result->outcome), words(result->why));
}

void fake_expect_why(const struct fake_result *result, enum fake_verdict verdict, const char *part_of_why)
{
    if (result->verdict != verdict || result->why == NULL || strstr(result->why, part_of_why) == NULL)
        unexpected(result, "wanted %s with '%s', got %s '%s' %s", verdict_words[verdict], part_of_why,
                   verdict_words[result->verdict], words(result->why), words(result->outcome));
}

void fake_expect_set(const struct fake_result *result, const char *name, const char *json)
{
    const char *got = fake_set(result, name);
    if (got == NULL || strcmp(got, json) != 0)
        unexpected(result, "wanted field '%s' set to %s, got %s", name, json, words(got));
}

void fake_expect_reply(const struct fake_result *result, uint32_t status, const char *part_of_json)
{
    if (result->status != status || result->reply == NULL || strstr(result->reply, part_of_json) == NULL)
        unexpected(result, "wanted reply %u with %s, got %u %s", status, part_of_json, result->status,
                   words(result->reply));
}
