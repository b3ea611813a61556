"""One Pod name with everything around it in memory: the truth that plans are judged by.

The cloud, the Pod, its PodENI and the book are a few dictionaries; `turn` does what a reconciler's
turn does with the real rules and judges. Whatever takes a network from a running Pod, or makes two
calls at once, fails on the spot.
"""

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from consumers.reconciler import eni_looks
from ledger.rules import entries as e
from ledger.rules.allocation import Allocation, Phase, Recorded
from ledger.rules.entries import Entry, Placed
from ledger.rules.evolution import evolve
from ledger.rules.looks import NotYet, PodLook, judge_absence, judge_release
from ledger.rules.placing import place_for
from ledger.rules.planning import (
    Call,
    CheckPodEni,
    LookAtEni,
    LookAtPod,
    LookAtVSwitches,
    Record,
    Settle,
    Step,
    Surroundings,
    Wait,
    WritePodEni,
    plan,
)
from ledger.rules.pod_decisions import SeenPod, decide_pod, decide_podeni
from ledger.rules.podeni import ForeignPodEni, Write, next_restoring_write, next_write
from ledger.rules.podeni_drift import Deleted, Differs, Taken, judge_podeni, restorable_from
from tests.unit.rules.lives import START, VSWITCH_H, node, unshuffled, vswitches
from tests.unit.rules.oracle_cloud import Cloud, address_of
from tests.unit.rules.oracle_parts import Pod, refused, renamed

CALL_BUDGET = timedelta(seconds=16)
STEPS_MAX = 60
Outcome = Literal["done", "refused", "throttled", "lost", "unheard"]


