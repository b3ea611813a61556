"""What a cluster's take-over and its return read and write as a whole."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from ledger.rules import entries as e
from ledger.rules.allocation import Allocation
from ledger.store.book import Story, lock_allocations, record
from ledger.store.database import ledger_now


def live_allocations(connection: Connection, cluster: str) -> list[Allocation]:
    """Every allocation of a cluster that isn't released, unlocked, in a stable order."""
    found = connection.exec_driver_sql(
        "SELECT state FROM ledger.allocation WHERE cluster = %(cluster)s AND phase <> 'released' "
        "ORDER BY namespace, pod, interface, id",
        {"cluster": cluster},
    )
    return [Allocation.model_validate(state) for state in found.scalars()]


def claims_held(connection: Connection, cluster: str) -> set[UUID]:
    """The turns that are going on, by the tokens of their claims."""
    found = connection.exec_driver_sql(
        "SELECT claim_token FROM ledger.work WHERE cluster = %(cluster)s "
        "AND claim_token IS NOT NULL AND claimed_until > ledger.now()",
        {"cluster": cluster},
    )
    return set(found.scalars())


def record_returned(
    connection: Connection, cluster: str, entry: e.Returned, cause: Mapping[str, Any]
) -> int:
    """End every story of a cluster: it is given back as it is. Returns how many."""
    ids = [a.id for a in live_allocations(connection, cluster)]
    states = lock_allocations(connection, ids)
    stories = [Story(id_, states[id_], (entry,), cause) for id_ in sorted(states)]
    record(connection, stories, ledger_now(connection))
    return len(stories)
