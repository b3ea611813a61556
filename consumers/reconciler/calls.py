"""One cloud call: intent first, then the call, then what came of it.

The intent is committed before the request leaves, with the token that makes a create repeatable.
An outcome that isn't known stays open; `settling.py` finds it out. No lock and no transaction is
held while the cloud is asked.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from consumers.cloud.port import Answer, CreateEni, Eni, EniQuery, Refused, Throttled, Unknown
from consumers.kube.port import KubeError
from consumers.reconciler.addresses import address_of, record_address
from consumers.reconciler.describing import describe
from consumers.reconciler.eni_looks import NotYet, judge_open_call
from consumers.reconciler.pod_events import tell_pod
from consumers.reconciler.tools import THROTTLE_BACKOFF_S, Fenced, Pause, Tools, about
from ledger.rules import entries as e
from ledger.rules.allocation import Allocation
from ledger.rules.planning import Call
from ledger.rules.podeni import why_in_use
from ledger.rules.under_way import VSWITCH_FULL, Intent
from ledger.store import work
from ledger.store.places import mark_vswitch_full
from ledger.store.work import Claim

_log = structlog.get_logger(__name__)

#: Tags of every ENI (P4). Never the incumbent's creator tag: its garbage collection acts on it.
CLUSTER_TAG, CREATOR_TAG, INTENT_TAG = "ack.aliyun.com", "creator", "eni-ledger/intent"
CREATOR = "eni-ledger"


@dataclass(frozen=True, slots=True)
class Intended:
    """A call whose intent is committed."""

    allocation: Allocation
    intent: Intent


def make_call(tools: Tools, held: Claim, call: Call) -> Pause | None:
    """Make one call to its end. None: it was accepted and recorded, so plan on."""
    used = _still_used(tools, held, call.allocation) if call.destructive else None
    if used is not None:
        return used
    intended = _intend(tools, held, call)
    if isinstance(intended, Pause):
        return intended
    return carry_out(tools, held, intended)


def _still_used(tools: Tools, held: Claim, a: Allocation) -> Pause | None:
    """Ask the API server whether a PodENI binds this ENI for a Pod that was not found gone (P11).

    Where our own record is whole it never does. After a restore it may, and nothing in the ledger
    would tell.
    """
    with tools.database.transaction() as connection:
        now = tools.keep(connection, held, tools.kube_budget)
    try:
        why = why_in_use(tools.kube.get_podeni(a.namespace, a.pod), a)
    except KubeError as failed:
        return Pause(tools.backoff(held.attempt, now, cap_s=30), str(failed), problem=True)
    if why is None:
        return None
    _log.error("an ENI is used that was to be taken away", **about(a), cause=why)
    return Pause(tools.backoff(held.attempt, now), why, problem=True)


def carry_out(tools: Tools, held: Claim, intended: Intended) -> Pause | None:
    """Send an intended call and record what came of it."""
    intent = intended.intent
    if tools.now() > intent.deadline - tools.answer_budget:
        # This process slept since its intent: another may have given the call up for lost and
        # acted on that. Sent now it could come after its own deadline (P10).
        why = f"{intent.api} was not sent in time: what became of it is being found out"
        return Pause(intent.deadline, why)
    try:
        answer = _send(tools, intended.allocation.cluster, intent)
    except Throttled as throttled:
        return _throttled(tools, held, intended, throttled)
    except Refused as refused:
        return _refused(tools, held, intended, refused)
    except Unknown as unknown:
        return _unknown(tools, held, intended, unknown)
    return _done(tools, held, intended, answer)


def _intend(tools: Tools, held: Claim, call: Call) -> Intended | Pause:
    a = call.allocation
    with tools.fenced(held, [a], busy=tools.answer_budget) as fenced:
        why = tools.stands_still(fenced.connection, a.cluster, destructive=call.destructive)
        if why is not None:
            return Pause(fenced.now + timedelta(seconds=5), why, problem=True)
        pause = tools.permit_within(fenced.connection, call.api, held)
        if pause is not None:
            return pause
        id_ = tools.new_id()
        creating = call.api == "CreateNetworkInterface"
        entry = e.CallIntended(
            intent=id_,
            api=call.api,
            client_token=str(id_) if creating else None,
            parameters=_create_parameters(tools, call) if creating else call.parameters,
            deadline=fenced.now + tools.call_budget,
        )
        state = fenced.record(a, [entry], {"plan": call.api})
    assert state.intent is not None
    return Intended(state, state.intent)


def _create_parameters(tools: Tools, call: Call) -> dict[str, str]:
    """Everything the request is made of, so that a repetition under the same token is the same."""
    a = call.allocation
    resource_group = a.terms.resource_group_id or tools.settings.policy.resource_group_id
    # A high-performance ENI takes an interface of the instance's own: under a trunk there is none.
    exclusive = a.place is not None and a.place.trunk_eni_id is None
    traffic_mode = a.terms.traffic_mode if exclusive else ""
    return {
        **call.parameters,
        "security_group_ids": ",".join(a.terms.security_group_ids),
        "ipv6_count": "1" if tools.settings.policy.ip_stack in ("ipv6", "dual") else "0",
        "delete_on_release": str(a.retention.rule == "none").lower(),
        "resource_group_id": resource_group,
        "traffic_mode": traffic_mode,
    }


def _send(tools: Tools, cluster: str, intent: Intent) -> Answer[Eni] | Answer[None]:
    told = intent.parameters
    match intent.api:
        case "CreateNetworkInterface":
            assert intent.client_token is not None
            return tools.cloud.create_eni(
                CreateEni(
                    vswitch_id=told["vswitch_id"],
                    security_group_ids=tuple(told["security_group_ids"].split(",")),
                    client_token=intent.client_token,
                    tags={CLUSTER_TAG: cluster, CREATOR_TAG: CREATOR, INTENT_TAG: str(intent.id)},
                    delete_on_release=told["delete_on_release"] == "true",
                    ipv6_count=int(told["ipv6_count"]),
                    resource_group_id=told["resource_group_id"],
                    traffic_mode=told.get("traffic_mode", ""),
                )
            )
        case "AttachNetworkInterface":
            return tools.cloud.attach_eni(
                told["eni"], told["instance_id"], told.get("trunk_eni_id"), None
            )
        case "DetachNetworkInterface":
            return tools.cloud.detach_eni(
                told["eni"], told["instance_id"], told.get("trunk_eni_id")
            )
        case "DeleteNetworkInterface":
            return tools.cloud.delete_eni(told["eni"])
        case "ModifyNetworkInterfaceAttribute":
            groups = told["security_group_ids"].split(",")
            return tools.cloud.modify_eni_security_groups(told["eni"], groups)


def _done(
    tools: Tools, held: Claim, intended: Intended, answer: Answer[Eni] | Answer[None]
) -> Pause | None:
    intent = intended.intent
    cause: dict[str, Any] = {"call": intent.api, "request_id": answer.request_id}
    if isinstance(answer.value, Eni):
        address = address_of(tools, answer.value)
        done = e.CallDone(
            intent=intent.id, settled_by="answer", request_id=answer.request_id, address=address
        )
        pause = record_address(tools, held, intended.allocation, done, cause)
        tell_pod(tools, intended.allocation, intent.api, f"create enis {address.eni}", failed=False)
        return pause
    with tools.fenced(held, [intended.allocation], same_version=False) as fenced:
        if _still_open(fenced.states[intended.allocation.id], intent):
            done = e.CallDone(
                intent=intent.id,
                settled_by="answer",
                request_id=answer.request_id,
                already_gone=answer.already_gone,
            )
            fenced.record(intended.allocation, [done], cause)
    return None


def _throttled(tools: Tools, held: Claim, intended: Intended, said: Throttled) -> Pause:
    with tools.fenced(held, [intended.allocation], same_version=False) as fenced:
        until = fenced.now + timedelta(seconds=THROTTLE_BACKOFF_S * tools.rng.uniform(0.8, 1.4))
        _settle_refused(fenced, intended, said, throttled=True)
        work.back_off(fenced.connection, tools.bucket(intended.intent.api), until)
    return Pause(until, f"{intended.intent.api} is throttled ({said.code})")


def _refused(tools: Tools, held: Claim, intended: Intended, said: Refused) -> Pause | None:
    if _is_so_already(tools, held, intended):
        return None
    with tools.fenced(held, [intended.allocation], same_version=False) as fenced:
        _settle_refused(fenced, intended, said, throttled=False)
        vswitch = intended.intent.parameters.get("vswitch_id")
        if said.code in VSWITCH_FULL and vswitch is not None:
            mark_vswitch_full(fenced.connection, vswitch, fenced.now)
        now = fenced.now
    tell_pod(tools, intended.allocation, intended.intent.api, str(said), failed=True)
    _log.warning("the cloud refused", **about(intended.allocation), cause=str(said))
    if said.code in VSWITCH_FULL:
        return None  # the plan falls through to the next vSwitch in this same attempt
    return Pause(tools.backoff(held.attempt, now), str(said), problem=True)


def _is_so_already(tools: Tools, held: Claim, intended: Intended) -> bool:
    """Whether the cloud refused because what was asked is already so; then the call is done.

    An attach, detach or delete takes no token, so one that took effect earlier is refused now.
    """
    intent = intended.intent
    if intent.api == "CreateNetworkInterface":
        return False
    answer = describe(tools, held, EniQuery(eni_ids=(intent.parameters["eni"],)))
    if isinstance(answer, Pause):
        return False
    eni = answer.value[0] if answer.value else None
    judged = judge_open_call(intent, eni, intent.intended_at, answer.request_id)
    if isinstance(judged, NotYet):
        return False
    with tools.fenced(held, [intended.allocation], same_version=False) as fenced:
        if _still_open(fenced.states[intended.allocation.id], intent):
            fenced.record(intended.allocation, judged, {"look": answer.request_id})
    return True


def _settle_refused(
    fenced: Fenced, intended: Intended, said: Throttled | Refused, *, throttled: bool
) -> None:
    intent = intended.intent
    if not _still_open(fenced.states[intended.allocation.id], intent):
        return
    entry = e.CallRefused(
        intent=intent.id,
        code=said.code,
        message=said.message,
        request_id=said.request_id,
        throttled=throttled,
    )
    fenced.record(intended.allocation, [entry], {"call": intent.api, "request_id": said.request_id})


def _unknown(tools: Tools, held: Claim, intended: Intended, said: Unknown) -> Pause:
    intent = intended.intent
    with tools.fenced(held, [intended.allocation], same_version=False) as fenced:
        if _still_open(fenced.states[intended.allocation.id], intent):
            entry = e.CallUnknown(intent=intent.id, code=said.code, message=said.message)
            fenced.record(intended.allocation, [entry], {"call": intent.api})
        until = fenced.now + tools.look_interval
    _log.warning("outcome unknown: looking", **about(intended.allocation), cause=str(said))
    return Pause(until, f"what became of {intent.api} is being found out")


def _still_open(state: Allocation, intent: Intent) -> bool:
    """Whether nobody settled this call meanwhile: a late answer then has nothing to add."""
    return state.intent is not None and state.intent.id == intent.id
