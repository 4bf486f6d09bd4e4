/*
 * fuzz.h - what the fuzz targets share. Each is one file with LLVMFuzzerTestOneInput(), built with clang and libFuzzer
 * from its own source and the sources of engine/base and engine/event:
 *
 *     clang -std=gnu17 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -D_GNU_SOURCE -Iengine \
 *         tests/fuzz/fuzz_json.c engine/base/(all).c engine/event/(all).c -ljansson -o fuzz_json
 *     ./fuzz_json -max_len=4096 -dict=tests/fuzz/json.dict WORK tests/fuzz/corpus/json
 *
 * A target checks what must hold for any bytes, not only that nothing crashes; must() ends the run where it does not.
 */
#ifndef SLUICE_TESTS_FUZZ_FUZZ_H
#define SLUICE_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define must(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                             \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

#endif
