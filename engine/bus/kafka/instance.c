/*
 * instance.c - see instance.h.
 */
#include "bus/kafka/instance.h"

#include "base/buffer.h"
#include "base/log.h"
#include "bus/kafka/consumer.h"
#include "bus/kafka/metadata.h"
#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    SLOTS_MAX = 256, /* processes of a group on one host */
    SLOTS_FILE_MAX = 1 << 20,
    DESCRIBE_GROUP_MS = 1000 /* the longest wait for the members of a group */
};

void kafka_instance_host(char *ret, size_t size)
{
    char name[256] = "host", id[64] = "";
    (void)gethostname(name, sizeof name - 1);
    FILE *file = fopen("/etc/machine-id", "re");
    if (file != NULL) {
        if (fgets(id, sizeof id, file) == NULL)
            id[0] = '\0';
        fclose(file);
    }
    for (char *at = name; *at != '\0'; at++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *at) == NULL)
            *at = '_';
    snprintf(ret, size, "%.40s-%08x", name, (unsigned)span_hash(span_of(id)));
}

/* ------------------------------------------------------------------------------------------------------------- slot */

/* A name of a socket in the kernel is the lock: it falls with the process. */
static bool slot_lock(int fd, const struct kafka_bus *bus, const char *group, int slot)
{
    const char *servers = kafka_options_property(&bus->options, "bootstrap.servers");
    char name[512], hash[17];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(name, sizeof name, "%s/%s/%d", servers == NULL ? "" : servers, group, slot);
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)span_hash(span_of(name)));
    int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "sluice/%.16s", hash);
    return bind(fd, (const struct sockaddr *)&address,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) == 0;
}

static struct kafka_slot *slot_of(const struct kafka_bus *bus, const char *group)
{
    struct kafka_slot *slot = bus->slots;
    while (slot != NULL && strcmp(slot->group, group) != 0)
        slot = slot->next;
    return slot;
}

/* That of the process before, or the first one that is free. */
static int slot_take(const struct kafka_bus *bus, const char *group, int *ret_slot)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (const struct kafka_slot *had = bus->slots; fd >= 0 && had != NULL; had = had->next)
        if (strcmp(had->group, group) == 0 && slot_lock(fd, bus, group, had->slot)) {
            *ret_slot = had->slot;
            return fd;
        }
    for (int slot = 0; fd >= 0 && slot < SLOTS_MAX; slot++)
        if (slot_lock(fd, bus, group, slot)) {
            *ret_slot = slot;
            return fd;
        }
    if (fd >= 0)
        close(fd);
    return -1;
}

void kafka_slot_note(struct kafka_bus *bus, const char *group, int slot)
{
    size_t length = strlen(group);
    pthread_mutex_lock(&bus->lock);
    struct kafka_slot *note = slot_of(bus, group);
    if (note == NULL && (note = malloc(sizeof *note + length + 1)) != NULL) {
        note->next = bus->slots; /* without memory the process that goes on is a new member */
        memcpy(note->group, group, length + 1);
        bus->slots = note;
    }
    if (note != NULL)
        note->slot = slot;
    pthread_mutex_unlock(&bus->lock);
}

/* A line each: the slot, a space, the group. */
int kafka_slots_leave(struct bus *head, int file, struct error *error)
{
    struct kafka_bus *bus = (struct kafka_bus *)head;
    struct buffer lines;
    buffer_init(&lines, SLOTS_FILE_MAX);
    pthread_mutex_lock(&bus->lock);
    for (const struct kafka_slot *slot = bus->slots; slot != NULL; slot = slot->next)
        buffer_format(&lines, "%d %s\n", slot->slot, slot->group);
    pthread_mutex_unlock(&bus->lock);
    bool written = !lines.failed && ftruncate(file, 0) == 0 &&
                   pwrite(file, lines.at, lines.length, 0) == (ssize_t)lines.length;
    buffer_free(&lines);
    return written ? 0 : error_set(error, errno, "the memberships cannot be handed over: %s", strerror(errno));
}

/* The offset of the file is shared with whoever writes it, and is not used. */
int kafka_slots_find(struct bus *head, int file, struct error *error)
{
    struct kafka_bus *bus = (struct kafka_bus *)head;
    char *lines = calloc(1, SLOTS_FILE_MAX + 1), *rest = NULL;
    ssize_t length = lines == NULL ? -1 : pread(file, lines, SLOTS_FILE_MAX, 0);
    if (length < 0) {
        free(lines);
        return error_set(error, errno, "the memberships that were handed over cannot be read: %s", strerror(errno));
    }
    kafka_slots_free(bus);
    for (char *line = strtok_r(lines, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        char *end;
        long slot = strtol(line, &end, 10);
        if (*end == ' ' && slot >= 0 && slot < SLOTS_MAX)
            kafka_slot_note(bus, end + 1, (int)slot);
    }
    free(lines);
    return 0;
}

void kafka_slots_free(struct kafka_bus *bus)
{
    for (struct kafka_slot *slot = bus->slots, *next; slot != NULL; slot = next) {
        next = slot->next;
        free(slot);
    }
    bus->slots = NULL;
}

bool kafka_instance_id(struct kafka_instance *instance, const struct kafka_bus *bus, const char *group, char *ret,
                       size_t size)
{
    if (instance->slot_lock < 0 && !instance->awaited &&
        kafka_options_property(&bus->options, "group.instance.id") == NULL)
        instance->slot_lock = slot_take(bus, group, &instance->slot);
    if (instance->slot_lock < 0 && !instance->awaited)
        return false;
    snprintf(ret, size, "%s-%d%s", bus->host, instance->slot, instance->database);
    return true;
}

bool kafka_instance_await(struct kafka_instance *instance, struct kafka_bus *bus, const char *group)
{
    const struct kafka_slot *slot = slot_of(bus, group);
    instance->awaited = slot != NULL && kafka_options_property(&bus->options, "group.instance.id") == NULL;
    instance->slot = slot == NULL ? 0 : slot->slot;
    return instance->awaited;
}

bool kafka_instance_awaited(struct kafka_instance *instance, const struct kafka_bus *bus, const char *group)
{
    const struct kafka_slot *slot = slot_of(bus, group);
    int fd = slot == NULL || slot->slot != instance->slot ? -1 : socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && slot_lock(fd, bus, group, instance->slot)) {
        instance->slot_lock = fd;
        instance->awaited = false;
        return true;
    }
    if (fd >= 0)
        close(fd);
    return false;
}

