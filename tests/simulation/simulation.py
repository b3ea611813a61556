"""Plays one story: the driver of time, processes, users and trouble. One seed, one trace."""

import random
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import httpx2

from consumers.cloud.api import Body
from consumers.cloud.failures import failure
from consumers.reconciler import sweep
from consumers.reconciler.tools import Tools
from consumers.runtime.settings import CloudSettings, RateLimit, Settings
from deploy.local.cloud.faults import read_fault
from deploy.local.cloud.parameters import flatten
from deploy.local.kubernetes.faults import FaultOrder
from ledger.store.feed import stamp
from ledger.store.named_sql import queries
from ledger.store.seal import seal
from ledger.store.tampering import examine
from tests.simulation.defects import Defects
from tests.simulation.doors import Send, Serve, process_tools
from tests.simulation.ground import START, Ground
from tests.simulation.players import Players
from tests.simulation.processes import Intake, Interrupter, Process, Reconciler
from tests.simulation.promises import Finding, Promises
from tests.simulation.settled import Settled
from tests.simulation.story import MUTATING, Act, Story
from tests.simulation.trace import Trace
from tests.simulation.truth import Truth
from tests.simulation.wire import Wire
from tests.simulation.world import CLUSTER, SimulatedWorld, demo_world

RECONCILERS = 3
#: A silent cloud is given up on after this long (the product's read time-out).
READ_TIMEOUT_S = 10.0
#: After trouble ends everything must be as it should within this time.
TO_SETTLE = timedelta(minutes=15)
#: Longer than any TTL of a story.
BEYOND_TTLS = timedelta(hours=2, minutes=30)
AT_REST = timedelta(minutes=10)
#: More turns than this in one moment is a hot loop.
TURNS_MAX = 400
#: An operator looks after this long at a breaker that tripped.
OPERATOR_AFTER = timedelta(seconds=90)
BETWEEN_SWEEPS = timedelta(minutes=4)
TICK = timedelta(milliseconds=10)


