"""Nodes: what an attach needs is there, or the error says who should have put it there."""

from typing import Any

import pytest

from ledger.rules.nodes import NodeError, NodeFacts


def node(**changes: Any) -> dict[str, Any]:
    labels: dict[str, str | None] = {
        "topology.kubernetes.io/region": "cn-hangzhou",
        "topology.kubernetes.io/zone": "cn-hangzhou-h",
        "node.kubernetes.io/instance-type": "ecs.g7.xlarge",
        **changes.get("labels", {}),
    }
    return {
        "metadata": {
            "name": "cn-hangzhou.10.0.0.1",
            "uid": "n-1",
            "resourceVersion": "9",
            "labels": {key: value for key, value in labels.items() if value is not None},
            "annotations": changes.get("annotations", {}),
        },
        "spec": {
            "providerID": changes.get("provider_id", "cn-hangzhou.i-1"),
            "unschedulable": changes.get("unschedulable"),
        },
        "status": {"allocatable": changes.get("allocatable")},
    }


def test_every_field_is_read() -> None:
    facts = NodeFacts.from_object(
        node(
            annotations={"k8s.aliyun.com/trunk-on": "eni-trunk"},
            unschedulable=True,
            allocatable={"aliyun/member-eni": "10", "cpu": "3900m"},
            labels={"terway-config": "overlay"},
        )
    )
    assert facts == NodeFacts(
        name="cn-hangzhou.10.0.0.1",
        instance_id="i-1",
        region="cn-hangzhou",
        instance_type="ecs.g7.xlarge",
        zone="cn-hangzhou-h",
        uid="n-1",
        resource_version=9,
        trunk_eni_id="eni-trunk",
        unschedulable=True,
        member_eni_allocatable=10,
        config_overlay="overlay",
    )


def test_what_is_absent_is_none_and_not_zero() -> None:
    facts = NodeFacts.from_object(node())
    assert facts.trunk_eni_id is None
    assert facts.member_eni_allocatable is None
    assert NodeFacts.from_object(node(annotations={"k8s.aliyun.com/trunk-on": ""})) == facts


def test_the_zone_falls_back_to_the_old_label() -> None:
    old = {
        "topology.kubernetes.io/zone": None,
        "failure-domain.beta.kubernetes.io/zone": "cn-hangzhou-g",
    }
    assert NodeFacts.from_object(node(labels=old)).zone == "cn-hangzhou-g"


@pytest.mark.parametrize(
    "label",
    [
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        "node.kubernetes.io/instance-type",
    ],
)
def test_a_missing_label_is_named_with_the_node_and_the_next_step(label: str) -> None:
    with pytest.raises(
        NodeError, match=rf"node cn-hangzhou.10.0.0.1 has no label {label}: .*check"
    ):
        NodeFacts.from_object(node(labels={label: None}))


@pytest.mark.parametrize("provider_id", ["", "i-1", "cn-hangzhou.", None])
def test_an_unusable_provider_id_is_refused(provider_id: str | None) -> None:
    with pytest.raises(NodeError, match=r"spec\.providerID"):
        NodeFacts.from_object(node(provider_id=provider_id))


def test_a_lingjun_worker_is_its_whole_provider_id() -> None:
    labels = {"alibabacloud.com/lingjun-worker": "true"}
    assert NodeFacts.from_object(node(labels=labels, provider_id="e01-x")).instance_id == "e01-x"


@pytest.mark.parametrize(
    ("value", "exclusive"), [("eniOnly", True), ("ENIONLY", True), ("default", False)]
)
def test_exclusive_eni(value: str, exclusive: bool) -> None:
    labels = {"k8s.aliyun.com/exclusive-mode-eni-type": value}
    assert NodeFacts.from_object(node(labels=labels)).exclusive_eni is exclusive


@pytest.mark.parametrize(
    "labels", [{"k8s.aliyun.com/ignore-by-terway": "true"}, {"type": "virtual-kubelet"}]
)
def test_an_ignored_node_needs_nothing(labels: dict[str, str]) -> None:
    facts = NodeFacts.from_object({"metadata": {"name": "vk", "labels": labels}})
    assert facts.ignored
    assert facts.instance_id == ""


@pytest.mark.parametrize(("quantity", "count"), [("0", 0), ("12", 12), (12, 12), ("1k", 1000)])
def test_extended_resources_are_whole(quantity: object, count: int) -> None:
    facts = NodeFacts.from_object(node(allocatable={"aliyun/member-eni": quantity}))
    assert facts.member_eni_allocatable == count


def test_what_is_not_a_node_is_refused() -> None:
    with pytest.raises(NodeError, match=r"without metadata.name"):
        NodeFacts.from_object({})
    with pytest.raises(NodeError, match=r"node n: metadata.labels is a list"):
        NodeFacts.from_object({"metadata": {"name": "n", "labels": []}})
    with pytest.raises(NodeError, match="whole number"):
        NodeFacts.from_object(node(allocatable={"aliyun/member-eni": "1.5"}))
