"""Pages and exports of the audit: each row once, in order, by an index where the tables grow for ever."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, event

from ledger.audit.pages import (
    ALLOCATIONS,
    CALLS,
    DEAD_LETTERS,
    DRIFT,
    ENTRIES,
    RESERVATIONS,
    STORY,
    TENURES,
    WAITING,
    Listing,
    read_page,
    stream,
)
from tests.simulation.world import CLUSTER, SimulatedWorld

LISTINGS = {
    "allocations": ALLOCATIONS,
    "calls": CALLS,
    "entries": ENTRIES,
    "reservations": RESERVATIONS,
    "tenures": TENURES,
}


def rows(connection: Connection, listing: Listing, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = None
    while True:
        page = read_page(connection, listing, CLUSTER, {}, after, limit)
        found += [dict(row) for row in page.rows]
        after = page.after
        if after is None:
            return found


@pytest.mark.parametrize("name", LISTINGS)
@pytest.mark.parametrize("limit", [1, 3])
def test_pages_hold_each_row_once_and_in_order(
    world: SimulatedWorld, name: str, limit: int
) -> None:
    listing = LISTINGS[name]
    with world.database.transaction() as connection:
        paged = rows(connection, listing, limit)
        at_once = rows(connection, listing, 1000)
        whole = [dict(row) for row in stream(connection, listing, CLUSTER, {})]
    assert paged == at_once
    assert len(paged) > 0
    assert sorted(map(repr, whole)) == sorted(map(repr, paged))


def test_a_row_that_comes_meanwhile_hides_none(world: SimulatedWorld) -> None:
    with world.database.transaction() as connection:
        first = read_page(connection, CALLS, CLUSTER, {}, None, 2)
        before = rows(connection, CALLS, 1000)
    world.create_pod("web-9")
    world.settle(5)
    with world.database.transaction() as connection:
        second = read_page(connection, CALLS, CLUSTER, {}, first.after, 1000)
    seen = [row["intent"] for row in [*first.rows, *second.rows]]
    assert seen == [row["intent"] for row in before]


def plan(connection: Connection, listing: Listing, filters: dict[str, Any]) -> str:
    """The plan of one page, where every way through a whole table is forbidden."""
    asked: list[tuple[str, Any]] = []

    def remember(_c: Any, _cursor: Any, statement: str, given: Any, _x: Any, _many: bool) -> None:
        asked.append((statement, given))

    event.listen(connection, "before_cursor_execute", remember)
    after = read_page(connection, listing, CLUSTER, filters, None, 1).after
    read_page(connection, listing, CLUSTER, filters, after, 10)
    event.remove(connection, "before_cursor_execute", remember)
    connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
    connection.exec_driver_sql("SET LOCAL enable_sort = off")
    statement, given = asked[-1]
    lines = connection.exec_driver_sql(f"EXPLAIN {statement}", given).scalars()
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("listing", "filters", "index"),
    [
        (CALLS, {}, "cloud_call_newest"),
        (ALLOCATIONS, {"live": True}, "allocation_of_pod"),
        (ENTRIES, {}, "entry_pkey"),
        (STORY, {"allocation": uuid4()}, "entry_allocation_id_version_key"),
    ],
)
def test_hot_pages_have_an_index(
    world: SimulatedWorld, listing: Listing, filters: dict[str, Any], index: str
) -> None:
    with world.database.transaction() as connection:
        told = plan(connection, listing, filters)
    assert index in told, told
    assert "Seq Scan" not in told, told


@pytest.mark.parametrize("listing", [DRIFT, DEAD_LETTERS, WAITING])
def test_small_lists_answer_too(world: SimulatedWorld, listing: Listing) -> None:
    with world.database.transaction() as connection:
        assert read_page(connection, listing, CLUSTER, {}, None, 10).rows == []
