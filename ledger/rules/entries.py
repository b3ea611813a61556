"""The kinds of entries an allocation's story is told in.

Each kind is one immutable model; its fields are what the ledger stores under `data`, so a field is
only ever added with a default and never renamed. What led to an entry is not here but in its
cause, beside it. Times are aware UTC; ids are the cloud's or Kubernetes' own.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Api = Literal[
    "CreateNetworkInterface",
    "AttachNetworkInterface",
    "DetachNetworkInterface",
    "DeleteNetworkInterface",
    "ModifyNetworkInterfaceAttribute",
]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Terms(_Model):
    """What one interface was promised when it was requested (the Pod's pod-networks annotation)."""

    vswitch_ids: tuple[str, ...]
    security_group_ids: tuple[str, ...]
    eni_type: str = "Default"
    selection_policy: str = "ordered"
    resource_group_id: str = ""
    traffic_mode: str = ""
    default_route: bool | None = None
    extra_routes: tuple[str, ...] = ()
    allocation_type: Literal["Elastic", "Fixed"] = "Elastic"
    release_strategy: str = ""
    release_after: str = ""


class Retention(_Model):
    """What happens to the addresses of a Pod that is gone; the same for all its interfaces.

    `after_s` is in seconds and set for "ttl" only.
    """

    rule: Literal["none", "ttl", "never"]
    after_s: float | None = None


class Place(_Model):
    """Where a Pod runs: its node and what the node is in the cloud."""

    node: str
    instance_id: str
    zone: str
    trunk_eni_id: str | None


class Address(_Model):
    """An ENI and all that came with it."""

    eni: str
    mac: str
    vpc: str
    vswitch: str
    zone: str
    ipv4: str
    ipv6: str | None = None
    ipv4_cidr: str = ""
    ipv6_cidr: str = ""
    security_group_ids: tuple[str, ...] = ()
    resource_group_id: str = ""


class Requested(_Model):
    """A scheduled Pod asks for an interface of its own."""

    kind: Literal["requested"] = "requested"
    cluster: str
    namespace: str
    pod: str
    interface: str
    pod_uid: str
    node: str
    terms: Terms
    retention: Retention


class Lifetime(_Model):
    """How long an address outlives its Pod, and the words of it that the PodENI shows."""

    retention: Retention
    allocation_type: Literal["Elastic", "Fixed"]
    release_strategy: str = ""
    release_after: str = ""


class Claimed(_Model):
    """A new Pod of the same name takes over the reservation.

    `lifetime` is what the new Pod asks for, where that is something else than before.
    """

    kind: Literal["claimed"] = "claimed"
    pod_uid: str
    node: str
    lifetime: Lifetime | None = None


class GoneReported(_Model):
    """Hearsay: the holder is said to be gone. A live look decides."""

    kind: Literal["gone-reported"] = "gone-reported"
    pod_uid: str
    how: Literal["deleted", "terminal", "replaced", "unlisted"]


class GoneRefuted(_Model):
    """The live look found the holder running: the report was wrong."""

    kind: Literal["gone-refuted"] = "gone-refuted"
    pod_uid: str


class AbsenceConfirmed(_Model):
    """The live look found the holder gone or terminal: from here its absence counts."""

    kind: Literal["absence-confirmed"] = "absence-confirmed"
    pod_uid: str
    found: Literal["absent", "terminal", "replaced"]
    ttl_due: datetime | None = None


class TtlRestarted(_Model):
    """Pods may have come and gone unseen: absence counts anew from here (P2).

    `gap` names the stretch of the cluster's history that was not observed.
    """

    kind: Literal["ttl-restarted"] = "ttl-restarted"
    gap: str
    ttl_due: datetime


class ReleaseRequested(_Model):
    """A person wants the address released: by command, or by deleting the PodENI of this uid."""

    kind: Literal["release-requested"] = "release-requested"
    how: Literal["command", "podeni-deleted"]
    by: str
    reason: str
    podeni_uid: str = ""


class ReleaseWithdrawn(_Model):
    """The live look found the PodENI standing: nobody deleted it, the report was wrong."""

    kind: Literal["release-withdrawn"] = "release-withdrawn"
    podeni_uid: str


class ReleaseAwaited(_Model):
    """Its time has come and a look at this version found no Pod: what happened up to there must have
    been taken in before the reservation ends (P2)."""

    kind: Literal["release-awaited"] = "release-awaited"
    resource_version: int


class ReleaseDecided(_Model):
    """The address goes back: from here it serves no Pod of this name any more."""

    kind: Literal["release-decided"] = "release-decided"
    why: Literal["elastic", "ttl", "requested", "never-allocated"]
    note: str = ""


class SecurityGroupsAsked(_Model):
    """A person wants an existing ENI in these security groups."""

    kind: Literal["security-groups-asked"] = "security-groups-asked"
    security_group_ids: tuple[str, ...]
    by: str
    reason: str


class Adopted(_Model):
    """An ENI was taken into the book as it was found, on a person's order; nothing was called.

    `inferred` says where each fact is from. `stands`: bound, a Pod uses it; wanted, it is on its way to
    or from one; reserved, it is kept for the name; disputed, its PodENI names what another allocation
    holds, and only the PodENI is this one's. `motion` is the ENI's, where a Pod does not just use it;
    "" where it is attached to nothing. `attached_for` is an earlier Pod that it is attached for.
    """

    kind: Literal["adopted"] = "adopted"
    address: Address
    place: Place | None
    vlan: int | None
    eni_type: str
    podeni_uid: str
    inferred: tuple[str, ...]
    stands: Literal["bound", "wanted", "reserved", "disputed"] = "bound"
    podeni_phase: Literal["Initial", "Bind", "Detaching", "Unbind", "Deleting"] = "Bind"
    motion: Literal["", "attaching", "attached", "detaching"] = "attached"
    attached_for: str = ""
    absent_since: datetime | None = None
    ttl_due: datetime | None = None


class Placed(_Model):
    """The facts about the Pod's node that the next attach will use."""

    kind: Literal["placed"] = "placed"
    place: Place


class CallIntended(_Model):
    """Written, and committed, before the call is made."""

    kind: Literal["call-intended"] = "call-intended"
    intent: UUID
    api: Api
    client_token: str | None
    parameters: dict[str, str]
    deadline: datetime


class CallDone(_Model):
    """The call took effect. `settled_by` says whether the cloud answered or a later look found it."""

    kind: Literal["call-done"] = "call-done"
    intent: UUID
    settled_by: Literal["answer", "look"]
    request_id: str
    address: Address | None = None
    already_gone: bool = False


class CallRefused(_Model):
    """The cloud said no; nothing happened. `throttled` says that only the rate was wrong."""

    kind: Literal["call-refused"] = "call-refused"
    intent: UUID
    code: str
    message: str
    request_id: str
    throttled: bool = False


class CallUnknown(_Model):
    """No usable answer: the call may have taken effect. It stays open until a look settles it."""

    kind: Literal["call-unknown"] = "call-unknown"
    intent: UUID
    code: str
    message: str


class CallUndone(_Model):
    """A look after the deadline found that the call never took effect."""

    kind: Literal["call-undone"] = "call-undone"
    intent: UUID
    request_id: str


class CallRepeated(_Model):
    """The same create is sent again under the same client token, which the cloud answers with the
    same ENI if the first one did take effect."""

    kind: Literal["call-repeated"] = "call-repeated"
    intent: UUID
    deadline: datetime


class Attached(_Model):
    """A look found the ENI in use where it was meant to be."""

    kind: Literal["attached"] = "attached"
    instance_id: str
    trunk_eni_id: str | None
    vlan: int | None
    eni_type: str


class AttachFailed(_Model):
    """A look found the ENI available again after an accepted attach: it fell back."""

    kind: Literal["attach-failed"] = "attach-failed"
    status: str


class Detached(_Model):
    """A look found the ENI available: nothing uses it."""

    kind: Literal["detached"] = "detached"


class EniGone(_Model):
    """A look no longer found the ENI: its addresses are free."""

    kind: Literal["eni-gone"] = "eni-gone"
    expected: bool


class PodEniWritten(_Model):
    """The PodENI was written into this phase."""

    kind: Literal["podeni-written"] = "podeni-written"
    phase: Literal["Initial", "Bind", "Detaching", "Unbind", "Deleting", "Gone"]
    uid: str


class PodEniRestored(_Model):
    """A PodENI at rest did not show what is held, and was written back in place.

    `differed` are the paths that did, `by` who wrote it last as far as the API server tells. The
    uid is another one where the PodENI had vanished.
    """

    kind: Literal["podeni-restored"] = "podeni-restored"
    uid: str
    differed: tuple[str, ...]
    by: str


class Released(_Model):
    """The end: ENI, addresses and PodENI are gone."""

    kind: Literal["released"] = "released"


class Returned(_Model):
    """The cluster was given back to another controller with this as it is: the ENI and its PodENI stay,
    and what becomes of them is no longer known here."""

    kind: Literal["returned"] = "returned"
    to: str
    by: str
    reason: str


class Parked(_Model):
    """Nothing further is tried until a person or a new event changes something."""

    kind: Literal["parked"] = "parked"
    reason: str
    next_step: str
    disputed: Address | None = None
    with_allocation: UUID | None = None


class Unparked(_Model):
    """Work goes on."""

    kind: Literal["unparked"] = "unparked"
    by: str


class OpenPeriod(_Model):
    """The period of holding that lasts: which version opened it, and when."""

    opened_by: int
    since: datetime


class OpenCall(_Model):
    """A cloud call without an outcome yet, as its intent and the repetitions left it."""

    intent: UUID
    api: Api
    client_token: str | None
    parameters: dict[str, str]
    intended_at: datetime
    deadline: datetime


class CarriedForward(_Model):
    """What still held when older entries of the story went to an archive: the state is folded from here.

    `state` is the whole allocation just before this entry, as `ledger.allocation.state` has it;
    `disputed` are the ENIs that the story so far was parked over.
    """

    kind: Literal["carried-forward"] = "carried-forward"
    state: dict[str, Any]
    period: OpenPeriod | None = None
    calls: tuple[OpenCall, ...] = ()
    disputed: tuple[str, ...] = ()


Entry = Annotated[
    Requested
    | Claimed
    | GoneReported
    | GoneRefuted
    | AbsenceConfirmed
    | TtlRestarted
    | ReleaseRequested
    | ReleaseWithdrawn
    | ReleaseAwaited
    | ReleaseDecided
    | SecurityGroupsAsked
    | Adopted
    | Placed
    | CallIntended
    | CallDone
    | CallRefused
    | CallUnknown
    | CallUndone
    | CallRepeated
    | Attached
    | AttachFailed
    | Detached
    | EniGone
    | PodEniWritten
    | PodEniRestored
    | Released
    | Returned
    | Parked
    | Unparked
    | CarriedForward,
    Field(discriminator="kind"),
]

_ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)


def read_entry(kind: str, data: dict[str, object]) -> Entry:
    """The entry stored under `kind` with `data`; raises pydantic.ValidationError for an unknown one."""
    return _ENTRY.validate_python({"kind": kind, **data})
