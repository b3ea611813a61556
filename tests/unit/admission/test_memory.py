"""Memory is what the watches brought; it is complete or says what is missing."""

import asyncio
from typing import Any

from consumers.admission.memory import WatchedMemory
from consumers.kube.reflector import Bookmark, Deleted, Event, Observed, Relisted
from ledger.rules.eni_config import EniConfig, EniConfigError
from tests.unit.rules.admission_cases import podnetworking_object


def listed(*objects: dict[str, Any]) -> list[Event]:
    seen: list[Event] = []
    for obj in objects:
        metadata = obj["metadata"]
        key = "/".join(part for part in (metadata.get("namespace"), metadata["name"]) if part)
        seen.append(Observed(key, obj, 5))
    return [Relisted("start", 5), *seen, Bookmark(5)]


def test_each_resource_is_missing_until_its_list_is_complete() -> None:
    async def scenario() -> None:
        memory = WatchedMemory()
        assert list(memory.missing) == ["podnetworkings", "namespaces", "podenis", "config"]
        await memory.take_podnetworkings([Relisted("start", 5)])
        assert "podnetworkings" in memory.missing
        for take in (
            memory.take_podnetworkings,
            memory.take_namespaces,
            memory.take_podenis,
            memory.take_config,
        ):
            await take(listed())
        assert not memory.missing

    asyncio.run(scenario())


def test_podnetworkings_follow_changes_and_an_unreadable_one_hides_nobody() -> None:
    async def scenario() -> None:
        memory = WatchedMemory()
        broken = {"metadata": {"name": "broken"}, "spec": {"vSwitchOptions": "vsw-1"}}
        await memory.take_podnetworkings(listed(podnetworking_object("b"), broken))
        assert [each.name for each in memory.podnetworkings()] == ["b"]
        assert memory.podnetworkings() is memory.podnetworkings()
        await memory.take_podnetworkings([Observed("a", podnetworking_object("a"), 6)])
        assert [each.name for each in memory.podnetworkings()] == ["a", "b"]
        await memory.take_podnetworkings([Deleted("b", podnetworking_object("b"), 7)])
        assert [each.name for each in memory.podnetworkings()] == ["a"]

    asyncio.run(scenario())


def test_namespaces_podenis_and_the_config_are_found_by_name() -> None:
    async def scenario() -> None:
        memory = WatchedMemory()
        await memory.take_namespaces(
            listed({"metadata": {"name": "example", "labels": {"a": "b"}}})
        )
        podeni = {
            "metadata": {"namespace": "example", "name": "p-0"},
            "spec": {"zone": "h", "allocations": [{"ipv4": "10.0.0.1"}]},
            "status": {"phase": "Bind"},
        }
        malformed = {"metadata": {"namespace": "example", "name": "p-1"}, "spec": []}
        await memory.take_podenis(listed(podeni, malformed))
        assert memory.namespace_labels("example") == {"a": "b"}
        assert memory.namespace_labels("other") is None
        assert memory.podeni("example", "p-0") == {
            "metadata": {"deletionTimestamp": None},
            "spec": {"zone": "h", "allocations": [{}]},
        }
        assert memory.podeni("example", "p-1") == {}
        assert memory.podeni("other", "p-0") is None

        assert memory.eni_config() is None
        config: dict[str, Any] = {
            "metadata": {"namespace": "kube-system", "name": "eni-config"},
            "data": {"eni_conf": '{"vswitches":{"h":["vsw-1"]},"security_group":"sg-1"}'},
        }
        await memory.take_config(listed(config))
        assert memory.eni_config() == EniConfig(("vsw-1",), ("sg-1",))
        await memory.take_config(listed({**config, "data": {"eni_conf": "{"}}))
        assert isinstance(memory.eni_config(), EniConfigError)

    asyncio.run(scenario())


def test_waiting_ends_with_the_change_or_with_the_time() -> None:
    async def scenario() -> None:
        memory = WatchedMemory()
        waiting = asyncio.create_task(
            memory.wait_for(lambda: memory.namespace_labels("example") is not None, 30)
        )
        await memory.take_namespaces(listed({"metadata": {"name": "example"}}))
        assert await waiting is True
        assert await memory.wait_for(lambda: False, 0.01) is False

    asyncio.run(scenario())
