/*
 * expect: PATH: it has no handlers
 */
#include "bad.h"

PLUGIN(.handlers = NULL)
