"""The whole stack as real processes: killed at every moment of the way, stopped, paused, asked.

One stack for all of it, in the order of this file: the first test hands its processes over to us.
"""

import json
import os
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.local import clock
from ledger.store.database import Database
from ledger.store.rebuild import check
from tests.integration.processes.ground import (
    VICTIMS,
    Stack,
    fetch,
    running_stack,
    wait_for,
)

pytestmark = pytest.mark.timeout(1200)

#: The moments of one Pod's way at which processes are killed.
MOMENTS = (
    "created",
    "create called",
    "attach called",
    "running",
    "moved",
    "detach called",
    "attach called again",
    "running again",
    "deleted",
    "unbound",
    "expired",
    "delete called",
)
AtMoment = Callable[[str], None]


@pytest.fixture(scope="module")
def stack(stack_directory: Path) -> Iterator[Stack]:
    with running_stack(stack_directory / "processes") as running:
        yield running


def test_each_process_answers_and_stops_with_0_when_asked(stack: Stack) -> None:
    """SIGTERM to the stack's own processes; then ours take their place, with quicker settings."""
    parts = {part.name: part for part in stack.state().parts if part.name in VICTIMS}
    assert set(parts) == set(VICTIMS)
    for name, part in parts.items():
        assert part.ready_url is not None
        base = part.ready_url.removesuffix("/readyz")
        assert fetch(f"{base}/healthz") == (200, "ok\n"), name
        status, text = fetch(f"{base}/metrics")
        assert status == 200, name
        assert "eni_ledger_ready" in text, name
        assert part.process is not None
        os.kill(part.process.pid, signal.SIGTERM)
    wait_for(
        lambda: all(
            part.exit_code is not None for part in stack.state().parts if part.name in VICTIMS
        ),
        "all of them ended",
    )
    codes = {part.name: part.exit_code for part in stack.state().parts if part.name in VICTIMS}
    assert codes == dict.fromkeys(VICTIMS, 0)
    for name in VICTIMS:
        stack.start(name)
    for name in VICTIMS:
        stack.wait_ready(name)
        assert fetch(stack.url(name, "/healthz"))[0] == 200


def walk(stack: Stack, name: str, at: AtMoment) -> list[Any]:
    """The demonstration's way for one Pod; checks its end, and returns the kinds of its periods."""
    pod, since = f"{name}-0", stack.last_call()

    def called(api: str, count: int) -> None:
        wait_for(lambda: stack.effects(since).count(api) >= count, f"{count} times {api}")

    stack.create_stateful_set(name)
    wait_for(lambda: stack.pod(pod), "the Pod")
    at("created")
    called("CreateNetworkInterface", 1)
    at("create called")
    called("AttachNetworkInterface", 1)
    at("attach called")
    first = wait_for(lambda: stack.running(pod), "the Pod runs")
    [eni] = stack.member_enis()
    assert first.status.podIP == eni["ipv4"]
    at("running")

    stack.cordon(first.spec.nodeName, True)
    stack.client.delete(type(first), pod, namespace="example")
    at("moved")
    called("DetachNetworkInterface", 1)
    at("detach called")
    called("AttachNetworkInterface", 2)
    at("attach called again")
    second = wait_for(lambda: stack.running(pod, first.metadata.uid), "its successor runs")
    stack.cordon(first.spec.nodeName, False)
    assert second.spec.nodeName != first.spec.nodeName
    assert second.status.podIP == first.status.podIP
    assert [each["id"] for each in stack.member_enis()] == [eni["id"]]
    at("running again")

    stack.delete_stateful_set(name)
    at("deleted")
    wait_for(lambda: stack.podeni(pod).status.get("phase") == "Unbind", "the PodENI is unbound")
    at("unbound")
    clock.advance(stack.facts.postgres, timedelta(minutes=61))
    at("expired")
    called("DeleteNetworkInterface", 1)
    at("delete called")
    wait_for(lambda: stack.podeni(pod) is None, "the PodENI is gone")
    wait_for(
        lambda: (
            stack.rows("SELECT phase FROM ledger.allocation WHERE pod = %s", pod) == [("released",)]
        ),
        "the address is released",
    )
    return ended_well(stack, pod, since, eni["id"])


