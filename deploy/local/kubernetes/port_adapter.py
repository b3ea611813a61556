"""The simulated API server in the same process, without sockets: for the deterministic simulator and tests.

Two doors: `InProcess`, plain synchronous calls by method and path; and `CoreTransport`, which lets any httpx2
client, so also the project's own Kubernetes adapter, speak to the core as if over HTTP.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import httpx2
import msgspec

from deploy.local.kubernetes.core import Core, WebhookHandler, finish, no_webhooks
from deploy.local.kubernetes.errors import ApiError, Json, bad_request
from deploy.local.kubernetes.reads import Watch
from deploy.local.kubernetes.requests import (
    APPLY_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    Answer,
    Request,
)

Wait = Callable[[float], None]


def _no_wait(_seconds: float) -> None:
    """Ordered delays pass at once unless the caller has a clock to advance."""


class InProcess:
    """Synchronous calls on a core. Every method raises ApiError for a refusal.

    `webhooks` answers admission calls, `wait` advances the caller's clock for ordered delays.
    """

    def __init__(
        self, core: Core, webhooks: WebhookHandler = no_webhooks, wait: Wait = _no_wait
    ) -> None:
        self.core = core
        self._webhooks = webhooks
        self._wait = wait

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        options: Mapping[str, str] | None = None,
        patch_type: str = "",
        user: str = "admin",
    ) -> Answer:
        """One request as HTTP would carry it; `path` as in `/api/v1/nodes/a`. No watches."""
        asked = self.core.request(method, path, options or {})
        if asked.verb == "watch":
            raise bad_request("a watch is opened with watch_since")
        agent = f"{user}/in-process"
        request = replace(asked, body=body, patch_type=patch_type, user=user, agent=agent)
        answer = finish(self.core.execute(request), self._webhooks, self._wait)
        own = msgspec.json.decode(msgspec.json.encode(answer.body))  # the store's must not change
        return replace(answer, body=own)

    def get(self, path: str, options: Mapping[str, str] | None = None) -> Json:
        """The object at a path."""
        return self.call("GET", path, options=options).body

    def list(self, path: str, options: Mapping[str, str] | None = None) -> Json:
        """The list at a path, with its metadata."""
        return self.call("GET", path, options=options).body

    def create(self, path: str, body: Json, options: Mapping[str, str] | None = None) -> Json:
        """POST to a collection."""
        return self.call("POST", path, body, options).body

    def update(self, path: str, body: Json, options: Mapping[str, str] | None = None) -> Json:
        """PUT of an object or, with `/status`, its status."""
        return self.call("PUT", path, body, options).body

    def patch(self, path: str, body: Any, patch_type: str = MERGE_PATCH) -> Json:
        """PATCH in the given format."""
        return self.call("PATCH", path, body, patch_type=patch_type).body

    def strategic(self, path: str, body: Json) -> Json:
        """PATCH by strategic merge (built-in kinds)."""
        return self.patch(path, body, STRATEGIC_PATCH)

    def apply(self, path: str, body: Json, manager: str, force: bool = False) -> Json:
        """Server-side apply."""
        options = {"fieldManager": manager, "force": "true" if force else "false"}
        return self.call("PATCH", path, body, options, APPLY_PATCH).body

    def delete(self, path: str, body: Json | None = None) -> Json:
        """DELETE; `body` is a DeleteOptions."""
        return self.call("DELETE", path, body).body

    def watch_since(self, path: str, options: Mapping[str, str] | None = None) -> Watch:
        """A watch on a collection; call its `poll` whenever something may have happened.

        The objects of its events are the store's own: read them, do not change them.
        """
        chosen = {**(options or {}), "watch": "true"}
        request: Request = self.core.request("GET", path, chosen)
        return finish(self.core.watch(request), self._webhooks, self._wait)


class CoreTransport(httpx2.BaseTransport):
    """Serves an httpx2 client from a core: `httpx2.Client(transport=CoreTransport(...), base_url=…)`.

    Watches are refused: a simulator polls `InProcess.watch_since` instead.
    """

    def __init__(self, api: InProcess) -> None:
        self._api = api

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """One request to its answer, errors as Status bodies."""
        content = request.read()
        content_type = request.headers.get("content-type", "").split(";")[0]
        headers: dict[str, str] = {}
        try:
            body = msgspec.json.decode(content) if content else None
            answer = self._api.call(
                request.method,
                request.url.path,
                body,
                dict(request.url.params),
                content_type if request.method == "PATCH" else "",
            )
            code, document = answer.code, answer.body
        except msgspec.DecodeError as error:
            refused = bad_request(f"the object provided is not JSON: {error}")
            code, document = refused.code, refused.body
        except ApiError as error:
            code, document, headers = error.code, error.body, error.headers
        return httpx2.Response(
            code,
            headers={**headers, "Content-Type": "application/json"},
            content=msgspec.json.encode(document),
        )
