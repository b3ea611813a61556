"""Where the simulated API differs from a genuine one: each difference is asserted on both.

The README of the simulator shows this table; a test here keeps the two alike. Everything else in
this folder is asked of both servers alike.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from deploy.local.kubernetes.launch import Launched
from deploy.local.parts.kube_api import KubeApi
from deploy.local.parts.kube_apiserver.server import GenuineKube
from deploy.local.pytest_plugin import GUEST
from tests.integration.conftest import KubePart

README = Path(__file__).parents[3] / "deploy" / "local" / "kubernetes" / "README.md"
HERE = "/api/v1/namespaces/default"
PODNETWORKINGS = "/apis/network.alibabacloud.com/v1beta1/podnetworkings"


@pytest.fixture(scope="session")
def server(own_server: Launched | GenuineKube) -> KubeApi:
    """One that we started, with its users and its way to our webhook."""
    return own_server


class Difference(NamedTuple):
    """What is asked, and what each server answers."""

    about: str
    ask: Callable[[httpx2.Client], Any]
    simulated: Any
    genuine: Any


def status(response: httpx2.Response) -> int:
    return response.status_code


def platform(http: httpx2.Client) -> bool:
    return bool(http.get("/version").json()["platform"] == "simulated")


def as_guest(http: httpx2.Client) -> int:
    (token,) = GUEST.values()
    headers = {"Authorization": f"Bearer {token}"}
    return status(http.get("/api/v1/pods", headers=headers, auth=None))


def as_nobody(http: httpx2.Client) -> int:
    return status(http.get("/readyz", auth=None))


def ttl_without_duration(http: httpx2.Client) -> int:
    spec = {"allocationType": {"type": "Fixed", "releaseStrategy": "TTL"}}
    body = {
        "apiVersion": "network.alibabacloud.com/v1beta1",
        "kind": "PodNetworking",
        "metadata": {"name": "differing"},
        "spec": spec,
    }
    answer = status(http.post(PODNETWORKINGS, json=body))
    http.delete(f"{PODNETWORKINGS}/differing")
    return answer


def pod_without_containers(http: httpx2.Client) -> int:
    body = {"metadata": {"name": "differing"}, "spec": {"containers": []}}
    answer = status(http.post(f"{HERE}/pods", json=body))
    http.delete(f"{HERE}/pods/differing", params={"gracePeriodSeconds": "0"})
    return answer


def deleted_namespace(http: httpx2.Client) -> int:
    http.post("/api/v1/namespaces", json={"metadata": {"name": "differing"}})
    http.delete("/api/v1/namespaces/differing")
    return status(http.get("/api/v1/namespaces/differing"))


def orphan(http: httpx2.Client) -> int:
    owner = http.post(f"{HERE}/configmaps", json={"metadata": {"name": "differing"}}).json()
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "differing",
        "uid": owner["metadata"]["uid"],
    }
    owned = {"metadata": {"name": "differing-too", "ownerReferences": [reference]}}
    http.post(f"{HERE}/configmaps", json=owned).raise_for_status()
    http.delete(f"{HERE}/configmaps/differing").raise_for_status()
    answer = status(http.get(f"{HERE}/configmaps/differing-too"))
    http.delete(f"{HERE}/configmaps/differing-too")
    return answer


def token_request(http: httpx2.Client) -> int:
    http.post(f"{HERE}/serviceaccounts", json={"metadata": {"name": "differing"}})
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = status(http.post(f"{HERE}/serviceaccounts/differing/token", json=body))
    http.delete(f"{HERE}/serviceaccounts/differing")
    return answer


def protobuf(http: httpx2.Client) -> int:
    accept = {"Accept": "application/vnd.kubernetes.protobuf"}
    return status(http.get("/api/v1/namespaces", headers=accept))


def unknown_policy(http: httpx2.Client) -> int:
    return status(http.delete(f"{HERE}/configmaps/x", params={"propagationPolicy": "Later"}))


def unknown_group(http: httpx2.Client) -> str:
    return str(http.get("/apis/no.group/v1/x").headers["content-type"].split(";")[0])


DIFFERENCES = (
    Difference("`/version` names a real platform", platform, True, False),
    Difference("RBAC: a known user without rights lists Pods", as_guest, 200, 403),
    Difference("`/readyz` without a token (`--anonymous-auth=false`)", as_nobody, 200, 401),
    Difference("a CRD's CEL rule: TTL without a duration", ttl_without_duration, 201, 422),
    Difference(
        "a built-in kind's own rule: a Pod without containers", pod_without_containers, 201, 422
    ),
    Difference("a deleted Namespace, with no controller to end it", deleted_namespace, 404, 200),
    Difference("what a deleted owner owned, with no garbage collector", orphan, 404, 200),
    Difference("TokenRequest of a service account", token_request, 404, 201),
    Difference("an answer in protobuf", protobuf, 406, 200),
    Difference("OpenAPI v2", lambda http: status(http.get("/openapi/v2")), 404, 200),
    Difference("an unknown propagationPolicy", unknown_policy, 400, 422),
    Difference(
        "the 404 of an API group that is not there", unknown_group, "application/json", "text/plain"
    ),
)


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda each: each.about)
def test_each_answers_as_the_table_says(
    difference: Difference, http: httpx2.Client, kube_part: KubePart
) -> None:
    expected = difference.simulated if kube_part == "simulated" else difference.genuine
    assert difference.ask(http) == expected


def test_the_readme_shows_the_table() -> None:
    shown = README.read_text()
    for each in DIFFERENCES:
        assert f"| {each.about} | {each.simulated} | {each.genuine} |" in shown
