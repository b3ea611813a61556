"""P1, P2, P11: what a take-over makes of what is found, and what may be given back."""

import copy
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from ledger.rules.adoption import UsedEni, adopt
from ledger.rules.allocation import Allocation, Phase, Recorded
from ledger.rules.entries import Adopted
from ledger.rules.evolution import fold
from ledger.rules.found_podenis import CloudEni, PodSeen, read_podeni
from ledger.rules.handing_back import fresh_last_seen, in_flight, next_record_write
from ledger.rules.podeni_drift import judge_podeni
from ledger.rules.takeover import Decision, Facts, plan_takeover
from tests.unit.rules.lives import ADDRESS

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
TAGS = {"ack.aliyun.com": "c1", "creator": "terway-controller"}
UNBOUND = CloudEni(ADDRESS, "Available", None, None, None, "Secondary", TAGS)
BOUND = CloudEni(ADDRESS, "InUse", "i-1", "eni-trunk", 1001, "Member", TAGS)


def podeni(phase: str = "Bind", **allocation_type: str) -> dict[str, Any]:
    """As the incumbent writes it: no interface name, no empty fields."""
    status: dict[str, Any] = {"phase": phase}
    info = {"id": ADDRESS.eni, "type": "Member", "vid": 1001, "status": phase}
    if phase == "Bind":
        status |= {"instanceID": "i-1", "trunkENIID": "eni-trunk"}
    status["eniInfos"] = {ADDRESS.eni: info}
    eni = {
        "id": ADDRESS.eni,
        "mac": ADDRESS.mac,
        "vpcID": ADDRESS.vpc,
        "zone": ADDRESS.zone,
        "vSwitchID": ADDRESS.vswitch,
        "securityGroupIDs": [*reversed(ADDRESS.security_group_ids)],
    }
    item: dict[str, Any] = {
        "allocationType": allocation_type or {"type": "Elastic", "releaseStrategy": "TTL"},
        "eni": eni,
        "ipv4": ADDRESS.ipv4,
        "ipv4CIDR": "192.168.0.0/19",
    }
    if ADDRESS.ipv6:
        item |= {"ipv6": ADDRESS.ipv6.upper(), "ipv6CIDR": "2408::/64"}
    return {
        "metadata": {
            "namespace": "shop",
            "name": "web-0",
            "uid": "pe-1",
            "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"k8s.aliyun.com/node": "node-h1"},
            "annotations": {"k8s.aliyun.com/pod-uid": "uid-1"},
            "finalizers": ["pod-eni"],
        },
        "spec": {"zone": ADDRESS.zone, "allocations": [item]},
        "status": status,
    }


def ids() -> Callable[[], UUID]:
    numbers = itertools.count(1)
    return lambda: UUID(int=next(numbers))


def planned(
    found: dict[str, Any], eni: CloudEni, pod: PodSeen | None
) -> tuple[Decision, Allocation]:
    facts = Facts("c1", NOW, [found], {}, {ADDRESS.eni: eni}, {("shop", "web-0"): pod}, [])
    [decision] = plan_takeover(facts, ids())
    [taking] = decision.takings
    story = [
        Recorded(allocation_id=taking.allocation_id, version=n, recorded_at=NOW, entry=entry)
        for n, entry in enumerate(taking.entries, 1)
    ]
    return decision, fold(story)


@given(
    seconds=st.integers(min_value=0, max_value=10**7),
    ago=st.integers(min_value=-600, max_value=10**7),
)
def test_p2_a_reservation_never_ends_sooner_than_the_incumbent_would_end_it(
    seconds: int, ago: int
) -> None:
    found = podeni("Unbind", type="Fixed", releaseStrategy="TTL", releaseAfter=f"{seconds}s")
    seen = NOW - timedelta(seconds=ago)
    found["status"]["podLastSeen"] = seen.strftime("%Y-%m-%dT%H:%M:%SZ")
    decision, state = planned(found, UNBOUND, None)
    theirs = seen + timedelta(seconds=seconds)
    assert (decision.what, state.phase) == ("reserved", Phase.RESERVED)
    assert state.ttl_due == decision.due
    assert state.ttl_due is not None
    assert state.ttl_due >= theirs
    if seconds >= 300:
        assert state.ttl_due == theirs
    # And given back, the incumbent ends it no sooner than we would have.
    back = fresh_last_seen(found, [state], NOW) or found
    again = datetime.fromisoformat(back["status"]["podLastSeen"])
    assert again + timedelta(seconds=seconds) >= state.ttl_due


