"""When a vSwitch will be full: a trend from the same hours of other days, its range, and when to warn."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from ledger.rules.capacity import (
    DAY,
    STEP,
    Held,
    NoTrend,
    Trend,
    Use,
    range_of,
    trend_of,
    warning_of,
)

NOW = datetime(2026, 3, 8, 12, tzinfo=UTC)


def history(count: Callable[[float], float], days: float = 7) -> list[Held]:
    """Samples of the last days; `count` is a function of the day, 0 the first."""
    steps = int(timedelta(days=days) / STEP)
    return [Held(NOW - STEP * (steps - i), round(count(i * STEP / DAY))) for i in range(steps + 1)]


def trend(count: Callable[[float], float], free: int = 100, days: float = 7) -> Trend:
    found = trend_of(history(count, days), free, NOW)
    assert isinstance(found, Trend)
    return found


def test_a_steady_growth_is_full_when_a_ruler_says_so() -> None:
    found = trend(lambda day: 100 + 12 * day, free=60)
    assert found.per_day == pytest.approx(12, abs=0.2)
    assert found.full is not None
    assert abs(found.full - (NOW + 5 * DAY)) < timedelta(hours=3)
    assert found.full_earliest is not None
    assert found.full_latest is not None
    assert found.full_earliest <= found.full <= found.full_latest
    assert range_of(found, NOW).startswith(("between 5 days and 5", "about 5 days"))


def test_the_hours_of_the_day_are_no_trend() -> None:
    found = trend(lambda day: 100 + 80 * (day % 1 > 0.4))
    assert (found.per_day, found.full, found.full_earliest) == (0, None, None)


def test_a_burst_and_its_end_do_not_bend_the_trend_but_widen_its_range() -> None:
    found = trend(lambda day: 100 + 4 * day + (90 if 3 <= day < 3.5 else 0))
    assert found.per_day == pytest.approx(4, abs=0.3)
    assert found.per_day_low < 4 < found.per_day_high


def test_what_shrinks_never_fills() -> None:
    found = trend(lambda day: 200 - 10 * day)
    assert (found.full, found.full_earliest, found.full_latest) == (None, None, None)
    assert range_of(found, NOW) == "about not within a year"


def test_beyond_a_year_nothing_is_foretold() -> None:
    assert trend(lambda day: 100 + day, free=1000).full is None


def test_a_full_one_is_full_now() -> None:
    assert trend(lambda day: 100 + day, free=0).full == NOW


@pytest.mark.parametrize(
    ("samples", "why"),
    [
        ([], "nothing was held"),
        (history(lambda day: 0), "nothing was held"),
        (history(lambda day: 5 * day, days=1.5), "1.2 days of history, and 2 are needed"),
        (history(lambda day: 9 if day > 5.1 else 0), "1.8 days of history, and 2 are needed"),
        ([Held(NOW - timedelta(hours=60), 1), Held(NOW, 9)], "whole days apart"),
    ],
)
def test_too_little_history_is_said_to_be_too_little(samples: list[Held], why: str) -> None:
    found = trend_of(samples, 100, NOW)
    assert isinstance(found, NoTrend)
    assert why in found.why


def test_emptiness_before_the_first_address_is_no_growth() -> None:
    found = trend(lambda day: 0 if day < 3 else 50)
    assert found.per_day == 0


STILL = NoTrend("new")


@pytest.mark.parametrize(
    ("use", "tends", "warns"),
    [
        (Use(252, 0, 3, 1), STILL, "no address is left; 3 are kept for Pods that are away, 1 of"),
        (Use(None, 0, 0, 0), STILL, "no address is left"),
        (Use(252, 12, 0, 0), STILL, "12 of 252 addresses are left"),
        (Use(252, 60, 60, 0), STILL, "fewer than are reserved"),
        (Use(252, 64, 64, 0), STILL, None),
        (Use(252, 60, 59, 0), STILL, None),
        (Use(252, 13, 0, 0), STILL, None),
        (Use(None, 5, 9, 9), STILL, None),
    ],
)
def test_when_a_person_is_told(use: Use, tends: NoTrend, warns: str | None) -> None:
    said = warning_of(use, tends, NOW)
    assert said is None if warns is None else warns in (said or "")


def test_a_person_is_told_before_it_fills_with_the_range_of_the_guess() -> None:
    growing = trend(lambda day: 60 + 12 * day, free=80)
    said = warning_of(Use(252, 80, 20, 5), growing, NOW)
    assert said is not None
    assert "it is full in 7 days (" in said
    assert "20 are kept for Pods that are away, 5 of them for ever" in said
    assert warning_of(Use(252, 80, 0, 0), trend(lambda day: 60 + 10 * day, free=80), NOW) is None
