/*
 * needs.c - see needs.h. What the dynamic section says is believed only inside the file; what is not there is nothing
 * that is needed: the dynamic linker has the last word.
 */
#include "plugin/needs.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct image {
    const char *at;
    size_t size;
};

static const void *image_part(const struct image *image, size_t offset, size_t size)
{
    return offset <= image->size && size <= image->size - offset ? image->at + offset : NULL;
}

static const ElfW(Phdr) * segment_at(const struct image *image, size_t index)
{
    const ElfW(Ehdr) *header = image_part(image, 0, sizeof *header);
    if (header == NULL || index >= header->e_phnum || header->e_phentsize != sizeof(ElfW(Phdr)))
        return NULL;
    return image_part(image, header->e_phoff + index * sizeof(ElfW(Phdr)), sizeof(ElfW(Phdr)));
}

/* A text at an address of the loaded library, or NULL. */
static const char *text_at(const struct image *image, size_t address)
{
    const ElfW(Phdr) * segment;
    for (size_t i = 0; (segment = segment_at(image, i)) != NULL; i++) {
        if (segment->p_type != PT_LOAD || address < segment->p_vaddr || address - segment->p_vaddr >= segment->p_filesz)
            continue;
        size_t offset = segment->p_offset + (address - segment->p_vaddr);
        const char *text = image_part(image, offset, 1);
        return text != NULL && memchr(text, '\0', image->size - offset) != NULL ? text : NULL;
    }
    return NULL;
}

static const ElfW(Dyn) * dynamic_of(const struct image *image, size_t *ret_count)
{
    const ElfW(Phdr) * segment;
    for (size_t i = 0; (segment = segment_at(image, i)) != NULL; i++)
        if (segment->p_type == PT_DYNAMIC) {
            *ret_count = segment->p_filesz / sizeof(ElfW(Dyn));
            return image_part(image, segment->p_offset, segment->p_filesz);
        }
    return NULL;
}

/* What follows $ORIGIN in an entry of a search path that ends at `end`; false: it does not begin with it. */
static int origin_below(const char *entry, const char *end, char ret[PATH_MAX])
{
    static const char *const words[] = {"$ORIGIN", "${ORIGIN}"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t length = strlen(words[i]), whole = (size_t)(end - entry);
        if (whole >= length && whole - length < PATH_MAX && memcmp(entry, words[i], length) == 0) {
            memcpy(ret, entry + length, whole - length);
            ret[whole - length] = '\0';
            return 1;
        }
    }
    return 0;
}

static int needs_of_image(const struct image *image, int (*each)(const char *, const char *, void *), void *context)
{
    size_t count = 0, texts = 0;
    const ElfW(Dyn) *dynamic = dynamic_of(image, &count);
    const char *path = NULL;
    int r = 0;
    for (size_t i = 0; dynamic != NULL && i < count && dynamic[i].d_tag != DT_NULL; i++)
        if (dynamic[i].d_tag == DT_STRTAB)
            texts = dynamic[i].d_un.d_ptr;
    for (size_t i = 0; dynamic != NULL && i < count && dynamic[i].d_tag != DT_NULL; i++)
        if (dynamic[i].d_tag == DT_RUNPATH || (dynamic[i].d_tag == DT_RPATH && path == NULL))
            path = text_at(image, texts + dynamic[i].d_un.d_val);
    for (const char *entry = path; entry != NULL && r == 0;) {
        char below[PATH_MAX];
        const char *end = strchrnul(entry, ':');
        bool origin = origin_below(entry, end, below);
        for (size_t i = 0; origin && r == 0 && i < count && dynamic[i].d_tag != DT_NULL; i++) {
            const char *name = dynamic[i].d_tag == DT_NEEDED ? text_at(image, texts + dynamic[i].d_un.d_val) : NULL;
            if (name != NULL && strchr(name, '/') == NULL)
                r = each(below, name, context);
        }
        entry = *end == '\0' ? NULL : end + 1;
    }
    return r;
}

int needs_each(const char *path, int (*each)(const char *below, const char *name, void *context), void *context)
{
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC), r = 0;
    if (file < 0)
        return 0;
    if (fstat(file, &status) == 0 && status.st_size > 0) {
        struct image image = {.size = (size_t)status.st_size};
        void *at = mmap(NULL, image.size, PROT_READ, MAP_PRIVATE, file, 0);
        image.at = at;
        if (at != MAP_FAILED) {
            r = needs_of_image(&image, each, context);
            munmap(at, image.size);
        }
    }
    close(file);
    return r;
}
