"""Reference §1.1, §1.2: the schemas that users, schedulers and the node agent rely on."""

from pathlib import Path
from typing import Any

import pytest
import yaml

CRDS = Path(__file__).parents[2] / "deploy" / "crds"


def crd(plural: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
    return loaded


def field(plural: str, path: str) -> dict[str, Any]:
    """The schema at `path`: dots step into properties, `[]` into items, `{}` into map values."""
    found = crd(plural)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for step in path.split("."):
        name = step.removesuffix("[]").removesuffix("{}")
        found = found["properties"][name]
        if step.endswith("[]"):
            found = found["items"]
        elif step.endswith("{}"):
            found = found["additionalProperties"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("plural", "kind", "scope"),
    [("podnetworkings", "PodNetworking", "Cluster"), ("podenis", "PodENI", "Namespaced")],
)
def test_group_version_names_and_status_subresource(plural: str, kind: str, scope: str) -> None:
    spec = crd(plural)["spec"]
    assert spec["group"] == "network.alibabacloud.com"
    assert (spec["names"]["plural"], spec["names"]["singular"]) == (plural, kind.lower())
    assert (spec["names"]["kind"], spec["scope"]) == (kind, scope)
    (version,) = spec["versions"]
    assert (version["name"], version["served"], version["storage"]) == ("v1beta1", True, True)
    assert version["subresources"] == {"status": {}}


@pytest.mark.parametrize(
    ("path", "enum", "default"),
    [
        ("spec.eniOptions.eniType", {"Trunk", "ENI", "Default"}, "Default"),
        ("spec.allocationType.type", {"Elastic", "Fixed"}, "Elastic"),
        ("spec.allocationType.releaseStrategy", {"TTL", "Never"}, None),
        (
            "spec.vSwitchSelectOptions.vSwitchSelectionPolicy",
            {"ordered", "random", "most"},
            "ordered",
        ),
    ],
)
def test_podnetworking_enums_and_defaults(path: str, enum: set[str], default: str | None) -> None:
    found = field("podnetworkings", path)
    assert set(found["enum"]) == enum
    assert found.get("default") == default


def test_podnetworking_defaults_of_whole_objects_and_the_only_required_key() -> None:
    assert field("podnetworkings", "spec.eniOptions")["default"] == {"eniType": "Default"}
    assert field("podnetworkings", "spec.eniOptions")["required"] == ["eniType"]
    assert field("podnetworkings", "spec.vSwitchSelectOptions")["default"] == {
        "vSwitchSelectionPolicy": "ordered"
    }
    assert "default" not in field("podnetworkings", "spec.allocationType")
    assert field("podnetworkings", "spec")["required"] == ["eniOptions"]


@pytest.mark.parametrize(
    "path",
    [
        "spec.allocationType.releaseAfter",
        "spec.selector.podSelector.matchLabels",
        "spec.selector.namespaceSelector.matchExpressions[].operator",
        "spec.securityGroupIDs[]",
        "spec.vSwitchOptions[]",
        "status.status",
        "status.message",
        "status.vSwitches[].id",
        "status.vSwitches[].zone",
    ],
)
def test_podnetworking_fields_without_limits(path: str) -> None:
    found = field("podnetworkings", path)
    assert not {"enum", "pattern", "minLength", "maxItems"} & found.keys()


def test_podnetworking_lists_have_no_schema_limit() -> None:
    for path in ("spec.securityGroupIDs", "spec.vSwitchOptions"):
        assert "maxItems" not in field("podnetworkings", path)
    assert field("podnetworkings", "status.updateAt")["format"] == "date-time"


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ("spec.zone", "string"),
        ("spec.allocations[].allocationType.releaseAfter", "string"),
        ("spec.allocations[].eni.id", "string"),
        ("spec.allocations[].eni.vpcID", "string"),
        ("spec.allocations[].eni.mac", "string"),
        ("spec.allocations[].eni.zone", "string"),
        ("spec.allocations[].eni.vSwitchID", "string"),
        ("spec.allocations[].eni.resourceGroupID", "string"),
        ("spec.allocations[].eni.securityGroupIDs", "array"),
        ("spec.allocations[].eni.attachmentOptions.trunk", "boolean"),
        ("spec.allocations[].ipv4", "string"),
        ("spec.allocations[].ipv6", "string"),
        ("spec.allocations[].ipv4CIDR", "string"),
        ("spec.allocations[].ipv6CIDR", "string"),
        ("spec.allocations[].interface", "string"),
        ("spec.allocations[].defaultRoute", "boolean"),
        ("spec.allocations[].extraRoutes[].dst", "string"),
        ("spec.allocations[].extraConfig{}", "string"),
        ("status.phase", "string"),
        ("status.instanceID", "string"),
        ("status.trunkENIID", "string"),
        ("status.msg", "string"),
        ("status.podLastSeen", "string"),
        ("status.eniInfos{}.id", "string"),
        ("status.eniInfos{}.vid", "integer"),
        ("status.eniInfos{}.networkCardIndex", "integer"),
        ("status.eniInfos{}.vfID", "integer"),
    ],
)
def test_podeni_fields(path: str, type_: str) -> None:
    assert field("podenis", path)["type"] == type_


def test_podeni_enums() -> None:
    allocation = "spec.allocations[].allocationType."
    assert field("podenis", f"{allocation}type")["enum"] == ["Elastic", "Fixed"]
    assert field("podenis", f"{allocation}type")["default"] == "Elastic"
    assert field("podenis", f"{allocation}releaseStrategy")["enum"] == ["TTL", "Never"]
    assert set(field("podenis", "status.eniInfos{}.type")["enum"]) == {
        "Secondary",
        "Trunk",
        "Primary",
        "Member",
    }
    assert set(field("podenis", "status.eniInfos{}.status")["enum"]) == {
        "Bind",
        "Unbind",
        "Deleted",
    }


def test_the_phase_of_a_podeni_is_not_limited_by_the_schema() -> None:
    assert "enum" not in field("podenis", "status.phase")
