"""Finds out what became of a call whose outcome is open: never by repeating it blindly (P4)."""

from consumers.cloud.port import EniQuery
from consumers.reconciler.addresses import address_of, record_address
from consumers.reconciler.calls import INTENT_TAG, Intended, carry_out
from consumers.reconciler.describing import describe
from consumers.reconciler.eni_looks import NotYet, judge_open_call
from consumers.reconciler.tools import Pause, Tools
from ledger.rules import entries as e
from ledger.rules.allocation import Allocation
from ledger.rules.under_way import Intent
from ledger.store.work import Claim


def settle(tools: Tools, held: Claim, a: Allocation) -> Pause | None:
    """Find out what became of a call whose outcome is open. None: it is settled."""
    assert a.intent is not None
    intent = a.intent
    if intent.api == "CreateNetworkInterface":
        return _settle_create(tools, held, a, intent)
    answer = describe(tools, held, EniQuery(eni_ids=(intent.parameters["eni"],)))
    if isinstance(answer, Pause):
        return answer
    now = tools.now()
    judged = judge_open_call(
        intent, answer.value[0] if answer.value else None, now, answer.request_id
    )
    if isinstance(judged, NotYet):
        return Pause(min(intent.deadline, now + tools.look_interval), judged.why)
    with tools.fenced(held, [a]) as fenced:
        fenced.record(a, judged, {"look": answer.request_id})
    return None


def _settle_create(tools: Tools, held: Claim, a: Allocation, intent: Intent) -> Pause | None:
    """Found by its tag: done. Not found after the deadline: the same request, under the same token."""
    answer = describe(tools, held, EniQuery(tags={INTENT_TAG: str(intent.id)}))
    if isinstance(answer, Pause):
        return answer
    if answer.value:
        done = e.CallDone(
            intent=intent.id,
            settled_by="look",
            request_id=answer.request_id,
            address=address_of(tools, answer.value[0]),
        )
        return record_address(tools, held, a, done, {"look": answer.request_id})
    now = tools.now()
    if now < intent.deadline:
        until = min(intent.deadline, now + tools.look_interval)
        return Pause(until, f"{intent.api} may still take effect")
    permit = tools.permit(intent.api, held)
    if permit is not None:
        return permit
    with tools.fenced(held, [a], busy=tools.answer_budget) as fenced:
        repeated = e.CallRepeated(intent=intent.id, deadline=fenced.now + tools.call_budget)
        state = fenced.record(a, [repeated], {"look": answer.request_id})
    assert state.intent is not None
    return carry_out(tools, held, Intended(state, state.intent))
