"""The HTTP side that clients rely on: error bodies, bad requests, watches, webhooks over TLS."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from consumers.kube import wire
from consumers.runtime.settings import KubeSettings
from deploy.local.kubernetes.launch import Launched
from deploy.local.parts.kube_api import KubeApi
from deploy.local.parts.kube_apiserver.server import GenuineKube
from tests.integration.conftest import KubePart
from tests.integration.intake.ground import wait_until
from tests.integration.kubernetes.webhook import WebhookServer, patch

Json = dict[str, Any]
MERGE = {"Content-Type": "application/merge-patch+json"}
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


@pytest.fixture(scope="session")
def server(own_server: Launched | GenuineKube) -> KubeApi:
    """One that we started, with its users and its way to our webhook."""
    return own_server


def namespace(http: httpx2.Client, name: str) -> str:
    http.post("/api/v1/namespaces", json={"metadata": {"name": name}}).raise_for_status()
    return f"/api/v1/namespaces/{name}"


def config_map(name: str) -> Json:
    return {"metadata": {"name": name}, "data": {"x": "1"}}


def test_errors_are_status_objects(http: httpx2.Client) -> None:
    response = http.get("/api/v1/namespaces/default/pods/none")
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": 'pods "none" not found', "reason": "NotFound",
        "details": {"name": "none", "kind": "pods"}, "code": 404,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/api/v1/nothing", None, 404),
        ("POST", "/api/v1/namespaces/default/pods", b"not json", 400),
        ("POST", "/api/v1/namespaces/default/pods", b"[]", 400),
        ("POST", "/api/v1/namespaces/default/pods", b'{"kind": "Node"}', 400),
        ("POST", "/api/v1/namespaces/default/pods", b'{"metadata": 7}', 400),
        (
            "POST",
            "/api/v1/namespaces/default/pods",
            b'{"metadata": {"name": "a", "labels": [1]}}',
            400,
        ),
        ("POST", "/api/v1/pods", b"{}", 405),
        ("PUT", "/api/v1/namespaces/default/pods", b"{}", 405),
        ("PATCH", "/api/v1/namespaces/default/pods/a", b"{}", 415),
        ("GET", "/api/v1/pods?limit=many", None, 400),
        ("GET", "/api/v1/pods?resourceVersion=new", None, 400),
        ("GET", "/api/v1/pods?continue=x", None, 400),
        ("GET", "/api/v1/namespaces/default/pods/a/log", None, 404),
    ],
)
def test_bad_requests(
    http: httpx2.Client, method: str, path: str, body: bytes | None, code: int
) -> None:
    headers = {"Content-Type": "application/json"} if body else {}
    response = http.request(method, path, content=body, headers=headers)
    assert response.status_code == code, response.text
    assert response.json()["kind"] == "Status"


def test_a_body_of_three_megabytes_is_too_large(http: httpx2.Client) -> None:
    body = {"metadata": {"name": "big"}, "data": {"x": "y" * (3 << 20)}}
    response = http.post("/api/v1/namespaces/default/configmaps", json=body)
    assert (response.status_code, response.json()["reason"]) == (413, "RequestEntityTooLarge")


def lines(http: httpx2.Client, path: str, during: Callable[[], None], enough: int) -> list[Json]:
    """The first events of a watch; `during` runs once the watch is open."""
    found: list[Json] = []
    with http.stream("GET", path) as response:
        assert response.status_code == 200
        thread = threading.Thread(target=during)
        thread.start()
        for line in response.iter_lines():
            found.append(json.loads(line))
            if len(found) == enough:
                break
        thread.join()
    return found


def test_a_watch_streams_and_bookmarks(http: httpx2.Client, server: KubeApi) -> None:
    here = namespace(http, "sh-watch")
    version = http.get(f"{here}/configmaps").json()["metadata"]["resourceVersion"]
    options = f"watch=True&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds=5"
    path = f"{here}/configmaps?{options}"

    def write() -> None:
        with wire.connect(KubeSettings(kubeconfig=server.kubeconfig)) as other:
            other.post(f"{here}/configmaps", json=config_map("a")).raise_for_status()

    events = lines(http, path, write, 2)
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK"]
    assert int(events[1]["object"]["metadata"]["resourceVersion"]) > int(version)


def test_a_watch_ends_after_its_timeout(http: httpx2.Client) -> None:
    begun = time.monotonic()
    with http.stream("GET", "/api/v1/pods?watch=1&timeoutSeconds=1&resourceVersion=0") as response:
        list(response.iter_lines())
    assert 0.9 < time.monotonic() - begun < 5


@pytest.fixture
def hook(
    http: httpx2.Client, webhook: WebhookServer, kube_part: KubePart
) -> Iterator[WebhookServer]:
    """A mutating webhook for ConfigMaps of namespaces labelled hooked=yes.

    Reached as a Service where the server is told what a Service leads to, else by URL.
    """
    rule = {
        "operations": ["CREATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["configmaps"],
    }
    where: Json = {"url": f"https://{webhook.address}/mutating"}
    if kube_part == "simulated":
        service = {"name": "hook", "namespace": "kube-system", "path": "/mutating"}
        where = {"service": service}
    entry = {
        "name": "hook.example.com", "rules": [rule], "sideEffects": "None", "failurePolicy": "Fail",
        "clientConfig": {**where, "caBundle": webhook.ca_bundle}, "timeoutSeconds": 5,
        "admissionReviewVersions": ["v1"], "namespaceSelector": {"matchLabels": {"hooked": "yes"}},
    }  # fmt: skip
    body = {"metadata": {"name": "hook"}, "webhooks": [entry]}
    http.post(CONFIGURATIONS, json=body).raise_for_status()
    webhook.requests.clear()
    yield webhook
    http.delete(f"{CONFIGURATIONS}/hook").raise_for_status()


def test_a_webhook_is_called_over_tls(http: httpx2.Client, hook: WebhookServer) -> None:
    here = namespace(http, "sh-hook")
    hook.decide = lambda _: {
        **patch({"op": "add", "path": "/data/y", "value": "2"}), "warnings": ["short"]}  # fmt: skip
    made = http.post(f"{here}/configmaps", json=config_map("unhooked"))
    assert (made.json()["data"], hook.requests) == ({"x": "1"}, [])
    http.patch(
        here, json={"metadata": {"labels": {"hooked": "yes"}}}, headers=MERGE
    ).raise_for_status()
    made = http.post(f"{here}/configmaps", json=config_map("hooked"))
    assert made.json()["data"] == {"x": "1", "y": "2"}
    assert made.headers["warning"] == '299 - "short"'
    assert hook.requests[0]["namespace"] == "sh-hook"
    hook.decide = lambda _: {"allowed": False, "status": {"message": "not here", "code": 403}}
    refused = http.post(f"{here}/configmaps", json=config_map("denied"))
    assert refused.status_code == 403
    assert (
        refused.json()["message"]
        == 'admission webhook "hook.example.com" denied the request: not here'
    )


def test_a_webhook_with_another_ca_is_not_trusted(http: httpx2.Client, hook: WebhookServer) -> None:
    here = namespace(http, "sh-untrusted")
    http.patch(
        here, json={"metadata": {"labels": {"hooked": "yes"}}}, headers=MERGE
    ).raise_for_status()
    wrong = [{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]
    http.patch(
        f"{CONFIGURATIONS}/hook",
        json=wrong,
        headers={"Content-Type": "application/json-patch+json"},
    )
    tries = itertools.count()

    def ask() -> httpx2.Response:
        return http.post(f"{here}/configmaps", json=config_map(f"untrusted-{next(tries)}"))

    # The server's own picture of its configurations is behind the patch for a moment.
    wait_until(lambda: ask().status_code == 500, "the patch is in effect")
    hook.requests.clear()
    refused = ask()
    assert refused.status_code == 500
    told = refused.json()["message"]
    assert "failed to verify certificate" in told or "certificate verify failed" in told
    assert hook.requests == []
