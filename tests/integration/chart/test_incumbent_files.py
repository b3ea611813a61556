"""The incumbent's own files, mounted by the chart: what each process takes from them."""

from pathlib import Path

import pytest

from consumers.cloud.settings import DefaultChain, StaticKey, cloud_settings
from consumers.runtime.incumbent_files import CREDENTIAL_VARIABLE
from consumers.runtime.settings import Settings, load_settings
from tests.integration.chart.chart import PROCESSES, rendered
from tests.integration.chart.test_chart import POD_IP, SECRETS

pytestmark = [
    pytest.mark.genuine("helm"),
    pytest.mark.timeout(120),
    pytest.mark.usefixtures("no_settings"),
]

CONFIG = """
clusterID: said-elsewhere
regionID: cn-beijing
vpcID: vpc-bp0theirs
credentialPath: /var/addon/token-config
ipStack: dual
rateLimit: {AttachNetworkInterface: 77}
centralizedIPAM: true
"""
FILES = SECRETS | {
    "theirs/ctrl-config.yaml": CONFIG,
    "their-key/pair": "accessKey: an-id\naccessSecret: from-their-file\n",
}
MOUNTED = ("--set", "incumbent.configMap.name=theirs")


def read_by(
    process: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[Settings, set[str]]:
    """What a process reads, and the variables that it is given."""
    found = rendered("minimal", *MOUNTED, *words).process(process)
    assert found is not None
    environment = found.environment(tmp_path, FILES, POD_IP)
    with monkeypatch.context() as given:
        for name, value in environment.items():
            given.setenv(name, value)
        return load_settings(), set(environment)


@pytest.mark.parametrize("process", PROCESSES)
def test_every_process_reads_them_beneath_its_settings(
    process: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who signs, and where, is said by the values alone: `credentials.type` is rrsa there."""
    settings, variables = read_by(process, tmp_path, monkeypatch)
    assert settings.policy.ip_stack == "dual"
    assert settings.cloud.rate_limit("AttachNetworkInterface").per_minute == 77
    assert settings.cluster_id == "c0123456789abcdef0123456789abcdef"
    assert settings.cloud.region_id == "cn-hangzhou"
    assert cloud_settings(settings.cloud).credentials == DefaultChain()
    assert CREDENTIAL_VARIABLE not in variables


def test_their_key_goes_to_the_reconciler_alone_and_only_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = (
        "--set",
        "credentials.type=incumbent,incumbent.secret.name=their-key,incumbent.secret.key=pair",
    )
    given = set()
    for process in PROCESSES:
        settings, variables = read_by(process, tmp_path, monkeypatch, *theirs)
        if CREDENTIAL_VARIABLE in variables:
            given.add(process)
            signed = cloud_settings(settings.cloud).credentials
            assert signed == StaticKey("an-id", "from-their-file")
        else:
            assert settings.cloud.access_key_secret is None
    assert given == {"reconciler"}
