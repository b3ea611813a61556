"""`eni-ledger audit`: who held it, when, and why; and what it answers when nobody did."""

import csv
import io
import json
import time
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


@pytest.mark.parametrize("key", ["ip", "mapped ip", "eni", "mac", "pod"])
def test_every_key_leads_to_the_same_periods(world: SimulatedWorld, say: Say, key: str) -> None:
    held = address(world, "web-0")
    value = {
        "ip": held.ipv4, "mapped ip": f"::ffff:{held.ipv4}", "eni": held.eni, "mac": held.mac,
        "pod": "example/web-0",
    }[key]  # fmt: skip
    told = tenures(say("audit", key.removeprefix("mapped "), value, "--json"))
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


def test_a_zone_is_respected_and_the_users_is_meant_and_said_without_one(
    world: SimulatedWorld, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    ip = address(world, "web-0").ipv4
    utc = tenures(say("audit", "ip", ip, "--at", "2026-01-01T00:05:00Z", "--json"))
    assert tenures(say("audit", "ip", ip, "--at", "2026-01-01T08:05:00+08:00", "--json")) == utc
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        said = say("audit", "ip", ip, "--at", "2026-01-01 08:05:00", "--json")
        told = say("audit", "ip", ip, "--at", "08:05")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert tenures(said) == utc
    assert "names no zone; in yours it is 2026-01-01 08:05:00 CST" in said.err
    assert "as of 2026-01-01 08:05:00 CST" in told.out


def test_some_time_ago_is_by_the_ledgers_clock(world: SimulatedWorld, say: Say) -> None:
    ip = address(world, "web-0").ipv4
    [then] = tenures(say("audit", "ip", ip, "--at", "5m ago", "--json"))
    assert then["kind"] == "reserved"
    world.advance(timedelta(minutes=85))
    assert tenures(say("audit", "ip", ip, "--at", "90m ago", "--json")) == [then]


@pytest.mark.parametrize("at", ["soon", "5 parsecs ago", "2026-13-01", "", " ago", "25:00"])
def test_a_wrong_time_says_how_to_write_one(world: SimulatedWorld, say: Say, at: str) -> None:
    said = say("audit", "ip", "192.168.0.1", "--at", at)
    assert said.code == 2
    assert "90m ago" in said.err


def test_before_it_was_held_it_was_free_and_who_came_then_is_told(
    world: SimulatedWorld, say: Say
) -> None:
    ip = address(world, "web-0").ipv4
    said = say("audit", "ip", ip, "--at", "2025-12-31T23:00:00Z")
    assert said.code == 1
    assert "is managed here, and was free at 2025-12-31 23:00:00" in said.err
    assert "after: preparing for example/web-0 eth0 since 2026-01-01" in said.err
    told = json.loads(say("audit", "ip", ip, "--at", "2025-12-31T23:00:00Z", "--json").out)
    assert (told["managed"], told["tenures"], told["before"]) == (True, [], None)
    assert told["after"]["pod"] == "web-0"


def test_after_its_release_an_address_is_free_and_its_last_holder_is_told(
    world: SimulatedWorld, say: Say
) -> None:
    ip = address(world, "web-2").ipv4
    world.advance(timedelta(hours=1))
    world.settle(15)
    said = say("audit", "ip", ip, "--at", "now")
    assert said.code == 1
    assert "before: releasing for example/web-2 eth0 until 2026-01-01" in said.err


@pytest.mark.parametrize(
    ("times", "why"),
    [
        (["--at", "0001-01-01T00:00:00+08:00"], "0001-01-01"),
        (["--at", "1999-12-31T00:00:00Z"], "before any ledger"),
        (["--at", "9999-12-31T23:59:59-08:00"], "beyond all calendars"),
        (["--at", "2999-12-31T23:59:59Z"], "in the future"),
        (["--at", "999999999w ago"], "beyond all calendars"),
        (["--from", "2999-12-31T23:59:59Z"], "in the future"),
        (["--from", "1h ago", "--to", "2h ago"], "is not after"),
        (["--at", "1h ago", "--to", "2h ago"], "a range"),
    ],
)
def test_absurd_times_are_refused_clearly(
    world: SimulatedWorld, say: Say, times: list[str], why: str
) -> None:
    said = say("audit", "ip", address(world, "web-0").ipv4, *times)
    assert said.code == 2
    assert why in said.err
    assert "Traceback" not in said.err


def test_a_range_gives_the_periods_that_touch_it(world: SimulatedWorld, say: Say) -> None:
    ip = address(world, "web-0").ipv4
    whole = tenures(say("audit", "ip", ip, "--json"))
    since, until = whole[1]["since"], whole[2]["since"]
    assert tenures(say("audit", "ip", ip, "--from", since, "--to", until, "--json")) == [whole[1]]
    assert tenures(say("audit", "ip", ip, "--to", until, "--json")) == whole[:2]
    said = say("audit", "ip", ip, "--to", "2025-12-31T00:00:00Z")
    assert (said.code, "in that time" in said.err) == (1, True)


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
    assert said.code == 2
    assert "is no IP address" in said.err


def test_an_address_with_its_mask_is_that_address_and_a_network_is_none(
    world: SimulatedWorld, say: Say
) -> None:
    held = address(world, "web-0").ipv4
    plain = say("audit", "ip", held)
    assert plain.code == 0
    for written in (f"{held}/19", f"{held}/32", f"{held}/255.255.224.0"):
        assert say("audit", "ip", written) == plain
    said = say("audit", "ip", "192.168.0.0/19")
    assert (said.code, "is a network" in said.err) == (2, True)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("eni", "'; DROP TABLE ledger.entry; --"),
        ("node", "' OR 1=1 --"),
        ("security-group", "%(cluster)s"),
        ("pod", "example/[bold]web-0' OR ''='"),
    ],
)
def test_sql_in_names_is_a_name(world: SimulatedWorld, say: Say, key: str, value: str) -> None:
    said = say("audit", key, value)
    assert (said.code, said.out) == (1, "")
    assert value in said.err


