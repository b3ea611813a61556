"""What a network may ask for: the limits that PodNetworkings and Pod annotations share."""

from collections.abc import Sequence

from ledger.rules.durations import DurationError, format_go_duration, parse_go_duration
from ledger.rules.networks import (
    ELASTIC,
    FIXED,
    MINIMUM_RELEASE_AFTER,
    NEVER,
    SECURITY_GROUPS_DOCUMENTED,
    SECURITY_GROUPS_MAX,
    TTL,
    AllocationType,
)

SAME_NODE_WARNING = (
    "security groups do not apply to traffic between Pods of one node, nor between a node and its "
    "own Pods: use a NetworkPolicy for that"
)


def allocation_violations(allocation: AllocationType) -> list[str]:
    """What makes an allocation type unusable; each text holds the offending value.

    releaseAfter must be a Go duration under TTL whatever the type, as with the incumbent
    (reference §2.7); the five minutes of the product document bind where it takes effect.
    """
    violations = []
    if allocation.type not in (ELASTIC, FIXED):
        violations.append(unknown("allocationType.type", allocation.type, (ELASTIC, FIXED)))
    strategy, text = allocation.release_strategy, allocation.release_after_text
    if strategy not in ("", TTL, NEVER):
        violations.append(unknown("allocationType.releaseStrategy", strategy, (TTL, NEVER)))
    if strategy == TTL:
        violations += _release_after_violations(allocation)
    if strategy == NEVER and text:
        violations.append(
            f"releaseAfter {text!r} must be empty when releaseStrategy is Never: remove one of them"
        )
    return violations


def allocation_warnings(allocation: AllocationType) -> list[str]:
    """What is allowed and probably not meant."""
    strategy, text = allocation.release_strategy, allocation.release_after_text
    if not allocation.fixed:
        if strategy or text:
            return ["releaseStrategy and releaseAfter have no effect unless the type is Fixed"]
        return []
    if not strategy:
        return [
            "allocationType Fixed without releaseStrategy: the IP is kept until its PodENI is "
            "deleted, as with Never"
        ]
    return []


def security_group_violations(groups: Sequence[str]) -> list[str]:
    if len(groups) <= SECURITY_GROUPS_MAX:
        return []
    return [f"security group can not more than {SECURITY_GROUPS_MAX}: {len(groups)} are given"]


def security_group_warnings(groups: Sequence[str]) -> list[str]:
    if SECURITY_GROUPS_DOCUMENTED < len(groups) <= SECURITY_GROUPS_MAX:
        return [
            f"{len(groups)} security groups: the product document allows "
            f"{SECURITY_GROUPS_DOCUMENTED}; ECS may refuse more on some instance types"
        ]
    return []


def choice_violations(field: str, value: str, allowed: Sequence[str]) -> list[str]:
    """Nothing, or that `value` is none of `allowed`; empty means the default and is fine."""
    return [] if value in ("", *allowed) else [unknown(field, value, allowed)]


def unknown(field: str, value: str, allowed: Sequence[str]) -> str:
    return f"{field} {value!r} is not known: use one of {', '.join(allowed)}"


def _release_after_violations(allocation: AllocationType) -> list[str]:
    text = allocation.release_after_text
    try:
        duration = parse_go_duration(text)
    except DurationError as wrong:
        return [f"invalid releaseAfter: {wrong}"]
    if allocation.fixed and duration < MINIMUM_RELEASE_AFTER:
        minimum = format_go_duration(MINIMUM_RELEASE_AFTER)
        return [f"invalid releaseAfter {text!r}: it is shorter than the minimum of {minimum}"]
    return []
