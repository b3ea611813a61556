"""The rights that the chart gives: to each process its own, to readers of the ledger no more than that."""

import pytest
import yaml

from tests.integration.chart.chart import EXAMPLES, ROOT, grants, rendered, rules_of

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


SUBJECTS = {
    "takeover": [{"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}],
    "doctor": [
        {"kind": "Group", "name": "platform", "apiGroup": "rbac.authorization.k8s.io"},
        {"kind": "ServiceAccount", "name": "examiner", "namespace": "platform"},
    ],
}


@pytest.mark.parametrize("command", SUBJECTS)
def test_an_operators_rights_are_those_of_deploy_rbac_and_nobodys_by_default(command: str) -> None:
    proven = {
        each["kind"]: each
        for each in yaml.safe_load_all((ROOT / f"deploy/rbac/{command}.yaml").read_text())
    }
    all_of_it = rendered("everything")
    name = f"eni-ledger-{command}"
    for kind, key in (("ClusterRole", name), ("Role", f"kube-system/{name}")):
        assert grants(all_of_it.of(kind)[key]["rules"]) == grants(proven[kind]["rules"])
        binding = all_of_it.of(f"{kind}Binding")[key]
        assert binding["roleRef"]["kind"] == kind
        assert binding["roleRef"]["name"] == name
        assert binding["subjects"] == SUBJECTS[command]
        assert key not in rendered("minimal").of(kind)
        assert key not in rendered("everything", "--set", "rbac.create=false").of(kind)
