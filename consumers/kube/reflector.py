"""Our informer: a list, then a watch that never loses its place without saying so.

Knows only {key: (uid, resourceVersion)}. What it sees goes to a sink, batch by batch; it reads
no further until the sink has returned, so a slow sink slows the watch instead of filling memory,
and its place moves only over what the sink has taken. Ordering is by resourceVersion, never by
time (design: ordering rule).
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import httpx2
import msgspec
import structlog
from lightkube.core.exceptions import ConfigError

from consumers.kube import wire
from consumers.kube.port import KubeError, KubeObject, NotFound, Throttled, Unreachable
from consumers.kube.resources import Resource

_log = structlog.get_logger(__name__)

#: A watch that is silent for longer is looked into: a real API server sends a bookmark a minute.
WATCH_SILENCE_S: Final = 90.0
WATCH_LENGTH_S: Final = 300
BACKOFF_BASE_S: Final = 0.2
BACKOFF_CAP_S: Final = 5.0
#: After this many failures in a row the place itself is doubted, and the whole list is taken again.
FAILURES_BEFORE_RELIST: Final = 5


class Known(NamedTuple):
    """What is remembered of one object."""

    uid: str
    resource_version: int


@dataclass(frozen=True, slots=True)
class Observed:
    """An object as it is at `resource_version`."""

    key: str
    object: KubeObject
    resource_version: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """An object that is gone.

    From a watch: its last state, and the version of the delete. `synthetic`: a relist did not
    have it any more; the object is then only its metadata, and the version is the list's.
    """

    key: str
    object: KubeObject
    resource_version: int
    synthetic: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """What the keys from `range_from` (inclusive) to `range_to` (exclusive; None: open) held.

    Pages of one list tile the whole key space. Objects in the range that are older than
    `resource_version` and not in `items` are gone.
    """

    range_from: str
    range_to: str | None
    items: tuple[tuple[str, Known], ...]
    resource_version: int


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Everything up to `resource_version` was handed over. `gap`: but not watched from the place
    before."""

    resource_version: int
    gap: bool = False


@dataclass(frozen=True, slots=True)
class Relisted:
    """A list begins, taken at `resource_version`; if that is below an earlier place, history was
    reset."""

    reason: str
    resource_version: int


Event = Observed | Deleted | Page | Bookmark | Relisted
Sink = Callable[[Sequence[Event]], Awaitable[None]]


class _ListMeta(msgspec.Struct):
    resource_version: str = msgspec.field(name="resourceVersion", default="0")
    continue_: str | None = msgspec.field(name="continue", default=None)


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[dict[str, Any]] | None = None


class _WatchLine(msgspec.Struct):
    type: str
    object: dict[str, Any]


class _PlaceLostError(Exception):
    """The API server no longer has the history after our place (410), or never had it."""


