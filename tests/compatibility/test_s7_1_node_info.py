"""Reference §7.1: what is read from a node on every create and attach."""

from typing import Any

import pytest

from ledger.rules.nodes import NodeError, NodeFacts

LABELS = {
    "topology.kubernetes.io/region": "cn-hangzhou",
    "topology.kubernetes.io/zone": "cn-hangzhou-h",
    "node.kubernetes.io/instance-type": "ecs.g7.xlarge",
}


def node(
    provider_id: str = "cn-hangzhou.i-xxx",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> dict[str, Any]:
    metadata = {"name": "n", "labels": LABELS if labels is None else labels}
    return {
        "metadata": {**metadata, "annotations": annotations or {}},
        "spec": {"providerID": provider_id},
    }


def test_the_instance_is_the_second_token_of_the_provider_id() -> None:
    assert NodeFacts.from_object(node()).instance_id == "i-xxx"
    assert NodeFacts.from_object(node("cn-hangzhou.i-xxx.more")).instance_id == "i-xxx"


@pytest.mark.parametrize("provider_id", ["", "i-xxx", "cn-hangzhou."])
def test_fewer_than_two_tokens_or_an_empty_one_is_an_error(provider_id: str) -> None:
    with pytest.raises(NodeError):
        NodeFacts.from_object(node(provider_id))


@pytest.mark.parametrize("label", LABELS)
def test_region_type_and_zone_are_mandatory(label: str) -> None:
    with pytest.raises(NodeError, match=label):
        NodeFacts.from_object(node(labels={k: v for k, v in LABELS.items() if k != label}))


def test_the_zone_falls_back_to_the_beta_label() -> None:
    labels = {k: v for k, v in LABELS.items() if not k.endswith("/zone")}
    labels["failure-domain.beta.kubernetes.io/zone"] = "cn-hangzhou-g"
    assert NodeFacts.from_object(node(labels=labels)).zone == "cn-hangzhou-g"


def test_the_trunk_is_an_annotation() -> None:
    annotated = node(annotations={"k8s.aliyun.com/trunk-on": "eni-1"})
    assert NodeFacts.from_object(annotated).trunk_eni_id == "eni-1"
    assert NodeFacts.from_object(node()).trunk_eni_id is None


@pytest.mark.parametrize("value", ["eniOnly", "enionly", "ENIONLY"])
def test_exclusive_mode_is_compared_without_regard_to_case(value: str) -> None:
    labels = {**LABELS, "k8s.aliyun.com/exclusive-mode-eni-type": value}
    assert NodeFacts.from_object(node(labels=labels)).exclusive_eni


@pytest.mark.parametrize(
    "label", [{"k8s.aliyun.com/ignore-by-terway": "true"}, {"type": "virtual-kubelet"}]
)
def test_nodes_that_are_skipped(label: dict[str, str]) -> None:
    assert NodeFacts.from_object(node(labels={**LABELS, **label})).ignored
