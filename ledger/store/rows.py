"""Rows as the hot queries bind them: one list a column, made from rules' own types. Pure."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from ledger.rules.allocation import Allocation, Recorded
from ledger.rules.tenures import Holding


class EntryRow(NamedTuple):
    """A row of `ledger.entry` before its id and time."""

    cluster: str
    allocation_id: UUID | None
    version: int | None
    kind: str
    cause: str
    data: str


class AllocationRow(NamedTuple):
    """A row of `ledger.allocation`; `state` is the whole allocation, the rest are its claims and keys."""

    id: UUID
    version: int
    cluster: str
    namespace: str
    pod: str
    interface: str
    phase: str
    parked: str | None
    pod_uid: str
    node: str
    vpc: str | None
    ipv4: str | None
    ipv6: str | None
    eni: str | None
    mac: str | None
    instance: str | None
    trunk: str | None
    vlan: int | None
    vswitch: str | None
    ttl_due: str | None
    created_at: str
    changed_at: str
    state: str


class TenureRow(NamedTuple):
    """A period as it opens."""

    id: UUID
    cluster: str
    namespace: str
    pod: str
    interface: str
    pod_uid: str
    node: str
    kind: str
    vpc: str
    ipv4: str | None
    ipv6: str | None
    eni: str
    mac: str
    vswitch: str
    instance: str | None
    trunk: str | None
    vlan: int | None
    version: int


class EndingRow(NamedTuple):
    """A period that ends: the allocation and the version that ends it."""

    id: UUID
    version: int


def entry_row(cluster: str, recorded: Recorded, cause: Mapping[str, Any]) -> EntryRow:
    """The row of one entry."""
    data = recorded.entry.model_dump(mode="json", exclude={"kind"})
    return EntryRow(
        cluster,
        recorded.allocation_id,
        recorded.version,
        recorded.entry.kind,
        json.dumps(dict(cause)),
        json.dumps(data),
    )


def allocation_row(state: Allocation) -> AllocationRow:
    """The row of one state. A VLAN is claimed from the first look that shows it until the ENI is off."""
    address, attachment = state.address, state.attachment
    return AllocationRow(
        id=state.id,
        version=state.version,
        cluster=state.cluster,
        namespace=state.namespace,
        pod=state.pod,
        interface=state.interface,
        phase=state.phase.value,
        parked=state.parked,
        pod_uid=state.pod_uid,
        node=state.node,
        vpc=address.vpc if address else None,
        ipv4=address.ipv4 if address else None,
        ipv6=address.ipv6 if address else None,
        eni=address.eni if address else None,
        mac=address.mac if address else None,
        instance=attachment.instance_id if attachment else None,
        trunk=attachment.trunk_eni_id if attachment else None,
        vlan=attachment.vlan if attachment else None,
        vswitch=address.vswitch if address else None,
        ttl_due=_text(state.ttl_due),
        created_at=state.created_at.isoformat(),
        changed_at=state.changed_at.isoformat(),
        state=state.model_dump_json(),
    )


def tenure_row(state: Allocation, holding: Holding, version: int) -> TenureRow:
    """The row of the period that the entry of this version opened."""
    address = holding.address
    return TenureRow(
        id=state.id,
        cluster=state.cluster,
        namespace=state.namespace,
        pod=state.pod,
        interface=state.interface,
        pod_uid=holding.pod_uid,
        node=holding.node,
        kind=holding.kind,
        vpc=address.vpc,
        ipv4=address.ipv4 or None,
        ipv6=address.ipv6,
        eni=address.eni,
        mac=address.mac,
        vswitch=address.vswitch,
        instance=holding.instance_id,
        trunk=holding.trunk_eni_id,
        vlan=holding.vlan,
        version=version,
    )


def columns(rows: Sequence[NamedTuple]) -> dict[str, list[Any]]:
    """Rows of one kind as one list a column, for unnest."""
    names = rows[0]._fields
    return {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
