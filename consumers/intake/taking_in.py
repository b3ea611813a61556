"""One poll becomes one transaction: offsets, observations, decisions, due work.

The offsets move first, by compare and set: a consumer that no longer owns a partition changes
nothing. A batch that the database refuses is halved until the record to blame stands alone; it
becomes a dead letter like any other, and the rest goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from pydantic import ValidationError
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError

from consumers.contract.events import Record
from consumers.intake import missed
from consumers.intake.batches import Read, Unreadable, fold, moves, read
from consumers.intake.gaps import restart_ttls
from ledger.rules.allocation import ImpossibleEntry
from ledger.store import inputs, work
from ledger.store.database import UNAVAILABLE, Database, ledger_now
from ledger.store.deciding import NewId, decide
from ledger.store.inputs import ObjectKey
from ledger.store.work import WorkKey

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a poll came to: records taken in, those that were news, dead letters, entries."""

    records: int
    news: int
    dead_letters: int
    entries: int


def take_in(
    database: Database,
    records: Sequence[Record],
    expected: dict[tuple[str, int], int],
    bytes_max: int,
    new_id: NewId,
    *,
    gap_restarts_ttl: bool = True,
) -> Taken:
    """Take in one poll. `expected` holds, for each partition among `records`, where it was read from.

    Raises ZombieConsumer, and sqlalchemy's OperationalError when the database is not there: in both
    cases nothing was taken in (a TTL that a gap restarted stays restarted, which is harmless).
    """
    readable, unreadable = read(records, bytes_max)
    if gap_restarts_ttl:
        restart_ttls(database, readable)
    with database.transaction() as connection:
        inputs.move_offsets(connection, moves(records, expected), ledger_now(connection))
        news, entries, refused = _take(connection, readable, new_id)
        buried = [*unreadable, *refused]
        for letter in buried:
            inputs.bury(
                connection,
                (*letter.record[:3], letter.record.key, letter.record.value, letter.record.headers),
                letter.error_class,
                letter.message,
                ledger_now(connection),
            )
        if news:
            work.notify(connection)
    for letter in buried:
        _log.warning(
            "message can't be taken in: see `eni-ledger dlq list`",
            topic=letter.record.topic,
            partition=letter.record.partition,
            offset=letter.record.offset,
            error_class=letter.error_class,
            cause=letter.message,
        )
    return Taken(len(records), news, len(buried), entries)


def _take(
    connection: Connection, readable: Sequence[Read], new_id: NewId
) -> tuple[int, int, list[Unreadable]]:
    """Apply, halving on refusal; returns how much was news, entries, and what stands alone refused."""
    if not readable:
        return 0, 0, []
    try:
        with connection.begin_nested():
            news, entries = _apply(connection, readable, new_id)
    except (*UNAVAILABLE, ValidationError):
        # Not the message's fault: the database is away, or holds what a newer version wrote.
        raise
    except Exception as refused:  # noqa: BLE001 - the boundary of one record: it must not stop others
        if len(readable) == 1:
            if not isinstance(refused, DataError | IntegrityError | ImpossibleEntry):
                _log.exception(
                    "a message met a defect: please report it", message=readable[0].message.id
                )
            return 0, 0, [Unreadable(readable[0].record, "refused", _in_one_line(refused))]
        half = len(readable) // 2
        first = _take(connection, readable[:half], new_id)
        second = _take(connection, readable[half:], new_id)
        return first[0] + second[0], first[1] + second[1], [*first[2], *second[2]]
    return news, entries, []


def _apply(connection: Connection, readable: Sequence[Read], new_id: NewId) -> tuple[int, int]:
    batch = fold(readable)
    found = missed.strangers(connection, readable)
    if batch.listings:
        listings = [listing for listing, _ in batch.listings]
        inputs.lock_for_listings(connection, batch.observations, listings)
    news = inputs.observe(connection, batch.observations)
    unlisted: set[ObjectKey] = set()
    for listing, cause in batch.listings:
        unlisted |= inputs.take_listing(connection, listing, cause)
    news |= unlisted
    entries = 0
    if news:
        suspects = missed.suspects(connection, found, news) | _to_look_at(unlisted)
        entries = _decide(connection, news, suspects, new_id)
    inputs.mark_watermarks(connection, batch.watermarks, ledger_now(connection))
    return len(news), entries


def _to_look_at(unlisted: set[ObjectKey]) -> set[WorkKey]:
    """Pods that a list did not hold. If it lied, their own events are older than it and taken for
    stale, so nothing but a look would ever find them."""
    return {
        WorkKey(key.cluster, "pod", key.namespace, key.name)
        for key in unlisted
        if key.entity == "pod"
    }


def _decide(
    connection: Connection, news: set[ObjectKey], suspects: set[WorkKey], new_id: NewId
) -> int:
    """Decide, and make due what follows; returns entries appended."""
    decided = decide(connection, news, new_id)
    due = {WorkKey(cluster, "pod", namespace, name) for cluster, namespace, name in decided.due}
    due |= {
        WorkKey(key.cluster, "podnetworking", "", key.name)
        for key in news
        if key.entity == "podnetworking"
    }
    nodes = {(key.cluster, key.name) for key in news if key.entity == "node"}
    waiting = work.waiting_on_nodes(connection, nodes)
    work.signal(connection, due | suspects | waiting, decided.at)
    return decided.entries


def _in_one_line(refused: Exception) -> str:
    why = str(getattr(refused, "orig", None) or refused) or type(refused).__name__
    return " ".join(why.split())[:500]
