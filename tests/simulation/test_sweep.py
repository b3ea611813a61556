"""The sweep: leaks are cleared, unknown ENIs stop everything destructive and are never touched."""

import contextlib
from datetime import timedelta
from typing import Any

import psycopg

from consumers.cloud.port import CreateEni
from ledger.rules.allocation import Phase
from ledger.store.book import append_remark
from ledger.store.incarnations import confirm_incarnation
from tests.simulation.promises import leak_intended
from tests.simulation.world import CLUSTER, Crash, SimulatedWorld, elastic, fixed

TABLES = "entry, unfed, feed, allocation, tenure, cloud_call, observation, kafka_offset, watermark"


def brakes(world: SimulatedWorld) -> list[tuple[str, str]]:
    with psycopg.connect(world.dsn) as connection:
        return connection.execute("SELECT scope, pulled_by FROM ledger.brake").fetchall()


def snapshot(world: SimulatedWorld) -> dict[str, list[Any]]:
    """Yesterday's ledger."""
    names = [name.strip() for name in TABLES.split(",")] + ["work", "sweep", "quarantine"]
    with psycopg.connect(world.dsn) as connection:
        return {
            name: connection.execute(f"SELECT t::text FROM ledger.{name} t").fetchall()
            for name in names
        }


def restore(world: SimulatedWorld, rows: dict[str, list[Any]]) -> None:
    """A backup put back: every table as it was."""
    with psycopg.connect(world.dsn) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        for name, held in rows.items():
            connection.execute(f"DELETE FROM ledger.{name}")
            for (row,) in held:
                connection.execute(
                    f"INSERT INTO ledger.{name} OVERRIDING SYSTEM VALUE "
                    f"SELECT (%s::ledger.{name}).*",
                    [row],
                )
    world._read.clear()


def unknown_eni(world: SimulatedWorld, intent: str, token: str = "by-hand") -> str:
    request = CreateEni(
        vswitch_id="vsw-bpxxxx",
        security_group_ids=("sg-bpxxxx",),
        client_token=f"{token}-{intent}"[:64],
        tags={"ack.aliyun.com": CLUSTER, "creator": "eni-ledger", "eni-ledger/intent": intent},
        delete_on_release=True,
    )
    return world.tools.cloud.create_eni(request).value.id


def test_p4_an_eni_of_an_unknown_intent_is_never_deleted_and_stops_what_destroys(
    world: SimulatedWorld,
) -> None:
    world.create_pod("web-0", networks=[elastic()])
    world.settle(10)
    stranger = unknown_eni(world, "11111111-1111-4111-8111-111111111111")
    world.settle(200, step=10)
    assert brakes(world) == [("destructive", "sweep")]
    world.delete_pod("web-0")
    world.settle(60, step=5)
    assert [a.phase for a in world.allocations()] == [Phase.BOUND]
    assert stranger in world.member_enis()
    with psycopg.connect(world.dsn) as connection:
        connection.execute("UPDATE ledger.quarantine SET accepted_at = ledger.now()")
        connection.execute("DELETE FROM ledger.brake")
    world.settle(200, step=10)
    assert [a.phase for a in world.allocations()] == [Phase.RELEASED]
    assert brakes(world) == []
    assert stranger in world.member_enis()


def test_p4_a_leak_is_deleted_after_two_looks_that_agree(world: SimulatedWorld) -> None:
    world.create_pod("web-0")
    world.settle(10)
    with psycopg.connect(world.dsn) as connection:
        row = connection.execute("SELECT intent FROM ledger.cloud_call LIMIT 1").fetchone()
    assert row is not None
    leaked = unknown_eni(world, str(row[0]))
    world.settle(30, step=10)
    assert leaked in world.member_enis()
    world.settle(200, step=10)
    assert leaked not in world.member_enis()
    kinds = "SELECT kind FROM ledger.entry WHERE data->>'eni' = %s ORDER BY id"
    told = [kind for (kind,) in world.ground.rows(kinds, [leaked])]
    assert told == ["leak-release-intended", "leak-released"]
    assert not leak_intended(world.ground, leaked), "it was released since"
    assert brakes(world) == []
    assert [a.phase for a in world.allocations()] == [Phase.BOUND]
    with world.database.transaction() as connection:
        told_again = {"eni": leaked}
        append_remark(connection, CLUSTER, "leak-release-intended", told_again, {}, world.now())
    assert leak_intended(world.ground, leaked), "what the judge takes for an intent is one"


