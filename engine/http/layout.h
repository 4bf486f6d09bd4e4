/*
 * layout.h - finds what libmicrohttpd 0.9 reads differently than a proxy in front would.
 *
 * That parser cuts lines and values at a NUL byte, takes a field without a name for the end of the header, glues a
 * continued line to the name of its field, and takes a lone LF for the end of a line. Each lets one request be taken
 * for two. It works in place, though: in a request without any of this, every piece stands exactly one CR LF behind
 * the piece before it, and the last one ends where the header ends. Whatever does not is refused. Later versions of
 * libmicrohttpd refuse these by themselves and lay things out differently: then nothing is looked at here.
 */
#ifndef SLUICE_HTTP_LAYOUT_H
#define SLUICE_HTTP_LAYOUT_H

#include "base/span.h"

struct layout {
    bool looked_at, broken;
    uintptr_t end; /* of the piece before */
};

void layout_begin(struct layout *layout, const char *url, struct span target, const char *version);
void layout_field(struct layout *layout, struct span name, struct span value);
bool layout_finish(struct layout *layout, const char *method, size_t header_size); /* true: as it should be */

#endif
