"""Keeps the seal seconds behind the feed (P7), beside the work and never in its way.

Every reconciler tries; the one that gets the lock in PostgreSQL seals.
"""

import asyncio

import structlog

from consumers.runtime import metrics
from consumers.runtime.signals import pause
from ledger.rules.seals import Unsealable
from ledger.store.database import UNAVAILABLE, Database
from ledger.store.seal import SEAL_MAX, Sealed, Tail, read_tail, seal

_log = structlog.get_logger(__name__)

#: Seldom enough that a busy day is some ten thousand seals, often enough for a tail of seconds.
SEAL_EVERY_S = 2.0
#: The head in the log has left the database by itself, wherever logs are shipped to.
TELL_HEAD_EVERY = 1000

TAIL = metrics.Snapshot(fresh_s=30)
SEALED_POSITION = TAIL.gauge("sealed_position", "Feed position up to which entries are sealed")
UNSEALED = TAIL.gauge("unsealed_entries", "Entries that no seal protects yet")
UNSEALED_AGE = TAIL.gauge("unsealed_seconds", "Age of the oldest entry that is not sealed yet")


async def keep_sealed(database: Database, stop: asyncio.Event) -> None:
    """Seal until `stop`. What goes wrong is logged and tried again: allocations don't wait for it."""
    seals = 0
    while not stop.is_set():
        sealed: Sealed | None = None
        try:
            sealed, tail = await asyncio.to_thread(_seal, database)
        except UNAVAILABLE as unavailable:
            _log.warning("the seal waits for PostgreSQL", cause=str(unavailable))
        except Unsealable as refused:
            _log.error(
                "nothing more can be sealed",
                cause=str(refused),
                next_step="find out who wrote there: eni-ledger verify --seal",
            )
        except Exception:  # noqa: BLE001 - the boundary: a defect here must not stop allocations
            _log.exception("sealing failed: this is a defect, please report it")
        else:
            with TAIL.renewed():
                SEALED_POSITION.set(tail.sealed)
                UNSEALED.set(tail.entries)
                UNSEALED_AGE.set(tail.age.total_seconds() if tail.age else 0)
        if sealed is not None:
            if seals % TELL_HEAD_EVERY == 0:
                _log.info("sealed", position=sealed.position, hash=sealed.hash)
            seals += 1
            if sealed.entries == SEAL_MAX:
                continue  # far behind, as on the first start over an older ledger
        await pause(stop, SEAL_EVERY_S)


def _seal(database: Database) -> tuple[Sealed | None, Tail]:
    with database.transaction() as connection:
        sealed = seal(connection)
    with database.transaction() as connection:
        return sealed, read_tail(connection)
