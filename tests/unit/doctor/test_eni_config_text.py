"""The eni-config's text: edited key by key, every other character kept; refused with the position."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.doctor.eni_config_text import (
    CREDENTIAL_PATH,
    TRUNKING,
    EniConfigTextError,
    edited,
    parsed,
)

WANTED = {TRUNKING: True, CREDENTIAL_PATH: "/var/addon/token-config"}

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_keys = st.sampled_from([TRUNKING, CREDENTIAL_PATH]) | st.text(max_size=6)


@given(
    document=st.dictionaries(_keys, _values, max_size=6),
    indent=st.sampled_from([None, 0, 2, "\t"]),
    around=st.sampled_from(["", " ", "\n"]),
)
def test_only_the_keys_asked_for_change(
    document: dict[str, Any], indent: int | str | None, around: str
) -> None:
    text = around + json.dumps(document, indent=indent) + around
    after = edited(text, WANTED)
    assert json.dumps(parsed(after), sort_keys=True) == json.dumps(
        {**document, **WANTED}, sort_keys=True
    )
    assert edited(after, WANTED) == after


def test_the_rest_is_kept_to_the_character() -> None:
    text = (
        '{\n    "min_pool_size" : 0,\n\t"enable_eni_trunking":false ,\n  "eni_tags": {"a":"b"}\n}\n'
    )
    assert edited(text, WANTED) == (
        '{\n    "credential_path": "/var/addon/token-config",\n    "min_pool_size" : 0,\n'
        '\t"enable_eni_trunking":true ,\n  "eni_tags": {"a":"b"}\n}\n'
    )


@pytest.mark.parametrize("value", ["1", '"true"', "null", "false"])
def test_what_is_not_true_becomes_true(value: str) -> None:
    assert edited(f'{{"{TRUNKING}": {value}}}', {TRUNKING: True}) == f'{{"{TRUNKING}": true}}'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{\n  "a": 1,\n  ...\n}', "line 3 column 3"),
        ('{"a": 1 "b"}', "line 1 column 9"),
        ('{"a": 1', "line 1 column 8"),
        ("", "line 1 column 1"),
        ("[1]", "a list, no object"),
        ('{"a": NaN}', "NaN"),
        ("[" * 100_000, "nested too deeply"),
        ('{"enable_eni_trunking": false, "enable_eni_trunking": true}', "twice"),
    ],
)
def test_what_is_no_object_is_refused_with_the_place(text: str, says: str) -> None:
    with pytest.raises(EniConfigTextError, match=says):
        edited(text, WANTED)
