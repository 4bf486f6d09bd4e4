/*
 * expect: PATH: handler 'work': field '.a': its name is no path into the data; write up to 32 names with one
 * '.' between them, as "address.country"
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_INT64_AT(struct input, amount, ".a"))
