/*
 * expect: PATH: its name '?[31mred' is no name; names are a letter a-z, then letters, digits and '_', at most 64
 * bytes
 */
#include "bad.h"

PLUGIN(.name = "\033[31mred")
