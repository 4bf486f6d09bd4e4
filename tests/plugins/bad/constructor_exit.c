/*
 * expect: PATH ended the process while it was being loaded: exit code 0; a plugin never calls exit()
 */
#define _GNU_SOURCE
#include "bad.h"

#include <stdlib.h>

__attribute__((constructor)) static void at_load(void)
{
    exit(0);
}
PLUGIN(.version = "1")
