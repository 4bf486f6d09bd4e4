/*
 * member.h - joining a group and leaving it.
 */
#ifndef SLUICE_BUS_KAFKA_MEMBER_H
#define SLUICE_BUS_KAFKA_MEMBER_H

#include "bus/kafka/kafka.h"

/* Of the contract: bus/bus.h. -EAGAIN: brokers or store do not answer; -ESTALE: topics are missing, or a member of the
 * group works with another database. */
int kafka_subscribe(struct bus *bus, const struct bus_subscription *subscription, struct bus_consumer **ret,
                    struct error *error);
void kafka_prepare(struct bus *bus, const struct bus_subscription *subscription);
void kafka_prepared_free(struct kafka_bus *bus); /* those that nobody subscribes any more */
void kafka_unsubscribe(struct bus_consumer *consumer);

/* Joins again with a new client, instead of one that was fenced; every five seconds at most. The streams are
 * unassigned already. 0, or -EAGAIN: not now. */
int kafka_member_rejoin(struct bus_consumer *consumer);

#endif
