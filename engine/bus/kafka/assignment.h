/*
 * assignment.h - rebalances: what the group assigns to a consumer and revokes from it, and the streams that halt.
 *
 * librdkafka's callback only notes the change. The engine hears of it from poll(), and librdkafka is answered:
 *
 *   assigned   when it is known where each partition is read from (resume.h), with those offsets
 *   revoked    when the engine has released the streams: kafka_revoked()
 *   lost       at once; another member may have the partitions already
 *
 * A partition that cannot be read yet stays assigned and HALTED (stream.h). It is looked at again from time to time:
 * a leader may have been elected, an operator may have decided.
 */
#ifndef SLUICE_BUS_KAFKA_ASSIGNMENT_H
#define SLUICE_BUS_KAFKA_ASSIGNMENT_H

#include "bus/bus.h"

#include <librdkafka/rdkafka.h>

enum kafka_change { KAFKA_CHANGE_NONE = 0, KAFKA_CHANGE_ASSIGN, KAFKA_CHANGE_REVOKE, KAFKA_CHANGE_LOSE };

/* `change` is what librdkafka wants and the engine was not told yet. `partitions` are those of `change`, or while
 * `releasing` and without a change those that kafka_revoked() gives back; NULL otherwise. */
struct kafka_assignment {
    enum kafka_change change;
    rd_kafka_topic_partition_list_t *partitions;
    int64_t changed_ms; /* since when it is wanted */
    bool releasing;     /* BUS_REVOKED was told, kafka_revoked() is awaited: no other change is told */
    bool closing;       /* the group is being left: changes are answered by the callback */
    struct error late;  /* why it is not known where to start; code 0: it is */
    int64_t look_ms;    /* when to look at halted streams again, or to repeat an assignment that did not succeed */
    uint32_t *event_streams, *event_epochs; /* of the last event */
    size_t event_size;
};

/* Of the contract: bus/bus.h. */
int kafka_revoked(struct bus_consumer *consumer, struct error *error);
void kafka_halted(struct bus_consumer *consumer,
                  void (*each)(const char *what, const char *place, const char *why, void *context), void *context);

/* The rebalance callback of a consumer's client; opaque is the consumer. */
void kafka_assignment_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list,
                                   void *opaque);
/* The pending change, or what has become of halted streams, as an event; -EAGAIN when there is nothing to tell. */
int kafka_assignment_event(struct bus_consumer *consumer, struct bus_event *ret);
/* All streams that are read, as a BUS_LOST; -EAGAIN when there are none. */
int kafka_assignment_lose_all(struct bus_consumer *consumer, struct bus_event *ret);
/* No change is told any more, the pending one is answered: librdkafka waits for that while the group is left. */
void kafka_assignment_close(struct bus_consumer *consumer);
void kafka_assignment_reset(struct bus_consumer *consumer); /* a new client: nothing is pending */
void kafka_assignment_destroy(struct kafka_assignment *assignment);

#endif
