"""One message of the contract: what it is, how to read it from a Kafka record, how to write it.

CloudEvents 1.0 over Kafka, binary mode (`ce_*` headers; what we produce) and structured mode (accepted).
`decode` either returns a Message whose every string can be stored in PostgreSQL, or raises
ContractError; nothing else, whatever the bytes. In words: README.md of this folder.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from consumers.contract.objects import ObjectError, Uid, trim
from consumers.contract.topics import (
    NAMESPACED,
    Action,
    Entity,
    UnknownTypeError,
    parse_event_type,
)

#: PostgreSQL's bigint; etcd's revision is an int64 too.
RESOURCE_VERSION_MAX: Final = 2**63 - 1
EPOCH_MAX: Final = 2**31 - 1
MESSAGE_BYTES_MAX: Final = 1_048_576
#: Deeper JSON than any Kubernetes object has; deeper still would exhaust the stack of a later
#: JSON writer.
DEPTH_MAX: Final = 64

STRUCTURED: Final = "application/cloudevents+json"
_SOURCE: Final = re.compile(r"/clusters/([A-Za-z0-9._-]{1,128})")
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")

#: A model of CloudEvents attributes.
Attributes = TypeVar("Attributes", bound=BaseModel)


class Record(NamedTuple):
    """A Kafka record as it came: topic, partition, offset, bytes. `timestamp_ms` is the
    broker's, Unix ms."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_ms: int = 0


class Encoded(NamedTuple):
    """What a producer sends."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


class ContractError(Exception):
    """A message that breaks the contract: a dead letter.

    Attributes:
        error_class: one of tombstone, oversize, not-json, unstorable-text, envelope,
            unknown-type, mismatch, data.
        message: the cause, and where it sits.
    """

    def __init__(self, error_class: str, message: str) -> None:
        super().__init__(f"{error_class}: {message}")
        self.error_class = error_class
        self.message = message


class ListedItem(NamedTuple):
    """One object a list held: its key (`object_key`), uid and resourceVersion."""

    key: str
    uid: str
    resource_version: int


@dataclass(frozen=True, slots=True)
class ListedPage:
    """What one key range of a list held: objects known in it, older than the list and not in it,
    are gone.

    Attributes:
        range_from: first key of the range, inclusive; "" is open (before everything).
        range_to: end of the range, exclusive; None is open (after everything).
        items: in byte order of their keys.
    The list's resourceVersion is the Message's. Keys compare as bytes (PostgreSQL: COLLATE "C").
    """

    range_from: str
    range_to: str | None
    items: tuple[ListedItem, ...]

    def covers(self, key: str) -> bool:
        """Whether an object's key falls in the range."""
        return self.range_from <= key and (self.range_to is None or key < self.range_to)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the producer knows about the completeness of its topic.

    The Message's resourceVersion is the watermark: everything of this entity up to it was
    produced before.

    Attributes:
        partition: the partition it was produced to.
        continuous_from: observation has no gap from this resourceVersion up to the watermark. If
            it is above the highest watermark seen before, what happened in between was not
            observed (P2).
        alive_at: wall time of the producer when the API server last proved the watch alive by an
            event or a bookmark; None while it has not. The watermark is only known to be recent
            as of this time.
        synced: whether a whole list was produced in this run of the producer.
    """

    partition: int | None
    continuous_from: int
    alive_at: datetime | None
    synced: bool


@dataclass(frozen=True, slots=True)
class Message:
    """A message that keeps the contract. `object` and `uid` are of observed and deleted, `page`
    of listed, `heartbeat` of heartbeat; namespace and name are empty where the message is not
    about one object."""

    id: str
    source: str
    type: str
    entity: Entity
    action: Action
    cluster: str
    epoch: int
    resource_version: int
    namespace: str
    name: str
    uid: str
    time: datetime | None
    object: dict[str, Any] | None
    page: ListedPage | None
    heartbeat: Heartbeat | None

    @property
    def key(self) -> str:
        """The object's place in the key order of listed pages."""
        return object_key(self.namespace, self.name)


