"""The API keeps to its own OpenAPI document, whatever is asked that the document allows or forbids."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from starlette.types import ASGIApp, Receive, Scope, Send

from consumers.console.gate import PARTS
from tests.integration.console.conftest import ASKING, console_app

CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    ignored_auth,
    unsupported_method,
]


class Forwarding:
    """Cases are made when this file is read, the ledger they are asked of when a test runs."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


forwarding = Forwarding()
with console_app("postgresql://127.0.0.1:1/nothing") as only_its_document:
    forwarding.app = only_its_document
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", forwarding, headers=ASKING)


@pytest.fixture(autouse=True)
def asked(app: ASGIApp) -> Iterator[None]:
    forwarding.app = app
    yield
    forwarding.app = only_its_document


@schema.parametrize()
@settings(
    max_examples=20,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_operation_keeps_to_the_document(case: Any) -> None:
    case.call_and_validate(headers=ASKING, checks=CHECKS)


def test_the_document_is_complete(api: TestClient) -> None:
    document = api.get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    parts = {path.split("/")[3] for path in document["paths"]}
    assert parts | {"openapi.json"} == PARTS  # what rights can be given on
    for path, methods in document["paths"].items():
        assert list(methods) == ["get"], path
        operation = methods["get"]
        assert operation["security"] == [{"HTTPBearer": []}], path
        assert operation["description"], path
        problems = {"401", "403", "404", "422", "500", "503"}
        assert problems <= set(operation["responses"]), path
        for status in problems:
            assert list(operation["responses"][status]["content"]) == ["application/problem+json"]
