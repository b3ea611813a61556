"""When a changed field of a PodNetworking reaches Pods and reservations that exist already.

Decided once, here: `eni-ledger explain` shows it, the README of this folder tells it. A PodNetworking
is read when a Pod is admitted and written into the Pod's annotation; nothing reads it later.
"""

from dataclasses import dataclass
from typing import Literal

When = Literal["next bind", "on request", "next address", "never"]


@dataclass(frozen=True, slots=True)
class Change:
    """A field of a PodNetworking, when a change of it applies, and to what."""

    field: str
    when: When
    what: str


CHANGES = (
    Change(
        "allocationType",
        "next bind",
        "a reservation keeps its TTL or strategy until a Pod of its name comes back; that Pod's "
        "own annotation decides how long its address is kept from then on",
    ),
    Change(
        "securityGroupIDs",
        "on request",
        "an address that is held keeps its groups, also when its Pod is made anew; "
        "`eni-ledger security-groups NAMESPACE/NAME sg-1,sg-2 --reason …` changes them in place",
    ),
    Change(
        "vSwitchOptions, vSwitchSelectOptions",
        "next address",
        "a fixed address is of its vSwitch and stays in its zone; only a new address is taken from "
        "the new vSwitches: `eni-ledger release` gives the old one up",
    ),
    Change("eniOptions", "next address", "an ENI stays what it was made as"),
    Change(
        "selector",
        "never",
        "Pods that exist are not matched again; a Pod made anew is, and its reservation waits for "
        "one that asks for it",
    ),
)
