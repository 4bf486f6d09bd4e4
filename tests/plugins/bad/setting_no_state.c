/*
 * expect: PATH: settings: setting 'amount': its member of 8 bytes at offset 16 is outside of the `state_size` of
 * 0; `state_size` is the sizeof of the struct that the offsets are in
 */
#include "bad.h"

static const struct sluice_field settings[] = {SLUICE_INT64(struct input, amount), {0}};
PLUGIN(.settings = settings)
