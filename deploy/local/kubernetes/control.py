"""The control side, `/_sim/…`: faults, dropped watches, request counts, compaction. Not a Kubernetes API.

| call | effect |
|---|---|
| GET, POST, DELETE /_sim/faults | show, order, clear faults (`faults.FaultOrder`) |
| GET, DELETE /_sim/requests | counts by verb and resource, `mutating` apart; reset them |
| POST /_sim/compact | forget history: watches and continue tokens from before get 410 |
| POST /_sim/watches/drop | close open watch streams (`{"resource": "pods"}`: only those) |
| GET /_sim/state | resourceVersion, compacted, objects per resource, open watches |
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
import pydantic
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.local.kubernetes.core import Core
from deploy.local.kubernetes.errors import Json
from deploy.local.kubernetes.faults import CODES, VERBS, FaultOrder


class Watches(Protocol):
    """The open watch streams of the shell."""

    def drop(self, resource: str | None) -> int:
        """Closes those of one resource (or all); returns how many."""
        ...

    def count(self) -> int:
        """How many are open."""
        ...


class DropOrder(pydantic.BaseModel):
    """Body of `POST /_sim/watches/drop`."""

    model_config = pydantic.ConfigDict(extra="forbid")
    resource: str | None = None


class CompactOrder(pydantic.BaseModel):
    """Body of `POST /_sim/compact`."""

    model_config = pydantic.ConfigDict(extra="forbid")
    revision: int | None = pydantic.Field(default=None, ge=0)


def _json(body: object, code: int = 200) -> Response:
    return Response(msgspec.json.encode(body), code, media_type="application/json")


Handler = Callable[[Request], Awaitable[Response]]


def _refusing(handler: Handler) -> Handler:
    """Turns a bad order into a 400 that says what is allowed."""

    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except pydantic.ValidationError as error:
            problems = [
                {"field": ".".join(map(str, e["loc"])), "problem": e["msg"]} for e in error.errors()
            ]
            allowed = {"verb": VERBS, "code": CODES, "fields": sorted(FaultOrder.model_fields)}
            return _json(
                {"error": "not a valid order", "problems": problems, "allowed": allowed}, 400
            )

    return guarded


def routes(core: Core, watches: Watches) -> list[Route]:
    """The control side of one server."""

    def known(order: FaultOrder) -> Json | None:
        names = {t.store for t in core.registry} | {t.plural for t in core.registry} | {"*"}
        if order.resource in names:
            return None
        problem = {"field": "resource", "problem": f"{order.resource!r} is not served"}
        return {"error": "not a valid order", "problems": [problem], "allowed": sorted(names)}

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            core.faults.clear()
        elif request.method == "POST":
            order = FaultOrder.model_validate_json(await request.body() or b"{}")
            problem = known(order)
            if problem:
                return _json(problem, 400)
            core.faults.add(order)
        return _json({"faults": core.faults.as_json()})

    async def requests(request: Request) -> Response:
        if request.method == "DELETE":
            core.faults.reset_counts()
        return _json({"mutating": core.faults.mutations(), "requests": core.faults.requests()})

    async def compact(request: Request) -> Response:
        order = CompactOrder.model_validate_json(await request.body() or b"{}")
        return _json({"compacted": core.store.compact(order.revision)})

    async def drop(request: Request) -> Response:
        order = DropOrder.model_validate_json(await request.body() or b"{}")
        return _json({"dropped": watches.drop(order.resource)})

    async def state(_request: Request) -> Response:
        counts = {name: sum(1 for _ in core.store.select(name)) for name in core.store.names()}
        return _json(
            {
                "simulated": True,
                "resourceVersion": core.store.revision,
                "compacted": core.store.compacted,
                "objects": counts,
                "watches": watches.count(),
            }
        )

    return [
        Route("/_sim/faults", _refusing(faults), methods=["GET", "POST", "DELETE"]),
        Route("/_sim/requests", _refusing(requests), methods=["GET", "DELETE"]),
        Route("/_sim/compact", _refusing(compact), methods=["POST"]),
        Route("/_sim/watches/drop", _refusing(drop), methods=["POST"]),
        Route("/_sim/state", _refusing(state), methods=["GET"]),
    ]
