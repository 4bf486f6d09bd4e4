/*
 * zone.c - see zone.h. A file has a block with times of 32 bits, which is skipped, one with times of 64 bits, and the
 * rule for what comes after.
 */
#include "base/zone.h"

#include "base/calendar.h"
#include "base/zone_rule.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ZONE_FILE_MAX = 1024 * 1024, /* the largest have 4 KiB */
    ZONE_HEADER = 44,
    ZONE_COUNTS = 20, /* where its six counts begin */
    ZONE_TYPE = 6,    /* offset, whether it is summer, its name */
    ZONE_OFFSET_MAX_S = 26 * 3600,
};

struct zone {
    size_t count;
    int64_t *at_s;      /* [count], ascending: when the clocks change */
    int32_t *offsets_s; /* [count]: and what they are ahead of UTC from then on */
    int32_t before_s;   /* before the first change */
    bool ruled;         /* after the last one, `rule` holds; else what it changed to stays */
    struct zone_rule rule;
};

/* What a block's header says that it has. */
struct counts {
    uint32_t utc, standard, leaps, times, types, names;
};

static int64_t big_endian(const char *at, int bytes)
{
    uint64_t value = (at[0] & 0x80) != 0 ? UINT64_MAX : 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | (unsigned char)at[i];
    return (int64_t)value;
}

static bool header(struct span file, size_t at, struct counts *ret, char *ret_version)
{
    if (file.length < at + ZONE_HEADER || memcmp(file.at + at, "TZif", 4) != 0)
        return false;
    uint32_t *counts[] = {&ret->utc, &ret->standard, &ret->leaps, &ret->times, &ret->types, &ret->names};
    *ret_version = file.at[at + 4];
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        *counts[i] = (uint32_t)big_endian(file.at + at + ZONE_COUNTS + 4 * i, 4);
        if (*counts[i] > ZONE_FILE_MAX)
            return false;
    }
    return true;
}

static size_t block_size(const struct counts *counts, size_t time_size)
{
    return counts->times * (time_size + 1) + (size_t)counts->types * ZONE_TYPE + counts->names +
           counts->leaps * (time_size + 4) + counts->standard + counts->utc;
}

static const char *read_block(struct span block, const struct counts *counts, struct arena *arena, struct zone *zone)
{
    const char *times = block.at, *kinds = times + counts->times * 8, *types = kinds + counts->times;
    if (counts->types == 0)
        return "it has no offset";
    if (counts->leaps > 0)
        return "it counts leap seconds";
    zone->count = counts->times;
    zone->at_s = arena_array(arena, int64_t, zone->count + 1);
    zone->offsets_s = arena_array(arena, int32_t, zone->count + 1);
    zone->before_s = (int32_t)big_endian(types, 4);
    for (uint32_t i = 0; i < counts->types; i++) {
        int64_t offset = big_endian(types + (size_t)i * ZONE_TYPE, 4);
        if (offset < -ZONE_OFFSET_MAX_S || offset > ZONE_OFFSET_MAX_S)
            return "an offset in it is over 26 hours";
    }
    for (size_t i = 0; i < zone->count; i++) {
        size_t kind = (unsigned char)kinds[i];
        if (kind >= counts->types)
            return "a change in it has no offset";
        zone->at_s[i] = big_endian(times + i * 8, 8);
        zone->offsets_s[i] = (int32_t)big_endian(types + kind * ZONE_TYPE, 4);
        if (i > 0 && zone->at_s[i] <= zone->at_s[i - 1])
            return "its changes are not in order";
    }
    return NULL;
}

/* What is wrong with the file; NULL: nothing. */
static const char *read_file(struct span file, struct arena *arena, struct zone *zone)
{
    struct counts counts;
    char version;
    if (!header(file, 0, &counts, &version))
        return "it is no time zone file";
    if (version < '2')
        return "it has the format of 1996, without a rule for times to come";
    size_t second = ZONE_HEADER + block_size(&counts, 4);
    if (!header(file, second, &counts, &version))
        return "its second half is missing";
    size_t size = block_size(&counts, 8), block = second + ZONE_HEADER;
    if (file.length < block + size + 2)
        return "it is cut off";
    const char *wrong = read_block((struct span){file.at + block, size}, &counts, arena, zone);
    const char *rule = file.at + block + size,
               *end = memchr(rule + 1, '\n', (size_t)(file.at + file.length - rule - 1));
    if (wrong != NULL)
        return wrong;
    if (*rule != '\n' || end == NULL)
        return "its last line is cut off";
    zone->ruled = end > rule + 1;
    if (zone->ruled && zone_rule_parse((struct span){rule + 1, (size_t)(end - rule - 1)}, &zone->rule) != 0)
        return "its last line is no rule";
    return NULL;
}

