"""One allocation's state: a Pod interface's ENI and addresses between request and release.

It comes about by `evolution.evolve` alone.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from ledger.rules.entries import Address, Entry, Place, Retention, Terms
from ledger.rules.under_way import Attachment, Intent


class Phase(StrEnum):
    """Where an allocation stands. `WANTED` to `RESERVED` serve the Pod name; the others no longer."""

    WANTED = "wanted"
    BOUND = "bound"
    LEAVING = "leaving"
    RESERVED = "reserved"
    RELEASING = "releasing"
    RELEASED = "released"


SERVING = frozenset({Phase.WANTED, Phase.BOUND, Phase.LEAVING, Phase.RESERVED})

# Restorations of a PodENI closer together than this count as one quarrel with whoever edits it.
RESTORED_LATELY = timedelta(hours=1)


class ImpossibleEntry(Exception):  # noqa: N818 - reads as what it says
    """An entry that can't follow the state: the rules have a bug, or a hand wrote into the book."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Recorded(_Model):
    """An entry with its place in the story."""

    allocation_id: UUID
    version: int
    recorded_at: datetime
    entry: Entry


class Allocation(_Model):
    """The state. Fields are None until the story reaches them."""

    id: UUID
    version: int
    cluster: str
    namespace: str
    pod: str
    interface: str
    phase: Phase
    pod_uid: str
    node: str
    terms: Terms
    retention: Retention
    created_at: datetime
    changed_at: datetime
    place: Place | None = None
    address: Address | None = None
    attachment: Attachment | None = None
    intent: Intent | None = None
    reported_gone: str | None = None
    absent_since: datetime | None = None
    ttl_due: datetime | None = None
    gap: str | None = None
    awaited_version: int | None = None
    awaited_at: datetime | None = None
    release_requested: str | None = None
    release_podeni: str | None = None
    released_why: str | None = None
    deleting_since: datetime | None = None
    podeni_phase: str | None = None
    podeni_uid: str | None = None
    podeni_outdated: bool = False
    found_gone: tuple[str, ...] = ()
    asked_security_groups: tuple[str, ...] | None = None
    restored_at: datetime | None = None
    restorations: int = 0
    exhausted_vswitches: dict[str, datetime] = {}
    parked: str | None = None

    @property
    def serving(self) -> bool:
        """Whether it still serves the Pod name (its slot is taken)."""
        return self.phase in SERVING

    @property
    def podeni_deleted_by_report(self) -> bool:
        """Whether its release rests on the report that a user deleted its PodENI."""
        return (self.release_requested or "").startswith("podeni-deleted ")

    @property
    def stale_attachment(self) -> bool:
        """Attached for an earlier Pod than the one it serves now."""
        return self.attachment is not None and self.attachment.pod_uid != self.pod_uid
