"""Checks of the cluster: its kind and token, the node agents, the eni-config. Pure.

The product document's step one, by kind of cluster.
"""

import re
from typing import Any, Final

from consumers.doctor.eni_config_text import (
    CREDENTIAL_PATH,
    TOKEN_PATH,
    TRUNKING,
    EniConfigTextError,
    parsed,
)
from consumers.doctor.facts import AgentPod, ConfigText, DaemonSet, Facts
from consumers.doctor.judging import (
    Check,
    NotMade,
    Part,
    Verdict,
    blocks,
    fine,
    listed,
    seen,
    warns,
)
from ledger.rules.eni_config import EniConfig, EniConfigError
from ledger.rules.nodes import NodeFacts

MANAGED: Final = "managed"
DEDICATED: Final = "dedicated"
AGENT: Final = "terway-eniip"
#: vSwitchSelectOptions and eniOptions exist from here on (product document).
OPTIONS_SINCE: Final = (1, 11, 0)
#: events.k8s.io/v1 and admissionregistration.k8s.io/v1 are served from here on.
OLDEST_KUBERNETES: Final = (1, 19)
FIX_ENI_CONFIG: Final = "eni-ledger doctor --fix eni-config"
EDIT_ENI_CONFIG: Final = "kubectl edit cm -n kube-system eni-config"

_IMAGE_VERSION: Final = re.compile(r"/terway:v?(\d+)\.(\d+)\.(\d+)")


def cluster_kind(facts: Facts) -> tuple[str, str]:
    """(managed or dedicated, how that is known). Raises NotSeen."""
    if facts.meant.cluster_kind:
        return facts.meant.cluster_kind, "as --cluster-kind says"
    control_plane = seen(facts.cluster.control_plane)
    if control_plane:
        return DEDICATED, f"its control plane runs as Pods here: {listed(control_plane)}"
    return MANAGED, "no control plane runs as Pods here"


def _kubernetes(facts: Facts) -> Verdict:
    version = seen(facts.cluster.version)
    text = f"the API server answers, Kubernetes {version[0]}.{version[1]}"
    if version < OLDEST_KUBERNETES:
        oldest = ".".join(map(str, OLDEST_KUBERNETES))
        return blocks(f"{text}: at least {oldest} is needed", "upgrade the cluster")
    return fine(text)


def _token(facts: Facts) -> Verdict:
    kind, how = cluster_kind(facts)
    if kind == DEDICATED:
        return fine(f"not needed: a dedicated cluster ({how})")
    if seen(facts.cluster.token):
        return fine("Secret kube-system/addon.network.token is there: a managed cluster")
    return blocks(
        f"a managed cluster ({how}) without Secret kube-system/addon.network.token: it does not "
        "support trunk ENIs. Clusters made before June 2020 may lack it",
        "make a new managed cluster (trunk ENIs are on from Kubernetes 1.31); if this one is "
        "dedicated: eni-ledger doctor --cluster-kind dedicated",
    )


def _permission(facts: Facts) -> Verdict:
    kind, how = cluster_kind(facts)
    if kind == MANAGED:
        return fine("a managed cluster needs to apply for nothing")
    nodes = [n for n in seen(facts.cluster.nodes) if isinstance(n, NodeFacts) and n.trunk_eni_id]
    if nodes:
        return fine(f"granted: {len(nodes)} nodes of this dedicated cluster have a trunk ENI")
    return warns(
        f"a dedicated cluster ({how}) must apply for trunk ENIs, and no node has one yet; whether "
        "it was granted no API tells",
        "apply on the quota platform for Terway ENI Trunking, and to ECS by ticket for trunk "
        "instances",
    )


def _agent_set(facts: Facts) -> DaemonSet | None:
    return next((each for each in seen(facts.cluster.daemon_sets) if each.name == AGENT), None)


def _plugin(facts: Facts) -> Verdict:
    agent = _agent_set(facts)
    if agent is not None:
        return fine(f"DaemonSet kube-system/{AGENT} wants {agent.wanted} agents")
    others = sorted(
        each.name
        for each in seen(facts.cluster.daemon_sets)
        if each.name.startswith(("terway", "kube-flannel", "calico", "cilium"))
    )
    instead = f"; there is {listed(others)}" if others else ""
    return blocks(
        f"there is no DaemonSet kube-system/{AGENT}{instead}: Pods get member ENIs only from it",
        "install the add-on terway-eniip; a cluster made with another network plug-in can't change it",
    )


def _agents(facts: Facts) -> Verdict:
    agent = _agent_set(facts)
    if agent is None:
        raise NotMade("no agents to look at")
    lame = sorted(
        each.node or each.name for each in seen(facts.cluster.agent_pods) if not each.ready
    )
    if agent.ready >= agent.wanted and not lame:
        return fine(f"{agent.ready} of {agent.wanted} agents are ready")
    return warns(
        f"{agent.ready} of {agent.wanted} agents are ready; not on {listed(lame) or 'some nodes'}: "
        "no Pod starts there",
        "kubectl get pods -n kube-system -l app=terway-eniip -o wide",
    )


