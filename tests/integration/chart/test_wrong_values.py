"""Wrong values of the chart are refused by genuine helm, with their path and what is allowed."""

import pytest

from tests.integration.chart.chart import CHART, EXAMPLES, NAMESPACE, RELEASE, helm

pytestmark = [pytest.mark.genuine("helm"), pytest.mark.timeout(120)]

WRONG: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("settings.policy.ip_stack=ipv5", ("/settings/policy/ip_stack", "'ipv4', 'ipv6', 'dual'")),
    ("settings.polcy.ip_stack=ipv4", ("/settings", "'polcy'")),
    ("settings.postgres.dsn=postgresql://u:p@db/l", ("/settings/postgres", "'dsn'")),
    ("settings.kafka.sasl_password=x", ("/settings/kafka", "'sasl_password'")),
    ("settings.cloud.access_key_secret=x", ("/settings/cloud", "'access_key_secret'")),
    ("settings.console.tokens.a=0123456789abcdef", ("/settings/console", "'tokens'")),
    ("settings.local_stack=true", ("/settings", "'local_stack'")),
    ("settings.reconciler.workers=0", ("/settings/reconciler/workers", "minimum")),
    ("settings.cluster_id=", ("/settings/cluster_id",)),
    ("watcher.replicas=two", ("/watcher/replicas", "want integer")),
    ("reconciler.resources.requests.memory=lots", ("/reconciler/resources/requests/memory",)),
    ("webhook.failurePolicy=Deny", ("/webhook/failurePolicy", "'Ignore', 'Fail'")),
    ("console.httpPort=80", ("/console/httpPort", "minimum")),
    ("credentials.type=password", ("/credentials/type", "'rrsa'")),
    ("imgae.tag=x", ("imgae",)),
    (
        "settings.kafka.bootstrap_servers=kafka",
        ("/settings/kafka/bootstrap_servers", ":[0-9]{1,5}"),
    ),
    ("settings.cloud.rate_limits.Attach.burst=1", ("/settings/cloud/rate_limits", "'Attach'")),
    ("settings.http.host=0.0.0.0", ("/settings", "'http'")),
    ("settings.console.host=0.0.0.0", ("/settings/console", "'host'")),
    ("watcher.resources.requests.cpu=-1", ("/watcher/resources/requests/cpu", "minimum")),
    ("securityContext.runAsUser=0", ("/securityContext/runAsUser", "minimum")),
    ("console.service.type=External", ("/console/service/type", "'ClusterIP', 'NodePort'")),
    ("placement.tolerations=all", ("/placement/tolerations", "want array")),
)


@pytest.mark.parametrize(("assignment", "told"), WRONG, ids=[each for each, _ in WRONG])
def test_a_wrong_value_is_refused_with_its_path(assignment: str, told: tuple[str, ...]) -> None:
    """A misspelt name, a wrong value, and every secret that somebody writes where it can be read."""
    code, _, err = helm(
        "template", RELEASE, str(CHART), "--values", str(EXAMPLES["minimal"]), "--set", assignment
    )  # fmt: skip
    assert code != 0
    assert all(words in err for words in told), err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--set", "credentials.rrsa.roleArn="), "credentials.rrsa.roleArn and"),
        (("--set", "credentials.type=tokenFile"), "--namespace kube-system, or use rrsa"),
        (("--set", "credentials.type=accessKey"), "credentials.accessKey.secret is empty"),
        (("--set", "credentials.type=incumbent"), "incumbent.secret.name is empty"),
        (("--set", "incumbent.secret.name=theirs"), "credentials.type is rrsa"),
        (("--set", "console.authentication=tokens"), "console.tokens.secret is empty"),
        (("--set", "metrics.serviceMonitor.enabled=true"), "needs metrics.enabled"),
        (("--set", "settings.kafka.security_protocol=SASL_SSL"), "kafka.users.watcher.password"),
        (("--set", "kafka.strimzi.enabled=true"), "kafka.strimzi.cluster is empty"),
        (("--set", "kafka.strimzi.replicas=1"), "nothing could ever be written"),
        (("--set", "settings.shadow=true"), "set webhook.enabled to false"),
        (("--set", "webhook.port=19441"), "watcher.httpPort are both 19441"),
        (("--set", "webhook.name=eni-ledger"), "sorts after"),
    ],
)  # fmt: skip
def test_values_that_contradict_each_other_are_refused(words: tuple[str, ...], told: str) -> None:
    code, _, err = helm(
        "template", RELEASE, str(CHART), "-n", NAMESPACE, "-f", str(EXAMPLES["minimal"]), *words
    )
    assert code != 0
    assert told in err


def test_what_has_no_default_is_asked_for() -> None:
    code, _, err = helm("template", RELEASE, str(CHART))
    assert code != 0
    assert all(name in err for name in ("cluster_id", "cloud", "kafka"))
