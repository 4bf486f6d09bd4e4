/*
 * expect: PATH: handler 'work': its `input_size` is 16, but it has no `input` table; give the table that fills
 * the struct, or leave `input_size` out
 */
#include "bad.h"

PLUGIN_WITH_HANDLER(.input_size = 16)
