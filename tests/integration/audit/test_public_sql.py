"""The schema `audit`: a stable public read API, open to auditors and to nobody's hands."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import psycopg
import psycopg.conninfo
import pytest

from ledger.rules.entries import Address
from tests.integration.commands import Say
from tests.simulation.ground import START
from tests.simulation.world import CLUSTER, SimulatedWorld


def ask(world: SimulatedWorld, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(world.dsn) as connection:
        return connection.execute(query, parameters).fetchall()


def address(world: SimulatedWorld, pod: str) -> Address:
    [found] = [a.address for a in world.allocations() if a.pod == pod]
    assert found is not None
    return found


def test_who_had_an_ip_at_a_moment(world: SimulatedWorld) -> None:
    ip = address(world, "web-0").ipv4
    query = "SELECT pod, kind FROM audit.ip_owner_at(%s::inet, %s)"
    assert ask(world, query, ip, START + timedelta(minutes=5)) == [("web-0", "reserved")]
    assert ask(world, query, ip, world.time) == [("web-0", "bound")]
    assert ask(world, query, ip, START - timedelta(days=1)) == []
    assert ask(world, "SELECT pod FROM audit.ip_owner_at(%s::inet)", ip) == [("web-0",)]
    assert ask(world, "SELECT pod FROM audit.ip_owner_at(%s::inet)", f"{ip}/19") == [("web-0",)]


def test_a_timeline_has_no_holes_and_no_overlaps(world: SimulatedWorld) -> None:
    told = ask(
        world,
        "SELECT since, until FROM audit.timeline(%s::inet)",
        f"{address(world, 'web-0').ipv4}/19",
    )
    assert len(told) > 3
    assert all(until == since for (_, until), (since, _) in pairwise(told))
    assert told[-1][1] is None


def test_reservations_calls_and_capacity(world: SimulatedWorld) -> None:
    [(pod, rule, left)] = ask(world, "SELECT pod, rule, expires_in FROM audit.reservations")
    assert (pod, rule) == ("web-2", "ttl")
    assert timedelta(minutes=45) < left < timedelta(hours=1)
    outcomes = ask(world, "SELECT DISTINCT api, outcome FROM audit.calls ORDER BY 1")
    assert ("CreateNetworkInterface", "done") in outcomes
    assert all(outcome is not None for _, outcome in outcomes)
    [(in_use, reserved)] = ask(
        world,
        "SELECT in_use, reserved FROM audit.vswitch_capacity WHERE vswitch = %s",
        address(world, "web-0").vswitch,
    )
    assert (in_use, reserved) == (2, 1)


def relations(connection: psycopg.Connection[Any], where: str) -> list[str]:
    found = connection.execute(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n "
        f"ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND {where} ORDER BY 1"
    )
    return [name for (name,) in found]


def test_an_auditor_reads_audit_and_nothing_else(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        public = relations(connection, "n.nspname = 'audit'")
        others = relations(
            connection, "n.nspname NOT IN ('audit', 'pg_catalog', 'information_schema', 'pg_toast')"
        )
        assert "ledger.entry" in others
        connection.execute("SET ROLE eni_ledger_auditor")
        for view in public:
            connection.execute(f"SELECT * FROM {view} LIMIT 1")
        connection.execute("SELECT * FROM audit.ip_owner_at('10.0.0.1')")
        connection.execute("SELECT * FROM audit.timeline('10.0.0.1')")
        connection.execute("SELECT * FROM audit.vswitch_history('vsw-1', now() - interval '1 day')")
        for table in others:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT * FROM {table}")
        for view in public:
            for change in (f"DELETE FROM {view}", f"INSERT INTO {view} DEFAULT VALUES"):
                with pytest.raises(psycopg.errors.Error):
                    connection.execute(change)
        for where in ("ledger", "audit", "public"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"CREATE TABLE {where}.mine (a int)")


def test_everything_public_says_what_it_is(database: str) -> None:
    with psycopg.connect(database) as connection:
        silent = connection.execute(
            """
            SELECT c.relname || coalesce('.' || a.attname, '')
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            CROSS JOIN LATERAL (
                SELECT NULL::name AS attname, 0 AS attnum
                UNION ALL SELECT attname, attnum FROM pg_attribute
                WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) a
            WHERE n.nspname = 'audit' AND c.relkind IN ('v', 'r', 'm')
              AND coalesce(col_description(c.oid, nullif(a.attnum, 0)),
                           CASE WHEN a.attnum = 0 THEN obj_description(c.oid, 'pg_class') END, '') = ''
            UNION ALL
            SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
            WHERE n.nspname = 'audit' AND coalesce(obj_description(p.oid, 'pg_proc'), '') = ''
            """
        ).fetchall()
        clusters = connection.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = 'audit' AND c.relkind = 'v' AND NOT EXISTS (SELECT FROM pg_attribute "
            "WHERE attrelid = c.oid AND attname = 'cluster')"
        ).fetchall()
    assert silent == []
    # A seal and an archive cover the feed of the whole ledger, whatever cluster an entry is about.
    assert sorted(clusters) == [("archives",), ("seals",)], (
        "a view whose rows don't say of which cluster they are"
    )


def test_no_answer_mixes_clusters_unasked(world: SimulatedWorld) -> None:
    """A second cluster in this ledger, whose Pods had the same addresses in another VPC."""
    ip = address(world, "web-0").ipv4
    [before] = ask(world, "SELECT count(*) FROM audit.timeline(%s)", ip)
    with psycopg.connect(world.dsn) as connection:
        connection.execute("SET session_replication_role = replica")
        for query in (
            "INSERT INTO ledger.entry (cluster, allocation_id, version, kind, recorded_at, cause, data) "
            "SELECT 'c-other', md5(allocation_id::text)::uuid, version, kind, recorded_at, cause, data "
            "FROM ledger.entry WHERE allocation_id IS NOT NULL ORDER BY id",
            "INSERT INTO ledger.tenure SELECT (jsonb_populate_record(t, jsonb_build_object("
            "'allocation_id', md5(allocation_id::text)::uuid, 'cluster', 'c-other', 'vpc', 'vpc-other', "
            "'eni', eni || '-other'))).* FROM ledger.tenure t",
        ):
            connection.execute(query)
    with pytest.raises(psycopg.errors.AmbiguousParameter, match="serves 2 clusters") as refused:
        ask(world, "SELECT * FROM audit.ip_owner_at(%s)", ip)
    assert "audit.clusters" in str(refused.value.diag.message_hint)
    with pytest.raises(psycopg.errors.AmbiguousParameter):
        ask(world, "SELECT * FROM audit.timeline(%s)", ip)
    owner = "SELECT cluster FROM audit.ip_owner_at(%s, %s, %s) ORDER BY 1"
    assert ask(world, owner, ip, world.time, CLUSTER) == [(CLUSTER,)]
    assert ask(world, owner, ip, world.time, "*") == [("c-other",), (CLUSTER,)]
    assert ask(world, owner, ip, world.time, "c-none") == []
    counted = "SELECT count(*) FROM audit.timeline(%s, %s)"
    assert ask(world, counted, ip, CLUSTER) == [before]
    assert ask(world, counted, ip, "*") == [(2 * before[0],)]
    capacity = "SELECT cluster, in_use, reserved FROM audit.vswitch_capacity ORDER BY cluster"
    assert ask(world, f"SELECT * FROM ({capacity}) c WHERE in_use > 0") == [(CLUSTER, 2, 1)]


@pytest.mark.parametrize("role", ["eni_ledger_writer", "eni_ledger_reconciler"])
@pytest.mark.parametrize(
    "change", ["UPDATE ledger.entry SET kind = 'x'", "DELETE FROM ledger.entry"]
)
def test_p7_no_role_changes_an_entry(world: SimulatedWorld, role: str, change: str) -> None:
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        connection.execute(f"SET ROLE {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(change)


@pytest.fixture
def as_auditor(world: SimulatedWorld) -> Iterator[None]:
    """New connections to the world's ledger have an auditor's rights and no others."""
    name = psycopg.conninfo.conninfo_to_dict(world.dsn)["dbname"]
    setting = f'ALTER ROLE postgres IN DATABASE "{name}"'
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        # The world's clock, which the ledger's own does not need, is a table.
        connection.execute("GRANT SELECT ON ledger.virtual_clock TO eni_ledger_auditor")
        connection.execute(f"{setting} SET role = 'eni_ledger_auditor'")
        yield
        connection.execute(f"{setting} RESET role")


@pytest.mark.parametrize(
    "question",
    [
        "audit ip 192.168.0.3", "audit ip 192.168.0.3 --at 2026-01-01T00:05:00Z",
        "audit ip 192.168.0.3 --at 2025-01-01T00:05:00Z", "audit ip 10.9.9.9",
        "audit pod example/web-0 --story", "audit pod example/web-0 --at -5m",
        "audit node node-h1", "audit vswitch vsw-bpxxxx", "audit security-group sg-bpxxxx --csv",
        "audit capacity", "reservations", "reservations --at -5m --json",
    ],
)  # fmt: skip
def test_an_auditor_can_ask_every_question(as_auditor: None, say: Say, question: str) -> None:
    said = say(*question.split())
    assert "permission denied" not in said.err
    assert said.code == ("2025" in question or "10.9.9.9" in question), said


def test_the_role_above_is_the_auditors(as_auditor: None, world: SimulatedWorld) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(world, "SELECT * FROM ledger.entry")
