/*
 * shop.c - a plugin whose tables are all that matters: the tests of pipeline.yaml name its handlers, and nothing
 * calls them.
 *
 * It has what the checks of a configuration look at: handlers of every kind, with and without fields, outcomes and
 * the store, and a setting of every type.
 */
#include "sluice/plugin.h"

struct shop {
    int64_t hold, limit, chunk;
    double share;
    int32_t loud;
    struct sluice_text mode, token, labels;
};

static const struct sluice_field settings[] = {
    SLUICE_DURATION(struct shop, hold, .min = 1000, .max = 3600000, .flags = SLUICE_OPTIONAL, .fallback = "5m",
                    .help = "how long an order may stay open"),
    SLUICE_INT64(struct shop, limit, .min = 1, .max = 100, .flags = SLUICE_OPTIONAL, .fallback = "10",
                 .help = "most items"),
    SLUICE_SIZE(struct shop, chunk, .min = 1, .max = 1048576, .flags = SLUICE_OPTIONAL, .fallback = "64KiB",
                .help = "a size"),
    SLUICE_DOUBLE(struct shop, share, .flags = SLUICE_OPTIONAL, .fallback = "0.5", .help = "a share"),
    SLUICE_BOOL(struct shop, loud, .flags = SLUICE_OPTIONAL, .fallback = "false", .help = "a switch"),
    SLUICE_TEXT(struct shop, mode, .choices = "fast|safe", .flags = SLUICE_OPTIONAL, .fallback = "safe",
                .help = "a choice"),
    SLUICE_TEXT(struct shop, token, .min = 4, .max = 64, .flags = SLUICE_OPTIONAL | SLUICE_SECRET, .help = "a secret"),
    SLUICE_JSON(struct shop, labels, .flags = SLUICE_OPTIONAL, .help = "anything"),
    {0},
};

struct order {
    struct sluice_text orderId;
    int64_t amount;
};

struct parcel {
    struct sluice_text orderId, country, address;
    double weight;
};

/* Where it goes, said as a whole or by the fields of it that are needed. */
static const struct sluice_field ship_input[] = {
    SLUICE_TEXT(struct parcel, orderId, .min = 1, .max = 64),
    SLUICE_TEXT_AT(struct parcel, country, "address.country", .min = 2, .max = 2, .help = "two letters"),
    SLUICE_DOUBLE_AT(struct parcel, weight, "parcel.weight", .flags = SLUICE_OPTIONAL, .min = SLUICE_NO_MIN, .max = 30,
                     .help = "kg"),
    {0},
};
static const struct sluice_field move_input[] = {
    SLUICE_TEXT(struct parcel, orderId, .min = 1, .max = 64), SLUICE_JSON(struct parcel, address), {0}};
static const struct sluice_field address_sets[] = {SLUICE_SETS_JSON("address"), {0}};

static const struct sluice_field order_input[] = {
    SLUICE_TEXT(struct order, orderId, .min = 1, .max = 64),
    SLUICE_INT64(struct order, amount, .min = 1, .max = 1000000),
    {0},
};
static const struct sluice_field id_input[] = {SLUICE_TEXT(struct order, orderId, .min = 1, .max = 64), {0}};
static const struct sluice_field amount_sets[] = {SLUICE_SETS_INT64("amount"), {0}};
static const struct sluice_field id_sets[] = {SLUICE_SETS_TEXT("orderId"), {0}};
static const struct sluice_field receipt_sets[] = {SLUICE_SETS_TEXT("receipt"), {0}};

static const struct sluice_outcome charge_outcomes[] = {
    {"success", "paid"}, {"declined", "not enough money"}, {"duplicate", "paid before"}, {0}};
static const struct sluice_outcome confirm_outcomes[] = {{"success", "confirmed"}, {"failure", "gone"}, {0}};
static const struct sluice_outcome refund_outcomes[] = {{"refunded", "paid back"}, {0}};
static const struct sluice_outcome accept_outcomes[] = {{"accepted", "on its way"}, {0}};
static const struct sluice_outcome expire_outcomes[] = {{"timeout", "open for too long"}, {0}};
static const struct sluice_outcome send_outcomes[] = {{"sent", "told"}, {0}};

static void handle(void *state, struct sluice_call *call)
{
    (void)state;
    for (uint32_t n = 0; n < call->count; n++)
        call->host->reject(call, n, "this plugin is for looking at");
}

static const struct sluice_handler handlers[] = {
    {.name = "charge",
     .input = order_input,
     .input_size = sizeof(struct order),
     .outcomes = charge_outcomes,
     .sets = receipt_sets,
     .max_events = 100,
     .handle = handle},
    {.name = "confirm",
     .input = id_input,
     .input_size = sizeof(struct order),
     .outcomes = confirm_outcomes,
     .max_events = 100,
     .handle = handle},
    {.name = "refund",
     .input = order_input,
     .input_size = sizeof(struct order),
     .outcomes = refund_outcomes,
     .max_events = 1,
     .handle = handle},
    {.name = "ship",
     .input = ship_input,
     .input_size = sizeof(struct parcel),
     .outcomes = send_outcomes,
     .max_events = 100,
     .handle = handle},
    {.name = "label",
     .input = move_input,
     .input_size = sizeof(struct parcel),
     .outcomes = send_outcomes,
     .max_events = 100,
     .handle = handle},
    {.name = "locate",
     .input = id_input,
     .input_size = sizeof(struct order),
     .outcomes = send_outcomes,
     .sets = address_sets,
     .max_events = 100,
     .handle = handle},
    {.name = "move",
     .kind = SLUICE_REQUEST,
     .input = move_input,
     .input_size = sizeof(struct parcel),
     .outcomes = accept_outcomes,
     .max_events = 1,
     .handle = handle},
    {.name = "export",
     .kind = SLUICE_REQUEST,
     .input = ship_input,
     .input_size = sizeof(struct parcel),
     .outcomes = accept_outcomes,
     .max_events = 1,
     .handle = handle},
    {.name = "send", .outcomes = send_outcomes, .max_events = 100, .handle = handle},
    {.name = "book", .outcomes = send_outcomes, .max_events = 100, .uses_store = 1, .handle = handle},
    {.name = "accept",
     .kind = SLUICE_REQUEST,
     .input = id_input,
     .input_size = sizeof(struct order),
     .outcomes = accept_outcomes,
     .sets = amount_sets,
     .max_events = 1,
     .handle = handle},
    {.name = "ask",
     .kind = SLUICE_REQUEST,
     .input = id_input,
     .input_size = sizeof(struct order),
     .max_events = 1,
     .handle = handle},
    {.name = "expire",
     .kind = SLUICE_SCHEDULE,
     .outcomes = expire_outcomes,
     .sets = id_sets,
     .max_events = 1,
     .handle = handle},
    {0},
};

SLUICE_PLUGIN(.name = "shop", .version = "1.0.0", .help = "handlers of every kind, for the tests of configurations",
              .settings = settings, .state_size = sizeof(struct shop), .handlers = handlers)
