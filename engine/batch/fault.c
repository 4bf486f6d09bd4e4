/*
 * fault.c - what a plugin did against the contract, and which of its call's events pays for it.
 */
#include "batch/host.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum { FAULT_WORDS_MAX = 500 };

void call_fault(struct call *call, size_t n, const char *format, ...)
{
    char text[FAULT_WORDS_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    work_condemn(call->batch, call->works[n < call->count ? n : 0], DEAD_PLUGIN_FAULT, "handler %s %s",
                 call->binding->handler_name, text);
}

void call_fault_alone(struct call *call, const char *format, ...)
{
    char text[FAULT_WORDS_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (call->count == 1) {
        call_fault(call, 0, "%s", text);
    } else if (call->batch->result == STORE_OK) {
        call->batch->result = STORE_DATA;
        error_set(&call->batch->error, EPROTO, "handler %s %s", call->binding->handler_name, text);
    }
}
