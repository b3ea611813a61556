"""Says of a Pod that admission missed it: once in the book, and as an event on the Pod."""

from datetime import timedelta

import structlog

from consumers.reconciler.pod_events import tell_missed
from consumers.reconciler.tools import Pause, Tools
from consumers.runtime import metrics
from ledger.rules.missed import NamespaceUnknown, missed_by_admission
from ledger.rules.pods import PodFacts
from ledger.store import missed
from ledger.store.database import ledger_now
from ledger.store.inputs import Observation
from ledger.store.work import Claim

_log = structlog.get_logger(__name__)

MISSED = metrics.counter("pods_missed_by_admission", "Pods that should have had their own ENI")

#: How often the labels of a namespace are waited for, at NAMESPACE_AGAIN apart.
_ATTEMPTS_MAX = 12
_NAMESPACE_AGAIN = timedelta(seconds=5)


def look_for_missed(tools: Tools, held: Claim, seen: Observation) -> Pause | None:
    """Judge one Pod without any allocation. A Pause: it can't be judged yet.

    The event comes before the remark: a crash in between repeats it, and never loses it.
    """
    assert seen.object is not None
    pod = PodFacts.from_object(seen.object)
    cluster, settings = held.key.cluster, tools.settings
    with tools.database.transaction() as connection:
        known = missed.around(connection, cluster, [pod.namespace])
        judged = missed_by_admission(
            pod,
            known.namespaces.get(pod.namespace),
            known.podnetworkings,
            custom_kinds=settings.policy.custom_stateful_workload_kinds,
            excluded_namespaces=settings.webhook.excluded_namespaces,
        )
        if judged is None or missed.is_remarked(connection, cluster, seen.uid):
            return None
        now = tools.keep(connection, held, tools.kube_budget)
    if isinstance(judged, NamespaceUnknown):
        if held.attempt >= _ATTEMPTS_MAX:
            return None
        why = f"the labels of namespace {pod.namespace} are not known yet"
        return Pause(now + _NAMESPACE_AGAIN, why, problem=True)
    note = (
        f"this Pod should have its own ENI ({judged.why}) but was not admitted by the webhook, "
        "which was probably down: it runs on the node's shared network; recreate it"
    )
    tell_missed(tools, pod.namespace, pod.name, seen.uid, note)
    with tools.database.transaction() as connection:
        now = tools.keep(connection, held, timedelta(0))
        if not missed.is_remarked(connection, cluster, seen.uid):
            told = {"node": pod.node_name, "podnetworking": judged.podnetworking, "why": judged.why}
            missed.remark(connection, seen, told, ledger_now(connection))
    MISSED.inc()
    _log.error("admission missed a Pod", pod=f"{pod.namespace}/{pod.name}", cause=judged.why)
    return None