def object_key(namespace: str, name: str) -> str:
    """`<namespace>/<name>`, cluster-scoped `<name>`: subject, page keys, end of the Kafka key."""
    return f"{namespace}/{name}" if namespace else name


def source_of(cluster: str) -> str:
    """The CloudEvents `source` of a cluster."""
    return f"/clusters/{cluster}"


# --- reading --------------------------------------------------------------------------------------


class _Model(BaseModel):
    model_config = ConfigDict(
        strict=True, extra="ignore", alias_generator=to_camel, populate_by_name=True, frozen=True
    )


class Envelope(BaseModel):
    """The CloudEvents attributes, as text, whichever mode carried them."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)

    specversion: Annotated[str, Field(pattern=r"^1\.0$")]
    id: Annotated[str, Field(min_length=1, max_length=256)]
    source: Annotated[str, Field(max_length=256)]
    type: Annotated[str, Field(max_length=256)]
    subject: Annotated[str, Field(max_length=512)] = ""
    time: Annotated[str, Field(max_length=64)] | None = None
    resourceversion: Annotated[str, Field(max_length=32)]
    epoch: Annotated[str, Field(max_length=32)] = "0"


class ListedItemData(_Model):
    key: Annotated[str, Field(min_length=1, max_length=512)]
    uid: Uid
    resource_version: Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,18})$")]


class ListedData(_Model):
    """`data` of a listed message."""

    range_from: Annotated[str, Field(max_length=512)] = Field(default="", alias="from")
    range_to: Annotated[str, Field(max_length=512)] | None = Field(default=None, alias="to")
    items: list[ListedItemData]


class HeartbeatData(_Model):
    """`data` of a heartbeat message."""

    partition: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    continuous_from: Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,18})$")]
    alive_at: Annotated[str, Field(max_length=64)] | None = None
    synced: bool


def decode(record: Record, limit: int = MESSAGE_BYTES_MAX) -> Message:
    """The message in a record. `limit` is in bytes of value; a larger one is not parsed.

    Raises ContractError, and nothing else. Messages of other clusters are valid: the reader
    decides.
    """
    attributes, data = read_event(record, limit)
    return _message(record, read_attributes(Envelope, attributes), data)


def read_event(record: Record, limit: int) -> tuple[dict[str, Any], object]:
    """CloudEvents attributes and data of a record, in whichever mode. Raises ContractError."""
    if record.value is None:
        raise ContractError(
            "tombstone", "the record has no value; a deletion is a .deleted.v1 message"
        )
    if len(record.value) > limit:
        raise ContractError("oversize", f"{len(record.value)} bytes, the limit is {limit}")
    headers = _headers(record.headers)
    content_type = headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type.startswith("application/cloudevents"):
        if content_type != STRUCTURED:
            raise ContractError(
                "envelope", f"content-type {content_type[:80]} is not read: {STRUCTURED} is"
            )
        attributes = _json_object(record.value, "the event")
        data = attributes.get("data")
    else:
        if content_type not in ("", "application/json"):
            raise ContractError(
                "envelope", f"content-type {content_type[:80]} is not application/json"
            )
        attributes = {
            name.removeprefix("ce_"): value
            for name, value in headers.items()
            if name.startswith("ce_")
        }
        data = _json_object(record.value, "data")
    return attributes, data


def _headers(pairs: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """Header name (lower case) -> text. Those that are not ours may hold any bytes, and are left out."""
    headers: dict[str, str] = {}
    for raw_name, value in pairs:
        name = raw_name.lower()
        if name != "content-type" and not name.startswith("ce_"):
            continue
        if name in headers:
            raise ContractError("envelope", f"header {name[:80]} occurs twice")
        try:
            headers[name] = (value or b"").decode()
        except UnicodeDecodeError as undecodable:
            raise ContractError(
                "unstorable-text", f"header {name[:80]} is not UTF-8"
            ) from undecodable
        _refuse_nul(headers[name], f"header {name[:80]}")
    return headers


def _json_object(value: bytes, what: str) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(value)
    except RecursionError as deep:
        raise ContractError("not-json", f"{what} is nested too deeply") from deep
    except (msgspec.MsgspecError, ValueError) as unreadable:
        # A lone surrogate is legal JSON and impossible text: name it for what it is.
        error_class = "unstorable-text" if re.search(rb"\\u[dD][89a-fA-F]", value) else "not-json"
        raise ContractError(error_class, f"{what}: {unreadable}"[:300]) from unreadable
    if not isinstance(decoded, dict):
        raise ContractError("not-json", f"{what} is a JSON {type(decoded).__name__}, not an object")
    if b"\\u0000" in value:
        _refuse_nul_within(decoded, what)
    return decoded


def _refuse_nul(text: str, where: str) -> None:
    if "\x00" in text:
        raise ContractError(
            "unstorable-text", f"{where} contains \\u0000, which PostgreSQL can't store"
        )


def _refuse_nul_within(node: object, where: str) -> None:
    """Walks without recursion: the parser has bounded the depth, not the stack we stand on."""
    stack: list[object] = [node]
    while stack:
        current = stack.pop()
        if isinstance(current, str):
            _refuse_nul(current, where)
        elif isinstance(current, dict):
            stack.extend(current.keys())
            stack.extend(current.values())
        elif isinstance(current, list):
            stack.extend(current)


def _refuse_deep(node: object) -> None:
    level: list[object] = [node]
    for _ in range(DEPTH_MAX):
        below: list[object] = []
        for current in level:
            if isinstance(current, dict):
                below.extend(current.values())
            elif isinstance(current, list):
                below.extend(current)
        if not below:
            return
        level = below
    raise ContractError("data", f"the object is nested deeper than {DEPTH_MAX} levels")


def read_attributes(model: type[Attributes], attributes: Mapping[str, Any]) -> Attributes:
    """The attributes as a model has them. Raises ContractError naming the wrong one."""
    try:
        return model.model_validate(attributes)
    except ValidationError as refused:
        first = refused.errors(include_url=False, include_input=False)[0]
        raise ContractError(
            "envelope", f"attribute ce_{'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from refused


def _message(record: Record, envelope: Envelope, data: object) -> Message:
    try:
        entity, action = parse_event_type(envelope.type)
    except UnknownTypeError as unknown:
        raise ContractError("unknown-type", str(unknown)) from unknown
    if not record.topic.endswith(f".{entity}.v1"):
        raise ContractError("mismatch", f"a {envelope.type} message on topic {record.topic}")
    resource_version = read_decimal(
        envelope.resourceversion, "resourceversion", RESOURCE_VERSION_MAX
    )
    cluster = read_source(envelope.source)
    namespace, name, uid = "", "", ""
    obj: dict[str, Any] | None = None
    page: ListedPage | None = None
    heartbeat: Heartbeat | None = None
    if action in ("observed", "deleted"):
        namespace, name = _subject(envelope.subject, entity)
        same_key(record.key, f"{cluster}/{envelope.subject}")
        obj = _object(entity, data, namespace, name, envelope.resourceversion)
        uid = obj["metadata"]["uid"]
        if resource_version == 0:
            raise ContractError("envelope", "resourceversion 0 is not the version of an object")
    else:
        if envelope.subject:
            raise ContractError("mismatch", f"a {action} message has no subject")
        same_key(record.key, cluster)
        page = _page(data) if action == "listed" else None
        heartbeat = _heartbeat(data, resource_version) if action == "heartbeat" else None
    return Message(
        id=envelope.id,
        source=envelope.source,
        type=envelope.type,
        entity=entity,
        action=action,
        cluster=cluster,
        epoch=read_decimal(envelope.epoch, "epoch", EPOCH_MAX),
        resource_version=resource_version,
        namespace=namespace,
        name=name,
        uid=uid,
        time=read_time(envelope.time, "time"),
        object=obj,
        page=page,
        heartbeat=heartbeat,
    )


def read_source(text: str) -> str:
    """The cluster of a `source`. Raises ContractError."""
    source = _SOURCE.fullmatch(text)
    if source is None:
        raise ContractError("envelope", f"source {text[:120]!r} is not /clusters/<cluster_id>")
    return source.group(1)


def read_decimal(text: str, what: str, maximum: int) -> int:
    """A decimal number without sign or leading zeros, up to `maximum`. Raises ContractError."""
    if not _DECIMAL.fullmatch(text) or int(text) > maximum:
        raise ContractError(
            "envelope", f"{what} {text[:40]!r} is not a decimal number up to {maximum}"
        )
    return int(text)


def read_time(text: str | None, what: str) -> datetime | None:
    """An RFC 3339 time with a zone, in UTC; None stays None. Raises ContractError."""
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
        if parsed.tzinfo is None:
            raise ContractError("envelope", f"{what} {text!r} has no time zone")
        return parsed.astimezone(UTC)
    except (ValueError, OverflowError) as refused:
        raise ContractError("envelope", f"{what} {text!r} is not an RFC 3339 time") from refused


def _subject(subject: str, entity: Entity) -> tuple[str, str]:
    namespace, slash, name = subject.rpartition("/")
    if bool(slash) != (entity in NAMESPACED):
        shape = "<namespace>/<name>" if entity in NAMESPACED else "<name>"
        raise ContractError("envelope", f"subject {subject[:120]!r} of a {entity} is not {shape}")
    for part in (namespace, name) if slash else (name,):
        if not _NAME.fullmatch(part):
            raise ContractError("envelope", f"subject {subject[:120]!r}: not a Kubernetes name")
    return namespace, name


def same_key(key: bytes | None, expected: str) -> None:
    """Raises ContractError where a record's key is not what its attributes say."""
    if key is None or key != expected.encode():
        raise ContractError(
            "mismatch", f"key {key!r:.160} is not {expected!r}, which source and subject say"
        )


