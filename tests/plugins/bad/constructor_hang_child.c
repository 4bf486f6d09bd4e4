/*
 * expect: PATH ended the process while it was being loaded: exit code 0; a plugin never calls exit()
 */
#define _GNU_SOURCE
#include "bad.h"

#include <unistd.h>

__attribute__((constructor)) static void at_load(void)
{
    if (fork() > 0)
        _exit(0);
    for (;;) /* a grandchild that holds the pipe open */
        pause();
}
PLUGIN(.version = "1")
