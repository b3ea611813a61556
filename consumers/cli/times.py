"""Times as people write them. Pure: what now is, and the user's zone, are given.

Understood are ISO 8601 (`2026-01-31T14:03:00+08:00`, `2026-01-31 14:03`, `2026-01-31`), `now`, times
back from now (`2h ago`, `1h30m ago`, `3 days ago`, `-90m`; a day is 24 hours), and days with an
optional time of day (`14:03`, `today 9:30`, `yesterday 14:03`, `last tuesday at 14:03`; a weekday is
the last one before today). Rejected: a library that also reads `next spring` and guesses between
3/4 and 4/3: an audit must not answer for another moment than the one that was meant.
"""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

UNDERSTOOD = (
    "write 2026-01-31T14:03:00+08:00, '90m ago', '2h30m ago', -90m, '14:03', 'yesterday 14:03' or "
    "'last tuesday 14:03'"
)
#: Before this nobody kept a ledger of ENIs; earlier times are typing mistakes.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AMOUNT = re.compile(
    r"(\d{1,9})\s*(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)(?=\d|\s|$)\s*"
)
_DAY = re.compile(
    r"(?:(today|yesterday|(?:last\s+)?(?:mon|tues|wednes|thurs|fri|satur|sun)day)(?:\s+at)?)?"
    r"\s*(?:(\d{1,2}):(\d{2})(?::(\d{2}))?)?"
)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class MomentError(ValueError):
    """A time that can't be read, or is no time to ask about: says why and what is understood."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A time that was read. `assumed`: it named no zone, and the user's was taken."""

    at: datetime
    assumed: bool = False


def read_moment(text: str, now: datetime, zone: tzinfo | None = None) -> Moment:
    """The moment that `text` means; `zone` is the user's, None the machine's own.

    Raises MomentError for what isn't understood, for a local time that a change of clocks made
    ambiguous, and for times before 2000.
    """
    words = " ".join(text.strip().lower().split())
    try:
        found = _read(words, text.strip(), now, zone)
        if found.at < EARLIEST:
            raise MomentError(f"{text!r} is {found.at.isoformat()}: before any ledger was kept")
    except OverflowError as beyond:
        raise MomentError(f"{text!r} is beyond all calendars: {UNDERSTOOD}") from beyond
    return found


def read_cut(text: str, now: datetime, zone: tzinfo | None = None) -> Moment:
    """The moment before which something is old: an age (`2y`, `90d`, `18 weeks`) or a time.

    A year is one of the calendar. Raises MomentError like `read_moment`.
    """
    words = " ".join(text.strip().lower().split())
    years = re.fullmatch(r"(\d{1,3}) ?y(?:ears?)?", words)
    if years is not None:
        year = now.year - int(years[1])
        if year < EARLIEST.year:
            raise MomentError(f"{text!r} is before any ledger was kept")
        day = min(now.day, monthrange(year, now.month)[1])
        return Moment(now.replace(year=year, day=day))
    if words and "".join(part[0] for part in _AMOUNT.finditer(words)) == words:
        return read_moment(f"{words} ago", now, zone)
    return read_moment(text, now, zone)


def _read(words: str, text: str, now: datetime, zone: tzinfo | None) -> Moment:
    if words == "now":
        return Moment(now)
    back = re.fullmatch(r"-(.+)|(.+) ago", words)
    if back is not None:
        return Moment(now - _duration(back[1] or back[2], text))
    day = _DAY.fullmatch(words)
    if words and day is not None:
        return Moment(_local(_of_day(day, text, now.astimezone(zone).date()), text, zone), True)
    try:
        given = datetime.fromisoformat(text)
    except ValueError as wrong:
        raise MomentError(f"{text!r} is no time: {UNDERSTOOD}") from wrong
    if given.tzinfo is not None:
        return Moment(given.astimezone(UTC))
    return Moment(_local(given, text, zone), True)


def _duration(words: str, text: str) -> timedelta:
    parts = list(_AMOUNT.finditer(words))
    if not parts or "".join(part[0] for part in parts) != words:
        raise MomentError(f"{text!r} is no time: {UNDERSTOOD}")
    return sum((timedelta(**{_UNITS[p[2][0]]: int(p[1])}) for p in parts), timedelta())


def _of_day(match: re.Match[str], text: str, today: date) -> datetime:
    name, hour, minute, second = match.groups()
    try:
        of_day = time(int(hour or 0), int(minute or 0), int(second or 0))
    except ValueError as wrong:
        raise MomentError(f"{text!r}: {wrong}; {UNDERSTOOD}") from wrong
    back = 0
    if name == "yesterday":
        back = 1
    elif name not in (None, "today"):
        back = (today.weekday() - _WEEKDAYS.index(name.split()[-1])) % 7 or 7
    return datetime.combine(today - timedelta(days=back), of_day)


def _local(naive: datetime, text: str, zone: tzinfo | None) -> datetime:
    """The naive time in the user's zone; refuses one that was twice or never there."""

    def aware(fold: int) -> datetime:
        folded = naive.replace(fold=fold)
        return folded.replace(tzinfo=zone) if zone is not None else folded.astimezone()

    if aware(0).utcoffset() != aware(1).utcoffset():
        raise MomentError(
            f"{text!r}: clocks were changed just then; say which with an offset, for example "
            f"{aware(0).isoformat()}"
        )
    return aware(0)
