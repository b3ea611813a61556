"""Restarts the node agents in stages, as the product document does: by deleting their Pods.

One first; the next ones only after it came back, ready, and its node has its trunk ENI. Pods keep
their networks meanwhile: an agent only sets up and tears down. No new Pod starts on a node without.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from consumers.doctor.facts import AgentPod
from consumers.doctor.fix_plan import stages_of


class Agents(Protocol):
    """What restarting needs of the cluster. Every call may raise KubeError."""

    def pods(self) -> Sequence[AgentPod]:
        """The agents' Pods as they are now."""
        ...

    def delete(self, pod: AgentPod) -> None:
        """Delete that very Pod; one that is gone already is fine."""
        ...

    def trunk_of(self, node: str) -> str | None:
        """The node's trunk ENI by its annotation; None while it has none."""
        ...


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long to wait, in seconds, by whose clock; `pause` is between two looks."""

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    ready_s: float = 180.0
    trunk_s: float = 60.0
    pause_s: float = 0.5


class RestartStopped(Exception):  # noqa: N818 - names what happened
    """An agent did not come back as it should: names it, and how many were not restarted."""


def restart(
    agents: Agents, waiting: Waiting, expects_trunk: Callable[[str], bool]
) -> Iterator[str]:
    """Restart them all; yields what was done, for a person to read, after each stage.

    `expects_trunk(node)`: whether the node's type can have a trunk ENI. Raises RestartStopped, after
    which nothing more is restarted, and KubeError.
    """
    there = agents.pods()
    wanted = [pod.node for pod in there if expects_trunk(pod.node)]
    stages = stages_of(there, min(wanted, default=""))
    left = len(there)
    for number, stage in enumerate(stages, 1):
        for pod in stage:
            agents.delete(pod)
        left -= len(stage)
        for pod in stage:
            _await_ready(agents, pod, waiting, left)
            if expects_trunk(pod.node):
                _await_trunk(agents, pod, waiting, left)
        nodes = ", ".join(pod.node for pod in stage)
        yield f"stage {number} of {len(stages)}: the agents of {nodes} came back"


def _await_ready(agents: Agents, old: AgentPod, waiting: Waiting, left: int) -> None:
    def came_back() -> bool:
        return any(p.node == old.node and p.uid != old.uid and p.ready for p in agents.pods())

    if not _until(came_back, waiting, waiting.ready_s):
        raise RestartStopped(
            f"the agent of node {old.node} is not ready {waiting.ready_s:g} s after its restart; {left} "
            f"other agents were left as they are. Look at it: kubectl describe pod -n kube-system -l "
            f"app=terway-eniip --field-selector spec.nodeName={old.node}"
        )


def _await_trunk(agents: Agents, old: AgentPod, waiting: Waiting, left: int) -> None:
    if not _until(lambda: agents.trunk_of(old.node) is not None, waiting, waiting.trunk_s):
        raise RestartStopped(
            f"the agent of node {old.node} is ready and made no trunk ENI within {waiting.trunk_s:g} s: "
            f"the node may have no slot left for another ENI, or the agent no right to make one; {left} "
            f"other agents were left as they are. Its log says why: kubectl logs -n kube-system -l "
            "app=terway-eniip"
        )


def _until(holds: Callable[[], bool], waiting: Waiting, seconds: float) -> bool:
    deadline = waiting.clock() + seconds
    while not holds():
        if waiting.clock() >= deadline:
            return False
        waiting.sleep(waiting.pause_s)
    return True
