"""A scripted API server for one resource: answers in order, and remembers what it was asked."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import msgspec

from consumers.kube.reflector import Event, Reflector
from consumers.kube.resources import PODS, Resource


def pod(name: str, version: int, uid: str = "", **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "ns",
            "name": name,
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(version),
            **metadata,
        }
    }


def line(type_: str, obj: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"type": type_, "object": obj}) + b"\n"


def bookmark(version: int) -> bytes:
    return line("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


def gone() -> bytes:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    return line("ERROR", status)


@dataclass
class ListAnswer:
    items: Sequence[dict[str, Any]]
    version: int
    token: str = ""


@dataclass
class WatchAnswer:
    """Chunks of the stream; `hold` leaves it open after them, `fail` breaks it."""

    chunks: Sequence[bytes] = ()
    hold: bool = False
    fail: Exception | None = None


@dataclass
class Refusal:
    code: int
    reason: str = ""
    message: str = "no"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Now:
    """The answer to "where is history": a list of one. Without it in the script: far ahead."""

    version: int


Answer = ListAnswer | WatchAnswer | Refusal | Now | Exception
FAR_AHEAD = 10**9
#: What the question looks like; no script uses pages of one.
PROBE = {"limit": "1"}


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, answer: WatchAnswer, exhausted: asyncio.Event) -> None:
        self._answer = answer
        self._exhausted = exhausted

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._answer.chunks:
            yield chunk
            await asyncio.sleep(0)
        if self._answer.fail is not None:
            raise self._answer.fail
        if self._answer.hold:
            self._exhausted.set()
            await asyncio.Event().wait()


class ScriptedServer:
    """Answers requests in the order of `script`; after its end it holds every request open."""

    def __init__(self, *script: Answer) -> None:
        self.script = list(script)
        self.asked: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.done = asyncio.Event()
        self.client = httpx2.AsyncClient(
            transport=httpx2.MockTransport(self._answer), base_url="http://api"
        )

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        if dict(request.url.params) == PROBE:
            now = self.script.pop(0) if self.script and isinstance(self.script[0], Now) else None
            version = now.version if isinstance(now, Now) else FAR_AHEAD
            return httpx2.Response(200, json={"metadata": {"resourceVersion": str(version)}})
        if not self.script:
            self.done.set()
            await asyncio.Event().wait()
        self.asked.append(dict(request.url.params))
        self.paths.append(request.url.path)
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Refusal):
            status = {
                "kind": "Status",
                "code": answer.code,
                "reason": answer.reason,
                "message": answer.message,
            }
            return httpx2.Response(answer.code, json=status, headers=answer.headers)
        if isinstance(answer, WatchAnswer):
            return httpx2.Response(200, stream=_Stream(answer, self.done))
        assert not isinstance(answer, Now), f"{request.url} is not the question for it"
        metadata = {"resourceVersion": str(answer.version), "continue": answer.token}
        return httpx2.Response(200, json={"metadata": metadata, "items": list(answer.items)})


@dataclass
class Played:
    """What came of a script."""

    events: list[Event]
    batches: list[list[Event]]
    reports: list[tuple[bool, str]]
    pauses: list[float]
    asked: list[dict[str, str]]
    paths: list[str]
    reflector: Reflector


async def play(
    *script: Answer,
    resource: Resource = PODS,
    page_size: int = 500,
    resume_from: int | None = None,
    relist_every_s: float | None = None,
    ticks: Sequence[float] = (),
) -> Played:
    """Run a reflector against the script until it is at the end of it."""
    server = ScriptedServer(*script)
    batches: list[list[Event]] = []
    reports: list[tuple[bool, str]] = []
    pauses: list[float] = []
    clock = list(ticks)

    async def sink(events: Sequence[Event]) -> None:
        batches.append(list(events))

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    reflector = Reflector(
        server.client,
        resource,
        sink,
        page_size=page_size,
        resume_from=resume_from,
        relist_every_s=relist_every_s,
        report=lambda ok, reason: reports.append((ok, reason)),
        sleep=sleep,
        rng=lambda: 1.0,
        monotonic=lambda: clock.pop(0) if len(clock) > 1 else (clock or [0.0])[0],
    )
    running = asyncio.create_task(reflector.run())
    waiting = asyncio.create_task(server.done.wait())
    try:
        done, _ = await asyncio.wait(
            (running, waiting), timeout=5, return_when=asyncio.FIRST_COMPLETED
        )
        assert done, f"the script was not played to its end: {server.script}"
        if running in done:
            await running
    finally:
        running.cancel()
        waiting.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        await server.client.aclose()
    return Played(
        [event for batch in batches for event in batch],
        batches,
        reports,
        pauses,
        server.asked,
        server.paths,
        reflector,
    )
