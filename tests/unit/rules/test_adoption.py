"""A lost tail is adopted only where PodENI, Pod and cloud agree on one holder (P1, P11)."""

import copy
import itertools
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from ledger.rules import entries as e
from ledger.rules.adoption import UsedEni, adopt
from ledger.rules.allocation import Phase, Recorded
from ledger.rules.evolution import fold
from tests.unit.rules.lives import ADDRESS, START, TTL_1H, Life

PODENI: dict[str, Any] = {
    "metadata": {
        "namespace": "shop",
        "name": "web-0",
        "uid": "pe-1",
        "annotations": {"k8s.aliyun.com/pod-uid": "uid-1"},
    },
    "spec": {
        "allocations": [
            {
                "allocationType": {
                    "type": "Fixed",
                    "releaseStrategy": "TTL",
                    "releaseAfter": "1h",
                },
                "eni": {"id": "eni-1", "mac": ADDRESS.mac},
                "interface": "eth0",
                "ipv4": ADDRESS.ipv4,
            }
        ]
    },
    "status": {"phase": "Bind", "instanceID": "i-1", "trunkENIID": "eni-trunk"},
}
USED = {"eni-1": UsedEni(ADDRESS, "i-1", "eni-trunk", 1001, "Member")}


def ids() -> Callable[[], UUID]:
    numbers = itertools.count(1)
    return lambda: UUID(int=next(numbers))


def test_an_unknown_pod_is_taken_in_bound_with_its_own_terms() -> None:
    judged = adopt("c1", PODENI, ("uid-1", "node-h1"), USED, [], ids())
    assert not isinstance(judged, str)
    [adoption] = judged
    story = [
        Recorded(allocation_id=adoption.allocation_id, version=n, recorded_at=START, entry=entry)
        for n, entry in enumerate(adoption.entries, 1)
    ]
    state = fold(story)
    assert state.phase is Phase.BOUND
    assert state.address == ADDRESS
    assert state.retention == TTL_1H
    assert state.attachment is not None
    assert state.attachment.vlan == 1001
    assert state.podeni_uid == "pe-1"


def test_the_request_that_its_own_event_opened_is_filled() -> None:
    life = Life()
    judged = adopt("c1", PODENI, ("uid-1", "node-h1"), USED, [life.a], ids())
    assert not isinstance(judged, str)
    [adoption] = judged
    assert (adoption.before, [each.kind for each in adoption.entries]) == (life.a, ["adopted"])


def test_p11_where_anything_disagrees_nothing_is_adopted() -> None:
    def changed(*path: Any, to: Any) -> dict[str, Any]:
        podeni = copy.deepcopy(PODENI)
        at = podeni
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = to
        return podeni

    disagreeing = [
        changed("status", "phase", to="Unbind"),
        changed("status", "instanceID", to="i-2"),
        changed("status", "trunkENIID", to=""),
        changed("metadata", "deletionTimestamp", to="2026-01-01T00:00:00Z"),
        changed("metadata", "annotations", to={"k8s.aliyun.com/pod-uid": "uid-0"}),
        changed("spec", "allocations", 0, "ipv4", to="192.168.0.99"),
    ]
    for podeni in disagreeing:
        assert isinstance(adopt("c1", podeni, ("uid-1", "node-h1"), USED, [], ids()), str)
    assert isinstance(adopt("c1", PODENI, ("uid-1", "node-h1"), {}, [], ids()), str)


@pytest.mark.parametrize(
    "life",
    [
        Life().reserved(),
        Life().bound(),
        Life(uid="uid-0"),
        Life().created(eni="eni-2").attached(),
        Life().tell(e.Parked(reason="r", next_step="n")),
    ],
    ids=["reserved", "bound", "another uid", "another ENI", "parked"],
)
def test_p1_what_somebody_else_holds_is_not_adopted(life: Life) -> None:
    assert isinstance(adopt("c1", PODENI, ("uid-1", "node-h1"), USED, [life.a], ids()), str)


def test_a_bind_that_was_never_recorded_is_taken_in_over_its_own_address() -> None:
    """After a restore: claimed by the Pod's event, its ENI still attached for the Pod before."""
    life = Life().bound().gone().tell(e.Claimed(pod_uid="uid-2", node="node-h1"))
    podeni = copy.deepcopy(PODENI)
    podeni["metadata"]["annotations"]["k8s.aliyun.com/pod-uid"] = "uid-2"
    judged = adopt("c1", podeni, ("uid-2", "node-h1"), USED, [life.a], ids())
    assert not isinstance(judged, str)
    [adoption] = judged
    state = life.tell(*adoption.entries).a
    assert (state.phase, state.pod_uid, state.stale_attachment) == (Phase.BOUND, "uid-2", False)
