"""Admission webhooks: who is asked, what they may change, and what happens when they fail."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from deploy.local.kubernetes.core import Core
from deploy.local.kubernetes.errors import ApiError
from deploy.local.kubernetes.port_adapter import InProcess
from deploy.local.kubernetes.requests import WebhookCall, WebhookFailure
from tests.unit.local_kubernetes.shapes import PODS, pod

Json = dict[str, Any]
Handler = Callable[[WebhookCall], Json | WebhookFailure]
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1"


def webhook(name: str, **more: Any) -> Json:
    rule = {
        "operations": ["CREATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods"],
    }
    return {"name": name, "clientConfig": {"url": f"https://127.0.0.1/{name}"}, "rules": [rule],
            "sideEffects": "None", "admissionReviewVersions": ["v1"], **more}  # fmt: skip


def register(core: Core, kind: str, *webhooks: Json) -> None:
    body = {"metadata": {"name": "test"}, "webhooks": list(webhooks)}
    InProcess(core).create(f"{CONFIGURATIONS}/{kind}webhookconfigurations", body)


def answer(call: WebhookCall, allowed: bool = True, **more: Any) -> Json:
    response = {"uid": call.review["request"]["uid"], "allowed": allowed, **more}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def patching(*operations: Json) -> Handler:
    encoded = base64.b64encode(json.dumps(operations).encode()).decode()
    return lambda call: answer(call, patchType="JSONPatch", patch=encoded)


def test_a_mutating_webhook_changes_the_pod(core: Core) -> None:
    register(core, "mutating", webhook("m.example.com"))
    patch = {
        "op": "add",
        "path": "/metadata/annotations",
        "value": {"k8s.aliyun.com/pod-eni": "true"},
    }
    made = InProcess(core, patching(patch)).create(PODS, pod("a"))
    assert made["metadata"]["annotations"] == {"k8s.aliyun.com/pod-eni": "true"}


def test_a_denial_reads_as_from_a_real_server(core: Core) -> None:
    register(core, "validating", webhook("v.example.com"))

    def deny(call: WebhookCall) -> Json:
        return answer(
            call, allowed=False, status={"code": 403, "message": "no", "reason": "Forbidden"}
        )

    with pytest.raises(ApiError) as refused:
        InProcess(core, deny).create(PODS, pod("a"))
    assert refused.value.code == 403
    assert refused.value.message == 'admission webhook "v.example.com" denied the request: no'
    with pytest.raises(ApiError):
        InProcess(core).get(f"{PODS}/a")


def test_a_code_below_400_becomes_400(core: Core) -> None:
    register(core, "validating", webhook("v.example.com"))
    odd: Handler = lambda call: answer(call, allowed=False, status={"code": 1, "message": "no"})  # noqa: E731
    with pytest.raises(ApiError) as refused:
        InProcess(core, odd).create(PODS, pod("a"))
    assert refused.value.code == 400


@pytest.mark.parametrize(("policy", "created"), [("Ignore", True), ("Fail", False)])
@pytest.mark.parametrize("broken", ["unreachable", "no review", "wrong uid"])
def test_failure_policy(core: Core, policy: str, created: bool, broken: str) -> None:
    register(core, "mutating", webhook("m.example.com", failurePolicy=policy))

    def fail(call: WebhookCall) -> Json | WebhookFailure:
        if broken == "unreachable":
            return WebhookFailure("connection refused")
        return (
            {"nonsense": 1}
            if broken == "no review"
            else {"response": {"uid": "x", "allowed": True}}
        )

    api = InProcess(core, fail)
    if created:
        assert api.create(PODS, pod("a"))["metadata"]["name"] == "a"
    else:
        with pytest.raises(ApiError) as refused:
            api.create(PODS, pod("a"))
        assert refused.value.code == 500
        assert 'failed calling webhook "m.example.com"' in refused.value.message


@pytest.mark.parametrize(
    ("more", "asked"),
    [
        ({}, True),
        ({"objectSelector": {"matchLabels": {"x": "y"}}}, True),
        ({"objectSelector": {"matchLabels": {"x": "z"}}}, False),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}, True),
        ({"namespaceSelector": {"matchExpressions": [
            {"key": "k8s.aliyun.com/pod-eni", "operator": "NotIn", "values": ["false"]}]}}, True),
        ({"namespaceSelector": {"matchExpressions": [
            {"key": "k8s.aliyun.com/pod-eni", "operator": "Exists"}]}}, False),
        ({"rules": [{"operations": ["UPDATE"], "apiGroups": ["*"], "apiVersions": ["*"],
                     "resources": ["*"]}]}, False),
        ({"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"],
                     "resources": ["*/*"], "scope": "Cluster"}]}, False),
    ],
)  # fmt: skip
def test_which_webhooks_are_asked(core: Core, more: Json, asked: bool) -> None:
    register(core, "mutating", webhook("m.example.com", **more))
    calls: list[str] = []

    def note(call: WebhookCall) -> Json:
        calls.append(call.name)
        return answer(call)

    InProcess(core, note).create(PODS, pod("a", labels={"x": "y"}))
    assert calls == (["m.example.com"] if asked else [])


def test_reinvocation_after_a_later_change(core: Core) -> None:
    first = webhook("first.example.com", reinvocationPolicy="IfNeeded")
    register(core, "mutating", first, webhook("second.example.com"))
    calls: list[str] = []

    def handle(call: WebhookCall) -> Json | WebhookFailure:
        calls.append(call.name)
        if call.name.startswith("second"):
            return patching({"op": "add", "path": "/metadata/labels/b", "value": "1"})(call)
        return answer(call)

    InProcess(core, handle).create(PODS, pod("a", labels={"a": "1"}))
    assert calls == ["first.example.com", "second.example.com", "first.example.com"]


def test_warnings_and_dry_run_reach_client_and_webhook(core: Core) -> None:
    register(core, "validating", webhook("v.example.com"))
    reviews: list[Json] = []

    def warn(call: WebhookCall) -> Json:
        reviews.append(call.review["request"])
        return answer(call, warnings=["releaseAfter is short"])

    got = InProcess(core, warn).call("POST", PODS, pod("a"), {"dryRun": "All"})
    assert got.warnings == ("releaseAfter is short",)
    (review,) = reviews
    assert (review["dryRun"], review["operation"], review["namespace"]) == (
        True,
        "CREATE",
        "default",
    )
    assert review["userInfo"]["username"] == "admin"
    assert "name" in review["object"]["metadata"]


def test_an_unusable_patch_fails_by_policy(core: Core) -> None:
    register(core, "mutating", webhook("m.example.com"))
    with pytest.raises(ApiError) as refused:
        InProcess(core, patching({"op": "remove", "path": "/missing"})).create(PODS, pod("a"))
    assert refused.value.code == 500


def test_a_write_that_loses_the_race_during_admission_starts_over(core: Core) -> None:
    api = InProcess(core)
    api.create(PODS, pod("a", labels={"n": "0"}))
    rule = {
        "operations": ["UPDATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods"],
    }
    register(core, "validating", webhook("v.example.com", rules=[rule]))
    calls: list[str] = []

    def meddle(call: WebhookCall) -> Json:
        calls.append(call.name)
        if len(calls) == 1:
            silent = InProcess(core, answer)
            silent.patch(f"{PODS}/a", {"metadata": {"labels": {"other": "1"}}})
        return answer(call)

    done = InProcess(core, meddle).patch(f"{PODS}/a", {"metadata": {"labels": {"n": "1"}}})
    assert done["metadata"]["labels"] == {"n": "1", "other": "1"}
    assert len(calls) == 2
