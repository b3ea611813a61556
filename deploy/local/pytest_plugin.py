"""Fixtures for tests against us: a running ledger, PostgreSQL, a broker, simulators, a whole stack.

Loaded by itself where `eni-ledger-local` is installed, else by `pytest_plugins =
["deploy.local.pytest_plugin"]`. Servers live for the session and end with it, also when pytest is
killed; databases and topic prefixes are fresh for each test. Each fixture can be overridden in a
conftest.py, as any of pytest's: `broker` by another host:port, `database` by another DSN.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.kubernetes.launch import Launched, LaunchOptions, launched
from deploy.local.parts.apache_kafka import ApacheKafka, start_apache_kafka
from deploy.local.parts.child import start_child
from deploy.local.parts.kube_api import ExternalKube, KubeApi
from deploy.local.parts.kube_apiserver.server import GenuineKube, GenuineOptions, running
from deploy.local.parts.ports import LOOPBACK, free_port
from deploy.local.parts.postgres import (
    PostgresServer,
    create_database,
    drop_database,
    start_postgres,
)
from deploy.local.parts.tansu import start_tansu
from deploy.local.running_ledger import RunningLedger
from deploy.local.running_ledger import running_ledger as ledger_between
from deploy.local.stack import control, plan
from deploy.local.stack.keeper import is_ready
from deploy.local.stack.options import CRDS, StackOptions
from deploy.local.stack.state import StackFacts

TEMPLATE_DATABASE = "migrated"
#: An environment variable: the directory of another PostgreSQL's initdb and postgres.
POSTGRES_BINARIES = "TESTS_POSTGRES_BINARIES"
SIMULATOR_DEADLINE_S = 30.0
#: User and token of somebody whom RBAC allows nothing.
GUEST = {"guest": "a-guests-token"}  # no secret: it opens nothing but a test's own server

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def stack_directory() -> Iterator[Path]:
    """A directory for the session's servers that unprivileged accounts can enter."""
    directory = Path(tempfile.mkdtemp(prefix="eni-ledger-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def postgres_server(stack_directory: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL server with fsync off: `postgres_server.dsn("postgres")`.

    Not for figures about durability or speed: those start their own. TESTS_POSTGRES_BINARIES names
    the directory of another generation's.
    """
    binaries = os.environ.get(POSTGRES_BINARIES)
    server = start_postgres(
        stack_directory / "postgres",
        log=stack_directory / "postgres.log",
        throwaway=True,
        binaries=Path(binaries) if binaries else None,
    )
    yield server
    server.stop()


@pytest.fixture
def empty_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The DSN of a database that holds nothing, for tests of the migrations themselves."""
    name = f"empty_{next(_numbers)}"
    yield create_database(postgres_server.dsn(), name)
    drop_database(postgres_server.dsn(), name)


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer) -> str:
    """The name of a database migrated to head, which each test's database is copied from."""
    from ledger.store import migrate

    migrate.upgrade(create_database(postgres_server.dsn(), TEMPLATE_DATABASE))
    return TEMPLATE_DATABASE


@pytest.fixture
def database(postgres_server: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The DSN (superuser, a libpq URL) of a fresh database migrated to head."""
    name = f"test_{next(_numbers)}"
    yield create_database(postgres_server.dsn(), name, template=migrated_template)
    drop_database(postgres_server.dsn(), name)


@pytest.fixture(scope="session")
def broker(stack_directory: Path) -> Iterator[str]:
    """host:port of an in-memory broker (Tansu: evidence of nothing about Kafka itself)."""
    running = start_tansu(log=stack_directory / "broker.log")
    yield running.bootstrap
    running.stop()


@pytest.fixture(scope="session")
def apache_kafka(stack_directory: Path) -> Iterator[ApacheKafka]:
    """One broker of Apache Kafka, the newest generation: `apache_kafka.bootstrap`.

    Needs its jars and Java 17: mark the test `genuine("kafka")`.
    """
    directory = stack_directory / "apache-kafka"
    running = start_apache_kafka(directory, log=stack_directory / "apache-kafka.log")
    yield running
    running.destroy()


@pytest.fixture(scope="module")
def apache_kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """Three brokers of Apache Kafka, each its own controller, for what befalls a cluster.

    A test that kills one starts it again: others of its module share them.
    """
    directory = tmp_path_factory.mktemp("apache-kafka")
    running = start_apache_kafka(directory, log=directory / "kafka.log", brokers=3)
    yield running
    running.destroy()


@pytest.fixture
def topic_prefix() -> str:
    """A prefix of topic names that no other test of this session uses."""
    return f"test-{next(_numbers)}"


@pytest.fixture
def running_ledger(
    database: str, broker: str, topic_prefix: str, tmp_path: Path
) -> Iterator[RunningLedger]:
    """A ledger that takes in what is published: `.kafka`, `.topic("pod")`, `.allocation("ns/pod")`."""
    with ledger_between(database, broker, topic_prefix, tmp_path / "intake.log") as ledger:
        yield ledger


@pytest.fixture
def cloud_simulator(tmp_path: Path) -> Iterator[str]:
    """host:port of a cloud simulator of its own, with the demo's world.

    Its control side is http://<host:port>/_sim; it accepts the access key
    simulator-only / simulator-only-secret.
    """
    port = free_port()
    command = plan.cloud_command(StackOptions(), port)
    child = start_child("the cloud simulator", command, log=tmp_path / "cloud.log")
    url = f"http://{LOOPBACK}:{port}/_sim/health"
    try:
        child.wait_ready(lambda: is_ready(url), SIMULATOR_DEADLINE_S, "it answered")
        yield f"{LOOPBACK}:{port}"
    finally:
        child.stop()


@pytest.fixture
def kube_simulator(tmp_path: Path) -> Iterator[Launched]:
    """A simulated Kubernetes API server of its own, with our CRDs: `.kubeconfig`, `.address`."""
    with launched(tmp_path / "kubernetes", LaunchOptions(crds=[CRDS])) as server:
        yield server


@pytest.fixture(scope="session")
def genuine_server(stack_directory: Path) -> Iterator[GenuineKube]:
    """A genuine kube-apiserver with its etcd, once for the session, with our CRDs.

    Tests share it and may restart it; use names of your own. RBAC is on: the token of `GUEST` names
    a user without rights. Needs what `.ci/parts/kube` compiles.
    """
    options = GenuineOptions(crds=[CRDS], tokens=GUEST, audit=True)
    with running(stack_directory / "genuine-kube", options) as server:
        yield server


@pytest.fixture(scope="session")
def genuine_kube(request: pytest.FixtureRequest) -> KubeApi:
    """A genuine API: the one that the environment's TESTS_KUBECONFIG leads to, else `genuine_server`."""
    theirs = os.environ.get("TESTS_KUBECONFIG")
    if theirs:
        return ExternalKube(Path(theirs))
    server: GenuineKube = request.getfixturevalue("genuine_server")
    return server


@pytest.fixture(scope="session")
def local_stack(stack_directory: Path) -> Iterator[StackFacts]:
    """The whole local stack, once for the session: what `local up --json` prints.

    It ends with the session, also when pytest is killed. Tests share it: use names of your own.
    """
    directory = stack_directory / "stack"
    yield control.up(StackOptions(), directory, tied=True)
    control.down(directory)
