"""The chart, rendered by genuine helm: what it makes is what our processes are, need and may."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from consumers.admission.registration import mutating_configuration, validating_configuration
from consumers.cli.main import COMMANDS
from consumers.cli.run import Process as RunnableProcess
from consumers.contract.topics import (
    all_topics,
    dead_letter_topic,
    entity_topics,
    entries_topic,
    partitions_of,
)
from consumers.runtime.settings import CONFIG_FILE_VARIABLE, Settings, load_settings
from tests.integration.chart.chart import (
    CHART,
    EXAMPLES,
    INCUMBENT,
    NAMESPACE,
    PROCESSES,
    RELEASE,
    ROOT,
    Json,
    Process,
    Rendered,
    helm,
    rendered,
)

pytestmark = [pytest.mark.genuine("helm"), pytest.mark.timeout(120)]

ON_HOST_NETWORK = {"watcher", "intake", "reconciler", "webhook"}
POD_IP = "192.0.2.7"
#: A plausible content for every key of every Secret that the examples name.
SECRETS = {
    **{f"eni-ledger-postgres/{name}": f"postgresql://{name}@db/l" for name in PROCESSES},
    "eni-ledger-kafka/watcher": "from-a-secret",
    "eni-ledger-kafka/intake": "from-a-secret",
    "eni-ledger-watcher/password": "from-a-secret",
    "eni-ledger-intake/password": "from-a-secret",
    "eni-ledger-access-key/id": "an-id",
    "eni-ledger-access-key/secret": "from-a-secret",
    "terway-controlplane/ctrl-config.yaml": "ipStack: dual\ncredentialPath: /var/addon/token-config\n",
    "eni-ledger-console/tokens": json.dumps({"auditor": "a-token-of-16-characters"}),
}  # fmt: skip
EACH = pytest.mark.parametrize("example", EXAMPLES)


def settings_of(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pod_ip: str = POD_IP
) -> Settings:
    """What the process would read, by our own reader."""
    environment = process.environment(tmp_path, SECRETS, pod_ip)
    with monkeypatch.context() as given:
        for name, value in environment.items():
            given.setenv(name, value)
        return load_settings()


# ------------------------------------------------------------------------------ as helm sees it


@EACH
def test_lint_has_nothing_to_say(example: str) -> None:
    code, out, err = helm("lint", "--strict", str(CHART), "--values", str(EXAMPLES[example]))
    assert code == 0, out + err
    assert "[WARNING]" not in out + err


# ------------------------------------------------------------------------------ the processes


@EACH
def test_every_process_is_watched_bounded_and_unprivileged(example: str) -> None:
    all_of_it = rendered(example)
    metrics = "eni-ledger-metrics" in all_of_it.of("Service")
    pods = [process.spec for process in all_of_it.processes()]
    pods += [job["spec"]["template"]["spec"] for job in all_of_it.of("Job").values()]
    for pod in pods:
        [container] = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
        assert not [volume for volume in pod["volumes"] if "hostPath" in volume]
    for process in all_of_it.processes():
        container = process.container
        assert process.spec["terminationGracePeriodSeconds"] >= 15
        loopback = process.spec.get("hostNetwork", False) and not metrics
        paths = {
            "startupProbe": "/healthz",
            "livenessProbe": "/healthz",
            "readinessProbe": "/readyz",
        }
        for probe, path in paths.items():
            asked = container[probe]["httpGet"]
            assert (asked["path"], asked["port"]) == (path, "http")
            assert asked.get("host") == ("127.0.0.1" if loopback else None)


@pytest.mark.parametrize("example", [name for name in EXAMPLES if name != "least"])
def test_nothing_needs_the_network_it_provides(example: str) -> None:
    all_of_it = rendered(example)
    found = {process.name: process for process in all_of_it.processes()}
    on_host = {name for name, each in found.items() if each.spec.get("hostNetwork")}
    assert on_host == ON_HOST_NETWORK
    [job] = all_of_it.of("Job").values()
    assert job["spec"]["template"]["spec"]["hostNetwork"] is True
    used: set[int] = set()
    for name in on_host:
        template = found[name].deployment["spec"]["template"]
        assert template["metadata"]["labels"]["k8s.aliyun.com/ignore-by-terway"] == "true"
        assert template["spec"]["dnsPolicy"] == "ClusterFirstWithHostNet"
        assert template["spec"].get("priorityClassName") == "system-cluster-critical"
        ports = {port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
        assert not ports & used, "two of them may meet on a node"
        used |= ports
        # Where every node has one there is no port left for one more.
        update = found[name].deployment["spec"]["strategy"]["rollingUpdate"]
        assert update == {"maxSurge": 0, "maxUnavailable": 1}


@EACH
@pytest.mark.usefixtures("no_settings")
def test_settings_are_ours_and_ports_are_what_is_listened_on(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_of_it = rendered(example)
    metrics = "eni-ledger-metrics" in all_of_it.of("Service")
    for process in all_of_it.processes():
        ours = [
            each["name"]
            for each in process.container["env"]
            if each["name"].startswith("ENI_LEDGER_")
        ]
        assert [name for name in ours if not known(name)] == []
        settings = settings_of(process, tmp_path, monkeypatch)
        on_host = process.spec.get("hostNetwork", False)
        assert settings.http.port == process.port("http")
        assert settings.http.host == ("127.0.0.1" if on_host and not metrics else POD_IP)
        assert settings.local_stack is False
        assert NAMESPACE in settings.webhook.excluded_namespaces
        assert [process.container["command"], process.container["args"]] == [
            ["eni-ledger"],
            ["run", process.name],
        ]
        assert RunnableProcess(process.name)
        if process.name == "webhook":
            assert (settings.webhook.host, settings.webhook.port) == (
                POD_IP,
                process.port("admission"),
            )
        if process.name == "console":
            assert (settings.console.host, settings.console.port) == (
                POD_IP,
                process.port("console"),
            )
            assert bool(settings.console.tokens) == (settings.console.authentication == "tokens")
        for file in (
            settings.kafka.ssl_cafile,
            settings.kafka.ssl_certfile,
            settings.cloud.credential_path,
        ):
            if file is not None and process.name in ("watcher", "intake"):
                assert mounts_file(process, file)
    [job] = all_of_it.of("Job").values() or [None]
    if job is not None:
        [container] = job["spec"]["template"]["spec"]["containers"]
        assert container["args"][0] in COMMANDS


def known(variable: str) -> bool:
    """Whether an ENI_LEDGER_ variable is a setting; pydantic-settings ignores one that is not."""
    if variable == CONFIG_FILE_VARIABLE or variable in INCUMBENT:
        return True
    model: type[BaseModel] = Settings
    *sections, last = variable.removeprefix("ENI_LEDGER_").lower().split("__")
    for section in sections:
        inner = model.model_fields[section].annotation
        assert isinstance(inner, type)
        assert issubclass(inner, BaseModel)
        model = inner
    return last in model.model_fields


def mounts_file(process: Process, file: Path) -> bool:
    """Whether a Secret is mounted with that file in it."""
    for mount in process.container["volumeMounts"]:
        if mount["mountPath"] == str(file.parent):
            [volume] = [each for each in process.spec["volumes"] if each["name"] == mount["name"]]
            return file.name in [item["path"] for item in volume["secret"]["items"]]
    return False


@EACH
def test_secrets_are_named_and_never_written_down(example: str) -> None:
    """Each login goes to its own process; the owner's to the migration alone."""
    all_of_it = rendered(example)
    keys = {
        process.name: each["valueFrom"]["secretKeyRef"]["key"]
        for process in all_of_it.processes()
        for each in process.container["env"]
        if each["name"] == "ENI_LEDGER_POSTGRES__DSN"
    }
    assert keys == {
        name: name for name in ("intake", "reconciler", "console") if all_of_it.process(name)
    }
    for secret in all_of_it.of("Secret").values():
        assert not secret.get("data")
        assert not secret.get("stringData")
    secret_words = ("DSN", "PASSWORD", "ACCESS_KEY_SECRET", "TOKENS")
    for process in all_of_it.processes():
        for each in process.container["env"]:
            assert "value" not in each or not each["name"].endswith(secret_words)


