"""Where cloud, PodENIs and ledger disagree, and what may be done about it without asking anybody.

Pure. Nothing is concluded from one look: describe answers lag, and a create may just be on its way.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from ledger.rules.allocation import Allocation, Phase

#: Two looks at least this far apart have to agree before anything is done.
LOOKS_APART = timedelta(seconds=50)

FindingKind = Literal["unknown-intent", "leak", "leak-in-use", "missing"]


@dataclass(frozen=True, slots=True)
class SeenEni:
    """An ENI that carries our tags, as one look showed it. `intent` is what its tag says."""

    id: str
    status: str
    intent: str


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What earlier looks found about an ENI."""

    kind: str
    first_seen: datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement.

    unknown-intent: its tag names an intent that this ledger never wrote. leak: its intent is closed
    and neither an allocation nor a PodENI knows it. leak-in-use: the same, but something uses it.
    missing: an allocation says it exists and the cloud does not show it.
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
    suspicions: Mapping[str, Suspicion],
    now: datetime,
) -> list[Finding]:
    """Every disagreement of one look, in the order of ENI ids.

    `closed_intents` has each intent of this ledger that `seen` names and whether it is settled;
    `live` the allocations that hold an ENI, by its id.
    """
    found: list[tuple[FindingKind, str, str]] = []
    for eni in seen:
        if eni.id in live:
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


Remedy = Literal["delete", "record-gone", "look-again", "adopt-if-sure", "ask-a-person"]


def remedy(kind: str, *, settled: bool) -> Remedy:
    """What the next sweep does about a disagreement: the plan that `verify` prints, and what is done."""
    if kind == "unknown-intent":
        return "adopt-if-sure"  # and only on a person's order
    if kind not in ("leak", "missing"):
        return "ask-a-person"
    if not settled:
        return "look-again"
    return "delete" if kind == "leak" else "record-gone"


def agrees(kind: str, before: Suspicion | None, now: datetime) -> bool:
    """Whether an earlier look found the same, long enough ago."""
    return before is not None and before.kind == kind and now - before.first_seen >= LOOKS_APART


def _should_be_seen(a: Allocation) -> bool:
    """Whether nothing is under way that would explain an absence."""
    return a.intent is None and a.deleting_since is None and a.phase is not Phase.RELEASING
