"""What every part of the reconciler works with: the ports, the book, and what is injected."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection

from consumers.cloud.port import Cloud
from consumers.kube.port import Kube
from consumers.runtime.settings import Settings
from ledger.rules.allocation import Allocation
from ledger.rules.entries import Entry
from ledger.rules.instance_types import carrier_of
from ledger.store.book import Story, append, lock_allocations, lock_pods
from ledger.store.brakes import read_brakes
from ledger.store.database import Database, ledger_now
from ledger.store.incarnations import unconfirmed
from ledger.store.sweeps import last_sweep
from ledger.store.work import Bucket, Claim, crowd, hold_on, signal_unplaced, take_permit

_log = structlog.get_logger(__name__)

#: Nothing destructive is decided on a comparison of cloud and ledger older than this.
SWEEP_TOO_OLD = timedelta(minutes=10)

#: Beyond the client's own time-outs a call may still be on its way in the cloud for this long.
CALL_MARGIN = timedelta(seconds=5)


#: After throttling all replicas leave the API alone for about this long.
THROTTLE_BACKOFF_S = 5.0


class StateMoved(Exception):  # noqa: N818 - names what happened
    """The allocation changed between the plan and its step: plan again."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A step has had its turn; `until` is when another look makes sense, `why` is for people.

    `code` is the cloud's error code, or "Throttled" where our own budget held the call back.
    """

    until: datetime
    why: str
    problem: bool = False
    code: str = ""


@dataclass(frozen=True, slots=True)
class Tools:
    """Ports, book, settings; ids, randomness and waiting come from outside."""

    database: Database
    cloud: Cloud
    kube: Kube
    settings: Settings
    new_id: Callable[[], UUID]
    rng: random.Random
    sleep: Callable[[float], None] = time.sleep

    @property
    def answer_budget(self) -> timedelta:
        """From the moment a cloud call is sent to its answer, or to our giving up on one."""
        cloud = self.settings.cloud
        return timedelta(seconds=cloud.connect_timeout_s + cloud.read_timeout_s)

    @property
    def call_budget(self) -> timedelta:
        """From the intent of a cloud call to the moment after which it can't take effect any more."""
        return self.answer_budget + CALL_MARGIN

    @property
    def look_interval(self) -> timedelta:
        return timedelta(seconds=self.settings.reconciler.look_interval_s)

    def now(self) -> datetime:
        """The ledger's clock, outside any transaction: for waiting, not for recording."""
        with self.database.transaction() as connection:
            return ledger_now(connection)

    def bucket(self, api: str) -> Bucket:
        """The shared budget of one API; ours is only a share of the account's quota."""
        cloud = self.settings.cloud
        limit = cloud.rate_limit(api)
        share = cloud.budget_share
        burst = max(1, int(limit.burst * share))
        return Bucket("", cloud.region_id, api, limit.per_minute / 60 * share, burst)

    @property
    def claim(self) -> timedelta:
        """How long a claim holds while nothing but our own code is waited for."""
        return timedelta(seconds=self.settings.reconciler.claim_s)

    @property
    def kube_budget(self) -> timedelta:
        """How long one call of the API server may take."""
        return timedelta(seconds=self.settings.kube.request_timeout_s)

    def keep(self, connection: Connection, held: Claim, busy: timedelta) -> datetime:
        """Keep a claim over something that may take `busy`; returns now. Raises ClaimLost.

        A claim is short, so that the work of a lost process moves on within seconds; what takes
        longer says so here, before it begins.
        """
        now = ledger_now(connection)
        hold_on(connection, held, now + self.claim + busy)
        return now

    def permit(self, api: str, held: Claim) -> Pause | None:
        """Take a permit for a call that needs no intent, and keep the claim over it; None when taken."""
        with self.database.transaction() as connection:
            self.keep(connection, held, self.answer_budget)
            return self.permit_within(connection, api, held)

    def permit_within(self, connection: Connection, api: str, held: Claim) -> Pause | None:
        """`permit`, inside a transaction that keeps the claim itself.

        Where many wait, only about two of them are to ask for each permit that comes: would all
        ask for the next one, all but one of their turns would be for nothing.
        """
        bucket, why = self.bucket(api), f"the {api} budget"
        again = take_permit(connection, bucket)
        if again is None:
            return None
        ahead = crowd(connection, held.key.cluster, why) / bucket.per_second
        again += timedelta(seconds=self.rng.uniform(0, ahead / 2))
        return Pause(again, why, code="Throttled")

    def stands_still(
        self, connection: Connection, cluster: str, *, destructive: bool
    ) -> str | None:
        """Why nothing (or nothing destructive) may be done now; None when it may.

        Nothing is taken away on an old picture either: cloud, PodENIs and ledger must have been
        compared whole not long ago, which a ledger restored to yesterday can't claim (P11).
        """
        for brake in read_brakes(connection, cluster):
            if brake.scope == "all" or destructive:
                return f"paused: {brake.reason}"
        if not destructive:
            return None
        moved = unconfirmed(connection)
        if moved is not None:
            return f"paused: {moved}"
        swept = last_sweep(connection, cluster)
        if swept is None or ledger_now(connection) - swept > SWEEP_TOO_OLD:
            return f"paused: cloud and ledger were last compared {swept or 'never'}: a sweep is due"
        return None

    def backoff(self, attempt: int, now: datetime, cap_s: float = 60.0) -> datetime:
        """When to try again after the nth failure: doubling from a second, with jitter, capped."""
        delay = min(cap_s, 2.0 ** min(attempt, 10))
        return now + timedelta(seconds=delay * self.rng.uniform(0.7, 1.3))

    def shuffle(self, ids: Sequence[str]) -> list[str]:
        """A random order."""
        return self.rng.sample(list(ids), len(ids))

    @contextmanager
    def fenced(
        self,
        held: Claim,
        planned: Sequence[Allocation],
        *,
        same_version: bool = True,
        busy: timedelta = timedelta(0),
    ) -> Iterator["Fenced"]:
        """A transaction in which the claim is proven and the allocations are locked as planned.

        The claim is kept over what follows and may take `busy`. Raises ClaimLost, or StateMoved
        where an allocation changed since the plan (with `same_version`).
        """
        with self.database.transaction() as connection:
            fenced = self.fence(connection, held, planned, same_version=same_version, busy=busy)
            yield fenced
        self.after_commit(fenced)

    def fence(
        self,
        connection: Connection,
        held: Claim,
        planned: Sequence[Allocation],
        *,
        same_version: bool = True,
        busy: timedelta = timedelta(0),
    ) -> "Fenced":
        """`fenced`, inside a transaction that has taken locks before."""
        # All of the Pod's, as intake locks them: whoever decides about the Pod afterwards would
        # otherwise lock the rest out of order.
        lock_pods(connection, sorted({(a.cluster, a.namespace, a.pod, a.pod_uid) for a in planned}))
        states = lock_allocations(connection, [a.id for a in planned])
        for a in planned:
            if a.id not in states or (same_version and states[a.id].version != a.version):
                raise StateMoved(f"{a.namespace}/{a.pod} {a.interface}")
        return Fenced(connection, states, self.keep(connection, held, busy))

    def after_commit(self, fenced: "Fenced") -> None:
        """Say what was recorded, and wake Pods that wait for room where slots were freed.

        After the commit: a line about entries that were rolled back would be a lie. Waking takes a
        transaction of its own, since it takes other Pods' work rows, and two workers that each hold
        their own and want the other's would deadlock. A crash in between costs a minute, after
        which they look by themselves.
        """
        for recorded in fenced.recorded:
            _log.info("recorded", **recorded)
            structlog.contextvars.bind_contextvars(entries=recorded["entries"])
        if not fenced.freed:
            return
        with self.database.transaction() as connection:
            signal_unplaced(connection, fenced.freed, ledger_now(connection))


