"""The whole application: the routes, behind the gate, with one way to say that something is wrong."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Security
from fastapi.openapi.utils import get_openapi
from fastapi.security import HTTPBearer
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from consumers.console.authentication import Authenticator
from consumers.console.desk import Desk
from consumers.console.exports import export_routes
from consumers.console.gate import API, Gate
from consumers.console.problems import (
    Problem,
    ProblemBody,
    WrongParameter,
    documented,
    handle_problems,
)
from consumers.console.routes import (
    allocation_routes,
    asking_routes,
    fleet_routes,
    tenure_routes,
)
from consumers.console.webpage import page_routes, read_page_files

_DESCRIPTION = """
What an eni-ledger knows of one cluster. Read-only. Lists come in pages: give `next` as `cursor`. Every
error is a problem (RFC 9457) that says what to do.
"""


def build_console(desk: Desk, authenticator: Authenticator) -> ASGIApp:
    """The ASGI application: the API under /api/v1 and the web console at /."""
    api = FastAPI(
        title="eni-ledger audit API",
        version="1",
        description=_DESCRIPTION.strip(),
        openapi_url=None,  # served below, behind the gate like everything else
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    handle_problems(api)
    # The gate asks for the token. This only says so in the document.
    bearer = Security(HTTPBearer(auto_error=False, description=f"see `{API}/whoami`"))
    known = KnownParameters()
    routes = APIRouter(prefix=API, dependencies=[bearer, Depends(known)], responses=documented())
    routes.include_router(tenure_routes(desk))
    routes.include_router(allocation_routes(desk))
    routes.include_router(fleet_routes(desk))
    routes.include_router(asking_routes(desk, authenticator.method))
    routes.include_router(export_routes(desk))
    api.include_router(routes)
    document = openapi_document(api)
    known.learn(document)
    api.add_api_route(
        f"{API}/openapi.json", lambda: JSONResponse(document), include_in_schema=False
    )
    page = read_page_files()
    api.router.routes.extend(page_routes(page))
    return Gate(api, authenticator, public=page)


class KnownParameters:
    """A dependency that refuses a parameter that its route has not, or that comes twice: a filter that
    is misspelt and left out would be answered with what nobody asked for."""

    def __init__(self) -> None:
        self._known: dict[str, frozenset[str]] = {}

    def learn(self, document: Mapping[str, Any]) -> None:
        """What each path takes, as its document says."""
        for path, methods in document["paths"].items():
            parameters = methods["get"].get("parameters", ())
            self._known[path] = frozenset(p["name"] for p in parameters if p["in"] == "query")

    def __call__(self, request: Request) -> None:
        """Raises Problem."""
        # Which path a route of an included router names, with or without the prefix, is FastAPI's
        # affair and has changed.
        known = self._known[f"{API}{request.scope['route'].path.removeprefix(API)}"]
        given = [name for name, _ in request.query_params.multi_items()]
        for name in given:
            if name not in known:
                names = ", ".join(sorted(known)) or "none"
                raise Problem(422, f"no such parameter; known: {names}", parameter=name)
            if given.count(name) > 1:
                raise Problem(422, "given more than once: which is meant?", parameter=name)


def openapi_document(api: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1, with our problem in place of FastAPI's own error."""
    document = get_openapi(
        title=api.title, version=api.version, description=api.description, routes=api.routes
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    where = "#/components/schemas/{model}"
    for model in (WrongParameter, ProblemBody):
        schema = model.model_json_schema(ref_template=where)
        schema.pop("$defs", None)
        schemas[model.__name__] = schema
    return document
