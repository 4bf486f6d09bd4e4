/*
 * log_output.h - stderr, written without waiting for whoever reads it.
 *
 * A line is written by the thread that logs it, with a write that cannot block: of a descriptor of its own without
 * blocking (O_NONBLOCK on the inherited one would change it for the shell as well), or by send() without waiting. What
 * does not fit at once waits in a bounded buffer, from which a thread writes it. When the buffer is full too, or stderr
 * takes nothing (its reader ended, the disk is full, it is closed), the line is lost and counted, and a line says how
 * many were lost as soon as one can be written.
 *
 * A regular file is written as it is: the kernel's cache takes it. A descriptor that is not what stderr was at the
 * first line (somebody closed it, and a socket has its number now) is not written to. Threads: any. In a process that
 * was forked the buffer is empty; its parent writes what is in it.
 */
#ifndef SLUICE_BASE_LOG_OUTPUT_H
#define SLUICE_BASE_LOG_OUTPUT_H

#include "base/log_text.h"

void log_output_put(const struct log_text *line);

#endif
