/*
 * pack.h - structs of the contract are copied into the area, with pointers that are right in the plugin's process.
 *
 * One after the other from the beginning. What does not fit sets `full` and writes nothing more.
 */
#ifndef SLUICE_ISOLATE_PACK_H
#define SLUICE_ISOLATE_PACK_H

#include "base/span.h"
#include "sluice/plugin.h"

struct pack {
    char *area;
    uint64_t address; /* the area's, in the plugin's process */
    size_t used, max;
    bool full;
    struct span whole; /* the text that was packed by pack_whole(), and where it is: texts inside it are not copied */
    uint64_t whole_at;
};

/* Room, aligned for any type; its place in *ret. NULL: full. */
void *pack_room(struct pack *pack, size_t size, uint64_t *ret);
uint64_t pack_bytes(struct pack *pack, const void *bytes, size_t size); /* its place; 0: full */
void pack_whole(struct pack *pack, struct sluice_text text);
struct sluice_text pack_text(struct pack *pack, struct sluice_text text); /* as the plugin's process has it */
/* Of a struct that is in the area: each text that the table says is in it is packed and points there. */
void pack_fields(struct pack *pack, const struct sluice_field *fields, void *packed);

#endif
