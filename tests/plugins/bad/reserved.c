/*
 * expect: PATH: its `reserved` is 7, expected 0
 */
#include "bad.h"

PLUGIN(.reserved = 7)
