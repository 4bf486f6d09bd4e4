// What tests ask of a Kafka cluster, through Kafka's own clients: one process, a request a line, an answer a line.
//   {"id": 1, "do": "list", "timeout_ms": 20000, ...}  gets  {"id": 1, "ok": ...} or {"id": 1, "error": "Class: text"}
// Keys, values and header values are base64, null is null. Requests run side by side. It ends when its input does.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.acl.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.resource.*;
import org.apache.kafka.common.serialization.*;

public class KafkaAdmin {
    private static final ObjectMapper JSON = new ObjectMapper();
    private final String servers;
    private final Admin admin;
    private final Object sending = new Object();
    private Producer<byte[], byte[]> producer;
    private Thread stranger = new Thread(); // see join()

    private KafkaAdmin(String servers) {
        this.servers = servers;
        Properties p = properties();
        p.put("default.api.timeout.ms", "60000"); // the caller's own limit is what ends a call
        p.put("request.timeout.ms", "5000");
        admin = Admin.create(p);
    }

    public static void main(String[] args) throws Exception {
        PrintStream out = System.out;
        System.setOut(System.err);
        KafkaAdmin self = new KafkaAdmin(args[0]);
        ExecutorService pool = Executors.newCachedThreadPool();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            JsonNode request = JSON.readTree(line);
            pool.submit(() -> {
                Map<String, Object> answer = new LinkedHashMap<>();
                answer.put("id", request.get("id").asLong());
                try {
                    answer.put("ok", self.answer(request, new Clock(request)));
                } catch (Throwable e) {
                    Throwable cause = e instanceof ExecutionException && e.getCause() != null ? e.getCause() : e;
                    answer.put("error", cause.getClass().getSimpleName() + ": " + cause.getMessage());
                }
                byte[] text = (JSON.writeValueAsString(answer) + "\n").getBytes(StandardCharsets.UTF_8);
                synchronized (out) {
                    out.write(text, 0, text.length);
                    out.flush();
                }
                return null;
            });
        }
        Runtime.getRuntime().halt(0);
    }

    /** How much of a request's time is left. */
    private static class Clock {
        private final long end;

        Clock(JsonNode request) {
            end = System.nanoTime() + request.path("timeout_ms").asLong(20000) * 1_000_000;
        }

        <T> T get(KafkaFuture<T> future) throws Exception {
            return future.get(Math.max(1, left()), TimeUnit.MILLISECONDS);
        }

        long left() {
            return (end - System.nanoTime()) / 1_000_000;
        }

        void pause(String what) throws Exception {
            if (left() < 0)
                throw new java.util.concurrent.TimeoutException(what);
            Thread.sleep(20);
        }
    }

    private Object answer(JsonNode r, Clock clock) throws Exception {
        String topic = r.path("topic").asText(null), group = r.path("group").asText(null);
        int partition = r.path("partition").asInt(-1);
        switch (r.get("do").asText()) {
        case "create_topic":
            return done(clock.get(admin.createTopics(List.of(newTopic(r))).all()));
        case "delete_topic":
            return done(clock.get(admin.deleteTopics(List.of(topic)).all()));
        case "list":
            return new TreeSet<>(clock.get(admin.listTopics(
                new ListTopicsOptions().listInternal(r.path("internal").asBoolean())).names()));
        case "describe":
            return partitions(topic, clock).stream().map(KafkaAdmin::shown).collect(Collectors.toList());
        case "add_partitions":
            return done(clock.get(admin.createPartitions(
                Map.of(topic, NewPartitions.increaseTo(r.get("count").asInt()))).all()));
        case "alter_topic_config":
            return alterConfig(r, topic, clock);
        case "delete_records":
            return clock.get(admin.deleteRecords(Map.of(new TopicPartition(topic, partition),
                RecordsToDelete.beforeOffset(r.get("before").asLong()))).lowWatermarks()
                .get(new TopicPartition(topic, partition))).lowWatermark();
        case "offsets":
            return offsets(topic, r, clock);
        case "committed":
            return committed(group, clock);
        case "reset_offsets":
            return done(clock.get(admin.alterConsumerGroupOffsets(group, Map.of(new TopicPartition(topic, partition),
                new OffsetAndMetadata(r.get("offset").asLong()))).all()));
        case "join":
            return join(topic, group);
        case "deny":
            return deny(r, topic, group, clock);
        case "groups":
            return clock.get(admin.listGroups().all()).stream().map(GroupListing::groupId).sorted().toList();
        case "members":
            return members(group, clock);
        case "delete_group":
            return done(clock.get(admin.deleteConsumerGroups(List.of(group)).all()));
        case "coordinator":
            return coordinator(group, clock);
        case "move_leader":
            return moveLeader(topic, partition, r.get("broker").asInt(), clock);
        case "produce":
            synchronized (sending) {
                if (producer == null)
                    producer = producer(null);
            }
            return send(producer, r.get("records"), topic, clock);
        case "produce_transaction":
            return transaction(r, topic, clock);
        case "dump":
            return dump(r, topic, clock);
        default:
            throw new IllegalArgumentException("no such request: " + r.get("do").asText());
        }
    }

    private static Object done(Object ignored) {
        return true;
    }

    private Properties properties() {
        Properties p = new Properties();
        p.put("bootstrap.servers", servers);
        p.put("reconnect.backoff.max.ms", "200");
        p.put("retry.backoff.max.ms", "200");
        return p;
    }

    private static NewTopic newTopic(JsonNode r) {
        NewTopic topic = new NewTopic(r.get("topic").asText(), Optional.of(r.get("partitions").asInt()),
            r.hasNonNull("replication") ? Optional.of((short) r.get("replication").asInt()) : Optional.empty());
        Map<String, String> configs = new HashMap<>();
        r.path("configs").fields().forEachRemaining(e -> configs.put(e.getKey(), e.getValue().asText()));
        return topic.configs(configs);
    }

    private Object alterConfig(JsonNode r, String topic, Clock clock) throws Exception {
        List<AlterConfigOp> operations = new ArrayList<>();
        r.get("configs").fields().forEachRemaining(e -> operations.add(e.getValue().isNull()
            ? new AlterConfigOp(new ConfigEntry(e.getKey(), null), AlterConfigOp.OpType.DELETE)
            : new AlterConfigOp(new ConfigEntry(e.getKey(), e.getValue().asText()), AlterConfigOp.OpType.SET)));
        return done(clock.get(admin.incrementalAlterConfigs(
            Map.of(new ConfigResource(ConfigResource.Type.TOPIC, topic), operations)).all()));
    }

    /** A broker may hear of a new topic a moment after the one that made it. */
    private List<TopicPartitionInfo> partitions(String topic, Clock clock) throws Exception {
        for (long patience = System.nanoTime() + 2_000_000_000L; ; clock.pause("no topic " + topic)) {
            try {
                return clock.get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic).partitions();
            } catch (ExecutionException e) {
                if (!(e.getCause() instanceof UnknownTopicOrPartitionException) || System.nanoTime() > patience)
                    throw e;
            }
        }
    }

    private static List<Integer> ids(Collection<Node> nodes) {
        return nodes.stream().map(Node::id).collect(Collectors.toList());
    }

    private static int leader(TopicPartitionInfo p) {
        return p.leader() == null ? -1 : p.leader().id();
    }

    private static Map<String, Object> shown(TopicPartitionInfo p) {
        return Map.of("partition", p.partition(), "leader", leader(p), "replicas", ids(p.replicas()),
            "isr", ids(p.isr()));
    }

    private Object offsets(String topic, JsonNode r, Clock clock) throws Exception {
        OffsetSpec spec = r.get("which").asText().equals("begin") ? OffsetSpec.earliest() : OffsetSpec.latest();
        Map<TopicPartition, OffsetSpec> wanted = new HashMap<>();
        for (TopicPartitionInfo p : partitions(topic, clock))
            wanted.put(new TopicPartition(topic, p.partition()), spec);
        Map<Integer, Long> found = new TreeMap<>();
        clock.get(admin.listOffsets(wanted, new ListOffsetsOptions(isolation(r))).all())
            .forEach((p, info) -> found.put(p.partition(), info.offset()));
        return found;
    }

    private Map<String, Map<Integer, Long>> committed(String group, Clock clock) throws Exception {
        Map<String, Map<Integer, Long>> found = new TreeMap<>();
        clock.get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata()).forEach((p, offset) -> {
            if (offset != null)
                found.computeIfAbsent(p.topic(), t -> new TreeMap<>()).put(p.partition(), offset.offset());
        });
        return found;
    }

    private Object members(String group, Clock clock) throws Exception {
        ConsumerGroupDescription found = clock.get(admin.describeConsumerGroups(List.of(group)).all()).get(group);
        List<Object> members = new ArrayList<>();
        for (MemberDescription m : found.members()) {
            Map<String, Set<Integer>> assigned = new TreeMap<>();
            m.assignment().topicPartitions().forEach(
                p -> assigned.computeIfAbsent(p.topic(), t -> new TreeSet<>()).add(p.partition()));
            members.add(Map.of("id", m.consumerId(), "client", m.clientId(), "host", m.host(),
                "instance", m.groupInstanceId().orElse(""), "assigned", assigned));
        }
        return Map.of("state", found.groupState().toString(), "protocol", found.type().toString(),
            "assignor", found.partitionAssignor(), "coordinator", found.coordinator().id(), "members", members);
    }

    private Object coordinator(String group, Clock clock) throws Exception {
        committed(group, clock); // makes the topic, when nobody asked for a group before
        List<TopicPartitionInfo> parts = partitions("__consumer_offsets", clock);
        TopicPartitionInfo its = parts.get((group.hashCode() & 0x7fffffff) % parts.size());
        return Map.of("broker", leader(its), "partition", its.partition());
    }

    private Object moveLeader(String topic, int partition, int broker, Clock clock) throws Exception {
        TopicPartition which = new TopicPartition(topic, partition);
        List<Integer> replicas = new ArrayList<>(ids(partitions(topic, clock).get(partition).replicas()));
        if (replicas.remove((Integer) broker))
            replicas.add(0, broker);
        else
            replicas.set(0, broker);
        clock.get(admin.alterPartitionReassignments(
            Map.of(which, Optional.of(new NewPartitionReassignment(replicas)))).all());
        while (!clock.get(admin.listPartitionReassignments(Set.of(which)).reassignments()).isEmpty())
            clock.pause("the replicas of " + which + " do not become " + replicas);
        String words = "";
        while (leader(partitions(topic, clock).get(partition)) != broker) {
            try {
                clock.get(admin.electLeaders(ElectionType.PREFERRED, Set.of(which)).partitions()).get(which)
                    .ifPresent(e -> { throw new CompletionException(e); });
            } catch (CompletionException e) {
                words = ": " + e.getCause().getMessage(); // a broker that is away may come back
            }
            clock.pause("broker " + broker + " does not become leader of " + which + words);
        }
        return true;
    }

    private Producer<byte[], byte[]> producer(String transactional) {
        Properties p = properties();
        p.put("acks", "all");
        p.put("max.request.size", "67108864");
        p.put("delivery.timeout.ms", "60000");
        p.put("request.timeout.ms", "5000");
        p.put("max.block.ms", "60000");
        if (transactional != null)
            p.put("transactional.id", transactional);
        return new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static byte[] bytes(JsonNode text) {
        return text == null || text.isNull() ? null : Base64.getDecoder().decode(text.asText());
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
    }

    private Object send(Producer<byte[], byte[]> by, JsonNode records, String topic, Clock clock) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (JsonNode r : records) {
            ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
                r.hasNonNull("topic") ? r.get("topic").asText() : topic,
                r.hasNonNull("partition") ? r.get("partition").asInt() : null,
                r.hasNonNull("timestamp") ? r.get("timestamp").asLong() : null,
                bytes(r.get("key")), bytes(r.get("value")));
            for (JsonNode h : r.path("headers"))
                record.headers().add(h.get(0).asText(), bytes(h.get(1)));
            sent.add(by.send(record));
        }
        List<Object> places = new ArrayList<>();
        for (Future<RecordMetadata> one : sent) {
            RecordMetadata place = one.get(Math.max(1, clock.left()), TimeUnit.MILLISECONDS);
            places.add(List.of(place.partition(), place.offset()));
        }
        return places;
    }

    /** Reads as a member of the group until the next such request. */
    private Object join(String topic, String group) throws Exception {
        stranger.interrupt();
        stranger.join();
        if (topic == null)
            return true;
        Properties p = properties();
        p.put("group.id", group);
        p.put("client.id", "stranger");
        p.put("partition.assignment.strategy", RangeAssignor.class.getName());
        ByteArrayDeserializer plain = new ByteArrayDeserializer();
        Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(p, plain, plain);
        consumer.subscribe(List.of(topic));
        stranger = new Thread(() -> {
            try (consumer) {
                while (true)
                    consumer.poll(Duration.ofMillis(100));
            } catch (org.apache.kafka.common.errors.InterruptException e) {
                Thread.interrupted(); // so that it can leave
            }
        });
        stranger.start();
        return true;
    }

    private Object deny(JsonNode r, String topic, String group, Clock clock) throws Exception {
        ResourcePattern of = topic == null ? new ResourcePattern(ResourceType.GROUP, group, PatternType.LITERAL)
                                           : new ResourcePattern(ResourceType.TOPIC, topic, PatternType.LITERAL);
        AclBinding acl = new AclBinding(of, new AccessControlEntry("User:" + r.get("user").asText(), "*",
            AclOperation.ALL, AclPermissionType.DENY));
        return r.get("denied").asBoolean() ? done(clock.get(admin.createAcls(List.of(acl)).all()))
                                           : done(clock.get(admin.deleteAcls(List.of(acl.toFilter())).all()));
    }

    private Object transaction(JsonNode r, String topic, Clock clock) throws Exception {
        Producer<byte[], byte[]> by = producer(r.get("transactional").asText());
        boolean commit = r.get("commit").asBoolean();
        try {
            by.initTransactions();
            by.beginTransaction();
            Object places = send(by, r.get("records"), topic, clock);
            if (commit)
                by.commitTransaction();
            else if (!r.get("commit").isNull())
                by.abortTransaction(); // null leaves it open
            return places;
        } finally {
            by.close(Duration.ofMillis(r.get("commit").isNull() ? 0 : 1000));
        }
    }

    private static IsolationLevel isolation(JsonNode r) {
        return r.path("committed").asBoolean(true) ? IsolationLevel.READ_COMMITTED : IsolationLevel.READ_UNCOMMITTED;
    }

    private Object dump(JsonNode r, String topic, Clock clock) throws Exception {
        Properties p = properties();
        p.put("isolation.level", isolation(r).toString());
        p.put("enable.auto.commit", "false");
        p.put("auto.offset.reset", "earliest");
        p.put("fetch.max.wait.ms", "50");
        p.put("max.poll.records", "10000");
        List<Object> found = new ArrayList<>();
        ByteArrayDeserializer plain = new ByteArrayDeserializer();
        try (Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(p, plain, plain)) {
            List<TopicPartition> all = partitions(topic, clock).stream()
                .map(info -> new TopicPartition(topic, info.partition())).collect(Collectors.toList());
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Map<TopicPartition, Long> ends = consumer.endOffsets(all, Duration.ofMillis(Math.max(1, clock.left())));
            for (Set<TopicPartition> open = new HashSet<>(all); !open.isEmpty(); ) {
                for (TopicPartition one : List.copyOf(open)) {
                    if (consumer.position(one, Duration.ofMillis(Math.max(1, clock.left()))) >= ends.get(one)) {
                        open.remove(one);
                        consumer.pause(List.of(one));
                    }
                }
                if (open.isEmpty())
                    break;
                if (clock.left() < 0)
                    throw new java.util.concurrent.TimeoutException("not all of " + topic + " could be read: " + open);
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                    if (record.offset() >= ends.get(new TopicPartition(topic, record.partition())))
                        continue; // came after we asked
                    List<Object> headers = new ArrayList<>();
                    for (Header h : record.headers())
                        headers.add(Arrays.asList(h.key(), text(h.value())));
                    found.add(Arrays.asList(record.partition(), record.offset(), text(record.key()),
                        text(record.value()), headers, record.timestamp()));
                }
            }
        }
        return found;
    }
}
