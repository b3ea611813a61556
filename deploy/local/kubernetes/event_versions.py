"""Converts between the two served shapes of an Event, `v1` (how it is kept) and `events.k8s.io/v1`."""

from deploy.local.kubernetes.errors import Json

_TO_CORE = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedCount": "count",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedSource": "source",
}
_FROM_CORE = {core: new for new, core in _TO_CORE.items()}


def to_core(event: Json) -> Json:
    """An `events.k8s.io/v1` Event in the shape of `v1`."""
    made = {_TO_CORE.get(key, key): value for key, value in event.items()}
    made["apiVersion"] = "v1"
    made.setdefault("involvedObject", {})
    return made


def from_core(event: Json) -> Json:
    """The inverse of `to_core`."""
    made = {_FROM_CORE.get(key, key): value for key, value in event.items()}
    made["apiVersion"] = "events.k8s.io/v1"
    return made
