"""Serve the application over TLS on an address, until asked to stop."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.applications import Starlette


class ServerError(Exception):
    """The webhook server can't listen: names the address, the cause and the next step."""


@contextlib.asynccontextmanager
async def serving(
    app: Starlette, host: str, port: int, context: ssl.SSLContext
) -> AsyncIterator[int]:
    """Serve while the block runs; yields the port, the real one where 0 was asked for.

    Reviews in flight are answered before the block is left. Raises ServerError.
    """
    with _listen(host, port) as listener:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ssl_context_factory=lambda _config, _default: context,
            timeout_graceful_shutdown=2,
        )
        server = _Server(config)
        running = asyncio.create_task(server.serve(sockets=[listener]), name="webhook server")
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await running


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio turns Nagle's algorithm off: 1 ms an answer instead of 44.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as refused:
        listener.close()
        raise ServerError(
            f"the webhook server can't listen on {host}:{port}: {refused.strerror}: "
            f"set ENI_LEDGER_WEBHOOK__PORT to a free port"
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
