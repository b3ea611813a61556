"""Label selectors behave as in Kubernetes; an absent one is not an empty one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.rules.selectors import OPERATORS, LabelSelector, Requirement, SelectorError


def selector(obj: object) -> LabelSelector:
    found = LabelSelector.from_object(obj, "spec.selector.podSelector")
    assert found is not None
    return found


def test_absent_is_none_and_empty_matches_everything() -> None:
    assert LabelSelector.from_object(None, "f") is None
    assert selector({}).matches({})
    assert selector({"matchLabels": None, "matchExpressions": None}).matches({"a": "b"})


@pytest.mark.parametrize(
    ("expression", "labels", "matches"),
    [
        ({"key": "a", "operator": "In", "values": ["1", "2"]}, {"a": "2"}, True),
        ({"key": "a", "operator": "In", "values": ["1", "2"]}, {"a": "3"}, False),
        ({"key": "a", "operator": "In", "values": ["1"]}, {}, False),
        ({"key": "a", "operator": "In", "values": [""]}, {}, False),
        ({"key": "a", "operator": "NotIn", "values": ["1"]}, {"a": "1"}, False),
        ({"key": "a", "operator": "NotIn", "values": ["1"]}, {"a": "2"}, True),
        ({"key": "a", "operator": "NotIn", "values": ["1"]}, {}, True),
        ({"key": "a", "operator": "Exists"}, {"a": ""}, True),
        ({"key": "a", "operator": "Exists"}, {}, False),
        ({"key": "a", "operator": "DoesNotExist"}, {}, True),
        ({"key": "a", "operator": "DoesNotExist", "values": []}, {"a": "1"}, False),
    ],
)
def test_operators(expression: dict[str, object], labels: dict[str, str], matches: bool) -> None:
    assert selector({"matchExpressions": [expression]}).matches(labels) is matches


def test_labels_and_expressions_are_anded_and_the_first_unmet_is_named() -> None:
    both = selector(
        {"matchLabels": {"foo": "bar"}, "matchExpressions": [{"key": "x", "operator": "Exists"}]}
    )
    assert both.matches({"foo": "bar", "x": "1"})
    unmet = both.first_unmet({"foo": "bar"})
    assert str(unmet) == "x Exists"
    assert str(both.first_unmet({"x": "1"})) == "foo=bar"
    assert str(Requirement("k", "NotIn", ("a", "b"))) == "k NotIn (a, b)"


@pytest.mark.parametrize(
    ("obj", "field"),
    [
        ("foo=bar", "podSelector: a map"),
        ({"matchLabels": ["foo"]}, "matchLabels: a map"),
        ({"matchLabels": {"foo": 1}}, r"matchLabels\['foo'\]: a string"),
        ({"matchLabels": {"foo bar": "x"}}, "'foo bar' is not a label name"),
        ({"matchLabels": {"foo": "b b"}}, "'b b' is not a label value"),
        ({"matchLabels": {"foo": "x" * 64}}, "is not a label value"),
        ({"matchLabels": {"x" * 64: "v"}}, "is not a label name"),
        ({"matchLabels": {"/foo": "v"}}, "is not a label name"),
        ({"matchLabels": {"foo": "v\n"}}, "is not a label value"),
        ({"matchExpressions": {}}, "matchExpressions: a list"),
        ({"matchExpressions": ["a"]}, r"matchExpressions\[0\]: a map"),
        ({"matchExpressions": [{"operator": "Exists"}]}, r"\[0\]\.key: None is not a label name"),
        ({"matchExpressions": [{"key": "a", "operator": "in"}]}, r"\[0\]\.operator: 'in'"),
        ({"matchExpressions": [{"key": "a"}]}, r"\[0\]\.operator: None"),
        ({"matchExpressions": [{"key": "a", "operator": "In"}]}, "needs at least one value"),
        (
            {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["1"]}]},
            "takes no values",
        ),
        (
            {"matchExpressions": [{"key": "a", "operator": "In", "values": "1"}]},
            r"\[0\]\.values: a list",
        ),
    ],
)
def test_what_kubernetes_refuses_is_refused_with_its_field(obj: object, field: str) -> None:
    with pytest.raises(SelectorError, match=field) as refused:
        LabelSelector.from_object(obj, "spec.selector.podSelector")
    assert str(refused.value).startswith("spec.selector.podSelector")


names = st.sampled_from(["a", "b", "k8s.io/c", "d-e", "f_g"])
values = st.sampled_from(["", "1", "2", "x.y"])
labels_of_a_pod = st.dictionaries(names, values)


@st.composite
def expressions(draw: st.DrawFn) -> dict[str, object]:
    operator = draw(st.sampled_from(OPERATORS))
    expression: dict[str, object] = {"key": draw(names), "operator": operator}
    if operator in ("In", "NotIn"):
        expression["values"] = draw(st.lists(values, min_size=1, max_size=3))
    return expression


@given(expressions(), labels_of_a_pod)
def test_each_operator_is_the_opposite_of_its_partner(
    expression: dict[str, object], labels: dict[str, str]
) -> None:
    partner = {"In": "NotIn", "NotIn": "In", "Exists": "DoesNotExist", "DoesNotExist": "Exists"}
    opposite = {**expression, "operator": partner[str(expression["operator"])]}
    one, other = (
        selector({"matchExpressions": [expression]}),
        selector({"matchExpressions": [opposite]}),
    )
    assert one.matches(labels) is not other.matches(labels)


@given(st.dictionaries(names, values), st.lists(expressions(), max_size=4), labels_of_a_pod)
def test_a_selector_matches_exactly_when_nothing_is_unmet(
    match_labels: dict[str, str], listed: list[dict[str, object]], labels: dict[str, str]
) -> None:
    whole = selector({"matchLabels": match_labels, "matchExpressions": listed})
    parts = [
        *(selector({"matchLabels": {key: value}}) for key, value in match_labels.items()),
        *(selector({"matchExpressions": [each]}) for each in listed),
    ]
    assert whole.matches(labels) is all(part.matches(labels) for part in parts)
    assert (whole.first_unmet(labels) is None) is whole.matches(labels)


@given(st.dictionaries(names, values), labels_of_a_pod)
def test_a_pod_that_carries_the_wanted_labels_matches_whatever_else_it_has(
    wanted: dict[str, str], others: dict[str, str]
) -> None:
    assert selector({"matchLabels": wanted}).matches({**others, **wanted})


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["matchLabels", "matchExpressions", "key", "operator", "values", "a b"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(junk)
def test_any_json_is_a_selector_or_a_selector_error(obj: object) -> None:
    try:
        found = LabelSelector.from_object(obj, "f")
    except SelectorError as refused:
        assert str(refused).startswith("f")  # noqa: PT017
    else:
        assert found is None or found.matches({}) in (True, False)
