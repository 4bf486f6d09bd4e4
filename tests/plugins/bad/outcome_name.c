/*
 * expect: PATH: handler 'work': outcome 'All Done' is no name; names are a letter a-z, then letters, digits and
 * '_', at most 64 bytes
 */
#include "bad.h"

static const struct sluice_outcome outcomes[] = {{"All Done", NULL}, {0}};
PLUGIN_WITH_HANDLER(.outcomes = outcomes)
