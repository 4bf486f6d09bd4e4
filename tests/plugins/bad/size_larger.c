/*
 * expect: PATH: its `size` is 104 bytes, larger than the 96 of plugin ABI 1.1; build it again with the
 * sluice/plugin.h of this engine, without packing structs
 */
#include "bad.h"

PLUGIN(.size = 104)
