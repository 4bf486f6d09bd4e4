/*
 * expect: PATH: it has two handlers 'work'
 */
#include "bad.h"

static const struct sluice_handler two[] = {HANDLER(.help = "one"), HANDLER(.help = "two"), {0}};
PLUGIN(.handlers = two)
