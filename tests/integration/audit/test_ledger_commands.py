"""`reservations`, `release`, `pause`, `resume`, `rebuild`, `verify`: what people do to a ledger."""

import json
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from ledger.rules.allocation import Allocation, Phase
from tests.integration.commands import Say
from tests.simulation.world import SimulatedWorld, elastic, fixed


def one(world: SimulatedWorld, pod: str) -> Allocation:
    [found] = [a for a in world.allocations() if a.pod == pod and a.phase is not Phase.RELEASED]
    return found


def sql(world: SimulatedWorld, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(world.dsn) as connection:
        done = connection.execute(query, parameters)
        return done.fetchall() if done.description else []


# ---------------------------------------------------------------------------- reservations


def test_reservations_are_who_is_away_and_until_when(world: SimulatedWorld, say: Say) -> None:
    [kept] = json.loads(say("reservations", "--json").out)
    a = one(world, "web-2")
    assert a.address is not None
    assert (kept["namespace"], kept["pod"], kept["ipv4"]) == ("example", "web-2", a.address.ipv4)
    assert (kept["rule"], kept["zone"]) == ("ttl", a.address.zone)
    assert a.ttl_due is not None
    assert kept["due"] == a.ttl_due.isoformat()
    told = say("reservations").out
    assert "example/web-2" in told
    assert "web-0" not in told


def test_no_reservation_is_said_so(world: SimulatedWorld, say: Say) -> None:
    world.advance(timedelta(hours=1))
    world.settle(15)
    assert say("reservations").out == "nothing is reserved\n"
    assert json.loads(say("reservations", "--json").out) == []


def test_p6_reservations_of_a_moment_are_those_of_then(world: SimulatedWorld, say: Say) -> None:
    said = say("reservations", "--json", "--at", "2026-01-01T00:05:00Z")
    assert [kept["pod"] for kept in json.loads(said.out)] == ["web-0", "web-2"]
    assert say("reservations", "--at", "2025-12-31T00:00:00Z").out.startswith(
        "nothing was reserved"
    )
    assert say("reservations", "--at", "2999-01-01T00:00:00Z").code == 2


# ---------------------------------------------------------------------------- release


def test_p3_never_ends_by_command_with_who_and_why(world: SimulatedWorld, say: Say) -> None:
    world.create_pod("db-0", networks=[fixed(strategy="Never")])
    world.settle(10)
    world.delete_pod("db-0")
    world.settle(10)
    world.advance(timedelta(days=400))
    world.settle(10)
    assert one(world, "db-0").phase is Phase.RESERVED
    said = say("release", "example/db-0", "--reason", "moved away")
    assert said.code == 0
    world.settle(15)
    assert [a.phase for a in world.allocations() if a.pod == "db-0"] == [Phase.RELEASED]
    [(data, cause)] = sql(
        world, "SELECT data, cause FROM audit.story WHERE kind = 'release-requested'"
    )
    assert (data["how"], data["reason"]) == ("command", "moved away")
    assert "@" in data["by"]
    assert cause["command"] == "release example/db-0"


def test_a_release_while_bound_waits_until_the_pod_goes(world: SimulatedWorld, say: Say) -> None:
    said = say("release", "example/web-0", "--reason", "r")
    assert "when the Pod goes" in said.out
    world.settle(10)
    assert one(world, "web-0").phase is Phase.BOUND
    world.delete_pod("web-0")
    world.settle(15)
    assert [a.phase for a in world.allocations() if a.pod == "web-0"] == [Phase.RELEASED]


def test_a_pod_that_comes_back_after_its_release_gets_a_fresh_address(
    world: SimulatedWorld, say: Say
) -> None:
    old = one(world, "web-2").address
    assert say("release", "example/web-2", "--reason", "r").code == 0
    world.create_pod("web-2")
    world.settle(15)
    new = one(world, "web-2")
    assert new.phase is Phase.BOUND
    assert new.address is not None
    assert old is not None
    assert new.address.eni != old.eni
    world.check_promises()


@pytest.mark.parametrize("pod", ["example/unknown", "other/web-2"])
def test_there_is_nothing_to_release(world: SimulatedWorld, say: Say, pod: str) -> None:
    said = say("release", pod, "--reason", "r")
    assert said.code == 1
    assert f"Pod {pod} holds nothing" in said.err


def test_a_second_release_is_told_that_nothing_is_left(world: SimulatedWorld, say: Say) -> None:
    assert say("release", "example/web-2", "--reason", "r").code == 0
    assert say("release", "example/web-2", "--reason", "r").code == 1


@pytest.mark.parametrize("pod", ["web-2", "/web-2", "example/", "a/b/c"])
def test_a_pod_is_written_with_its_namespace(world: SimulatedWorld, say: Say, pod: str) -> None:
    said = say("release", pod, "--reason", "r")
    assert said.code == 2
    assert "NAMESPACE/NAME" in said.err


def test_a_release_without_a_reason_is_wrong_usage(world: SimulatedWorld, say: Say) -> None:
    assert say("release", "example/web-2").code == 2


# ---------------------------------------------------------------------------- pause, resume


def test_p11_a_pause_of_all_stops_every_call(world: SimulatedWorld, say: Say) -> None:
    assert "stands still" in say("pause", "--reason", "network change").out
    assert "stood still already" in say("pause").out
    calls = len(world.mutating_calls())
    world.create_pod("web-9", networks=[elastic()])
    world.delete_pod("web-1")
    world.settle(10)
    assert len(world.mutating_calls()) == calls
    assert one(world, "web-9").phase is Phase.WANTED
    assert "goes on" in say("resume").out
    assert "was not paused" in say("resume").out
    world.settle(20)
    assert one(world, "web-9").phase is Phase.BOUND
    kinds = sql(world, "SELECT kind, data ->> 'reason' FROM audit.story WHERE entry IN (SELECT "
                "entry FROM audit.story WHERE kind IN ('paused', 'resumed')) ORDER BY entry")  # fmt: skip
    assert kinds == [("paused", "network change"), ("resumed", None)]


def test_p11_a_destructive_pause_lets_new_pods_start(world: SimulatedWorld, say: Say) -> None:
    assert say("pause", "destructive").code == 0
    world.create_pod("web-9", networks=[elastic()])
    world.delete_pod("web-1")
    world.settle(15)
    assert one(world, "web-9").phase is Phase.BOUND
    assert one(world, "web-1").phase is Phase.BOUND
    assert "DetachNetworkInterface" not in world.mutating_calls()[-3:]
    assert say("resume", "destructive").code == 0
    world.settle(20)
    assert [a.phase for a in world.allocations() if a.pod == "web-1"] == [Phase.RELEASED]


def test_an_unknown_scope_is_wrong_usage(say: Say) -> None:
    assert say("pause", "everything").code == 2


# ---------------------------------------------------------------------------- rebuild, verify


def test_p6_a_ledger_agrees_with_its_entries(world: SimulatedWorld, say: Say) -> None:
    said = say("rebuild", "--check")
    assert (said.code, said.err) == (0, "")


def test_p6_a_hand_edited_row_is_named_and_healed(world: SimulatedWorld, say: Say) -> None:
    a = one(world, "web-2")
    before = sql(world, "SELECT * FROM ledger.allocation ORDER BY id")
    periods = sql(world, "SELECT * FROM ledger.tenure ORDER BY allocation_id, opened_by")
    sql(
        world,
        "UPDATE ledger.allocation SET ttl_due = ttl_due - interval '59 min' WHERE id = %s",
        a.id,
    )
    sql(world, "DELETE FROM ledger.tenure WHERE allocation_id = %s AND opened_by = (SELECT "
        "min(opened_by) FROM ledger.tenure WHERE allocation_id = %s)", a.id, a.id)  # fmt: skip
    said = say("rebuild", "--check")
    assert said.code == 1
    assert f"allocation {a.id}" in said.err
    assert f"tenure {a.id}" in said.err
    verified = say("verify", "--json")
    assert verified.code == 1
    assert str(a.id) in verified.out
    assert say("rebuild").code == 0
    assert say("rebuild", "--check").code == 0
    assert sql(world, "SELECT * FROM ledger.allocation ORDER BY id") == before
    assert sql(world, "SELECT * FROM ledger.tenure ORDER BY allocation_id, opened_by") == periods


def test_p6_a_row_that_no_entry_knows_is_named(world: SimulatedWorld, say: Say) -> None:
    a = one(world, "web-2")
    sql(
        world,
        "INSERT INTO ledger.allocation (id, version, cluster, namespace, pod, interface, phase, "
        "pod_uid, node, created_at, changed_at, state) SELECT gen_random_uuid(), 1, cluster, "
        "namespace, 'forged', interface, 'wanted', pod_uid, node, created_at, changed_at, state "
        "FROM ledger.allocation WHERE id = %s RETURNING id",
        a.id,
    )
    assert say("rebuild", "--check").code == 1
    assert say("rebuild").code == 0
    assert sql(world, "SELECT count(*) FROM ledger.allocation WHERE pod = 'forged'") == [(0,)]


def test_p6_rebuild_leaves_the_inputs_alone(world: SimulatedWorld, say: Say) -> None:
    tables = ("observation", "kafka_offset", "work", "rate_bucket", "watermark")
    before = {t: sql(world, f"SELECT * FROM ledger.{t} ORDER BY 1, 2, 3") for t in tables}
    assert say("rebuild").code == 0
    assert {t: sql(world, f"SELECT * FROM ledger.{t} ORDER BY 1, 2, 3") for t in tables} == before
    world.settle(10)
    assert one(world, "web-0").phase is Phase.BOUND
    world.check_promises()


def test_verify_shows_brakes_with_the_next_step(world: SimulatedWorld, say: Say) -> None:
    say("pause", "destructive", "--reason", "looking")
    found = json.loads(say("verify", "--json").out)
    text = json.dumps(found)
    assert "a brake is pulled" in text
    assert "eni-ledger resume destructive" in text
