"""The rights that the chart gives: to each process its own, to readers of the ledger no more than that."""

import pytest

from tests.integration.chart.chart import EXAMPLES, rendered, rules_of

pytestmark = [pytest.mark.genuine("helm"), pytest.mark.timeout(120)]


@pytest.mark.parametrize("example", EXAMPLES)
def test_rights_are_each_processs_own(example: str) -> None:
    all_of_it = rendered(example)
    accounts = all_of_it.of("ServiceAccount")
    for process in all_of_it.processes():
        account = process.spec["serviceAccountName"]
        assert account in accounts
        rules = rules_of(all_of_it, account)
        if example != "least":
            assert process.spec["automountServiceAccountToken"] == bool(rules)
        for rule in rules:
            words = [*rule.get("apiGroups", ()), *rule.get("resources", ()), *rule["verbs"]]
            assert "*" not in words
            if "secrets" in rule.get("resources", ()):
                assert rule["resourceNames"] == ["trunk-eni-ledger-webhook-cert"]
    if example == "least":
        assert not all_of_it.of("ClusterRole")


def test_who_may_read_the_ledger_over_http() -> None:
    all_of_it = rendered("managed")
    [rule] = all_of_it.of("ClusterRole")["eni-ledger-audit"]["rules"]
    assert rule == {"nonResourceURLs": ["/eni-ledger/audit/*"], "verbs": ["get"]}
    binding = all_of_it.of("ClusterRoleBinding")["eni-ledger-audit"]
    assert binding["subjects"] == [
        {"kind": "Group", "name": "auditors", "apiGroup": "rbac.authorization.k8s.io"}
    ]
    assert "eni-ledger-audit" not in rendered("minimal").of("ClusterRoleBinding")
