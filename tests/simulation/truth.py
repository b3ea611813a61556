"""What was really so: lives of Pods as the simulated API server had them, and what users asked for.

The judge of the promises. It listens to the API server's own history and knows nothing of the
ledger.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deploy.local.kubernetes.store import Change, Store

PODS, PODENIS = "pods", "podenis.network.alibabacloud.com"
POD_UID = "k8s.aliyun.com/pod-uid"
TERMINAL = ("Succeeded", "Failed")

Name = tuple[str, str]


@dataclass(slots=True)
class Life:
    """One Pod from its creation until it was gone or terminal (`ended` None: it runs)."""

    uid: str
    created: datetime
    ended: datetime | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What a PodENI in phase Bind told the node agent of a Pod: uid, and interface -> IPv4."""

    uid: str
    addresses: dict[str, str]
    at: datetime


class Truth:
    """Lives by Pod name; what PodENIs showed; which names users gave up."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self.lives: dict[Name, list[Life]] = {}
        self.shown: dict[Name, list[Shown]] = {}
        self.given_up: dict[Name, datetime] = {}
        self.wrong: list[tuple[str, str]] = []
        self._store = store
        self._now = now
        store.listen(self._follow)

    def running_uid(self, name: Name) -> str | None:
        """The uid of the Pod that may be using its network now."""
        pod = self._store.get(PODS, *name)
        if pod is None or (pod.get("status") or {}).get("phase") in TERMINAL:
            return None
        uid: str = pod["metadata"]["uid"]
        return uid

    def running(self) -> dict[Name, dict[str, Any]]:
        """Every Pod that runs, by name."""
        found = {}
        for pod in self._store.select(PODS):
            name = (pod["metadata"]["namespace"], pod["metadata"]["name"])
            if self.running_uid(name) is not None:
                found[name] = pod
        return found

    def podeni(self, name: Name) -> dict[str, Any] | None:
        return self._store.get(PODENIS, *name)

    def podenis(self) -> list[dict[str, Any]]:
        return list(self._store.select(PODENIS))

    def user_of(self, eni: str) -> str | None:
        """The running Pod (namespace/name) whose PodENI in Bind names this ENI."""
        for podeni in self._store.select(PODENIS):
            if eni in _enis(podeni) and self._serves_running(podeni):
                metadata = podeni["metadata"]
                return f"{metadata['namespace']}/{metadata['name']}"
        return None

    def last_seen(self, name: Name, before: datetime) -> datetime | None:
        """When the last of the lives created by then ended; None while one of them runs."""
        ended = [life.ended for life in self.lives.get(name, []) if life.created <= before]
        known = [end for end in ended if end is not None]
        return max(known) if known and len(known) == len(ended) else None

    # ------------------------------------------------------------------ following the API server

    def _follow(self, change: Change) -> None:
        if change.store == PODS:
            self._follow_pod(change)
        elif change.store == PODENIS:
            self._follow_podeni(change)

    def _follow_pod(self, change: Change) -> None:
        lives = self.lives.setdefault(change.name, [])
        uid = change.object["metadata"]["uid"]
        if not lives or lives[-1].uid != uid:
            lives.append(Life(uid, self._now()))
        terminal = (change.object.get("status") or {}).get("phase") in TERMINAL
        if lives[-1].ended is None and (change.kind == "DELETED" or terminal):
            lives[-1].ended = self._now()

    def _follow_podeni(self, change: Change) -> None:
        before, after = change.previous, change.object
        left = change.kind == "DELETED" or _phase(after) != "Bind"
        if (
            before is not None
            and _phase(before) == "Bind"
            and left
            and self._serves_running(before)
        ):
            name = "/".join(change.name)
            self.wrong.append(("P11", f"PodENI {name} left Bind and its Pod runs"))
        if change.kind != "DELETED" and _phase(after) == "Bind":
            self._note_shown(change.name, after)

    def _note_shown(self, name: Name, podeni: dict[str, Any]) -> None:
        addresses = {
            each["interface"]: each["ipv4"] for each in podeni["spec"].get("allocations", [])
        }
        uid = (podeni["metadata"].get("annotations") or {}).get(POD_UID, "")
        shown = self.shown.setdefault(name, [])
        if not shown or shown[-1].uid != uid or shown[-1].addresses != addresses:
            shown.append(Shown(uid, addresses, self._now()))

    def _serves_running(self, podeni: dict[str, Any]) -> bool:
        metadata = podeni["metadata"]
        if _phase(podeni) != "Bind":
            return False
        uid = self.running_uid((metadata["namespace"], metadata["name"]))
        return uid is not None and uid == (metadata.get("annotations") or {}).get(POD_UID)


def _phase(podeni: dict[str, Any]) -> str:
    return str((podeni.get("status") or {}).get("phase", ""))


def _enis(podeni: dict[str, Any]) -> set[str]:
    return {
        each.get("eni", {}).get("id") for each in (podeni.get("spec") or {}).get("allocations", [])
    }