void kafka_instance_release(struct kafka_instance *instance)
{
    if (instance->slot_lock >= 0)
        close(instance->slot_lock);
    instance->slot_lock = -1;
}

/* --------------------------------------------------------------------------------------------------------- database */

/* Different for two servers and for two databases of a server. */
static const struct statement statement_database = {
    .text = "select (hashtext(s.system_identifier || '/' || d.oid)::int8 & 4294967295) from pg_control_system() s, "
            "pg_database d"
            " where d.datname = current_database()"};

int kafka_instance_database(struct bus_consumer *consumer, struct error *error)
{
    struct kafka_instance *instance = &consumer->instance;
    struct rows *rows;
    if (consumer->connection == NULL)
        return 0;
    enum store_result result = connection_once(consumer->connection, &statement_database, 0, NULL, KAFKA_REQUEST_MS,
                                               &rows, error);
    if (result == STORE_DOWN || result == STORE_TRANSIENT)
        return -EAGAIN;
    if (result == STORE_OK && rows_count(rows) == 1)
        snprintf(instance->database, sizeof instance->database, ".%08llx", (unsigned long long)rows_int64(rows, 0, 0));
    else if (instance->database[0] == '\0')
        log_warn(
            "kafka",
            "group %s: the database does not tell its identity (%s); a member of the group that works with another "
            "database would not be noticed",
            consumer->group, error->text);
    return 0;
}

/* The mark at the end of an instance id, or NULL: it is of another program, a user's, or of a pipeline without a
 * store. */
static const char *mark_of(const char *instance)
{
    const char *mark = instance == NULL ? NULL : strrchr(instance, '.');
    return mark != NULL && strlen(mark) == 9 && strspn(mark + 1, "0123456789abcdef") == 8 ? mark : NULL;
}

/* Engines are told by their client.id: "sluice-PIPELINE", or what bus.properties says. */
static void note_foreign(struct bus_consumer *consumer, const rd_kafka_ConsumerGroupDescription_t *group)
{
    static const char ours[] = "sluice-";
    const char *own = kafka_options_property(&consumer->bus->options, "client.id");
    char found[sizeof consumer->instance.foreign] = "";
    for (size_t i = 0; i < rd_kafka_ConsumerGroupDescription_member_count(group); i++) {
        const rd_kafka_MemberDescription_t *member = rd_kafka_ConsumerGroupDescription_member(group, i);
        const char *client = rd_kafka_MemberDescription_client_id(member);
        if (strncmp(client, ours, sizeof ours - 1) != 0 && (own == NULL || strcmp(client, own) != 0))
            snprintf(found, sizeof found, "%.100s at %.60s", client, rd_kafka_MemberDescription_host(member));
    }
    memcpy(consumer->instance.foreign, found, sizeof found);
}

static int compare_members(const struct bus_consumer *consumer, const rd_kafka_ConsumerGroupDescription_t *group,
                           struct error *error)
{
    for (size_t i = 0; i < rd_kafka_ConsumerGroupDescription_member_count(group); i++) {
        const rd_kafka_MemberDescription_t *member = rd_kafka_ConsumerGroupDescription_member(group, i);
        const char *instance = rd_kafka_MemberDescription_group_instance_id(member), *mark = mark_of(instance);
        if (mark == NULL || strcmp(mark, consumer->instance.database) == 0)
            continue;
        error_set(
            error, ESTALE,
            "group %s has a member (%s at %s) that works with another database: each would handle a part of the events",
            consumer->group, instance, rd_kafka_MemberDescription_host(member));
        return error_hint(error, "give one of them the other's store.url, or an engine.group of its own; if the other "
                                 "is the one to go, end it first");
    }
    return 0;
}

int kafka_instance_check_peers(struct bus_consumer *consumer, struct error *error)
{
    const rd_kafka_ConsumerGroupDescription_t *group;
    bool marked = consumer->instance.database[0] != '\0' && consumer->instance.slot_lock >= 0;
    if (kafka_options_new_protocol(&consumer->bus->options))
        return 0;
    rd_kafka_event_t *event = kafka_group_describe(consumer->rk, consumer->group, DESCRIBE_GROUP_MS, &group);
    if (group != NULL)
        note_foreign(consumer, group);
    int code = group == NULL || !marked ? 0 : compare_members(consumer, group, error);
    if (event != NULL)
        rd_kafka_event_destroy(event);
    return code;
}
