"""`/healthz`, `/readyz` and `/metrics` of a process, and the list of what it is waiting for."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from consumers.runtime import metrics
from consumers.runtime.settings import HttpSettings

READY = metrics.gauge("ready", "1 when this part of the process is ready", ("part",))

NOT_STARTED = "starting: no part has reported yet"


class HealthError(Exception):
    """The health endpoint can't be served: names the address, the cause and the next step."""


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

    Raises HealthError when the address can't be bound.
    """
    with _listen(settings) as listener:
        host, port = listener.getsockname()[:2]
        server = _Server(
            uvicorn.Config(
                health_application(health),
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=2,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="health")
        try:
            yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
        finally:
            server.should_exit = True
            await serving


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


def _listen(settings: HttpSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as refused:
        raise HealthError(
            f"the health endpoint can't listen on {settings.host}:{settings.port}: "
            f"{refused.strerror}: set ENI_LEDGER_HTTP__PORT to a free port, or 0 for any"
        ) from refused


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the process decides when everything stops."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
