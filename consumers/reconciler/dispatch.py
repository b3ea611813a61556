"""Claims due work, hands it to workers, and gives it back with the time of the next look.

Any number of reconcilers share the work: a claim is a row lock that nobody waits for, kept by a
token and a time. `work_once` is one claim from beginning to end, in the caller's thread.
"""

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from consumers.reconciler.podnetworkings import work_on_podnetworking
from consumers.reconciler.pods import Outcome, work_on_pod
from consumers.reconciler.shadow import would
from consumers.reconciler.sweep import work_on_sweep
from consumers.reconciler.tools import Tools
from consumers.runtime import metrics
from ledger.store import work
from ledger.store.database import UNAVAILABLE, ledger_now, why_unavailable
from ledger.store.work import Claim, ClaimLost

_log = structlog.get_logger(__name__)

TURNS = metrics.counter("reconciler_turns", "Pieces of work taken up", ("kind",))
TURN_SECONDS = metrics.histogram("reconciler_turn_seconds", "One turn, cloud calls included")
LOST = metrics.counter("reconciler_claims_lost", "Claims that another worker took over")


_TURNS: dict[str, Callable[[Tools, Claim], Outcome]] = {
    "pod": work_on_pod,
    "podnetworking": work_on_podnetworking,
    "sweep": work_on_sweep,
}


def claim_due(tools: Tools, limit: int) -> list[Claim]:
    """Claim up to `limit` pieces of due work of our cluster."""
    with tools.database.transaction() as connection:
        return work.claim(
            connection,
            tools.settings.cluster_id,
            tools.new_id(),
            ledger_now(connection),
            tools.claim,
            limit,
        )


def take_turn(tools: Tools, held: Claim) -> None:
    """Work on a claim and give it back. What another worker took over is left to it.

    Every line that is logged meanwhile says what the turn is about.
    """
    with structlog.contextvars.bound_contextvars(**_about(held)):
        _take_turn(tools, held)


def _about(held: Claim) -> dict[str, object]:
    """`allocations` and `entries` become known on the way: see `pods.py` and `Tools.after_commit`."""
    key = held.key
    if key.kind == "pod":
        return {"pod": f"{key.namespace}/{key.name}", "allocations": [], "entries": []}
    return {"work": f"{key.kind} {key.name}".strip()}


def _take_turn(tools: Tools, held: Claim) -> None:
    TURNS.labels(held.key.kind).inc()
    try:
        with TURN_SECONDS.time():
            turn = would if tools.settings.shadow else _TURNS[held.key.kind]
            outcome = turn(tools, held)
    except ClaimLost as lost:
        LOST.inc()
        _log.warning("another worker has taken over", work=str(lost))
        return
    except UNAVAILABLE:
        raise
    except Exception as defect:  # noqa: BLE001 - the boundary of one Pod's turn
        # One Pod's defect must not stop the others; it is loud, and tried again ever more slowly.
        _log.exception("a turn failed: this is a defect, please report it", work=held.key)
        again = tools.backoff(held.attempt + 3, tools.now())
        outcome = Outcome(again, f"{type(defect).__name__}: {defect}", problem=True)
    _give_back(tools, held, outcome)


def work_once(tools: Tools) -> bool:
    """Take up one piece of due work, to its end; False when none is due."""
    claims = claim_due(tools, 1)
    for held in claims:
        take_turn(tools, held)
    return bool(claims)


def _give_back(tools: Tools, held: Claim, outcome: Outcome) -> None:
    with tools.database.transaction() as connection:
        work.finish(
            connection,
            held,
            outcome.due_at,
            ledger_now(connection),
            attempt=held.attempt + 1 if outcome.problem else 0,
            waiting_for=outcome.waiting_for,
        )


class Dispatcher:
    """Keeps up to `workers` turns going until stopped; what is in flight is finished and recorded."""

    POLL_S = 1.0
    RETRY_S = 1.0

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._limit = tools.settings.reconciler.workers
        self._wake = threading.Condition()
        self._woken = False
        self._stopping = False
        self._busy = 0
        self.unavailable: str | None = None
        self.held_back: str | None = None

    def hold_back(self, why: str | None) -> None:
        """Take up nothing while there is a reason not to; None lets it go on."""
        self.held_back = why
        if why is None:
            self.wake()

    def wake(self) -> None:
        """Something became due: look now. Safe from any thread."""
        with self._wake:
            self._woken = True
            self._wake.notify_all()

    def stop(self) -> None:
        """Claim nothing more; `run` returns when what is in flight is recorded."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()

    def run(self) -> None:
        """Claim and hand out until stopped. An unavailable database is waited for."""
        with ThreadPoolExecutor(self._limit, thread_name_prefix="turn") as pool:
            while not self._stopping:
                if self.held_back is not None:
                    self._sleep(self.POLL_S)
                    continue
                try:
                    claims = claim_due(self._tools, self._limit - self._busy)
                    self.unavailable = None
                except UNAVAILABLE as unavailable:
                    self.unavailable = why_unavailable(unavailable)
                    self._sleep(self.RETRY_S)
                    continue
                for held in claims:
                    with self._wake:
                        self._busy += 1
                    # A pool's threads know nothing of ours: the process's name is in the context.
                    context = contextvars.copy_context()
                    turn = pool.submit(context.run, take_turn, self._tools, held)
                    turn.add_done_callback(self._done)
                if not claims or self._busy >= self._limit:
                    self._sleep(self._until_due() if not claims else self.POLL_S)

    def _until_due(self) -> float:
        """Seconds until something is due, at most the poll."""
        try:
            with self._tools.database.transaction() as connection:
                due = work.next_due(connection, self._tools.settings.cluster_id)
                now = ledger_now(connection)
        except UNAVAILABLE:
            return self.RETRY_S
        if due is None:
            return self.POLL_S
        return min(self.POLL_S, max(0.01, (due - now).total_seconds()))

    def _sleep(self, seconds: float) -> None:
        with self._wake:
            if not self._woken and not self._stopping:
                self._wake.wait(seconds)
            self._woken = False

    def _done(self, turn: "Future[None]") -> None:
        failure = turn.exception()
        if failure is not None:
            _log.warning("a turn was given up; its claim runs out by itself", cause=str(failure))
        with self._wake:
            self._busy -= 1
            self._woken = True
            self._wake.notify_all()
