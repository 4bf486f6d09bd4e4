/*
 * expect: PATH: its `abi_major` is 2: it is built for plugin ABI 2.0, this engine has 1.1; build it again with the
 * sluice/plugin.h of this engine
 */
#define SLUICE_NO_NOTE
#include "bad.h"

__attribute__((section(".note.sluice"), used, aligned(4))) static const struct sluice_note note = {
    .owner_size = 7,
    .content_size = sizeof(struct sluice_note) - 20,
    .type = 1,
    .owner = "Sluice",
    .abi_major = 2,
    .abi_minor = 0,
    .size = sizeof(struct sluice_plugin),
    .handler_size = sizeof(struct sluice_handler),
    .field_size = sizeof(struct sluice_field),
    .outcome_size = sizeof(struct sluice_outcome),
    .name = "bad",
    .version = "1"};
PLUGIN(.version = "1")
