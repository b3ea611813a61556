"""How long a Pod's interface took from being asked for to being bound, stage by stage.

Pure: the times are those that the ledger recorded, so that they say the same whoever asks.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from ledger.rules.allocation import Recorded
from ledger.rules.entries import (
    Attached,
    CallDone,
    CallIntended,
    Claimed,
    Entry,
    PodEniWritten,
    Requested,
)

#: wait: asked for until the first cloud call is intended; create: until the ENI exists (absent
#: where it existed); attach: until it is in use on the node; write: until the PodENI says Bind.
Stage = Literal["wait", "create", "attach", "write", "all"]


def bind_times(story: Sequence[Recorded]) -> dict[Stage, float]:
    """Seconds of each stage of the newest bind; of an allocation's entries, in order.

    Empty where the story does not begin with a request or claim, or was bound more than once since:
    a PodENI that is written again is no Pod that waited.
    """
    asked = _last(story, Requested, Claimed)
    if asked is None:
        return {}
    since = [each for each in story if each.version >= asked.version]
    bound = [each for each in since if _is_bind(each.entry)]
    if len(bound) != 1:
        return {}
    at = asked.recorded_at
    times: dict[Stage, float] = {}
    intended = next((each for each in since if isinstance(each.entry, CallIntended)), None)
    created = next(
        (each for each in since if isinstance(each.entry, CallDone) and each.entry.address), None
    )
    attached = _last(since, Attached)
    stages: tuple[tuple[Stage, Recorded | None], ...] = (
        ("wait", intended),
        ("create", created),
        ("attach", attached),
        ("write", bound[0]),
    )
    for stage, ended in stages:
        if ended is not None:
            times[stage] = _seconds(at, ended.recorded_at)
            at = ended.recorded_at
    return {**times, "all": _seconds(asked.recorded_at, bound[0].recorded_at)}


def _is_bind(entry: Entry) -> bool:
    return isinstance(entry, PodEniWritten) and entry.phase == "Bind"


def _last(story: Sequence[Recorded], *kinds: type) -> Recorded | None:
    return next((each for each in reversed(story) if isinstance(each.entry, kinds)), None)


def _seconds(since: datetime, until: datetime) -> float:
    return max(0.0, (until - since).total_seconds())
