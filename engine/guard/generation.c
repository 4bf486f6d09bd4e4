/*
 * generation.c - see generation.h.
 */
#include "guard/generation.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

bool generation_make(struct generation *ret, void *files, struct suspects *suspects)
{
    *ret = (struct generation){.files = files, .suspects = suspects, .leaves = memfd_create("sluice", MFD_CLOEXEC)};
    return suspects != NULL && ret->leaves >= 0;
}

void generation_end(const struct master_work *work, struct generation *generation)
{
    if (generation->files != NULL)
        work->forget(work->context, generation->files);
    suspects_end(generation->suspects);
    if (generation->leaves >= 0)
        close(generation->leaves);
    *generation = (struct generation){.leaves = -1};
}

bool generation_start(const struct master_work *work, struct generation *generation, const sigset_t *unblocked,
                      bool successor, int finds)
{
    if (ftruncate(generation->leaves, 0) != 0)
        return false;
    handover_make_successor(generation->suspects, successor);
    work->use(work->context, generation->files);
    pid_t pid = process_start(generation->suspects, unblocked, &generation->worker);
    if (pid == 0) {
        const struct master_worker me = {generation->suspects, generation->leaves, finds};
        int code = work->run(&me, generation->files);
        suspects_decide(generation->suspects);
        exit(code);
    }
    errno = pid < 0 ? -pid : 0;
    return pid > 0;
}

bool generation_resume(const struct master_work *work, struct generation *generation, const sigset_t *unblocked)
{
    int finds = generation->leaves;
    generation->leaves = memfd_create("sluice", MFD_CLOEXEC);
    bool started = generation->leaves >= 0 && generation_start(work, generation, unblocked, false, finds);
    int code = errno;
    close(finds);
    errno = code;
    return started;
}
