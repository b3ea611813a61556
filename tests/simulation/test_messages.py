"""The same messages twice, swapped, replayed, forged, unreadable: each takes effect once, or not at all."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from consumers.contract.encode import (
    encode_deleted,
    encode_heartbeat,
    encode_listed,
    encode_observed,
)
from consumers.contract.events import Encoded, Heartbeat, ListedPage, Record
from consumers.contract.topics import entity_topic
from consumers.intake.taking_in import take_in
from ledger.rules.allocation import Phase
from ledger.store.inputs import ZombieConsumer
from tests.simulation.world import CLUSTER, SimulatedWorld, elastic


def entries(world: SimulatedWorld) -> int:
    with psycopg.connect(world.dsn) as connection:
        row = connection.execute("SELECT count(*) FROM ledger.entry").fetchone()
    assert row is not None
    count: int = row[0]
    return count


def pod_object(world: SimulatedWorld, name: str) -> dict[str, Any]:
    return world.kube.get(f"/api/v1/namespaces/example/pods/{name}")


def send_again(world: SimulatedWorld, record: Record) -> None:
    """The same bytes once more, at the end of the log."""
    assert record.key is not None
    assert record.value is not None
    topic = world.log[record.topic]
    topic.append(record._replace(offset=len(topic)))


def test_p5_a_batch_replayed_changes_nothing(world: SimulatedWorld) -> None:
    world.create_pod("web-0")
    world.settle(10)
    before = entries(world)
    for record in [record for records in world.log.values() for record in records]:
        send_again(world, record)
    world.settle(10)
    assert entries(world) == before
    world.check_promises()


def test_p5_a_log_that_starts_again_at_zero_changes_nothing(world: SimulatedWorld) -> None:
    world.create_pod("web-0")
    world.settle(10)
    before = entries(world)
    with psycopg.connect(world.dsn) as connection:
        connection.execute("UPDATE ledger.kafka_offset SET next = 0, last_event_id = NULL")
    world._read.clear()
    world.take()
    world.work()
    assert entries(world) == before


def test_p5_events_of_one_pod_swapped(world: SimulatedWorld) -> None:
    """Delete of the first and create of the second arrive in the wrong order: the newest wins."""
    world.create_pod("web-0")
    world.settle(10)
    [first] = world.allocations()
    world.delete_pod("web-0")
    second = world.create_pod("web-0", node="node-h2")
    world.publish()
    swapped = [r for r in world.unread() if ".pod." in r.topic]
    texts = [(r.key, r.value, r.headers) for r in reversed(swapped)]
    for record, (key, value, headers) in zip(swapped, texts, strict=True):
        world.log[record.topic][record.offset] = Record(
            record.topic, record.partition, record.offset, key, value, headers
        )
    world.settle(20)
    [again] = world.allocations()
    assert again.pod_uid == second
    assert again.phase is Phase.BOUND
    assert again.address == first.address


def test_p5_two_watchers_at_once(world: SimulatedWorld) -> None:
    """Every message twice, from two producers: same ids, same versions."""
    world.create_pod("web-0")
    world.publish()
    for record in world.unread():
        send_again(world, record)
    world.settle(10)
    assert [a.phase for a in world.allocations()] == [Phase.BOUND]
    assert world.mutating_calls().count("CreateNetworkInterface") == 1


def test_p5_a_zombie_consumer_changes_nothing(world: SimulatedWorld) -> None:
    world.create_pod("web-0")
    world.publish()
    records = world.unread()
    stale = {(r.topic, 0): 0 for r in records}
    world.take(records)
    before = entries(world)
    with pytest.raises(ZombieConsumer):
        take_in(world.database, records, stale, 1 << 20, world.tools.new_id)
    assert entries(world) == before


def test_p11_a_forged_deletion_of_a_running_pod_is_refuted(world: SimulatedWorld) -> None:
    for number in range(20):
        world.create_pod(f"web-{number}", networks=[elastic()])
    world.settle(20)
    assert {a.phase for a in world.allocations()} == {Phase.BOUND}
    calls = len(world.mutating_calls())
    for number in range(20):
        forged = pod_object(world, f"web-{number}")
        forged["metadata"]["resourceVersion"] = str(10**9)
        world.append("pod", encode_deleted(CLUSTER, "pod", forged, epoch=0))
    world.settle(20)
    assert {a.phase for a in world.allocations()} == {Phase.BOUND}
    assert len(world.mutating_calls()) == calls
    world.check_promises()


def test_p11_an_empty_list_detaches_nobody(world: SimulatedWorld) -> None:
    for number in range(5):
        world.create_pod(f"web-{number}", networks=[elastic()])
    world.settle(15)
    page = ListedPage("", None, ())
    world.append("pod", encode_listed(CLUSTER, "pod", page, epoch=0, resource_version=10**9))
    world.settle(15)
    assert {a.phase for a in world.allocations()} == {Phase.BOUND}
    assert "DetachNetworkInterface" not in world.mutating_calls()


def test_p11_a_forged_pod_gets_no_address(world: SimulatedWorld) -> None:
    world.create_pod("web-0")
    forged = pod_object(world, "web-0")
    forged["metadata"]["uid"] = "00000000-0000-4000-8000-000000000000"
    forged["metadata"]["name"] = "ghost-0"
    world.append("pod", encode_observed(CLUSTER, "pod", forged, epoch=0))
    world.settle(10)
    ghosts = [a for a in world.allocations() if a.pod == "ghost-0"]
    assert [a.phase for a in ghosts] == [Phase.RELEASED]
    assert world.mutating_calls().count("CreateNetworkInterface") == 1


def test_p11_too_many_departures_trip_the_breaker(world: SimulatedWorld) -> None:
    breaker = world.settings.reconciler.breaker.model_copy(update={"absolute": 3})
    reconciler = world.settings.reconciler.model_copy(update={"breaker": breaker})
    object.__setattr__(world.settings, "reconciler", reconciler)
    for number in range(6):
        world.create_pod(f"web-{number}", networks=[elastic()])
    world.settle(15)
    for number in range(6):
        world.delete_pod(f"web-{number}")
    world.settle(15)
    phases = sorted(a.phase.value for a in world.allocations())
    assert phases.count("bound") == 3, phases
    with psycopg.connect(world.dsn) as connection:
        brakes = connection.execute("SELECT scope, pulled_by FROM ledger.brake").fetchall()
    assert brakes == [("destructive", "breaker")]


def test_p2_a_reservation_is_kept_while_events_lag(world: SimulatedWorld) -> None:
    """Due has passed, but Pod events up to the look have not been taken in: the IP is not released."""
    world.create_pod("web-0")
    world.settle(10)
    world.delete_pod("web-0")
    world.settle(10)
    world.create_pod("other-0", networks=[elastic()])  # moves the cluster's version; not published
    world.advance(timedelta(hours=2))
    world.work()
    [kept] = [a for a in world.allocations() if a.pod == "web-0"]
    assert kept.phase is Phase.RESERVED
    world.settle(10)
    [gone] = [a for a in world.allocations() if a.pod == "web-0"]
    assert gone.phase is Phase.RELEASED


def test_p2_a_pod_that_came_back_unseen_is_not_robbed(world: SimulatedWorld) -> None:
    """Down for longer than the TTL: when we wake, the Pod is there again and nobody told us yet."""
    world.create_pod("web-0")
    world.settle(10)
    [bound] = world.allocations()
    world.delete_pod("web-0")
    world.settle(10)
    world.create_pod("web-0", node="node-h2")
    world.advance(timedelta(hours=5))
    world.work()
    assert world.allocations()[0].phase in (Phase.RESERVED, Phase.WANTED)
    world.settle(10)
    [again] = world.allocations()
    assert again.phase is Phase.BOUND
    assert again.address == bound.address


def _broken(change: Callable[[Encoded], Encoded]) -> Callable[[SimulatedWorld], Record]:
    def append(world: SimulatedWorld) -> Record:
        encoded = encode_observed(CLUSTER, "pod", pod_object(world, "web-0"), epoch=0)
        return world.append("pod", change(encoded))

    return append


def _headers(encoded: Encoded, **changes: str) -> Encoded:
    kept = tuple((n, changes[n].encode() if n in changes else v) for n, v in encoded.headers)
    return Encoded(encoded.key, encoded.value, kept)


BAD = {
    "not JSON": _broken(lambda m: Encoded(m.key, b"{not json", m.headers)),
    "NUL": _broken(lambda m: Encoded(m.key, m.value.replace(b"web-0", b"web\\u0000"), m.headers)),
    "wrong type": _broken(lambda m: Encoded(m.key, b"[1, 2]", m.headers)),
    "unknown version": _broken(lambda m: _headers(m, ce_type="io.eni-ledger.pod.observed.v9")),
    "missing uid": _broken(
        lambda m: Encoded(m.key, m.value.replace(b'"uid"', b'"uidx"'), m.headers)
    ),
    "5 MB": _broken(lambda m: Encoded(m.key, m.value + b" " * 5_000_000, m.headers)),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_message_becomes_a_dead_letter_and_the_rest_goes_on(
    world: SimulatedWorld, kind: str
) -> None:
    world.create_pod("web-0")
    bad = BAD[kind](world)
    world.settle(10)
    assert [a.phase for a in world.allocations()] == [Phase.BOUND]
    with psycopg.connect(world.dsn) as connection:
        letters = connection.execute(
            'SELECT topic, "offset", value, message FROM ledger.dead_letter'
        ).fetchall()
    assert [(topic, offset, bytes(value)) for topic, offset, value, _ in letters] == [
        (entity_topic("pod"), bad.offset, bad.value)
    ]
    assert letters[0][3]


def beat_from(world: SimulatedWorld, continuous_from: int) -> None:
    """A heartbeat of a watcher that could not resume before this version."""
    version = int(world.kube.list("/api/v1/namespaces")["metadata"]["resourceVersion"])
    beat = Heartbeat(partition=0, continuous_from=continuous_from, alive_at=world.time, synced=True)
    encoded = encode_heartbeat(
        CLUSTER, "pod", beat, epoch=0, resource_version=version, time=world.time
    )
    world.append("pod", encoded)


def test_p2_a_gap_in_the_observation_restarts_the_ttl(world: SimulatedWorld) -> None:
    world.create_pod("web-0")
    world.settle(10)
    world.delete_pod("web-0")
    world.settle(10)
    [reserved] = world.allocations()
    assert reserved.ttl_due is not None
    world.advance(timedelta(minutes=50))
    world.kube.create("/api/v1/namespaces", {"metadata": {"name": "unseen"}})
    version = int(world.kube.list("/api/v1/namespaces")["metadata"]["resourceVersion"])
    beat_from(world, continuous_from=version)
    world.take()
    [restarted] = world.allocations()
    assert restarted.ttl_due == world.time + timedelta(hours=1)
    beat_from(world, continuous_from=version)  # the same producer goes on: no further gap
    world.advance(timedelta(seconds=10))
    world.take()
    assert world.allocations()[0].ttl_due == restarted.ttl_due
    world.advance(timedelta(minutes=30))
    world.settle(5)
    assert world.allocations()[0].phase is Phase.RESERVED
    world.check_promises()


def test_a_clock_that_steps_back_wedges_nobody(world: SimulatedWorld) -> None:
    world.create_pod("web-0")
    world.settle(10)
    world.delete_pod("web-0")
    world.settle(5)
    world.advance(timedelta(seconds=-8))
    second = world.create_pod("web-0", node="node-h2")
    world.settle(30)
    [again] = world.allocations()
    assert again.phase is Phase.BOUND
    assert again.pod_uid == second
    world.check_promises()
