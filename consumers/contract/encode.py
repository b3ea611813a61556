"""How a message of the contract is written: key, value and headers in CloudEvents binary mode.

Deterministic: two producers that saw the same thing write the same `ce_id`, so a reader may drop
    the second.
"""

import uuid
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from consumers.contract.events import (
    Encoded,
    Heartbeat,
    ListedPage,
    Record,
    object_key,
    source_of,
)
from consumers.contract.objects import trim
from consumers.contract.topics import Action, Entity, event_type

_ID_SPACE: Final = uuid.UUID("5f0c2f5e-6f0b-5b0e-9a63-6f5d1d0b5a10")
_CONTENT_TYPE: Final = b"application/json"


def event_id(
    cluster: str, entity: Entity, action: Action, key: str, *, epoch: int, resource_version: int
) -> str:
    """The `ce_id` of what happened to one key at one version: a UUID version 5 of exactly these
    values."""
    parts = (cluster, entity, action, key, str(epoch), str(resource_version))
    return str(uuid.uuid5(_ID_SPACE, "\n".join(parts)))


def encode_observed(
    cluster: str, entity: Entity, obj: dict[str, Any], *, epoch: int, time: datetime | None = None
) -> Encoded:
    """An object as it is at metadata.resourceVersion. Raises ObjectError if its shape is wrong."""
    return _encode_object(cluster, entity, "observed", obj, epoch=epoch, time=time)


def encode_deleted(
    cluster: str, entity: Entity, obj: dict[str, Any], *, epoch: int, time: datetime | None = None
) -> Encoded:
    """The last state of a deleted object; metadata.resourceVersion is the version of the delete."""
    return _encode_object(cluster, entity, "deleted", obj, epoch=epoch, time=time)


def encode_listed(
    cluster: str,
    entity: Entity,
    page: ListedPage,
    *,
    epoch: int,
    resource_version: int,
    time: datetime | None = None,
) -> Encoded:
    """The marker of one page of a list taken at `resource_version`."""
    data = {
        "from": page.range_from,
        "to": page.range_to,
        "items": [
            {"key": item.key, "uid": item.uid, "resourceVersion": str(item.resource_version)}
            for item in page.items
        ],
    }
    range_text = f"{page.range_from}\t{'' if page.range_to is None else page.range_to}"
    identity = event_id(
        cluster, entity, "listed", range_text, epoch=epoch, resource_version=resource_version
    )
    return encode_event(
        {
            "id": identity,
            "source": source_of(cluster),
            "type": event_type(entity, "listed"),
            "resourceversion": str(resource_version),
            "epoch": str(epoch),
        },
        key=cluster,
        time=time,
        data=data,
    )


def encode_heartbeat(
    cluster: str,
    entity: Entity,
    beat: Heartbeat,
    *,
    epoch: int,
    resource_version: int,
    time: datetime,
) -> Encoded:
    """The watermark `resource_version` for one partition. Its id differs from beat to beat."""
    data = {
        "partition": beat.partition,
        "continuousFrom": str(beat.continuous_from),
        "aliveAt": None if beat.alive_at is None else rfc3339(beat.alive_at),
        "synced": beat.synced,
    }
    moment = f"{beat.partition}\t{rfc3339(time)}"
    identity = event_id(
        cluster, entity, "heartbeat", moment, epoch=epoch, resource_version=resource_version
    )
    return encode_event(
        {
            "id": identity,
            "source": source_of(cluster),
            "type": event_type(entity, "heartbeat"),
            "resourceversion": str(resource_version),
            "epoch": str(epoch),
        },
        key=cluster,
        time=time,
        data=data,
    )


def dead_letter(record: Record, error_class: str, message: str) -> Encoded:
    """The record for `<topic>.dlq`: the original key, bytes and headers, and beside them where
    it came from and why it could not be used. A tombstone has empty bytes and says so in the
    error class."""
    reasons = (
        ("dlq-topic", record.topic),
        ("dlq-partition", str(record.partition)),
        ("dlq-offset", str(record.offset)),
        ("dlq-error-class", error_class),
        ("dlq-error-message", message),
    )
    own = {name for name, _ in reasons}
    original = tuple(pair for pair in record.headers if pair[0] not in own)
    added = tuple((name, value.encode(errors="replace")) for name, value in reasons)
    return Encoded(record.key or b"", record.value or b"", (*original, *added))


def _encode_object(
    cluster: str,
    entity: Entity,
    action: Action,
    obj: dict[str, Any],
    *,
    epoch: int,
    time: datetime | None,
) -> Encoded:
    trimmed = trim(entity, obj)
    metadata = trimmed["metadata"]
    subject = object_key(metadata.get("namespace", ""), metadata["name"])
    version = int(metadata["resourceVersion"])
    return encode_event(
        {
            "id": event_id(cluster, entity, action, subject, epoch=epoch, resource_version=version),
            "source": source_of(cluster),
            "type": event_type(entity, action),
            "resourceversion": str(version),
            "epoch": str(epoch),
            "subject": subject,
        },
        key=f"{cluster}/{subject}",
        time=time,
        data=trimmed,
    )


def encode_event(
    attributes: dict[str, str], *, key: str, time: datetime | None, data: dict[str, Any]
) -> Encoded:
    """An event in binary mode: `attributes` beside specversion and time, `data` as JSON."""
    whole = {"specversion": "1.0", **attributes}
    if time is not None:
        whole["time"] = rfc3339(time)
    headers = tuple((f"ce_{name}", value.encode()) for name, value in whole.items())
    content_type = ("content-type", _CONTENT_TYPE)
    return Encoded(key.encode(), msgspec.json.encode(data), (*headers, content_type))


def rfc3339(moment: datetime) -> str:
    """A time as every message has it, in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
