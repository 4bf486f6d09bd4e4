/*
 * embed.h - files as bytes of the program.
 *
 * EMBED(name, "PATH") makes `name`, the file's bytes with a NUL behind them. The file is read when the source that says
 * so is compiled, from the root of the tree; the Makefile says what that object depends on.
 */
#ifndef SLUICE_BASE_EMBED_H
#define SLUICE_BASE_EMBED_H

#define EMBED(name, path)                                                                                              \
    __asm__(".pushsection .rodata\n.balign 16\n" #name ": .incbin \"" path "\"\n.byte 0\n.type " #name                 \
            ", @object\n.popsection\n");                                                                               \
    extern const char name[] __attribute__((visibility("hidden")))

#endif
