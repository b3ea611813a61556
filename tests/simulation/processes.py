"""The processes under test, and how they are killed, put to sleep and woken.

Each runs in the driver's thread. A process that sleeps at a boundary lets the rest of the world go
on inside that boundary, so that it wakes to a world that has moved.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.exc import OperationalError

from consumers.contract.events import Record
from consumers.intake.taking_in import take_in
from consumers.reconciler.dispatch import work_once
from consumers.reconciler.tools import Tools
from ledger.store.inputs import ZombieConsumer, begin_offset, reset_offset
from tests.simulation.story import MUTATING, Interruption
from tests.simulation.wire import Partition, Wire
from tests.simulation.world import Crash

#: Below this many boundaries on the stack a process may be put to sleep.
DEPTH_MAX = 3
#: Between the last look at the clock and the moment a request leaves, a process can't notice that
#: it slept. Longer than the margin in a call's deadline is the window that stays (P10): whoever
#: falls asleep in it for longer never wakes here.
WINDOW_MAX_S = 3.0


@dataclass(slots=True)
class Process:
    """A process: what it is called, until when it is down, whether it is inside a boundary, and how
    long it slept since it last could have noticed."""

    name: str
    down_until: datetime
    busy: bool = False
    unnoticed_s: float = 0


class Interrupter:
    """Counts boundaries; at those the story names, kills or puts to sleep whoever is there."""

    def __init__(
        self,
        interruptions: tuple[Interruption, ...],
        sleep: Callable[[Process, float], float],
        tell: Callable[[str, str], None],
    ) -> None:
        self.count = 0
        self.enabled = True
        self.happened: list[str] = []
        self._left = list(interruptions)
        self._sleep = sleep
        self._tell = tell
        self._depth = 0

    def reach(self, process: Process, boundary: str) -> None:
        """`process` is at a boundary. May raise Crash or OperationalError, or return much later."""
        self.count += 1
        if boundary == "before transaction":
            process.unnoticed_s = 0
        self._let_go_in_the_window(process, boundary)
        if not self.enabled or not self._left or self._left[0].at > self.count:
            return
        interruption = self._left[0]
        if not self._fits(interruption, boundary):
            return
        self._left.pop(0)
        self.happened.append(interruption.kind)
        match interruption.kind:
            case "crash":
                self._tell(process.name, f"is killed: {boundary}")
                raise Crash(boundary)
            case "answer of commit lost":
                self._tell(process.name, f"loses its connection: {boundary}")
                raise OperationalError("COMMIT", {}, ConnectionError("simulated"))
            case "pause":
                seconds = interruption.seconds
                if boundary.removeprefix("before ") in MUTATING:
                    seconds = min(seconds, WINDOW_MAX_S)
                self._tell(process.name, f"sleeps {seconds:.1f} s: {boundary}")
                # Longer than that where another one falls asleep in the time: it wakes first.
                process.unnoticed_s += self.sleep(process, seconds)
                self._tell(process.name, "wakes")
                self._let_go_in_the_window(process, boundary)

    def _let_go_in_the_window(self, process: Process, boundary: str) -> None:
        if boundary.removeprefix("before ") in MUTATING and process.unnoticed_s > WINDOW_MAX_S:
            self.happened.append("slept in the window")
            self._tell(process.name, f"is killed: it slept right before {boundary[7:]}")
            raise Crash(boundary)

    def sleep(self, process: Process, seconds: float) -> float:
        """The world goes on for a while with `process` standing still; for how many seconds."""
        if self._depth >= DEPTH_MAX:
            return 0
        self._depth += 1
        try:
            return self._sleep(process, seconds)
        finally:
            self._depth -= 1

    def _fits(self, interruption: Interruption, boundary: str) -> bool:
        match interruption.kind:
            case "answer of commit lost":
                return boundary in ("before commit", "after commit")
            case "pause":
                # Asleep inside a transaction it would hold locks: real concurrency's to test.
                return boundary != "before commit" and self._depth < DEPTH_MAX
            case _:
                return True


class Reconciler:
    """One worker of one reconciler process."""

    def __init__(self, process: Process, tools: Tools, rng: random.Random) -> None:
        self.process = process
        self.tools = tools
        self._rng = rng

    def turn(self, now: Callable[[], datetime]) -> bool:
        """One piece of due work; False when none was due."""
        self.process.busy = True
        try:
            return work_once(self.tools)
        except Crash:
            self.process.down_until = now() + timedelta(seconds=self._rng.uniform(0.5, 20))
        except OperationalError:
            self.process.down_until = now() + timedelta(seconds=1)
        finally:
            self.process.busy = False
        return True


@dataclass(slots=True)
class Intake:
    """The intake: positions in memory that follow the ledger's, as the real one has them."""

    process: Process
    tools: Tools
    wire: Wire
    rng: random.Random
    positions: dict[Partition, int] = field(default_factory=dict)
    stale: tuple[list[Record], dict[Partition, int]] | None = None
    incarnation: int = 0

    def step(self, now: Callable[[], datetime]) -> bool:
        """Take in what there is; False when there was nothing."""
        self.process.busy = True
        try:
            return self._step(now())
        except Crash:
            self.positions.clear()
            self.process.down_until = now() + timedelta(seconds=self.rng.uniform(0.5, 10))
        except (OperationalError, ZombieConsumer):
            self.positions.clear()
            self.process.down_until = now() + timedelta(seconds=1)
        finally:
            self.process.busy = False
        return True

    def waiting(self, now: datetime) -> datetime | None:
        """When something unread can be had; None while all is read."""
        times = [
            max(self.wire.frozen.get(partition, now), self.process.down_until)
            for partition, records in self.wire.log.items()
            if len(records) > self.positions.get(partition, 0)
            or self.incarnation != self.wire.incarnation
        ]
        return min(times, default=None)

    def be_late(self) -> str | None:
        """A consumer that lost its partitions long ago finishes its batch; what came of it."""
        if self.stale is None:
            return None
        records, expected = self.stale
        self.stale = None
        try:
            take_in(self.tools.database, records, expected, 1 << 20, self.tools.new_id)
        except (ZombieConsumer, OperationalError):
            return "refused"
        except Crash:
            return "killed"
        return "taken in"

    def _step(self, now: datetime) -> bool:
        if self.incarnation != self.wire.incarnation:
            self._start_again()
        batch = self._poll(now)
        if not batch:
            return False
        expected = {(r.topic, r.partition): 0 for r in batch}
        expected = {partition: self.positions[partition] for partition in expected}
        if self.stale is None:
            self.stale = (batch, dict(expected))
        settings = self.tools.settings.intake
        take_in(
            self.tools.database,
            batch,
            expected,
            1 << 20,
            self.tools.new_id,
            gap_restarts_ttl=settings.gap_restarts_ttl,
        )
        for record in batch:
            self.positions[record.topic, record.partition] = record.offset + 1
        return True

    def _poll(self, now: datetime) -> list[Record]:
        found: list[Record] = []
        for partition in sorted(self.wire.log):
            if self.wire.frozen.get(partition, now) > now or self.process.down_until > now:
                continue
            records = self.wire.log[partition]
            if partition not in self.positions:
                with self.tools.database.transaction() as connection:
                    self.positions[partition], _ = begin_offset(connection, *partition, 0)
            unread = records[self.positions[partition] :][: self.rng.choice((1, 5, 500, 500))]
            if unread:
                self.wire.polled[partition] = unread[-1].offset + 1
            found += unread
        return found

    def _start_again(self) -> None:
        """The log is another one: read it from its beginning."""
        with self.tools.database.transaction() as connection:
            for partition in sorted(self.wire.log):
                begin_offset(connection, *partition, 0)
                reset_offset(connection, *partition, 0)
        self.positions.clear()
        self.stale = None
        self.incarnation = self.wire.incarnation
