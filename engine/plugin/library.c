/*
 * library.c - see library.h. The checks give a better sentence than dlerror(), and keep dlopen() away from files
 * that are cut short (SIGBUS would end the process) or that another user can replace.
 */
#include "plugin/library.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if UINTPTR_MAX == UINT64_MAX
typedef Elf64_Ehdr elf_header;
typedef Elf64_Phdr elf_segment;
enum { OWN_CLASS = ELFCLASS64 };
#else
typedef Elf32_Ehdr elf_header;
typedef Elf32_Phdr elf_segment;
enum { OWN_CLASS = ELFCLASS32 };
#endif
enum { OWN_ORDER = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB, SEGMENTS_MAX = 256 };

#if defined(__x86_64__)
enum { OWN_MACHINE = EM_X86_64 };
#elif defined(__aarch64__)
enum { OWN_MACHINE = EM_AARCH64 };
#elif defined(__riscv)
enum { OWN_MACHINE = EM_RISCV };
#elif defined(__powerpc64__)
enum { OWN_MACHINE = EM_PPC64 };
#elif defined(__s390x__)
enum { OWN_MACHINE = EM_S390 };
#elif defined(__i386__)
enum { OWN_MACHINE = EM_386 };
#elif defined(__arm__)
enum { OWN_MACHINE = EM_ARM };
#else
#error "add this machine's EM_ constant"
#endif

static const char *machine_word(unsigned machine, char buf[32])
{
    static const struct {
        unsigned machine;
        const char *word;
    } machines[] = {{EM_X86_64, "x86-64"}, {EM_AARCH64, "aarch64"}, {EM_386, "i386"},  {EM_ARM, "arm"},
                    {EM_RISCV, "riscv"},   {EM_PPC64, "ppc64"},     {EM_S390, "s390x"}};
    for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++)
        if (machines[i].machine == machine)
            return machines[i].word;
    snprintf(buf, 32, "machine %u", machine);
    return buf;
}

static int folder_check(const char *path, struct error *error)
{
    char copy[PATH_MAX];
    struct stat status;
    snprintf(copy, sizeof copy, "%s", path);
    const char *folder = dirname(copy);
    if (stat(folder, &status) != 0 || (status.st_mode & S_IWOTH) == 0 || (status.st_mode & S_ISVTX) != 0)
        return 0;
    error_set(error, EPERM, "%s: everyone may write to its folder %s (mode %04o), so anyone could exchange the plugin",
              path, folder, (unsigned)status.st_mode & 07777);
    return error_hint(error, "chmod o-w %s", folder);
}

static int file_check(const char *path, const struct stat *status, struct error *error)
{
    if (S_ISDIR(status->st_mode)) {
        error_set(error, EISDIR, "%s is a folder, expected a shared object", path);
        return error_hint(error, "name the .so file in it");
    }
    if (!S_ISREG(status->st_mode))
        return error_set(error, EINVAL, "%s is no regular file, expected a shared object", path);
    if ((status->st_mode & S_IWOTH) != 0) {
        error_set(error, EPERM, "%s: everyone may write to it (mode %04o), so anyone could exchange the plugin", path,
                  (unsigned)status->st_mode & 07777);
        return error_hint(error, "chmod o-w %s", path);
    }
    return folder_check(path, error);
}

static int cut_short(const char *path, off_t size, uint64_t wanted, struct error *error)
{
    error_set(error, EINVAL, "%s is cut short: it should have at least %" PRIu64 " bytes, it has %lld", path, wanted,
              (long long)size);
    return error_hint(error, "copy or build it again");
}

static int header_check(const char *path, const elf_header *header, size_t got, off_t size, struct error *error)
{
    char mine[32], theirs[32];
    if (got < SELFMAG || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) {
        error_set(error, EINVAL, "%s is no shared object: it does not start with the ELF magic%s", path,
                  size == 0                                               ? ", it is empty"
                  : got > 2 && memcmp(header->e_ident, "#!", 2) == 0      ? ", it is a script"
                  : got > 7 && memcmp(header->e_ident, "!<arch>", 7) == 0 ? ", it is a static library"
                                                                          : "");
        return error_hint(error, "build the plugin with cc -shared -fPIC");
    }
    if (got < sizeof *header)
        return cut_short(path, size, sizeof *header, error);
    if (header->e_ident[EI_CLASS] != OWN_CLASS)
        return error_set(error, EINVAL, "%s is for %d-bit processes, this engine is a %d-bit one", path,
                         header->e_ident[EI_CLASS] == ELFCLASS32 ? 32 : 64, OWN_CLASS == ELFCLASS32 ? 32 : 64);
    if (header->e_ident[EI_DATA] != OWN_ORDER || header->e_machine != OWN_MACHINE)
        return error_set(error, EINVAL, "%s is built for %s%s, this engine runs on %s", path,
                         machine_word(header->e_machine, theirs),
                         header->e_ident[EI_DATA] != OWN_ORDER ? " of the other byte order" : "",
                         machine_word(OWN_MACHINE, mine));
    if (header->e_type == ET_DYN)
        return 0;
    error_set(error, EINVAL, "%s is %s, expected a shared object", path,
              header->e_type == ET_REL    ? "an object file"
              : header->e_type == ET_EXEC ? "a program"
              : header->e_type == ET_CORE ? "a core dump"
                                          : "an ELF file of another type");
    return error_hint(error, "link it with cc -shared");
}

static int segments_check(const char *path, int file, const elf_header *header, off_t size, struct error *error)
{
    elf_segment segments[SEGMENTS_MAX];
    size_t bytes = (size_t)header->e_phnum * sizeof segments[0];
    if (header->e_phentsize != sizeof segments[0] || header->e_phnum == 0 || header->e_phnum > SEGMENTS_MAX)
        return error_set(error, EINVAL, "%s has a broken ELF header: %u segments of %u bytes", path, header->e_phnum,
                         header->e_phentsize);
    if (header->e_phoff > (uint64_t)size || bytes > (uint64_t)size - header->e_phoff ||
        pread(file, segments, bytes, (off_t)header->e_phoff) != (ssize_t)bytes)
        return cut_short(path, size, (uint64_t)header->e_phoff + bytes, error);
    bool dynamic = false;
    for (size_t i = 0; i < header->e_phnum; i++) {
        uint64_t end;
        dynamic = dynamic || segments[i].p_type == PT_DYNAMIC;
        if (__builtin_add_overflow((uint64_t)segments[i].p_offset, (uint64_t)segments[i].p_filesz, &end) ||
            end > (uint64_t)size)
            return cut_short(path, size, end, error);
    }
    return dynamic ? 0
                   : error_set(error, EINVAL, "%s is no shared object: it has nothing for the dynamic linker", path);
}

int library_check(const char *path, struct error *error)
{
    struct stat status;
    elf_header header = {0};
    /* O_NONBLOCK: opening a pipe must not wait for its other end. */
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0 || fstat(file, &status) != 0) {
        int code = errno;
        if (file >= 0)
            close(file);
        error_set(error, code, "%s cannot be read: %s", path, strerror(code));
        return error_hint(
            error, "a library is an absolute path, a path relative to the pipeline's file, or a name in plugin_dir");
    }
    int r = file_check(path, &status, error);
    if (r == 0) {
        ssize_t got = pread(file, &header, sizeof header, 0);
        r = header_check(path, &header, got < 0 ? 0 : (size_t)got, status.st_size, error);
    }
    if (r == 0)
        r = segments_check(path, file, &header, status.st_size, error);
    close(file);
    return r;
}
