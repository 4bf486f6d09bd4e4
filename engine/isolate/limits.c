/*
 * limits.c - what the process of an isolated plugin may not do: take more memory than the file says, run another
 * program, open a socket. Set before the library is loaded, for good.
 *
 * System calls are refused with EPERM by a filter of the kernel (seccomp), so that the library is told like of any
 * other failure. A filter compares the numbers of one convention of calls; by another one, none is allowed.
 */
#include "isolate/child.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define LIMITS_ARCH AUDIT_ARCH_X86_64
#define LIMITS_CALLS_MAX 0x3fffffff /* above: calls of x32 */
#elif defined(__aarch64__)
#define LIMITS_ARCH AUDIT_ARCH_AARCH64
#define LIMITS_CALLS_MAX 0x7fffffff
#endif

enum { LIMITS_REFUSED_MAX = 8 };

#ifdef LIMITS_ARCH
static int filter(const uint32_t *refused, size_t count)
{
    struct sock_filter rules[LIMITS_REFUSED_MAX + 7];
    size_t n = 0;
    rules[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    rules[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, LIMITS_ARCH, 1, 0);
    rules[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    rules[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < count; i++) /* to the last rule */
        rules[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused[i], (uint8_t)(count - i + 1), 0);
    rules[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, LIMITS_CALLS_MAX, 1, 0);
    rules[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    rules[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    struct sock_fprog program = {.len = (unsigned short)n, .filter = rules};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0)
        return -errno;
    return 0;
}
#else
static int filter(const uint32_t *refused, size_t count)
{
    (void)refused, (void)count;
    return -ENOSYS;
}
#endif

static int refuse_calls(const struct area_open *open, struct error *error)
{
    uint32_t refused[LIMITS_REFUSED_MAX];
    size_t count = 0;
    if (!open->exec) {
        refused[count++] = SYS_execve;
        refused[count++] = SYS_execveat;
    }
    if (!open->sockets)
        refused[count++] = SYS_socket;
    if (count == 0)
        return 0;
    refused[count++] = SYS_io_uring_setup; /* through it a socket can be opened without that call */
    int r = filter(refused, count);
    if (r == 0)
        return 0;
    error_set(error, -r, "this kernel does not keep a process from running programs or opening sockets: %s",
              strerror(-r));
    return error_hint(error, "allow both: `exec: true` and `sockets: true`");
}

int child_limit(const struct area_open *open, struct error *error)
{
    struct rlimit memory = {open->memory, open->memory};
    if (open->memory > 0 && setrlimit(RLIMIT_DATA, &memory) != 0)
        return error_set(error, errno, "its memory cannot be limited to %llu bytes: %s",
                         (unsigned long long)open->memory, strerror(errno));
    return refuse_calls(open, error);
}
