/*
 * isolated.h - a plugin whose handlers run in a process of their own, as a lane has it.
 *
 * One process a lane and plugin: the program itself, begun with AREA_COMMAND, which loads the engine's copy of the
 * library and opens the plugin with the settings that it is sent. It ends with its lane. When it ended by itself, the
 * next call begins another. On the lane's thread only; it must not end before the processes do, for they end with it.
 */
#ifndef SLUICE_ISOLATE_ISOLATED_H
#define SLUICE_ISOLATE_ISOLATED_H

#include "guard/ending.h"
#include "isolate/pack.h"
#include "plugin/plugin.h"

#include <stdatomic.h>

enum { ISOLATED_GRACE_MS = 750 }; /* a call may be late by this much */

/* Like plugin_open() and plugin_close(), on the lane's thread. A state that is not isolated stays as it is. */
int isolated_open(const struct plugin_ref *ref, uint32_t lane, struct plugin_state *ret, struct error *error);
void isolated_close(struct plugin_state *state);

struct isolated_call {
    const struct sluice_handler *handler;
    const struct sluice_call *call;
    int64_t deadline_ms;      /* monotonic */
    atomic_bool *interrupted; /* set by any thread, taken back by the call that it ends. NULL: never */
};
/* Hands the call to the process, which is begun first when there is none. 0; -EAGAIN: it does not begin; -E2BIG: the
 * call is larger than the area. */
int isolated_call(struct isolated *isolated, const struct isolated_call *call, struct error *error);

enum isolated_said { ISOLATED_RETURNED, ISOLATED_ASKS, ISOLATED_ENDED };
/* What comes next: *ret_acts are those of the call so far, which the process can still write to. ISOLATED_ENDED: there
 * is no process any more, also when it had to be ended, *ret says how. */
enum isolated_said isolated_wait(struct isolated *isolated, int64_t until_ms, struct span *ret_acts,
                                 struct process_ending *ret);
/* Where an answer is packed, behind what the call has got. */
struct pack *isolated_pack(struct isolated *isolated);
void isolated_answer(struct isolated *isolated, uint64_t place);
/* What it wrote is broken: it ends, and the next call begins another. */
void isolated_end(struct isolated *isolated);

/* The one copy of a statement's text that this process has, for as long as it lives; NULL: it has too many. Any
 * thread. */
const char *isolated_statement(const char *text);

/* The plugin's process: the exit code. argv: AREA_COMMAND, PATH, SHA256, PARENT. */
int isolated_main(int argc, char **argv);

#endif
