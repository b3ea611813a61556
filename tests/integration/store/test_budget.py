"""P9: one budget for all: six takers on connections of their own, on a clock that the test moves.

The concurrency is real, the time is not: what may be granted by when is then a sum, and no
machine's load can change it.
"""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest

from consumers.runtime.settings import DEFAULT_RATE_LIMITS, CloudSettings
from ledger.store.database import Database
from ledger.store.work import Bucket, back_off, take_permit
from tests.simulation.ground import START, Ground

TAKERS = 6
DEADLINE_S = 60.0
SHARE = CloudSettings().budget_share
LIMIT = DEFAULT_RATE_LIMITS["AttachNetworkInterface"]
BUCKET = Bucket(
    "",
    "cn-hangzhou",
    "AttachNetworkInterface",
    LIMIT.per_minute / 60 * SHARE,
    int(LIMIT.burst * SHARE),
)
#: Refilling is done in floating point.
ROUNDING = 1e-6


class Takers:
    """Six of them, and the ledger's clock: `all_take` lets each take what it gets at this moment."""

    def __init__(self, dsn: str) -> None:
        self.ground = Ground(dsn)
        self.databases = [Database(dsn, pool_size=1, statement_timeout_s=30) for _ in range(TAKERS)]
        self.second = 0.0
        self._together = threading.Barrier(TAKERS)

    def at(self, second: float) -> None:
        self.second = second
        self.ground.set_clock(START + timedelta(seconds=second))

    def take(self, number: int, bucket: Bucket = BUCKET) -> float | None:
        """One try: None when taken, else the second at which to ask again."""
        with self.databases[number].transaction() as connection:
            again = take_permit(connection, bucket)
        return None if again is None else (again - START).total_seconds()

    def all_take(self, pool: ThreadPoolExecutor, bucket: Bucket = BUCKET) -> list[int]:
        """How many permits each got until it was refused."""

        def until_refused(number: int) -> int:
            self._together.wait(DEADLINE_S)
            return next(n for n in itertools.count() if self.take(number, bucket) is not None)

        return list(pool.map(until_refused, range(TAKERS)))

    def close(self) -> None:
        self.ground.close()
        for database in self.databases:
            database.close()


@pytest.fixture
def takers(database: str) -> Iterator[Takers]:
    takers = Takers(database)
    yield takers
    takers.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(TAKERS) as pool:
        yield pool


def check_windows(granted: list[tuple[float, int]], bucket: Bucket) -> None:
    """In no window more than the burst and what the rate gave in it."""
    for first, (began, _) in enumerate(granted):
        within = 0
        for ended, count in granted[first:]:
            within += count
            allowed = bucket.burst + bucket.per_second * (ended - began) + ROUNDING
            assert within <= allowed, f"{within} from {began} s to {ended} s: {allowed:.1f} allowed"


def test_p9_six_takers_use_all_of_the_budget_and_no_more(
    takers: Takers, pool: ThreadPoolExecutor
) -> None:
    dice = random.Random(9)
    granted: list[tuple[float, int]] = []
    second = 0.0
    while second < 45:
        takers.at(second)
        granted.append((second, sum(takers.all_take(pool))))
        # Never so long that the bucket would run over while nobody asks.
        second += dice.uniform(0.01, 0.9)
    check_windows(granted, BUCKET)
    total = sum(count for _, count in granted)
    assert total == int(BUCKET.burst + BUCKET.per_second * takers.second + ROUNDING)


def test_p9_a_pause_saves_up_no_more_than_the_burst(
    takers: Takers, pool: ThreadPoolExecutor
) -> None:
    granted = []
    for second in (0.0, 3600.0, 3600.0, 3600.1, 7200.0):
        takers.at(second)
        granted.append((second, sum(takers.all_take(pool))))
    assert [count for _, count in granted] == [BUCKET.burst, BUCKET.burst, 0, 0, BUCKET.burst]


def test_p9_whoever_is_refused_is_told_when_the_next_permit_is_there(
    takers: Takers, pool: ThreadPoolExecutor
) -> None:
    takers.at(0)
    takers.all_take(pool)
    again = takers.take(0)
    assert again is not None
    assert again == pytest.approx(1 / BUCKET.per_second, abs=0.002)
    takers.at(again - 0.01)
    assert takers.take(1) is not None
    takers.at(again + 0.001)
    assert takers.take(2) is None
    assert takers.take(3) is not None


def test_p9_who_waited_for_the_bucket_takes_by_the_time_it_gets_it(
    takers: Takers, pool: ThreadPoolExecutor, database: str
) -> None:
    """Counted by when it began to wait, its permit would leave room for a whole burst beside it."""
    takers.at(0)
    assert takers.take(0) is None
    with psycopg.connect(database) as blocking:
        blocking.execute("SELECT 1 FROM ledger.rate_bucket FOR UPDATE")
        taking = pool.submit(takers.take, 1)
        _wait_until(lambda: _waits_for_a_lock(database), "the taker waits for the bucket")
        takers.at(100)
    assert taking.result(DEADLINE_S) is None
    assert sum(takers.all_take(pool)) == BUCKET.burst - 1


def test_p9_what_one_is_told_all_obey(takers: Takers, pool: ThreadPoolExecutor) -> None:
    """After a throttling nobody calls until it is over, and then not with a burst in hand."""
    takers.at(0)
    assert takers.take(0) is None
    takers.at(100)
    with takers.databases[3].transaction() as connection:
        back_off(connection, BUCKET, START + timedelta(seconds=105))
    with takers.databases[4].transaction() as connection:  # a shorter one takes nothing back
        back_off(connection, BUCKET, START + timedelta(seconds=103))
    for second in (100.0, 103.0, 104.999):
        takers.at(second)
        assert takers.all_take(pool) == [0] * TAKERS
        assert takers.take(0) == pytest.approx(105 + 1 / BUCKET.per_second, abs=0.002)
    takers.at(105)
    assert sum(takers.all_take(pool)) == 0
    takers.at(106)
    assert sum(takers.all_take(pool)) == int(BUCKET.per_second)


def test_p9_budgets_of_apis_accounts_and_regions_are_apart(
    takers: Takers, pool: ThreadPoolExecutor
) -> None:
    takers.at(0)
    for bucket in (
        BUCKET,
        BUCKET._replace(api="DetachNetworkInterface"),
        BUCKET._replace(region="cn-beijing"),
        BUCKET._replace(account="another"),
    ):
        assert sum(takers.all_take(pool, bucket)) == BUCKET.burst


def _waits_for_a_lock(dsn: str) -> bool:
    with psycopg.connect(dsn) as connection:
        query = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        row = connection.execute(query).fetchone()
    return row == (1,)


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < until, f"not within {DEADLINE_S:g} s: {what}"
        time.sleep(0.01)
