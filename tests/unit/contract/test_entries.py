"""Entries as others read them: what is written can be read, what is not ours is refused, and the
rule by which a reader tells repetitions and gaps."""

import uuid
from datetime import UTC, datetime
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.contract import asyncapi
from consumers.contract.entries import (
    EntryAllocation,
    EntryData,
    Follower,
    RecordedEntry,
    decode_entry,
    encode_entry,
)
from consumers.contract.events import ContractError, Encoded, Record
from consumers.contract.topics import ENTRY_TYPE, entity_topic, entries_topic, partitions_of

AT = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
ALLOCATION = EntryAllocation(
    id=uuid.UUID(int=5), version=3, namespace="shop", pod="web-0", interface="eth0"
)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=10)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


def recorded(position: int = 7, incarnation: int = 1, **changes: Any) -> RecordedEntry:
    fields: dict[str, Any] = {
        "position": position,
        "id": position + 2,
        "kind": "placed",
        "recorded_at": AT,
        "allocation": ALLOCATION,
        "cause": {"look": "r-1"},
        "data": {"place": {"node": "node-h1"}},
    }
    entry = EntryData(**(fields | changes))
    subject = "shop/web-0" if entry.allocation else ""
    return RecordedEntry(cluster="c1", incarnation=incarnation, subject=subject, entry=entry)


def record(encoded: Encoded) -> Record:
    return Record(entries_topic(), 0, 0, encoded.key, encoded.value, encoded.headers)


REMARK = recorded(kind="paused", allocation=None, data={"by": "ops"})


@pytest.mark.parametrize("each", [recorded(), REMARK])
def test_what_is_written_is_read(each: RecordedEntry) -> None:
    assert decode_entry(record(encode_entry(each))) == each


@given(st.dictionaries(TEXT, JSON, max_size=4), st.dictionaries(TEXT, JSON, max_size=4))
def test_whatever_an_entry_holds_comes_through(cause: Any, data: Any) -> None:
    each = recorded(cause=cause, data=data)
    assert decode_entry(record(encode_entry(each))) == each


def test_the_message_is_a_cloudevent_in_binary_mode() -> None:
    encoded = encode_entry(recorded())
    headers = {name: value.decode() for name, value in encoded.headers}
    identity = headers.pop("ce_id")
    assert uuid.UUID(identity).version == 5
    assert headers == {
        "ce_specversion": "1.0",
        "ce_source": "/clusters/c1",
        "ce_type": "io.eni-ledger.entry.recorded.v1",
        "ce_subject": "shop/web-0",
        "ce_position": "7",
        "ce_incarnation": "1",
        "ce_time": "2026-01-01T12:00:00.123456Z",
        "content-type": "application/json",
    }
    assert encoded.key == b"c1/shop/web-0"
    assert msgspec.json.decode(encoded.value) == {
        "position": 7,
        "id": 9,
        "kind": "placed",
        "recordedAt": "2026-01-01T12:00:00.123456Z",
        "allocation": {
            "id": "00000000-0000-0000-0000-000000000005",
            "version": 3,
            "namespace": "shop",
            "pod": "web-0",
            "interface": "eth0",
        },
        "cause": {"look": "r-1"},
        "data": {"place": {"node": "node-h1"}},
    }
    assert encode_entry(REMARK).key == b"c1"


def test_a_repetition_has_the_same_id_and_nothing_else_has() -> None:
    def id_of(each: RecordedEntry) -> bytes:
        return dict(encode_entry(each).headers)["ce_id"]

    others = [recorded(8), recorded(incarnation=2), recorded(id=10)]
    assert id_of(recorded()) == id_of(recorded())
    assert len({id_of(each) for each in [recorded(), *others]}) == 4


@pytest.mark.parametrize("each", [recorded(), REMARK])
def test_it_fits_the_published_description(each: RecordedEntry) -> None:
    encoded, whole = encode_entry(each), asyncapi.document()
    message = whole["components"]["messages"]["entry-recorded"]
    for part, value in (
        ("payload", msgspec.json.decode(encoded.value)),
        ("headers", {name: raw.decode() for name, raw in encoded.headers}),
    ):
        jsonschema.validate(value, {**message[part], "components": whole["components"]})


