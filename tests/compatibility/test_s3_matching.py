"""Reference §3: which PodNetworking a Pod gets."""

from typing import Any

import pytest

from tests.compatibility.conftest import Admission
from tests.unit.rules.admission_cases import FOO, pod_object, ready_podnetworking

NETWORKING = "k8s.aliyun.com/pod-networking"
POD = pod_object(labels={"foo": "bar"})
OTHER = {"matchLabels": {"foo": "other"}}


@pytest.mark.parametrize("status", ["", "Fail", "ready"])
def test_only_ready_ones_count(admit: Admission, status: str) -> None:
    assert NETWORKING not in admit(POD, [ready_podnetworking(status=status)]).annotations


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ({"podSelector": FOO}, True),
        ({"podSelector": OTHER}, False),
        ({"namespaceSelector": FOO}, True),
        ({"namespaceSelector": OTHER}, False),
        ({"podSelector": FOO, "namespaceSelector": FOO}, True),
        ({"podSelector": FOO, "namespaceSelector": OTHER}, False),
        ({"podSelector": OTHER, "namespaceSelector": FOO}, False),
        ({"podSelector": {}}, True),
        ({"namespaceSelector": {}}, True),
        ({"podSelector": None, "namespaceSelector": None}, False),
        ({}, False),
        (None, False),
    ],
)
def test_selectors_are_anded_absent_never_matches_and_empty_always(
    admit: Admission, selector: dict[str, Any] | None, matches: bool
) -> None:
    found = admit(POD, [ready_podnetworking(selector=selector)], namespace_labels={"foo": "bar"})
    assert (NETWORKING in found.annotations) is matches


def test_a_fixed_one_is_skipped_for_other_pods_which_may_match_a_later_one(
    admit: Admission,
) -> None:
    fixed = ready_podnetworking("a-fixed", allocationType={"type": "Fixed"})
    elastic = ready_podnetworking("b-elastic")
    deployment = pod_object(labels={"foo": "bar"}, owner_kind="ReplicaSet")
    assert admit(deployment, [fixed, elastic]).annotations[NETWORKING] == "b-elastic"


def test_where_several_match_exactly_one_of_them_is_taken(admit: Admission) -> None:
    several = [ready_podnetworking(name) for name in ("c", "a", "b")]
    assert admit(POD, several).annotations[NETWORKING] == "a"