def agent_version(daemon_set: DaemonSet) -> tuple[int, int, int] | None:
    """The version of the agent's image; None where its tag tells none."""
    for image in daemon_set.images:
        if found := _IMAGE_VERSION.search(image):
            return int(found[1]), int(found[2]), int(found[3])
    return None


def _terway_version(facts: Facts) -> Verdict:
    agent = _agent_set(facts)
    if agent is None:
        raise NotMade("no agents to look at")
    version, since = agent_version(agent), ".".join(map(str, OPTIONS_SINCE))
    if version is None:
        return warns(
            f"the agents' image tells no version ({listed(agent.images)}): vSwitchSelectOptions and "
            f"eniOptions need v{since}",
            "see the add-on's version in the console, under component management, network",
        )
    text = ".".join(map(str, version))
    if version < OPTIONS_SINCE:
        return warns(
            f"terway is v{text}: vSwitchSelectOptions and eniOptions of PodNetworkings need v{since}",
            "upgrade the add-on terway-eniip",
        )
    return fine(f"terway is v{text}")


def _config(facts: Facts) -> ConfigText:
    """The eni-config, for checks that need its text. One that is missing has the empty text."""
    return seen(facts.cluster.eni_config) or ConfigText("", "", "")


def _document(facts: Facts) -> dict[str, Any] | None:
    """The eni-config's object; None where another check tells what is wrong with it."""
    try:
        return parsed(_config(facts).text)
    except EniConfigTextError:
        return None


def _json(facts: Facts) -> Verdict:
    if seen(facts.cluster.eni_config) is None:
        return blocks(
            "ConfigMap kube-system/eni-config is not there: the node agents can't start without it",
            "install the add-on terway-eniip again; it brings the ConfigMap",
        )
    try:
        document = parsed(_config(facts).text)
    except EniConfigTextError as wrong:
        return blocks(f"the key eni_conf is no valid JSON: {wrong}", EDIT_ENI_CONFIG)
    return fine(f"valid JSON with {len(document)} keys")


def _trunking(facts: Facts) -> Verdict:
    document = _document(facts)
    if document is None:
        raise NotMade("not looked at: the eni-config can't be read")
    value = document.get(TRUNKING)
    if value is True:
        return fine(f"{TRUNKING} is true")
    found = f"is {value!r}" if TRUNKING in document else "is not there"
    return blocks(f"{TRUNKING} {found}: no node gets a trunk ENI", FIX_ENI_CONFIG)


def _credential(facts: Facts) -> Verdict:
    document = _document(facts)
    if document is None:
        raise NotMade("not looked at: the eni-config can't be read")
    if cluster_kind(facts)[0] == DEDICATED:
        return fine(f"{CREDENTIAL_PATH} is not needed: a dedicated cluster")
    value = document.get(CREDENTIAL_PATH)
    if value == TOKEN_PATH:
        return fine(f"{CREDENTIAL_PATH} is {value}")
    if value:
        return warns(
            f"{CREDENTIAL_PATH} is {value!r}; ACK mounts the token at {TOKEN_PATH}",
            f"if that is a mistake: {FIX_ENI_CONFIG} --set {CREDENTIAL_PATH}={TOKEN_PATH}",
        )
    return blocks(
        f"{CREDENTIAL_PATH} is not there: on a managed cluster the node agents have no right to make "
        "a trunk ENI without it",
        FIX_ENI_CONFIG,
    )


def _defaults(facts: Facts) -> Verdict:
    if _document(facts) is None:
        raise NotMade("not looked at: the eni-config can't be read")
    try:
        config = EniConfig.from_text(_config(facts).text)
    except EniConfigError as wrong:
        return blocks(str(wrong), EDIT_ENI_CONFIG)
    missing = [
        name
        for name, ids in (
            ("vswitches", config.vswitch_ids),
            ("security_group", config.security_group_ids),
        )
        if not ids
    ]
    if missing:
        return warns(
            f"no {' and no '.join(missing)}: a PodNetworking that names none itself is refused",
            "name vSwitches and security groups in every PodNetworking",
        )
    return fine(
        f"{len(config.vswitch_ids)} vSwitches and {len(config.security_group_ids)} security groups "
        "for PodNetworkings that name none"
    )


def _overlays(facts: Facts) -> Verdict:
    wrong = []
    overlays = seen(facts.cluster.overlays)
    for name, text in overlays.items():
        if text is None:
            wrong.append(f"ConfigMap kube-system/{name} is not there")
            continue
        try:
            value = parsed(text).get(TRUNKING, True) if text else True
        except EniConfigTextError as unreadable:
            wrong.append(f"kube-system/{name} is no valid JSON: {unreadable}")
            continue
        if value is not True:
            wrong.append(f"kube-system/{name} says {TRUNKING}: {value!r}")
    if wrong:
        return warns(
            f"nodes with the label terway-config get another eni-config: {listed(wrong)}",
            "correct that ConfigMap, then restart the agents of its nodes",
        )
    return fine(f"{len(overlays)} overlays for single nodes, none turns trunk ENIs off")


