"""`eni-ledger audit`: who held it, when, and why; and what it answers when nobody did."""

import json
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from ledger.rules.entries import Address
from tests.integration.commands import Said, Say
from tests.simulation.world import SimulatedWorld


def address(world: SimulatedWorld, pod: str) -> Address:
    [found] = [a.address for a in world.allocations() if a.pod == pod]
    assert found is not None
    return found


def tenures(said: Said) -> list[dict[str, Any]]:
    assert said.code == 0, said
    found: list[dict[str, Any]] = json.loads(said.out)["tenures"]
    return found


def test_an_ip_tells_its_whole_story(world: SimulatedWorld, say: Say) -> None:
    told = tenures(say("audit", "ip", address(world, "web-0").ipv4, "--json"))
    assert {each["pod"] for each in told} == {"web-0"}
    kinds = [each["kind"] for each in told]
    assert [kind for kind in kinds if kind in ("bound", "reserved")] == [
        "bound",
        "reserved",
        "bound",
    ]
    bound = [each for each in told if each["kind"] == "bound"]
    assert [each["node"] for each in bound] == ["node-h1", "node-h2"]
    assert bound[0]["pod_uid"] != bound[1]["pod_uid"]
    assert bound[0]["until"] is not None
    assert bound[1]["until"] is None


def test_p6_periods_follow_each_other_without_a_hole(world: SimulatedWorld, say: Say) -> None:
    told = tenures(say("audit", "ip", address(world, "web-0").ipv4, "--json"))
    for earlier, later in pairwise(told):
        assert earlier["until"] == later["since"]
        assert earlier["closed"]["entry"] == later["opened"]["entry"]


def test_each_period_names_the_entry_and_its_cause(world: SimulatedWorld, say: Say) -> None:
    for each in tenures(say("audit", "ip", address(world, "web-0").ipv4, "--json")):
        assert each["opened"]["cause"]
        assert each["opened"]["entry"] > 0
        if each["until"] is not None:
            assert each["closed"]["cause"]


@pytest.mark.parametrize("key", ["ip", "eni", "mac", "pod"])
def test_every_key_leads_to_the_same_periods(world: SimulatedWorld, say: Say, key: str) -> None:
    held = address(world, "web-0")
    value = {"ip": held.ipv4, "eni": held.eni, "mac": held.mac, "pod": "example/web-0"}[key]
    told = tenures(say("audit", key, value, "--json"))
    assert told == tenures(say("audit", "ip", held.ipv4, "--json"))


def test_the_story_has_every_entry(world: SimulatedWorld, say: Say) -> None:
    said = say("audit", "pod", "example/web-0", "--story", "--json")
    story = json.loads(said.out)["story"]
    kinds = [entry["kind"] for entry in story]
    assert kinds[0] == "requested"
    assert {"call-intended", "call-done", "absence-confirmed", "claimed"} <= set(kinds)
    assert [entry["version"] for entry in story] == list(range(1, len(story) + 1))


def test_people_get_the_same_facts_as_programs(world: SimulatedWorld, say: Say) -> None:
    held = address(world, "web-0")
    said = say("audit", "ip", held.ipv4)
    assert said.code == 0
    for fact in (held.ipv4, held.eni, "example/web-0", "node-h1", "node-h2", "reserved", "now"):
        assert fact in said.out


# ---------------------------------------------------------------------------- at a moment


def test_at_a_moment_one_period_answers(world: SimulatedWorld, say: Say) -> None:
    ip = address(world, "web-0").ipv4
    [then] = tenures(say("audit", "ip", ip, "--at", "2026-01-01T00:05:00Z", "--json"))
    assert then["kind"] == "reserved"
    [now] = tenures(say("audit", "ip", ip, "--at", world.time.isoformat(), "--json"))
    assert (now["kind"], now["node"]) == ("bound", "node-h2")


def test_the_end_of_a_period_belongs_to_the_next(world: SimulatedWorld, say: Say) -> None:
    ip = address(world, "web-0").ipv4
    told = tenures(say("audit", "ip", ip, "--json"))
    [at_end] = tenures(say("audit", "ip", ip, "--at", told[0]["until"], "--json"))
    assert at_end == told[1]


def test_a_zone_is_respected_and_utc_is_meant_without_one(world: SimulatedWorld, say: Say) -> None:
    ip = address(world, "web-0").ipv4
    utc = tenures(say("audit", "ip", ip, "--at", "2026-01-01T00:05:00Z", "--json"))
    assert tenures(say("audit", "ip", ip, "--at", "2026-01-01T08:05:00+08:00", "--json")) == utc
    assert tenures(say("audit", "ip", ip, "--at", "2026-01-01 00:05:00", "--json")) == utc


