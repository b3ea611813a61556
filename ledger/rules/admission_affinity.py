"""Zone affinity: a Pod may only be scheduled where its vSwitches, or its fixed IP, are (§2.5)."""

from collections.abc import Collection
from typing import Any

from ledger.rules.nodes import ZONE_LABEL
from ledger.rules.pods import PodFacts

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def require_zones(spec: dict[str, Any], pod: PodFacts, *zone_sets: Collection[str]) -> None:
    """Add one expression per non-empty set of `zone_sets` to every node selector term of `spec`.

    The sets narrow each other, and each of the user's own alternatives, which stay alternatives. An
    expression that is already there is not added again. Pods of a DaemonSet are left alone: their
    node is chosen already. Changes `spec`, a Pod's, in place.
    """
    expressions = [
        {"key": ZONE_LABEL, "operator": "In", "values": sorted(zones)}
        for zones in zone_sets
        if zones
    ]
    if not expressions or "DaemonSet" in pod.owner_kinds:
        return
    required = _made(_made(_made(spec, "affinity"), "nodeAffinity"), _REQUIRED)
    terms = required.get("nodeSelectorTerms") or [{}]
    required["nodeSelectorTerms"] = terms
    for term in terms:
        present = term.get("matchExpressions") or []
        missing = [each for each in expressions if not any(_same(each, old) for old in present)]
        if missing:
            term["matchExpressions"] = [*present, *missing]


def _same(expression: dict[str, Any], other: Any) -> bool:
    return (
        isinstance(other, dict)
        and (other.get("key"), other.get("operator")) == (expression["key"], expression["operator"])
        and sorted(other.get("values") or []) == expression["values"]
    )


def _made(parent: dict[str, Any], key: str) -> dict[str, Any]:
    """The map at `key`, created where it is absent or null."""
    found: dict[str, Any] = parent.get(key) or {}
    parent[key] = found
    return found
