/*
 * param.c - parameters in PostgreSQL's binary format, written straight into one buffer.
 *
 * The size of a parameter is known before its first byte is written, so an array of a thousand elements is one
 * reservation and one loop.
 */
#include "store/connection/connection.h"

#include <endian.h>
#include <errno.h>

/* From store_param's milliseconds since 1970 to PostgreSQL's microseconds since 2000, and back in rows.c. */
static const int64_t PARAM_EPOCH_MS = INT64_C(946684800000);

enum { ARRAY_HEAD = 20 }; /* bytes: dimensions, has-null, element type, length, lower bound */

struct param_kind {
    Oid oid, array_oid;
    uint8_t wire;    /* bytes of a value, 0: it varies */
    uint8_t natural; /* bytes in memory */
};

static const struct param_kind param_kinds[] = {
    [PARAM_INT2] = {21, 1005, 2, sizeof(int16_t)},        [PARAM_INT4] = {23, 1007, 4, sizeof(int32_t)},
    [PARAM_INT8] = {20, 1016, 8, sizeof(int64_t)},        [PARAM_BOOL] = {16, 1000, 1, sizeof(int32_t)},
    [PARAM_DOUBLE] = {701, 1022, 8, sizeof(double)},      [PARAM_TEXT] = {25, 1009, 0, sizeof(struct span)},
    [PARAM_BYTEA] = {17, 1001, 0, sizeof(struct span)},   [PARAM_UUID] = {2950, 2951, 16, sizeof(struct event_id)},
    [PARAM_JSONB] = {3802, 3807, 0, sizeof(struct span)}, [PARAM_XID8] = {5069, 271, 8, sizeof(int64_t)},
    [PARAM_TIMESTAMP] = {1184, 1185, 8, sizeof(int64_t)},
};

static const struct param_kind *param_kind(enum param_type type)
{
    return (size_t)type < sizeof param_kinds / sizeof param_kinds[0] && type != 0 ? &param_kinds[type] : NULL;
}

Oid param_oid(enum param_type type, bool array)
{
    const struct param_kind *kind = param_kind(type);
    return kind == NULL ? 0 : array ? kind->array_oid : kind->oid;
}

static char *param_put32(char *at, uint32_t value)
{
    value = htobe32(value);
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

static char *param_put64(char *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

static char *param_put_span(char *at, enum param_type type, const struct span *span)
{
    if (type == PARAM_JSONB)
        *at++ = 1; /* jsonb's version */
    if (span->length > 0)
        memcpy(at, span->at, span->length);
    return at + span->length;
}

/* One value without its length. */
static char *param_put(char *at, enum param_type type, const void *value)
{
    int16_t int2;
    int32_t int4;
    int64_t int8;

    switch (type) {
    case PARAM_INT2:
        memcpy(&int2, value, sizeof int2);
        int2 = (int16_t)htobe16((uint16_t)int2);
        memcpy(at, &int2, sizeof int2);
        return at + sizeof int2;
    case PARAM_INT4:
        memcpy(&int4, value, sizeof int4);
        return param_put32(at, (uint32_t)int4);
    case PARAM_BOOL:
        memcpy(&int4, value, sizeof int4);
        *at = int4 != 0;
        return at + 1;
    case PARAM_INT8:
    case PARAM_XID8:
    case PARAM_DOUBLE: /* the same eight bytes */
        memcpy(&int8, value, sizeof int8);
        return param_put64(at, (uint64_t)int8);
    case PARAM_TIMESTAMP:
        memcpy(&int8, value, sizeof int8);
        return param_put64(at, (uint64_t)((int8 - PARAM_EPOCH_MS) * 1000));
    case PARAM_UUID:
        memcpy(at, value, sizeof(struct event_id));
        return at + sizeof(struct event_id);
    case PARAM_TEXT:
    case PARAM_BYTEA:
    case PARAM_JSONB:
        return param_put_span(at, type, value);
    }
    return at;
}

static size_t param_span_size(enum param_type type, const struct span *span)
{
    return span->length + (type == PARAM_JSONB ? 1 : 0);
}

/* Bytes of all elements with their lengths; *ret_null when one of them is NULL. */
static size_t param_array_size(const struct store_param *param, const struct param_kind *kind, size_t stride,
                               bool *ret_null)
{
    *ret_null = false;
    if (kind->wire > 0)
        return param->count * (4u + kind->wire);
    size_t size = param->count * 4;
    const char *at = param->values;
    for (size_t i = 0; i < param->count; i++, at += stride) {
        const struct span *span = (const struct span *)(const void *)at;
        if (span->at == NULL)
            *ret_null = true;
        else
            size += param_span_size(param->type, span);
    }
    return size;
}

static char *param_put_elements(char *at, const struct store_param *param, const struct param_kind *kind, size_t stride)
{
    const char *value = param->values;
    for (size_t i = 0; i < param->count; i++, value += stride) {
        if (kind->wire > 0) {
            at = param_put32(at, kind->wire);
        } else {
            const struct span *span = (const struct span *)(const void *)value;
            if (span->at == NULL) {
                at = param_put32(at, UINT32_MAX);
                continue;
            }
            at = param_put32(at, (uint32_t)param_span_size(param->type, span));
        }
        at = param_put(at, param->type, value);
    }
    return at;
}

static int param_encode_array(struct buffer *out, const struct store_param *param, const struct param_kind *kind)
{
    size_t stride = param->stride == 0 ? kind->natural : param->stride;
    bool has_null;
    size_t size = ARRAY_HEAD + param_array_size(param, kind, stride, &has_null);
    if (size > PARAM_BYTES_MAX)
        return -EMSGSIZE;
    char *start = buffer_reserve(out, size);
    if (start == NULL)
        return -EMSGSIZE;

    char *at = param_put32(start, param->count == 0 ? 0 : 1);
    at = param_put32(at, has_null);
    at = param_put32(at, kind->oid);
    if (param->count > 0) { /* an empty array has no dimensions */
        at = param_put32(at, (uint32_t)param->count);
        at = param_put32(at, 1);
        at = param_put_elements(at, param, kind, stride);
    }
    out->length += (size_t)(at - start);
    return 0;
}

int param_encode(struct buffer *out, const struct store_param *param, bool *ret_null)
{
    const struct param_kind *kind = param_kind(param->type);
    if (kind == NULL)
        return -EINVAL;
    if (param->array) {
        *ret_null = false;
        return param_encode_array(out, param, kind);
    }
    size_t size = kind->wire;
    if (size == 0) {
        const struct span *span = param->values;
        *ret_null = span->at == NULL;
        if (*ret_null)
            return 0;
        size = param_span_size(param->type, span);
    }
    *ret_null = false;
    if (size > PARAM_BYTES_MAX)
        return -EMSGSIZE;
    char *at = buffer_reserve(out, size);
    if (at == NULL && size > 0)
        return -EMSGSIZE;
    if (size > 0)
        param_put(at, param->type, param->values);
    out->length += size;
    return 0;
}
