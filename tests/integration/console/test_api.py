"""The audit API over a real ledger: who may ask, what is answered, and what is refused in words."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from consumers.console.api import build_api
from consumers.runtime.settings import Settings
from deploy.local.parts.postgres import PostgresServer, create_database, drop_database
from ledger.rules.entries import Address
from ledger.store.database import Database
from tests.simulation.ground import START, Ground
from tests.simulation.world import CLUSTER, SimulatedWorld

TOKEN = {"Authorization": "Bearer s3cret"}
TENURES = "/api/v1/tenures"


@pytest.fixture(scope="module")
def world(postgres_server: PostgresServer, migrated_template: str) -> Iterator[SimulatedWorld]:
    """web-0 is bound, web-1 reserved."""
    dsn = create_database(postgres_server.dsn(), "console", template=migrated_template)
    ground = Ground(dsn)
    lived = SimulatedWorld(ground)
    lived.create_pod("web-0")
    lived.create_pod("web-1")
    lived.settle(10)
    lived.delete_pod("web-1")
    lived.settle(10)
    yield lived
    ground.close()
    drop_database(postgres_server.dsn(), "console")


def client(dsn: str, cluster: str = CLUSTER) -> Iterator[TestClient]:
    settings = Settings(cluster_id=cluster)
    tokens = {"ann": SecretStr("s3cret"), "bob": SecretStr("other")}
    console = settings.console.model_copy(update={"tokens": tokens})
    settings = settings.model_copy(update={"console": console})
    database = Database(dsn, pool_size=2)
    with TestClient(build_api(settings, database)) as opened:
        yield opened
    database.close()


@pytest.fixture
def api(world: SimulatedWorld) -> Iterator[TestClient]:
    yield from client(world.dsn)


@pytest.fixture
def other_cluster(world: SimulatedWorld) -> Iterator[TestClient]:
    yield from client(world.dsn, "c-other")


def address(world: SimulatedWorld, pod: str) -> Address:
    [found] = [a.address for a in world.allocations() if a.pod == pod]
    assert found is not None
    return found


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer s3cre"},
        {"Authorization": "Bearer s3cret2"},
        {"Authorization": "Basic czNjcmV0"},
        {"Authorization": "s3cret"},
    ],
)
@pytest.mark.parametrize("path", [f"{TENURES}/ip?value=10.0.0.1", "/api/v1/reservations"])
def test_nobody_asks_without_a_token(api: TestClient, headers: dict[str, str], path: str) -> None:
    answer = api.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_each_token_is_good(api: TestClient) -> None:
    for token in ("s3cret", "other"):
        answer = api.get("/api/v1/reservations", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200


def test_an_ip_is_answered_with_periods_and_story(world: SimulatedWorld, api: TestClient) -> None:
    held = address(world, "web-0")
    answer = api.get(f"{TENURES}/ip", params={"value": held.ipv4}, headers=TOKEN).json()
    assert (answer["cluster"], answer["managed"]) == (CLUSTER, True)
    assert [each["kind"] for each in answer["tenures"]] == ["preparing", "bound"]
    assert answer["tenures"][-1]["eni"] == held.eni
    assert answer["story"][0]["kind"] == "requested"
    for key, value in (("eni", held.eni), ("mac", held.mac), ("pod", "example/web-0")):
        same = api.get(f"{TENURES}/{key}", params={"value": value}, headers=TOKEN).json()
        assert same["tenures"] == answer["tenures"]


def test_a_moment_is_answered_with_one_period(world: SimulatedWorld, api: TestClient) -> None:
    asked = {"value": address(world, "web-0").ipv4, "at": world.time.isoformat()}
    [now] = api.get(f"{TENURES}/ip", params=asked, headers=TOKEN).json()["tenures"]
    assert now["kind"] == "bound"
    before = asked | {"at": (START - timedelta(hours=1)).isoformat()}
    assert api.get(f"{TENURES}/ip", params=before, headers=TOKEN).json()["tenures"] == []


def test_reservations_say_until_when(world: SimulatedWorld, api: TestClient) -> None:
    [kept] = api.get("/api/v1/reservations", headers=TOKEN).json()
    assert (kept["pod"], kept["ipv4"]) == ("web-1", address(world, "web-1").ipv4)
    assert kept["due"]


def test_what_is_not_ours_is_said_so(api: TestClient) -> None:
    answer = api.get(f"{TENURES}/ip", params={"value": "10.9.9.9"}, headers=TOKEN)
    assert answer.status_code == 200
    assert answer.json()["managed"] is False


@pytest.mark.parametrize("value", ["not-an-ip", "1.2.3", "\U0001f600", "10.0.0.1\n"])
def test_a_value_that_is_no_address_is_a_problem_in_words(api: TestClient, value: str) -> None:
    answer = api.get(f"{TENURES}/ip", params={"value": value}, headers=TOKEN)
    assert answer.status_code in (200, 400)
    if answer.status_code == 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]


@pytest.mark.parametrize("key", ["ip", "eni", "mac", "pod"])
def test_nul_is_refused_and_not_passed_on(api: TestClient, key: str) -> None:
    answer = api.get(f"{TENURES}/{key}?value=a%00b", headers=TOKEN)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "query",
    ["", "value=" + "x" * 513, "value=10.0.0.1&at=yesterday", "value=10.0.0.1&at="],
)
def test_wrong_queries_are_refused(api: TestClient, query: str) -> None:
    assert api.get(f"{TENURES}/ip?{query}", headers=TOKEN).status_code == 422


def test_a_time_without_a_zone_is_refused(api: TestClient) -> None:
    asked = {"value": "10.0.0.1", "at": "2026-01-01T00:00:00"}
    answer = api.get(f"{TENURES}/ip", params=asked, headers=TOKEN)
    assert answer.status_code == 400
    assert "time zone" in answer.json()["detail"]


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_the_ends_of_time_are_no_crash(api: TestClient, at: str) -> None:
    asked = {"value": "10.0.0.1", "at": at}
    assert api.get(f"{TENURES}/ip", params=asked, headers=TOKEN).status_code == 200


def test_an_unknown_key_is_refused(api: TestClient) -> None:
    assert api.get(f"{TENURES}/vlan?value=1", headers=TOKEN).status_code == 422


def test_no_answer_mixes_clusters(world: SimulatedWorld, other_cluster: TestClient) -> None:
    for key, value in (("ip", address(world, "web-0").ipv4), ("pod", "example/web-0")):
        answer = other_cluster.get(f"{TENURES}/{key}", params={"value": value}, headers=TOKEN)
        assert answer.json()["tenures"] == []
        assert answer.json()["reported_by"] == []
    assert other_cluster.get("/api/v1/reservations", headers=TOKEN).json() == []


def test_nothing_can_be_written(api: TestClient) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = api.request(method, "/api/v1/reservations", headers=TOKEN)
        assert answer.status_code == 405


def test_a_database_that_is_away_is_said_so() -> None:
    for opened in client("postgresql://127.0.0.1:1/nothing"):
        answer = opened.get("/api/v1/reservations", headers=TOKEN)
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert "127.0.0.1" not in answer.text