def test_some_time_ago_is_by_the_ledgers_clock(world: SimulatedWorld, say: Say) -> None:
    ip = address(world, "web-0").ipv4
    [then] = tenures(say("audit", "ip", ip, "--at", "5m ago", "--json"))
    assert then["kind"] == "reserved"
    world.advance(timedelta(minutes=85))
    assert tenures(say("audit", "ip", ip, "--at", "90m ago", "--json")) == [then]


@pytest.mark.parametrize("at", ["yesterday", "5 minutes ago", "1d ago", "2026-13-01", "", " ago"])
def test_a_wrong_time_says_how_to_write_one(world: SimulatedWorld, say: Say, at: str) -> None:
    said = say("audit", "ip", "192.168.0.1", "--at", at)
    assert said.code != 0
    assert "90m ago" in said.err


def test_before_it_was_held_it_was_nobodys(world: SimulatedWorld, say: Say) -> None:
    said = say("audit", "ip", address(world, "web-0").ipv4, "--at", "2025-12-31T23:00:00Z")
    assert said.code == 1
    assert "not managed here" in said.err


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+08:00", "9999-12-31T23:59:59-08:00"])
def test_the_ends_of_time_are_no_crash(world: SimulatedWorld, say: Say, at: str) -> None:
    said = say("audit", "ip", address(world, "web-0").ipv4, "--at", at)
    assert said.code in (0, 1)
    assert "Traceback" not in said.err


# ---------------------------------------------------------------------------- nobody


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ip", "10.9.9.9"),
        ("ip", "2408::1"),
        ("eni", "eni-unknown"),
        ("mac", "00:00:00:00:00:00"),
        ("pod", "example/unknown"),
    ],
)
def test_what_was_never_given_out_is_not_managed_here(
    world: SimulatedWorld, say: Say, key: str, value: str
) -> None:
    said = say("audit", key, value)
    assert said.code == 1
    assert f"{key} {value} is not managed here" in said.err
    answered = say("audit", key, value, "--json")
    assert answered.code == 1
    assert json.loads(answered.out)["tenures"] == []


def test_an_address_that_a_pod_reports_is_named_with_the_pod(
    world: SimulatedWorld, say: Say
) -> None:
    path = "/api/v1/namespaces/example/pods/web-1"
    pod = world.kube.get(path)
    pod["status"] = {**pod.get("status", {}), "podIP": "10.7.7.7"}
    world.kube.update(f"{path}/status", pod)
    world.settle(3)
    said = say("audit", "ip", "10.7.7.7")
    assert said.code == 1
    assert "not managed here" in said.err
    assert "example/web-1" in said.err


@pytest.mark.parametrize("value", ["not-an-ip", "300.1.1.1", "1.2.3", "'; DROP TABLE x; --"])
def test_what_is_no_address_is_refused_in_words(
    world: SimulatedWorld, say: Say, value: str
) -> None:
    said = say("audit", "ip", value)
    assert said.code == 1
    assert "Traceback" not in said.err
    assert said.err.strip()


def test_another_cluster_is_not_answered_for(
    world: SimulatedWorld, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENI_LEDGER_CLUSTER_ID", "c-other")
    assert say("audit", "ip", address(world, "web-0").ipv4).code == 1
    assert json.loads(say("reservations", "--json").out) == []


def test_without_a_cluster_id_or_a_ledger_it_says_what_to_set(
    say: Say, monkeypatch: pytest.MonkeyPatch, empty_database: str
) -> None:
    monkeypatch.setenv("ENI_LEDGER_CLUSTER_ID", "")
    monkeypatch.setenv("ENI_LEDGER_POSTGRES__DSN", empty_database)
    said = say("audit", "ip", "10.0.0.1")
    assert (said.code, "ENI_LEDGER_CLUSTER_ID" in said.err) == (1, True)
    monkeypatch.setenv("ENI_LEDGER_CLUSTER_ID", "c1")
    said = say("audit", "ip", "10.0.0.1")
    assert (said.code, "eni-ledger migrate" in said.err) == (1, True)
    monkeypatch.setenv("ENI_LEDGER_POSTGRES__DSN", "postgresql://127.0.0.1:1/nothing")
    said = say("audit", "ip", "10.0.0.1")
    assert (said.code, "ENI_LEDGER_POSTGRES__DSN" in said.err) == (1, True)
