/*
 * descriptor_text.c - see descriptor_text.h.
 */
#include "plugin/descriptor_text.h"

#include <stdio.h>

bool descriptor_name_fits(const char *name)
{
    if (*name < 'a' || *name > 'z' || text_length(name, DESCRIPTOR_NAME_MAX) < 0)
        return false;
    for (const char *at = name; *at != '\0'; at++)
        if ((*at < 'a' || *at > 'z') && (*at < '0' || *at > '9') && *at != '_')
            return false;
    return true;
}

/* Bytes of the UTF-8 character at `at`, 0 when it is none. */
static size_t character_length(const unsigned char *at)
{
    if (at[0] < 0x80)
        return 1;
    size_t length = at[0] >= 0xc2 && at[0] < 0xe0   ? 2
                    : at[0] >= 0xe0 && at[0] < 0xf0 ? 3
                    : at[0] >= 0xf0 && at[0] < 0xf5 ? 4
                                                    : 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    bool surrogate = at[0] == 0xed && at[1] >= 0xa0, beyond = at[0] == 0xf4 && at[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : length;
}

bool descriptor_text_fits(const char *text)
{
    if (text == NULL)
        return true;
    if (text_length(text, DESCRIPTOR_TEXT_MAX) < 0)
        return false;
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0';) {
        size_t length = *at < 0x20 || *at == 0x7f ? 0 : character_length(at);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

const char *descriptor_show(const char *name, char buf[DESCRIPTOR_SHOWN_MAX])
{
    size_t length = 0;
    for (; length < DESCRIPTOR_NAME_MAX && name[length] != '\0'; length++)
        buf[length] = name[length] >= 0x20 && name[length] < 0x7f ? name[length] : '?';
    snprintf(buf + length, DESCRIPTOR_SHOWN_MAX - length, "%s", name[length] == '\0' ? "" : "…");
    return buf;
}
