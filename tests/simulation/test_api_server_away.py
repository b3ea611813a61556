"""P11: while the API server can't be asked nothing is made or taken away, whatever the messages say.

The README's table of outages, row "API server", for the reconciler. Messages that were on their way, true
and forged, still come in.
"""

import httpx2

from consumers.contract.encode import encode_deleted
from ledger.rules.allocation import Phase
from tests.simulation.world import CLUSTER, SimulatedWorld, elastic, fixed

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


def refuse(boundary: str) -> None:
    """A connection that nobody takes, for every request that the reconciler sends to the API server."""
    when, method, *_ = boundary.split()
    if when == "before" and method in METHODS:
        raise httpx2.ConnectError("connection refused")


def phases(world: SimulatedWorld) -> dict[str, Phase]:
    return {a.pod: a.phase for a in world.allocations()}


def test_p11_while_the_api_server_is_away_nothing_is_made_or_taken(world: SimulatedWorld) -> None:
    for name in ("stays-0", "goes-0"):
        world.create_pod(name, networks=[elastic()])
    world.create_pod("rests-0", networks=[fixed("1h")])
    world.settle(16, step=2)
    world.delete_pod("rests-0")
    world.settle(16, step=2)
    before = {"stays-0": Phase.BOUND, "goes-0": Phase.BOUND, "rests-0": Phase.RESERVED}
    assert phases(world) == before
    shown = world.podeni("stays-0"), world.podeni("goes-0"), world.podeni("rests-0")
    calls = world.mutating_calls()

    forged = world.kube.get("/api/v1/namespaces/example/pods/stays-0")
    forged["metadata"]["resourceVersion"] = str(10**9)
    world.append("pod", encode_deleted(CLUSTER, "pod", forged, epoch=0))
    world.delete_pod("goes-0")
    world.create_pod("comes-0", networks=[elastic()])
    world.boundary = refuse
    world.settle(2 * 3600, step=600)  # well beyond the hour of the reservation
    assert world.mutating_calls() == calls
    assert {pod: phase for pod, phase in phases(world).items() if pod in before} == before
    assert (world.podeni("stays-0"), world.podeni("goes-0"), world.podeni("rests-0")) == shown

    world.boundary = lambda name: None
    # What failed is tried again within a minute; what takes something away waits for a sweep first.
    world.settle(300, step=5)
    assert phases(world) == {
        "stays-0": Phase.BOUND,
        "goes-0": Phase.RELEASED,
        "rests-0": Phase.RELEASED,
        "comes-0": Phase.BOUND,
    }
    world.check_promises()
