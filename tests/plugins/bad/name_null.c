/*
 * expect: PATH: it has no name: its `name` is NULL
 */
#define SLUICE_NO_NOTE /* which takes literals only */
#include "bad.h"

PLUGIN(.name = NULL)
