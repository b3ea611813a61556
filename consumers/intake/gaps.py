"""Notices that the observation of Pods has a gap, and restarts the TTLs held across it (P2).

A producer's heartbeat says from where on its observation is without a gap. Where that is above
what the ledger had heard before, Pods may have come and gone unseen: a TTL counts observed
absence, so it counts anew. This is recorded before the heartbeat itself is taken in: until then no
reservation can end, because the watermark is behind.
"""

from collections.abc import Iterable

from sqlalchemy import Connection

from consumers.intake.batches import Read, cause_of
from ledger.store import inputs
from ledger.store.absences import restart_every_ttl
from ledger.store.book import clusters_with_reservations
from ledger.store.database import Database


def restart_ttls(database: Database, readable: Iterable[Read]) -> int:
    """Restart what the heartbeats of this poll call for; returns how many reservations."""
    restarted = 0
    for one in _beats(readable):
        with database.transaction() as connection:
            gap = _gap(connection, one)
            if gap is not None:
                cause = {**cause_of(one), "gap": gap}
                restarted += restart_every_ttl(connection, one.message.cluster, gap, cause)
    return restarted


def restart_after_loss(database: Database, why: str) -> int:
    """Restart every TTL: messages about Pods were lost before anybody took them in."""
    restarted = 0
    with database.transaction() as connection:
        for cluster in clusters_with_reservations(connection):
            restarted += restart_every_ttl(connection, cluster, why, {"lost_messages": why})
    return restarted


def _beats(readable: Iterable[Read]) -> list[Read]:
    """The first heartbeat of each partition of the Pods' topic: a gap lies before it or nowhere.

    A producer that has not listed yet only repeats its predecessor's place.
    """
    first: dict[tuple[str, int, str], Read] = {}
    for one in readable:
        beat = one.message.heartbeat
        if one.message.entity == "pod" and beat is not None and beat.synced:
            key = (one.record.topic, one.record.partition, one.message.cluster)
            first.setdefault(key, one)
    return list(first.values())


def _gap(connection: Connection, one: Read) -> str | None:
    """What was not observed before this heartbeat, in words; None when nothing was missed."""
    beat = one.message.heartbeat
    assert beat is not None
    known = inputs.watermark_place(
        connection, one.record.topic, one.record.partition, one.message.cluster
    )
    if known is None:
        return None
    epoch, version = known
    if one.message.epoch > epoch:
        return f"epoch {epoch} version {version} to epoch {one.message.epoch}"
    if one.message.epoch == epoch and beat.continuous_from > version:
        return f"epoch {epoch} version {version} to {beat.continuous_from}"
    return None
