/*
 * expect: PATH: its `outcome_size` is 24 bytes, larger than the 16 of plugin ABI 1.1; build it again with the
 * sluice/plugin.h of this engine, without packing structs
 */
#include "bad.h"

PLUGIN(.outcome_size = 24)
