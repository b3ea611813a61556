"""Matching is deterministic, explains itself and never decides on what it doesn't know."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.rules import matching
from ledger.rules.matching import match
from ledger.rules.podnetworkings import PodNetworking
from ledger.rules.pods import Owner, PodFacts

FOO = {"matchLabels": {"foo": "bar"}}
POD = PodFacts("example", "p-0", labels={"foo": "bar"}, owners=(Owner("StatefulSet", "p", "u"),))
NAMESPACE = {"foo": "bar"}


def pn(
    name: str,
    pod: object = None,
    namespace: object = None,
    status: str = "Ready",
    type_: str = "Elastic",
) -> PodNetworking:
    spec: dict[str, Any] = {
        "allocationType": {"type": type_},
        "selector": {"podSelector": pod, "namespaceSelector": namespace},
    }
    return PodNetworking.from_object(
        {"metadata": {"name": name}, "spec": spec, "status": {"status": status}}
    )


def outcomes(*podnetworkings: PodNetworking, pod: PodFacts = POD) -> dict[str, str]:
    return {each.name: each.outcome for each in match(pod, NAMESPACE, podnetworkings).considered}


def test_both_selectors_must_match() -> None:
    assert match(POD, NAMESPACE, [pn("a", FOO, FOO)]).chosen is not None
    assert match(POD, {}, [pn("a", FOO, FOO)]).chosen is None
    assert match(PodFacts("example", "p"), NAMESPACE, [pn("a", FOO, FOO)]).chosen is None


def test_every_reason_is_given() -> None:
    deployment = PodFacts(
        "example", "p", labels={"foo": "bar"}, owners=(Owner("ReplicaSet", "r", "u"),)
    )
    report = match(
        deployment,
        NAMESPACE,
        [
            pn("chosen", FOO, FOO),
            pn("also", FOO),
            pn("fresh", FOO, status=""),
            pn("failed", FOO, status="Fail"),
            pn("bare"),
            pn("broken", {"matchLabels": {"a b": "c"}}),
            pn("fixed", FOO, type_="Fixed"),
            pn("pod", {"matchLabels": {"foo": "baz"}}),
            pn("namespace", None, {"matchLabels": {"team": "x"}}),
        ],
    )
    assert {each.name: each.outcome for each in report.considered} == {
        "chosen": matching.CHOSEN,
        "also": matching.ALSO_MATCHES,
        "fresh": matching.NOT_READY,
        "failed": matching.NOT_READY,
        "bare": matching.NO_SELECTOR,
        "broken": matching.INVALID_SELECTOR,
        "fixed": matching.NOT_STATEFUL,
        "pod": matching.POD_SELECTOR,
        "namespace": matching.NAMESPACE_SELECTOR,
    }
    assert report.others == ("also",)
    reasons = {each.name: each.reason for each in report.considered}
    assert reasons["pod"] == "podSelector wants foo=baz, the Pod has foo=bar"
    assert reasons["namespace"] == (
        "namespaceSelector wants team=x, namespace example has no label team"
    )
    assert "ReplicaSet" in reasons["fixed"]
    assert "not looked at yet" in reasons["fresh"]


@pytest.mark.parametrize(
    ("podnetworkings", "chosen"),
    [
        ([pn("a", FOO), pn("z", FOO, FOO)], "z"),
        ([pn("a", {}), pn("z", FOO)], "z"),
        ([pn("b", FOO), pn("a", FOO)], "a"),
        ([pn("a", FOO), pn("z", {}, {})], "z"),
        ([pn("a", None, FOO), pn("b", FOO)], "a"),
    ],
)
def test_the_documented_order(podnetworkings: list[PodNetworking], chosen: str) -> None:
    report = match(POD, NAMESPACE, podnetworkings)
    assert report.chosen is not None
    assert report.chosen.name == chosen
    assert report == match(POD, NAMESPACE, list(reversed(podnetworkings)))


selectors = st.sampled_from([None, {}, FOO, {"matchLabels": {"foo": "baz"}}])


@given(
    st.lists(st.tuples(selectors, selectors, st.sampled_from(["Ready", "Fail"])), max_size=6),
    st.randoms(use_true_random=False),
)
def test_the_order_of_delivery_plays_no_part(
    parts: list[tuple[object, object, str]], dice: random.Random
) -> None:
    listed = [pn(f"pn-{at}", *part) for at, part in enumerate(parts)]
    report = match(POD, NAMESPACE, listed)
    dice.shuffle(listed)
    assert match(POD, NAMESPACE, listed) == report
    assert len(report.considered) == len(listed)


def test_an_unknown_namespace_leaves_it_undecided_only_where_it_matters() -> None:
    report = match(POD, None, [pn("by-namespace", None, FOO), pn("by-pod", FOO)])
    assert report.chosen is None
    assert report.undecided == ("by-namespace",)
    irrelevant = [pn("other", {"matchLabels": {"foo": "baz"}}, FOO), pn("by-pod", FOO)]
    decided = match(POD, None, irrelevant)
    assert decided.undecided == ()
    assert decided.chosen is not None
    assert decided.chosen.name == "by-pod"


def test_a_fixed_podnetworking_takes_custom_kinds_where_they_are_configured() -> None:
    game = PodFacts(
        "example", "g-0", labels={"foo": "bar"}, owners=(Owner("GameServer", "g", "u"),)
    )
    fixed = pn("fixed", FOO, type_="Fixed")
    assert match(game, NAMESPACE, [fixed]).chosen is None
    assert match(game, NAMESPACE, [fixed], ("GameServer",)).chosen == fixed
    assert outcomes(fixed) == {"fixed": matching.CHOSEN}
