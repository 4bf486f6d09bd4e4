/*
 * brokers.c - checks of Kafka: what `validate --connect` finds when it compares topics with the file, sorted by what it
 * is about; and how far groups are.
 */
#include "doctor/doctor.h"

struct topic_finding { /* bus_finding, kept */
    enum bus_finding_kind kind;
    const char *code, *text;
};

static void keep(const struct bus_finding *finding, void *context)
{
    struct exam *exam = context;
    size_t count = exam->topic_finding_count;
    exam->topic_findings = arena_grown(exam->arena, exam->topic_findings, count, sizeof *exam->topic_findings);
    exam->topic_findings[exam->topic_finding_count++] = (struct topic_finding){
        finding->kind, arena_string(exam->arena, span_of(finding->code)),
        arena_string(exam->arena, span_of(finding->text))};
}

/* The brokers are asked once, by the first check. What keeps them from being asked is said. */
static bool topics_known(struct exam *exam)
{
    struct error error = {0};
    if (exam->pipeline->bus.kind != BUS_CHOICE_KAFKA)
        exam_unchecked(exam, "the bus is not kafka");
    if (exam->pipeline->bus.kind != BUS_CHOICE_KAFKA)
        return false;
    if (!exam->topics_known) {
        exam->topics_known = true;
        if (exam->bus == NULL)
            exam->brokers_away = exam->bus_error != NULL ? exam->bus_error : "the file has errors";
        else if (bus_topics(exam->bus, false, keep, exam, &error) != 0)
            exam->brokers_away = arena_format(exam->arena, "%s%s%s", error.text, error.hint[0] != '\0' ? "; " : "",
                                              error.hint);
        return true;
    }
    if (exam->brokers_away != NULL)
        exam_unchecked(exam, "the brokers cannot be asked; see brokers");
    return exam->brokers_away == NULL;
}

static void look_brokers(struct exam *exam)
{
    if (!topics_known(exam))
        return;
    if (exam->brokers_away != NULL)
        exam_bad(exam, NULL, "%s", exam->brokers_away);
    else
        exam_good(exam, "the brokers answer, and take the properties of the file");
}

/* Says the findings with these codes, or that there are none. */
static void say_findings(struct exam *exam, const char *const *codes, bool configured, const char *good)
{
    if (!topics_known(exam))
        return;
    for (size_t i = 0; i < exam->topic_finding_count; i++) {
        const struct topic_finding *finding = &exam->topic_findings[i];
        if (configured && strcmp(finding->code, "topic_configuration") == 0)
            exam_unchecked(exam, "%s", finding->text);
        for (size_t c = 0; codes[c] != NULL; c++)
            if (strcmp(finding->code, codes[c]) == 0 && finding->kind == BUS_FINDING_ERROR)
                exam_bad(exam, NULL, "%s", finding->text);
            else if (strcmp(finding->code, codes[c]) == 0)
                exam_warns(exam, NULL, "%s", finding->text);
    }
    if (exam->finding_count == 0)
        exam_good(exam, "%s", good);
}

static void look_topics(struct exam *exam)
{
    say_findings(exam, (const char *const[]){"topic_missing", NULL}, false, "each topic of the file is there");
}

static void look_partitions(struct exam *exam)
{
    say_findings(exam, (const char *const[]){"topic_partitions", "topic_partitions_differ", "bus_partitions", NULL},
                 false, "topics have the partitions that the file says, and as many where they share a key");
}

static void look_replication(struct exam *exam)
{
    say_findings(exam, (const char *const[]){"topic_replication", "topic_unreplicated", NULL}, false,
                 "each topic has the replicas that the file says, and more than one");
}

static void look_in_sync(struct exam *exam)
{
    static const char *const codes[] = {"topic_min_insync", "partition_no_leader", "partition_out_of_sync", NULL};
    say_findings(exam, codes, true, "each partition has a leader and its replicas in sync");
}

static void look_elections(struct exam *exam)
{
    say_findings(exam, (const char *const[]){"topic_unclean", NULL}, true,
                 "no topic elects a leader that lacks records");
}

static void look_retention(struct exam *exam)
{
    say_findings(exam, (const char *const[]){"topic_retention", NULL}, true,
                 "topics keep events longer than any delay");
}

static void look_sizes(struct exam *exam)
{
    say_findings(exam, (const char *const[]){"topic_message_size", "dead_letter_size", "sent_size", NULL}, true,
                 "what comes in goes out");
}

static const struct check checks[] = {
    {"brokers", "no broker answers, TLS or SASL fails, or a property of the file is refused",
     "look at bootstrap.servers and the security properties of the file, and at the brokers' own log", look_brokers},
    {"topics", "a topic of the file is not on the brokers", "`sluice migrate CONFIG` makes it", look_topics},
    {"partitions",
     "a topic has fewer partitions than the file says, or than another topic with the same key, whose events other "
     "processes read then",
     "say in the file what is there; or kafka-topics.sh --alter --partitions while no events are on their way, since "
     "keys "
     "move to other partitions",
     look_partitions},
    {"replication", "a topic has one replica, or fewer than the file says",
     "kafka-reassign-partitions.sh; `replication` counts when `sluice migrate` makes a topic", look_replication},
    {"in_sync",
     "a partition without a leader, or with replicas that are out of sync; `min.insync.replicas` larger than the "
     "replicas (nothing can be published: bad), or 1 where there are three",
     "start the broker that is missing; kafka-configs.sh --alter for min.insync.replicas", look_in_sync},
    {"elections", "`unclean.leader.election.enable` of a topic", "kafka-configs.sh --alter: set it to false",
     look_elections},
    {"retention", "a topic keeps events for a shorter time than a retry may be away",
     "kafka-configs.sh --alter: raise retention.ms", look_retention},
    {"sizes",
     "`max.message.bytes` of a topic, or `message.max.bytes` of the file, is too small for what comes in to go out, or "
     "to become a dead letter",
     "kafka-configs.sh --alter: raise max.message.bytes; or lower engine.max_event_size", look_sizes},
};
const struct checks broker_checks = {"Kafka", checks, sizeof checks / sizeof checks[0]};
