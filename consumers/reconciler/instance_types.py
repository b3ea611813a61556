"""Looks at instance types in the cloud and keeps what was seen, so that no call is wasted on a node
that has no room.

A look that can't be had (throttled, or the role lacks ecs:DescribeInstanceTypes) stops nobody: what
was seen before goes on counting, and without that the cloud itself refuses what does not fit.
"""

from datetime import timedelta

import structlog

from consumers.cloud.port import CloudError, Throttled
from consumers.reconciler.tools import THROTTLE_BACKOFF_S, Pause, Tools
from ledger.rules.instance_types import InstanceTypeFacts
from ledger.store.database import ledger_now
from ledger.store.places import keep_instance_type
from ledger.store.work import Claim, back_off

_log = structlog.get_logger(__name__)

API = "DescribeInstanceTypes"


def look_at_instance_type(tools: Tools, held: Claim, name: str) -> Pause | None:
    """Ask the cloud about one instance type and keep the answer. None: it was had."""
    permit = tools.permit(API, held)
    if permit is not None:
        return permit
    try:
        answer = tools.cloud.describe_instance_types([name])
    except CloudError as failed:
        until = tools.now() + timedelta(seconds=THROTTLE_BACKOFF_S)
        if isinstance(failed, Throttled):
            with tools.database.transaction() as connection:
                back_off(connection, tools.bucket(API), until)
        _log.warning(
            "going on without an instance type's limits", instance_type=name, cause=str(failed)
        )
        return Pause(until, str(failed), code=failed.code)
    found = next((each for each in answer.value if each.instance_type == name), None)
    with tools.database.transaction() as connection:
        now = ledger_now(connection)
        facts = InstanceTypeFacts(name, now, known=False)
        if found is not None:
            facts = InstanceTypeFacts(
                id=name,
                looked_at=now,
                trunk_supported=found.trunk_supported,
                eni_quantity=found.eni_quantity,
                eni_total_quantity=found.eni_total_quantity,
            )
        keep_instance_type(connection, facts)
    return None
