"""From a review to a decision: gather what is remembered, ask the rules, nothing else."""

import structlog

from consumers.admission.memory import Memory
from consumers.admission.reviews import Review
from consumers.kube.names import GROUP, KIND_PODNETWORKING
from ledger.rules.admission_decision import UNAVAILABLE, Decision, allow
from ledger.rules.admission_podnetworkings import mutate_podnetworking, validate_podnetworking
from ledger.rules.admission_pods import (
    ClusterView,
    PodPolicy,
    admit_read_pod,
    not_ours,
    read_pod,
    unreadable,
)
from ledger.rules.pods import PodError, PodFacts

_log = structlog.get_logger(__name__)

#: A Pod may be created milliseconds after its namespace: how long its watch event is waited for.
NAMESPACE_WAIT_S = 2.0

NOT_CARE = allow("not care")


class NotReadyError(Exception):
    """There is no answer yet. The API server then follows the webhook's failurePolicy."""


class Answers:
    """Answers of one process. Deterministic: the same review and memory give the same decision."""

    def __init__(self, memory: Memory, policy: PodPolicy) -> None:
        self._memory = memory
        self._policy = policy

    async def mutate(self, review: Review) -> Decision:
        """Pods and PodNetworkings that are being created. Raises NotReadyError."""
        if review.operation != "CREATE" or review.subresource:
            return NOT_CARE
        if (review.group, review.kind) == ("", "Pod"):
            return await self._pod(review)
        if (review.group, review.kind) == (GROUP, KIND_PODNETWORKING):
            self._check_ready()
            return mutate_podnetworking(review.object, self._memory.eni_config())
        return NOT_CARE

    async def validate(self, review: Review) -> Decision:
        """PodNetworkings that are being created or changed. Raises NotReadyError."""
        if (review.group, review.kind) != (GROUP, KIND_PODNETWORKING) or review.subresource:
            return NOT_CARE
        if review.operation not in ("CREATE", "UPDATE"):
            return NOT_CARE
        # The others only serve warnings: an answer without them is still right.
        others = self._memory.podnetworkings()
        old = review.old if review.operation == "UPDATE" else None
        return validate_podnetworking(review.object, old, self._policy.inject_resource, others)

    async def _pod(self, review: Review) -> Decision:
        try:
            pod = read_pod(review.object, review.namespace)
        except PodError as wrong:
            return unreadable(wrong)
        # Pods that pass whatever we know of the cluster pass also before we know anything.
        passed = not_ours(pod, ClusterView(), self._policy)
        if passed:
            return allow(passed)
        self._check_ready()
        decision = self._admit(review, pod)
        if decision.code != UNAVAILABLE:
            return decision
        known = await self._memory.wait_for(
            lambda: self._memory.namespace_labels(pod.namespace) is not None, NAMESPACE_WAIT_S
        )
        _log.info("waited for a namespace", namespace=pod.namespace, seen=known)
        return self._admit(review, pod)

    def _admit(self, review: Review, pod: PodFacts) -> Decision:
        view = ClusterView(
            podnetworkings=self._memory.podnetworkings(),
            namespace_labels=self._memory.namespace_labels(pod.namespace),
            podeni=self._memory.podeni(pod.namespace, pod.name) if pod.name else None,
            eni_config=self._memory.eni_config(),
        )
        return admit_read_pod(review.object, pod, view, self._policy)

    def _check_ready(self) -> None:
        missing = self._memory.missing
        if missing:
            raise NotReadyError(f"not everything was read yet: {', '.join(missing)} are missing")
