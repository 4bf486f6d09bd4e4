/*
 * expect: PATH: it has more than 64 handlers; end the table with a row of zeros: {0}
 */
#include "bad.h"

static struct sluice_handler many[80];
static char names[80][4];

__attribute__((constructor)) static void fill(void)
{
    for (int i = 0; i < 80; i++) {
        many[i] = good_handlers[0];
        many[i].name = names[i];
        names[i][0] = 'a';
        names[i][1] = (char)('a' + i / 10);
        names[i][2] = (char)('0' + i % 10);
    }
}
PLUGIN(.handlers = many)
