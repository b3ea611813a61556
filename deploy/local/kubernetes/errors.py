"""Says no the way kube-apiserver does: exceptions that carry a `Status` object.

Messages and reasons follow k8s.io/apimachinery `pkg/api/errors`, because clients match on them.
"""

from typing import Any

Json = dict[str, Any]


class ApiError(Exception):
    """A refused request.

    `code` is the HTTP status, `body` the `v1.Status` object to send, `headers` what goes with it
    (only `Retry-After` in practice).
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Json | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.headers = headers or {}
        self.body: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }
        if details:
            self.body["details"] = details


def _subject(group: str, resource: str) -> str:
    return f"{resource}.{group}" if group else resource


def _details(group: str, resource: str, name: str = "", **more: Any) -> Json:
    found = {"name": name, "group": group, "kind": resource, **more}
    return {key: value for key, value in found.items() if value not in ("", None)}


def not_found(group: str, resource: str, name: str) -> ApiError:
    """404: the object does not exist."""
    message = f'{_subject(group, resource)} "{name}" not found'
    return ApiError(404, "NotFound", message, _details(group, resource, name))


def unknown_path() -> ApiError:
    """404 for a path that no API serves; kubectl turns it into "doesn't have a resource type"."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(group: str, resource: str, name: str) -> ApiError:
    """409 on create."""
    message = f'{_subject(group, resource)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(group, resource, name))


def conflict(group: str, resource: str, name: str, why: str) -> ApiError:
    """409: the write was based on something that is no longer so."""
    message = f'Operation cannot be fulfilled on {_subject(group, resource)} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(group, resource, name))


MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def bad_request(message: str) -> ApiError:
    """400: the request can't be understood."""
    return ApiError(400, "BadRequest", message)


def forbidden(group: str, resource: str, name: str, why: str, **more: Any) -> ApiError:
    """403 for something understood and not allowed."""
    message = f'{_subject(group, resource)} "{name}" is forbidden: {why}'
    return ApiError(403, "Forbidden", message, _details(group, resource, name, **more))


def invalid(group: str, kind: str, name: str, causes: list[Json]) -> ApiError:
    """422: the object fails validation.

    Each cause is `{"reason", "message", "field"}` as in `metav1.StatusCause`.
    """
    texts = [f"{cause['field']}: {cause['message']}" for cause in causes]
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    message = f'{_subject(group, kind)} "{name}" is invalid: {listed}'
    return ApiError(422, "Invalid", message, _details(group, kind, name, causes=causes))


def cause(reason: str, field: str, message: str) -> Json:
    """One line of a 422: `reason` is a `FieldValue…` constant, `field` a dotted path."""
    return {"reason": reason, "message": message, "field": field}


def method_not_allowed(group: str, resource: str, verb: str) -> ApiError:
    """405: the resource exists, this verb on it does not."""
    return ApiError(
        405,
        "MethodNotAllowed",
        f"{verb} is not supported on resources of kind {_subject(group, resource)!r}",
        _details(group, resource),
    )


def unsupported_media_type(given: str, accepted: list[str]) -> ApiError:
    """415: for example protobuf, which this server does not speak."""
    message = (
        f"the body of the request was in an unknown format - accepted media types include: "
        f"{', '.join(accepted)} (got {given!r})"
    )
    return ApiError(415, "UnsupportedMediaType", message)


def unauthorized() -> ApiError:
    """401: no token, or one nobody knows. Anonymous requests are refused."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def expired(message: str) -> ApiError:
    """410: history before this point was compacted away; the client must list again."""
    return ApiError(410, "Expired", message)


def too_large_resource_version(asked: int, current: int) -> ApiError:
    """504 as real servers answer a read that asks for a future resourceVersion."""
    text = f"Too large resource version: {asked}, current: {current}"
    details = {
        "retryAfterSeconds": 1,
        "causes": [{"reason": "ResourceVersionTooLarge", "message": text}],
    }
    return ApiError(504, "Timeout", f"Timeout: {text}", details, {"Retry-After": "1"})
