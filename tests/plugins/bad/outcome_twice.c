/*
 * expect: PATH: handler 'work' has two outcomes 'done'
 */
#include "bad.h"

static const struct sluice_outcome outcomes[] = {{"done", NULL}, {"done", NULL}, {0}};
PLUGIN_WITH_HANDLER(.outcomes = outcomes)
