"""Capacity: what is used, kept and free, per vSwitch and per node, and when a person hears of it."""

import json
from datetime import timedelta

import psycopg

from tests.integration.commands import Say
from tests.simulation.world import CLUSTER, SimulatedWorld, elastic, fixed

VSWITCH = "vsw-bpxxxx"


def change(world: SimulatedWorld, query: str) -> None:
    with psycopg.connect(world.dsn) as connection:
        connection.execute(query)


def look(world: SimulatedWorld, free: int) -> None:
    """As if the cloud had been asked just now."""
    change(
        world,
        f"UPDATE ledger.vswitch SET free_ips = {free}, looked_at = ledger.now() "
        f"WHERE id = '{VSWITCH}'",
    )


def told(say: Say) -> dict[str, dict[str, object]]:
    said = say("audit", "capacity", "--json")
    assert said.code == 0, said
    return {each["vswitch"]: each for each in json.loads(said.out)["vswitches"]}


def test_used_reserved_and_free_follow_what_happens(world: SimulatedWorld, say: Say) -> None:
    look(world, 200)
    before = told(say)[VSWITCH]
    assert (before["in_use"], before["reserved"], before["free"]) == (2, 1, 200)
    world.advance(timedelta(seconds=1))
    world.create_pod("db-0", networks=[fixed(strategy="Never")])
    world.create_pod("db-1", networks=[elastic()])
    world.settle(10)
    world.delete_pod("db-0")
    world.delete_pod("db-1")
    world.settle(15)
    after = told(say)[VSWITCH]
    assert (after["in_use"], after["reserved"], after["reserved_for_ever"]) == (2, 2, 1)
    assert after["free"] == 199, "one was taken and kept, one was taken and given back"
    assert "days of history" in str(after["trend"])


def test_slots_of_a_node_are_taken_by_what_is_attached(world: SimulatedWorld, say: Say) -> None:
    said = say("audit", "node", "node-h1", "--json")
    room = json.loads(said.out)["capacity"]
    assert (room["node"], room["attached"], room["waiting"]) == ("node-h1", 1, 0)
    assert room["free"] == room["slots"] - 1 > 0
    assert f"member slots: {room['slots']}, 1 attached" in say("audit", "node", "node-h1").out
    empty = say("audit", "node", "node-i1")
    assert empty.code == 0
    assert "0 attached" in empty.out


def test_a_vswitch_says_how_full_it_is(world: SimulatedWorld, say: Say) -> None:
    look(world, 200)
    said = say("audit", "vswitch", VSWITCH)
    assert "2 in use, 1 reserved (0 of them for ever)" in said.out
    assert "about 200 of " in said.out
    assert "no trend" in said.out
    tables = say("audit", "capacity").out
    assert VSWITCH in tables
    assert "node-h1" in tables
    then = say("audit", "vswitch", VSWITCH, "--at", "2026-01-01T00:05:00Z")
    assert "3 held then: 1 bound, 2 reserved" in then.out


def test_a_person_hears_of_a_vswitch_that_fills(world: SimulatedWorld, say: Say) -> None:
    look(world, 4000)
    assert "about to fill" not in say("verify").out
    look(world, 1)
    said = say("verify")
    assert said.code == 1
    assert f"a vSwitch is about to fill: {VSWITCH}: 1 of " in said.out
    assert "1 are kept for Pods that are away" in said.out
    assert "eni-ledger audit capacity" in said.out


def test_a_trend_is_told_before_the_vswitch_is_full(world: SimulatedWorld, say: Say) -> None:
    """A hundred addresses more a day, for a week."""
    change(
        world,
        f"""
        INSERT INTO ledger.tenure (allocation_id, cluster, namespace, pod, interface, pod_uid, node, kind,
            vpc, ipv4, eni, mac, vswitch, during, opened_by)
        SELECT gen_random_uuid(), '{CLUSTER}', 'grown', 'p-' || n, 'eth0', 'u', 'n', 'bound', 'vpc-grown',
               '10.9.0.0'::inet + n, 'eni-grown-' || n, 'm', '{VSWITCH}',
               tstzrange(ledger.now() - n * interval '864 seconds', NULL), 1
        FROM generate_series(1, 700) n""",
    )
    change(
        world,
        f"""
        INSERT INTO ledger.allocation (id, version, cluster, namespace, pod, interface, phase, pod_uid, node,
            vpc, ipv4, eni, vswitch, created_at, changed_at, state)
        SELECT allocation_id, 1, cluster, namespace, pod, interface, 'bound', pod_uid, node, vpc, ipv4, eni,
               vswitch, lower(during), lower(during), '{{}}'
        FROM ledger.tenure WHERE namespace = 'grown' AND vswitch = '{VSWITCH}'""",
    )
    look(world, 500)
    trend = told(say)[VSWITCH]["trend"]
    assert isinstance(trend, dict)
    assert 98 <= float(trend["per_day"]) <= 102
    assert "it is full in 5 days" in str(told(say)[VSWITCH]["warning"])
    with psycopg.connect(world.dsn) as connection:
        counts = connection.execute(
            "SELECT held FROM audit.vswitch_history(%s, ledger.now() - interval '6 days', '1 day')",
            [VSWITCH],
        ).fetchall()
    # The three of the world's own are minutes old.
    assert [count for (count,) in counts] == [101, 201, 301, 401, 501, 601, 703]
