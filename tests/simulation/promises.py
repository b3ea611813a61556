"""The promises, checked while a story runs. Each finding names the promise it breaks.

Judged by the simulators' own truth wherever there is one; the ledger is only asked what it wrote.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from consumers.reconciler.calls import INTENT_TAG
from consumers.runtime.settings import Settings
from deploy.local.cloud.model import CloudModel
from tests.simulation.ground import Ground
from tests.simulation.story import MUTATING, PodPlan
from tests.simulation.trace import Trace
from tests.simulation.truth import Name, Truth

#: Between a live look and its record a Pod may appear: as long as a look counts (P2, P11).
LOOK_AGE_MAX = timedelta(seconds=15)
#: Processes that may hold a permit they have not used yet.
STRAGGLERS = 3

_NEW_ENTRIES = """
SELECT id, allocation_id, version, kind, recorded_at, cause, data FROM ledger.entry
WHERE id > %s ORDER BY id
"""
_DOUBLE_CLAIMS = """
SELECT 'IPv4 ' || host(ipv4) FROM ledger.allocation WHERE phase <> 'released' AND ipv4 IS NOT NULL
    GROUP BY vpc, ipv4 HAVING count(*) > 1
UNION ALL SELECT 'ENI ' || eni FROM ledger.allocation WHERE phase <> 'released' AND eni IS NOT NULL
    GROUP BY eni HAVING count(*) > 1
UNION ALL SELECT 'VLAN ' || trunk || ' ' || vlan FROM ledger.allocation
    WHERE phase <> 'released' AND trunk IS NOT NULL AND vlan IS NOT NULL
    GROUP BY trunk, vlan HAVING count(*) > 1
UNION ALL SELECT 'interface ' || namespace || '/' || pod || ' ' || interface FROM ledger.allocation
    WHERE phase NOT IN ('released', 'releasing')
    GROUP BY cluster, namespace, pod, interface HAVING count(*) > 1
