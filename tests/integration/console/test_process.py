"""The console as a process: what it serves, what /readyz says, and that it never serves unauthenticated."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from consumers.console import main
from consumers.kube.wire import KubeConfigError
from consumers.runtime.errors import OperatorError
from consumers.runtime.health import Health
from consumers.runtime.settings import ConsoleSettings, KubeSettings, PostgresSettings, Settings
from deploy.local.kubernetes.launch import Launched, LaunchOptions
from deploy.local.parts.kube_apiserver.server import GenuineKube
from deploy.local.parts.ports import LOOPBACK, free_port
from deploy.local.pytest_plugin import GUEST
from deploy.local.stack import accounts
from deploy.local.stack.options import CRDS
from tests.integration.conftest import KubePart
from tests.integration.console.conftest import ASKING, TOKEN
from tests.simulation.world import CLUSTER

NO_CLUSTER = KubeSettings(kubeconfig=Path("/nothing/kubeconfig"))


def settings(dsn: str, **console: object) -> Settings:
    chosen = {"port": free_port(), "tokens": {"ann": SecretStr(TOKEN)}} | console
    return Settings(
        cluster_id=CLUSTER,
        postgres=PostgresSettings(dsn=SecretStr(dsn), pool_size=2),
        kube=NO_CLUSTER,
        console=ConsoleSettings.model_validate(chosen),
    )


@asynccontextmanager
async def running(chosen: Settings, health: Health) -> AsyncIterator[httpx2.AsyncClient]:
    """The process's own main, and a client for it."""
    stop = asyncio.Event()
    task = asyncio.create_task(main.run(chosen, stop, health))
    base = f"http://{LOOPBACK}:{chosen.console.port}"
    try:
        async with httpx2.AsyncClient(base_url=base, trust_env=False) as client:
            yield client
    finally:
        stop.set()
        await task


async def until(condition: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a Health has no event to wait for
            await asyncio.sleep(0.02)
    assert condition(), what


def test_it_serves_the_page_and_the_answers(reader_dsn: str) -> None:
    async def story() -> None:
        health = Health()
        async with running(settings(reader_dsn), health) as client:
            await until(lambda: health.is_ready, "ready")
            page = await client.get("/")
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            again = await client.get("/", headers={"If-None-Match": page.headers["etag"]})
            assert again.status_code == 304
            assert (await client.get("/api/v1/overview")).status_code == 401
            told = await client.get("/api/v1/overview", headers=ASKING)
            assert told.json()["cluster"] == CLUSTER
            explained = await client.get("/api/v1/pods/a/b/explain", headers=ASKING)
            assert explained.status_code == 503  # there is no cluster; everything else goes on

    asyncio.run(story())


def test_without_tokens_nobody_is_admitted_and_readyz_says_so(reader_dsn: str) -> None:
    async def story() -> None:
        health = Health()
        async with running(settings(reader_dsn, tokens={}), health) as client:
            await until(lambda: "postgres" in health.parts(), "looked at")
            assert not health.is_ready
            assert "every request is refused" in health.parts()["console"].reason
            for header in ("Bearer", "Bearer x", ""):
                answer = await client.get("/api/v1/overview", headers={"Authorization": header})
                assert answer.status_code == 401

    asyncio.run(story())


def test_readyz_says_that_the_database_is_away() -> None:
    async def story() -> None:
        health = Health()
        async with running(settings("postgresql://127.0.0.1:1/nothing"), health):
            await until(lambda: "postgres" in health.parts(), "looked at")
        assert "can't be read" in health.parts()["postgres"].reason

    asyncio.run(story())


def test_without_a_cluster_id_it_does_not_start(reader_dsn: str) -> None:
    """It would say of every address that it is not managed here."""
    chosen = settings(reader_dsn).model_copy(update={"cluster_id": ""})
    with pytest.raises(OperatorError, match="ENI_LEDGER_CLUSTER_ID"):
        asyncio.run(main.run(chosen, asyncio.Event(), Health()))


def test_kubernetes_identities_without_a_cluster_do_not_start(reader_dsn: str) -> None:
    chosen = settings(reader_dsn, authentication="kubernetes")
    with pytest.raises(KubeConfigError, match="ENI_LEDGER_KUBE__KUBECONFIG"):
        asyncio.run(main.run(chosen, asyncio.Event(), Health()))


@pytest.fixture
def cluster(
    kube_part: KubePart, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Launched | GenuineKube, Path]]:
    """An API where `GUEST` may read everything, and the kubeconfig that the console uses.

    On a genuine one that is the console's own service account, with the rights of deploy/rbac.
    """
    if kube_part == "genuine":
        genuine: GenuineKube = request.getfixturevalue("genuine_server")
        accounts.grant(genuine, "console")
        (user,) = GUEST
        role = ("clusterrole", "auditor", "--verb=get", "--non-resource-url=/eni-ledger/audit/*")
        genuine.kubectl("create", *role)
        binding = ("clusterrolebinding", "auditor", "--clusterrole=auditor", f"--user={user}")
        genuine.kubectl("create", *binding)
        yield genuine, accounts.kubeconfig_of(genuine, "console", tmp_path)
        genuine.kubectl("delete", "clusterrole,clusterrolebinding", "auditor")
        return
    server = Launched(tmp_path / "kubernetes", LaunchOptions(crds=[CRDS], tokens=GUEST))
    server.start()
    yield server, server.kubeconfig
    server.stop()


