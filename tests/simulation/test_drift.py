"""PodENIs edited and deleted by hand: restored or honoured by rule, and never at a Pod's cost."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from ledger.audit.health import findings
from ledger.rules import entries as e
from ledger.rules.allocation import Phase
from ledger.store.book import Story, record
from ledger.store.brakes import release as release_brake
from ledger.store.repairs import order_repair
from ledger.store.sweeps import accept, begin_sweeping
from ledger.store.work import WorkKey, signal
from tests.simulation.test_sweep import restore, snapshot
from tests.simulation.world import CLUSTER, PODENIS, SimulatedWorld, fixed

PATH = PODENIS.format("example") + "/web-0"


def entry_kinds(world: SimulatedWorld) -> list[str]:
    rows = world.ground.rows("SELECT kind FROM ledger.entry ORDER BY id")
    return [kind for (kind,) in rows]


def edited(world: SimulatedWorld, change: Callable[[dict[str, Any]], None]) -> None:
    """As with `kubectl edit`, once the object and once its status."""
    for path in (PATH, f"{PATH}/status"):
        obj = world.kube.get(PATH)
        change(obj)
        world.kube.update(path, obj)


def removed(world: SimulatedWorld) -> None:
    """Deleted, and its finalizers taken off by hand: gone at once, with no deletion to be seen."""
    world.kube.patch(PATH, {"metadata": {"finalizers": None}})
    world.kube.delete(PATH, {})


def shape(world: SimulatedWorld) -> dict[str, Any]:
    podeni = world.podeni("web-0")
    assert podeni is not None
    metadata = podeni["metadata"]
    return {
        "labels": metadata.get("labels"),
        "annotations": metadata["annotations"],
        "finalizers": metadata.get("finalizers"),
        "spec": podeni["spec"],
        "status": {**podeni["status"], "podLastSeen": ""},
    }


def phase_emptied(obj: dict[str, Any]) -> None:
    obj["status"] |= {"phase": "Unbind", "instanceID": "", "trunkENIID": ""}


def uid_changed(obj: dict[str, Any]) -> None:
    obj["metadata"]["annotations"]["k8s.aliyun.com/pod-uid"] = "by-hand"


def undressed(obj: dict[str, Any]) -> None:
    obj["metadata"]["finalizers"] = []
    obj["metadata"]["labels"] = {}


def address_changed(obj: dict[str, Any]) -> None:
    obj["spec"]["allocations"][0]["ipv4"] = "192.168.31.31"
    obj["spec"]["allocations"][0]["extraRoutes"] = [{"dst": "0.0.0.0/0"}]


def vlan_changed(obj: dict[str, Any]) -> None:
    for info in obj["status"]["eniInfos"].values():
        info["vid"] = 7


EDITS = [phase_emptied, uid_changed, undressed, address_changed, vlan_changed]


@pytest.mark.parametrize("edit", EDITS)
def test_a_bound_podeni_edited_by_hand_is_restored_in_place(
    world: SimulatedWorld, edit: Callable[[dict[str, Any]], None]
) -> None:
    world.create_pod("web-0")
    world.settle(8)
    before, calls = shape(world), len(world.mutating_calls())
    edited(world, edit)
    assert shape(world) != before
    phases: list[str] = []
    world.boundary = lambda name: phases.append((world.podeni("web-0") or {})["status"]["phase"])
    world.settle(8)
    world.boundary = lambda name: None
    assert shape(world) == before
    assert entry_kinds(world).count("podeni-restored") == 1
    if edit is not phase_emptied:
        assert set(phases) == {"Bind"}, "P11: it left Bind under a running Pod"
    assert len(world.mutating_calls()) == calls
    assert [a.phase for a in world.allocations()] == [Phase.BOUND]
    version = world.kube.list("/api/v1/pods")["metadata"]["resourceVersion"]
    world.settle(5)
    assert world.kube.list("/api/v1/pods")["metadata"]["resourceVersion"] == version, "P8"
    world.check_promises()


def test_p8_what_others_write_into_a_podeni_is_left_alone(world: SimulatedWorld) -> None:
    world.create_pod("web-0")
    world.settle(8)

    def beside(obj: dict[str, Any]) -> None:
        obj["metadata"]["labels"]["team"] = "shop"
        obj["metadata"]["annotations"]["note"] = "ours"
        obj["status"]["msg"] = "hello"

    edited(world, beside)
    after = world.podeni("web-0")
    world.settle(70, step=10)
    assert world.podeni("web-0") == after
    assert "podeni-restored" not in entry_kinds(world)


def test_a_podeni_that_vanished_under_its_pod_is_made_anew(world: SimulatedWorld) -> None:
    world.create_pod("web-0")
    world.settle(8)
    before, old = shape(world), world.podeni("web-0")
    removed(world)
    world.settle(8)
    new = world.podeni("web-0")
    assert old is not None
    assert new is not None
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    assert shape(world) == before
    [bound] = world.allocations()
    assert (bound.phase, bound.podeni_uid) == (Phase.BOUND, new["metadata"]["uid"])
    world.delete_pod("web-0")
    world.settle(10)
    assert [a.phase for a in world.allocations()] == [Phase.RESERVED]
    world.check_promises()


@pytest.mark.parametrize("never", [True, False])
def test_p3_a_podeni_that_vanished_while_reserved_gives_its_addresses_up(
    world: SimulatedWorld, never: bool
) -> None:
    network = fixed(strategy="Never") if never else fixed("1h")
    world.create_pod("web-0", networks=[network])
    world.settle(8)
    world.delete_pod("web-0")
    world.settle(10)
    removed(world)
    world.settle(15)
    assert [a.phase for a in world.allocations()] == [Phase.RELEASED]
    assert world.member_enis() == {}
    [(told,)] = world.ground.rows("SELECT data FROM ledger.entry WHERE kind = 'release-requested'")
    assert told["how"] == "podeni-deleted"
    assert told["by"] == "a Kubernetes user"
    assert told["reason"] == "the PodENI is gone"
    world.check_promises()


def test_a_reserved_podeni_edited_by_hand_is_restored(world: SimulatedWorld) -> None:
    world.create_pod("web-0")
    world.settle(8)
    world.delete_pod("web-0")
    world.settle(10)
    before = shape(world)

    def edit(obj: dict[str, Any]) -> None:
        address_changed(obj)
        undressed(obj)
        obj["status"] |= {"phase": "Bind", "instanceID": "i-bp1demo0h1"}

    edited(world, edit)
    world.settle(8)
    assert shape(world) == before
    assert [a.phase for a in world.allocations()] == [Phase.RESERVED]


@pytest.mark.parametrize("gone", [True, False])
def test_the_sweep_finds_what_no_event_told(world: SimulatedWorld, gone: bool) -> None:
    """PodENI events never arrive: the next sweep sees the difference all the same."""
    world.create_pod("web-0")
    world.settle(8)
    before = shape(world)
    del world._watches["podeni"]
    if gone:
        removed(world)
    else:
        edited(world, phase_emptied)
    world.settle(80, step=10)
    assert shape(world) == before
    assert entry_kinds(world).count("podeni-restored") == 1


def test_p11_a_podeni_bound_by_a_later_truth_is_not_restored(world: SimulatedWorld) -> None:
    """The Pod was replaced and no event told: the edit is not undone for the one that is gone."""
    world.create_pod("web-0")
    world.settle(8)
    del world._watches["pod"]
    world.delete_pod("web-0")
    edited(world, uid_changed)
    world.settle(10)
    kinds = entry_kinds(world)
    assert "podeni-restored" not in kinds
    assert "absence-confirmed" in kinds


def test_somebody_who_keeps_editing_is_met_ever_more_rarely(world: SimulatedWorld) -> None:
    world.create_pod("web-0")
    world.settle(8)
    for _ in range(60):
        podeni = world.podeni("web-0")
        if podeni is not None and podeni["status"]["phase"] == "Bind":
            edited(world, phase_emptied)
        world.settle(1)
    assert 2 <= entry_kinds(world).count("podeni-restored") <= 6
    world.advance(timedelta(minutes=10))
    world.settle(5)
    podeni = world.podeni("web-0")
    assert podeni is not None
    assert podeni["status"]["phase"] == "Bind"


# ------------------------------------------------------------------------------ verify


def found(world: SimulatedWorld) -> list[tuple[str, str]]:
    """What `eni-ledger verify` finds, and plans."""
    with world.database.transaction() as connection:
        return [(each.what, each.plan) for each in findings(connection, CLUSTER)]


def repair(world: SimulatedWorld) -> None:
    """As `eni-ledger verify --repair`."""
    with world.database.transaction() as connection:
        due = {each.work for each in findings(connection, CLUSTER) if each.work is not None}
        order_repair(connection, CLUSTER, due, "ann@host", world.time)


def test_the_plan_of_verify_equals_what_repair_does(world: SimulatedWorld) -> None:
    """Found while nobody worked; then one order, and the next verify finds nothing."""
    world.create_pod("web-0")
    world.settle(8)
    before = shape(world)
    assert found(world) == []
    edited(world, phase_emptied)
    world.publish()
    world.take()
    differs = "a PodENI does not show what is held"
    assert found(world) == [(differs, "write it back in place, in phase Bind, after a live look")]
    world.ground.rows("DELETE FROM ledger.work WHERE kind = 'pod' RETURNING 1")
    world.work()
    assert shape(world) != before
    repair(world)
    world.settle(3)
    assert shape(world) == before
    assert found(world) == []
    kinds = entry_kinds(world)
    assert kinds.index("repair-ordered") < kinds.index("podeni-restored")


def test_a_repair_unparks_what_a_person_has_put_right(world: SimulatedWorld) -> None:
    world.create_pod("web-0")
    world.settle(8)
    [bound] = world.allocations()
    with world.database.transaction() as connection:
        parked = e.Parked(reason="two hold it", next_step="look")
        record(connection, [Story(bound.id, bound, (parked,), {})], world.time)
    assert found(world) == [("parked", "unpark it and try again")]
    repair(world)
    world.settle(3)
    assert found(world) == []
    assert world.allocations()[0].parked is None
    world.check_promises()


# ------------------------------------------------------------------------------ changed networks


def test_the_new_pods_annotation_decides_how_long_its_address_is_kept(
    world: SimulatedWorld,
) -> None:
    """TTL changed while reserved: the reservation keeps its terms, the next bind takes the new ones."""
    world.create_pod("web-0", networks=[fixed("1h")])
    world.settle(8)
    address = world.allocations()[0].address
    world.delete_pod("web-0")
    world.settle(10)
    world.create_pod("web-0", networks=[fixed(strategy="Never")])
    world.settle(12)
    [bound] = world.allocations()
    assert (bound.phase, bound.address) == (Phase.BOUND, address)
    assert bound.retention.rule == "never"
    shown = shape(world)["spec"]["allocations"][0]["allocationType"]
    assert shown == {"type": "Fixed", "releaseStrategy": "Never"}
    world.delete_pod("web-0")
    world.settle(10)
    [kept] = world.allocations()
    assert (kept.phase, kept.ttl_due) == (Phase.RESERVED, None)
    world.check_promises()


@pytest.mark.parametrize("away", [False, True])
def test_p4_security_groups_are_changed_on_request_intent_first(
    world: SimulatedWorld, away: bool
) -> None:
    world.create_pod("web-0")
    world.settle(8)
    if away:
        world.delete_pod("web-0")
        world.settle(10)
    [held] = world.allocations()
    assert held.address is not None
    group = "sg-bpyyyy"
    asked = e.SecurityGroupsAsked(security_group_ids=(group,), by="ann", reason="audit")
    with world.database.transaction() as connection:
        record(connection, [Story(held.id, held, (asked,), {})], world.time)
        signal(connection, [WorkKey(CLUSTER, "pod", "example", "web-0")], world.time)
    world.settle(8)
    [eni] = [eni for eni in world.cloud.model.enis() if eni.id == held.address.eni]
    assert tuple(eni.security_group_ids) == (group,)
    [now] = world.allocations()
    assert now.phase is held.phase
    assert now.asked_security_groups is None
    assert shape(world)["spec"]["allocations"][0]["eni"]["securityGroupIDs"] == [group]
    kinds = entry_kinds(world)
    assert kinds[kinds.index("security-groups-asked") + 1 :][:2] == ["call-intended", "call-done"]
    assert world.mutating_calls().count("ModifyNetworkInterfaceAttribute") == 1
    assert now.restorations == 0
    world.check_promises()


# ------------------------------------------------------------------------------ the lost tail


def test_after_a_restore_what_running_pods_use_is_taken_into_the_book(
    world: SimulatedWorld,
) -> None:
    """An empty ledger; nothing is touched until a person orders it, then the Pod's own ENI is adopted."""
    world.create_pod("web-0")
    world.settle(8)
    [lost] = world.allocations()
    before, version = shape(world), world.podeni("web-0")
    restore(world, {name: [] for name in snapshot(world)})
    with world.database.transaction() as connection:
        begin_sweeping(connection, CLUSTER)
    world.settle(20, step=5)
    assert "cloud and ledger disagree" in [what for what, _ in found(world)]
    repair(world)
    world.settle(120, step=10)
    [adopted] = world.allocations()
    assert (adopted.phase, adopted.address) == (Phase.BOUND, lost.address)
    assert adopted.attachment is not None
    assert lost.attachment is not None
    assert adopted.attachment.vlan == lost.attachment.vlan
    assert adopted.retention == lost.retention
    assert shape(world) == before
    assert world.podeni("web-0") == version, "adopting writes nothing"
    [(cause,)] = world.ground.rows("SELECT cause FROM ledger.entry WHERE kind = 'adopted'")
    assert (cause["command"], cause["by"]) == ("verify --repair", "ann@host")
    with world.database.transaction() as connection:
        accept(connection, CLUSTER, "ann@host", world.time)
        release_brake(connection, CLUSTER, "destructive", "ann@host", world.time, {})
    world.settle(120, step=10)
    assert found(world) == []
    world.check_promises()
