"""The incumbent's own files are read as they are (reference §9), below everything of ours."""

from pathlib import Path

import pytest

from consumers.runtime.incumbent_files import CONFIG_VARIABLE, CREDENTIAL_VARIABLE
from consumers.runtime.settings import (
    CONFIG_FILE_VARIABLE,
    DEFAULT_RATE_LIMITS,
    Settings,
    SettingsError,
    load_settings,
)

#: As the incumbent's chart writes it.
CTRL_CONFIG = """
leaseLockName: terway-controller-lock
leaderElection: true
healthzBindAddress: "0.0.0.0:8080"
webhookPort: 4443
controllers: [pod-eni, pod, pod-networking]
regionID: cn-hangzhou
clusterID: c123
vpcID: vpc-1
enableTrunk: false
enableWebhookInjectResource:
ipStack: dual
ipamType: ""
customStatefulWorkloadKinds: [CloneSet]
kubeClientQPS: 20
rateLimit: {AttachNetworkInterface: 120, AssignPrivateIpAddresses: 7}
credentialPath: /var/addon/token-config
"""
CTRL_SECRET = "accessKey: id\naccessSecret: hunter2\n"


def test_it_says_where_the_cluster_is_and_what_its_pods_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, text in ((CONFIG_VARIABLE, CTRL_CONFIG), (CREDENTIAL_VARIABLE, CTRL_SECRET)):
        file = tmp_path / variable
        file.write_text(text)
        monkeypatch.setenv(variable, str(file))
    settings = load_settings()
    assert settings.cluster_id == "c123"
    cloud, policy = settings.cloud, settings.policy
    assert (cloud.region_id, cloud.vpc_id) == ("cn-hangzhou", "vpc-1")
    assert (cloud.access_key_id, cloud.credential_path) == ("id", None)
    assert cloud.access_key_secret is not None
    assert cloud.access_key_secret.get_secret_value() == "hunter2"
    assert list(cloud.rate_limits) == ["AttachNetworkInterface"]
    attach = cloud.rate_limit("AttachNetworkInterface")
    # A rate without a burst: ours, because node agents share the quota (P9).
    assert (attach.per_minute, attach.burst) == (120, 20)
    assert (
        cloud.rate_limit("DetachNetworkInterface") == DEFAULT_RATE_LIMITS["DetachNetworkInterface"]
    )
    assert (policy.enable_trunk, policy.enable_webhook_inject_resource) == (False, True)
    assert (policy.ip_stack, policy.ipam_type) == ("dual", "")
    assert policy.custom_stateful_workload_kinds == ("CloneSet",)

    monkeypatch.delenv(CREDENTIAL_VARIABLE)
    assert load_settings().cloud.credential_path == Path("/var/addon/token-config")

    ours = tmp_path / "settings.yaml"
    ours.write_text("policy: {ip_stack: ipv6}\ncloud: {vpc_id: vpc-2}\n")
    monkeypatch.setenv(CONFIG_FILE_VARIABLE, str(ours))
    monkeypatch.setenv("ENI_LEDGER_CLUSTER_ID", "c456")
    settings = load_settings()
    assert (settings.cluster_id, settings.policy.ip_stack) == ("c456", "ipv6")
    assert (settings.cloud.vpc_id, settings.cloud.region_id) == ("vpc-2", "cn-hangzhou")


@pytest.mark.parametrize("text", ["", "{}", "clusterID:\nrateLimit:\n"])
def test_what_it_does_not_say_keeps_its_default(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ctrl-config.yaml"
    file.write_text(text)
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("accessKey: hunter2", "give both or neither"),
        ("a: hunter2\n\tb", "line 2, column 1: found character"),
        ("[hunter2]", "it must be a mapping"),
        ("rateLimit: hunter2", "rateLimit is no map"),
        ("rateLimit: {AttachNetworkInterface: -1}", "cloud.rate_limits.AttachNetworkInterface"),
        ("ipStack: ipv5", "setting policy.ip_stack"),
        (b"\xff", "not UTF-8"),
        (None, "No such file"),
    ],
)
def test_what_can_not_be_used_is_named_and_never_quoted(
    text: str | bytes | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ctrl-secret.yaml"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    monkeypatch.setenv(CREDENTIAL_VARIABLE, str(file))
    with pytest.raises(SettingsError, match=why) as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)
