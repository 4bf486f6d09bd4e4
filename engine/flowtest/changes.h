/*
 * changes.h - whether files have changed, told by the folders that they are in (inotify).
 *
 * Editors and compilers write a file in place, or write another one and rename it: both are seen. A file need not be
 * there. Each belongs to an owner, a small number of the caller's. For one thread.
 */
#ifndef SLUICE_FLOWTEST_CHANGES_H
#define SLUICE_FLOWTEST_CHANGES_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct changes;

int changes_open(struct changes **ret, struct error *error); /* 0, or negative with a sentence */
void changes_close(struct changes *changes);                 /* NULL is fine */
/* The file, or every file in the folder, belongs to this owner, too. What cannot be watched is not. */
void changes_add(struct changes *changes, size_t owner, const char *path);
void changes_forget(struct changes *changes, size_t owner); /* all that is its own */
size_t changes_count(const struct changes *changes);        /* files and folders, each once */
int changes_fd(const struct changes *changes);              /* for poll() */
/* What has changed since the last call, without waiting: sets changed[owner] of its owners, and leaves the others as
 * they are. False: nothing has. */
bool changes_look(struct changes *changes, bool *changed);

#endif
