"""Says on a Pod that several PodNetworkings match it, and which was chosen by what order.

Admission warns whoever creates the Pod; for a StatefulSet that is a controller, which shows its
warnings to nobody. So the Pod gets an event when it is bound.
"""

from consumers.reconciler.pod_events import tell_pod
from consumers.reconciler.tools import Tools
from ledger.rules.allocation import Allocation
from ledger.rules.matching import match
from ledger.rules.objects import ObjectError
from ledger.rules.pods import POD_NETWORKING, PodFacts
from ledger.store import missed
from ledger.store.inputs import ObjectKey, read_observations


def tell_ambiguity(tools: Tools, a: Allocation) -> None:
    """One event where more than one PodNetworking matches, by what has been observed of them."""
    key = ObjectKey(a.cluster, "pod", a.namespace, a.pod)
    with tools.database.transaction() as connection:
        seen = read_observations(connection, [key]).get(key)
        if seen is None or seen.object is None or seen.uid != a.pod_uid:
            return
        around = missed.around(connection, a.cluster, [a.namespace])
    try:
        pod = PodFacts.from_object(seen.object)
    except ObjectError:
        return  # what can't be read was told when it came in
    chosen = pod.annotations.get(POD_NETWORKING)
    if not chosen or len(around.podnetworkings) < 2:
        return
    kinds = tools.settings.policy.custom_stateful_workload_kinds
    report = match(pod, around.namespaces.get(a.namespace), around.podnetworkings, kinds)
    matching = {*report.others, *((report.chosen.name,) if report.chosen else ())}
    others = sorted(matching - {chosen})
    if others:
        note = (
            f"PodNetworking {chosen} was chosen; {', '.join(others)} match this Pod too. The order: "
            "both selectors before one, more requirements before fewer, then the name"
        )
        tell_pod(tools, a, "PodNetworkingChosen", note, failed=True)
