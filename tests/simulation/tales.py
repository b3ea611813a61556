"""`python -m tests.simulation.tales`: a hard case told by its users and by the ledger's own entries."""

import sys
from collections.abc import Iterator
from datetime import timedelta

from ledger.rules.allocation import Allocation, Phase
from tests.simulation.ground import Ground
from tests.simulation.run import own_grounds
from tests.simulation.world import SimulatedWorld, fixed

_ENTRIES = """
SELECT e.id, to_char(e.recorded_at AT TIME ZONE 'UTC', 'HH24:MI:SS'), a.pod, e.kind, e.data
FROM ledger.entry e JOIN ledger.allocation a ON a.id = e.allocation_id WHERE e.id > %s ORDER BY e.id
"""
#: What of an entry's data is worth a reader's time.
_TOLD = ("pod_uid", "ttl_due", "why", "note", "how", "phase", "api", "gap")


def down_longer_than_the_ttl(world: SimulatedWorld) -> Iterator[str]:
    """Three Pods with a TTL of one hour; the control plane is down for three; Pods come and go meanwhile.

    back-0 leaves and is back. late-0 leaves ten minutes before the end. gone-0 leaves at the
    beginning and never comes back.
    """
    told = 0

    def entries() -> Iterator[str]:
        nonlocal told
        for id_, at, pod, kind, data in world.ground.rows(_ENTRIES, [told]):
            told = id_
            what = ", ".join(f"{name} {data[name]}" for name in _TOLD if data.get(name))
            yield f"    entry {id_:>3} {at} {pod:<7} {kind}{f' ({what})' if what else ''}"

    def clock() -> str:
        return f"{world.time:%H:%M:%S}"

    for name in ("back-0", "late-0", "gone-0"):
        world.create_pod(name, networks=[fixed("1h")])
    world.settle(10)
    first = {a.pod: a.address for a in world.allocations()}
    yield f"{clock()} three Pods run, each with a fixed IP kept for 1h after it goes"
    yield from (f"    {a.pod} has {_ip(a)}" for a in world.allocations())
    yield from entries()
    yield f"{clock()} the whole control plane goes down"
    world.advance(timedelta(minutes=5))
    yield f"{clock()} gone-0 and back-0 are deleted; nobody sees it"
    world.delete_pod("gone-0")
    world.delete_pod("back-0")
    world.advance(timedelta(hours=2, minutes=45))
    yield f"{clock()} back-0 is created again, late-0 is deleted; nobody sees it"
    world.create_pod("back-0", node="node-h2", networks=[fixed("1h")])
    world.delete_pod("late-0")
    world.advance(timedelta(minutes=10))
    yield f"{clock()} everything is up again, three hours later: three TTLs' worth of silence"
    world.settle(60, step=5)
    yield from entries()
    held = {a.pod: a for a in world.allocations()}
    assert held["back-0"].phase is Phase.BOUND
    assert held["back-0"].address == first["back-0"], "it was never robbed"
    for name in ("late-0", "gone-0"):
        assert held[name].phase is Phase.RESERVED, "absence counts from when it was seen"
        yield f"{clock()} {name}: {_ip(held[name])} is reserved until {held[name].ttl_due:%H:%M:%S}"
    yield f"{clock()} late-0 comes back within its hour"
    world.advance(timedelta(minutes=30))
    world.create_pod("late-0", networks=[fixed("1h")])
    world.settle(30, step=5)
    yield from entries()
    [late] = [a for a in world.allocations() if a.pod == "late-0"]
    assert (late.phase, late.address) == (Phase.BOUND, first["late-0"])
    world.advance(timedelta(minutes=30))
    yield f"{clock()} an hour after gone-0 was found gone"
    world.settle(90, step=5)
    yield from entries()
    [gone] = [a for a in world.allocations() if a.pod == "gone-0"]
    assert gone.phase is Phase.RELEASED
    world.check_promises()
    yield f"{clock()} back-0 and late-0 have the addresses they always had; gone-0's is free"


def _ip(a: Allocation) -> str:
    return a.address.ipv4 if a.address else "no address"


def main() -> int:
    """Tell it on a PostgreSQL of its own."""
    with own_grounds(1) as [dsn]:
        ground = Ground(dsn)
        for line in down_longer_than_the_ttl(SimulatedWorld(ground)):
            print(line)
        ground.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
