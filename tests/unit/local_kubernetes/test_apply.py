"""Server-side apply: ownership, conflicts, force, and what an apply takes away."""

from typing import Any

import pytest

from deploy.local.kubernetes.errors import ApiError
from deploy.local.kubernetes.fieldset import from_fields_v1, to_fields_v1
from deploy.local.kubernetes.port_adapter import InProcess
from deploy.local.kubernetes.requests import APPLY_PATCH
from tests.unit.local_kubernetes.shapes import (
    CONFIG_MAPS,
    NETWORK,
    POD_ENIS,
    POD_NETWORKINGS,
    PODS,
    STATEFUL_SETS,
    config_map,
    pod,
    pod_eni,
    stateful_set,
)

Json = dict[str, Any]


def owners(obj: Json) -> dict[str, set[str]]:
    """Top-level data keys by manager."""
    return {
        e["manager"]: {k[2:] for k in e["fieldsV1"].get("f:data", {}) if k != "."}
        for e in obj["metadata"]["managedFields"]
    }


def test_an_apply_creates_and_owns(api: InProcess) -> None:
    made = api.apply(f"{CONFIG_MAPS}/a", config_map("a", x="1"), "alice")
    assert owners(made) == {"alice": {"x"}}
    assert made["metadata"]["managedFields"][0]["operation"] == "Apply"


def test_another_managers_value_conflicts_and_names_it(api: InProcess) -> None:
    api.apply(f"{CONFIG_MAPS}/a", config_map("a", x="1", y="1"), "alice")
    with pytest.raises(ApiError) as refused:
        api.apply(f"{CONFIG_MAPS}/a", config_map("a", x="2"), "bob")
    assert (refused.value.code, refused.value.reason) == (409, "Conflict")
    assert refused.value.message == 'Apply failed with 1 conflict: conflict with "alice": .data.x'
    (line,) = refused.value.body["details"]["causes"]
    assert (line["reason"], line["field"]) == ("FieldManagerConflict", ".data.x")


def test_the_same_value_is_shared_without_conflict(api: InProcess) -> None:
    api.apply(f"{CONFIG_MAPS}/a", config_map("a", x="1"), "alice")
    both = api.apply(f"{CONFIG_MAPS}/a", config_map("a", x="1"), "bob")
    assert owners(both) == {"alice": {"x"}, "bob": {"x"}}
    left = api.apply(f"{CONFIG_MAPS}/a", config_map("a"), "alice")
    assert left["data"] == {"x": "1"}, "bob still wants it"
    gone = api.apply(f"{CONFIG_MAPS}/a", config_map("a"), "bob")
    assert not gone.get("data")


def test_force_takes_the_field_over(api: InProcess) -> None:
    api.apply(f"{CONFIG_MAPS}/a", config_map("a", x="1", y="1"), "alice")
    taken = api.apply(f"{CONFIG_MAPS}/a", config_map("a", x="2"), "bob", force=True)
    assert taken["data"] == {"x": "2", "y": "1"}
    assert owners(taken) == {"alice": {"y"}, "bob": {"x"}}


def test_what_is_applied_no_more_goes(api: InProcess) -> None:
    api.apply(f"{CONFIG_MAPS}/a", config_map("a", x="1", y="1"), "alice")
    left = api.apply(f"{CONFIG_MAPS}/a", config_map("a", x="1"), "alice")
    assert left["data"] == {"x": "1"}


def test_a_plain_update_takes_ownership_and_then_conflicts(api: InProcess) -> None:
    api.apply(f"{CONFIG_MAPS}/a", config_map("a", x="1"), "alice")
    api.patch(f"{CONFIG_MAPS}/a", {"data": {"x": "2"}})
    with pytest.raises(ApiError) as refused:
        api.apply(f"{CONFIG_MAPS}/a", config_map("a", x="1"), "alice")
    assert (
        'conflict with "admin" using v1 at 2026-01-01T00:00:00Z: .data.x' in refused.value.message
    )


