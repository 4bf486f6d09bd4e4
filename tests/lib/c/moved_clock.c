/*
 * moved_clock.c - preloaded into an engine: its wall clock is off by what the file CLOCK_FILE says, a native int64_t of
 * nanoseconds that a test may change at any time. The monotonic clock is left alone, as by a person who sets the time.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int (*real_clock)(clockid_t clock, struct timespec *ret);
static const _Atomic(int64_t) *offset;

__attribute__((constructor)) static void find_clock(void)
{
    const char *path = getenv("CLOCK_FILE");
    int file = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = file >= 0 ? mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;

    *(void **)&real_clock = dlsym(RTLD_NEXT, "clock_gettime");
    if (map == MAP_FAILED || real_clock == NULL) {
        fprintf(stderr, "moved_clock: CLOCK_FILE cannot be mapped\n");
        abort();
    }
    close(file);
    offset = map;
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    if (real_clock == NULL)
        find_clock();
    int result = real_clock(clock, ret);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = ret->tv_sec * INT64_C(1000000000) + ret->tv_nsec + *offset;
        *ret = (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    }
    return result;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    *ret = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return result;
}

time_t time(time_t *ret)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (ret != NULL)
        *ret = now.tv_sec;
    return now.tv_sec;
}
