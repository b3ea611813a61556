"""How much of a shared budget is taken at a moment, from what the bucket was left with."""

from datetime import UTC, datetime, timedelta

import pytest

from consumers.reconciler.measuring import used_ratio
from ledger.audit.figures import Bucket
from ledger.store.work import Bucket as Limit

AT = datetime(2026, 1, 1, tzinfo=UTC)
LIMIT = Limit("", "region", "Api", per_second=2, burst=10)


@pytest.mark.parametrize(
    ("tokens", "ago_s", "ratio"),
    [(0, 0, 1.0), (0, 2, 0.6), (0, 60, 0.0), (10, 0, 0.0), (-2, 0, 1.2), (5, -30, 0.5)],
)
def test_a_bucket_fills_with_time_and_no_further_than_its_burst(
    tokens: float, ago_s: float, ratio: float
) -> None:
    """A throttling leaves it below nothing; one that fills from a later moment on does not fill yet."""
    bucket = Bucket(tokens, AT - timedelta(seconds=ago_s), None)
    assert used_ratio(bucket, LIMIT, AT) == pytest.approx(ratio)
