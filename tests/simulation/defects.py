"""Catches what the product logs about its own defects: in a simulation each is a finding."""

import sys
import traceback
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any

import structlog


class Defects:
    """While entered, swallows the log and keeps the lines in which the product reports a defect."""

    def __init__(self) -> None:
        self._found: list[str] = []
        self._before: list[Any] = []

    def __enter__(self) -> "Defects":
        processors = structlog.get_config()["processors"]
        self._before = list(processors)
        # In place, because a logger that was used before keeps this very list.
        processors[:] = [self._keep]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        structlog.get_config()["processors"][:] = self._before

    def taken(self) -> list[str]:
        """What was reported since the last time."""
        found, self._found = self._found, []
        return found

    def _keep(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        if "defect" in str(event.get("event")):
            told = ", ".join(
                f"{name}={value}" for name, value in event.items() if name != "exc_info"
            )
            self._found.append(told + _trace())
        raise structlog.DropEvent


def _trace() -> str:
    kind, error, where = sys.exc_info()
    if kind is None:
        return ""
    return "\n" + "".join(traceback.format_exception(kind, error, where)[-12:])
