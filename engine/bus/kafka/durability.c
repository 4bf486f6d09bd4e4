/*
 * durability.c - see durability.h.
 */
#include "bus/kafka/durability.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *kafka_config_value(const rd_kafka_ConfigResource_t *resource, const char *name)
{
    size_t count = 0;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0)
            return rd_kafka_ConfigEntry_value(entries[i]);
    return NULL;
}

struct said {
    const char *topic;
    void (*each)(const struct bus_finding *finding, void *context);
    void *context;
};

static __attribute__((format(printf, 4, 5))) void say(const struct said *said, enum bus_finding_kind kind,
                                                      const char *code, const char *format, ...)
{
    char text[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    said->each(&(struct bus_finding){.kind = kind, .code = code, .topic = said->topic, .text = text}, said->context);
}

/* The first partition that lacks something speaks for all. */
static void say_partitions(const struct said *said, const rd_kafka_metadata_topic_t *topic)
{
    int leaderless = 0, behind = 0;
    for (int p = 0; p < topic->partition_cnt; p++) {
        const rd_kafka_metadata_partition_t *partition = &topic->partitions[p];
        if (partition->leader < 0 && leaderless++ == 0)
            say(said, BUS_FINDING_WARNING, "partition_no_leader",
                "partition %d of topic '%s' has no leader: it is neither read nor written", (int)partition->id,
                topic->topic);
        else if (partition->isr_cnt < partition->replica_cnt && behind++ == 0)
            say(said, BUS_FINDING_WARNING, "partition_out_of_sync",
                "partition %d of topic '%s' has %d replicas, and %d of them in sync", (int)partition->id, topic->topic,
                partition->replica_cnt, partition->isr_cnt);
    }
}

void kafka_durability(const rd_kafka_metadata_topic_t *topic, const rd_kafka_ConfigResource_t *resource,
                      void (*each)(const struct bus_finding *finding, void *context), void *context)
{
    const struct said said = {topic->topic, each, context};
    const char *least_text = kafka_config_value(resource, "min.insync.replicas"),
               *unclean = kafka_config_value(resource, "unclean.leader.election.enable");
    int least = least_text == NULL ? 0 : (int)strtol(least_text, NULL, 10);
    int replicas = topic->partition_cnt > 0 ? topic->partitions[0].replica_cnt : 0;
    if (least > replicas && replicas > 0)
        say(&said, BUS_FINDING_ERROR, "topic_min_insync",
            "topic '%s' has %d replicas and wants %d in sync (min.insync.replicas): nothing can be published to it",
            topic->topic, replicas, least);
    else if (least == 1 && replicas > 2)
        say(&said, BUS_FINDING_WARNING, "topic_min_insync",
            "topic '%s' takes records that one of its %d replicas has (min.insync.replicas is 1): they are lost with "
            "that broker; set it to 2",
            topic->topic, replicas);
    if (unclean != NULL && strcmp(unclean, "true") == 0)
        say(&said, BUS_FINDING_WARNING, "topic_unclean",
            "topic '%s' may elect a leader that lacks records (unclean.leader.election.enable): what was acknowledged "
            "would be lost",
            topic->topic);
    say_partitions(&said, topic);
}
