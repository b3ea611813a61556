"""The simulated cloud itself: ENIs and their states, addresses, VLANs, quotas, instances.

Sans-IO and deterministic: the clock and the randomness are injected, nothing runs by itself. What
is asynchronous in the cloud (Attaching, Detaching, Deleting) is a due time here; whoever looks
first after it sees the change, made as of its due time. State rules follow the public ECS API
pages: Available → Attaching → InUse → Detaching → Available → Deleting → gone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

from deploy.local.cloud.apis import ApiError, not_found
from deploy.local.cloud.enis import Eni, History
from deploy.local.cloud.faults import AttachFails, DescribeLag, FaultBoard, IpExhaustion, Stuck
from deploy.local.cloud.pending import Pending, PendingChanges
from deploy.local.cloud.supply import Supply, ip_not_enough
from deploy.local.cloud.world import Instance, VSwitch, World

CLIENT_TOKEN_LIFETIME = timedelta(hours=24)
MOST_SECURITY_GROUPS = 10


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
        self._supply = Supply(world, random, faults)
        self._enis: dict[str, Eni] = {}
        self._attached: dict[str, set[str]] = {instance: set() for instance in self._instances}
        self._history = History()
        self._pending = PendingChanges()
        self._tokens: dict[str, tuple[NewEni, Eni, datetime]] = {}
        self._place_instances()

    # --- looking ----------------------------------------------------------------------------

    def next_change_at(self) -> datetime | None:
        """When the next change on its way is due: what a simulator on virtual time waits for."""
        return self._pending.next_due()

    def enis(self) -> list[Eni]:
        """Every ENI as it truly is, by ordinal."""
        self._settle()
        return sorted(self._enis.values(), key=lambda eni: eni.ordinal)

    def stuck(self) -> frozenset[str]:
        """Ids of the ENIs that a fault holds in a transitional state."""
        self._settle()
        return frozenset(self._pending.stuck())

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
        return self._supply.available(vswitch_id)

    def instances(self) -> list[Instance]:
        return list(self._instances.values())

    def remembers(self, client_token: str) -> bool:
        """Whether a create under this token is answered with the ENI that it made before."""
        known = self._tokens.get(client_token)
        return known is not None and self._settle() - known[2] <= CLIENT_TOKEN_LIFETIME

    # --- changing ---------------------------------------------------------------------------

    def create(self, new: NewEni, client_token: str | None) -> Eni:
        """CreateNetworkInterface: the ENI is Available at once. Raises ApiError."""
        now = self._settle()
        if client_token is not None and self.remembers(client_token):
            asked, answered, _ = self._tokens[client_token]
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
        vlan = self._supply.vlan(trunk_id) if trunk_id is not None else None
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
            self._pending.cancel(eni.id)
            freed = self._freed(eni)
            self._become(freed, now)
            if eni.delete_on_release and eni.status == "InUse":
                self._begin(replace(freed, status="Deleting"), self.world.latencies.delete, now)
        del self._attached[instance_id]
        return [eni.id for eni in had]

    def unstick(self, fault_number: int | None) -> None:
        """What this `stuck` fault (None: any) holds up goes on, with its usual latency."""
        now = self._settle()
        latencies = self.world.latencies
        takes = {
            "Attaching": latencies.attach,
            "Detaching": latencies.detach,
            "Deleting": latencies.delete,
        }
        for eni_id in self._pending.stuck(fault_number):
            due = now + timedelta(seconds=takes[self._enis[eni_id].status])
            self._pending.schedule(eni_id, due)

    # --- changes on their way -----------------------------------------------------------------

    def _begin(self, eni: Eni, latency_s: float, now: datetime) -> None:
        """Enter a transitional state; asking again only helps what is stuck."""
        pending = self._pending.of(eni.id)
        if pending is not None and pending.stuck_by is None:
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
            self._pending.schedule(eni.id, due, stuck_by=number)
            return
        fails = eni.status == "Attaching" and self.faults.strike(AttachFails) is not None
        self._pending.schedule(eni.id, now + timedelta(seconds=takes), attach_fails=fails)

    def _settle(self) -> datetime:
        """Let everything that is due happen, in order, each as of its due time. Returns now."""
        now = self._now()
        while (due := self._pending.pop_due(now)) is not None:
            eni_id, pending = due
            self._finish(self._enis[eni_id], pending)
        return now

    def _finish(self, eni: Eni, pending: Pending) -> None:
        assert pending.due is not None, "what has no due time is never due"
        if eni.status == "Attaching" and not pending.attach_fails:
            self._become(replace(eni, status="InUse"), pending.due)
        elif eni.status == "Deleting":
            self._remove(eni, pending.due)
        else:
            self._become(self._freed(eni), pending.due)

    def _freed(self, eni: Eni) -> Eni:
        """The ENI off its instance; its VLAN may be given out again from now on."""
        if eni.instance_id is not None:
            self._attached[eni.instance_id].discard(eni.id)
        self._supply.give_back_vlan(eni)
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
        self._supply.give_back_eni(eni)
        del self._enis[eni.id]
        self._history.record(at, eni.id, None)

    def _become(self, eni: Eni, at: datetime) -> None:
        self._enis[eni.id] = eni
        self._history.record(at, eni.id, eni)

    # --- making ENIs ------------------------------------------------------------------------

    def _new_eni(self, new: NewEni, vswitch: VSwitch, now: datetime) -> Eni:
        if new.ipv6_count and vswitch.ipv6_cidr is None:
            raise ApiError(
                "InvalidVSwitch.Ipv6NotTurnOn", f"vSwitch {vswitch.id} has no IPv6 CIDR.", 403
            )
        if self.faults.strike(IpExhaustion, vswitch_id=vswitch.id) is not None:
            raise ip_not_enough(vswitch.id)
        ipv4 = self._supply.ipv4(vswitch.id, new.primary_ip)
        eni = Eni(
            id=self._supply.eni_id(),
            ordinal=self._supply.ordinal(),
            mac=self._supply.mac(),
            type=new.instance_type,
            status="Available",
            vswitch_id=vswitch.id,
            zone=vswitch.zone,
            ipv4=ipv4,
            ipv6=self._supply.ipv6(vswitch.id, new.ipv6_count),
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

    def _place_instances(self) -> None:
        """The world's instances with their primary and trunk ENIs, as if they had always been."""
        now = self._now()
        # The addresses the world asks for go first, so that nobody else is given them.
        for chosen in (True, False):
            for instance in self._instances.values():
                if (instance.private_ip is not None) is chosen:
                    self._place(instance, instance.primary_eni, "Primary", now)
        for instance in self._instances.values():
            if instance.trunk_eni:
                self._place(instance, instance.trunk_eni, "Trunk", now)
        for vswitch in self._vswitches.values():
            self._supply.leave_free(vswitch)

    def _place(self, instance: Instance, eni_id: str, kind: str, now: datetime) -> None:
        vswitch = self.world.vswitch_of(instance)
        wanted = instance.private_ip if kind == "Primary" else None
        self._attached[instance.id].add(eni_id)
        placed = Eni(
            id=eni_id,
            ordinal=self._supply.ordinal(),
            mac=self._supply.mac(),
            type=kind,
            status="InUse",
            vswitch_id=vswitch.id,
            zone=vswitch.zone,
            ipv4=self._supply.ipv4(vswitch.id, wanted),
            ipv6=(),
            security_group_ids=(self.world.security_groups[0],),
            tags=(),
            created_at=now,
            delete_on_release=True,
            instance_id=instance.id,
        )
        self._become(placed, now)

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