def test_an_adopted_podeni_shows_what_is_held_as_it_is_written() -> None:
    """Else each would be written back, spec and all, as soon as it rests."""
    runs = PodSeen("uid-1", "node-h1", True)
    for kind in ({}, {"type": "Fixed", "releaseStrategy": "Never"}):
        found = podeni("Bind", **kind)
        decision, state = planned(found, BOUND, runs)
        assert (decision.what, state.phase) == ("bound", Phase.BOUND)
        assert judge_podeni(found, [state], NOW) is None
        bare = copy.deepcopy(found)
        del bare["status"]["trunkENIID"]
        exclusive = CloudEni(ADDRESS, "InUse", "i-1", None, None, "Secondary", TAGS)
        _, state = planned(bare, exclusive, runs)
        bare["status"]["eniInfos"][ADDRESS.eni] |= {"type": "Secondary"}
        assert judge_podeni(bare, [state], NOW) is None
    rests = podeni("Unbind", type="Fixed", releaseStrategy="Never")
    rests["status"]["podLastSeen"] = "2026-01-01T00:00:00Z"
    _, state = planned(rests, UNBOUND, None)
    assert judge_podeni(rests, [state], NOW) is None


def test_a_lost_tail_is_adopted_with_the_cidr_of_its_podeni() -> None:
    """A ledger that never looked at the vSwitch would write an empty one: agents need it for the gateway."""
    blind = ADDRESS.model_copy(update={"ipv4_cidr": "", "ipv6_cidr": ""})
    used = {ADDRESS.eni: UsedEni(blind, "i-1", "eni-trunk", 1001, "Member")}
    judged = adopt("c1", podeni("Bind"), ("uid-1", "node-h1"), used, [], ids())
    assert not isinstance(judged, str)
    [adoption] = judged
    adopted = adoption.entries[-1]
    assert isinstance(adopted, Adopted)
    assert adopted.address.ipv4_cidr == "192.168.0.0/19"


def test_p11_a_record_that_would_cut_a_running_pod_off_is_put_right() -> None:
    found = podeni("Bind")
    [item] = read_podeni(found, {}, {}).items
    write = next_record_write(None, found, item)
    assert write is not None
    record = {**write.obj, "metadata": {**write.obj["metadata"], "resourceVersion": "1"}}
    record["status"] = {"phase": "Detaching", "eniInfo": {"id": ADDRESS.eni}, "instanceID": "i-0"}
    write = next_record_write(record, found, item)
    assert write is not None
    assert write.verb == "replace-status"
    status = write.obj["status"]
    assert (status["phase"], status["instanceID"], status["nodeName"]) == ("Bind", "i-1", "node-h1")
    assert next_record_write(write.obj, found, item) is None
    going = {**write.obj, "metadata": {**record["metadata"], "deletionTimestamp": "x"}}
    renewed = next_record_write(going, found, item)
    assert renewed is not None
    assert renewed.verb == "renew"


def test_only_what_rests_is_given_back() -> None:
    _, bound = planned(podeni("Bind"), BOUND, PodSeen("uid-1", "node-h1", True))
    assert in_flight(bound) is None
    _, leaving = planned(podeni("Bind"), BOUND, None)
    assert "looked at" in str(in_flight(leaving))
    _, waits = planned(podeni(""), UNBOUND, PodSeen("uid-1", "node-h1", True))
    assert in_flight(waits) == "it is wanted"


def test_p11_an_address_that_a_running_pod_reports_is_in_use_whatever_an_annotation_says() -> None:
    runs = PodSeen("uid-2", "node-h1", True, ips=(ADDRESS.ipv4,))
    facts = Facts("c1", NOW, [podeni()], {}, {ADDRESS.eni: BOUND}, {("shop", "web-0"): runs}, [])
    [decision] = plan_takeover(facts, ids())
    assert decision.what == "unclear"
    assert not decision.takings
    assert "uid-1" in decision.why
    assert "uid-2" in decision.why
