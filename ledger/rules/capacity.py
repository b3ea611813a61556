"""When a vSwitch will be full if it goes on like this, how sure that is, and when to say so.

The trend is the middle of all slopes between moments whole days apart (Theil and Sen): a single burst
does not move it, and the hours of the day cancel out. Its range is what nine of ten slopes lie
in. Rejected: a least-squares line, which one deployment bends; and a model with seasons, which
would need months of history and could not be explained to the person it wakes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import quantiles

DAY = timedelta(days=1)
#: How far back a trend looks, and from how much history on there is one.
WINDOW, NEEDED = timedelta(days=7), timedelta(days=2)
STEP = timedelta(hours=6)
#: Beyond this a straight line is no forecast.
HORIZON = timedelta(days=365)
#: A person should hear of a vSwitch that is full within this time.
SOON = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Held:
    """How many addresses of a vSwitch were held at a moment."""

    at: datetime
    count: int


@dataclass(frozen=True, slots=True)
class Trend:
    """Addresses more a day, the likely figure and its range; and when none is left at each pace.

    A time is None where that pace does not fill it within a year.
    """

    per_day: float
    per_day_low: float
    per_day_high: float
    full: datetime | None
    full_earliest: datetime | None
    full_latest: datetime | None


@dataclass(frozen=True, slots=True)
class NoTrend:
    """There is nothing to foresee by, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Use:
    """How a vSwitch is used. `size` is None where its block is not known; `free` is an estimate."""

    size: int | None
    free: int
    reserved: int
    reserved_for_ever: int


def trend_of(history: Sequence[Held], free: int, now: datetime) -> Trend | NoTrend:
    """What `history` (oldest first, at steps that divide a day) says of the next year.

    History begins with the first address that was ever held: emptiness before it is no trend.
    """
    begun = next((i for i, held in enumerate(history) if held.count > 0), None)
    if begun is None:
        return NoTrend("nothing was held here")
    known = history[begun:]
    covered = known[-1].at - known[0].at
    if covered < NEEDED:
        days = covered / DAY
        return NoTrend(f"{days:.1f} days of history, and {NEEDED / DAY:.0f} are needed")
    slopes = sorted(
        (later.count - earlier.count) / ((later.at - earlier.at) / DAY)
        for index, earlier in enumerate(known)
        for later in known[index + 1 :]
        if (later.at - earlier.at) % DAY == timedelta()
    )
    if len(slopes) < 2:
        return NoTrend("its history has no moments whole days apart")
    tenths = quantiles(slopes, n=20, method="inclusive")
    low, likely, high = tenths[0], tenths[9], tenths[18]
    return Trend(
        likely, low, high, _full(free, likely, now), _full(free, high, now), _full(free, low, now)
    )


def warning_of(use: Use, trend: Trend | NoTrend, now: datetime) -> str | None:
    """Why a person should look at a vSwitch, the most pressing reason; None when all is well."""
    kept = (
        f"{use.reserved} are kept for Pods that are away, {use.reserved_for_ever} of them for ever"
    )
    if use.free == 0:
        return f"no address is left; {kept}"
    if use.size is not None and use.free * 20 <= use.size:
        return f"{use.free} of {use.size} addresses are left; {kept}"
    if isinstance(trend, Trend) and trend.full is not None and trend.full - now <= SOON:
        return f"it is full in {_days(trend.full - now)} ({range_of(trend, now)}); {kept}"
    if use.size is not None and use.free * 4 <= use.size and use.reserved >= use.free:
        return f"{use.free} of {use.size} addresses are left, fewer than are reserved: {kept}"
    return None


def range_of(trend: Trend, now: datetime) -> str:
    """The range of a forecast in words."""
    ends = [
        _days(end - now) if end is not None else "not within a year"
        for end in (trend.full_earliest, trend.full_latest)
    ]
    return f"between {ends[0]} and {ends[1]}" if ends[0] != ends[1] else f"about {ends[0]}"


def _full(free: int, per_day: float, now: datetime) -> datetime | None:
    if free <= 0:
        return now
    if per_day <= 0 or free / per_day > HORIZON / DAY:
        return None
    return now + DAY * (free / per_day)


def _days(left: timedelta) -> str:
    hours = left / timedelta(hours=1)
    return f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"
