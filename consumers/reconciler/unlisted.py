"""Looks at a Pod that a list did not hold: a list may be wrong (P11), and hides what it lies about.

A page says that everything in its range, older than it and not in it, is gone, and every message
older than it is stale. If it was taken from another cluster or came back empty, the Pods it did not
hold send no newer event while they wait for a network. So each is looked at once.
"""

import json
from typing import Any

from consumers.contract.objects import trim
from consumers.kube.port import KubeError, PodAnswer
from consumers.reconciler.tools import Pause, Tools
from ledger.store import inputs, work
from ledger.store.deciding import decide
from ledger.store.inputs import ObjectKey, Observation
from ledger.store.work import Claim, WorkKey


def look_where_unlisted(tools: Tools, held: Claim) -> Pause | None:
    """Ask the API server where a list alone says that the Pod is gone. None: nothing is open.

    The answer takes the list's place, so that it is asked for once.
    """
    key = ObjectKey(held.key.cluster, "pod", held.key.namespace, held.key.name)
    with tools.database.transaction() as connection:
        observation = inputs.read_observations(connection, [key]).get(key)
        if observation is None or not _only_unlisted(observation):
            return None
        tools.keep(connection, held, tools.kube_budget)
    try:
        answer = tools.kube.look_at_pod(key.namespace, key.name)
    except KubeError as failed:
        until = tools.backoff(held.attempt, tools.now(), cap_s=10)
        return Pause(until, f"the live look failed: {failed}", problem=True)
    _take_its_word(tools, held, observation, answer)
    return None


def _only_unlisted(observation: Observation) -> bool:
    return not observation.alive and str(observation.cause.get("type", "")).endswith(".listed.v1")


def _take_its_word(tools: Tools, held: Claim, observation: Observation, answer: PodAnswer) -> None:
    """Put the answer in the list's place, unless a newer message came, and decide by it."""
    key = observation.key
    pod = trim("pod", answer.pod) if answer.pod is not None else None
    cause: dict[str, Any] = {"look": "pod", "resource_version": answer.resource_version}
    with tools.database.transaction() as connection:
        place = inputs.lock_observation(connection, key)
        if place != (observation.epoch, observation.resource_version):
            return
        inputs.believe(
            connection,
            key,
            uid=str(pod["metadata"]["uid"]) if pod else observation.uid,
            resource_version=answer.resource_version,
            pod=json.dumps(pod) if pod else None,
            cause=cause,
        )
        decided = decide(connection, [key], tools.new_id)
        tools.keep(connection, held, tools.kube_budget)
        due = {WorkKey(cluster, "pod", namespace, name) for cluster, namespace, name in decided.due}
        work.signal(connection, due, decided.at)
