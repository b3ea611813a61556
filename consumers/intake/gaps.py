"""Notices that the observation of Pods has a gap, and restarts the TTLs held across it (P2).

A producer's heartbeat says from where on its observation is without a gap. Where that is above
what the ledger had heard before, Pods may have come and gone unseen: a TTL counts observed
absence, so it counts anew. This is recorded before the heartbeat itself is taken in: until then no
reservation can end, because the watermark is behind.
"""

from collections.abc import Iterable, Iterator

from consumers.intake.batches import Read, cause_of
from ledger.store import inputs
from ledger.store.absences import restart_every_ttl
from ledger.store.book import clusters_with_reservations
from ledger.store.database import Database

Place = tuple[int, int]


def restart_ttls(database: Database, readable: Iterable[Read]) -> int:
    """Restart what the heartbeats of this poll call for; returns how many reservations."""
    restarted = 0
    for beats in _beats(readable):
        of, cluster = beats[0].record, beats[0].message.cluster
        with database.transaction() as connection:
            known = inputs.watermark_place(connection, of.topic, of.partition, cluster)
            for one, gap in gaps(known, beats):
                cause = {**cause_of(one), "gap": gap}
                restarted += restart_every_ttl(connection, cluster, gap, cause)
    return restarted


def restart_after_loss(database: Database, why: str) -> int:
    """Restart every TTL: messages about Pods were lost before anybody took them in."""
    restarted = 0
    with database.transaction() as connection:
        for cluster in clusters_with_reservations(connection):
            restarted += restart_every_ttl(connection, cluster, why, {"lost_messages": why})
    return restarted


def _beats(readable: Iterable[Read]) -> list[list[Read]]:
    """The heartbeats of each partition of the Pods' topic, as they were polled.

    A producer that has not listed yet only repeats its predecessor's place.
    """
    found: dict[tuple[str, int, str], list[Read]] = {}
    for one in readable:
        beat = one.message.heartbeat
        if one.message.entity == "pod" and beat is not None and beat.synced:
            key = (one.record.topic, one.record.partition, one.message.cluster)
            found.setdefault(key, []).append(one)
    return list(found.values())


def gaps(known: Place | None, beats: Iterable[Read]) -> Iterator[tuple[Read, str]]:
    """Each heartbeat of a partition before which something was missed, and what, in words. Pure.

    `known` is the (epoch, resourceVersion) that the ledger has heard of, None before the first. What
    was polled after an outage may have the gap between any two of its heartbeats.
    """
    for one in beats:
        message, beat = one.message, one.message.heartbeat
        assert beat is not None
        if known is not None:
            epoch, version = known
            if message.epoch > epoch:
                yield one, f"epoch {epoch} version {version} to epoch {message.epoch}"
            elif message.epoch == epoch and beat.continuous_from > version:
                yield one, f"epoch {epoch} version {version} to {beat.continuous_from}"
        place = (message.epoch, message.resource_version)
        known = place if known is None else max(known, place)
