"""JSON patch, merge patch and strategic merge, as pure functions."""

from typing import Any

import pytest

from deploy.local.kubernetes.errors import ApiError
from deploy.local.kubernetes.merge import json_patch, merge_patch, strategic_merge


@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
    ],
)
def test_merge_patch_follows_rfc_7386(document: Any, patch: Any, expected: Any) -> None:
    assert merge_patch(document, patch) == expected


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([{"op": "add", "path": "/b", "value": 1}], {"a": [1, 2], "b": 1}),
        ([{"op": "add", "path": "/a/-", "value": 3}], {"a": [1, 2, 3]}),
        ([{"op": "add", "path": "/a/0", "value": 0}], {"a": [0, 1, 2]}),
        ([{"op": "replace", "path": "/a/1", "value": 9}], {"a": [1, 9]}),
        ([{"op": "remove", "path": "/a/0"}], {"a": [2]}),
        ([{"op": "move", "from": "/a", "path": "/c~1d"}], {"c/d": [1, 2]}),
        ([{"op": "copy", "from": "/a/0", "path": "/e"}], {"a": [1, 2], "e": 1}),
        ([{"op": "test", "path": "/a/0", "value": 1}], {"a": [1, 2]}),
    ],
)
def test_json_patch_follows_rfc_6902(operations: Any, expected: Any) -> None:
    assert json_patch({"a": [1, 2]}, operations) == expected


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/missing"},
        {"op": "replace", "path": "/missing", "value": 1},
        {"op": "add", "path": "/a/9", "value": 1},
        {"op": "add", "path": "/x/y", "value": 1},
        {"op": "test", "path": "/a/0", "value": 7},
        {"op": "add", "path": "no-slash", "value": 1},
        {"op": "fly", "path": "/a"},
    ],
)
def test_a_json_patch_that_does_not_apply_is_refused(operation: Any) -> None:
    with pytest.raises(ApiError):
        json_patch({"a": [1, 2]}, [operation])


def test_strategic_merge_merges_containers_by_name() -> None:
    live = {"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]},
                           {"name": "b", "image": "1"}]}  # fmt: skip
    patch = {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]},
                            {"name": "b", "$patch": "delete"}, {"name": "c", "image": "3"}],
             "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}]}  # fmt: skip
    merged = strategic_merge(live, patch)
    assert merged == {
        "containers": [
            {"name": "c", "image": "3"},
            {"name": "a", "image": "1",
             "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
        ]
    }  # fmt: skip


def test_strategic_merge_replaces_lists_without_a_key() -> None:
    assert strategic_merge({"args": ["a"]}, {"args": ["b"]}) == {"args": ["b"]}
    live = {"tolerations": [{"key": "a"}]}
    assert strategic_merge(live, {"tolerations": [{"key": "b"}]}) == {"tolerations": [{"key": "b"}]}


def test_strategic_merge_knows_its_directives() -> None:
    assert strategic_merge({"a": 1, "b": 2}, {"$patch": "replace", "c": 3}) == {"c": 3}
    assert strategic_merge({"a": 1, "b": 2}, {"$retainKeys": ["a"], "a": 5}) == {"a": 5}
    dropped = {"$deleteFromPrimitiveList/finalizers": ["x"]}
    assert strategic_merge({"finalizers": ["x", "y"]}, dropped) == {"finalizers": ["y"]}


def test_service_ports_merge_by_port() -> None:
    live = {"ports": [{"port": 80, "name": "a"}]}
    assert strategic_merge(live, {"ports": [{"port": 80, "targetPort": 8080}]}) == {
        "ports": [{"port": 80, "name": "a", "targetPort": 8080}]
    }
