"""Allocations to test rules on: told entry by entry, as the book would, on a clock that is given."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from ledger.rules import entries as e
from ledger.rules.allocation import Allocation, Recorded
from ledger.rules.entries import Address, Api, Entry, Place, Retention, Terms
from ledger.rules.evolution import evolve
from ledger.rules.nodes import NodeFacts
from ledger.rules.vswitches import VSwitchFacts

START = datetime(2026, 1, 1, tzinfo=UTC)
TTL_1H = Retention(rule="ttl", after_s=3600)
NEVER = Retention(rule="never")
NONE = Retention(rule="none")

TERMS = Terms(
    vswitch_ids=("vsw-h",),
    security_group_ids=("sg-1",),
    allocation_type="Fixed",
    release_strategy="TTL",
    release_after="1h",
)
ELASTIC_TERMS = Terms(vswitch_ids=("vsw-h",), security_group_ids=("sg-1",))
ADDRESS = Address(
    eni="eni-1",
    mac="00:16:3e:00:00:01",
    vpc="vpc-1",
    vswitch="vsw-h",
    zone="zone-h",
    ipv4="192.168.0.10",
    ipv4_cidr="192.168.0.0/19",
    security_group_ids=("sg-1",),
)
VSWITCH_H = VSwitchFacts("vsw-h", "zone-h", "192.168.0.0/19", "", 100)


def node(name: str = "node-h1", *, zone: str = "zone-h", trunk: bool = True) -> NodeFacts:
    """A node with a trunk, as its Node object says."""
    return NodeFacts(
        name=name,
        instance_id=f"i-{name}",
        region="cn-hangzhou",
        instance_type="ecs.g7.2xlarge",
        zone=zone,
        trunk_eni_id=f"eni-trunk-{name}" if trunk else None,
    )


def place_on(name: str = "node-h1", zone: str = "zone-h") -> Place:
    return Place(node=name, instance_id=f"i-{name}", zone=zone, trunk_eni_id=f"eni-trunk-{name}")


class Life:
    """One allocation's story; each call appends entries one second after the last."""

    def __init__(
        self,
        *,
        number: int = 1,
        interface: str = "eth0",
        pod: str = "web-0",
        uid: str = "uid-1",
        node: str = "node-h1",
        retention: Retention = TTL_1H,
        terms: Terms = TERMS,
        at: datetime = START,
    ) -> None:
        self.id = UUID(int=number)
        self.number = number
        self.now = at
        self.story: list[Recorded] = []
        self._state: Allocation | None = None
        self._intents = 0
        self.tell(
            e.Requested(
                cluster="c1",
                namespace="shop",
                pod=pod,
                interface=interface,
                pod_uid=uid,
                node=node,
                terms=terms,
                retention=retention,
            )
        )

    @property
    def a(self) -> Allocation:
        """The state reached."""
        assert self._state is not None
        return self._state

    def tell(self, *entries: Entry) -> "Life":
        for entry in entries:
            self.now += timedelta(seconds=1)
            version = (self._state.version if self._state else 0) + 1
            recorded = Recorded(
                allocation_id=self.id, version=version, recorded_at=self.now, entry=entry
            )
            self._state = evolve(self._state, recorded)
            self.story.append(recorded)
        return self

    def intend(self, api: Api, **parameters: str) -> UUID:
        """A call on its way; returns its intent."""
        self._intents += 1
        intent = UUID(int=self.number * 1000 + self._intents)
        told = e.CallIntended(
            intent=intent,
            api=api,
            client_token=str(intent) if api == "CreateNetworkInterface" else None,
            parameters=parameters,
            deadline=self.now + timedelta(seconds=16),
        )
        self.tell(told)
        return intent

    def call(self, api: Api, address: Address | None = None, **parameters: str) -> "Life":
        """A call that is answered at once."""
        intent = self.intend(api, **parameters)
        return self.tell(
            e.CallDone(intent=intent, settled_by="answer", request_id="r", address=address)
        )

    # ---------------------------------------------------------------- whole stretches of a life

    def placed(self, on: str | None = None) -> "Life":
        return self.tell(e.Placed(place=place_on(on or self.a.node)))

    def created(self, **changes: str) -> "Life":
        if self.number != 1:
            changes = {
                "eni": f"eni-{self.number}",
                "mac": f"00:16:3e:00:00:{self.number:02x}",
                "ipv4": f"192.168.0.{9 + self.number}",
                **changes,
            }
        address = ADDRESS.model_copy(update=changes)
        return self.placed().call("CreateNetworkInterface", address, vswitch_id="vsw-h")

    def shown(self, phase: str = "Initial", uid: str = "pe-1") -> "Life":
        return self.tell(e.PodEniWritten.model_validate({"phase": phase, "uid": uid}))

    def attaching(self) -> "Life":
        place, address = self.a.place, self.a.address
        assert place is not None
        assert address is not None
        return self.call(
            "AttachNetworkInterface",
            eni=address.eni,
            instance_id=place.instance_id,
            trunk_eni_id=place.trunk_eni_id or "",
        )

    def attached(self, vlan: int = 1001) -> "Life":
        self.attaching()
        at = self.a.attachment
        assert at is not None
        return self.tell(
            e.Attached(
                instance_id=at.instance_id,
                trunk_eni_id=at.trunk_eni_id,
                vlan=vlan,
                eni_type="Member",
            )
        )

    def bound(self) -> "Life":
        return self.created().shown("Initial").attached().shown("Bind")

    def gone(self, found: str = "absent") -> "Life":
        """Said to be gone, and found so."""
        self.tell(e.GoneReported(pod_uid=self.a.pod_uid, how="deleted"))
        due = None
        if self.a.retention.after_s is not None:
            due = self.now + timedelta(seconds=1 + self.a.retention.after_s)
        told = {"pod_uid": self.a.pod_uid, "found": found, "ttl_due": due}
        return self.tell(e.AbsenceConfirmed.model_validate(told))

    def taken_off(self) -> "Life":
        assert self.a.address is not None
        assert self.a.attachment is not None
        self.call(
            "DetachNetworkInterface",
            eni=self.a.address.eni,
            instance_id=self.a.attachment.instance_id,
        )
        return self.tell(e.Detached())

    def reserved(self) -> "Life":
        """Bound, gone, detached, kept."""
        return self.bound().gone().shown("Detaching").taken_off().shown("Unbind")

    def releasing(self, why: str = "ttl") -> "Life":
        return self.tell(e.ReleaseDecided.model_validate({"why": why}))


def vswitches(*facts: VSwitchFacts) -> dict[str, VSwitchFacts]:
    return {each.id: each for each in facts or (VSWITCH_H,)}


def unshuffled(ids: Sequence[str]) -> Sequence[str]:
    return ids
