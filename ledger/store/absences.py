"""Restarts TTLs that were counted across a time in which nobody can say who came and went (P2)."""

from collections.abc import Mapping
from typing import Any

import structlog
from sqlalchemy import Connection

from ledger.rules.looks import restart_ttl
from ledger.store.book import Story, lock_reservations, record
from ledger.store.database import ledger_now

_log = structlog.get_logger(__name__)


def restart_every_ttl(
    connection: Connection, cluster: str, gap: str, cause: Mapping[str, Any]
) -> int:
    """Count the TTLs of a cluster's reservations anew; returns how many. The same gap counts once."""
    held = lock_reservations(connection, cluster)
    now = ledger_now(connection)
    stories = []
    for a in held:
        entry = restart_ttl(a, gap, now)
        if entry is not None:
            stories.append(Story(a.id, a, (entry,), dict(cause)))
    record(connection, stories, now)
    if stories:
        _log.warning(
            "Pods were not observed for a while: TTLs count anew",
            cluster=cluster,
            gap=gap,
            reservations=len(stories),
        )
    return len(stories)
