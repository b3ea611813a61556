"""Changes on their way in the simulated cloud: what is due when, and what is stuck."""

import heapq
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Pending:
    """An ENI's change on its way.

    Attributes:
        due: None: never, until the fault `stuck_by` is cleared.
        stuck_by: number of the fault that holds it up, if any.
        attach_fails: the attach will end in Available.
    """

    number: int
    due: datetime | None
    stuck_by: int | None = None
    attach_fails: bool = False


class PendingChanges:
    """At most one change on its way per ENI; a newer one replaces it."""

    def __init__(self) -> None:
        self._by_eni: dict[str, Pending] = {}
        self._queue: list[tuple[datetime, int, str]] = []
        self._numbers = 0

    def schedule(
        self,
        eni_id: str,
        due: datetime | None,
        *,
        stuck_by: int | None = None,
        attach_fails: bool = False,
    ) -> None:
        self._numbers += 1
        self._by_eni[eni_id] = Pending(self._numbers, due, stuck_by, attach_fails)
        if due is not None:
            heapq.heappush(self._queue, (due, self._numbers, eni_id))

    def cancel(self, eni_id: str) -> None:
        self._by_eni.pop(eni_id, None)

    def of(self, eni_id: str) -> Pending | None:
        return self._by_eni.get(eni_id)

    def stuck(self, fault_number: int | None = None) -> list[str]:
        """ENIs held up by this fault, or by any."""
        return [
            eni_id
            for eni_id, pending in self._by_eni.items()
            if pending.stuck_by is not None and fault_number in (None, pending.stuck_by)
        ]

    def next_due(self) -> datetime | None:
        """When the next change is due."""
        while self._queue and self._replaced(self._queue[0]):
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def pop_due(self, now: datetime) -> tuple[str, Pending] | None:
        """The earliest change that is due by now, taken off; None when there is none."""
        due = self.next_due()
        if due is None or due > now:
            return None
        eni_id = heapq.heappop(self._queue)[2]
        return eni_id, self._by_eni.pop(eni_id)

    def _replaced(self, entry: tuple[datetime, int, str]) -> bool:
        pending = self._by_eni.get(entry[2])
        return pending is None or pending.number != entry[1]
