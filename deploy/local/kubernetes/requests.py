"""Turns a method, a path and a query into what is asked of the API: one `Request`.

Paths as in "Kubernetes API Concepts": `/api/v1/…` for the core group, `/apis/GROUP/VERSION/…` for others.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from deploy.local.kubernetes.catalog import ResourceType
from deploy.local.kubernetes.errors import Json, bad_request, method_not_allowed, unknown_path
from deploy.local.kubernetes.registry import Registry

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)


@dataclass(frozen=True)
class Request:
    """One call: `verb` as RBAC names it, `options` the query, `body` the decoded document."""

    verb: str
    type: ResourceType
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    patch_type: str = ""
    user: str = "admin"
    agent: str = ""

    @property
    def manager(self) -> str:
        """Who owns the fields written: `fieldManager`, else the user agent up to its slash."""
        return self.options.get("fieldManager") or self.agent.split("/", 1)[0] or "unknown"

    @property
    def dry_run(self) -> bool:
        """Whether nothing may be committed (`dryRun=All`)."""
        return self.options.get("dryRun") == "All"

    @property
    def mutating(self) -> bool:
        """Whether it asks for a change of state."""
        return self.verb not in ("get", "list", "watch") and not self.dry_run

    def flag(self, name: str) -> bool:
        """A boolean of the query: present and neither "false" nor "0" (apimachinery's rule, so
        that Python's `True` counts too)."""
        value = self.options.get(name)
        return value is not None and value.lower() not in ("false", "0")

    def number(self, name: str) -> int | None:
        """A whole number of the query, None where absent; 400 when it is none."""
        value = self.options.get(name, "")
        if value == "":
            return None
        if not value.isdigit():
            raise bad_request(f'parameter {name}: "{value}" is not a whole number')
        return int(value)

    def with_body(self, body: Any) -> "Request":
        """The same call with another document."""
        return replace(self, body=body)


@dataclass(frozen=True)
class Answer:
    """What the API says: HTTP code, document, and warnings (HTTP header `Warning: 299`)."""

    body: Json
    code: int = 200
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class WebhookCall:
    """An effect: ask this webhook and send its AdmissionReview back in, or a `WebhookFailure`."""

    name: str
    client_config: Json
    review: Json
    timeout_seconds: int


@dataclass(frozen=True)
class WebhookFailure:
    """The webhook could not be asked: refused, timed out, bad certificate, not an AdmissionReview."""

    message: str


@dataclass(frozen=True)
class Delay:
    """An effect: let this many seconds pass (a fault), then send None back in."""

    seconds: float


Effect = WebhookCall | Delay
Reply = Json | WebhookFailure | None
T = TypeVar("T")
Steps = Generator[Effect, Reply, T]
"""A call in progress: yields what must happen outside, returns its result."""

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


def resolve(
    registry: Registry, method: str, path: str, options: Mapping[str, str]
) -> tuple[Request, str]:
    """The request a path stands for (404/405 where it stands for none), and its HTTP method."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise unknown_path()
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    found = registry.find(group, version, rest[0])
    if found is None or len(rest) > 3:
        raise unknown_path()
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if namespace and not found.namespaced:
        raise unknown_path()
    _check_subresource(found, subresource)
    verb = _verb(method, name, Request("", found, options=options))
    if verb not in found.verbs or (found.namespaced and not namespace and verb not in _ACROSS):
        raise method_not_allowed(group, found.plural, verb)
    if name and found.namespaced and not namespace:
        raise unknown_path()
    return Request(verb, found, namespace, name, subresource, options), method


_ACROSS = ("list", "watch", "deletecollection")


def _check_subresource(found: ResourceType, subresource: str) -> None:
    known = (
        *(("status",) if found.status else ()),
        *(("scale",) if found.scale else ()),
        *found.more_subresources,
    )
    if subresource and subresource not in known:
        raise unknown_path()


def _verb(method: str, name: str, asked: Request) -> str:
    if method in ("GET", "HEAD"):
        if asked.flag("watch"):
            return "watch"
        return "get" if name else "list"
    if method == "DELETE":
        return "delete" if name else "deletecollection"
    if method == "POST" or (name and method in _VERBS):
        return _VERBS[method]
    raise method_not_allowed(asked.type.group, asked.type.plural, method)
