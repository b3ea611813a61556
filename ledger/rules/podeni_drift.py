"""Whether a PodENI shows what its allocations hold, once everything under the name has come to rest.

Pure, and the one judge of it: what was heard of a PodENI makes its Pod's work due by this, the sweep
looks for what no event told by this, `verify` plans by this, and the Pod's own turn decides by this
on a live read. Restoring is bounded: whoever keeps editing is met ever more rarely.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ledger.rules.allocation import Allocation, Phase
from ledger.rules.podeni import ForeignPodEni, Object, next_restoring_write

#: The first pause after a restoration; doubled with each one within the hour.
RESTORE_PAUSE = timedelta(seconds=2)
RESTORE_PAUSE_MAX = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Deleted:
    """A user deleted it: whatever it shows is to be released once the Pod is away (P3)."""

    uid: str
    reason: str


@dataclass(frozen=True, slots=True)
class Differs:
    """It is not as it should be and is to be written back; `paths` are the fields that differ."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """The name is taken by a PodENI that must not be written; the text says why."""

    why: str


Judgement = Deleted | Differs | Taken


def at_rest(allocations: Sequence[Allocation]) -> tuple[Allocation, ...]:
    """The allocations that the PodENI of this name should show; none while anything moves.

    `allocations` are all under the name that aren't released.
    """
    if any(a.phase in (Phase.WANTED, Phase.LEAVING) for a in allocations):
        return ()
    if any(a.phase is Phase.RELEASING and a.podeni_phase is not None for a in allocations):
        return ()
    # Its Pod may have gone before the PodENI was made (W1): what was never shown was never deleted.
    shown = [a for a in allocations if a.phase is Phase.BOUND] or [
        a for a in allocations if a.phase is Phase.RESERVED and a.podeni_uid
    ]
    if not all(_still(a) for a in shown):
        return ()
    return tuple(sorted(shown, key=lambda a: a.interface))


def _still(a: Allocation) -> bool:
    if a.parked or a.intent is not None or a.address is None or a.reported_gone is not None:
        return False
    if a.phase is Phase.RESERVED:
        return a.release_requested is None
    attached = a.attachment is not None and a.attachment.motion == "attached"
    return attached and a.place is not None


def judge_podeni(
    live: Object | None, shown: Sequence[Allocation], now: datetime
) -> Judgement | None:
    """What is wrong with the PodENI that should show these allocations at rest; None: nothing.

    `live` is the object as last seen or just read (None: there is none). managedFields and the like
    may be missing from it. Gone while its Pod is bound it is made anew; gone while the addresses
    are reserved, a user has given them up.
    """
    uid = shown[0].podeni_uid or ""
    if live is None:
        if shown[0].phase is Phase.RESERVED:
            return Deleted(uid, "the PodENI is gone")
        return Differs(("the whole object",))
    metadata = live["metadata"]
    if metadata.get("deletionTimestamp"):
        asked = all(a.release_requested is not None for a in shown)
        return None if asked else Deleted(str(metadata.get("uid")), "the PodENI was deleted")
    try:
        paths = tuple(_differences(live, shown, now))
    except ForeignPodEni as foreign:
        return Taken(str(foreign))
    if metadata.get("uid") != uid:
        paths += ("metadata.uid",)
    return Differs(paths) if paths else None


def restorable_from(shown: Sequence[Allocation]) -> datetime | None:
    """Not before this may they be written back again; None: at once."""
    times = [
        a.restored_at + min(RESTORE_PAUSE * 2 ** min(a.restorations, 12), RESTORE_PAUSE_MAX)
        for a in shown
        if a.restored_at is not None and not a.podeni_outdated
    ]
    return max(times, default=None)


def last_writer(live: Object | None) -> str:
    """Who wrote the object last, by the API server's managedFields; says so where it can't tell."""
    entries = (live or {}).get("metadata", {}).get("managedFields") or []
    if not entries:
        return "unknown"
    newest = max(str(entry.get("time", "")) for entry in entries)
    managers = {str(entry.get("manager", "")) for entry in entries if entry.get("time") == newest}
    return f"{', '.join(sorted(managers))} at {newest}"


def _differences(live: Object, shown: Sequence[Allocation], now: datetime) -> Iterator[str]:
    """Where the writes that restore it would change it, without making them."""
    at = live
    for _ in range(3):
        write = next_restoring_write(at, shown, now, pod_runs=True)
        if write is None:
            return
        yield from _paths(at, write.obj, "")
        at = write.obj
    raise AssertionError("restoring a PodENI does not come to rest")


def _paths(before: Mapping[str, Any], after: Mapping[str, Any], above: str) -> Iterator[str]:
    for key in sorted({*before, *after}):
        was, becomes = before.get(key), after.get(key)
        path = f"{above}.{key}" if above else key
        if was == becomes or path == "status.podLastSeen":
            continue
        if isinstance(was, Mapping) and isinstance(becomes, Mapping):
            yield from _paths(was, becomes, path)
        else:
            yield path
