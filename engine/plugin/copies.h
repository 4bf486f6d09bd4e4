/*
 * copies.h - what runs is a copy that nobody else writes to.
 *
 * A library that is overwritten in place changes in the memory of every process that runs it. So `sluice run` loads
 * copies: in a folder of the engine's own, each under the path that its original has, together with the libraries that
 * it brings along ($ORIGIN then leads to the copies, too). A copy is made when a worker process first loads the
 * library; those that replace it load the same one. A worker of files that were read later makes its own.
 *
 * One folder a process and its children, with one inside for each reading of the files: it is state, as the dynamic
 * linker's is.
 */
#ifndef SLUICE_PLUGIN_COPIES_H
#define SLUICE_PLUGIN_COPIES_H

#include "base/error.h"

#include <limits.h>
#include <stdbool.h>

/* Makes the folder, in the first of $TMPDIR, /tmp, /var/tmp and /dev/shm where programs may run, and removes those of
 * engines that were killed. -errno when there is none: libraries are loaded where they are. */
int copies_open(struct error *error);
void copies_close(void); /* removes it; whoever opened it */
/* From now on the folder's part of that number counts, also for children; there was none, or it has what they made. */
void copies_use(unsigned number);
void copies_remove(unsigned number); /* nobody loads anything from there any more */
/* Whether this engine has a copy of what it loaded as `path`: then the file there need not be one any more. A file that
 * has changed is a warning. */
bool copies_find(const char *path, char ret_original[PATH_MAX], char ret_copy[PATH_MAX]);
/* Makes one. `original`: the same without links. While no folder is open, *ret_copy is the original. 0 or -errno. */
int copies_make(const char *path, const char *original, char ret_copy[PATH_MAX], struct error *error);

#endif
