"""Whole lists, however long: sent a thousand rows at a time from a cursor of the server, never held."""

import csv
import io
import json
import threading
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from typing import Annotated, Any, Final, Literal

import anyio
import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from consumers.console.desk import Desk, span
from consumers.console.problems import Problem
from consumers.console.routes import From, To
from ledger.audit import pages
from ledger.audit.pages import ROWS_AT_ONCE, Listing, stream

What = Literal["tenures", "entries", "calls", "allocations"]
Format = Literal["ndjson", "csv"]
Row = Mapping[str, Any]

_LISTINGS: Final[Mapping[What, Listing]] = {
    "tenures": pages.TENURES,
    "entries": pages.ENTRIES,
    "calls": pages.CALLS,
    "allocations": pages.ALLOCATIONS,
}
_MEDIA_TYPES: Final[Mapping[Format, str]] = {
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
}
#: A cell that starts with one of these is a formula to a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def export_routes(desk: Desk) -> APIRouter:
    """The one route. Half of the connections at most are given to exports: questions come first."""
    routes = APIRouter(tags=["exports"])
    places = threading.BoundedSemaphore(max(1, desk.settings.postgres.pool_size // 2))

    @routes.get(
        "/exports/{what}",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "one object a line, or CSV with a header line",
                "content": {
                    media.partition(";")[0]: {"schema": {"type": "string"}}
                    for media in _MEDIA_TYPES.values()
                },
            }
        },
    )
    def export(
        what: What,
        form: Annotated[Format, Query(alias="format")] = "ndjson",
        start: From = None,
        to: To = None,
    ) -> StreamingResponse:
        """Everything of one kind. An answer that breaks off was not complete: its last chunk is missing.

        `from` and `to` narrow entries and calls by their time and tenures to those that touch the span.
        """
        begin, end = span(start, to)
        listing = _LISTINGS[what]
        given = {"start": begin, "end": end}
        if not listing.filters.keys() >= {n for n, value in given.items() if value is not None}:
            raise Problem(
                422, f"{what} are exported as they stand: leave out from and to", parameter="from"
            )
        rows = _rows(desk, listing, given, places)
        encoded = _ndjson(rows) if form == "ndjson" else _csv(rows)
        name = f'attachment; filename="{what}.{form}"'
        return _Export(
            _begun(encoded), media_type=_MEDIA_TYPES[form], headers={"Content-Disposition": name}
        )

    return routes


class _Export(StreamingResponse):
    """Ends the transaction behind it whatever becomes of the reader."""

    def __init__(self, chunks: Generator[bytes, None, None], **more: Any) -> None:
        super().__init__(_sent(chunks), **more)
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(self._chunks.close)


async def _sent(chunks: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
    while (chunk := await run_in_threadpool(next, chunks, None)) is not None:
        yield chunk


def _begun(chunks: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
    """The same chunks, the first one made now: what fails at once is still told as a problem."""
    first = next(chunks, b"")

    def whole() -> Generator[bytes, None, None]:
        try:
            yield first
            yield from chunks
        finally:
            chunks.close()

    return whole()


@contextmanager
def _place(places: threading.BoundedSemaphore) -> Iterator[None]:
    if not places.acquire(blocking=False):
        raise Problem(503, "too many exports are under way", headers={"Retry-After": "30"})
    try:
        yield
    finally:
        places.release()


def _rows(
    desk: Desk,
    listing: Listing,
    filters: Mapping[str, Any],
    places: threading.BoundedSemaphore,
) -> Generator[Row, None, None]:
    with _place(places), desk.looking() as connection:
        yield from stream(connection, listing, desk.cluster, filters)


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    whole = iter(rows)
    while batch := list(islice(whole, ROWS_AT_ONCE)):
        yield batch


def _ndjson(rows: Generator[Row, None, None]) -> Generator[bytes, None, None]:
    try:
        for batch in _batches(rows):
            yield msgspec.json.Encoder().encode_lines(batch)
    finally:
        rows.close()


def _csv(rows: Generator[Row, None, None]) -> Generator[bytes, None, None]:
    try:
        first = next(rows, None)
        if first is None:
            return
        for number, batch in enumerate(_batches(chain([first], rows))):
            text = io.StringIO()
            writer = csv.writer(text)
            if number == 0:
                writer.writerow(first)
            writer.writerows([_cell(value) for value in row.values()] for row in batch)
            yield text.getvalue().encode()
    finally:
        rows.close()


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
