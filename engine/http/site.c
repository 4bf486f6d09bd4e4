/*
 * site.c - see site.h.
 */
#include "http/site.h"

#include <strings.h>

static bool text_is(struct span text, const char *word) /* in any case */
{
    return text.length == strlen(word) && strncasecmp(text.at, word, text.length) == 0;
}

/* Without its port; "[::1]:8080" is "[::1]". At NULL: the port is none. */
static struct span without_port(struct span host)
{
    const char *end = host.length == 0 ? NULL : memrchr(host.at, ':', host.length);
    const char *bracket = host.length == 0 ? NULL : memrchr(host.at, ']', host.length);
    if (end == NULL || end < bracket)
        return host;
    for (const char *digit = end + 1; digit < host.at + host.length; digit++)
        if (*digit < '0' || *digit > '9')
            return (struct span){NULL, 0};
    return (struct span){host.at, (size_t)(end - host.at)};
}

bool site_is_loopback(struct span host, const char *configured)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    struct span name = without_port(host);
    if (name.length == 0)
        return false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (text_is(name, names[i]))
            return true;
    struct span bare = name.at[0] == '[' && name.length > 2 ? (struct span){name.at + 1, name.length - 2} : name;
    return text_is(name, configured) || text_is(bare, configured);
}

bool site_is_same(struct span origin, struct span host)
{
    const char *scheme_end = origin.length == 0 ? NULL : memmem(origin.at, origin.length, "://", 3);
    if (scheme_end == NULL || host.length == 0)
        return false;
    struct span authority = {scheme_end + 3, origin.length - (size_t)(scheme_end + 3 - origin.at)};
    return authority.length == host.length && strncasecmp(authority.at, host.at, host.length) == 0;
}
