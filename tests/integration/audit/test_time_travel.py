"""P6: what a question answers for a moment is a fold of the entries up to it, whatever the moment.

A simulated story (lives, crashes, faults, outages) leaves a ledger; every kind of question about it is
compared, at random moments, with brute force: fold everything, and look.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection

from ledger.audit.past import past_of_pod, states_at
from ledger.audit.periods import Key, Tenure, tenures
from ledger.audit.questions import reservations
from ledger.rules.allocation import Allocation, Phase, Recorded
from ledger.rules.entries import read_entry
from ledger.rules.evolution import evolve
from ledger.rules.tenures import holding_of
from tests.simulation.ground import Ground
from tests.simulation.simulation import Simulation
from tests.simulation.story import write_story

MOMENTS = 40
Fact = tuple[Any, ...]


class Lived:
    """A ledger that a story left, with its entries in memory."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        found = connection.exec_driver_sql(
            "SELECT cluster, allocation_id, version, kind, recorded_at, data FROM ledger.entry "
            "WHERE allocation_id IS NOT NULL ORDER BY allocation_id, version"
        ).all()
        self.cluster: str = found[0].cluster
        self.stories: list[list[Recorded]] = [
            [
                Recorded(
                    allocation_id=row.allocation_id,
                    version=row.version,
                    recorded_at=row.recorded_at,
                    entry=read_entry(row.kind, row.data),
                )
                for row in rows
            ]
            for _, rows in groupby(found, key=lambda row: row.allocation_id)
        ]
        self.times = sorted({row.recorded_at for row in found})

    def fold(self, at: datetime) -> dict[UUID, Allocation]:
        """Brute force: everything up to a moment."""
        states: dict[UUID, Allocation] = {}
        for story in self.stories:
            for recorded in story:
                if recorded.recorded_at <= at:
                    before = states.get(recorded.allocation_id)
                    states[recorded.allocation_id] = evolve(before, recorded)
        return states

    def ever(self) -> Iterator[Allocation]:
        """Every state that was."""
        for story in self.stories:
            state: Allocation | None = None
            for recorded in story:
                state = evolve(state, recorded)
                yield state

    def moments(self, dice: random.Random) -> Iterator[datetime]:
        """Anywhere, and exactly at, just before and just after an entry."""
        first, last = self.times[0], self.times[-1]
        yield first - timedelta(seconds=1)
        yield last + timedelta(days=1)
        for _ in range(MOMENTS):
            anywhere = first + (last - first) * dice.random()
            near = timedelta(microseconds=dice.choice((-1, 0, 0, 1)))
            yield dice.choice((anywhere, dice.choice(self.times) + near))


@pytest.fixture(scope="module", params=[3, 11, 29])
def lived(request: pytest.FixtureRequest, audited_ground: Ground) -> Iterator[Lived]:
    audited_ground.clear()
    report = Simulation(audited_ground, write_story(request.param)).run()
    assert report.findings == ()
    with audited_ground.shared.transaction() as connection:
        yield Lived(connection)


def held(state: Allocation) -> Fact | None:
    """What a state means as a period, as far as both sides tell it."""
    holding = holding_of(state)
    if holding is None:
        return None
    address = holding.address
    return (
        state.id, holding.kind, holding.pod_uid, holding.node, holding.vlan, address.eni, address.ipv4,
        address.ipv6, address.mac, address.vswitch, tuple(sorted(address.security_group_ids)),
    )  # fmt: skip


def told(period: Tenure) -> Fact:
    return (
        period.allocation_id, period.kind, period.pod_uid, period.node, period.vlan, period.eni,
        period.ipv4, period.ipv6, period.mac, period.vswitch, tuple(sorted(period.security_groups)),
    )  # fmt: skip


def by_id(facts: Sequence[Fact]) -> list[Fact]:
    return sorted(facts, key=lambda fact: str(fact[0]))


VALUES: dict[Key, Callable[[Allocation], Sequence[str | None]]] = {
    "ip": lambda s: [s.address.ipv4, s.address.ipv6] if s.address else [],
    "eni": lambda s: [s.address.eni] if s.address else [],
    "mac": lambda s: [s.address.mac] if s.address else [],
    "pod": lambda s: [f"{s.namespace}/{s.pod}"],
    "node": lambda s: [s.node],
    "vswitch": lambda s: [s.address.vswitch] if s.address else [],
    "security-group": lambda s: s.address.security_group_ids if s.address else [],
}


def test_p6_every_question_at_any_moment_is_the_fold_up_to_it(lived: Lived) -> None:
    dice = random.Random(1)
    connection, cluster = lived.connection, lived.cluster
    ever = list(lived.ever())
    values: dict[Key, list[str]] = {
        key: sorted({v for s in ever for v in of(s) if v}) for key, of in VALUES.items()
    }
    answered = 0
    for at in lived.moments(dice):
        states = lived.fold(at)
        for key, of in VALUES.items():
            for value in dice.sample(values[key], min(3, len(values[key]))):
                found = by_id([told(each) for each in tenures(connection, cluster, key, value, at)])
                expected = [held(s) for s in states.values() if value in of(s)]
                assert found == by_id([fact for fact in expected if fact]), (key, value, at)
                answered += len(found)
    assert answered > MOMENTS, "the moments lie where something was held"


def test_p6_the_state_of_a_pod_at_any_moment_is_the_fold_up_to_it(lived: Lived) -> None:
    dice = random.Random(2)
    pods = sorted({(s.namespace, s.pod) for s in lived.fold(lived.times[-1]).values()})
    for at in lived.moments(dice):
        states = lived.fold(at)
        everything = states_at(
            lived.connection, lived.cluster, [s[0].allocation_id for s in lived.stories], at
        )
        assert {state.id: state for state in everything} == states
        for namespace, pod in pods:
            found = past_of_pod(lived.connection, lived.cluster, namespace, pod, at)
            assert found.missing == ()
            assert {state.id: state for state in found.states} == {
                id_: s for id_, s in states.items() if (s.namespace, s.pod) == (namespace, pod)
            }


def test_p6_reservations_at_any_moment_are_the_fold_up_to_it(lived: Lived) -> None:
    dice = random.Random(3)
    for at in lived.moments(dice):
        kept = [
            (s.namespace, s.pod, s.interface, s.address.ipv4, s.retention.rule, s.absent_since, s.ttl_due)
            for s in lived.fold(at).values()
            if s.phase in (Phase.LEAVING, Phase.RESERVED) and s.address and s.retention.rule != "none"
        ]  # fmt: skip
        found = [
            (r.namespace, r.pod, r.interface, r.ipv4, r.rule, r.absent_since, r.due)
            for r in reservations(lived.connection, lived.cluster, at)
        ]
        assert sorted(found, key=str) == sorted(kept, key=str)
    now = reservations(lived.connection, lived.cluster)
    assert now == reservations(lived.connection, lived.cluster, lived.times[-1])
