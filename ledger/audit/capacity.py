"""How full vSwitches and nodes are, and when a vSwitch will be full."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from ledger.rules.capacity import STEP, WINDOW, Held, NoTrend, Trend, Use, trend_of, warning_of

_VSWITCHES = """
SELECT vswitch, vpc, zone, cidr, size, free_estimate AS free, looked_at,
    in_use, reserved, reserved_for_ever, releasing
FROM audit.vswitch_capacity
WHERE cluster = %(cluster)s AND (%(only)s::text IS NULL OR vswitch = %(only)s) ORDER BY vswitch
"""
_NODES = """
SELECT node, instance, trunk, member_slots, attached, waiting, free FROM audit.node_capacity
WHERE cluster = %(cluster)s AND (%(only)s::text IS NULL OR node = %(only)s) ORDER BY node
"""
_HISTORY = (
    "SELECT at, held FROM audit.vswitch_history(%(vswitch)s, %(since)s, %(step)s) ORDER BY at"
)


@dataclass(frozen=True, slots=True)
class VSwitchCapacity:
    """One vSwitch: what the cluster uses and keeps in it, and what is free of it (an estimate).

    `trend` is of all that this ledger holds there; `warning` is None when all is well.
    """

    vswitch: str
    vpc: str
    zone: str
    cidr: str
    size: int | None
    free: int
    looked_at: datetime
    in_use: int
    reserved: int
    reserved_for_ever: int
    releasing: int
    trend: Trend | NoTrend
    warning: str | None


@dataclass(frozen=True, slots=True)
class NodeCapacity:
    """One node's slots for member ENIs, as it advertises them, and what is left of them."""

    node: str
    instance: str
    trunk: str | None
    slots: int
    attached: int
    waiting: int
    free: int


def vswitch_capacity(
    connection: Connection, cluster: str, now: datetime, only: str | None = None
) -> list[VSwitchCapacity]:
    """Every vSwitch the cluster has to do with, or `only` one, by id."""
    found = connection.exec_driver_sql(_VSWITCHES, {"cluster": cluster, "only": only})
    answer = []
    for row in found.mappings().all():
        history = connection.exec_driver_sql(
            _HISTORY, {"vswitch": row["vswitch"], "since": now - WINDOW, "step": STEP}
        )
        trend = trend_of([Held(at, held) for at, held in history], row["free"], now)
        use = Use(row["size"], row["free"], row["reserved"], row["reserved_for_ever"])
        answer.append(VSwitchCapacity(**row, trend=trend, warning=warning_of(use, trend, now)))
    return answer


def node_capacity(
    connection: Connection, cluster: str, only: str | None = None
) -> list[NodeCapacity]:
    """Every node that advertises slots for member ENIs, or `only` one, by name."""
    found = connection.exec_driver_sql(_NODES, {"cluster": cluster, "only": only})
    return [NodeCapacity(*row) for row in found]
