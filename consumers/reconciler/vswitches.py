"""Looks at vSwitches in the cloud and keeps what was seen, for choosing and for CIDRs."""

from datetime import timedelta

from consumers.cloud.port import Answer, CloudError, Throttled, VSwitch
from consumers.reconciler.tools import THROTTLE_BACKOFF_S, Pause, Tools
from ledger.rules.vswitches import VSwitchFacts
from ledger.store.database import ledger_now
from ledger.store.places import keep_vswitch
from ledger.store.work import Claim, back_off

API = "DescribeVSwitches"


def look_at_vswitches(tools: Tools, held: Claim, ids: tuple[str, ...]) -> Pause | None:
    """Look at each and keep it; one that does not exist is simply not kept. None: all were asked."""
    for id_ in ids:
        seen = look_at_vswitch(tools, held, id_)
        if isinstance(seen, Pause):
            return seen
    return None


def look_at_vswitch(tools: Tools, held: Claim, id_: str) -> VSwitchFacts | Pause | None:
    """One vSwitch as the cloud has it now, kept; None where it does not exist."""
    permit = tools.permit(API, held)
    if permit is not None:
        return permit
    try:
        answer: Answer[VSwitch | None] = tools.cloud.describe_vswitch(id_)
    except CloudError as failed:
        until = tools.now() + timedelta(seconds=THROTTLE_BACKOFF_S)
        if isinstance(failed, Throttled):
            with tools.database.transaction() as connection:
                back_off(connection, tools.bucket(API), until)
        return Pause(until, str(failed), problem=True, code=failed.code)
    found = answer.value
    if found is None:
        return None
    facts = VSwitchFacts(
        found.id, found.zone, found.cidr, found.ipv6_cidr or "", found.available_ips
    )
    with tools.database.transaction() as connection:
        keep_vswitch(connection, found.vpc_id, facts, ledger_now(connection))
    return facts
