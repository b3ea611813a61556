import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** Publish the Pod on standard input to eni-ledger: Produce.java KAFKA TOPIC CLUSTER observed|deleted. */
public class Produce {
    public static void main(String[] args) throws Exception {
        String kafka = args[0], topic = args[1], cluster = args[2], action = args[3];
        var pod = new ObjectMapper().readTree(System.in);
        var metadata = pod.get("metadata");
        String subject = metadata.get("namespace").asText() + "/" + metadata.get("name").asText();
        String version = metadata.get("resourceVersion").asText();
        var record = new ProducerRecord<>(topic, cluster + "/" + subject, pod.toString());
        Map.of(
            "ce_specversion", "1.0",
            // What happened to an object at a version has one id, whoever says it and how often.
            "ce_id", cluster + "/" + metadata.get("uid").asText() + "/" + version,
            "ce_source", "/clusters/" + cluster,
            "ce_type", "io.eni-ledger.pod." + action + ".v1",
            "ce_subject", subject,
            "ce_resourceversion", version,
            "content-type", "application/json"
        ).forEach((name, value) -> record.headers().add(name, value.getBytes(StandardCharsets.UTF_8)));
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", kafka,
            "acks", "all",
            "enable.idempotence", false); // eni-ledger takes an event once however often it comes
        var strings = new StringSerializer();
        try (var producer = new KafkaProducer<>(settings, strings, strings)) {
            producer.send(record).get();
        }
    }
}
