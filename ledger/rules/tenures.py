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
