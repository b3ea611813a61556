"""Where cloud, PodENIs and ledger disagree, and what may be done about it without asking anybody.

Pure. Nothing is concluded from one look: describe answers lag, and a create may just be on its way.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from ledger.rules.allocation import Allocation, Phase
from ledger.rules.entries import Parked

#: Two looks at least this far apart have to agree before anything is done.
LOOKS_APART = timedelta(seconds=50)

FindingKind = Literal[
    "unknown-intent", "unrecorded-bind", "leak", "leak-in-use", "missing", "elsewhere"
]

#: The cloud's word for an ENI that is attached.
IN_USE = "InUse"


@dataclass(frozen=True, slots=True)
class SeenEni:
    """An ENI that carries our tags, as one look showed it. `intent` is what its tag says."""

    id: str
    status: str
    intent: str
    instance_id: str | None = None
    trunk_eni_id: str | None = None


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What earlier looks found about an ENI."""

    kind: str
    first_seen: datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement.

    unknown-intent: its tag names an intent that this ledger never wrote. unrecorded-bind: its PodENI
    is bound for a Pod of which this ledger knows neither that it uses it nor that it is gone. leak:
    its intent is closed and neither an allocation nor a PodENI knows it. leak-in-use: the same, but
    something uses it. missing: an allocation says it exists and the cloud does not show it.
    elsewhere: a bound Pod's, and it is not attached where the Pod is.
    `settled` says that earlier looks agree, so that it may be acted on.
    """

    kind: FindingKind
    eni: str
    detail: str
    settled: bool


def judge_drift(
    seen: Sequence[SeenEni],
    closed_intents: Mapping[str, bool],
    live: Mapping[str, Allocation],
    shown_by_podenis: Collection[str],
    unrecorded: Mapping[str, str],
    suspicions: Mapping[str, Suspicion],
    now: datetime,
) -> list[Finding]:
    """Every disagreement of one look, in the order of ENI ids.

    `closed_intents` has each intent of this ledger that `seen` names and whether it is settled;
    `live` the allocations that hold an ENI, by its id; `unrecorded` what the PodENI of such an ENI
    tells that this ledger does not know (`podeni.why_in_use`).
    """
    found: list[tuple[FindingKind, str, str]] = []
    for eni in seen:
        if eni.id in live:
            found += _of_a_live_one(eni, live[eni.id], unrecorded)
            continue
        if eni.intent not in closed_intents:
            detail = f"carries intent {eni.intent or '(none)'}, which this ledger never wrote"
            found.append(("unknown-intent", eni.id, detail))
        elif closed_intents[eni.intent] and eni.id not in shown_by_podenis:
            detail = f"{eni.status}; its intent {eni.intent} is closed and nothing names it"
            kind: FindingKind = "leak" if eni.status == "Available" else "leak-in-use"
            found.append((kind, eni.id, detail))
    shown = {eni.id for eni in seen}
    for id_, a in live.items():
        if id_ not in shown and _should_be_seen(a):
            where = f"{a.namespace}/{a.pod} {a.interface}"
            found.append(("missing", id_, f"{where} holds it, and the cloud does not show it"))
    return [
        Finding(kind, id_, detail, agrees(kind, suspicions.get(id_), now))
        for kind, id_, detail in sorted(found, key=lambda each: each[1])
    ]


def _of_a_live_one(
    eni: SeenEni, a: Allocation, unrecorded: Mapping[str, str]
) -> list[tuple[FindingKind, str, str]]:
    if eni.id in unrecorded:
        return [("unrecorded-bind", eni.id, unrecorded[eni.id])]
    if a.phase is not Phase.BOUND or a.intent is not None or a.attachment is None:
        return []
    wanted = (IN_USE, a.attachment.instance_id, a.attachment.trunk_eni_id)
    if (eni.status, eni.instance_id, eni.trunk_eni_id) == wanted:
        return []
    on = f" on {eni.instance_id} under {eni.trunk_eni_id or 'no trunk'}" if eni.instance_id else ""
    detail = f"{eni.status}{on}; Pod {a.namespace}/{a.pod} uses it on {a.attachment.instance_id}"
    return [("elsewhere", eni.id, detail)]


def cut_off(a: Allocation, finding: Finding) -> Parked:
    """What is recorded about a bound Pod whose ENI was taken away behind our back.

    Nothing gives the Pod its network back: the node agent wires a Pod once. So nothing is tried;
    a new Pod of the name is served as ever.
    """
    address = a.address.ipv4 if a.address else "its address"
    what = "is gone" if finding.kind == "missing" else "was detached or moved"
    kept = "" if finding.kind == "missing" or a.retention.rule == "none" else f" with {address}"
    return Parked(
        reason=f"{finding.eni} ({address}) {what} behind our back: {finding.detail}",
        next_step=f"Pod {a.namespace}/{a.pod} has no network any more: delete it, and the next one "
        f"of the name is attached anew{kept}",
    )


Remedy = Literal["delete", "record-gone", "park", "look-again", "adopt-if-sure", "ask-a-person"]


def remedy(kind: str, *, settled: bool) -> Remedy:
    """What the next sweep does about a disagreement: the plan that `verify` prints, and what is done."""
    match kind:
        case "unknown-intent" | "unrecorded-bind":
            return "adopt-if-sure"  # and only on a person's order
        case "leak":
            return "delete" if settled else "look-again"
        case "missing":
            return "record-gone" if settled else "look-again"
        case "elsewhere":
            return "park" if settled else "look-again"
        case _:
            return "ask-a-person"


def agrees(kind: str, before: Suspicion | None, now: datetime) -> bool:
    """Whether an earlier look found the same, long enough ago."""
    return before is not None and before.kind == kind and now - before.first_seen >= LOOKS_APART


def _should_be_seen(a: Allocation) -> bool:
    """Whether nothing is under way that would explain an absence."""
    return a.intent is None and a.deleting_since is None and a.phase is not Phase.RELEASING
