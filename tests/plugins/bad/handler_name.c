/*
 * expect: PATH: handler 'Work!' has no good name; names are a letter a-z, then letters, digits and '_', at most
 * 64 bytes
 */
#include "bad.h"

PLUGIN_WITH_HANDLER(.name = "Work!")
