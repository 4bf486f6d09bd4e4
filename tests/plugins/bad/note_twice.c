/*
 * expect: PATH: it has two notes of a plugin; a library is one plugin: link only one with SLUICE_PLUGIN() into it
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
    .name = "bad",
    .version = "1"};
__attribute__((section(".note.sluice"), used, aligned(4))) static const struct sluice_note again = {
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
    .name = "bad",
    .version = "1"};
PLUGIN(.version = "1")
