"""Where each input stands: Kafka offsets, the newest observation of each object, watermarks, and
the messages that could not be taken in."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from ledger.store.named_sql import queries
from ledger.store.rows import columns


class ObjectKey(NamedTuple):
    """Names one observed object; namespace is empty for cluster-scoped ones."""

    cluster: str
    entity: str
    namespace: str
    name: str


class OffsetMove(NamedTuple):
    """A partition's step from the offset it was read at to the next one to read."""

    topic: str
    partition: int
    expected: int
    next: int
    last_event_id: str | None


class ObservationRow(NamedTuple):
    """One observation as it comes in."""

    cluster: str
    entity: str
    namespace: str
    name: str
    source: str
    epoch: int
    resource_version: int
    uid: str
    alive: bool
    object: str | None
    cause: str


class WatermarkRow(NamedTuple):
    """Everything of the topic's partition up to this resourceVersion has been taken in."""

    topic: str
    partition: int
    cluster: str
    epoch: int
    resource_version: int
    produced_at: str | None


@dataclass(frozen=True, slots=True)
class Observation:
    """The newest thing seen of one object."""

    key: ObjectKey
    uid: str
    alive: bool
    object: dict[str, Any] | None
    cause: dict[str, Any]
    epoch: int
    resource_version: int


@dataclass(frozen=True, slots=True)
class Listing:
    """A list's page: what it covers and which keys it held."""

    cluster: str
    entity: str
    source: str
    epoch: int
    resource_version: int
    range_from: str
    range_to: str | None
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that could not be taken in. `headers` are name and raw value, `size` the bytes of the
    value, which itself is None in a list."""

    id: int
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    size: int
    headers: tuple[tuple[str, bytes], ...]
    error_class: str
    message: str
    recorded_at: datetime
    published_at: datetime | None
    redriven_at: datetime | None


class ZombieConsumer(Exception):  # noqa: N818 - names what was found
    """Another consumer moved a partition's offset: this one's batch must not take effect.

    `partitions` are those (topic, partition) that moved; the transaction is rolled back.
    """

    def __init__(self, partitions: frozenset[tuple[str, int]]) -> None:
        super().__init__(f"offsets moved by another consumer: {sorted(partitions)}")
        self.partitions = partitions


# ------------------------------------------------------------------------------ offsets


def begin_offset(
    connection: Connection, topic: str, partition: int, first: int
) -> tuple[int, str | None]:
    """Where to read on: (next offset, id of the event before it); `first` for a new partition."""
    sql = queries("inputs")
    where = {"topic": topic, "partition": partition}
    connection.exec_driver_sql(sql["begin_offset"], {**where, "next": first})
    row = connection.exec_driver_sql(sql["read_offset"], where).one()
    return row.next, row.last_event_id


def reset_offset(connection: Connection, topic: str, partition: int, first: int) -> None:
    """Start again on a log that was made anew; what it repeats is known by its resourceVersions."""
    connection.exec_driver_sql(
        queries("inputs")["reset_offset"], {"topic": topic, "partition": partition, "next": first}
    )


def move_offsets(connection: Connection, moves: Sequence[OffsetMove], at: datetime) -> None:
    """Compare and set, first thing in the batch's transaction. Raises ZombieConsumer."""
    sql = queries("inputs")
    ordered = sorted(moves)
    bound = columns(ordered)
    connection.exec_driver_sql(
        sql["lock_offsets"], {"topic": bound["topic"], "partition": bound["partition"]}
    )
    found = connection.exec_driver_sql(sql["move_offsets"], {"at": at, **bound})
    # By the rows that moved, not by where they stand: another consumer may have moved one to the
    # very offset that this one wanted.
    moved = {(row.topic, row.partition) for row in found}
    lost = {(move.topic, move.partition) for move in ordered} - moved
    if lost:
        raise ZombieConsumer(frozenset(lost))


