/*
 * note.c - see note.h. A note is a head of three numbers, its owner's name and a content, both padded; a segment holds
 * any number of them, of other owners mostly.
 */
#include "plugin/note.h"

#include "plugin/descriptor.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    SEGMENTS_MAX = 256,
    NOTES_MAX = 1024,   /* of a file; what comes after them is not looked at */
    OWNER_AT = 12,      /* bytes of a note's head */
    CONTENT_AT = 20,    /* of ours */
    NOTE_OF_PLUGIN = 1, /* the type of ours; others are of later engines */
};
static const char owner[8] = "Sluice";
#define HINT_NOTE "build it again; SLUICE_PLUGIN() of sluice/plugin.h makes the note"

_Static_assert(offsetof(struct sluice_note, abi_major) == CONTENT_AT, "the content follows the owner");
_Static_assert(sizeof(struct sluice_note) == sizeof(struct sluice_noted_), "what SLUICE_PLUGIN() makes is a note");
_Static_assert(offsetof(struct sluice_note, version) == offsetof(struct sluice_noted_, plugin.version), "the same");
_Static_assert(offsetof(struct sluice_note, reserved) == offsetof(struct sluice_noted_, plugin.none), "the same");

static bool read_at(int file, void *to, size_t size, uint64_t offset)
{
    return offset <= INT64_MAX && pread(file, to, size, (off_t)offset) == (ssize_t)size;
}

static uint64_t padded(uint64_t size, uint64_t unit)
{
    return (size + unit - 1) / unit * unit;
}

/* Takes the note at `offset`, which has `left` bytes at most, when it is ours. */
static int note_take(int file, uint64_t offset, uint64_t left, struct note *ret, struct error *error)
{
    struct sluice_note found;
    if (left < CONTENT_AT || !read_at(file, &found, CONTENT_AT, offset) || found.type != NOTE_OF_PLUGIN ||
        (found.owner_size != sizeof owner && found.owner_size != sizeof owner - 1) ||
        memcmp(found.owner, owner, sizeof owner) != 0)
        return 0;
    if (ret->found) {
        error_set(error, EINVAL, "it has two notes of a plugin");
        return error_hint(error, "a library is one plugin: link only one with SLUICE_PLUGIN() into it");
    }
    if (found.content_size < sizeof found - CONTENT_AT || left < sizeof found ||
        !read_at(file, &found, sizeof found, offset)) {
        error_set(error, EINVAL, "the note of its plugin is cut short: it has %" PRIu64 " bytes, expected %zu",
                  found.content_size < left - CONTENT_AT ? found.content_size : left - CONTENT_AT,
                  sizeof found - CONTENT_AT);
        return error_hint(error, HINT_NOTE);
    }
    found.name[sizeof found.name - 1] = found.version[sizeof found.version - 1] = '\0'; /* then too long */
    ret->content = found;
    ret->found = true;
    return 0;
}

/* The notes of a segment. One that reaches beyond the segment ends it. */
static int segment_read(int file, const ElfW(Phdr) * segment, size_t *notes, struct note *ret, struct error *error)
{
    uint64_t unit = segment->p_align == 8 ? 8 : 4, at = 0, size = segment->p_filesz;
    uint32_t head[3]; /* bytes of the owner's name and of the content, type */
    int r = 0;
    while (r == 0 && (*notes)++ < NOTES_MAX && at <= size && size - at >= sizeof head &&
           read_at(file, head, sizeof head, segment->p_offset + at)) {
        r = note_take(file, segment->p_offset + at, size - at, ret, error);
        at += padded(padded(OWNER_AT + (uint64_t)head[0], unit) + head[1], unit);
    }
    return r;
}

static int file_read(int file, struct note *ret, struct error *error)
{
    ElfW(Ehdr) header;
    ElfW(Phdr) segment;
    size_t notes = 0;
    int r = 0;
    if (!read_at(file, &header, sizeof header, 0) || header.e_phentsize != sizeof segment)
        return 0;
    for (size_t i = 0; r == 0 && i < header.e_phnum && i < SEGMENTS_MAX; i++)
        if (read_at(file, &segment, sizeof segment, header.e_phoff + i * sizeof segment) && segment.p_type == PT_NOTE)
            r = segment_read(file, &segment, &notes, ret, error);
    return r;
}

int note_read(const char *path, struct note *ret, struct error *error)
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *ret = (struct note){0};
    if (file < 0)
        return error_set(error, errno, "it cannot be read: %s", strerror(errno));
    int r = file_read(file, ret, error);
    if (r != 0)
        *ret = (struct note){0};
    close(file);
    return r;
}

int note_check(const struct note *note, struct error *error)
{
    const struct sluice_note *content = &note->content;
    struct sluice_plugin head = {.magic = SLUICE_MAGIC,
                                 .abi_major = content->abi_major,
                                 .abi_minor = content->abi_minor,
                                 .size = content->size,
                                 .handler_size = content->handler_size,
                                 .field_size = content->field_size,
                                 .outcome_size = content->outcome_size,
                                 .reserved = content->reserved[0],
                                 .name = content->name,
                                 .version = content->version};
    if (!note->found)
        return 0;
    int r = descriptor_check_head(&head, &abi_current, error);
    return r == 0 ? descriptor_check_identity(&head, error) : r;
}

static int note_differs(const char *what, const char *says, const char *is, struct error *error)
{
    error_set(error, EINVAL, "the note in its file says that its %s is %s, its descriptor says %s", what, says, is);
    return error_hint(error, HINT_NOTE);
}

int note_compare(const struct note *note, const struct sluice_plugin *plugin, struct error *error)
{
    const struct sluice_note *content = &note->content;
    char says[16], is[16];
    if (!note->found)
        return 0;
    snprintf(says, sizeof says, "%u.%u", content->abi_major, content->abi_minor);
    snprintf(is, sizeof is, "%u.%u", plugin->abi_major, plugin->abi_minor);
    if (strcmp(says, is) != 0)
        return note_differs("plugin ABI", says, is, error);
    if (strcmp(content->name, plugin->name) != 0)
        return note_differs("name", content->name, plugin->name, error);
    if (strcmp(content->version, plugin->version) != 0)
        return note_differs("version", content->version, plugin->version, error);
    return 0;
}
