/*
 * expect: PATH: handler 'work': field 'amount': its member of 8 bytes at offset 100 is outside of the
 * `input_size` of 40; `input_size` is the sizeof of the struct that the offsets are in
 */
#include "bad.h"

PLUGIN_WITH_FIELDS({.name = "amount", .type = SLUICE_TYPE_INT64, .offset = 100})
