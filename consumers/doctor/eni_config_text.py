"""The text of kube-system/eni-config: read with positions, and edited key by key. Pure.

Only the values of the keys asked for change; every other character stays, because the product
document says not to touch anything else, and people keep these texts under review.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from json.decoder import JSONDecodeError
from typing import Any, Final

TRUNKING: Final = "enable_eni_trunking"
CREDENTIAL_PATH: Final = "credential_path"
#: Where ACK mounts the Secret addon.network.token into the node agents.
TOKEN_PATH: Final = "/var/addon/token-config"  # noqa: S105 - a path

_SPACE: Final = " \t\r\n"
_decoder: Final = json.JSONDecoder()


class EniConfigTextError(ValueError):
    """The text is no JSON object: says where (line and column) and what is wrong there."""


@dataclass(frozen=True, slots=True)
class _Member:
    """One key of the object and where its value stands in the text."""

    key: str
    start: int
    end: int


def parsed(text: str) -> dict[str, Any]:
    """The object. Raises EniConfigTextError with the position of what is wrong."""
    try:
        document = json.loads(text, parse_constant=_no_json)
    except JSONDecodeError as wrong:
        raise EniConfigTextError(_where(wrong, text)) from wrong
    except RecursionError as deep:
        raise EniConfigTextError("it is nested too deeply to be a configuration") from deep
    if not isinstance(document, dict):
        raise EniConfigTextError(f"line 1 column 1: it is a {type(document).__name__}, no object")
    return document


def edited(text: str, wanted: Mapping[str, Any]) -> str:
    """The text with these keys set to these values, and nothing else changed.

    Raises EniConfigTextError for what is no JSON object, and for one of the keys given twice: which
    of them counts is each reader's own choice.
    """
    before = parsed(text)
    members = list(_members(text))
    for key in wanted:
        if sum(each.key == key for each in members) > 1:
            raise EniConfigTextError(f"the key {key} stands there twice: remove one of them")
    places = {each.key: each for each in members}
    # As JSON, because to Python 1 is True, and the node agent refuses a 1.
    changed = {k: v for k, v in wanted.items() if k not in before or _differ(before[k], v)}
    present = [places[key] for key in changed if key in places]
    for each in sorted(present, key=lambda member: member.start, reverse=True):
        text = text[: each.start] + json.dumps(changed[each.key]) + text[each.end :]
    absent = [key for key in changed if key not in places]
    if absent:
        text = _inserted(text, {key: changed[key] for key in absent})
    if _differ(parsed(text), {**before, **wanted}):
        raise AssertionError(f"editing {sorted(wanted)} changed something else: please report it")
    return text


def _inserted(text: str, added: Mapping[str, Any]) -> str:
    """The text with the pairs put first, indented like the key that was first."""
    opening = text.index("{") + 1
    following = opening
    while text[following] in _SPACE:
        following += 1
    last = text[following] == "}"
    indent = "" if last else text[opening:following]
    pairs = f",{indent or ' '}".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in added.items())
    return text[:opening] + indent + pairs + ("" if last else ",") + text[opening:]


def _differ(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True)


def _members(text: str) -> Iterator[_Member]:
    """The keys of the outermost object, in order. The text is known to be one."""
    at = _after_space(text, text.index("{") + 1)
    while text[at] != "}":
        key, at = _decoder.raw_decode(text, at)
        start = _after_space(text, _after_space(text, at) + 1)  # over the colon
        _, end = _decoder.raw_decode(text, start)
        yield _Member(key, start, end)
        at = _after_space(text, end)
        if text[at] == ",":
            at = _after_space(text, at + 1)


def _after_space(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at


def _no_json(constant: str) -> Any:
    """NaN and the infinities: Python takes them, JSON and the node agent do not."""
    raise EniConfigTextError(f"it says {constant}, which JSON does not have")


def _where(wrong: JSONDecodeError, text: str) -> str:
    lines = text.splitlines()
    line = lines[wrong.lineno - 1].strip() if wrong.lineno <= len(lines) else "its end"
    return f"line {wrong.lineno} column {wrong.colno}: {wrong.msg} (there: {line[:80]})"
