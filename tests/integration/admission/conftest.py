"""The webhook process at an API server, simulated or genuine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.kube import wire
from consumers.runtime.settings import KubeSettings, Settings, WebhookSettings
from deploy.local.kubernetes.launch import Launched, LaunchOptions
from deploy.local.parts.kube_apiserver.server import GenuineKube
from deploy.local.parts.ports import LOOPBACK, free_port
from tests.integration.admission.ground import Stack, Webhook
from tests.integration.conftest import KubePart

CRDS = Path(__file__).parents[3] / "deploy" / "crds"


@pytest.fixture
def api_server(
    kube_part: KubePart, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Launched | GenuineKube]:
    """A simulated server of the test's own, or the session's genuine one; either may be killed."""
    if kube_part == "genuine":
        genuine: GenuineKube = request.getfixturevalue("genuine_server")
        yield genuine
        return
    server = Launched(tmp_path / "kubernetes", LaunchOptions(crds=[CRDS]))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def webhook_settings() -> WebhookSettings:
    """Registered by URL, on a port of its own; a test may give others."""
    port = free_port()
    return WebhookSettings(port=port, register_url=f"https://{LOOPBACK}:{port}")


@pytest.fixture
def stack(api_server: Launched | GenuineKube, webhook_settings: WebhookSettings) -> Iterator[Stack]:
    """An API server with our webhook registered at it; the server is left as it was."""
    kube = KubeSettings(kubeconfig=api_server.kubeconfig)
    webhook = Webhook(Settings(kube=kube, webhook=webhook_settings))
    with wire.connect(kube) as client:
        webhook.start()
        made = Stack(api_server, client, webhook, str(webhook_settings.register_url))
        try:
            yield made
        finally:
            made.webhook.stop()
            if isinstance(api_server, GenuineKube):
                api_server.start()  # where the test has killed it
                made.clean()
