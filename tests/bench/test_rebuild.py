"""Comparing and rebuilding current state, at two sizes of ledger; `make bench PART=rebuild`.

The stories are one elastic Pod's, told again under other names. Memory is what the process grew by:
it must not follow the size.
"""

import resource
import sys
import time
from collections.abc import Iterator

import psycopg
import pytest

from deploy.local.parts.postgres import PostgresServer, create_database, drop_database
from ledger.store.rebuild import check, rebuild
from tests.simulation.ground import Ground
from tests.simulation.world import SimulatedWorld, elastic

ALLOCATIONS = (1_000, 10_000)

#: Everything that has to be its own in another Pod's story, put in the place of the first one's.
_AGAIN = """
INSERT INTO ledger.entry (cluster, allocation_id, version, kind, recorded_at, cause, data)
SELECT e.cluster, md5(n || e.allocation_id::text)::uuid, e.version, e.kind, e.recorded_at, e.cause,
    replace(replace(replace(replace(e.data::text,
        '"web-0"', '"web-' || n || '"'), own.eni, own.eni || n), own.vpc, own.vpc || n),
        own.trunk, own.trunk || n)::jsonb
    || CASE WHEN e.data ? 'intent'
            THEN jsonb_build_object('intent', md5(n || (e.data ->> 'intent'))::uuid) ELSE '{}' END
FROM generate_series(1, %(count)s - 1) AS n, ledger.entry e,
    (SELECT eni, vpc, trunk FROM ledger.allocation) AS own
WHERE e.allocation_id IS NOT NULL
ORDER BY n, e.version
"""


@pytest.fixture
def ground(postgres_server: PostgresServer, migrated_template: str) -> Iterator[Ground]:
    dsn = create_database(postgres_server.dsn(), "rebuild_bench", template=migrated_template)
    ground = Ground(dsn)
    yield ground
    ground.close()
    drop_database(postgres_server.dsn(), "rebuild_bench")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("allocations", ALLOCATIONS)
def test_comparing_and_rebuilding(
    ground: Ground, capsys: pytest.CaptureFixture[str], allocations: int
) -> None:
    world = SimulatedWorld(ground)
    world.create_pod("web-0", networks=[elastic()])
    world.settle(10)
    with psycopg.connect(ground.dsn, autocommit=True) as owner:
        owner.execute(_AGAIN, {"count": allocations})
        owner.execute("VACUUM ANALYZE")
    [(entries,)] = ground.rows("SELECT count(*) FROM ledger.entry WHERE allocation_id IS NOT NULL")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    with ground.shared.transaction() as connection:
        assert rebuild(connection) == allocations
    rebuilding = time.perf_counter() - began
    began = time.perf_counter()
    with ground.shared.snapshot() as connection:
        assert check(connection) == []
    comparing = time.perf_counter() - began
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    with capsys.disabled():
        sys.stdout.write(
            f"\n{allocations:,} allocations of {entries:,} entries: rebuilt "
            f"{entries / rebuilding:,.0f} entries/s, compared {entries / comparing:,.0f}/s, "
            f"memory grew by {grown / 1024:.1f} MiB\n"
        )
