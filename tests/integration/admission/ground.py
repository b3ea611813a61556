"""The webhook process on a thread of its own, registered at an API server, and what it is asked about."""

import asyncio
import base64
import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from consumers.admission import main
from consumers.runtime.settings import Settings
from deploy.local.kubernetes.launch import Launched
from deploy.local.parts.kube_apiserver.server import GenuineKube
from tests.unit.admission.fakes import review
from tests.unit.rules.admission_cases import FOO, pod_object

API = "/apis/network.alibabacloud.com/v1beta1"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
SECRET = "/api/v1/namespaces/kube-system/secrets/eni-ledger-webhook-cert"
APPLY = {"Content-Type": "application/apply-patch+yaml"}
#: Where these tests create Pods.
NAMESPACES = ("default", "kube-system", "example", "out")


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
        self.name = settings.webhook.name
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

    kubernetes: Launched | GenuineKube
    client: httpx2.Client
    webhook: Webhook
    url: str

    def post(self, path: str, body: dict[str, Any], code: int = 201) -> httpx2.Response:
        response = self.client.post(path, json=body)
        assert response.status_code == code, response.text
        return response

    def namespace(self, name: str, **labels: str) -> None:
        """Make it, or make it so: a bare API server never ends the deletion of one."""
        body = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": labels},
        }
        applied = self.client.patch(
            f"/api/v1/namespaces/{name}",
            content=json.dumps(body),
            headers=APPLY,
            params={"fieldManager": "test", "force": "true"},
        )
        assert applied.is_success, applied.text

    def clean(self) -> None:
        """Leave a shared API server as it was found."""
        gone = {"gracePeriodSeconds": "0"}
        for each in ("mutating", "validating"):
            self.client.delete(f"{ADMISSION}/{each}webhookconfigurations").raise_for_status()
        self.client.delete(f"{API}/podnetworkings").raise_for_status()
        self.client.delete(SECRET.replace("eni-ledger", self.webhook.name, 1))
        for each in NAMESPACES:
            self.client.delete(f"/api/v1/namespaces/{each}/pods", params=gone)

    def trusted(self) -> ssl.SSLContext:
        """A client's context that trusts what the API server was told to trust."""
        path = f"{ADMISSION}/mutatingwebhookconfigurations/{self.webhook.name}"
        found = self.client.get(path).json()
        pem = base64.b64decode(found["webhooks"][0]["clientConfig"]["caBundle"]).decode()
        return ssl.create_default_context(cadata=pem)


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
