/*
 * area.h - the memory that a lane and the process of an isolated plugin share, and the messages that tell when to look.
 *
 * The lane's half is written by the lane and never read by it again; what stands there is what the plugin reads: the
 * state with its settings, then of each call its events, inputs and rows. The other half holds the acts (acts.h) of the
 * call in progress. A place is a distance from the beginning of the area. Pointers in the lane's half are those of the
 * plugin's process, which says first where it has the area.
 */
#ifndef SLUICE_ISOLATE_AREA_H
#define SLUICE_ISOLATE_AREA_H

#include <stddef.h>
#include <stdint.h>

/* Only pages that are written to take memory. */
#define AREA_LANE ((size_t)256 << 20)
#define AREA_ACTS ((size_t)64 << 20)
#define AREA_NONE UINT64_MAX /* the length of no text, or of NULL */

enum { AREA_SOCKET = 3, AREA_MEMORY = 4 }; /* descriptors of the plugin's process */
#define AREA_COMMAND "plugin-process"      /* the program's word that begins one: PATH SHA256 PARENT */

enum message_kind {
    /* of the plugin's process */
    MESSAGE_MAPPED = 1, /* value: the area's address there */
    MESSAGE_OPENED,
    MESSAGE_REFUSED, /* a sentence stands at the beginning of its half */
    MESSAGE_ASKS,    /* value: bytes of acts so far; waits for the answer */
    MESSAGE_RETURNED,
    MESSAGE_THREAD, /* a handler ended its thread, and so this process */
    /* of the lane */
    MESSAGE_OPEN,  /* struct area_open stands at the beginning */
    MESSAGE_CALL,  /* struct area_call does */
    MESSAGE_ANSWER /* value: the place of a struct area_rows; 0: there are none */
};

struct message {
    uint64_t kind, value;
};

struct area_open {
    uint64_t lane, state_size, state; /* state: its place */
    uint64_t memory, exec, sockets;   /* of struct plugin_ref */
};

struct area_call {
    uint64_t handler, count;
    int64_t deadline_ms;     /* monotonic */
    uint64_t events, inputs; /* places; inputs: 0 when there are none */
};

enum area_getter { AREA_INT64 = 1, AREA_DOUBLE, AREA_TEXT }; /* which function reads a column; 0: none does */

struct area_rows {
    uint64_t index; /* the how manieth answer of the call */
    uint64_t row_count, column_count;
    uint64_t getters, cells; /* places: uint32_t of each column; struct area_cell of each row's columns */
};

struct area_cell {
    uint64_t value;  /* the number, the double's bits, or the place of the text */
    uint64_t length; /* of a text; AREA_NONE: NULL */
};

#endif
