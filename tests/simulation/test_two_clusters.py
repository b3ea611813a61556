"""P4, P11: two clusters in one account with one cluster id, each with a ledger of its own.

Each sees ENIs under its own tags that it never made. Neither may touch what the other's Pods use.
"""

from collections.abc import Iterator

import pytest

from deploy.local.parts.postgres import PostgresServer, create_database, drop_database
from ledger.rules.allocation import Phase
from tests.simulation.ground import Ground
from tests.simulation.test_sweep import brakes
from tests.simulation.world import SimulatedWorld, elastic


@pytest.fixture
def other(
    world: SimulatedWorld, postgres_server: PostgresServer, migrated_template: str
) -> Iterator[SimulatedWorld]:
    """Another cluster and another ledger, in the same cloud under the same id."""
    dsn = create_database(postgres_server.dsn(), "other_cluster", template=migrated_template)
    ground = Ground(dsn)
    yield SimulatedWorld(ground, seed=7, cloud=world.cloud)
    ground.close()
    drop_database(postgres_server.dsn(), "other_cluster")


def both_settle(one: SimulatedWorld, two: SimulatedWorld, seconds: int, step: int = 1) -> None:
    for _ in range(seconds // step):
        one.settle(step, step=step)
        two.settle(step, step=step)


def test_p11_neither_of_two_clusters_with_one_id_takes_anything_from_the_other(
    world: SimulatedWorld, other: SimulatedWorld
) -> None:
    world.create_pod("web-0", networks=[elastic()])
    other.create_pod("web-0", node="node-h2", networks=[elastic()])
    both_settle(world, other, 15)
    for each in (world, other):
        assert [a.phase for a in each.allocations()] == [Phase.BOUND]
    both_settle(world, other, 200, step=10)
    assert brakes(world) == brakes(other) == [("destructive", "sweep")]
    used = world.member_enis()
    assert sorted(used.values()) == ["InUse", "InUse"]
    calls = len(world.mutating_calls())

    world.delete_pod("web-0")
    both_settle(world, other, 200, step=10)
    assert world.member_enis() == used, "until a person has looked, nothing is taken away at all"
    assert len(world.mutating_calls()) == calls
    for each in (world, other):
        podeni = each.podeni("web-0")
        assert podeni is not None
        assert podeni["status"]["phase"] == "Bind"
