"""Archiving while everything goes on: intake and reconciler at work, crashes, and the life after it."""

import contextlib
import random
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError

from deploy.local.kubernetes.errors import ApiError
from deploy.local.parts.postgres import PostgresServer, create_database, drop_database
from ledger.store import archiving
from ledger.store.archiving import NotArchivable
from ledger.store.database import Database
from ledger.store.rebuild import check, rebuild
from ledger.store.tampering import examine
from tests.integration.store.archives import held, live, rows, stamp_and_seal
from tests.simulation.ground import Ground
from tests.simulation.world import CLUSTER, SimulatedWorld, fixed


@pytest.fixture(scope="module")
def ground(postgres_server: PostgresServer, migrated_template: str) -> Iterator[Ground]:
    dsn = create_database(postgres_server.dsn(), "archiving", template=migrated_template)
    ground = Ground(dsn)
    yield ground
    ground.close()
    drop_database(postgres_server.dsn(), "archiving")


def carried_out(world: SimulatedWorld) -> int:
    """`eni-ledger archive`, transaction by transaction, in a database of its own; returns entries moved."""
    database = Database(world.dsn, pool_size=1)
    try:
        with database.transaction() as connection:
            stamp_and_seal(connection, 5)
            before = rows(connection, "SELECT ledger.now() - interval '1 day'")[0][0]
            plan = archiving.plan(connection, before, 50)
        for ids in archiving.batches(plan.to_carry):
            with database.transaction() as connection:
                archiving.carry(connection, ids, {"command": "archive", "by": "test"})
        for range_ in plan.ranges:
            with database.transaction() as connection:
                archiving.move(connection, CLUSTER, range_, "test")
    finally:
        database.close()
    return plan.entries


def verified(world: SimulatedWorld) -> None:
    with world.database.transaction() as connection:
        stamp_and_seal(connection)
        assert check(connection) == []
        assert check(connection, with_archive=True) == []
        assert examine(connection).findings == []


def test_p6_life_goes_on_after_it_and_a_call_on_its_way_is_settled(ground: Ground) -> None:
    ground.clear()
    world = SimulatedWorld(ground, 5)
    live(world, random.Random(5), acts=8)
    open_call = "SELECT count(*) FROM ledger.cloud_call WHERE settled_at IS NULL"
    assert world.ground.rows(open_call) == [(1,)]
    world.advance(timedelta(days=2))
    assert carried_out(world) > 0
    verified(world)
    world.settle(40)
    assert world.ground.rows(open_call) == [(0,)]
    for pod in ("ttl-0", "never-0", "elastic-0"):
        with contextlib.suppress(ApiError):
            world.delete_pod(pod)
    world.settle(15)
    world.advance(timedelta(days=2))
    assert carried_out(world) > 0
    world.settle(5)
    verified(world)
    world.check_promises()
    with world.database.transaction() as connection:
        there = held(connection)
        rebuild(connection)
        assert held(connection) == there


def test_a_crash_between_and_amid_the_moves_leaves_a_whole_ledger(ground: Ground) -> None:
    ground.clear()
    world = SimulatedWorld(ground, 6)
    live(world, random.Random(6), acts=6)
    world.advance(timedelta(days=2))
    database = Database(world.dsn, pool_size=1)
    with database.transaction() as connection:
        stamp_and_seal(connection, 5)
        plan = archiving.plan(connection, world.now() - timedelta(days=1), 20)
        archiving.carry(connection, plan.to_carry, {"by": "test"})
    before = world.ground.rows("SELECT * FROM ledger.entry ORDER BY id")

    def move_and_be_killed() -> None:
        with database.transaction() as connection:
            archiving.move(connection, CLUSTER, plan.ranges[0], "test")
            [(backend,)] = rows(connection, "SELECT pg_backend_pid()")
            world.ground.rows("SELECT pg_terminate_backend(%s)", [backend])
            connection.exec_driver_sql("SELECT 1")

    with pytest.raises(OperationalError):
        move_and_be_killed()
    database.close()
    assert world.ground.rows("SELECT * FROM ledger.entry ORDER BY id") == before
    assert world.ground.rows("SELECT to_regclass(%s)", [f"ledger.{plan.ranges[0].name}"]) == [
        (None,)
    ]
    verified(world)
    with world.database.transaction() as connection:
        again = archiving.plan(connection, world.now() - timedelta(days=1), 20)
        assert again.ranges[0] == plan.ranges[0]
        assert not set(again.to_carry) & set(plan.to_carry), "each is carried once"
        with pytest.raises(NotArchivable, match="archived meanwhile"):
            archiving.move(connection, CLUSTER, plan.ranges[1], "test")
    assert carried_out(world) > 0
    verified(world)


def test_intake_and_reconciler_go_on_meanwhile(ground: Ground) -> None:
    """Archives again and again beside a world at work: no deadlock, nothing torn."""
    ground.clear()
    world = SimulatedWorld(ground, 7)
    stop, moved, failures = threading.Event(), [0], []

    def keep_archiving() -> None:
        try:
            while not stop.is_set():
                moved.append(carried_out(world))
        except Exception as failed:  # noqa: BLE001 - told to the test's own thread
            failures.append(failed)

    thread = threading.Thread(target=keep_archiving)
    thread.start()
    try:
        for number in range(8):
            name = f"busy-{number % 3}"
            world.create_pod(name, networks=[fixed(strategy="Never")])
            world.settle(5)
            world.delete_pod(name)
            world.settle(5)
            world.advance(timedelta(days=2))
            with world.database.transaction() as connection:
                stamp_and_seal(connection, 5)
    finally:
        stop.set()
        thread.join()
    assert failures == []
    assert sum(moved) > 0
    verified(world)
    world.check_promises()
