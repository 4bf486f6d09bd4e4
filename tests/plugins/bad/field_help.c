/*
 * expect: PATH: handler 'work': field 'amount': its `help` is no line of UTF-8 of at most 1024 bytes
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_INT64(struct input, amount, .help = "two\nlines"))
