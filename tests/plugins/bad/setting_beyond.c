/*
 * expect: PATH: settings: setting 'amount': its member of 8 bytes at offset 100 is outside of the `state_size`
 * of 40; `state_size` is the sizeof of the struct that the offsets are in
 */
#include "bad.h"

PLUGIN_WITH_SETTINGS({.name = "amount", .type = SLUICE_TYPE_INT64, .offset = 100})
