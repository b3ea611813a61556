"""The schema `audit`: a stable public read API, open to auditors and to nobody's hands."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from ledger.rules.entries import Address
from tests.simulation.ground import START
from tests.simulation.world import SimulatedWorld


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


def test_a_timeline_has_no_holes_and_no_overlaps(world: SimulatedWorld) -> None:
    told = ask(
        world, "SELECT since, until FROM audit.timeline(%s::inet)", address(world, "web-0").ipv4
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


VIEWS = ("tenures", "allocations", "reservations", "calls", "story", "vswitch_capacity")


def test_an_auditor_reads_audit_and_nothing_else(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SET ROLE eni_ledger_auditor")
        for view in VIEWS:
            connection.execute(f"SELECT * FROM audit.{view} LIMIT 1")
        connection.execute("SELECT * FROM audit.ip_owner_at('10.0.0.1')")
        connection.execute("SELECT * FROM audit.timeline('10.0.0.1')")
        for table in ("entry", "allocation", "observation", "cloud_call"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT * FROM ledger.{table}")
        with pytest.raises(psycopg.errors.Error):
            connection.execute("UPDATE audit.allocations SET pod = 'x'")


@pytest.mark.parametrize("role", ["eni_ledger_writer", "eni_ledger_reconciler"])
@pytest.mark.parametrize(
    "change", ["UPDATE ledger.entry SET kind = 'x'", "DELETE FROM ledger.entry"]
)
def test_p7_no_role_changes_an_entry(world: SimulatedWorld, role: str, change: str) -> None:
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        connection.execute(f"SET ROLE {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(change)
