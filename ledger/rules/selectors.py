"""Label selectors as Kubernetes has them: matchLabels and matchExpressions, all of them ANDed.

An absent selector is None and an empty one is `{}`: the first selects nothing by itself, the second
everything. Keeping the two apart decides whether a PodNetworking matches at all (reference §3).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger.rules.objects import KubeObject

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


class SelectorError(ValueError):
    """The selector can't be used: names the field and what is allowed there."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """NotIn and DoesNotExist hold where the label is absent, as in Kubernetes."""
        if self.operator == "In":
            return self.key in labels and labels[self.key] in self.values
        if self.operator == "NotIn":
            return self.key not in labels or labels[self.key] not in self.values
        return (self.key in labels) == (self.operator == "Exists")

    def __str__(self) -> str:
        if self.operator == "In" and len(self.values) == 1:
            return f"{self.key}={self.values[0]}"
        listed = f" ({', '.join(self.values)})" if self.values else ""
        return f"{self.key} {self.operator}{listed}"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold; none means that everything matches."""

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def from_object(cls, obj: object, field: str) -> "LabelSelector | None":
        """A metav1.LabelSelector; None when absent. `field` (a path) leads every complaint.

        Raises SelectorError for what the API machinery refuses: unknown operators, In and NotIn
        without values, Exists and DoesNotExist with values, malformed keys and values.
        """
        if obj is None:
            return None
        if not isinstance(obj, Mapping):
            raise SelectorError(f"{field}: a map with matchLabels or matchExpressions is needed")
        requirements = [
            *_from_labels(obj.get("matchLabels"), f"{field}.matchLabels"),
            *_from_expressions(obj.get("matchExpressions"), f"{field}.matchExpressions"),
        ]
        return cls(tuple(requirements))

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.holds(labels) for requirement in self.requirements)

    def first_unmet(self, labels: Mapping[str, str]) -> Requirement | None:
        """The first requirement that `labels` don't meet: the answer to "why not?"."""
        return next((each for each in self.requirements if not each.holds(labels)), None)


def _from_labels(obj: object, field: str) -> list[Requirement]:
    if obj is None:
        return []
    if not isinstance(obj, Mapping):
        raise SelectorError(f"{field}: a map of labels is needed")
    requirements = []
    for key, value in sorted(obj.items()):
        if not isinstance(value, str):
            raise SelectorError(
                f"{field}[{key!r}]: a string is needed (quote numbers and booleans)"
            )
        _check_key(key, field)
        _check_value(value, f"{field}[{key!r}]")
        requirements.append(Requirement(key, "In", (value,)))
    return requirements


def _from_expressions(obj: object, field: str) -> list[Requirement]:
    if obj is None:
        return []
    if not isinstance(obj, list | tuple):
        raise SelectorError(f"{field}: a list is needed")
    return [_from_expression(each, f"{field}[{at}]") for at, each in enumerate(obj)]


def _from_expression(obj: Any, field: str) -> Requirement:
    if not isinstance(obj, Mapping):
        raise SelectorError(f"{field}: a map with key, operator and values is needed")
    expression: KubeObject = obj
    key, operator = expression.get("key"), expression.get("operator")
    values = expression.get("values")
    values = () if values is None else values
    _check_key(key, f"{field}.key")
    if operator not in OPERATORS:
        raise SelectorError(
            f"{field}.operator: {operator!r} is not known; use one of {', '.join(OPERATORS)}"
        )
    if not isinstance(values, list | tuple):
        raise SelectorError(f"{field}.values: a list is needed")
    if operator in ("In", "NotIn") and not values:
        raise SelectorError(f"{field}.values: {operator} needs at least one value")
    if operator in ("Exists", "DoesNotExist") and values:
        raise SelectorError(f"{field}.values: {operator} takes no values; remove them")
    for at, value in enumerate(values):
        _check_value(value, f"{field}.values[{at}]")
    return Requirement(str(key), str(operator), tuple(values))


def _check_key(key: object, field: str) -> None:
    prefix, slash, name = key.rpartition("/") if isinstance(key, str) else ("", "", "")
    fits = _NAME.fullmatch(name) is not None and (
        not slash or (len(prefix) <= 253 and _PREFIX.fullmatch(prefix) is not None)
    )
    if not fits:
        raise SelectorError(f"{field}: {key!r} is not a label name ([prefix/]name, name ≤ 63)")


def _check_value(value: object, field: str) -> None:
    if not isinstance(value, str) or _VALUE.fullmatch(value) is None:
        raise SelectorError(
            f"{field}: {value!r} is not a label value (a string, ≤ 63 letters, digits and -_.)"
        )
