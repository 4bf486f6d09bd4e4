/*
 * expect: PATH: its `version` is no text of 1 to 64 bytes
 */
#include "bad.h"

PLUGIN(.version = NULL)
