"""How many ENIs of ours an instance can carry: what its type allows, and who is counted.

The numbers are the cloud's (DescribeInstanceTypes), kept as last looked at. They save calls that
can only fail; where they are not known, the cloud has the last word.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.rules.allocation import Allocation, Phase
from ledger.rules.nodes import NodeFacts

# Quotas of a type change once in years; a day bounds how long a change goes unseen.
LOOK_AGAIN_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class InstanceTypeFacts:
    """One instance type as last looked at. `known` is false where the cloud has no such type.

    `eni_quantity` counts ordinary ENIs with the primary one; `eni_total_quantity` counts members
    too.
    """

    id: str
    looked_at: datetime
    known: bool = True
    trunk_supported: bool = False
    eni_quantity: int = 0
    eni_total_quantity: int = 0

    def stale(self, now: datetime) -> bool:
        """Whether it is time to look again."""
        return now - self.looked_at >= LOOK_AGAIN_AFTER

    @property
    def member_limit(self) -> int:
        """Members beside the full number of ordinary ENIs: what nodes advertise (reference §7.3)."""
        return max(0, self.eni_total_quantity - self.eni_quantity) if self.trunk_supported else 0

    @property
    def most_members(self) -> int:
        """Members beside nothing but the primary ENI and the trunk (reference §7.3)."""
        return max(0, self.eni_total_quantity - 2) if self.trunk_supported else 0

    @property
    def most_exclusive(self) -> int:
        """Whole ENIs beside the primary one."""
        return max(0, self.eni_quantity - 1)


@dataclass(frozen=True, slots=True)
class Carrier:
    """What an ENI takes a slot of: a trunk, or (`trunk_eni_id` None) the instance itself."""

    instance_id: str
    trunk_eni_id: str | None


def carrier_of(a: Allocation) -> Carrier | None:
    """Whose slot an allocation takes: where its ENI is attached, else where it is to be; or None."""
    if a.attachment is not None:
        return Carrier(a.attachment.instance_id, a.attachment.trunk_eni_id)
    if a.phase is Phase.WANTED and a.place is not None:
        return Carrier(a.place.instance_id, a.place.trunk_eni_id)
    return None


def no_room(node: NodeFacts, facts: InstanceTypeFacts, carried: int, *, trunk: bool) -> str | None:
    """Why one more ENI of ours can't go there, for a person to read; None where it can.

    `carried` are those that take a slot already. A node may advertise more members than its type
    reserves (its agent counts on fewer ordinary ENIs): what it says is believed up to what the type
    can carry at all.
    """
    if not facts.known:
        return None
    if not trunk:
        limit, what = facts.most_exclusive, "ENIs beside its primary one"
    elif not facts.trunk_supported:
        return (
            f"instance type {facts.id} of node {node.name} does not support a trunk ENI: schedule "
            "the Pod to a node of a type that does (EniTrunkSupported)"
        )
    else:
        advertised = max(facts.member_limit, node.member_eni_allocatable or 0)
        limit, what = min(facts.most_members, advertised), "member ENIs"
    if carried < limit:
        return None
    return (
        f"node {node.name} has no room for another ENI: its type {facts.id} allows {limit} {what}, "
        "and Pods hold all of them; it goes on when one is freed"
    )
