"""Durations as Go writes them: `1h`, `2h45m`, `5m0s`, `1.5h`.

The grammar and its limits are those of Go's `time.ParseDuration` and `Duration.String`, because
`releaseAfter` of a PodNetworking is read that way by every other program that meets it.
"""

from datetime import timedelta

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, the micro sign
    "μs": 1_000,  # U+03BC, the Greek letter
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_DIGITS = frozenset("0123456789")
_INT64_MAX = (1 << 63) - 1


class DurationError(ValueError):
    """The text is not a Go duration; the message quotes it and shows what one looks like."""


def parse_go_duration(text: str) -> timedelta:
    """`text` as a timedelta, cut (towards zero) to whole microseconds.

    Raises DurationError for anything that Go refuses, among them `""`, `1d`, `5`, `1 h` and what
    doesn't fit in 64 bits of nanoseconds (about 292 years).
    """
    nanoseconds = parse_go_nanoseconds(text)
    microseconds = abs(nanoseconds) // 1_000
    return timedelta(microseconds=microseconds if nanoseconds >= 0 else -microseconds)


def parse_go_nanoseconds(text: str) -> int:
    """`text` as whole nanoseconds, exactly as Go computes them. Raises DurationError."""
    negative = text[:1] == "-"
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0  # the only number that needs no unit
    if not rest:
        raise _refused(text, "it is empty")
    total = 0
    while rest:
        term, rest = _first_term(text, rest)
        total += term
        if total > _INT64_MAX + 1:
            raise _refused(text, "it is longer than about 292 years")
    if negative:
        return -total
    if total > _INT64_MAX:
        raise _refused(text, "it is longer than about 292 years")
    return total


def format_go_duration(duration: timedelta) -> str:
    """`duration` as Go prints it: `1h0m0s`, `1.5s`, `300ms`, `0s`."""
    microseconds = duration // timedelta(microseconds=1)
    sign = "-" if microseconds < 0 else ""
    microseconds = abs(microseconds)
    if microseconds == 0:
        return "0s"
    if microseconds < 1_000:
        return f"{sign}{microseconds}µs"
    if microseconds < 1_000_000:
        return f"{sign}{_decimal(microseconds, 1_000)}ms"
    minutes, below_minute = divmod(microseconds, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{_decimal(below_minute, 1_000_000)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def _first_term(text: str, rest: str) -> tuple[int, str]:
    """The first number-and-unit of `rest` in nanoseconds, and what follows it."""
    whole, rest = _split_digits(rest)
    fraction = ""
    if rest[:1] == ".":
        fraction, rest = _split_digits(rest[1:])
    if not whole and not fraction:
        raise _refused(text, "a number is missing")
    length = 0
    while length < len(rest) and rest[length] != "." and rest[length] not in _DIGITS:
        length += 1
    unit, rest = rest[:length], rest[length:]
    if not unit:
        raise _refused(text, "a unit is missing")
    factor = _NANOSECONDS.get(unit)
    if factor is None:
        raise _refused(text, f"{unit[:20]!r} is not a unit")
    # Python refuses to turn thousands of digits into a number; 20 digits are beyond 64 bits anyway.
    significant = whole.lstrip("0")
    if len(significant) > 20:
        raise _refused(text, "it is longer than about 292 years")
    return int(significant or "0") * factor + _fraction_nanoseconds(fraction, factor), rest


def _fraction_nanoseconds(digits: str, factor: int) -> int:
    """What `0.<digits>` of a unit is worth: by 64-bit floats, as Go does, so that both agree."""
    numerator, scale = 0, 1.0
    for digit in digits:
        following = numerator * 10 + int(digit)
        if numerator > _INT64_MAX // 10 or following > _INT64_MAX + 1:
            break  # further digits are below a float's precision
        numerator, scale = following, scale * 10
    return int(float(numerator) * (float(factor) / scale))


def _split_digits(text: str) -> tuple[str, str]:
    length = 0
    while length < len(text) and text[length] in _DIGITS:
        length += 1
    return text[:length], text[length:]


def _decimal(value: int, unit: int) -> str:
    """`value / unit` without trailing zeros: 1500 of 1000 is `1.5`."""
    whole, part = divmod(value, unit)
    if not part:
        return str(whole)
    return f"{whole}." + str(part).rjust(len(str(unit)) - 1, "0").rstrip("0")


def _refused(text: str, cause: str) -> DurationError:
    shown = text if len(text) <= 60 else text[:57] + "..."
    return DurationError(
        f"{shown!r} is not a duration: {cause}; write it as Go does, for example 1h, 2h45m or 5m0s"
    )
