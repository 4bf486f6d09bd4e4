/*
 * expect: PATH: its `help` is no line of UTF-8 of at most 1024 bytes
 */
#include "bad.h"

PLUGIN(.help = "gr\xfc\xdf")
