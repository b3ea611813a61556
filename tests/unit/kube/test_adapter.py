"""The Kubernetes port over HTTP: what is sent, and what each answer means."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from consumers.kube.lightkube_adapter import LightkubeAdapter
from consumers.kube.port import (
    AlreadyExists,
    Conflict,
    Denied,
    EventNote,
    Kube,
    KubeError,
    NotFound,
    ObjectRef,
    Throttled,
    Unreachable,
)
from consumers.kube.wire import KubeConfigError, load_config
from consumers.runtime.settings import KubeSettings

Handler = Callable[[httpx2.Request], httpx2.Response]
ENI = {"metadata": {"namespace": "ns", "name": "web-0", "resourceVersion": "7"}, "spec": {"new": 1}}


class Server:
    """Answers every request with `answer`, and keeps the requests."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def body(self) -> Any:
        return json.loads(self.requests[-1].content)


def adapter(server: Server) -> LightkubeAdapter:
    client = httpx2.Client(transport=httpx2.MockTransport(server), base_url="http://api")
    return LightkubeAdapter(
        client,
        instance="pod-1",
        now=lambda: datetime(2026, 11, 1, tzinfo=UTC),
        new_id=lambda: "0123456789abcdef",
    )


def status(code: int, reason: str = "", message: str = "m", **headers: str) -> httpx2.Response:
    body = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return httpx2.Response(code, json=body, headers=headers)


def absent(name: str) -> httpx2.Response:
    """What the API server says of an object that is not there."""
    body = {"kind": "Status", "code": 404, "reason": "NotFound", "details": {"name": name}}
    return httpx2.Response(404, json=body)


def test_it_is_the_port() -> None:
    kube: Kube = adapter(Server(absent("web-0")))
    assert kube.get_podeni("ns", "web-0") is None


def test_p11_a_missing_resource_is_no_deleted_object() -> None:
    """A CRD that is gone says nothing of any PodENI: reading it as a deletion would release IPs."""
    with pytest.raises(NotFound) as refused:
        adapter(Server(status(404, "NotFound"))).get_podeni("ns", "web-0")
    assert refused.value.resource_missing


def test_a_look_is_a_quorum_read() -> None:
    server = Server(httpx2.Response(200, json={"metadata": {"uid": "u"}, "spec": {"x": 1}}))
    assert adapter(server).get_podeni("ns", "web-0") == {"metadata": {"uid": "u"}, "spec": {"x": 1}}
    assert server.requests[0].url.path.endswith("/namespaces/ns/podenis/web-0")
    assert "resourceVersion" not in server.requests[0].url.params
    assert adapter(server).cluster_uid() == "u"
    assert server.requests[-1].url.path == "/api/v1/namespaces/kube-system"


def test_a_look_at_a_pod_says_as_of_when_also_if_there_is_none() -> None:
    pod = {"metadata": {"name": "web-0", "uid": "u"}}
    server = Server(
        httpx2.Response(200, json={"metadata": {"resourceVersion": "7"}, "items": [pod]})
    )
    answer = adapter(server).look_at_pod("ns", "web-0")
    assert answer.pod is not None
    assert (answer.pod["metadata"], answer.resource_version) == (pod["metadata"], 7)
    url = server.requests[0].url
    assert url.path == "/api/v1/namespaces/ns/pods"
    assert url.params["fieldSelector"] == "metadata.name=web-0"
    assert "resourceVersion" not in url.params, "a quorum read"
    nothing = Server(
        httpx2.Response(200, json={"metadata": {"resourceVersion": "9"}, "items": None})
    )
    answer = adapter(nothing).look_at_pod("ns", "web-0")
    assert (answer.pod, answer.resource_version) == (None, 9)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"metadata": {"resourceVersion": "7"}},
        {"metadata": {}, "items": []},
        {"metadata": {"resourceVersion": "x"}, "items": []},
        {"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "web-1"}}]},
        {"metadata": {"resourceVersion": "7"}, "items": [{}]},
    ],
)
def test_an_answer_that_is_not_plainly_absence_is_none_p11(body: dict[str, Any]) -> None:
    with pytest.raises(Unreachable):
        adapter(Server(httpx2.Response(200, json=body))).look_at_pod("ns", "web-0")


def test_writes_go_to_their_paths_and_keep_unknown_fields() -> None:
    server = Server(httpx2.Response(200, json=ENI))
    kube = adapter(server)
    base = "/apis/network.alibabacloud.com/v1beta1"
    kube.create_podeni(ENI)
    assert (server.requests[-1].method, server.requests[-1].url.path) == (
        "POST",
        f"{base}/namespaces/ns/podenis",
    )
    assert server.body["spec"] == {"new": 1}
    assert (server.body["kind"], server.body["apiVersion"]) == (
        "PodENI",
        "network.alibabacloud.com/v1beta1",
    )
    kube.replace_podeni(ENI)
    assert (server.requests[-1].method, server.requests[-1].url.path) == (
        "PUT",
        f"{base}/namespaces/ns/podenis/web-0",
    )
    kube.replace_podeni_status(ENI)
    assert server.requests[-1].url.path == f"{base}/namespaces/ns/podenis/web-0/status"
    kube.replace_podnetworking_status({"metadata": {"name": "p", "resourceVersion": "1"}})
    assert server.requests[-1].url.path == f"{base}/podnetworkings/p/status"


