"""Carries a plan out on a live cluster: writes the ConfigMap, restarts the agents, looks again."""

import time
from collections.abc import Callable, Iterator, Sequence

import httpx2

from consumers.doctor.facts import AgentPod, Facts, Unseen
from consumers.doctor.fix_plan import Plan, change_of
from consumers.doctor.naming import carrying
from consumers.doctor.probe_cluster import agent_pods
from consumers.doctor.restarting import Waiting, restart
from consumers.kube.names import ENI_CONFIG, ENI_CONFIG_KEY, SYSTEM_NAMESPACE
from consumers.kube.port import NotFound
from consumers.kube.reads import delete_that_one, get_object, merge_patch
from consumers.kube.resources import CONFIG_MAPS, NODES, PODS
from ledger.rules.nodes import TRUNK_ON
from ledger.rules.objects import text_map_at


class LiveAgents:
    """`restarting.Agents` over the Kubernetes API."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def pods(self) -> Sequence[AgentPod]:
        """See Agents.pods."""
        return agent_pods(self._client)

    def delete(self, pod: AgentPod) -> None:
        """See Agents.delete."""
        try:
            delete_that_one(self._client, PODS, pod.name, SYSTEM_NAMESPACE, pod.uid)
        except NotFound:
            return

    def trunk_of(self, node: str) -> str | None:
        """See Agents.trunk_of."""
        found = get_object(self._client, NODES, node) or {}
        return text_map_at(found, "metadata", "annotations").get(TRUNK_ON) or None


def write(client: httpx2.Client, plan: Plan) -> None:
    """Write the new text, on condition that the ConfigMap is still the version that was shown.

    Raises Conflict where it is not, and KubeError.
    """
    change = change_of(plan, ENI_CONFIG_KEY)
    version = plan.resource_version
    merge_patch(client, CONFIG_MAPS, ENI_CONFIG, SYSTEM_NAMESPACE, change, version)


def restart_agents(
    client: httpx2.Client, facts: Facts, waiting: Waiting | None = None
) -> Iterator[str]:
    """Restart the agents in stages; see `restarting.restart`."""
    waiting = waiting or Waiting(time.monotonic, time.sleep)
    return restart(LiveAgents(client), waiting, _expects_trunk(facts))


def _expects_trunk(facts: Facts) -> Callable[[str], bool]:
    """Nodes whose type is known to have room for members. Where types could not be seen: none, and
    the agents are only awaited, not their trunks."""
    types, nodes = facts.cloud.instance_types, facts.cluster.nodes
    if isinstance(types, Unseen) or isinstance(nodes, Unseen):
        return lambda _node: False
    able = {each.instance_type for each in types if each.member_limit > 0}
    names = {n.name for n in carrying(nodes) if n.instance_type in able and not n.exclusive_eni}
    return names.__contains__
