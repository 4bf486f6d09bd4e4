/*
 * expect: PATH: its `size` is 88 bytes, smaller than the 96 of plugin ABI 1.1; build it again with the
 * sluice/plugin.h of this engine, without packing structs
 */
#include "bad.h"

PLUGIN(.size = 88)
