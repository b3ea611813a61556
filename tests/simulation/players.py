"""Users, nodes and workload controllers: they do what the story says, at the API server itself."""

from collections.abc import Callable, Sequence
from typing import Any

from deploy.local.kubernetes.errors import ApiError
from ledger.rules import entries as e
from ledger.store import brakes, work
from ledger.store.book import Story as Appended
from ledger.store.book import lock_pods, record
from ledger.store.database import ledger_now
from tests.simulation.story import NODES, PodPlan
from tests.simulation.truth import Name, Truth
from tests.simulation.world import CLUSTER, PODENIS, SimulatedWorld, elastic, fixed

VSWITCHES = ["vsw-bpxxxx", "vsw-bpyyyy"]


class Players:
    """Everybody outside the system under test. `tell` takes a line for the trace."""

    def __init__(
        self,
        world: SimulatedWorld,
        truth: Truth,
        pods: Sequence[PodPlan],
        tell: Callable[[str, str], None],
    ) -> None:
        self._world = world
        self._kube = world.kube
        self._truth = truth
        self._plans = {pod.key: pod for pod in pods}
        self._tell = tell
        self._dead_nodes: set[str] = set()
        self._dying: dict[str, str] = {}
        self._kube.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})

    # ------------------------------------------------------------------ workloads

    def create(self, pod: Name, node: int) -> None:
        """As StatefulSet controller, admission and scheduler leave a Pod; one of a name at most."""
        plan = self._plans[pod]
        if self._exists(pod):
            return
        on = self._schedulable(plan.zone, node)
        uid = self._world.create_pod(
            plan.name, namespace=plan.namespace, node=on, networks=_networks(plan)
        )
        self._tell("user", f"{'/'.join(pod)} ({_promise(plan)}) is created on {on}: {uid[:8]}")

    def delete(self, pod: Name) -> None:
        """Gone at once: forced, or the end of a graceful deletion."""
        if self._exists(pod):
            self._world.delete_pod(pod[1], pod[0])
            self._tell("user", f"{'/'.join(pod)} is gone")

    def drain(self, pod: Name) -> None:
        """A graceful deletion begins; the kubelet ends it later."""
        if self._exists(pod):
            self._kube.delete(_path(pod))
            self._tell("user", f"{'/'.join(pod)} is being deleted gracefully")

    def evict(self, pod: Name) -> None:
        self._end(pod, "Failed", "Evicted")

    def finish(self, pod: Name) -> None:
        self._end(pod, "Succeeded", "Completed")

    def _end(self, pod: Name, phase: str, reason: str) -> None:
        if self._exists(pod):
            body = {"status": {"phase": phase, "reason": reason}}
            self._kube.patch(f"{_path(pod)}/status", body)
            self._tell("kubelet", f"{'/'.join(pod)} is {phase} ({reason})")

    # ------------------------------------------------------------------ nodes

    def kill_instance(self, node: str) -> None:
        """The ECS instance is released; Kubernetes does not know yet."""
        spec = next(each for each in self._world.world.instances if each.node == node)
        self._world.cloud.model.kill(spec.id)
        self._dying[node] = spec.id
        self._tell("cloud", f"instance {spec.id} of {node} is released")

    def node_gone(self, node: str) -> None:
        """The node controller removes the Node and its Pods; those are created anew elsewhere."""
        self._dead_nodes.add(node)
        self._kube.delete(f"/api/v1/nodes/{node}")
        self._tell("kubernetes", f"node {node} is removed")
        for pod, found in self._truth.running().items():
            if found["spec"].get("nodeName") == node:
                self.delete(pod)
                self.create(pod, 0)

    def _schedulable(self, zone: str, index: int) -> str:
        pair = NODES[zone]
        chosen = pair[index]
        return chosen if chosen not in self._dead_nodes else pair[1 - index]

    # ------------------------------------------------------------------ people

    def release(self, pod: Name) -> None:
        """`eni-ledger release`: what the command records."""
        name = (CLUSTER, *pod)
        with self._world.ground.shared.transaction() as connection:
            held = lock_pods(connection, [(*name, "")]).get(name, [])
            serving = [a for a in held if a.serving and a.release_requested is None]
            if not serving:
                return
            now = ledger_now(connection)
            entry = e.ReleaseRequested(how="command", by="an operator", reason="simulated")
            record(connection, [Appended(a.id, a, (entry,), {}) for a in serving], now)
            work.signal(connection, [work.WorkKey(CLUSTER, "pod", *pod)], now)
        self._truth.given_up[pod] = self._world.time
        self._tell("operator", f"releases {'/'.join(pod)}")

    def delete_podeni(self, pod: Name) -> None:
        """A user deletes the PodENI; our finalizer holds it."""
        try:
            self._kube.delete(f"{PODENIS.format(pod[0])}/{pod[1]}")
        except ApiError as refused:
            if refused.code not in (404, 409, 429, 500, 503, 504):
                raise
            if refused.code == 404:
                return
            found = self._truth.podeni(pod)
            if found is None or "deletionTimestamp" not in found["metadata"]:
                return
        self._truth.given_up[pod] = self._world.time
        self._tell("user", f"deletes PodENI {'/'.join(pod)}")

    def resume(self) -> bool:
        """An operator who found that the breaker tripped over honest decisions."""
        with self._world.ground.shared.transaction() as connection:
            now = ledger_now(connection)
            resumed = brakes.release(connection, CLUSTER, "destructive", "an operator", now, {})
        if resumed:
            self._tell("operator", "looks at the breaker's decisions and resumes")
        return resumed

    def _exists(self, pod: Name) -> bool:
        try:
            self._kube.get(_path(pod))
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        return True


def _path(pod: Name) -> str:
    return f"/api/v1/namespaces/{pod[0]}/pods/{pod[1]}"


def _promise(plan: PodPlan) -> str:
    if plan.policy.kind != "ttl":
        return plan.policy.kind
    return f"fixed, TTL {plan.policy.seconds / 60:.0f}m"


def _networks(plan: PodPlan) -> list[dict[str, Any]]:
    networks = []
    for interface in plan.interfaces:
        more: dict[str, Any] = {"interface": interface, "vSwitchOptions": VSWITCHES}
        match plan.policy.kind:
            case "elastic":
                networks.append(elastic(**more))
            case "never":
                networks.append(fixed(strategy="Never", **more))
            case "ttl":
                networks.append(fixed(f"{plan.policy.seconds:.0f}s", **more))
    return networks
