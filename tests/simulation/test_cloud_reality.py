"""P4, P8, P10: whatever the cloud says, attempts are bounded, and the end is the promised one.

Each fault stands for three minutes and is lifted then: a fixed Pod is bound, leaves and is reserved, an
elastic one is released, with one ENI made for each and none left over.
"""

from typing import Any

import pytest

from consumers.reconciler.dispatch import work_once
from deploy.local.cloud.faults import read_fault
from ledger.rules.allocation import Phase
from tests.simulation.test_lost_enis import notes, told
from tests.simulation.world import SimulatedWorld, elastic, fixed

STANDS_S, STEP_S = 180, 2
#: Doubling pauses of up to a minute: about ten attempts in three minutes, for two Pods.
ATTEMPTS_MAX = 30

CREATE, ATTACH = "CreateNetworkInterface", "AttachNetworkInterface"
DETACH, DELETE = "DetachNetworkInterface", "DeleteNetworkInterface"


def refused(api: str, code: str, status: int = 400) -> dict[str, Any]:
    return {"kind": "error", "api": api, "code": code, "status": status}


COMING_UP = {
    "quota of the vSwitch": refused(CREATE, "QuotaExceeded.PrivateIpAddress"),
    "no address": {"kind": "ip_exhaustion"},
    "token of another request": refused(CREATE, "IdempotentFailed"),
    "no right": refused(CREATE, "Forbidden.RAM", 403),
    "too many ENIs in the group": refused(CREATE, "SecurityGroupInstanceLimitExceed"),
    "too many ENIs on the instance": refused(ATTACH, "EniPerInstanceLimitExceeded"),
    "not in the state for it": refused(ATTACH, "InvalidOperation.InvalidEniState"),
    "an attach that hangs": {"kind": "stuck", "state": "Attaching"},
    "attaches that fall back": {"kind": "attach_fails"},
    "throttled creates": {"kind": "throttle", "api": CREATE},
    "throttled by another name": refused(ATTACH, "Throttling"),
    "looks behind the truth": {"kind": "describe_lag", "seconds": 15},
    "internal errors": refused(CREATE, "InternalError", 500),
    "no answer, no effect": {"kind": "timeout", "api": CREATE, "effect": "before"},
    "no answer, with effect": {"kind": "timeout", "api": CREATE, "effect": "after"},
    "no answer to an attach": {"kind": "timeout", "api": ATTACH, "effect": "after"},
    "a gateway's answer": {"kind": "gateway", "api": ATTACH, "effect": "before"},
}
GOING = {
    "a detach that hangs": {"kind": "stuck", "state": "Detaching"},
    "a delete that hangs": {"kind": "stuck", "state": "Deleting"},
    "a detach refused": refused(DETACH, "InvalidOperation.InvalidEniState"),
    "a delete refused": refused(DELETE, "InvalidOperation.InvalidEniState"),
    "throttled detaches": {"kind": "throttle", "api": DETACH},
    "no answer to a detach": {"kind": "timeout", "api": DETACH, "effect": "after"},
    "no answer to a delete": {"kind": "timeout", "api": DELETE, "effect": "before"},
}
#: What passes by itself within a look or two needs no event.
QUIET = {
    "looks behind the truth",
    "throttled creates",
    "throttled by another name",
    "no answer, no effect",
    "no answer, with effect",
    "no answer to an attach",
    "a gateway's answer",
    "an attach that hangs",
    "internal errors",
}


def stand(world: SimulatedWorld, fault: dict[str, Any]) -> list[str]:
    """Let a fault stand for its time; returns the calls that were made meanwhile."""
    before = len(world.mutating_calls())
    world.cloud.faults.put(read_fault(fault))
    world.settle(STANDS_S, step=STEP_S)
    calls = world.mutating_calls()[before:]
    assert max((calls.count(api) for api in set(calls)), default=0) <= ATTEMPTS_MAX, "a hot loop"
    return calls


def phases(world: SimulatedWorld) -> dict[str, Phase]:
    return {a.pod: a.phase for a in world.allocations()}


def two_pods(world: SimulatedWorld) -> None:
    world.create_pod("fixed-0", networks=[fixed("1h")])
    world.create_pod("elastic-0", networks=[elastic()])


@pytest.mark.parametrize("what", COMING_UP)
def test_a_pod_is_served_once_the_cloud_can(world: SimulatedWorld, what: str) -> None:
    world.settle(2)
    two_pods(world)
    stand(world, COMING_UP[what])
    if what not in QUIET:
        assert any("Failed: " in note for note in notes(world)), "nobody was told"
    world.cloud.clear_faults()
    world.settle(200, step=STEP_S)
    assert phases(world) == {"fixed-0": Phase.BOUND, "elastic-0": Phase.BOUND}
    assert len(world.member_enis()) == 2, "one ENI for each, and none left over"
    # A full vSwitch is warned about until it is looked at again.
    assert {what for what, _ in told(world)} <= {"a vSwitch is about to fill"}
    assert not work_once(world.tools)
    world.check_promises()


@pytest.mark.parametrize("what", GOING)
def test_a_pod_is_let_go_once_the_cloud_can(world: SimulatedWorld, what: str) -> None:
    two_pods(world)
    world.settle(15)
    [address] = [a.address for a in world.allocations() if a.pod == "fixed-0"]
    for pod in ("fixed-0", "elastic-0"):
        world.delete_pod(pod)
    stand(world, GOING[what])
    assert Phase.BOUND not in phases(world).values()
    world.cloud.clear_faults()
    world.settle(200, step=STEP_S)
    assert phases(world) == {"fixed-0": Phase.RESERVED, "elastic-0": Phase.RELEASED}
    assert address is not None
    assert world.member_enis() == {address.eni: "Available"}
    assert told(world) == []
    world.check_promises()
