/*
 * load_properties.c - `bus: {kind: kafka, properties: {…}}`: librdkafka's own names, by an allow-list.
 *
 * What is on the list is checked here, so that a wrong value has a place in the file; what is not on it is refused
 * with the reason: it would load code or run a command, or it would break what the engine guarantees.
 */
#include "pipeline/load.h"

/* A name, or a family of them that begins or ends so ("*" at the other side). */
static const struct {
    const char *name, *reason;
} refused[] = {
    {"plugin.library.paths", "it loads code; handlers come from `plugins:`"},
    {"ssl.engine.*", "it loads code"},
    {"ssl.providers", "it loads code"},
    {"ssl_engine_*", "it is set by programs, not by configurations"},
    {"sasl.kerberos.kinit.cmd", "it runs a command"},
    {"*_cb", "it is set by programs, not by configurations"},
    {"opaque", "it is set by programs, not by configurations"},
    {"default_topic_conf", "it is set by programs, not by configurations"},
    {"test.mock.*", "it replaces the brokers by ones that keep nothing"},
    {"debug", "it writes what is sent, secrets too, to the log"},
    {"group.id", "it is the engine's; say engine.group"},
    {"enable.auto.commit", "it is the engine's: a position is committed when its effects are"},
    {"auto.commit.*", "it is the engine's: a position is committed when its effects are"},
    {"enable.auto.offset.store", "it is the engine's: a position is committed when its effects are"},
    {"offset.store.*", "it is the engine's: a position is committed when its effects are"},
    {"auto.offset.reset", "it is the engine's: a position that is gone must be noticed, not skipped"},
    {"enable.partition.eof", "it is the engine's"},
    {"isolation.level", "it is the engine's"},
    {"check.crcs", "it is the engine's"},
    {"acks", "it is the engine's: an event counts as emitted when all replicas have it"},
    {"request.required.acks", "it is the engine's: an event counts as emitted when all replicas have it"},
    {"enable.idempotence", "it is the engine's: a repeated send must not double an event"},
    {"max.in.flight*", "it is the engine's: a key's order rests on it"},
    {"transactional.id", "it is the engine's; effects and outputs are joined in the database"},
};

/* Names of Kafka's Java clients, and of frameworks on them, and what does their work here. */
static const struct {
    const char *name, *instead;
} java_names[] = {
    {"max.poll.records", "engine.batch.max_events bounds a batch"},
    {"fetch.max.wait.ms", "say 'fetch.wait.max.ms'"},
    {"max.request.size", "say 'message.max.bytes', or raise engine.max_event_size, which it follows"},
    {"buffer.memory", "the engine bounds what waits to be sent by itself"},
    {"max.block.ms", "say 'message.timeout.ms'"},
    {"retries", "say 'message.timeout.ms': a record is sent again until then"},
    {"key.serializer", "keys and values are bytes: JSON, docs/events.md"},
    {"value.serializer", "keys and values are bytes: JSON, docs/events.md"},
    {"key.deserializer", "keys and values are bytes: JSON, docs/events.md"},
    {"value.deserializer", "keys and values are bytes: JSON, docs/events.md"},
    {"schema.registry.*", "values are JSON without a schema registry's prefix, docs/events.md"},
    {"spring.*", "these are librdkafka's own names, without a prefix"},
    {"sasl.jaas.config", "say 'sasl.username' and 'sasl.password'"},
    {"ssl.truststore.location", "say 'ssl.ca.location', a file in PEM"},
    {"ssl.truststore.certificates", "say 'ssl.ca.pem'"},
    {"ssl.truststore.*", "say 'ssl.ca.location', a file in PEM, which needs no password"},
    {"ssl.keystore.location", "say 'ssl.certificate.location' and 'ssl.key.location', files in PEM"},
    {"ssl.keystore.certificate.chain", "say 'ssl.certificate.pem'"},
    {"ssl.keystore.key", "say 'ssl.key.pem'"},
    {"ssl.keystore.*", "say 'ssl.certificate.location' and 'ssl.key.location', files in PEM; 'ssl.key.password'"},
    {"interceptor.classes", "nothing is loaded into clients; handlers come from `plugins:`"},
    {"metric.reporters", "/metrics has what there is to know"},
    {"partitioner.class", "a key's partition is the one that Java's clients choose"},
    {"client.dns.lookup", "every address of a name is tried"},
    {"default.api.timeout.ms", "say 'socket.timeout.ms'"},
    {"group.remote.assignor", "the brokers choose"},
    {"*.class", "it names a class of Java"},
};

static bool name_matches(const char *pattern, const char *name)
{
    size_t length = strlen(pattern), named = strlen(name);
    if (pattern[0] == '*')
        return named >= length - 1 && strcmp(name + named - (length - 1), pattern + 1) == 0;
    if (pattern[length - 1] == '*')
        return strncmp(name, pattern, length - 1) == 0;
    return strcmp(name, pattern) == 0;
}

