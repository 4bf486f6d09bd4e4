/*
 * field_table.h - one table of fields of a descriptor, copied at this header's sizes and every row of it checked.
 */
#ifndef SLUICE_PLUGIN_FIELD_TABLE_H
#define SLUICE_PLUGIN_FIELD_TABLE_H

#include "base/arena.h"
#include "base/error.h"
#include "sluice/plugin.h"

enum {
    FIELD_TABLE_MAX = 256, /* rows */
    FIELD_PATH_MAX = 32,   /* names in the path of a nested field */
};

enum field_role { FIELDS_OF_EVENT, FIELDS_OF_REQUEST, FIELDS_OF_SETTINGS, FIELDS_SET };
struct field_table {
    const char *where; /* what it belongs to: "handler 'charge'", "settings" */
    enum field_role role;
    uint16_t minor;    /* the declared one */
    size_t row_size;   /* the declared step */
    size_t owner_size; /* of the struct that offsets are in; unused by FIELDS_SET */
};

/* *ret is NULL when `from` is. -EINVAL with a sentence that begins with table->where. */
int field_table_copy(const struct sluice_field *from, const struct field_table *table, struct arena *arena,
                     const struct sluice_field **ret, struct error *error);

#endif
