"""The hot questions use indexes: asserted by their plans and by what the server counted, on a ledger that is
large enough for the planner to mean it."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine

from deploy.local.parts.postgres import PostgresServer, create_database, drop_database
from ledger.audit.periods import When, each_tenure
from tests.bench.generated_ledger import CLUSTER, generate

ADDRESSES = 600


@pytest.fixture(scope="module")
def large(postgres_server: PostgresServer, migrated_template: str) -> Iterator[str]:
    """10,200 periods, 102,600 entries; analyzed."""
    dsn = create_database(postgres_server.dsn(), "large", template=migrated_template)
    generate(dsn, ADDRESSES)
    yield dsn
    drop_database(postgres_server.dsn(), "large")


@pytest.fixture(scope="module")
def archived(postgres_server: PostgresServer, large: str) -> Iterator[str]:
    """The same ledger with its older half in two archives. Made by hand: nothing here was sealed."""
    name = large.rsplit("/", 1)[1]
    dsn = create_database(postgres_server.dsn(), "large_archived", template=name)
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute("SET session_replication_role = replica")
        for first, last in ((1, 25_000), (25_001, 50_000)):
            archive = f"ledger.entry_{first}_{last}"
            for statement in (
                f"CREATE TABLE {archive} (LIKE ledger.archived_entry, PRIMARY KEY (position), UNIQUE (id), "
                "UNIQUE (allocation_id, version))",
                f"INSERT INTO {archive} SELECT id, * FROM ledger.entry WHERE id BETWEEN {first} AND {last}",
                f"ALTER TABLE ledger.archived_entry ATTACH PARTITION {archive} "
                f"FOR VALUES FROM ({first}) TO ({last + 1})",
                f"DELETE FROM ledger.entry WHERE id <= {last}",
            ):
                owner.execute(statement)
        owner.execute("VACUUM ANALYZE")
    yield dsn
    drop_database(postgres_server.dsn(), "large_archived")


HELD = "since <= '2024-02-01Z' AND (until IS NULL OR until > '2024-02-01Z')"
HOT = {
    "timeline": "SELECT * FROM audit.timeline('10.0.0.77', 'c-generated')",
    "timeline, the only cluster": "SELECT * FROM audit.timeline('10.0.0.77')",
    "an IP": "SELECT * FROM audit.tenures WHERE cluster = 'c-generated' "
    "AND (ipv4 = '10.0.0.77' OR ipv6 = '10.0.0.77') ORDER BY since, opened_by_entry",
    "an ENI": "SELECT t.* FROM audit.tenures t WHERE eni = (SELECT eni FROM "
    "audit.timeline('10.0.0.77') LIMIT 1) ORDER BY since",
    "a MAC": "SELECT * FROM audit.tenures WHERE cluster = 'c-generated' AND "
    "mac = '00:16:3e:aa:bb:cc' ORDER BY since",
    "a Pod": "SELECT * FROM audit.tenures WHERE cluster = 'c-generated' AND namespace = 'shop-7' "
    "AND pod = 'web-7-1' ORDER BY since",
    "a node at a moment": f"SELECT * FROM audit.tenures WHERE cluster = 'c-generated' "
    f"AND node = 'node-70' AND {HELD}",
    "a Pod's allocations": "SELECT * FROM audit.allocations WHERE cluster = 'c-generated' "
    "AND namespace = 'shop-7' AND pod = 'web-7-1'",
    "a story": "SELECT * FROM audit.story WHERE allocation_id = (SELECT allocation_id FROM "
    "audit.timeline('10.0.0.77') LIMIT 1) ORDER BY entry",
    "calls of an allocation": "SELECT * FROM audit.calls WHERE allocation_id = (SELECT "
    "allocation_id FROM audit.timeline('10.0.0.77') LIMIT 1)",
}


def scans(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if plan["Node Type"] == "Seq Scan":
        yield plan["Node Type"], plan["Relation Name"]
    for child in plan.get("Plans", []):
        yield from scans(child)


@pytest.mark.parametrize("what", HOT)
def test_a_hot_question_reads_no_table_whole(large: str, what: str) -> None:
    with psycopg.connect(large) as connection:
        [(plan,)] = connection.execute(f"EXPLAIN (FORMAT JSON) {HOT[what]}").fetchall()
    whole = [relation for _, relation in scans(plan[0]["Plan"])]
    assert not {"tenure", "entry", "allocation", "cloud_call"} & set(whole), json.dumps(plan)


@pytest.mark.parametrize("what", HOT)
def test_nor_does_it_where_half_is_archived(large: str, archived: str, what: str) -> None:
    with psycopg.connect(archived) as connection:
        [(plan,)] = connection.execute(f"EXPLAIN (FORMAT JSON) {HOT[what]}").fetchall()
        answer = connection.execute(f"SELECT count(*) FROM ({HOT[what]}) a").fetchone()
    whole = {relation for _, relation in scans(plan[0]["Plan"])}
    read = {"tenure", "entry", "allocation", "cloud_call", "entry_1_25000", "entry_25001_50000"}
    assert not read & whole, json.dumps(plan)
    with psycopg.connect(large) as connection:
        assert answer == connection.execute(f"SELECT count(*) FROM ({HOT[what]}) a").fetchone()


def test_the_check_above_can_fail(large: str) -> None:
    with psycopg.connect(large) as connection:
        [(plan,)] = connection.execute(
            "EXPLAIN (FORMAT JSON) SELECT * FROM audit.tenures WHERE vlan = 77"
        ).fetchall()
    assert ("Seq Scan", "tenure") in list(scans(plan[0]["Plan"]))


@pytest.mark.parametrize("ip", ["10.0.0.77", "10.200.0.1", "2408::1"])
@pytest.mark.parametrize("ledger", ["large", "archived"])
def test_who_held_an_address_is_a_few_probes_however_it_is_planned(
    request: pytest.FixtureRequest, ledger: str, ip: str
) -> None:
    """Counted by the server, because a function's plan is hidden; also beyond the fifth call, when
    plans become generic."""
    with psycopg.connect(request.getfixturevalue(ledger)) as connection:
        for _ in range(8):
            connection.execute(
                "SELECT * FROM audit.ip_owner_at(%s, '2024-02-01Z')", [ip]
            ).fetchall()
        counted = connection.execute(
            "SELECT relname, seq_scan, coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables "
            "WHERE schemaname = 'ledger' AND (relname IN ('tenure', 'cloud_call') OR relname ~ '^entry')"
        ).fetchall()
    assert {whole for _, whole, _ in counted} == {0}
    assert {"tenure", "entry", "cloud_call"} <= {name for name, _, _ in counted}
    assert all(rows < 8 * 150 for _, _, rows in counted), counted


def test_a_large_answer_comes_through_a_cursor_of_the_server(large: str) -> None:
    engine = create_engine(large.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        found = each_tenure(connection, CLUSTER, "vswitch", "vsw-1", When())
        first = next(found)
        cursors = connection.exec_driver_sql("SELECT count(*) FROM pg_cursors").scalar_one()
        assert (first.vswitch, cursors) == ("vsw-1", 1)
        assert 1 + sum(1 for _ in found) == ADDRESSES * 17 // 8
    engine.dispose()
