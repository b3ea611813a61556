"""What can be wrong with cloud, Kafka, PostgreSQL and clocks, and what the doctor must say of it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx2
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from consumers.contract.encode import encode_observed
from consumers.contract.kafka_client import (
    connection_options,
    ensure_topics,
    producer_options,
    started,
)
from consumers.contract.topics import entity_topic, entries_topic
from consumers.runtime.settings import KafkaSettings
from deploy.local import clock
from deploy.local.parts.child import Child
from deploy.local.parts.postgres import create_database
from ledger.store import migrate
from tests.integration.doctor.fault import (
    BLOCKS,
    UNSEEN,
    WARNS,
    Fault,
    Put,
    cloud,
    set_to,
)
from tests.integration.doctor.ground import CLUSTER, LOGIN, PASSWORD, Ground, dsn_of, start_cloud

# --- Kafka ----------------------------------------------------------------------------------------


def _kafka(ground: Ground, prefix: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=ground.broker, topic_prefix=prefix)


@contextmanager
def _no_watcher(ground: Ground) -> Iterator[dict[str, str]]:
    asyncio.run(ensure_topics(_kafka(ground, "silent")))
    yield {"ENI_LEDGER_KAFKA__TOPIC_PREFIX": "silent"}


@contextmanager
def _entries_in_three_orders(ground: Ground) -> Iterator[dict[str, str]]:
    settings = _kafka(ground, "three")

    async def make() -> None:
        async with started(AIOKafkaAdminClient(**connection_options(settings, "test"))) as admin:
            await admin.create_topics([NewTopic(entries_topic("three"), 3, 1)])
        await ensure_topics(settings)

    asyncio.run(make())
    yield {"ENI_LEDGER_KAFKA__TOPIC_PREFIX": "three"}


@contextmanager
def _foreign_producer(ground: Ground) -> Iterator[dict[str, str]]:
    """Another cluster's producer, which sends Nodes and no heartbeats."""
    settings = _kafka(ground, "foreign")
    node = {"metadata": {"name": "n", "uid": "u", "resourceVersion": "7"}}
    message = encode_observed("c-foreign", "node", node, epoch=1)

    async def send() -> None:
        await ensure_topics(settings)
        async with started(AIOKafkaProducer(**producer_options(settings, "test"))) as producer:
            await producer.send_and_wait(
                entity_topic("node", "foreign"),
                message.value,
                key=message.key,
                headers=list(message.headers),
            )

    asyncio.run(send())
    yield {"ENI_LEDGER_KAFKA__TOPIC_PREFIX": "foreign", "ENI_LEDGER_CLUSTER_ID": "c-foreign"}


# --- PostgreSQL -----------------------------------------------------------------------------------


def _database(make: Callable[[str], object], name: str) -> Put:
    """A database of its own, which `make` prepares by its DSN."""

    @contextmanager
    def put(ground: Ground) -> Iterator[dict[str, str]]:
        make(create_database(ground.postgres.dsn(), name))
        yield {"ENI_LEDGER_POSTGRES__DSN": dsn_of(ground.postgres, name)}

    return put


def _with_moved_clock(dsn: str) -> None:
    migrate.upgrade(dsn)
    clock.install(dsn)


@contextmanager
def _stranger(ground: Ground) -> Iterator[dict[str, str]]:
    ground.sql(f"CREATE ROLE stranger LOGIN PASSWORD '{PASSWORD}'")
    ground.sql("GRANT SELECT ON public.revision TO stranger")
    ground.sql("GRANT USAGE ON SCHEMA ledger TO stranger")
    ground.sql("GRANT SELECT ON ledger.cluster TO stranger")
    yield {"ENI_LEDGER_POSTGRES__DSN": dsn_of(ground.postgres, login="stranger")}


@contextmanager
def _superuser(ground: Ground) -> Iterator[dict[str, str]]:
    yield {"ENI_LEDGER_POSTGRES__DSN": ground.postgres.dsn("eni_ledger")}


@contextmanager
def _careless_commits(ground: Ground) -> Iterator[None]:
    ground.sql(f"ALTER ROLE {LOGIN} SET synchronous_commit = off")
    yield
    ground.sql(f"ALTER ROLE {LOGIN} RESET synchronous_commit")


@contextmanager
def _another_cluster(ground: Ground) -> Iterator[None]:
    ground.sql(f"INSERT INTO ledger.cluster VALUES ('{CLUSTER}', 'another-uid', ledger.now())")
    yield
    ground.sql("DELETE FROM ledger.cluster")


