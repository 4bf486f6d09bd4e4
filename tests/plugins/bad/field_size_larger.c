/*
 * expect: PATH: its `field_size` is 80 bytes, larger than the 72 of plugin ABI 1.1; build it again with the
 * sluice/plugin.h of this engine, without packing structs
 */
#include "bad.h"

PLUGIN(.field_size = 80)