def _object(
    entity: Entity, data: object, namespace: str, name: str, resource_version: str
) -> dict[str, Any]:
    try:
        obj = trim(entity, data)
    except ObjectError as refused:
        raise ContractError("data", str(refused)) from refused
    _refuse_deep(obj)
    metadata = obj["metadata"]
    named = (metadata.get("namespace", ""), metadata["name"])
    if named != (namespace, name):
        raise ContractError(
            "mismatch",
            f"the object is {object_key(*named)}, the subject {object_key(namespace, name)}",
        )
    if metadata.setdefault("resourceVersion", resource_version) != resource_version:
        raise ContractError(
            "mismatch",
            f"the object has resourceVersion {metadata['resourceVersion'][:40]!r}, "
            f"the event says {resource_version}",
        )
    return obj


def validated(model: type[BaseModel], data: object) -> Any:
    """`data` as the model has it. Raises ContractError naming the first wrong field."""
    try:
        return model.model_validate(data)
    except ValidationError as refused:
        first = refused.errors(include_url=False, include_input=False)[0]
        raise ContractError(
            "data", f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from refused


def _page(data: object) -> ListedPage:
    listed: ListedData = validated(ListedData, data)
    items = tuple(
        ListedItem(
            item.key, item.uid, read_decimal(item.resource_version, "item", RESOURCE_VERSION_MAX)
        )
        for item in listed.items
    )
    page = ListedPage(listed.range_from, listed.range_to, items)
    previous = ""
    for item in items:
        if item.key <= previous or not page.covers(item.key):
            raise ContractError(
                "data", f"item {item.key[:120]!r} is out of order or out of the page's range"
            )
        previous = item.key
    return page


def _heartbeat(data: object, watermark: int) -> Heartbeat:
    beat: HeartbeatData = validated(HeartbeatData, data)
    continuous_from = read_decimal(beat.continuous_from, "continuousFrom", RESOURCE_VERSION_MAX)
    if continuous_from > watermark:
        raise ContractError(
            "data", f"continuousFrom {continuous_from} is above the watermark {watermark}"
        )
    return Heartbeat(
        beat.partition, continuous_from, read_time(beat.alive_at, "aliveAt"), beat.synced
    )