static void refuse_property(struct load *load, const struct node *key)
{
    const char *names[PROPERTIES_MAX + 1] = {NULL}, *name = key->text.at, *near;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (name_matches(refused[i].name, name)) {
            problem_add(load->problems, key->place, "property", "bus.properties: '%s' cannot be set here: %s", name,
                        refused[i].reason);
            return;
        }
    for (size_t i = 0; i < sizeof java_names / sizeof java_names[0]; i++)
        if (name_matches(java_names[i].name, name)) {
            problem_add(load->problems, key->place, "property",
                        "bus.properties: '%s' is a name of Kafka's Java clients; librdkafka's are wanted: %s", name,
                        java_names[i].instead);
            return;
        }
    for (size_t i = 0; property_options[i].key != NULL; i++)
        names[i] = property_options[i].key;
    near = nearest_name(name, names);
    problem_add(load->problems, key->place, "property",
                "bus.properties: '%s' is not on the list of properties that pass through%s%s%s", name,
                near != NULL ? "; did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
}

static bool is_secret(const char *name)
{
    return strcmp(name, "sasl.password") == 0 || strcmp(name, "ssl.key.password") == 0 ||
           strcmp(name, "ssl.key.pem") == 0;
}

/* "a,b": each word that is no choice is a problem. */
static void check_words(struct load *load, const struct option *option, const struct node *value, const char *what)
{
    struct node word = *value;
    for (const char *at = value->text.at; at != NULL;) {
        size_t length = strcspn(at, ",");
        word.text = span_of(arena_format(load->arena, "%.*s", (int)length, at));
        if (!option_check(option, &word, what, load->problems))
            return;
        at = at[length] == ',' ? at + length + 1 : NULL;
    }
}

/* A value of several, written "a,b" or [a, b], as librdkafka takes it. */
static const char *load_list(struct load *load, const struct option *option, struct node *value, const char *what)
{
    const char *joined = "";
    if (value->kind == NODE_SCALAR && option->choices != NULL) {
        check_words(load, option, value, what);
        return value->text.at;
    }
    if (value->kind != NODE_SEQUENCE) {
        option_check(option, value, what, load->problems);
        return value->text.at;
    }
    for (size_t i = 0; i < value->count; i++)
        if (option_check(option, value->items[i], what, load->problems))
            joined = arena_format(load->arena, "%s%s%s", joined, i > 0 ? "," : "", value->items[i]->text.at);
    if (value->count == 0)
        problem_add(load->problems, value->place, "bad_value", "%s: the list is empty", what);
    return joined;
}

static void load_property(struct load *load, const struct node *key, struct node *value)
{
    struct pipeline *pipeline = load->pipeline;
    const struct option *option = property_options;
    const char *what = arena_format(load->arena, "bus.properties.%s", key->text.at);
    while (option->key != NULL && strcmp(option->key, key->text.at) != 0)
        option++;
    if (option->key == NULL) {
        refuse_property(load, key);
        return;
    }
    const char *text = value->text.at;
    if (option->list)
        text = load_list(load, option, value, what);
    else
        option_check(option, value, what, load->problems);
    if (is_secret(option->key) && !value->interpolated)
        problem_warn(load->problems, value->place, "literal_secret",
                     "%s is written out here; take it from the environment or a file", what);
    size_t at = pipeline->bus.property_count++;
    pipeline->bus.properties[at].name = option->key;
    pipeline->bus.properties[at].value = text;
    pipeline->bus.properties[at].place = key->place;
}

void load_properties(struct load *load, struct node *bus)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *properties = node_get(bus, "properties");
    bool kafka = pipeline->bus.kind == BUS_CHOICE_KAFKA;
    if (properties != NULL && (properties->kind != NODE_MAPPING || !kafka)) {
        problem_add(load->problems, properties->place, "bad_value",
                    "bus.properties: expected a mapping of librdkafka's properties, with kind: kafka");
        return;
    }
    size_t count = properties == NULL ? 0 : properties->count;
    pipeline->bus.properties = arena_alloc(load->arena, (count + 1) * sizeof *pipeline->bus.properties);
    for (size_t i = 0; i < count; i++)
        load_property(load, properties->keys[i], properties->items[i]);
    if (kafka && node_get(properties, "bootstrap.servers") == NULL &&
        node_get(properties, "metadata.broker.list") == NULL)
        problem_add(
            load->problems, pipeline->bus.place, "missing_key",
            "bus: kafka needs the addresses of its brokers: properties: {bootstrap.servers: \"${KAFKA_BROKERS}\"}");
}
