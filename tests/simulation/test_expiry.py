"""P2: a reservation ends within a second or so of its due time, also where others write all the time.

What was taken in is always a little behind what a look sees: the watermark moves with heartbeats,
and the version of the API server with everything that anybody writes there.
"""

from datetime import datetime, timedelta

from ledger.rules.allocation import Phase
from tests.simulation.world import SimulatedWorld, fixed


def others_write(world: SimulatedWorld) -> None:
    """A lease somewhere: no event of it reaches us, and the version moves."""
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    world.kube.create(path, {"metadata": {"generateName": "other-"}})


def busy(world: SimulatedWorld, seconds: float, step: float = 0.25) -> None:
    """Beats once a second, and a write by others before each turn."""
    for number in range(int(seconds / step)):
        if number % 4 == 0:
            world.publish()
            world.take()
        others_write(world)
        world.work()
        world.advance(timedelta(seconds=step))


def reserved_until(world: SimulatedWorld) -> datetime:
    world.create_pod("db-0", networks=[fixed("10m")])
    world.settle(10)
    world.delete_pod("db-0")
    world.settle(10)
    [a] = world.allocations()
    assert a.phase is Phase.RESERVED
    assert a.ttl_due is not None
    return a.ttl_due


def decided_at(world: SimulatedWorld) -> datetime:
    query = "SELECT recorded_at FROM ledger.entry WHERE kind = 'release-decided'"
    [(at,)] = world.ground.rows(query)
    found: datetime = at
    return found


def test_p2_in_a_busy_cluster_it_ends_with_the_next_heartbeats(world: SimulatedWorld) -> None:
    due = reserved_until(world)
    world.advance(due - world.now() - timedelta(seconds=1))
    busy(world, 10)
    # A second at most until the next heartbeat, and one until it is looked at again.
    assert timedelta(0) <= decided_at(world) - due <= timedelta(seconds=2.5)
    assert world.ground.rows(
        "SELECT count(*) FROM ledger.entry WHERE kind = 'release-awaited'"
    ) == [(1,)]
    world.settle(10)
    assert [a.phase for a in world.allocations()] == [Phase.RELEASED]
    world.check_promises()


def test_p2_without_heartbeats_it_does_not_end(world: SimulatedWorld) -> None:
    due = reserved_until(world)
    world.advance(due - world.now())
    for _ in range(60):
        others_write(world)
        world.work()
        world.advance(timedelta(seconds=1))
    [a] = world.allocations()
    assert a.phase is Phase.RESERVED
    world.create_pod("db-0", node="node-h2", networks=[fixed("10m")])
    world.settle(10)
    [again] = world.allocations()
    assert (again.phase, again.address) == (Phase.BOUND, a.address)
