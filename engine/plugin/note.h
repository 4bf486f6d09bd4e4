/*
 * note.h - what a library's file says of its plugin before it is loaded: the ELF note of sluice/plugin.h.
 *
 * Reading it runs nothing of the file, and believes nothing that lies outside of it. Functions own no memory and may be
 * called from any thread.
 */
#ifndef SLUICE_PLUGIN_NOTE_H
#define SLUICE_PLUGIN_NOTE_H

#include "base/error.h"
#include "sluice/plugin.h"

#include <stdbool.h>

struct note {
    bool found;                 /* false: the file has none, as plugins that were built before there were notes */
    struct sluice_note content; /* name and version end with a NUL */
};

/* Reads the note of a file that library_check() has found good. 0, a note that was not found included; -EINVAL when it
 * is broken, and when the file cannot be read. Sentences do not name the file. */
int note_read(const char *path, struct note *ret, struct error *error);
/* Whether this engine could load what the note says, as far as a note tells: 0, or -EINVAL with the sentence that the
 * descriptor would be refused with. */
int note_check(const struct note *note, struct error *error);
/* Whether a descriptor says the same: 0 or -EINVAL. */
int note_compare(const struct note *note, const struct sluice_plugin *plugin, struct error *error);

#endif
