/*
 * verdict.c - see verdict.h.
 */
#include "flow/verdict.h"

/* What is left out of a row is `no`: no claim, no output, no parking. */
const struct verdict_row verdict_rows[VERDICT_COUNT] = {
    [VERDICT_NONE] = {.word = "none", .claim = CLAIM_IF_RECORDED, .replies = true, .way = WAY_REQUEUE},
    [VERDICT_OUTCOME] = {.word = "outcome",
                         .keeps_claim = true,
                         .keeps_reply = true,
                         .output = OUTPUT_ROUTES,
                         .chains = true,
                         .replies = true,
                         .way = WAY_DONE},
    [VERDICT_NO_OUTCOME] = {.word = "no outcome",
                            .keeps_claim = true,
                            .keeps_reply = true,
                            .output = OUTPUT_ROUTES,
                            .replies = true,
                            .way = WAY_DONE},
    [VERDICT_NO_HANDLER] =
        {.word = "no handler", .claim = CLAIM_IF_WATCHED, .keeps_claim = true, .chains = true, .way = WAY_DONE},
    [VERDICT_RETRY] = {.word = "retry", .holds_key = true, .counts_try = true, .way = WAY_RETRY},
    [VERDICT_DELAY] = {.word = "delay", .holds_key = true, .way = WAY_RETRY},
    [VERDICT_HOLD_RETRY] =
        {.word = "hold, retry", .holds_key = true, .counts_try = true, .parking = PARKING_HEAD, .way = WAY_STORED},
    [VERDICT_HOLD_DELAY] = {.word = "hold, delay", .holds_key = true, .parking = PARKING_HEAD, .way = WAY_STORED},
    [VERDICT_BEHIND] = {.word = "behind", .holds_key = true, .parking = PARKING_BEHIND, .way = WAY_STORED},
    [VERDICT_PARK] = {.word = "park", .parking = PARKING_UNTIL_DUE, .way = WAY_DONE},
    [VERDICT_WAIT] = {.word = "wait", .way = WAY_WAIT},
    [VERDICT_UNKNOWN] = {.word = "unknown name", .parking = PARKING_UNKNOWN, .way = WAY_DONE},
    [VERDICT_PARK_RETRY] = {.word = "park, retry", .counts_try = true, .parking = PARKING_UNTIL_DUE, .way = WAY_DONE},
    [VERDICT_PARK_PAUSED] = {.word = "park, paused", .parking = PARKING_PAUSED, .way = WAY_DONE},
    [VERDICT_STUCK] = {.word = "stuck", .parking = PARKING_STUCK, .way = WAY_DONE},
    [VERDICT_DEAD] = {.word = "dead",
                      .claim = CLAIM_ALWAYS,
                      .keeps_claim = true,
                      .output = OUTPUT_DEAD_LETTER,
                      .chains = true,
                      .way = WAY_DONE},
    [VERDICT_DUPLICATE] = {.word = "duplicate", .way = WAY_DONE},
    [VERDICT_FOR_OTHERS] = {.word = "for others", .way = WAY_DONE},
    [VERDICT_REFUSED] = {.word = "refused", .way = WAY_DONE},
    [VERDICT_REQUEUE] = {.word = "requeue", .holds_key = true, .way = WAY_REQUEUE},
    [VERDICT_ISOLATE] = {.word = "isolate", .holds_key = true, .way = WAY_ISOLATE},
};
