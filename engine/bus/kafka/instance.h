/*
 * instance.h - group.instance.id: which member of its group a consumer is, and which database the others work with.
 *
 * "HOST-SLOT.DATABASE": this machine; the first number that no other process of the group on it has; a mark of the
 * database that the effects go to. Members of a group must share that database: two would each handle a part of the
 * events. A user's own group.instance.id has no slot and no mark.
 */
#ifndef SLUICE_BUS_KAFKA_INSTANCE_H
#define SLUICE_BUS_KAFKA_INSTANCE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct bus;
struct bus_consumer;
struct kafka_bus;

struct kafka_instance {
    int slot_lock;     /* descriptor that holds the slot; -1: the id is the user's, or the slot is awaited */
    int slot;          /* 0 and up */
    bool awaited;      /* the process before has it still */
    char database[10]; /* ".89abcdef"; "": there is none, or it is not known */
    char foreign[200]; /* a member of the group that is another program, as people write it; "": none was seen */
};

/* This machine in instance ids: its name, which may be a default that others have too, and a hash of its id, which an
 * image may share. */
void kafka_instance_host(char *ret, size_t size);
/* Asks the store for the database's mark. -EAGAIN: it does not answer. */
int kafka_instance_database(struct bus_consumer *consumer, struct error *error);
/* Takes the slot unless it has one, and writes the id. False: the id is the user's, *ret is not. */
bool kafka_instance_id(struct kafka_instance *instance, const struct kafka_bus *bus, const char *group, char *ret,
                       size_t size);
void kafka_instance_release(struct kafka_instance *instance);
/* The slot that the process before has in this group, without taking it. False: it is not known. */
bool kafka_instance_await(struct kafka_instance *instance, struct kafka_bus *bus, const char *group);
/* That process has ended, or left the group: takes the slot. False: somebody else has it. */
bool kafka_instance_awaited(struct kafka_instance *instance, const struct kafka_bus *bus, const char *group);
/* The slots of this process's consumers, for the process that takes its place (bus/bus.h: leave, find): it gets the
 * same, and so is the same member of each group. */
void kafka_slot_note(struct kafka_bus *bus, const char *group, int slot); /* its consumer has it */
int kafka_slots_leave(struct bus *bus, int file, struct error *error);
int kafka_slots_find(struct bus *bus, int file, struct error *error);
void kafka_slots_free(struct kafka_bus *bus);
/* -ESTALE with a sentence when a member of the group works with another database. Notes one that is no engine: what is
 * assigned to it, nobody handles. Asked before joining and at each
 * assignment: a member may have joined since, and two that join at once do not see each other. 0 when the brokers do
 * not answer within a second: librdkafka 2.0.2 goes on asking a broker that is not the coordinator any more. */
int kafka_instance_check_peers(struct bus_consumer *consumer, struct error *error);

#endif
