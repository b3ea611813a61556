"""PodNetworkings: read with the CRD's defaults; the status is stable whatever the cloud says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.rules.podnetworkings import (
    PodNetworking,
    PodNetworkingError,
    PodNetworkingStatus,
    VSwitchZone,
    podnetworking_status,
    status_differs,
)
from ledger.rules.vswitches import VSwitchFacts


def podnetworking(spec: dict[str, Any], status: dict[str, Any] | None = None) -> PodNetworking:
    return PodNetworking.from_object(
        {"metadata": {"name": "example", "generation": 3}, "spec": spec, "status": status}
    )


def found(*ids: str) -> dict[str, VSwitchFacts]:
    return {id_: VSwitchFacts(id_, f"zone-{id_}", "10.0.0.0/24") for id_ in ids}


def ready(*ids: str) -> dict[str, Any]:
    return {"status": "Ready", "vSwitches": [{"id": id_, "zone": f"zone-{id_}"} for id_ in ids]}


def test_the_documents_example_is_read() -> None:
    read = podnetworking(
        {
            "allocationType": {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1h"},
            "selector": {
                "podSelector": {"matchLabels": {"foo": "bar"}},
                "namespaceSelector": {"matchLabels": {"foo": "bar"}},
            },
            "securityGroupIDs": ["sg-bpxxxx"],
            "vSwitchOptions": ["vsw-bpxxxx"],
        },
        {"status": "Ready"},
    )
    assert read.allocation.fixed
    assert read.allocation.release_after is not None
    assert read.pod_selector is not None
    assert read.namespace_selector is not None
    assert (read.eni_type, read.selection_policy, read.generation) == ("Default", "ordered", 3)
    assert read.ready
    assert read.zones == frozenset()


def test_an_empty_selector_is_not_an_absent_one() -> None:
    assert not podnetworking({}).has_selector
    assert not podnetworking({"selector": {"podSelector": None}}).has_selector
    assert podnetworking({"selector": {"podSelector": {}}}).has_selector


def test_an_unreadable_selector_is_kept_as_an_error() -> None:
    read = podnetworking({"selector": {"podSelector": {"matchLabels": {"a b": "c"}}}})
    assert "spec.selector.podSelector.matchLabels" in read.selector_error
    assert not read.has_selector


def test_wrong_types_are_named() -> None:
    with pytest.raises(
        PodNetworkingError, match=r"PodNetworking example: spec.vSwitchOptions is a s"
    ):
        podnetworking({"vSwitchOptions": "vsw-1"})
    with pytest.raises(PodNetworkingError, match=r"without metadata.name"):
        PodNetworking.from_object({})


def test_all_found_is_ready_in_spec_order() -> None:
    wanted = podnetworking_status(
        podnetworking({"vSwitchOptions": ["b", "a"]}), found("a", "b"), {}
    )
    assert wanted == PodNetworkingStatus(
        "Ready", "", (VSwitchZone("b", "zone-b"), VSwitchZone("a", "zone-a"))
    )
    assert wanted.to_object("2026-01-01T00:00:00Z") == {
        "status": "Ready",
        "updateAt": "2026-01-01T00:00:00Z",
        "vSwitches": [{"id": "b", "zone": "zone-b"}, {"id": "a", "zone": "zone-a"}],
    }


def test_a_missing_vswitch_fails_and_keeps_the_zones_of_before() -> None:
    """Also after Ready: a vSwitch deleted later shows."""
    wanted = podnetworking_status(podnetworking({"vSwitchOptions": ["a"]}, ready("a")), {}, {})
    assert wanted.status == "Fail"
    assert wanted.message.startswith("vSwitch a not found")
    assert wanted.vswitches == (VSwitchZone("a", "zone-a"),)


def test_a_status_claimed_in_the_manifest_is_not_believed() -> None:
    claimed = podnetworking({"vSwitchOptions": ["a"]}, {"status": "Ready"})
    assert podnetworking_status(claimed, {}, {}).status == "Fail"
    assert podnetworking_status(claimed, {}, {"a": "Throttling"}).status == "Fail"


def test_a_look_without_an_answer_does_not_take_ready_away() -> None:
    current = podnetworking({"vSwitchOptions": ["a"]}, ready("a"))
    wanted = podnetworking_status(current, {}, {"a": "Throttling.User"})
    assert wanted.status == "Ready"
    assert not status_differs(current, wanted)


def test_an_unanswered_look_at_a_changed_spec_fails_until_it_is_answered() -> None:
    current = podnetworking({"vSwitchOptions": ["a", "b"]}, ready("a"))
    wanted = podnetworking_status(current, found("a"), {"b": "Throttling"})
    assert (wanted.status, "b (Throttling)" in wanted.message) == ("Fail", True)


def test_a_spec_that_cannot_work_fails_without_a_look() -> None:
    assert podnetworking_status(podnetworking({}), {}, {}).status == "Fail"
    bad = {"vSwitchOptions": ["a"], "selector": {"podSelector": {"matchLabels": {"a b": "c"}}}}
    assert podnetworking_status(podnetworking(bad), found("a"), {}).status == "Fail"


def settled(current: PodNetworking, wanted: PodNetworkingStatus) -> PodNetworking:
    """The object as it is read back after the status was written."""
    return podnetworking(
        {"vSwitchOptions": list(current.vswitch_ids)}, wanted.to_object("2026-01-01T00:00:00Z")
    )


@given(st.text(max_size=30), st.text(max_size=30))
def test_w3_request_ids_and_times_in_an_error_never_cause_a_second_write(a: str, b: str) -> None:
    current = podnetworking({"vSwitchOptions": ["vsw-1"]})
    first = podnetworking_status(current, {}, {"vsw-1": f"InternalError: requestID: {a}"})
    again = podnetworking_status(
        settled(current, first), {}, {"vsw-1": f"InternalError: requestID: {b}"}
    )
    assert status_differs(current, first)
    assert not status_differs(settled(current, first), again)


@pytest.mark.parametrize(
    "lookups", [({}, {}), (found("vsw-1"), {}), ({}, {"vsw-1": "Forbidden.RAM"})]
)
def test_a_written_status_is_at_rest(
    lookups: tuple[dict[str, VSwitchFacts], dict[str, str]],
) -> None:
    current = podnetworking({"vSwitchOptions": ["vsw-1"]})
    written = settled(current, podnetworking_status(current, *lookups))
    assert not status_differs(written, podnetworking_status(written, *lookups))
