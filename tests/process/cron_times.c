/*
 * cron_times.c - what flow/cron and base/zone say, for test_cron.py to compare: each line of the input is
 * "ZONE AFTER_MS COUNT EXPRESSION", and is answered with the next COUNT ticks and the last one not after AFTER_MS.
 */
#include "flow/cron.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    struct arena *arena = arena_create(64 * 1024, 64 * 1024 * 1024);
    char line[512], zone_name[64], text[256];
    int64_t after_ms;
    int count;
    while (fgets(line, sizeof line, stdin) != NULL) {
        struct error error = {0};
        struct cron cron;
        if (sscanf(line, "%63s %" SCNd64 " %d %255[^\n]", zone_name, &after_ms, &count, text) != 4)
            return 2;
        const struct zone *zone = zone_read(zone_name, arena, &error);
        if (zone == NULL || cron_parse(span_of(text), &cron, &error) != 0) {
            printf("%s\n", error.text);
            continue;
        }
        for (int64_t next_ms = after_ms; count-- > 0;)
            printf("%" PRId64 " ", next_ms = cron_next_ms(&cron, zone, next_ms));
        printf("%" PRId64 "\n", cron_last_ms(&cron, zone, after_ms));
        arena_reset(arena);
    }
    arena_destroy(arena);
    return 0;
}
