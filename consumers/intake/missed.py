"""Notices Pods that admission missed, when they are first seen on a node.

Only suspects are named here, cheaply and within the batch; the reconciler judges them by the
settings, writes the remark and tells the Pod. Where no PodNetworking is known, one small query a
batch with new ordinary Pods is all it costs.
"""

from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import Connection

from consumers.intake.batches import Read
from ledger.rules.missed import could_be_missed, missed_by_admission
from ledger.rules.pods import PodFacts
from ledger.store.inputs import ObjectKey
from ledger.store.missed import PodUid, around, seen_scheduled
from ledger.store.work import WorkKey


def strangers(connection: Connection, readable: Iterable[Read]) -> dict[ObjectKey, PodFacts]:
    """Pods of this batch that run without a word of ours and were on no node before.

    To be asked before the batch is taken in.
    """
    pods: dict[ObjectKey, PodFacts] = {}
    for one in readable:
        message = one.message
        if message.entity != "pod" or message.action != "observed" or message.object is None:
            continue
        pod = PodFacts.from_object(message.object)
        if could_be_missed(pod):
            pods[ObjectKey(message.cluster, "pod", message.namespace, message.name)] = pod
    known = seen_scheduled(connection, [PodUid(*key, pod.uid) for key, pod in pods.items()])
    return {key: pod for key, pod in pods.items() if key not in known}


def suspects(
    connection: Connection, found: Mapping[ObjectKey, PodFacts], news: Collection[ObjectKey]
) -> set[WorkKey]:
    """The work on those strangers that a PodNetworking may have been meant for."""
    due: set[WorkKey] = set()
    fresh = {key: pod for key, pod in found.items() if key in news}
    for cluster in sorted({key.cluster for key in fresh}):
        mine = {key: pod for key, pod in fresh.items() if key.cluster == cluster}
        known = around(connection, cluster, [key.namespace for key in mine])
        for key, pod in mine.items():
            labels = known.namespaces.get(key.namespace)
            if missed_by_admission(pod, labels, known.podnetworkings, custom_kinds=None):
                due.add(WorkKey(cluster, "pod", key.namespace, key.name))
    return due
