"""The simulated cloud itself: ENIs and their states, addresses, VLANs, quotas, instances.

Sans-IO and deterministic: the clock and the randomness are injected, nothing runs by itself. What
is asynchronous in the cloud (Attaching, Detaching, Deleting) is a due time here; whoever looks
first after it sees the change, made as of its due time. State rules follow the public ECS API
pages: Available → Attaching → InUse → Detaching → Available → Deleting → gone.
"""

import heapq
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

from deploy.local.cloud.addresses import AddressPool, ipv6_assignable
from deploy.local.cloud.apis import ApiError, not_found
from deploy.local.cloud.enis import Eni, History
from deploy.local.cloud.faults import AttachFails, DescribeLag, FaultBoard, IpExhaustion, Stuck
from deploy.local.cloud.world import Instance, VSwitch, World

CLIENT_TOKEN_LIFETIME = timedelta(hours=24)
LAST_VLAN = 4094
MOST_SECURITY_GROUPS = 10

_ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True)
class NewEni:
    """What CreateNetworkInterface is asked for. Equality decides whether a token's use repeats."""

    vswitch_id: str
    security_group_ids: tuple[str, ...]
    instance_type: str = "Secondary"
    ipv6_count: int = 0
    primary_ip: str | None = None
    delete_on_release: bool = True
    source_dest_check: bool = True
    description: str = ""
    name: str = ""
    resource_group_id: str = ""
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Pending:
    """A change on its way. `due` None: stuck until the fault `stuck_by` is cleared."""

    number: int
    due: datetime | None
    stuck_by: int | None
    attach_fails: bool = False


