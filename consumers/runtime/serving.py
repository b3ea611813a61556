"""Serves an ASGI application on an address while a block runs: the way every process listens."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn

from consumers.runtime.errors import OperatorError


class ListenError(OperatorError):
    """The address can't be had: names who wants it, the address, the cause and the next step."""


@contextlib.asynccontextmanager
async def serving(
    app: Any, host: str, port: int, *, what: str, setting: str, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve `app` (ASGI) while the block runs; yields the port, the real one where 0 was asked for.

    `what` and `setting` name the server and the setting of its port in the error. Requests in
    flight are answered before the block is left. Raises ListenError.
    """
    with _listen(host, port, what, setting) as listener:
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2
        )
        if tls is not None:
            config.ssl_context_factory = lambda _config, _default: tls
        server = _Server(config)
        running = asyncio.create_task(server.serve(sockets=[listener]), name=what)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await running


def _listen(host: str, port: int, what: str, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio turns Nagle's algorithm off: 1 ms an answer instead of 44.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as refused:
        listener.close()
        raise ListenError(
            f"{what} can't listen on {host}:{port}: {refused.strerror}: set {setting} to a free port"
        ) from refused
    return listener


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the process decides when everything stops."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what is in flight; then hang up on clients that keep an idle connection.

        TLS waits for the other side to say goodbye too, and a pooled client says nothing.
        """
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        await asyncio.sleep(0)  # lets the aborted transports close their sockets
