/*
 * expect: PATH: it is built with SLUICE_UNSTABLE for the unstable rows 0x00000007 of the contract, this engine has
 * none; build it again with the sluice/plugin.h of this engine, or without SLUICE_UNSTABLE
 */
#include "bad.h"

PLUGIN(.reserved = 7)