def ended_well(stack: Stack, pod: str, since: int, eni: str) -> list[Any]:
    """Nothing is leaked, open, or told otherwise by the entries; each call took effect once."""
    assert stack.member_enis() == []
    effects = stack.effects(since, eni)
    story = stack.rows(
        "SELECT e.recorded_at::time::text, e.kind, e.data, e.cause FROM ledger.entry e "
        "JOIN ledger.allocation a ON a.id = e.allocation_id WHERE a.pod = %s ORDER BY e.version",
        pod,
    )
    counted = {api: effects.count(api) for api in sorted(set(effects))}
    # An ENI that is off its way for a minute is told so again (that is what is done about a detach
    # that the cloud lost), and on a busy machine a killed process can cost that minute.
    assert counted.pop("DetachNetworkInterface") >= 2, "\n".join(map(str, story))
    assert counted == {
        "AttachNetworkInterface": 2,
        "CreateNetworkInterface": 1,
        "DeleteNetworkInterface": 1,
    }, "\n".join(map(str, story))
    assert stack.rows("SELECT * FROM ledger.cloud_call WHERE settled_at IS NULL") == []
    assert stack.rows("SELECT * FROM ledger.dead_letter") == []
    database = Database(stack.facts.postgres, pool_size=1)
    with database.snapshot() as connection:
        assert check(connection) == []
    database.close()
    told = "SELECT kind, eni FROM ledger.tenure WHERE pod = %s ORDER BY lower(during)"
    periods = stack.rows(told, pod)
    assert {each for _, each in periods} == {eni}
    return [kind for kind, _ in periods]


@pytest.fixture(scope="module")
def undisturbed(stack: Stack) -> list[Any]:
    """The periods of a Pod whose way nobody disturbed."""
    return walk(stack, "calm", lambda _moment: None)


def _rotation(first: int) -> list[str]:
    return [VICTIMS[(first + number) % len(VICTIMS)] for number in range(len(MOMENTS))]


#: Who is killed at each moment: each process at six of the twelve, over both.
KILLS = {"one after the other": _rotation(0), "two moments later": _rotation(2)}


@pytest.mark.parametrize("which", KILLS)
def test_p4_p5_killed_on_the_way_it_ends_as_if_never_killed(
    stack: Stack, undisturbed: list[Any], which: str
) -> None:
    killed: list[str] = []

    def kill(moment: str) -> None:
        stack.kill(KILLS[which][MOMENTS.index(moment)])
        killed.append(moment)

    periods = walk(stack, f"killed-{list(KILLS).index(which)}", kill)
    assert tuple(killed) == MOMENTS
    assert periods == undisturbed


def test_a_pause_takes_effect_at_once_and_so_does_its_end(stack: Stack) -> None:
    stack.wait_ready("reconciler")
    stack.eni_ledger("pause", "all", "--reason", "a test")
    since = stack.last_call()
    stack.create_stateful_set("paused")
    waiting = "SELECT waiting_for FROM ledger.work WHERE name = 'paused-0'"
    wait_for(
        lambda: [row for row in stack.rows(waiting) if "a test" in (row[0] or "")],
        "the Pod waits for the end of the pause",
    )
    assert stack.effects(since) == []
    assert stack.podeni("paused-0") is None
    stack.eni_ledger("resume", "all")
    wait_for(lambda: stack.running("paused-0"), "the Pod runs")


def test_a_pause_of_what_is_destructive_lets_new_pods_start(stack: Stack) -> None:
    """Follows the test before: its Pod runs."""
    wait_for(lambda: stack.running("paused-0"), "the Pod of the test before")
    stack.eni_ledger("pause", "destructive")
    since = stack.last_call()
    stack.delete_stateful_set("paused")
    stack.create_stateful_set("new")
    wait_for(lambda: stack.running("new-0"), "a new Pod runs")
    assert "DetachNetworkInterface" not in stack.effects(since)
    stack.eni_ledger("resume", "destructive")
    wait_for(lambda: stack.effects(since).count("DetachNetworkInterface") == 1, "the detach")


def test_stopped_in_the_middle_of_a_call_its_outcome_is_recorded(stack: Stack) -> None:
    since = stack.last_call()
    stack.fault(kind="slow", api="CreateNetworkInterface", seconds=1.5, times=1)
    stack.create_stateful_set("late")
    wait_for(lambda: "CreateNetworkInterface" in stack.effects(since), "the call is on its way")
    asked = "SELECT outcome, settled_at FROM ledger.cloud_call ORDER BY intended_at DESC LIMIT 1"
    assert stack.rows(asked) == [(None, None)], "stopped before the answer"
    reconciler = stack.children["reconciler"]
    reconciler.stop()
    assert reconciler.exit_code == 0
    assert stack.rows("SELECT * FROM ledger.cloud_call WHERE settled_at IS NULL") == []
    stack.start("reconciler")
    wait_for(lambda: stack.running("late-0"), "the Pod runs")
    assert stack.effects(since).count("CreateNetworkInterface") == 1


