/*
 * expect: PATH: its `abi_major` is 2: it is built for plugin ABI 2.0, this engine has 1.0; build it again with
 * the sluice/plugin.h of this engine
 */
#include "bad.h"

PLUGIN(.abi_major = 2)
