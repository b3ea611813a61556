"""Label and field selectors: parse once, match many.

Syntax: Kubernetes "Labels and Selectors" (equality and set based) and "Field Selectors".
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.local.kubernetes.errors import Json, bad_request

_KEY = r"(?:[A-Za-z0-9][-A-Za-z0-9.]*/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_SET = re.compile(rf"^({_KEY})\s+(in|notin)\s*\(([^()]*)\)$")
_EQUAL = re.compile(rf"^({_KEY})\s*(==|=|!=)\s*({_VALUE})$")
_EXISTS = re.compile(rf"^(!?)\s*({_KEY})$")
_COMPARE = re.compile(rf"^({_KEY})\s*(>|<)\s*(-?\d+)$")


@dataclass(frozen=True)
class Requirement:
    """One term: `operator` is in, notin, exists, absent, gt or lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Kubernetes' rule: `notin` and `!=` also hold where the key is missing."""
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "absent":
                return value is None
        try:
            number = int(value) if value is not None else None
        except ValueError:
            return False
        if number is None:
            return False
        bound = int(self.values[0])
        return number > bound if self.operator == "gt" else number < bound


def _split(text: str) -> list[str]:
    """Splits at commas that are not inside parentheses."""
    terms, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            terms.append(text[start:at])
            start = at + 1
    return [*terms, text[start:]]


def _term(text: str) -> Requirement:
    if found := _SET.match(text):
        values = tuple(value.strip() for value in found[3].split(","))
        return Requirement(found[1], found[2], values)
    if found := _EQUAL.match(text):
        return Requirement(found[1], "notin" if found[2] == "!=" else "in", (found[3],))
    if found := _EXISTS.match(text):
        return Requirement(found[2], "absent" if found[1] else "exists")
    if found := _COMPARE.match(text):
        return Requirement(found[1], "gt" if found[2] == ">" else "lt", (found[3],))
    raise bad_request(f"unable to parse requirement: {text!r} is not a label selector term")


@dataclass(frozen=True)
class LabelSelector:
    """All terms must hold; no terms match everything."""

    terms: tuple[Requirement, ...] = ()

    @classmethod
    def parse(cls, text: str | None) -> "LabelSelector":
        """From a query parameter; 400 when it is no selector."""
        if not text or not text.strip():
            return cls()
        return cls(tuple(_term(part.strip()) for part in _split(text)))

    @classmethod
    def from_object(cls, selector: Json | None) -> "LabelSelector":
        """From a `metav1.LabelSelector` in a manifest; None matches everything here."""
        selector = selector or {}
        terms = [Requirement(k, "in", (v,)) for k, v in (selector.get("matchLabels") or {}).items()]
        names = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent"}
        for expression in selector.get("matchExpressions") or []:
            values = tuple(expression.get("values") or ())
            terms.append(Requirement(expression["key"], names[expression["operator"]], values))
        return cls(tuple(terms))

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        """Whether an object with these labels is selected."""
        return all(term.matches(labels or {}) for term in self.terms)


def read_path(obj: Json, path: str) -> Any:
    """The value at a dotted path (`spec.nodeName`), None where a part is missing."""
    value: Any = obj
    for part in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


@dataclass(frozen=True)
class FieldSelector:
    """(path, wanted equal?, value) terms, all of which must hold."""

    terms: tuple[tuple[str, bool, str], ...] = ()

    @classmethod
    def parse(cls, text: str | None, allowed: frozenset[str]) -> "FieldSelector":
        """From a query parameter; 400 for a field this resource can't be selected by."""
        terms = []
        for part in (text or "").split(","):
            if not part.strip():
                continue
            found = re.match(r"^([^=!]+?)(==|=|!=)(.*)$", part.strip())
            if not found:
                raise bad_request(f"invalid field selector: {part!r}")
            if found[1] not in allowed:
                raise bad_request(
                    f"field label not supported: {found[1]} (supported: {', '.join(sorted(allowed))})"
                )
            terms.append((found[1], found[2] != "!=", found[3]))
        return cls(tuple(terms))

    def matches(self, obj: Json) -> bool:
        """Whether the object has the wanted values; a missing field counts as empty."""
        return all(
            (_as_text(read_path(obj, path)) == value) == equal for path, equal, value in self.terms
        )

    @property
    def name(self) -> str | None:
        """The single object name this selects, where it does: a list can then be a look-up."""
        wanted = [v for path, equal, v in self.terms if path == "metadata.name" and equal]
        return wanted[0] if wanted else None


Predicate = Callable[[Json], bool]


def predicate(labels: LabelSelector, fields: FieldSelector) -> Predicate:
    """Both selectors as one test of an object."""
    if not labels.terms and not fields.terms:
        return lambda _obj: True
    return lambda obj: (
        labels.matches((obj.get("metadata") or {}).get("labels")) and fields.matches(obj)
    )
