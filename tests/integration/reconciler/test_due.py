"""P2: what becomes due is taken up by itself: by its time within the poll, or at once when woken."""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import pytest

from consumers.reconciler import dispatch
from consumers.reconciler.dispatch import Dispatcher
from consumers.reconciler.pods import Outcome
from consumers.reconciler.tools import Tools
from consumers.runtime.settings import Settings
from ledger.store.database import Database
from ledger.store.work import Claim, WorkKey, signal
from tests.simulation.ground import START, Ground

POD = WorkKey("c1", "pod", "example", "db-0")
DEADLINE_S = 60.0


@pytest.fixture
def ground(database: str) -> Iterator[Ground]:
    ground = Ground(database)
    yield ground
    ground.close()


@pytest.fixture
def tools(ground: Ground) -> Iterator[Tools]:
    """The ledger alone: what is done about the work is not tried here."""
    store = Database(ground.dsn, pool_size=3)
    nothing: Any = None
    yield Tools(store, nothing, nothing, Settings(cluster_id="c1"), uuid4, random.Random(1))
    store.close()


def due_at(tools: Tools, at: datetime) -> None:
    with tools.database.transaction() as connection:
        signal(connection, [POD], at)


@pytest.mark.parametrize(
    ("due_s", "sleeps"), [(None, 1.0), (3600, 1.0), (1.5, 1.0), (0.4, 0.4), (0, 0.01), (-5, 0.01)]
)
def test_p2_nobody_sleeps_past_what_is_due_nor_longer_than_a_second(
    tools: Tools, due_s: float | None, sleeps: float
) -> None:
    if due_s is not None:
        due_at(tools, START + timedelta(seconds=due_s))
    assert Dispatcher(tools)._until_due() == pytest.approx(sleeps)
    assert Dispatcher.POLL_S <= 1.0


def test_p2_a_due_time_that_comes_is_noticed_with_nobody_to_say_so(
    ground: Ground, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_up: list[datetime] = []
    done = threading.Event()

    def turn(tools: Tools, held: Claim) -> Outcome:
        taken_up.append(tools.now())
        done.set()
        return Outcome(None)

    monkeypatch.setitem(cast(dict[str, Any], dispatch._TURNS), "pod", turn)
    due = START + timedelta(hours=1)
    due_at(tools, due)
    dispatcher = Dispatcher(tools)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(dispatcher.run)
        ground.set_clock(due - timedelta(milliseconds=1))
        assert not done.wait(2.5), "taken up before it was due"
        ground.set_clock(due)
        assert done.wait(DEADLINE_S)
        dispatcher.stop()
        running.result(DEADLINE_S)
    assert taken_up == [due]