def test_more_than_one_is_kept_apart_and_up() -> None:
    all_of_it = rendered("everything")
    budgets = all_of_it.of("PodDisruptionBudget")
    several = {
        process.name
        for process in all_of_it.processes()
        if process.deployment["spec"]["replicas"] > 1
    }
    assert set(budgets) == {f"eni-ledger-{name}" for name in several}
    for process in all_of_it.processes():
        selector = process.deployment["spec"]["selector"]["matchLabels"]
        labels = process.deployment["spec"]["template"]["metadata"]["labels"]
        assert selector.items() <= labels.items()
        [term] = process.spec["affinity"]["podAntiAffinity"][
            "preferredDuringSchedulingIgnoredDuringExecution"
        ]
        assert term["podAffinityTerm"]["labelSelector"]["matchLabels"] == selector
        [spread] = process.spec["topologySpreadConstraints"]
        assert spread["labelSelector"]["matchLabels"] == selector
        if process.name in several:
            budget = budgets[f"eni-ledger-{process.name}"]["spec"]
            assert budget["selector"]["matchLabels"] == selector


def test_who_may_connect() -> None:
    """Without metrics nobody reaches the health port from elsewhere; admission and the console are open
    to who must ask."""
    closed, opened = (
        rendered("minimal").of("NetworkPolicy"),
        rendered("everything").of("NetworkPolicy"),
    )
    assert {
        name: [rule["ports"][0]["port"] for rule in each["spec"]["ingress"]]
        for name, each in closed.items()
    } == {
        "eni-ledger-watcher": [],
        "eni-ledger-intake": [],
        "eni-ledger-reconciler": [],
        "eni-ledger-webhook": ["admission"],
        "eni-ledger-console": ["console"],
    }
    for each in opened.values():
        [metrics] = [rule for rule in each["spec"]["ingress"] if rule["ports"][0]["port"] == "http"]
        assert metrics["from"][0]["namespaceSelector"]["matchLabels"] == {
            "kubernetes.io/metadata.name": "monitoring"
        }
    assert not rendered("least").of("NetworkPolicy")


