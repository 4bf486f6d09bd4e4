/*
 * Debezium.java - Debezium's own connector for PostgreSQL and its outbox event router, as a consumer has them: prints
 * what it would send to Kafka, a line of JSON each, until its input ends.
 *
 *     java -cp … Debezium HOST PORT DATABASE USER TABLE FOLDER [NAME=VALUE …]     options of the router
 */
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.debezium.embedded.Connect;
import io.debezium.engine.DebeziumEngine;
import java.nio.file.Path;
import java.util.Properties;
import java.util.concurrent.Executors;
import org.apache.kafka.connect.header.Header;
import org.apache.kafka.connect.source.SourceRecord;

public class Debezium {
    private static final ObjectMapper JSON = new ObjectMapper();

    private static Properties properties(String[] args) {
        Properties all = new Properties();
        all.setProperty("name", "outbox");
        all.setProperty("connector.class", "io.debezium.connector.postgresql.PostgresConnector");
        all.setProperty("offset.storage", "org.apache.kafka.connect.storage.FileOffsetBackingStore");
        all.setProperty("offset.storage.file.filename", Path.of(args[5], "offsets").toString());
        all.setProperty("offset.flush.interval.ms", "0");
        all.setProperty("topic.prefix", "any");
        all.setProperty("slot.name", args[2]);
        all.setProperty("plugin.name", "pgoutput");
        all.setProperty("publication.autocreate.mode", "filtered");
        all.setProperty("snapshot.mode", "no_data");
        all.setProperty("poll.interval.ms", "50");
        all.setProperty("database.hostname", args[0]);
        all.setProperty("database.port", args[1]);
        all.setProperty("database.dbname", args[2]);
        all.setProperty("database.user", args[3]);
        all.setProperty("table.include.list", args[4]);
        all.setProperty("transforms", "outbox");
        all.setProperty("transforms.outbox.type", "io.debezium.transforms.outbox.EventRouter");
        for (int i = 6; i < args.length; i++) {
            String[] option = args[i].split("=", 2);
            all.setProperty("transforms.outbox." + option[0], option[1]);
        }
        return all;
    }

    private static synchronized void print(SourceRecord record) {
        ObjectNode line = JSON.createObjectNode();
        line.put("topic", record.topic());
        line.put("key", String.valueOf(record.key()));
        line.put("value", String.valueOf(record.value()));
        line.put("timestamp", record.timestamp());
        ObjectNode headers = line.putObject("headers");
        for (Header header : record.headers())
            headers.put(header.key(), String.valueOf(header.value()));
        System.out.println(line);
    }

    public static void main(String[] args) throws Exception {
        var engine = DebeziumEngine.create(Connect.class)
                .using(properties(args))
                .notifying(event -> print(event.value()))
                .using((success, message, error) -> System.err.println(message))
                .build();
        var thread = Executors.newSingleThreadExecutor();
        thread.execute(engine);
        while (System.in.read() >= 0) {
            /* until whoever started us ends it */
        }
        engine.close();
        thread.shutdownNow();
        System.exit(0);
    }
}