def test_p11_a_ledger_restored_to_yesterday_cuts_nobody_off(world: SimulatedWorld) -> None:
    world.create_pod("web-0", networks=[fixed("5m")])
    world.create_pod("web-1", networks=[fixed("5m")])
    world.settle(15)
    world.delete_pod("web-0")
    world.settle(15)
    yesterday = snapshot(world)
    world.create_pod("web-0", node="node-h2", networks=[fixed("5m")])
    world.delete_pod("web-1")
    world.create_pod("web-1", node="node-h2", networks=[fixed("5m")])
    world.create_pod("web-2", networks=[fixed("5m")])
    world.settle(30)
    assert [a.phase for a in world.allocations()] == [Phase.BOUND] * 3
    in_use = {name: world.podeni(name) for name in ("web-0", "web-1", "web-2")}
    calls = len(world.mutating_calls())

    restore(world, yesterday)
    world.advance(timedelta(days=1))
    world.settle(300, step=10)
    assert brakes(world) == [("destructive", "sweep")]
    destroyed = world.mutating_calls()[calls:]
    assert "DetachNetworkInterface" not in destroyed
    assert "DeleteNetworkInterface" not in destroyed
    for name, before in in_use.items():
        now = world.podeni(name)
        assert before is not None
        assert now is not None
        assert now["status"]["phase"] == "Bind", name
        assert now["spec"] == before["spec"], name


def test_p11_an_empty_ledger_cuts_nobody_off(world: SimulatedWorld) -> None:
    world.create_pod("web-0")
    world.settle(15)
    empty: dict[str, list[Any]] = {name: [] for name in snapshot(world)}
    calls = len(world.mutating_calls())
    restore(world, empty)
    with world.database.transaction() as connection:
        from ledger.store.sweeps import begin_sweeping

        begin_sweeping(connection, CLUSTER)
    world.settle(300, step=10)
    assert brakes(world) == [("destructive", "sweep")]
    assert "DetachNetworkInterface" not in world.mutating_calls()[calls:]
    podeni = world.podeni("web-0")
    assert podeni is not None
    assert podeni["status"]["phase"] == "Bind"


def test_p11_a_ledger_restored_into_a_departure_cuts_nobody_off(world: SimulatedWorld) -> None:
    """No ENI was made since: the cloud shows nothing that the ledger does not know. What it knows is
    that the Pod before was found gone, and that its ENI is about to be detached."""
    world.create_pod("web-0")
    world.settle(120, step=10)
    world.delete_pod("web-0")
    with world.killed_at("before DetachNetworkInterface") as killed, contextlib.suppress(Crash):
        world.settle(10)
    assert killed
    departing = snapshot(world)
    world.advance(timedelta(seconds=60))
    world.settle(60)
    world.create_pod("web-0")
    world.settle(30)
    [bound] = world.allocations()
    assert (bound.phase, bound.attachment is not None) == (Phase.BOUND, True)
    calls = len(world.mutating_calls())

    restore(world, departing)
    wakes_elsewhere(world)
    world.settle(300, step=10)
    assert ("destructive", "incarnation") in brakes(world)
    assert "DetachNetworkInterface" not in world.mutating_calls()[calls:]
    assert world.member_enis() == {bound.address.eni: "InUse"} if bound.address else False
    podeni = world.podeni("web-0")
    assert podeni is not None
    assert podeni["status"]["phase"] == "Bind"


def wakes_elsewhere(world: SimulatedWorld) -> None:
    """The restored rows were written somewhere else, as the reconciler finds before anything else."""
    with world.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE ledger.incarnation SET home = 'a server that burnt'")
        confirm_incarnation(connection, CLUSTER, standby_loses_nothing=False)
