/*
 * expect: PATH: what sluice_plugin() returned starts with 0x0000000000000001 instead of 0x000a656369756c53;
 * return a struct sluice_plugin whose magic is SLUICE_MAGIC
 */
#include "bad.h"

PLUGIN(.magic = 1)