def test_a_replace_without_a_precondition_is_refused() -> None:
    server = Server(httpx2.Response(200, json=ENI))
    with pytest.raises(ValueError, match="resourceVersion"):
        adapter(server).replace_podeni_status({"metadata": {"namespace": "ns", "name": "web-0"}})
    assert server.requests == []


def test_delete_carries_its_preconditions() -> None:
    server = Server(httpx2.Response(200, json={}))
    adapter(server).delete_podeni("ns", "web-0", "u-1", "7")
    assert server.requests[-1].method == "DELETE"
    assert server.body["preconditions"] == {"uid": "u-1", "resourceVersion": "7"}


def test_a_list_follows_its_pages() -> None:
    server = Server(
        httpx2.Response(200, json={"metadata": {"continue": "t"}, "items": [ENI]}),
        httpx2.Response(200, json={"metadata": {}, "items": None}),
    )
    assert [obj["kind"] for obj in adapter(server).list_podenis()] == ["PodENI"]
    assert server.requests[1].url.params["continue"] == "t"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (status(404, "NotFound"), NotFound),
        (status(409, "Conflict"), Conflict),
        (status(409, "AlreadyExists"), AlreadyExists),
        (status(403, "Forbidden"), Denied),
        (status(401, "Unauthorized"), Denied),
        (status(429, "TooManyRequests"), Throttled),
        (status(500), Unreachable),
        (status(504, "Timeout"), Unreachable),
        (httpx2.Response(502, content=b"<html>bad gateway</html>"), Unreachable),
        (httpx2.Response(200, content=b"<html>a proxy</html>"), Unreachable),
        (httpx2.ConnectError("refused"), Unreachable),
        (httpx2.ReadTimeout("slow"), Unreachable),
    ],
)
def test_every_answer_has_its_error(
    answer: httpx2.Response | Exception, kind: type[KubeError]
) -> None:
    with pytest.raises(kind) as caught:
        adapter(Server(answer)).replace_podeni(ENI)
    assert type(caught.value) is kind
    assert caught.value.object == "podenis.network.alibabacloud.com ns/web-0"
    assert caught.value.verb == "update"


def test_an_invalid_object_is_a_plain_refusal() -> None:
    with pytest.raises(KubeError, match="spec is wrong") as caught:
        adapter(Server(status(422, "Invalid", "spec is wrong"))).create_podeni(ENI)
    assert type(caught.value) is KubeError


def test_denied_names_what_is_missing_and_throttled_how_long() -> None:
    with pytest.raises(
        Denied, match=r"grant verb update on podenis\.network\.alibabacloud\.com/status"
    ):
        adapter(Server(status(403, "Forbidden"))).replace_podeni_status(ENI)
    with pytest.raises(Throttled) as caught:
        adapter(Server(status(429, "", "m", **{"retry-after": "3"}))).replace_podeni(ENI)
    assert caught.value.retry_after == 3.0


NOTE = EventNote(
    regarding=ObjectRef("v1", "Pod", "web-0", "ns", "u-1"),
    reason="AttachENISucceed",
    action="AttachENI",
    note="attached eni eni-1" + "é" * 1000,
    room="reconciler",
    related=ObjectRef("network.alibabacloud.com/v1beta1", "PodENI", "web-0", "ns"),
)


def test_an_event_as_the_api_wants_it() -> None:
    server = Server(httpx2.Response(201, json={}))
    adapter(server).publish_event(NOTE)
    assert server.requests[-1].url.path == "/apis/events.k8s.io/v1/namespaces/ns/events"
    body = server.body
    assert body["metadata"] == {"name": "web-0.0123456789abcdef", "namespace": "ns"}
    assert body["eventTime"] == "2026-11-01T00:00:00.000000Z"
    assert body["reportingController"] == "eni-ledger/reconciler"
    assert body["regarding"]["uid"] == "u-1"
    assert "uid" not in body["related"]
    assert len(body["note"].encode()) <= 1024


def test_an_event_that_is_refused_disturbs_nobody() -> None:
    adapter(Server(status(403, "Forbidden"))).publish_event(NOTE)
    adapter(Server(httpx2.ConnectError("refused"))).publish_event(NOTE)


def test_a_missing_kubeconfig_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(KubeConfigError, match="ENI_LEDGER_KUBE__KUBECONFIG"):
        load_config(KubeSettings(kubeconfig=tmp_path / "none"))
