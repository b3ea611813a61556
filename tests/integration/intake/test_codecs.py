"""Other producers compress as they like: every codec of Kafka is read."""

import json

import pytest
from confluent_kafka import KafkaError, Message, Producer

from deploy.local.running_ledger import RunningLedger
from tests.integration.intake.ground import pod


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_a_producer_may_compress(codec: str, running_ledger: RunningLedger) -> None:
    """Three at once: a client leaves out compression that gains nothing."""
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failures.append(error)

    producer = Producer(
        {
            "bootstrap.servers": running_ledger.kafka,
            "compression.type": codec,
            "linger.ms": 200,
            "sticky.partitioning.linger.ms": 0,
        }
    )
    for number in range(3):
        name = f"web-{number}"
        headers: dict[str, str | bytes | None] = {
            "ce_specversion": "1.0",
            "ce_id": f"{name}/{number}",
            "ce_source": f"/clusters/{running_ledger.cluster_id}",
            "ce_type": "io.eni-ledger.pod.observed.v1",
            "ce_subject": f"shop/{name}",
            "ce_resourceversion": str(100 + number),
        }
        producer.produce(
            running_ledger.topic("pod"),
            key=f"{running_ledger.cluster_id}/shop/{name}",
            value=json.dumps(pod(name, 100 + number)),
            headers=headers,
            partition=0,
            on_delivery=delivered,
        )
    assert producer.flush(60) == 0
    assert failures == []
    for number in range(3):
        running_ledger.allocation(f"shop/web-{number}")
