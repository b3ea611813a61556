"""What is written when the older entries of a story go to an archive, so that the rest needs them no more."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from ledger.rules.allocation import Allocation, Recorded
from ledger.rules.cloud_calls import CloudCall
from ledger.rules.entries import CarriedForward, OpenCall, OpenPeriod, Parked


def carried_forward(
    state: Allocation,
    period: tuple[int, datetime] | None,
    calls: Iterable[CloudCall],
    story: Iterable[Recorded],
) -> CarriedForward:
    """The entry that stands for a story so far: its state, and what of it is still open.

    `period` is the version that opened the lasting period, and when; `story` is the part of it that
    is at hand, an earlier carried-forward first where there was one.
    """
    return CarriedForward(
        state=state.model_dump(mode="json"),
        period=None if period is None else OpenPeriod(opened_by=period[0], since=period[1]),
        calls=tuple(_open(call) for call in calls if call.settled_at is None),
        disputed=_disputed(story),
    )


def carried_calls(entry: CarriedForward) -> dict[UUID, CloudCall]:
    """The open calls that an entry carries, by intent."""
    return {call.intent: CloudCall(**dict(call)) for call in entry.calls}


def _open(call: CloudCall) -> OpenCall:
    told = asdict(call)
    return OpenCall.model_validate({name: told[name] for name in OpenCall.model_fields})


def _disputed(story: Iterable[Recorded]) -> tuple[str, ...]:
    """ENIs that were disputed, each once: a sweep leaves them alone while the allocation is parked."""
    enis: dict[str, None] = {}
    for recorded in story:
        match recorded.entry:
            case Parked(disputed=disputed) if disputed is not None:
                enis[disputed.eni] = None
            case CarriedForward(disputed=earlier):
                enis.update(dict.fromkeys(earlier))
    return tuple(enis)
