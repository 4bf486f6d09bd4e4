/*
 * expect: PATH: handler 'work' has more than 64 outcomes; end the table with a row of zeros: {0}
 */
#include "bad.h"

static struct sluice_outcome many[80];
static char names[80][4];

__attribute__((constructor)) static void fill(void)
{
    for (int i = 0; i < 80; i++) {
        many[i].name = names[i];
        names[i][0] = (char)('a' + i / 10);
        names[i][1] = (char)('0' + i % 10);
    }
}
PLUGIN_WITH_HANDLER(.outcomes = many)
