/*
 * test_note.c - the note of a plugin is found in any file that has one, and no file makes its reader leave the file.
 *
 * Images are put together here: an ELF header, segments, notes. A table changes some bytes of a good one.
 */
#include "base/error.h"
#include "plugin/library.h"
#include "plugin/note.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct image {
    ElfW(Ehdr) header;
    ElfW(Phdr) segments[2]; /* notes, and what makes it a library */
    struct {
        uint32_t owner_size, content_size, type;
        char owner[4], content[8];
    } other; /* somebody else's */
    struct sluice_note note;
    char room[72]; /* of the same segment: six notes without anything */
};

static const ElfW(Ehdr) * own_header(void)
{
    static ElfW(Ehdr) header;
    FILE *file = fopen("/proc/self/exe", "r");
    assert_non_null(file);
    assert_int_equal(fread(&header, sizeof header, 1, file), 1);
    fclose(file);
    return &header;
}

static struct image good_image(void)
{
    struct image image = {
        .header = *own_header(),
        .segments = {{.p_type = PT_NOTE, .p_offset = offsetof(struct image, other), .p_align = 4},
                     {.p_type = PT_DYNAMIC, .p_offset = 0, .p_filesz = 64}},
        .other = {4, 8, 3, "GNU", "builtid"},
        .note = {.owner_size = 7,
                 .content_size = sizeof(struct sluice_note) - 20,
                 .type = 1,
                 .owner = "Sluice",
                 .abi_major = SLUICE_ABI_MAJOR,
                 .abi_minor = SLUICE_ABI_MINOR,
                 .size = sizeof(struct sluice_plugin),
                 .handler_size = sizeof(struct sluice_handler),
                 .field_size = sizeof(struct sluice_field),
                 .outcome_size = sizeof(struct sluice_outcome),
                 .name = "good",
                 .version = "1.0"},
    };
    image.header.e_type = ET_DYN;
    image.header.e_phoff = offsetof(struct image, segments);
    image.header.e_phnum = 2;
    image.segments[0].p_filesz = sizeof image - offsetof(struct image, other);
    return image;
}

/* What is said of an image of which `size` bytes are there: NULL when it may be loaded. */
static const char *read_image(const struct image *image, size_t size, struct note *ret)
{
    static struct error error;
    char path[] = "/tmp/sluice-note-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, image, size), size);
    close(file);
    error = (struct error){0};
    *ret = (struct note){0};
    int r = library_check(path, &error);
    if (r == 0)
        r = note_read(path, ret, &error);
    if (r == 0)
        r = note_check(ret, &error);
    unlink(path);
    assert_int_equal(r, -error.code);
    return r == 0 ? NULL : error.text;
}

static void a_good_one(void **state)
{
    struct image image = good_image();
    struct note note;
    (void)state;
    assert_null(read_image(&image, sizeof image, &note));
    assert_true(note.found);
    assert_string_equal(note.content.name, "good");
    assert_string_equal(note.content.version, "1.0");
}

#define AT(member) offsetof(struct image, member), sizeof(((struct image *)0)->member)
enum { NONE = 1, LOADS = 2 }; /* it is as if there were none; it loads as if nothing had happened */

