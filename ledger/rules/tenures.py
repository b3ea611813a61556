"""Which period of holding each entry opens and closes.

A period is a stretch in which one ENI with its addresses served one holder in one way. Audit reads
periods; the live claims are elsewhere (`ledger.allocation`), because they must cost nothing.
"""

from dataclasses import dataclass
from typing import Literal

from ledger.rules.allocation import Allocation, Phase
from ledger.rules.entries import Address, Place

TenureKind = Literal["preparing", "bound", "leaving", "reserved", "releasing"]

_KINDS: dict[Phase, TenureKind] = {
    Phase.WANTED: "preparing",
    Phase.BOUND: "bound",
    Phase.LEAVING: "leaving",
    Phase.RESERVED: "reserved",
    Phase.RELEASING: "releasing",
}


@dataclass(frozen=True, slots=True)
class Holding:
    """What a period says; two states with the same holding are one period."""

    kind: TenureKind
    pod_uid: str
    node: str
    address: Address
    instance_id: str | None
    trunk_eni_id: str | None
    vlan: int | None


def holding_of(state: Allocation | None) -> Holding | None:
    """The holding a state stands for; None while there is no ENI."""
    if state is None or state.address is None or state.phase is Phase.RELEASED:
        return None
    on: Place | None = state.place if state.phase is Phase.BOUND else None
    attachment = state.attachment if state.phase is Phase.BOUND else None
    return Holding(
        kind=_KINDS[state.phase],
        pod_uid=state.pod_uid,
        node=state.node,
        address=state.address,
        instance_id=on.instance_id if on else None,
        trunk_eni_id=on.trunk_eni_id if on else None,
        vlan=attachment.vlan if attachment else None,
    )


@dataclass(slots=True)
class Turnover:
    """What a run of entries of one moment does to an allocation's periods.

    `closed_by` is the version that ended the period open before, `opened` the holding that lasts
    beyond the moment and the version that began it. A holding that came and went within the moment
    leaves no trace: a period has a length.
    """

    closed_by: int | None = None
    opened: tuple[Holding, int] | None = None

    def follow(self, before: Allocation | None, after: Allocation) -> None:
        """Take one more entry's effect into account."""
        was, holds = holding_of(before), holding_of(after)
        if was == holds:
            return
        if was is not None and self.closed_by is None and self.opened is None:
            self.closed_by = after.version
        self.opened = (holds, after.version) if holds is not None else None
