/*
 * expect: PATH ended the process while it was being loaded: exit code 3; a plugin never calls exit()
 */
#define _GNU_SOURCE
#include "bad.h"

#include <unistd.h>

__attribute__((constructor)) static void at_load(void)
{
    _exit(3);
}
PLUGIN(.version = "1")
