/*
 * expect: PATH: its `handler_size` is 64 bytes, smaller than the 72 of plugin ABI 1.1; build it again with the
 * sluice/plugin.h of this engine, without packing structs
 */
#include "bad.h"

PLUGIN(.handler_size = 64)
