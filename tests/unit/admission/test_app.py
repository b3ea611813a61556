"""The application answers every review, and says when it can't."""

import base64
import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from consumers.admission.answers import Answers
from consumers.admission.app import application
from consumers.runtime.policy import pod_policy
from consumers.runtime.settings import PolicySettings, WebhookSettings
from ledger.rules.admission_pods import PodPolicy
from tests.unit.admission.fakes import FakeMemory, review
from tests.unit.rules.admission_cases import (
    ENI_CONFIG,
    FOO,
    apply_patch,
    pod_object,
    podnetworking_object,
    ready_podnetworking,
)


def client(memory: FakeMemory, policy: PodPolicy | None = None) -> TestClient:
    answers = Answers(memory, policy or PodPolicy(excluded_namespaces=frozenset({"kube-system"})))
    return TestClient(application(answers), raise_server_exceptions=False)


def known(**others: Any) -> FakeMemory:
    return FakeMemory([ready_podnetworking()], {"example": {}}, eni_config=ENI_CONFIG, **others)


def answer(memory: FakeMemory, path: str, body: dict[str, Any]) -> dict[str, Any]:
    response = client(memory).post(path, json=body)
    assert response.status_code == 200, response.text
    answered: dict[str, Any] = response.json()
    assert answered["kind"] == "AdmissionReview"
    assert answered["response"]["uid"] == "r-1"
    found: dict[str, Any] = answered["response"]
    return found


