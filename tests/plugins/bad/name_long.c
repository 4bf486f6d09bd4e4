/*
 * expect: PATH: its name 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…' is no name; names
 * are a letter a-z, then letters, digits and '_', at most 64 bytes
 */
#include "bad.h"

PLUGIN(.name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
