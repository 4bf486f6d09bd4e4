/*
 * check.h - the parts of pipeline_check().
 */
#ifndef SLUICE_PIPELINE_CHECK_H
#define SLUICE_PIPELINE_CHECK_H

#include "pipeline/pipeline.h"

void use_targets(const struct use *use, void (*each)(const struct route *route, struct topic *target, void *context), void *context);
/* check_fields.c: every handler gets the fields that it needs, along every route whose source is known. */
void check_fields(const struct pipeline *pipeline, struct problems *problems);
/* check_fields.c: a retry ladder ends before the hold does that aborts its chain. */
void check_holds(const struct pipeline *pipeline, struct problems *problems);

#endif
