"""Killed at every external boundary of the main way, and started again: the same end, no leak (P4)."""

from datetime import timedelta

import pytest

from ledger.rules.allocation import Phase
from tests.simulation.world import Crash, SimulatedWorld

BOUNDARIES = [
    f"{side} {what}"
    for side in ("before", "after")
    for what in (
        "CreateNetworkInterface",
        "AttachNetworkInterface",
        "DetachNetworkInterface",
        "DeleteNetworkInterface",
        "DescribeNetworkInterfaces",
        "DescribeVSwitches",
        "GET object",
        "POST object",
        "POST event",
        "PUT object",
        "PUT status",
        "DELETE object",
    )
]


def go_on(world: SimulatedWorld, seconds: float) -> None:
    """Let time pass; where the process is killed, another takes over once its claim has run out."""
    passed = 0.0
    while passed < seconds:
        try:
            world.settle(seconds - passed, step=5)
        except Crash:
            world.advance(timedelta(seconds=60))
        passed += 60


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_p4_killed_at_a_boundary_ends_as_if_never_killed(
    world: SimulatedWorld, boundary: str
) -> None:
    with world.killed_at(boundary) as killed:
        world.create_pod("my-nginx-0", node="node-h1")
        go_on(world, 120)
        [bound] = world.allocations()
        assert bound.phase is Phase.BOUND, bound
        world.delete_pod("my-nginx-0")
        go_on(world, 120)
        world.create_pod("my-nginx-0", node="node-h2")
        go_on(world, 120)
        [again] = world.allocations()
        assert again.phase is Phase.BOUND, again
        assert again.address == bound.address
        world.check_promises()
        world.delete_pod("my-nginx-0")
        go_on(world, 120)
        world.advance(timedelta(hours=1))
        go_on(world, 120)
    assert killed, f"{boundary} is not on the way: take it off the list"
    assert [a.phase for a in world.allocations()] == [Phase.RELEASED]
    assert world.member_enis() == {}
    assert world.podeni("my-nginx-0") is None
    created = [call for call in world.mutating_calls() if call == "CreateNetworkInterface"]
    # Repeated under its own token at most: the cloud answers with the same ENI.
    assert len(created) <= 2
    world.check_promises()