@dataclass
class Oracle:
    """The world of one Pod name. `outcomes` are those of the next calls; then all succeed."""

    now: datetime = START
    pod: Pod | None = None
    last_uid: str = ""
    podeni: dict[str, Any] | None = None
    cloud: Cloud = field(default_factory=Cloud)
    book: dict[UUID, Allocation] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    kube_down: bool = False
    no_capacity: bool = False
    steps: list[Step] = field(default_factory=list)
    writes: int = 0
    calls: int = 0
    given_up: set[UUID] = field(default_factory=set)
    heard: SeenPod | None = None
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    # ------------------------------------------------------------------ the book

    @property
    def held(self) -> list[Allocation]:
        return [a for a in self.book.values() if a.phase is not Phase.RELEASED]

    def new_id(self) -> UUID:
        return UUID(int=next(self._numbers))

    def append(self, id_: UUID, *entries: Entry) -> Allocation:
        for entry in entries:
            before = self.book.get(id_)
            version = before.version + 1 if before else 1
            told = Recorded(allocation_id=id_, version=version, recorded_at=self.now, entry=entry)
            self.book[id_] = evolve(before, told)
            if isinstance(entry, e.ReleaseDecided) and entry.why == "requested":
                assert id_ in self.given_up, "P3: released, and nobody asked for it"
        serving = [a.interface for a in self.held if a.serving]
        assert len(serving) == len(set(serving)), "P1: two live claims on one interface"
        enis = [a.address.eni for a in self.held if a.address]
        assert len(enis) == len(set(enis)), "P1: two live claims on one ENI"
        return self.book[id_]

    # ------------------------------------------------------------------ inputs

    def create_pod(self, on: str, networks: str) -> None:
        self.last_uid = f"uid-{next(self._numbers)}"
        self.pod = Pod(self.last_uid, on, networks)

    def hear(self, said: SeenPod | None = None) -> None:
        """The intake takes in what is so, or what is `said` to be so."""
        truth = self.pod.seen() if self.pod else SeenPod("c1", "shop", "web-0", self.last_uid, None)
        if not self.last_uid:
            return
        self.heard = said or truth
        self._decide()

    def _decide(self) -> None:
        if self.heard is None:
            return
        relevant = [
            a
            for a in self.book.values()
            if a.phase is not Phase.RELEASED or a.pod_uid == self.heard.uid
        ]
        for decision in decide_pod(self.heard, relevant, self.new_id).decisions:
            self.append(decision.allocation_id, decision.entry)

    def hear_podeni(self, uid: str, deleting: bool) -> None:
        for decision in decide_podeni(uid, deleting, "a user", self.held):
            self.append(decision.allocation_id, decision.entry)

    def command_release(self) -> None:
        """`eni-ledger release`."""
        for a in self.held:
            if a.serving and a.release_requested is None:
                self.given_up.add(a.id)
                self.append(a.id, e.ReleaseRequested(how="command", by="ann", reason="r"))

    def user_deletes_podeni(self, *, by_force: bool = False) -> None:
        """It waits for its finalizer, unless the user takes that off as well."""
        assert self.podeni is not None
        # What was said of a deletion before it happened is true now, also of what has left since.
        uid = self.podeni["metadata"]["uid"]
        self.given_up |= {
            a.id for a in self.held if a.podeni_uid is not None or a.release_podeni == uid
        }
        if by_force:
            self.podeni["metadata"]["finalizers"] = []
        self._delete_podeni()

    def user_edits_podeni(self) -> None:
        assert self.podeni is not None
        self.podeni["spec"]["allocations"][0]["ipv4"] = "1.2.3.4"

    def _delete_podeni(self) -> None:
        assert self.podeni is not None
        self.podeni["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        if not self.podeni["metadata"].get("finalizers"):
            self.podeni = None

    def pass_time(self, by: timedelta) -> None:
        self.now += by
        self.cloud.pass_time(self.now)

    # ------------------------------------------------------------------ a turn

    def turn(self) -> datetime | None:
        """One reconciler's turn; when the next is due (None: when something is heard)."""
        paused: dict[UUID | str, datetime] = {}
        looked: dict[UUID, datetime] = {}
        asked: set[str] = set()
        for _ in range(STEPS_MAX):
            if not self.held:
                return None
            wanted = next((a for a in self.held if a.phase is Phase.WANTED), None)
            about = Surroundings(
                now=self.now,
                node=node(wanted.node) if wanted else None,
                vswitches=vswitches(VSWITCH_H),
                shuffle=unshuffled,
                paused=set(paused),
                looked=set(looked),
                asked=asked | {"limits"},
            )
            step = plan(self.held, about)
            if isinstance(step, Wait):
                times = [*paused.values(), *looked.values()]
                times += [step.until] if step.until else []
                times += [self.now + timedelta(seconds=60)] if step.problem else []
                return min(times, default=None)
            self.steps.append(step)
            self._take(step, paused, looked, asked)
        raise AssertionError(f"P8: a turn does not end: {self.steps[-6:]}")

    def _take(
        self,
        step: Step,
        paused: dict[UUID | str, datetime],
        looked: dict[UUID, datetime],
        asked: set[str],
    ) -> None:
        soon = self.now + timedelta(seconds=2)
        match step:
            case Settle(a):
                if not self._settle(a):
                    paused[a.id] = soon
            case LookAtEni(a):
                if not self._look_at_eni(a):
                    looked[a.id] = soon
            case Call(a):
                assert a.id not in paused, "a call that had its chance is repeated in the same turn"
                if not self._call(step):
                    paused[a.id] = soon
            case LookAtPod(question):
                if not self._look_at_pod(step):
                    paused[question] = soon
            case LookAtVSwitches():
                asked.add("vswitches")
            case WritePodEni():
                asked.add("podeni")
                if not self._write(step):
                    paused["podeni"] = soon
            case CheckPodEni():
                asked.add("podeni")
                if not self._check(step):
                    paused["podeni"] = soon
            case Record(entries):
                for a, entry in entries:
                    self.append(a.id, entry)
            case _:
                raise AssertionError(f"the oracle does not know {step}")

    # ------------------------------------------------------------------ the cloud

    def _call(self, call: Call) -> bool:
        self._judge_call(call)
        self.calls += 1
        id_ = self.new_id()
        a = self.append(
            call.allocation.id,
            e.CallIntended(
                intent=id_,
                api=call.api,
                client_token=str(id_),
                parameters=call.parameters,
                deadline=self.now + CALL_BUDGET,
            ),
        )
        return self._send(a)

    def _judge_call(self, call: Call) -> None:
        """What must never be asked of the cloud, by the truth."""
        a, running = call.allocation, self.running_uid
        assert self.book[a.id] == a, "planned on an old state"
        assert a.intent is None, "P10: a second call beside an open one"
        match call.api:
            case "CreateNetworkInterface":
                assert a.address is None, "P4: a second ENI for one interface"
                assert a.phase is Phase.WANTED
            case "AttachNetworkInterface":
                assert a.attachment is None
                assert a.phase is Phase.WANTED
                assert call.parameters["instance_id"] == f"i-{a.node}"
            case "DetachNetworkInterface":
                assert a.attachment is not None
                assert a.attachment.pod_uid != running, "P11: detached from a running Pod"
            case "DeleteNetworkInterface":
                assert a.phase is Phase.RELEASING
                assert a.attachment is None
                assert running is None or not self._bound(a), "P11: a running Pod loses its ENI"

    def _bound(self, a: Allocation) -> bool:
        """Whether the PodENI gives this ENI to the Pod that runs."""
        assert a.address is not None
        if self.podeni is None or self.podeni.get("status", {}).get("phase") != "Bind":
            return False
        shown = {item["eni"]["id"] for item in self.podeni["spec"]["allocations"]}
        uid = self.podeni["metadata"]["annotations"]["k8s.aliyun.com/pod-uid"]
        return a.address.eni in shown and uid == self.running_uid

    @property
    def running_uid(self) -> str | None:
        return self.pod.uid if self.pod and not self.pod.terminal else None

    def _send(self, a: Allocation) -> bool:
        """The open call of `a` reaches the cloud, or not; True when it is settled."""
        assert a.intent is not None
        outcome = self.outcomes.pop(0) if self.outcomes else "done"
        if a.intent.api == "CreateNetworkInterface" and self.no_capacity and outcome == "done":
            code = "InvalidVSwitchId.IpNotEnough"
            self.append(a.id, refused(a, code))
            return True
        if outcome in ("refused", "throttled"):
            self.append(a.id, refused(a, "Throttling" if outcome == "throttled" else "Forbidden"))
            return False
        made = self.cloud.take(a.intent, self.now) if outcome in ("done", "unheard") else None
        if outcome != "done":
            self.append(a.id, e.CallUnknown(intent=a.intent.id, code="Timeout", message="none"))
            return False
        if made == "refused":
            self.append(a.id, refused(a, "InvalidOperation.EniState"))
            return False
        self.append(
            a.id,
            e.CallDone(
                intent=a.intent.id,
                settled_by="answer",
                request_id="r",
                address=made if isinstance(made, e.Address) else None,
            ),
        )
        return True

    def _settle(self, a: Allocation) -> bool:
        assert a.intent is not None
        if a.intent.api == "CreateNetworkInterface":
            made = self.cloud.made_with(str(a.intent.client_token))
            if made is not None:
                done = e.CallDone(
                    intent=a.intent.id,
                    settled_by="look",
                    request_id="r",
                    address=address_of(made),
                )
                self.append(a.id, done)
                return True
            if self.now < a.intent.deadline:
                return False
            repeated = e.CallRepeated(intent=a.intent.id, deadline=self.now + CALL_BUDGET)
            return self._send(self.append(a.id, repeated))
        eni = self.cloud.enis.get(a.intent.parameters["eni"])
        judged = eni_looks.judge_open_call(a.intent, eni, self.now, "r")
        if isinstance(judged, eni_looks.NotYet):
            return False
        self.append(a.id, *judged)
        return True

    def _look_at_eni(self, a: Allocation) -> bool:
        assert a.address is not None
        judged = eni_looks.judge_motion(a, self.cloud.enis.get(a.address.eni), self.now)
        if isinstance(judged, eni_looks.NotYet):
            return False
        self.append(a.id, judged)
        return not isinstance(judged, e.AttachFailed)

    # ------------------------------------------------------------------ the API server

    def _look_at_pod(self, step: LookAtPod) -> bool:
        if self.kube_down:
            return False
        pod = self.pod
        look = PodLook(pod.uid if pod else None, bool(pod and pod.terminal), 1)
        self._withdraw(step.allocations)
        self.heard = pod.seen() if pod else SeenPod("c1", "shop", "web-0", self.last_uid, None)
        first = step.allocations[0]
        if step.question == "presence" and look.running_uid == first.pod_uid:
            placed = place_for(first, node(first.node), enable_trunk=True)
            assert isinstance(placed, Placed)
            self.append(first.id, placed)
            return True
        states = [self.book[a.id] for a in step.allocations]
        if step.question == "release":
            return self._release(states, look)
        for a in states:
            self.append(a.id, *judge_absence(a, look, self.now))
        self._decide()
        return True

    def _withdraw(self, allocations: Sequence[Allocation]) -> None:
        live = self.podeni
        if live is None or live["metadata"].get("deletionTimestamp"):
            return
        for a in allocations:
            if a.podeni_deleted_by_report and a.release_podeni == live["metadata"]["uid"]:
                self.append(a.id, e.ReleaseWithdrawn(podeni_uid=live["metadata"]["uid"]))

    def _release(self, states: Sequence[Allocation], look: PodLook) -> bool:
        served = {a.pod_uid for a in self.held if a.phase in (Phase.WANTED, Phase.BOUND)}
        judged = judge_release(states, look, None, served, self.now)
        if not isinstance(judged, NotYet):
            for a, entry in judged:
                if isinstance(entry, e.ReleaseDecided) and entry.why == "ttl":
                    assert a.pod_uid != self.running_uid, "P2: a running Pod is robbed"
                    assert a.ttl_due is not None
                    assert a.ttl_due <= self.now, "P2: released early"
                self.append(a.id, entry)
        self._decide()
        return not isinstance(judged, NotYet)

    def _write(self, step: WritePodEni) -> bool:
        if self.kube_down or not self._write_all(
            lambda: next_write(
                self.podeni, step.phase, step.allocations, self.now, beside=step.beside
            )
        ):
            return False
        uid = self.podeni["metadata"]["uid"] if self.podeni else ""
        for a in step.allocations:
            self.append(a.id, e.PodEniWritten(phase=step.phase, uid=uid))
        return True

    def _write_all(self, following: Callable[[], Write | None], *, restoring: bool = False) -> bool:
        """Whether the PodENI is ours to write, with every write done."""
        try:
            for _ in range(12):
                write = following()
                if write is None:
                    return True
                self.writes += 1
                self._apply(write.verb, copy.deepcopy(write.obj), restoring=restoring)
        except ForeignPodEni:
            return False
        raise AssertionError("P8: writes do not end")

    def _apply(self, verb: str, obj: dict[str, Any], *, restoring: bool = False) -> None:
        status = (self.podeni or {}).get("status", {})
        if status.get("phase") == "Bind" and self.podeni is not None:
            uid = self.podeni["metadata"]["annotations"]["k8s.aliyun.com/pod-uid"]
            leaves = verb == "delete" or obj.get("status", {}).get("phase") != "Bind"
            assert not (leaves and uid == self.running_uid), "P11: unbound under a running Pod"
            other = verb == "replace" and renamed(self.podeni, obj)
            assert restoring or not other, "uid changed while in Bind"
        match verb:
            case "create":
                obj["metadata"]["uid"] = f"pe-{next(self._numbers)}"
                obj.pop("status", None)
                self.podeni = obj
            case "replace":
                gone = obj["metadata"].get("deletionTimestamp") and not obj["metadata"].get(
                    "finalizers"
                )
                obj["status"] = status
                self.podeni = None if gone else obj
            case "replace-status":
                assert self.podeni is not None
                self.podeni["status"] = obj["status"]
                self.cloud.judge_bind(self.podeni)
            case "delete":
                self._delete_podeni()

    def _check(self, step: CheckPodEni) -> bool:
        if self.kube_down:
            return False
        first = step.allocations[0]
        match judge_podeni(self.podeni, step.allocations, self.now):
            case Deleted(uid, reason):
                for a in step.allocations:
                    for decision in decide_podeni(uid, True, "a user", [a], reason):
                        self.append(a.id, decision.entry)
            case Differs(paths):
                again = restorable_from(step.allocations)
                if again is not None and self.now < again:
                    return False
                if first.phase is Phase.BOUND and self.running_uid != first.pod_uid:
                    for a in step.allocations:
                        self.append(a.id, e.GoneReported(pod_uid=a.pod_uid, how="deleted"))
                    return True
                return self._restore(step, paths)
            case Taken():
                return False
        return True

    def _restore(self, step: CheckPodEni, paths: tuple[str, ...]) -> bool:
        runs = step.allocations[0].phase is Phase.BOUND
        if not self._write_all(
            lambda: next_restoring_write(self.podeni, step.allocations, self.now, pod_runs=runs),
            restoring=True,
        ):
            return False
        uid = self.podeni["metadata"]["uid"] if self.podeni else ""
        for a in step.allocations:
            self.append(a.id, e.PodEniRestored(uid=uid, differed=paths, by="a user"))
        return True

    # ------------------------------------------------------------------ at the end

    def settle(self, seconds: int = 900) -> None:
        """No more inputs: everything is heard, every fault is over, and it comes to rest (P8)."""
        self.outcomes, self.kube_down, self.no_capacity = [], False, False
        if self.pod is not None and self.pod.deleting:
            self.pod = None  # nothing holds it up any more
        until = self.now + timedelta(seconds=seconds)
        quiet = 0
        while quiet < 3:  # the sweep takes a Pod up again that rests
            if self.now > until:
                raise AssertionError(f"P8: no rest: {[(a.phase, a.parked) for a in self.held]}")
            if self.podeni is not None:
                metadata = self.podeni["metadata"]
                self.hear_podeni(metadata["uid"], bool(metadata.get("deletionTimestamp")))
            self.hear()
            acts = (self.calls, self.writes)
            due = self.turn()
            self.pass_time(timedelta(seconds=5))
            rests = all(
                a.phase is Phase.BOUND or (a.phase is Phase.RESERVED and not a.release_requested)
                for a in self.held
            )
            still = acts == (self.calls, self.writes) and (
                due is None or (rests and due > self.now)
            )
            quiet = quiet + 1 if still else 0
