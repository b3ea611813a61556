"""Get, list and watch: what a reader is shown, page by page and change by change.

Semantics of resourceVersion, resourceVersionMatch, limit and continue: "Kubernetes API Concepts".
"""

import base64
import binascii
from dataclasses import dataclass

import msgspec

from deploy.local.kubernetes import event_versions
from deploy.local.kubernetes.catalog import ResourceType
from deploy.local.kubernetes.errors import (
    ApiError,
    Json,
    bad_request,
    cause,
    expired,
    invalid,
    not_found,
    too_large_resource_version,
)
from deploy.local.kubernetes.requests import Answer, Request
from deploy.local.kubernetes.selectors import FieldSelector, LabelSelector, Predicate, predicate
from deploy.local.kubernetes.store import Change, Name, Store

INITIAL_EVENTS_END = "k8s.io/initial-events-end"


def exposed(obj: Json, found: ResourceType) -> Json:
    """A stored object as this resource's version shows it."""
    if obj.get("apiVersion") == found.api_version:
        return obj
    if found.group == "events.k8s.io":
        return event_versions.from_core(obj)
    if found.store == "events":
        return event_versions.to_core(obj)
    return {**obj, "apiVersion": found.api_version}


def _selection(request: Request) -> Predicate:
    labels = LabelSelector.parse(request.options.get("labelSelector"))
    fields = FieldSelector.parse(request.options.get("fieldSelector"), request.type.fields)
    chosen = predicate(labels, fields)
    return lambda obj: chosen(exposed(obj, request.type))


def parse_version(text: str | None) -> int | None:
    """A resourceVersion of a query: None where absent, 400 when it is no number."""
    if text is None or text == "":
        return None
    if not text.isdigit():
        raise bad_request(f"Invalid value: {text!r}: resourceVersion must be an unsigned integer")
    return int(text)