def test_p7_what_killed_and_stopped_processes_left_is_sealed_and_whole(stack: Stack) -> None:
    [(entries,)] = stack.rows("SELECT count(*) FROM ledger.entry")
    wait_for(
        lambda: stack.rows("SELECT FROM ledger.seal WHERE upto >= %s", entries),
        "the reconciler has sealed what there was",
    )
    told = json.loads(stack.eni_ledger("verify", "--seal", "--json"))
    assert told["findings"] == []
    assert told["entries"] >= entries
    status, metrics = fetch(stack.url("reconciler", "/metrics"))
    assert status == 200
    assert "eni_ledger_unsealed_seconds" in metrics


def written(stack: Stack) -> tuple[int, list[str]]:
    """What changed by anybody's hand: requests for a change at the API server, calls at the cloud."""
    return stack.kube_changes(), stack.effects(0)


def unbound(stack: Stack, name: str) -> None:
    """A StatefulSet's Pod that ran and is away: its PodENI shows the reservation."""
    stack.create_stateful_set(name)
    wait_for(lambda: stack.running(f"{name}-0"), "the Pod runs")
    stack.delete_stateful_set(name)
    wait_for(
        lambda: (stack.podeni(f"{name}-0").status or {}).get("phase") == "Unbind",
        "the PodENI is unbound",
    )


def test_p8_at_rest_nothing_is_written_to_the_api_server_or_the_cloud(stack: Stack) -> None:
    """Bound, reserved and released Pods are there; every process runs, with sweeps and heartbeats."""
    unbound(stack, "resting")
    stack.create_stateful_set("awake")
    wait_for(lambda: stack.running("awake-0"), "the Pod runs")
    due = "SELECT name FROM ledger.work WHERE kind = 'pod' AND due_at < ledger.now() + '5 s'"
    wait_for(lambda: stack.rows(due) == [], "nothing is due")
    swept = "SELECT finished_at FROM ledger.sweep"
    last, before = stack.rows(swept), written(stack)
    # The clock is moved on, so that the window holds a sweep, and no TTL ends in it.
    clock.advance(stack.facts.postgres, timedelta(seconds=70))
    wait_for(lambda: stack.rows(swept) != last, "a sweep in the window")
    beaten = "SELECT min(taken_at) FROM ledger.watermark"
    [(now,)] = stack.rows("SELECT ledger.now()")
    wait_for(lambda: stack.rows(beaten)[0][0] > now + timedelta(seconds=10), "ten seconds of beats")
    assert written(stack) == before


def test_p2_a_reservation_ends_once_due_and_not_before(stack: Stack) -> None:
    """By the whole way: the watcher's heartbeats are what lets the decision fall."""
    unbound(stack, "expiring")
    pod = "expiring-0"
    [(due, now)] = stack.rows(
        "SELECT ttl_due, ledger.now() FROM ledger.allocation WHERE pod = %s", pod
    )
    clock.advance(stack.facts.postgres, due - now - timedelta(seconds=2))
    decided = (
        "SELECT e.recorded_at FROM ledger.entry e JOIN ledger.allocation a ON a.id = e.allocation_id "
        "WHERE a.pod = %s AND e.kind = 'release-decided'"
    )
    [(at,)] = wait_for(lambda: stack.rows(decided, pod), "the decision")
    assert at >= due
    wait_for(lambda: stack.podeni(pod) is None, "the PodENI is gone")


def test_p3_never_ends_by_release_or_by_its_podenis_deletion_and_by_nothing_else(
    stack: Stack,
) -> None:
    """A year passes over both; then each is given up in its own way."""
    stack.keep_for_ever()
    for name in ("given-up", "taken-away"):
        unbound(stack, name)
    addresses = {pod: stack.podeni(pod).spec for pod in ("given-up-0", "taken-away-0")}
    clock.advance(stack.facts.postgres, timedelta(days=366))
    swept = "SELECT max(finished_at) FROM ledger.sweep"
    [(now,)] = stack.rows("SELECT ledger.now()")
    wait_for(lambda: stack.rows(swept)[0][0] > now, "cloud and ledger are compared anew")
    for pod, spec in addresses.items():
        assert stack.podeni(pod).spec == spec
    phases = (
        "SELECT pod, phase FROM ledger.allocation "
        "WHERE pod IN ('given-up-0', 'taken-away-0') ORDER BY pod"
    )
    assert stack.rows(phases) == [("given-up-0", "reserved"), ("taken-away-0", "reserved")]

    stack.eni_ledger("release", "example/given-up-0", "--reason", "a test")
    wait_for(lambda: stack.podeni("given-up-0") is None, "the command ends it")
    assert stack.podeni("taken-away-0").spec == addresses["taken-away-0"]
    stack.delete_podeni("taken-away-0")
    wait_for(lambda: stack.podeni("taken-away-0") is None, "the user's deletion ends it")
    wait_for(
        lambda: stack.rows(phases) == [("given-up-0", "released"), ("taken-away-0", "released")],
        "both are released",
    )
