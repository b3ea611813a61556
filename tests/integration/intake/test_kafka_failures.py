"""What befalls a Kafka cluster: found, healed by a list, reported; no event lost or doubled (P5).

Watcher and intake run between a simulated API server and three brokers of Apache Kafka; each
event is counted in the ledger at the end: a Pod's coming is one entry, its going another.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete

from consumers.contract.kafka_client import connection_options, consumer_options, started
from consumers.contract.topics import entity_topic
from consumers.intake.positions import REPLACED
from consumers.runtime.health import Health
from consumers.runtime.settings import KafkaSettings, KubeSettings, PostgresSettings, Settings
from consumers.watcher import reach
from deploy.local.kubernetes.launch import Launched, LaunchOptions, launched
from deploy.local.parts.apache_kafka import ApacheKafka
from tests.integration.intake.ground import CLUSTER, effects, eventually, intake, pod, standing
from tests.integration.watcher.cluster import Cluster, reading, using, watcher

pytestmark = pytest.mark.genuine("kafka")

CRDS = tuple(sorted(Path("deploy/crds").resolve().glob("*.yaml")))
ANNOTATIONS = pod("any", 1)["metadata"]["annotations"]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    options = LaunchOptions(crds=CRDS, bookmark_seconds=0.3)
    with launched(tmp_path_factory.mktemp("kubernetes"), options) as server:
        yield server


@dataclass
class Scene:
    """One test's way from the API server to the ledger, and what must be in the ledger."""

    kafka: ApacheKafka
    configured: Settings
    cluster: Cluster
    came: set[str] = field(default_factory=set)
    went: set[str] = field(default_factory=set)

    @property
    def topic(self) -> str:
        return entity_topic("pod", self.configured.kafka.topic_prefix)

    @property
    def dsn(self) -> str:
        return self.configured.postgres.dsn.get_secret_value()

    async def come(self, names: Iterable[str]) -> None:
        for name in names:
            await self.cluster.pod(name, ANNOTATIONS)
            self.came.add(name)

    async def go(self, names: Iterable[str]) -> None:
        for name in names:
            await self.cluster.delete_pod(name)
            self.went.add(name)

    def counted(self) -> bool:
        """Whether the ledger holds each event, once."""
        expected = [
            (name, number, kind)
            for name in sorted(self.came)
            for number, kind in enumerate(
                ["requested", *["gone-reported"] * (name in self.went)], 1
            )
        ]
        return [(name, version, kind) for name, _, version, kind in effects(self.dsn)] == expected

    async def all_counted(self, when: str) -> None:
        await eventually(self.counted, f"each event counted once: {when}")

    @contextlib.asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        options = connection_options(self.configured.kafka, "test-admin")
        async with started(AIOKafkaAdminClient(**options)) as client:
            yield client

    async def leaders(self) -> dict[int, int]:
        """Partition of the Pods' topic -> the broker that leads it."""
        async with self.admin() as client:
            [described] = await client.describe_topics([self.topic])
        return {each["partition"]: each["leader"] for each in described["partitions"]}

    async def ends(self) -> dict[TopicPartition, int]:
        options = consumer_options(self.configured.kafka, "test-ends")
        async with started(AIOKafkaConsumer(self.topic, **options)) as reader:
            ends: dict[TopicPartition, int] = await reader.end_offsets(sorted(reader.assignment()))
        return ends

    def replaced(self) -> float:
        """How many partitions of it were reported as begun again."""
        return float(REPLACED.labels(topic=self.topic)._value.get())


@contextlib.asynccontextmanager
async def scene(
    kafka: ApacheKafka, api: Launched, prefix: str, dsn: str
) -> AsyncIterator[tuple[Scene, Health]]:
    """A watcher at work, and twelve Pods that nobody has taken in yet; all Pods go at the end."""
    configured = Settings(
        cluster_id=CLUSTER,
        kafka=KafkaSettings(
            bootstrap_servers=kafka.bootstrap, topic_prefix=prefix, group_id=f"{prefix}-intake"
        ),
        postgres=PostgresSettings(dsn=dsn),
        kube=KubeSettings(kubeconfig=api.kubeconfig, page_size=5),
    )
    async with using(api) as cluster, watcher(configured) as watching:
        made = Scene(kafka, configured, cluster)
        await made.come(f"old-{number}" for number in range(12))
        await eventually(lambda: watching.is_ready, f"ready, not {watching.parts()}")
        try:
            yield made, watching
        finally:
            for name in made.came - made.went:
                await cluster.delete_pod(name)


