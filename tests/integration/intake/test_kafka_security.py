"""SASL, TLS and ACLs of Apache Kafka: what deploy/howto/kafka.md says is enough, is; and what is
missing is told by name."""

import asyncio
import json
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from consumers.contract.events import Encoded
from consumers.contract.kafka_client import ensure_topics, producer_options, started
from consumers.contract.kafka_trouble import explain
from consumers.contract.topics import dead_letter_topic, entity_topic
from consumers.runtime.settings import KafkaSettings, KubeSettings, PostgresSettings, Settings
from deploy.local.kubernetes.certificates import Identity, prepare
from deploy.local.kubernetes.launch import Launched, LaunchOptions, launched
from deploy.local.parts.apache_kafka import ApacheKafka, Clients, start_apache_kafka, tool_command
from tests.integration.commands import Say
from tests.integration.intake.ground import (
    CLUSTER,
    effects,
    eventually,
    intake,
    observed,
    pod,
    read_topic,
    rows,
)
from tests.integration.watcher.cluster import using, watcher

pytestmark = pytest.mark.genuine("kafka")

PAGE = Path("deploy/howto/kafka.md")
CRDS = tuple(sorted(Path("deploy/crds").resolve().glob("*.yaml")))
USERS = ("eni-ledger-admin", "eni-ledger-watcher", "eni-ledger-intake", "no-rights")
PRODUCER = "pod-producer"  # by PLAIN, the others by SCRAM


def password(user: str) -> str:
    return f"secret-of-{user}"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return prepare(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def kafka(tls: Identity, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """A broker whose clients come by SASL_SSL, with the rights of the page."""
    directory = tmp_path_factory.mktemp("kafka")
    keystore = directory / "keystore.pem"
    keystore.write_bytes(tls.key.read_bytes() + tls.certificate.read_bytes() + tls.ca.read_bytes())
    of_clients = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        "scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "plain.sasl.jaas.config": (
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f'user_{PRODUCER}="{password(PRODUCER)}";'
        ),
    }
    settings = {f"listener.name.clients.{name}": value for name, value in of_clients.items()} | {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # Who comes by the broker's own listener, on loopback: this test, as the administrator.
        "super.users": "User:ANONYMOUS",
    }
    clients = Clients("SASL_SSL", settings, {user: password(user) for user in USERS})
    running = start_apache_kafka(directory / "disk", log=directory / "kafka.log", clients=clients)
    try:
        give_rights(running, directory)
        yield running
    finally:
        running.destroy()


