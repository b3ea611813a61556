"""What a live look at a Pod decides: whether its holder is gone, and whether a reservation may end.

The only rules from which anything destructive follows (P2, P3, P11). Each takes a look that was
made at the API server itself, after the question was asked.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from ledger.rules import entries as e
from ledger.rules.allocation import Allocation, Phase
from ledger.rules.entries import Entry

#: How far back the first of the two looks at a reservation's end may lie.
AWAITED_AT_MOST = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class PodLook:
    """What the API server itself said of a Pod name. `uid` is None when there is no such Pod.

    `resource_version` is the list's: everything up to it has been seen by this look.
    """

    uid: str | None
    terminal: bool
    resource_version: int

    @property
    def running_uid(self) -> str | None:
        """The uid that may be using the network at the time of the look."""
        return None if self.terminal else self.uid


def judge_absence(a: Allocation, look: PodLook, now: datetime) -> tuple[Entry, ...]:
    """Answers a report that the holder is gone. Empty when the allocation has no holder to judge."""
    if a.phase not in (Phase.WANTED, Phase.BOUND):
        return ()
    if look.running_uid == a.pod_uid:
        return (e.GoneRefuted(pod_uid=a.pod_uid),)
    due = None
    if a.retention.rule == "ttl" and a.retention.after_s is not None:
        due = now + timedelta(seconds=a.retention.after_s)
    confirmed = e.AbsenceConfirmed(pod_uid=a.pod_uid, found=_found(a, look), ttl_due=due)
    why = _release_at_once(a)
    if why is None:
        return (confirmed,)
    return (confirmed, why)


def _found(a: Allocation, look: PodLook) -> Literal["absent", "terminal", "replaced"]:
    if look.uid is None:
        return "absent"
    return "terminal" if look.uid == a.pod_uid else "replaced"


def _release_at_once(a: Allocation) -> e.ReleaseDecided | None:
    """Why nothing is to be reserved for a holder that is gone; None when a reservation begins."""
    if a.release_requested is not None:
        return e.ReleaseDecided(why="requested", note=a.release_requested)
    if a.address is None:
        return e.ReleaseDecided(why="never-allocated")
    if a.retention.rule == "none":
        return e.ReleaseDecided(why="elastic")
    return None


@dataclass(frozen=True, slots=True)
class NotYet:
    """Why a reservation can't end now; a new event or a later look will tell more.

    `remember`: what to append all the same, so that a later look can refer to this one.
    """

    why: str
    remember: tuple[tuple[Allocation, Entry], ...] = ()


def release_is_due(a: Allocation, now: datetime) -> bool:
    """Whether a reservation has come to its end, so that a look decides."""
    if a.phase is not Phase.RESERVED:
        return False
    if a.release_requested is not None:
        return True
    return a.ttl_due is not None and a.ttl_due <= now


def judge_release(
    due: Sequence[Allocation],
    look: PodLook,
    watermark: int | None,
    served: Collection[str],
    now: datetime,
) -> tuple[tuple[Allocation, Entry], ...] | NotYet:
    """Which of these reservations, whose time has come, may end; why not, where none may.

    `watermark` is the resourceVersion up to which every Pod event has been taken in, or None where
    no producer sends watermarks: then the live look alone decides (P2). `served` are the Pods of
    this name that hold other interfaces: they did not ask for these.
    """
    found: list[tuple[Allocation, Entry]] = []
    waits: list[str] = []
    remember: list[tuple[Allocation, Entry]] = []
    for a in due:
        why = _kept(a, look, served, now)
        awaited = _awaited(a, now)
        if why is not None:
            waits.append(why)
        elif (
            a.release_requested is None
            and watermark is not None
            and watermark < min(look.resource_version, awaited or look.resource_version)
        ):
            waits.append("Pod events up to the look have not all been taken in")
            if awaited is None and not _still_to_come(a, watermark, look):
                remember.append((a, e.ReleaseAwaited(resource_version=look.resource_version)))
        elif a.release_requested is not None:
            found.append((a, e.ReleaseDecided(why="requested", note=a.release_requested)))
        else:
            found.append((a, e.ReleaseDecided(why="ttl", note=f"due {a.ttl_due}")))
    return tuple(found) if found or not waits else NotYet(waits[0], tuple(remember))


def _awaited(a: Allocation, now: datetime) -> int | None:
    """The version of an earlier look since its time has come, if that is still young.

    A look of now is always a little ahead of what was taken in: in a busy cluster the watermark
    would never reach it. So an earlier look says what must have been taken in, and this one that the
    Pod is still absent. It may not be old: a Pod may come and go between the two.
    """
    if a.awaited_version is None or a.awaited_at is None or now - a.awaited_at > AWAITED_AT_MOST:
        return None
    return a.awaited_version


def _still_to_come(a: Allocation, watermark: int, look: PodLook) -> bool:
    """Whether what an old look saw has not been taken in either: then a newer one adds nothing, and
    a log that stands still for hours must not fill the ledger. Versions may have begun anew."""
    known = a.awaited_version
    return known is not None and watermark < known <= look.resource_version


def _kept(a: Allocation, look: PodLook, served: Collection[str], now: datetime) -> str | None:
    """Why a reservation can't end now, whatever was taken in."""
    if not release_is_due(a, now):
        return "the reservation was extended"
    if look.running_uid == a.pod_uid:
        return "the Pod that was found gone is there"
    if a.release_requested is not None:
        return None  # it is off its Pod: who asks for it back gets a fresh one
    if look.running_uid is not None and look.running_uid not in served:
        return "a Pod of this name exists: its event will claim the reservation"
    return None


def restart_ttl_after_life(a: Allocation, pod_uid: str, now: datetime) -> e.TtlRestarted | None:
    """What the end of a Pod means that came and went before it was seen: absence counts anew (P2).

    None where the Pod is the allocation's own holder, or nothing is reserved.
    """
    if pod_uid == a.pod_uid:
        return None
    return restart_ttl(a, f"Pod {pod_uid} came and went unseen", now)


def restart_ttl(a: Allocation, gap: str, now: datetime) -> e.TtlRestarted | None:
    """What a gap in the observation means for a reservation held across it: its TTL counts anew.

    None where there is no TTL to restart, or this gap was counted already. It never shortens.
    """
    if a.phase not in (Phase.LEAVING, Phase.RESERVED) or a.gap == gap:
        return None
    if a.ttl_due is None or a.retention.after_s is None:
        return None
    due = max(a.ttl_due, now + timedelta(seconds=a.retention.after_s))
    return e.TtlRestarted(gap=gap, ttl_due=due)
