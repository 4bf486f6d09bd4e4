/*
 * pause.h - pauses: listed, made and ended by operators. Every process of the pipeline obeys within a second.
 *
 * A thing is named as in pipeline.yaml, with its kind before it where a name is that of two things ("topic:orders").
 * Results are those of operation.h.
 */
#ifndef SLUICE_OPERATE_PAUSE_H
#define SLUICE_OPERATE_PAUSE_H

#include "flow/pause.h"
#include "operate/operation.h"

struct pauses_listed { /* those in effect, the oldest first */
    struct pause *list;
    size_t count;
};

/* "10m", up to ten years. 0, or -EINVAL with a sentence. */
int pause_duration(struct span text, int64_t *ret_ms, struct error *error);
int pause_list(const struct operation *operation, struct pauses_listed *ret, struct error *error);
/* Pauses `name`, or gives its pause another end, actor and reason. for_ms 0: until it is resumed. *ret: as it is. */
int pause_make(const struct operation *operation, const char *name, int64_t for_ms, struct pause *ret,
               struct error *error);
/* Ends the pause of `name`, which may have left the file; NULL: every pause. *ret: what was paused. */
int pause_end(const struct operation *operation, const char *name, struct pauses_listed *ret, struct error *error);
bool pause_in_file(const struct operation *operation, const struct pause *pause);
/* {"pauses":[…]}, each as pause_print_json() has it. */
void pauses_json(const struct pauses_listed *listed, struct buffer *out);

#endif
