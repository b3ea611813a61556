"""Where a watcher is in one entity's history: pure values, moved by what the reflector hands over.

The rules (README.md): the watermark moves only over what Kafka has acknowledged; a list that is
older than anything known to have been observed means the API server's history began again, and
starts a new epoch.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from consumers.kube.reflector import Bookmark, Deleted, Event, Observed


@dataclass(frozen=True, slots=True)
class Place:
    """A place in an entity's history; places compare by epoch, then by resourceVersion."""

    epoch: int
    resource_version: int
    continuous_from: int


@dataclass(frozen=True, slots=True)
class Position:
    """What a heartbeat says.

    Attributes:
        epoch: of every message produced now.
        watermark: everything up to this resourceVersion was produced and acknowledged.
        continuous_from: there is no gap in the watching from here to the watermark.
        alive_at: wall time of the last proof that the watch is alive; None before the first.
        synced: whether a whole list was produced by this process.
        listing: whether a list is under way: its objects say nothing about the watermark.
        listed_version: resourceVersion of that list.
    """

    epoch: int = 0
    watermark: int = 0
    continuous_from: int = 0
    alive_at: datetime | None = None
    synced: bool = False
    listing: bool = False
    listed_version: int = 0

    @classmethod
    def inherited(cls, place: Place | None) -> "Position":
        """The position of a watcher that has just started, after the last place in the log."""
        if place is None:
            return cls()
        return cls(place.epoch, place.resource_version, place.continuous_from)


def adopt(position: Position, place: Place | None) -> Position:
    """Take over a place another watcher has published in a newer epoch.

    A place of the same epoch is not taken: our own watermark speaks for what we have produced.
    """
    if place is None or place.epoch <= position.epoch:
        return position
    return replace(
        position,
        epoch=place.epoch,
        watermark=place.resource_version,
        continuous_from=place.continuous_from,
    )


def begin_list(position: Position, version: int, highest: int) -> Position:
    """A list taken at `version` begins; `highest` was observed by someone in this epoch before
    it was asked for."""
    if version < max(position.watermark, highest):
        return replace(
            position,
            epoch=position.epoch + 1,
            watermark=0,
            continuous_from=0,
            listing=True,
            listed_version=version,
        )
    return replace(position, listing=True, listed_version=version)


def advance(position: Position, event: Event, now: datetime) -> Position:
    """The position after `event` was produced and acknowledged; `now` is when it was received."""
    if isinstance(event, Bookmark):
        if event.gap:
            position = replace(position, continuous_from=event.resource_version)
        fresh = not position.listing or event.resource_version == position.listed_version
        return replace(
            position,
            watermark=max(position.watermark, event.resource_version),
            alive_at=now if fresh else position.alive_at,
            listing=False,
            synced=True,
        )
    if isinstance(event, Observed | Deleted) and not position.listing:
        return replace(
            position, watermark=max(position.watermark, event.resource_version), alive_at=now
        )
    return position
