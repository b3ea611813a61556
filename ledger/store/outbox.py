"""How far the feed was published, and by whom: the cursor of each topic, in PostgreSQL.

The cursor moves after the broker acknowledged, from where it stood: whoever crashes in between, or
lost its turn without noticing, repeats and never skips.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from ledger.store.named_sql import queries

#: A publisher that is silent for longer has lost its turn.
HOLD = timedelta(seconds=10)


class Cursor(NamedTuple):
    """Published up to this feed position; the topic's log ended at `next_offset` then."""

    position: int
    next_offset: int


@dataclass(frozen=True, slots=True)
class Unpublished:
    """An entry in feed order. The Pod's names are None where the entry is about none."""

    position: int
    id: int
    cluster: str
    kind: str
    recorded_at: datetime
    allocation_id: UUID | None
    version: int | None
    cause: Mapping[str, Any]
    data: Mapping[str, Any]
    namespace: str | None
    pod: str | None
    interface: str | None


class FeedBroken(Exception):  # noqa: N818 - names what was found
    """The feed has a hole: the text says where. Nothing beyond it can be published without a gap.

    `archive` has what is missing, where that is known: it was moved away.
    """

    def __init__(self, why: str, archive: str | None = None) -> None:
        super().__init__(why)
        self.archive = archive


def claim(connection: Connection, topic: str, token: UUID) -> Cursor | None:
    """Take or keep the turn to publish; None while another has it."""
    sql = queries("outbox")
    connection.exec_driver_sql(sql["begin"], {"topic": topic})
    found = connection.exec_driver_sql(
        sql["claim"], {"topic": topic, "token": token, "hold": HOLD}
    ).one_or_none()
    return None if found is None else Cursor(*found)


def advance(connection: Connection, topic: str, token: UUID, before: Cursor, after: Cursor) -> bool:
    """Move the cursor, backwards too where a log was lost; False where the turn is another's."""
    moved = connection.exec_driver_sql(
        queries("outbox")["advance"],
        {
            "topic": topic,
            "token": token,
            "before": before.position,
            "position": after.position,
            "next_offset": after.next_offset,
            "hold": HOLD,
        },
    )
    return moved.rowcount == 1


def give_up(connection: Connection, topic: str, token: UUID) -> None:
    """Let another have the turn at once."""
    connection.exec_driver_sql(queries("outbox")["give_up"], {"topic": topic, "token": token})


def read_unpublished(connection: Connection, after: int, limit: int) -> list[Unpublished]:
    """The entries that follow feed position `after`. Raises FeedBroken where one is missing."""
    found = connection.exec_driver_sql(
        queries("outbox")["unpublished"], {"after": after, "limit": limit}
    )
    entries = [Unpublished(*row) for row in found]
    for expected, entry in enumerate(entries, after + 1):
        if entry.position != expected:
            raise _broken(connection, expected)
    if not entries and _archive_with(connection, after + 1) is not None:
        raise _broken(connection, after + 1)
    return entries


def _broken(connection: Connection, position: int) -> FeedBroken:
    archive = _archive_with(connection, position)
    if archive is None:
        return FeedBroken(f"position {position} of the feed is missing, or its entry is")
    return FeedBroken(f"position {position} is in archive {archive}, which was moved away", archive)


def _archive_with(connection: Connection, position: int) -> str | None:
    found: str | None = connection.exec_driver_sql(
        queries("outbox")["archive_with"], {"position": position}
    ).scalar_one_or_none()
    return found


def lag(connection: Connection, topic: str) -> int:
    """How many entries the topic has not seen yet, those without a position included."""
    count: int = connection.exec_driver_sql(queries("outbox")["lag"], {"topic": topic}).scalar_one()
    return count
