"""The cloud beside the oracle: ENIs that move when time passes, and creates that know their tokens."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from consumers.cloud.port import ATTACHING, AVAILABLE, DELETING, DETACHING, IN_USE, Eni
from ledger.rules import entries as e
from ledger.rules.under_way import Intent

#: How long an attach, detach or delete is under way.
MOTION = timedelta(seconds=2)


@dataclass
class Cloud:
    """Every ENI there is, by id."""

    enis: dict[str, Eni] = field(default_factory=dict)
    _moved: dict[str, datetime] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def pass_time(self, now: datetime) -> None:
        for id_, since in list(self._moved.items()):
            if now - since < MOTION:
                continue
            del self._moved[id_]
            eni = self.enis[id_]
            if eni.status == ATTACHING:
                vlan = int(id_.split("-")[1]) + 1000
                self.enis[id_] = replace(eni, status=IN_USE, vlan=vlan)
            elif eni.status == DETACHING:
                self.enis[id_] = replace(
                    eni, status=AVAILABLE, instance_id=None, trunk_eni_id=None, vlan=None
                )
            elif eni.status == DELETING:
                del self.enis[id_]

    def made_with(self, token: str) -> Eni | None:
        return next((each for each in self.enis.values() if each.tags["token"] == token), None)

    def take(self, intent: Intent, now: datetime) -> e.Address | Literal["refused"] | None:
        """A call takes effect: the address it made, "refused", or None for an acknowledgement."""
        if intent.api == "CreateNetworkInterface":
            return address_of(self._create(str(intent.client_token), now))
        told = intent.parameters
        eni = self.enis.get(told["eni"])
        if eni is None:
            return "refused" if intent.api == "AttachNetworkInterface" else None
        match intent.api, eni.status:
            case "AttachNetworkInterface", "Available":
                moving = replace(
                    eni,
                    status=ATTACHING,
                    instance_id=told["instance_id"],
                    trunk_eni_id=told.get("trunk_eni_id"),
                )
            case "DetachNetworkInterface", "InUse":
                moving = replace(eni, status=DETACHING)
            case "DeleteNetworkInterface", "Available":
                moving = replace(eni, status=DELETING)
            case _:
                return "refused"
        self.enis[eni.id] = moving
        self._moved[eni.id] = now
        return None

    def _create(self, token: str, now: datetime) -> Eni:
        """The same token makes the same ENI."""
        found = self.made_with(token)
        if found is not None:
            return found
        number = next(self._numbers)
        eni = Eni(
            id=f"eni-{number}",
            mac=f"00:16:3e:00:{number // 256:02x}:{number % 256:02x}",
            status=AVAILABLE,
            type="Member",
            vpc_id="vpc-1",
            vswitch_id="vsw-h",
            zone="zone-h",
            ipv4=f"192.168.{number // 256}.{number % 256}",
            ipv6=None,
            security_group_ids=("sg-1",),
            instance_id=None,
            trunk_eni_id=None,
            vlan=None,
            network_card_index=None,
            tags={"token": token},
            created_at=now,
            resource_group_id="",
        )
        self.enis[eni.id] = eni
        return eni

    def judge_bind(self, podeni: dict[str, Any]) -> None:
        """What the node agent needs is true at the moment of Bind (reference §6.10)."""
        status = podeni["status"]
        if status["phase"] != "Bind":
            return
        for item in podeni["spec"]["allocations"]:
            eni = self.enis[item["eni"]["id"]]
            assert eni.status == IN_USE, "bound before the ENI is in use"
            assert eni.instance_id == status["instanceID"]
            assert eni.trunk_eni_id == status["trunkENIID"]
            assert eni.vlan == status["eniInfos"][eni.id]["vid"]


def address_of(eni: Eni) -> e.Address:
    """What the book keeps of it."""
    return e.Address(
        eni=eni.id,
        mac=eni.mac,
        vpc=eni.vpc_id,
        vswitch=eni.vswitch_id,
        zone=eni.zone,
        ipv4=eni.ipv4,
        security_group_ids=eni.security_group_ids,
    )
