"""Who may ask: static tokens, Kubernetes' tokens and rights, and nobody without either."""

import asyncio
import json
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr, ValidationError
from starlette.types import ASGIApp

from consumers.console.authentication import (
    REMEMBERED_MAX,
    KubernetesIdentities,
    StaticTokens,
    authenticator,
    method_of,
)
from consumers.console.problems import Problem
from consumers.runtime.settings import ConsoleSettings, KubeSettings
from tests.integration.console.conftest import ASKING, OTHER_TOKEN, TOKEN, console_app

PATHS = (
    "/api/v1/whoami",
    "/api/v1/tenures/ip?value=10.0.0.1",
    "/api/v1/reservations",
    "/api/v1/exports/entries",
    "/api/v1/openapi.json",
    "/api/v1/nothing",
    "/api/v1",
    "/nothing",
    "/favicon.ico",
    "/static/../api.py",
)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "Basic czNjcmV0"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer " + "x" * 20_000},
        {"Cookie": f"token={TOKEN}"},
    ],
)
def test_nobody_asks_without_a_token(anybody: TestClient, headers: dict[str, str]) -> None:
    for path, method in product(PATHS, ("GET", "POST", "HEAD", "OPTIONS")):
        answer = anybody.request(method, path, headers=headers)
        assert answer.status_code == 401, (method, path)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"


def test_two_tokens_are_no_token(anybody: TestClient) -> None:
    headers = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {OTHER_TOKEN}")]
    assert anybody.get("/api/v1/whoami", headers=headers).status_code == 401


def test_each_token_is_good_and_names_its_owner(anybody: TestClient) -> None:
    for name, token in (("ann", TOKEN), ("bob", OTHER_TOKEN)):
        answer = anybody.get("/api/v1/whoami", headers={"Authorization": f"bearer {token}"})
        assert answer.json()["name"] == name


def test_a_short_token_is_refused_at_start() -> None:
    for token in ("", "short"):
        with pytest.raises(ValidationError, match="16"):
            ConsoleSettings(tokens={"ann": SecretStr(token)})


def test_no_tokens_admit_nobody() -> None:
    for token in ("", "x"):
        with pytest.raises(Problem, match="bearer token"):
            asyncio.run(StaticTokens({}).admit(token, "whoami"))


def test_what_authenticates_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    some = {"ann": SecretStr(TOKEN)}
    assert method_of(ConsoleSettings()) == "tokens"
    assert isinstance(authenticator(ConsoleSettings(), KubeSettings()), StaticTokens)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert method_of(ConsoleSettings()) == "kubernetes"
    assert method_of(ConsoleSettings(tokens=some)) == "tokens"
    assert method_of(ConsoleSettings(tokens=some, authentication="kubernetes")) == "kubernetes"