/* A relative path of plain names. */
static bool is_name(const char *name)
{
    bool begins = true;
    for (const char *at = name; *at != '\0'; at++) {
        if (begins ? !isalpha((unsigned char)*at) : !isalnum((unsigned char)*at) && strchr("_+-/", *at) == NULL)
            return false;
        begins = *at == '/';
    }
    return !begins;
}

static int read_whole(const char *path, struct arena *arena, struct span *ret)
{
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC), code = 0;
    if (file < 0)
        return -errno;
    if (fstat(file, &status) != 0)
        code = -errno;
    else if (!S_ISREG(status.st_mode) || status.st_size > ZONE_FILE_MAX)
        code = -ENOENT;
    char *bytes = code == 0 ? arena_alloc_raw(arena, (size_t)status.st_size + 1) : NULL;
    size_t length = 0;
    for (ssize_t got = 1; code == 0 && got > 0 && length < (size_t)status.st_size; length += (size_t)got)
        if ((got = read(file, bytes + length, (size_t)status.st_size - length)) < 0)
            code = -errno, got = 0;
    close(file);
    *ret = (struct span){bytes, length};
    return code;
}

struct zone *zone_read(const char *name, struct arena *arena, struct error *error)
{
    static const char hint[] =
        "names are the files of /usr/share/zoneinfo, like Europe/Berlin, which the package tzdata "
        "installs";
    struct zone *zone = arena_new(arena, struct zone);
    const char *folder = getenv("TZDIR");
    struct span file = {NULL, 0};
    if (strcmp(name, "UTC") == 0)
        return zone;
    if (!is_name(name)) {
        error_set(error, EINVAL, "'%.80s' is no name of a time zone", name);
        error_hint(error, "%s", hint);
        return NULL;
    }
    const char *path = arena_format(arena, "%s/%s",
                                    folder != NULL && folder[0] != '\0' ? folder : "/usr/share/zoneinfo", name);
    int code = read_whole(path, arena, &file);
    if (code != 0) {
        error_set(error, -code, "there is no time zone '%.80s': %s: %s", name, path, strerror(-code));
        error_hint(error, "%s", hint);
        return NULL;
    }
    const char *wrong = read_file(file, arena, zone);
    if (wrong != NULL) {
        error_set(error, EINVAL, "the time zone '%.80s' cannot be read from %s: %s", name, path, wrong);
        error_hint(error, "%s", hint);
        return NULL;
    }
    return zone;
}

int32_t zone_offset(const struct zone *zone, int64_t at_s, int64_t *ret_until_s)
{
    size_t after = 0, end = zone->count; /* the first change after at_s */
    while (after < end) {
        size_t middle = after + (end - after) / 2;
        if (zone->at_s[middle] <= at_s)
            after = middle + 1;
        else
            end = middle;
    }
    if (after == zone->count && zone->ruled)
        return zone_rule_offset(&zone->rule, at_s, ret_until_s);
    *ret_until_s = after < zone->count ? zone->at_s[after] : INT64_MAX;
    return after == 0 ? zone->before_s : zone->offsets_s[after - 1];
}

const char *zone_text(const struct zone *zone, int64_t at_s, char buf[ZONE_TEXT_MAX])
{
    int64_t until_s, of_day;
    int32_t offset = zone_offset(zone, at_s, &until_s), ahead = offset < 0 ? -offset : offset;
    struct date date = calendar_date(calendar_split(at_s + offset, &of_day));
    snprintf(buf, ZONE_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d%c%02d:%02d", (int)date.year, date.month, date.day,
             (int)(of_day / 3600), (int)(of_day / 60 % 60), (int)(of_day % 60), offset < 0 ? '-' : '+', ahead / 3600,
             ahead / 60 % 60);
    return buf;
}
