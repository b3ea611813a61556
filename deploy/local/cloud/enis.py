"""What an ENI is in the simulated cloud, and how it looked at an earlier moment."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from deploy.local.cloud.faults import LONGEST_LAG_S


@dataclass(frozen=True, slots=True)
class Eni:
    """One state of one ENI. Changes are made by `dataclasses.replace`.

    Attributes:
        ordinal: creation number; listings go by it, so that pages don't shift.
        vlan: reserved when an attach under a trunk is accepted, given back when it is detached.
    """

    id: str
    ordinal: int
    mac: str
    type: str
    status: str
    vswitch_id: str
    zone: str
    ipv4: str
    ipv6: tuple[str, ...]
    security_group_ids: tuple[str, ...]
    tags: tuple[tuple[str, str], ...]
    created_at: datetime
    delete_on_release: bool
    source_dest_check: bool = True
    description: str = ""
    name: str = ""
    resource_group_id: str = ""
    instance_id: str | None = None
    trunk_id: str | None = None
    vlan: int | None = None
    network_card_index: int | None = None


class History:
    """Every ENI's recent states, so that a look can be behind the truth (eventual consistency)."""

    def __init__(self) -> None:
        self._states: dict[str, list[tuple[datetime, Eni | None]]] = {}
        self._gone: deque[tuple[datetime, str]] = deque()

    def record(self, at: datetime, eni_id: str, state: Eni | None) -> None:
        """The ENI's state from `at` on; None: it is gone."""
        states = self._states.setdefault(eni_id, [])
        states.append((at, state))
        # The newest state older than any lag stays: it is what such a look shows.
        oldest = at - timedelta(seconds=LONGEST_LAG_S)
        keep = bisect_right(states, oldest, key=lambda entry: entry[0]) - 1
        if keep > 0:
            del states[:keep]
        if state is None:
            self._gone.append((at, eni_id))
        while self._gone and self._gone[0][0] < oldest:
            # Gone for longer than any lag: nobody can see it any more.
            del self._states[self._gone.popleft()[1]]

    def at(self, moment: datetime) -> Iterator[Eni]:
        """The ENIs that existed at that moment, by ordinal."""
        for eni_id in tuple(self._states):
            state = self.one(eni_id, moment)
            if state is not None:
                yield state

    def one(self, eni_id: str, moment: datetime) -> Eni | None:
        states = self._states.get(eni_id, [])
        position = bisect_right(states, moment, key=lambda entry: entry[0])
        return states[position - 1][1] if position else None
