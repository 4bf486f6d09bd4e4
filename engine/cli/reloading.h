/*
 * reloading.h - the files of `sluice run`, as they were when they were read, and what the master asks to read them
 * again: the functions of guard/master.h.
 */
#ifndef SLUICE_CLI_RELOADING_H
#define SLUICE_CLI_RELOADING_H

#include "base/notify.h"
#include "cli/parts.h"
#include "guard/master.h"
#include "guard/reload.h"

/* What the files said when they were read. Whatever becomes of them, each worker process has what they said. */
struct run_files {
    struct parts parts;
    struct error error;    /* of the migrations */
    int64_t read_ms;       /* when that was, since 1970 */
    int listener, port;    /* the socket of http; -1: none. The port is known once it is served */
    unsigned number;       /* of the reading: its part of the copies of plugins */
    struct notify *notify; /* the service manager */
    struct reloading *reloading;
};

/* The master process's. */
struct reloading {
    const char *config;
    const struct buses *buses;
    struct notify *notify;
    char engine[37];       /* id of this engine, the same for all its worker processes */
    unsigned readings;     /* so far */
    struct reload *shared; /* with the workers; NULL: they cannot ask */
    uint32_t ticket;       /* of the worker that asked; 0: SIGHUP did */
};

void reloading_init(struct reloading *ret, const char *config, const struct buses *buses, struct notify *notify);
/* Reads the files for the first time. What is wrong with them is in there, and the worker says it; NULL: what the
 * engine cannot start for was logged. */
struct run_files *reloading_first(struct reloading *reloading);
/* A worker tells the master which plugins it has loaded. */
void reloading_loaded(const struct reloading *reloading, const struct run_files *files);
/* A successor whose files are wrong tells the master what its check found. */
void reloading_refuse(struct suspects *suspects, const struct parts *parts);

/* For struct master_work; the context is the struct reloading, files are struct run_files. */
void *reloading_read(void *context, const void *old, struct buffer *ret_why);
void reloading_use(void *context, const void *files);
void reloading_forget(void *context, void *files);
bool reloading_asked(void *context, bool *ret_plan);
void reloading_answer(void *context, const struct master_reload *reload);

#endif
