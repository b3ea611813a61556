"""P4, P11: ENIs lost behind our back, and bound PodENIs of which a restored ledger does not know.

A running Pod whose ENI is gone gets no other: it is told, it is visible, and nothing spins. Its successor is
served as ever.
"""

import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from ledger.audit.health import findings
from ledger.rules.allocation import Allocation, Phase
from ledger.store.brakes import release as release_brake
from ledger.store.repairs import order_repair
from ledger.store.sweeps import accept
from tests.simulation.test_sweep import restore, snapshot
from tests.simulation.world import CLUSTER, Crash, SimulatedWorld, elastic, fixed

TWO_SWEEPS_S = 150


def bound(world: SimulatedWorld, **how: Any) -> Allocation:
    world.create_pod("web-0", **how)
    world.settle(10)
    [a] = world.allocations()
    assert a.phase is Phase.BOUND
    return a


def someone_detaches(world: SimulatedWorld, a: Allocation) -> None:
    assert a.attachment is not None
    someone_detaches_from(world, a.attachment.instance_id, a.attachment.trunk_eni_id, a)
    assert a.address is not None
    assert world.member_enis()[a.address.eni] == "Available"


def someone_detaches_from(
    world: SimulatedWorld, instance: str, trunk: str | None, a: Allocation
) -> None:
    assert a.address is not None
    world.cloud.model.detach(a.address.eni, instance, trunk)
    world.settle(10)


def someone_deletes(world: SimulatedWorld, a: Allocation) -> None:
    someone_detaches(world, a)
    assert a.address is not None
    world.cloud.model.delete(a.address.eni)
    world.settle(10)
    assert a.address.eni not in world.member_enis()


def someone_moves(world: SimulatedWorld, a: Allocation) -> None:
    someone_detaches(world, a)
    assert a.address is not None
    world.cloud.model.attach(a.address.eni, "i-bp1demo0h2", "eni-bp1trunk0h2", None)
    world.settle(10)
    assert world.member_enis()[a.address.eni] == "InUse"


def notes(world: SimulatedWorld) -> list[str]:
    found = world.kube.list("/apis/events.k8s.io/v1/namespaces/example/events")["items"]
    return [f"{each['reason']}: {each['note']}" for each in found]


def told(world: SimulatedWorld) -> list[tuple[str, str]]:
    with world.database.transaction() as connection:
        return [(each.what, each.subject) for each in findings(connection, CLUSTER)]


@pytest.mark.parametrize("loss", [someone_detaches, someone_deletes, someone_moves])
@pytest.mark.parametrize("network", [fixed("1h"), elastic()], ids=["fixed", "elastic"])
def test_a_running_pod_that_lost_its_eni_is_parked_and_told_once(
    world: SimulatedWorld, loss: Callable[..., None], network: dict[str, Any]
) -> None:
    before = bound(world, networks=[network])
    assert before.address is not None
    loss(world, before)
    calls = len(world.mutating_calls())
    world.settle(TWO_SWEEPS_S, step=5)
    [parked] = world.allocations()
    assert (parked.phase, parked.pod_uid) == (Phase.BOUND, before.pod_uid)
    assert "behind our back" in str(parked.parked)
    assert ("parked", "example/web-0 eth0") in told(world)
    failed = [each for each in notes(world) if "has no network any more" in each]
    assert len(failed) == 1
    assert failed[0].startswith("AttachENIFailed: ")
    world.settle(600, step=20)
    assert len([each for each in notes(world) if "no network any more" in each]) == 1
    assert len(world.mutating_calls()) == calls, "nothing is tried"

    world.delete_pod("web-0")
    world.settle(90, step=3)
    if loss is someone_moves:
        assert "keeps failing" in [what for what, _ in told(world)], "a person has to give it back"
        someone_detaches_from(world, "i-bp1demo0h2", "eni-bp1trunk0h2", before)
    world.create_pod("web-0", node="node-h2", networks=[network])
    world.settle(120, step=3)
    after = next(a for a in world.allocations() if a.phase is not Phase.RELEASED)
    assert (after.phase, after.parked) == (Phase.BOUND, None), after
    assert after.address is not None
    if loss is not someone_deletes and network == fixed("1h"):
        assert after.address == before.address, "the address was promised, and is there"
    assert world.member_enis() == {after.address.eni: "InUse"}
    world.check_promises()


def test_a_reserved_eni_that_is_deleted_frees_its_address_and_the_pod_gets_another(
    world: SimulatedWorld,
) -> None:
    before = bound(world)
    world.delete_pod("web-0")
    world.settle(15)
    assert before.address is not None
    world.cloud.model.delete(before.address.eni)
    world.settle(TWO_SWEEPS_S, step=5)
    [reserved] = world.allocations()
    assert (reserved.phase, reserved.address) == (Phase.RESERVED, None)
    world.create_pod("web-0")
    world.settle(30)
    [after] = world.allocations()
    assert after.phase is Phase.BOUND
    assert after.address is not None
    assert after.address.eni != before.address.eni
    shown = (world.podeni("web-0") or {})["spec"]["allocations"]
    assert [each["eni"]["id"] for each in shown] == [after.address.eni]
    world.check_promises()


def restored_into_a_departure(world: SimulatedWorld) -> Allocation:
    """The ledger was put back to the moment before web-0's ENI was detached; a later web-0 uses it."""
    world.create_pod("web-0")
    world.settle(120, step=10)
    world.delete_pod("web-0")
    with world.killed_at("before DetachNetworkInterface"), contextlib.suppress(Crash):
        world.settle(10)
    departing = snapshot(world)
    world.advance(timedelta(seconds=60))
    world.settle(60)
    world.create_pod("web-0")
    world.settle(30)
    [used] = world.allocations()
    assert used.phase is Phase.BOUND
    restore(world, departing)
    return used


def test_p11_an_eni_of_a_bound_podeni_is_not_taken_away_whatever_the_ledger_says(
    world: SimulatedWorld,
) -> None:
    """Nothing tells that it was restored, as after a failover that was said to lose nothing."""
    used = restored_into_a_departure(world)
    calls = len(world.mutating_calls())
    world.settle(300, step=10)
    assert world.mutating_calls()[calls:] == []
    assert used.address is not None
    assert world.member_enis() == {used.address.eni: "InUse"}
    assert ("cloud and ledger disagree", f"unrecorded-bind {used.address.eni}") in told(world)


def test_after_a_restore_into_a_departure_the_bind_is_taken_into_the_book(
    world: SimulatedWorld,
) -> None:
    used = restored_into_a_departure(world)
    before, calls = world.podeni("web-0"), len(world.mutating_calls())
    world.settle(TWO_SWEEPS_S, step=5)
    with world.database.transaction() as connection:
        found = findings(connection, CLUSTER)
        due = {each.work for each in found if each.work is not None}
        order_repair(connection, CLUSTER, due, "ann@host", world.time)
    world.settle(120, step=5)
    with world.database.transaction() as connection:
        accept(connection, CLUSTER, "ann@host", world.time)
        release_brake(connection, CLUSTER, "destructive", "ann@host", world.time, {})
    world.settle(120, step=5)
    [adopted] = world.allocations()
    assert (adopted.phase, adopted.pod_uid) == (Phase.BOUND, used.pod_uid)
    assert adopted.address == used.address
    assert world.podeni("web-0") == before, "adopting writes nothing"
    assert world.mutating_calls()[calls:] == []
    assert told(world) == []
    world.check_promises()
