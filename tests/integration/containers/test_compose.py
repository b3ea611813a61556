"""The compose file for a laptop: it comes up as its page says, takes an event in, and answers."""

import json
import os
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
import yaml

from deploy.images import application
from deploy.images.building import Images
from deploy.local.parts.docker_engine import DockerEngine
from deploy.local.parts.ports import LOOPBACK, free_port
from deploy.local.running_ledger import RunningLedger
from deploy.local.stack.keeper import is_ready
from tests.integration.intake.ground import wait_until

COMPOSE = application.ROOT / "deploy" / "compose" / "compose.yaml"
PRODUCERS = application.ROOT / "deploy" / "kafka" / "producers"
DEADLINE_S = 240.0

pytestmark = [pytest.mark.genuine("docker", "kafka"), pytest.mark.timeout(1800), pytest.mark.long]


class Compose:
    """docker compose, or its predecessor where that is what there is."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {**os.environ, **environment}
        plugin = self._run("docker", "compose", "version").returncode == 0
        name = f"eni-ledger-test-{secrets.token_hex(4)}"
        command = ("docker", "compose") if plugin else ("docker-compose",)
        self._command = (*command, "--project-name", name, "--file", str(COMPOSE))

    def __call__(self, *words: str) -> str:
        done = self._run(*self._command, *words)
        assert done.returncode == 0, f"{words}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )


@pytest.fixture
def settings(engine: DockerEngine, images: Images) -> dict[str, str]:
    ports = {f"{name}_PORT": str(free_port()) for name in ("POSTGRES", "KAFKA", "CONSOLE")}
    return {
        **engine.environment,
        **ports,
        "LEDGER_IMAGE": images.product,
        "POSTGRES_IMAGE": images.postgres,
        "KAFKA_IMAGE": images.kafka,
        "POSTGRES_PASSWORD": secrets.token_hex(16),
        "CONSOLE_TOKEN": secrets.token_hex(16),
    }


@pytest.fixture
def compose(settings: dict[str, str]) -> Iterator[Compose]:
    running = Compose(settings)
    yield running
    running("down", "--volumes", "--timeout", "5")


def test_a_laptop_takes_an_event_in(
    compose: Compose, settings: dict[str, str], tmp_path: Path
) -> None:
    compose("up", "--detach")
    ledger = RunningLedger(
        kafka=f"{LOOPBACK}:{settings['KAFKA_PORT']}",
        topic_prefix="eni-ledger",
        cluster_id="laptop",
        postgres_dsn=f"postgresql://ledger:{settings['POSTGRES_PASSWORD']}@{LOOPBACK}:"
        f"{settings['POSTGRES_PORT']}/eni_ledger",
        log=tmp_path / "no.log",
    )
    wait_until(lambda: assigned(ledger.postgres_dsn), "the intake reads its topics", DEADLINE_S)
    words = (ledger.kafka, ledger.topic("pod"), ledger.cluster_id, "observed")
    command = [sys.executable, str(PRODUCERS / "python" / "produce.py"), *words]
    subprocess.run(command, input=(PRODUCERS / "pod.json").read_bytes(), check=True, timeout=120)
    uid = ledger.allocation("shop/web-0")["pod_uid"]

    said = compose("run", "--rm", "-T", "intake", "audit", "pod", "shop/web-0", "--json")
    assert [state["pod_uid"] for state in json.loads(said)["states"]] == [uid]
    url = f"http://{LOOPBACK}:{settings['CONSOLE_PORT']}"
    wait_until(lambda: is_ready(url), "the console answered", DEADLINE_S)
    request = urllib.request.Request(
        f"{url}/api/v1/allocations?pod=web-0",
        headers={"Authorization": f"Bearer {settings['CONSOLE_TOKEN']}"},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        assert uid in answer.read().decode()


def assigned(dsn: str) -> bool:
    """Whether the intake holds a place in every partition it was given."""
    try:
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            row = connection.execute("SELECT count(*) FROM ledger.kafka_offset").fetchone()
    except psycopg.Error:
        return False
    return row is not None and row[0] > 0


def test_it_opens_nothing_but_loopback_and_has_no_default_password() -> None:
    text = COMPOSE.read_text()
    services = yaml.safe_load(text)["services"]
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)
    for secret in ("POSTGRES_PASSWORD", "CONSOLE_TOKEN"):
        assert f"${{{secret}:?" in text
        assert f"${{{secret}:-" not in text