# ------------------------------------------------------------------------------ observations


def observe(connection: Connection, seen: Sequence[ObservationRow]) -> set[ObjectKey]:
    """Take in observations, at most one an object; returns those that were news."""
    if not seen:
        return set()
    found = connection.exec_driver_sql(queries("inputs")["observe"], columns(seen))
    return {ObjectKey(*row) for row in found}


def lock_for_listings(
    connection: Connection, seen: Sequence[ObservationRow], listings: Sequence[Listing]
) -> None:
    """Lock, in key order and in one go, every known object that a batch with listings may change.

    `observe` and `take_listing` each lock in order; one after the other they would not.
    """
    keys = {ObjectKey(row.cluster, row.entity, row.namespace, row.name) for row in seen}
    for listing in listings:
        found = connection.exec_driver_sql(queries("inputs")["may_be_unlisted"], _covering(listing))
        keys |= {ObjectKey(*row) for row in found}
    if keys:
        connection.exec_driver_sql(queries("inputs")["lock_observations"], columns(sorted(keys)))


def take_listing(
    connection: Connection, listing: Listing, cause: Mapping[str, Any]
) -> set[ObjectKey]:
    """Mark as gone what the list should have held and did not; returns those objects."""
    found = connection.exec_driver_sql(
        queries("inputs")["unlisted"], {**_covering(listing), "cause": json.dumps(dict(cause))}
    )
    return {ObjectKey(*row) for row in found}


def _covering(listing: Listing) -> dict[str, Any]:
    return {
        "cluster": listing.cluster,
        "entity": listing.entity,
        "source": listing.source,
        "epoch": listing.epoch,
        "resource_version": listing.resource_version,
        "from": listing.range_from,
        "to": listing.range_to,
        "keys": list(listing.keys),
    }


def read_observations(
    connection: Connection, keys: Sequence[ObjectKey]
) -> dict[ObjectKey, Observation]:
    """The newest observation of each; unknown objects are absent."""
    if not keys:
        return {}
    found = connection.exec_driver_sql(queries("inputs")["read_observations"], columns(keys))
    read = (
        Observation(
            ObjectKey(row.cluster, row.entity, row.namespace, row.name),
            row.uid,
            row.alive,
            row.object,
            row.cause,
            row.epoch,
            row.resource_version,
        )
        for row in found
    )
    return {observation.key: observation for observation in read}


def place_of(connection: Connection, key: ObjectKey) -> tuple[int, int] | None:
    """(epoch, resourceVersion) of the newest observation; None without any."""
    row = connection.exec_driver_sql(
        queries("inputs")["place_of_observation"], key._asdict()
    ).one_or_none()
    return None if row is None else (row.epoch, row.resource_version)


def lock_observation(connection: Connection, key: ObjectKey) -> tuple[int, int] | None:
    """`place_of`, and keep others from deciding about this object: first of a decision's locks."""
    row = connection.exec_driver_sql(
        queries("inputs")["lock_observation"], key._asdict()
    ).one_or_none()
    return None if row is None else (row.epoch, row.resource_version)


def believe(
    connection: Connection,
    key: ObjectKey,
    *,
    uid: str,
    resource_version: int,
    pod: str | None,
    cause: Mapping[str, Any],
) -> None:
    """A live look says what is so as of this version, whatever was heard before; `pod` None: gone."""
    connection.exec_driver_sql(
        queries("inputs")["believe"],
        {
            **key._asdict(),
            "uid": uid,
            "resource_version": resource_version,
            "object": pod,
            "cause": json.dumps(dict(cause)),
        },
    )


def mark_watermarks(connection: Connection, marks: Sequence[WatermarkRow], at: datetime) -> None:
    """Take in heartbeats, at most one a partition and cluster."""
    if marks:
        connection.exec_driver_sql(
            queries("inputs")["mark_watermarks"], {"at": at, **columns(marks)}
        )


