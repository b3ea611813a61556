"""The cloud as eni-ledger sees it: the calls, what they answer, and the three ways they can fail.

Synchronous on purpose: the official SDK's sync methods pool their connections, its async ones do
not, so an adapter is called from a bounded thread pool. One call of this port is ONE attempt at
the cloud. Retries, rate budgets and intents belong to the reconciler, which has the ledger to
decide by.

Field meanings follow the Alibaba Cloud ECS API (2014-05-26) and VPC API (2016-04-28).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Protocol, TypeVar

Value = TypeVar("Value")

# ENI states and types, as the cloud spells them.
AVAILABLE = "Available"
ATTACHING = "Attaching"
IN_USE = "InUse"
DETACHING = "Detaching"
DELETING = "Deleting"

PRIMARY = "Primary"
TRUNK = "Trunk"
MEMBER = "Member"

#: What CreateNetworkInterface is told unless the caller says otherwise.
DESCRIPTION = "interface create by eni-ledger"


# --- what is asked ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreateEni:
    """A CreateNetworkInterface request.

    The adapter always adds InstanceType=Secondary and SourceDestCheck=false (reference §8.2): an
    ENI becomes a Member when it is attached under a trunk. `client_token` (1..64 ASCII characters)
    is what makes a repetition after an unknown outcome safe: the cloud answers with the same ENI.
    `traffic_mode` is "" (the cloud's own default), "Standard" or "HighPerformance".
    """

    vswitch_id: str
    security_group_ids: tuple[str, ...]
    client_token: str
    tags: Mapping[str, str]
    delete_on_release: bool
    ipv6_count: int = 0
    resource_group_id: str = ""
    traffic_mode: str = ""
    description: str = DESCRIPTION


@dataclass(frozen=True, slots=True)
class EniQuery:
    """A DescribeNetworkInterfaces filter: conditions are joined by AND, empty ones are absent.

    A query without any condition asks for every ENI of the account in the region.
    """

    eni_ids: tuple[str, ...] = ()
    vpc_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    type: str | None = None
    status: str | None = None
    instance_id: str | None = None


# --- what is answered ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer(Generic[Value]):
    """What a call returned, with the request id the cloud's support asks for.

    Attributes:
        value: the call's result; None for calls that only acknowledge.
        request_id: of the call; of the last page where the call paged.
        already_gone: detach or delete found nothing to do: the ENI (or, for detach, its instance)
            no longer exists. The wish is fulfilled, but not by this call.
        calls: how many HTTP calls it took, each of which counts against the API's rate: more than
            one only where an answer had pages.
    """

    value: Value
    request_id: str
    already_gone: bool = False
    calls: int = 1


@dataclass(frozen=True, slots=True)
class Eni:
    """One elastic network interface as one look at the cloud showed it.

    Attributes:
        ipv4: primary private address. ipv6: first IPv6 address, if any.
        instance_id: the ECS instance it is attached to, also through a trunk.
        trunk_eni_id: the trunk it is a Member of.
        vlan: VLAN id under that trunk, which the API calls Attachment.DeviceIndex. Only Members
            have one: the DeviceIndex of other ENIs means something else and is not reported.
        created_at: aware, UTC.
    """

    id: str
    mac: str
    status: str
    type: str
    vpc_id: str
    vswitch_id: str
    zone: str
    ipv4: str
    ipv6: str | None
    security_group_ids: tuple[str, ...]
    instance_id: str | None
    trunk_eni_id: str | None
    vlan: int | None
    network_card_index: int | None
    tags: Mapping[str, str]
    created_at: datetime
    resource_group_id: str


@dataclass(frozen=True, slots=True)
class VSwitch:
    """A vSwitch. `available_ips` is an estimate by nature: others use the vSwitch too."""

    id: str
    vpc_id: str
    zone: str
    cidr: str
    ipv6_cidr: str | None
    available_ips: int


@dataclass(frozen=True, slots=True)
class InstanceTypeLimits:
    """How many ENIs and addresses an instance type carries (DescribeInstanceTypes)."""

    instance_type: str
    eni_quantity: int
    eni_total_quantity: int
    trunk_supported: bool
    ipv4_per_eni: int
    ipv6_per_eni: int

    @property
    def member_limit(self) -> int:
        """Member ENIs beside the full number of ordinary ENIs (reference §7.3)."""
        if not self.trunk_supported:
            return 0
        return max(0, self.eni_total_quantity - self.eni_quantity)


# --- how it fails -------------------------------------------------------------------------------


class CloudError(Exception):
    """A cloud call did not succeed. Which subclass says what that means for the cloud's state.

    Attributes:
        api: the API's name, e.g. "AttachNetworkInterface".
        code: the cloud's error code, "" where there was none (a time-out, an HTML body).
        message: the cloud's own words, or the transport's.
        request_id: "" where no answer carried one.
        subject: the object the call was about, e.g. an ENI id.

    str() is one sentence for an operator: API, object, code, request id and the next step.
    """

    next_step = "Look up the code in the ECS API reference."

    def __init__(
        self, api: str, code: str, message: str, request_id: str, *, subject: str = ""
    ) -> None:
        self.api = api
        self.code = code
        self.message = message
        self.request_id = request_id
        self.subject = subject
        about = f" {subject}" if subject else ""
        super().__init__(
            f"{api}{about}: {code or 'no error code'}: {message} "
            f"(request id {request_id or 'unknown'}). {self.next_step}"
        )

    def __reduce__(self) -> tuple[object, ...]:
        # The constructor's keyword would be lost by the default pickling of exceptions.
        told = {"api": self.api, "code": self.code, "message": self.message}
        return (
            _rebuild,
            (type(self), told | {"request_id": self.request_id, "subject": self.subject}),
        )


class Throttled(CloudError):  # noqa: N818 - reads as the outcome it names
    """The cloud took no notice of the call because of its rate. Nothing happened."""

    next_step = "Nothing happened; the call may be repeated once the rate has gone down."


class Refused(CloudError):  # noqa: N818 - reads as the outcome it names
    """A definite no. Nothing happened, and the same call will be refused again until what the
    code names has changed."""

    next_step = "Nothing happened; put right what the code names before repeating the call."


class Unknown(CloudError):  # noqa: N818 - reads as the outcome it names
    """The outcome is unknown: the call may or may not have taken effect, now or a little later."""

    next_step = "It may have taken effect; look at the cloud before repeating the call."


def _rebuild(kind: type[CloudError], told: Mapping[str, str]) -> CloudError:
    return kind(**told)


# --- the port -----------------------------------------------------------------------------------


class Cloud(Protocol):
    """The calls eni-ledger makes. Every one may raise Throttled, Refused or Unknown."""

    def create_eni(self, request: CreateEni) -> Answer[Eni]:
        """CreateNetworkInterface. The same client token and parameters give the same ENI again.

        Refused codes worth handling: InvalidVSwitchId.IpNotEnough, QuotaExceeded.PrivateIpAddress
        (this vSwitch is full), IdempotentFailed (the token was used with other parameters).
        """
        ...

    def attach_eni(
        self,
        eni_id: str,
        instance_id: str,
        trunk_eni_id: str | None,
        network_card_index: int | None,
    ) -> Answer[None]:
        """AttachNetworkInterface: starts an attach; describe until the ENI is InUse.

        It takes no client token: look at the ENI before repeating it.
        """
        ...

    def detach_eni(self, eni_id: str, instance_id: str, trunk_eni_id: str | None) -> Answer[None]:
        """DetachNetworkInterface: starts a detach; describe until the ENI is Available.

        InvalidEniId.NotFound and InvalidEcsId.NotFound are success with `already_gone`.
        """
        ...

    def delete_eni(self, eni_id: str) -> Answer[None]:
        """DeleteNetworkInterface: starts a deletion; describe until the ENI is absent.

        InvalidEniId.NotFound is success with `already_gone`.
        """
        ...

    def describe_enis(
        self, query: EniQuery, before_more: Callable[[], None] = lambda: None
    ) -> Answer[tuple[Eni, ...]]:
        """DescribeNetworkInterfaces, all pages (500 a page, ids in groups of 100).

        Each page is a call of its own for rate budgets: `before_more` is called before each page
        but the first, waits for what the next one needs, and may raise. Absent ENIs are simply not
        in the answer, which may be some seconds behind the truth. Ordered as the cloud orders.
        """
        ...

    def describe_vswitch(self, vswitch_id: str) -> Answer[VSwitch | None]:
        """DescribeVSwitches for one id; None where it does not exist."""
        ...

    def describe_instance_types(
        self, names: Sequence[str]
    ) -> Answer[tuple[InstanceTypeLimits, ...]]:
        """DescribeInstanceTypes; unknown names are not in the answer. No names: answers ()."""
        ...

    def modify_eni_security_groups(
        self, eni_id: str, security_group_ids: Sequence[str]
    ) -> Answer[None]:
        """ModifyNetworkInterfaceAttribute: replaces the ENI's security groups (1..10 ids)."""
        ...