class Reflector:
    """Follows one resource until cancelled.

    `report(ok, reason)` is told whenever it follows or does not, and why. `resume_from` is a
    place known from an earlier run: the watch starts there (after the list), so that nothing
    between the runs is lost. `relist_every_s` repeats the list without losing the place.
    `before_list` is awaited before each list is asked for. Randomness, sleep and the monotonic
    clock are injected; `rng` returns [0, 1).
    """

    def __init__(
        self,
        client: httpx2.AsyncClient,
        resource: Resource,
        sink: Sink,
        *,
        page_size: int = 500,
        resume_from: int | None = None,
        relist_every_s: float | None = None,
        before_list: Callable[[], Awaitable[None]] | None = None,
        report: Callable[[bool, str], None] = lambda _ok, _reason: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.resource = resource
        self.known: dict[str, Known] = {}
        self.place: int | None = resume_from
        self._client = client
        self._sink = sink
        self._page_size = page_size
        self._relist_every_s = relist_every_s
        self._before_list = before_list
        self._report = report
        self._sleep = sleep
        self._rng = rng
        self._monotonic = monotonic
        self._failures = 0
        self._listed_at: float | None = None
        self._unwatched_list: int | None = None
        self._in_doubt = False

    async def run(self) -> None:
        """List, watch, and begin again as needed, until cancelled. What the sink raises ends it."""
        reason: str | None = "start"
        while True:
            try:
                if reason is not None:
                    await self._list(reason)
                    reason = None
                await self._watch()
                if self._list_due():
                    reason = "resync"
            except _PlaceLostError as gone:
                reason = await self._after_gone(str(gone))
            except KubeError as failure:
                await self._back_off(failure)
                if isinstance(failure, Unreachable) and self._doubtful():
                    reason = reason or f"the watch failed {self._failures} times"

    # --- list -------------------------------------------------------------------------------------

    async def _list(self, reason: str) -> None:
        """Hand over every object page by page, then the markers of the whole, then what has
        gone."""
        self._unwatched_list = None
        if self._before_list is not None:
            await self._before_list()
        listing = await self._list_page(None, self._page_size)
        version = _version(listing.metadata.resource_version)
        _log.info("listing", resource=self.resource.rbac, reason=reason, version=version)
        await self._sink([Relisted(reason, version)])
        found: dict[str, Known] = {}
        while True:
            batch = [self._observed("list", obj) for obj in listing.items or ()]
            for seen in batch:
                found[seen.key] = Known(_uid(seen.object), seen.resource_version)
            if batch:
                await self._sink(batch)
            if not listing.metadata.continue_:
                break
            listing = await self._list_page(listing.metadata.continue_, self._page_size)
        missing = {key: known for key, known in self.known.items() if key not in found}
        self.known = found
        self._listed_at = self._monotonic()
        resumes = self.place is not None and self.place <= version
        mark = version if self.place is None else min(self.place, version)
        # The markers carry the place the watch goes on from: what happened between it and the
        # list will still be watched, and must not look stale beside a marker that is newer.
        await self._mark(mark)
        if missing:
            await self._sink([_vanished(key, known, version) for key, known in missing.items()])
        await self._sink([Bookmark(mark, gap=not resumes)])
        self.place = mark
        self._in_doubt = False
        self._unwatched_list = None if mark == version else version

    async def _list_page(self, token: str | None, limit: int) -> _List:
        path, parameters = self.resource.collection()
        parameters["limit"] = str(limit)
        if token:
            parameters["continue"] = token
        target = self.resource.rbac
        try:
            request = self._client.build_request("GET", path, params=parameters)
            response = await wire.send(self._client, request)
        except (httpx2.HTTPError, ConfigError) as failure:
            raise wire.unreachable("list", target, failure) from failure
        if not response.is_success:
            raise self._with_next_step(wire.refused_response("list", target, response))
        try:
            page = msgspec.json.decode(response.content, type=_List)
            _version(page.metadata.resource_version)
        except (msgspec.MsgspecError, ValueError, RecursionError) as unreadable:
            raise wire.unreachable("list", target, unreadable) from unreadable
        return page

    def _with_next_step(self, failure: KubeError) -> KubeError:
        if not isinstance(failure, NotFound) or not self.resource.group:
            return failure
        return NotFound(
            "list",
            self.resource.rbac,
            code=404,
            reason=failure.reason,
            message="the resource is not installed: apply deploy/crds; until then this is retried",
        )

    async def _mark(self, version: int) -> None:
        for page in pages(self.known, self._page_size, version):
            await self._sink([page])

    def _list_due(self) -> bool:
        if self._relist_every_s is None or self._listed_at is None:
            return False
        return self._monotonic() - self._listed_at >= self._relist_every_s

    async def _after_gone(self, why: str) -> str | None:
        """The reason to list again; None if the list just taken will do.

        A place from an earlier run that is too old is no reason: the list just taken holds, only
        with a gap.
        """
        if self._unwatched_list is None:
            self._failures += 1
            if self._failures > 1:
                await self._pause()
            self.place = None
            return why
        version, self._unwatched_list = self._unwatched_list, None
        await self._mark(version)
        await self._sink([Bookmark(version, gap=True)])
        self.place = version
        return None

    # --- watch ------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """One watch from our place until the server ends it. Raises _PlaceLostError or
        KubeError."""
        assert self.place is not None, "the list sets the place"
        if self._in_doubt:
            await self._prove_place(self.place)
        path, parameters = self.resource.collection()
        parameters |= {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": str(self.place),
            "timeoutSeconds": str(int(WATCH_LENGTH_S * (0.8 + 0.4 * self._rng()))),
        }
        request = self._client.build_request(
            "GET",
            path,
            params=parameters,
            headers={"Accept-Encoding": "identity"},
            timeout=httpx2.Timeout(10.0, read=WATCH_SILENCE_S),
        )
        opened_at = self._monotonic()
        before = self.place
        try:
            response = await wire.send(self._client, request, stream=True)
            try:
                await self._refuse_unless_ok(response)
                self._report(True, "")
                await self._follow(response)
            finally:
                await response.aclose()
        except httpx2.ReadTimeout:
            _log.info("watch silent, opened again", resource=self.resource.rbac, place=self.place)
            self._in_doubt = True
        except (httpx2.HTTPError, ConfigError) as failure:
            raise wire.unreachable("watch", self.resource.rbac, failure) from failure
        if self.place != before:
            return
        if self._monotonic() - opened_at >= 1.0:
            self._failures = 0
        else:
            # Ended at once with nothing in it: not a failure, but not to be repeated at full
            # speed either.
            await self._pause()

    async def _prove_place(self, place: int) -> None:
        """Ask where history is, after an outage or a silence. Raises _PlaceLostError or KubeError.

        A restored API server accepts a watch from a place that it has not reached yet, and is then
        silent until it gets there: no error, not even a bookmark (seen on kube-apiserver 1.36).
        """
        page = await self._list_page(None, 1)
        version = _version(page.metadata.resource_version)
        if version < place:
            raise _PlaceLostError(f"the API server is at {version}, our place is {place}")
        self._in_doubt = False

    async def _refuse_unless_ok(self, response: httpx2.Response) -> None:
        if response.is_success:
            return
        await response.aread()
        failure = wire.refused_response("watch", self.resource.rbac, response)
        if _place_is_lost(failure):
            raise _PlaceLostError(failure.message)
        raise failure

    async def _follow(self, response: httpx2.Response) -> None:
        """Hand over what the stream brings; one batch is whatever arrived together."""
        rest = b""
        async for chunk in response.aiter_bytes():
            *lines, rest = (rest + chunk).split(b"\n")
            if lines:
                await self._take([line for line in lines if line.strip()])
        if rest.strip():
            await self._take([rest])

    async def _take(self, lines: Iterable[bytes]) -> None:
        batch: list[Event] = []
        broken: Exception | None = None
        for line in lines:
            try:
                batch.append(self._event(line))
            except (_PlaceLostError, KubeError) as failure:
                broken = failure  # what came before it counts
                break
        if batch:
            await self._sink(batch)
            self.place = batch[-1].resource_version
            self._remember(batch)
            self._failures = 0
            if self._unwatched_list is not None and self.place >= self._unwatched_list:
                self._unwatched_list = None
        if broken is not None:
            raise broken

    def _event(self, line: bytes) -> Observed | Deleted | Bookmark:
        try:
            parsed = msgspec.json.decode(line, type=_WatchLine)
        except (msgspec.MsgspecError, ValueError, RecursionError) as unreadable:
            raise wire.unreachable("watch", self.resource.rbac, unreadable) from unreadable
        if parsed.type == "ERROR":
            status = msgspec.convert(parsed.object, wire.Status)
            code = status.code or 500
            failure = wire.from_status("watch", self.resource.rbac, status, code)
            if _place_is_lost(failure):
                raise _PlaceLostError(failure.message)
            raise failure
        observed = self._observed("watch", parsed.object)
        if parsed.type == "BOOKMARK":
            return Bookmark(observed.resource_version)
        known = self.known.get(observed.key)
        if known is not None and observed.resource_version <= known.resource_version:
            return Bookmark(
                observed.resource_version
            )  # already in the list, in this version or newer
        if parsed.type == "DELETED":
            return Deleted(observed.key, observed.object, observed.resource_version)
        return observed

    def _observed(self, verb: str, obj: KubeObject) -> Observed:
        try:
            metadata = obj["metadata"]
            namespace, name = metadata.get("namespace", ""), metadata.get("name", "")
            key = f"{namespace}/{name}" if namespace else name
            return Observed(key, obj, _version(metadata["resourceVersion"]))
        except (KeyError, ValueError, TypeError, AttributeError) as malformed:
            cause = ValueError(f"an object without usable metadata: {malformed!r}")
            raise wire.unreachable(verb, self.resource.rbac, cause) from malformed

    def _remember(self, batch: Iterable[Event]) -> None:
        for event in batch:
            if isinstance(event, Observed):
                self.known[event.key] = Known(_uid(event.object), event.resource_version)
            elif isinstance(event, Deleted):
                self.known.pop(event.key, None)

    # --- failure ----------------------------------------------------------------------------------

    async def _back_off(self, failure: KubeError) -> None:
        self._failures += 1
        self._in_doubt = self._in_doubt or isinstance(failure, Unreachable)
        self._report(False, str(failure))
        _log.warning(
            "not following",
            resource=self.resource.rbac,
            cause=str(failure),
            failures=self._failures,
        )
        await self._pause(failure.retry_after if isinstance(failure, Throttled) else 0.0)

    def _doubtful(self) -> bool:
        return self._failures % FAILURES_BEFORE_RELIST == 0

    async def _pause(self, at_least: float = 0.0) -> None:
        longest = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** min(self._failures, 10))
        await self._sleep(max(at_least, longest * (0.5 + self._rng() / 2)))


def pages(known: dict[str, Known], size: int, version: int) -> Iterator[Page]:
    """Pages of at most `size` items that tile all keys, in byte order; one empty page if nothing
    is known.

    Made from the whole list, not from the server's pages, whose order is nowhere promised.
    """
    keys = sorted(known)
    starts = range(0, max(len(keys), 1), size)
    for start in starts:
        chunk = keys[start : start + size]
        end = keys[start + size] if start + size < len(keys) else None
        items = tuple((key, known[key]) for key in chunk)
        yield Page(keys[start] if start else "", end, items, version)


def _place_is_lost(failure: KubeError) -> bool:
    """410, or a place the server has not reached: the history was reset below it."""
    return failure.code == 410 or "too large resource version" in failure.message.lower()


def _vanished(key: str, known: Known, version: int) -> Deleted:
    namespace, _, name = key.rpartition("/")
    metadata = {"name": name, "uid": known.uid, "resourceVersion": str(version)}
    if namespace:
        metadata["namespace"] = namespace
    return Deleted(key, {"metadata": metadata}, version, synthetic=True)


def _uid(obj: KubeObject) -> str:
    return str(obj["metadata"].get("uid", ""))


def _version(text: str) -> int:
    """A resourceVersion as the integer it orders by. Raises ValueError if it can't."""
    version = int(text)
    if version < 1:
        raise ValueError(f"resourceVersion {text!r} names no place in history")
    return version