def test_p5_brokers_killed_and_leaders_moved(
    apache_kafka_cluster: ApacheKafka, api: Launched, topic_prefix: str, database: str
) -> None:
    """One is killed: the others lead on. Two are: nothing goes on, both sides say so and wait."""
    kafka = apache_kafka_cluster

    async def play() -> None:
        async with (
            scene(kafka, api, topic_prefix, database) as (made, watching),
            intake(made.configured) as taking,
        ):
            await made.all_counted("before anything happens")
            first = (await made.leaders())[0]
            await asyncio.to_thread(kafka.kill, first)
            await made.come(f"one-away-{number}" for number in range(12))
            await made.go(f"old-{number}" for number in range(6))
            await made.all_counted("with one broker of three killed")
            second = (await made.leaders())[0]
            assert second != first, "the leader moved"
            await asyncio.to_thread(kafka.kill, second)
            await made.come(f"two-away-{number}" for number in range(6))
            await made.go(f"old-{number}" for number in range(6, 12))
            await eventually(lambda: not watching.parts()["kafka"].ok, "the watcher is not ready")
            await eventually(lambda: not taking.parts()["kafka"].ok, "the intake is not ready")
            for number in (first, second):
                kafka.start(number)
            await asyncio.to_thread(kafka.wait_ready)
            await made.all_counted("with all of them back")
            await eventually(lambda: watching.is_ready and taking.is_ready, "both ready again")
            assert made.replaced() == 0, "no log was taken for another one"

    asyncio.run(play())


def test_p5_partitions_added_while_events_flow(
    apache_kafka_cluster: ApacheKafka, api: Launched, topic_prefix: str, database: str
) -> None:
    async def play() -> None:
        async with (
            scene(apache_kafka_cluster, api, topic_prefix, database) as (made, _),
            intake(made.configured),
        ):
            await made.all_counted("on six partitions")
            async with made.admin() as client:
                await client.create_partitions({made.topic: NewPartitions(9)})
            await made.come(f"new-{number}" for number in range(24))
            await made.go(f"old-{number}" for number in range(6))
            new = [(made.topic, number) for number in (6, 7, 8)]
            await eventually(
                lambda: all(standing(database).get(each, 0) > 0 for each in new),
                "heartbeats of the new partitions are taken in",
            )
            await made.all_counted("on nine partitions")

    asyncio.run(play())


def test_p2_p5_retention_below_our_place_is_healed_by_a_list(
    apache_kafka_cluster: ApacheKafka,
    api: Launched,
    topic_prefix: str,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While no intake runs, Pods come and go, and all that was said about it is gone from the log."""
    monkeypatch.setattr(reach, "LOOK_EVERY_S", 2.0)

    async def play() -> None:
        async with scene(apache_kafka_cluster, api, topic_prefix, database) as (made, watching):
            async with intake(made.configured):
                await made.all_counted("before the intake stops")
            async with reading(made.configured) as reader:
                await made.come(f"lost-{number}" for number in range(6))
                await made.go(f"old-{number}" for number in range(6))
                await eventually(
                    lambda: (
                        bool(reader.of("pod", "deleted", "old-5"))
                        and bool(reader.of("pod", "observed", "lost-5"))
                    ),
                    "all of it is in the log",
                )
                ends = await made.ends()
                async with made.admin() as client:
                    await client.delete_records(
                        {each: RecordsToDelete(offset) for each, offset in ends.items()}
                    )
                async with intake(made.configured) as taking:
                    await made.all_counted("told again by a list")
                    await eventually(lambda: taking.is_ready and watching.is_ready, "both ready")
            assert made.replaced() >= 1, "the loss was reported"

    asyncio.run(play())


def test_p5_a_topic_deleted_and_made_anew(
    apache_kafka_cluster: ApacheKafka, api: Launched, topic_prefix: str, database: str
) -> None:
    """Somebody deletes the Pods' topic while both sides work; nobody makes it again but they."""

    async def play() -> None:
        async with (
            scene(apache_kafka_cluster, api, topic_prefix, database) as (made, watching),
            intake(made.configured) as taking,
        ):
            await made.all_counted("before it is deleted")
            async with made.admin() as client:
                await client.delete_topics([made.topic])
            await made.come(f"new-{number}" for number in range(6))
            await made.go(f"old-{number}" for number in range(6))
            await made.all_counted("after it was deleted")
            assert made.replaced() >= 1, "the new log was found and reported"
            await eventually(lambda: watching.is_ready and taking.is_ready, "both ready again")
            assert set(await made.leaders()) == set(range(6)), "with the partitions it should have"

    asyncio.run(play())
