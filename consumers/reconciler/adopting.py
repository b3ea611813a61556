"""Takes ENIs that a running Pod uses into the book, on a person's order: what a restore has lost.

The sweep hands over its looks at cloud and PodENIs; the Pod itself is looked at live. What can't be
adopted stays in quarantine, and the log says why.
"""

from collections import Counter
from collections.abc import Sequence

import structlog
from sqlalchemy.exc import IntegrityError

from consumers.cloud.port import IN_USE, Eni
from consumers.kube.port import KubeObject
from consumers.reconciler.addresses import address_of
from consumers.reconciler.tools import Tools, about
from ledger.rules.adoption import UsedEni, adopt
from ledger.rules.pods import PodFacts
from ledger.store import sweeps, work
from ledger.store.book import Story, append, read_pod
from ledger.store.database import ledger_now
from ledger.store.work import Claim, WorkKey

_log = structlog.get_logger(__name__)


def adopt_ordered(
    tools: Tools, held: Claim, enis: Sequence[Eni], podenis: Sequence[KubeObject]
) -> None:
    """Adopt what a person ordered to be. Raises KubeError."""
    with tools.database.transaction() as connection:
        orders = sweeps.ordered_adoptions(connection, held.key.cluster)
    if not orders:
        return
    named = Counter(eni for podeni in podenis for eni in _enis_of(podeni))
    found = {eni.id: eni for eni in enis if eni.status == IN_USE}
    for podeni in podenis:
        ids = _enis_of(podeni)
        if not set(ids) & set(orders):
            continue
        who = f"{podeni['metadata']['namespace']}/{podeni['metadata']['name']}"
        if any(named[eni] > 1 for eni in ids) or not set(ids) <= set(orders):
            why: str | None = "its ENIs are claimed by another PodENI or allocation as well"
        else:
            used = {eni: _used(tools, found[eni]) for eni in ids if eni in found}
            why = _adopt_one(tools, held, podeni, used, orders[ids[0]])
        if why is not None:
            _log.error("not adopted: it stays in quarantine", pod=who, enis=ids, cause=why)


def _adopt_one(
    tools: Tools, held: Claim, podeni: KubeObject, used: dict[str, UsedEni], by: str
) -> str | None:
    """Adopt one PodENI's interfaces; why not, where not."""
    namespace, name = podeni["metadata"]["namespace"], podeni["metadata"]["name"]
    with tools.database.transaction() as connection:
        tools.keep(connection, held, tools.kube_budget)
    answer = tools.kube.look_at_pod(namespace, name)
    pod = PodFacts.from_object(answer.pod) if answer.pod is not None else None
    if pod is None or pod.sandbox_exited:
        return "its Pod does not run"
    cluster = held.key.cluster
    cause = {
        "command": "verify --repair",
        "by": by,
        "look": "pod",
        "resource_version": answer.resource_version,
    }
    try:
        with tools.database.transaction() as connection:
            states = read_pod(connection, cluster, namespace, name)
            fenced = tools.fence(connection, held, states)
            judged = adopt(cluster, podeni, (pod.uid, pod.node_name), used, states, tools.new_id)
            if isinstance(judged, str):
                return judged
            stories = [Story(a.allocation_id, a.before, a.entries, cause) for a in judged]
            reached = append(connection, stories, fenced.now)
            key = WorkKey(cluster, "pod", namespace, name)
            work.signal(connection, [key], ledger_now(connection))
    except IntegrityError as taken:
        return f"its addresses are claimed by another allocation: {taken.orig}"
    for state, ids in reached:
        _log.warning("taken into the book", **about(state), entries=list(ids), by=by)
    return None


def _used(tools: Tools, eni: Eni) -> UsedEni:
    address = address_of(tools, eni)
    return UsedEni(address, eni.instance_id or "", eni.trunk_eni_id, eni.vlan, eni.type)


def _enis_of(podeni: KubeObject) -> list[str]:
    items = podeni.get("spec", {}).get("allocations", [])
    return [item["eni"]["id"] for item in items if item.get("eni", {}).get("id")]