def test_the_same_apply_again_writes_nothing(api: InProcess) -> None:
    first = api.apply(f"{CONFIG_MAPS}/a", config_map("a", x="1"), "alice")
    again = api.apply(f"{CONFIG_MAPS}/a", config_map("a", x="1"), "alice")
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_list_items_merge_by_their_keys(api: InProcess) -> None:
    body = {**pod("a"), "apiVersion": "v1", "kind": "Pod"}
    api.apply(f"{PODS}/a", body, "alice")
    patch = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
             "spec": {"containers": [{"name": "app", "image": "nginx:2"}]}}  # fmt: skip
    with pytest.raises(ApiError) as refused:
        api.apply(f"{PODS}/a", patch, "bob")
    assert '.spec.containers[name="app"].image' in refused.value.message


def test_scale_and_apply_meet(api: InProcess) -> None:
    api.apply(f"{STATEFUL_SETS}/web", stateful_set("web", 1), "alice")
    api.patch(f"{STATEFUL_SETS}/web/scale", {"spec": {"replicas": 3}})
    with pytest.raises(ApiError) as refused:
        api.apply(f"{STATEFUL_SETS}/web", stateful_set("web", 1), "alice")
    assert ".spec.replicas" in refused.value.message
    assert api.get(f"{STATEFUL_SETS}/web/scale")["status"]["selector"] == "app=web"


def test_a_status_apply_owns_status_only(api: InProcess) -> None:
    api.create(POD_ENIS, pod_eni("a", zone="z"))
    body = {**pod_eni("a", zone="ignored"), "status": {"phase": "Bind"}}
    shown = api.apply(f"{POD_ENIS}/a/status", body, "alice")
    assert (shown["spec"]["zone"], shown["status"]) == ("z", {"phase": "Bind"})
    (entry,) = [e for e in shown["metadata"]["managedFields"] if e["manager"] == "alice"]
    assert (entry["subresource"], set(entry["fieldsV1"])) == ("status", {"f:status"})


def test_an_apply_needs_a_manager(api: InProcess) -> None:
    with pytest.raises(ApiError) as refused:
        api.apply(f"{CONFIG_MAPS}/a", config_map("a"), "")
    assert refused.value.code == 422
    assert "fieldManager" in refused.value.message


def test_field_sets_survive_their_written_form() -> None:
    paths = frozenset({("f:a",), ("f:b", 'k:{"name":"x"}'), ("f:b", 'k:{"name":"x"}', "f:c"),
                       ("f:d", 'v:"e"')})  # fmt: skip
    assert from_fields_v1(to_fields_v1(paths)) == paths


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{POD_ENIS}/a", pod_eni("a", allocations=[{"allocationType": {}}])),
        (f"{POD_NETWORKINGS}/a", {"apiVersion": NETWORK, "kind": "PodNetworking",
                                  "metadata": {"name": "a"}, "spec": {"vSwitchOptions": ["v"]}}),
        (f"{STATEFUL_SETS}/web", stateful_set("web", 1)),
        (f"{PODS}/a", {**pod("a", "node-1", {"x": "y"}), "apiVersion": "v1", "kind": "Pod"}),
    ],
)  # fmt: skip
def test_defaults_are_nobodys_and_stay(api: InProcess, path: str, body: Json) -> None:
    first = api.apply(path, body, "alice")
    again = api.apply(path, body, "alice")
    assert again == first


def test_an_apply_of_a_part_needs_no_required_fields(api: InProcess) -> None:
    api.create(PODS, pod("a", "node-1"))
    part = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"x": "y"}}}
    assert api.apply(f"{PODS}/a", part, "alice")["metadata"]["labels"] == {"x": "y"}


def test_a_misspelt_field_is_told_also_when_the_object_exists(api: InProcess) -> None:
    api.apply(f"{POD_ENIS}/a", pod_eni("a", zone="z"), "alice")
    options = {"fieldManager": "alice", "fieldValidation": "Strict"}
    with pytest.raises(ApiError) as refused:
        api.call("PATCH", f"{POD_ENIS}/a", pod_eni("a", zoone="z"), options, APPLY_PATCH)
    assert 'unknown field "spec.zoone"' in refused.value.message
