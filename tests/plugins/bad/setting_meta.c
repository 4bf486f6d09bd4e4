/*
 * expect: PATH: settings: setting 'amount': the type meta_int64 cannot stand in settings
 */
#include "bad.h"

PLUGIN_WITH_SETTINGS(SLUICE_META_INT64(struct input, amount, SLUICE_META_ATTEMPT))
