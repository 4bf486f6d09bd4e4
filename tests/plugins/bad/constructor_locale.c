/*
 * expect: PATH changed the locale of the process while it was being loaded; a plugin leaves alone what belongs
 * to the whole process
 */
#define _GNU_SOURCE
#include "bad.h"

#include <locale.h>

__attribute__((constructor)) static void at_load(void)
{
    setlocale(LC_ALL, "C.UTF-8");
}
PLUGIN(.version = "1")
