"""What an admission answer is made of: allowed or not, why, the patch and the warnings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.rules.objects import KubeObject

OK, BAD_REQUEST, FORBIDDEN = 200, 400, 403
INTERNAL_ERROR, UNAVAILABLE = 500, 503

# The API server's own advice: longer warnings may be cut, and 4096 characters in all.
_WARNING_LENGTH_MAX = 256
_WARNINGS_MAX = 16


@dataclass(frozen=True, slots=True)
class Decision:
    """One answer. `patch` is a JSON patch (RFC 6902) as plain operations; empty: unchanged."""

    allowed: bool
    message: str
    code: int = OK
    patch: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()


def allow(message: str, warnings: Sequence[str] = ()) -> Decision:
    """Let it pass unchanged."""
    return Decision(True, message, warnings=_presentable(warnings))


def patched(
    before: KubeObject, after: KubeObject, message: str, warnings: Sequence[str] = ()
) -> Decision:
    """Let it pass as `after`; when that equals `before`, there is no patch."""
    return Decision(
        True, message, patch=tuple(json_patch(before, after)), warnings=_presentable(warnings)
    )


def deny(message: str, code: int = FORBIDDEN, warnings: Sequence[str] = ()) -> Decision:
    """Refuse. `code` is an HTTP status of at least 400: the API server shows it to the user."""
    return Decision(False, message, code, warnings=_presentable(warnings))


def json_patch(before: Any, after: Any, path: str = "") -> list[dict[str, Any]]:
    """The operations that turn `before` into `after`, which only adds or changes.

    Lists grow at their end; nothing that `before` has may be missing from `after`.
    """
    if before == after:
        return []
    operations: list[dict[str, Any]] = []
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key, value in after.items():
            at = f"{path}/{_escaped(key)}"
            if key in before:
                operations += json_patch(before[key], value, at)
            else:
                operations.append({"op": "add", "path": at, "value": value})
        return operations
    if isinstance(before, list) and isinstance(after, list) and len(before) <= len(after):
        for index, value in enumerate(after):
            if index < len(before):
                operations += json_patch(before[index], value, f"{path}/{index}")
            else:
                operations.append({"op": "add", "path": f"{path}/-", "value": value})
        return operations
    return [{"op": "replace", "path": path, "value": after}]


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _presentable(warnings: Sequence[str]) -> tuple[str, ...]:
    distinct = list(dict.fromkeys(warnings))[:_WARNINGS_MAX]
    return tuple(
        each if len(each) <= _WARNING_LENGTH_MAX else each[: _WARNING_LENGTH_MAX - 1] + "…"
        for each in distinct
    )
