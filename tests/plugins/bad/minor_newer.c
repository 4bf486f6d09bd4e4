/*
 * expect: PATH: its `abi_minor` is 9: it is built for plugin ABI 1.9, this engine has the older 1.1; install a
 * newer engine, or build it again with the sluice/plugin.h of this engine
 */
#include "bad.h"

PLUGIN(.abi_minor = 9)
