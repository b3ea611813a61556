"""What one poll comes to: the newest of each object, and a reason for what can't be read (P5)."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.contract.encode import (
    encode_deleted,
    encode_heartbeat,
    encode_listed,
    encode_observed,
)
from consumers.contract.events import Encoded, Heartbeat, ListedItem, ListedPage, Record
from consumers.contract.topics import Entity
from consumers.intake.batches import Batch, Read, cause_of, event_id, fold, moves, read

TOPIC = "eni-ledger.pod.v1"
AT = datetime(2026, 1, 1, tzinfo=UTC)


def pod(name: str, version: int, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "shop",
            "name": name,
            "uid": "00000000-0000-4000-8000-000000000001",
            "resourceVersion": str(version),
        },
        "spec": {"nodeName": "node-h1", **spec},
    }


def record(encoded: Encoded, offset: int = 0, topic: str = TOPIC, partition: int = 0) -> Record:
    return Record(topic, partition, offset, encoded.key, encoded.value, encoded.headers)


def observed(name: str, version: int, epoch: int = 0, cluster: str = "c1") -> Encoded:
    return encode_observed(cluster, "pod", pod(name, version), epoch=epoch)


def deleted(name: str, version: int, epoch: int = 0, cluster: str = "c1") -> Encoded:
    return encode_deleted(cluster, "pod", pod(name, version), epoch=epoch)


def beat(version: int, epoch: int = 0, cluster: str = "c1", entity: Entity = "pod") -> Encoded:
    told = Heartbeat(partition=0, continuous_from=0, alive_at=AT, synced=True)
    return encode_heartbeat(cluster, entity, told, epoch=epoch, resource_version=version, time=AT)


def taken(*messages: Encoded) -> list[Read]:
    readable, unreadable = read([record(m, at) for at, m in enumerate(messages)], 1 << 20)
    assert unreadable == []
    return readable


def folded(*messages: Encoded) -> Batch:
    return fold(taken(*messages))


# ---------------------------------------------------------------------------- the newest counts


def test_only_the_newest_of_each_object_is_taken_in() -> None:
    batch = folded(observed("a", 5), observed("b", 6), observed("a", 9), observed("a", 7))
    assert [(o.name, o.resource_version) for o in batch.observations] == [("a", 9), ("b", 6)]


def test_a_deletion_is_an_observation_of_nothing() -> None:
    [gone] = folded(observed("a", 5), deleted("a", 9)).observations
    assert (gone.alive, gone.object, gone.resource_version) == (False, None, 9)
    [back] = folded(deleted("a", 9), observed("a", 12)).observations
    assert back.alive
    assert back.object is not None
    assert json.loads(back.object)["metadata"]["name"] == "a"


def test_p5_a_new_epoch_is_newer_than_any_version() -> None:
    [newest] = folded(observed("a", 900), observed("a", 3, epoch=1)).observations
    assert (newest.epoch, newest.resource_version) == (1, 3)


def test_clusters_do_not_mix() -> None:
    batch = folded(observed("a", 5), observed("a", 4, cluster="c2"))
    assert [(o.cluster, o.resource_version) for o in batch.observations] == [("c1", 5), ("c2", 4)]


def test_rows_are_in_the_order_of_their_keys() -> None:
    """Locks are taken in this order: an unordered batch deadlocked 310 times of 320."""
    names = [o.name for o in folded(*(observed(n, 5) for n in "dbace")).observations]
    assert names == sorted(names)


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(1, 9), st.integers(0, 1), st.booleans()),
        max_size=8,
    ),
    st.randoms(use_true_random=False),
)
def test_p5_order_and_repetition_do_not_matter(
    seen: list[tuple[str, int, int, bool]], random: Any
) -> None:
    """A version belongs to one change of the cluster: the same one is never both."""
    by_version = {(name, version, epoch): gone for name, version, epoch, gone in seen}
    messages = [
        deleted(name, version, epoch) if gone else observed(name, version, epoch)
        for (name, version, epoch), gone in by_version.items()
    ]
    shuffled = messages * 2
    random.shuffle(shuffled)

    def told(batch: Batch) -> list[Any]:
        return [(o.name, o.epoch, o.resource_version, o.alive) for o in batch.observations]

    assert told(folded(*shuffled)) == told(folded(*messages))


# ---------------------------------------------------------------------------- lists, heartbeats


def test_lists_keep_their_order_and_their_range() -> None:
    item = ListedItem("shop/a", "00000000-0000-4000-8000-000000000001", 4)
    first = encode_listed(
        "c1", "pod", ListedPage("", "shop/m", (item,)), epoch=0, resource_version=7
    )
    second = encode_listed("c1", "pod", ListedPage("shop/m", None, ()), epoch=0, resource_version=7)
    listings = [listing for listing, _ in folded(first, second).listings]
    assert [(each.range_from, each.range_to, each.keys) for each in listings] == [
        ("", "shop/m", ("shop/a",)),
        ("shop/m", None, ()),
    ]


def test_the_newest_heartbeat_of_each_partition_and_cluster_counts() -> None:
    batch = folded(beat(5), beat(9), beat(7), beat(3, cluster="c2"))
    assert [(w.cluster, w.resource_version) for w in batch.watermarks] == [("c1", 9), ("c2", 3)]
    records = [record(beat(5), 0, partition=0), record(beat(6), 0, partition=1)]
    marks = fold(read(records, 1 << 20)[0]).watermarks
    assert [(w.partition, w.resource_version) for w in marks] == [(0, 5), (1, 6)]


# ---------------------------------------------------------------------------- positions, causes


def test_each_partition_moves_behind_its_last_record() -> None:
    records = [
        record(observed("a", 5), 10),
        record(observed("b", 6), 11),
        record(observed("c", 7), 3, partition=1),
    ]
    moved = moves(records, {(TOPIC, 0): 10, (TOPIC, 1): 3, ("other", 0): 7})
    assert [(m.partition, m.expected, m.next) for m in moved] == [(0, 10, 12), (1, 3, 4)]
    assert moved[0].last_event_id == event_id(records[1])


def test_an_unreadable_record_is_passed_over_like_any_other() -> None:
    records = [record(observed("a", 5), 0), Record(TOPIC, 0, 1, b"k", b"{", ())]
    assert moves(records, {(TOPIC, 0): 0})[0].next == 2


def test_the_cause_names_the_message() -> None:
    [one] = taken(observed("a", 5))
    cause = cause_of(one)
    assert (cause["topic"], cause["partition"], cause["offset"]) == (TOPIC, 0, 0)
    assert (cause["resource_version"], cause["epoch"]) == (5, 0)
    assert cause["event"] == dict(one.record.headers)["ce_id"].decode()


def test_the_id_of_an_event_is_storable_whatever_its_bytes() -> None:
    for raw in (b"\x00a\x00", b"\xff\xfe", b"x" * 9999, b""):
        text = event_id(Record(TOPIC, 0, 0, None, b"v", (("ce_id", raw),)))
        assert text
        assert "\x00" not in text
        assert len(text) < 300
        text.encode()
    assert event_id(Record(TOPIC, 0, 0, None, None, ()))


# ---------------------------------------------------------------------------- what can't be read

GOOD = observed("a", 5)


def header(encoded: Encoded, name: str, value: str) -> Encoded:
    kept = tuple((n, value.encode() if n == name else v) for n, v in encoded.headers)
    return Encoded(encoded.key, encoded.value, kept)


def body(old: bytes, new: bytes) -> Encoded:
    assert old in GOOD.value
    return Encoded(GOOD.key, GOOD.value.replace(old, new), GOOD.headers)


BAD: dict[str, Record] = {
    "tombstone": Record(TOPIC, 0, 0, GOOD.key, None, GOOD.headers),
    "oversize": record(Encoded(GOOD.key, GOOD.value + b" " * (1 << 20), GOOD.headers)),
    "not-json": record(Encoded(GOOD.key, b"{", GOOD.headers)),
    "unstorable-text": record(body(b'"a"', b'"a\\u0000"')),
    "envelope": record(header(GOOD, "ce_specversion", "0.3")),
    "unknown-type": record(header(GOOD, "ce_type", "io.eni-ledger.pod.observed.v9")),
    "mismatch": record(header(GOOD, "ce_subject", "shop/other")),
    "data": record(body(b'"uid"', b'"uidx"')),
}


@pytest.mark.parametrize("error_class", BAD)
def test_what_breaks_the_contract_is_sorted_out_with_its_reason(error_class: str) -> None:
    good = record(observed("b", 6), 1)
    readable, unreadable = read([BAD[error_class], good], 1 << 20)
    assert [one.record for one in readable] == [good]
    [bad] = unreadable
    assert bad.error_class == error_class
    assert bad.message
    assert bad.record == BAD[error_class]


def test_a_pod_that_the_rules_can_not_read_is_a_dead_letter() -> None:
    """Better here than as a defect of every turn of that Pod."""
    for wrong in ({"nodeName": 7}, {"nodeName": ["a"]}, {"hostNetwork": "yes"}):
        obj = pod("a", 5)
        obj["spec"] = wrong
        encoded = Encoded(GOOD.key, json.dumps(obj).encode(), GOOD.headers)
        readable, unreadable = read([record(encoded)], 1 << 20)
        assert readable == []
        assert [bad.error_class for bad in unreadable] == ["data"]
