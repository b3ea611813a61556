"""What the intake stands on in these tests: messages of the contract, a producer, a running intake,
and looks at what came of it.
"""

import asyncio
import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import RequestTimedOutError

from consumers.contract.encode import encode_deleted, encode_observed
from consumers.contract.events import Encoded
from consumers.contract.kafka_client import (
    consumer_options,
    ensure_topics,
    producer_options,
    started,
)
from consumers.contract.topics import entity_topic
from consumers.intake.main import run
from consumers.runtime.health import Health
from consumers.runtime.settings import KafkaSettings, PostgresSettings, Settings
from deploy.local.parts.apache_kafka import ApacheKafka, start_apache_kafka
from deploy.local.parts.child import Child, start_child
from deploy.local.parts.ports import LOOPBACK, free_port
from deploy.local.parts.tansu import TansuBroker, start_tansu
from deploy.local.stack import plan
from tests.unit.contract.odd_batches import RawName, builder

CLUSTER = "c1"
DEADLINE_S = 110.0
NETWORK = {
    "interface": "eth0",
    "vSwitchOptions": ["vsw-1"],
    "securityGroupIDs": ["sg-1"],
    "allocationType": {"type": "Elastic"},
}

Row = tuple[Any, ...]


# ------------------------------------------------------------------------------ messages


def pod(name: str, version: int, *, uid: str = "") -> dict[str, Any]:
    """A Pod that wants an ENI and is on a node, at one resourceVersion."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": uid or f"uid-of-{name}",
            "resourceVersion": str(version),
            "annotations": {
                "k8s.aliyun.com/pod-eni": "true",
                "k8s.aliyun.com/pod-networks": json.dumps({"podNetworks": [NETWORK]}),
            },
        },
        "spec": {"nodeName": "node-h1", "containers": [{"name": "c", "image": "i"}]},
    }


def observed(name: str, version: int, **changes: str) -> Encoded:
    return encode_observed(CLUSTER, "pod", pod(name, version, **changes), epoch=0)


def deleted(name: str, version: int, **changes: str) -> Encoded:
    return encode_deleted(CLUSTER, "pod", pod(name, version, **changes), epoch=0)


# ------------------------------------------------------------------------------ the broker's side


def settings(bootstrap: str, prefix: str, dsn: str, **kafka: Any) -> Settings:
    """Of an intake; its group notices a lost member soon."""
    chosen: dict[str, Any] = {
        "bootstrap_servers": bootstrap,
        "topic_prefix": prefix,
        "group_id": f"{prefix}-intake",
        "session_timeout_ms": 2000,
    }
    return Settings(
        cluster_id=CLUSTER,
        kafka=KafkaSettings(**(chosen | kafka)),
        postgres=PostgresSettings(dsn=dsn),
    )


@contextlib.asynccontextmanager
async def producing(configured: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """A producer, once the topics are there."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                await ensure_topics(configured.kafka)
                break
            except RequestTimedOutError:
                continue  # a cold broker takes longer over its first topics; it makes them all the same
    # Patient: a broker may need a while to lead the partitions that were just made.
    options = producer_options(configured.kafka, "test") | {
        "max_request_size": 8_000_000,
        "request_timeout_ms": 60_000,
    }
    async with started(AIOKafkaProducer(**options)) as producer:
        yield producer


async def send(
    producer: AIOKafkaProducer,
    configured: Settings,
    messages: Iterable[Encoded],
    *,
    partition: int | None = None,
) -> None:
    """Send to the Pods' topic in order; returns when all are acknowledged."""
    topic = entity_topic("pod", configured.kafka.topic_prefix)
    sending = [
        await producer.send(
            topic, each.value, each.key, partition=partition, headers=list(each.headers)
        )
        for each in messages
    ]
    await asyncio.gather(*sending)


async def send_with_odd_name(
    producer: AIOKafkaProducer, topic: str, messages: Iterable[Encoded], *, partition: int
) -> None:
    """Send as one batch, each with one header more, whose name is not UTF-8."""
    batch = producer.create_batch()
    batch._builder = builder()
    for each in messages:
        headers = [*each.headers, (RawName("6e616dff"), b"")]
        batch.append(timestamp=None, key=each.key, value=each.value, headers=headers)
    await (await producer.send_batch(batch, topic, partition=partition))