class CloudModel:
    """See the module. Every method first lets what is due happen."""

    def __init__(
        self, world: World, *, now: Callable[[], datetime], random: Random, faults: FaultBoard
    ) -> None:
        self.world = world
        self.faults = faults
        self._now = now
        self._random = random
        self._vswitches = {vswitch.id: vswitch for vswitch in world.vswitches}
        self._groups = frozenset(world.security_groups)
        self._instances = {instance.id: instance for instance in world.instances}
        at_once = world.reuse_addresses_at_once
        self._ipv4 = {
            vswitch.id: AddressPool(vswitch.assignable(), lowest_first=at_once)
            for vswitch in world.vswitches
        }
        self._ipv6 = {
            vswitch.id: AddressPool(ipv6_assignable(vswitch.ipv6_cidr), lowest_first=at_once)
            for vswitch in world.vswitches
            if vswitch.ipv6_cidr
        }
        self._enis: dict[str, Eni] = {}
        self._attached: dict[str, set[str]] = {instance: set() for instance in self._instances}
        self._macs: set[str] = set()
        self._vlans: dict[str, set[int]] = {}
        self._history = History()
        self._pending: dict[str, _Pending] = {}
        self._queue: list[tuple[datetime, int, str]] = []
        self._tokens: dict[str, tuple[NewEni, Eni, datetime]] = {}
        self._ordinal = 0
        self._numbers = 0
        self._place_instances()

    # --- looking ----------------------------------------------------------------------------

    def next_change_at(self) -> datetime | None:
        """When the next change on its way is due: what a simulator on virtual time waits for."""
        while self._queue and not self._current(self._queue[0]):
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def enis(self) -> list[Eni]:
        """Every ENI as it truly is, by ordinal."""
        self._settle()
        return sorted(self._enis.values(), key=lambda eni: eni.ordinal)

    def stuck(self) -> frozenset[str]:
        """Ids of the ENIs that a fault holds in a transitional state."""
        self._settle()
        return frozenset(eni for eni, pending in self._pending.items() if pending.stuck_by)

    def seen_enis(self, eni_ids: Sequence[str] = ()) -> list[Eni]:
        """ENIs as a Describe call sees them: behind the truth while a describe_lag fault is up."""
        now = self._settle()
        lag = self.faults.strike(DescribeLag)
        moment = now - timedelta(seconds=lag[1].seconds) if lag else now
        if not eni_ids:
            return sorted(self._history.at(moment), key=lambda eni: eni.ordinal)
        looked_up = (self._history.one(eni_id, moment) for eni_id in dict.fromkeys(eni_ids))
        return sorted((eni for eni in looked_up if eni), key=lambda eni: eni.ordinal)

    def vswitches(self) -> list[VSwitch]:
        return list(self._vswitches.values())

    def available_ips(self, vswitch_id: str) -> int:
        """Free IPv4 addresses of a vSwitch; 0 while an ip_exhaustion fault is up."""
        self._settle()
        if self.faults.stands(IpExhaustion, vswitch_id=vswitch_id):
            return 0
        return self._ipv4[vswitch_id].available

    def instances(self) -> list[Instance]:
        return list(self._instances.values())

    # --- changing ---------------------------------------------------------------------------

    def create(self, new: NewEni, client_token: str | None) -> Eni:
        """CreateNetworkInterface: the ENI is Available at once. Raises ApiError."""
        now = self._settle()
        if client_token is not None and client_token in self._tokens:
            asked, answered, since = self._tokens[client_token]
            if now - since <= CLIENT_TOKEN_LIFETIME:
                if asked != new:
                    raise ApiError(
                        "IdempotentFailed",
                        "The client token was used with other parameters.",
                        400,
                    )
                return answered
        vswitch = self._vswitches.get(new.vswitch_id)
        if vswitch is None:
            raise not_found("InvalidVSwitchId.NotFound", "vSwitch", new.vswitch_id)
        self._check_groups(new.security_group_ids)
        eni = self._new_eni(new, vswitch, now)
        if client_token is not None:
            self._tokens[client_token] = (new, eni, now)
        return eni

    def attach(self, eni_id: str, instance_id: str, trunk_id: str | None, card: int | None) -> None:
        """AttachNetworkInterface: starts the way to InUse. Raises ApiError."""
        now = self._settle()
        eni = self._existing(eni_id)
        instance = self._existing_instance(instance_id)
        if eni.status != "Available":
            raise _wrong_state(eni, "Available")
        if eni.zone != instance.zone:
            raise ApiError(
                "InvalidOperation.AvailabilityZoneMismatch",
                f"ENI {eni_id} is in {eni.zone}, instance {instance_id} in {instance.zone}.",
                403,
            )
        if trunk_id is not None:
            self._check_trunk(trunk_id, instance_id)
        self._check_quota(instance, as_member=trunk_id is not None)
        vlan = self._reserve_vlan(trunk_id) if trunk_id is not None else None
        eni = replace(
            eni,
            status="Attaching",
            type="Member" if trunk_id is not None else eni.type,
            instance_id=instance_id,
            trunk_id=trunk_id,
            vlan=vlan,
            network_card_index=card,
        )
        self._attached[instance_id].add(eni_id)
        self._become(eni, now)
        self._start(eni, self.world.latencies.attach, now)

    def detach(self, eni_id: str, instance_id: str, trunk_id: str | None) -> None:
        """DetachNetworkInterface: starts the way to Available. Raises ApiError."""
        now = self._settle()
        eni = self._existing(eni_id)
        self._existing_instance(instance_id)
        if eni.type == "Primary":
            raise ApiError(
                "InvalidOperation.DetachPrimaryEniNotAllowed",
                "Detaching the primary ENI of an instance is not allowed.",
            )
        if eni.status not in ("InUse", "Detaching"):
            raise _wrong_state(eni, "InUse or Detaching")
        if eni.instance_id != instance_id:
            raise ApiError(
                "InvalidOperation.InvalidEniState",
                f"ENI {eni_id} is attached to {eni.instance_id}, not to {instance_id}.",
                403,
            )
        if trunk_id is not None and trunk_id != eni.trunk_id:
            raise ApiError(
                "InvalidParameter.TrunkNetworkInstanceId",
                f"ENI {eni_id} is not a member of trunk {trunk_id}.",
            )
        if any(other.trunk_id == eni_id for other in self._on_instance(instance_id)):
            raise ApiError("InvalidOperation.InvalidEniState", f"Trunk {eni_id} has members.", 403)
        self._begin(replace(eni, status="Detaching"), self.world.latencies.detach, now)

    def delete(self, eni_id: str) -> None:
        """DeleteNetworkInterface: starts the way to gone. Raises ApiError."""
        now = self._settle()
        eni = self._existing(eni_id)
        if eni.status not in ("Available", "Deleting"):
            raise _wrong_state(eni, "Available")
        self._begin(replace(eni, status="Deleting"), self.world.latencies.delete, now)

    def modify(
        self,
        eni_id: str,
        *,
        security_group_ids: tuple[str, ...] | None = None,
        description: str | None = None,
        name: str | None = None,
        delete_on_release: bool | None = None,
    ) -> None:
        """ModifyNetworkInterfaceAttribute: what is None stays. Raises ApiError."""
        now = self._settle()
        eni = self._existing(eni_id)
        if security_group_ids is not None:
            self._check_groups(security_group_ids)
            eni = replace(eni, security_group_ids=security_group_ids)
        if description is not None:
            eni = replace(eni, description=description)
        if name is not None:
            eni = replace(eni, name=name)
        if delete_on_release is not None:
            eni = replace(eni, delete_on_release=delete_on_release)
        self._become(eni, now)

    def kill(self, instance_id: str) -> list[str]:
        """The instance is released at once, as when a spot instance is taken back.

        ENIs in use with DeleteOnRelease begin to be deleted, the others become Available. Returns
        the ids of the ENIs it had. Raises ApiError for an unknown instance.
        """
        now = self._settle()
        self._existing_instance(instance_id)
        had = sorted(self._on_instance(instance_id), key=lambda eni: eni.ordinal)
        del self._instances[instance_id]
        for eni in had:
            self._pending.pop(eni.id, None)
            freed = self._freed(eni)
            self._become(freed, now)
            if eni.delete_on_release and eni.status == "InUse":
                self._begin(replace(freed, status="Deleting"), self.world.latencies.delete, now)
        del self._attached[instance_id]
        return [eni.id for eni in had]

    def unstick(self, fault_number: int) -> None:
        """A `stuck` fault was cleared: what it holds goes on, with its usual latency."""
        now = self._settle()
        held = [eni for eni, pending in self._pending.items() if pending.stuck_by == fault_number]
        latencies = self.world.latencies
        takes = {
            "Attaching": latencies.attach,
            "Detaching": latencies.detach,
            "Deleting": latencies.delete,
        }
        for eni_id in held:
            eni = self._enis[eni_id]
            self._schedule(eni_id, now + timedelta(seconds=takes[eni.status]), None)

    # --- changes on their way -----------------------------------------------------------------

    def _begin(self, eni: Eni, latency_s: float, now: datetime) -> None:
        """Enter a transitional state; asking again only helps what is stuck."""
        pending = self._pending.get(eni.id)
        if pending is not None and pending.due is not None and pending.stuck_by is None:
            return
        self._become(eni, now)
        self._start(eni, latency_s, now)

    def _start(self, eni: Eni, latency_s: float, now: datetime) -> None:
        latencies = self.world.latencies
        takes = latency_s
        if latencies.jitter:
            takes *= 1 + latencies.jitter * self._random.random()
        stuck = self.faults.strike(Stuck, state=eni.status)
        if stuck is not None:
            number, fault = stuck
            due = now + timedelta(seconds=takes + fault.seconds) if fault.seconds else None
            self._schedule(eni.id, due, number)
            return
        fails = eni.status == "Attaching" and self.faults.strike(AttachFails) is not None
        self._schedule(eni.id, now + timedelta(seconds=takes), None, attach_fails=fails)

    def _schedule(
        self,
        eni_id: str,
        due: datetime | None,
        stuck_by: int | None,
        *,
        attach_fails: bool = False,
    ) -> None:
        self._numbers += 1
        self._pending[eni_id] = _Pending(self._numbers, due, stuck_by, attach_fails)
        if due is not None:
            heapq.heappush(self._queue, (due, self._numbers, eni_id))

    def _settle(self) -> datetime:
        """Let everything that is due happen, in order, each as of its due time. Returns now."""
        now = self._now()
        while self._queue and self._queue[0][0] <= now:
            entry = heapq.heappop(self._queue)
            if self._current(entry):
                due, _, eni_id = entry
                self._finish(self._enis[eni_id], self._pending.pop(eni_id), due)
        return now

    def _current(self, entry: tuple[datetime, int, str]) -> bool:
        pending = self._pending.get(entry[2])
        return pending is not None and pending.number == entry[1]

    def _finish(self, eni: Eni, pending: _Pending, at: datetime) -> None:
        if eni.status == "Attaching" and not pending.attach_fails:
            self._become(replace(eni, status="InUse"), at)
        elif eni.status == "Deleting":
            self._remove(eni, at)
        else:
            self._become(self._freed(eni), at)

    def _freed(self, eni: Eni) -> Eni:
        """The ENI off its instance; its VLAN may be given out again from now on."""
        if eni.instance_id is not None:
            self._attached[eni.instance_id].discard(eni.id)
        if eni.trunk_id is not None and eni.vlan is not None:
            self._vlans[eni.trunk_id].discard(eni.vlan)
        return replace(
            eni,
            status="Available",
            type="Secondary" if eni.type == "Member" else eni.type,
            instance_id=None,
            trunk_id=None,
            vlan=None,
            network_card_index=None,
        )

    def _remove(self, eni: Eni, at: datetime) -> None:
        self._ipv4[eni.vswitch_id].give_back(int(ipaddress.IPv4Address(eni.ipv4)))
        for address in eni.ipv6:
            self._ipv6[eni.vswitch_id].give_back(int(ipaddress.IPv6Address(address)))
        self._macs.discard(eni.mac)
        del self._enis[eni.id]
        self._history.record(at, eni.id, None)
        self._history.forget_gone(at)

    def _become(self, eni: Eni, at: datetime) -> None:
        self._enis[eni.id] = eni
        self._history.record(at, eni.id, eni)

    # --- making ENIs ------------------------------------------------------------------------

    def _new_eni(self, new: NewEni, vswitch: VSwitch, now: datetime) -> Eni:
        if new.ipv6_count and vswitch.id not in self._ipv6:
            raise ApiError(
                "InvalidVSwitch.Ipv6NotTurnOn", f"vSwitch {vswitch.id} has no IPv6 CIDR.", 403
            )
        ipv4 = self._take_ipv4(vswitch.id, new.primary_ip)
        ipv6 = tuple(
            str(ipaddress.IPv6Address(self._ipv6[vswitch.id].take_next()))
            for _ in range(new.ipv6_count)
        )
        eni = Eni(
            id=self._new_id(),
            ordinal=self._next_ordinal(),
            mac=self._new_mac(),
            type=new.instance_type,
            status="Available",
            vswitch_id=vswitch.id,
            zone=vswitch.zone,
            ipv4=ipv4,
            ipv6=ipv6,
            security_group_ids=new.security_group_ids,
            tags=new.tags,
            created_at=now,
            delete_on_release=new.delete_on_release,
            source_dest_check=new.source_dest_check,
            description=new.description,
            name=new.name,
            resource_group_id=new.resource_group_id,
        )
        self._become(eni, now)
        return eni

    def _take_ipv4(self, vswitch_id: str, wanted: str | None) -> str:
        pool = self._ipv4[vswitch_id]
        if self.faults.strike(IpExhaustion, vswitch_id=vswitch_id) or pool.available <= 0:
            raise ApiError(
                "InvalidVSwitchId.IpNotEnough",
                f"The specified vSwitch {vswitch_id} has not enough IP addresses.",
                403,
            )
        if wanted is not None:
            try:
                address = int(ipaddress.IPv4Address(wanted))
            except ValueError:
                raise ApiError("InvalidIPAddress.Malformed", f"{wanted} is no address.") from None
            if not pool.take(address):
                raise ApiError(
                    "InvalidIPAddress.AlreadyUsed", f"{wanted} is used or not assignable.", 403
                )
            return wanted
        taken = pool.take_next()
        assert taken is not None, "the pool said it had addresses"
        return str(ipaddress.IPv4Address(taken))

    def _place_instances(self) -> None:
        """The world's instances with their primary and trunk ENIs, as if they had always been."""
        now = self._now()
        reserved = {
            int(ipaddress.IPv4Address(instance.private_ip))
            for instance in self._instances.values()
            if instance.private_ip
        }
        for instance in self._instances.values():
            vswitch = self.world.vswitch_of(instance)
            pool = self._ipv4[vswitch.id]
            if instance.private_ip:
                pool.take(int(ipaddress.IPv4Address(instance.private_ip)))
            wanted = [(instance.primary_eni, "Primary", instance.private_ip)]
            if instance.trunk_eni:
                wanted.append((instance.trunk_eni, "Trunk", None))
            for eni_id, kind, address in wanted:
                if address is None:
                    taken = pool.take_next(avoid=reserved)
                    assert taken is not None, f"{vswitch.id} is too small for the instances"
                    address = str(ipaddress.IPv4Address(taken))
                self._attached[instance.id].add(eni_id)
                self._become(
                    Eni(
                        id=eni_id,
                        ordinal=self._next_ordinal(),
                        mac=self._new_mac(),
                        type=kind,
                        status="InUse",
                        vswitch_id=vswitch.id,
                        zone=vswitch.zone,
                        ipv4=address,
                        ipv6=(),
                        security_group_ids=(self.world.security_groups[0],),
                        tags=(),
                        created_at=now,
                        delete_on_release=True,
                        instance_id=instance.id,
                    ),
                    now,
                )
        for vswitch in self._vswitches.values():
            if vswitch.free_ips is not None:
                self._ipv4[vswitch.id].leave_free(vswitch.free_ips)

    def _next_ordinal(self) -> int:
        self._ordinal += 1
        return self._ordinal

    def _new_id(self) -> str:
        while True:
            identity = "eni-bp1" + "".join(self._random.choices(_ID_ALPHABET, k=17))
            if identity not in self._enis:
                return identity

    def _new_mac(self) -> str:
        while True:
            low = self._random.getrandbits(24).to_bytes(3, "big")
            mac = "00:16:3e:" + low.hex(":")
            if mac not in self._macs:
                self._macs.add(mac)
                return mac

    def _reserve_vlan(self, trunk_id: str) -> int:
        """The trunk's lowest free VLAN id: a released one is given out again at once."""
        taken = self._vlans.setdefault(trunk_id, set())
        for vlan in range(self.world.first_vlan, LAST_VLAN + 1):
            if vlan not in taken:
                taken.add(vlan)
                return vlan
        raise ApiError("EniPerInstanceLimitExceeded", f"Trunk {trunk_id} has no VLAN left.", 403)

    # --- checks -----------------------------------------------------------------------------

    def _existing(self, eni_id: str) -> Eni:
        eni = self._enis.get(eni_id)
        if eni is None:
            raise not_found("InvalidEniId.NotFound", "network interface", eni_id)
        return eni

    def _existing_instance(self, instance_id: str) -> Instance:
        instance = self._instances.get(instance_id)
        if instance is None:
            raise not_found("InvalidEcsId.NotFound", "instance", instance_id)
        return instance

    def _on_instance(self, instance_id: str) -> list[Eni]:
        return [self._enis[eni_id] for eni_id in self._attached[instance_id]]

    def _check_groups(self, groups: tuple[str, ...]) -> None:
        if not 1 <= len(groups) <= MOST_SECURITY_GROUPS:
            raise ApiError(
                "SecurityGroupInstanceLimitExceed",
                f"An ENI has 1 to {MOST_SECURITY_GROUPS} security groups, not {len(groups)}.",
                403,
            )
        for group in groups:
            if group not in self._groups:
                raise not_found("InvalidSecurityGroupId.NotFound", "security group", group)

    def _check_trunk(self, trunk_id: str, instance_id: str) -> None:
        trunk = self._enis.get(trunk_id)
        if trunk is None or trunk.type != "Trunk" or trunk.instance_id != instance_id:
            raise ApiError(
                "InvalidParameter.TrunkNetworkInstanceId",
                f"{trunk_id} is not a trunk ENI of instance {instance_id}.",
            )
        if trunk.status != "InUse":
            raise _wrong_state(trunk, "InUse")

    def _check_quota(self, instance: Instance, *, as_member: bool) -> None:
        kind = self.world.type_of(instance)
        attached = self._on_instance(instance.id)
        ordinary = [eni for eni in attached if eni.type != "Member"]
        if len(attached) >= kind.eni_total_quantity or (
            not as_member and len(ordinary) >= kind.eni_quantity
        ):
            raise ApiError(
                "EniPerInstanceLimitExceeded",
                f"Instance {instance.id} of type {kind.id} has {len(ordinary)} ENIs and "
                f"{len(attached) - len(ordinary)} members; its type allows {kind.eni_quantity} "
                f"ENIs and {kind.eni_total_quantity} in all.",
                403,
            )


def _wrong_state(eni: Eni, wanted: str) -> ApiError:
    return ApiError(
        "InvalidOperation.InvalidEniState",
        f"ENI {eni.id} is {eni.status}; this operation needs {wanted}.",
        403,
    )
