"""Times as people write them: what is understood, in whose zone, and what is refused."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from consumers.cli.times import MomentError, read_cut, read_moment

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)  # a Wednesday, 20:30 in Shanghai


def at(day: int, hour: int = 0, minute: int = 0, second: int = 0, month: int = 11) -> datetime:
    return datetime(2026, month, day, hour, minute, second, tzinfo=SHANGHAI)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("now", NOW),
        ("2h ago", NOW - timedelta(hours=2)),
        ("-90m", NOW - timedelta(minutes=90)),
        ("1h30m ago", NOW - timedelta(minutes=90)),
        ("1 hour 30 minutes ago", NOW - timedelta(minutes=90)),
        ("  3 Days  ago ", NOW - timedelta(days=3)),
        ("1w ago", NOW - timedelta(weeks=1)),
        ("30s ago", NOW - timedelta(seconds=30)),
        ("2026-11-24T14:03:00+08:00", at(24, 14, 3)),
        ("2026-11-24T06:03:00Z", at(24, 14, 3)),
        ("20261124T060300Z", at(24, 14, 3)),
    ],
)
def test_times_that_need_no_zone(text: str, meant: datetime) -> None:
    read = read_moment(text, NOW, SHANGHAI)
    assert (read.at, read.assumed) == (meant, False)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-24T14:03", at(24, 14, 3)),
        ("2026-11-24 14:03:07", at(24, 14, 3, 7)),
        ("2026-11-24", at(24)),
        ("14:03", at(25, 14, 3)),
        ("today", at(25)),
        ("today 9:30", at(25, 9, 30)),
        ("yesterday 14:03", at(24, 14, 3)),
        ("Yesterday at 14:03:07", at(24, 14, 3, 7)),
        ("last Tuesday at 14:03", at(24, 14, 3)),
        ("tuesday", at(24)),
        ("wednesday 14:03", at(18, 14, 3)),  # today is one, and the last one before today is meant
        ("last thursday", at(19)),
    ],
)
def test_without_a_zone_the_users_is_meant_and_said(text: str, meant: datetime) -> None:
    read = read_moment(text, NOW, SHANGHAI)
    assert (read.at, read.assumed) == (meant, True)


def test_which_day_it_is_depends_on_the_zone() -> None:
    late = datetime(2026, 11, 24, 17, 0, tzinfo=UTC)  # the 25th already, in Shanghai
    assert read_moment("today", late, SHANGHAI).at == at(25)
    assert read_moment("today", late, UTC).at == datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "ago", " ago", "-", "-ago", "soon", "tomorrow", "next tuesday", "5 parsecs ago",
        "2 ago", "h ago", "2h", "1.5h ago", "-2h ago", "25:00", "12:60", "2026-13-01", "3/4/2026",
        "noon", "last year", "2h30 ago", "'; DROP TABLE x; --", "١٢:٠٣ago",
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(MomentError, match="'yesterday 14:03'"):
        read_moment(text, NOW, SHANGHAI)


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+14:00", "0001-01-01", "1999-12-31", "999999999w ago", "9999w ago"]
)
def test_absurd_times_are_refused(text: str) -> None:
    with pytest.raises(MomentError, match=r"beyond all calendars|before any ledger"):
        read_moment(text, NOW, SHANGHAI)


@pytest.mark.parametrize("text", ["2026-10-25 02:30", "2026-03-29 02:30"])
def test_a_time_that_was_twice_or_never_is_not_guessed(text: str) -> None:
    with pytest.raises(MomentError, match="clocks were changed"):
        read_moment(text, NOW, BERLIN)
    assert read_moment("2026-10-25T02:30+01:00", NOW, BERLIN).at == datetime(
        2026, 10, 25, 1, 30, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2y", datetime(2024, 11, 25, 12, 30, tzinfo=UTC)),
        ("1 year", datetime(2025, 11, 25, 12, 30, tzinfo=UTC)),
        ("90d", NOW - timedelta(days=90)),
        ("18 weeks", NOW - timedelta(weeks=18)),
        ("90d ago", NOW - timedelta(days=90)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_how_old_is_old(text: str, meant: datetime) -> None:
    assert read_cut(text, NOW, SHANGHAI).at == meant


def test_a_year_before_a_leap_day_is_the_last_of_february() -> None:
    leap = datetime(2028, 2, 29, 1, tzinfo=UTC)
    assert read_cut("1y", leap).at == datetime(2027, 2, 28, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "y", "2 fortnights", "100y", "2y 3d"])
def test_an_age_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MomentError):
        read_cut(text, NOW, SHANGHAI)
