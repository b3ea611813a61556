"""PostgreSQL, Kafka and our own image as containers on a network of their own, by testcontainers.

Everything is published on 127.0.0.1 only. Imported by fixtures, after the engine is known.
"""

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from deploy.images.building import Images
from deploy.local.parts.kafka_probe import answers_metadata
from deploy.local.parts.ports import LOOPBACK, free_port
from deploy.local.running_ledger import RunningLedger
from deploy.local.stack.keeper import is_ready
from tests.integration.intake.ground import wait_until

CLUSTER = "containers"
DATABASE = "eni_ledger"
HTTP_PORT = 8080
DEADLINE_S = 180.0


@dataclass(frozen=True, slots=True)
class Stack:
    """`ledger` is how the host sees it; `containers` are those that stay, by their role."""

    ledger: RunningLedger
    images: Images
    network: Network
    settings: Mapping[str, str]
    containers: Mapping[str, DockerContainer]

    def run(self, *words: str) -> str:
        """What `eni-ledger WORDS…` says in a container of our image; the test fails where it fails."""
        return run(self.images.product, self.network, self.settings, *words)

    def inspect(self, role: str) -> dict[str, Any]:
        """The engine's own account of a container."""
        container = self.containers[role].get_wrapped_container()
        container.reload()
        told: dict[str, Any] = container.attrs
        return told


@contextmanager
def running(images: Images, log: Path) -> Iterator[Stack]:
    """All of it, migrated and with the intake ready, for the time of the block."""
    with ExitStack() as ends:
        # `--ip` of the engine is for its first network only.
        local = {"com.docker.network.bridge.host_binding_ipv4": LOOPBACK}
        network = ends.enter_context(Network(docker_network_kw={"options": local}))
        password = secrets.token_urlsafe(24)
        postgres = ends.enter_context(
            PostgresContainer(images.postgres, 5432, "ledger", password, DATABASE, driver=None)
            .with_network(network)
            .with_network_aliases("postgres")
        )
        bootstrap, kafka = _kafka(images.kafka, network)
        ends.enter_context(kafka)
        wait_until(lambda: answers_metadata(bootstrap), "Kafka answered", DEADLINE_S)
        settings = {
            "ENI_LEDGER_CLUSTER_ID": CLUSTER,
            "ENI_LEDGER_POSTGRES__DSN": f"postgresql://ledger:{password}@postgres:5432/{DATABASE}",
            "ENI_LEDGER_KAFKA__BOOTSTRAP_SERVERS": "kafka:19092",
            "ENI_LEDGER_HTTP__HOST": "0.0.0.0",  # within its container; published on loopback
            "ENI_LEDGER_HTTP__PORT": str(HTTP_PORT),
        }
        run(images.product, network, settings, "migrate")
        intake = ends.enter_context(
            _ours(images.product, network, settings, "run", "intake").with_exposed_ports(HTTP_PORT)
        )
        url = f"http://{LOOPBACK}:{intake.get_exposed_port(HTTP_PORT)}/readyz"
        wait_until(lambda: is_ready(url), "the intake was ready", DEADLINE_S)
        dsn = postgres.get_connection_url(host=LOOPBACK)
        yield Stack(
            RunningLedger(bootstrap, "eni-ledger", CLUSTER, dsn, log),
            images,
            network,
            settings,
            {"postgres": postgres, "kafka": kafka, "intake": intake},
        )


def run(image: str, network: Network, settings: Mapping[str, str], *words: str) -> str:
    """What one command of ours prints on standard output in a container of its own."""
    with _ours(image, network, settings, *words) as container:
        ended = container.get_wrapped_container().wait(timeout=DEADLINE_S)
        said, told = (part.decode() for part in container.get_logs())
    assert ended["StatusCode"] == 0, (
        f"eni-ledger {' '.join(words)}: {json.dumps(ended)}\n{said}{told}"
    )
    return said


def _ours(
    image: str, network: Network, settings: Mapping[str, str], *words: str
) -> DockerContainer:
    container = DockerContainer(image).with_network(network).with_command(list(words))
    for name, value in settings.items():
        container.with_env(name, value)
    return container


def _kafka(image: str, network: Network) -> tuple[str, DockerContainer]:
    """A broker that is its own controller. Its clients are told where it is, so the port on the host
    is chosen before it starts; testcontainers' own class knows only another vendor's image."""
    port = free_port()
    settings = {
        "NODE_ID": "1",
        "PROCESS_ROLES": "broker,controller",
        "LISTENERS": "HOST://:9092,NETWORK://:19092,CONTROLLER://:9093",
        "ADVERTISED_LISTENERS": f"HOST://{LOOPBACK}:{port},NETWORK://kafka:19092",
        "LISTENER_SECURITY_PROTOCOL_MAP": "HOST:PLAINTEXT,NETWORK:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "INTER_BROKER_LISTENER_NAME": "NETWORK",
        "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    }
    container = DockerContainer(image).with_network(network).with_network_aliases("kafka")
    for name, value in settings.items():
        container.with_env(f"KAFKA_{name}", value)
    container.with_bind_ports("9092/tcp", port)  # on the network's own address: loopback
    return f"{LOOPBACK}:{port}", container
