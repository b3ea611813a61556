"""What one intake takes in and what reconcilers bind, with nothing but themselves in the way;
`make bench PART=throughput`.

The intake: a topic of the genuine Apache Kafka is full before it starts. Each message is a Pod that
asks for an ENI: the dearest kind, an entry, an allocation and a piece of work each. Reconcilers: Pods
that are all due at once, in a simulated cloud whose calls take as long as those of the default world,
and with no rate limit on either side; with the limits it is the limits that are measured
(`PART=budget`).
"""

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from consumers.runtime.settings import DEFAULT_RATE_LIMITS
from deploy.local.parts.apache_kafka import start_apache_kafka
from deploy.local.parts.postgres import create_database, start_postgres
from ledger.store import migrate
from tests.integration.intake import ground
from tests.integration.replicas.fleet import Fleet, running_fleet, wait_for

MESSAGES = 10_000
PODS, INSTANCES = 300, 20
ANSWER_S, ATTACH_S = 0.2, 1.0
NETWORK = {**ground.NETWORK, "vSwitchOptions": ["vsw-bpxxxx"], "securityGroupIDs": ["sg-bpxxxx"]}
UNLIMITED = json.dumps({api: {"per_minute": 1e6, "burst": 10_000} for api in DEFAULT_RATE_LIMITS})

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def dsn(stack_directory: Path) -> Iterator[str]:
    directory = stack_directory / "bench-throughput"
    directory.mkdir(exist_ok=True)
    server = start_postgres(directory / "postgres", log=directory / "postgres.log")
    made = create_database(server.dsn(), "ledger")
    migrate.upgrade(made)
    yield made
    server.stop()
    shutil.rmtree(directory)


def taken(connection: psycopg.Connection) -> int:
    [count] = connection.execute("SELECT count(*) FROM ledger.allocation").fetchone() or (0,)
    return int(count)


@pytest.mark.genuine("kafka")
def test_messages_that_an_intake_takes_in(
    dsn: str, stack_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = stack_directory / "bench-throughput"
    broker = start_apache_kafka(directory / "kafka", log=directory / "kafka.log")
    try:
        configured = ground.settings(broker.bootstrap, "bench", dsn, session_timeout_ms=6000)

        async def fill() -> None:
            async with ground.producing(configured) as producer:
                messages = (ground.observed(f"web-{n}", 100 + n) for n in range(MESSAGES))
                await ground.send(producer, configured, messages)

        asyncio.run(fill())
        with (
            psycopg.connect(dsn, autocommit=True) as connection,
            ground.process(configured, directory / "intake.log") as intake,
        ):
            first = wait_for(lambda: taken(connection), "the first are taken in")
            began = time.monotonic()
            wait_for(lambda: taken(connection) >= MESSAGES, "all are taken in", 900)
            lasted = time.monotonic() - began
            memory = psutil.Process(intake.child.pid).memory_info().rss / 2**20
    finally:
        broker.stop()
    with capsys.disabled():
        sys.stdout.write(
            f"\n{MESSAGES} Pods' messages: {(MESSAGES - first) / lasted:.0f}/s by one intake, "
            f"{memory:.0f} MiB\n"
        )


@pytest.fixture
def fleet(stack_directory: Path, dsn: str) -> Iterator[Fleet]:
    directory = stack_directory / "bench-throughput" / "fleet"
    settings = {"CLOUD__RATE_LIMITS": UNLIMITED}
    with running_fleet(
        directory, dsn, settings, instances=INSTANCES, answer=ANSWER_S, attach=ATTACH_S
    ) as running:
        yield running


@pytest.mark.parametrize("replicas", [1, 2])
def test_pods_that_reconcilers_bind(
    fleet: Fleet, replicas: int, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.create_pods([(f"web-{n}", f"node-{n % INSTANCES}") for n in range(PODS)], NETWORK)
    for _ in range(replicas):
        fleet.start()
    bound = "SELECT count(*) FROM ledger.allocation WHERE phase = 'bound'"
    began, first = time.monotonic(), fleet.rows(bound)[0][0]
    wait_for(lambda: fleet.rows(bound)[0][0] >= PODS, "all are bound", 900)
    lasted = time.monotonic() - began
    with capsys.disabled():
        sys.stdout.write(
            f"\n{PODS} Pods at once: {(PODS - first) / lasted:.1f}/s bound by {replicas} reconciler(s) of 8 "
            f"workers; a cloud call takes {ANSWER_S:g} s, an attach {ATTACH_S:g} s more\n"
        )
