"""What is heard of a Pod or PodENI: level-triggered, decided once, and never destructive (P5, P11)."""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.rules import entries as e
from ledger.rules.allocation import Allocation, Phase, Recorded
from ledger.rules.evolution import evolve
from ledger.rules.networks import networks_to_allocate
from ledger.rules.pod_decisions import (
    PodDecision,
    SeenPod,
    decide_pod,
    decide_podeni,
    retention_of,
)
from ledger.rules.pods import PodFacts
from tests.unit.rules.lives import NEVER, START, Life

FIXED = {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1h"}


def network(interface: str = "eth0", **more: Any) -> dict[str, Any]:
    return {
        "interface": interface,
        "vSwitchOptions": ["vsw-h"],
        "securityGroupIDs": ["sg-1"],
        "allocationType": FIXED,
        **more,
    }


def annotation(*networks: dict[str, Any]) -> str:
    return json.dumps({"podNetworks": list(networks or (network(),))})


def pod(
    uid: str = "uid-1",
    *,
    node: str = "node-h1",
    phase: str = "Running",
    networks: str | None = None,
    eni: str = "true",
    labels: dict[str, str] | None = None,
    host_network: bool = False,
    deleting: bool = False,
) -> SeenPod:
    annotations = {"k8s.aliyun.com/pod-eni": eni}
    if networks != "":
        annotations["k8s.aliyun.com/pod-networks"] = networks or annotation()
    facts = PodFacts(
        namespace="shop",
        name="web-0",
        uid=uid,
        node_name=node,
        phase=phase,
        annotations=annotations,
        labels=labels or {},
        host_network=host_network,
        deleting=deleting,
    )
    return SeenPod("c1", "shop", "web-0", uid, facts)


def gone(uid: str = "uid-1") -> SeenPod:
    return SeenPod("c1", "shop", "web-0", uid, None)


def ids() -> Callable[[], UUID]:
    numbers = itertools.count(100)
    return lambda: UUID(int=next(numbers))


def decide(seen: SeenPod, *held: Life | Allocation) -> PodDecision:
    return decide_pod(seen, [one.a if isinstance(one, Life) else one for one in held], ids())


def applied(decided: PodDecision, held: Sequence[Allocation]) -> list[Allocation]:
    """`held` after the decision was recorded."""
    states = {a.id: a for a in held}
    for decision in decided.decisions:
        before = states.get(decision.allocation_id)
        recorded = Recorded(
            allocation_id=decision.allocation_id,
            version=before.version + 1 if before else 1,
            recorded_at=START,
            entry=decision.entry,
        )
        states[decision.allocation_id] = evolve(before, recorded)
    return list(states.values())


def kinds(decided: PodDecision) -> list[str]:
    return [decision.entry.kind for decision in decided.decisions]


# ---------------------------------------------------------------------------- a Pod that wants one


def test_a_scheduled_pod_requests_each_interface_it_names() -> None:
    decided = decide(pod(networks=annotation(network("eth0"), network("eth1"))))
    assert kinds(decided) == ["requested", "requested"]
    first, second = (decision.entry for decision in decided.decisions)
    assert isinstance(first, e.Requested)
    assert isinstance(second, e.Requested)
    assert (first.interface, second.interface) == ("eth0", "eth1")
    assert (first.pod_uid, first.node, first.cluster) == ("uid-1", "node-h1", "c1")
    assert first.terms.vswitch_ids == ("vsw-h",)
    assert first.retention == e.Retention(rule="ttl", after_s=3600)


def test_the_terms_are_what_the_annotation_says() -> None:
    asked = network(
        eniOptions={"eniType": "Trunk"},
        vSwitchSelectOptions={"vSwitchSelectionPolicy": "most"},
        resourceGroupID="rg-1",
        defaultRoute=True,
        extraRoutes=[{"dst": "10.0.0.0/8"}],
    )
    [decision] = decide(pod(networks=annotation(asked))).decisions
    assert isinstance(decision.entry, e.Requested)
    assert decision.entry.terms == e.Terms(
        vswitch_ids=("vsw-h",),
        security_group_ids=("sg-1",),
        eni_type="Trunk",
        selection_policy="most",
        resource_group_id="rg-1",
        default_route=True,
        extra_routes=("10.0.0.0/8",),
        allocation_type="Fixed",
        release_strategy="TTL",
        release_after="1h",
    )


@pytest.mark.parametrize(
    "seen",
    [
        gone(),
        pod(node=""),
        pod(eni="false"),
        pod(eni=""),
        pod(host_network=True),
        pod(labels={"k8s.aliyun.com/ignore-by-terway": "true"}),
        pod(phase="Succeeded"),
        pod(phase="Failed"),
        pod(deleting=True),
    ],
)
def test_who_wants_no_network_requests_none(seen: SeenPod) -> None:
    assert decide(seen) == PodDecision()


def test_a_pod_that_is_being_deleted_keeps_what_it_has() -> None:
    """Its containers may still run: the ENI stays until the Pod is gone or terminal (reference §5.1)."""
    assert decide(pod(deleting=True), Life().bound()) == PodDecision()


def test_a_pod_admitted_without_networks_says_why_it_waits() -> None:
    problem = decide(pod(networks="")).problem
    assert problem is not None
    assert "podNetworking is empty" in problem


@pytest.mark.parametrize("text", ["{", '{"podNetworks": [{"interface": "eth0"}]}', "[]"])
def test_networks_that_can_not_be_read_are_a_problem_and_no_request(text: str) -> None:
    decided = decide(pod(networks=text))
    assert not decided.decisions
    assert decided.problem is not None
    assert "pod-networks" in decided.problem


def test_w1_an_unreadable_annotation_still_reports_who_is_gone() -> None:
    assert kinds(decide(pod("uid-2", networks="{"), Life().bound())) == ["gone-reported"]


# ---------------------------------------------------------------------------- who is gone


@pytest.mark.parametrize(
    ("seen", "how"),
    [
        (gone(), "deleted"),
        (pod(phase="Succeeded"), "terminal"),
        (pod(phase="Failed"), "terminal"),
        (pod("uid-2"), "replaced"),
        (pod("uid-2", phase="Failed"), "replaced"),
        (pod("uid-2", node=""), "replaced"),
        (pod("uid-2", host_network=True), "replaced"),
    ],
)
@pytest.mark.parametrize("life", [Life, lambda: Life().created(), lambda: Life().bound()])
def test_p11_what_is_heard_raises_a_question_and_no_more(
    seen: SeenPod, how: str, life: Callable[[], Life]
) -> None:
    [decision] = decide(seen, life()).decisions
    assert decision.entry == e.GoneReported.model_validate({"pod_uid": "uid-1", "how": how})


def test_the_holder_itself_raises_no_question() -> None:
    for life in (Life(), Life().created(), Life().bound()):
        assert decide(pod(), life) == PodDecision()
        assert decide(pod(networks=annotation(network())), life) == PodDecision()


def test_changes_of_labels_and_annotations_reach_no_pod_that_has_its_network() -> None:
    assert decide(pod(eni="false"), Life().bound()) == PodDecision()
    assert decide(pod(labels={"k8s.aliyun.com/ignore-by-terway": "true"}), Life().bound()) == (
        PodDecision()
    )


# ---------------------------------------------------------------------------- who comes back


@pytest.mark.parametrize("life", [lambda: Life().bound().gone(), lambda: Life().reserved()])
@pytest.mark.parametrize("node", ["node-h1", "node-h2"])
def test_w1_a_pod_that_comes_back_claims_its_reservation(
    life: Callable[[], Life], node: str
) -> None:
    held = life()
    [decision] = decide(pod("uid-2", node=node), held).decisions
    assert decision.entry == e.Claimed(pod_uid="uid-2", node=node)
    assert decision.allocation_id == held.id


def test_a_pod_waits_until_its_predecessor_is_found_gone() -> None:
    for life in (Life(), Life().created(), Life().bound()):
        assert kinds(decide(pod("uid-2"), life)) == ["gone-reported"]
        life.tell(e.GoneReported(pod_uid="uid-1", how="replaced"))
        assert decide(pod("uid-2"), life) == PodDecision()


def test_what_is_going_back_stands_in_nobodys_way() -> None:
    assert kinds(decide(pod("uid-2"), Life().reserved().releasing())) == ["requested"]


def test_p5_an_old_message_of_a_pod_that_was_found_gone_requests_nothing() -> None:
    for life in (
        Life(retention=e.Retention(rule="none")).bound().gone().releasing("elastic"),
        Life().gone().releasing("never-allocated").tell(e.Released()),
    ):
        assert decide(pod("uid-1"), life) == PodDecision()


def test_a_new_interface_is_requested_beside_the_claimed_one() -> None:
    both = annotation(network("eth0"), network("eth1"))
    assert kinds(decide(pod("uid-2", networks=both), Life().reserved())) == ["claimed", "requested"]


def test_p3_an_interface_that_is_asked_for_no_more_is_kept_as_promised() -> None:
    first, second = Life().reserved(), Life(number=2, interface="eth1", retention=NEVER).reserved()
    [decision] = decide(pod("uid-2"), first, second).decisions
    assert decision.allocation_id == first.id


def test_an_annotation_changed_on_a_running_pod_requests_nothing() -> None:
    both = annotation(network("eth0"), network("eth1"))
    for life in (Life(), Life().created(), Life().bound()):
        assert decide(pod(networks=both), life) == PodDecision()


def test_p3_a_reservation_on_its_way_out_is_not_claimed_back() -> None:
    """Its PodENI may be terminating: the Pod waits for the decision and gets a fresh address."""
    life = Life().reserved()
    life.tell(e.ReleaseRequested(how="podeni-deleted", by="u", reason="r"))
    assert decide(pod("uid-2"), life) == PodDecision()
    life.tell(e.ReleaseDecided(why="requested"))
    assert kinds(decide(pod("uid-2"), life)) == ["requested"]


def test_p3_an_interface_on_its_way_out_holds_the_others_back() -> None:
    """One PodENI carries all of them: they are requested together."""
    first, second = Life().reserved(), Life(number=2, interface="eth1").reserved()
    second.tell(e.ReleaseRequested(how="command", by="u", reason="r"))
    both = annotation(network("eth0"), network("eth1"))
    assert decide(pod("uid-3", networks=both), first, second) == PodDecision()


# ---------------------------------------------------------------------------- P5, P11 at large

LIVES: tuple[Callable[[int, str], Life], ...] = (
    lambda n, i: Life(number=n, interface=i),
    lambda n, i: Life(number=n, interface=i).created(),
    lambda n, i: Life(number=n, interface=i).bound(),
    lambda n, i: Life(number=n, interface=i).bound().gone(),
    lambda n, i: Life(number=n, interface=i).reserved(),
    lambda n, i: Life(number=n, interface=i).reserved().releasing(),
    lambda n, i: Life(number=n, interface=i, retention=NEVER).reserved(),
    lambda n, i: (
        Life(number=n, interface=i)
        .reserved()
        .tell(e.ReleaseRequested(how="command", by="b", reason="r"))
    ),
    lambda n, i: Life(number=n, interface=i).gone().releasing("never-allocated").tell(e.Released()),
)
SEEN = st.one_of(
    st.builds(gone, st.sampled_from(["uid-1", "uid-2"])),
    st.builds(
        pod,
        st.sampled_from(["uid-1", "uid-2"]),
        node=st.sampled_from(["", "node-h1", "node-h2"]),
        phase=st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]),
        eni=st.sampled_from(["true", "false"]),
        deleting=st.booleans(),
        networks=st.sampled_from(
            [
                annotation(network("eth0")),
                annotation(network("eth1")),
                annotation(network("eth0"), network("eth1")),
                "{",
                "",
            ]
        ),
    ),
)
HELD = st.tuples(
    st.sampled_from((None, *LIVES)),
    st.sampled_from((None, *LIVES)),
    st.sampled_from((None, *LIVES)),
).map(
    lambda made: [
        make(number, interface).a
        for number, (make, interface) in enumerate(
            zip(made, ("eth0", "eth1", "eth2"), strict=True), start=1
        )
        if make is not None
    ]
)


