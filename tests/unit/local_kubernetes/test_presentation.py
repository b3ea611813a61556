"""Tables, protobuf bodies, and the documents that kubectl reads."""

from datetime import UTC, datetime

import pytest

from deploy.local.kubernetes import discovery, openapi, protobuf, tables
from deploy.local.kubernetes.core import Core
from deploy.local.kubernetes.errors import ApiError
from deploy.local.kubernetes.port_adapter import InProcess
from tests.unit.local_kubernetes.shapes import POD_ENIS, PODS, pod, pod_eni

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stamp", "text"),
    [
        ("2026-01-01T23:59:58Z", "2s"),
        ("2026-01-01T23:58:01Z", "119s"),
        ("2026-01-01T23:55:57Z", "4m3s"),
        ("2026-01-01T23:00:00Z", "60m"),
        ("2026-01-01T20:55:00Z", "3h5m"),
        ("2026-01-01T00:00:00Z", "24h"),
        ("2025-12-01T00:00:00Z", "32d"),
        (None, "<unknown>"),
    ],
)
def test_ages(stamp: str | None, text: str) -> None:
    assert tables.age(stamp, NOW) == text


def test_a_table_of_pods(api: InProcess, core: Core) -> None:
    api.create(PODS, pod("a", "node-1"))
    api.strategic(f"{PODS}/a/status", {"status": {"phase": "Running", "containerStatuses": [
        {"name": "app", "ready": True, "restartCount": 2, "image": "i", "imageID": "i"}]}})  # fmt: skip
    made = tables.table(
        core.type("", "v1", "pods"), [api.get(f"{PODS}/a")], {}, core.sources.now(), ""
    )
    names = [column["name"] for column in made["columnDefinitions"]]
    cells = dict(zip(names, made["rows"][0]["cells"], strict=True))
    assert cells["Name"] == "a"
    assert (cells["Ready"], cells["Status"], cells["Restarts"]) == ("1/1", "Running", 2)
    assert cells["Node"] == "node-1"


def test_a_table_of_custom_resources_follows_its_columns(api: InProcess, core: Core) -> None:
    api.create(
        POD_ENIS, pod_eni("a", zone="z", allocations=[{"ipv4": "1.1.1.1"}, {"ipv4": "1.1.1.2"}])
    )
    found = core.type("network.alibabacloud.com", "v1beta1", "podenis")
    made = tables.table(found, [api.get(f"{POD_ENIS}/a")], {}, core.sources.now(), "Object")
    names = [column["name"] for column in made["columnDefinitions"]]
    cells = dict(zip(names, made["rows"][0]["cells"], strict=True))
    assert (cells["IPv4"], cells["Zone"], cells["Phase"]) == ("1.1.1.1,1.1.1.2", "z", None)


def text(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def test_a_namespace_in_protobuf() -> None:
    metadata = text(1, b"team") + text(11, text(1, b"foo") + text(2, b"bar")) + text(8, b"")
    raw = text(1, metadata) + text(2, b"") + text(3, text(1, b""))
    body = b"k8s\x00" + text(1, text(1, b"v1") + text(2, b"Namespace")) + text(2, raw)
    decoded = protobuf.decode(body)
    assert decoded == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "team", "labels": {"foo": "bar"}},
    }


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{}", 400),
        (b"k8s\x00" + text(1, text(1, b"v1") + text(2, b"Node")) + text(2, b""), 415),
        (b"k8s\x00" + text(1, text(1, b"v1") + text(2, b"Namespace")) + b"\x12\x50abc", 400),
        (
            b"k8s\x00" + text(1, text(1, b"v1") + text(2, b"Namespace")) + text(2, text(9, b"x")),
            415,
        ),
    ],
)
def test_other_protobuf_is_refused(body: bytes, code: int) -> None:
    with pytest.raises(ApiError) as refused:
        protobuf.decode(body)
    assert refused.value.code == code


def test_discovery_names_what_is_served(core: Core) -> None:
    groups = [group["name"] for group in discovery.groups(core.registry)["groups"]]
    assert "network.alibabacloud.com" in groups
    listed = discovery.resources(core.registry, "network.alibabacloud.com", "v1beta1")
    assert listed is not None
    assert {r["name"] for r in listed["resources"]} == {
        "podenis", "podenis/status", "podnetworkings", "podnetworkings/status",
    }  # fmt: skip
    assert discovery.resources(core.registry, "nothing", "v1") is None
    assert discovery.VERSION["platform"] == "simulated"


def test_every_listed_openapi_document_resolves_its_references(core: Core) -> None:
    index = openapi.document(core.registry, ["v3"])
    assert index is not None
    for path in index["paths"]:
        made = openapi.document(core.registry, ["v3", *path.split("/")])
        assert made is not None
        schemas = made["components"]["schemas"]
        assert set(references(made)) <= set(schemas), path


def references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"].rsplit("/", 1)[1]] if isinstance(value.get("$ref"), str) else []
        return own + [name for inner in value.values() for name in references(inner)]
    return [name for item in value for name in references(item)] if isinstance(value, list) else []
