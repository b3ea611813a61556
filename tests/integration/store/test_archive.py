"""Retention: old entries move to archives; no answer changes, rebuild needs them no more, nothing is lost.

A simulated world leaves a ledger. Each example archives at cuts of its own in one transaction, holds
everything against what was before, and is rolled back.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from deploy.local.parts.postgres import PostgresServer, create_database, drop_database
from ledger.audit.past import MovedAway
from ledger.rules.allocation import Allocation
from ledger.rules.entries import Parked
from ledger.rules.seals import Head
from ledger.store import archiving, outbox, sweeps
from ledger.store.archives import read_archives
from ledger.store.archiving import NotArchivable
from ledger.store.book import Story, append_remark, record
from ledger.store.rebuild import check, rebuild
from ledger.store.seal import read_head
from ledger.store.tampering import examine
from tests.integration.store.archives import (
    answers,
    archive,
    held,
    live,
    published,
    rows,
    stamp_and_seal,
)
from tests.simulation.ground import Ground
from tests.simulation.world import CLUSTER, SimulatedWorld

SEEDS = (1, 2)
#: Archives want their entries to be a day old at least.
LATER = timedelta(days=3)


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
    max_examples=6,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
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


# ------------------------------------------------------------------------------ what is refused


def refused(connection: Connection, statement: str) -> str:
    """What a statement is refused with; the transaction goes on."""
    with pytest.raises(DBAPIError) as told, connection.begin_nested():
        connection.exec_driver_sql(statement)
    return str(told.value.orig)


def tamper(connection: Connection, *statements: str) -> None:
    """As the owner who means it."""
    connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
    for statement in statements:
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql("SET LOCAL session_replication_role = origin")


def told(connection: Connection) -> list[tuple[str, int | None]]:
    return [(each.what, each.position) for each in examine(connection).findings]


def test_p7_archives_are_append_only_and_only_their_entries_leave(lived: Lived) -> None:
    with lived.trying() as connection:
        [range_] = archive(connection, lived.times[40]).ranges
        for statement in (
            "UPDATE ledger.{} SET kind = 'x'",
            "DELETE FROM ledger.{}",
            "INSERT INTO ledger.{0} SELECT * FROM ledger.{0}",
            "TRUNCATE ledger.{}",
            "UPDATE ledger.archived_entry SET kind = 'x'",
            "DELETE FROM ledger.archived_entry",
            "INSERT INTO ledger.archived_entry SELECT * FROM ledger.{}",
            "TRUNCATE ledger.archived_entry",
            "DELETE FROM ledger.archive",
            "UPDATE ledger.archived_story SET settled_version = 99",
            "DELETE FROM ledger.entry",
            "DELETE FROM ledger.entry WHERE id = (SELECT max(id) FROM ledger.entry)",
            "DELETE FROM ledger.feed WHERE position = (SELECT max(position) FROM ledger.feed)",
            "UPDATE ledger.entry SET kind = 'x'",
        ):
            assert "is append-only" in refused(connection, statement.format(range_.name)), statement
        # A copy that is equal to jsonb and not byte for byte lets nothing go.
        copied = (
            "INSERT INTO ledger.entry OVERRIDING SYSTEM VALUE SELECT id, cluster, allocation_id, version, "
            "kind, recorded_at, cause, {} FROM ledger.archived_entry WHERE position = 1"
        )
        for data in ("""data || '{"n": 1.5}'""", "data"):
            tamper(connection, "DELETE FROM ledger.entry WHERE id < 3", copied.format(data))
            if data == "data":
                connection.exec_driver_sql("DELETE FROM ledger.entry WHERE id < 3")
                continue
            other = """data || '{"n": 1.50}'"""
            tamper(connection, f"UPDATE ledger.{range_.name} SET data = {other} WHERE position = 1")
            assert "is append-only" in refused(connection, "DELETE FROM ledger.entry WHERE id < 3")
            tamper(
                connection, f"UPDATE ledger.{range_.name} SET data = data - 'n' WHERE position = 1"
            )


def test_p7_what_was_done_to_an_archive_is_located(lived: Lived) -> None:
    with lived.trying() as connection:
        archive(connection, lived.times[40])
        stamp_and_seal(connection)
        name = read_archives(connection)[0].name
        for statement, found in (
            (
                f"UPDATE ledger.{name} SET data = data || '{{\"x\": 1}}' WHERE position = 17",
                "edited",
            ),
            (f"DELETE FROM ledger.{name} WHERE position = 17", "gone"),
        ):
            with connection.begin_nested() as tried:
                tamper(connection, statement)
                assert told(connection) == [(found, 17)]
                tried.rollback()
        with connection.begin_nested() as tried:
            # A made-up archive would hide what was deleted.
            tamper(
                connection,
                "DELETE FROM ledger.entry WHERE id IN (SELECT entry_id FROM ledger.feed WHERE position > 90)",
                "DELETE FROM ledger.feed WHERE position > 90",
                "INSERT INTO ledger.archive SELECT 'entry_91_' || max(upto), 91, max(upto), now(), "
                "now(), now(), 'eve', sha256('x'), 1 FROM ledger.seal",
            )
            assert {what for what, _ in told(connection)} == {"archive differs"}
            assert len(told(connection)) == 2
            tried.rollback()
        assert told(connection) == []


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ("UPDATE ledger.entry SET cause = '{}' WHERE id = 12", "entry 12 is not as it was sealed"),
        ("UPDATE ledger.seal SET hash = sha256('x') WHERE since = 1", "is not as it was sealed"),
        ("UPDATE ledger.allocation SET state = jsonb_set(state, '{node}', '\"x\"')", "carries another node"),
    ],
)  # fmt: skip
def test_p7_what_is_not_as_it_was_does_not_move(lived: Lived, damage: str, why: str) -> None:
    with lived.trying() as connection:
        tamper(connection, damage)
        with pytest.raises(NotArchivable, match=why):
            archive(connection, lived.times[60])


def test_what_is_not_published_and_the_newest_stay(lived: Lived) -> None:
    with lived.trying() as connection:
        connection.exec_driver_sql("INSERT INTO ledger.outbox (topic, position) VALUES ('t', 30)")
        held_back = archiving.plan(connection, lived.times[-1] + timedelta(days=1))
        assert held_back.ranges[-1].last <= 30
        assert "topic t was told only up to position 30" in held_back.why
        connection.exec_driver_sql("UPDATE ledger.outbox SET position = 100000")
        everything = archive(connection, lived.times[-1] + timedelta(days=1))
        assert everything.ranges[-1].last < len(lived.times)
        stamp_and_seal(connection)
        assert told(connection) == []


def test_p1_a_disputed_eni_stays_disputed_when_its_story_is_archived(lived: Lived) -> None:
    with lived.trying() as connection:
        [state] = [
            Allocation.model_validate(s)
            for (s,) in rows(connection, "SELECT state FROM ledger.allocation WHERE phase = 'bound' LIMIT 1")
        ]  # fmt: skip
        assert state.address is not None
        disputed = state.address.model_copy(update={"eni": "eni-disputed"})
        parked = Parked(reason="both hold it", next_step="look", disputed=disputed)
        record(connection, [Story(state.id, state, (parked,), {"by": "test"})], state.changed_at)
        stamp_and_seal(connection, 1)
        append_remark(connection, CLUSTER, "paused", {}, {"by": "test"}, lived.times[-1] + LATER)
        stamp_and_seal(connection, 1)
        assert sweeps.disputed(connection, CLUSTER, "eni-disputed")
        archive(connection, lived.times[-1] + timedelta(days=1))
        kept_live = rows(connection, "SELECT FROM ledger.entry WHERE kind = 'parked'")
        assert kept_live == []
        assert sweeps.disputed(connection, CLUSTER, "eni-disputed")
        assert not sweeps.disputed(connection, CLUSTER, "eni-other")
