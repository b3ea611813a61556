"""Open watch streams of the HTTP shell: wakes them on commits, ends them in time, drops them on order."""

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec

from deploy.local.kubernetes.errors import Json
from deploy.local.kubernetes.reads import Watch, WatchEvent
from deploy.local.kubernetes.store import Change, Store

Present = Callable[[WatchEvent], Json]


class Stream:
    """One open watch."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.wake = asyncio.Event()
        self.dropped = False


class Streams:
    """All open watches of a server."""

    def __init__(self, store: Store, bookmark_seconds: float) -> None:
        self._open: set[Stream] = set()
        self._bookmark_seconds = bookmark_seconds
        self._closed = False
        store.listen(self._notify)

    def _notify(self, change: Change) -> None:
        for stream in self._open:
            if stream.watch.resource == change.store:
                stream.wake.set()

    def count(self) -> int:
        """How many are open."""
        return len(self._open)

    def drop(self, resource: str | None = None) -> int:
        """Closes those of one resource (plural or plural.group), or all; returns how many."""
        chosen = [
            stream for stream in self._open
            if resource in (None, stream.watch.resource, stream.watch.request.type.plural)
        ]  # fmt: skip
        for stream in chosen:
            stream.dropped = True
            stream.wake.set()
        return len(chosen)

    def close(self) -> None:
        """Closes all of them and admits no more (shutdown)."""
        self._closed = True
        self.drop()

    async def lines(
        self, watch: Watch, timeout_seconds: float, present: Present
    ) -> AsyncIterator[bytes]:
        """The body of a watch response: one JSON document a line."""
        stream = Stream(watch)
        stream.dropped = self._closed
        self._open.add(stream)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        next_bookmark = loop.time() + self._bookmark_seconds
        try:
            while not stream.dropped:
                stream.wake.clear()
                events = watch.poll()
                now = loop.time()
                if watch.bookmarks and now >= min(next_bookmark, deadline) and not watch.ended:
                    events.append(watch.bookmark())
                    next_bookmark = now + self._bookmark_seconds
                if events:
                    yield b"".join(msgspec.json.encode(present(e)) + b"\n" for e in events)
                if watch.ended or now >= deadline:
                    return
                until = min(next_bookmark, deadline) if watch.bookmarks else deadline
                await _wait(stream.wake, until - loop.time())
        finally:
            self._open.discard(stream)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set or the time is over."""
    try:
        await asyncio.wait_for(event.wait(), max(seconds, 0))
    except TimeoutError:
        return
