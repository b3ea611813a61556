"""The eni-config ConfigMap: sorted, deduplicated, or an error that says which part."""

import json

import pytest

from ledger.rules.eni_config import EniConfig, EniConfigError


def test_vswitches_of_all_zones_and_both_kinds_of_groups_are_sorted_and_deduplicated() -> None:
    text = json.dumps(
        {
            "vswitches": {"zone-h": ["vsw-2", "vsw-3"], "zone-g": ["vsw-1", "vsw-2"]},
            "security_group": "sg-2",
            "security_groups": ["sg-1", "sg-2"],
            "max_pool_size": 5,
        }
    )
    assert EniConfig.from_object({"data": {"eni_conf": text}}) == EniConfig(
        ("vsw-1", "vsw-2", "vsw-3"), ("sg-1", "sg-2")
    )
    assert EniConfig.from_text('{"vswitches":null}') == EniConfig()


@pytest.mark.parametrize(
    ("config_map", "message"),
    [
        ({}, "eni_conf is empty or missing: restore"),
        ({"data": {"other": "x"}}, "is empty or missing"),
        ({"data": {"eni_conf": "{"}}, "is not JSON"),
        ({"data": {"eni_conf": "[]"}}, "is not a JSON object"),
        ({"data": {"eni_conf": '{"vswitches":["a"]}'}}, "vswitches is a list"),
        ({"data": []}, "data is a list"),
        (
            {"data": {"eni_conf": json.dumps({"security_groups": [str(i) for i in range(11)]})}},
            "names 11 security groups, 10 are allowed",
        ),
    ],
)
def test_unusable(config_map: dict[str, object], message: str) -> None:
    with pytest.raises(EniConfigError, match=message):
        EniConfig.from_object(config_map)
