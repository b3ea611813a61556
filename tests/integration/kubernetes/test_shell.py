"""The HTTP side: authentication, error bodies, streams, webhooks over TLS, control side, restarts."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from deploy.local.kubernetes.launch import Launched, LaunchOptions, launched
from deploy.local.parts.child import PartError
from tests.integration.kubernetes.webhook import WebhookServer, patch

Json = dict[str, Any]
MERGE = {"Content-Type": "application/merge-patch+json"}
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


def namespace(http: httpx2.Client, name: str) -> str:
    http.post("/api/v1/namespaces", json={"metadata": {"name": name}}).raise_for_status()
    return f"/api/v1/namespaces/{name}"


def config_map(name: str) -> Json:
    return {"metadata": {"name": name}, "data": {"x": "1"}}


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}]
)
def test_without_a_known_token_nobody_gets_in(server: Launched, headers: dict[str, str]) -> None:
    context = ssl.create_default_context(cafile=str(server.ca))
    response = httpx2.get(f"{server.address}/api/v1/pods", headers=headers, verify=context)
    assert (response.status_code, response.json()["reason"]) == (401, "Unauthorized")
    assert httpx2.get(f"{server.address}/readyz", verify=context).text == "ok"


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
        ("GET", "/apis/no.group/v1/x", None, 404),
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
        ("DELETE", "/api/v1/namespaces/default?propagationPolicy=Later", None, 400),
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


def test_a_watch_streams_and_bookmarks(http: httpx2.Client, server: Launched) -> None:
    here = namespace(http, "sh-watch")
    version = http.get(f"{here}/configmaps").json()["metadata"]["resourceVersion"]
    options = f"watch=True&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds=10"
    path = f"{here}/configmaps?{options}"

    def write() -> None:
        context = ssl.create_default_context(cafile=str(server.ca))
        with httpx2.Client(base_url=server.address, headers=http.headers, verify=context) as other:
            other.post(f"{here}/configmaps", json=config_map("a"))

    events = lines(http, path, write, 2)
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK"]
    assert int(events[1]["object"]["metadata"]["resourceVersion"]) > int(version)


def test_a_watch_ends_after_its_timeout(http: httpx2.Client) -> None:
    begun = time.monotonic()
    with http.stream("GET", "/api/v1/pods?watch=1&timeoutSeconds=1&resourceVersion=0") as response:
        list(response.iter_lines())
    assert 0.9 < time.monotonic() - begun < 5


def test_watches_can_be_dropped(http: httpx2.Client, server: Launched) -> None:
    def drop() -> None:
        context = ssl.create_default_context(cafile=str(server.ca))
        with httpx2.Client(base_url=server.address, headers=http.headers, verify=context) as other:
            deadline = time.monotonic() + 5
            while (
                other.post("/_sim/watches/drop", json={"resource": "leases"}).json()["dropped"] == 0
            ):
                assert time.monotonic() < deadline

    path = "/apis/coordination.k8s.io/v1/leases?watch=1&timeoutSeconds=30&resourceVersion=0"
    begun = time.monotonic()
    assert lines(http, path, drop, 99) == []
    assert time.monotonic() - begun < 10


@pytest.fixture
def hook(http: httpx2.Client, webhook: WebhookServer) -> Iterator[WebhookServer]:
    """A mutating webhook for ConfigMaps of namespaces labelled hooked=yes, reached as a Service."""
    rule = {
        "operations": ["CREATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["configmaps"],
    }
    service = {"name": "hook", "namespace": "kube-system", "path": "/mutating"}
    entry = {
        "name": "hook.example.com", "rules": [rule], "sideEffects": "None", "failurePolicy": "Fail",
        "clientConfig": {"service": service, "caBundle": webhook.ca_bundle}, "timeoutSeconds": 5,
        "admissionReviewVersions": ["v1"], "namespaceSelector": {"matchLabels": {"hooked": "yes"}},
    }  # fmt: skip
    body = {"metadata": {"name": "hook"}, "webhooks": [entry]}
    http.post(CONFIGURATIONS, json=body).raise_for_status()
    webhook.requests.clear()
    yield webhook
    http.delete(f"{CONFIGURATIONS}/hook").raise_for_status()


def test_a_webhook_behind_a_service_is_called_over_tls(
    http: httpx2.Client, hook: WebhookServer
) -> None:
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
    refused = http.post(f"{here}/configmaps", json=config_map("a"))
    assert refused.status_code == 500
    assert "certificate verify failed" in refused.json()["message"]
    assert hook.requests == []


def test_the_control_side(http: httpx2.Client) -> None:
    order = {"verb": "list", "resource": "nodes", "code": 429, "retry_after": 2}
    assert len(http.post("/_sim/faults", json=order).json()["faults"]) == 1
    throttled = http.get("/api/v1/nodes")
    assert (throttled.status_code, throttled.headers["retry-after"]) == (429, "2")
    assert http.get("/api/v1/nodes").status_code == 200
    http.delete("/_sim/requests")
    http.get("/api/v1/nodes")
    counted = http.get("/_sim/requests").json()
    assert counted["mutating"] == 0
    assert {
        "verb": "list",
        "resource": "nodes",
        "subresource": "",
        "mutating": False,
        "count": 1,
    } in counted["requests"]
    for bad in ({"verb": "fly", "code": 500}, {"resource": "cats", "code": 500}, {"code": 418}):
        refused = http.post("/_sim/faults", json=bad)
        assert refused.status_code == 400
        assert refused.json()["allowed"]
    assert http.get("/_sim/state").json()["simulated"] is True


def test_objects_certificates_and_token_outlive_a_crash(tmp_path: Path) -> None:
    with launched(tmp_path) as first:
        address, token = first.address, first.token
        port = int(address.rsplit(":", 1)[1])
    options = LaunchOptions(port=port)
    second = Launched(tmp_path, options)
    second.start()
    context = ssl.create_default_context(cafile=str(second.ca))
    client = httpx2.Client(
        base_url=second.address, headers={"Authorization": f"Bearer {token}"}, verify=context
    )
    made = client.post("/api/v1/namespaces/default/configmaps", json=config_map("kept")).json()
    second.kill()
    second.start()
    try:
        kept = client.get("/api/v1/namespaces/default/configmaps/kept").json()
        assert kept == made
        with pytest.raises(PartError, match="can't listen on"):
            Launched(tmp_path / "other", options).start()
    finally:
        client.close()
        second.stop()


def test_stopping_does_not_wait_for_open_watches(tmp_path: Path) -> None:
    with launched(tmp_path) as running:
        context = ssl.create_default_context(cafile=str(running.ca))
        headers = {"Authorization": f"Bearer {running.token}"}
        path = f"{running.address}/api/v1/pods?watch=1&resourceVersion=0"
        with (
            httpx2.Client(headers=headers, verify=context) as client,
            client.stream("GET", path) as w,
        ):
            begun = time.monotonic()
            stopping = threading.Thread(target=running.stop)
            stopping.start()
            assert list(w.iter_lines()) == []
        stopping.join()
        assert time.monotonic() - begun < 2