@given(seen=SEEN, held=HELD)
def test_p5_the_same_observation_decided_again_yields_nothing(
    seen: SeenPod, held: list[Allocation]
) -> None:
    first = decide_pod(seen, held, ids())
    again = decide_pod(seen, applied(first, held), ids())
    assert again.decisions == ()
    assert again.problem == first.problem


@given(seen=SEEN, held=HELD)
def test_p11_what_is_heard_is_never_destructive(seen: SeenPod, held: list[Allocation]) -> None:
    for decision in decide_pod(seen, held, ids()).decisions:
        assert isinstance(decision.entry, e.Requested | e.Claimed | e.GoneReported)


@given(seen=SEEN, held=HELD)
def test_p1_no_interface_is_requested_twice(seen: SeenPod, held: list[Allocation]) -> None:
    serving = [a.interface for a in applied(decide_pod(seen, held, ids()), held) if a.serving]
    assert len(serving) == len(set(serving))


@given(first=SEEN, second=SEEN, held=HELD)
def test_p5_only_the_newest_counts_whatever_was_decided_before(
    first: SeenPod, second: SeenPod, held: list[Allocation]
) -> None:
    """Skipping an observation changes at most which questions were raised, never who is served."""
    with_first = applied(decide_pod(first, held, ids()), held)
    decided = decide_pod(second, with_first, ids())
    for decision in decided.decisions:
        if isinstance(decision.entry, e.Claimed | e.Requested):
            assert decision.entry.pod_uid == second.running_uid


