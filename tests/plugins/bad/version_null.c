/*
 * expect: PATH: its `version` is no text of 1 to 64 bytes
 */
#define SLUICE_NO_NOTE /* which takes literals only */
#include "bad.h"

PLUGIN(.version = NULL)
