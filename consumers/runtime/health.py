"""`/healthz`, `/readyz` and `/metrics` of a process, and the list of what it is waiting for."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from consumers.runtime import metrics
from consumers.runtime.serving import serving
from consumers.runtime.settings import HttpSettings

READY = metrics.gauge("ready", "1 when this part of the process is ready", ("part",))

NOT_STARTED = "starting: no part has reported yet"


@dataclass(frozen=True, slots=True)
class PartState:
    """What a part last said about itself."""

    ok: bool
    reason: str


class Health:
    """Which parts of a process are ready, and why the others are not.

    Ready means: at least one part has reported, and none is waiting. Used from one event loop,
    or from threads: each report replaces one whole value.
    """

    def __init__(self) -> None:
        self._parts: dict[str, PartState] = {}

    def ready(self, name: str, ok: bool, reason: str = "") -> None:
        """Report part `name`. A part that is not ready says why in `reason`."""
        self._parts[name] = PartState(ok, reason or ("ready" if ok else "not ready"))
        READY.labels(part=name).set(1 if ok else 0)

    @property
    def is_ready(self) -> bool:
        """Whether /readyz answers 200."""
        return bool(self._parts) and all(part.ok for part in self._parts.values())

    def parts(self) -> dict[str, PartState]:
        """What each part last said, by name."""
        return dict(sorted(self._parts.items()))


@contextlib.asynccontextmanager
async def serve_health(health: Health, settings: HttpSettings) -> AsyncIterator[str]:
    """Serve while the block runs; yields the base URL, with the real port where 0 was asked for.

    Raises ListenError when the address can't be had.
    """
    host = settings.host
    app = health_application(health)
    async with serving(
        app, host, settings.port, what="the health endpoint", setting="ENI_LEDGER_HTTP__PORT"
    ) as port:
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"


def health_application(health: Health) -> Starlette:
    """The three routes. /readyz is 200 or 503 and lists each part with its reason as JSON."""

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        parts = {
            name: {"ready": part.ok, "reason": part.reason} for name, part in health.parts().items()
        }
        body = {"ready": health.is_ready, "parts": parts or NOT_STARTED}
        return JSONResponse(body, status_code=200 if health.is_ready else 503)

    async def prometheus(_request: Request) -> Response:
        body, content_type = metrics.exposition()
        return Response(body, headers={"Content-Type": content_type})

    routes = [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", prometheus),
    ]
    return Starlette(routes=routes)
