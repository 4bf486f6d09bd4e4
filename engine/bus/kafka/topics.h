/*
 * topics.h - the pipeline's topics compared with those of the brokers: what is missing, what will lose events, and
 * making them. No other call makes a topic.
 */
#ifndef SLUICE_BUS_KAFKA_TOPICS_H
#define SLUICE_BUS_KAFKA_TOPICS_H

#include "bus/bus.h"

/* Of the contract: bus/bus.h. */
int kafka_topics(struct bus *bus, bool make, void (*each)(const struct bus_finding *finding, void *context),
                 void *context, struct error *error);

#endif
