/*
 * expect: PATH: handler 'work': a table has more than 256 fields; end the table with a row of zeros: {0}
 */
#include "bad.h"

static struct sluice_field many[400];

__attribute__((constructor)) static void fill(void)
{
    for (int i = 0; i < 400; i++)
        many[i] = (struct sluice_field)SLUICE_INT64(struct input, amount);
}
PLUGIN_WITH_HANDLER(.input = many, .input_size = sizeof(struct input))