def give_rights(kafka: ApacheKafka, directory: Path) -> None:
    """The page's own commands, all at once."""
    administrator = directory / "admin.properties"
    administrator.write_text("security.protocol=PLAINTEXT\n")
    told = {"$KAFKA": kafka.bootstrap, "admin.properties": str(administrator)}
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("kafka-acls.sh ")]
    assert len(lines) > 5
    giving = [
        subprocess.Popen(
            tool_command(
                kafka.version,
                "org.apache.kafka.tools.AclCommand",
                *(told.get(word, word) for word in shlex.split(line)[1:]),
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for line in lines
    ]
    for each in giving:
        said, _ = each.communicate(timeout=120)
        assert each.returncode == 0, said


def settings_of(kafka: ApacheKafka, tls: Identity, user: str, **changes: Any) -> KafkaSettings:
    chosen: dict[str, Any] = {
        "bootstrap_servers": kafka.clients_bootstrap,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN" if user == PRODUCER else "SCRAM-SHA-512",
        "sasl_username": user,
        "sasl_password": password(user),
        "ssl_cafile": tls.ca,
    }
    return KafkaSettings(**(chosen | changes))


def environment(kafka: KafkaSettings) -> Mapping[str, str]:
    said = kafka.model_dump(mode="json", exclude_unset=True)
    assert kafka.sasl_password is not None
    said["sasl_password"] = kafka.sasl_password.get_secret_value()
    return {f"ENI_LEDGER_KAFKA__{name.upper()}": str(value) for name, value in said.items()}


async def publish(kafka: KafkaSettings, topic: str, message: Encoded) -> None:
    options = producer_options(kafka, "test-producer")
    async with started(AIOKafkaProducer(**options)) as producer:
        await producer.send_and_wait(
            topic, message.value, message.key, headers=list(message.headers)
        )


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    options = LaunchOptions(crds=CRDS, bookmark_seconds=0.3)
    with launched(tmp_path_factory.mktemp("kubernetes"), options) as server:
        yield server


def test_the_rights_of_the_page_are_enough(
    kafka: ApacheKafka,
    tls: Identity,
    api: Launched,
    database: str,
    say: Say,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Topics by the command, then watcher, intake and a producer, each as its own user."""
    for name, value in environment(settings_of(kafka, tls, "eni-ledger-admin")).items():
        monkeypatch.setenv(name, value)
    before = say("topics", "--dry-run", "--json")
    assert {row["state"] for row in json.loads(before.out)} == {"missing"}
    made = say("topics", "--replication", "1", "--json")
    assert [row["state"] for row in json.loads(made.out)] == ["made"] * 13
    looked = say("topics")
    assert looked.code == 1
    assert "1 replica" in looked.out

    def configured(user: str) -> Settings:
        return Settings(
            cluster_id=CLUSTER,
            kafka=settings_of(kafka, tls, user),
            postgres=PostgresSettings(dsn=database),
            kube=KubeSettings(kubeconfig=api.kubeconfig),
        )

    producer = settings_of(kafka, tls, PRODUCER)
    good = observed("theirs", 10)

    async def play() -> None:
        async with (
            using(api) as cluster,
            watcher(configured("eni-ledger-watcher")) as watching,
            intake(configured("eni-ledger-intake")) as taking,
        ):
            await cluster.pod("ours", pod("ours", 1)["metadata"]["annotations"])
            await publish(producer, entity_topic("pod"), good)
            await publish(producer, entity_topic("pod"), Encoded(good.key, b"{", good.headers))
            await eventually(
                lambda: {row[0] for row in effects(database)} == {"ours", "theirs"}, "both Pods"
            )
            await eventually(
                lambda: watching.is_ready and taking.is_ready,
                f"ready, not {watching.parts()} {taking.parts()}",
            )
            await eventually(
                lambda: bool(
                    rows(database, "SELECT FROM ledger.dead_letter WHERE published_at IS NOT NULL")
                ),
                "the dead letter is published",
            )
            inside = Settings(kafka=KafkaSettings(bootstrap_servers=kafka.bootstrap))
            [letter] = await read_topic(inside, dead_letter_topic(entity_topic("pod")), 1)
            assert letter.value == b"{"
        with pytest.raises(TopicAuthorizationFailedError) as refused:
            await publish(producer, entity_topic("node"), good)
        said = explain(refused.value, PRODUCER, entity_topic("node"))
        assert "pod-producer may not use topic eni-ledger.node.v1" in said
        assert "deploy/howto/kafka.md" in said

    asyncio.run(play())


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a wrong password": ({"sasl_password": "guessed"}, "does not let user eni-ledger-intake in"),
    "a mechanism that is off": (
        {"sasl_mechanism": "SCRAM-SHA-256"},
        "does not offer SCRAM-SHA-256",
    ),
    "an unknown CA": ({"ssl_cafile": None}, "set kafka.ssl_cafile"),
    "no TLS": (
        {"security_protocol": "PLAINTEXT", "sasl_mechanism": None},
        "does the listener want TLS or a password?",
    ),
}


async def no_connection_left(kafka: ApacheKafka) -> None:
    """A connection that is not let in is closed by the client, but not awaited: its loop ends later."""
    port = int(kafka.clients_bootstrap.rpartition(":")[2])

    def none_left() -> bool:
        held = psutil.Process().net_connections("tcp")
        return all(not each.raddr or each.raddr.port != port for each in held)

    await eventually(none_left, "the connections to the broker are closed")


@pytest.mark.parametrize("what", REFUSED)
def test_who_is_not_let_in_is_told_why(kafka: ApacheKafka, tls: Identity, what: str) -> None:
    changes, said = REFUSED[what]
    settings = settings_of(kafka, tls, "eni-ledger-intake", **changes)

    async def asked() -> None:
        try:
            await ensure_topics(settings)
        finally:
            await no_connection_left(kafka)

    with pytest.raises(KafkaError) as refused:
        asyncio.run(asked())
    assert said in explain(refused.value)
    assert kafka.clients_bootstrap in explain(refused.value), "the broker is named"
    assert "secret" not in str(refused.value)


def test_a_missing_right_is_told_by_name(
    kafka: ApacheKafka, tls: Identity, database: str, topic_prefix: str
) -> None:
    """Nothing at all; then the topics, but another group than the page's."""

    async def waits(settings: KafkaSettings, why: str) -> None:
        configured = Settings(
            cluster_id=CLUSTER,
            kafka=settings,
            postgres=PostgresSettings(dsn=database),
        )
        async with intake(configured) as health:
            await eventually(
                lambda: "kafka" in health.parts() and why in health.parts()["kafka"].reason,
                f"{why!r}, not {health.parts()}",
            )
            assert not health.is_ready

    nothing = settings_of(kafka, tls, "no-rights")
    asyncio.run(waits(nothing, "eni-ledger topics"))
    asyncio.run(ensure_topics(KafkaSettings(bootstrap_servers=kafka.bootstrap)))
    another = settings_of(kafka, tls, "eni-ledger-intake", group_id="not-granted")
    asyncio.run(waits(another, "may not read as group not-granted"))
