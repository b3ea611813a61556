"""Every refusal and failure as `application/problem+json` (RFC 9457), in words and without inner parts."""

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError, TimeoutError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from ledger.store.database import UNAVAILABLE, sqlstate

_log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"

#: SQLSTATEs that a person can mend, and what to do.
_MENDABLE = {
    "3F000": "the database has no schema of ours: run `eni-ledger migrate`",
    "42P01": "the database's schema is older than this console: run `eni-ledger migrate`",
    "42703": "the database's schema is older than this console: run `eni-ledger migrate`",
    "42883": "the database's schema is older than this console: run `eni-ledger migrate`",
    "42501": "the console's database login may not read schema audit: grant it eni_ledger_auditor",
    "57014": "the answer took longer than a statement may: narrow the question",
}


class WrongParameter(BaseModel):
    """One parameter that can't be used."""

    name: str
    detail: str


class ProblemBody(BaseModel):
    """What went wrong (RFC 9457): the title is the kind, the detail says what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[WrongParameter] = Field(default_factory=list)


class Problem(Exception):  # noqa: N818 - the RFC's word
    """Raised anywhere while a request is answered; `detail` is shown to whoever asked."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        parameter: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.parameter = parameter
        self.headers = headers or {}

    def response(self) -> Response:
        """The HTTP answer."""
        errors = []
        if self.parameter is not None:
            errors.append(WrongParameter(name=self.parameter, detail=self.detail))
        return _response(self.status, self.detail, errors, self.headers)


def handle_problems(api: FastAPI) -> None:
    """Answer everything that can go wrong in `api` with a problem."""

    @api.exception_handler(Problem)
    async def told(_request: Request, problem: Problem) -> Response:
        return problem.response()

    @api.exception_handler(RequestValidationError)
    async def wrong_parameters(_request: Request, wrong: RequestValidationError) -> Response:
        errors = [
            WrongParameter(name=".".join(str(part) for part in each["loc"][1:]), detail=each["msg"])
            for each in wrong.errors()
        ]
        detail = "; ".join(f"{each.name}: {each.detail}" for each in errors)
        return _response(422, detail, errors)

    @api.exception_handler(HTTPException)
    async def refused(_request: Request, refused: HTTPException) -> Response:
        detail = {
            404: "there is nothing at this address: /api/v1/openapi.json lists what there is",
            405: "this API only reads: use GET",
        }.get(refused.status_code, str(refused.detail))
        return _response(refused.status_code, detail, [], dict(refused.headers or {}))

    @api.exception_handler(TimeoutError)
    async def crowded(_request: Request, _full: TimeoutError) -> Response:
        return _unavailable("every connection to PostgreSQL is in use: try again")

    @api.exception_handler(DBAPIError)
    async def database(_request: Request, failed: DBAPIError) -> Response:
        state = sqlstate(failed) or ""
        if state in _MENDABLE:
            _log.warning("a question could not be answered", sqlstate=state, cause=str(failed.orig))
            return _unavailable(_MENDABLE[state])
        if state.startswith("22"):
            return _response(422, "a value can't be read: see the parameter's description", [])
        if isinstance(failed, UNAVAILABLE):
            _log.warning("PostgreSQL is unavailable", cause=str(failed.orig))
            return _unavailable("PostgreSQL is unavailable: try again; the ledger is not lost")
        _log.error("a question failed: this is a defect, please report it", exc_info=failed)
        return _response(500, "this is a defect; the process's log has the cause", [])

    @api.exception_handler(Exception)
    async def defect(_request: Request, _failed: Exception) -> Response:
        # Starlette raises it again once this is sent, and the server logs it with its trace.
        return _response(500, "this is a defect; the process's log has the cause", [])


def documented() -> dict[int | str, dict[str, Any]]:
    """The problems of every route, for the OpenAPI document."""
    schema = {"$ref": f"#/components/schemas/{ProblemBody.__name__}"}
    what = {
        401: "no token, or one that nobody knows",
        403: "the token's owner may not ask this",
        404: "there is no such thing",
        422: "a parameter can't be used: `errors` names it",
        500: "a defect",
        503: "PostgreSQL, or the API server that knows the tokens, is away: try again",
    }
    return {
        status: {"description": text, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status, text in what.items()
    }


def _unavailable(detail: str) -> Response:
    return _response(503, detail, [], {"Retry-After": "1"})


def _response(
    status: int, detail: str, errors: list[WrongParameter], headers: dict[str, str] | None = None
) -> Response:
    title = HTTPStatus(status).phrase
    body = ProblemBody(title=title, status=status, detail=detail, errors=errors)
    return JSONResponse(body.model_dump(), status, headers, MEDIA_TYPE)
