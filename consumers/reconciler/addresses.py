"""Takes a new ENI's addresses, or a trunk's VLAN, into the book; and what happens when one is taken.

The cloud chooses IPs and VLANs and may hand one out again before we recorded its release. Then the
book's unique claims refuse it, and that is evidence, not a crash (P1): look at the older holder.
Gone or off: close it as of now, and try again. On its way out, and a look may be behind: wait for
another. Really there: park the newer, naming both.
"""

from datetime import datetime
from typing import Any

import structlog
from sqlalchemy.exc import IntegrityError

from consumers.cloud.port import AVAILABLE, Eni, EniQuery
from consumers.reconciler.describing import DESCRIBE_LAG, describe
from consumers.reconciler.tools import Pause, Tools, about
from ledger.rules import entries as e
from ledger.rules.allocation import Allocation
from ledger.rules.entries import Address
from ledger.store.book import Story, append, holders_of, lock_allocations, not_before_last_end
from ledger.store.database import constraint_of, ledger_now
from ledger.store.places import read_vswitches
from ledger.store.work import Claim, WorkKey, signal

_log = structlog.get_logger(__name__)

_CLAIMS = ("live_claim_ipv4", "live_claim_ipv6", "live_claim_eni", "live_claim_vlan")
_ROUNDS = 3


def address_of(tools: Tools, eni: Eni) -> Address:
    """What the book keeps of an ENI; the CIDRs are its vSwitch's."""
    with tools.database.transaction() as connection:
        vswitch = read_vswitches(connection, [eni.vswitch_id]).get(eni.vswitch_id)
    return Address(
        eni=eni.id,
        mac=eni.mac,
        vpc=eni.vpc_id,
        vswitch=eni.vswitch_id,
        zone=eni.zone,
        ipv4=eni.ipv4,
        ipv6=eni.ipv6,
        ipv4_cidr=vswitch.cidr if vswitch else "",
        ipv6_cidr=vswitch.ipv6_cidr if vswitch and eni.ipv6 else "",
        security_group_ids=eni.security_group_ids,
        resource_group_id=eni.resource_group_id,
    )


def record_address(
    tools: Tools, held: Claim, a: Allocation, done: e.CallDone, cause: dict[str, Any]
) -> Pause | None:
    """Settle a create with the ENI it made."""
    assert done.address is not None
    return record_claim(tools, held, a, done, done.address, cause)


def record_claim(
    tools: Tools,
    held: Claim,
    a: Allocation,
    entry: e.CallDone | e.Attached,
    address: Address,
    cause: dict[str, Any],
) -> Pause | None:
    """Append an entry that claims what the cloud chose. None when it holds or was parked; a Pause where
    an older holder could not be looked at, or is leaving: nothing is recorded then, and found out later."""
    trunk = entry.trunk_eni_id if isinstance(entry, e.Attached) else None
    vlan = entry.vlan if isinstance(entry, e.Attached) else None
    for _ in range(_ROUNDS):
        try:
            with tools.fenced(held, [a], same_version=False) as fenced:
                state = fenced.states[a.id]
                if isinstance(entry, e.CallDone) and (
                    state.intent is None or state.intent.id != entry.intent
                ):
                    return None
                fenced.now = not_before_last_end(fenced.connection, address, fenced.now)
                fenced.record(a, [entry], cause)
        except IntegrityError as taken:
            if constraint_of(taken) not in _CLAIMS:
                raise
        else:
            return None
        pause = _question_holders(tools, held, a, address, trunk, vlan)
        if pause is not None:
            return pause
    return _park(tools, held, a, entry, address, trunk, vlan)


def _question_holders(
    tools: Tools,
    held: Claim,
    a: Allocation,
    address: Address,
    trunk: str | None,
    vlan: int | None,
) -> Pause | None:
    """Look at whoever holds the claim by the book, and record what the look shows."""
    with tools.database.transaction() as connection:
        holders = holders_of(connection, a.id, address, trunk, vlan)
    for holder in holders:
        if holder.address is None:
            continue
        look = describe(tools, held, EniQuery(eni_ids=(holder.address.eni,)))
        if isinstance(look, Pause):
            return look
        entry = _what_is_true(holder, look.value)
        if entry is None and leaves_unseen(holder, a, tools.now(), of_vlan=vlan is not None):
            why = f"{holder.address.eni} is leaving, and its {holder.address.ipv4} is {a.pod}'s already"
            return Pause(tools.now() + tools.look_interval, why)
        if entry is None:
            continue
        cause = {"conflict_with": str(a.id), "look": look.request_id}
        _correct(tools, holder, entry, cause)
    return None


def _what_is_true(holder: Allocation, found: tuple[Eni, ...]) -> e.EniGone | e.Detached | None:
    if not found:
        return e.EniGone(expected=holder.deleting_since is not None)
    if found[0].status == AVAILABLE and holder.attachment is not None:
        return e.Detached()
    return None


def leaves_unseen(holder: Allocation, a: Allocation, now: datetime, *, of_vlan: bool) -> bool:
    """Whether the cloud was told to take away what the holder has, took that on, gave the same to `a`,
    and a look may still be of a time before. Pure.

    Parking would call a person to what ends by itself a moment later; the time bounds the waiting.
    """
    if of_vlan:
        leaving = holder.attachment is not None and holder.attachment.motion == "detaching"
        given = a.attachment.since if a.attachment is not None else None
    else:
        leaving = holder.deleting_since is not None
        given = a.intent.deadline if a.intent is not None else None
    return leaving and given is not None and now - given < DESCRIBE_LAG


def _correct(
    tools: Tools, holder: Allocation, entry: e.EniGone | e.Detached, cause: dict[str, Any]
) -> None:
    """Append a fact to another Pod's allocation, unless it moved since; its own worker plans anew."""
    with tools.database.transaction() as connection:
        locked = lock_allocations(connection, [holder.id]).get(holder.id)
        if locked is None or locked.version != holder.version:
            return
        now = ledger_now(connection)
        [(state, ids)] = append(connection, [Story(holder.id, locked, (entry,), cause)], now)
        signal(connection, [WorkKey(holder.cluster, "pod", holder.namespace, holder.pod)], now)
    _log.warning("corrected by a look", **about(state), entries=list(ids), kind=entry.kind)


def _park(
    tools: Tools,
    held: Claim,
    a: Allocation,
    entry: e.CallDone | e.Attached,
    address: Address,
    trunk: str | None,
    vlan: int | None,
) -> Pause | None:
    """Two holders, both really there: the newer waits for a person, and names the older."""
    with tools.fenced(held, [a], same_version=False) as fenced:
        others = holders_of(fenced.connection, a.id, address, trunk, vlan)
        who = ", ".join(f"{o.namespace}/{o.pod} {o.interface} ({o.id})" for o in others)
        what = f"VLAN {vlan} of {trunk}" if vlan is not None else f"{address.ipv4} / {address.eni}"
        parked = e.Parked(
            reason=f"{what} is claimed by {who or 'another allocation'} as well",
            next_step="Find out in the cloud which one holds it, and release the other",
            disputed=address,
            with_allocation=others[0].id if others else None,
        )
        entries: list[Any] = [parked]
        if isinstance(entry, e.CallDone):
            disputed = e.CallRefused(
                intent=entry.intent,
                code="DisputedClaim",
                message=parked.reason,
                request_id=entry.request_id,
            )
            entries.insert(0, disputed)
        fenced.record(a, entries, {"conflict": True})
    _log.error("disputed claim: parked", **about(a), cause=parked.reason)
    return None
