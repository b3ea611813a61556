"""The settings about Pods in the form that the rules ask for."""

from consumers.runtime.settings import PolicySettings, WebhookSettings
from ledger.rules.admission_pods import PodPolicy


def pod_policy(policy: PolicySettings, webhook: WebhookSettings) -> PodPolicy:
    """What the webhook decides by, and what explains its decisions."""
    return PodPolicy(
        enable_trunk=policy.enable_trunk,
        inject_resource=policy.enable_webhook_inject_resource,
        custom_kinds=policy.custom_stateful_workload_kinds,
        every_pod=policy.ipam_type == "crd",
        excluded_namespaces=frozenset(webhook.excluded_namespaces),
    )
