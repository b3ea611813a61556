"""The webhook process over real TLS, asked by the simulated API server and by a client of ours."""

import asyncio
import base64
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from consumers.admission import main
from consumers.kube import wire
from consumers.runtime.settings import KubeSettings, Settings, WebhookSettings
from deploy.local.kubernetes.launch import Launched, LaunchOptions
from tests.unit.admission.fakes import review
from tests.unit.rules.admission_cases import FOO, pod_object

CRDS = Path(__file__).parents[3] / "deploy" / "crds"
API = "/apis/network.alibabacloud.com/v1beta1"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
SECRET = "/api/v1/namespaces/kube-system/secrets/eni-ledger-webhook-cert"


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


@dataclass
class RecordedHealth:
    """What the process said about itself."""

    parts: dict[str, tuple[bool, str]] = field(default_factory=dict)

    def ready(self, name: str, ok: bool, reason: str = "") -> None:
        self.parts[name] = (ok, reason)

    @property
    def is_ready(self) -> bool:
        return bool(self.parts) and all(ok for ok, _ in self.parts.values())


class Webhook:
    """The process's `run`, on a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self.health = RecordedHealth()
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, daemon=True)

    def start(self) -> None:
        self._thread.start()
        wait_until(
            lambda: self._failure is not None or self.health.is_ready, str(self.health.parts)
        )
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive(), "the process did not stop"
        if self._failure is not None:
            raise self._failure

    def _main(self) -> None:
        async def run() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            await main.run(self._settings, self._stop, self.health)

        try:
            asyncio.run(run())
        except BaseException as failure:  # noqa: BLE001 - handed to the test's own thread
            self._failure = failure


@dataclass
class Stack:
    """An API server with our webhook registered at it."""

    kubernetes: Launched
    client: httpx2.Client
    webhook: Webhook
    url: str

    def post(self, path: str, body: dict[str, Any], code: int = 201) -> httpx2.Response:
        response = self.client.post(path, json=body)
        assert response.status_code == code, response.text
        return response

    def trusted(self) -> ssl.SSLContext:
        """A client's context that trusts what the API server was told to trust."""
        found = self.client.get(f"{ADMISSION}/mutatingwebhookconfigurations/eni-ledger").json()
        pem = base64.b64decode(found["webhooks"][0]["clientConfig"]["caBundle"]).decode()
        return ssl.create_default_context(cadata=pem)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    kubernetes = Launched(tmp_path / "kubernetes", LaunchOptions(crds=[CRDS]))
    kubernetes.start()
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    kube = KubeSettings(kubeconfig=kubernetes.kubeconfig)
    settings = Settings(kube=kube, webhook=WebhookSettings(port=port, register_url=url))
    webhook = Webhook(settings)
    try:
        with wire.connect(kube) as client:
            webhook.start()
            made = Stack(kubernetes, client, webhook, url)
            try:
                yield made
            finally:
                made.webhook.stop()
    finally:
        kubernetes.stop()


