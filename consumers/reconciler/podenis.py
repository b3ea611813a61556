"""Brings the PodENI into a phase, write by guarded write, and records that it is there.

Each write carries the resourceVersion it was decided on (P10). A crash between a write and its
record is harmless: the next worker reads the PodENI first and finds nothing left to write.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog

from consumers.kube.port import Conflict, Kube, KubeError, NotFound
from consumers.reconciler.tools import Pause, Tools
from consumers.runtime import metrics
from ledger.rules import entries as e
from ledger.rules.allocation import Allocation
from ledger.rules.planning import WritePodEni
from ledger.rules.podeni import ForeignPodEni, Object, Write, next_write, without_finalizers
from ledger.store.work import Claim, ClaimLost

_log = structlog.get_logger(__name__)

WRITES = metrics.counter("podeni_writes", "Writes of PodENIs by verb", ("verb",))

_WRITES_MAX = 12


def write_podeni(tools: Tools, held: Claim, step: WritePodEni) -> Pause | None:
    """Bring the PodENI into `step.phase`. None: it is there and recorded."""
    first = step.allocations[0]
    pause = _may_write(tools, held, step)
    if pause is not None:
        return pause
    try:
        uid = _write(tools, held, step)
    except ForeignPodEni as foreign:
        return not_ours(tools, foreign)
    except KubeError as failed:
        now = tools.now()
        _log.warning(
            "PodENI not written", podeni=f"{first.namespace}/{first.pod}", cause=str(failed)
        )
        return Pause(tools.backoff(held.attempt, now, cap_s=30), str(failed), problem=True)
    with tools.fenced(held, step.allocations) as fenced:
        entry = e.PodEniWritten(phase=step.phase, uid=uid)
        for a in step.allocations:
            fenced.record(a, [entry], {"podeni": step.phase})
    return None


def _may_write(tools: Tools, held: Claim, step: WritePodEni) -> Pause | None:
    """The claim is still ours, and no brake forbids it. Taking out of Bind takes a network away."""
    destructive = step.phase not in ("Initial", "Bind")
    with tools.database.transaction() as connection:
        now = tools.keep(connection, held, 2 * tools.kube_budget)
        why = tools.stands_still(connection, held.key.cluster, destructive=destructive)
    return Pause(now + timedelta(seconds=5), why, problem=True) if why is not None else None


def _write(tools: Tools, held: Claim, step: WritePodEni) -> str:
    """Bring it into the step's phase; returns the PodENI's uid ("" when gone)."""
    first = step.allocations[0]

    def towards(live: Object | None) -> Write | None:
        return next_write(
            live,
            step.phase,
            step.allocations,
            tools.now(),
            beside=step.beside,
            carry_default_route=tools.settings.policy.carry_default_route,
        )

    live = tools.kube.get_podeni(first.namespace, first.pod)
    return write_until_done(tools, held, live, first, towards)


def write_until_done(
    tools: Tools,
    held: Claim,
    live: Object | None,
    first: Allocation,
    towards: Callable[[Object | None], Write | None],
) -> str:
    """Decide on what was read, write, until nothing is left to write; returns the uid ("" when gone).

    `towards` gives the next write. Raises KubeError, and what `towards` raises.
    """
    kube = tools.kube
    uid = ""
    for _ in range(_WRITES_MAX):
        uid = live["metadata"]["uid"] if live else uid
        write = towards(live)
        if write is None:
            return uid
        WRITES.labels(write.verb).inc()
        with tools.database.transaction() as connection:
            tools.keep(connection, held, 2 * tools.kube_budget)
        try:
            live = _apply(kube, write, first.namespace, first.pod)
        except (Conflict, NotFound):
            live = kube.get_podeni(first.namespace, first.pod)
        else:
            if write.verb == "create":
                _take_back_if_late(tools, held, live)
    raise Conflict(
        "update",
        f"podenis {first.namespace}/{first.pod}",
        message="somebody else keeps writing this PodENI: find out who from its managedFields",
    )


def _take_back_if_late(tools: Tools, held: Claim, made: Object | None) -> None:
    """A create has no resourceVersion to be refused by: made after the claim was lost, it may show
    what was released meanwhile, and goes again unless somebody touched it. Raises ClaimLost."""
    try:
        with tools.database.transaction() as connection:
            tools.keep(connection, held, 2 * tools.kube_budget)
    except ClaimLost:
        if made is not None:
            _take_back(tools.kube, made)
        raise


def _take_back(kube: Kube, made: Object) -> None:
    metadata = made["metadata"]
    namespace, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
    try:
        kube.delete_podeni(namespace, name, uid, metadata["resourceVersion"])
        live = kube.get_podeni(namespace, name)
        write = without_finalizers(live) if live and live["metadata"]["uid"] == uid else None
        if write is not None:
            kube.replace_podeni(write.obj)
    except KubeError as failed:
        _log.warning(
            "a PodENI written too late stays: whoever works on this Pod now decides about it",
            podeni=f"{namespace}/{name}",
            cause=str(failed),
        )


def _apply(kube: Kube, write: Write, namespace: str, name: str) -> dict[str, Any] | None:
    metadata = write.obj["metadata"]
    match write.verb:
        case "create":
            return kube.create_podeni(write.obj)
        case "replace":
            written = kube.replace_podeni(write.obj)
            # Removing the last finalizer of a deleted object makes it go; what came back is its ghost.
            gone = metadata.get("deletionTimestamp") and not metadata.get("finalizers")
            return None if gone else written
        case "replace-status":
            return kube.replace_podeni_status(write.obj)
        case "delete":
            kube.delete_podeni(namespace, name, metadata["uid"], metadata["resourceVersion"])
            return kube.get_podeni(namespace, name)


def not_ours(tools: Tools, foreign: ForeignPodEni) -> Pause:
    """The name is taken by a PodENI that isn't ours: wait, visibly, until somebody removed it."""
    now = tools.now()
    _log.error("PodENI is not ours", cause=str(foreign))
    return Pause(now + timedelta(seconds=30), str(foreign), problem=True)
