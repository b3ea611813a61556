"""What has to hold once nothing goes wrong any more and the world has come to rest."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from ledger.rules.allocation import Allocation, Phase
from ledger.store.rebuild import check
from tests.simulation.promises import Promises
from tests.simulation.story import PodPlan
from tests.simulation.truth import POD_UID, Name, Truth
from tests.simulation.world import SimulatedWorld

TRUNK_ON = "k8s.aliyun.com/trunk-on"


class Settled:
    """Compares ledger, PodENIs and cloud with what the lives of the Pods make them deserve."""

    def __init__(self, world: SimulatedWorld, truth: Truth, promises: Promises) -> None:
        self._world = world
        self._truth = truth
        self._promises = promises
        self._held: dict[Name, list[Allocation]] = {}

    def check(self, *, ttls_are_over: bool) -> None:
        """Every Pod name, every ENI; `ttls_are_over`: no TTL can be running any more."""
        self._held = {}
        for a in self._world.allocations():
            if a.phase is not Phase.RELEASED:
                self._held.setdefault((a.namespace, a.pod), []).append(a)
        running = self._truth.running()
        for name, plan in self._promises.plans.items():
            if name in running:
                self._check_running(name, plan, running[name])
            else:
                self._check_gone(name, plan, ttls_are_over=ttls_are_over)
        for name in set(self._held) - set(self._promises.plans):
            self._broken(
                "P11", f"{'/'.join(name)} never was and holds an address; {self._why(name)}"
            )
        self._check_cloud()
        self._check_same_address()
        self._promises.check_claims()
        with self._world.ground.shared.transaction() as connection:
            for difference in check(connection):
                self._broken("P6", f"{difference.table} {difference.key} is not what was recorded")

    def _broken(self, promise: str, what: str) -> None:
        self._promises.broken(promise, what)

    # ------------------------------------------------------------------ Pods

    def _check_running(self, name: Name, plan: PodPlan, pod: dict[str, Any]) -> None:
        """The node agent's contract (reference §6.10), field by field."""
        who = "/".join(name)
        podeni = self._truth.podeni(name)
        if podeni is None:
            self._broken("convergence", f"{who} runs and has no PodENI; {self._why(name)}")
            return
        status, metadata = podeni.get("status") or {}, podeni["metadata"]
        node = self._world.kube.get(f"/api/v1/nodes/{pod['spec']['nodeName']}")
        trunk = node["metadata"]["annotations"][TRUNK_ON]
        wrong = []
        if status.get("phase") != "Bind":
            wrong.append(f"phase {status.get('phase')}")
        if metadata.get("annotations", {}).get(POD_UID) != pod["metadata"]["uid"]:
            wrong.append("pod-uid of another Pod")
        if status.get("trunkENIID") != trunk:
            wrong.append(f"trunk {status.get('trunkENIID')} in place of {trunk}")
        if "deletionTimestamp" in metadata and name not in self._truth.given_up:
            wrong.append("deletionTimestamp")
        wrong += list(self._wrong_networks(plan, podeni, trunk))
        if wrong:
            self._broken(
                "convergence",
                f"{who} runs and its PodENI has {', '.join(wrong)}; {self._why(name)}",
            )

    def _wrong_networks(self, plan: PodPlan, podeni: dict[str, Any], trunk: str) -> Iterator[str]:
        enis = {eni.id: eni for eni in self._world.cloud.model.enis()}
        status = podeni.get("status") or {}
        shown = podeni["spec"].get("allocations", [])
        if sorted(each["interface"] for each in shown) != sorted(plan.interfaces):
            yield f"interfaces {[each['interface'] for each in shown]}"
        for each in shown:
            eni = enis.get(each["eni"]["id"])
            info = (status.get("eniInfos") or {}).get(each["eni"]["id"], {})
            if eni is None or eni.status != "InUse" or eni.trunk_id != trunk:
                yield f"ENI {each['eni']['id']} that is {eni and eni.status} on {eni and eni.trunk_id}"
            elif eni.ipv4 != each["ipv4"] or eni.mac != each["eni"]["mac"]:
                yield f"ENI {eni.id} with {each['ipv4']} in place of {eni.ipv4}"
            elif info.get("vid") != eni.vlan:
                yield f"VLAN {info.get('vid')} in place of {eni.vlan}"

    def _check_gone(self, name: Name, plan: PodPlan, *, ttls_are_over: bool) -> None:
        who, held = "/".join(name), self._held.get(name, [])
        lives = self._truth.lives.get(name, [])
        podeni = self._truth.podeni(name)
        given_up = self._truth.given_up.get(name)
        if given_up is not None and lives and given_up < lives[-1].created:
            # Whether this life had claimed the address by then is told by the ledger alone.
            return
        keeps = given_up is None and self._keeps(name, plan, lives[-1].ended if lives else None)
        if keeps and not ttls_are_over:
            if [a.phase for a in held] != [Phase.RESERVED] * len(plan.interfaces):
                self._broken(
                    "P2", f"{who} is {self._phases(name)} in place of reserved; {self._why(name)}"
                )
            elif podeni is None or (podeni.get("status") or {}).get("phase") != "Unbind":
                self._broken("convergence", f"{who} is reserved and its PodENI not Unbind")
            return
        # An address that no PodENI ever showed may be kept as well: it was allocated for this name.
        kept_for_ever = plan.policy.kind == "never" and given_up is None
        if held and not kept_for_ever and (ttls_are_over or plan.policy.kind == "elastic"):
            self._broken(
                "convergence",
                f"{who} is {self._phases(name)} in place of released; {self._why(name)}",
            )
        if not held and podeni is not None:
            self._broken("convergence", f"{who} is released and its PodENI is there")

    def _keeps(self, name: Name, plan: PodPlan, ended: datetime | None) -> bool:
        """Whether the address shown last is still promised to this name."""
        shown = self._truth.shown.get(name)
        if not shown or ended is None or plan.policy.kind == "elastic":
            return False
        if plan.policy.kind == "never":
            return True
        away = self._world.time - ended
        uid = self._truth.lives[name][-1].uid
        return away < timedelta(seconds=plan.policy.seconds) and self._in_time(
            name, plan, shown[-1].at, uid
        )

    def _check_same_address(self) -> None:
        """P2 as a user sees it: who came back in time has the address he had."""
        for name, shown in self._truth.shown.items():
            plan = self._promises.plans.get(name)
            if plan is None or plan.policy.kind == "elastic":
                continue
            for before, after in pairwise(shown):
                if after.addresses == before.addresses:
                    continue
                if self._in_time(name, plan, before.at, after.uid):
                    told = f"had {before.addresses} and came back to {after.addresses}"
                    self._broken("P2", f"{'/'.join(name)} {told}")

    def _in_time(self, name: Name, plan: PodPlan, shown_at: datetime, uid: str) -> bool:
        """Whether no gap before this life was longer than the TTL, and nobody gave the name up."""
        if name in self._truth.given_up:
            return False
        if plan.policy.kind == "never":
            return True
        seen: datetime | None = None
        for life in self._truth.lives[name]:
            away = life.created - seen if seen is not None else timedelta(0)
            if life.created > shown_at and away >= timedelta(seconds=plan.policy.seconds):
                return False
            if life.uid == uid:
                return True
            seen = life.ended
        return True

    # ------------------------------------------------------------------ the cloud

    def _check_cloud(self) -> None:
        """P4: every ENI of ours belongs to a live allocation, and each of those is as recorded."""
        live = {a.address.eni: a for held in self._held.values() for a in held if a.address}
        enis = {eni.id: eni for eni in self._world.cloud.model.enis()}
        for eni_id, status in self._world.member_enis().items():
            if eni_id not in live:
                self._broken("P4", f"ENI {eni_id} ({status}) is leaked")
        for eni_id, a in live.items():
            eni = enis.get(eni_id)
            if eni is None:
                self._broken("convergence", f"{a.namespace}/{a.pod} holds {eni_id}, which is gone")
            elif a.address and eni.ipv4 != a.address.ipv4:
                self._broken("P1", f"{eni_id} has {eni.ipv4} and the ledger {a.address.ipv4}")

    # ------------------------------------------------------------------ words

    def _phases(self, name: Name) -> str:
        return ", ".join(a.phase.value for a in self._held.get(name, [])) or "not held"

    def _why(self, name: Name) -> str:
        rows = self._world.ground.rows(
            "SELECT waiting_for, due_at, attempt FROM ledger.work "
            "WHERE kind = 'pod' AND namespace = %s AND name = %s",
            list(name),
        )
        parked = [a.parked for a in self._held.get(name, []) if a.parked]
        return f"held: {self._phases(name)}; work: {rows}; parked: {parked}"
