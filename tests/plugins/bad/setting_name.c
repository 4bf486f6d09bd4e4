/*
 * expect: PATH: settings: setting 'how-many' has no good name; settings are named by letters, digits and '_', at
 * most 64 bytes
 */
#include "bad.h"

PLUGIN_WITH_SETTINGS({.name = "how-many", .type = SLUICE_TYPE_INT64})
