"""Publish the Pod on standard input to eni-ledger: produce.py KAFKA TOPIC CLUSTER observed|deleted."""

import json
import sys

from confluent_kafka import Producer

kafka, topic, cluster, action = sys.argv[1:]
pod = json.load(sys.stdin)
metadata = pod["metadata"]
subject = f"{metadata['namespace']}/{metadata['name']}"
event = {
    "ce_specversion": "1.0",
    # What happened to an object at a version has one id, whoever says it and how often.
    "ce_id": f"{cluster}/{metadata['uid']}/{metadata['resourceVersion']}",
    "ce_source": f"/clusters/{cluster}",
    "ce_type": f"io.eni-ledger.pod.{action}.v1",
    "ce_subject": subject,
    "ce_resourceversion": metadata["resourceVersion"],
    "content-type": "application/json",
}
failures: list[object] = []
# murmur2: Java's partitioner, so that all producers agree on where a Pod is.
producer = Producer({"bootstrap.servers": kafka, "acks": "all", "partitioner": "murmur2_random"})
producer.produce(
    topic,
    key=f"{cluster}/{subject}",
    value=json.dumps(pod),
    headers=event,
    on_delivery=lambda error, _message: failures.append(error) if error else None,
)
if producer.flush(30) or failures:
    sys.exit(f"{subject} was not taken by {topic} at {kafka}: {failures or 'no answer in 30 s'}")