@dataclass(frozen=True)
class _Page:
    """Where a list stands: its revision, and the last name already given out."""

    revision: int
    after: Name

    def token(self) -> str:
        body = {"v": "meta.k8s.io/v1", "rv": self.revision, "start": list(self.after)}
        return base64.urlsafe_b64encode(msgspec.json.encode(body)).decode().rstrip("=")

    @classmethod
    def parse(cls, token: str) -> "_Page":
        try:
            body = msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            namespace, name = body["start"]
            return cls(int(body["rv"]), (str(namespace), str(name)))
        except (binascii.Error, msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            raise bad_request(f"continue key is not valid: {error}") from error


class Reads:
    """The reading half of the API. `stale` revisions come from the fault side."""

    def __init__(self, store: Store, watch_list: bool = True) -> None:
        self._store = store
        self._watch_list = watch_list

    def get(self, request: Request, stale: int | None = None) -> Answer:
        """One object; 404."""
        found = request.type
        self._not_in_future(parse_version(request.options.get("resourceVersion")))
        if stale is not None:
            obj = self._store.get_at(found.store, request.namespace, request.name, stale)
        else:
            obj = self._store.get(found.store, request.namespace, request.name)
        if obj is None:
            raise not_found(found.group, found.plural, request.name)
        return Answer(exposed(obj, found))

    def _not_in_future(self, revision: int | None) -> None:
        if revision is not None and revision > self._store.revision:
            raise too_large_resource_version(revision, self._store.revision)

    def list(self, request: Request, stale: int | None = None) -> Answer:
        """A list, or one page of it, consistent at the resourceVersion it names."""
        found, chosen = request.type, _selection(request)
        page, revision = self._list_position(request)
        if page is None and stale is not None and "resourceVersionMatch" not in request.options:
            revision = min(stale, revision)
        objects = self._store.select_at(found.store, revision, request.namespace or None)
        if page is not None:
            objects = [o for o in objects if _name(o) > page.after]
        matching = [o for o in objects if chosen(o)]
        limit = request.number("limit") or 0
        listed = matching[:limit] if limit else matching
        meta: Json = {"resourceVersion": str(revision)}
        if len(listed) < len(matching):
            meta["continue"] = _Page(revision, _name(listed[-1])).token()
            if not request.options.get("labelSelector") and not request.options.get(
                "fieldSelector"
            ):
                meta["remainingItemCount"] = len(matching) - len(listed)
        body = {
            "kind": found.list_kind,
            "apiVersion": found.api_version,
            "metadata": meta,
            "items": [exposed(o, found) for o in listed],
        }
        return Answer(body)

    def _list_position(self, request: Request) -> tuple[_Page | None, int]:
        """The page to go on from, and the revision to list at."""
        match = request.options.get("resourceVersionMatch") or ""
        version = parse_version(request.options.get("resourceVersion"))
        token = request.options.get("continue")
        if match not in ("", "Exact", "NotOlderThan"):
            raise _bad_match(
                f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan"'
            )
        if match and version is None:
            raise _bad_match(
                "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
            )
        if token:
            if match or version:
                raise bad_request("specifying resource version is not allowed when using continue")
            page = _Page.parse(token)
            if page.revision < self._store.compacted:
                raise self._expired_continue(page)
            return page, page.revision
        self._not_in_future(version)
        if match == "Exact":
            if not version:
                raise _bad_match('Forbidden: "Exact" is forbidden for resourceVersion "0"')
            if version < self._store.compacted:
                raise expired(f"The resourceVersion for the provided list is too old: {version}")
            return None, version
        return None, self._store.revision

    def _expired_continue(self, page: _Page) -> ApiError:
        """410 with a token for an inconsistent continuation, as etcd-backed servers give."""
        error = expired(
            "The provided continue parameter is too old to display a consistent list result. You can "
            "start a new list without the continue parameter, or use the continue token in this "
            "response to retrieve the remainder of the results. Continuing with the provided token "
            "results in an inconsistent list - objects that were created, modified, or deleted "
            "between the time the first chunk was returned and now may show up in the list."
        )
        error.body["metadata"] = {"continue": _Page(self._store.revision, page.after).token()}
        return error

    def watch(self, request: Request) -> "Watch":
        """Opens a watch; 422 for bad options. A compacted start shows as ERROR at the first poll."""
        chosen = _selection(request)
        version = parse_version(request.options.get("resourceVersion"))
        bookmarks = request.flag("allowWatchBookmarks")
        streaming = "sendInitialEvents" in request.options and request.flag("sendInitialEvents")
        if "sendInitialEvents" in request.options:
            self._check_watch_list(request, streaming, bookmarks)
        start, initial, bookmark_end = version, False, False
        if streaming or (not version and "sendInitialEvents" not in request.options):
            start, initial, bookmark_end = self._store.revision, True, streaming
        if streaming:
            self._not_in_future(version)
        start = start or self._store.revision
        plan = WatchPlan(start, initial, bookmark_end, bookmarks)
        return Watch(self._store, request, chosen, plan)

    def _check_watch_list(self, request: Request, streaming: bool, bookmarks: bool) -> None:
        def refuse(text: str) -> ApiError:
            line = cause("FieldValueForbidden", "sendInitialEvents", f"Forbidden: {text}")
            return invalid("meta.k8s.io", "ListOptions", "", [line])

        if not self._watch_list:
            raise refuse(
                "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
            )
        if request.options.get("resourceVersionMatch") != "NotOlderThan":
            raise refuse("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        if streaming and not bookmarks:
            raise refuse("sendInitialEvents requires allowWatchBookmarks to be set")


def _bad_match(text: str) -> ApiError:
    line = cause("FieldValueInvalid", "resourceVersionMatch", text)
    return invalid("meta.k8s.io", "ListOptions", "", [line])


def _name(obj: Json) -> Name:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


@dataclass(frozen=True)
class WatchEvent:
    """One line of a watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""

    type: str
    object: Json

    def as_json(self) -> Json:
        """As it goes over the wire."""
        return {"type": self.type, "object": self.object}


@dataclass(frozen=True)
class WatchPlan:
    """How a watch begins: after which revision, with the current objects first, with bookmarks."""

    start: int
    initial: bool
    bookmark_end: bool
    bookmarks: bool


class Watch:
    """A position in the history of one resource; `poll` gives what happened since. No I/O."""

    def __init__(self, store: Store, request: Request, chosen: Predicate, plan: WatchPlan) -> None:
        self.request = request
        self.bookmarks = plan.bookmarks
        self.ended = False
        self._store = store
        self._chosen = chosen
        self._cursor = plan.start
        self._initial = plan.initial
        self._bookmark_end = plan.bookmark_end
        self._failure: ApiError | None = None
        try:
            store.require(plan.start)  # later on only what was really missed counts
        except ApiError as error:
            self.fail(error)

    def fail(self, error: ApiError) -> None:
        """Makes the next poll end the watch with this error (a fault)."""
        self._failure = error

    @property
    def resource(self) -> str:
        """The store name watched: a commit there is a reason to poll."""
        return self.request.type.store

    def poll(self) -> list[WatchEvent]:
        """New events, oldest first; an ERROR (410) ends the watch."""
        if self.ended:
            return []
        if self._failure is not None:
            self.ended = True
            return [WatchEvent("ERROR", self._failure.body)]
        found: list[WatchEvent] = []
        if self._initial:
            found += self._initial_events()
        try:
            changes = self._store.changes_since(self._cursor, self.resource)
        except ApiError as error:
            self.ended = True
            return [*found, WatchEvent("ERROR", error.body)]
        found += [event for event in map(self._event, changes) if event is not None]
        self._cursor = max(self._cursor, self._store.revision)
        return found

    def _initial_events(self) -> list[WatchEvent]:
        self._initial = False
        self._cursor = self._store.revision
        namespace = self.request.namespace or None
        found = [
            WatchEvent("ADDED", exposed(obj, self.request.type))
            for obj in self._store.select(self.resource, namespace)
            if self._chosen(obj) and self._named(obj)
        ]
        if self._bookmark_end:
            found.append(self.bookmark({INITIAL_EVENTS_END: "true"}))
        return found

    def _named(self, obj: Json) -> bool:
        return not self.request.name or bool(obj["metadata"]["name"] == self.request.name)

    def _event(self, change: Change) -> WatchEvent | None:
        if self.request.namespace and change.name[0] != self.request.namespace:
            return None
        if self.request.name and change.name[1] != self.request.name:
            return None
        before = change.previous is not None and self._chosen(change.previous)
        after = change.kind != "DELETED" and self._chosen(change.object)
        if not before and not after:
            return None
        if after:
            return self._shown("MODIFIED" if before else "ADDED", change.object)
        if change.kind == "DELETED":
            return self._shown("DELETED", change.object)
        assert change.previous is not None
        version = {**change.previous["metadata"], "resourceVersion": str(change.revision)}
        return self._shown("DELETED", {**change.previous, "metadata": version})

    def _shown(self, kind: str, obj: Json) -> WatchEvent:
        return WatchEvent(kind, exposed(obj, self.request.type))

    def bookmark(self, annotations: dict[str, str] | None = None) -> WatchEvent:
        """A BOOKMARK at what has been polled so far."""
        metadata: Json = {"resourceVersion": str(self._cursor), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        found = self.request.type
        obj = {"kind": found.kind, "apiVersion": found.api_version, "metadata": metadata}
        return WatchEvent("BOOKMARK", obj)
