"""A request whose sender is cancelled: its answer is waited for and closed, or it is cut short in time."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from consumers.kube import wire


class Body(httpx2.AsyncByteStream):
    closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"{}"

    async def aclose(self) -> None:
        self.closed = True


class Server(httpx2.AsyncBaseTransport):
    """Answers when it is let; `cut` when it was cancelled before."""

    def __init__(self) -> None:
        self.asked, self.let = asyncio.Event(), asyncio.Event()
        self.cut = False
        self.body = Body()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.set()
        try:
            await self.let.wait()
        except asyncio.CancelledError:
            self.cut = True
            raise
        return httpx2.Response(200, stream=self.body)


async def cancelled(server: Server, *, answers: bool) -> None:
    async with httpx2.AsyncClient(transport=server, base_url="http://kube") as client:
        request = client.build_request("GET", "/")
        limit = 60.0 if answers else 0.0
        sending = asyncio.create_task(wire.send(client, request, stream=True, sending_s=limit))
        await server.asked.wait()
        sending.cancel()
        if answers:
            server.let.set()
        with pytest.raises(asyncio.CancelledError):
            await sending


def test_an_answer_on_its_way_is_waited_for_and_closed() -> None:
    async def play() -> None:
        server = Server()
        await cancelled(server, answers=True)
        assert (server.cut, server.body.closed) == (False, True)

    asyncio.run(play())


def test_one_that_does_not_come_is_cut_short() -> None:
    async def play() -> None:
        server = Server()
        await cancelled(server, answers=False)
        assert server.cut

    asyncio.run(play())