def changed(name: str, value: bytes | None) -> Record:
    encoded = encode_entry(recorded())
    headers = dict(encoded.headers)
    if value is None:
        del headers[name]
    else:
        headers[name] = value
    return record(Encoded(encoded.key, encoded.value, tuple(headers.items())))


@pytest.mark.parametrize(
    ("broken", "error_class"),
    [
        (changed("ce_type", b"io.eni-ledger.pod.observed.v1"), "unknown-type"),
        (changed("ce_type", ENTRY_TYPE.replace("v1", "v2").encode()), "unknown-type"),
        (changed("ce_position", b"8"), "mismatch"),
        (changed("ce_position", b"x"), "envelope"),
        (changed("ce_position", None), "envelope"),
        (changed("ce_incarnation", b"-1"), "envelope"),
        (changed("ce_source", b"/else/c1"), "envelope"),
        (changed("ce_source", b"/clusters/c2"), "mismatch"),
        (changed("ce_subject", b"shop/web-1"), "mismatch"),
        (changed("ce_time", b"yesterday"), "envelope"),
        (record(Encoded(b"c1/shop/web-1", *encode_entry(recorded())[1:])), "mismatch"),
        (record(Encoded(b"c1/shop/web-0", b"{}", encode_entry(recorded()).headers)), "data"),
        (record(Encoded(b"c1/shop/web-0", b"[", encode_entry(recorded()).headers)), "not-json"),
        (record(encode_entry(recorded()))._replace(value=None), "tombstone"),
    ],
)
def test_what_is_no_entry_is_refused(broken: Record, error_class: str) -> None:
    with pytest.raises(ContractError) as refused:
        decode_entry(broken)
    assert refused.value.error_class == error_class


def test_a_subject_that_is_not_the_allocations_pod_is_refused() -> None:
    encoded = encode_entry(recorded().model_copy(update={"subject": "shop/web-1"}))
    with pytest.raises(ContractError, match="is not its Pod"):
        decode_entry(record(encoded))


@given(st.binary(max_size=300), st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=40))))
def test_nothing_else_is_raised_whatever_the_bytes(
    value: bytes, headers: list[tuple[str, bytes]]
) -> None:
    known = dict(encode_entry(recorded()).headers)
    with pytest.raises(ContractError):
        decode_entry(
            Record(entries_topic(), 0, 0, b"k", value, (*known.items(), *headers)), limit=1000
        )


# ------------------------------------------------------------------------------ the reader's rule


def followed(follower: Follower, *positions: tuple[int, int]) -> list[tuple[int, int]]:
    return [
        (incarnation, position)
        for incarnation, position in positions
        if follower.takes(recorded(position, incarnation))
    ]


def test_repetitions_are_left_out_and_what_is_beyond_a_gap_is_left_for_later() -> None:
    log = [(1, n) for n in (1, 2, 3, 2, 3, 4, 7, 8, 5, 6, 7, 8, 9)]
    assert followed(Follower(position=0), *log) == [(1, n) for n in range(1, 10)]


def test_a_reader_without_a_place_begins_with_what_comes_first() -> None:
    assert followed(Follower(), (1, 40), (1, 41), (1, 40)) == [(1, 40), (1, 41)]


def test_a_restored_ledger_is_followed_from_where_it_goes_on() -> None:
    log = [(1, 1), (1, 2), (1, 3), (2, 2), (1, 4), (2, 3), (3, 5), (3, 4), (3, 5)]
    expected = [(1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (3, 4), (3, 5)]
    assert followed(Follower(position=0), *log) == expected


@given(st.integers(1, 30), st.randoms(use_true_random=False))
def test_publishers_that_begin_after_what_was_acknowledged_can_be_followed(
    count: int, dice: Any
) -> None:
    """Whatever batches two publishers write, each from an acknowledged place on."""
    log: list[tuple[int, int]] = []
    acknowledged = 0
    while acknowledged < count:
        begin = dice.randint(0, acknowledged)
        end = min(count, begin + dice.randint(1, 5))
        log += [(1, n) for n in range(begin + 1, end + 1)]
        acknowledged = max(acknowledged, end)
    assert followed(Follower(position=0), *log) == [(1, n) for n in range(1, count + 1)]


def test_entries_have_one_partition() -> None:
    assert partitions_of(entries_topic("x")) == 1
    assert partitions_of(entity_topic("pod", "x")) == 6
