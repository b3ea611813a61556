"""What every request passes first: who asks; and what every answer carries: headers that keep a browser
from doing more with it than show it."""

import re
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consumers.console.authentication import TOKEN_CHARACTERS_MAX, Authenticator, unknown_token
from consumers.console.problems import Problem

API = "/api/v1"

_PART = re.compile(rf"{API}/([a-z-]{{1,40}})(?:/|\.|$)")
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

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = list(message.get("headers", ()))
                named = {name.lower() for name, _ in own}
                missing = [each for each in _HEADERS if each[0] not in named]
                message["headers"] = [*own, *missing]
            await send(message)

        if scope["path"] not in self._public:
            try:
                caller = await self._authenticator.admit(_bearer(scope), _part(scope["path"]))
            except Problem as refused:
                await refused.response()(scope, receive, sealed)
                return
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, sealed)


def _part(path: str) -> str:
    """The part of the API that a path is in, as rights name it; what is no part is `unknown`."""
    found = _PART.match(path)
    return found[1] if found else "unknown"


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
