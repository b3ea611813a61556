"""Sets repairs going: what a person has ordered becomes due work, with an entry that says who did."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection

from ledger.rules import entries as e
from ledger.store import work
from ledger.store.book import Story, append_remark, lock_pods, record
from ledger.store.sweeps import order_adoptions
from ledger.store.work import WorkKey


def order_repair(
    connection: Connection, cluster: str, keys: Collection[WorkKey], by: str, now: datetime
) -> int:
    """Make these due now, and a sweep; parked allocations among them go on. Returns how many unparked.

    Nothing is repaired here: the reconciler looks for itself and decides by the same rules.
    """
    cause = {"command": "verify --repair", "by": by}
    pods = sorted((k.cluster, k.namespace, k.name, "") for k in keys if k.kind == "pod")
    held = lock_pods(connection, pods)
    parked = [a for name in sorted(held) for a in held[name] if a.parked]
    record(connection, [Story(a.id, a, (e.Unparked(by=by),), cause) for a in parked], now)
    told = {"by": by, "due": sorted(f"{k.kind} {k.namespace}/{k.name}" for k in keys)}
    append_remark(connection, cluster, "repair-ordered", told, cause, now)
    order_adoptions(connection, cluster, by)
    work.signal(connection, {*keys, WorkKey(cluster, "sweep", "", "")}, now)
    work.notify(connection)
    return len(parked)
