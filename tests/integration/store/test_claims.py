"""P10: a claim on work is one worker's for exactly as long as it says, on a clock that the test moves."""

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest

from consumers.runtime.settings import ReconcilerSettings
from ledger.store.database import Database, ledger_now
from ledger.store.work import Claim, ClaimLost, WorkKey, claim, finish, hold_on, signal
from tests.simulation.ground import START, Ground

POD = WorkKey("c1", "pod", "example", "web-0")
HOLD = timedelta(seconds=ReconcilerSettings().claim_s)
FIRST, SECOND = UUID(int=1), UUID(int=2)


@pytest.fixture
def ground(database: str) -> Iterator[Ground]:
    ground = Ground(database)
    yield ground
    ground.close()


@pytest.fixture
def store(database: str, ground: Ground) -> Iterator[Database]:
    store = Database(database, pool_size=2)
    with store.transaction() as connection:
        signal(connection, [POD], START)
    yield store
    store.close()


def take(store: Database, token: UUID) -> list[Claim]:
    with store.transaction() as connection:
        return claim(connection, POD.cluster, token, ledger_now(connection), HOLD, limit=5)


def test_p10_idle_work_of_a_lost_worker_is_the_next_ones_after_five_seconds(
    ground: Ground, store: Database
) -> None:
    assert timedelta(seconds=5) == HOLD
    [lost] = take(store, FIRST)
    ground.set_clock(START + HOLD - timedelta(milliseconds=1))
    assert take(store, SECOND) == []
    ground.set_clock(START + HOLD)
    [won] = take(store, SECOND)
    assert (won.key, won.token) == (POD, SECOND)
    with pytest.raises(ClaimLost, match="example/web-0"), store.transaction() as connection:
        hold_on(connection, lost, START + HOLD * 3)
    with store.transaction() as connection:
        finish(connection, lost, None, ledger_now(connection))
    with store.transaction() as connection:
        hold_on(connection, won, START + HOLD * 3)


def test_p10_a_claim_that_is_kept_moves_only_after_what_it_was_kept_for(
    ground: Ground, store: Database
) -> None:
    [held] = take(store, FIRST)
    with store.transaction() as connection:
        hold_on(connection, held, START + timedelta(seconds=25))
    ground.set_clock(START + timedelta(seconds=24))
    assert take(store, SECOND) == []
    ground.set_clock(START + timedelta(seconds=25))
    assert [won.key for won in take(store, SECOND)] == [POD]


def test_p10_two_transactions_never_claim_the_same_work(ground: Ground, store: Database) -> None:
    with store.transaction() as first:
        assert len(claim(first, POD.cluster, FIRST, START, HOLD)) == 1
        assert take(store, SECOND) == [], "it is passed over, not waited for"
