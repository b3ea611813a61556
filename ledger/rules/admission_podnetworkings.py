"""Admission of PodNetworkings: fill the gaps on create, refuse what can't work (reference §2.6-2.7).

Updates are validated too, which the incumbent doesn't do, and ratchet: what was already wrong in the
stored object doesn't stop an edit of something else; it is repeated as a warning.
"""

import copy
from collections.abc import Iterable

from ledger.rules.admission_decision import (
    BAD_REQUEST,
    Decision,
    allow,
    deny,
    patched,
)
from ledger.rules.admission_limits import (
    SAME_NODE_WARNING,
    allocation_violations,
    allocation_warnings,
    choice_violations,
    security_group_violations,
    security_group_warnings,
)
from ledger.rules.eni_config import EniConfig, EniConfigError
from ledger.rules.networks import ENI_TYPES, SELECTION_POLICIES
from ledger.rules.objects import KubeObject
from ledger.rules.podnetworkings import PodNetworking, PodNetworkingError


def mutate_podnetworking(
    obj: KubeObject, eni_config: EniConfig | EniConfigError | None
) -> Decision:
    """On create: fill vSwitchOptions and securityGroupIDs from the cluster's eni-config.

    `eni_config` is None where the ConfigMap doesn't exist (the validation then says what is
    missing), and the error where it can't be read.
    """
    try:
        podnetworking = PodNetworking.from_object(_named(obj))
    except PodNetworkingError as wrong:
        return deny(str(wrong), BAD_REQUEST)
    if podnetworking.vswitch_ids and podnetworking.security_group_ids:
        return allow("nothing to fill in")
    if eni_config is None:
        return allow("no terway eni-config found")
    if isinstance(eni_config, EniConfigError):
        return deny(f"PodNetworking {podnetworking.name}: {eni_config}", BAD_REQUEST)
    after = copy.deepcopy(dict(obj))
    spec = after.get("spec")
    after["spec"] = spec = {} if spec is None else spec
    if not podnetworking.vswitch_ids and eni_config.vswitch_ids:
        spec["vSwitchOptions"] = list(eni_config.vswitch_ids)
    if not podnetworking.security_group_ids and eni_config.security_group_ids:
        spec["securityGroupIDs"] = list(eni_config.security_group_ids)
    return patched(obj, after, "filled in from eni-config")


def validate_podnetworking(
    obj: KubeObject,
    old: KubeObject | None,
    inject_resource: bool,
    others: Iterable[PodNetworking] = (),
) -> Decision:
    """Create (`old` None) or update. `others` are the PodNetworkings there are, for warnings."""
    try:
        new = PodNetworking.from_object(_named(obj))
    except PodNetworkingError as wrong:
        return deny(str(wrong), BAD_REQUEST)
    if new.deleting:
        return allow("being deleted")
    before = _readable(old)
    tolerated = set() if before is None else set(_violations(before, inject_resource))
    violations = _violations(new, inject_resource)
    refused = [each for each in violations if each not in tolerated]
    warnings = [
        *(f"{each} (tolerated: it was so before)" for each in violations if each in tolerated),
        *_warnings(new, before, others),
    ]
    if refused:
        return deny(f"PodNetworking {new.name}: {'; '.join(refused)}", warnings=warnings)
    return allow("checked", warnings)


def _violations(podnetworking: PodNetworking, inject_resource: bool) -> list[str]:
    """In the incumbent's order, ours after its own; equal texts mean the same violation."""
    violations = []
    unselected = not podnetworking.has_selector and not podnetworking.selector_error
    if not inject_resource and unselected and podnetworking.eni_type not in ("", "Default"):
        violations.append(
            f"eniType {podnetworking.eni_type} without a selector needs resource injection: "
            f"set a selector, or enableWebhookInjectResource"
        )
    if not podnetworking.vswitch_ids:
        violations.append("vSwitchOptions is not set")
    if not podnetworking.security_group_ids:
        violations.append("security group is not set")
    return [
        *violations,
        *security_group_violations(podnetworking.security_group_ids),
        *allocation_violations(podnetworking.allocation),
        *choice_violations("eniType", podnetworking.eni_type, ENI_TYPES),
        *choice_violations(
            "vSwitchSelectionPolicy", podnetworking.selection_policy, SELECTION_POLICIES
        ),
        *([podnetworking.selector_error] if podnetworking.selector_error else []),
    ]


def _warnings(
    new: PodNetworking, before: PodNetworking | None, others: Iterable[PodNetworking]
) -> list[str]:
    warnings = [
        *allocation_warnings(new.allocation),
        *security_group_warnings(new.security_group_ids),
    ]
    if before is None or before.security_group_ids != new.security_group_ids:
        warnings.append(SAME_NODE_WARNING)
    for kind, ids in (
        ("vSwitchOptions", new.vswitch_ids),
        ("securityGroupIDs", new.security_group_ids),
    ):
        repeated = sorted({id_ for id_ in ids if ids.count(id_) > 1})
        if repeated:
            warnings.append(f"{kind} names {', '.join(repeated)} more than once")
    if new.selector_error:
        return warnings
    if not new.has_selector:
        warnings.append(
            "without a selector this PodNetworking matches no Pod: only the annotation "
            "k8s.aliyun.com/pod-networks-request can name it"
        )
        return warnings
    twins = sorted(other.name for other in others if _same_selectors(new, other))
    if twins:
        first = min(new.name, *twins)
        warnings.append(
            f"PodNetworking {', '.join(twins)} has the same selectors: where both are Ready, "
            f"Pods get {first}, the first by name"
        )
    return warnings


def _same_selectors(one: PodNetworking, other: PodNetworking) -> bool:
    return one.name != other.name and (one.pod_selector, one.namespace_selector) == (
        other.pod_selector,
        other.namespace_selector,
    )


def _readable(old: KubeObject | None) -> PodNetworking | None:
    """The stored object; one that can't even be read tolerates nothing in the new one."""
    if old is None:
        return None
    try:
        return PodNetworking.from_object(_named(old))
    except PodNetworkingError:
        return None


def _named(obj: KubeObject) -> KubeObject:
    """An object created under a generateName has no name yet: show that one."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("name"):
        return obj
    return {**obj, "metadata": {**metadata, "name": metadata.get("generateName") or "unnamed"}}
