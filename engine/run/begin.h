/*
 * begin.h - where groups begin that have no position. Part of names.h.
 */
#ifndef SLUICE_RUN_BEGIN_H
#define SLUICE_RUN_BEGIN_H

#include "run/names.h"

/* Says which groups must be told where to begin and, with `change`, gives those that are their positions. 0, or
 * negative with a sentence. */
int begin_groups(struct names *names);

#endif
