/*
 * expect: PATH: its `abi_major` is 2: it is built for plugin ABI 2.1, this engine has 1.1; build it again with
 * the sluice/plugin.h of this engine
 */
#include "bad.h"

PLUGIN(.abi_major = 2)