def watermark_place(
    connection: Connection, topic: str, partition: int, cluster: str
) -> tuple[int, int] | None:
    """(epoch, resourceVersion) that one partition's heartbeats have reached; None before the first."""
    row = connection.exec_driver_sql(
        queries("inputs")["watermark_place"],
        {"topic": topic, "partition": partition, "cluster": cluster},
    ).one_or_none()
    return None if row is None else (row.epoch, row.resource_version)


def watermark_of(connection: Connection, topic: str, cluster: str) -> int | None:
    """The resourceVersion up to which every message of a topic was taken in; None without heartbeats."""
    found: int | None = connection.exec_driver_sql(
        queries("inputs")["watermark_of"], {"topic": topic, "cluster": cluster}
    ).scalar_one()
    return found


# ------------------------------------------------------------------------------ dead letters


def bury(
    connection: Connection,
    record: tuple[str, int, int, bytes | None, bytes | None, Sequence[tuple[str, bytes]]],
    error_class: str,
    message: str,
    at: datetime,
) -> None:
    """Keep a message that can't be taken in: (topic, partition, offset, key, value, headers), and why."""
    topic, partition, offset, key, value, headers = record
    encoded = [[_storable(name), base64.b64encode(raw).decode()] for name, raw in headers]
    digest = hashlib.sha256()
    for part in (key or b"", json.dumps(encoded).encode(), value or b""):
        digest.update(len(part).to_bytes(8, "big") + part)
    connection.exec_driver_sql(
        queries("inputs")["bury"],
        {
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "key": key,
            "value": value,
            "headers": json.dumps(encoded),
            "error_class": error_class,
            "message": _storable(message),
            "at": at,
            "fingerprint": digest.digest(),
        },
    )


def _storable(text: str) -> str:
    """Text that PostgreSQL takes: what refuses a dead letter would stop its partition for ever."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def unpublished_dead_letters(connection: Connection, limit: int) -> list[DeadLetter]:
    """Dead letters that their topic hasn't seen yet, locked against other publishers."""
    found = connection.exec_driver_sql(queries("inputs")["unpublished"], {"limit": limit})
    return [_dead_letter(row) for row in found]


def mark_published(connection: Connection, dead_letter_id: int) -> None:
    """The dead-letter topic has it."""
    connection.exec_driver_sql(queries("inputs")["published"], {"id": dead_letter_id})


def list_dead_letters(
    connection: Connection, *, redriven_too: bool, limit: int
) -> list[DeadLetter]:
    """Dead letters, oldest first, without their values."""
    found = connection.exec_driver_sql(
        queries("inputs")["list_dead_letters"], {"all": redriven_too, "limit": limit}
    )
    return [_dead_letter(row) for row in found]


def not_redriven(connection: Connection) -> list[int]:
    """The ids of the dead letters that were not sent again yet, oldest first."""
    found = connection.exec_driver_sql(queries("inputs")["not_redriven"])
    return list(found.scalars())


def show_dead_letter(connection: Connection, dead_letter_id: int) -> DeadLetter | None:
    """One dead letter, or None."""
    row = connection.exec_driver_sql(
        queries("inputs")["show_dead_letter"], {"id": dead_letter_id}
    ).one_or_none()
    return None if row is None else _dead_letter(row)


def mark_redriven(connection: Connection, dead_letter_id: int) -> None:
    """It was sent to its topic again."""
    connection.exec_driver_sql(queries("inputs")["redriven"], {"id": dead_letter_id})


def _dead_letter(row: Any) -> DeadLetter:
    headers = tuple((name, base64.b64decode(value)) for name, value in row.headers)
    return DeadLetter(
        row.id,
        row.topic,
        row.partition,
        row.offset,
        row.key,
        row.value,
        row.size,
        headers,
        row.error_class,
        row.message,
        row.recorded_at,
        row.published_at,
        row.redriven_at,
    )