async def read_topic(configured: Settings, topic: str, count: int) -> list[Any]:
    """The first `count` records of a topic, whatever partition they are on."""
    found: list[Any] = []
    async with started(
        AIOKafkaConsumer(**consumer_options(configured.kafka, "test-reader"))
    ) as consumer:
        partitions = [TopicPartition(topic, number) for number in range(6)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        async with asyncio.timeout(DEADLINE_S):
            while len(found) < count:
                polled = await consumer.getmany(timeout_ms=200)
                found += [record for records in polled.values() for record in records]
    return found


class ForgetfulBroker:
    """A broker of its own on a port that it keeps; each start finds an empty disk.

    `part`: tansu, which has none, or the version of Apache Kafka.
    """

    def __init__(self, directory: Path, part: str) -> None:
        self._directory = directory
        self._part = part
        self._starts = 0
        self._port = 0
        self._running: TansuBroker | ApacheKafka
        self.start()

    @property
    def bootstrap(self) -> str:
        return self._running.bootstrap

    def stop(self) -> None:
        """End it; what it held is lost."""
        if isinstance(self._running, ApacheKafka):
            self._running.destroy()
        else:
            self._running.stop()

    def start(self) -> None:
        self._starts += 1
        log = self._directory / "broker.log"
        if self._part == "tansu":
            self._running = start_tansu(log=log, port=self._port)
        else:
            disk = self._directory / f"disk-{self._starts}"
            self._running = start_apache_kafka(disk, log=log, version=self._part, port=self._port)
        self._port = int(self.bootstrap.rpartition(":")[2])


# ------------------------------------------------------------------------------ the intake


@contextlib.asynccontextmanager
async def intake(configured: Settings) -> AsyncIterator[Health]:
    """An intake for the time of the block, stopped gracefully at its end."""
    health, stop = Health(), asyncio.Event()
    running = asyncio.create_task(run(configured, stop, health))
    try:
        yield health
        assert not running.done(), "the intake ended by itself"
    finally:
        stop.set()
        await asyncio.wait_for(running, 20)


class Process:
    """`eni-ledger run intake` as a process of its own, tied to ours."""

    def __init__(self, configured: Settings, log: Path) -> None:
        self.port = free_port()
        self.log = log
        environment = plan.part_environment(environment_of(configured), self.port)
        command = plan.eni_ledger_command("run", "intake")
        self.child: Child = start_child("the intake", command, log=log, environment=environment)

    def readyz(self) -> tuple[int, dict[str, Any]]:
        """(status, body) of /readyz; (0, {}) while nothing listens."""
        return get_json(f"http://{LOOPBACK}:{self.port}/readyz")

    def wait_ready(self) -> None:
        self.child.wait_ready(lambda: self.readyz()[0] == 200, DEADLINE_S, "it was ready")


@contextlib.contextmanager
def process(configured: Settings, log: Path) -> Iterator[Process]:
    """A process for the time of the block; whatever is left of it at the end is killed."""
    running = Process(configured, log)
    try:
        yield running
    finally:
        running.child.kill()


def environment_of(configured: Settings) -> dict[str, str]:
    """The variables that give a process these settings."""
    kafka = configured.kafka
    return {
        "ENI_LEDGER_CLUSTER_ID": configured.cluster_id,
        "ENI_LEDGER_POSTGRES__DSN": configured.postgres.dsn.get_secret_value(),
        "ENI_LEDGER_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "ENI_LEDGER_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
        "ENI_LEDGER_KAFKA__GROUP_ID": kafka.group_id,
        "ENI_LEDGER_KAFKA__SESSION_TIMEOUT_MS": str(kafka.session_timeout_ms),
        "ENI_LEDGER_KAFKA__MESSAGE_BYTES_MAX": str(kafka.message_bytes_max),
    }


def get_json(url: str) -> tuple[int, dict[str, Any]]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)
    except OSError:
        return 0, {}


# ------------------------------------------------------------------------------ the ledger's side


def rows(dsn: str, query: str) -> list[Row]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchall()


def effects(dsn: str) -> list[Row]:
    """Every entry as (Pod, uid, version, kind), without ids: what came of the messages."""
    return rows(
        dsn,
        "SELECT a.pod, a.pod_uid, e.version, e.kind FROM ledger.entry e "
        "JOIN ledger.allocation a ON a.id = e.allocation_id ORDER BY 1, 2, 3",
    )


def standing(dsn: str) -> Mapping[tuple[str, int], int]:
    """(topic, partition) -> next offset."""
    found = rows(dsn, 'SELECT topic, "partition", next FROM ledger.kafka_offset')
    return {(topic, partition): at for topic, partition, at in found}


def seen_pods(dsn: str) -> dict[str, int]:
    """Name -> resourceVersion of every Pod that is alive by the newest observation."""
    query = "SELECT name, resource_version FROM ledger.observation WHERE entity = 'pod' AND alive"
    return dict(rows(dsn, query))


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition on the database; fails the test with `what` after the deadline."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)
    except TimeoutError as late:
        raise AssertionError(f"not within {DEADLINE_S:g} s: {what}") from late


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    until = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until, f"not within {deadline_s:g} s: {what}"
        time.sleep(0.05)
