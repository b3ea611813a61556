"""Looks at an ENI in the cloud, and what a look says about a motion or an open call.

What a look shows is judged by pure functions (`judge_motion`, `judge_open_call`). Describe answers
may be some seconds behind the truth, so absence of evidence counts only after the call's deadline,
and absence of an ENI only where a delete was asked for or when it has had time to appear.
"""

from dataclasses import dataclass
from datetime import datetime

from consumers.cloud.port import (
    ATTACHING,
    AVAILABLE,
    DELETING,
    DETACHING,
    IN_USE,
    Eni,
    EniQuery,
)
from consumers.reconciler.addresses import record_claim
from consumers.reconciler.describing import DESCRIBE_LAG, describe
from consumers.reconciler.pod_events import tell_pod
from consumers.reconciler.tools import Pause, Tools
from ledger.rules import entries as e
from ledger.rules.allocation import Allocation
from ledger.rules.entries import Entry
from ledger.rules.planning import STUCK_AFTER
from ledger.rules.under_way import Intent
from ledger.store.book import unseen_since
from ledger.store.work import Claim


@dataclass(frozen=True, slots=True)
class NotYet:
    """The look settles nothing: look again. `problem` says that it won't by itself."""

    why: str
    problem: bool = False


def look_at_motion(tools: Tools, held: Claim, a: Allocation) -> Pause | None:
    """Look how far an attach, detach or delete has come. None: it came further and was recorded."""
    assert a.address is not None
    answer = describe(tools, held, EniQuery(eni_ids=(a.address.eni,)))
    if isinstance(answer, Pause):
        return answer
    now = tools.now()
    eni = answer.value[0] if answer.value else None
    judged = judge_motion(a, eni, now)
    if judged == e.EniGone(expected=True) and _may_be_of_before(tools, a, now):
        judged = NotYet(f"{a.address.eni} is not to be seen")
    if isinstance(judged, NotYet):
        if judged.problem:
            return Pause(tools.backoff(held.attempt, now), judged.why, problem=True)
        return Pause(now + tools.look_interval, judged.why)
    cause = {"look": answer.request_id}
    if isinstance(judged, e.Attached):
        return record_claim(tools, held, a, judged, a.address, cause)
    with tools.fenced(held, [a]) as fenced:
        fenced.record(a, [judged], cause)
    if isinstance(judged, e.AttachFailed):
        note = f"{a.address.eni} is {judged.status} again after an accepted attach: trying again"
        tell_pod(tools, a, "AttachNetworkInterface", note, failed=True)
        return Pause(tools.backoff(held.attempt, now), note)
    return None


def _may_be_of_before(tools: Tools, a: Allocation, now: datetime) -> bool:
    """Whether a look without its ENI may be of a time before that was made, the delete still under way."""
    with tools.database.transaction() as connection:
        since = unseen_since(connection, a)
    return since is not None and now - since < DESCRIBE_LAG


def judge_motion(a: Allocation, eni: Eni | None, now: datetime) -> Entry | NotYet:
    """What a look at a moving ENI says, as the entry to append; or that it is still moving. Pure."""
    assert a.address is not None
    if a.deleting_since is not None:
        return (
            e.EniGone(expected=True) if eni is None else NotYet(f"{a.address.eni} is being deleted")
        )
    assert a.attachment is not None
    fresh = now - a.attachment.since < DESCRIBE_LAG
    if eni is None:
        return NotYet(f"{a.address.eni} is not to be seen") if fresh else e.EniGone(expected=False)
    if a.attachment.motion == "detaching":
        return (
            e.Detached() if eni.status == AVAILABLE else NotYet(f"{a.address.eni} is {eni.status}")
        )
    wanted = (a.attachment.instance_id, a.attachment.trunk_eni_id)
    if eni.status == IN_USE and (eni.instance_id, eni.trunk_eni_id) == wanted:
        return e.Attached(
            instance_id=a.attachment.instance_id,
            trunk_eni_id=eni.trunk_eni_id,
            vlan=eni.vlan,
            eni_type=eni.type,
        )
    if eni.status == AVAILABLE and not fresh:
        return e.AttachFailed(status=eni.status)
    stuck = now - a.attachment.since > STUCK_AFTER
    if eni.status == IN_USE and not fresh:
        where = f"{eni.instance_id} under {eni.trunk_eni_id or 'no trunk'}"
        next_step = f"find out who attached it there, and detach it, or release {a.address.ipv4}"
        return NotYet(f"{a.address.eni} is in use on {where}: {next_step}", problem=True)
    return NotYet(f"{a.address.eni} is {eni.status}", problem=stuck)


def judge_open_call(
    intent: Intent, eni: Eni | None, now: datetime, request_id: str
) -> tuple[Entry, ...] | NotYet:
    """What a look says about a call without an answer, create excepted. Pure.

    Evidence that it took effect counts at once; none counts only after the deadline, because until
    then the call may still be on its way.
    """
    done = e.CallDone(intent=intent.id, settled_by="look", request_id=request_id)
    undone = e.CallUndone(intent=intent.id, request_id=request_id)
    late = now >= intent.deadline
    match intent.api, eni.status if eni else None:
        case "AttachNetworkInterface", str(status) if status in (ATTACHING, IN_USE):
            assert eni is not None
            if eni.instance_id in (None, intent.parameters["instance_id"]):
                return (done,)
        case "DetachNetworkInterface", str(status) if status in (AVAILABLE, DETACHING):
            return (done,)
        case "DeleteNetworkInterface", str(status) if status == DELETING:
            return (done,)
        case "ModifyNetworkInterfaceAttribute", str():
            assert eni is not None
            asked = set(intent.parameters["security_group_ids"].split(","))
            if set(eni.security_group_ids) == asked:
                return (done,)
        case "DetachNetworkInterface" | "DeleteNetworkInterface", None if late:
            return (done, e.EniGone(expected=intent.api == "DeleteNetworkInterface"))
        case _:
            pass
    return (undone,) if late else NotYet(f"{intent.api} may still take effect")
