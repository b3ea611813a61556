"""P1 when the cloud gives an address out twice: whoever is really there keeps it.

The simulated cloud is made to take an address for free that it has given out, as a real one does
when it forgets, or is told by hand.
"""

import ipaddress
from typing import Any

import pytest

from deploy.local.cloud.faults import read_fault
from ledger.rules.allocation import Allocation, Phase
from tests.simulation.ground import Ground
from tests.simulation.world import (
    SimulatedWorld,
    ample_settings,
    demo_world,
    elastic,
    fixed,
)


@pytest.fixture
def reissuing(ground: Ground) -> SimulatedWorld:
    """Dual stack, in a cloud that gives the lowest free address out first."""
    ground.clear()
    told = demo_world().model_copy(update={"reuse_addresses_at_once": True})
    settings = ample_settings(told)
    policy = settings.policy.model_copy(update={"ip_stack": "dual"})
    return SimulatedWorld(
        ground, world=told, settings=settings.model_copy(update={"policy": policy})
    )


def forget(world: SimulatedWorld, family: str, address: str) -> None:
    """The cloud takes this address for free, whoever has it."""
    supply = world.cloud.model._supply
    pool = {"ipv4": supply._ipv4, "ipv6": supply._ipv6}[family]["vsw-bpxxxx"]
    pool.give_back(int(ipaddress.ip_address(address)))


def named(world: SimulatedWorld, pod: str) -> Allocation:
    [found] = [a for a in world.allocations() if a.pod == pod]
    return found


def entries(world: SimulatedWorld, a: Allocation, kind: str) -> list[dict[str, Any]]:
    query = "SELECT data FROM ledger.entry WHERE allocation_id = %s AND kind = %s ORDER BY version"
    return [data for (data,) in world.ground.rows(query, [a.id, kind])]


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_p1_two_holders_that_are_really_there_the_newer_is_parked(
    reissuing: SimulatedWorld, family: str
) -> None:
    world = reissuing
    world.create_pod("older", networks=[elastic()])
    world.settle(10)
    older = named(world, "older")
    assert older.address is not None
    address = getattr(older.address, family)
    forget(world, family, address)
    world.create_pod("newer", node="node-h2", networks=[elastic()])
    world.settle(10)

    holders = [
        eni.id
        for eni in world.cloud.model.enis()
        if address in (eni.ipv4, *eni.ipv6) and eni.status != "Deleting"
    ]
    assert len(holders) == 2, "the cloud says that both have it"
    newer = named(world, "newer")
    [parked] = entries(world, newer, "parked")
    assert parked["with_allocation"] == str(older.id)
    assert f"example/older eth0 ({older.id})" in parked["reason"]
    assert parked["disputed"][family] == address
    assert parked["disputed"]["eni"] in set(holders) - {older.address.eni}
    podeni = world.podeni("newer")
    assert podeni is None or podeni["status"].get("phase") != "Bind"
    # Nothing was taken from the older one, and nothing is tried over and over.
    assert named(world, "older") == older
    kept = world.podeni("older")
    assert kept is not None
    assert kept["status"]["phase"] == "Bind"
    calls = world.mutating_calls()
    assert sorted(calls) == ["AttachNetworkInterface"] + ["CreateNetworkInterface"] * 2
    world.settle(30)
    assert world.mutating_calls() == calls


def test_p1_an_older_holder_that_is_gone_is_closed_and_the_newer_served(
    reissuing: SimulatedWorld,
) -> None:
    """Somebody deleted a reserved ENI in the cloud, and its address went to the next Pod."""
    world = reissuing
    world.create_pod("older", networks=[fixed("1h")])
    world.settle(10)
    world.delete_pod("older")
    world.settle(10)
    older = named(world, "older")
    assert (older.phase, older.address is not None) == (Phase.RESERVED, True)
    assert older.address is not None
    world.tools.cloud.delete_eni(older.address.eni)
    world.settle(3)
    world.create_pod("newer", node="node-h2", networks=[elastic()])
    world.settle(10)
    newer = named(world, "newer")
    assert newer.phase is Phase.BOUND
    assert newer.address is not None
    assert newer.address.ipv4 == older.address.ipv4
    [gone] = entries(world, older, "eni-gone")
    assert gone["expected"] is False
    world.check_promises()


def test_p1_an_older_holder_whose_end_is_not_to_be_seen_yet_is_waited_for(
    reissuing: SimulatedWorld,
) -> None:
    """Seed 70768: its delete was accepted, its address went to the next Pod, and Describe showed how
    things stood before. The next Pod was parked, for a person to find nothing."""
    world = reissuing
    world.create_pod("older", networks=[elastic()])
    world.settle(10)
    world.delete_pod("older")
    while "DeleteNetworkInterface" not in world.mutating_calls():
        world.settle(1)
    older = named(world, "older")
    assert (older.address is not None, older.deleting_since is not None) == (True, True)
    world.cloud.faults.put(read_fault({"kind": "describe_lag", "seconds": 12}))
    world.create_pod("newer", node="node-h2", networks=[elastic()])
    world.settle(40)
    newer = named(world, "newer")
    assert entries(world, newer, "parked") == []
    assert newer.phase is Phase.BOUND
    assert older.address is not None
    assert newer.address is not None
    assert newer.address.ipv4 == older.address.ipv4
    assert named(world, "older").phase is Phase.RELEASED
    assert world.mutating_calls().count("CreateNetworkInterface") == 2
    world.check_promises()