@pytest.mark.parametrize("value", ["eni-\x00", "eni-\ud800", "eni-\x1b[2J", "e" * 513, ""])
def test_what_no_name_can_be_is_refused(world: SimulatedWorld, say: Say, value: str) -> None:
    said = say("audit", "eni", value)
    assert said.code == 2
    assert "without control characters" in said.err


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


# ---------------------------------------------------------------------------- why


def test_every_period_goes_back_to_a_message_a_decision_and_cloud_requests(
    world: SimulatedWorld, say: Say
) -> None:
    told = tenures(say("audit", "ip", address(world, "web-0").ipv4, "--json"))
    for each in told:
        message = each["message"]
        record = world.log[message["topic"]][message["offset"]]
        assert message["partition"] == 0
        assert message["event"].encode() in dict(record.headers).values()
        assert message["entry"] <= each["opened"]["entry"]
    decisions = {each["kind"]: each["decision"]["kind"] for each in told[:4]}
    assert decisions["bound"] == "requested"
    assert decisions["reserved"] == "absence-confirmed"
    calls = {(r["api"], r["request_id"]) for each in told for r in each["requests"]}
    made = {(call.api, call.request_id) for call in world.cloud.calls() if call.mutating}
    ours = {call for call in calls if call[0] != "look"}
    assert ours
    assert ours <= made
    assert told[0]["security_groups"] == ["sg-bpxxxx"]
    said = say("audit", "ip", address(world, "web-0").ipv4)
    assert f"told by entry {told[1]['message']['entry']} " in said.out
    assert f"{told[1]['message']['topic']}[0]@{told[1]['message']['offset']}" in said.out
    assert f"CreateNetworkInterface {told[0]['requests'][0]['request_id']}" in said.out


# ---------------------------------------------------------------------------- places


@pytest.mark.parametrize(
    ("key", "value"),
    [("node", "node-h1"), ("vswitch", "vsw-bpxxxx"), ("security-group", "sg-bpxxxx")],
)
def test_a_place_tells_who_holds_there_now_and_at_a_moment(
    world: SimulatedWorld, say: Say, key: str, value: str
) -> None:
    now = {each["pod"]: each["kind"] for each in tenures(say("audit", key, value, "--json"))}
    away = {} if key == "node" else {"web-0": "bound"}
    assert now == {"web-1": "bound", "web-2": "reserved", **away}
    then = tenures(say("audit", key, value, "--json", "--at", "2026-01-01T00:05:00Z"))
    assert {each["pod"]: each["kind"] for each in then} == {
        "web-0": "reserved",
        "web-1": "bound",
        "web-2": "reserved",
    }
    assert say("audit", key, f"{value}-other").code == 1


def test_security_groups_that_were_changed_are_told_for_their_time(
    world: SimulatedWorld, say: Say
) -> None:
    assert say("security-groups", "example/web-1", "sg-bpyyyy", "--reason", "r").code == 0
    world.settle(10)
    assert address(world, "web-1").security_group_ids == ("sg-bpyyyy",)
    [now] = tenures(say("audit", "security-group", "sg-bpyyyy", "--json"))
    assert (now["pod"], now["security_groups"]) == ("web-1", ["sg-bpyyyy"])
    pods = [each["pod"] for each in tenures(say("audit", "security-group", "sg-bpxxxx", "--json"))]
    assert "web-1" not in pods
    then = say("audit", "security-group", "sg-bpxxxx", "--json", "--at", "2026-01-01T00:05:00Z")
    assert "web-1" in [each["pod"] for each in tenures(then)]


def test_csv_has_a_row_a_period_with_its_reasons(world: SimulatedWorld, say: Say) -> None:
    ip = address(world, "web-0").ipv4
    told = tenures(say("audit", "ip", ip, "--json"))
    rows = list(csv.DictReader(io.StringIO(say("audit", "ip", ip, "--csv").out)))
    assert [row["opened_by_entry"] for row in rows] == [str(t["opened"]["entry"]) for t in told]
    assert [row["since"] for row in rows] == [each["since"] for each in told]
    assert [row["message_event"] for row in rows] == [each["message"]["event"] for each in told]
    assert say("audit", "ip", ip, "--csv", "--json").code == 2


def test_a_pod_that_has_no_eni_yet_is_known_all_the_same(world: SimulatedWorld, say: Say) -> None:
    assert say("pause", "all", "--reason", "r").code == 0
    world.create_pod("web-7")
    world.settle(3)
    said = say("audit", "pod", "example/web-7")
    assert said.code == 0
    assert "example/web-7 eth0: wanted" in said.out
    assert "no ENI yet" in said.out
    told = json.loads(say("audit", "pod", "example/web-7", "--json", "--story").out)
    assert [state["phase"] for state in told["states"]] == ["wanted"]
    assert [entry["kind"] for entry in told["story"]] == ["requested"]
