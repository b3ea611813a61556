"""The routes of the audit API. Read-only; every one needs a bearer token."""

import dataclasses
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.exc import DataError, OperationalError

from consumers.runtime.settings import Settings
from ledger.audit.questions import Key, pods_reporting, reservations, story, tenures
from ledger.store.database import Database

API = "/api/v1"
_bearer = HTTPBearer(auto_error=False)


class BadQuestion(Exception):  # noqa: N818 - names what was asked
    """A parameter that can't be understood: says which, and what to give."""


def build_api(settings: Settings, database: Database) -> FastAPI:
    """The application. Answers are of `settings.cluster_id` only: no answer mixes clusters."""
    api = FastAPI(title="eni-ledger audit API", version="1", docs_url=f"{API}/docs",
                  openapi_url=f"{API}/openapi.json", redoc_url=None)  # fmt: skip
    authenticated = Depends(_authentication(settings))

    @api.get(f"{API}/tenures/{{key}}", dependencies=[authenticated])
    def read_tenures(
        key: Literal["ip", "eni", "mac", "pod"],
        value: Annotated[str, Query(max_length=512)],
        at: datetime | None = None,
    ) -> dict[str, Any]:
        """Who held it, from when to when, and why; with `at`, at that moment only."""
        return _tenures(settings, database, key, value, at)

    @api.get(f"{API}/reservations", dependencies=[authenticated])
    def read_reservations() -> list[dict[str, Any]]:
        """Addresses kept for Pods that are away, the first to expire first."""
        with database.transaction() as connection:
            found = reservations(connection, settings.cluster_id)
        return [dataclasses.asdict(each) for each in found]

    @api.exception_handler(BadQuestion)
    async def bad_question(_request: Request, asked: BadQuestion) -> JSONResponse:
        return _problem(400, "the question can't be answered as it stands", str(asked))

    @api.exception_handler(DataError)
    async def bad_value(_request: Request, _refused: DataError) -> JSONResponse:
        return _problem(
            400, "the value can't be read", "give an IP address, an id or namespace/name"
        )

    @api.exception_handler(OperationalError)
    async def unavailable(_request: Request, _failed: OperationalError) -> JSONResponse:
        return _problem(503, "PostgreSQL is unavailable", "try again; the ledger is not lost")

    return api


def _tenures(
    settings: Settings, database: Database, key: Key, value: str, at: datetime | None
) -> dict[str, Any]:
    if at is not None and at.tzinfo is None:
        raise BadQuestion("at needs a time zone, for example 2026-01-31T14:03:00Z")
    if "\x00" in value:
        raise BadQuestion("value contains a NUL character")
    cluster = settings.cluster_id
    with database.transaction() as connection:
        found = tenures(connection, cluster, key, value, at)
        ids = list(dict.fromkeys(each.allocation_id for each in found))
        entries = story(connection, cluster, ids)
        reporting = pods_reporting(connection, cluster, value) if key == "ip" and not found else []
    return {
        "cluster": cluster,
        "managed": bool(found),
        "tenures": [dataclasses.asdict(each) for each in found],
        "story": [dataclasses.asdict(each) for each in entries],
        "reported_by": reporting,
    }


def _authentication(settings: Settings) -> Callable[..., str]:
    """A dependency that names the caller, or refuses."""
    known = {name: token.get_secret_value() for name, token in settings.console.tokens.items()}

    def authenticate(
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> str:
        for name, token in known.items():
            if given is not None and secrets.compare_digest(
                given.credentials.encode(), token.encode()
            ):
                return name
        raise HTTPException(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})

    return authenticate


def _problem(status: int, title: str, detail: str) -> JSONResponse:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")
