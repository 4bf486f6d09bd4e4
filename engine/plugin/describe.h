/*
 * describe.h - between describe.c and describe_json.c, whose jansson.h and our event/json.h cannot stand in one file.
 */
#ifndef SLUICE_PLUGIN_DESCRIBE_H
#define SLUICE_PLUGIN_DESCRIBE_H

#include "base/buffer.h"
#include "sluice/plugin.h"

const char *describe_kind_word(uint32_t kind); /* "event", "request", "schedule" */
/* Appends the description of a checked descriptor as a JSON object and a newline. */
void describe_json(const struct sluice_plugin *plugin, const char *path, struct buffer *out);

#endif