"""
_OPEN_CALLS = """
SELECT api, deadline FROM ledger.cloud_call
WHERE settled_at IS NULL AND (client_token = %(token)s OR parameters->>'eni' = %(eni)s)
"""
_LEAK_INTENDED = """
SELECT kind = 'leak-release-intended' FROM ledger.entry
WHERE kind IN ('leak-release-intended', 'leak-released') AND data->>'eni' = %s
ORDER BY id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise that was broken, and how."""

    promise: str
    what: str


@dataclass(slots=True)
class _Bucket:
    """What P9 allows of one API."""

    tokens: float
    filled_at: datetime


@dataclass(slots=True)
class Promises:
    """Checks as the story goes. `findings` collects what was broken."""

    ground: Ground
    truth: Truth
    cloud: CloudModel
    trace: Trace
    settings: Settings
    plans: Mapping[Name, PodPlan]
    findings: list[Finding] = field(default_factory=list)
    entries: int = 0
    _last_entry: int = 0
    _names: dict[UUID, Name] = field(default_factory=dict)
    _addresses: dict[UUID, str] = field(default_factory=dict)
    _buckets: dict[str, _Bucket] = field(default_factory=dict)
    _being_deleted: set[str] = field(default_factory=set)

    def broken(self, promise: str, what: str) -> None:
        self.findings.append(Finding(promise, what))

    # ------------------------------------------------------------------ each cloud call

    def before_call(self, api: str, flat: Mapping[str, str], now: datetime) -> None:
        """P9 for each call; P4, P10 and P11 for each that changes something."""
        self._count(api, now)
        if api not in MUTATING:
            return
        eni = flat.get("NetworkInterfaceId", "")
        self._check_intent(api, flat, eni, now)
        if api == "DeleteNetworkInterface":
            self._being_deleted.add(eni)
        if api == "AttachNetworkInterface" and eni in self._being_deleted:
            self.broken("P10", f"{eni} is attached after a delete was sent for it")
        cut = self.cut_off_by(api, eni)
        if cut is not None:
            self.broken("P11", cut)

    def cut_off_by(self, api: str, eni: str) -> str | None:
        """Whom a call would cut off if it took effect now; None: nobody."""
        if api not in ("DetachNetworkInterface", "DeleteNetworkInterface"):
            return None
        user = self.truth.user_of(eni)
        return f"{api} of {eni}, which the running Pod {user} uses" if user is not None else None

    def _check_intent(self, api: str, flat: Mapping[str, str], eni: str, now: datetime) -> None:
        asked = {"token": flat.get("ClientToken", ""), "eni": eni}
        rows = self.ground.rows(_OPEN_CALLS, asked)
        subject = eni or flat.get("ClientToken", "")
        if not any(named == api for named, _ in rows) and not (
            api == "DeleteNetworkInterface" and leak_intended(self.ground, eni)
        ):
            self.broken("P4", f"{api} {subject} is sent and no open intent is in the ledger")
        if any(named == api and deadline <= now for named, deadline in rows):
            self.broken("P10", f"{api} {subject} is sent after its own deadline")
        if any(named != api for named, _ in rows):
            self.broken("P10", f"{api} {subject} contradicts a call that is not settled")
        if api == "CreateNetworkInterface" and INTENT_TAG not in flat.values():
            self.broken("P4", f"{api} {subject} carries no tag {INTENT_TAG}")

    def _count(self, api: str, now: datetime) -> None:
        limit = self.settings.cloud.rate_limit(api)
        share = self.settings.cloud.budget_share
        burst = max(1, int(limit.burst * share))
        bucket = self._buckets.setdefault(api, _Bucket(burst, now))
        gained = (now - bucket.filled_at).total_seconds() * limit.per_minute / 60 * share
        bucket.tokens = min(burst, bucket.tokens + gained) - 1
        bucket.filled_at = now
        # A process may sleep between its permit and its call: each of them may be one call late.
        if bucket.tokens < -STRAGGLERS - 0.01:
            self.broken("P9", f"{api} is called above its rate and burst")

    # ------------------------------------------------------------------ each step

    def after_step(self, now: datetime) -> None:
        """What was recorded since the last time, and what the API server saw."""
        for promise, what in self.truth.wrong:
            self.broken(promise, what)
        self.truth.wrong.clear()
        for row in self.ground.rows(_NEW_ENTRIES, [self._last_entry]):
            self._last_entry = row[0]
            self.entries += 1
            self._take(*row[1:])

    def check_claims(self) -> None:
        """P1 by brute force."""
        for (what,) in self.ground.rows(_DOUBLE_CLAIMS):
            self.broken("P1", f"{what} is claimed twice")

    def _take(
        self,
        allocation: UUID | None,
        version: int | None,
        kind: str,
        at: datetime,
        cause: dict[str, Any],
        data: dict[str, Any],
    ) -> None:
        if allocation is None:
            self.trace.tell(at, "ledger", f"{kind} {_short(data)}")
            return
        if kind == "requested":
            self._names[allocation] = (data["namespace"], data["pod"])
        name = self._names[allocation]
        told = f"{'/'.join(name)} {str(allocation)[:8]} v{version} {kind} {_short(data)}"
        self.trace.tell(at, "ledger", told)
        if kind == "call-done" and data.get("address"):
            self._addresses[allocation] = data["address"]["eni"]
        if kind == "eni-gone":
            self._check_gone(name, self._addresses.pop(allocation, ""))
        if kind == "absence-confirmed" and self.truth.running_uid(name) == data["pod_uid"]:
            self.broken("P11", f"{'/'.join(name)} is taken for gone and runs")
        if kind == "release-decided":
            self._check_release(name, allocation, data["why"], at)

    def _check_gone(self, name: Name, eni: str) -> None:
        if eni in {each.id for each in self.cloud.enis()}:
            self.broken("P2", f"{'/'.join(name)} loses {eni}, which is taken for gone and exists")

    def _check_release(self, name: Name, allocation: UUID, why: str, at: datetime) -> None:
        """P2 and P3: the promise to the Pod against what really was."""
        plan = self.plans.get(name)
        if plan is None:  # a forged Pod: it was promised nothing
            return
        who = "/".join(name)
        policy = plan.policy
        if why == "never-allocated" and allocation in self._addresses:
            self.broken("P2", f"{who} had an address and is released as if it had none")
        if why == "elastic" and policy.kind != "elastic":
            self.broken("P2", f"{who} has a fixed IP and is released as elastic")
        if why == "requested" and name not in self.truth.given_up:
            self.broken("P3", f"{who} is released on request, and nobody asked")
        if why != "ttl":
            return
        if policy.kind != "ttl":
            self.broken("P3", f"{who} is {policy.kind} and is released by a TTL")
            return
        seen = self.truth.last_seen(name, at - LOOK_AGE_MAX)
        if seen is None:
            self.broken("P2", f"{who} is released while its Pod exists")
        elif at < seen + timedelta(seconds=policy.seconds):
            self.broken(
                "P2", f"{who} is released {seen + timedelta(seconds=policy.seconds) - at} early"
            )


def _short(data: Mapping[str, Any]) -> str:
    """What of an entry's data a reader of the story needs."""
    shown = []
    for name, value in sorted(data.items()):
        if name in ("kind", "terms", "retention", "cluster", "namespace", "pod") or value is None:
            continue
        text = value["eni"] + " " + value["ipv4"] if name == "address" else str(value)
        shown.append(f"{name}={text[:80]}")
    return " ".join(shown)


def leak_intended(ground: Ground, eni: str) -> bool:
    """Whether the sweep said last of an ENI that it deletes it: its intent, where no allocation is."""
    return ground.rows(_LEAK_INTENDED, [eni]) == [(True,)]
