/*
 * expect: PATH: handler 'work' declares no outcome, so that none of its events could ever end; declare at least
 * one; routes in the pipeline say where it goes, or drop
 */
#include "bad.h"

PLUGIN_WITH_HANDLER(.outcomes = NULL)
