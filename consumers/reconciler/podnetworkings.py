"""One PodNetworking's turn: look at its vSwitches, and write the status it deserves.

A status somebody else wrote (the product document's example carries `Ready`) is not believed: it is
compared with our own look. Looked at again every few minutes, so that a vSwitch deleted later shows.
"""

from datetime import timedelta

import structlog

from consumers.kube.names import API_VERSION, KIND_PODNETWORKING
from consumers.kube.port import EventNote, KubeError, ObjectRef
from consumers.reconciler.pods import Outcome
from consumers.reconciler.tools import Pause, Tools
from consumers.reconciler.vswitches import look_at_vswitch
from ledger.rules.objects import ObjectError
from ledger.rules.podeni import kube_time
from ledger.rules.podnetworkings import (
    READY,
    PodNetworking,
    PodNetworkingStatus,
    podnetworking_status,
    status_differs,
)
from ledger.rules.vswitches import VSwitchFacts
from ledger.store.brakes import read_brakes
from ledger.store.work import Claim

_log = structlog.get_logger(__name__)


def work_on_podnetworking(tools: Tools, held: Claim) -> Outcome:
    """Bring one PodNetworking's status up to date."""
    now = tools.now()
    try:
        live = tools.kube.get_podnetworking(held.key.name)
        if live is None or live["metadata"].get("deletionTimestamp"):
            return Outcome(None)
        podnetworking = PodNetworking.from_object(live)
        found, failed = _look(tools, held, podnetworking)
        wanted = podnetworking_status(podnetworking, found, failed)
        if status_differs(podnetworking, wanted):
            with tools.database.transaction() as connection:
                if any(brake.scope == "all" for brake in read_brakes(connection, held.key.cluster)):
                    return Outcome(now + timedelta(seconds=5), "paused", problem=True)
            updated = {**live, "status": wanted.to_object(kube_time(now))}
            tools.kube.replace_podnetworking_status(updated)
            _tell(tools, live["metadata"], wanted)
    except ObjectError as unusable:
        return Outcome(now + timedelta(minutes=5), str(unusable), problem=True)
    except KubeError as failure:
        return Outcome(tools.backoff(held.attempt, now), str(failure), problem=True)
    resync = timedelta(seconds=tools.settings.reconciler.podnetworking_resync_s)
    again = timedelta(seconds=30) if failed else resync
    return Outcome(now + again * tools.rng.uniform(0.9, 1.1), wanted.message or None)


def _look(
    tools: Tools, held: Claim, podnetworking: PodNetworking
) -> tuple[dict[str, VSwitchFacts], dict[str, str]]:
    """(vSwitches found, why others could not be looked up); an id in neither does not exist."""
    found: dict[str, VSwitchFacts] = {}
    failed: dict[str, str] = {}
    for id_ in podnetworking.vswitch_ids:
        seen = look_at_vswitch(tools, held, id_)
        if isinstance(seen, Pause):
            failed[id_] = seen.code or "Unreachable"
        elif seen is not None:
            found[id_] = seen
    return found, failed


def _tell(tools: Tools, metadata: dict[str, str], status: PodNetworkingStatus) -> None:
    ready = status.status == READY
    tools.kube.publish_event(
        EventNote(
            regarding=ObjectRef(
                API_VERSION, KIND_PODNETWORKING, metadata["name"], "", metadata["uid"]
            ),
            reason="SyncPodNetworkingSucceed" if ready else "SyncPodNetworkingFailed",
            action="SyncPodNetworking",
            note="podNetworking synced" if ready else status.message,
            room="reconciler",
            type="Normal" if ready else "Warning",
        )
    )
