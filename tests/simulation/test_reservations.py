"""Reservations under forged words, deleted PodENIs and changed minds (P2, P3, P11)."""

import copy
from datetime import timedelta

import pytest

from consumers.contract.encode import encode_observed
from ledger.rules.allocation import Allocation, Phase
from tests.simulation.world import CLUSTER, PODENIS, Crash, SimulatedWorld, fixed


def held(world: SimulatedWorld, pod: str = "db-0") -> list[Allocation]:
    return [a for a in world.allocations() if a.pod == pod and a.phase is not Phase.RELEASED]


def forge_deletion(world: SimulatedWorld, name: str) -> None:
    """A message, true but for its deletionTimestamp, says that a user deletes the PodENI."""
    forged = copy.deepcopy(world.podeni(name))
    assert forged is not None
    forged["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    forged["metadata"]["resourceVersion"] = str(10**9)
    world.append("podeni", encode_observed(CLUSTER, "podeni", forged, epoch=0))


def test_p3_a_forged_deletion_of_a_podeni_ends_no_reservation(world: SimulatedWorld) -> None:
    world.create_pod("db-0", networks=[fixed(strategy="Never")])
    world.settle(10)
    world.delete_pod("db-0")
    world.settle(10)
    [before] = held(world)
    forge_deletion(world, "db-0")
    world.settle(20)
    [kept] = held(world)
    assert (kept.phase, kept.address) == (Phase.RESERVED, before.address)
    assert kept.release_requested is None


def test_p3_a_forged_deletion_while_bound_ends_nothing_later_either(world: SimulatedWorld) -> None:
    world.create_pod("db-0", networks=[fixed(strategy="Never")])
    world.settle(10)
    forge_deletion(world, "db-0")
    world.settle(10)
    world.delete_pod("db-0")
    world.settle(15)
    [kept] = held(world)
    assert kept.phase is Phase.RESERVED


def test_p3_a_podeni_that_a_user_deletes_ends_its_reservation(world: SimulatedWorld) -> None:
    world.create_pod("db-0", networks=[fixed(strategy="Never")])
    world.settle(10)
    world.delete_pod("db-0")
    world.settle(10)
    world.kube.delete(f"{PODENIS.format('example')}/db-0")
    world.settle(20)
    assert held(world) == []
    assert world.podeni("db-0") is None
    world.check_promises()


def test_p3_a_pod_that_returns_to_a_deleted_podeni_gets_a_fresh_address(
    world: SimulatedWorld,
) -> None:
    """Its reservation is on its way out and not claimed back; the Pod is served all the same."""
    world.create_pod("db-0", networks=[fixed(strategy="Never")])
    world.settle(10)
    world.delete_pod("db-0")
    world.settle(10)
    [before] = held(world)
    world.kube.delete(f"{PODENIS.format('example')}/db-0")
    world.publish()
    world.take()
    world.create_pod("db-0", networks=[fixed(strategy="Never")])
    world.settle(30)
    [after] = held(world)
    assert after.phase is Phase.BOUND
    assert after.address is not None
    assert before.address is not None
    assert after.address.eni != before.address.eni
    world.check_promises()


def test_p3_a_pod_that_returns_while_its_podeni_goes_is_bound_all_the_same(
    world: SimulatedWorld,
) -> None:
    """Heard at once, the Pod claims first: its PodENI is made anew, and the release waits for it."""
    world.create_pod("db-0", networks=[fixed(strategy="Never")])
    world.settle(10)
    world.delete_pod("db-0")
    world.settle(10)
    world.kube.delete(f"{PODENIS.format('example')}/db-0")
    uid = world.create_pod("db-0", networks=[fixed(strategy="Never")])
    world.settle(30)
    [bound] = held(world)
    assert bound.phase is Phase.BOUND
    podeni = world.podeni("db-0")
    assert podeni is not None
    assert "deletionTimestamp" not in podeni["metadata"]
    assert podeni["status"]["phase"] == "Bind"
    assert podeni["metadata"]["annotations"]["k8s.aliyun.com/pod-uid"] == uid
    world.delete_pod("db-0")
    world.settle(20)
    assert held(world) == []
    world.check_promises()


def test_w1_a_fixed_pod_gone_before_its_podeni_keeps_its_address(world: SimulatedWorld) -> None:
    world.create_pod("db-0", networks=[fixed("1h")])
    world.publish()
    world.take()
    with world.killed_at("before POST object"), pytest.raises(Crash):
        world.work()
    [made] = held(world)
    assert made.address is not None
    assert world.podeni("db-0") is None
    world.delete_pod("db-0")
    world.advance(timedelta(seconds=60))
    world.settle(100, step=5)
    [kept] = held(world)
    assert (kept.phase, kept.address) == (Phase.RESERVED, made.address)
    world.create_pod("db-0", networks=[fixed("1h")], node="node-h2")
    world.settle(20)
    [again] = held(world)
    assert (again.phase, again.address) == (Phase.BOUND, made.address)
    world.check_promises()
