"""Folds the records of one poll into what one transaction takes in. Pure.

Only the newest message of each object counts: the rules are level-triggered, and what was passed
over is in the log. A record that can't be read becomes a dead letter; its partition goes on.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from consumers.contract.events import ContractError, Message, Record, decode
from ledger.rules.objects import ObjectError
from ledger.rules.pods import PodFacts
from ledger.store.inputs import Listing, ObjectKey, ObservationRow, OffsetMove, WatermarkRow


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record for the dead letters, and why."""

    record: Record
    error_class: str
    message: str


@dataclass(frozen=True, slots=True)
class Read:
    """A record with its message."""

    record: Record
    message: Message


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction takes in: at most one observation an object and one mark a partition."""

    observations: tuple[ObservationRow, ...]
    listings: tuple[tuple[Listing, dict[str, Any]], ...]
    watermarks: tuple[WatermarkRow, ...]


def read(records: Iterable[Record], bytes_max: int) -> tuple[list[Read], list[Unreadable]]:
    """Decode each record; what breaks the contract is sorted out with its reason."""
    readable: list[Read] = []
    unreadable: list[Unreadable] = []
    for record in records:
        try:
            message = decode(record, bytes_max)
            if message.entity == "pod" and message.object is not None:
                PodFacts.from_object(message.object)
        except ContractError as broken:
            unreadable.append(Unreadable(record, broken.error_class, broken.message))
        except ObjectError as wrong:
            unreadable.append(Unreadable(record, "data", str(wrong)))
        else:
            readable.append(Read(record, message))
    return readable, unreadable


def fold(readable: Sequence[Read]) -> Batch:
    """The newest observation of each object, the lists in their order, the newest heartbeats."""
    newest: dict[ObjectKey, Read] = {}
    marks: dict[tuple[str, int, str], Read] = {}
    listings = []
    for one in readable:
        message = one.message
        if message.action in ("observed", "deleted"):
            key = ObjectKey(message.cluster, message.entity, message.namespace, message.name)
            if key not in newest or _order(newest[key]) < _order(one):
                newest[key] = one
        elif message.action == "heartbeat":
            partition = (one.record.topic, one.record.partition, message.cluster)
            if partition not in marks or _order(marks[partition]) <= _order(one):
                marks[partition] = one
        else:
            listings.append((_listing(message), cause_of(one)))
    return Batch(
        tuple(_observation(key, one) for key, one in sorted(newest.items())),
        tuple(listings),
        tuple(_watermark(one) for _, one in sorted(marks.items())),
    )


def moves(records: Iterable[Record], expected: dict[tuple[str, int], int]) -> list[OffsetMove]:
    """How far each partition moves; `expected` is where each was read from."""
    last: dict[tuple[str, int], Record] = {}
    for record in records:
        last[record.topic, record.partition] = record
    return [
        OffsetMove(
            topic, partition, expected[topic, partition], record.offset + 1, event_id(record)
        )
        for (topic, partition), record in sorted(last.items())
    ]


def event_id(record: Record) -> str:
    """What tells this record from another at the same offset of a log made anew, at no parsing.

    The same event may well be at the same offset of both, in a list; it was sent at another time.
    """
    for name, value in record.headers:
        if name.lower() == "ce_id" and value:
            text = value.decode("utf-8", "replace").replace("\x00", "")[:256]
            return f"{text} of {record.timestamp_ms}"
    parts = (record.key or b"", record.value or b"")
    digest = hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts))
    return f"sha256:{digest.hexdigest()} of {record.timestamp_ms}"


def cause_of(one: Read) -> dict[str, Any]:
    """What an entry says about the message that led to it."""
    return {
        "event": one.message.id,
        "type": one.message.type,
        "source": one.message.source,
        "topic": one.record.topic,
        "partition": one.record.partition,
        "offset": one.record.offset,
        "resource_version": one.message.resource_version,
        "epoch": one.message.epoch,
    }


def _order(one: Read) -> tuple[int, int]:
    return one.message.epoch, one.message.resource_version


def _observation(key: ObjectKey, one: Read) -> ObservationRow:
    message = one.message
    alive = message.action == "observed"
    return ObservationRow(
        *key,
        message.source,
        message.epoch,
        message.resource_version,
        message.uid,
        alive,
        json.dumps(message.object) if alive else None,
        json.dumps(cause_of(one)),
    )


def _listing(message: Message) -> Listing:
    assert message.page is not None
    return Listing(
        cluster=message.cluster,
        entity=message.entity,
        source=message.source,
        epoch=message.epoch,
        resource_version=message.resource_version,
        range_from=message.page.range_from,
        range_to=message.page.range_to,
        keys=tuple(item.key for item in message.page.items),
    )


def _watermark(one: Read) -> WatermarkRow:
    message = one.message
    return WatermarkRow(
        one.record.topic,
        one.record.partition,
        message.cluster,
        message.epoch,
        message.resource_version,
        message.time.isoformat() if message.time else None,
    )
