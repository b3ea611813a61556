"""What every integration test has: the command line, a look at what it left open, and the Kafka and the
Kubernetes API that it runs on.

Tests that tell something about Kafka carry `@pytest.mark.on_kafka`: the same test then also runs on
Apache Kafka, as `genuine("kafka")`; with "older", on each generation that managed Kafka still offers.
"""

import asyncio
import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from consumers.contract.kafka_client import connection_options, started
from consumers.runtime.settings import KafkaSettings
from deploy.local.parts import kafka_jars
from deploy.local.parts.apache_kafka import start_apache_kafka
from tests.integration.commands import Say, saying

TANSU = "tansu"
KubePart = Literal["simulated", "genuine"]


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """An unclosed connection or file warns when it is collected, and warnings are errors: without
    this they would fail some later test, and only at times."""
    yield
    gc.collect()


@pytest.fixture(
    scope="session",
    params=["simulated", pytest.param("genuine", marks=pytest.mark.genuine("kube"))],
)
def kube_part(request: pytest.FixtureRequest) -> KubePart:
    """Which Kubernetes API a test talks to: one contract suite, held to by both."""
    chosen: KubePart = request.param
    return chosen


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command of ours in this process; the settings come from the environment."""
    return saying(capsys)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One run a Kafka: the quick start's, and those that the test's mark asks for."""
    mark = metafunc.definition.get_closest_marker("on_kafka")
    if mark is None:
        return
    versions = [kafka_jars.NEWEST, *(kafka_jars.OLDER if "older" in mark.args else ())]
    parts = [
        pytest.param(version, id=f"kafka-{version}", marks=pytest.mark.genuine("kafka"))
        for version in versions
    ]
    metafunc.parametrize("kafka_part", [TANSU, *parts], indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """An older Kafka is told apart by the simulated API as well: not each pair of parts is run."""
    pairs = [item for item in items if _is_older_kafka(item) and _is_genuine_kube(item)]
    config.hook.pytest_deselected(items=pairs)
    items[:] = [item for item in items if item not in pairs]


def _is_older_kafka(item: pytest.Item) -> bool:
    return any(f"kafka-{version}" in item.name for version in kafka_jars.OLDER)


def _is_genuine_kube(item: pytest.Item) -> bool:
    return any("kube" in mark.args for mark in item.iter_markers("genuine"))


@pytest.fixture(scope="session")
def kafka_part(request: pytest.FixtureRequest) -> str:
    """`tansu`, or the version of Apache Kafka that this run is about."""
    part: str = getattr(request, "param", TANSU)
    return part


@pytest.fixture(scope="session")
def broker(
    broker: str, kafka_part: str, request: pytest.FixtureRequest, stack_directory: Path
) -> Iterator[str]:
    """host:port of the broker that the test shares with others."""
    if kafka_part == TANSU:
        yield broker
    elif kafka_part == kafka_jars.NEWEST:
        yield request.getfixturevalue("apache_kafka").bootstrap
    else:
        # One each time: pytest ends this broker where another file wants a newer one, and comes back.
        directory = Path(
            tempfile.mkdtemp(prefix=f"apache-kafka-{kafka_part}-", dir=stack_directory)
        )
        running = start_apache_kafka(
            directory / "disk", log=directory / "kafka.log", version=kafka_part
        )
        yield running.bootstrap
        running.destroy()


@pytest.fixture
def topic_prefix(
    topic_prefix: str, kafka_part: str, request: pytest.FixtureRequest
) -> Iterator[str]:
    """A prefix of the test's own. A genuine broker has its topics deleted afterwards: each is six
    logs on its disk, and all tests together would be thousands."""
    yield topic_prefix
    if kafka_part != TANSU and "broker" in request.fixturenames:
        asyncio.run(_delete_topics(request.getfixturevalue("broker"), topic_prefix))


async def _delete_topics(bootstrap: str, prefix: str) -> None:
    options = connection_options(KafkaSettings(bootstrap_servers=bootstrap), "test-cleaner")
    async with started(AIOKafkaAdminClient(**options)) as admin:
        made = [name for name in await admin.list_topics() if name.startswith(f"{prefix}.")]
        if made:
            await admin.delete_topics(made)