def about(a: Allocation) -> dict[str, str]:
    """What every log line about an allocation says of it."""
    return {
        "allocation": str(a.id),
        "pod": f"{a.namespace}/{a.pod}",
        "interface": a.interface,
    }


@dataclass(slots=True)
class Fenced:
    """An open transaction with locked allocations; `record` appends to one of them.

    `freed` are the (cluster, instance id) on which entries recorded here freed a slot, `recorded`
    what the log will say of them.
    """

    connection: Connection
    states: dict[UUID, Allocation]
    now: datetime
    freed: set[tuple[str, str]] = field(default_factory=set)
    recorded: list[dict[str, Any]] = field(default_factory=list)

    def record(self, a: Allocation, entries: Sequence[Entry], cause: dict[str, Any]) -> Allocation:
        """Append entries to the locked state of `a`; returns the state reached."""
        before = self.states[a.id]
        story = Story(a.id, before, tuple(entries), cause)
        [(state, ids)] = append(self.connection, [story], self.now)
        self.states[a.id] = state
        self.recorded.append(
            {
                **about(state),
                "entries": list(ids),
                "kinds": [entry.kind for entry in entries],
                "version": state.version,
            }
        )
        left = carrier_of(before)
        if left is not None and left != carrier_of(state):
            self.freed.add((a.cluster, left.instance_id))
        return state
