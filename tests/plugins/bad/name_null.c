/*
 * expect: PATH: it has no name: its `name` is NULL
 */
#include "bad.h"

PLUGIN(.name = NULL)