@contextmanager
def _cloud_clock_ahead(ground: Ground) -> Iterator[dict[str, str]]:
    """Another simulator, because their clocks go only forward."""
    children: list[Child] = []
    cloud = start_cloud(ground.directory, children)
    try:
        moved = httpx2.post(f"http://{cloud}/_sim/clock/advance", json={"seconds": 60})
        assert moved.status_code == 200
        yield {
            "ENI_LEDGER_CLOUD__ECS_ENDPOINT": cloud,
            "ENI_LEDGER_CLOUD__VPC_ENDPOINT": cloud,
        }
    finally:
        for child in children:
            child.stop()


_FORBIDDEN = {"kind": "error", "code": "Forbidden.RAM", "status": 403}

SERVICE_FAULTS: tuple[Fault, ...] = (
    Fault("another cluster", _another_cluster, "cluster-identity", BLOCKS, "another-uid"),
    Fault(
        "one right missing",
        cloud(**_FORBIDDEN, api="ModifyNetworkInterfaceAttribute"),
        "ram-permissions",
        BLOCKS,
        "may not call ModifyNetworkInterfaceAttribute (Forbidden.RAM)",
    ),
    Fault(
        "no right to look at ENIs",
        cloud(**_FORBIDDEN, api="DescribeNetworkInterfaces"),
        "ram-permissions",
        BLOCKS,
        "not known: CreateNetworkInterface",
        ("trunk-enis",),
    ),
    Fault(
        "a wrong key",
        set_to(CLOUD__ACCESS_KEY_SECRET="not-the-one"),
        "cloud-api",
        UNSEEN,
        "SignatureDoesNotMatch",
    ),
    Fault(
        "a silent cloud",
        cloud(kind="timeout", api="*", effect="before"),
        "cloud-api",
        UNSEEN,
        "could not look",
    ),
    Fault(
        "no broker",
        set_to(KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1"),
        "kafka-brokers",
        UNSEEN,
        "127.0.0.1",
    ),
    Fault(
        "no topics", set_to(KAFKA__TOPIC_PREFIX="nowhere"), "kafka-topics", BLOCKS, "nowhere.pod.v1"
    ),
    Fault("no watcher", _no_watcher, "kafka-heartbeats", WARNS, "no heartbeat of cluster c-doctor"),
    Fault(
        "a producer without heartbeats",
        _foreign_producer,
        "kafka-heartbeats",
        WARNS,
        "no heartbeat of cluster c-foreign",
    ),
    Fault(
        "entries in three orders",
        _entries_in_three_orders,
        "kafka-entries-order",
        BLOCKS,
        "three.entries.v1 has 3 partitions",
        ("kafka-heartbeats",),
    ),
    Fault(
        "no database",
        set_to(POSTGRES__DSN="postgresql://nobody@127.0.0.1:1/nothing"),
        "database",
        UNSEEN,
        "127.0.0.1",
    ),
    Fault(
        "no schema", _database(lambda _dsn: None, "bare"), "database-schema", BLOCKS, "no schema"
    ),
    Fault(
        "an older schema",
        _database(lambda dsn: migrate.upgrade(dsn, "0009"), "older"),
        "database-schema",
        BLOCKS,
        "at revision 0009",
    ),
    Fault(
        "a moved clock",
        _database(_with_moved_clock, "moved"),
        "database-clock",
        BLOCKS,
        "ledger.now() was replaced",
    ),
    Fault("a login without role", _stranger, "database-roles", BLOCKS, "a member of none"),
    Fault("a superuser", _superuser, "database-roles", WARNS, "postgres is a superuser"),
    Fault(
        "commits that may be lost",
        _careless_commits,
        "database-durability",
        BLOCKS,
        "synchronous_commit off",
    ),
    Fault(
        "no standby",
        set_to(POSTGRES__SYNCHRONOUS_STANDBY="true"),
        "database-standby",
        BLOCKS,
        "no standby is in step",
    ),
    Fault(
        "no API server",
        set_to(KUBE__KUBECONFIG="no-such-kubeconfig"),
        "kubernetes-api",
        UNSEEN,
        "no-such-kubeconfig",
    ),
    Fault("a clock ahead", _cloud_clock_ahead, "clock-cloud", WARNS, "ahead of this machine's"),
)
