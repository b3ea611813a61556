"""Models for what people write by hand: unknown keys and wrong values are errors that help.

Used by the world file and by the control side's requests, so that both complain alike: the path of
the value, what is wrong with it, and what would be allowed.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails


class Strict(BaseModel):
    """A model that knows its keys and names them when another one is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        if isinstance(value, dict):
            unknown = sorted(str(key) for key in value if key not in cls.model_fields)
            if unknown:
                raise ValueError(
                    f"unknown key(s) {', '.join(unknown)}; allowed: {', '.join(cls.model_fields)}"
                )
        return value


def problems(error: ValidationError) -> list[str]:
    """Each problem as one line: `instances[1].zone: …`; one that each choice of a union has, once."""
    return list(dict.fromkeys(_line(detail) for detail in error.errors(include_url=False)))


def _line(detail: ErrorDetails) -> str:
    path = ""
    for step in detail["loc"]:
        if isinstance(step, str) and step.startswith("literal["):
            continue  # pydantic's own name of one choice of a union: nobody wrote it
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "model_type":
        message = "it must be a mapping of keys to values"
    given = detail["input"]
    if detail["type"] != "value_error" and isinstance(given, str | int | float | bool):
        message += f" (given: {given!r})"
    return f"{path}: {message}" if path else message
