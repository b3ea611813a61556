"""Whether an older holder of an address or a VLAN is waited for: it leaves, and a look may be behind."""

from datetime import datetime, timedelta

import pytest

from consumers.reconciler.addresses import leaves_unseen
from consumers.reconciler.describing import DESCRIBE_LAG
from ledger.rules.allocation import Allocation
from tests.unit.reconciler.test_eni_looks import attaching, deleting, detaching
from tests.unit.rules.lives import Life

STAYS = Life().reserved().a


def creating() -> Allocation:
    life = Life().placed()
    life.intend("CreateNetworkInterface")
    return life.a


def given(a: Allocation) -> datetime:
    """From when on it counts how old a look can be: the call has been answered by then."""
    found = a.intent.deadline if a.intent else a.attachment.since if a.attachment else None
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("holder", "newer", "of_vlan"),
    [(deleting(), creating(), False), (detaching(), attaching(), True)],
    ids=["address", "vlan"],
)
def test_one_that_leaves_is_waited_for_as_long_as_a_look_may_be_behind(
    holder: Allocation, newer: Allocation, of_vlan: bool
) -> None:
    at = given(newer)
    assert leaves_unseen(holder, newer, at, of_vlan=of_vlan)
    last = at + DESCRIBE_LAG - timedelta(milliseconds=1)
    assert leaves_unseen(holder, newer, last, of_vlan=of_vlan)
    assert not leaves_unseen(holder, newer, at + DESCRIBE_LAG, of_vlan=of_vlan)
    assert not leaves_unseen(STAYS, newer, at, of_vlan=of_vlan)


def test_a_detached_eni_keeps_its_address() -> None:
    newer = creating()
    assert not leaves_unseen(detaching(), newer, given(newer), of_vlan=False)