def test_in_a_cluster_its_tokens_are_asked_about(
    reader_dsn: str, cluster: tuple[Launched | GenuineKube, Path]
) -> None:
    """Over TLS, with the credentials of a kubeconfig, as in a cluster."""
    server, kubeconfig = cluster
    ((user, token),) = GUEST.items()
    chosen = settings(reader_dsn, authentication="kubernetes", tokens={})
    chosen = chosen.model_copy(update={"kube": KubeSettings(kubeconfig=kubeconfig)})

    async def story() -> None:
        health = Health()
        async with running(chosen, health) as client:
            await until(lambda: health.is_ready, "ready")

            async def asked(given: str, path: str = "whoami") -> httpx2.Response:
                headers = {"Authorization": f"Bearer {given}"}
                return await client.get(f"/api/v1/{path}", headers=headers)

            told = (await asked(token)).json()
            assert (told["name"], told["authentication"]) == (user, "kubernetes")
            assert (await asked("a-token-of-nobody")).status_code == 401
            missing = await asked(token, "pods/a/b/explain")
            assert missing.status_code == 404, missing.text  # the cluster was asked
            server.kill()
            assert (await asked("a-token-of-nobody")).status_code == 503
            assert (await asked(token)).status_code == 200  # still remembered

    try:
        asyncio.run(story())
    finally:
        server.start()


@pytest.mark.genuine("kube")
def test_who_may_not_read_is_told_what_to_grant(
    reader_dsn: str, genuine_server: GenuineKube, tmp_path: Path
) -> None:
    accounts.grant(genuine_server, "console")
    kubeconfig = accounts.kubeconfig_of(genuine_server, "console", tmp_path)
    chosen = settings(reader_dsn, authentication="kubernetes", tokens={})
    chosen = chosen.model_copy(update={"kube": KubeSettings(kubeconfig=kubeconfig)})
    ((user, token),) = GUEST.items()

    async def story() -> None:
        health = Health()
        async with running(chosen, health) as client:
            headers = {"Authorization": f"Bearer {token}"}
            await until(lambda: health.is_ready, "ready")
            refused = await client.get("/api/v1/overview", headers=headers)
            assert refused.status_code == 403
            detail = refused.json()["detail"]
            assert user in detail
            assert "grant verb get on nonResourceURLs /eni-ledger/audit/overview" in detail

    asyncio.run(story())
