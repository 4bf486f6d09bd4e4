/*
 * expect: PATH: settings: setting 'amount': its fallback: expected a duration with its unit from 1s to 5m, got
 * '250ms'
 */
#include "bad.h"

PLUGIN_WITH_SETTINGS(SLUICE_DURATION(struct input, amount, .flags = SLUICE_OPTIONAL, .fallback = "250ms", .min = 1000,
                                     .max = 300000))
