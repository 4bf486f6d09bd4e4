/*
 * expect: PATH: it has no handlers
 */
#include "bad.h"

static const struct sluice_handler none[] = {{0}};
PLUGIN(.handlers = none)
