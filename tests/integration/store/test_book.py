"""What the database itself refuses, whoever writes: second claims (P1) and changed entries (P7); and when
a period may begin."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from ledger.rules.entries import Address
from ledger.store.book import not_before_last_end
from ledger.store.database import Database

INSERT = """
INSERT INTO ledger.allocation (id, version, cluster, namespace, pod, interface, phase, pod_uid, node,
    vpc, ipv4, ipv6, eni, trunk, vlan, created_at, changed_at, state)
VALUES (%(id)s, 1, %(cluster)s, 'shop', %(pod)s, 'eth0', %(phase)s, 'uid', 'node-h1',
    'vpc-1', %(ipv4)s, %(ipv6)s, %(eni)s, %(trunk)s, %(vlan)s, ledger.now(), ledger.now(), '{}')
"""


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database) as opened:
        yield opened


def claim(connection: psycopg.Connection[Any], **changes: Any) -> None:
    row = {
        "id": uuid.uuid4(),
        "cluster": "c1",
        "pod": f"pod-{uuid.uuid4()}",
        "phase": "bound",
        "ipv4": None,
        "ipv6": None,
        "eni": None,
        "trunk": None,
        "vlan": None,
    }
    connection.execute(INSERT, row | changes)


CLAIMS: dict[str, dict[str, Any]] = {
    "live_claim_ipv4": {"ipv4": "10.0.0.1"},
    "live_claim_ipv6": {"ipv6": "2408:4005:3aa:1100::10"},
    "live_claim_eni": {"eni": "eni-1"},
    "live_claim_vlan": {"trunk": "eni-trunk", "vlan": 1001},
    "live_claim_pod_interface": {"pod": "web-0"},
}


@pytest.mark.parametrize("constraint", CLAIMS)
def test_p1_a_second_live_claim_is_refused_even_by_hand(
    connection: psycopg.Connection[Any], constraint: str
) -> None:
    claim(connection, **CLAIMS[constraint])
    with pytest.raises(psycopg.errors.UniqueViolation) as refused:
        claim(connection, **CLAIMS[constraint])
    assert refused.value.diag.constraint_name == constraint


@pytest.mark.parametrize(
    ("constraint", "written"),
    [
        ("an_ipv4_is_one_address", {"ipv4": "10.0.0.1/24"}),
        ("an_ipv4_is_one_address", {"ipv4": "::ffff:10.0.0.1"}),
        ("an_ipv6_is_one_address", {"ipv6": "2408:4005:3aa:1100::10/64"}),
        ("an_ipv6_is_one_address", {"ipv6": "10.0.0.1"}),
    ],
)
def test_p1_the_same_address_written_otherwise_is_refused(
    connection: psycopg.Connection[Any], constraint: str, written: dict[str, str]
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        claim(connection, **written)
    assert refused.value.diag.constraint_name == constraint


@pytest.mark.parametrize("constraint", CLAIMS)
def test_p1_a_released_claim_may_be_taken_again(
    connection: psycopg.Connection[Any], constraint: str
) -> None:
    released = CLAIMS[constraint] | {"phase": "released"}
    claim(connection, **(released | {"vlan": None}))
    claim(connection, **CLAIMS[constraint])


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ledger.entry SET kind = 'x'",
        "DELETE FROM ledger.entry",
        "TRUNCATE ledger.entry CASCADE",
    ],
)
def test_p7_entries_are_append_only_even_for_the_owner(
    connection: psycopg.Connection[Any], change: str
) -> None:
    connection.execute(
        "INSERT INTO ledger.entry (cluster, kind, recorded_at, cause, data) "
        "VALUES ('c1', 'paused', ledger.now(), '{}', '{}')"
    )
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        connection.execute(change)


@pytest.mark.parametrize("role", ["eni_ledger_writer", "eni_ledger_reconciler"])
def test_p7_no_role_may_change_entries(connection: psycopg.Connection[Any], role: str) -> None:
    connection.execute(f"SET ROLE {role}")
    for change in ("UPDATE ledger.entry SET kind = 'x'", "DELETE FROM ledger.entry"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(change)


def test_the_auditor_reads_the_public_schema_and_nothing_else(
    connection: psycopg.Connection[Any],
) -> None:
    connection.execute("SET ROLE eni_ledger_auditor")
    views = (
        "tenures",
        "allocations",
        "reservations",
        "calls",
        "story",
        "vswitch_capacity",
        "reported_addresses",
        "drift",
    )
    for view in views:
        connection.execute(f"SELECT * FROM audit.{view}")
    connection.execute("SELECT * FROM audit.ip_owner_at('10.0.0.1')")
    connection.execute("SELECT * FROM audit.timeline('10.0.0.1')")
    for table in ("entry", "allocation", "observation", "work"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(f"SELECT * FROM ledger.{table}")


def test_p1_a_period_begins_after_the_last_of_each_of_its_keys_though_the_clock_stepped_back(
    connection: psycopg.Connection[Any], database: str
) -> None:
    connection.execute(
        "INSERT INTO ledger.tenure (allocation_id, cluster, namespace, pod, interface, pod_uid, node, kind, "
        "vpc, ipv4, ipv6, eni, mac, vswitch, during, opened_by, closed_by) VALUES (%s, 'c1', 'shop', "
        "'web-0', 'eth0', 'uid', 'n', 'bound', 'vpc-1', '10.0.0.1', '2408::1', 'eni-1', 'mac', 'vsw-1', "
        "tstzrange('2026-01-01Z', '2026-01-02Z'), 1, 2)",
        [uuid.uuid4()],
    )
    connection.commit()
    earlier, end = datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    other = {"vpc": "vpc-1", "ipv4": "10.0.0.2", "ipv6": "2408::2", "eni": "eni-2"}
    begins: dict[str, datetime] = {}
    engine = Database(database, pool_size=1)
    with engine.transaction() as asking:
        for key, same in {
            "ipv4": "10.0.0.1",
            "ipv6": "2408::1",
            "eni": "eni-1",
            "vpc": "vpc-1",
        }.items():
            keys = other | {key: same}
            address = Address(mac="mac-2", vswitch="vsw-1", zone="zone-h", **keys)
            begins[key] = not_before_last_end(asking, address, earlier)
    engine.close()
    assert begins == {"ipv4": end, "ipv6": end, "eni": end, "vpc": earlier}
