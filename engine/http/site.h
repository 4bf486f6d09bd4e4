/*
 * site.h - from which site a browser asks, by the Host and the Origin of its request. Pure.
 *
 * A page of any site can make its visitor's browser ask an engine that only this machine reaches. It cannot read the
 * answers, unless the site's own name leads to 127.0.0.1 by then (DNS rebinding): then the Host is that name. And what
 * it sends that could change something has the site as its Origin.
 */
#ifndef SLUICE_HTTP_SITE_H
#define SLUICE_HTTP_SITE_H

#include "base/span.h"

/* Whether a Host names this machine's loopback, or is `configured`, a name without a port. Any port will do. */
bool site_is_loopback(struct span host, const char *configured);
/* Whether an Origin ("http://127.0.0.1:8080") is of the site that the Host says; of any scheme, for a proxy may have
 * spoken TLS. "null" is of none. */
bool site_is_same(struct span origin, struct span host);

#endif
