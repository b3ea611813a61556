"""What `doctor --fix eni-config` may change, and what it must refuse. Pure.

Only two keys: enable_eni_trunking, to true, and credential_path. Neither trunk ENIs nor fixed IPs can
be turned off again once a cluster has them (product document), so nothing here does.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from consumers.doctor.checks_cluster import AGENT, MANAGED, cluster_kind
from consumers.doctor.eni_config_text import (
    CREDENTIAL_PATH,
    TOKEN_PATH,
    TRUNKING,
    EniConfigTextError,
    edited,
    parsed,
)
from consumers.doctor.facts import AgentPod, ConfigText, Facts
from consumers.doctor.judging import NotSeen, seen

#: Share of the agents that are restarted together, after the first one came back.
STAGE_SHARE: Final = 10


class FixRefused(Exception):  # noqa: N818 - names what happened
    """It would not help, or would harm: says why, and what to do instead."""


class WrongSetting(FixRefused):
    """What was asked for can't be asked for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The edit of the ConfigMap. `after` is its new text; equal to `before` where nothing is to do."""

    before: str
    after: str
    resource_version: str

    @property
    def changes(self) -> bool:
        """Whether the ConfigMap would be written at all."""
        return self.before != self.after

    def diff(self) -> str:
        """The change as a unified diff."""
        lines = difflib.unified_diff(
            self.before.splitlines(),
            self.after.splitlines(),
            "kube-system/eni-config eni_conf (now)",
            "kube-system/eni-config eni_conf (then)",
            lineterm="",
        )
        return "\n".join(lines)


def asked_for(settings: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` words as values of the eni-config. Raises WrongSetting for what may not be set."""
    wanted: dict[str, Any] = {}
    for word in settings:
        key, equals, value = word.partition("=")
        if not equals:
            raise WrongSetting(f"--set {word}: write KEY=VALUE")
        if key == TRUNKING:
            if value.lower() != "true":
                raise WrongSetting(
                    f"--set {word}: trunk ENIs can't be turned off again once a cluster has them, and "
                    "nor can fixed IPs, vSwitches and security groups of single Pods: running Pods hang "
                    "on them. To stop using them, remove the PodNetworkings"
                )
            wanted[key] = True
        elif key == CREDENTIAL_PATH:
            if not value.startswith("/"):
                raise WrongSetting(f"--set {word}: {CREDENTIAL_PATH} is an absolute path")
            wanted[key] = value
        else:
            raise WrongSetting(
                f"--set {word}: only {TRUNKING} and {CREDENTIAL_PATH} are changed here. The product "
                "document says to touch no other key"
            )
    return wanted


def plan_of(facts: Facts, asked: Mapping[str, Any]) -> Plan:
    """The edit that the product document asks for in this cluster, with what was `asked` for.

    Raises FixRefused where it can't help: no ConfigMap, no JSON (with the position), no agents, a
    managed cluster without its token; and where that could not be seen.
    """
    try:
        config = seen(facts.cluster.eni_config)
        kind, _ = cluster_kind(facts)
        token = kind != MANAGED or seen(facts.cluster.token)
        agents = [each.name for each in seen(facts.cluster.daemon_sets)]
    except NotSeen as unseen:
        raise FixRefused(f"nothing was changed: could not look: {unseen}") from unseen
    if config is None:
        raise FixRefused(
            "ConfigMap kube-system/eni-config is not there: install the add-on terway-eniip first"
        )
    if AGENT not in agents:
        raise FixRefused(
            f"there is no DaemonSet kube-system/{AGENT}: only its agents read these keys. Install the "
            "add-on terway-eniip first"
        )
    if not token:
        raise FixRefused(
            "a managed cluster without Secret kube-system/addon.network.token does not support trunk "
            "ENIs: with them on, its agents would have no credentials. Make a new cluster; if this one "
            "is dedicated: --cluster-kind dedicated"
        )
    return _edit(config, kind, asked)


def _edit(config: ConfigText, kind: str, asked: Mapping[str, Any]) -> Plan:
    try:
        document = parsed(config.text)
        wanted: dict[str, Any] = {TRUNKING: True}
        if kind == MANAGED and not document.get(CREDENTIAL_PATH):
            # Another path that somebody set is left alone, unless it is asked for.
            wanted[CREDENTIAL_PATH] = TOKEN_PATH
        after = edited(config.text, {**wanted, **asked})
    except EniConfigTextError as wrong:
        raise FixRefused(
            f"the key eni_conf of ConfigMap kube-system/eni-config is no valid JSON: {wrong}. Nothing "
            "was changed: correct it there (kubectl edit cm -n kube-system eni-config)"
        ) from wrong
    return Plan(config.text, after, config.resource_version)


def change_of(plan: Plan, key: str) -> Mapping[str, Any]:
    """The merge patch that carries the plan out: this one key, nothing else of the ConfigMap."""
    return {"data": {key: plan.after}}


def stages_of(agents: Sequence[AgentPod], first: str = "") -> list[list[AgentPod]]:
    """In which order agents are restarted: one alone, on node `first` where it has one, then a tenth
    of them (at least one) at a time."""
    rest = sorted(agents, key=lambda pod: (pod.node != first, pod.node, pod.name))
    if not rest:
        return []
    size = max(1, len(rest) // STAGE_SHARE)
    others = rest[1:]
    return [rest[:1], *(others[at : at + size] for at in range(0, len(others), size))]


def backup_of(plan: Plan) -> str:
    """The former text as a ConfigMap's data, for `kubectl patch … --patch-file`."""
    return json.dumps({"data": {"eni_conf": plan.before}}, indent=2) + "\n"
