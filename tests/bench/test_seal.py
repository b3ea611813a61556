"""Sealing and verifying seals, at two sizes of ledger; `make bench PART=seal`.

Memory is what the process grew by while it verified: it must not follow the size.
"""

import resource
import sys
import time
from collections.abc import Iterator

import psycopg
import pytest

from deploy.local.parts.postgres import PostgresServer, create_database, drop_database
from ledger.store.database import Database
from ledger.store.feed import stamp
from ledger.store.seal import seal
from ledger.store.tampering import examine

SIZES = (20_000, 200_000)

#: Entries of the usual size, about 800 bytes with their cause.
_FILL = """
INSERT INTO ledger.entry (cluster, allocation_id, version, kind, recorded_at, cause, data)
SELECT 'c0123456789abcdef0123456789abcdef', md5((n / 10)::text)::uuid, n %% 10 + 1, 'call-intended',
    ledger.now(), jsonb_build_object('topic', 'eni-ledger.pod.v1', 'partition', n %% 6, 'offset', n,
        'event_id', md5('e' || n), 'source', '/clusters/c0123456789abcdef0123456789abcdef'),
    jsonb_build_object('intent', md5('i' || n)::uuid, 'api', 'CreateNetworkInterface',
        'client_token', md5('t' || n), 'deadline', '2026-11-23T08:17:05.123456Z',
        'parameters', jsonb_build_object('vswitch', 'vsw-bp1s5grzef87ikb5zmhsd',
            'security_groups', 'sg-bp1fg655nh68xyz9i123,sg-bp1fg655nh68xyz9i124',
            'name', 'eni-ledger-' || n, 'tags', repeat('creator=eni-ledger ', 6)))
FROM generate_series(0, %s - 1) AS n
"""


@pytest.fixture
def filled(postgres_server: PostgresServer, migrated_template: str) -> Iterator[Database]:
    dsn = create_database(postgres_server.dsn(), "seal_bench", template=migrated_template)
    database = Database(dsn, pool_size=1)
    yield database
    database.close()
    drop_database(postgres_server.dsn(), "seal_bench")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("entries", SIZES)
def test_sealing_and_verifying(
    filled: Database, capsys: pytest.CaptureFixture[str], entries: int
) -> None:
    with psycopg.connect(filled.dsn, autocommit=True) as owner:
        owner.execute(_FILL, [entries])
        with filled.transaction() as connection:
            while stamp(connection):
                pass
        owner.execute("VACUUM ANALYZE")
        began = time.perf_counter()
        while True:
            with filled.transaction() as connection:
                if seal(connection) is None:
                    break
        sealing = time.perf_counter() - began
        sizes = owner.execute(
            "SELECT pg_total_relation_size('ledger.seal'), pg_total_relation_size('ledger.entry')"
        ).fetchone()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    with filled.transaction() as connection:
        verdict = examine(connection)
    verifying = time.perf_counter() - began
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (verdict.findings, verdict.entries) == ([], entries)
    assert sizes is not None
    with capsys.disabled():
        sys.stdout.write(
            f"\n{entries:,} entries: sealed {entries / sealing:,.0f}/s, verified "
            f"{entries / verifying:,.0f}/s, memory grew by {grown / 1024:.1f} MiB; the seals take "
            f"{sizes[0] / entries:.0f} bytes an entry, entries {sizes[1] / entries:.0f}\n"
        )