# ---------------------------------------------------------------------------- a PodENI deleted


def test_p3_a_deleted_podeni_asks_for_the_release_once() -> None:
    life = Life().reserved()
    [decision] = decide_podeni("pe-1", True, "ann", [life.a])
    assert decision.entry == e.ReleaseRequested(
        how="podeni-deleted", by="ann", reason="the PodENI was deleted", podeni_uid="pe-1"
    )
    life.tell(decision.entry)
    assert decide_podeni("pe-1", True, "ann", [life.a]) == ()


def test_p3_only_the_podeni_that_carries_it_counts() -> None:
    assert decide_podeni("pe-9", True, "ann", [Life().reserved().a]) == ()
    assert decide_podeni("pe-1", False, "ann", [Life().reserved().a]) == ()
    assert decide_podeni("pe-1", True, "ann", [Life().reserved().releasing().a]) == ()


def test_p11_a_deleted_podeni_detaches_no_running_pod() -> None:
    life = Life().bound()
    [decision] = decide_podeni("pe-1", True, "ann", [life.a])
    assert life.tell(decision.entry).a.phase is Phase.BOUND


# ---------------------------------------------------------------------------- retention


def retention(*types: dict[str, str]) -> e.Retention:
    elements = [network(f"eth{at}", allocationType=each) for at, each in enumerate(types)]
    return retention_of(networks_to_allocate(annotation(*elements)))


