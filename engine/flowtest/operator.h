/*
 * operator.h - what an operator does in the middle of a flow: pauses, resumes, replays. Each is what the command does.
 */
#ifndef SLUICE_FLOWTEST_OPERATOR_H
#define SLUICE_FLOWTEST_OPERATOR_H

#include "flowtest/drive.h"

/* 0, or negative with a sentence. `name` as `sluice pause` takes it: of a topic, handler, tap, … */
int operator_pause(struct drive *drive, const char *name, struct error *error);
int operator_resume(struct drive *drive, const char *name, struct error *error);
/* Replays the open dead letters of the topic's events; that there is none is an error. */
int operator_replay(struct drive *drive, const char *topic, struct error *error);

#endif
