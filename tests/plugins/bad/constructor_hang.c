/*
 * expect: PATH did not finish loading within 1000 ms; its constructors or sluice_plugin() hang; do such work in
 * open()
 */
#define _GNU_SOURCE
#include "bad.h"

#include <unistd.h>

__attribute__((constructor)) static void at_load(void)
{
    for (;;)
        pause();
}
PLUGIN(.version = "1")
