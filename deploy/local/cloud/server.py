"""The cloud simulator over HTTP: the ECS and VPC RPC APIs at `/`, the control side under `/_sim`.

One event loop, one simulator: calls are handled one after the other, and only waiting (a slow or a
silent answer) happens beside them.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from deploy.local.cloud.apis import API_NAMES, ApiError, version_of
from deploy.local.cloud.control import control_routes
from deploy.local.cloud.signatures import Request, SignatureCheck
from deploy.local.cloud.simulator import Outcome, Simulator

#: A silent answer is dropped after this long even if the client still waits.
LONGEST_SILENCE_S = 300.0

#: How uvicorn serves it. Whoever waits for a silent answer is cut off when the server stops.
SERVER_OPTIONS: dict[str, Any] = {
    "log_config": None,  # the logging of the process it runs in stays as it is
    "log_level": "warning",
    "access_log": False,
    "date_header": False,  # ours is by the simulator's clock
    "lifespan": "off",
    "ws": "none",
    "timeout_graceful_shutdown": 1,
    # Longer than clients keep idle connections: a reused one is then never just being closed.
    "timeout_keep_alive": 75,
}

_GATEWAY_PAGE = "<html><body><h1>502 Bad Gateway</h1></body></html>"


class MovableClock:
    """Real time that can be moved forward: what a TTL or a token's lifetime is tried out with."""

    def __init__(self, real: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._real = real
        self.offset = timedelta()

    def __call__(self) -> datetime:
        return self._real() + self.offset

    def advance(self, seconds: float) -> None:
        self.offset += timedelta(seconds=seconds)


class Shell:
    """Carries calls between HTTP and the simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._signatures = SignatureCheck(simulator.world.access_keys)

    async def call(self, http: HttpRequest) -> Response:
        """An API call: signed, RPC style, GET or POST, parameters in the query or in a form."""
        body = await http.body()
        request = _signed_part(http, body)
        flat = {**request.form, **request.query}
        action = request.headers.get("x-acs-action") or flat.get("Action") or ""
        try:
            self._signatures.check(request)
            version = request.headers.get("x-acs-version") or flat.get("Version") or ""
            _check_known(action, version, flat.get("Format", "JSON"))
        except ApiError as error:
            outcome = self._simulator.refuse(action or "(none)", flat, error)
        else:
            outcome = self._simulator.call(action, flat)
        return await _deliver(outcome, http)


async def _deliver(outcome: Outcome, http: HttpRequest) -> Response:
    if outcome.delivery == "silence":
        await _until_gone(http)
        # The client is gone, or has waited absurdly long: nobody reads this.
        return Response(status_code=504)
    if outcome.delay_s:
        await asyncio.sleep(outcome.delay_s)
    if outcome.delivery == "gateway":
        return HTMLResponse(_GATEWAY_PAGE, status_code=502)
    return JSONResponse(outcome.body, status_code=outcome.status)


async def _until_gone(http: HttpRequest) -> None:
    try:
        async with asyncio.timeout(LONGEST_SILENCE_S):
            while (await http.receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return


def _signed_part(http: HttpRequest, body: bytes) -> Request:
    headers = {name.lower(): value for name, value in http.headers.items()}
    form: Mapping[str, str] = {}
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    query = dict(parse_qsl(http.url.query, keep_blank_values=True))
    return Request(http.method, http.url.path, headers, query, form, body)


def _check_known(action: str, version: str, wire_format: str) -> None:
    if action not in API_NAMES:
        raise ApiError(
            "InvalidAction.NotFound",
            f"The simulator knows no action {action!r}; it knows {', '.join(API_NAMES)}.",
            404,
        )
    if version != version_of(action):
        raise ApiError(
            "InvalidVersion", f"{action} has version {version_of(action)}, not {version!r}."
        )
    if wire_format.upper() != "JSON":
        raise ApiError("UnsupportedFormat", "The simulator only answers in JSON.")


def build_app(simulator: Simulator, clock: MovableClock) -> Starlette:
    """The ASGI application over one simulator, whose clock `clock` is."""
    shell = Shell(simulator)

    async def dated(http: HttpRequest) -> Response:
        response = await shell.call(http)
        response.headers["date"] = format_datetime(clock(), usegmt=True)
        return response

    return Starlette(
        routes=[
            Route("/", dated, methods=["GET", "POST"]),
            *control_routes(simulator, clock.advance, clock),
        ]
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket for the server; port 0 is any free one. Raises OSError."""
    # With the protocol named, asyncio turns Nagle's algorithm off: 2 ms a call instead of 44.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener
