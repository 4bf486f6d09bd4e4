/*
 * expect: PATH: its `state_size` is 1099511627776 bytes, expected at most 67108864; allocate what is large in
 * open() and free it in close()
 */
#include "bad.h"

PLUGIN(.state_size = (size_t)1 << 40)
