/*
 * expect: PATH: the note in its file says that its name is good, its descriptor says bad; build it again;
 * SLUICE_PLUGIN() of sluice/plugin.h makes the note
 */
#define SLUICE_NO_NOTE
#include "bad.h"

__attribute__((section(".note.sluice"), used, aligned(4))) static const struct sluice_note note = {
    .owner_size = 7,
    .content_size = sizeof(struct sluice_note) - 20,
    .type = 1,
    .owner = "Sluice",
    .abi_major = SLUICE_ABI_MAJOR,
    .abi_minor = SLUICE_ABI_MINOR,
    .size = sizeof(struct sluice_plugin),
    .handler_size = sizeof(struct sluice_handler),
    .field_size = sizeof(struct sluice_field),
    .outcome_size = sizeof(struct sluice_outcome),
    .name = "good",
    .version = "1"};
PLUGIN(.version = "1")