static const struct {
    const char *name;
    size_t at, size;
    uint64_t value;
    int found;
    const char *said; /* a part of the sentence */
} changes[] = {
    {"no note segment", AT(segments[0].p_type), PT_NULL, NONE, NULL},
    {"segment beyond the file", AT(segments[0].p_offset), 1 << 20, 0, "is cut short"},
    {"segment at the end of numbers", AT(segments[0].p_offset), UINT64_MAX - 8, 0, "is cut short"},
    {"segment larger than the file", AT(segments[0].p_filesz), 1 << 20, 0, "is cut short"},
    {"segment of all numbers", AT(segments[0].p_filesz), UINT64_MAX, 0, "is cut short"},
    {"segment over the whole file", AT(segments[0].p_offset), 0, NONE, NULL},
    {"segment that ends in the note", AT(segments[0].p_filesz), 24 + 100, 0,
     "cut short: it has 80 bytes, expected 164"},
    {"segment that ends in its owner", AT(segments[0].p_filesz), 24 + 16, NONE, NULL},
    {"segment without bytes", AT(segments[0].p_filesz), 0, NONE, NULL},
    {"two segments of the same notes", AT(segments[1].p_type), PT_NOTE, 0, "nothing for the dynamic linker"},
    {"alignment 8", AT(segments[0].p_align), 8, LOADS, NULL},
    {"alignment 0", AT(segments[0].p_align), 0, LOADS, NULL},
    {"alignment of a page", AT(segments[0].p_align), 4096, LOADS, NULL},
    {"other note with an endless owner", AT(other.owner_size), UINT32_MAX, NONE, NULL},
    {"other note with an endless content", AT(other.content_size), UINT32_MAX, NONE, NULL},
    {"other note over ours", AT(other.content_size), 64, NONE, NULL},
    {"other note without anything", AT(other.owner_size), 0, NONE, NULL},
    {"another owner", AT(note.owner[0]), 'F', NONE, NULL},
    {"an owner of 6 bytes", AT(note.owner_size), 6, NONE, NULL},
    {"an owner of 8 bytes", AT(note.owner_size), 8, LOADS, NULL},
    {"another type", AT(note.type), 2, NONE, NULL},
    {"a short content", AT(note.content_size), 163, 0, "cut short: it has 163 bytes, expected 164"},
    {"no content", AT(note.content_size), 0, 0, "cut short: it has 0 bytes, expected 164"},
    {"a long content", AT(note.content_size), 200, LOADS, NULL},
    {"an endless content", AT(note.content_size), UINT32_MAX, LOADS, NULL},
    {"another major", AT(note.abi_major), SLUICE_ABI_MAJOR + 1, 0, "its `abi_major` is 2"},
    {"a newer minor", AT(note.abi_minor), SLUICE_ABI_MINOR + 1, 0, "its `abi_minor` is"},
    {"another size", AT(note.size), 8, 0, "its `size` is 8 bytes, smaller"},
    {"another handler", AT(note.handler_size), 8, 0, "its `handler_size` is 8 bytes, smaller"},
    {"another field", AT(note.field_size), 8, 0, "its `field_size` is 8 bytes, smaller"},
    {"another outcome", AT(note.outcome_size), 8, 0, "its `outcome_size` is 8 bytes, smaller"},
    {"unstable rows", AT(note.reserved[0]), 7, 0, "the unstable rows 0x00000007 of the contract, this engine has none"},
    {"no name", AT(note.name[0]), 0, 0, "its name '' is no name"},
    {"a name of other letters", AT(note.name[0]), 'G', 0, "its name 'Good' is no name"},
    {"no version", AT(note.version[0]), 0, 0, "its `version` is no text"},
    {"a version that is no UTF-8", AT(note.version[0]), 0xff, 0, "its `version` is no text"},
    {"another class", AT(header.e_ident[EI_CLASS]), ELFCLASS32, 0, "32-bit processes"},
    {"another order", AT(header.e_ident[EI_DATA]), ELFDATA2MSB, 0, "of the other byte order"},
    {"another machine", AT(header.e_machine), EM_68K, 0, "is built for machine 4"},
    {"no shared object", AT(header.e_type), ET_EXEC, 0, "is a program"},
    {"segments of another size", AT(header.e_phentsize), 8, 0, "broken ELF header"},
    {"no segments", AT(header.e_phnum), 0, 0, "broken ELF header"},
    {"very many segments", AT(header.e_phnum), UINT16_MAX, 0, "broken ELF header"},
    {"more segments than the file has", AT(header.e_phnum), 250, 0, "is cut short"},
    {"segments beyond the file", AT(header.e_phoff), UINT64_MAX - 4, 0, "is cut short"},
};

static void changed_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct image image = good_image();
        struct note note;
        memcpy((char *)&image + changes[i].at, &changes[i].value, changes[i].size); /* of a little-endian machine */
        const char *said = read_image(&image, sizeof image, &note);
        if (changes[i].said == NULL ? said != NULL : said == NULL || strstr(said, changes[i].said) == NULL)
            fail_msg("%s: %s", changes[i].name, said == NULL ? "is taken" : said);
        if (said == NULL && note.found != (changes[i].found == LOADS))
            fail_msg("%s: %s", changes[i].name, note.found ? "a note was found" : "no note was found");
    }
}

/* Cut at any byte: refused, never read beyond. */
static void cut_files(void **state)
{
    struct image image = good_image();
    struct note note;
    (void)state;
    for (size_t size = 0; size < sizeof image; size++) {
        assert_non_null(read_image(&image, size, &note));
        assert_false(note.found);
    }
}

/* Two of them: neither is believed. */
static void two_notes(void **state)
{
    struct image image = good_image();
    struct {
        struct image image;
        struct sluice_note again;
    } two = {image, image.note};
    struct note note;
    (void)state;
    two.image.segments[0].p_filesz = sizeof two - offsetof(struct image, other);
    const char *said = read_image(&two.image, sizeof two, &note);
    assert_non_null(said);
    assert_non_null(strstr(said, "it has two notes of a plugin"));
    assert_false(note.found);
}

/* Whole texts without an end are too long, not read on. */
static void texts_without_end(void **state)
{
    struct image image = good_image();
    struct note note;
    (void)state;
    memset(image.note.name, 'a', sizeof image.note.name);
    const char *said = read_image(&image, sizeof image, &note);
    assert_non_null(said);
    assert_non_null(strstr(said, "is no name"));
    image = good_image();
    memset(image.note.version, 'a', sizeof image.note.version);
    said = read_image(&image, sizeof image, &note);
    assert_non_null(said);
    assert_non_null(strstr(said, "its `version` is no text of 1 to 64 bytes"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_good_one), cmocka_unit_test(changed_bytes),
                                       cmocka_unit_test(cut_files), cmocka_unit_test(two_notes),
                                       cmocka_unit_test(texts_without_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
