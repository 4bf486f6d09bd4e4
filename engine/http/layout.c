/*
 * layout.c - see layout.h. Addresses are compared as numbers; nothing is read through them.
 */
#include "http/layout.h"

#include <microhttpd.h>

void layout_begin(struct layout *layout, const char *url, struct span target, const char *version)
{
    *layout = (struct layout){.looked_at = strncmp(MHD_get_version(), "0.9.", 4) == 0};
    layout->broken = (uintptr_t)version != (uintptr_t)url + target.length + 1;
    layout->end = (uintptr_t)version + strlen(version);
}

void layout_field(struct layout *layout, struct span name, struct span value)
{
    layout->broken = layout->broken || (uintptr_t)name.at != layout->end + strlen("\r\n");
    layout->end = (uintptr_t)value.at + value.length;
}

bool layout_finish(struct layout *layout, const char *method, size_t header_size)
{
    bool ends = (uintptr_t)method + header_size == layout->end + strlen("\r\n\r\n");
    return !layout->looked_at || (ends && !layout->broken);
}
