/*
 * standing.h - a group, looked at from outside: how far it is in topics, where it begins in those that it never
 * read, that it has another name (what a start asks before the group is joined), and who reads a place.
 *
 * Positions are per topic here, in Kafka and, of groups that are recorded, in the store (positions.h).
 */
#ifndef SLUICE_BUS_KAFKA_STANDING_H
#define SLUICE_BUS_KAFKA_STANDING_H

#include "bus/bus.h"

int kafka_standing(struct bus *bus, const char *group, struct bus_standing *topics, size_t count, int64_t most,
                   struct error *error);
int kafka_reading(struct bus *bus, const char *group, const struct bus_place *places, size_t count,
                  struct bus_reading *ret, struct error *error);
int kafka_begin(struct bus *bus, const char *group, const char *const *topics, size_t count, const struct start *start,
                bool recorded, struct error *error);
int kafka_rename_group(struct bus *bus, const char *old, const char *new_name, struct error *error);

#endif