@pytest.mark.parametrize("version", ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"])
def test_a_matching_pod_is_patched_in_the_version_it_was_asked_in(version: str) -> None:
    pod = pod_object(labels={"foo": "bar"})
    response = client(known()).post("/mutating", json=review(pod, api_version=version)).json()
    assert response["apiVersion"] == version
    found = response["response"]
    assert found["allowed"] is True
    assert found["patchType"] == "JSONPatch"
    patched = apply_patch(pod, json.loads(base64.b64decode(found["patch"])))
    assert patched["metadata"]["annotations"]["k8s.aliyun.com/pod-networking"] == "example"


def test_an_ordinary_pod_has_no_patch() -> None:
    found = answer(known(), "/mutating", review(pod_object()))
    assert found == {"uid": "r-1", "allowed": True, "status": {"code": 200, "message": "not match"}}


@pytest.mark.parametrize(
    "body",
    [
        review({}, kind="Job"),
        review(pod_object(labels={"foo": "bar"}), operation="UPDATE"),
        review(pod_object(labels={"foo": "bar"}), subResource="ephemeralcontainers"),
        review(None, kind="PodNetworking", operation="DELETE"),
    ],
)
def test_what_is_none_of_our_business_is_allowed(body: dict[str, Any]) -> None:
    for path in ("/mutating", "/validate"):
        found = answer(known(), path, body)
        assert (found["allowed"], found["status"]["message"]) == (True, "not care")


def test_a_denial_carries_code_message_and_warnings() -> None:
    bad = podnetworking_object(vSwitchOptions=[], allocationType={"type": "Fixed"})
    found = answer(known(), "/validate", review(bad, kind="PodNetworking"))
    assert found["allowed"] is False
    assert found["status"]["code"] == 403
    assert "vSwitchOptions is not set" in found["status"]["message"]
    assert any("without releaseStrategy" in warning for warning in found["warnings"])


def test_the_old_object_counts_on_update_only() -> None:
    bad = podnetworking_object(vSwitchOptions=[])
    update = review(bad, kind="PodNetworking", operation="UPDATE", old=bad)
    assert answer(known(), "/validate", update)["allowed"] is True
    create = review(bad, kind="PodNetworking", operation="CREATE", old=bad)
    assert answer(known(), "/validate", create)["allowed"] is False


def test_gaps_of_a_podnetworking_are_filled() -> None:
    found = answer(
        known(),
        "/mutating",
        review(podnetworking_object(vSwitchOptions=None), kind="PodNetworking"),
    )
    assert json.loads(base64.b64decode(found["patch"])) == [
        {
            "op": "add",
            "path": "/spec/vSwitchOptions",
            "value": ["vsw-default-1", "vsw-default-2"],
        }
    ]


def test_the_previous_zone_comes_from_memory() -> None:
    podeni = {"spec": {"zone": "zone-h", "allocations": [{}]}}
    fixed = FakeMemory(
        [ready_podnetworking(allocationType={"type": "Fixed"})],
        {"example": {}},
        {"example/my-nginx-0": podeni},
    )
    pod = pod_object(labels={"foo": "bar"})
    found = answer(fixed, "/mutating", review(pod))
    patched = apply_patch(pod, json.loads(base64.b64decode(found["patch"])))
    required = patched["spec"]["affinity"]["nodeAffinity"]
    (term,) = required["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [each["values"] for each in term["matchExpressions"]] == [
        ["zone-h"],
        ["zone-g", "zone-h"],
    ]


def test_before_everything_is_known_only_pods_that_pass_anyway_are_answered() -> None:
    unready = FakeMemory(missing=("podnetworkings",))
    response = client(unready).post("/mutating", json=review(pod_object()))
    assert response.status_code == 503
    assert "podnetworkings" in response.text
    host = answer(unready, "/mutating", review(pod_object(hostNetwork=True)))
    assert host["status"]["message"] == "host network"
    system = pod_object()
    system["metadata"]["namespace"] = "kube-system"
    assert answer(unready, "/mutating", review(system))["allowed"] is True


def test_a_namespace_created_a_moment_ago_is_waited_for() -> None:
    memory = FakeMemory([ready_podnetworking(selector={"namespaceSelector": FOO})])

    def arrive() -> None:
        memory.namespaces["example"] = {"foo": "bar"}

    memory.arriving = arrive
    assert "patch" in answer(memory, "/mutating", review(pod_object()))


def test_a_namespace_that_never_arrives_denies_instead_of_guessing() -> None:
    memory = FakeMemory([ready_podnetworking(selector={"namespaceSelector": FOO})])
    found = answer(memory, "/mutating", review(pod_object()))
    assert (found["allowed"], found["status"]["code"]) == (False, 503)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"kind":"AdmissionReview"}',
        b'{"apiVersion":"admission.k8s.io/v2","kind":"AdmissionReview","request":{"uid":"1","kind":{}}}',
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_review_is_a_bad_request(body: bytes) -> None:
    assert client(known()).post("/mutating", content=body).status_code == 400


def test_an_oversized_body_is_not_read() -> None:
    response = client(known()).post(
        "/mutating", content=b"x", headers={"content-length": str(17 * 1024 * 1024)}
    )
    assert response.status_code == 413


def test_an_undecodable_pod_is_denied_with_500() -> None:
    found = answer(known(), "/mutating", review({"metadata": {"labels": []}}))
    assert (found["allowed"], found["status"]["code"]) == (False, 500)


def test_a_defect_is_500_and_the_server_lives_on() -> None:
    served = client(known())
    malformed = pod_object(labels={"foo": "bar"})
    malformed["spec"]["containers"] = ["not a container"]
    assert served.post("/mutating", json=review(malformed)).status_code == 500
    assert served.get("/healthz").status_code == 200


def test_settings_become_the_policy() -> None:
    settings = PolicySettings(
        enable_trunk=False,
        enable_webhook_inject_resource=False,
        custom_stateful_workload_kinds=("GameServer",),
        ipam_type="crd",
    )
    webhook = WebhookSettings(excluded_namespaces=("kube-system", "kafka"))
    assert pod_policy(settings, webhook) == PodPolicy(
        enable_trunk=False,
        inject_resource=False,
        custom_kinds=("GameServer",),
        every_pod=True,
        excluded_namespaces=frozenset({"kube-system", "kafka"}),
    )