def stale_agents(config: ConfigText, agents: tuple[AgentPod, ...]) -> list[AgentPod]:
    """The agents that started before the eni-config was last written. Pure: RFC 3339 in UTC sorts."""
    return [each for each in agents if config.changed and each.started < config.changed]


def _in_effect(facts: Facts) -> Verdict:
    config, agents = _config(facts), seen(facts.cluster.agent_pods)
    if not agents:
        raise NotMade("no agents to look at")
    stale = stale_agents(config, agents)
    if not stale:
        return fine("every agent started after the eni-config was last written")
    return warns(
        f"{len(stale)} of {len(agents)} agents started before the eni-config was last written "
        f"({config.changed}), and read it only at start: {listed(sorted(each.node for each in stale))}",
        f"{FIX_ENI_CONFIG} (restarts them in stages, also where nothing is to be edited)",
    )


def _settings(facts: Facts) -> Verdict:
    empty = [
        f"ENI_LEDGER_{variable}"
        for variable, value in (
            ("CLUSTER_ID", facts.meant.cluster_id),
            ("CLOUD__REGION_ID", facts.meant.region_id),
            ("CLOUD__VPC_ID", facts.meant.vpc_id),
        )
        if not value
    ]
    if empty:
        return blocks(f"not set: {', '.join(empty)}", f"set {' and '.join(empty)}")
    return fine(
        f"cluster {facts.meant.cluster_id} in {facts.meant.region_id}, {facts.meant.vpc_id}"
    )


def _identity(facts: Facts) -> Verdict:
    if seen(facts.database.schema) is not None:
        raise NotMade("no schema of ours")
    known, found = seen(facts.database.cluster_uid), seen(facts.cluster.uid)
    if known is None:
        return fine("the ledger has not met this cluster yet")
    if known == found:
        return fine(f"the ledger knows this cluster (kube-system {found})")
    return blocks(
        f"cluster id {facts.meant.cluster_id!r} means to the ledger the cluster whose kube-system has "
        f"uid {known}; this API server's has {found}",
        "correct ENI_LEDGER_KUBE__KUBECONFIG or ENI_LEDGER_CLUSTER_ID: one of them is another cluster's",
    )


def _region(facts: Facts) -> Verdict:
    meant = facts.meant.region_id
    nodes = [n for n in seen(facts.cluster.nodes) if isinstance(n, NodeFacts) and n.region]
    others = sorted({n.region for n in nodes} - {meant})
    if others and meant:
        return blocks(
            f"nodes are in {listed(others)}, and calls go to {meant}: no ENI could be attached there",
            f"set ENI_LEDGER_CLOUD__REGION_ID={others[0]}",
        )
    return fine(f"{len(nodes)} nodes, all in {meant}")


_TRUNK_OFF: Final = (
    "A Pod gets its own ENI as a member of its node's trunk ENI, which the node agent makes."
)

CHECKS: Final = (
    Check("settings", Part.SETTINGS, "Every call and every tag of an ENI carries them.", _settings),
    Check(
        "cluster-identity",
        Part.SETTINGS,
        "Pods of another cluster would all look gone, and their addresses would be released.",
        _identity,
    ),
    Check("node-region", Part.SETTINGS, "ENIs are made in the region that is set.", _region),
    Check(
        "kubernetes-api",
        Part.CLUSTER,
        "Everything starts from what it says.",
        _kubernetes,
        base=True,
    ),
    Check(
        "network-token",
        Part.CLUSTER,
        "The node agents of a managed cluster act with this token; without it there is no trunk ENI.",
        _token,
    ),
    Check(
        "trunk-permission",
        Part.CLUSTER,
        "Dedicated clusters may use trunk ENIs only after Alibaba Cloud granted it.",
        _permission,
    ),
    Check("network-plugin", Part.CLUSTER, _TRUNK_OFF, _plugin),
    Check("agents-ready", Part.CLUSTER, "A Pod's network is set up by its node's agent.", _agents),
    Check(
        "terway-version",
        Part.CLUSTER,
        "An older one takes a PodNetworking with these fields and does not do what they say.",
        _terway_version,
    ),
    Check("eni-config-json", Part.CLUSTER, "Agents that can't read it don't start.", _json),
    Check("eni-config-trunking", Part.CLUSTER, _TRUNK_OFF, _trunking),
    Check(
        "eni-config-credential",
        Part.CLUSTER,
        "It tells the agents of a managed cluster where their token is.",
        _credential,
    ),
    Check(
        "eni-config-defaults", Part.CLUSTER, "They fill in what a network leaves out.", _defaults
    ),
    Check(
        "eni-config-overlays", Part.CLUSTER, "They replace the eni-config on some nodes.", _overlays
    ),
    Check(
        "eni-config-in-effect",
        Part.CLUSTER,
        "A change that agents have not read is no change yet.",
        _in_effect,
    ),
)
