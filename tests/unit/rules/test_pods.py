"""Pods are read leniently about absence and strictly about types."""

import pytest

from ledger.rules.pods import Owner, PodError, PodFacts, is_fixed_name


def pod_owned_by(*kinds: str) -> PodFacts:
    return PodFacts("ns", "p", owners=tuple(Owner(kind, "o", "u") for kind in kinds))


def test_every_field_is_read() -> None:
    pod = PodFacts.from_object(
        {
            "metadata": {
                "namespace": "example",
                "name": "my-nginx-0",
                "uid": "u-1",
                "resourceVersion": "42",
                "labels": {"foo": "bar"},
                "annotations": {"k8s.aliyun.com/pod-eni": "true"},
                "ownerReferences": [{"kind": "StatefulSet", "name": "my-nginx", "uid": "s-1"}],
                "deletionTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {"nodeName": "n-1", "containers": [{}, {}], "hostNetwork": False},
            "status": {"phase": "Failed", "reason": "Evicted"},
        }
    )
    assert pod == PodFacts(
        namespace="example",
        name="my-nginx-0",
        uid="u-1",
        resource_version=42,
        node_name="n-1",
        labels={"foo": "bar"},
        annotations={"k8s.aliyun.com/pod-eni": "true"},
        owners=(Owner("StatefulSet", "my-nginx", "s-1"),),
        phase="Failed",
        reason="Evicted",
        deleting=True,
        container_count=2,
    )
    assert pod.sandbox_exited
    assert pod.wants_pod_eni


def test_an_empty_object_is_a_pod_without_anything() -> None:
    assert PodFacts.from_object({}) == PodFacts("", "")
    assert PodFacts.from_object({"metadata": {"labels": None}, "spec": None}) == PodFacts("", "")


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"metadata": []}, "Pod without metadata: metadata is a list"),
        (
            {"metadata": {"name": "p", "namespace": "n", "labels": {"a": 1}}},
            r"Pod n/p: metadata.labels\['a'\] is a number",
        ),
        ({"metadata": {"generateName": "p-"}, "spec": {"containers": {}}}, r"Pod \?/p-: .*a list"),
        ({"spec": {"hostNetwork": "yes"}}, "spec.hostNetwork is a string"),
        ({"metadata": {"ownerReferences": ["x"]}}, r"ownerReferences\[0\]"),
    ],
)
def test_a_wrong_type_names_the_pod_and_the_field(obj: dict[str, object], message: str) -> None:
    with pytest.raises(PodError, match=message):
        PodFacts.from_object(obj)


@pytest.mark.parametrize(("text", "number"), [("7", 7), ("", None), ("0x7", None), ("٧", None)])
def test_a_resource_version_is_a_decimal_integer(text: str, number: int | None) -> None:
    assert PodFacts.from_object({"metadata": {"resourceVersion": text}}).resource_version == number


@pytest.mark.parametrize(
    ("phase", "exited"), [("Succeeded", True), ("Failed", True), ("Running", False), ("", False)]
)
def test_sandbox_exited(phase: str, exited: bool) -> None:
    assert PodFacts("ns", "p", phase=phase).sandbox_exited is exited


@pytest.mark.parametrize(
    ("kinds", "custom", "fixed"),
    [
        ((), (), True),
        (("StatefulSet",), (), True),
        (("ReplicaSet",), (), False),
        (("ReplicaSet", "StatefulSet"), (), True),
        (("GameServer",), (), False),
        (("GameServer",), ("GameServer",), True),
        (("statefulset",), (), False),
    ],
)
def test_fixed_name(kinds: tuple[str, ...], custom: tuple[str, ...], fixed: bool) -> None:
    assert is_fixed_name(pod_owned_by(*kinds), custom) is fixed


@pytest.mark.parametrize("text", ["1", "t", "T", "true", "True", "TRUE"])
def test_pod_eni_is_whatever_go_takes_for_true(text: str) -> None:
    assert PodFacts("ns", "p", annotations={"k8s.aliyun.com/pod-eni": text}).wants_pod_eni


@pytest.mark.parametrize("text", ["", "yes", "tRUE", "false", "0", " true"])
def test_pod_eni_is_nothing_else(text: str) -> None:
    assert not PodFacts("ns", "p", annotations={"k8s.aliyun.com/pod-eni": text}).wants_pod_eni


def test_ignored() -> None:
    label = "k8s.aliyun.com/ignore-by-terway"
    assert PodFacts("ns", "p", labels={label: "true"}).ignored
    assert PodFacts("ns", "p", host_network=True).ignored
    assert not PodFacts("ns", "p", labels={label: "True"}).ignored