def test_every_answer_carries_what_keeps_a_browser_in_check(
    anybody: TestClient, api: TestClient
) -> None:
    for answer in (
        anybody.get("/"),
        anybody.get("/api/v1/overview"),
        api.get("/api/v1/overview"),
        api.get("/api/v1/nothing"),
        api.get("/api/v1/exports/calls"),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert api.get("/api/v1/overview").headers["cache-control"] == "no-store"


# ------------------------------------------------------------------------------ Kubernetes


class ScriptedApiServer(httpx2.AsyncBaseTransport):
    """Answers the two reviews as an API server does, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.users = {"good": {"username": "system:serviceaccount:ops:audit", "groups": ["g"]}}
        self.rights = {("system:serviceaccount:ops:audit", "/eni-ledger/audit/overview")}
        self.audiences: list[str] | None = None
        self.status = 201

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(await request.aread())
        self.asked.append((request.url.path, body))
        if self.status != 201:
            return httpx2.Response(self.status, json={"message": "secret inner state"})
        if body["kind"] == "TokenReview":
            user = self.users.get(body["spec"]["token"])
            status: dict[str, Any] = {"authenticated": user is not None, "user": user or {}}
            if self.audiences is not None:
                status["audiences"] = self.audiences
        else:
            spec = body["spec"]
            attributes = spec["nonResourceAttributes"]
            assert attributes["verb"] == "get"
            status = {"allowed": (spec["user"], attributes["path"]) in self.rights}
        return httpx2.Response(201, json=body | {"status": status})


@pytest.fixture
def server() -> ScriptedApiServer:
    return ScriptedApiServer()


Opened = Callable[..., TestClient]


class Clock:
    now = 0.0


@pytest.fixture
def opened(server: ScriptedApiServer, reader_dsn: str) -> Iterator[Opened]:
    """A console that asks `server` who asks."""
    contexts: list[Any] = []

    def open_(**more: Any) -> TestClient:
        client = httpx2.AsyncClient(transport=server, base_url="http://kube")
        identities = KubernetesIdentities(client, **more)
        context = console_app(reader_dsn, authenticator=identities)
        app: ASGIApp = context.__enter__()
        api = TestClient(app)
        contexts.append(context)
        return api

    yield open_
    for context in contexts:
        context.__exit__(None, None, None)


GOOD = {"Authorization": "Bearer good"}


def test_kubernetes_says_who_asks_and_what_they_may(
    server: ScriptedApiServer, opened: Opened
) -> None:
    api = opened()
    assert api.get("/api/v1/overview", headers=GOOD).status_code == 200
    assert [path for path, _ in server.asked] == [
        "/apis/authentication.k8s.io/v1/tokenreviews",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
    ]
    assert server.asked[1][1]["spec"]["groups"] == ["g"]
    assert api.get("/api/v1/overview", headers={"Authorization": "Bearer bad"}).status_code == 401
    refused = api.get("/api/v1/exports/entries", headers=GOOD)
    assert refused.status_code == 403
    assert "/eni-ledger/audit/exports" in refused.json()["detail"]


def test_the_right_is_not_one_that_everybody_has(server: ScriptedApiServer, opened: Opened) -> None:
    """system:discovery lets every authenticated identity get /api/*: ours must be elsewhere."""
    opened().get("/api/v1/overview", headers=GOOD)
    path = server.asked[1][1]["spec"]["nonResourceAttributes"]["path"]
    assert not path.startswith(("/api", "/apis", "/openapi", "/version", "/healthz"))


def test_an_admission_is_remembered_for_a_while_and_a_refusal_is_not(
    server: ScriptedApiServer, opened: Opened
) -> None:
    clock = Clock()
    api = opened(remember_s=30.0, clock=lambda: clock.now)
    for _ in range(3):
        api.get("/api/v1/overview", headers=GOOD)
    assert len(server.asked) == 2
    clock.now = 29.0
    server.users.clear()
    assert api.get("/api/v1/overview", headers=GOOD).status_code == 200
    clock.now = 31.0
    assert api.get("/api/v1/overview", headers=GOOD).status_code == 401
    assert api.get("/api/v1/overview", headers=GOOD).status_code == 401
    assert len(server.asked) == 4


def test_what_is_remembered_is_bounded(server: ScriptedApiServer) -> None:
    count = REMEMBERED_MAX + 10
    server.users = {f"t{n}": {"username": "u"} for n in range(count)}
    server.rights = {("u", "/eni-ledger/audit/overview")}

    async def admit_all() -> int:
        client = httpx2.AsyncClient(transport=server, base_url="http://kube")
        identities = KubernetesIdentities(client)
        for n in range(count):
            await identities.admit(f"t{n}", "overview")
        await identities.close()
        return len(identities._admitted)

    assert asyncio.run(admit_all()) == REMEMBERED_MAX


def test_a_token_for_somebody_else_is_refused(server: ScriptedApiServer, opened: Opened) -> None:
    api = opened(audiences=("eni-ledger",))
    assert api.get("/api/v1/overview", headers=GOOD).status_code == 401  # nobody checked it
    server.audiences = ["https://kubernetes.default.svc"]
    assert api.get("/api/v1/overview", headers=GOOD).status_code == 401
    server.audiences = ["eni-ledger"]
    assert api.get("/api/v1/overview", headers=GOOD).status_code == 200
    assert server.asked[0][1]["spec"]["audiences"] == ["eni-ledger"]


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_an_api_server_that_can_t_say_admits_nobody(
    server: ScriptedApiServer, opened: Opened, status: int
) -> None:
    server.status = status
    answer = opened().get("/api/v1/overview", headers=GOOD)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text


def test_static_tokens_are_none_in_kubernetes_mode(opened: Opened) -> None:
    assert opened().get("/api/v1/overview", headers=ASKING).status_code == 401
