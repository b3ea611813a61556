"""Where questions are answered: one cluster, one read-only look at the ledger, pages behind cursors."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2
from sqlalchemy import Connection

from consumers.console.problems import Problem
from consumers.runtime.settings import Settings
from ledger.audit.pages import Listing, read_page
from ledger.store.database import Database, ledger_now

#: Nothing of ours is older; and who asks about later has mistaken the century.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)

CURSOR_CHARACTERS_MAX = 2048


@dataclass(frozen=True, slots=True)
class Desk:
    """What every route needs. `kube` is None where no cluster can be reached, and `no_kube` says why."""

    settings: Settings
    database: Database
    kube: httpx2.Client | None = None
    no_kube: str = ""

    @property
    def cluster(self) -> str:
        """The one cluster that answers are about."""
        return self.settings.cluster_id

    @contextmanager
    def looking(self) -> Iterator[Connection]:
        """A transaction that can't write, in which every statement sees the same moment."""
        with self.database.transaction() as connection:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield connection

    def page(
        self,
        listing: Listing,
        name: str,
        filters: Mapping[str, Any],
        cursor: str | None,
        limit: int,
    ) -> dict[str, Any]:
        """One page of `listing`; `name` keeps the cursor of one list from being used in another."""
        after = None if cursor is None else read_cursor(name, cursor, len(listing.order))
        with self.looking() as connection:
            page = read_page(connection, listing, self.cluster, filters, after, limit)
            now = ledger_now(connection)
        following = None if page.after is None else write_cursor(name, page.after)
        return {"cluster": self.cluster, "as_of": now, "items": page.rows, "next": following}


def write_cursor(name: str, place: tuple[str, ...]) -> str:
    """An opaque text for the place behind which the next page starts."""
    raw = json.dumps([name, *place], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_cursor(name: str, cursor: str, parts: int) -> tuple[str, ...]:
    """The place in a cursor of the list `name`. Raises Problem for anything else."""
    try:
        raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        found = json.loads(raw)
    except (ValueError, binascii.Error, RecursionError):
        found = None
    good = (
        isinstance(found, list)
        and len(found) == parts + 1
        and found[0] == name
        and all(isinstance(each, str) and _storable(each) for each in found)
    )
    if not good or found is None:
        raise Problem(
            422,
            "no cursor of this list: give what `next` said, or leave it out",
            parameter="cursor",
        )
    return tuple(found[1:])


def moment(name: str, given: datetime | None) -> datetime | None:
    """A time with a zone, in our age. Raises Problem for anything else."""
    if given is None:
        return None
    if given.tzinfo is None:
        raise Problem(
            422, f"{name} needs a time zone, for example 2026-01-31T14:03:00Z", parameter=name
        )
    try:
        inside = EARLIEST <= given <= LATEST
    except OverflowError:
        inside = False
    if not inside:
        raise Problem(422, f"{name} is not between 2000 and 2100", parameter=name)
    return given.astimezone(UTC)


def span(start: datetime | None, end: datetime | None) -> tuple[datetime | None, datetime | None]:
    """[start, end). Raises Problem where a bound has no zone, or the end is not after the start."""
    start, end = moment("from", start), moment("to", end)
    if start is not None and end is not None and start >= end:
        raise Problem(422, "`to` is not after `from`", parameter="to")
    return start, end


def storable(name: str, text: str | None) -> str | None:
    """Text that PostgreSQL can compare with. Raises Problem for NUL and lone surrogates."""
    if text is not None and not _storable(text):
        raise Problem(422, f"{name} contains characters that no name has", parameter=name)
    return text


def _storable(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= each <= "\udfff" for each in text)
