"""An entry of the ledger as others read it from Kafka: the model, how it is written and read.

A reader tells order, repetitions and gaps by (incarnation, position): see README.md of this folder.
"""

import uuid
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from consumers.contract.encode import encode_event, rfc3339
from consumers.contract.events import (
    MESSAGE_BYTES_MAX,
    RESOURCE_VERSION_MAX,
    ContractError,
    Encoded,
    Record,
    object_key,
    read_attributes,
    read_decimal,
    read_event,
    read_source,
    read_time,
    same_key,
    source_of,
    validated,
)
from consumers.contract.topics import ENTRY_TYPE

_ID_SPACE: Final = uuid.UUID("0b9b6f3e-57a4-5d0f-9a0e-9d3c0d5a2c11")
_POSITIVE: Final = Field(ge=1, le=RESOURCE_VERSION_MAX)


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="ignore", alias_generator=to_camel, populate_by_name=True, frozen=True
    )


class EntryAllocation(_Model):
    """Which allocation an entry is about, and which of its entries it is."""

    id: uuid.UUID
    version: Annotated[int, Field(ge=1, le=2**31 - 1)]
    namespace: str
    pod: str
    interface: str


class EntryData(_Model):
    """`data` of a recorded entry. `allocation` is null for commands, brakes and alarms."""

    position: Annotated[int, _POSITIVE]
    id: Annotated[int, _POSITIVE]
    kind: Annotated[str, Field(min_length=1, max_length=128)]
    recorded_at: datetime
    allocation: EntryAllocation | None
    cause: dict[str, Any]
    data: dict[str, Any]


class EntryEnvelope(BaseModel):
    """The CloudEvents attributes of an entry, as text."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)

    specversion: Annotated[str, Field(pattern=r"^1\.0$")]
    id: Annotated[str, Field(min_length=1, max_length=256)]
    source: Annotated[str, Field(max_length=256)]
    type: Annotated[str, Field(max_length=256)]
    subject: Annotated[str, Field(max_length=512)] = ""
    time: Annotated[str, Field(max_length=64)] | None = None
    position: Annotated[str, Field(max_length=32)]
    incarnation: Annotated[str, Field(max_length=32)]


class RecordedEntry(BaseModel):
    """An entry with where it stands.

    `incarnation` rises when the ledger was restored: what it published before at this position and
    beyond is no longer part of it. `subject` is `<namespace>/<pod>` where the entry is about a Pod,
    else "".
    """

    model_config = ConfigDict(frozen=True)

    cluster: str
    incarnation: int
    subject: str
    entry: EntryData


class Follower:
    """Which of the messages on the topic are news, each entry once and in order.

    `incarnation` and `position` say where the reader stands; without them the first message counts.
    """

    def __init__(self, incarnation: int = 0, position: int | None = None) -> None:
        self.incarnation = incarnation
        self.position = position

    def takes(self, recorded: RecordedEntry) -> bool:
        """Whether this is what comes next. What was there already is not, and what is beyond a gap
        is not either: the publisher comes back to it."""
        incarnation, position = recorded.incarnation, recorded.entry.position
        if self.position is not None:
            if position > self.position + 1 or incarnation < self.incarnation:
                return False
            if incarnation == self.incarnation and position <= self.position:
                return False
        self.incarnation, self.position = incarnation, position
        return True


def encode_entry(recorded: RecordedEntry) -> Encoded:
    """The message of an entry; the same entry gives the same message."""
    entry, subject = recorded.entry, recorded.subject
    position, incarnation = str(entry.position), str(recorded.incarnation)
    identity = "\n".join((recorded.cluster, incarnation, position, str(entry.id)))
    attributes = {
        "id": str(uuid.uuid5(_ID_SPACE, identity)),
        "source": source_of(recorded.cluster),
        "type": ENTRY_TYPE,
        "position": position,
        "incarnation": incarnation,
    }
    if subject:
        attributes["subject"] = subject
    data = entry.model_dump(mode="json", by_alias=True)
    data["recordedAt"] = rfc3339(entry.recorded_at)
    return encode_event(
        attributes, key=_key(recorded.cluster, subject), time=entry.recorded_at, data=data
    )


def decode_entry(record: Record, limit: int = MESSAGE_BYTES_MAX) -> RecordedEntry:
    """The entry in a record; raises ContractError, and nothing else."""
    attributes, data = read_event(record, limit)
    envelope = read_attributes(EntryEnvelope, attributes)
    if envelope.type != ENTRY_TYPE:
        raise ContractError("unknown-type", f"type {envelope.type[:120]!r} is not {ENTRY_TYPE}")
    cluster = read_source(envelope.source)
    same_key(record.key, _key(cluster, envelope.subject))
    entry: EntryData = validated(EntryData, data)
    position = read_decimal(envelope.position, "position", RESOURCE_VERSION_MAX)
    if entry.position != position:
        raise ContractError(
            "mismatch", f"position {entry.position}, where the event says {position}"
        )
    read_time(envelope.time, "time")
    about = entry.allocation
    if about is not None and object_key(about.namespace, about.pod) != envelope.subject:
        raise ContractError("mismatch", f"subject {envelope.subject[:120]!r} is not its Pod")
    return RecordedEntry(
        cluster=cluster,
        incarnation=read_decimal(envelope.incarnation, "incarnation", 2**31 - 1),
        subject=envelope.subject,
        entry=entry,
    )


def _key(cluster: str, subject: str) -> str:
    return f"{cluster}/{subject}" if subject else cluster
