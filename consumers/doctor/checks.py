"""Every check of the doctor, in the order in which a person reads them."""

from collections.abc import Collection
from typing import Final

from consumers.doctor import checks_cluster, checks_nodes, checks_services, checks_webhooks
from consumers.doctor.facts import Facts
from consumers.doctor.judging import Check, Part, Report, examine

CHECKS: Final[tuple[Check, ...]] = (
    *checks_cluster.CHECKS,
    *checks_nodes.CHECKS,
    *checks_webhooks.CHECKS,
    *checks_services.CHECKS,
)


def findings(facts: Facts, parts: Collection[Part] = frozenset(Part)) -> Report:
    """What the checks of these parts find in the facts."""
    return examine([check for check in CHECKS if check.part in parts], facts)
