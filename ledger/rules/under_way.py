"""What is under way with an ENI: a call that is not settled, an attachment, and what refusals mean."""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from ledger.rules.entries import Api

#: The ENI is in the middle of something: the same call may be accepted later.
PASSING: Final = ("InvalidOperation", "Operation.", "IncorrectStatus")


#: Two codes for one condition (reference §5.3, terway PRs 75761cd1 and 2e90d624).
VSWITCH_FULL: Final = frozenset({"InvalidVSwitchId.IpNotEnough", "QuotaExceeded.PrivateIpAddress"})


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Intent(_Model):
    """A cloud call that was intended and isn't settled."""

    id: UUID
    api: Api
    client_token: str | None
    parameters: dict[str, str]
    intended_at: datetime
    deadline: datetime
    unknown: bool = False


class Attachment(_Model):
    """Where the ENI is attached, or on its way to or from.

    `pod_uid` is the Pod it was attached for: an attachment made for an earlier one is stale and is
    taken off first, even on the same node, because a force-deleted Pod's sandbox may still use it.
    """

    instance_id: str
    trunk_eni_id: str | None
    pod_uid: str
    motion: Literal["attaching", "attached", "detaching"]
    since: datetime
    vlan: int | None = None
    eni_type: str = ""