def podnetworking(name: str = "example", **spec: Any) -> dict[str, Any]:
    fields = {
        "allocationType": {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1h"},
        "selector": {"podSelector": FOO, "namespaceSelector": FOO},
        "securityGroupIDs": ["sg-1"],
        "vSwitchOptions": ["vsw-1"],
        **spec,
    }
    return {
        "apiVersion": "network.alibabacloud.com/v1beta1",
        "kind": "PodNetworking",
        "metadata": {"name": name},
        "spec": {key: value for key, value in fields.items() if value is not None},
    }


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def nginx(namespace_name: str = "example", **changes: Any) -> dict[str, Any]:
    pod = pod_object(labels={"foo": "bar"}, **changes)
    pod["metadata"]["namespace"] = namespace_name
    return {"apiVersion": "v1", "kind": "Pod", **pod}


def make_ready(stack: Stack, name: str = "example") -> None:
    path = f"{API}/podnetworkings/{name}"
    found = stack.client.get(path).json()
    found["status"] = {"status": "Ready", "vSwitches": [{"id": "vsw-1", "zone": "zone-h"}]}
    assert stack.client.put(f"{path}/status", json=found).status_code == 200


def mutated(stack: Stack, pod: dict[str, Any], context: ssl.SSLContext | None = None) -> bool:
    """Asked directly: whether the webhook would change the Pod."""
    with httpx2.Client(verify=context or stack.trusted(), trust_env=False) as client:
        answer = client.post(f"{stack.url}/mutating", json=review(pod)).json()
    assert answer["response"]["allowed"], answer
    return "patch" in answer["response"]


def test_the_documents_example_from_podnetworking_to_pod(stack: Stack) -> None:
    stack.post("/api/v1/namespaces", namespace("example", foo="bar"))
    created = stack.post(f"{API}/podnetworkings", podnetworking())
    assert "security groups do not apply" in created.headers["warning"]
    make_ready(stack)
    wait_until(lambda: mutated(stack, nginx()), "the webhook to see the PodNetworking")

    stored = stack.post("/api/v1/namespaces/example/pods", nginx()).json()
    annotations = stored["metadata"]["annotations"]
    assert annotations["k8s.aliyun.com/pod-eni"] == "true"
    assert annotations["k8s.aliyun.com/pod-networking"] == "example"
    (network,) = json.loads(annotations["k8s.aliyun.com/pod-networks"])["podNetworks"]
    assert network["vSwitchOptions"] == ["vsw-1"]
    resources = stored["spec"]["containers"][0]["resources"]
    assert resources["limits"] == resources["requests"] == {"aliyun/member-eni": "1"}
    required = stored["spec"]["affinity"]["nodeAffinity"]
    (term,) = required["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["zone-h"]

    elsewhere = stack.post("/api/v1/namespaces/default/pods", nginx("default")).json()
    assert "annotations" not in elsewhere["metadata"]


def test_a_bad_podnetworking_is_denied_on_create_and_on_update(stack: Stack) -> None:
    short = {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1m"}
    denied = stack.post(f"{API}/podnetworkings", podnetworking(allocationType=short), 403).json()
    assert "minimum of 5m0s" in denied["message"]
    stored = stack.post(f"{API}/podnetworkings", podnetworking()).json()
    stored["spec"]["securityGroupIDs"] = []
    refused = stack.client.put(f"{API}/podnetworkings/example", json=stored)
    assert refused.status_code == 403
    assert "security group is not set" in refused.json()["message"]


def test_excluded_and_opted_out_namespaces_are_not_even_asked_about(stack: Stack) -> None:
    everyone = podnetworking(selector={"podSelector": {}}, allocationType=None)
    stack.post(f"{API}/podnetworkings", everyone)
    make_ready(stack)
    stack.post("/api/v1/namespaces", namespace("out", **{"k8s.aliyun.com/pod-eni": "false"}))
    wait_until(lambda: mutated(stack, nginx()), "the webhook to see the PodNetworking")
    for each in ("kube-system", "out"):
        stored = stack.post(f"/api/v1/namespaces/{each}/pods", nginx(each)).json()
        assert "annotations" not in stored["metadata"], each


def test_admission_goes_on_while_the_api_server_is_away(stack: Stack) -> None:
    stack.post(f"{API}/podnetworkings", podnetworking(selector={"podSelector": FOO}))
    make_ready(stack)
    wait_until(lambda: mutated(stack, nginx()), "the webhook to see the PodNetworking")
    context = stack.trusted()
    stack.kubernetes.kill()
    assert mutated(stack, nginx(), context)
    assert stack.webhook.health.is_ready


def test_a_second_replica_finds_all_in_order_and_writes_nothing(stack: Stack) -> None:
    paths = [
        SECRET,
        f"{ADMISSION}/mutatingwebhookconfigurations/eni-ledger",
        f"{ADMISSION}/validatingwebhookconfigurations/eni-ledger",
    ]

    def versions() -> list[str]:
        return [stack.client.get(path).json()["metadata"]["resourceVersion"] for path in paths]

    before = versions()
    kube = KubeSettings(kubeconfig=stack.kubernetes.kubeconfig)
    port = int(stack.url.rpartition(":")[2])
    settings = Settings(
        kube=kube,
        webhook=WebhookSettings(port=free_port(), register_url=f"https://127.0.0.1:{port}"),
    )
    replica = Webhook(settings)
    replica.start()
    replica.stop()
    assert versions() == before


def test_a_renewed_certificate_is_served_without_a_restart(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Secret that was deleted is made anew and loaded; the trust in it follows."""
    monkeypatch.setattr(main, "UPKEEP_S", 0.1)
    stack.webhook.stop()
    replica = Webhook(stack.webhook._settings)
    replica.start()
    stack.webhook = replica
    before = stack.trusted()
    assert not mutated(stack, nginx(), before)
    assert stack.client.delete(SECRET).status_code == 200
    wait_until(lambda: stack.client.get(SECRET).status_code == 200, "a new Secret")
    wait_until(lambda: stack.trusted().get_ca_certs() != before.get_ca_certs(), "new trust")
    assert not mutated(stack, nginx(), stack.trusted())
    with pytest.raises(httpx2.ConnectError):
        mutated(stack, nginx(), before)