# ------------------------------------------------------------------------------ admission


@pytest.mark.parametrize("example", ["minimal", "everything"])
@pytest.mark.usefixtures("no_settings")
def test_the_webhooks_are_what_we_would_register(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_of_it = rendered(example)
    webhook = all_of_it.process("webhook")
    assert webhook is not None
    settings = settings_of(webhook, tmp_path, monkeypatch).webhook
    for wanted in (mutating_configuration(settings, b""), validating_configuration(settings, b"")):
        found = all_of_it.of(wanted["kind"])[settings.name]
        [hook] = wanted["webhooks"]
        del hook["clientConfig"]["caBundle"]  # filled in by the process, or by cert-manager
        assert found["webhooks"] == [hook]
    service = all_of_it.of("Service")[settings.service_name]
    assert service["spec"]["ports"] == [
        {"name": "admission", "port": 443, "targetPort": "admission"}
    ]
    assert (
        service["spec"]["selector"].items()
        <= webhook.deployment["spec"]["template"]["metadata"]["labels"].items()
    )


def test_one_that_stops_answers_until_nobody_asks() -> None:
    webhook = rendered("minimal").process("webhook")
    assert webhook is not None
    [command] = webhook.container["lifecycle"].values()
    word, seconds = command["exec"]["command"]
    assert word == "sleep"
    assert int(seconds) + 12 <= webhook.spec["terminationGracePeriodSeconds"]


def test_cert_manager_keeps_the_certificate_where_it_is_asked_to() -> None:
    all_of_it = rendered("everything")
    certificate = all_of_it.of("Certificate")["eni-ledger-webhook"]["spec"]
    assert certificate["secretName"] == "trunk-eni-ledger-webhook-cert"
    assert certificate["dnsNames"][0] == f"eni-ledger-webhook.{NAMESPACE}.svc"
    assert certificate["issuerRef"]["name"] in all_of_it.of("Issuer")
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        [configuration] = all_of_it.of(kind).values()
        injected = configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
        assert injected == f"{NAMESPACE}/eni-ledger-webhook"
    assert "trunk-eni-ledger-webhook-cert" not in all_of_it.of("Secret")
    other = rendered(
        "everything",
        "--set",
        "webhook.certManager.issuerRef.name=ours,webhook.certManager.issuerRef.kind=ClusterIssuer",
    )
    assert other.of("Certificate")["eni-ledger-webhook"]["spec"]["issuerRef"] == {
        "kind": "ClusterIssuer",
        "name": "ours",
    }
    assert not other.of("Issuer")


# ------------------------------------------------------------------------------ cloud and Kafka


def test_each_way_to_sign_cloud_calls() -> None:
    def of(*words: str) -> tuple[Mapping[str, Any], dict[str, Json]]:
        reconciler = rendered("minimal", *words).process("reconciler")
        assert reconciler is not None
        return (
            {each["name"]: each.get("value") for each in reconciler.container["env"]},
            {each["name"]: each for each in reconciler.spec["volumes"]},
        )

    environment, volumes = of()
    assert environment["ALIBABA_CLOUD_ROLE_ARN"] == "acs:ram::1234567890123456:role/eni-ledger"
    assert environment["ALIBABA_CLOUD_OIDC_TOKEN_FILE"] == "/var/run/secrets/eni-ledger/oidc/token"
    [source] = volumes["oidc"]["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == "sts.aliyuncs.com"
    assert source["serviceAccountToken"]["path"] == "token"
    environment, volumes = of("-n", "kube-system", "--set", "credentials.type=tokenFile")
    assert volumes["addon-token"]["secret"]["secretName"] == "addon.network.token"
    assert not [name for name in environment if name.startswith("ALIBABA_CLOUD")]
    environment, volumes = of("--set", "credentials.type=instanceRole")
    assert set(volumes) == {"settings", "tmp"}
    # Nobody else may make cloud calls.
    for process in rendered("everything").processes():
        names = [each["name"] for each in process.container["env"]]
        assert any("ACCESS_KEY" in name for name in names) == (process.name == "reconciler")


@pytest.mark.parametrize("words", [(), ("--set", "settings.kafka.topic_prefix=other")])
def test_strimzi_gets_every_topic(words: tuple[str, ...]) -> None:
    all_of_it = rendered("cnpg-strimzi", *words)
    prefix = "other" if words else "eni-ledger"
    topics = {
        each["spec"]["topicName"]: each["spec"] for each in all_of_it.of("KafkaTopic").values()
    }
    assert set(topics) == set(all_topics(prefix))
    for name, topic in topics.items():
        assert topic["partitions"] == partitions_of(name)
        assert (topic["replicas"], topic["config"]["min.insync.replicas"]) == (3, 2)
        assert topic["config"]["cleanup.policy"] == "delete"
        assert topic["config"]["retention.ms"] >= 12 * 3600 * 1000
    for each in all_of_it.of("KafkaTopic").values():
        assert each["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        assert each["metadata"]["namespace"] == "eni-ledger-data"
    entities, entries = set(entity_topics(prefix)), entries_topic(prefix)
    dead_letters = set(map(dead_letter_topic, entities))
    assert {name: rights_on_topics(each) for name, each in all_of_it.of("KafkaUser").items()} == {
        "eni-ledger-watcher": {"Read": entities, "Write": entities, "Describe": {f"{prefix}."}},
        "eni-ledger-intake": {
            "Read": entities | {entries},
            "Write": dead_letters | {entries},
            "Describe": {f"{prefix}."},
        },
    }


def rights_on_topics(user: Json) -> dict[str, set[str]]:
    """Operation -> topics, or the prefix of all."""
    found: dict[str, set[str]] = {}
    for acl in user["spec"]["authorization"]["acls"]:
        if acl["resource"]["type"] == "topic":
            for operation in acl["operations"]:
                found.setdefault(operation, set()).add(acl["resource"]["name"])
    return found


# ------------------------------------------------------------------------------ install, upgrade, uninstall


def test_crds_are_ours_and_helm_never_removes_or_replaces_them() -> None:
    """In `crds/`: helm creates what is absent, and neither changes nor removes it later."""
    plain, with_crds = rendered("minimal"), rendered("minimal", "--include-crds")
    assert not plain.of("CustomResourceDefinition")
    ours = [yaml.safe_load(path.read_text()) for path in (ROOT / "deploy/crds").glob("*.yaml")]
    assert sorted(with_crds.of("CustomResourceDefinition")) == sorted(
        each["metadata"]["name"] for each in ours
    )


@EACH
def test_the_only_hook_is_the_migration(example: str) -> None:
    all_of_it = rendered(example)
    hooks = [
        each
        for each in all_of_it.objects
        if "helm.sh/hook" in each["metadata"].get("annotations", {})
    ]
    if example == "least":
        assert hooks == []
        return
    [job] = hooks
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    # It runs before anything of the chart is there.
    spec = job["spec"]["template"]["spec"]
    made = {each["metadata"]["name"] for each in all_of_it.objects} - {job["metadata"]["name"]}
    assert "serviceAccountName" not in spec
    referred = {v.get("secret", v.get("configMap", {})).get("secretName") for v in spec["volumes"]}
    referred |= {e["valueFrom"]["secretKeyRef"]["name"] for e in spec["containers"][0]["env"]}
    assert not referred & made


def test_an_upgrade_changes_only_what_was_changed() -> None:
    before = objects_by_name(rendered("managed"))
    assert objects_by_name(rendered("managed", "--is-upgrade")) == before
    image = objects_by_name(rendered("managed", "--is-upgrade", "--set", "image.tag=0.2.0"))
    changed = {name for name in before if image[name] != before[name]}
    assert {kind for kind, *_ in changed} == {"Deployment", "Job"}
    setting = objects_by_name(rendered("managed", "--set", "settings.reconciler.workers=16"))
    changed = {name for name in before if setting[name] != before[name]}
    # A changed settings file restarts whoever read it.
    assert {kind for kind, *_ in changed} == {"Deployment", "ConfigMap"}
    for name, each in before.items():
        if name[0] == "Deployment":
            assert setting[name]["spec"]["selector"] == each["spec"]["selector"]


def objects_by_name(all_of_it: Rendered) -> dict[tuple[str, str, str], Json]:
    found = {
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each
        for each in all_of_it.objects
    }
    assert len(found) == len(all_of_it.objects), "two objects of one name"
    return found


def test_alerts_and_dashboard_come_from_their_files() -> None:
    """A chart without the file says so when it is asked for; it never installs nothing instead."""
    for what, file in (("prometheusRule", "alerts.yaml"), ("dashboard", "dashboard.json")):
        switched_on = ("--set", f"metrics.{what}.enabled=true")
        path = CHART / "files" / file
        if not path.is_file():
            code, _, err = helm(
                "template", RELEASE, str(CHART), "-f", str(EXAMPLES["minimal"]), *switched_on
            )
            assert code != 0
            assert f"this chart has no files/{file}" in err
        elif what == "prometheusRule":
            groups = yaml.safe_load(path.read_text())["groups"]
            assert rendered("minimal", *switched_on).of("PrometheusRule")["eni-ledger"]["spec"] == {
                "groups": groups
            }
        else:
            data = rendered("minimal", *switched_on).of("ConfigMap")["eni-ledger-dashboard"]["data"]
            assert json.loads(data["eni-ledger.json"]) == json.loads(path.read_text())
