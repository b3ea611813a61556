"""Entries as they are stored: what was written once must be read for ever (P6, P7)."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import pytest
from pydantic import BaseModel, ValidationError

from ledger.rules import entries as e
from ledger.rules.entries import Address, Entry, Place, Retention, Terms, read_entry

GOLDEN = Path(__file__).with_name("entries.golden.json")
ID = UUID(int=7)
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
PLACE = Place(node="node-h1", instance_id="i-1", zone="zone-h", trunk_eni_id="eni-trunk")
ADDRESS = Address(
    eni="eni-1",
    mac="00:16:3e:00:00:01",
    vpc="vpc-1",
    vswitch="vsw-h",
    zone="zone-h",
    ipv4="192.168.0.10",
    ipv6="2408::10",
    ipv4_cidr="192.168.0.0/19",
    ipv6_cidr="2408::/64",
    security_group_ids=("sg-1", "sg-2"),
    resource_group_id="rg-1",
)
TERMS = Terms(
    vswitch_ids=("vsw-h", "vsw-g"),
    security_group_ids=("sg-1", "sg-2"),
    eni_type="Trunk",
    selection_policy="most",
    resource_group_id="rg-1",
    default_route=True,
    extra_routes=("10.0.0.0/8",),
    allocation_type="Fixed",
    release_strategy="TTL",
    release_after="1h",
)

SAMPLES: tuple[Entry, ...] = (
    e.Requested(
        cluster="c1",
        namespace="shop",
        pod="web-0",
        interface="eth0",
        pod_uid="uid-1",
        node="node-h1",
        terms=TERMS,
        retention=Retention(rule="ttl", after_s=3600),
    ),
    e.Claimed(pod_uid="uid-2", node="node-h2"),
    e.GoneReported(pod_uid="uid-1", how="deleted"),
    e.GoneRefuted(pod_uid="uid-1"),
    e.AbsenceConfirmed(pod_uid="uid-1", found="absent", ttl_due=AT),
    e.TtlRestarted(gap="epoch 0 version 5 to 9", ttl_due=AT),
    e.ReleaseRequested(how="command", by="ann@host", reason="moved away"),
    e.ReleaseWithdrawn(podeni_uid="pe-1"),
    e.ReleaseDecided(why="ttl", note="due"),
    e.SecurityGroupsAsked(security_group_ids=("sg-2",), by="ann@host", reason="audit"),
    e.Adopted(
        address=ADDRESS,
        place=PLACE,
        vlan=1001,
        eni_type="Member",
        podeni_uid="pe-1",
        inferred=("x",),
    ),
    e.Placed(place=PLACE),
    e.CallIntended(
        intent=ID,
        api="CreateNetworkInterface",
        client_token="token",
        parameters={"vswitch_id": "vsw-h"},
        deadline=AT,
    ),
    e.CallDone(intent=ID, settled_by="look", request_id="r-1", address=ADDRESS, already_gone=True),
    e.CallRefused(
        intent=ID, code="Throttling.User", message="slow down", request_id="r-1", throttled=True
    ),
    e.CallUnknown(intent=ID, code="ReadTimeout", message="no answer"),
    e.CallUndone(intent=ID, request_id="r-1"),
    e.CallRepeated(intent=ID, deadline=AT),
    e.Attached(instance_id="i-1", trunk_eni_id="eni-trunk", vlan=1001, eni_type="Member"),
    e.AttachFailed(status="Available"),
    e.Detached(),
    e.EniGone(expected=True),
    e.PodEniWritten(phase="Bind", uid="pe-1"),
    e.PodEniRestored(uid="pe-2", differed=("status.phase",), by="kubectl-edit"),
    e.Released(),
    e.Returned(to="terway-controlplane", by="ann@host", reason="moving back"),
    e.ReleaseAwaited(resource_version=100),
    e.Parked(reason="both hold it", next_step="look", disputed=ADDRESS, with_allocation=ID),
    e.Unparked(by="ann@host"),
    e.CarriedForward(
        state={"id": str(ID), "version": 9, "phase": "bound"},
        period=e.OpenPeriod(opened_by=4, since=AT),
        calls=(
            e.OpenCall(
                intent=ID,
                api="CreateNetworkInterface",
                client_token="token",
                parameters={"vswitch_id": "vsw-h"},
                intended_at=AT,
                deadline=AT,
            ),
        ),
        disputed=("eni-1",),
    ),
)


def stored(entry: Entry) -> dict[str, Any]:
    """`data` as the book writes it."""
    data: dict[str, Any] = json.loads(json.dumps(entry.model_dump(mode="json", exclude={"kind"})))
    return data


def golden() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(GOLDEN.read_text())
    return found


def kinds() -> dict[str, type[BaseModel]]:
    union = get_args(get_args(Entry)[0])
    return {model.model_fields["kind"].default: model for model in union}


def test_every_kind_has_a_sample() -> None:
    assert {sample.kind for sample in SAMPLES} == set(kinds())


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kind)
def test_p6_an_entry_comes_back_from_its_stored_form_unchanged(sample: Entry) -> None:
    assert read_entry(sample.kind, stored(sample)) == sample


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kind)
def test_p7_the_stored_form_never_changes(sample: Entry) -> None:
    """A renamed or dropped field makes a written ledger unreadable: only ever add one, with a default.

    The golden file has what was once written; what is added since is welcome there, by hand.
    """
    assert kept_of(stored(sample), golden()[sample.kind]) == golden()[sample.kind]


def kept_of(now: Any, then: Any) -> Any:
    """What of `now` was there `then`."""
    if isinstance(now, dict) and isinstance(then, dict):
        return {key: kept_of(value, then[key]) for key, value in now.items() if key in then}
    return now


@pytest.mark.parametrize("kind", sorted(kinds()))
def test_p6_an_entry_stored_before_an_optional_field_existed_is_read(kind: str) -> None:
    """Every field that has a default may be missing, at every depth."""
    oldest = _without_optional(kinds()[kind], golden()[kind])
    read = read_entry(kind, oldest)
    for name, field in type(read).model_fields.items():
        if not field.is_required() and name != "kind":
            assert getattr(read, name) == field.get_default()


@pytest.mark.parametrize("kind", sorted(kinds()))
def test_an_unknown_field_is_refused(kind: str) -> None:
    """Written by a newer version: to fold it wrongly would be worse than to stop."""
    with pytest.raises(ValidationError, match="Extra inputs"):
        read_entry(kind, golden()[kind] | {"from_the_future": 1})


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValidationError, match="does not match any of the expected tags"):
        read_entry("teleported", {})


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kind)
def test_p7_an_entry_can_not_be_changed(sample: Entry) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        sample.kind = "other"  # type: ignore[misc,assignment]


def test_times_keep_their_instant_to_the_microsecond() -> None:
    told = read_entry(
        "call-repeated", {"intent": str(ID), "deadline": "2026-01-02T11:04:05.678901+08:00"}
    )
    assert isinstance(told, e.CallRepeated)
    assert told.deadline == AT


def _without_optional(model: type[BaseModel], data: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if name not in data or not field.is_required():
            continue
        inner = field.annotation
        nested = isinstance(inner, type) and issubclass(inner, BaseModel)
        kept[name] = _without_optional(inner, data[name]) if nested else data[name]  # type: ignore[arg-type]
    return kept
