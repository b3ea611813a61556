"""What the API answers: one model for each thing, so that its OpenAPI document can be relied on."""

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

Item = TypeVar("Item")

Phase = Literal["wanted", "bound", "leaving", "reserved", "releasing", "released"]
TenureKind = Literal["preparing", "bound", "leaving", "reserved", "releasing"]
Outcome = Literal["open", "done", "refused", "undone"]


class _Model(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Page(_Model, Generic[Item]):
    """Part of a list. Give `next` as `cursor` for what follows; it is null on the last page.

    `as_of` is the ledger's clock: what `until now` and `expires in` count from.
    """

    cluster: str
    as_of: datetime
    items: list[Item]
    next: str | None = None


class Because(_Model):
    """The entry that opened or closed a period, and what led to it."""

    entry: int
    kind: str
    cause: dict[str, Any]


class Tenure(_Model):
    """A period in which an ENI and its addresses served one holder in one way."""

    namespace: str
    pod: str
    interface: str
    kind: Annotated[TenureKind, Field(description="bound: in use; reserved: kept for its return")]
    since: datetime
    until: Annotated[datetime | None, Field(description="null while it lasts")]
    pod_uid: str
    node: str
    vpc: str
    ipv4: str | None
    ipv6: str | None
    eni: str
    mac: str
    vswitch: str
    vlan: int | None
    opened: Because
    closed: Because | None
    message: Annotated[
        dict[str, Any] | None,
        Field(description="the Kafka message behind it: topic, partition, offset, event, entry"),
    ]
    decision: Annotated[
        dict[str, Any] | None, Field(description="the decision behind it: entry, kind and data")
    ]
    requests: Annotated[
        list[dict[str, Any]],
        Field(description="the cloud requests that led to it: api, request_id"),
    ]
    security_groups: list[str]
    allocation_id: UUID


class Tenures(Page[Tenure]):
    """Who held it. `managed` is false where this ledger never gave it out: that is not "nobody"."""

    key: str
    value: Annotated[str, Field(description="as the ledger writes it")]
    managed: bool
    reported_by: Annotated[
        list[str], Field(description="Pods whose events show an address that is not managed here")
    ]


class Entry(_Model):
    """One entry of the ledger: what happened, and what led to it. Never edited."""

    entry: int
    allocation_id: UUID | None
    namespace: str | None
    pod: str | None
    interface: str | None
    version: int | None
    kind: str
    recorded_at: datetime
    cause: Annotated[
        dict[str, Any],
        Field(description="a Kafka message, a cloud call with its request id, a look, a command"),
    ]
    data: dict[str, Any]


class Allocation(_Model):
    """One Pod interface's address, as it stands now."""

    allocation_id: UUID
    namespace: str
    pod: str
    interface: str
    phase: Phase
    parked: Annotated[str | None, Field(description="why it stands still until a person acts")]
    pod_uid: str
    node: str
    vpc: str | None
    ipv4: str | None
    ipv6: str | None
    eni: str | None
    mac: str | None
    vswitch: str | None
    instance: str | None
    trunk: str | None
    vlan: int | None
    ttl_due: datetime | None
    created_at: datetime
    changed_at: datetime
    version: int


class Reservation(_Model):
    """An address kept for a Pod that is away; `due` is null where it never expires."""

    allocation_id: UUID
    namespace: str
    pod: str
    interface: str
    vpc: str | None
    ipv4: str | None
    ipv6: str | None
    eni: str | None
    vswitch: str | None
    zone: str | None
    rule: str | None
    absent_since: datetime | None
    due: datetime | None


class Call(_Model):
    """An intended cloud call and what became of it; `outcome` is null while nobody knows."""

    intent: UUID
    api: str
    intended_at: datetime
    deadline: datetime
    settled_at: datetime | None
    outcome: Literal["done", "refused", "undone"] | None
    code: str | None
    request_id: str | None
    client_token: str | None
    parameters: dict[str, Any]
    allocation_id: UUID
    namespace: str
    pod: str
    interface: str


class Disagreement(_Model):
    """An ENI about which the cloud and this ledger disagree; nothing is done to it meanwhile."""

    eni: str
    kind: str
    detail: str
    first_seen: datetime
    last_seen: datetime
    accepted_at: datetime | None
    accepted_by: str | None


class DeadLetter(_Model):
    """A message that could not be taken in: where it is and why. Never its contents."""

    id: int
    topic: str
    partition: int
    offset: int
    key: str | None
    bytes: int
    error_class: str
    message: str
    recorded_at: datetime
    published_at: datetime | None
    redriven_at: datetime | None


class Waiting(_Model):
    """Work that can't be finished yet, and what it waits for."""

    kind: str
    namespace: str
    name: str
    waiting_for: str
    attempts: int
    next_try_at: datetime


class Trend(_Model):
    """At the pace of the last days: addresses more a day, and when none is left, with its range.

    A time is null where that pace does not fill the vSwitch within a year.
    """

    per_day: float
    per_day_low: float
    per_day_high: float
    full: datetime | None
    full_earliest: datetime | None
    full_latest: datetime | None


class NoTrend(_Model):
    """There is nothing to foresee by, and why."""

    why: str


class VSwitch(_Model):
    """How full a vSwitch is. `free` was counted by the cloud at `looked_at`; others use it too."""

    vswitch: str
    vpc: str
    zone: str
    cidr: str
    size: int | None
    free: int
    looked_at: datetime
    in_use: int
    reserved: int
    reserved_for_ever: int
    releasing: int
    trend: Trend | NoTrend
    warning: Annotated[str | None, Field(description="why a person should look at it")]


class VSwitches(_Model):
    """The fullest first."""

    cluster: str
    as_of: datetime
    items: list[VSwitch]


class Node(_Model):
    """A node's slots for member ENIs, as it advertises them, and what is left of them."""

    node: str
    instance: str
    trunk: str | None
    slots: int
    attached: int
    waiting: int
    free: int


class Nodes(_Model):
    """The fullest first."""

    cluster: str
    items: list[Node]


class Brake(_Model):
    """What stands still, since when, by whom and why."""

    scope: str
    pulled_at: datetime
    pulled_by: str
    reason: str


class Overview(_Model):
    """The fleet as it stands: interfaces by what they are doing, and what a person should know of."""

    cluster: str
    at: datetime
    preparing: int
    bound: int
    leaving: int
    reserved: int
    releasing: int
    parked: int
    waiting: int
    open_calls: int
    drift: int
    dead_letters: int
    swept_at: datetime | None
    brakes: list[Brake]


class Considered(_Model):
    """One PodNetworking that was looked at for a Pod."""

    podNetworking: str  # noqa: N815 - as `eni-ledger explain --json` writes it
    outcome: str
    reason: str


class Change(_Model):
    """When a change of a PodNetworking's field applies."""

    field: str
    when: str
    what: str


class Explained(_Model):
    """Why a Pod has the network it has: what `eni-ledger explain pod --json` prints."""

    pod: str
    verdict: str
    refused: bool
    admitted: bool
    stateful: bool
    chosen: str | None
    considered: list[Considered]
    networks: list[dict[str, Any]]
    resource: str | None
    zones: list[str]
    previousZones: list[str]  # noqa: N815
    limits: list[str]
    warnings: list[str]
    changes: list[Change]


class Meaning(_Model):
    """One thing that a search may mean."""

    key: str
    value: str


class Meanings(_Model):
    """What a search may mean, the likeliest first."""

    cluster: str
    items: list[Meaning]


class WhoAmI(_Model):
    """Who asks, of which cluster, and what may be asked about."""

    name: str
    cluster: str
    authentication: str
    version: str
    keys: list[str]