@dataclass(slots=True)
class Late:
    """A call that was given up on and takes effect after all."""

    due: datetime
    api: str
    flat: dict[str, str]


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a story."""

    seed: int
    findings: tuple[Finding, ...]
    hash: str
    lines: tuple[str, ...]
    lives: int
    entries: int
    boundaries: int
    calls: int
    virtual: timedelta
    trouble: Counter[str] = field(default_factory=Counter)


class Simulation:
    """One story on a cleared ground."""

    def __init__(self, ground: Ground, story: Story) -> None:
        ground.clear()
        self.story = story
        self.trace = Trace()
        self.trouble: Counter[str] = Counter()
        self._rng = random.Random(f"driver {story.seed}")
        there = demo_world().model_copy(
            update={"reuse_addresses_at_once": story.reuse_addresses_at_once}
        )
        self.world = SimulatedWorld(ground, story.seed, there, tight_settings())
        self.truth = Truth(self.world.kube.core.store, self.world.now)
        plans = {pod.key: pod for pod in story.pods}
        self.players = Players(self.world, self.truth, story.pods, self._tell)
        self.promises = Promises(
            ground, self.truth, self.world.cloud.model, self.trace, self.world.settings, plans
        )
        self.settled = Settled(self.world, self.truth, self.promises)
        self.wire = Wire(self.world.kube, self.truth, self._rng, self.world.now, self._tell)
        self.interrupter = Interrupter(story.interruptions, self._sleep, self._tell)
        self._acts = deque(story.acts)
        self._late: list[Late] = []
        self._late_faults: list[dict[str, Any]] = []
        self._kube_faults: list[FaultOrder] = []
        self._resume_at: datetime | None = None
        self._reconcilers = [self._reconciler(number) for number in range(RECONCILERS)]
        process = Process("intake", START)
        self.intake = Intake(process, self._tools(process), self.wire, self._rng)
        self._defects = Defects()

    # ------------------------------------------------------------------ the run

    def run(self) -> Report:
        """Play the story to its end and check what is left; stops at the first finding."""
        with self._defects, _seldom_swept():
            self._play()
        return Report(
            seed=self.story.seed,
            findings=tuple(self.promises.findings),
            hash=self.trace.hash,
            lines=tuple(self.trace.lines),
            lives=self.story.lives,
            entries=self.promises.entries,
            boundaries=self.interrupter.count,
            calls=len(self.world.cloud.calls()),
            virtual=self.world.time - START,
            trouble=self.trouble + Counter(self.interrupter.happened),
        )

    def _play(self) -> None:
        last = START + timedelta(seconds=self.story.acts[-1].at)
        self.run_until(last + timedelta(seconds=1))
        self._end_trouble()
        self.run_until(self.world.time + TO_SETTLE)
        self._check(ttls_are_over=False)
        self._tell("trouble", "everybody is down for longer than any TTL")
        self._all_down(self.world.time + BEYOND_TTLS)
        self.run_until(self.world.time + BEYOND_TTLS + TO_SETTLE)
        self._check(ttls_are_over=True)
        before = self._mutations()
        self.run_until(self.world.time + AT_REST)
        written = {what: count - before[what] for what, count in self._mutations().items()}
        for what, count in sorted(written.items()):
            if count:
                self.promises.broken("P8", f"{count} times {what} at rest")

    def run_until(self, end: datetime) -> None:
        """Let the world go on until `end`. Re-entered where a process waits or sleeps."""
        while not self.promises.findings:
            self._step()
            moment = self._next_moment()
            if moment is None or moment >= end:
                break
            self._go_to(max(moment, self.world.time + TICK))
        if end > self.world.time:
            self._go_to(end)

    def _step(self) -> None:
        """Everything that happens at this moment."""
        now = self.world.time
        while self._acts and START + timedelta(seconds=self._acts[0].at) <= now:
            self._perform(self._acts.popleft())
        self._land_late_calls()
        self._resume()
        for _ in range(TURNS_MAX):
            self.wire.publish()
            moved = self._take_in()
            moved = self._reconcile() or moved
            if not moved or self.world.time != now:
                break
        else:
            told = f"{TURNS_MAX} turns in one moment, a hot loop; due: {self._due_work()}"
            self.promises.broken("convergence", told)
        self.promises.after_step(self.world.time)
        for defect in self._defects.taken():
            self.promises.broken("defect", defect)

    def _due_work(self) -> list[str]:
        rows = self.world.ground.rows(
            "SELECT kind, namespace, name, due_at, attempt, waiting_for FROM ledger.work "
            "WHERE due_at <= ledger.now() ORDER BY due_at"
        )
        return [" ".join(map(str, row)) for row in rows]

    def _take_in(self) -> bool:
        process = self.intake.process
        if process.busy or process.down_until > self.world.time:
            return False
        return self.intake.step(self.world.now)

    def _reconcile(self) -> bool:
        free = [r for r in self._reconcilers if self._free(r.process)]
        due = self._next_due() if free else None
        if due is None or due > self.world.time:
            return False
        return self._rng.choice(free).turn(self.world.now)

    def _free(self, process: Process) -> bool:
        return not process.busy and process.down_until <= self.world.time

    # ------------------------------------------------------------------ time

    def _next_moment(self) -> datetime | None:
        """When something can happen next."""
        now = self.world.time
        times = [self.wire.next_beat(), self._resume_at, *(late.due for late in self._late)]
        if self._acts:
            times.append(START + timedelta(seconds=self._acts[0].at))
        if not self.intake.process.busy:
            times.append(self.intake.waiting(now))
        idle = [r.process for r in self._reconcilers if not r.process.busy]
        if idle:
            due = self._next_due()
            if due is not None:
                times.append(max(due, min(process.down_until for process in idle)))
        return min((moment for moment in times if moment is not None), default=None)

    def _next_due(self) -> datetime | None:
        """Asked from outside, because asking as a process would double the time of a run."""
        due: datetime | None
        [(due,)] = self.world.ground.rows(queries("work")["next_due"], {"cluster": CLUSTER})
        return due

    def _go_to(self, moment: datetime) -> None:
        self.world.advance(moment - self.world.time)

    def _sleep(self, process: Process, seconds: float) -> float:
        asleep = self.world.time
        self.run_until(asleep + timedelta(seconds=seconds))
        return (self.world.time - asleep).total_seconds()

    # ------------------------------------------------------------------ trouble

    def _perform(self, act: Act) -> None:
        about, until = act.about, self.world.time + timedelta(seconds=act.about.get("seconds", 0))
        match act.what:
            case "create":
                self.players.create(about["pod"], about["node"])
                return
            case "delete" | "drain" | "evict" | "finish" | "release":
                getattr(self.players, act.what)(about["pod"])
                return
            case "delete-podeni":
                self.players.delete_podeni(about["pod"])
                return
            case "kill-instance":
                self.players.kill_instance(about["node"])
            case "node-gone":
                self.players.node_gone(about["node"])
            case "cloud-fault":
                self._cloud_fault(about)
                return
            case "kube-fault":
                self._kube_faults.append(FaultOrder.model_validate(about))
            case "all-down":
                self._all_down(until)
            case _:
                self._log_trouble(act.what, until)
        self.trouble[act.what] += 1
        self._tell("trouble", f"{act.what} {_told(about)}")

    def _log_trouble(self, what: str, until: datetime) -> None:
        match what:
            case "duplicate":
                self.wire.duplicating = 20
            case "shuffle":
                self.wire.shuffle_until = until
            case "freeze":
                self.wire.freeze(until)
            case "replay":
                self.wire.replay(12)
            case "restart-log":
                self.wire.restart()
            case "watch-lost":
                self.wire.lose_watch()
            case "relist":
                self.wire.relist()
            case "watcher-down":
                self.wire.down_until = max(until, self.wire.down_until)
            case "zombie":
                came_of_it = self.intake.be_late()
                self._tell("zombie", f"an intake that lost its partitions: {came_of_it}")
            case "forge-deleted":
                self.wire.forge_deleted(self._holding())
            case "forge-empty-list":
                self.wire.forge_empty_list()
            case "forge-pod":
                running = self.truth.running()
                if running:
                    like = running[self._rng.choice(sorted(running))]
                    self.wire.forge_pod(like, self.trouble["forge-pod"])
            case _:
                raise AssertionError(f"nobody can perform {what}")

    def _holding(self) -> list[tuple[str, str]]:
        """Pods that the ledger takes for running: about them a forger can be refuted."""
        rows = self.world.ground.rows(
            "SELECT DISTINCT namespace, pod FROM ledger.allocation WHERE phase IN ('wanted', 'bound')"
        )
        return [(namespace, pod) for namespace, pod in rows]

    def _cloud_fault(self, fault: dict[str, Any]) -> None:
        self.trouble[f"cloud: {fault['kind']}"] += 1
        self._tell("trouble", f"cloud fault {_told(fault)}")
        if fault["kind"] == "late":
            self._late_faults.append(dict(fault))
        else:
            self.world.cloud.faults.put(read_fault(fault))

    def _all_down(self, until: datetime) -> None:
        self.wire.down_until = max(until, self.wire.down_until)
        for process in self._processes():
            process.down_until = max(until, process.down_until)
        if not self.intake.process.busy:  # asleep in the middle of a poll, it wakes where it stood
            self.intake.positions.clear()

    def _processes(self) -> list[Process]:
        return [self.intake.process, *(each.process for each in self._reconcilers)]

    def _end_trouble(self) -> None:
        """From here on nothing goes wrong any more, and everybody is up."""
        self._tell("trouble", "ends")
        self.interrupter.enabled = False
        self.world.cloud.clear_faults()
        self._kube_faults.clear()
        self._late_faults.clear()
        for process in self._processes():
            process.down_until = min(process.down_until, self.world.time)
        self.wire.down_until = self.world.time
        self.wire.frozen.clear()
        self.wire.duplicating = 0
        self.wire.shuffle_until = self.world.time

    def _resume(self) -> None:
        """The operator: finds the breaker pulled, looks, and lets go on."""
        if self._resume_at is not None and self.world.time >= self._resume_at:
            self._resume_at = None
            self.trouble["breaker"] += self.players.resume()
        elif self._resume_at is None and self.world.ground.rows("SELECT FROM ledger.brake"):
            self._resume_at = self.world.time + OPERATOR_AFTER

    # ------------------------------------------------------------------ the cloud's door

    def _cloud_call(
        self,
        process: Process,
        send: Send,
        api: str,
        parameters: Mapping[str, object],
        subject: str,
    ) -> Body:
        flat = flatten(parameters)
        self.promises.before_call(api, flat, self.world.time)
        if api in MUTATING:
            self._tell(process.name, f"calls {api} {subject or flat.get('ClientToken', '')[:8]}")
        fault = next((each for each in self._late_faults if each["api"] == api), None)
        if fault is None or api not in MUTATING:
            return send(api, parameters, subject)
        fault["times"] -= 1
        if not fault["times"]:
            self._late_faults.remove(fault)
        self._late.append(Late(self.world.time + timedelta(seconds=fault["seconds"]), api, flat))
        self.interrupter.sleep(process, READ_TIMEOUT_S)
        raise failure(
            api, subject=subject, status=None, code="", message="read timed out", request_id=""
        )

    def _kube_call(self, serve: Serve, request: httpx2.Request) -> httpx2.Response:
        """Faults of the API server strike the processes under test, not users and watches."""
        faults = self.world.kube.core.faults
        faults.orders = self._kube_faults
        try:
            return serve(request)
        finally:
            faults.orders = []

    def _land_late_calls(self) -> None:
        for late in [each for each in self._late if each.due <= self.world.time]:
            self._late.remove(late)
            cut = self.promises.cut_off_by(late.api, late.flat.get("NetworkInterfaceId", ""))
            outcome = self.world.cloud.call(late.api, late.flat)
            if cut is not None and outcome.status == 200:
                # One that names an instance which is no more, say, is refused and cuts nobody off.
                self.promises.broken("P11", cut)
            said = "takes effect" if outcome.status == 200 else outcome.body.get("Code")
            self._tell("cloud", f"a {late.api} that was given up on arrives: {said}")

    def _mutations(self) -> Counter[str]:
        """How often the cloud and the API server were asked for a change."""
        counts = Counter(call.api for call in self.world.cloud.calls() if call.mutating)
        for request in self.world.kube.core.faults.requests():
            if request["mutating"]:
                counts[f"{request['verb']} {request['resource']}"] += request["count"]
        return counts

    # ------------------------------------------------------------------ set-up

    def _reconciler(self, number: int) -> Reconciler:
        process = Process(f"reconciler-{number}", START)
        return Reconciler(process, self._tools(process), self._rng)

    def _tools(self, process: Process) -> Tools:
        def wait(seconds: float) -> None:
            self.interrupter.sleep(process, seconds)

        return process_tools(
            ground=self.world.ground,
            cloud=self.world.cloud,
            kube=self.world.kube,
            settings=self.world.settings,
            now=self.world.now,
            reach=partial(self.interrupter.reach, process),
            dice=random.Random(f"{process.name} {self.story.seed}"),
            wait=wait,
            cloud_call=partial(self._cloud_call, process),
            kube_call=self._kube_call,
        )

    def _check(self, *, ttls_are_over: bool) -> None:
        if self.promises.findings:
            return
        with self.world.ground.shared.transaction() as connection:
            while stamp(connection):
                pass
        self._seal()
        self.settled.check(ttls_are_over=ttls_are_over)

    def _seal(self) -> None:
        """P7: the seal of a story is the story's own, to the last byte."""
        with self.world.ground.shared.transaction() as connection:
            sealed = None
            while newer := seal(connection):
                sealed = newer
            if sealed is not None:
                self._tell("seal", f"position {sealed.position} {sealed.hash}")
            for found in examine(connection).findings:
                self.promises.broken("P7", f"{found.what}: entry {found.entry}: {found.detail}")

    def _tell(self, who: str, what: str) -> None:
        self.trace.tell(self.world.time, who, what)


@contextmanager
def _seldom_swept() -> Iterator[None]:
    """Sweeps as far apart as in a large cluster (P4): each minute of hours they would be most of a run."""
    usual = sweep.SWEEP_EVERY
    sweep.SWEEP_EVERY = BETWEEN_SWEEPS
    try:
        yield
    finally:
        sweep.SWEEP_EVERY = usual


def tight_settings() -> Settings:
    """The product's defaults with budgets small enough to bind."""
    world = demo_world()
    limits = {api: RateLimit(per_minute=120, burst=4) for api in MUTATING}
    limits["DescribeNetworkInterfaces"] = RateLimit(per_minute=400, burst=12)
    limits["DescribeVSwitches"] = RateLimit(per_minute=120, burst=4)
    return Settings(
        cluster_id=CLUSTER,
        local_stack=True,
        cloud=CloudSettings(
            region_id=world.region, vpc_id=world.vpc.id, rate_limits=limits, budget_share=0.8
        ),
    )


def _told(about: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in about.items() if name != "kind")
