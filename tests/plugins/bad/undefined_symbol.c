/*
 * expect: PATH cannot be loaded: undefined symbol: sluice_engine_function; link the plugin with what it uses (cc
 * -shared -Wl,-z,defs shows what is missing); the engine is reached through struct sluice_host only
 */
#include "bad.h"

void sluice_engine_function(void);
__attribute__((constructor)) static void binding(void)
{
    sluice_engine_function();
}
PLUGIN(.version = "1")
