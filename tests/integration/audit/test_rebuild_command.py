"""P6: `rebuild` writes what the entries say, whatever stood there; `--check` says it and touches nothing."""

import json
import random
import threading
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from ledger.store.database import Database
from ledger.store.rebuild import check, rebuild
from tests.integration.commands import Say
from tests.simulation.world import SimulatedWorld, elastic

REBUILT = ("allocation", "tenure", "cloud_call")
#: What no entry tells: rebuild leaves it alone.
INPUTS = (
    "entry",
    "feed",
    "unfed",
    "cluster",
    "observation",
    "kafka_offset",
    "watermark",
    "dead_letter",
    "work",
    "rate_bucket",
    "vswitch",
    "instance_type",
    "brake",
    "incarnation",
    "sweep",
    "quarantine",
    "seal",
    "outbox",
)


def held(world: SimulatedWorld, tables: tuple[str, ...]) -> dict[str, list[Any]]:
    """Every row of these tables as PostgreSQL writes it, sorted."""
    with psycopg.connect(world.dsn) as connection:
        return {
            table: sorted(connection.execute(f"SELECT t::text FROM ledger.{table} t").fetchall())
            for table in tables
        }


def sql(world: SimulatedWorld, *statements: str) -> None:
    with psycopg.connect(world.dsn) as owner:
        owner.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            owner.execute(statement)


@pytest.fixture
def lived(world: SimulatedWorld) -> SimulatedWorld:
    """Of every kind something: bound, reserved, released, calls that were done, refused, undone."""
    world.delete_pod("web-1")
    world.settle(15)
    world.create_pod("web-3", networks=[elastic()])
    world.settle(10)
    return world


DAMAGE = {
    "all of it gone": [f"DELETE FROM ledger.{table}" for table in REBUILT],
    "all calls gone": ["DELETE FROM ledger.cloud_call"],
    "outcomes forgotten": [
        "UPDATE ledger.cloud_call SET settled_at = NULL, outcome = NULL, code = NULL, request_id = NULL"
    ],
    "other calls": [
        "UPDATE ledger.cloud_call SET api = 'AttachNetworkInterface', client_token = 'x', "
        "deadline = deadline + interval '1 second', parameters = '{}'"
    ],
    "a call that nobody intended": [
        "INSERT INTO ledger.cloud_call (intent, allocation_id, cluster, api, parameters, intended_at, "
        "deadline) SELECT gen_random_uuid(), allocation_id, cluster, api, parameters, intended_at, "
        "deadline FROM ledger.cloud_call LIMIT 1"
    ],
    "periods moved": ["UPDATE ledger.tenure SET node = 'elsewhere', opened_by = opened_by + 100"],
    "an end forgotten": [
        "UPDATE ledger.tenure SET during = tstzrange(lower(during), NULL), closed_by = NULL "
        "WHERE kind = 'preparing'"
    ],
    "states exchanged": [
        "UPDATE ledger.allocation SET phase = 'released', vlan = NULL, version = version + 1000, "
        "state = '{}'"
    ],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_p6_rebuild_writes_identical_rows_over_any_damage(
    lived: SimulatedWorld, say: Say, damage: str
) -> None:
    before, inputs = held(lived, REBUILT), held(lived, INPUTS)
    assert all(before.values())
    sql(lived, *DAMAGE[damage])
    damaged = held(lived, REBUILT)
    assert damaged != before
    checked = say("rebuild", "--check", "--json")
    assert checked.code == 1
    told = json.loads(checked.out)["differences"]
    assert held(lived, REBUILT) == damaged, "--check touches nothing"
    said = say("rebuild")
    assert said.code == 0
    rows = [line for line in said.err.splitlines() if "differs from the entries" in line]
    assert rows == [f"{each['table']} {each['key']}: differs from the entries" for each in told]
    assert f"{len(rows)} rows had differed" in said.out
    assert held(lived, REBUILT) == before
    assert held(lived, INPUTS) == inputs
    again = say("rebuild", "--check", "--json")
    assert (again.code, json.loads(again.out)) == (0, {"differences": []})
    lived.settle(10)
    lived.check_promises()


@pytest.mark.parametrize("seed", range(6))
def test_p6_each_damaged_row_is_named(lived: SimulatedWorld, seed: int) -> None:
    """Random rows deleted from or changed in each table: exactly those differ."""
    dice = random.Random(seed)
    damaged = set()
    changes = {
        "allocation": "node = 'elsewhere'",
        "tenure": "mac = 'ff'",
        "cloud_call": "api = 'X'",
    }
    for table in REBUILT:
        with psycopg.connect(lived.dsn) as owner:
            rows = owner.execute(f"SELECT ctid::text FROM ledger.{table} ORDER BY ctid").fetchall()
            for (row,) in dice.sample(rows, dice.randint(1, len(rows) // 2)):
                change = (
                    f"DELETE FROM ledger.{table} WHERE ctid = '{row}'"
                    if dice.random() < 0.5
                    else f"UPDATE ledger.{table} SET {changes[table]} WHERE ctid = '{row}'"
                )
                key = {
                    "allocation": "id::text",
                    "tenure": "allocation_id || ' v' || opened_by",
                    "cloud_call": "allocation_id || ' intent ' || intent",
                }[table]
                [(name,)] = owner.execute(f"{change} RETURNING {key}").fetchall()
                damaged.add((table, name))
    with lived.database.transaction() as connection:
        found = [(each.table, each.key) for each in check(connection)]
    assert set(found) == damaged
    assert len(found) == len(damaged)


def test_p6_entries_that_tell_no_story_are_named_and_nothing_is_written(
    lived: SimulatedWorld, say: Say
) -> None:
    before = held(lived, REBUILT)
    sql(
        lived,
        "DELETE FROM ledger.entry WHERE id = (SELECT id FROM ledger.entry WHERE kind = 'placed' "
        "ORDER BY id LIMIT 1)",
        'UPDATE ledger.entry SET data = \'{"nothing": "known"}\' WHERE id = (SELECT id FROM '
        "ledger.entry WHERE kind = 'released' ORDER BY id LIMIT 1)",
    )
    checked = say("rebuild", "--check")
    assert checked.code == 1
    assert checked.err.count("its entries tell no story") == 2
    said = say("rebuild")
    assert said.code == 1
    assert "Nothing was written; `eni-ledger verify --seal`" in said.err
    assert held(lived, REBUILT) == before
    verified = say("verify")
    assert verified.code == 1
    assert "entries tell no story: allocation" in verified.out


def test_p6_the_comparison_sees_one_moment_of_a_ledger_at_work(lived: SimulatedWorld) -> None:
    """While allocations change all the time, nothing seems to differ; rebuild waits its turn."""
    stop = threading.Event()
    compared: list[int] = []
    failures: list[Exception] = []

    def compare() -> None:
        database = Database(lived.dsn, pool_size=1)
        try:
            while not stop.is_set():
                with database.snapshot() as connection:
                    compared.append(len(check(connection)))
                with database.transaction() as connection:
                    rebuild(connection)
        except Exception as failed:  # noqa: BLE001 - told to the test's own thread
            failures.append(failed)
        finally:
            database.close()

    thread = threading.Thread(target=compare)
    thread.start()
    for number in range(12):
        lived.create_pod(f"busy-{number}", networks=[elastic()])
        lived.settle(10)
        lived.delete_pod(f"busy-{number}")
        lived.settle(10)
        lived.advance(timedelta(seconds=5))
    stop.set()
    thread.join()
    assert failures == []
    assert len(compared) > 3
    assert set(compared) == {0}
    lived.check_promises()
