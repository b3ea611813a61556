"""The simulated API server without any I/O: give it a request, drive the steps, get the answer.

The HTTP shell (`server`) drives the steps with real webhooks and real waiting; `port_adapter` drives them in
the same process for a deterministic simulator. Nothing here waits, reads a clock or rolls dice by itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from deploy.local.kubernetes.catalog import ResourceType
from deploy.local.kubernetes.errors import ApiError, Json
from deploy.local.kubernetes.faults import Faults, Outcome
from deploy.local.kubernetes.reads import Reads, Watch
from deploy.local.kubernetes.registry import Registry
from deploy.local.kubernetes.requests import (
    Answer,
    Delay,
    Effect,
    Reply,
    Request,
    Steps,
    WebhookCall,
    WebhookFailure,
    resolve,
)
from deploy.local.kubernetes.sources import Sources
from deploy.local.kubernetes.store import Change, Store
from deploy.local.kubernetes.subresources import Subresources
from deploy.local.kubernetes.writes import Writes

DEFAULT_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


@dataclass(frozen=True)
class Options:
    """How a server is set up. `history` counts changes kept for watches, over all resources."""

    history: int = 20_000
    watch_list: bool = True
    tokens: Mapping[str, str] = field(default_factory=dict)
    """Bearer token to user name."""


class Core:
    """One API server: its objects, its rules, its faults."""

    def __init__(
        self, sources: Sources, options: Options | None = None, journal: list[Change] | None = None
    ) -> None:
        self.options = options or Options()
        self.sources = sources
        self.store = Store(self.options.history)
        for change in journal or []:
            self.store.restore(change)
        self.registry = Registry(self.store)
        self.faults = Faults()
        self._reads = Reads(self.store, self.options.watch_list)
        self._writes = Writes(self.store, self.registry, sources)
        self._subresources = Subresources(self.store, self._writes, sources, self.options.tokens)

    def create_default_namespaces(self) -> None:
        """What a fresh cluster has; existing ones are left alone."""
        for name in DEFAULT_NAMESPACES:
            if self.store.get("namespaces", "", name) is None:
                body = {"metadata": {"name": name}}
                finish(
                    self.execute(Request("create", self.type("", "v1", "namespaces"), body=body))
                )

    def type(self, group: str, version: str, plural: str) -> ResourceType:
        """A served resource; LookupError names what is missing."""
        found = self.registry.find(group, version, plural)
        if found is None:
            raise LookupError(
                f"{plural} of {group or 'core'}/{version} is not served: apply its CRD"
            )
        return found

    def request(self, method: str, path: str, options: Mapping[str, str]) -> Request:
        """What a method and a path ask for; raises ApiError 404 or 405."""
        return resolve(self.registry, method, path, options)[0]

    def execute(self, request: Request) -> Steps[Answer]:
        """Serves anything but a watch. Raises ApiError for every refusal."""
        outcome = self.faults.take(request)
        if outcome.delay_seconds:
            yield Delay(outcome.delay_seconds)
        if outcome.error is not None and not outcome.after_effect:
            raise outcome.error
        answer = yield from self._serve(request, outcome)
        if outcome.error is not None:
            raise outcome.error
        return answer

    def watch(self, request: Request) -> Steps[Watch]:
        """Opens a watch; poll the result after commits of its `resource`."""
        outcome = self.faults.take(request)
        if outcome.delay_seconds:
            yield Delay(outcome.delay_seconds)
        if outcome.error is not None and outcome.error.code != 410:
            raise outcome.error
        opened = self._reads.watch(request)
        if outcome.error is not None:
            opened.fail(outcome.error)  # real servers tell an expired watch inside the stream
        return opened

    def _serve(self, request: Request, outcome: Outcome) -> Steps[Answer]:
        if request.type.verbs == ("create",):
            return self._subresources.review(request)
        if request.subresource not in ("", "status"):
            return (yield from self._subresources.serve(request))
        stale = None
        if outcome.stale_by is not None:
            stale = max(self.store.revision - outcome.stale_by, self.store.compacted)
        match request.verb:
            case "get":
                return self._reads.get(request, stale)
            case "list":
                return self._reads.list(request, stale)
            case "create":
                return (yield from self._writes.create(request))
            case "update":
                return (yield from self._writes.update(request))
            case "patch":
                return (yield from self._writes.patch(request))
            case "delete":
                return (yield from self._writes.delete(request))
        return (yield from self._delete_collection(request))

    def _delete_collection(self, request: Request) -> Steps[Answer]:
        listing = self._reads.list(replace(request, verb="list"))
        for obj in listing.body["items"]:
            metadata = obj["metadata"]
            one = replace(
                request,
                verb="delete",
                name=metadata["name"],
                namespace=metadata.get("namespace", ""),
            )
            try:
                yield from self._writes.delete(one)
            except ApiError as error:
                if error.code != 404:
                    raise
        return listing


R = TypeVar("R")
WebhookHandler = Callable[[WebhookCall], Json | WebhookFailure]


def no_webhooks(call: WebhookCall) -> WebhookFailure:
    """The answer where nothing can be called: as if the connection was refused."""
    return WebhookFailure(f"no way to reach webhook {call.name} from here")


def finish(
    steps: Steps[R],
    webhooks: WebhookHandler = no_webhooks,
    wait: Callable[[float], None] = lambda _seconds: None,
) -> R:
    """Drives steps to their end in this thread: the synchronous counterpart of the HTTP shell."""
    reply: Reply = None
    while True:
        try:
            effect: Effect = steps.send(reply)
        except StopIteration as stop:
            result: R = stop.value
            return result
        if isinstance(effect, Delay):
            wait(effect.seconds)
            reply = None
        else:
            reply = webhooks(effect)