ELASTIC = {"type": "Elastic"}


def fixed(strategy: str = "", after: str = "") -> dict[str, str]:
    told = {"type": "Fixed", "releaseStrategy": strategy, "releaseAfter": after}
    return {name: value for name, value in told.items() if value}


@pytest.mark.parametrize(
    ("types", "rule", "after_s"),
    [
        ([ELASTIC], "none", None),
        ([{}], "none", None),
        ([ELASTIC | {"releaseStrategy": "Never"}], "none", None),
        ([fixed("TTL", "1h")], "ttl", 3600),
        ([fixed("TTL", "1h30m")], "ttl", 5400),
        ([fixed("TTL", "0s")], "ttl", 0),
        ([fixed("TTL", "1s")], "ttl", 1),  # W13: below the minimum it is honoured as written
        ([fixed("Never")], "never", None),
        ([fixed()], "never", None),  # W13: Fixed without a strategy is kept for ever
        ([fixed("", "5m")], "never", None),
        ([fixed("TTL")], "never", None),
        ([fixed("TTL", "1d")], "never", None),
        ([fixed("TTL", "soon")], "never", None),
        ([fixed("TTL", "-1h")], "never", None),
        ([fixed("TTL", "-1us")], "never", None),
        # one PodENI carries all interfaces: the longest keeps them all
        ([ELASTIC, fixed("TTL", "5m")], "ttl", 300),
        ([fixed("TTL", "5m"), fixed("TTL", "1h")], "ttl", 3600),
        ([fixed("TTL", "5m"), fixed("Never")], "never", None),
        ([ELASTIC, fixed("TTL", "x"), fixed("TTL", "5m")], "never", None),
    ],
)
def test_p2_how_long_the_addresses_of_a_pod_outlive_it(
    types: list[dict[str, str]], rule: str, after_s: float | None
) -> None:
    assert retention(*types) == e.Retention.model_validate({"rule": rule, "after_s": after_s})


def test_the_running_uid_is_nobodys_once_the_sandbox_is_gone() -> None:
    assert pod().running_uid == "uid-1"
    assert pod(phase="Failed").running_uid is None
    assert gone().running_uid is None
    assert replace(pod(), pod=None).running_uid is None
