"""The web console's files: read once at start, served from memory, so that no request names a path."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

_TYPES: Mapping[str, str] = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file as it is sent."""

    body: bytes
    media_type: str
    etag: str


def read_page_files() -> dict[str, PageFile]:
    """URL path -> file; `/` is the page itself, the others are what it loads."""
    found: dict[str, PageFile] = {}
    for each in sorted(
        files("consumers.console").joinpath("static").iterdir(), key=lambda f: f.name
    ):
        media_type = _TYPES.get(each.name.rpartition(".")[2])
        if media_type is None:
            continue
        body = each.read_bytes()
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        path = "/" if each.name == "index.html" else f"/static/{each.name}"
        found[path] = PageFile(body, media_type, etag)
    return found


def page_routes(page: Mapping[str, PageFile]) -> list[BaseRoute]:
    """A route for each file."""
    return [Route(path, _serve(file), methods=["GET"]) for path, file in page.items()]


def _serve(file: PageFile) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        headers = {"ETag": file.etag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=headers)
        return Response(file.body, headers=headers, media_type=file.media_type)

    return serve
