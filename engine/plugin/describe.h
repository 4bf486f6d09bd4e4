/*
 * describe.h - what a plugin declares, for people and for programs. Of a checked descriptor; `from` is
 * its library. Includes nothing of event/, since jansson.h and event/json.h cannot stand in one file.
 */
#ifndef SLUICE_PLUGIN_DESCRIBE_H
#define SLUICE_PLUGIN_DESCRIBE_H

#include "base/buffer.h"
#include "plugin/descriptor.h"

const char *describe_kind_word(uint32_t kind); /* "event", "request", "schedule" */
/* Where a description comes from. */
struct described {
    const char *path, *sha256;
    bool note;                /* the file has one */
    const struct abi *engine; /* what this program has of the contract */
};
/* Appends lines of text. */
void describe_text(const struct sluice_plugin *plugin, const struct described *from, struct buffer *out);
/* Appends a JSON object and a newline. */
void describe_json(const struct sluice_plugin *plugin, const struct described *from, struct buffer *out);

#endif
