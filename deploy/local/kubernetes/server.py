"""The HTTP shell around the core: authentication, content types, watch streams, webhooks.

One process, one event loop, no locks: the core's steps run on the loop and only webhooks and ordered delays
are awaited between them, so that every commit is atomic.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
import yaml
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from deploy.local.kubernetes import control, discovery, openapi, protobuf, tables
from deploy.local.kubernetes.core import Core
from deploy.local.kubernetes.errors import ApiError, Json, bad_request, unauthorized, unknown_path
from deploy.local.kubernetes.reads import WatchEvent
from deploy.local.kubernetes.requests import Answer, Delay, Reply, Request, Steps
from deploy.local.kubernetes.sources import timestamp
from deploy.local.kubernetes.streams import Streams
from deploy.local.kubernetes.webhook_client import WebhookClient

log = logging.getLogger(__name__)
R = TypeVar("R")
_DEFAULT_WATCH_SECONDS = 1800.0
_MAX_BODY = 3 * 1024 * 1024
_JSON = "application/json"


def _respond(body: Any, code: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body), code, headers, media_type=_JSON)


def _refuse(error: ApiError) -> Response:
    return _respond(error.body, error.code, error.headers)


class Presentation:
    """What a client accepts: plain objects, a Table, or metadata only."""

    def __init__(self, accept: str, core: Core, request: Request) -> None:
        self._core = core
        self._request = request
        self._headers = True
        self._form = ""
        for part in accept.split(","):
            fields = [field.strip() for field in part.split(";")]
            if fields[0] not in (_JSON, "*/*", "application/*"):
                continue
            forms = [field[3:] for field in fields if field.startswith("as=")]
            if not forms or forms[0] in (
                "Table",
                "PartialObjectMetadata",
                "PartialObjectMetadataList",
            ):
                self._form = forms[0] if forms else ""
                return
        if accept and "json" not in accept:
            message = f"only the following media types are accepted: {_JSON} (asked for {accept})"
            raise ApiError(406, "NotAcceptable", message)

    def body(self, body: Json) -> Json:
        """An object or list in the accepted form."""
        if body.get("kind") == "Status" or not self._form:
            return body
        listed = body.get("items")
        objects = listed if isinstance(listed, list) else [body]
        if self._form == "Table":
            metadata = body.get("metadata") or {}
            kept = ("resourceVersion", "continue", "remainingItemCount")
            return self._table(objects, {k: metadata[k] for k in kept if k in metadata})
        partial = [_partial(obj) for obj in objects]
        if not isinstance(listed, list):
            return partial[0]
        return {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": body["metadata"], "items": partial}  # fmt: skip

    def _table(self, objects: list[Json], metadata: Json) -> Json:
        include = self._request.options.get("includeObject") or "Metadata"
        made = tables.table(
            self._request.type, objects, metadata, self._core.sources.now(), include
        )
        if not self._headers:  # a watch names its columns once
            made["columnDefinitions"] = None
        self._headers = False
        return made

    def event(self, event: WatchEvent) -> Json:
        """A watch event in the accepted form."""
        if not self._form or event.type == "ERROR":
            return event.as_json()
        if self._form == "Table":
            version = {"resourceVersion": event.object["metadata"]["resourceVersion"]}
            objects = [] if event.type == "BOOKMARK" else [event.object]
            return {"type": event.type, "object": self._table(objects, version)}
        return {"type": event.type, "object": _partial(event.object)}


def _partial(obj: Json) -> Json:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": obj["metadata"]}  # fmt: skip


class Shell:
    """Serves one core over HTTP."""

    def __init__(self, core: Core, webhooks: WebhookClient, bookmark_seconds: float) -> None:
        self._core = core
        self._webhooks = webhooks
        self.streams = Streams(core.store, bookmark_seconds)

    async def drive(self, steps: Steps[R]) -> R:
        """Runs steps to their end, doing for real what they ask for."""
        reply: Reply = None
        while True:
            try:
                effect = steps.send(reply)
            except StopIteration as stop:
                result: R = stop.value
                return result
            if isinstance(effect, Delay):
                await asyncio.sleep(effect.seconds)
                reply = None
            else:
                reply = await self._webhooks.call(effect)

    async def handle(self, http: HttpRequest) -> Response:
        """Every path but the control side."""
        try:
            return await self._handle(http)
        except ApiError as error:
            return _refuse(error)
        except Exception as error:
            log.exception("%s %s failed inside the simulator", http.method, http.url.path)
            text = f"Internal error occurred in the simulated API server: {error!r}"
            return _refuse(ApiError(500, "InternalError", text))

    async def _handle(self, http: HttpRequest) -> Response:
        path = http.url.path
        if path in ("/healthz", "/livez", "/readyz") or path.startswith(("/livez/", "/readyz/")):
            return Response("ok", media_type="text/plain")
        user = self._authenticate(http)
        document = self._document(http, path.rstrip("/"))
        if document is not None:
            return document
        options = dict(http.query_params)
        asked = self._core.request(http.method, path, options)
        body, content_type = await self._body(http)
        agent = http.headers.get("user-agent", "")
        request = Request(
            asked.verb, asked.type, asked.namespace, asked.name, asked.subresource, options, body,
            content_type if asked.verb == "patch" else "", user, agent,
        )  # fmt: skip
        present = Presentation(http.headers.get("accept", ""), self._core, request)
        if request.verb == "watch":
            return await self._watch(request, present)
        answer = await self.drive(self._core.execute(request))
        return self._answer(answer, present)

    def _answer(self, answer: Answer, present: Presentation) -> Response:
        response = _respond(present.body(answer.body), answer.code)
        for text in answer.warnings:
            quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
            response.headers.append("Warning", f'299 - "{quoted}"')
        return response

    def _authenticate(self, http: HttpRequest) -> str:
        scheme, _, token = http.headers.get("authorization", "").partition(" ")
        user = self._core.options.tokens.get(token.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            raise unauthorized()
        return user

    async def _body(self, http: HttpRequest) -> tuple[Any, str]:
        content = await http.body()
        if len(content) > _MAX_BODY:
            text = f"Request entity too large: limit is {_MAX_BODY}"
            raise ApiError(413, "RequestEntityTooLarge", text)
        content_type = http.headers.get("content-type", _JSON).split(";")[0].strip()
        if not content:
            return None, content_type
        if content_type == protobuf.MEDIA_TYPE:
            return protobuf.decode(content), content_type
        if "json" not in content_type and "yaml" not in content_type:
            raise ApiError(
                415, "UnsupportedMediaType",
                f"the body of the request was in an unknown format ({content_type}) - accepted media "
                "types include: application/json, application/yaml",
            )  # fmt: skip
        try:
            return msgspec.json.decode(content), content_type
        except msgspec.DecodeError as error:
            if "yaml" not in content_type:
                raise bad_request(f"the object provided is not JSON: {error}") from error
        try:
            return _json_only(yaml.safe_load(content)), content_type
        except yaml.YAMLError as error:
            raise bad_request(f"the object provided is not YAML: {error}") from error

    async def _watch(self, request: Request, present: Presentation) -> Response:
        watch = await self.drive(self._core.watch(request))
        seconds = float(request.number("timeoutSeconds") or _DEFAULT_WATCH_SECONDS)
        lines = self.streams.lines(watch, seconds, present.event)
        return StreamingResponse(lines, media_type=_JSON)

    def _document(self, http: HttpRequest, path: str) -> Response | None:
        """Discovery, version and OpenAPI; None where the path is none of them."""
        registry = self._core.registry
        parts = [part for part in path.split("/") if part]
        if path == "/version":
            return _respond(discovery.VERSION)
        if parts[:1] == ["openapi"]:
            body = openapi.document(registry, parts[1:])
            if body is None:
                raise unknown_path()
            return _respond(body)
        if path in ("/api", "/apis"):
            accept = http.headers.get("accept", "")
            if discovery.AGGREGATED in accept and "v=v2" in accept:
                kind = f"{_JSON};g={discovery.AGGREGATED};v=v2;as=APIGroupDiscoveryList"
                body = discovery.aggregated(registry, core=path == "/api")
                return Response(msgspec.json.encode(body), headers={"Content-Type": kind})
            address = http.headers.get("host", "")
            plain = (
                discovery.core_versions(address) if path == "/api" else discovery.groups(registry)
            )
            return _respond(plain)
        found: Json | None = None
        if parts[:1] == ["api"] and len(parts) == 2:
            found = discovery.resources(registry, "", parts[1])
        elif parts[:1] == ["apis"] and len(parts) == 2:
            found = discovery.group(registry, parts[1])
        elif parts[:1] == ["apis"] and len(parts) == 3:
            found = discovery.resources(registry, parts[1], parts[2])
        return _respond(found) if found is not None else None


def _json_only(value: Any) -> Any:
    """YAML as JSON: dates, which YAML reads out of unquoted text, become text again."""
    if isinstance(value, dict):
        return {str(key): _json_only(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_json_only(item) for item in value]
    return timestamp(value) if hasattr(value, "astimezone") else value


def application(
    core: Core, webhooks: WebhookClient, bookmark_seconds: float
) -> tuple[Starlette, Shell]:
    """The ASGI application of one server, and its shell (to close the streams at shutdown)."""
    shell = Shell(core, webhooks, bookmark_seconds)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await webhooks.close()

    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    routes = [
        *control.routes(core, shell.streams),
        Route("/{path:path}", shell.handle, methods=methods),
    ]
    return Starlette(routes=routes, lifespan=lifespan), shell
