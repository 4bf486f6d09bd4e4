/*
 * expect: PATH exports no function sluice_plugin(); define it with SLUICE_PLUGIN(…); in C++ and others as extern
 * "C", with default visibility
 */
#include "bad.h"

int something_else(void);
int something_else(void)
{
    return good_handlers[0].max_events;
}
