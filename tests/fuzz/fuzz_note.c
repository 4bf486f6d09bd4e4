/*
 * fuzz_note.c - the file of a plugin, as it is read before it is loaded: ELF header, segments, notes.
 *
 * Built with engine/plugin/library.c, note.c and descriptor.c with what that uses, beside what fuzz.h says.
 */
#include "fuzz.h"

#include "plugin/library.h"
#include "plugin/note.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool ends(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char path[32];
    struct error error = {0};
    struct note note;
    int file = memfd_create("plugin", MFD_CLOEXEC);
    must(file >= 0 && fchmod(file, 0600) == 0 && write(file, bytes, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int r = library_check(path, &error);
    must(r == 0 || (r == -error.code && error.text[0] != '\0'));
    r = note_read(path, &note, &error); /* of what is no library, too */
    must(r == 0 || (r == -error.code && !note.found));
    must(!note.found || (ends(note.content.name, sizeof note.content.name) &&
                         ends(note.content.version, sizeof note.content.version)));
    if (r == 0 && note_check(&note, &error) == 0 && note.found)
        must(note.content.abi_major == SLUICE_ABI_MAJOR && note.content.name[0] >= 'a' && note.content.name[0] <= 'z');
    close(file);
    return 0;
}
