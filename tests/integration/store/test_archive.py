"""Retention: old entries move to archives; no answer changes, rebuild needs them no more, nothing is lost.

A simulated world leaves a ledger. Each example archives at cuts of its own in one transaction, holds
everything against what was before, and is rolled back.
"""

import contextlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from deploy.local.parts.postgres import PostgresServer, create_database, drop_database
from ledger.audit.past import MovedAway
from ledger.rules.seals import Head
from ledger.store import outbox
from ledger.store.archives import read_archives
from ledger.store.book import append_remark
from ledger.store.rebuild import check, rebuild
from ledger.store.seal import read_head
from ledger.store.tampering import examine
from tests.integration.store.archives import (
    answers,
    archive,
    held,
    published,
    rows,
    stamp_and_seal,
)
from tests.simulation.ground import Ground
from tests.simulation.world import CLUSTER, Crash, SimulatedWorld, elastic, fixed

SEEDS = (1, 2)
#: Archives want their entries to be a day old at least.
LATER = timedelta(days=3)


def live(world: SimulatedWorld, dice: random.Random, acts: int = 14) -> None:
    """Pods of every kind come, go and come back; a command, a remark, a crash amid a cloud call."""
    there: list[str] = []
    networks = {
        "ttl": [fixed("10m")], "never": [fixed(strategy="Never")], "elastic": [elastic()],
    }  # fmt: skip
    for act in range(acts):
        if len(there) > 2 and dice.random() < 0.5:
            world.delete_pod(there.pop(dice.randrange(len(there))))
        else:
            kind = dice.choice(sorted(networks))
            name = f"{kind}-{dice.randrange(3)}"
            if name not in there:
                world.create_pod(name, networks=networks[kind], node=f"node-h{dice.choice((1, 2))}")
                there.append(name)
        world.settle(dice.randint(1, 6))
        world.advance(timedelta(minutes=dice.choice((0, 0, 3, 12))))
        if act in (3, 9):
            with world.database.transaction() as connection:
                _remark(connection, act, world)
    with world.killed_at("after CreateNetworkInterface"), contextlib.suppress(Crash):
        world.create_pod("crashed", networks=[elastic()])
        world.settle(5)


def _remark(connection: Connection, act: int, world: SimulatedWorld) -> None:
    told = {"namespace": "example", "pod": "missed", "uid": f"uid-{act}"}
    append_remark(connection, CLUSTER, "missed-by-admission", told, {"by": "test"}, world.now())


class Lived:
    """A ledger that a story left, its entries sealed, days later."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        with ground.shared.transaction() as connection:
            stamp_and_seal(connection, 7)
            found = rows(
                connection,
                "SELECT e.recorded_at FROM ledger.feed f JOIN ledger.entry e ON e.id = f.entry_id "
                "ORDER BY f.position",
            )
            head = read_head(connection, CLUSTER)
        assert head is not None
        self.head: Head = head
        self.times: list[datetime] = [at for (at,) in found]
        ground.set_clock(self.times[-1] + LATER)

    @contextmanager
    def trying(self) -> Iterator[Connection]:
        """A transaction that never happened."""
        with self.ground.shared.engine.connect() as connection:
            yield connection
            connection.rollback()


@pytest.fixture(scope="module")
def ground(postgres_server: PostgresServer, migrated_template: str) -> Iterator[Ground]:
    dsn = create_database(postgres_server.dsn(), "archived", template=migrated_template)
    ground = Ground(dsn)
    yield ground
    ground.close()
    drop_database(postgres_server.dsn(), "archived")


@pytest.fixture(scope="module", params=SEEDS)
def lived(request: pytest.FixtureRequest, ground: Ground) -> Lived:
    ground.clear()
    world = SimulatedWorld(ground, request.param)
    live(world, random.Random(request.param))
    assert world.ground.rows("SELECT FROM ledger.cloud_call WHERE settled_at IS NULL")
    return Lived(ground)


def holds_all(connection: Connection, lived: Lived, before: dict[str, Any]) -> None:
    """Nothing differs but where entries are."""
    assert answers(connection, before["moments"]) == before["answers"]
    assert published(connection, len(lived.times)) == before["published"]
    assert check(connection) == []
    assert check(connection, with_archive=True) == []
    there = held(connection)
    assert rebuild(connection) > 0 or not rows(
        connection, "SELECT FROM ledger.entry WHERE version > 0"
    )
    assert held(connection) == there
    for table in ("tenure", "cloud_call", "allocation"):
        connection.exec_driver_sql(f"DELETE FROM ledger.{table}")
    rebuild(connection, with_archive=True)
    assert held(connection) == there
    stamp_and_seal(connection)
    verdict = examine(connection, [lived.head])
    assert (verdict.findings, verdict.agreeing, verdict.unseen) == ([], [lived.head], 0)


def known(tenures: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Who, what and when, and the entries behind it; not their contents, which are in the archive."""
    return [(*t[:20], *t[21:23], *t[24:27]) for t in tenures]


def move_away(connection: Connection, before: dict[str, Any]) -> None:
    """Without the archives: holders stay the same, what is missing is said, and rebuild can do without."""
    gone = [each.name for each in read_archives(connection)]
    entries = sum(each.entries for each in read_archives(connection))
    for name in gone:
        connection.exec_driver_sql(
            f"ALTER TABLE ledger.archived_entry DETACH PARTITION ledger.{name}"
        )
        connection.exec_driver_sql(f"DROP TABLE ledger.{name}")
    there = held(connection)
    assert check(connection) == []
    rebuild(connection)
    assert held(connection) == there
    verdict = examine(connection)
    assert (verdict.findings, verdict.unseen) == ([], entries)
    after = answers(connection, before["moments"])
    assert known(after["tenures"]) == known(before["answers"]["tenures"])
    for question, then in before["answers"].items():
        if question.startswith(("owner", "timeline")):
            assert known(after[question]) == known(then)
        if question.startswith(("states", "reservations 2")):
            now = after[question]
            assert now == then or (isinstance(now, MovedAway) and set(now.archives) <= set(gone))
    with pytest.raises(outbox.FeedBroken, match="which was moved away") as broken:
        outbox.read_unpublished(connection, 0, 10)
    assert broken.value.archive == gone[0]


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_p6_p7_no_answer_changes_wherever_the_cut_is(lived: Lived, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.sampled_from(lived.times), min_size=1, max_size=3)))
    at_most = data.draw(st.sampled_from([40, 10**6]))
    moments = data.draw(st.lists(st.sampled_from(lived.times), min_size=2, max_size=4))
    with lived.trying() as connection:
        before = {
            "moments": moments,
            "answers": answers(connection, moments),
            "published": published(connection, len(lived.times)),
        }
        moved = 0
        for cut in cuts:
            plan = archive(connection, cut, at_most)
            moved += plan.entries
            stamp_and_seal(connection)
            assert {each.last for each in read_archives(connection)} >= {
                each.last for each in plan.ranges
            }
        live = rows(connection, "SELECT count(*) FROM ledger.entry WHERE NOT kind = ANY(%(t)s)",
                    t=["carried-forward", "archived"])  # fmt: skip
        told = rows(connection, "SELECT count(*) FROM ledger.archived_entry WHERE kind = ANY(%(t)s)",
                    t=["carried-forward", "archived"])  # fmt: skip
        assert live[0][0] + moved - told[0][0] == len(lived.times)
        holds_all(connection, lived, before)
        if moved:
            assert told[0][0] or rows(
                connection, "SELECT FROM ledger.entry WHERE kind = 'archived'"
            )
            move_away(connection, before)
