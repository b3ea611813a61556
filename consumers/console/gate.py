"""What every request passes first: who asks; and what every answer carries: headers that keep a browser
from doing more with it than show it."""

import time
from collections.abc import Collection

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consumers.console.authentication import TOKEN_CHARACTERS_MAX, Authenticator, unknown_token
from consumers.console.problems import Problem
from consumers.runtime import metrics

_log = structlog.get_logger(__name__)

REQUESTS = metrics.counter("console_requests", "Requests answered", ("part", "status"))
SECONDS = metrics.histogram("console_seconds", "Time to answer, exports to their end", ("part",))

API = "/api/v1"
#: The parts of the API: what rights are given on.
PARTS = frozenset(
    {
        "allocations",
        "calls",
        "dead-letters",
        "drift",
        "exports",
        "nodes",
        "openapi.json",
        "overview",
        "pods",
        "reservations",
        "search",
        "tenures",
        "vswitches",
        "waiting",
        "whoami",
    }
)

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # No text ever becomes markup: the browser refuses innerHTML, also in code not written yet.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cache-control", b"no-store"),
)


class Gate:
    """ASGI middleware. `public` are the paths anybody may GET, the page itself and its parts: closed
    is what is not named, so that a new route can't be forgotten."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator, public: Collection[str]) -> None:
        self._app = app
        self._authenticator = authenticator
        self._public = frozenset(public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def sealed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = list(message.get("headers", ()))
                named = {name.lower() for name, _ in own}
                message["headers"] = [*own, *(each for each in _HEADERS if each[0] not in named)]
            await send(message)

        if scope["path"] in self._public:
            await self._app(scope, receive, sealed)
            return
        part = _part(scope["path"])
        state = scope.setdefault("state", {})
        try:
            answer = await self._admitted(scope, part)
            await answer(scope, receive, sealed)
        finally:
            seconds = time.perf_counter() - began
            REQUESTS.labels(part=part, status=str(status)).inc()
            SECONDS.labels(part=part).observe(seconds)
            _log.info(
                "answered",
                caller=state.get("caller", ""),
                path=scope["path"],
                status=status,
                seconds=round(seconds, 4),
            )

    async def _admitted(self, scope: Scope, part: str) -> ASGIApp:
        """The application, for those who may ask it; a refusal for the others."""
        try:
            scope["state"]["caller"] = await self._authenticator.admit(_bearer(scope), part)
        except Problem as refused:
            return refused.response()
        return self._app


def _part(path: str) -> str:
    """The part of the API that a path is in, as rights and metrics name it."""
    word = path.removeprefix(f"{API}/").partition("/")[0] if path.startswith(f"{API}/") else ""
    return word if word in PARTS else "unknown"


def _bearer(scope: Scope) -> str:
    """The token of the request. Raises Problem where there is none, or more than one."""
    given: list[bytes] = [
        value for name, value in scope["headers"] if name.lower() == b"authorization"
    ]
    if len(given) != 1:
        raise unknown_token()
    scheme, _, token = given[0].decode("utf-8", "surrogateescape").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > TOKEN_CHARACTERS_MAX:
        raise unknown_token()
    return token
