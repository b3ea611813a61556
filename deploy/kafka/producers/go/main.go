// Publish the Pod on standard input to eni-ledger: go run . KAFKA TOPIC CLUSTER observed|deleted.
package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	kafka, topic, cluster, action := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	var pod map[string]any
	value, err := io.ReadAll(os.Stdin)
	if err = json.Unmarshal(value, &pod); err != nil {
		log.Fatalf("no Pod on standard input: %v", err)
	}
	meta, _ := pod["metadata"].(map[string]any)
	of := func(field string) string { text, _ := meta[field].(string); return text }
	subject, version := of("namespace")+"/"+of("name"), of("resourceVersion")
	record := kgo.Record{Topic: topic, Key: []byte(cluster + "/" + subject), Value: value}
	for name, text := range map[string]string{"ce_specversion": "1.0", "content-type": "application/json",
		// What happened to an object at a version has one id, whoever says it and how often.
		"ce_id":     cluster + "/" + of("uid") + "/" + version,
		"ce_source": "/clusters/" + cluster, "ce_type": "io.eni-ledger.pod." + action + ".v1",
		"ce_subject": subject, "ce_resourceversion": version} {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: name, Value: []byte(text)})
	}
	// Not idempotent: not every managed Kafka can, and the ledger takes an event once however often it comes.
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka), kgo.DisableIdempotentWrite())
	if err == nil {
		err = client.ProduceSync(context.Background(), &record).FirstErr()
	}
	if err != nil {
		log.Fatalf("%s was not taken by %s at %s: %v", subject, topic, kafka, err)
	}
}
