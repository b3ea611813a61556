"""Says what is wrong with settings, so that whoever reads it can mend it without reading the code.

One line a problem: the setting's path, the environment variable where it came from one, what was
given, and what is allowed. A value that is or may hold a secret is never repeated.
"""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic_core import ErrorDetails

from consumers.runtime.incumbent_files import CONFIG_VARIABLE, CREDENTIAL_VARIABLE

PREFIX: Final = "ENI_LEDGER_"
#: What Kubernetes adds for a Service of ours, eni-ledger-webhook: no setting, and nobody's mistake.
_SERVICE_LINK = re.compile(
    r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)$"
)
#: Variables that name files, and are no settings themselves.
_FILES: Final = frozenset({f"{PREFIX}CONFIG", CONFIG_VARIABLE, CREDENTIAL_VARIABLE})
#: pydantic's words for these speak of its own types.
_PLAIN: Final[Mapping[str, str]] = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "string_type": "must be text: put it in quotes",
    "string_pattern_mismatch": "must match {pattern}",
    "too_short": "must have at least {min_length} characters",
}
_EXAMPLES: Final[Mapping[Any, str]] = {
    tuple: '["one", "two"]',
    dict: '{"name": …}',
}


# --- what pydantic found ----------------------------------------------------------------------


def told(error: ErrorDetails, model: type[BaseModel], environment: Mapping[str, str]) -> str:
    """One problem as a line."""
    steps = [str(step) for step in error["loc"] if step != "[key]"]
    path, variable = ".".join(steps), PREFIX + "__".join(steps).upper()
    where = f" (from {variable})" if variable in {name.upper() for name in environment} else ""
    return f"setting {path}{where}: {_what(error, model)}"


def _what(error: ErrorDetails, model: type[BaseModel]) -> str:
    kind, given = error["type"], error["input"]
    if kind == "extra_forbidden":
        section = _annotation(model, error["loc"][:-1])
        known = list(section.model_fields) if _is_model(section) else []
        return f"no such setting{_meant(str(error['loc'][-1]), known)}"
    annotation = _annotation(model, error["loc"])
    if kind == "model_type" and _is_model(annotation):
        first = ", ".join(list(annotation.model_fields)[:3])
        empty = "it is empty: leave it out, or " if given is None else ""
        return f"{empty}it must be a mapping of settings: {first}, …"
    if kind in ("tuple_type", "dict_type"):
        return f"it must be a {'list' if kind == 'tuple_type' else 'mapping'}{_given(given, annotation)}"
    plain = _PLAIN.get(kind) or error["msg"].removeprefix("Value error, ")
    message = plain.replace("Input should be", "must be").format(**error.get("ctx", {}))
    if kind == "string_pattern_mismatch" and (meant := _description(model, error["loc"])):
        message += f", {meant}"
    return message + _given(given, annotation)


def _given(given: object, annotation: Any) -> str:
    shown = isinstance(given, str | int | float | bool) and annotation is not None
    return f" (given: {given!r})" if shown and not _secret(annotation) else ""


def _meant(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, n=1)
    guess = f"; did you mean {near[0]}?" if near else ""
    return f"{guess}; there are here: {', '.join(known)}" if known else guess


# --- what the environment has that pydantic does not say, or not so that it helps ---------------


def environment_problems(model: type[BaseModel], environment: Mapping[str, str]) -> Iterator[str]:
    """Variables that name no setting, and values that are no JSON where a list or mapping is needed.

    pydantic-settings passes over the first and names no variable in the second.
    """
    for name, value in sorted(environment.items()):
        if not name.upper().startswith(PREFIX):
            continue
        steps = name[len(PREFIX) :].lower().split("__")
        if steps[0] not in model.model_fields:
            if not _SERVICE_LINK.search(name.upper()) and name.upper() not in _FILES:
                yield f"environment {name}: no such setting{_meant(steps[0], list(model.model_fields))}"
            continue
        annotation = _annotation(model, steps)
        if _complex(annotation) and not _is_json(value):
            example = _EXAMPLES.get(get_origin(annotation), "{…}")
            yield (
                f"setting {'.'.join(steps)} (from {name}): its value is no JSON; in the environment "
                f"write it like {example}" + _given(value, annotation)
            )


# --- what a setting may be --------------------------------------------------------------------


def _annotation(model: type[BaseModel], steps: Iterable[object]) -> Any:
    """The type at a path, without its None; None where there is no such path."""
    at: Any = model
    for step in steps:
        if _is_model(at):
            field = at.model_fields.get(str(step))
            at = None if field is None else _without_none(field.annotation)
        elif get_origin(at) is dict:
            at = _without_none(get_args(at)[1])
        elif get_origin(at) is tuple:
            at = _without_none(get_args(at)[0])
        else:
            return None
    return at


def _description(model: type[BaseModel], steps: tuple[int | str, ...]) -> str | None:
    section = _annotation(model, steps[:-1])
    field = section.model_fields.get(str(steps[-1])) if _is_model(section) else None
    return field.description if field else None


def _without_none(annotation: Any) -> Any:
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    union = type(None) in get_args(annotation)
    return kinds[0] if union and len(kinds) == 1 else annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _complex(annotation: Any) -> bool:
    return _is_model(annotation) or get_origin(annotation) in (dict, tuple)


def _secret(annotation: Any) -> bool:
    """Whether a value of this type is or may hold a secret."""
    if _is_model(annotation):
        return any(_secret(field.annotation) for field in annotation.model_fields.values())
    return annotation is SecretStr or any(_secret(each) for each in get_args(annotation))


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except ValueError:
        return False
    return True
