"""Faults to order, and the count of requests: what a real API server won't give a test.

Pure state; the HTTP side is in `control`. A fault matches a verb and a resource ("*" matches all) and wears
off after `times` hits.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pydantic
from typing_extensions import TypedDict

from deploy.local.kubernetes.errors import ApiError, Json, expired
from deploy.local.kubernetes.requests import Request

CODES = (403, 404, 409, 410, 429, 500, 503, 504)
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch", "*")
_REASONS = {
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class FaultOrder(pydantic.BaseModel):
    """A fault as ordered over `POST /_sim/faults`."""

    model_config = pydantic.ConfigDict(extra="forbid")

    verb: str = "*"
    resource: str = "*"
    times: int = pydantic.Field(default=1, ge=1)
    code: int | None = None
    message: str = ""
    retry_after: int | None = pydantic.Field(default=None, ge=0)
    delay_seconds: float = pydantic.Field(default=0.0, ge=0.0, le=600.0)
    stale_by: int | None = pydantic.Field(default=None, ge=1)
    """Answer reads as of so many commits ago."""
    after_effect: bool = False
    """With `code`: let the write take effect first, then answer with the error (lost answer)."""

    @pydantic.field_validator("verb")
    @classmethod
    def _known_verb(cls, value: str) -> str:
        if value not in VERBS:
            raise ValueError(f"{value!r} is not one of {', '.join(VERBS)}")
        return value

    @pydantic.field_validator("code")
    @classmethod
    def _known_code(cls, value: int | None) -> int | None:
        if value is not None and value not in CODES:
            raise ValueError(f"{value} is not one of {', '.join(map(str, CODES))}")
        return value

    @pydantic.model_validator(mode="after")
    def _does_something(self) -> "FaultOrder":
        if self.code is None and not self.delay_seconds and self.stale_by is None:
            raise ValueError("give at least one of code, delay_seconds, stale_by")
        return self

    def matches(self, verb: str, resource: str) -> bool:
        """Whether it applies to a request. `resource` is the plural, or plural.group."""
        plural = resource.split(".", 1)[0]
        return self.verb in ("*", verb) and self.resource in ("*", resource, plural)


@dataclass(frozen=True)
class Outcome:
    """What the faults make of one request."""

    delay_seconds: float = 0.0
    error: ApiError | None = None
    after_effect: bool = False
    stale_by: int | None = None


class RequestCount(TypedDict):
    """One line of `GET /_sim/requests`."""

    verb: str
    resource: str
    subresource: str
    mutating: bool
    count: int


@dataclass
class Faults:
    """The orders in force and the requests seen."""

    orders: list[FaultOrder] = field(default_factory=list)
    _seen: Counter[tuple[str, str, str, bool]] = field(default_factory=Counter)

    def add(self, order: FaultOrder) -> None:
        """Puts a fault in force; several on the same request are used up in order."""
        self.orders.append(order)

    def clear(self) -> None:
        """Takes all faults back."""
        self.orders.clear()

    def take(self, request: Request) -> Outcome:
        """Counts the request and uses up the first fault that matches it."""
        resource = request.type.store
        self._seen[(request.verb, resource, request.subresource, request.mutating)] += 1
        for order in self.orders:
            if order.matches(request.verb, resource):
                order.times -= 1
                if order.times == 0:
                    self.orders.remove(order)
                error = _error(order, request) if order.code else None
                return Outcome(order.delay_seconds, error, order.after_effect, order.stale_by)
        return Outcome()

    def requests(self) -> list[RequestCount]:
        """How often each verb was asked of each resource since the last reset."""
        return [
            RequestCount(verb=verb, resource=resource, subresource=sub, mutating=mutating, count=n)
            for (verb, resource, sub, mutating), n in sorted(self._seen.items())
        ]

    def mutations(self) -> int:
        """How many requests asked for a change."""
        return sum(n for (_, _, _, mutating), n in self._seen.items() if mutating)

    def reset_counts(self) -> None:
        """Starts counting anew."""
        self._seen.clear()

    def as_json(self) -> list[Json]:
        """The orders in force."""
        return [order.model_dump(mode="json") for order in self.orders]


def _error(order: FaultOrder, request: Request) -> ApiError:
    assert order.code is not None
    message = (
        order.message or f"simulated fault: {order.code} on {request.verb} {request.type.store}"
    )
    if order.code == 410:
        return expired(message)
    details: dict[str, Any] = {"name": request.name, "kind": request.type.plural}
    headers = {}
    if order.retry_after is not None:
        headers["Retry-After"] = str(order.retry_after)
        details["retryAfterSeconds"] = order.retry_after
    return ApiError(order.code, _REASONS[order.code], message, details, headers)
