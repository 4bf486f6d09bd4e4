/*
 * editor.h - a JSON object from a person: typed into $EDITOR, or piped in.
 */
#ifndef SLUICE_CLI_EDITOR_H
#define SLUICE_CLI_EDITOR_H

#include "base/arena.h"
#include "base/error.h"

/* All of standard input. Negative with a sentence. */
int editor_stdin(struct arena *arena, struct span *ret, struct error *error);
/* Opens `text`, a member a line, in $VISUAL or $EDITOR, else vi, and waits for it. -ECANCELED: nothing was changed. */
int editor_run(struct span text, struct arena *arena, struct span *ret, struct error *error);

#endif
