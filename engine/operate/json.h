/*
 * json.h - members of the JSON that commands and HTTP answer with: a separator, a name, a value.
 */
#ifndef SLUICE_OPERATE_JSON_H
#define SLUICE_OPERATE_JSON_H

#include "base/buffer.h"

#include <stdint.h>

void json_text(struct buffer *out, const char *separator, const char *name, const char *text); /* NULL: null */
/* What somebody else chose: bytes that are no UTF-8 become U+FFFD. At NULL: null. */
void json_bytes(struct buffer *out, const char *separator, const char *name, struct span bytes);
/* As RFC 3339 in UTC; 0: null. */
void json_time(struct buffer *out, const char *separator, const char *name, int64_t ms);

#endif
