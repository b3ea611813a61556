"""Reference §2: how the webhooks are registered."""

from consumers.admission.registration import mutating_configuration, validating_configuration
from consumers.runtime.settings import WebhookSettings

MUTATING = mutating_configuration(WebhookSettings(), b"")["webhooks"][0]
VALIDATING = validating_configuration(WebhookSettings(), b"")["webhooks"][0]


def test_paths_versions_side_effects_and_timeout() -> None:
    for webhook, path in ((MUTATING, "/mutating"), (VALIDATING, "/validate")):
        assert webhook["clientConfig"]["service"]["path"] == path
        assert webhook["clientConfig"]["service"]["port"] == 443
        assert webhook["sideEffects"] == "None"
        assert webhook["admissionReviewVersions"] == ["v1", "v1beta1"]
        assert webhook["timeoutSeconds"] == 10
    assert WebhookSettings().port == 4443


def test_mutating_rules_and_namespaces() -> None:
    pods, podnetworkings = MUTATING["rules"]
    assert (pods["resources"], pods["operations"], pods["scope"]) == (
        ["pods"],
        ["CREATE"],
        "Namespaced",
    )
    assert (podnetworkings["operations"], podnetworkings["scope"]) == (["CREATE"], "Cluster")
    assert MUTATING["namespaceSelector"]["matchExpressions"][0] == {
        "key": "k8s.aliyun.com/pod-eni",
        "operator": "NotIn",
        "values": ["false"],
    }


def test_failure_policies() -> None:
    assert MUTATING["failurePolicy"] == "Ignore"
    assert VALIDATING["failurePolicy"] == "Fail"
