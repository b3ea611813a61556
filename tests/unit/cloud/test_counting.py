"""Requests are counted where they are sent, by API, outcome and a code that can't fill the memory."""

import pytest

from consumers.cloud import counting
from consumers.cloud.counting import CODES_MAX, OTHER, bounded, counted
from consumers.cloud.failures import failure
from consumers.cloud.port import CloudError


def told(api: str, outcome: str, code: str) -> float:
    value: float = counting.CALLS.labels(api, outcome, code)._value.get()
    return value


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (400, "Throttling.User", "throttled"),
        (403, "Forbidden.RAM", "refused"),
        (500, "InternalError", "unknown"),
        (None, "", "unknown"),
    ],
)
def test_what_is_raised_is_counted_and_goes_on(status: int | None, code: str, outcome: str) -> None:
    raised = failure("Api", subject="s", status=status, code=code, message="m", request_id="r")
    before = told("Api", outcome, code)
    with pytest.raises(CloudError), counted("Api"):
        raise raised
    assert told("Api", outcome, code) == before + 1


def test_what_is_answered_is_done() -> None:
    before = told("Api", "done", "")
    with counted("Api"):
        pass
    assert told("Api", "done", "") == before + 1


def test_codes_are_bounded() -> None:
    seen: set[str] = set()
    assert bounded("Forbidden.RAM", seen) == "Forbidden.RAM"
    assert bounded("<html>", seen) == OTHER
    assert bounded("x" * 81, seen) == OTHER
    for number in range(CODES_MAX):
        bounded(f"Code{number}", seen)
    assert bounded("OneMore", seen) == OTHER
    assert bounded("Forbidden.RAM", seen) == "Forbidden.RAM"
    assert len(seen) == CODES_MAX
